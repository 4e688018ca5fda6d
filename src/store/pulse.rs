//! Whether the bucket answers now. The store asks it when a caller wants to know and no answer came recently.
//! Invariants: one such question at a time, and none while answers come anyway. A caller waits at most two seconds,
//! and not at all once the bucket is known to be away.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::{Admin, Inner};
use crate::bucket::keys;

/// Calls without any answer for this long show by themselves that the bucket is away.
pub const SILENCE: Duration = Duration::from_secs(30);
/// The bucket is asked if its last answer is older than `STALE`, or if calls in progress have had no answer for
/// `SUSPICIOUS`.
const STALE: Duration = Duration::from_secs(10);
const SUSPICIOUS: Duration = Duration::from_secs(1);
/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two questions to a bucket that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// The question in progress, and when the last one was asked.
#[derive(Debug, Default)]
pub struct Pulse {
    asking: Arc<tokio::sync::Mutex<()>>,
    asked: Mutex<Option<Instant>>,
}

impl Admin<'_> {
    /// Makes sure that [`health`](Admin::health) shows the present state of the bucket: asks it for one small object
    /// if no answer came recently. Takes two seconds at most.
    pub async fn check_bucket(self) {
        let inner = &self.store.inner;
        let connected = inner.traffic.fortune().connected();
        if !inner.pulse_is_due(connected) {
            return;
        }
        let Ok(asking) = inner.pulse.asking.clone().try_lock_owned() else {
            if connected {
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
        if connected {
            // The question has its own time limit. If it was cut short, nothing is left to do.
            let _ = asked.await;
        }
    }

    /// Whether the bucket answered when it was last asked.
    pub fn is_connected(self) -> bool {
        self.store.inner.traffic.fortune().connected() && self.store.inner.traffic.silence() < SILENCE
    }
}

impl Inner {
    fn pulse_is_due(&self, connected: bool) -> bool {
        let lately = self.pulse.asked.lock().is_some_and(|asked| asked.elapsed() < PAUSE);
        if !connected {
            return !lately;
        }
        let last = self.traffic.fortune().last_success;
        let age = last.and_then(|at| SystemTime::now().duration_since(at).ok());
        self.traffic.silence() >= SUSPICIOUS && !lately || age.is_some_and(|age| age >= STALE)
    }

    async fn ask(&self) {
        // The call counters note the answer or the failure.
        if tokio::time::timeout(PATIENCE, self.direct.get(keys::STORE, None)).await.is_err() {
            self.traffic.note_failure(format!("no answer within {} s", PATIENCE.as_secs()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;
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
}
