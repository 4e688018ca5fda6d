//! Store time where Drumlin itself is the store: the memory bucket and the folder. Invariant: only backends read this
//! clock. Everything above takes the time from an answer's stamp, as from any other store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::StoreTime;

/// The clock of a memory bucket: a start, plus the time that tokio's clock has run since, plus a skew that a test may
/// set. A test under paused time moves it. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct StoreClock {
    base: StoreTime,
    started: Instant,
    skew_ms: Arc<AtomicI64>,
}

impl StoreClock {
    /// A clock that shows `base` now.
    pub fn starting_at(base: StoreTime) -> Self {
        StoreClock { base, started: Instant::now(), skew_ms: Arc::default() }
    }

    /// A clock that starts with this machine's.
    pub fn machine() -> Self {
        Self::starting_at(machine_time())
    }

    /// The store's time.
    pub fn now(&self) -> StoreTime {
        let elapsed_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        StoreTime(self.base.0.saturating_add(elapsed_ms).saturating_add(self.skew_ms.load(Ordering::SeqCst)))
    }

    /// Sets the clock `skew_ms` ahead of its unskewed time (behind it if negative). Replaces an earlier skew.
    #[cfg(any(test, feature = "testing"))]
    pub fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::SeqCst);
    }
}

/// This machine's wall clock as a store time.
pub(super) fn machine_time() -> StoreTime {
    system_time(SystemTime::now())
}

/// A moment of the wall clock as a store time; moments before 1970 count as 1970.
pub(super) fn system_time(moment: SystemTime) -> StoreTime {
    let since_epoch = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    StoreTime(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
