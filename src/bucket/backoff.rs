//! Waiting between attempts: exponential back-off with full jitter, so that rivals spread out.

use std::time::Duration;

/// A random time below `first` × 2^`attempt`, at most `longest`. It may be anything from zero to the bound, so that
/// calls that failed together do not come back together.
pub fn jittered(first: Duration, longest: Duration, attempt: u32) -> Duration {
    first.saturating_mul(1 << attempt.min(31)).min(longest).mul_f64(rand::random::<f64>())
}

/// The longest `Retry-After` that is obeyed. A store that asks for more is asked again after this time.
pub const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// Sleeps a [`jittered`] time on top of what the store has asked for (its `Retry-After`), up to [`LONGEST_ASKED`].
pub async fn pause_at_least(asked: Option<Duration>, first: Duration, longest: Duration, attempt: u32) {
    let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
    tokio::time::sleep(asked.saturating_add(jittered(first, longest, attempt))).await;
}

/// Sleeps a [`jittered`] time.
pub async fn pause(first: Duration, longest: Duration, attempt: u32) {
    tokio::time::sleep(jittered(first, longest, attempt)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_are_spread_over_all_of_it() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(5));
        for (attempt, bound_ms) in [(0, 50), (1, 100), (4, 800), (7, 5_000), (u32::MAX, 5_000)] {
            let bound = Duration::from_millis(bound_ms);
            let pauses: Vec<Duration> = (0..500).map(|_| jittered(first, longest, attempt)).collect();
            assert!(pauses.iter().all(|pause| *pause <= bound), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause > bound.mul_f64(0.9)), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause < bound.mul_f64(0.1)), "{attempt}");
        }
    }
}
