//! Restore, fork, scan, garbage, and serving what is before damage: each held against a model that knows what
//! every version was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drumlin::admin::{CollectionSelector, Moment, Reason};
use drumlin::answers::Found;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, PutCondition};
use drumlin::testing::check;
use drumlin::testing::format::head::Head;
use drumlin::{
    Collection, CollectionSpec, Consistency, ErrorKind, Metric, Query, Record, Scope, ServingState, Settings, Store,
    Version,
};
use drumlin_test_support::bucket_check::Content;

use super::past::{DIM, Past, all_of, settings};

const HOUR: Duration = Duration::from_secs(3600);

async fn open_with(bucket: &MemoryBucket, settings: Settings) -> Store {
    let store = Store::open_on(settings, Arc::new(bucket.clone())).await.unwrap();
    store.wait_until_loaded().await;
    store
}

async fn open(bucket: &MemoryBucket) -> Store {
    open_with(bucket, settings()).await
}

fn memory() -> MemoryBucket {
    MemoryBucket::new(StoreClock::machine())
}

async fn create(store: &Store, name: &str) -> Collection {
    let spec = CollectionSpec::new(name).metric(Metric::L2);
    store.create_collection(spec).await.unwrap()
}

/// A collection with a past of several flushes and merges; the hour of the store's clock at which each version
/// was written.
async fn with_past(bucket: &MemoryBucket, store: &Store, seed: u64) -> (Collection, Past, Vec<u64>) {
    let collection = create(store, "lived").await;
    let mut past = Past::new(seed);
    let mut hours = vec![0];
    for hour in 1..=9u64 {
        bucket.clock().set_skew_ms(HOUR.as_millis() as i64 * hour as i64);
        past.live_on(&collection, 10).await;
        hours.resize(past.states.len(), hour);
        if hour < 9 {
            store.sync().await.unwrap();
            store.admin().maintain().await.unwrap();
        }
    }
    (collection, past, hours)
}

async fn restored(store: &Store, moment: Moment, name: &str) -> (Vec<Found>, Version) {
    let (collection, version) = store.admin().restore_collection("lived", moment, name).await.unwrap();
    (all_of(&collection).await, version)
}

#[tokio::test]
async fn every_version_within_reach_is_restored_as_it_was_and_lives_on() {
    let bucket = memory();
    let mut keeping = settings();
    keeping.timing.garbage = 100 * HOUR;
    let store = open_with(&bucket, keeping).await;
    let (collection, past, _) = with_past(&bucket, &store, 3).await;
    let reach = store.admin().past_of("lived").await.unwrap().unwrap();
    let newest = past.states.len() as u64 - 1;
    assert_eq!((reach.oldest, reach.newest), (Version(0), Version(newest)));
    for version in (0..=newest).step_by(3).chain([newest - 1, newest]).collect::<BTreeSet<u64>>() {
        let name = format!("as of {version}");
        let (found, told) = restored(&store, Moment::Version(Version(version)), &name).await;
        assert_eq!(told, Version(version));
        assert!(found == past.states[version as usize], "version {version}");
    }
    let beyond = store.admin().restore_collection("lived", Moment::Version(Version(newest + 1)), "x").await;
    assert_eq!(beyond.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(all_of(&collection).await, *past.now(), "the collection itself is as it was");

    // Another instance reads them all, and goes on writing on one.
    let other = open(&bucket).await;
    let copy = other.collection("as of 30").await.unwrap();
    assert_eq!(all_of(&copy).await, past.states[30]);
    copy.add([Record::new("new", vec![0.5; DIM])]).await.unwrap();
    other.sync().await.unwrap();
    other.admin().maintain().await.unwrap();
    let mut expected = past.states[30].clone();
    expected.push(Found { id: "new".to_owned(), embedding: Some(vec![0.5; DIM]), ..Found::default() });
    assert_eq!(all_of(&copy).await, expected);
    let content = Content::read(&bucket).await;
    content.check().unwrap();
    let check =
        check::verify(Arc::new(bucket.clone()), &CollectionSelector::default(), &settings().timing).await.unwrap();
    assert!(check.sound, "{:#?}", check.all_findings().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_time_means_the_last_commit_written_by_then() {
    let bucket = memory();
    let start = bucket.clock().now().0;
    let mut keeping = settings();
    keeping.timing.garbage = 100 * HOUR;
    let store = open_with(&bucket, keeping).await;
    let (_, past, hours) = with_past(&bucket, &store, 4).await;
    for hour in [1u64, 4, 8] {
        let half_past = start + HOUR.as_millis() as i64 * hour as i64 + HOUR.as_millis() as i64 / 2;
        let (found, version) = restored(&store, Moment::Time(half_past), &format!("hour {hour}")).await;
        let last = hours.iter().rposition(|written| *written <= hour).unwrap();
        assert_eq!(version, Version(last as u64), "hour {hour}");
        assert!(found == past.states[last], "hour {hour}");
    }
    let before = store.admin().restore_collection("lived", Moment::Time(start), "x").await.unwrap_err();
    assert!(before.kind() == ErrorKind::NotFound && before.message().contains("is out of reach"), "{before}");
}

#[tokio::test]
async fn what_is_out_of_reach_is_refused_and_how_far_back_it_goes_is_told() {
    let bucket = memory();
    let mut short = settings();
    (short.timing.lease, short.timing.keep, short.timing.garbage) = (HOUR / 60, 2 * HOUR, HOUR);
    let store = open_with(&bucket, short).await;
    let (_, past, _) = with_past(&bucket, &store, 5).await;
    let reach = store.admin().past_of("lived").await.unwrap().unwrap();
    assert!(reach.oldest > Version(5) && reach.oldest < reach.newest, "{reach:?}");
    let (found, _) = restored(&store, Moment::Version(reach.oldest), "oldest").await;
    assert!(found == past.states[reach.oldest.0 as usize]);
    let unreachable = (1..reach.oldest.0).rev().find(|version| !reach.also.contains(&Version(*version))).unwrap();
    let moment = Moment::Version(Version(unreachable));
    let error = store.admin().restore_collection("lived", moment, "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains(&format!("versions {} to {}", reach.oldest, reach.newest)), "{error}");
}

#[tokio::test]
async fn a_dropped_collection_comes_back_as_long_as_its_objects_are_kept() {
    let bucket = memory();
    let store = open(&bucket).await;
    let (_, past, _) = with_past(&bucket, &store, 6).await;
    store.drop_collection("lived").await.unwrap();
    let (found, _) = restored(&store, Moment::Time(i64::MAX), "lived").await;
    assert_eq!(found, *past.now());
    assert_eq!(all_of(&store.collection("lived").await.unwrap()).await, *past.now());
}

#[tokio::test]
async fn a_fork_and_a_scan_hold_what_the_collection_holds() {
    let bucket = memory();
    let store = open(&bucket).await;
    let (collection, past, _) = with_past(&bucket, &store, 7).await;
    let fork = store.fork_collection(collection.identity().id, "fork").await.unwrap();
    assert_eq!(all_of(&fork).await, *past.now());
    let mut scan = collection.scan(Consistency::Strong).await.unwrap();
    assert_eq!((scan.count(), scan.version()), (past.now().len(), collection.info().version));
    collection.add([Record::new("later", vec![0.0; DIM])]).await.unwrap();
    let mut found = Vec::new();
    loop {
        let page = scan.next_page(7).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page.into_iter().map(|r| (r.id, Some(r.embedding), r.document, r.metadata)));
    }
    let expected = past.now().iter().cloned().map(|r| (r.id, r.embedding, r.document, r.metadata));
    assert!(found == expected.collect::<Vec<_>>(), "a scan is of one version, though others write");
}

/// Keys that are gone after `work`.
async fn deleted_by(bucket: &MemoryBucket, work: impl Future<Output = ()>) -> BTreeSet<String> {
    let before = Content::read(bucket).await.objects;
    work.await;
    let after = Content::read(bucket).await.objects;
    before.into_keys().filter(|key| !after.contains_key(key)).collect()
}

#[tokio::test]
async fn a_dry_run_names_exactly_what_the_collection_of_garbage_then_deletes() {
    let bucket = memory();
    let mut keeping = settings();
    keeping.timing.garbage = 100 * HOUR;
    let store = open_with(&bucket, keeping.clone()).await;
    let (collection, ..) = with_past(&bucket, &store, 8).await;
    let stream = format!("c/{}", collection.identity().id);
    let orphan = format!("{stream}/seg/01K00000000000000000000000.parquet");
    bucket.put(&orphan, Bytes::from_static(b"left over"), PutCondition::Always).await.unwrap();
    create(&store, "ended").await.add([Record::new("a", vec![1.0])]).await.unwrap();
    store.drop_collection("ended").await.unwrap();
    // Notes that it was seen dropped, and the floor.
    store.admin().maintain().await.unwrap();
    for (hours, sweep) in [(10, false), (60, true), (200, true)] {
        bucket.clock().set_skew_ms(HOUR.as_millis() as i64 * hours);
        let dry = check::garbage::garbage(Arc::new(bucket.clone()), &keeping.timing, sweep).await.unwrap();
        let planned: BTreeSet<String> = dry.iter().map(|pending| pending.key.clone()).collect();
        let deleted = deleted_by(&bucket, async {
            store.admin().collect_garbage(sweep).await.unwrap();
        });
        let deleted = deleted.await;
        assert_eq!(deleted, planned, "after {hours} hours");
        let reasons: BTreeSet<Reason> = dry.iter().map(|pending| pending.reason).collect();
        match hours {
            10 => assert_eq!(reasons, BTreeSet::new()),
            60 => assert_eq!(reasons, BTreeSet::from([Reason::OldCommit, Reason::Orphan, Reason::Dropped])),
            _ => assert_eq!(reasons, BTreeSet::from([Reason::Replaced])),
        }
    }
    Content::read(&bucket).await.check().unwrap();
}

/// The collection with the commit of the last version but `back` damaged.
async fn damaged(bucket: &MemoryBucket, seed: u64, back: u64) -> (Past, Version, String) {
    let store = open(bucket).await;
    let (collection, past, _) = with_past(bucket, &store, seed).await;
    let version = Version(collection.info().version.0 - back);
    let key = format!("c/{}/log/{:020}.parquet", collection.identity().id, version.0);
    let mut bytes = bucket.get(&key, None).await.unwrap().bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bucket.put(&key, bytes.into(), PutCondition::Always).await.unwrap();
    (past, version, key)
}

#[tokio::test]
async fn what_is_before_damage_is_served_only_if_asked_for_and_every_report_says_so() {
    let bucket = memory();
    let (past, version, key) = damaged(&bucket, 9, 3).await;
    let closed = open(&bucket).await;
    assert_eq!(closed.collection("lived").await.unwrap_err().kind(), ErrorKind::Corrupted);

    let before = Content::read(&bucket).await.objects;
    let store = open_with(&bucket, Settings { serve_damaged: true, ..settings() }).await;
    let collection = store.collection("lived").await.unwrap();
    let sound = &past.states[version.0 as usize - 1];
    assert_eq!(collection.count(Consistency::Local).await.unwrap(), sound.len() as u64);
    assert_eq!(collection.info().version.next(), version);
    let answer = collection.search(Query::new(sound[0].embedding.clone().unwrap()).k(1)).await.unwrap();
    assert_eq!(answer[0].id, sound[0].id);
    let state = collection.info().state;
    assert!(matches!(&state, ServingState::Damaged { key: told, .. } if *told == key), "{state:?}");
    let health = store.admin().health();
    assert_eq!((health.status, health.damaged.len()), ("degraded", 1));
    assert_eq!(health.damaged[0].key, key);
    let stale = collection.count(Consistency::Strong).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Corrupted);
    let refused = collection.add([Record::new("new", vec![0.0; DIM])]).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Corrupted && refused.message().contains(&key), "{refused}");
    assert!(store.sync().await.unwrap().collections[0].error.is_some());
    store.close(Duration::from_secs(5)).await.unwrap();
    assert!(Content::read(&bucket).await.objects == before, "nothing is written to a damaged collection");
}

#[tokio::test]
async fn the_sound_part_of_a_damaged_collection_can_be_taken_out() {
    let bucket = memory();
    let (past, version, key) = damaged(&bucket, 10, 2).await;
    let store = open(&bucket).await;
    let scope = Scope::default();
    let newest = Moment::Version(Version(past.states.len() as u64 - 1));
    let error = store.with_scope(&scope).admin().restore_collection("lived", newest, "x").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupted && error.message().contains(&key), "{error}");
    let (found, told) = restored(&store, Moment::Sound, "sound").await;
    assert_eq!(told.next(), version);
    assert_eq!(found, past.states[told.0 as usize]);
    let check =
        check::verify(Arc::new(bucket.clone()), &CollectionSelector::default(), &settings().timing).await.unwrap();
    assert_eq!(
        check.all_findings().map(|finding| finding.key.as_str()).collect::<BTreeSet<_>>(),
        BTreeSet::from([key.as_str()])
    );
}

#[tokio::test]
async fn a_damaged_segment_is_gone_around_where_the_past_has_others() {
    let bucket = memory();
    let mut keeping = settings();
    keeping.timing.garbage = 100 * HOUR;
    let store = open_with(&bucket, keeping).await;
    let (collection, past, _) = with_past(&bucket, &store, 11).await;
    let stream = format!("c/{}", collection.identity().id);
    let head = Head::decode(&bucket.get(&format!("{stream}/HEAD"), None).await.unwrap().bytes, &stream).unwrap();
    let key = head.segs[0].key.clone();
    bucket.put(&key, Bytes::from_static(b"PAR1 no segment PAR1"), PutCondition::Always).await.unwrap();
    let store = open(&bucket).await;
    assert_eq!(store.collection("lived").await.unwrap_err().kind(), ErrorKind::Corrupted);
    let (found, version) = restored(&store, Moment::Sound, "sound").await;
    assert_eq!(version, Version(past.states.len() as u64 - 1));
    assert_eq!(found, *past.now());
}

#[tokio::test]
async fn a_collection_whose_head_is_lost_is_put_together_from_its_segments_and_log() {
    for (seed, lost) in [(12, None), (13, Some("{}")), (14, Some("garbage"))] {
        let bucket = memory();
        let mut short = settings();
        // Of half of them the older part of the log is gone.
        if seed % 2 == 0 {
            (short.timing.lease, short.timing.keep, short.timing.garbage) = (HOUR / 60, 2 * HOUR, HOUR);
        }
        let store = open_with(&bucket, short).await;
        let (collection, past, _) = with_past(&bucket, &store, seed).await;
        let fork = store.fork_collection(collection.identity().id, "fork").await.unwrap();
        for id in [collection.identity().id, fork.identity().id] {
            let key = format!("c/{id}/HEAD");
            match lost {
                None => bucket.delete(&[key]).await.unwrap(),
                Some(text) => drop(bucket.put(&key, text.into(), PutCondition::Always).await.unwrap()),
            }
        }
        let store = open(&bucket).await;
        for name in ["lived", "fork"] {
            assert_eq!(store.collection(name).await.unwrap_err().kind(), ErrorKind::Corrupted, "seed {seed}");
            let saved = format!("saved {name}");
            let restored = store.admin().restore_collection(name, Moment::Sound, &saved).await;
            let (saved, version) = restored.unwrap_or_else(|e| panic!("seed {seed}, {name}: {e}"));
            assert_eq!(version, Version(past.states.len() as u64 - 1), "seed {seed}, {name}");
            assert_eq!(all_of(&saved).await, *past.now(), "seed {seed}, {name}");
            saved.add([Record::new("new", vec![0.5; DIM])]).await.unwrap();
        }
        let again = open(&bucket).await;
        let expected = past.now().len() as u64 + 1;
        for name in ["saved lived", "saved fork"] {
            let count = again.collection(name).await.unwrap().count(Consistency::Strong).await.unwrap();
            assert_eq!(count, expected, "seed {seed}, {name}");
        }
    }
}
