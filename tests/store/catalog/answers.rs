//! What callers of creates and drops are told, where the bucket's answers are lost or wrong: nothing that may stand is
//! said to have failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::fault::{Call, Fault, FaultBucket, Wrong};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, PutCondition};
use drumlin::{Collection, CollectionSpec, Consistency, ErrorKind, Record, Store};

use super::{memory, settings};

/// A store whose calls can be spoilt, and another one on the same bucket.
async fn two() -> (Arc<FaultBucket>, Store, Store, MemoryBucket) {
    let memory = memory();
    let faulty = Arc::new(FaultBucket::new(Arc::new(memory.clone())));
    let first = Store::open_on(settings(), faulty.clone()).await.unwrap();
    let second = Store::open_on(settings(), Arc::new(memory.clone())).await.unwrap();
    (faulty, first, second, memory)
}

async fn create(store: &Store, name: &str) -> drumlin::Result<Collection> {
    store.create_collection(CollectionSpec::new(name)).await
}

fn is_read_of_head(call: &Call) -> bool {
    call.op == Op::Get && call.key.starts_with("c/") && call.key.ends_with("/HEAD")
}

/// From the first call that `begins` on, what `meets` says.
fn from(
    begins: fn(&Call) -> Option<Fault>,
    meets: fn(&Call) -> Option<Fault>,
) -> impl FnMut(&Call) -> Fault + Send + 'static {
    let begun = AtomicBool::new(false);
    move |call| {
        if let Some(fault) = begins(call) {
            begun.store(true, Ordering::SeqCst);
            return fault;
        }
        meets(call).filter(|_| begun.load(Ordering::SeqCst)).unwrap_or(Fault::None)
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_record_stands_is_not_said_to_have_failed_for_a_head_that_cannot_be_read() {
    let (faulty, first, second, _) = two().await;
    // By its date the commit came so late that HEAD is looked at again.
    let late = |call: &Call| {
        let commit = call.op == Op::Create && call.key.starts_with("catalog/log/");
        commit.then_some(Fault::DateSkewMs(30_000))
    };
    faulty.set_plan(from(late, |call| is_read_of_head(call).then_some(Fault::Wrong(Wrong::Page))));
    let error = create(&first, "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!(second.collection("a").await.unwrap().count(Consistency::Strong).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drop_of_a_damaged_collection_whose_swap_is_not_answered_is_of_unknown_outcome() {
    let (faulty, first, second, memory) = two().await;
    let collection = create(&second, "a").await.unwrap();
    collection.add([Record::new("r", vec![1.0, 2.0])]).await.unwrap();
    second.sync().await.unwrap();
    let listed = memory.list("c/", None).await.unwrap().objects;
    let segment = listed.into_iter().map(|object| object.key).find(|key| key.contains("/seg/")).unwrap();
    memory.put(&segment, b"damaged".to_vec().into(), PutCondition::Always).await.unwrap();
    assert_eq!(first.collection("a").await.unwrap_err().kind(), ErrorKind::Corrupted);
    let lost = |call: &Call| (call.op == Op::Swap && call.key.starts_with("c/")).then_some(Fault::UnknownAfter);
    faulty.set_plan(from(lost, |call| is_read_of_head(call).then_some(Fault::UnknownBefore)));
    let error = first.drop_collection("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!(
        second.collection("a").await.unwrap().count(Consistency::Strong).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}
