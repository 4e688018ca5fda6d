//! The answers that callers get about commits: a commit that may stand is never called failed, and no answer comes
//! after the deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Polled, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep};

use super::super::Stream;
use super::super::context::Context;
use super::super::open::open;
use super::super::replica::Replica;
use super::super::state::{Resolution, State, Weight};
use super::*;
use crate::bucket::Bucket;
use crate::bucket::call::Op;
use crate::bucket::clock::StoreClock;
use crate::bucket::fault::{Call, Fault, FaultBucket};
use crate::bucket::keys::StreamId;
use crate::bucket::memory::MemoryBucket;
use crate::bucket::retry::{RetrySettings, Retrying};
use crate::config::Timing;
use crate::error::{ErrorKind, Result};
use crate::format::head::{GraphEntry, Head};
use crate::format::inverted::Inverted;
use crate::format::{Commit, CommitHeader, CommitKind, Row, Rows, StreamConfig, encode_commit};
use crate::head;
use crate::memory::Budget;
use crate::record::Version;

/// A state that keeps nothing. A request is an id to delete; an empty one changes nothing.
#[derive(Default)]
struct PlainState {
    version: Version,
    /// The commit that this state cannot apply.
    breaks_at: Option<Version>,
}

impl State for PlainState {
    type Request = String;
    type Answer = ();

    fn weight(id: &String) -> Weight {
        Weight { rows: id.len(), ..Weight::default() }
    }

    fn resolve(&self, requests: &[&String]) -> Resolution<()> {
        let rows = requests.iter().filter(|id| !id.is_empty()).map(|id| Row::delete(id.as_str())).collect();
        Resolution { rows, answers: requests.iter().map(|_| Ok(())).collect(), ..Resolution::default() }
    }

    fn load(&mut self, _: Vec<Rows>, version: Version, _: Vec<Inverted>) -> Result<(), FormatError> {
        self.version = version;
        Ok(())
    }

    fn configure(&mut self, _: &StreamConfig) -> Result<(), FormatError> {
        Ok(())
    }

    fn load_graph(&mut self, _: &GraphEntry, _: Bytes) -> Result<(), FormatError> {
        Ok(())
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), FormatError> {
        if self.breaks_at == Some(commit.header.version) {
            return Err(FormatError::Damaged("it does not fit".to_owned()));
        }
        self.version = commit.header.version;
        Ok(())
    }

    fn publish(&self) {}

    fn version(&self) -> Version {
        self.version
    }

    fn dropped(&self) -> bool {
        false
    }
}

/// A bucket with an empty catalog, and the fault layer that spoils its answers.
async fn bucket() -> Arc<FaultBucket> {
    bucket_of_two().await.0
}

/// One bucket with two fault layers, for two writers.
async fn bucket_of_two() -> (Arc<FaultBucket>, Arc<FaultBucket>) {
    let memory = MemoryBucket::new(StoreClock::machine());
    let begun = Head::new(StreamId::Catalog.to_string(), StreamConfig::default());
    head::create(&memory, &StreamId::Catalog, &begun, &Timing::default()).await.unwrap();
    let layer = || Arc::new(FaultBucket::new(Arc::new(memory.clone())));
    (layer(), layer())
}

fn context(faulty: &Arc<FaultBucket>) -> Context {
    let bucket: Arc<dyn Bucket> = Arc::new(Retrying::new(faulty.clone(), RetrySettings::default()));
    Context {
        serve_damaged: false,
        head: Arc::new(head::HeadReader::new(bucket.clone(), StreamId::Catalog)),
        bucket,
        damage: Default::default(),
        unusable: Default::default(),
        stream: StreamId::Catalog,
        timing: Timing::default(),
        commit_bytes: 64 << 20,
        waiting_writes: 16,
        writer: "test".to_owned(),
        moments: Default::default(),
        counters: Default::default(),
        budget: Budget::new(None),
    }
}

async fn stream(faulty: &Arc<FaultBucket>, breaks_at: Option<Version>) -> Stream<PlainState> {
    let fresh = move || PlainState { version: Version(0), breaks_at };
    Stream::open(context(faulty), Arc::new(fresh)).await.unwrap()
}

fn is_put_of_a_slot(call: &Call) -> bool {
    call.op == Op::Create && call.key.contains("/log/")
}

fn is_read_of_a_slot(call: &Call) -> bool {
    call.op == Op::Get && call.key.contains("/log/")
}

fn is_read_of_head(call: &Call) -> bool {
    call.op == Op::Get && call.key.ends_with("/HEAD")
}

/// Writes; returns the outcome.
async fn answered(stream: &Stream<PlainState>, id: &str) -> Option<ErrorKind> {
    stream.write(id.to_owned()).await.err().map(|error| error.kind())
}

/// Writes; returns the outcome and the time until it came.
async fn answered_after(stream: &Stream<PlainState>, id: &str) -> (Option<ErrorKind>, Duration) {
    let began = Instant::now();
    (answered(stream, id).await, began.elapsed())
}

/// Work that finds the runtime shut down, once `over` says so.
struct AtTheEnd<F> {
    work: Pin<Box<F>>,
    over: Arc<AtomicBool>,
    ended: Handle,
}

impl<F: Future> Future for AtTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Polled<'_>) -> Poll<F::Output> {
        let ended = self.ended.clone();
        let _inside = self.over.load(Ordering::SeqCst).then(|| ended.enter());
        self.work.as_mut().poll(context)
    }
}

/// A commit of slot 1 that is decoded off the async threads.
fn large_commit(nonce: Nonce) -> Bytes {
    let header = CommitHeader {
        stream: StreamId::Catalog.to_string(),
        version: Version(1),
        kind: CommitKind::Data,
        writer: "test".to_owned(),
        nonce,
        prev: None,
        config: None,
        handover: None,
    };
    let rows = (0..60_000_u64).map(|n| Row::delete(format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    let bytes = encode_commit(&header, &Rows::from_iter(rows)).unwrap();
    assert!(bytes.len() > 1 << 20, "{} bytes", bytes.len());
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_decoding_is_cut_short_is_of_unknown_outcome() {
    let faulty = bucket().await;
    let context = Arc::new(context(&faulty));
    let mut replica: Replica<PlainState> = open(&context, &PlainState::default).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    faulty.set_plan(move |call| match call {
        call if is_put_of_a_slot(call) => Fault::UnknownAfter,
        call if is_read_of_a_slot(call) => {
            ends.store(true, Ordering::SeqCst);
            // A poll of its own takes the answer in.
            Fault::SlowMs(1)
        }
        _ => Fault::None,
    });
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let ended = runtime.handle().clone();
    runtime.shutdown_background();
    let (nonce, deadline) = (Nonce(5), Instant::now() + Duration::from_secs(60));
    let bytes = large_commit(nonce);
    let work = Box::pin(replica.append(&bytes, nonce, deadline));
    let appended = AtTheEnd { work, over, ended }.await;
    assert!(matches!(appended, Ok(Appended::Unknown(_))), "{appended:?}");
}

#[tokio::test]
async fn an_own_commit_that_is_durable_and_cannot_be_applied_is_not_said_to_have_failed() {
    let faulty = bucket().await;
    let stream = stream(&faulty, Some(Version(2))).await;
    assert_eq!(answered(&stream, "a").await, None);
    assert_eq!(answered(&stream, "b").await, Some(ErrorKind::OutcomeUnknown));
    // The commit stands there, and the stream goes no further.
    assert!(faulty.get(&StreamId::Catalog.log(Version(2)), None).await.is_ok());
    assert_eq!(answered(&stream, "c").await, Some(ErrorKind::Corrupted));
}

#[tokio::test]
async fn an_answer_that_the_store_did_not_date_is_not_given_the_date_of_an_older_one() {
    let faulty = bucket().await;
    let stream = stream(&faulty, None).await;
    assert!(stream.write(String::new()).await.unwrap().date.is_some());
    faulty.set_plan(|call| if is_read_of_a_slot(call) { Fault::Undated } else { Fault::None });
    assert_eq!(stream.write(String::new()).await.unwrap().date, None);
}

/// A minute, plus time for pauses and the other tasks.
const DEADLINE: Duration = Duration::from_secs(61);

#[tokio::test(start_paused = true)]
async fn a_write_whose_slot_does_not_answer_is_told_so_at_its_deadline() {
    let slow = Fault::SlowMs(600_000);
    let lost = |call: &Call| match call {
        call if is_put_of_a_slot(call) => Fault::UnknownAfter,
        call if is_read_of_a_slot(call) => Fault::Hang { applied: false },
        _ => Fault::None,
    };
    let hanging = move |call: &Call| if is_put_of_a_slot(call) { slow } else { Fault::None };
    let taken = |call: &Call| match call {
        call if is_put_of_a_slot(call) => Fault::UnknownAfter,
        call if is_read_of_a_slot(call) => Fault::UnknownBefore,
        _ => Fault::None,
    };
    for (what, plan) in [("lost", lost as fn(&Call) -> Fault), ("taken", taken)] {
        let faulty = bucket().await;
        let stream = stream(&faulty, None).await;
        faulty.set_plan(plan);
        let (kind, took) = answered_after(&stream, "a").await;
        assert!(kind == Some(ErrorKind::OutcomeUnknown) && took < DEADLINE, "{what}: {kind:?} after {took:?}");
    }
    let faulty = bucket().await;
    let stream = stream(&faulty, None).await;
    faulty.set_plan(hanging);
    let (kind, took) = answered_after(&stream, "a").await;
    assert!(kind == Some(ErrorKind::OutcomeUnknown) && took < DEADLINE, "{kind:?} after {took:?}");
    faulty.set_plan(|_| Fault::None);
    assert_eq!(answered(&stream, "b").await, None, "the next write goes on");
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_names_the_cause_that_was_told_before_its_deadline() {
    let faulty = bucket().await;
    let stream = stream(&faulty, None).await;
    faulty.set_plan(|call| match call {
        call if is_put_of_a_slot(call) => Fault::UnknownAfter,
        call if is_read_of_a_slot(call) => Fault::Hang { applied: false },
        _ => Fault::None,
    });
    let told = stream.write("a".to_owned()).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(told.contains("may or may not") && !told.contains(LATE), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_write_does_not_wait_long_for_the_head_that_is_read_beside_it() {
    let faulty = bucket().await;
    let stream = stream(&faulty, None).await;
    // Half a lease has passed: HEAD is read beside the next put. The lease itself holds.
    sleep(Duration::from_secs(400)).await;
    assert_eq!(answered(&stream, "a").await, None);
    faulty.set_plan(|call| if is_read_of_head(call) { Fault::Hang { applied: false } } else { Fault::None });
    let (kind, took) = answered_after(&stream, "b").await;
    assert!(kind.is_none() && took < Duration::from_secs(2), "{kind:?} after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_only_head_can_prove_waits_for_it_for_another_deadline_and_no_longer() {
    let faulty = bucket().await;
    let stream = stream(&faulty, None).await;
    faulty.set_plan(|call| if is_read_of_head(call) { Fault::Hang { applied: false } } else { Fault::None });
    sleep(Duration::from_secs(700)).await;
    let (kind, took) = answered_after(&stream, "a").await;
    assert!(kind == Some(ErrorKind::OutcomeUnknown) && took < 2 * DEADLINE, "{kind:?} after {took:?}");
}

/// A rival that writes a commit each ten milliseconds, until it is aborted.
async fn fast_rival(bucket: &Arc<FaultBucket>) -> tokio::task::JoinHandle<()> {
    let rival = stream(bucket, None).await;
    tokio::spawn(async move {
        loop {
            rival.write("r".to_owned()).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    })
}

/// A plan under which a put of a slot takes longer than a rival's.
fn slow_puts(call: &Call) -> Fault {
    if is_put_of_a_slot(call) { Fault::SlowMs(50) } else { Fault::None }
}

#[tokio::test(start_paused = true)]
async fn a_large_write_that_loses_a_few_slots_is_given_up_at_once_where_it_may_be_written_in_parts() {
    let (ours, theirs) = bucket_of_two().await;
    let mut context = context(&ours);
    context.timing.lost_slots = Some(3);
    let stream = Stream::open(context, Arc::new(PlainState::default)).await.unwrap();
    let rival = fast_rival(&theirs).await;
    ours.set_plan(slow_puts);
    let began = Instant::now();
    let error = stream.write("large".to_owned()).await.unwrap_err();
    assert!(error.is_outrun() && began.elapsed() < Duration::from_secs(5), "{error} after {:?}", began.elapsed());
    assert_eq!(ours.log().iter().filter(|call| is_put_of_a_slot(call)).count(), 3);
    let (kind, took) = answered_after(&stream, "s").await;
    assert!(kind == Some(ErrorKind::Unavailable) && took >= Duration::from_secs(60), "{kind:?} after {took:?}");
    rival.abort();
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_lost_slots_stands_in_the_end_as_if_it_were_made_for_its_slot() {
    let (ours, theirs) = bucket_of_two().await;
    let stream = stream(&ours, None).await;
    let rival = fast_rival(&theirs).await;
    sleep(Duration::from_millis(200)).await;
    let mut puts = 0;
    ours.set_plan(move |call| {
        puts += usize::from(is_put_of_a_slot(call));
        if puts <= 5 { slow_puts(call) } else { Fault::None }
    });
    assert_eq!(answered(&stream, "large").await, None);
    rival.abort();
    let mut found = 0;
    for slot in 1.. {
        let Ok(object) = theirs.get(&StreamId::Catalog.log(Version(slot)), None).await else { break };
        let commit = crate::format::decode_commit(&object.bytes).unwrap();
        assert_eq!(commit.header.version, Version(slot));
        assert_eq!(encode_commit(&commit.header, &commit.rows).unwrap(), object.bytes);
        found += usize::from(commit.rows.ids.value(0) == "large");
    }
    assert_eq!(found, 1);
    assert!(stream.context().counters.slots_lost.get() >= 5);
}
