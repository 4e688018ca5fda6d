//! Search on real embeddings: the 400 sentences under all three metrics, with a graph, after updates and
//! deletions, unfiltered and with filters of several selectivities, held against the exact search.

use std::time::Duration;

use drumlin::arrow::records_from_parquet;
use drumlin::{
    Collection, CollectionSpec, Filter, Hit, MetadataPatch, Metric, Query, Record, RecordUpdate, Selection, Settings,
    Storage, Store,
};

const SENTENCES: &[u8] = include_bytes!("../../data-fixtures/sentences/sentences.parquet");

/// The sentences, each with its number as metadata, so that a filter can pick any share of them.
fn sentences(settings: &Settings) -> Vec<Record> {
    let mut records = records_from_parquet(SENTENCES.to_vec().into(), &settings.limits).unwrap();
    for (number, record) in (0i64..).zip(&mut records) {
        record.metadata.get_or_insert_default().0.insert("number".to_owned(), number.into());
    }
    records
}

async fn with_graph(metric: Metric) -> (Store, Collection, Vec<Record>) {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.timing.graph_rows = 100;
    settings.timing.swap_interval = Duration::ZERO;
    let records = sentences(&settings);
    let store = Store::open(settings).await.unwrap();
    let spec = CollectionSpec::new("sentences").metric(metric);
    let collection = store.create_collection(spec).await.unwrap();
    collection.add(records.clone()).await.unwrap();
    store.admin().maintain().await.unwrap();
    assert_eq!(store.admin().counters().graphs_built, 1);
    (store, collection, records)
}

/// Mean share of the exact answers, ties by distance, that the default search finds; every hit satisfies
/// `allowed`.
async fn recall(collection: &Collection, query: Query, allowed: impl Fn(&Hit) -> bool) -> f64 {
    let found = collection.search_batch(query.clone()).await.unwrap();
    let truth = collection.search_batch(query.exact(true)).await.unwrap();
    let share = |(found, truth): (&Vec<Hit>, &Vec<Hit>)| {
        assert_eq!(found.len(), truth.len(), "never fewer than there are matches");
        assert!(found.iter().all(&allowed));
        let worst = truth.last().map_or(0.0, |hit| hit.distance);
        found.iter().filter(|hit| hit.distance <= worst).count() as f64 / truth.len().max(1) as f64
    };
    found.iter().zip(&truth).map(share).sum::<f64>() / found.len() as f64
}

async fn check(metric: Metric) {
    let (_store, collection, records) = with_graph(metric).await;
    let gone: Vec<String> = records.iter().skip(3).step_by(10).map(|r| r.id.clone()).collect();
    let gone = Selection { ids: Some(gone), ..Selection::default() };
    assert_eq!(collection.delete(gone).await.unwrap().applied, 40);
    // Some move to where another sentence lies, some only change their metadata.
    let moved = records.iter().step_by(10).zip(records.iter().rev());
    let moved = moved.map(|(record, other)| RecordUpdate {
        id: record.id.clone(),
        embedding: Some(other.embedding.iter().map(|x| x * 0.99).collect()),
        ..RecordUpdate::default()
    });
    let marked = records.iter().skip(1).step_by(10).map(|record| RecordUpdate {
        id: record.id.clone(),
        metadata: Some(MetadataPatch([("seen".to_owned(), Some(true.into()))].into())),
        ..RecordUpdate::default()
    });
    let updates: Vec<RecordUpdate> = moved.chain(marked).collect();
    assert_eq!(collection.update(updates.clone()).await.unwrap().applied, 80);

    let queries = Query::batch(records.iter().step_by(4).map(|record| record.embedding.clone()));
    let all = recall(&collection, queries.clone(), |_| true).await;
    assert!(all >= 0.95, "{metric}: recall@10 {all}");
    for below in [4i64, 40, 200] {
        let filtered = queries.clone().filter(Filter::lt("number", below));
        let number = |hit: &Hit| hit.metadata.as_ref().and_then(|m| m.0.get("number").cloned());
        let matches = |hit: &Hit| matches!(number(hit), Some(drumlin::MetaValue::Int(n)) if n < below);
        let share = recall(&collection, filtered, matches).await;
        assert!(share >= 0.95, "{metric}, {below} of 400: recall@10 {share}");
    }
}

#[tokio::test]
async fn cosine_search_finds_the_nearest_sentences() {
    check(Metric::Cosine).await;
}

#[tokio::test]
async fn l2_search_finds_the_nearest_sentences() {
    check(Metric::L2).await;
}

#[tokio::test]
async fn ip_search_finds_the_nearest_sentences() {
    check(Metric::Ip).await;
}
