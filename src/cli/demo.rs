//! The demo: 400 sentences with their embeddings, part of the program. They are loaded into a collection, so that a
//! newcomer's first search answers something real, and the page has something to show: two versions to compare, a file,
//! a map.
//! Invariant: a further start completes what is missing, and writes nothing else.

use std::collections::HashMap;

use bytes::Bytes;
use futures::stream;

use crate::arrow::records_from_parquet;
use crate::files::PutFile;
use crate::settings::Limits;
use crate::{
    Collection, CollectionSpec, Consistency, ErrorKind, Get, Include, MetaValue, Record, Result, Store, Write,
};

const COLLECTION: &str = "demo";
/// The sentence whose neighbours are shown.
const SENTENCE: &str = "databases-07";
const SENTENCES: &[u8] = include_bytes!("../../data-fixtures/sentences/sentences.parquet");

/// The first version lacks so many of the last sentences, and so many of the first ones have no theme yet.
const LATER: usize = 20;
const UNSORTED: usize = 10;
const THEME: &str = "theme";
const NO_THEME: &str = "unsorted";

/// The file that the sentences come from.
const FILE: &str = "demo/sentences.parquet";
const FILE_TYPE: &str = "application/vnd.apache.parquet";

/// Loads the demo collection unless it exists, and prints a command that searches it.
pub async fn load(store: &Store, url: &str) -> Result<()> {
    let collection = match store.create_collection(CollectionSpec::new(COLLECTION)).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => store.collection(COLLECTION).await?,
        created => created?,
    };
    let added = load_sentences(&collection).await?;
    tracing::info!(added, "the collection {COLLECTION:?} holds sentences; the nearest to one of them:");
    // Printed to standard output without a log prefix, so that it can be pasted as it is.
    println!("\n{}\n", search_line(url));
    // It is made in the background.
    collection.make_map().await?;
    load_file(store).await
}

/// Writes the sentences in two versions. Returns how many records were written.
async fn load_sentences(collection: &Collection) -> Result<u64> {
    let records = records_from_parquet(Bytes::from_static(SENTENCES), &Limits::default())?;
    let mut written = 0;
    if collection.count(Consistency::Local).await? == 0 {
        written += collection.write(Write::Add(first_version(&records))).await?.applied;
    }
    let lacking = lacking(collection, records).await?;
    if !lacking.is_empty() {
        written += collection.write(Write::Upsert(lacking)).await?.applied;
    }
    Ok(written as u64)
}

/// The sentences as somebody might begin with them.
fn first_version(records: &[Record]) -> Vec<Record> {
    let mut records: Vec<Record> = records.iter().take(records.len().saturating_sub(LATER)).cloned().collect();
    for metadata in records.iter_mut().take(UNSORTED).filter_map(|record| record.metadata.as_mut()) {
        metadata.0.insert(THEME.to_owned(), NO_THEME.into());
    }
    records
}

/// Those that the collection does not have, or not with their theme.
async fn lacking(collection: &Collection, mut records: Vec<Record>) -> Result<Vec<Record>> {
    let get =
        Get { include: Include { metadata: true, ..Include::NONE }, ..Get::by_ids(records.iter().map(|r| &r.id)) };
    let found = collection.get(get).await?.records.into_iter().map(|found| (found.id, found.metadata));
    let found: HashMap<_, _> = found.collect();
    let is_unsorted = |record: &Record| {
        let metadata = found.get(&record.id)?.as_ref()?;
        Some(metadata.0.get(THEME) == Some(&MetaValue::from(NO_THEME)))
    };
    records.retain(|record| !found.contains_key(&record.id) || is_unsorted(record) == Some(true));
    Ok(records)
}

/// Puts the file, unless there is or was one of that name.
async fn load_file(store: &Store) -> Result<()> {
    let files = store.files();
    match files.stat(FILE, Consistency::Local).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        known => return known.map(drop),
    }
    let length = Some(SENTENCES.len() as u64);
    let file = PutFile { content_type: Some(FILE_TYPE.to_owned()), length, ..PutFile::default() };
    files.put(FILE, file, stream::iter([Ok(Bytes::from_static(SENTENCES))])).await.map(drop)
}

/// A command that finds the records nearest to [`SENTENCE`], by its id.
fn search_line(url: &str) -> String {
    let body = format!("{{\"id\": \"{SENTENCE}\", \"k\": 5, \"include\": [\"document\"]}}");
    format!("curl -s {url}/api/collections/{COLLECTION}/search -H 'content-type: application/json' -d '{body}'")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_demo_has_two_versions_a_file_and_a_map_and_a_second_start_writes_nothing() {
        let store = Store::open("memory://").await.unwrap();
        for start in 0..2 {
            load(&store, "http://localhost").await.unwrap();
            let collection = store.collection(COLLECTION).await.unwrap();
            assert_eq!(collection.info().version.0, 2, "start {start}");
            assert_eq!(store.files().stat(FILE, Consistency::Local).await.unwrap().size, SENTENCES.len() as u64);
        }
        let collection = store.collection(COLLECTION).await.unwrap();
        let records = records_from_parquet(Bytes::from_static(SENTENCES), &Limits::default()).unwrap();
        let all = collection.get(Get { include: Include::ALL, ..Get::all() }).await.unwrap().records;
        let as_read = |found: crate::answers::Found| (found.id, found.document, found.metadata);
        let found: Vec<_> = all.into_iter().map(as_read).collect();
        let whole: Vec<_> = records.into_iter().map(|r| (r.id, r.document, r.metadata)).collect();
        assert_eq!(found, whole);
        let mut looks = 0;
        while store.admin().counters().maps_stored == 0 {
            looks += 1;
            assert!(looks < 1200, "the map was not made");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test]
    async fn what_an_interrupted_start_or_an_earlier_program_left_is_completed() {
        let store = Store::open("memory://").await.unwrap();
        let collection = store.create_collection(CollectionSpec::new(COLLECTION)).await.unwrap();
        let records = records_from_parquet(Bytes::from_static(SENTENCES), &Limits::default()).unwrap();
        collection.write(Write::Add(first_version(&records))).await.unwrap();
        assert_eq!(load_sentences(&collection).await.unwrap(), (LATER + UNSORTED) as u64);
        assert_eq!(load_sentences(&collection).await.unwrap(), 0);
        let whole = store.create_collection(CollectionSpec::new("whole")).await.unwrap();
        whole.write(Write::Add(records)).await.unwrap();
        assert_eq!(load_sentences(&whole).await.unwrap(), 0, "one that an earlier program loaded stays as it is");
    }
}
