//! Sweeps for orphans (docs/protocol.md#orphan-sweep, docs/protocol.md#orphan-streams): what nobody names is deleted,
//! what somebody is still about to name is not, or can no longer be named: each step of a create, a fork or a flush is
//! held until a sweep has passed it.

use std::sync::Arc;
use std::time::Duration;

use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::fault::{Call, Fault, FaultBucket, Hold};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, PutCondition};
use drumlin::testing::format::head::{Head, Life};
use drumlin::{Collection, CollectionSpec, Consistency, ErrorKind, Metric, Record, Settings, Store};
use tokio::time::sleep;

use super::{KEEP, SWEEP_AGE, memory, settings};

const LONG: Duration = Duration::from_secs(1_000);

/// A store whose calls can be held, and one that sweeps.
struct Scene {
    memory: MemoryBucket,
    faulty: Arc<FaultBucket>,
    stalled: Store,
    sweeper: Store,
}

async fn scene() -> Scene {
    scene_with(settings()).await
}

async fn scene_with(mut settings: Settings) -> Scene {
    // Nobody gives up waiting: what is refused is refused for what a sweep did.
    settings.timing.deadline = 100 * LONG;
    let memory = memory();
    let faulty = Arc::new(FaultBucket::new(Arc::new(memory.clone())));
    let stalled = Store::open_on(settings.clone(), faulty.clone()).await.unwrap();
    let sweeper = Store::open_on(settings, Arc::new(memory.clone())).await.unwrap();
    Scene { memory, faulty, stalled, sweeper }
}

impl Scene {
    async fn keys(&self) -> Vec<String> {
        let page = self.memory.list("", None).await.unwrap();
        assert!(!page.more);
        page.objects.into_iter().map(|object| object.key).filter(|key| !key.starts_with("probe/")).collect()
    }

    /// Keys of collections that are no tombstones: HEADs that are dropped and alone.
    async fn remains(&self) -> Vec<String> {
        let mut remains = Vec::new();
        for key in self.keys().await.into_iter().filter(|key| key.starts_with("c/")) {
            let Some(stream) = key.strip_suffix("/HEAD") else {
                remains.push(key);
                continue;
            };
            let bytes = self.memory.get(&key, None).await.unwrap().bytes;
            if Head::decode(&bytes, stream).unwrap().state == Life::Live {
                remains.push(key);
            }
        }
        remains
    }

    /// Sweeps, and purges what was condemned.
    async fn sweep(&self) -> u64 {
        let swept = self.sweeper.admin().sweep().await.unwrap();
        self.sweeper.admin().maintain().await.unwrap();
        sleep(KEEP + Duration::from_secs(1)).await;
        self.sweeper.admin().maintain().await.unwrap();
        swept
    }

    async fn litter(&self, key: &str) {
        self.memory.put(key, b"never named".to_vec().into(), PutCondition::Always).await.unwrap();
    }
}

async fn create(store: &Store, name: &str) -> drumlin::Result<Collection> {
    store.create_collection(CollectionSpec::new(name).metric(Metric::L2)).await
}

fn records(numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers.map(|n| Record::new(format!("r{n}"), vec![n as f32, 1.0])).collect()
}

const ULID: &str = "01M7YZ6RBC7DC7TXK4D5B9W463";

#[tokio::test(start_paused = true)]
async fn what_no_head_names_is_deleted_once_it_is_old_and_nothing_else_is() {
    let scene = scene().await;
    let collection = create(&scene.sweeper, "a").await.unwrap();
    collection.add(records(0..20)).await.unwrap();
    scene.sweeper.sync().await.unwrap();
    collection.add(records(20..25)).await.unwrap();
    let stream = format!("c/{}", collection.info().id);
    let orphans = [
        format!("{stream}/seg/{ULID}.parquet"),
        format!("{stream}/graph/{ULID}.arrow"),
        format!("{stream}/retired/{ULID}.json"),
        format!("catalog/seg/{ULID}.parquet"),
    ];
    let before = scene.keys().await;
    for key in &orphans {
        scene.litter(key).await;
    }
    sleep(SWEEP_AGE - Duration::from_secs(5)).await;
    assert_eq!(scene.sweeper.admin().sweep().await.unwrap(), 0, "it is not old enough");
    let late = format!("{stream}/seg/{}.parquet", ULID.replace("01M", "01N"));
    scene.litter(&late).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.sweeper.admin().sweep().await.unwrap(), orphans.len() as u64);
    let mut expected = before;
    expected.push(late);
    expected.sort();
    assert_eq!(scene.keys().await, expected);
    let again = Store::open_on(settings(), Arc::new(scene.memory.clone())).await.unwrap();
    let found = again.collection("a").await.unwrap();
    assert_eq!(found.count(Consistency::Strong).await.unwrap(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_repeats_a_page_fails_the_collection_of_garbage_and_deletes_nothing() {
    let scene = scene().await;
    create(&scene.stalled, "a").await.unwrap().add(records(0..3)).await.unwrap();
    scene.stalled.sync().await.unwrap();
    scene.stalled.admin().collect_garbage(false).await.unwrap();
    sleep(KEEP + Duration::from_secs(1)).await;
    let before = scene.keys().await;
    assert!(before.iter().any(|key| key.contains("/log/")), "{before:?}");
    scene.faulty.set_plan(|call| if call.op == Op::List { Fault::ListRepeats } else { Fault::None });
    for sweep in [false, true] {
        let error = scene.stalled.admin().collect_garbage(sweep).await.unwrap_err();
        assert!(error.message().contains("again and again"), "{error}");
    }
    assert_eq!(scene.keys().await, before);
    scene.faulty.set_plan(|_| Fault::None);
    assert_ne!(scene.stalled.admin().collect_garbage(false).await.unwrap().log_objects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_retired_object_is_not_an_orphan_before_its_time() {
    let scene = scene().await;
    let collection = create(&scene.sweeper, "a").await.unwrap();
    for n in 0..8 {
        collection.add(records(n..n + 1)).await.unwrap();
        scene.sweeper.sync().await.unwrap();
    }
    scene.sweeper.admin().maintain().await.unwrap();
    assert!(scene.keys().await.iter().any(|key| key.contains("/retired/")), "segments were merged");
    let before = scene.keys().await;
    sleep(LONG).await;
    assert_eq!(scene.sweeper.admin().sweep().await.unwrap(), 0);
    assert_eq!(scene.keys().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_stalled_past_a_sweep_cannot_name_what_was_swept() {
    let scene = scene().await;
    let collection = create(&scene.stalled, "a").await.unwrap();
    collection.add(records(0..5)).await.unwrap();
    let there = scene.sweeper.collection("a").await.unwrap();
    let mut gate = scene.faulty.hold(Hold::Before, |call| call.op == Op::Swap && call.key.starts_with("c/"));
    let flush = tokio::spawn({
        let store = scene.stalled.clone();
        async move { store.sync().await }
    });
    gate.reached().await;
    assert!(scene.keys().await.iter().any(|key| key.contains("/seg/")));
    sleep(LONG).await;
    assert_eq!(scene.sweeper.admin().sweep().await.unwrap(), 1);
    gate.release();
    let report = flush.await.unwrap().unwrap();
    assert_eq!(report.collections[0].commits_flushed, 0, "{report:?}");
    assert_eq!(there.count(Consistency::Strong).await.unwrap(), 5);
    // The next flush begins anew, and lands.
    let report = scene.stalled.sync().await.unwrap();
    assert_eq!(report.collections[0].commits_flushed, 1, "{report:?}");
    let again = Store::open_on(settings(), Arc::new(scene.memory.clone())).await.unwrap();
    assert_eq!(again.collection("a").await.unwrap().count(Consistency::Strong).await.unwrap(), 5);
}

/// A create that is held at the call that `matches` while a sweep passes; what it is told, what is
/// left in the end, and whether the collection exists.
async fn create_held(hold: Hold, matches: fn(&Call) -> bool) -> (Option<ErrorKind>, Vec<String>, bool) {
    let scene = scene().await;
    let mut gate = scene.faulty.hold(hold, matches);
    let creating = tokio::spawn({
        let store = scene.stalled.clone();
        async move { create(&store, "a").await }
    });
    gate.reached().await;
    sleep(LONG).await;
    scene.sweep().await;
    gate.release();
    let told = creating.await.unwrap().err().map(|error| error.kind());
    sleep(LONG).await;
    scene.sweep().await;
    let exists = scene.sweeper.collection("a").await.is_ok();
    (told, scene.remains().await, exists)
}

fn is_head_of_collection(call: &Call) -> bool {
    call.op == Op::Create && call.key.starts_with("c/")
}

fn is_catalog_commit(call: &Call) -> bool {
    call.op == Op::Create && call.key.starts_with("catalog/log/")
}

#[tokio::test(start_paused = true)]
async fn a_create_that_stalled_before_its_head_goes_on_and_comes_to_be() {
    let (told, remains, exists) = create_held(Hold::Before, is_head_of_collection).await;
    assert_eq!((told, remains.len(), exists), (None, 1, true));
}

#[tokio::test(start_paused = true)]
async fn a_create_that_a_sweep_took_for_an_orphan_is_told_so_and_leaves_nothing() {
    for (hold, matches) in
        [(Hold::After, is_head_of_collection as fn(&Call) -> bool), (Hold::Before, is_catalog_commit)]
    {
        let (told, remains, exists) = create_held(hold, matches).await;
        assert!(
            matches!(told, Some(ErrorKind::Conflict | ErrorKind::OutcomeUnknown | ErrorKind::Unavailable)),
            "{told:?}"
        );
        assert_eq!((remains, exists), (vec![], false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_record_stands_is_never_taken_for_an_orphan() {
    let (told, remains, exists) = create_held(Hold::After, is_catalog_commit).await;
    assert_eq!((told, remains.len(), exists), (None, 1, true));
}

/// As [`create_held`], for a fork of a collection with a segment and a tail.
async fn fork_held(
    hold: Hold,
    matches: impl Fn(&Call) -> bool + Send + 'static,
) -> (Option<ErrorKind>, bool, Vec<String>) {
    let scene = scene().await;
    let source = create(&scene.stalled, "a").await.unwrap();
    source.add(records(0..10)).await.unwrap();
    scene.stalled.sync().await.unwrap();
    source.add(records(10..12)).await.unwrap();
    let mut gate = scene.faulty.hold(hold, matches);
    let forking = tokio::spawn({
        let (store, id) = (scene.stalled.clone(), source.info().id);
        async move { store.fork_collection(id, "b").await }
    });
    gate.reached().await;
    sleep(LONG).await;
    scene.sweep().await;
    gate.release();
    let told = forking.await.unwrap().err().map(|error| error.kind());
    sleep(LONG).await;
    scene.sweep().await;
    sleep(LONG).await;
    scene.sweep().await;
    let count = match scene.sweeper.collection("b").await {
        Ok(fork) => Some(fork.count(Consistency::Strong).await.unwrap()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            None
        }
    };
    assert!(count.is_none_or(|count| count == 12), "{count:?}");
    assert_eq!(source.count(Consistency::Strong).await.unwrap(), 12);
    let of_source = format!("c/{}/", source.info().id);
    let mut remains = scene.remains().await;
    remains.retain(|key| !key.starts_with(&of_source));
    (told, count.is_some(), remains)
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_stalled_among_its_copies_cannot_come_to_be_and_leaves_nothing() {
    let is_copy = |call: &Call| call.op == Op::Copy;
    let (told, exists, remains) = fork_held(Hold::After, is_copy).await;
    assert_eq!((told, exists, remains), (Some(ErrorKind::Unavailable), false, vec![]));
    // Before its copy nothing may be there yet that a sweep could see but the tail.
    let (told, exists, remains) = fork_held(Hold::Before, is_copy).await;
    assert_eq!((told, exists, remains), (Some(ErrorKind::Unavailable), false, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_stalled_around_its_head_cannot_come_to_be_and_leaves_nothing() {
    let (told, exists, remains) = fork_held(Hold::Before, is_head_of_fork).await;
    assert_eq!((told, exists, remains), (Some(ErrorKind::Unavailable), false, vec![]));
    // Its HEAD is seen dropped before the catalog is asked: it definitely did not come to be.
    let (told, exists, remains) = fork_held(Hold::After, is_head_of_fork).await;
    assert_eq!((told, exists, remains), (Some(ErrorKind::Unavailable), false, vec![]));
}

fn is_head_of_fork(call: &Call) -> bool {
    call.op == Op::Create && call.key.starts_with("c/") && call.key.ends_with("/HEAD")
}

#[tokio::test(start_paused = true)]
async fn a_fork_whose_record_stands_is_there_for_good() {
    let (told, exists, remains) = fork_held(Hold::After, is_catalog_commit).await;
    assert_eq!((told, exists), (None, true));
    assert!(remains.iter().any(|key| key.ends_with("/HEAD")), "{remains:?}");
}

#[tokio::test(start_paused = true)]
async fn tombstones_stay_and_are_not_swept_again_and_again() {
    let scene = scene().await;
    create(&scene.sweeper, "a").await.unwrap().add(records(0..3)).await.unwrap();
    scene.sweeper.drop_collection("a").await.unwrap();
    sleep(LONG).await;
    scene.sweep().await;
    let before = scene.keys().await;
    assert_eq!(before.iter().filter(|key| key.starts_with("c/")).count(), 1, "{before:?}");
    sleep(LONG).await;
    assert_eq!(scene.sweep().await, 0);
    assert_eq!(scene.remains().await, Vec::<String>::new());
    // A late copy of a put of the dropped collection.
    let stream = before.iter().find_map(|key| key.strip_suffix("/HEAD").filter(|s| s.starts_with("c/"))).unwrap();
    scene.litter(&format!("{stream}/seg/{ULID}.parquet")).await;
    sleep(LONG).await;
    assert_eq!(scene.sweep().await, 1);
    assert_eq!(scene.remains().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn stores_with_maintenance_sweep_once_in_a_while_by_the_clock_of_the_bucket() {
    let memory = memory();
    let mut settings = settings();
    settings.maintenance = true;
    (settings.timing.flush_commits, settings.timing.collect_interval) = (2, Duration::from_secs(60));
    let store = Store::open_on(settings.clone(), Arc::new(memory.clone())).await.unwrap();
    let collection = create(&store, "a").await.unwrap();
    let stream = format!("c/{}", collection.info().id);
    for n in 0..4 {
        collection.add(records(n..n + 1)).await.unwrap();
    }
    let head =
        async || Head::decode(&memory.get(&format!("{stream}/HEAD"), None).await.unwrap().bytes, &stream).unwrap();
    sleep(Duration::from_secs(300)).await;
    assert_eq!(head().await.sweeps, 1, "a first time once it was flushed");
    let orphans = ["c/00000000-0000-4000-8000-00000000000a/HEAD".to_owned(), format!("{stream}/seg/{ULID}.parquet")];
    let left = Head::new("c/00000000-0000-4000-8000-00000000000a".to_owned(), Default::default());
    memory.put(&orphans[0], left.encode().unwrap().into(), PutCondition::Always).await.unwrap();
    memory.put(&orphans[1], vec![1].into(), PutCondition::Always).await.unwrap();
    drop(store);
    // A restart does not begin the count anew, and two stores sweep no more often than one.
    let stores = [(); 2].map(|()| Store::open_on(settings.clone(), Arc::new(memory.clone())));
    let stores = futures::future::join_all(stores).await;
    sleep(Duration::from_secs(9_000)).await;
    assert_eq!(head().await.sweeps, 1);
    sleep(Duration::from_secs(2_000)).await;
    assert_eq!(head().await.sweeps, 2);
    assert!(memory.get(&orphans[1], None).await.is_err(), "swept");
    let orphan = memory.get(&orphans[0], None).await.unwrap().bytes;
    let orphan = Head::decode(&orphan, "c/00000000-0000-4000-8000-00000000000a").unwrap();
    assert_eq!(orphan.state, Life::Dropped, "condemned");
    assert!(stores.iter().all(|store| store.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_never_flushed_is_swept_once_its_head_is_old_unless_it_has_no_commits() {
    let memory = memory();
    let mut settings = settings();
    settings.maintenance = true;
    settings.timing.collect_interval = Duration::from_secs(60);
    (settings.timing.flush_age, settings.timing.flush_commits) = (1_000 * LONG, 1_000);
    let store = Store::open_on(settings.clone(), Arc::new(memory.clone())).await.unwrap();
    let written = create(&store, "a").await.unwrap();
    written.add(records(0..3)).await.unwrap();
    let empty = create(&store, "b").await.unwrap();
    let stream = |collection: &Collection| format!("c/{}", collection.info().id);
    let orphan = |collection: &Collection| format!("{}/seg/{ULID}.parquet", stream(collection));
    for collection in [&written, &empty] {
        memory.put(&orphan(collection), b"never named".to_vec().into(), PutCondition::Always).await.unwrap();
    }
    sleep(Duration::from_secs(9_000)).await;
    assert!(memory.get(&orphan(&written), None).await.is_ok(), "its HEAD is not old enough");
    sleep(Duration::from_secs(6_000)).await;
    assert!(memory.get(&orphan(&written), None).await.is_err(), "swept");
    assert!(memory.get(&orphan(&empty), None).await.is_ok(), "nothing was ever uploaded for it: nothing is asked");
    let head = async |collection: &Collection| {
        let bytes = memory.get(&format!("{}/HEAD", stream(collection)), None).await.unwrap().bytes;
        Head::decode(&bytes, &stream(collection)).unwrap()
    };
    let (swept, left) = (head(&written).await, head(&empty).await);
    assert_eq!((swept.sweeps, swept.floor.0, left.sweeps), (1, 1, 0));
    let again = Store::open_on(settings, Arc::new(memory.clone())).await.unwrap();
    assert_eq!(again.collection("a").await.unwrap().count(Consistency::Strong).await.unwrap(), 3);
}

/// T_GARBAGE of the tests of lists.
const GARBAGE: Duration = Duration::from_secs(2_000);

/// A collection of the stalled store with a retired list, older than what a sweep deletes and not yet to be worked
/// off; all keys there are.
async fn with_retired_list() -> (Scene, Vec<String>) {
    let mut settings = settings();
    settings.timing.garbage = GARBAGE;
    let scene = scene_with(settings).await;
    let collection = create(&scene.stalled, "a").await.unwrap();
    for n in 0..8 {
        collection.add(records(n..n + 1)).await.unwrap();
        scene.stalled.sync().await.unwrap();
    }
    scene.stalled.admin().maintain().await.unwrap();
    let keys = scene.keys().await;
    assert!(keys.iter().any(|key| key.contains("/retired/")), "segments were merged");
    sleep(LONG).await;
    (scene, keys)
}

fn is_read_of_a_list(call: &Call) -> bool {
    call.op == Op::Get && call.key.contains("/retired/")
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_said_to_be_missing_once_makes_nothing_an_orphan() {
    let (scene, before) = with_retired_list().await;
    let mut lied = false;
    scene.faulty.set_plan(move |call| match is_read_of_a_list(call) && !std::mem::replace(&mut lied, true) {
        true => Fault::Missing,
        false => Fault::None,
    });
    assert_eq!(scene.stalled.admin().sweep().await.unwrap(), 0);
    assert_eq!(scene.keys().await, before);
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_list_named_stays_until_it_may_be_deleted() {
    let (scene, before) = with_retired_list().await;
    let uploads =
        |keys: &[String]| keys.iter().filter(|key| key.contains("/seg/") || key.contains("/retired/")).count();
    scene.faulty.set_plan(|call| if is_read_of_a_list(call) { Fault::Missing } else { Fault::None });
    assert_eq!(scene.stalled.admin().sweep().await.unwrap_err().kind(), ErrorKind::Corrupted);
    scene.stalled.admin().maintain().await.unwrap();
    assert_eq!(uploads(&scene.keys().await), uploads(&before));
    sleep(GARBAGE).await;
    scene.stalled.admin().maintain().await.unwrap();
    assert_eq!(uploads(&scene.keys().await), uploads(&before) - 1, "its entry was taken off HEAD, and it with it");
    assert_eq!(scene.stalled.admin().sweep().await.unwrap(), 8, "what it named is in nobody's list any more");
    scene.faulty.set_plan(|_| Fault::None);
    let again = Store::open_on(settings(), Arc::new(scene.memory.clone())).await.unwrap();
    assert_eq!(again.collection("a").await.unwrap().count(Consistency::Strong).await.unwrap(), 8);
}
