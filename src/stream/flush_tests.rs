//! A tail too large for the free memory is flushed piece by piece, and every HEAD on the way is true.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::json;

use super::super::Stream;
use super::Outcome;
use crate::bucket::Bucket;
use crate::bucket::clock::StoreClock;
use crate::bucket::keys::StreamId;
use crate::bucket::memory::MemoryBucket;
use crate::bucket::reread::Reread;
use crate::collection::request::Write;
use crate::collection::state::snapshot::Snapshot;
use crate::collection::stream_state::CollectionState;
use crate::collection::write::change::Change;
use crate::config::{Limits, Timing};
use crate::format::StreamConfig;
use crate::format::head::Head;
use crate::head;
use crate::memory::{Budget, MemoryLimit, Purpose};
use crate::record::{CollectionId, Metric, Record, Version};
use crate::stream::anchor::Moments;
use crate::stream::context::{Context, StreamCounters};
use crate::stream::heal::KnownDamage;
use crate::stream::state::State;

const DIM: usize = 64;
const COMMITS: u64 = 12;
const RECORDS: u64 = 50;

fn context(bucket: &Arc<dyn Bucket>, stream: StreamId, budget: &Arc<Budget>) -> Context {
    Context {
        serve_damaged: false,
        bucket: bucket.clone(),
        head: Arc::new(head::HeadReader::new(bucket.clone(), stream.clone())),
        damage: KnownDamage::default(),
        unusable: Default::default(),
        stream,
        timing: Timing { swap_interval: Duration::ZERO, ..Timing::default() },
        commit_bytes: 1 << 20,
        waiting_writes: 1,
        writer: "test".to_owned(),
        moments: Moments::default(),
        counters: Arc::new(StreamCounters::default()),
        budget: budget.clone(),
    }
}

async fn open(bucket: &Arc<dyn Bucket>, stream: StreamId, budget: &Arc<Budget>) -> Stream<CollectionState> {
    let account = budget.clone();
    let fresh = move || {
        let published = Arc::new(ArcSwap::from_pointee(Snapshot::empty(Metric::L2)));
        CollectionState::new(Metric::L2, Limits::default(), published, account.account())
    };
    Stream::open(context(bucket, stream, budget), Arc::new(fresh)).await.unwrap()
}

/// Each commit's records have a metadata key of their own, so that each commit changes the configuration.
fn records(commit: u64) -> Vec<Record> {
    let record = |n: u64| {
        let record = Record::new(format!("r{commit}.{n}"), vec![(commit * RECORDS + n) as f32; DIM]);
        record.with_metadata([(format!("key{commit:02}"), n as i64)])
    };
    (0..RECORDS).map(record).collect()
}

fn keys(config: &StreamConfig) -> usize {
    (1..=COMMITS).filter(|commit| json!(config).to_string().contains(&format!("key{commit:02}"))).count()
}

/// A stream with a tail of twelve commits, each of some 15 kB.
async fn tail(budget: &Arc<Budget>) -> (Arc<dyn Bucket>, StreamId, Stream<CollectionState>) {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::new(StoreClock::machine()));
    let id = StreamId::Collection(CollectionId(uuid::Uuid::from_u128(7)));
    let begun = Head::new(id.to_string(), StreamConfig::default());
    head::create(bucket.as_ref(), &id, &begun, &Timing::default()).await.unwrap();
    let stream = open(&bucket, id.clone(), budget).await;
    for commit in 1..=COMMITS {
        stream.write(Change::Write(Write::Add(records(commit)))).await.unwrap();
    }
    (bucket, id, stream)
}

#[tokio::test]
async fn a_tail_that_does_not_fit_goes_piece_by_piece_and_each_head_is_as_of_its_floor() {
    let budget = Budget::new(Some(MemoryLimit { bytes: 4 << 20, whole_process: false }));
    let (bucket, id, stream) = tail(&budget).await;
    let first = stream.shared().current().tail.lock().first_bytes();
    let all = stream.shared().current().tail.lock().size_bytes();
    // Room for three commits and a bit, at three times their size.
    let others = budget.reserve(budget.room_bytes() - 10 * first, Purpose::Work).unwrap();
    let mut pieces = Vec::new();
    loop {
        let outcome = stream.flush_some().await.unwrap();
        let Outcome::Landed(count) = outcome else {
            assert_eq!(outcome, Outcome::Idle);
            break;
        };
        pieces.push(count);
        let head = head::read(bucket.as_ref(), &id, Reread::default()).await.unwrap().head;
        let moved: u64 = pieces.iter().sum();
        assert_eq!((head.floor, head.segs.len()), (Version(moved + 1), pieces.len()));
        assert_eq!(keys(&head.config) as u64, moved, "the configuration is that of the commits below the floor");
        let held = stream.shared().current().tail.lock().size_bytes();
        assert!(held <= all - moved * first / 2, "what was moved is let go of: {held} of {all} after {moved}");
    }
    assert_eq!(pieces.iter().sum::<u64>(), COMMITS);
    assert!(pieces.len() >= 3 && pieces[0] == 3, "{pieces:?}");
    drop(others);
    assert_eq!(budget.reserved_bytes(), 0);

    // Another instance reads the same from the segments.
    let again = open(&bucket, id, &Budget::new(None)).await;
    assert_eq!(again.shared().state().lock().version(), Version(COMMITS));
    assert_eq!(again.shared().current().tail.lock().len(), 0);
    assert_eq!(again.shared().state().lock().current().count(), COMMITS * RECORDS);
}

#[tokio::test]
async fn a_flush_moves_all_even_where_nothing_is_free() {
    let budget = Budget::new(Some(MemoryLimit { bytes: 1 << 20, whole_process: false }));
    let (bucket, id, stream) = tail(&budget).await;
    let _others = budget.reserve(budget.room_bytes(), Purpose::Work).unwrap();
    assert_eq!(stream.flush().await.unwrap(), Outcome::Landed(COMMITS));
    let head = head::read(bucket.as_ref(), &id, Reread::default()).await.unwrap().head;
    assert_eq!(head.floor, Version(COMMITS + 1));
    assert!(head.segs.len() as u64 > COMMITS / 2, "few commits at a time: {} segments", head.segs.len());
    assert_eq!(stream.flush().await.unwrap(), Outcome::Idle);
}

#[tokio::test]
async fn without_a_limit_a_flush_makes_one_segment() {
    let budget = Budget::new(None);
    let (bucket, id, stream) = tail(&budget).await;
    assert_eq!(stream.flush().await.unwrap(), Outcome::Landed(COMMITS));
    let head = head::read(bucket.as_ref(), &id, Reread::default()).await.unwrap().head;
    assert_eq!((head.floor, head.segs.len()), (Version(COMMITS + 1), 1));
    assert_eq!(keys(&head.config) as u64, COMMITS);
    assert_eq!(budget.reserved_bytes(), 0);
}
