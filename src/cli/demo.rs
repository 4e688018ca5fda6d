//! The demo: 400 sentences with their embeddings, part of the program, loaded into a collection so that
//! a newcomer's first search answers something real.

use drumlin::arrow::records_from_parquet;
use drumlin::settings::Limits;
use drumlin::{CollectionSpec, ErrorKind, Result, Store};

const COLLECTION: &str = "demo";
/// The sentence that is shown with its neighbours.
const SENTENCE: &str = "databases-07";
const SENTENCES: &[u8] = include_bytes!("../../data-fixtures/sentences/sentences.parquet");

/// Loads the demo collection unless it exists, and logs a line that searches it.
pub async fn load(store: &Store, url: &str) -> Result<()> {
    let collection = match store.create_collection(CollectionSpec::new(COLLECTION)).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => store.collection(COLLECTION).await?,
        created => created?,
    };
    // Adding skips what is there: a load that was cut short is completed by the next.
    let records = records_from_parquet(bytes::Bytes::from_static(SENTENCES), &Limits::default())?;
    let done = collection.write(drumlin::Write::Add(records)).await?;
    tracing::info!(added = done.applied, "the collection {COLLECTION:?} holds sentences; the nearest to one of them:");
    // To standard output, bare: a line of a log would have to be cut before it can be pasted.
    println!("\n{}\n", search_line(url));
    Ok(())
}

/// The nearest records to one of them, by its id.
fn search_line(url: &str) -> String {
    let body = format!("{{\"id\": \"{SENTENCE}\", \"k\": 5, \"include\": [\"document\"]}}");
    format!("curl -s {url}/api/collections/{COLLECTION}/search -H 'content-type: application/json' -d '{body}'")
}
