//! A limit of memory: what would pass it is refused with a sentence, collections that nobody uses are evicted
//! and loaded again when somebody does, and nothing that was acknowledged is lost by any of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drumlin::settings::MemoryLimit;
use drumlin::testing::bucket::Bucket;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{Fault, FaultBucket};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{
    Collection, CollectionSpec, Consistency, ErrorKind, Get, Include, Query, Record, Selection, ServingState, Settings,
    Storage, Store,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const DIM: usize = 64;

const MIB: u64 = 1 << 20;

fn bucket() -> Arc<dyn Bucket> {
    Arc::new(MemoryBucket::new(StoreClock::machine()))
}

fn settings(limit: Option<u64>) -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.memory_limit = limit.map(|bytes| MemoryLimit { bytes, whole_process: false });
    settings.timing.maintenance_interval = Duration::from_millis(20);
    settings.timing.swap_interval = Duration::ZERO;
    settings.timing.flush_commits = 8;
    settings.timing.min_loaded = Duration::from_millis(5);
    settings
}

async fn open(bucket: &Arc<dyn Bucket>, limit: Option<u64>) -> Store {
    Store::open_on(settings(limit), bucket.clone()).await.unwrap()
}

async fn create(store: &Store, name: &str) -> Collection {
    store.create_collection(CollectionSpec::new(name)).await.unwrap()
}

fn vector(n: usize) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(n as u64);
    (0..DIM).map(|_| random.random()).collect()
}

fn records(from: usize, count: usize) -> Vec<Record> {
    (from..from + count).map(|n| Record::new(format!("r{n}"), vector(n)).with_document(format!("text {n}"))).collect()
}

/// Writes `count` records, some at a time.
async fn fill(collection: &Collection, count: usize) {
    for from in (0..count).step_by(500) {
        collection.add(records(from, 500.min(count - from))).await.unwrap();
    }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}

fn ids(ids: &[&str]) -> Selection {
    Selection { ids: Some(ids.iter().map(|id| id.to_string()).collect()), ..Selection::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_refused_at_the_limit_and_go_on_after_deletes_and_nothing_is_lost() {
    let bucket = bucket();
    let store = open(&bucket, Some(4 * MIB)).await;
    let notes = create(&store, "notes").await;
    let mut added = 0;
    let refused = loop {
        match notes.add(records(added, 200)).await {
            Ok(_) => added += 200,
            Err(error) => break error,
        }
        assert!(added < 100_000, "nothing was ever refused");
    };
    assert_eq!(refused.kind(), ErrorKind::NoRoom);
    for word in ["this write", "4.0 MiB", "delete", "(memory_limit)"] {
        assert!(refused.message().contains(word), "{word}: {refused}");
    }
    // Half of it at least is records: the estimate is not far from what is held.
    assert!(added as u64 * 4 * DIM as u64 > MIB, "{added} records were all that fitted");
    assert!(store.admin().counters().memory_refusals > 0);
    let held = store.admin().health().memory;
    assert!(held.held_bytes <= held.limit_bytes && held.limit_bytes == 4 * MIB, "{held:?}");

    // What is there is served, and can be deleted.
    assert_eq!(notes.count(Consistency::Local).await.unwrap(), added as u64);
    assert_eq!(notes.search(Query::new(vector(7)).k(1)).await.unwrap()[0].id, "r7");
    let gone: Vec<String> = (0..added * 3 / 4).map(|n| format!("r{n}")).collect();
    notes.delete(ids(&gone.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    store.sync().await.unwrap();
    notes.add(records(added, 200)).await.unwrap();
    let count = notes.count(Consistency::Local).await.unwrap();
    assert_eq!(count, (added - added * 3 / 4 + 200) as u64);
    store.close(Duration::from_secs(10)).await.unwrap();

    let again = open(&bucket, None).await;
    assert_eq!(again.collection("notes").await.unwrap().count(Consistency::Local).await.unwrap(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_kept_from_before_finds_its_collection_again_after_it_was_put_to_rest() {
    let bucket = bucket();
    let mut settings = settings(None);
    settings.evict_idle_after = Some(Duration::from_millis(50));
    let store = Store::open_on(settings, bucket.clone()).await.unwrap();
    let notes = create(&store, "notes").await;
    fill(&notes, 1000).await;
    let evicted = |n: usize| store.admin().health().evicted == n;
    until("it is evicted", || evicted(1)).await;
    let memory = store.admin().health().memory;
    assert_eq!((memory.vectors_bytes, memory.records_bytes, memory.graph_bytes), (0, 0, 0));
    // What is known without its records is still told.
    let info = store.collections(Consistency::Local).await.unwrap().remove(0);
    assert_eq!((info.state, info.count, info.dimension), (ServingState::Evicted, 1000, Some(DIM)));
    assert_eq!((notes.info().count, notes.dimension()), (1000, Some(DIM)));

    assert_eq!(notes.search(Query::new(vector(5)).k(1)).await.unwrap()[0].id, "r5");
    until("it is evicted again", || evicted(1)).await;
    assert_eq!(notes.delete(ids(&["r5"])).await.unwrap().applied, 1);
    until("it is evicted again", || evicted(1)).await;
    assert_eq!(notes.count(Consistency::Strong).await.unwrap(), 999);
    // A reading keeps it.
    let reading = notes.read(Get { include: Include::ALL, ..Get::default() }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(evicted(0));
    assert_eq!(reading.record(998).unwrap().unwrap().id, "r999");
    drop(reading);
    until("it is evicted again", || evicted(1)).await;
    let counters = store.admin().counters();
    assert!(counters.evictions >= 4 && counters.reloads >= 3, "{counters:?}");

    // A drop needs no more than the handle's name.
    store.drop_collection("notes").await.unwrap();
    assert_eq!(notes.count(Consistency::Strong).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.admin().health().evicted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_loads_the_smallest_and_the_others_when_they_are_used() {
    let bucket = bucket();
    {
        let store = open(&bucket, None).await;
        for (name, count) in [("small", 100), ("middle", 2000), ("large", 4000)] {
            fill(&create(&store, name).await, count).await;
        }
        store.sync().await.unwrap();
        store.close(Duration::from_secs(10)).await.unwrap();
    }
    let store = open(&bucket, Some(2 * MIB)).await;
    let recovery = store.wait_until_loaded().await;
    assert!(store.is_loaded() && store.admin().health().status == "ok", "{:?}", store.admin().health());
    assert_eq!((recovery.collections, recovery.evicted, recovery.records), (2, 1, 2100));
    let evicted: Vec<String> = store
        .collections(Consistency::Local)
        .await
        .unwrap()
        .into_iter()
        .filter(|i| i.state == ServingState::Evicted)
        .map(|i| i.name)
        .collect();
    assert_eq!(evicted, ["large"]);
    let status = store.admin().status().collections;
    let told: Vec<(&str, bool)> = status.iter().map(|row| (row.name.as_str(), row.evicted)).collect();
    assert_eq!(told, [("large", true), ("middle", false), ("small", false)]);
    // In turn, far more than fits at once.
    for round in 0..3 {
        for (name, count) in [("small", 100), ("middle", 2000), ("large", 4000)] {
            let collection = store.collection(name).await.unwrap();
            let n = (round * 37) % count;
            let found = collection.search(Query::new(vector(n)).k(1)).await.unwrap();
            assert_eq!(found[0].id, format!("r{n}"), "{name}");
            assert_eq!(collection.count(Consistency::Local).await.unwrap(), count as u64);
        }
    }
    assert!(store.admin().counters().reloads >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_larger_than_the_limit_answers_so_and_the_others_answer() {
    let bucket = bucket();
    {
        let store = open(&bucket, None).await;
        fill(&create(&store, "huge").await, 8000).await;
        fill(&create(&store, "small").await, 100).await;
        store.sync().await.unwrap();
        store.close(Duration::from_secs(10)).await.unwrap();
    }
    let store = open(&bucket, Some(MIB)).await;
    store.wait_until_loaded().await;
    for _ in 0..2 {
        let error = store.collection("huge").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRoom);
        assert!(error.message().contains("collection \"huge\""), "{error}");
        assert_eq!(store.collection("small").await.unwrap().count(Consistency::Strong).await.unwrap(), 100);
    }
    assert_eq!((store.admin().health().status, store.admin().health().evicted), ("degraded", 1));
    assert_eq!(store.admin().health().resting, store.admin().health().evicted, "one number, by two names");
    let row = store.admin().status().collections.remove(0);
    assert!(row.error.is_some_and(|error| error.contains("(memory_limit)")));
    // It can be thrown away, which needs no memory.
    store.drop_collection("huge").await.unwrap();
    assert_eq!(store.admin().health().status, "ok");
    let again = open(&bucket, None).await;
    assert_eq!(again.collection("huge").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_instance_writes_beyond_the_limit_is_never_served_wrong() {
    let bucket = bucket();
    let large = open(&bucket, None).await;
    let theirs = create(&large, "shared").await;
    let other = create(&large, "other").await;
    fill(&theirs, 200).await;
    fill(&other, 200).await;
    let small = open(&bucket, Some(MIB)).await;
    small.wait_until_loaded().await;
    let ours = small.collection("shared").await.unwrap();
    assert_eq!(ours.count(Consistency::Strong).await.unwrap(), 200);
    fill(&theirs, 8000).await;
    large.sync().await.unwrap();
    // Whatever is answered is right: all of it, or that there is no memory.
    let mut refused = false;
    for _ in 0..40 {
        match ours.count(Consistency::Strong).await {
            Ok(count) => assert_eq!(count, 8000),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoRoom, "{error}");
                refused = true;
            }
        }
        assert_eq!(small.collection("other").await.unwrap().count(Consistency::Strong).await.unwrap(), 200);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(refused, "six times the limit was held");
    assert!(small.admin().health().memory.held_bytes <= MIB);
}

/// Eight tasks read and write twelve collections of which about four fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collections_beyond_the_limit_answer_right_under_concurrent_reads_and_writes() {
    const COLLECTIONS: usize = 12;
    const LIMIT: u64 = 2 * MIB;
    let bucket = bucket();
    let store = open(&bucket, Some(LIMIT)).await;
    for number in 0..COLLECTIONS {
        fill(&create(&store, &format!("c{number}")).await, 1000).await;
    }
    let over = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn({
        let (store, over) = (store.clone(), over.clone());
        async move {
            loop {
                over.fetch_or(store.admin().health().memory.held_bytes > LIMIT, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let tasks = (0..8).map(|task| tokio::spawn(wander(store.clone(), task)));
    let mut model: BTreeMap<(usize, String), f32> = BTreeMap::new();
    for done in futures::future::join_all(tasks).await {
        model.extend(done.unwrap());
    }
    watch.abort();
    assert!(!over.load(Ordering::SeqCst), "more was held than the limit allows");
    let counters = store.admin().counters();
    assert!(counters.evictions > 10 && counters.reloads > 10, "{counters:?}");
    let rows = check(&store, &model).await;
    store.close(Duration::from_secs(20)).await.unwrap();
    let again = open(&bucket, None).await;
    assert_eq!(check(&again, &model).await, rows);

    /// Operations of one task on random collections; the ids are its own. What it left, by collection and id.
    async fn wander(store: Store, task: usize) -> BTreeMap<(usize, String), f32> {
        let mut random = StdRng::seed_from_u64(task as u64);
        let mut mine: BTreeMap<(usize, String), f32> = BTreeMap::new();
        let mut kept: BTreeMap<usize, Collection> = BTreeMap::new();
        for step in 0..60 {
            let number = random.random_range(0..COLLECTIONS);
            let name = format!("c{number}");
            // Some handles are old, some are asked for anew.
            let collection = match kept.get(&number).filter(|_| random.random_bool(0.5)) {
                Some(collection) => collection.clone(),
                None => store.collection(&name).await.unwrap(),
            };
            kept.insert(number, collection.clone());
            let id = format!("t{task}-{}", random.random_range(0..5));
            match random.random_range(0..4) {
                0 => {
                    let value = (task * 1000 + step) as f32;
                    collection.upsert([Record::new(&id, vec![value; DIM])]).await.unwrap();
                    mine.insert((number, id), value);
                }
                1 => {
                    collection.delete(ids(&[&id])).await.unwrap();
                    mine.remove(&(number, id));
                }
                2 => {
                    let n = random.random_range(0..1000);
                    let found = collection.search(Query::new(vector(n)).k(1)).await.unwrap();
                    assert_eq!(found[0].id, format!("r{n}"), "{name}");
                }
                _ => {
                    let get = Get { ids: Some(vec![id.clone()]), include: Include::ALL, ..Get::default() };
                    let found = collection.get(get).await.unwrap().records;
                    let first = found.first().and_then(|found| found.embedding.as_ref()?.first().copied());
                    assert_eq!(first, mine.get(&(number, id)).copied(), "{name}");
                }
            }
        }
        mine
    }

    async fn check(store: &Store, model: &BTreeMap<(usize, String), f32>) -> u64 {
        let mut rows = 0;
        for number in 0..COLLECTIONS {
            let collection = store.collection(&format!("c{number}")).await.unwrap();
            let expected = model.keys().filter(|(n, _)| *n == number).count() as u64 + 1000;
            assert_eq!(collection.count(Consistency::Strong).await.unwrap(), expected, "c{number}");
            for ((_, id), value) in model.iter().filter(|((n, _), _)| *n == number) {
                let get = Get { ids: Some(vec![id.clone()]), include: Include::ALL, ..Get::default() };
                let found = collection.get(get).await.unwrap().records;
                assert_eq!(found[0].embedding.as_ref().unwrap()[0], *value, "{id}");
            }
            rows += expected;
        }
        rows
    }
}

/// A store without a limit, behind what can end its process, that holds a collection `huge`, and one that has no memory
/// for it.
async fn roomy_and_narrow() -> (Arc<FaultBucket>, Store, Collection, Store) {
    let bucket = bucket();
    let faulty = Arc::new(FaultBucket::new(bucket.clone()));
    let roomy = Store::open_on(settings(None), faulty.clone()).await.unwrap();
    let huge = create(&roomy, "huge").await;
    fill(&huge, 8000).await;
    roomy.sync().await.unwrap();
    huge.add(records(8000, 5)).await.unwrap();
    let narrow = open(&bucket, Some(MIB)).await;
    narrow.wait_until_loaded().await;
    assert_eq!(narrow.collection("huge").await.unwrap_err().kind(), ErrorKind::NoRoom);
    (faulty, roomy, huge, narrow)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_there_is_no_memory_for_is_dropped_for_all_by_a_commit_in_its_log() {
    let (_, _roomy, huge, narrow) = roomy_and_narrow().await;
    narrow.drop_collection("huge").await.unwrap();
    let told = huge.add(records(8005, 1)).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::NotFound, "nothing is acknowledged once the drop was");
    create(&narrow, "huge").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_free_once_its_holder_was_dropped_elsewhere_though_there_is_no_memory_for_it() {
    let (faulty, roomy, _, narrow) = roomy_and_narrow().await;
    // The process dies between the commit point and what shows it.
    faulty.set_plan(|call| match call.op == Op::Swap && call.key.starts_with("c/") {
        true => Fault::Die { applied: false },
        false => Fault::None,
    });
    let dropping = tokio::spawn(async move { roomy.drop_collection("huge").await });
    until("the process is dead", || faulty.is_dead()).await;
    dropping.abort();
    create(&narrow, "huge").await;
}
