//! Damaged objects: whatever stands where an object stood for longer than it is read again, the error names the
//! object and the cause, nothing panics, the other collections are served, and nothing is written to the damaged
//! stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, PutCondition};
use drumlin::testing::format::Checksum;
use drumlin::testing::format::head::{GraphEntry, Head};
use drumlin::{
    Collection, CollectionSpec, Consistency, ErrorKind, Metric, Query, Record, ServingState, Settings, Storage, Store,
    Version,
};
use drumlin_test_support::bucket_check::Content;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    Empty,
    /// This share of its bytes is left.
    Truncated(f64),
    /// One bit is flipped, this far in.
    Flipped(f64),
    /// The format number is one that no version knows yet.
    Newer,
    /// Another object of its kind stands there.
    Swapped,
    Deleted,
}

const HARMS: [Harm; 11] = [
    Harm::Empty,
    Harm::Truncated(0.5),
    Harm::Truncated(0.99),
    Harm::Flipped(0.0),
    Harm::Flipped(0.2),
    Harm::Flipped(0.5),
    Harm::Flipped(0.8),
    Harm::Flipped(0.999),
    Harm::Newer,
    Harm::Swapped,
    Harm::Deleted,
];

fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.sync_interval = Duration::from_secs(1 << 24);
    settings.timing.fan_out = 3;
    settings.timing.garbage = Duration::ZERO;
    settings.timing.swap_interval = Duration::ZERO;
    settings.timing.reread_limit = Duration::from_millis(20);
    settings
}

fn memory() -> MemoryBucket {
    MemoryBucket::new(StoreClock::machine())
}

async fn open(bucket: &MemoryBucket) -> drumlin::Result<Store> {
    let store = Store::open_on(settings(), Arc::new(bucket.clone())).await?;
    store.wait_until_loaded().await;
    Ok(store)
}

async fn fill(collection: &Collection, first: usize, count: usize) {
    for i in first..first + count {
        let record = Record::new(format!("r{i}"), vec![i as f32, 1.0]).with_document(format!("number {i}"));
        assert_eq!(collection.add([record]).await.unwrap().applied, 1);
    }
}

/// A bucket with two collections of segments, a tail and a retired list, `hurt` and `whole`, and with a
/// catalog of segments and a tail.
async fn ground() -> (Content, String) {
    let bucket = memory();
    let store = open(&bucket).await.unwrap();
    let mut id = String::new();
    for name in ["hurt", "whole"] {
        let spec = CollectionSpec::new(name).metric(Metric::L2);
        let collection = store.create_collection(spec).await.unwrap();
        for round in 0..4 {
            fill(&collection, round * 3, 3).await;
            store.sync().await.unwrap();
        }
        if name == "hurt" {
            id = format!("c/{}", collection.info().id);
        }
    }
    let mut keeping = settings();
    keeping.timing.garbage = Duration::from_secs(1 << 24);
    let second = Store::open_on(keeping, Arc::new(bucket.clone())).await.unwrap();
    second.admin().maintain().await.unwrap();
    for name in ["hurt", "whole"] {
        fill(&second.collection(name).await.unwrap(), 50, 1).await;
    }
    second.sync().await.unwrap();
    second.create_collection(CollectionSpec::new("late")).await.unwrap();
    for name in ["hurt", "whole"] {
        fill(&second.collection(name).await.unwrap(), 100, 3).await;
    }
    let content = Content::read(&bucket).await;
    content.check().unwrap();
    (content, id)
}

/// The objects of one kind, in order.
fn kind(content: &Content, prefix: &str) -> Vec<String> {
    content.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
}

fn harmed(content: &Content, key: &str, other: &str, harm: Harm) -> Option<Bytes> {
    let mut bytes = content.objects[key].to_vec();
    let at = |share: f64| ((bytes.len() as f64 * share) as usize).min(bytes.len() - 1);
    match harm {
        Harm::Empty => bytes.clear(),
        Harm::Truncated(share) => bytes.truncate(at(share)),
        Harm::Flipped(share) => {
            let at = at(share);
            bytes[at] ^= 0x10;
        }
        Harm::Newer => bytes = newer(&bytes),
        Harm::Swapped => bytes = content.objects[other].to_vec(),
        Harm::Deleted => return None,
    }
    Some(bytes.into())
}

/// An object with a format number that no version knows.
fn newer(bytes: &[u8]) -> Vec<u8> {
    for (known, unknown) in [
        (&b"\"format\":1"[..], &b"\"format\":9"[..]),
        (b"\"format\": 1", b"\"format\": 9"),
        (b"format\x18\x011", b"format\x18\x019"),
    ] {
        if let Some(at) = bytes.windows(known.len()).position(|window| window == known) {
            return [&bytes[..at], unknown, &bytes[at + known.len()..]].concat();
        }
    }
    panic!("no format number was found in {} bytes", bytes.len());
}

async fn bucket_with(content: &Content, key: &str, object: Option<Bytes>) -> MemoryBucket {
    let mut content = content.clone();
    match object {
        Some(bytes) => content.objects.insert(key.to_owned(), bytes),
        None => content.objects.remove(key),
    };
    let bucket = memory();
    content.write(&bucket).await;
    bucket
}

async fn objects_of(bucket: &MemoryBucket, stream: &str) -> BTreeMap<String, Bytes> {
    let mut objects = Content::read(bucket).await.objects;
    objects.retain(|key, _| key.starts_with(stream));
    objects
}

/// Opens the bucket and checks that `hurt` alone is damaged, by the object `key`.
async fn only_hurt_is_damaged(bucket: &MemoryBucket, stream: &str, key: &str, case: &str) {
    let before = objects_of(bucket, stream).await;
    let store = open(bucket).await.unwrap_or_else(|e| panic!("{case}: {e}"));
    let error = store.collection("hurt").await.map(|c| c.info()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{case}: {error}");
    assert!(error.message().contains(key), "{case}: {error}");
    let health = store.admin().health();
    assert_eq!(health.status, "degraded", "{case}");
    let [damage] = health.damaged.as_slice() else { panic!("{case}: {:?}", health.damaged) };
    assert_eq!((damage.collection.as_str(), damage.key.as_str()), ("hurt", key), "{case}");
    assert!(!damage.cause.is_empty(), "{case}");
    let listed = store.collections(Consistency::Local).await.unwrap();
    let hurt = listed.iter().find(|info| info.name == "hurt").unwrap();
    assert_eq!(hurt.state, ServingState::Damaged { key: key.to_owned(), cause: damage.cause.clone() }, "{case}");

    let whole = store.collection("whole").await.unwrap();
    assert_eq!(whole.count(Consistency::Strong).await.unwrap(), 16, "{case}");
    fill(&whole, 200, 1).await;
    let report = store.sync().await.unwrap();
    assert!(report.collections.iter().any(|c| c.name == "hurt" && c.error.is_some()), "{case}: {report:?}");
    let maintenance = store.admin().maintain().await.unwrap_err();
    assert_eq!(maintenance.kind(), ErrorKind::Corrupted, "{case}: {maintenance}");
    store.close(Duration::from_secs(5)).await.unwrap();
    assert!(objects_of(bucket, stream).await == before, "{case}: something was written to the damaged stream");
}

async fn every_harm_of(part: &str, index: usize, other: usize, harms: impl IntoIterator<Item = Harm>) {
    let (content, stream) = ground().await;
    let keys = kind(&content, &format!("{stream}/{part}"));
    for harm in harms {
        let (key, other) = (&keys[index], &keys[other]);
        let bucket = bucket_with(&content, key, harmed(&content, key, other, harm)).await;
        only_hurt_is_damaged(&bucket, &stream, key, &format!("{key} {harm:?}")).await;
    }
}

#[tokio::test]
async fn a_damaged_commit_is_named_and_only_its_collection_suffers() {
    every_harm_of("log/", 13, 14, HARMS).await;
}

#[tokio::test]
async fn a_damaged_segment_is_named_and_only_its_collection_suffers() {
    let (content, stream) = ground().await;
    let head = Head::decode(&content.objects[&format!("{stream}/HEAD")], &stream).unwrap();
    assert!(head.segs.len() > 1, "{:?}", head.segs);
    for harm in HARMS {
        let (key, other) = (&head.segs[0].key, &head.segs[1].key);
        let bucket = bucket_with(&content, key, harmed(&content, key, other, harm)).await;
        only_hurt_is_damaged(&bucket, &stream, key, &format!("{key} {harm:?}")).await;
    }
}

#[tokio::test]
async fn a_damaged_head_is_named_and_only_its_collection_suffers() {
    let (content, stream) = ground().await;
    let key = format!("{stream}/HEAD");
    let heads = content.objects.keys().filter(|key| key.starts_with("c/") && key.ends_with("/HEAD"));
    let other = heads.into_iter().find(|other| **other != key).unwrap();
    for harm in HARMS {
        let bucket = bucket_with(&content, &key, harmed(&content, &key, other, harm)).await;
        only_hurt_is_damaged(&bucket, &stream, &key, &format!("{key} {harm:?}")).await;
    }
}

#[tokio::test]
async fn a_damaged_graph_costs_only_its_rebuilding() {
    let (content, stream) = ground().await;
    let head_key = format!("{stream}/HEAD");
    let key = format!("{stream}/graph/01K00000000000000000000000.arrow");
    for (case, object) in [("missing", None), ("empty", Some(&b""[..])), ("garbage", Some(b"ARROW1 no graph"))] {
        let mut head = Head::decode(&content.objects[&head_key], &stream).unwrap();
        let bytes = Bytes::from_static(object.unwrap_or(b"what was there"));
        head.graphs = vec![GraphEntry {
            key: key.clone(),
            lo: Version(1),
            hi: Version(12),
            nodes: 12,
            bytes: bytes.len() as u64,
            xxh3: Checksum::of(&bytes),
            other: Default::default(),
        }];
        let mut content = content.clone();
        content.objects.insert(head_key.clone(), head.encode().unwrap().into());
        let bucket = bucket_with(&content, &key, object.map(|_| bytes)).await;
        let store = open(&bucket).await.unwrap();
        assert_eq!(store.admin().health().damaged, vec![], "{case}");
        let collection = store.collection("hurt").await.unwrap();
        let answer = collection.search(Query::new(vec![101.2, 1.0]).k(2)).await.unwrap();
        let ids: Vec<&str> = answer.iter().map(|hit| hit.id.as_str()).collect();
        assert_eq!(ids, ["r101", "r102"], "{case}");
        fill(&collection, 300, 1).await;
    }
}

#[tokio::test]
async fn a_damaged_store_file_or_catalog_is_named_and_the_store_does_not_open() {
    let (content, _) = ground().await;
    let catalog = Head::decode(&content.objects["catalog/HEAD"], "catalog").unwrap();
    let log = kind(&content, "catalog/log/");
    let commit = |from_end: usize| log[log.len() - from_end].clone();
    let segment = catalog.segs[0].key.clone();
    let foreign = kind(&content, "c/").into_iter().find(|key| key.ends_with("/HEAD")).unwrap();
    let kinds = [
        ("drumlin.json".to_owned(), "catalog/HEAD".to_owned()),
        ("catalog/HEAD".to_owned(), foreign),
        (segment, commit(1)),
        (commit(1), commit(2)),
    ];
    for (key, other) in kinds {
        for harm in HARMS {
            if harm == Harm::Deleted && (key == "drumlin.json" || key == commit(1)) {
                continue;
            }
            let bucket = bucket_with(&content, &key, harmed(&content, &key, &other, harm)).await;
            let before = Content::read(&bucket).await.objects;
            let error = open(&bucket).await.map(|s| s.admin().health()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{key} {harm:?}: {error}");
            assert!(error.message().contains(&key), "{key} {harm:?}: {error}");
            assert!(Content::read(&bucket).await.objects == before, "{key} {harm:?}: something was written");
        }
    }
}

#[tokio::test]
async fn a_damaged_retired_list_is_named_deletes_nothing_and_costs_no_data() {
    let (content, stream) = ground().await;
    let keys = kind(&content, &format!("{stream}/retired/"));
    let key = &keys[0];
    let other = kind(&content, "c/").into_iter().find(|k| k.contains("/retired/") && !k.starts_with(&stream)).unwrap();
    let segments = kind(&content, &format!("{stream}/seg/"));
    for harm in HARMS {
        if harm == Harm::Deleted {
            continue;
        }
        let bucket = bucket_with(&content, key, harmed(&content, key, &other, harm)).await;
        let store = open(&bucket).await.unwrap();
        let error = store.admin().maintain().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{harm:?}: {error}");
        assert!(error.message().contains(key.as_str()), "{harm:?}: {error}");
        let left = Content::read(&bucket).await;
        assert!(segments.iter().all(|segment| left.objects.contains_key(segment)), "{harm:?}: a segment was deleted");
        let collection = store.collection("hurt").await.unwrap();
        assert_eq!(collection.count(Consistency::Strong).await.unwrap(), 16, "{harm:?}");
        fill(&collection, 300, 1).await;
    }
}

#[tokio::test]
async fn a_running_store_that_meets_a_damaged_commit_serves_reads_before_it_and_refuses_writes() {
    let (content, stream) = ground().await;
    let bucket = memory();
    content.write(&bucket).await;
    let store = open(&bucket).await.unwrap();
    let collection = store.collection("hurt").await.unwrap();
    let next = collection.info().version.next();
    let key = format!("{stream}/log/{:020}.parquet", next.0);
    bucket.put(&key, Bytes::from_static(b"PAR1 not a commit PAR1"), PutCondition::IfAbsent).await.unwrap();
    let before = objects_of(&bucket, &stream).await;

    let refused = collection.add([Record::new("new", vec![0.0, 0.0])]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupted, "{refused}");
    assert!(refused.message().contains(&key), "{refused}");
    let stale = collection.count(Consistency::Strong).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Corrupted, "{stale}");
    assert_eq!(collection.count(Consistency::Local).await.unwrap(), 16);
    let answer = collection.find(Query::new(vec![5.1, 1.0]).k(1)).await.unwrap().answer().unwrap();
    assert_eq!(answer.results[0][0].id, "r5");
    assert_eq!(answer.version.next(), next);
    assert_eq!(store.admin().health().damaged[0].key, key);
    assert_eq!(store.admin().maintain().await.unwrap_err().kind(), ErrorKind::Corrupted);
    store.close(Duration::from_secs(5)).await.unwrap();
    assert!(objects_of(&bucket, &stream).await == before, "something was written to the damaged stream");
}

/// A number in HEAD is another: HEAD reads as before, only its seal tells.
#[tokio::test]
async fn a_running_store_that_meets_a_broken_seal_deletes_and_writes_nothing() {
    let (content, stream) = ground().await;
    let head_key = format!("{stream}/HEAD");
    let text = String::from_utf8(content.objects[&head_key].to_vec()).unwrap();
    let floor = Head::decode(text.as_bytes(), &stream).unwrap().floor.0;
    // The log up to the floor would be free to go, or sweeps be counted that were none.
    for (field, value) in [("gone", floor.to_string()), ("sweeps", "9".to_owned())] {
        let bucket = memory();
        content.write(&bucket).await;
        let store = open(&bucket).await.unwrap();
        let collection = store.collection("hurt").await.unwrap();
        let start = text.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
        let end = start + text[start..].find(",\"").unwrap();
        let hurt = format!("{}{value}{}", &text[..start], &text[end..]);
        assert_ne!(hurt, text, "{field}");
        let unsealed = format!("{}}}", &hurt[..hurt.find(",\"seal\"").unwrap()]);
        assert!(Head::decode(unsealed.as_bytes(), &stream).is_ok(), "{field}: only the seal tells");
        bucket.put(&head_key, Bytes::from(hurt), PutCondition::Always).await.unwrap();
        let before = objects_of(&bucket, &stream).await;

        let error = store.admin().maintain().await.unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupted && error.message().contains(&head_key), "{field}: {error}");
        assert!(error.message().contains("its seal does not fit"), "{field}: {error}");
        let report = store.sync().await.unwrap();
        assert!(report.collections.iter().any(|c| c.name == "hurt" && c.error.is_some()), "{field}: {report:?}");
        assert!(store.admin().collect_garbage(true).await.is_err(), "{field}");
        assert_eq!(collection.count(Consistency::Local).await.unwrap(), 16, "{field}");
        assert!(objects_of(&bucket, &stream).await == before, "{field}: something was written or deleted");
        only_hurt_is_damaged(&bucket, &stream, &head_key, field).await;
    }
}
