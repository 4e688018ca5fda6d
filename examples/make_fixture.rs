//! Makes a fixture of the stored format: a small bucket in which every kind of object stands, and the
//! records that must be read from it, which come from a model that has never seen the bucket.
//!
//! `cargo run --example make_fixture -- data-fixtures/format-2-inverted` (the folder must not exist yet: a
//! fixture of a released format is never made anew).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drumlin::searches::{LeafQuery, RankedSearch};
use drumlin::testing::bucket::folder::FolderBucket;
use drumlin::text::{QueryOptions, TextQuery};
use drumlin::{
    CollectionSpec, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Scope, Selection, Settings,
    SparseVector, Storage, Store,
};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_secs(86_400);

/// What a collection must hold: its records in insertion order.
struct Model {
    name: &'static str,
    records: Vec<Record>,
}

impl Model {
    fn new(name: &'static str) -> Model {
        Model { name, records: Vec::new() }
    }

    async fn add(&mut self, store: &Store, records: Vec<Record>) {
        let collection = store.collection(self.name).await.expect("the collection exists");
        let outcome = collection.add(records.clone()).await.expect("an add succeeds");
        assert_eq!((outcome.applied, outcome.skipped), (records.len(), 0));
        self.records.extend(records);
    }

    async fn update(&mut self, store: &Store, update: RecordUpdate) {
        let collection = store.collection(self.name).await.expect("the collection exists");
        assert_eq!(collection.update([update.clone()]).await.expect("an update succeeds").applied, 1);
        let record = self.records.iter_mut().find(|r| r.id == update.id).expect("the record is in the model");
        record.embedding = update.embedding.unwrap_or(std::mem::take(&mut record.embedding));
        record.document = update.document.or(record.document.take());
        record.uri = update.uri.or(record.uri.take());
        for (key, value) in update.metadata.unwrap_or_default().0 {
            let metadata = record.metadata.get_or_insert_default();
            match value {
                Some(value) => metadata.0.insert(key, value),
                None => metadata.0.remove(&key),
            };
        }
    }

    async fn delete(&mut self, store: &Store, ids: &[&str]) {
        let collection = store.collection(self.name).await.expect("the collection exists");
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let selection = Selection { ids: Some(ids.clone()), ..Selection::default() };
        assert_eq!(collection.delete(selection).await.expect("a delete succeeds").applied, ids.len());
        self.records.retain(|r| !ids.contains(&r.id));
    }

    fn expected(&self) -> Value {
        let record = |r: &Record| json!({ "id": r.id, "embedding": r.embedding, "document": r.document, "uri": r.uri, "metadata": r.metadata });
        json!({ "records": self.records.iter().map(record).collect::<Vec<_>>() })
    }
}

/// A stone on the beach, in eighths: exact in binary and in decimal.
fn stone(number: u32) -> Record {
    let embedding = (0..8).map(|i| f32::from((number * 37 + i * 11) as u8) / 8.0 - 16.0).collect();
    let metadata =
        [("size", MetaValue::Int(i64::from(number % 5))), ("wet", MetaValue::Bool(number.is_multiple_of(2)))];
    Record::new(format!("stone-{number:02}"), embedding)
        .with_document(format!("stone number {number}, worn round"))
        .with_metadata(metadata)
}

fn stones(numbers: std::ops::Range<u32>) -> Vec<Record> {
    numbers.map(stone).collect()
}

/// Records with every kind of value that a record can hold, and the lack of each.
fn songs() -> Vec<Record> {
    let mut bare = Record::new("bare", vec![1.0, 0.0, 0.0, 0.0]);
    bare.uri = Some("file:///songs/bare.txt".to_owned());
    let kinds = Metadata(BTreeMap::from([
        ("bool".to_owned(), MetaValue::Bool(true)),
        ("int".to_owned(), MetaValue::Int(1)),
        ("float".to_owned(), MetaValue::Float(1.0)),
        ("large".to_owned(), MetaValue::Int(i64::MAX)),
        ("text".to_owned(), MetaValue::Str("\"quoted\"\n\t\u{1f3b6}".to_owned())),
        ("bools".to_owned(), MetaValue::Bools(vec![true, false])),
        ("ints".to_owned(), MetaValue::Ints(vec![-1, 0, 1])),
        ("floats".to_owned(), MetaValue::Floats(vec![0.5, 1.0])),
        ("texts".to_owned(), MetaValue::Strs(vec!["a".to_owned(), String::new()])),
    ]));
    vec![
        bare,
        Record::new("kinds", vec![0.5, -0.5, 0.25, 0.0]).with_document("").with_metadata(kinds),
        Record::new("an id with spaces / and ünïcödé", vec![0.0, 2.0, 0.0, -3.0])
            .with_document("Ein Lied, zwei Zeilen\nund ein Ende")
            .with_metadata(Metadata::default()),
        Record::new("silence", vec![0.0; 4]).with_document("a zero vector"),
    ]
}

/// A sparse vector of exact values; some have tokens, and one has no entry.
fn terms(number: u32) -> SparseVector {
    let indices: Vec<u32> = (0..number).map(|i| i * i * 1_000_003 + number).collect();
    let values = (0..number).map(|i| (i as f32 - 1.0) / 8.0).collect();
    let tokens = (0..number).map(|i| format!("\"{i}\" ü")).collect();
    let vector = SparseVector::new(indices, values).expect("the indices ascend");
    if number.is_multiple_of(2) { vector.with_tokens(tokens).expect("one for each") } else { vector }
}

fn words(numbers: std::ops::Range<u32>) -> Vec<Record> {
    let word = |n: u32| {
        let metadata = Metadata::from([("terms", MetaValue::Sparse(terms(n))), ("n", MetaValue::Int(i64::from(n)))]);
        Record::new(format!("word-{n}"), vec![n as f32, 0.5]).with_metadata(metadata)
    };
    numbers.map(word).collect()
}

fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.timing.fan_out = 3;
    (settings.timing.graph_rows, settings.timing.inverted_rows) = (4, 1);
    settings.timing.swap_interval = Duration::ZERO;
    settings
}

fn patch<const N: usize>(id: &str, pairs: [(&str, Option<MetaValue>); N]) -> RecordUpdate {
    let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    RecordUpdate { id: id.to_owned(), metadata: Some(MetadataPatch(pairs)), ..RecordUpdate::default() }
}

/// Searches documents and sparse vectors, so that maintenance stores their inverted indexes.
async fn search_words(store: &Store, name: &str) {
    let collection = store.collection(name).await.expect("the collection exists");
    let analyser = collection.analyser().expect("the settings are the default's");
    let query = TextQuery::parse("round stone", &analyser, &QueryOptions::default()).expect("a plain query");
    let sparse = LeafQuery::Sparse { key: "terms".to_owned(), vector: terms(3), idf: false };
    let queries = [LeafQuery::Text { query, analyser }, sparse];
    let searches = queries.map(|query| RankedSearch::single(query, 10));
    collection.rank(searches.into(), 10).await.expect("a search succeeds");
}

/// The early days of the store: what is written is flushed, merged, and the log behind it deleted.
async fn first_days(bucket: Arc<FolderBucket>, coast: &mut Model) {
    let mut settings = settings();
    (settings.timing.keep, settings.timing.garbage) = (Duration::ZERO, Duration::ZERO);
    let store = Store::open_on(settings, bucket).await.expect("the folder opens");
    let spec = CollectionSpec::new(coast.name).metric(Metric::L2);
    store.create_collection(spec).await.expect("the name is free");
    for start in [0, 8, 16] {
        coast.add(&store, stones(start..start + 8)).await;
        coast.delete(&store, &[&format!("stone-{:02}", start + 3)]).await;
        store.admin().maintain().await.expect("maintenance succeeds");
    }
    store.admin().maintain().await.expect("maintenance succeeds");
    drop(store);
}

/// Later: segments are merged and stay retired, a collection is dropped, a tail is left in the log.
async fn later_days(bucket: Arc<FolderBucket>, [coast, songs_model, words_model]: [&mut Model; 3]) {
    let mut settings = settings();
    (settings.timing.keep, settings.timing.garbage) = (DAY, DAY);
    let store = Store::open_on(settings, bucket).await.expect("the folder opens");
    let scope = Scope::default();
    let moved = |id: &str, embedding: Vec<f32>| RecordUpdate {
        id: id.to_owned(),
        embedding: Some(embedding),
        ..RecordUpdate::default()
    };
    coast.update(&store, patch("stone-01", [("size", Some(MetaValue::Int(9))), ("wet", None)])).await;
    coast.delete(&store, &["stone-00", "stone-09"]).await;
    store.admin().maintain().await.expect("maintenance succeeds");
    coast.update(&store, moved("stone-02", vec![0.125; 8])).await;
    coast.add(&store, stones(24..30)).await;
    store.admin().maintain().await.expect("maintenance succeeds");
    let spec = CollectionSpec {
        dimension: Some(4),
        metadata: Some(Metadata::from([("made", "by hand")])),
        ..CollectionSpec::new(songs_model.name)
    };
    store.with_scope(&scope).create_collection(spec).await.expect("the name is free");
    songs_model.add(&store, songs()).await;
    let spec = CollectionSpec::new(words_model.name).metric(Metric::L2);
    store.create_collection(spec).await.expect("the name is free");
    words_model.add(&store, words(0..6)).await;
    search_words(&store, coast.name).await;
    search_words(&store, words_model.name).await;
    coast.delete(&store, &["stone-24", "stone-17"]).await;
    store.admin().maintain().await.expect("maintenance succeeds");
    coast.delete(&store, &["stone-10"]).await;
    store.admin().maintain().await.expect("maintenance succeeds");
    // Only in the log: a record that comes again, a new one, changes of both kinds, a delete.
    coast.add(&store, vec![stone(3), stone(30)]).await;
    coast.update(&store, patch("stone-30", [("size", Some(MetaValue::Float(2.5)))])).await;
    coast.update(&store, moved("stone-01", vec![-0.25; 8])).await;
    coast.delete(&store, &["stone-12"]).await;
    let spec = CollectionSpec::new("scratch").metric(Metric::Ip);
    let scratch = store.with_scope(&scope).create_collection(spec).await.expect("the name is free");
    scratch.add([Record::new("gone", vec![1.0, 2.0])]).await.expect("an add succeeds");
    store.with_scope(&scope).drop_collection("scratch").await.expect("a drop succeeds");
    // Sparse vectors that are only in the log: one replaced, one removed, two new.
    words_model.update(&store, patch("word-1", [("terms", Some(terms(4).into()))])).await;
    words_model.update(&store, patch("word-2", [("terms", None)])).await;
    words_model.add(&store, words(6..8)).await;
}

/// Copies the objects: not the folder's hidden directory, nor the probe's mark, which names the place.
fn copy_objects(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == ".drumlin" || entry.file_name() == "probe" {
            continue;
        }
        if source.is_dir() {
            copy_objects(&source, &target);
        } else {
            fs::copy(&source, &target).expect("a file can be copied");
        }
    }
}

#[tokio::main]
async fn main() {
    let target = std::env::args().nth(1).expect("the folder to make, for example data-fixtures/format-2-inverted");
    let target = Path::new(&target);
    assert!(!target.join("bucket").exists(), "{} holds a fixture already", target.display());
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let bucket = Arc::new(FolderBucket::open(work.path()).expect("the folder opens"));
    let (mut coast, mut songs, mut words) = (Model::new("coast"), Model::new("songs"), Model::new("words"));
    first_days(bucket.clone(), &mut coast).await;
    later_days(bucket, [&mut coast, &mut songs, &mut words]).await;
    copy_objects(work.path(), &target.join("bucket"));
    let expected: BTreeMap<&str, Value> = [&coast, &songs, &words].map(|m| (m.name, m.expected())).into();
    let text = serde_json::to_string_pretty(&expected).expect("plain values serialise");
    fs::write(target.join("expected.json"), text + "\n").expect("the file can be written");
}
