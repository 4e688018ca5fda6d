//! Counts the traffic to a bucket: calls, failures by kind, bytes each way, and the store's recent health. Invariant:
//! it changes no call and no answer. The layer stands right over the backend, so that every attempt is counted: each
//! one costs.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::call::{Direction, Op};
use super::{Bucket, BucketError, Object, Page, Place, PutCondition, Stamp};

/// What was counted of one kind of call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct OpCounts {
    /// Calls answered or given up, whatever the outcome.
    pub calls: u64,
    /// Answers that the object exists or has changed.
    pub exists: u64,
    /// Answers that there is no such object.
    pub not_found: u64,
    /// Refusals.
    pub refused: u64,
    /// Calls without a definite answer.
    pub unknown: u64,
    /// Body bytes sent, of every call.
    pub bytes_sent: u64,
    /// Body bytes received.
    pub bytes_received: u64,
    /// Time spent waiting for answers, in microseconds, over all calls.
    pub waited_us: u64,
}

/// All counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    by_op: [OpCounts; Op::ALL.len()],
}

impl Counts {
    /// What was counted of one kind.
    pub fn of(&self, op: Op) -> OpCounts {
        self.by_op.get(op as usize).copied().unwrap_or_default()
    }

    /// Every kind with what was counted of it.
    pub fn iter(&self) -> impl Iterator<Item = (Op, OpCounts)> + '_ {
        Op::ALL.into_iter().map(|op| (op, self.of(op)))
    }

    /// Calls of all kinds.
    pub fn calls(&self) -> u64 {
        self.iter().map(|(_, counts)| counts.calls).sum()
    }

    /// Body bytes sent by calls of all kinds.
    pub fn bytes_sent(&self) -> u64 {
        self.iter().map(|(_, counts)| counts.bytes_sent).sum()
    }
}

/// The store's health: the last definite answer and the last failure to get one.
#[derive(Debug, Clone, Default)]
pub struct Fortune {
    /// When the store last answered as a working store does, by our clock.
    pub last_success: Option<SystemTime>,
    /// When the store last refused or did not answer, by our clock, and the reason.
    pub last_error: Option<(SystemTime, String)>,
    /// Of each direction, the last call if it failed.
    failing: [Option<LastFailure>; Direction::ALL.len()],
}

/// A call that the store refused or did not answer.
#[derive(Debug, Clone)]
struct LastFailure {
    at: SystemTime,
    why: String,
    bytes_sent: usize,
}

impl Fortune {
    /// Whether the latest call was answered; `false` before the first one.
    pub fn connected(&self) -> bool {
        match (self.last_success, &self.last_error) {
            (Some(success), Some((error, _))) => success >= *error,
            (success, _) => success.is_some(),
        }
    }

    /// The directions whose last call failed. A write succeeds only if it was applied: an answer that an object exists
    /// leaves the writes as they were.
    pub fn failing(&self) -> Vec<Direction> {
        let failing = |direction: &Direction| self.failed(*direction).is_some();
        Direction::ALL.into_iter().filter(failing).collect()
    }

    /// The reason of the latest failure, unless the store has recovered from all of them.
    pub fn trouble(&self) -> Option<&str> {
        match &self.last_error {
            Some((_, why)) if !self.connected() => Some(why),
            _ => {
                let latest = self.failing.iter().flatten().max_by_key(|failed| failed.at);
                latest.map(|failed| failed.why.as_str())
            }
        }
    }

    /// How many bytes the last write sent, if it failed; 0 if a delete did.
    pub fn failed_write_bytes(&self) -> Option<usize> {
        let failed = self.failed(Direction::Writes).or_else(|| self.failed(Direction::Deletes));
        failed.map(|failed| failed.bytes_sent)
    }

    fn failed(&self, direction: Direction) -> Option<&LastFailure> {
        self.failing.get(direction as usize)?.as_ref()
    }

    fn note_failure(&mut self, direction: Direction, bytes_sent: usize, why: String) {
        let at = SystemTime::now();
        self.last_error = Some((at, why.clone()));
        if let Some(failed) = self.failing.get_mut(direction as usize) {
            *failed = Some(LastFailure { at, why, bytes_sent });
        }
    }

    fn note_success(&mut self, direction: Direction) {
        if let Some(failed) = self.failing.get_mut(direction as usize) {
            *failed = None;
        }
    }
}

#[derive(Debug, Default)]
struct OpCounters {
    calls: AtomicU64,
    exists: AtomicU64,
    not_found: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    waited_us: AtomicU64,
}

impl OpCounters {
    fn read(&self) -> OpCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OpCounts {
            calls: read(&self.calls),
            exists: read(&self.exists),
            not_found: read(&self.not_found),
            refused: read(&self.refused),
            unknown: read(&self.unknown),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
            waited_us: read(&self.waited_us),
        }
    }
}

/// The counters themselves, shared by a counting bucket and the reports.
#[derive(Debug, Default)]
pub struct CallCounters {
    by_op: [OpCounters; Op::ALL.len()],
    fortune: Mutex<Fortune>,
    under_way: Mutex<CallsUnderWay>,
}

/// The calls that wait for their answer.
#[derive(Debug, Default)]
struct CallsUnderWay {
    calls: usize,
    /// Since when no call was answered; `None` while no call is under way.
    silent_since: Option<Instant>,
}

/// A call that waits for its answer. Dropping this gives the call up.
struct WaitingCall<'a>(&'a CallCounters);

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock();
        under_way.calls = under_way.calls.saturating_sub(1);
        if under_way.calls == 0 {
            under_way.silent_since = None;
        }
    }
}

impl CallCounters {
    /// The counts now.
    pub fn snapshot(&self) -> Counts {
        Counts { by_op: self.by_op.each_ref().map(OpCounters::read) }
    }

    /// How the store fares now.
    pub fn fortune(&self) -> Fortune {
        self.fortune.lock().clone()
    }

    /// How long calls have been under way without an answer to any of them.
    pub fn silence(&self) -> Duration {
        self.under_way.lock().silent_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Notes that the store did not answer a call of this direction in time.
    pub fn note_failure(&self, direction: Direction, why: String) {
        self.fortune.lock().note_failure(direction, 0, why);
    }

    fn begin(&self) -> WaitingCall<'_> {
        let mut under_way = self.under_way.lock();
        under_way.calls += 1;
        under_way.silent_since.get_or_insert_with(Instant::now);
        WaitingCall(self)
    }

    fn add(&self, op: Op, counted: OpCounts) {
        let Some(counters) = self.by_op.get(op as usize) else { return };
        for (counter, amount) in [
            (&counters.calls, counted.calls),
            (&counters.exists, counted.exists),
            (&counters.not_found, counted.not_found),
            (&counters.refused, counted.refused),
            (&counters.unknown, counted.unknown),
            (&counters.bytes_sent, counted.bytes_sent),
            (&counters.bytes_received, counted.bytes_received),
            (&counters.waited_us, counted.waited_us),
        ] {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    fn fared(&self, direction: Direction, bytes_sent: usize, error: Option<&BucketError>) {
        let mut fortune = self.fortune.lock();
        if let Some(error @ (BucketError::Refused { .. } | BucketError::Unknown { .. })) = error {
            fortune.note_failure(direction, bytes_sent, error.to_string());
            // A refused write is an answer: the store is there, and `failing` has the rest.
            if direction != Direction::Reads && matches!(error, BucketError::Refused { .. }) {
                fortune.last_success = Some(SystemTime::now());
            }
            return;
        }
        // An answer that a condition failed says nothing about whether a write would be taken.
        if error.is_none() || direction != Direction::Writes {
            fortune.note_success(direction);
        }
        fortune.last_success = Some(SystemTime::now());
        self.under_way.lock().silent_since = Some(Instant::now());
    }
}

/// The decorator; see the module's text.
#[derive(Debug)]
pub struct Counting<B> {
    inner: B,
    counters: Arc<CallCounters>,
}

impl<B: Bucket> Counting<B> {
    /// `inner`, with all its traffic counted.
    pub fn new(inner: B) -> Self {
        Counting { inner, counters: Arc::default() }
    }

    /// The counters, to be read while the bucket is in use.
    pub fn counters(&self) -> Arc<CallCounters> {
        self.counters.clone()
    }

    async fn counted<T>(
        &self,
        op: Op,
        bytes_sent: usize,
        received: impl Fn(&T) -> usize,
        call: impl Future<Output = Result<T, BucketError>>,
    ) -> Result<T, BucketError> {
        let (started, waiting) = (Instant::now(), self.counters.begin());
        let answer = call.await;
        let waited_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut counted = OpCounts { calls: 1, bytes_sent: bytes_sent as u64, waited_us, ..OpCounts::default() };
        match &answer {
            Ok(answer) => counted.bytes_received = received(answer) as u64,
            Err(BucketError::Exists { .. }) => counted.exists = 1,
            Err(BucketError::NotFound { .. }) => counted.not_found = 1,
            Err(BucketError::Refused { .. }) => counted.refused = 1,
            Err(BucketError::Unknown { .. }) => counted.unknown = 1,
        }
        self.counters.add(op, counted);
        self.counters.fared(op.direction(), bytes_sent, answer.as_ref().err());
        drop(waiting);
        answer
    }
}

#[async_trait]
impl<B: Bucket> Bucket for Counting<B> {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.counted(Op::Get, 0, |object: &Object| object.bytes.len(), self.inner.get(key, range)).await
    }

    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.counted(Op::Get, 0, |object: &Object| object.bytes.len(), self.inner.get_fresh(key, range)).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        let (op, length) = (Op::of_put(&condition), body.len());
        self.counted(op, length, |_| 0, self.inner.put(key, body, condition)).await
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        let length = pieces.iter().map(Bytes::len).sum();
        self.counted(Op::Put, length, |_| 0, self.inner.put_large(key, pieces)).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        self.counted(Op::Copy, 0, |_| 0, self.inner.copy(from, to)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        self.counted(Op::List, 0, |_| 0, self.inner.list(prefix, after)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        self.counted(Op::Delete, 0, |()| 0, self.inner.delete(keys)).await
    }

    async fn abort_stale_uploads(&self, age: Duration) -> Result<usize, BucketError> {
        self.counted(Op::List, 0, |_| 0, self.inner.abort_stale_uploads(age)).await
    }

    fn place(&self) -> Place {
        self.inner.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;

    #[tokio::test]
    async fn calls_bytes_and_outcomes_are_counted_by_kind() {
        let bucket = Counting::new(MemoryBucket::new(StoreClock::machine()));
        let counters = bucket.counters();
        let five = || Bytes::from_static(b"12345");
        let tag = bucket.put("k", five(), PutCondition::IfAbsent).await.unwrap().etag.unwrap();
        assert!(bucket.put("k", five(), PutCondition::IfAbsent).await.is_err());
        bucket.put("k", Bytes::from_static(b"123"), PutCondition::IfMatch(tag)).await.unwrap();
        bucket.put_large("l", vec![five(), five()]).await.unwrap();
        assert_eq!(bucket.get("l", Some(2..6)).await.unwrap().bytes.len(), 4);
        assert!(bucket.get("absent", None).await.is_err());

        let counts = counters.snapshot();
        let get = counts.of(Op::Get);
        assert_eq!((get.calls, get.not_found, get.bytes_received), (2, 1, 4));
        let create = counts.of(Op::Create);
        assert_eq!((create.calls, create.exists, create.bytes_sent), (2, 1, 10));
        assert_eq!((counts.of(Op::Swap).calls, counts.of(Op::Swap).bytes_sent), (1, 3));
        assert_eq!((counts.of(Op::Put).calls, counts.of(Op::Put).bytes_sent), (1, 10));
        assert_eq!((counts.calls(), counts.bytes_sent()), (6, 23));
    }

    #[tokio::test]
    async fn a_call_that_nobody_answers_is_silence_until_one_is_answered_or_it_is_given_up() {
        let faulty = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let bucket = Counting::new(faulty.clone());
        let counters = bucket.counters();
        assert_eq!(counters.silence(), Duration::ZERO);
        faulty.set_plan(|call| if call.key == "hangs" { Fault::SlowMs(60_000) } else { Fault::None });
        {
            let hanging = bucket.get("hangs", None);
            assert!(tokio::time::timeout(Duration::from_millis(50), hanging).await.is_err());
        }
        assert_eq!(counters.silence(), Duration::ZERO, "it was given up");
        let hanging = bucket.get("hangs", None);
        tokio::pin!(hanging);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut hanging).await.is_err());
        assert!(counters.silence() >= Duration::from_millis(50));
        assert!(bucket.get("absent", None).await.is_err());
        assert!(counters.silence() < Duration::from_millis(50), "the store has answered another call");
    }

    #[tokio::test]
    async fn the_last_failure_is_remembered_and_a_missing_object_is_none() {
        let faulty = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let bucket = Counting::new(faulty.clone());
        let counters = bucket.counters();
        assert!(!counters.fortune().connected());
        assert!(bucket.get("absent", None).await.is_err());
        assert!(counters.fortune().connected());
        assert!(counters.fortune().last_error.is_none());

        faulty.set_plan(|_| Fault::UnknownBefore);
        assert!(bucket.get("absent", None).await.is_err());
        let fortune = counters.fortune();
        assert!(!fortune.connected());
        let (_, message) = fortune.last_error.unwrap();
        assert!(message.contains("no definite answer"), "{message}");
        assert_eq!(counters.snapshot().of(Op::Get).unknown, 1);

        faulty.set_plan(|_| Fault::None);
        bucket.list("", None).await.unwrap();
        assert!(counters.fortune().connected());
    }

    #[tokio::test]
    async fn each_direction_fails_until_a_call_of_its_own_succeeds() {
        let faulty = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let bucket = Counting::new(faulty.clone());
        let counters = bucket.counters();
        let five = || Bytes::from_static(b"12345");
        bucket.put("k", five(), PutCondition::IfAbsent).await.unwrap();
        assert_eq!((counters.fortune().failing(), counters.fortune().trouble()), (vec![], None));

        faulty.set_plan(|call| if call.op == Op::Put { Fault::RefuseBefore } else { Fault::None });
        bucket.put("l", five(), PutCondition::Always).await.unwrap_err();
        bucket.get("k", None).await.unwrap();
        bucket.put("k", five(), PutCondition::IfAbsent).await.unwrap_err();
        bucket.delete(&["absent".to_owned()]).await.unwrap();
        let fortune = counters.fortune();
        assert_eq!((fortune.failing(), fortune.connected()), (vec![Direction::Writes], true));
        assert_eq!(fortune.failed_write_bytes(), Some(5));
        assert!(fortune.trouble().unwrap().contains("refused"), "{fortune:?}");

        faulty.set_plan(|call| if call.op == Op::Get { Fault::UnknownBefore } else { Fault::None });
        bucket.put("l", five(), PutCondition::Always).await.unwrap();
        bucket.get("k", None).await.unwrap_err();
        bucket.put("m", five(), PutCondition::Always).await.unwrap();
        assert_eq!(counters.fortune().failing(), [Direction::Reads]);
        bucket.list("", None).await.unwrap();
        assert_eq!((counters.fortune().failing(), counters.fortune().trouble()), (vec![], None));
    }
}
