//! The rate limit: one token bucket for each key, and for each address that presents none. Bounded: a fixed number of
//! buckets is kept at most. A bucket that is full again holds no information and is dropped.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Most buckets that are kept. Beyond that, all newcomers share one.
const MOST_BUCKETS: usize = 10_000;

/// Requests that one key or address may make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Requests per second in the long run; above 0.
    pub per_second: f64,
    /// Requests at once after a pause; at least 1.
    pub burst: f64,
}

/// The owner of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// A key, by its name.
    Key(Arc<str>),
    /// A network address that presented no valid key.
    Address(IpAddr),
    /// Every other requester.
    Others,
}

impl Who {
    /// An IPv6 host usually has a whole /64, so all addresses of a /64 count as one.
    pub(super) fn at(address: Option<IpAddr>) -> Who {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => Who::Address(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            Some(address) => Who::Address(address),
            None => Who::Others,
        }
    }
}

/// The remaining tokens of one requester.
struct TokenBucket {
    tokens: f64,
    at: Instant,
}

/// Counts requests.
pub(in crate::http) struct RateLimiter {
    rate: Rate,
    buckets: Mutex<HashMap<Who, TokenBucket>>,
}

impl RateLimiter {
    pub(in crate::http) fn new(rate: Rate) -> RateLimiter {
        RateLimiter { rate, buckets: Mutex::default() }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes a token, or returns how long to wait for one.
    pub(super) fn take(&self, who: Who, now: Instant) -> Result<(), Duration> {
        let Rate { per_second, burst } = self.rate;
        let tokens_at = |bucket: &TokenBucket, now: Instant| {
            let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * per_second;
            (bucket.tokens + gained).min(burst)
        };
        let mut buckets = self.buckets.lock();
        let mut who = who;
        if buckets.len() >= MOST_BUCKETS && !buckets.contains_key(&who) {
            buckets.retain(|_, bucket| tokens_at(bucket, now) < burst);
            if buckets.len() >= MOST_BUCKETS {
                who = Who::Others;
            }
        }
        let bucket = buckets.entry(who).or_insert(TokenBucket { tokens: burst, at: now });
        bucket.tokens = tokens_at(bucket, now);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((1.0 - bucket.tokens) / per_second).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Who {
        Who::Key(name.into())
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_others_are_not_touched() {
        let limiter = RateLimiter::new(Rate { per_second: 2.0, burst: 3.0 });
        let start = Instant::now();
        let passed = (0..10).filter(|_| limiter.take(key("a"), start).is_ok()).count();
        assert_eq!(passed, 3);
        assert_eq!(limiter.take(key("a"), start), Err(Duration::from_millis(500)));
        assert_eq!(limiter.take(key("b"), start), Ok(()));
        let later = start + Duration::from_secs(10);
        let passed =
            (0..100).filter(|n| limiter.take(key("c"), start + Duration::from_millis(100 * n)).is_ok()).count();
        assert_eq!(passed, 3 + 19, "a burst, then two a second over 9.9 s");
        assert_eq!(
            (0..10).filter(|_| limiter.take(key("a"), later).is_ok()).count(),
            3,
            "a pause saves a burst, no more"
        );
    }

    #[test]
    fn addresses_of_one_network_of_version_6_count_as_one() {
        let at = |text: &str| Who::at(Some(text.parse().unwrap()));
        assert_eq!(at("2001:db8:1:2::5"), at("2001:db8:1:2:ffff::1"));
        assert_ne!(at("2001:db8:1:2::5"), at("2001:db8:1:3::5"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
    }

    #[test]
    fn buckets_are_bounded_and_those_beyond_share_one() {
        let limiter = RateLimiter::new(Rate { per_second: 1.0, burst: 1.0 });
        let start = Instant::now();
        let at = |n: usize| Who::at(Some(IpAddr::from((n as u32).to_be_bytes())));
        for n in 0..MOST_BUCKETS {
            assert_eq!(limiter.take(at(n), start), Ok(()));
        }
        let passed = (0..10).filter(|n| limiter.take(at(MOST_BUCKETS + n), start).is_ok()).count();
        assert_eq!((passed, limiter.buckets.lock().len()), (1, MOST_BUCKETS + 1));
        // Once those buckets are full again, they make room.
        assert_eq!(limiter.take(at(MOST_BUCKETS + 50), start + Duration::from_secs(2)), Ok(()));
        assert_eq!(limiter.buckets.lock().len(), 1);
    }
}
