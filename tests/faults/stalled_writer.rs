//! Writers and readers that stand still while the others flush and collect past them
//! (docs/protocol.md#rule-a): whatever a stalled instance is answered when it wakes, it tells nobody a lie and nobody
//! else takes over what it left behind. Each scenario runs a second time with its rule switched off, to show
//! that the rule is what holds.

use std::sync::Arc;
use std::time::Duration;

use drumlin::settings::Timing;
use drumlin::testing::Ablate;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{Call, Fault, FaultBucket, Hold};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, StoreTime};
use drumlin::testing::format::head::Head;
use drumlin::{
    Collection, CollectionSpec, Consistency, Error, ErrorKind, Get, Metric, Record, Scope, Selection, Settings,
    Storage, Store, WriteOutcome,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// T_LEASE, T_KEEP and so on, all shorter, in the proportions of docs/protocol.md#constants.
fn timing() -> Timing {
    let seconds = Duration::from_secs;
    Timing {
        lease: seconds(20),
        keep: seconds(300),
        garbage: seconds(20),
        collect_interval: seconds(30),
        flush_commits: 4,
        flush_commits_other: 6,
        flush_age: seconds(60),
        fan_out: 3,
        deadline: seconds(15),
        maintenance_interval: seconds(3),
        ..Timing::default()
    }
}

/// Longer than a writer stalls.
const PATIENCE: Duration = Duration::from_secs(1_000_000);

/// A bucket and the stores on it; each store's requests can be held.
struct Scene {
    memory: MemoryBucket,
    timing: Timing,
}

/// A store, what holds its requests, and the collection of the scene as it sees it.
struct Instance {
    store: Store,
    faulty: Arc<FaultBucket>,
    collection: Collection,
}

impl Scene {
    fn new(ablate: Ablate) -> Scene {
        let clock = StoreClock::starting_at(StoreTime(1_700_000_000_000));
        Scene { memory: MemoryBucket::new(clock), timing: Timing { ablate, ..timing() } }
    }

    /// A scene where no writer gives up waiting for its put: only rule A can refuse it.
    fn patient(ablate: Ablate) -> Scene {
        let mut scene = Scene::new(ablate);
        scene.timing.deadline = PATIENCE;
        scene
    }

    /// A store that takes part; `maintains` says whether it flushes and collects.
    async fn instance(&self, maintains: bool) -> Instance {
        let faulty = Arc::new(FaultBucket::new(Arc::new(self.memory.clone())));
        let mut settings = Settings::new(Storage::Memory);
        settings.timing = self.timing.clone();
        settings.maintenance = maintains;
        // Instances follow each other only when asked: a stale one stays stale.
        settings.sync_interval = Duration::from_secs(1_000_000);
        let store = Store::open_on(settings, faulty.clone() as Arc<dyn Bucket>).await.unwrap();
        let collection = match store.collection("a").await {
            Ok(collection) => collection,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let spec = CollectionSpec::new("a").metric(Metric::L2);
                store.create_collection(spec).await.unwrap()
            }
            Err(error) => panic!("{error}"),
        };
        Instance { store, faulty, collection }
    }

    fn key(&self, collection: &Collection, name: &str) -> String {
        format!("c/{}/{name}", collection.info().id)
    }

    async fn head(&self, collection: &Collection) -> Head {
        let object = self.memory.get(&self.key(collection, "HEAD"), None).await.unwrap();
        Head::decode(&object.bytes, &format!("c/{}", collection.info().id)).unwrap()
    }

    async fn stands(&self, collection: &Collection, slot: u64) -> bool {
        let key = self.key(collection, &format!("log/{slot:020}.parquet"));
        self.memory.get(&key, None).await.is_ok()
    }

    /// Waits until the slot is below `gone` and deleted.
    async fn recycled(&self, collection: &Collection, slot: u64) {
        for _ in 0..1_000 {
            if self.head(collection).await.gone.0 > slot && !self.stands(collection, slot).await {
                return;
            }
            sleep(Duration::from_secs(10)).await;
        }
        panic!("slot {slot} was never let go: {:?}", self.head(collection).await);
    }
}

fn record(id: &str, x: f32) -> Record {
    Record::new(id, vec![x, 0.0]).with_document(format!("{id} at {x}"))
}

async fn fill(collection: &Collection, prefix: &str, count: u32) {
    for i in 0..count {
        collection.add([record(&format!("{prefix}{i}"), i as f32)]).await.unwrap();
    }
}

fn begin(collection: &Collection, record: Record) -> JoinHandle<Result<WriteOutcome, Error>> {
    let collection = collection.clone();
    tokio::spawn(async move { collection.upsert([record]).await })
}

async fn ids(collection: &Collection, consistency: Consistency) -> Vec<String> {
    let answer = collection.get(Get { consistency, ..Get::default() }).await.unwrap();
    answer.records.into_iter().map(|record| record.id).collect()
}

fn is_put_of_a_slot(call: &Call) -> bool {
    call.op == Op::Create && call.key.starts_with("c/") && call.key.contains("/log/")
}

const WITHOUT_RULE_A: Ablate = Ablate { rule_a: true, fresh_answers: false, sweep_guard: false };
const WITHOUT_FRESH_ANSWERS: Ablate = Ablate { rule_a: false, fresh_answers: true, sweep_guard: false };

/// A writer is held at its put of slot 5 until slot 5 has been written by another, flushed and deleted.
/// What it is told, what the others read, and whether its commit stands in the recycled slot.
async fn writer_stalled_before_its_put(ablate: Ablate) -> (Result<WriteOutcome, Error>, Vec<String>, bool) {
    let scene = Scene::patient(ablate);
    let busy = scene.instance(true).await;
    fill(&busy.collection, "r", 4).await;
    let stalled = scene.instance(false).await;
    let mut gate = stalled.faulty.hold(Hold::Before, is_put_of_a_slot);
    let write = begin(&stalled.collection, record("zombie", 1.0));
    gate.reached().await;
    fill(&busy.collection, "s", 4).await;
    scene.recycled(&busy.collection, 5).await;
    gate.release();
    let told = write.await.unwrap();
    let zombie = scene.stands(&busy.collection, 5).await;
    let seen = ids(&busy.collection, Consistency::Strong).await;
    let fresh = scene.instance(false).await;
    assert_eq!(ids(&fresh.collection, Consistency::Strong).await, seen);
    (told, seen, zombie)
}

#[tokio::test(start_paused = true)]
async fn a_writer_stalled_before_its_put_does_not_acknowledge_into_a_recycled_slot() {
    let expected: Vec<String> = ["r0", "r1", "r2", "r3", "s0", "s1", "s2", "s3"].map(str::to_owned).into();
    let (told, seen, zombie) = writer_stalled_before_its_put(Ablate::default()).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert!(zombie, "the put landed in the empty slot");
    assert_eq!(seen, expected);

    let (told, seen, _) = writer_stalled_before_its_put(WITHOUT_RULE_A).await;
    assert_eq!(told.unwrap().version.0, 5, "without rule A the writer believes its put");
    assert_eq!(seen, expected, "and the acknowledged record is in nobody's state");
}

/// A writer stalls after a put that lands in time, but whose answer does not come before its deadline.
/// What it is told of that write, of its next one and of the one after, and what the others read.
async fn writer_stalled_after_its_put(ablate: Ablate) -> ([Result<WriteOutcome, Error>; 3], Vec<String>) {
    let scene = Scene::new(ablate);
    let busy = scene.instance(true).await;
    fill(&busy.collection, "r", 4).await;
    let stalled = scene.instance(false).await;
    stalled.faulty.set_plan(|call| match call.op {
        Op::Create if is_put_of_a_slot(call) => Fault::UnknownAfter,
        Op::Get if call.key.contains("/log/") => Fault::UnknownBefore,
        _ => Fault::None,
    });
    let mut gate = stalled.faulty.hold(Hold::After, is_put_of_a_slot);
    let write = begin(&stalled.collection, record("late", 1.0));
    gate.reached().await;
    fill(&busy.collection, "s", 3).await;
    scene.recycled(&busy.collection, 5).await;
    // The writer has long given the put up, and the reads of its slot.
    gate.release();
    stalled.faulty.set_plan(|_| Fault::None);
    let told = write.await.unwrap();
    let next = stalled.collection.upsert([record("next", 2.0)]).await;
    let third = stalled.collection.upsert([record("third", 3.0)]).await;
    ([told, next, third], ids(&busy.collection, Consistency::Strong).await)
}

#[tokio::test(start_paused = true)]
async fn a_writer_whose_answer_was_lost_while_it_stalled_tells_no_lie_and_goes_on_with_the_others() {
    let ([told, next, third], seen) = writer_stalled_after_its_put(Ablate::default()).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    // The next write goes to the slot in doubt, and there it learns that the log has moved on.
    assert_eq!(next.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(third.unwrap().version.0, 9);
    assert_eq!(seen, ["r0", "r1", "r2", "r3", "late", "s0", "s1", "s2", "third"]);

    let ([_, next, _], seen) = writer_stalled_after_its_put(WITHOUT_RULE_A).await;
    assert_eq!(next.unwrap().applied, 1, "without rule A the next write is acknowledged");
    assert!(!seen.contains(&"next".to_owned()), "and lost: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_only_late_is_acknowledged_and_kept() {
    let scene = Scene::patient(Ablate::default());
    let busy = scene.instance(true).await;
    fill(&busy.collection, "r", 4).await;
    let stalled = scene.instance(false).await;
    let mut gate = stalled.faulty.hold(Hold::After, is_put_of_a_slot);
    let write = begin(&stalled.collection, record("late", 1.0));
    gate.reached().await;
    fill(&busy.collection, "s", 3).await;
    scene.recycled(&busy.collection, 5).await;
    gate.release();
    assert_eq!(write.await.unwrap().unwrap().version.0, 5, "it was given in time, whenever it is heard");
    let expected = ["r0", "r1", "r2", "r3", "late", "s0", "s1", "s2"];
    assert_eq!(ids(&busy.collection, Consistency::Strong).await, expected);
    assert_eq!(ids(&stalled.collection, Consistency::Strong).await, expected);
}

/// Production constants: 10 minutes, 24 hours, and a writer that sleeps for three days.
#[tokio::test(start_paused = true)]
async fn a_writer_stalled_for_days_is_told_that_the_outcome_is_unknown() {
    let mut scene = Scene::new(Ablate::default());
    let maintenance_interval = Duration::from_secs(60);
    scene.timing = Timing { flush_commits: 4, maintenance_interval, deadline: PATIENCE, ..Timing::default() };
    let busy = scene.instance(true).await;
    fill(&busy.collection, "r", 4).await;
    let stalled = scene.instance(false).await;
    let mut gate = stalled.faulty.hold(Hold::Before, is_put_of_a_slot);
    let write = begin(&stalled.collection, record("zombie", 1.0));
    gate.reached().await;
    fill(&busy.collection, "s", 4).await;
    sleep(Duration::from_secs(3 * 24 * 3600)).await;
    assert!(scene.head(&busy.collection).await.gone.0 > 5);
    gate.release();
    assert_eq!(write.await.unwrap().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    let again = stalled.collection.upsert([record("again", 1.0)]).await.unwrap();
    assert_eq!((again.applied, again.version.0), (1, 9));
    assert!(!ids(&busy.collection, Consistency::Strong).await.contains(&"zombie".to_owned()));
}

/// A reader that opened at version 4 reads strongly after slots 5 to 8 were written and deleted; with
/// `zombie`, a stalled writer has left a commit in slot 5 before. What it reads.
async fn stale_reader(ablate: Ablate, zombie: bool) -> Vec<String> {
    let scene = Scene::patient(ablate);
    let busy = scene.instance(true).await;
    fill(&busy.collection, "r", 4).await;
    let (reader, stalled) = (scene.instance(false).await, scene.instance(false).await);
    let mut gate = stalled.faulty.hold(Hold::Before, is_put_of_a_slot);
    let write = begin(&stalled.collection, record("zombie", 1.0));
    gate.reached().await;
    fill(&busy.collection, "s", 4).await;
    scene.recycled(&busy.collection, 5).await;
    if zombie {
        gate.release();
        let _told = write.await.unwrap();
        assert!(scene.stands(&busy.collection, 5).await);
    }
    ids(&reader.collection, Consistency::Strong).await
}

#[tokio::test(start_paused = true)]
async fn a_stale_reader_does_not_take_a_deleted_slot_for_the_end_of_the_log() {
    let all = ["r0", "r1", "r2", "r3", "s0", "s1", "s2", "s3"];
    assert_eq!(stale_reader(Ablate::default(), false).await, all);
    assert_eq!(stale_reader(WITHOUT_RULE_A, false).await, all[..4], "without rule A it misses what was acknowledged");
}

#[tokio::test(start_paused = true)]
async fn a_stale_reader_does_not_apply_a_zombie_commit() {
    let all = ["r0", "r1", "r2", "r3", "s0", "s1", "s2", "s3"];
    assert_eq!(stale_reader(Ablate::default(), true).await, all);
    let seen = stale_reader(WITHOUT_RULE_A, true).await;
    assert_eq!(seen, ["r0", "r1", "r2", "r3", "zombie"], "without rule A it reads what nobody else has");
}

/// Two instances, the second as of version 4; the first has deleted r0 and added n since.
async fn stale_writer(ablate: Ablate) -> (Scene, Instance, Instance) {
    let scene = Scene::new(ablate);
    let first = scene.instance(true).await;
    fill(&first.collection, "r", 4).await;
    let second = scene.instance(false).await;
    let r0 = Selection { ids: Some(vec!["r0".to_owned()]), ..Selection::default() };
    first.collection.delete(r0).await.unwrap();
    first.collection.add([record("n", 9.0)]).await.unwrap();
    (scene, first, second)
}

#[tokio::test(start_paused = true)]
async fn an_add_of_an_id_that_was_deleted_elsewhere_is_not_skipped() {
    let (_scene, first, second) = stale_writer(Ablate::default()).await;
    let told = second.collection.add([record("r0", 5.0)]).await.unwrap();
    assert_eq!((told.applied, told.skipped, told.version.0), (1, 0, 7));
    assert_eq!(ids(&first.collection, Consistency::Strong).await, ["r1", "r2", "r3", "n", "r0"]);

    let (_scene, first, second) = stale_writer(WITHOUT_FRESH_ANSWERS).await;
    let told = second.collection.add([record("r0", 5.0)]).await.unwrap();
    assert_eq!((told.applied, told.skipped), (0, 1), "without the check it says that r0 exists");
    assert_eq!(ids(&first.collection, Consistency::Strong).await, ["r1", "r2", "r3", "n"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_of_an_id_that_was_added_elsewhere_is_not_a_no_op() {
    let n = || Selection { ids: Some(vec!["n".to_owned()]), ..Selection::default() };
    let (_scene, first, second) = stale_writer(Ablate::default()).await;
    let told = second.collection.delete(n()).await.unwrap();
    assert_eq!((told.applied, told.version.0), (1, 7));
    assert_eq!(ids(&first.collection, Consistency::Strong).await, ["r1", "r2", "r3"]);

    let (_scene, first, second) = stale_writer(WITHOUT_FRESH_ANSWERS).await;
    assert_eq!(second.collection.delete(n()).await.unwrap().applied, 0);
    assert!(ids(&first.collection, Consistency::Strong).await.contains(&"n".to_owned()), "the record lives on");
}

#[tokio::test(start_paused = true)]
async fn a_stale_instance_takes_the_dimension_that_another_has_fixed() {
    let scene = Scene::new(Ablate::default());
    let first = scene.instance(true).await;
    let second = scene.instance(false).await;
    fill(&first.collection, "r", 1).await;
    let error = second.collection.add([Record::new("x", vec![1.0, 2.0, 3.0])]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(ids(&first.collection, Consistency::Strong).await, ["r0"]);
    let told = second.collection.add([record("x", 3.0)]).await.unwrap();
    assert_eq!((told.applied, told.version.0), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn names_are_never_answered_from_a_stale_catalog() {
    let scene = Scene::new(Ablate::default());
    let (first, second) = (scene.instance(true).await, scene.instance(false).await);
    let scope = Scope::default();
    let created = first.store.with_scope(&scope).create_collection(CollectionSpec::new("b")).await.unwrap();
    assert_eq!(second.store.collection("b").await.unwrap().info().id, created.info().id);
    first.store.with_scope(&scope).drop_collection("b").await.unwrap();
    let again = second.store.with_scope(&scope).create_collection(CollectionSpec::new("b")).await.unwrap();
    assert_ne!(again.info().id, created.info().id);
    let taken = first.store.with_scope(&scope).create_collection(CollectionSpec::new("b")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn a_drop_by_an_instance_that_missed_the_names_next_holder_drops_that_one() {
    let scene = Scene::new(Ablate::default());
    let (first, second) = (scene.instance(true).await, scene.instance(false).await);
    let scope = Scope::default();
    first.store.with_scope(&scope).drop_collection("a").await.unwrap();
    first.store.with_scope(&scope).create_collection(CollectionSpec::new("a")).await.unwrap();
    second.store.with_scope(&scope).drop_collection("a").await.unwrap();
    // The lookup of a name asks the bucket only if the name is unknown; a write always asks.
    let left = first.store.collection("a").await.unwrap();
    assert_eq!(left.add([record("x", 1.0)]).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(second.store.with_scope(&scope).drop_collection("a").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_flusher_whose_base_moved_gives_up_and_harms_nothing() {
    let scene = Scene::new(Ablate::default());
    let (busy, stalled) = (scene.instance(true).await, scene.instance(false).await);
    fill(&busy.collection, "r", 3).await;
    let mut gate = stalled.faulty.hold(Hold::Before, |call| call.op == Op::Swap && call.key.starts_with("c/"));
    let flush = tokio::spawn({
        let store = stalled.store.clone();
        async move { store.sync().await.unwrap() }
    });
    gate.reached().await;
    fill(&busy.collection, "s", 5).await;
    scene.recycled(&busy.collection, 3).await;
    let before = scene.head(&busy.collection).await;
    gate.release();
    assert_eq!(flush.await.unwrap().collections[0].commits_flushed, 0);
    let after = scene.head(&busy.collection).await;
    assert_eq!((&after.segs, after.floor), (&before.segs, before.floor));
    let all = ["r0", "r1", "r2", "s0", "s1", "s2", "s3", "s4"];
    for instance in [&busy, &stalled, &scene.instance(false).await] {
        assert_eq!(ids(&instance.collection, Consistency::Strong).await, all);
    }
}
