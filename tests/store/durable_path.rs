//! The durable path: what was acknowledged is there after a restart, on every kind of bucket.

use std::sync::Arc;
use std::time::Duration;

use drumlin::testing::bucket::Bucket;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{
    CollectionSpec, Consistency, ErrorKind, Get, Metric, Query, Record, Scope, Selection, Settings, Storage, Store,
};

fn memory() -> Arc<dyn Bucket> {
    Arc::new(MemoryBucket::new(StoreClock::machine()))
}

async fn open(bucket: &Arc<dyn Bucket>) -> Store {
    let mut settings = Settings::new(Storage::Memory);
    settings.timing.flush_commits = 8;
    settings.timing.maintenance_interval = Duration::from_millis(50);
    settings.timing.swap_interval = Duration::ZERO;
    Store::open_on(settings, bucket.clone()).await.unwrap()
}

#[tokio::test]
async fn acknowledged_records_are_found_after_a_restart() {
    let bucket = memory();
    let store = open(&bucket).await;
    let scope = Scope::default();
    let collection =
        store.with_scope(&scope).create_collection(CollectionSpec::new("a").metric(Metric::L2)).await.unwrap();
    for i in 0..100 {
        let record = Record::new(format!("r{i}"), vec![i as f32, 0.0]).with_document(format!("number {i}"));
        let outcome = collection.add([record]).await.unwrap();
        assert_eq!((outcome.applied, outcome.skipped, outcome.version.0), (1, 0, i + 1));
    }
    collection.delete(Selection { ids: Some(vec!["r50".to_owned()]), ..Selection::default() }).await.unwrap();
    drop((collection, store));

    let store = open(&bucket).await;
    let collection = store.collection("a").await.unwrap();
    assert_eq!(collection.count(Consistency::Local).await.unwrap(), 99);
    let answer = collection.search(Query::new(vec![50.2, 0.0]).k(2)).await.unwrap();
    let ids: Vec<&str> = answer.iter().map(|hit| hit.id.as_str()).collect();
    assert_eq!(ids, ["r51", "r49"]);
    let all = collection.get(Get::default()).await.unwrap();
    assert_eq!(all.records.len(), 99);
    assert_eq!(all.records[0].document.as_deref(), Some("number 0"));
}

#[tokio::test]
async fn two_stores_write_one_collection_and_lose_nothing_of_each_other() {
    let bucket = memory();
    let (one, two) = (open(&bucket).await, open(&bucket).await);
    let a = one.create_collection(CollectionSpec::new("shared")).await.unwrap();
    let b = two.collection("shared").await.unwrap();
    let writes = (0..40).map(|i| {
        let collection = if i % 2 == 0 { a.clone() } else { b.clone() };
        async move { collection.add([Record::new(format!("r{i}"), vec![1.0, i as f32])]).await.unwrap().applied }
    });
    let applied: usize = futures::future::join_all(writes).await.into_iter().sum();
    assert_eq!(applied, 40);
    assert_eq!(a.count(Consistency::Strong).await.unwrap(), 40);
    assert_eq!(b.count(Consistency::Strong).await.unwrap(), 40);
    let again = b.add([Record::new("r0", vec![1.0, 2.0])]).await.unwrap();
    assert_eq!((again.applied, again.skipped), (0, 1));
}

#[tokio::test]
async fn a_dropped_collection_is_gone_for_every_store_and_its_name_is_free() {
    let bucket = memory();
    let (one, two) = (open(&bucket).await, open(&bucket).await);
    let scope = Scope::default();
    one.with_scope(&scope).create_collection(CollectionSpec::new("a")).await.unwrap();
    let seen = two.collection("a").await.unwrap();
    one.with_scope(&scope).drop_collection("a").await.unwrap();
    let error = seen.add([Record::new("x", vec![1.0])]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(two.collection("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(one.with_scope(&scope).drop_collection("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    let fresh = two.with_scope(&scope).create_collection(CollectionSpec::new("a")).await.unwrap();
    assert_eq!(fresh.count(Consistency::Local).await.unwrap(), 0);
    assert_eq!(one.collection("a").await.unwrap().info().id, fresh.info().id);
    let taken = one.with_scope(&scope).create_collection(CollectionSpec::new("a")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
}
