//! Adds three notes, searches them, and opens the store anew: what was added is there.
//!
//!     cargo run --example quickstart

use drumlin::{Metadata, Query, Record, Store};

#[tokio::main]
async fn main() -> drumlin::Result<()> {
    let folder = std::env::temp_dir().join(format!("drumlin-quickstart-{}", std::process::id()));
    let store = Store::open(folder.as_path()).await?;
    let notes = store.create_collection("notes").await?;
    notes
        .add([
            Record::new("fog", vec![0.9, 0.1, 0.0]).with_document("The fog lifted from the harbour."),
            Record::new("river", vec![0.7, 0.7, 0.0]).with_metadata(Metadata::from([("year", 2025)])),
            Record::new("oven", vec![0.0, 0.2, 0.9]).with_document("The bread was still warm."),
        ])
        .await?; // durable when this returns
    drop((notes, store));

    let store = Store::open(folder.as_path()).await?;
    for hit in store.collection("notes").await?.search(Query::new([1.0, 0.0, 0.0]).k(2)).await? {
        println!("{:<6} {:.3} {}", hit.id, hit.distance, hit.document.unwrap_or_default());
    }
    store.close(std::time::Duration::from_secs(10)).await?;
    std::fs::remove_dir_all(&folder).ok();
    Ok(())
}
