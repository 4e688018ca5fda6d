//! Two stores write one bucket at once, as two processes on two machines would: neither loses the other's records.
//!
//!     cargo run --example two_writers

use drumlin::{Collection, Consistency, Record, Store};

async fn write(collection: Collection, name: &str) -> drumlin::Result<()> {
    for n in 0..50 {
        collection.add([Record::new(format!("{name}-{n}"), vec![n as f32, 1.0])]).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> drumlin::Result<()> {
    let folder = std::env::temp_dir().join(format!("drumlin-two-writers-{}", std::process::id()));
    let (one, two) = (Store::open(folder.as_path()).await?, Store::open(folder.as_path()).await?);
    let here = one.create_collection("shared").await?;
    let there = two.collection("shared").await?;
    tokio::try_join!(write(here.clone(), "here"), write(there.clone(), "there"))?;
    // A strong read sees every write acknowledged before, whoever made it.
    println!("{} and {} records", here.count(Consistency::Strong).await?, there.count(Consistency::Strong).await?);
    for store in [one, two] {
        store.close(std::time::Duration::from_secs(10)).await?;
    }
    std::fs::remove_dir_all(&folder).ok();
    Ok(())
}
