//! Waiting between attempts: exponential back-off with full jitter, so that rivals spread out.

use std::time::Duration;

use rand::Rng;

/// Sleeps a random time below `first` × 2^`attempt`, at most `longest`.
pub async fn pause(first: Duration, longest: Duration, attempt: u32) {
    let ceiling = first.saturating_mul(1 << attempt.min(20)).min(longest);
    let wait = ceiling.mul_f64(rand::rng().random::<f64>());
    tokio::time::sleep(wait).await;
}
