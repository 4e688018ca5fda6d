//! Collections whose dimension is 0: their records have no embeddings, and are found by words and filters.

use std::sync::Arc;

use drumlin::admin::CollectionSelector;
use drumlin::admin::check_report::Finding;
use drumlin::searches::{LeafQuery, RankedSearch};
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::check;
use drumlin::text::{QueryOptions, TextQuery};
use drumlin::{Collection, CollectionSpec, ErrorKind, Filter, Get, Include, Metadata, Query, Record, Store};

use super::past::settings;

async fn open(bucket: &MemoryBucket) -> Store {
    let store = Store::open_on(settings(), Arc::new(bucket.clone())).await.unwrap();
    store.wait_until_loaded().await;
    store
}

fn note(id: &str, text: &str, year: i64) -> Record {
    Record::new(id, Vec::new()).with_document(text).with_metadata(Metadata::from([("year", year)]))
}

async fn by_words(notes: &Collection, words: &str) -> Vec<String> {
    let analyser = notes.analyser().unwrap();
    let query = TextQuery::parse(words, &analyser, &QueryOptions::default()).unwrap();
    let search = RankedSearch::single(LeafQuery::Text { query, analyser }, 10);
    let found = notes.rank(vec![search], 10).await.unwrap().remove(0);
    (0..found.len()).map(|place| found.part(place, Include::NONE).unwrap().unwrap().id).collect()
}

async fn by_filter(notes: &Collection, filter: Filter) -> Vec<String> {
    let found = notes.get(Get::all().filter(filter)).await.unwrap();
    found.records.into_iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn records_without_embeddings_are_found_by_words_and_filters_and_survive_flush_restart_and_fork() {
    let bucket = MemoryBucket::new(StoreClock::machine());
    let store = open(&bucket).await;
    let notes = store.create_collection(CollectionSpec::new("notes").dimension(0)).await.unwrap();
    notes.add([note("fox", "The quick brown fox", 2024), note("dog", "A lazy dog sleeps", 2025)]).await.unwrap();
    notes.upsert([note("fox", "The quick red fox", 2026)]).await.unwrap();
    assert_eq!(by_words(&notes, "foxes sleeping").await.len(), 2);
    store.sync().await.unwrap();
    store.admin().maintain().await.unwrap();
    store.fork_collection(notes.id(), "fork").await.unwrap();
    drop((notes, store));

    let store = open(&bucket).await;
    for name in ["notes", "fork"] {
        let notes = store.collection(name).await.unwrap();
        assert_eq!(notes.dimension(), Some(0));
        assert_eq!(by_words(&notes, "red").await, ["fox"]);
        assert_eq!(by_filter(&notes, Filter::gte("year", 2026)).await, ["fox"]);
        let refused = notes.search(Query::new([1.0, 0.0])).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.message().contains("have no embeddings"), "{refused}");
        let refused = notes.add([Record::new("bear", vec![1.0])]).await.unwrap_err();
        assert!(refused.message().contains("expected 0 numbers, got 1"), "{refused}");
    }
    let bucket = Arc::new(bucket);
    let checked = check::verify(bucket, &CollectionSelector::default(), &settings().timing).await.unwrap();
    assert_eq!(checked.all_findings().collect::<Vec<_>>(), Vec::<&Finding>::new());
}
