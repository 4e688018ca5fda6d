//! Maps of collections through the store: stored once they are made, loaded by whoever asks for them first after a
//! start, copied by forks, left out by what is older, replaced, deleted, and never in the way, whatever the bucket does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Store;
use super::restore::Moment;
use crate::bucket::clock::StoreClock;
use crate::bucket::fault::{Call, Fault, FaultBucket, Wrong};
use crate::bucket::memory::MemoryBucket;
use crate::bucket::{Bucket, PutCondition};
use crate::check::{CollectionSelector, verify};
use crate::collection::handle::Collection;
use crate::collection::map::{CollectionMap, MapState};
use crate::collection::request::CollectionSpec;
use crate::config::{Settings, Storage};
use crate::format::head::Head;
use crate::record::{Record, Version};

const RECORDS: usize = 60;

fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.sync_interval = Duration::ZERO;
    settings.timing.swap_interval = Duration::ZERO;
    settings.timing.garbage = Duration::ZERO;
    settings.timing.reread_limit = Duration::from_millis(5);
    settings.timing.deadline = Duration::from_millis(500);
    settings
}

fn memory() -> MemoryBucket {
    MemoryBucket::new(StoreClock::machine())
}

async fn open(bucket: impl Bucket + 'static) -> Store {
    let store = Store::open_on(settings(), Arc::new(bucket)).await.unwrap();
    store.wait_until_loaded().await;
    store
}

fn record(number: usize) -> Record {
    let noise = |axis: usize| ((number * 31 + axis * 17) % 97) as f32 / 970.0;
    let embedding = (0..8).map(|axis| noise(axis) + if axis == number % 4 { 1.0 } else { 0.0 }).collect();
    Record::new(format!("r{number}"), embedding)
}

/// A bucket with a collection of records.
async fn filled() -> MemoryBucket {
    let bucket = memory();
    let store = open(bucket.clone()).await;
    let collection = store.create_collection(CollectionSpec::new("things")).await.unwrap();
    collection.add((0..RECORDS).map(record)).await.unwrap();
    bucket
}

/// Waits until a map of the newest version is made, and was tried to be stored.
async fn made(collection: &Collection) -> Arc<CollectionMap> {
    for _ in 0..2000 {
        let state = collection.begin_map().await.unwrap();
        match state {
            MapState { running: None, failed: None, done: Some(map), .. }
                if map.version == collection.info().version =>
            {
                collection.keep_map_stored().await;
                return map;
            }
            MapState { failed: Some(error), .. } => panic!("{error}"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    panic!("the map was not made");
}

/// Where each record is on the map that somebody gets who asks for it; `None` if there is none.
async fn seen(collection: &Collection) -> Option<BTreeMap<String, [f32; 2]>> {
    collection.map_state().await.unwrap().done.map(|map| places(&map))
}

fn places(map: &CollectionMap) -> BTreeMap<String, [f32; 2]> {
    map.records.ids.iter().cloned().zip(map.records.points.iter().copied()).collect()
}

async fn keys(bucket: &MemoryBucket) -> Vec<String> {
    let listed = crate::stream::sweep::list_under(bucket, "c/").await.unwrap();
    listed.into_iter().map(|object| object.key).filter(|key| key.contains("/map/")).collect()
}

/// Everything that the check has to say.
async fn findings(bucket: &MemoryBucket) -> Vec<String> {
    let check = verify(Arc::new(bucket.clone()), &CollectionSelector::default(), &settings().timing).await.unwrap();
    check.all_findings().map(|finding| format!("{}: {}", finding.key, finding.cause)).collect()
}

#[tokio::test]
async fn a_map_outlives_a_restart_and_is_read_only_when_somebody_asks_for_it() {
    let bucket = filled().await;
    let store = open(bucket.clone()).await;
    let map = made(&store.collection("things").await.unwrap()).await;
    assert_eq!(store.admin().counters().maps_stored, 1);
    let faulty = FaultBucket::new(Arc::new(bucket.clone()));
    let watched = Arc::new(faulty);
    let again = Store::open_on(settings(), watched.clone()).await.unwrap();
    again.wait_until_loaded().await;
    let collection = again.collection("things").await.unwrap();
    let reads = || watched.log().iter().filter(|call| call.key.contains("/map/")).count();
    assert_eq!(reads(), 0, "a start does not read it");
    let before = again.budget().used_bytes();
    assert_eq!(seen(&collection).await, Some(places(&map)));
    assert_eq!(again.admin().counters().maps_loaded, 1);
    assert!(again.budget().used_bytes() >= before + map.records.bytes(), "it is counted");
    let all = collection.map_state().await.unwrap().done.unwrap();
    assert_eq!(all.records.faithfulness, map.records.faithfulness);
    assert_eq!((all.version, reads()), (map.version, 1), "it is read once");
    made(&collection).await;
    let counters = again.admin().counters();
    assert_eq!((counters.maps_loaded, counters.maps_stored), (1, 0), "nothing is made or stored twice");
    assert_eq!((findings(&bucket).await, keys(&bucket).await.len()), (Vec::new(), 1));
}

#[tokio::test]
async fn a_stored_map_is_continued_and_the_one_that_it_replaces_is_deleted() {
    let bucket = filled().await;
    let map = made(&open(bucket.clone()).await.collection("things").await.unwrap()).await;
    let first = keys(&bucket).await;
    let store = open(bucket.clone()).await;
    let collection = store.collection("things").await.unwrap();
    collection.add([record(1000)]).await.unwrap();
    let more = places(made(&collection).await.as_ref());
    assert!(places(&map).iter().all(|(id, place)| more[id] == *place), "what was on it stays where it is");
    assert_eq!(more.len(), RECORDS + 1);
    assert_eq!((findings(&bucket).await, keys(&bucket).await.len()), (Vec::new(), 2));
    store.admin().collect_garbage(false).await.unwrap();
    let left = keys(&bucket).await;
    assert!(left.len() == 1 && left != first, "{first:?}, then {left:?}");
    assert_eq!(findings(&bucket).await, Vec::<String>::new());
}

#[tokio::test]
async fn another_instance_sees_a_map_that_was_made_elsewhere() {
    let bucket = filled().await;
    let (one, two) = (open(bucket.clone()).await, open(bucket.clone()).await);
    let (here, there) = (one.collection("things").await.unwrap(), two.collection("things").await.unwrap());
    assert_eq!(seen(&there).await, None);
    let map = made(&here).await;
    assert_eq!(seen(&there).await, Some(places(&map)));
    here.add([record(1000)]).await.unwrap();
    let newer = made(&here).await;
    two.sync().await.unwrap();
    assert_eq!(seen(&there).await, Some(places(&newer)));
}

#[tokio::test]
async fn a_fork_has_the_map_and_so_has_a_restored_version_that_is_no_older() {
    let bucket = filled().await;
    let store = open(bucket.clone()).await;
    let collection = store.collection("things").await.unwrap();
    let map = made(&collection).await;
    let fork = store.fork_collection(collection.id(), "fork").await.unwrap();
    assert_eq!(seen(&fork).await, Some(places(&map)));
    let twice = store.fork_collection(fork.id(), "fork of the fork").await.unwrap();
    assert_eq!(seen(&twice).await, Some(places(&map)));
    collection.add([record(1000)]).await.unwrap();
    let version = collection.info().version;
    let (later, _) = store.admin().restore_collection("things", Moment::Version(version), "later").await.unwrap();
    assert_eq!(seen(&later).await, Some(places(&map)));
    made(&collection).await;
    let (earlier, _) =
        store.admin().restore_collection("things", Moment::Version(Version(1)), "earlier").await.unwrap();
    assert_eq!(seen(&earlier).await, None, "the map of a later version says where other records are");
    assert_eq!(findings(&bucket).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_map_that_nobody_asks_for_leaves_memory_once_the_bucket_has_it() {
    let bucket = filled().await;
    let store = open(bucket.clone()).await;
    let collection = store.collection("things").await.unwrap();
    let map = made(&collection).await;
    let (expected, bytes) = (places(&map), map.records.bytes());
    assert!(!collection.let_map_go(Duration::ZERO), "somebody is using it");
    drop(map);
    assert!(!collection.let_map_go(Duration::from_secs(600)), "it was asked for a moment ago");
    let before = store.budget().used_bytes();
    assert!(collection.let_map_go(Duration::ZERO));
    assert!(!collection.let_map_go(Duration::ZERO));
    assert_eq!(before - store.budget().used_bytes(), bytes);
    assert_eq!(seen(&collection).await, Some(expected));
}

/// What can happen to a call, besides what it should.
const FAULTS: [Fault; 8] = [
    Fault::RefuseBefore,
    Fault::UnknownBefore,
    Fault::UnknownAfter,
    Fault::Wrong(Wrong::Flipped),
    Fault::Missing,
    Fault::Phantom,
    Fault::Die { applied: false },
    Fault::Die { applied: true },
];

/// Makes a map of a bucket's collection while its calls are failed; the process may die meanwhile.
async fn make_under(bucket: &MemoryBucket, mut plan: impl FnMut(&Call, u64) -> Fault + Send + 'static) -> u64 {
    let faulty = Arc::new(FaultBucket::new(Arc::new(bucket.clone())));
    let store = Store::open_on(settings(), faulty.clone()).await.unwrap();
    store.wait_until_loaded().await;
    let collection = store.collection("things").await.unwrap();
    let first = faulty.log().len() as u64;
    faulty.set_plan(move |call| plan(call, call.index - first));
    let died = async {
        while !faulty.is_dead() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        // The map is made whatever the bucket does; a dead process does nothing.
        map = made(&collection) => assert_eq!(map.records.ids.len(), RECORDS + 1),
        () = died => {}
    }
    faulty.log().len() as u64 - first
}

#[tokio::test]
async fn nothing_is_lost_or_wrong_whichever_call_of_a_maps_storage_fails() {
    let bucket = filled().await;
    let store = open(bucket.clone()).await;
    let collection = store.collection("things").await.unwrap();
    made(&collection).await;
    collection.add([record(1000)]).await.unwrap();
    drop((collection, store));
    let content = content(&bucket).await;
    let calls = make_under(&restored(&content).await, |_, _| Fault::None).await;
    assert!(calls > 5, "{calls} calls");
    for (call, fault) in (0..calls).flat_map(|call| FAULTS.map(|fault| (call, fault))) {
        let bucket = restored(&content).await;
        make_under(&bucket, move |_, index| if index == call { fault } else { Fault::None }).await;
        let context = format!("call {call}, {fault:?}");
        let store = open(bucket.clone()).await;
        let collection = store.collection("things").await.unwrap();
        let found = seen(&collection).await.unwrap_or_default();
        assert!([RECORDS, RECORDS + 1].contains(&found.len()), "{context}: {} records on the map", found.len());
        assert_eq!(made(&collection).await.records.ids.len(), RECORDS + 1, "{context}");
        assert_eq!(collection.info().count, RECORDS as u64 + 1, "{context}");
        assert_eq!(head_of(&bucket).await.map.map(|map| map.records), Some(RECORDS as u64 + 1), "{context}");
        // An upload that came to nothing is an orphan, and no finding.
        let wrong: Vec<String> = findings(&bucket).await;
        assert!(wrong.iter().all(|finding| finding.contains("was to take off it")), "{context}: {wrong:?}");
    }
}

async fn content(bucket: &MemoryBucket) -> BTreeMap<String, Bytes> {
    let mut objects = BTreeMap::new();
    for object in crate::stream::sweep::list_under(bucket, "").await.unwrap() {
        let bytes = bucket.get(&object.key, None).await.unwrap().bytes;
        objects.insert(object.key, bytes);
    }
    objects
}

async fn restored(content: &BTreeMap<String, Bytes>) -> MemoryBucket {
    let bucket = memory();
    for (key, bytes) in content {
        bucket.put(key, bytes.clone(), PutCondition::Always).await.unwrap();
    }
    bucket
}

async fn head_of(bucket: &MemoryBucket) -> Head {
    let content = content(bucket).await;
    let (key, bytes) = content.iter().find(|(key, _)| key.starts_with("c/") && key.ends_with("/HEAD")).unwrap();
    Head::decode(bytes, key.strip_suffix("/HEAD").unwrap()).unwrap()
}

#[tokio::test]
async fn whatever_stands_in_place_of_a_map_is_told_of_and_made_anew() {
    let bucket = filled().await;
    let map = places(made(&open(bucket.clone()).await.collection("things").await.unwrap()).await.as_ref());
    let content = content(&bucket).await;
    let key = keys(&bucket).await.remove(0);
    let whole = content[&key].clone();
    let flipped = |at: usize| Bytes::from_iter(whole.iter().enumerate().map(|(i, b)| if i == at { b ^ 4 } else { *b }));
    let harms = [
        ("nothing", None),
        ("no bytes", Some(Bytes::new())),
        ("half", Some(whole.slice(..whole.len() / 2))),
        ("a flipped bit in the schema", Some(flipped(200))),
        ("a flipped bit in a column", Some(flipped(whole.len() / 2))),
        ("a flipped bit at the end", Some(flipped(whole.len() - 20))),
    ];
    for (harm, bytes) in harms {
        let bucket = restored(&content).await;
        match bytes {
            Some(bytes) => drop(bucket.put(&key, bytes, PutCondition::Always).await.unwrap()),
            None => bucket.delete(std::slice::from_ref(&key)).await.unwrap(),
        }
        let told = findings(&bucket).await;
        assert!(told.len() == 1 && told[0].starts_with(&key) || told[0].contains(&key), "{harm}: {told:?}");
        let store = open(bucket.clone()).await;
        let collection = store.collection("things").await.unwrap();
        assert_eq!(seen(&collection).await, None, "{harm}");
        assert_eq!(places(made(&collection).await.as_ref()), map, "{harm}");
        assert_ne!(head_of(&bucket).await.map.unwrap().key, key, "{harm}");
        store.admin().collect_garbage(false).await.unwrap();
        assert_eq!(findings(&bucket).await, Vec::<String>::new(), "{harm}");
    }
}

#[tokio::test]
async fn an_upload_that_no_head_names_is_swept() {
    let bucket = filled().await;
    let store = open(bucket.clone()).await;
    let collection = store.collection("things").await.unwrap();
    made(&collection).await;
    let named = keys(&bucket).await;
    let stray = format!("c/{}/map/{}.arrow", collection.id(), ulid::Ulid::generate());
    bucket.put(&stray, Bytes::from_static(b"never named"), PutCondition::Always).await.unwrap();
    let mut eager = settings();
    eager.timing.sweep_age = Duration::ZERO;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let sweeper = Store::open_on(eager, Arc::new(bucket.clone())).await.unwrap();
    sweeper.wait_until_loaded().await;
    sweeper.admin().sweep().await.unwrap();
    assert_eq!(keys(&bucket).await, named);
}
