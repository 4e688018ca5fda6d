//! Buckets written by earlier versions stay readable: each fixture in `data-fixtures/format-*` is opened,
//! compared record by record with what was put into it, written to, and opened again. What a newer
//! version may have added is kept, a newer format is refused, and so is a seal that does not fit, while one
//! that an older version copied counts as none.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use drumlin::answers::Found;
use drumlin::searches::{LeafQuery, RankedSearch};
use drumlin::testing::format::head::{Head, Life, Retired};
use drumlin::testing::format::{Commit, CommitKind, Successor, decode_commit, encode_commit};
use drumlin::text::{QueryOptions, TextQuery};
use drumlin::{
    Collection, Consistency, ErrorKind, Get, Include, Metadata, Metric, Query, Record, Settings, SparseVector, Storage,
    Store, Version,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};
use tempfile::TempDir;

/// As format 1 was first written, with seals in its JSON objects, with sparse vectors, and with inverted indexes.
const FIXTURES: [&str; 4] = ["format-1", "format-1-sealed", "format-2", "format-2-inverted"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = { entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap() };
        if source.is_dir() { copy(&source, &target) } else { fs::copy(&source, &target).map(drop).unwrap() }
    }
}

/// A copy of a fixture's bucket that a test may change.
fn bucket(name: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(&fixture(name).join("bucket"), directory.path());
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

fn expected(name: &str) -> BTreeMap<String, Vec<Found>> {
    let file = read_json(&fixture(name).join("expected.json"));
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
async fn every_record_of_an_earlier_bucket_is_read_and_the_bucket_can_be_written_on() {
    for fixture in FIXTURES {
        is_read_and_can_be_written_on(fixture).await;
    }
}

async fn is_read_and_can_be_written_on(fixture: &str) {
    let bucket = bucket(fixture);
    let mut expected = expected(fixture);
    let store = open(&bucket).await.unwrap();
    let mut names: Vec<String> =
        store.collections(Consistency::Local).await.unwrap().into_iter().map(|c| c.name).collect();
    names.sort();
    assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>());
    for (name, records) in &mut expected {
        let collection = store.collection(name).await.unwrap();
        assert_eq!(all_of(&collection).await, *records, "collection {name}");
        let new = Record::new("written later", vec![0.5; collection.info().dimension.unwrap()]);
        assert_eq!(collection.add([new.clone()]).await.unwrap().applied, 1);
        records.push(Found { id: new.id, embedding: Some(new.embedding), ..Found::default() });
    }
    drop(store);
    for maintenance in [true, false] {
        let store = open(&bucket).await.unwrap();
        for (name, records) in &expected {
            let collection = store.collection(name).await.unwrap();
            assert_eq!(all_of(&collection).await, *records, "collection {name}, maintenance {maintenance}");
            let nearest = collection.search(Query::new(records[0].embedding.clone().unwrap()).k(1)).await.unwrap();
            assert_eq!(nearest[0].id, records[0].id, "collection {name}");
        }
        if maintenance {
            store.admin().maintain().await.unwrap();
        }
    }
    for name in expected.keys() {
        let stream = stream_of(&bucket, &open(&bucket).await.unwrap().collection(name).await.unwrap());
        let head = read_json(&stream.join("HEAD"));
        assert_eq!(head["seal"]["nonce"], head["nonce"], "{fixture}: HEAD of {name} was swapped");
    }
}

#[tokio::test]
async fn what_the_catalog_says_of_a_collection_of_an_earlier_bucket_is_read() {
    for fixture in FIXTURES {
        the_catalog_is_read(fixture).await;
    }
}

async fn the_catalog_is_read(fixture: &str) {
    let bucket = bucket(fixture);
    let store = open(&bucket).await.unwrap();
    let coast = store.collection("coast").await.unwrap().info();
    assert_eq!((coast.metric, coast.dimension, coast.metadata), (Metric::L2, Some(8), None));
    let songs = store.collection("songs").await.unwrap().info();
    let metadata = Some(Metadata::from([("made", "by hand")]));
    assert_eq!((songs.metric, songs.dimension, songs.metadata), (Metric::Cosine, Some(4), metadata));
    assert_eq!(store.collection("scratch").await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// The fixture is worth its name only while it holds every kind of object in every state.
#[tokio::test]
async fn the_fixtures_cover_the_format() {
    for fixture in FIXTURES {
        covers_the_format(fixture).await;
        let mut json = Vec::new();
        json_objects(&self::fixture(fixture).join("bucket"), &mut json);
        assert!(json.len() > 6, "HEADs, lists, and drumlin.json: {json:?}");
        for path in json {
            let sealed = read_json(&path).get("seal").is_some();
            assert_eq!(sealed, fixture != "format-1", "{}", path.display());
        }
    }
}

fn json_objects(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            json_objects(&path, found);
        } else if path.ends_with("HEAD") || path.extension().is_some_and(|ending| ending == "json") {
            found.push(path);
        }
    }
}

async fn covers_the_format(fixture: &str) {
    let bucket = bucket(fixture);
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
    let ulid = head.retired.last().unwrap().ulid;
    let list = fs::read(stream.join(format!("retired/{ulid}.json"))).unwrap();
    let list = Retired::decode(&list, &name, ulid).unwrap();
    assert!(list.keys().iter().all(|key| bucket.path().join(key).exists()), "retired objects stand until they go");
    assert!(!list.segs.is_empty() && !head.graphs.is_empty(), "{head:?}");
    assert_eq!(
        (store.admin().counters().graphs_loaded, store.admin().counters().graphs_built),
        (head.graphs.len() as u64, 0)
    );
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

/// The format numbers of the Parquet files in a folder, by file name.
fn format_numbers(folder: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    files.sort();
    let number = |path: &PathBuf| {
        let file = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let properties = file.metadata().file_metadata().key_value_metadata().unwrap().clone();
        properties.into_iter().find(|property| property.key == "format").unwrap().value.unwrap()
    };
    files.iter().map(number).collect()
}

#[test]
fn the_commit_that_hands_a_collection_over_is_read() {
    let bytes = fs::read(fixture("format-3/handover.parquet")).unwrap().into();
    let Commit { header, rows } = decode_commit(&bytes).unwrap();
    let collection = "e8fa290b-473c-487c-aa95-9218c56ea362".parse().unwrap();
    assert_eq!(header.successor(), Some(Successor { collection, version: Version(7) }));
    assert_eq!((header.kind, header.version, rows.len()), (CommitKind::Drop, Version(6), 0));
    assert_eq!(encode_commit(&header, &rows).unwrap(), bytes, "it is written as it was");
    assert_eq!(format_numbers(&fixture("format-3")), ["3"]);
}

#[tokio::test]
async fn only_files_with_sparse_vectors_have_the_number_that_older_versions_refuse() {
    let bucket = bucket("format-2");
    let store = open(&bucket).await.unwrap();
    let words = stream_of(&bucket, &store.collection("words").await.unwrap());
    assert_eq!(format_numbers(&words.join("seg")), ["2"]);
    // The third commit removes one, and the last adds two.
    assert_eq!(format_numbers(&words.join("log")), ["2", "2", "1", "2"]);
    for name in ["coast", "songs"] {
        let stream = stream_of(&bucket, &store.collection(name).await.unwrap());
        let numbers = [format_numbers(&stream.join("seg")), format_numbers(&stream.join("log"))].concat();
        assert!(numbers.len() > 1 && numbers.iter().all(|number| number == "1"), "{name}: {numbers:?}");
    }
    let collection = store.collection("words").await.unwrap();
    collection.add([Record::new("plain", vec![1.0, 2.0])]).await.unwrap();
    assert_eq!(format_numbers(&words.join("log")), ["2", "2", "1", "2", "1"]);
}

#[tokio::test]
async fn stored_inverted_indexes_of_an_earlier_bucket_are_loaded_and_answer_as_new_ones() {
    let (stored, plain) = (bucket("format-2-inverted"), bucket("format-2-inverted"));
    for name in ["coast", "words"] {
        let stream = stream_of(&plain, &open(&plain).await.unwrap().collection(name).await.unwrap());
        fs::remove_dir_all(stream.join("inverted")).unwrap();
    }
    let mut answers = Vec::new();
    for (bucket, loaded) in [(&stored, true), (&plain, false)] {
        let store = open(bucket).await.unwrap();
        store.wait_until_loaded().await;
        let counters = store.admin().counters();
        assert_eq!(counters.inverted_loaded >= 4, loaded, "{counters:?}");
        answers.push(word_answers(&store).await);
    }
    assert!(answers[0].iter().all(|found| !found.is_empty()), "{answers:?}");
    assert_eq!(answers[0], answers[1]);
}

/// Ids and scores of a search of documents and one of sparse vectors.
async fn word_answers(store: &Store) -> Vec<Vec<(String, f32)>> {
    let coast = store.collection("coast").await.unwrap();
    let analyser = coast.analyser().unwrap();
    let query = TextQuery::parse("stones 17 21 30 round", &analyser, &QueryOptions::default()).unwrap();
    let vector = SparseVector::new(vec![3, 1_000_006, 4_000_015], vec![1.0, 2.0, 3.0]).unwrap();
    let sparse = LeafQuery::Sparse { key: "terms".to_owned(), vector, idf: true };
    let words = store.collection("words").await.unwrap();
    let mut found = Vec::new();
    for (collection, query) in [(coast, LeafQuery::Text { query, analyser }), (words, sparse)] {
        let rows = collection.rank(vec![RankedSearch::single(query, 10)], 10).await.unwrap().remove(0);
        let row = |place| (rows.part(place, Include::default()).unwrap().unwrap().id, rows.score(place).unwrap());
        found.push((0..rows.len()).map(row).collect());
    }
    found
}

fn log_of(stream: &str, version: u64) -> String {
    format!("{stream}/log/{version:020}.parquet")
}

#[tokio::test]
async fn fields_of_a_newer_version_in_head_survive_a_flush() {
    let bucket = bucket("format-1");
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
    collection.add([Record::new("one more", vec![1.0; 8])]).await.unwrap();
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
    let bucket = bucket("format-1");
    let store = open(&bucket).await.unwrap();
    let path = stream_of(&bucket, &store.collection("coast").await.unwrap()).join("HEAD");
    drop(store);
    let sentence = "format 2 is newer than the 1 this version reads; use a newer Drumlin";
    let mut head = read_json(&path);
    head["format"] = json!(2);
    fs::write(&path, serde_json::to_vec(&head).unwrap()).unwrap();
    let store = open(&bucket).await.unwrap();
    let error = store.collection("coast").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupted && error.message().contains(sentence), "{error}");
    assert!(error.message().contains("/HEAD"), "{error}");
    assert_eq!(all_of(&store.collection("songs").await.unwrap()).await, expected("format-1")["songs"]);
    drop(store);

    let path = bucket.path().join("drumlin.json");
    let mut file = read_json(&path);
    file["format"] = json!(2);
    fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    let error = open(&bucket).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupted && error.message().contains(sentence), "{error}");
    assert!(error.message().contains("drumlin.json"), "{error}");
}

#[tokio::test]
async fn an_earlier_bucket_is_sound() {
    for fixture in FIXTURES {
        let check = verify_bucket(&bucket(fixture)).await;
        let found: Vec<_> = check.all_findings().collect();
        assert!(check.sound && found.is_empty(), "{fixture}: {found:#?}");
        assert_eq!(check.streams.iter().filter(|stream| stream.state == "dropped").count(), 1);
    }
}

async fn verify_bucket(bucket: &TempDir) -> drumlin::admin::check_report::BucketCheck {
    drumlin::admin::verify(&Settings::folder(bucket.path()), &drumlin::admin::CollectionSelector::default())
        .await
        .unwrap()
}

/// Writes the next HEAD as a version does that knows no seals: what it does not know, it copies.
fn swap_as_an_older_version(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut head = read_json(path);
    let nonce = format!("{:032x}", 0xabc_u32 + head["gen"].as_u64().unwrap() as u32);
    head["gen"] = json!(head["gen"].as_u64().unwrap() + 1);
    head["nonce"] = json!(nonce);
    head["recent"].as_array_mut().unwrap().push(json!(nonce));
    change(&mut head);
    fs::write(path, serde_json::to_vec(&head).unwrap()).unwrap();
}

#[tokio::test]
async fn a_seal_that_an_older_writer_copied_is_no_damage_and_the_next_swap_seals_anew() {
    let bucket = bucket("format-1-sealed");
    let store = open(&bucket).await.unwrap();
    let path = stream_of(&bucket, &store.collection("coast").await.unwrap()).join("HEAD");
    drop(store);
    let seal = read_json(&path)["seal"].clone();
    let older = |head: &mut Value| (head["sweeps"], head["swept"]) = (json!(3), json!(1_700_000_000_000_u64));
    swap_as_an_older_version(&path, older);
    let head = read_json(&path);
    assert_eq!((&head["seal"], head["nonce"] == seal["nonce"]), (&seal, false), "{head}");
    let check = verify_bucket(&bucket).await;
    assert!(check.sound && check.all_findings().count() == 0, "{:#?}", check.all_findings().collect::<Vec<_>>());

    let store = open(&bucket).await.unwrap();
    let collection = store.collection("coast").await.unwrap();
    assert_eq!(all_of(&collection).await, expected("format-1-sealed")["coast"]);
    collection.add([Record::new("one more", vec![1.0; 8])]).await.unwrap();
    store.sync().await.unwrap();
    let flushed = read_json(&path);
    assert_eq!((&flushed["sweeps"], &flushed["seal"]["nonce"]), (&json!(3), &flushed["nonce"]), "{flushed}");
    assert_ne!(flushed["seal"], seal);
}

#[tokio::test]
async fn a_value_changed_under_a_seal_is_refused_where_without_one_it_is_believed() {
    for fixture in FIXTURES {
        let bucket = bucket(fixture);
        let store = open(&bucket).await.unwrap();
        let path = stream_of(&bucket, &store.collection("coast").await.unwrap()).join("HEAD");
        drop(store);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"level\":1", "\"level\":2")).unwrap();
        let collection = open(&bucket).await.unwrap().collection("coast").await;
        let sound = verify_bucket(&bucket).await.sound;
        if fixture == "format-1" {
            assert_eq!(all_of(&collection.unwrap()).await, expected(fixture)["coast"]);
            assert!(sound, "nothing witnesses the level of a segment");
        } else {
            let error = collection.unwrap_err();
            assert!(
                error.kind() == ErrorKind::Corrupted && error.message().contains("its seal does not fit"),
                "{error}"
            );
            assert!(error.message().contains("/HEAD"), "{error}");
            assert!(!sound);
        }
    }
}
