//! A store in a bucket, named on the command line; credentials are found as the AWS SDK finds them.
//!
//!     cargo run --example s3 -- s3://my-bucket/notes

use drumlin::{Consistency, ErrorKind, Query, Record, Store};

#[tokio::main]
async fn main() -> drumlin::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let store = Store::open(url).await?;
    let notes = match store.create_collection("example").await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => store.collection("example").await?,
        created => created?,
    };
    match notes.add([Record::new("fog", vec![0.9, 0.1])]).await {
        // The bucket did not say whether it has the record. Adding it again is harmless: an id is added only once.
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
            notes.add([Record::new("fog", vec![0.9, 0.1])]).await?
        }
        added => added?,
    };
    // Strong: sees every write that any process had acknowledged before.
    let hits = notes.search(Query::new([1.0, 0.0]).consistency(Consistency::Strong)).await?;
    println!(
        "{} records in {}, nearest {}",
        notes.count(Consistency::Local).await?,
        store.admin().place().location,
        hits[0].id
    );
    store.close(std::time::Duration::from_secs(10)).await
}
