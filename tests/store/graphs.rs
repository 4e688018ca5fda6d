//! Graphs through the store: built in the background, named in HEAD, loaded at the next start instead of
//! being rebuilt, adopted by other instances, and never needed for a right answer.

use std::sync::Arc;
use std::time::Duration;

use drumlin::testing::bucket::Bucket;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{Collection, CollectionSpec, Metric, Query, Record, Selection, Settings, Storage, Store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const DIM: usize = 16;

async fn open(bucket: &Arc<dyn Bucket>) -> Store {
    let mut settings = Settings::new(Storage::Memory);
    settings.timing.graph_rows = 100;
    settings.timing.flush_commits = 4;
    settings.timing.maintenance_interval = Duration::from_millis(20);
    settings.timing.swap_interval = Duration::ZERO;
    Store::open_on(settings, bucket.clone()).await.unwrap()
}

fn vector(random: &mut StdRng) -> Vec<f32> {
    let cluster = random.random_range(0..20) as f32;
    (0..DIM).map(|i| cluster * (i % 3) as f32 + random.random::<f32>()).collect()
}

fn records(random: &mut StdRng, from: usize, n: usize) -> Vec<Record> {
    (from..from + n).map(|i| Record::new(format!("r{i}"), vector(random))).collect()
}

/// Waits until `done`; the background has ten seconds.
async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain until {what}");
}

/// Mean share of the exact ten nearest that a default search finds.
async fn recall(collection: &Collection, random: &mut StdRng) -> f64 {
    let queries: Vec<Vec<f32>> = (0..50).map(|_| vector(random)).collect();
    let found = collection.search_batch(Query::batch(queries.clone())).await.unwrap();
    let truth = collection.search_batch(Query::batch(queries).exact(true)).await.unwrap();
    let hits = |(found, truth): (&Vec<drumlin::Hit>, &Vec<drumlin::Hit>)| {
        assert_eq!(found.len(), truth.len());
        let worst = truth.last().map_or(0.0, |hit| hit.distance);
        found.iter().filter(|hit| hit.distance <= worst).count() as f64 / truth.len() as f64
    };
    found.iter().zip(&truth).map(hits).sum::<f64>() / found.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loads_the_graph_instead_of_building_it_again() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::new(StoreClock::machine()));
    let mut random = StdRng::seed_from_u64(7);
    let store = open(&bucket).await;
    let spec = CollectionSpec::new("a").metric(Metric::L2);
    let collection = store.create_collection(spec).await.unwrap();
    for from in (0..3000).step_by(300) {
        collection.add(records(&mut random, from, 300)).await.unwrap();
    }
    let settled = || {
        let parts = collection.parts();
        parts.graphs.len() == 1 && parts.unindexed == 0 && parts.unstored == 0
    };
    until("all is in one graph in the bucket", settled).await;
    assert!(recall(&collection, &mut random).await >= 0.95);
    store.close(Duration::from_secs(10)).await.unwrap();
    drop((collection, store));

    let store = open(&bucket).await;
    assert_eq!(store.wait_until_loaded().await.records, 3000);
    let counters = store.admin().counters();
    assert!(counters.graphs_loaded >= 1, "{counters:?}");
    assert_eq!(counters.graphs_built, 0);
    let collection = store.collection("a").await.unwrap();
    assert!(recall(&collection, &mut random).await >= 0.95);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_in_order_and_as_its_queries_are_alone() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::new(StoreClock::machine()));
    let mut random = StdRng::seed_from_u64(9);
    let store = open(&bucket).await;
    let collection = store.create_collection(CollectionSpec::new("a")).await.unwrap();
    collection.add(records(&mut random, 0, 3000)).await.unwrap();
    store.admin().maintain().await.unwrap();
    assert_eq!(collection.parts().graphs, [(3000, 0)]);
    for exact in [false, true] {
        let queries: Vec<Vec<f32>> = (0..300).map(|_| vector(&mut random)).collect();
        let together = collection.search_batch(Query::batch(queries.clone()).exact(exact)).await.unwrap();
        assert_eq!(together.len(), queries.len());
        for (query, hits) in queries.into_iter().zip(together) {
            assert_eq!(collection.search(Query::new(query).exact(exact)).await.unwrap(), hits);
        }
    }
    let wrong = collection.search_batch(Query::batch(vec![vec![1.0; DIM], vec![1.0]])).await.unwrap_err();
    assert_eq!(wrong.message(), format!("embeddings[1]: expected {DIM} numbers, got 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_and_updated_records_are_right_while_graphs_come_and_go_in_two_stores() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::new(StoreClock::machine()));
    let mut random = StdRng::seed_from_u64(8);
    let (one, two) = (open(&bucket).await, open(&bucket).await);
    let a = one.create_collection(CollectionSpec::new("a")).await.unwrap();
    let b = two.collection("a").await.unwrap();
    for round in 0..8 {
        a.add(records(&mut random, round * 200, 200)).await.unwrap();
        let gone: Vec<String> = (0..40).map(|i| format!("r{}", round * 200 + i * 3)).collect();
        b.delete(Selection { ids: Some(gone), ..Selection::default() }).await.unwrap();
        let moved = records(&mut random, round * 200 + 150, 20);
        b.upsert(moved.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    until("some graph was built", || one.admin().counters().graphs_built + two.admin().counters().graphs_built > 0)
        .await;
    for collection in [&a, &b] {
        let strong = drumlin::Consistency::Strong;
        assert_eq!(collection.count(strong).await.unwrap(), 8 * 160);
        assert!(recall(collection, &mut random).await >= 0.95);
        let answer = collection.search(Query::new(vector(&mut random)).k(1280)).await.unwrap();
        let mut ids: Vec<&str> = answer.iter().map(|hit| hit.id.as_str()).collect();
        assert_eq!(ids.len(), 1280, "every record is found once");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1280);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn graphs_that_are_asked_for_are_in_the_bucket_when_the_call_returns() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::new(StoreClock::machine()));
    let mut random = StdRng::seed_from_u64(8);
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    let store = Store::open_on(settings.clone(), bucket.clone()).await.unwrap();
    let spec = CollectionSpec::new("a").metric(Metric::L2);
    let collection = store.create_collection(spec).await.unwrap();
    for from in (0..6000).step_by(1000) {
        collection.add(records(&mut random, from, 1000)).await.unwrap();
    }
    let behind = store.admin().health().graphs;
    let told: Vec<(&str, u64, u64)> =
        behind.iter().map(|g| (g.collection.as_str(), g.progress.in_graphs, g.progress.records)).collect();
    assert_eq!(told, [("a", 0, 6000)]);
    let seen = std::cell::RefCell::new(Vec::new());
    collection.build_graphs(|progress| seen.borrow_mut().push(progress.in_graphs)).await.unwrap();
    let seen = seen.into_inner();
    assert!(seen.is_sorted() && seen.first() == Some(&0) && seen.last() == Some(&6000), "{seen:?}");
    assert!(store.admin().health().graphs.is_empty());
    store.close(Duration::from_secs(10)).await.unwrap();
    drop((collection, store));

    let store = Store::open_on(settings, bucket).await.unwrap();
    store.wait_until_loaded().await;
    let collection = store.collection("a").await.unwrap();
    let parts = collection.parts();
    assert_eq!((parts.graphs.len(), parts.unindexed, parts.unstored), (1, 0, 0));
    assert!(recall(&collection, &mut random).await >= 0.95);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_finds_what_its_queries_find_one_by_one_with_and_without_codes() {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    let store = Store::open(settings).await.unwrap();
    let mut random = StdRng::seed_from_u64(9);
    let wide = |random: &mut StdRng| (0..6).flat_map(|_| vector(random)).collect::<Vec<f32>>();
    for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
        let spec = CollectionSpec::new(format!("in-{metric}")).metric(metric);
        let collection = store.create_collection(spec).await.unwrap();
        let records: Vec<Record> = (0..3000).map(|i| Record::new(format!("r{i}"), wide(&mut random))).collect();
        collection.add(records.clone()).await.unwrap();
        let queries: Vec<Vec<f32>> = (0..37).map(|_| wide(&mut random)).collect();
        let exact = collection.search_batch(Query::batch(queries.clone()).exact(true)).await.unwrap();
        for (query, expected) in queries.iter().zip(&exact) {
            let one = collection.search(Query::new(query.clone()).exact(true)).await.unwrap();
            assert_eq!(&one, expected);
        }
        // Without a graph nothing is found but by scans; from the third on they go over codes.
        for _ in 0..4 {
            assert_eq!(collection.search_batch(Query::batch(queries.clone())).await.unwrap(), exact, "{metric}");
        }
        assert_eq!(&collection.search(Query::new(queries[5].clone())).await.unwrap(), &exact[5]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_maintenance_that_meet_build_a_graph_once() {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    let store = Store::open(settings).await.unwrap();
    let mut random = StdRng::seed_from_u64(10);
    let collection = store.create_collection(CollectionSpec::new("a")).await.unwrap();
    collection.add(records(&mut random, 0, 3000)).await.unwrap();
    let (one, other, third) =
        tokio::join!(store.admin().maintain(), store.admin().maintain(), collection.build_graphs(|_| {}));
    one.and(other).and(third).unwrap();
    assert_eq!((collection.parts().graphs, store.admin().counters().graphs_built), (vec![(3000, 0)], 1));
}
