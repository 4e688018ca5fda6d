//! The clock for signing requests: this machine's, corrected by the store's where they differ. Invariant: one answer
//! with a wrong date changes nothing. A difference is believed when it repeats, and forgotten as soon as an answer
//! agrees with this machine's clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use parking_lot::Mutex;

use crate::bucket::StoreTime;
use crate::bucket::clock::system_time;

/// Clocks that differ by at most this much agree. S3 accepts signatures that are up to fifteen minutes off.
const TOLERANCE_MS: i64 = 4 * 60 * 1_000;

/// The clock; see the module's text. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub(super) struct SigningClock(Arc<Mutex<Skew>>);

/// How far the store's clock is ahead of this machine's, in milliseconds.
#[derive(Debug, Default)]
struct Skew {
    believed_ms: i64,
    /// The difference in one answer, while it is not believed yet.
    heard_once_ms: Option<i64>,
}

impl Skew {
    fn observe(&mut self, ms: i64) {
        let agree = |one: i64, other: i64| one.abs_diff(other) < TOLERANCE_MS.unsigned_abs();
        let repeated = self.heard_once_ms.take().is_some_and(|before| agree(before, ms));
        if agree(ms, 0) {
            self.believed_ms = 0;
        } else if repeated {
            tracing::warn!(
                skew_s = ms / 1_000,
                "the store's clock differs from this machine's; requests are signed with the store's time"
            );
            self.believed_ms = ms;
        } else if !agree(ms, self.believed_ms) {
            self.heard_once_ms = Some(ms);
        }
    }
}

impl SigningClock {
    /// Takes in the store's time from an answer that has just come.
    pub(super) fn observe(&self, date: StoreTime) {
        self.0.lock().observe(date.since_ms(system_time(SystemTime::now())));
    }
}

impl TimeSource for SigningClock {
    fn now(&self) -> SystemTime {
        let (now, believed_ms) = (SystemTime::now(), self.0.lock().believed_ms);
        let by = Duration::from_millis(believed_ms.unsigned_abs());
        let put_right = if believed_ms < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        put_right.unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_believed_when_it_repeats_and_forgotten_at_the_next_answer_that_agrees() {
        const DAY: i64 = 25 * 3_600_000;
        let mut skew = Skew::default();
        for (observed_ms, believed_ms) in [
            (300, 0),
            (DAY, 0),
            (-200, 0),
            (DAY, 0),
            (-DAY, 0),
            (DAY, 0),
            (DAY + 1_500, DAY + 1_500),
            (DAY - 900, DAY + 1_500),
            (2 * DAY, DAY + 1_500),
            (DAY, DAY + 1_500),
            (1_000, 0),
            (DAY, 0),
        ] {
            skew.observe(observed_ms);
            assert_eq!(skew.believed_ms, believed_ms, "after {observed_ms}");
        }
    }
}
