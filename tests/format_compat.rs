//! Buckets written by earlier versions stay readable: each fixture in `data-fixtures/format-*` is opened,
//! compared record by record with what was put into it, written to, and opened again. What a newer
//! version may have added is kept, and a newer format is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use drumlin::testing::format::head::{Head, Life, Retired};
use drumlin::{
    Collection, Consistency, Found, Get, Include, Kind, Metadata, Metric, Query, Record, Settings, Storage, Store,
};
use serde_json::{Value, json};
use tempfile::TempDir;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures/format-1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = { entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap() };
        if source.is_dir() { copy(&source, &target) } else { fs::copy(&source, &target).map(drop).unwrap() }
    }
}

/// A copy of the fixture's bucket that a test may change.
fn bucket() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(&fixture().join("bucket"), directory.path());
    directory
}

async fn open(bucket: &TempDir) -> drumlin::Result<Store> {
    let mut settings = Settings::new(Storage::Folder(bucket.path().to_owned()));
    settings.maintenance = false;
    Store::open(settings).await
}

/// The folder of the stream of the collection called `name`.
fn stream_of(bucket: &TempDir, collection: &Collection) -> PathBuf {
    bucket.path().join("c").join(collection.info().id.to_string())
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn expected() -> BTreeMap<String, Vec<Found>> {
    let file = read_json(&fixture().join("expected.json"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let found = |record: &Value| Found {
        id: text(&record["id"]).unwrap(),
        embedding: record["embedding"].as_array().map(|e| e.iter().map(|x| x.as_f64().unwrap() as f32).collect()),
        document: text(&record["document"]),
        uri: text(&record["uri"]),
        metadata: Some(&record["metadata"]).filter(|m| !m.is_null()).map(|m| Metadata::from_json(m).unwrap()),
    };
    let collections = file.as_object().unwrap().iter();
    collections.map(|(name, c)| (name.clone(), c["records"].as_array().unwrap().iter().map(found).collect())).collect()
}

async fn all_of(collection: &Collection) -> Vec<Found> {
    let get = Get { include: Include::ALL, consistency: Consistency::Strong, ..Get::default() };
    collection.get(get).await.unwrap().records
}

#[tokio::test]
async fn every_record_of_a_format_1_bucket_is_read_and_the_bucket_can_be_written_on() {
    let bucket = bucket();
    let mut expected = expected();
    let store = open(&bucket).await.unwrap();
    let mut names: Vec<String> = store.collections(&Default::default()).into_iter().map(|c| c.name).collect();
    names.sort();
    assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>());
    for (name, records) in &mut expected {
        let collection = store.collection(name).await.unwrap();
        assert_eq!(all_of(&collection).await, *records, "collection {name}");
        let new = Record::new("written later", vec![0.5; collection.info().dimension.unwrap()]);
        assert_eq!(collection.add(std::slice::from_ref(&new)).await.unwrap().applied, 1);
        records.push(Found { id: new.id, embedding: Some(new.embedding), ..Found::default() });
    }
    drop(store);
    for upkeep in [true, false] {
        let store = open(&bucket).await.unwrap();
        for (name, records) in &expected {
            let collection = store.collection(name).await.unwrap();
            assert_eq!(all_of(&collection).await, *records, "collection {name}, upkeep {upkeep}");
            let nearest = collection.search(Query::new(records[0].embedding.clone().unwrap()).k(1)).await.unwrap();
            assert_eq!(nearest.results[0][0].record.id, records[0].id, "collection {name}");
        }
        if upkeep {
            store.maintain().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_the_catalog_says_of_a_format_1_collection_is_read() {
    let bucket = bucket();
    let store = open(&bucket).await.unwrap();
    let coast = store.collection("coast").await.unwrap().info();
    assert_eq!((coast.metric, coast.dimension, coast.metadata), (Metric::L2, Some(8), None));
    let songs = store.collection("songs").await.unwrap().info();
    let metadata = Some(Metadata::from([("made", "by hand")]));
    assert_eq!((songs.metric, songs.dimension, songs.metadata), (Metric::Cosine, Some(4), metadata));
    assert_eq!(store.collection("scratch").await.unwrap_err().kind(), Kind::NotFound);
}

/// The fixture is worth its name only while it holds every kind of object in every state.
#[tokio::test]
async fn the_format_1_fixture_covers_the_format() {
    let bucket = bucket();
    let store = open(&bucket).await.unwrap();
    store.wait_until_loaded().await;
    let collection = store.collection("coast").await.unwrap();
    let stream = stream_of(&bucket, &collection);
    let name = format!("c/{}", collection.info().id);
    let head = Head::decode(&fs::read(stream.join("HEAD")).unwrap(), &name).unwrap();
    let levels: Vec<u32> = head.segs.iter().map(|s| s.level).collect();
    assert_eq!(levels, [1, 1, 0], "merged segments, also above the first, and a flushed one");
    assert!(head.gone.0 > 1 && head.gone < head.floor && !head.aging.is_empty(), "a log deleted in part: {head:?}");
    assert!(collection.info().version >= head.floor, "a tail that is only in the log");
    assert!(!stream.join(format!("log/{:020}.parquet", head.gone.0 - 1)).exists());
    let list = head.retired.last().unwrap();
    let list = fs::read(stream.join(format!("retired/{}.json", list.ulid))).unwrap();
    let list = Retired::decode(&list, &name).unwrap();
    assert!(list.keys().iter().all(|key| bucket.path().join(key).exists()), "retired objects stand until they go");
    assert!(!list.segs.is_empty() && !head.graphs.is_empty(), "{head:?}");
    assert_eq!((store.counters().graphs_loaded, store.counters().graphs_built), (head.graphs.len() as u64, 0));
    let rows: u64 = head.segs.iter().map(|s| s.rows).sum();
    assert!(rows > collection.count(Consistency::Local).await.unwrap(), "tombstones and replaced rows");
    let catalog = Head::decode(&fs::read(bucket.path().join("catalog/HEAD")).unwrap(), "catalog").unwrap();
    assert!(!catalog.segs.is_empty() && bucket.path().join(log_of("catalog", catalog.floor.0)).exists());
    let heads = fs::read_dir(bucket.path().join("c")).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = format!("c/{}", entry.file_name().to_str().unwrap());
        Head::decode(&fs::read(entry.path().join("HEAD")).unwrap(), &name).unwrap()
    });
    assert_eq!(heads.filter(|head| head.state == Life::Dropped).count(), 1, "a dropped collection");
}

fn log_of(stream: &str, version: u64) -> String {
    format!("{stream}/log/{version:020}.parquet")
}

#[tokio::test]
async fn fields_of_a_newer_version_in_head_survive_a_flush() {
    let bucket = bucket();
    let store = open(&bucket).await.unwrap();
    let path = stream_of(&bucket, &store.collection("coast").await.unwrap()).join("HEAD");
    drop(store);
    let mut head = read_json(&path);
    let added = json!({ "of": ["a", "newer", "version"], "number": 7 });
    head["later"] = added.clone();
    head["segs"][0]["later"] = added.clone();
    head["config"]["later"] = added.clone();
    fs::write(&path, serde_json::to_vec(&head).unwrap()).unwrap();

    let store = open(&bucket).await.unwrap();
    let collection = store.collection("coast").await.unwrap();
    collection.add(&[Record::new("one more", vec![1.0; 8])]).await.unwrap();
    let report = store.sync().await.unwrap();
    assert!(report.collections.iter().all(|c| c.error.is_none()), "{report:?}");
    let flushed = read_json(&path);
    assert!(flushed["floor"].as_u64() > head["floor"].as_u64(), "{flushed}");
    for place in [&flushed["later"], &flushed["segs"][0]["later"], &flushed["config"]["later"]] {
        assert_eq!(*place, added, "{flushed}");
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_with_a_sentence_and_other_collections_are_served() {
    let bucket = bucket();
    let store = open(&bucket).await.unwrap();
    let path = stream_of(&bucket, &store.collection("coast").await.unwrap()).join("HEAD");
    drop(store);
    let sentence = "format 2 is newer than the 1 this version reads; use a newer Drumlin";
    let mut head = read_json(&path);
    head["format"] = json!(2);
    fs::write(&path, serde_json::to_vec(&head).unwrap()).unwrap();
    let store = open(&bucket).await.unwrap();
    let error = store.collection("coast").await.unwrap_err();
    assert!(error.kind() == Kind::Corrupted && error.message().contains(sentence), "{error}");
    assert!(error.message().contains("/HEAD"), "{error}");
    assert_eq!(all_of(&store.collection("songs").await.unwrap()).await, expected()["songs"]);
    drop(store);

    let path = bucket.path().join("drumlin.json");
    let mut file = read_json(&path);
    file["format"] = json!(2);
    fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    let error = open(&bucket).await.unwrap_err();
    assert!(error.kind() == Kind::Corrupted && error.message().contains(sentence), "{error}");
    assert!(error.message().contains("drumlin.json"), "{error}");
}

#[tokio::test]
async fn a_format_1_bucket_is_sound() {
    let bucket = bucket();
    let check = drumlin::verify(&Settings::folder(bucket.path()), &drumlin::Choice::default()).await.unwrap();
    assert!(check.sound && check.all_findings().count() == 0, "{:#?}", check.all_findings().collect::<Vec<_>>());
    assert_eq!(check.streams.iter().filter(|stream| stream.state == "dropped").count(), 1);
}
