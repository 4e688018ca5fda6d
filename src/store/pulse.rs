//! Whether the bucket answers now, and does what it is asked to. The store asks it when a caller wants to know and no
//! answer came recently, or when it did not do what was asked last.
//! Invariants: one such question at a time, and none while answers come anyway. A caller waits at most two seconds,
//! and not at all for what is known already. A write is asked for only after one has failed.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use ulid::Ulid;

use super::{Admin, Inner};
use crate::bucket::call::Direction;
use crate::bucket::{BucketError, PutCondition, keys};

/// Calls without any answer for this long show by themselves that the bucket is away.
pub const SILENCE: Duration = Duration::from_secs(30);
/// The bucket is asked if its last answer is older than `STALE`, or if calls in progress have had no answer for
/// `SUSPICIOUS`.
const STALE: Duration = Duration::from_secs(10);
const SUSPICIOUS: Duration = Duration::from_secs(1);
/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two questions to a bucket that is away, and to one that answers, but does not do all it should.
const PAUSE: Duration = Duration::from_secs(1);
const FAILING_PAUSE: Duration = Duration::from_secs(3);
/// Most bytes of a write that only asks.
const ASKED_BYTES: usize = 1 << 20;

/// The question in progress, and when the last one was asked.
#[derive(Debug)]
pub struct Pulse {
    asking: Arc<tokio::sync::Mutex<()>>,
    asked: Mutex<Option<Instant>>,
    /// Where a write is tried: one key of this process.
    scratch: String,
}

impl Default for Pulse {
    fn default() -> Pulse {
        let scratch = keys::probe_scratch(Ulid::generate(), "pulse");
        Pulse { asking: Arc::default(), asked: Mutex::default(), scratch }
    }
}

impl Admin<'_> {
    /// Makes sure that [`health`](Admin::health) shows the present state of the bucket: asks it for one small object
    /// if no answer came recently. Where its last write or delete failed, tries a small write. Takes two seconds at
    /// most.
    pub async fn check_bucket(self) {
        let inner = &self.store.inner;
        if !inner.pulse_is_due() {
            return;
        }
        let unknown = inner.bucket_trouble().is_none();
        let Ok(asking) = inner.pulse.asking.clone().try_lock_owned() else {
            if unknown {
                // Another caller asks already; the result is noted in any case.
                let _ = tokio::time::timeout(PATIENCE, inner.pulse.asking.lock()).await;
            }
            return;
        };
        *inner.pulse.asked.lock() = Some(Instant::now());
        let asker = inner.clone();
        let asked = tokio::spawn(async move {
            asker.ask().await;
            drop(asking);
        });
        if unknown {
            // The question has its own time limit. If it was cut short, nothing is left to do.
            let _ = asked.await;
        }
    }

    /// Whether the bucket answered when it was last asked.
    pub fn is_connected(self) -> bool {
        self.store.inner.traffic.fortune().connected() && self.store.inner.traffic.silence() < SILENCE
    }

    /// How the bucket has failed since `since`, or before that if it has not recovered; in words.
    #[cfg(feature = "server")]
    pub(crate) fn bucket_failure(self, since: SystemTime) -> Option<String> {
        let inner = &self.store.inner;
        let late = || inner.traffic.fortune().last_error.filter(|(at, _)| *at >= since).map(|(_, why)| why);
        inner.bucket_trouble().or_else(late)
    }
}

impl Inner {
    /// What is wrong with the bucket now, in words.
    pub(super) fn bucket_trouble(&self) -> Option<String> {
        let silence = self.traffic.silence();
        if silence >= SILENCE {
            return Some(format!("no answer for {} s by now", silence.as_secs()));
        }
        self.traffic.fortune().trouble().map(str::to_owned)
    }

    fn pulse_is_due(&self) -> bool {
        let asked_within = |pause| self.pulse.asked.lock().is_some_and(|asked: Instant| asked.elapsed() < pause);
        let fortune = self.traffic.fortune();
        if !fortune.connected() {
            return !asked_within(PAUSE);
        }
        if !fortune.failing().is_empty() {
            return !asked_within(FAILING_PAUSE);
        }
        let age = fortune.last_success.and_then(|at| SystemTime::now().duration_since(at).ok());
        self.traffic.silence() >= SUSPICIOUS && !asked_within(PAUSE) || age.is_some_and(|age| age >= STALE)
    }

    /// Asks for a small object and, where writes or deletes have failed, for a write. The call counters note the
    /// answers.
    async fn ask(&self) {
        let read = tokio::time::timeout(PATIENCE, self.direct.get(keys::STORE, None)).await;
        if read.is_err() {
            return self.no_answer(Direction::Reads);
        }
        let Some(bytes) = self.traffic.fortune().failed_write_bytes() else { return };
        let written = tokio::time::timeout(PATIENCE, self.ask_to_write(bytes)).await;
        if written.is_err() {
            self.no_answer(Direction::Writes);
        }
    }

    /// Writes as many bytes as the write that failed, within bounds, and deletes them.
    async fn ask_to_write(&self, bytes: usize) -> Result<(), BucketError> {
        let (key, body) = (&self.pulse.scratch, Bytes::from(vec![b' '; bytes.clamp(1, ASKED_BYTES)]));
        self.direct.put(key, body, PutCondition::Always).await?;
        self.direct.delete(std::slice::from_ref(key)).await
    }

    fn no_answer(&self, direction: Direction) {
        self.traffic.note_failure(direction, format!("no answer within {} s", PATIENCE.as_secs()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Bucket;
    use crate::bucket::call::Op;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;
    use crate::collection::request::Consistency;
    use crate::config::{Settings, Storage};
    use crate::store::Store;

    #[tokio::test]
    async fn an_outage_in_which_nothing_is_answered_is_told_within_three_seconds_and_its_end_too() {
        let bucket = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let store = Store::open_on(Settings::new(Storage::Memory), bucket.clone()).await.unwrap();
        store.admin().check_bucket().await;
        assert!(store.admin().health().storage.connected);
        bucket.set_plan(|_| Fault::SlowMs(600_000));
        let hanging = store.clone();
        let hanging = tokio::spawn(async move { hanging.admin().all_collections().await.map(drop) });
        let began = Instant::now();
        while store.admin().health().storage.connected {
            assert!(began.elapsed() < Duration::from_secs(4), "still told to be connected");
            store.admin().check_bucket().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let health = store.admin().health();
        assert_eq!(health.status, "degraded");
        assert!(health.storage.last_error.unwrap().contains("no answer within 2 s"));
        let asked = Instant::now();
        store.admin().check_bucket().await;
        assert!(asked.elapsed() < Duration::from_secs(1), "what is known is told at once");
        bucket.set_plan(|_| Fault::None);
        let back = Instant::now();
        while !store.admin().health().storage.connected {
            assert!(back.elapsed() < Duration::from_secs(20), "the end of the outage was not noticed");
            store.admin().check_bucket().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        hanging.abort();
    }

    fn is_write(op: Op) -> bool {
        op.direction() == Direction::Writes
    }

    #[tokio::test]
    async fn a_bucket_that_takes_no_writes_is_degraded_until_a_write_succeeds() {
        let bucket = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let settings = Settings { maintenance: false, ..Settings::new(Storage::Memory) };
        let store = Store::open_on(settings, bucket.clone()).await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        let record = || vec![crate::Record::new("a", vec![1.0, 2.0])];
        bucket.set_plan(|call| if is_write(call.op) { Fault::RefuseBefore } else { Fault::None });
        notes.upsert(record()).await.unwrap_err();
        for _ in 0..3 {
            assert_eq!(notes.count(Consistency::Strong).await.unwrap(), 0);
            store.admin().check_bucket().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            let health = store.admin().health();
            assert_eq!((health.status, health.storage.connected), ("degraded", true));
            assert_eq!(health.storage.failing, ["writes"]);
            assert!(health.storage.last_error.unwrap().contains("refused"));
        }
        bucket.set_plan(|_| Fault::None);
        assert_eq!(notes.count(Consistency::Strong).await.unwrap(), 0);
        assert_eq!(store.admin().health().status, "degraded", "a read shows nothing of writes");
        notes.upsert(record()).await.unwrap();
        let health = store.admin().health();
        assert_eq!((health.status, health.storage.failing.len(), health.storage.last_error), ("ok", 0, None));
    }

    #[tokio::test]
    async fn a_store_that_nobody_writes_to_finds_out_by_itself_that_its_bucket_takes_writes_again() {
        let bucket = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let settings = Settings { maintenance: false, ..Settings::new(Storage::Memory) };
        let store = Store::open_on(settings, bucket.clone()).await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        bucket.set_plan(|call| if is_write(call.op) { Fault::RefuseBefore } else { Fault::None });
        notes.upsert(vec![crate::Record::new("a", vec![1.0])]).await.unwrap_err();
        bucket.set_plan(|_| Fault::None);
        let back = Instant::now();
        while store.admin().health().status != "ok" {
            assert!(back.elapsed() < Duration::from_secs(20), "the end of the refusals was not noticed");
            store.admin().check_bucket().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let left = bucket.list(keys::PROBES, None).await.unwrap().objects;
        assert!(left.iter().all(|object| !object.key.contains("/scratch/")), "{left:?}");
    }

    #[tokio::test]
    async fn a_failure_is_told_to_those_who_waited_then_and_while_it_lasts() {
        let bucket = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let store = Store::open_on(Settings::new(Storage::Memory), bucket.clone()).await.unwrap();
        let (admin, before) = (store.admin(), SystemTime::now());
        assert_eq!(admin.bucket_failure(before), None);
        bucket.set_plan(|_| Fault::RefuseBefore);
        admin.all_collections().await.unwrap_err();
        let after = SystemTime::now() + Duration::from_secs(1);
        assert!(admin.bucket_failure(after).unwrap().contains("refused"), "it lasts");
        bucket.set_plan(|_| Fault::None);
        admin.all_collections().await.unwrap();
        assert!(admin.bucket_failure(before).unwrap().contains("refused"), "it was then");
        assert_eq!(admin.bucket_failure(after), None);
    }
}
