//! The demo: 400 sentences with their embeddings, part of the program. They are loaded into a collection, so that a
//! newcomer's first search answers something real.

use crate::arrow::records_from_parquet;
use crate::settings::Limits;
use crate::{CollectionSpec, ErrorKind, Result, Store};

const COLLECTION: &str = "demo";
/// The sentence whose neighbours are shown.
const SENTENCE: &str = "databases-07";
const SENTENCES: &[u8] = include_bytes!("../../data-fixtures/sentences/sentences.parquet");

/// Loads the demo collection unless it exists, and prints a command that searches it.
pub async fn load(store: &Store, url: &str) -> Result<()> {
    let collection = match store.create_collection(CollectionSpec::new(COLLECTION)).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => store.collection(COLLECTION).await?,
        created => created?,
    };
    // An add skips existing records, so the next load completes an interrupted one.
    let records = records_from_parquet(bytes::Bytes::from_static(SENTENCES), &Limits::default())?;
    let done = collection.write(crate::Write::Add(records)).await?;
    tracing::info!(added = done.applied, "the collection {COLLECTION:?} holds sentences; the nearest to one of them:");
    // Printed to standard output without a log prefix, so that it can be pasted as it is.
    println!("\n{}\n", search_line(url));
    Ok(())
}

/// A command that finds the records nearest to [`SENTENCE`], by its id.
fn search_line(url: &str) -> String {
    let body = format!("{{\"id\": \"{SENTENCE}\", \"k\": 5, \"include\": [\"document\"]}}");
    format!("curl -s {url}/api/collections/{COLLECTION}/search -H 'content-type: application/json' -d '{body}'")
}
