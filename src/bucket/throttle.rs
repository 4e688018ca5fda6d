//! Spaces out the writes of one key. Some stores (R2, Google Cloud Storage) take only one a second per key, and answer
//! 429 to more. Invariant: this instance begins no write of a key until `pause` has passed since its last write to
//! that key was answered. Waiting rivals start together, so that a race stays a race.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Bucket, BucketError, Object, Page, Place, PutCondition, Stamp};

/// The pause for stores that take one write a second, with a margin for the store's own counting.
pub const ONE_A_SECOND: Duration = Duration::from_millis(1_100);

/// The decorator; see the module's text.
#[derive(Debug)]
pub struct Throttled<B> {
    inner: B,
    pause: Duration,
    /// When the last write of a key was answered. Entries older than `pause` are forgotten.
    answered: Mutex<HashMap<String, Instant>>,
}

impl<B: Bucket> Throttled<B> {
    /// `inner`, with at least `pause` between two writes of one key.
    pub fn new(inner: B, pause: Duration) -> Self {
        Throttled { inner, pause, answered: Mutex::default() }
    }

    async fn turn(&self, key: &str) {
        loop {
            let last = self.answered.lock().get(key).copied();
            match last.map(|last| last + self.pause) {
                Some(next) if next > Instant::now() => tokio::time::sleep_until(next).await,
                _ => return,
            }
        }
    }

    fn answered(&self, key: &str) {
        let now = Instant::now();
        let mut answered = self.answered.lock();
        answered.retain(|_, last| *last + self.pause > now);
        answered.insert(key.to_owned(), now);
    }
}

#[async_trait]
impl<B: Bucket> Bucket for Throttled<B> {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.inner.get(key, range).await
    }

    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.inner.get_fresh(key, range).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        self.turn(key).await;
        let answer = self.inner.put(key, body, condition).await;
        self.answered(key);
        answer
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        self.turn(key).await;
        let answer = self.inner.put_large(key, pieces).await;
        self.answered(key);
        answer
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        self.turn(to).await;
        let answer = self.inner.copy(from, to).await;
        self.answered(to);
        answer
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        self.inner.delete(keys).await
    }

    async fn abort_stale_uploads(&self, age: Duration) -> Result<usize, BucketError> {
        self.inner.abort_stale_uploads(age).await
    }

    fn place(&self) -> Place {
        self.inner.place()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;

    async fn put(bucket: &impl Bucket, key: &str) {
        bucket.put(key, Bytes::from_static(b"x"), PutCondition::Always).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_is_written_once_in_a_pause_and_others_at_once() {
        let bucket = Throttled::new(MemoryBucket::new(StoreClock::machine()), ONE_A_SECOND);
        let started = Instant::now();
        for n in 0..50 {
            put(&bucket, &format!("other-{n}")).await;
        }
        put(&bucket, "head").await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        put(&bucket, "head").await;
        bucket.put_large("head", vec![Bytes::from_static(b"y")]).await.unwrap();
        bucket.copy("other-1", "head").await.unwrap();
        let took = started.elapsed();
        assert!(took >= ONE_A_SECOND * 3 && took < ONE_A_SECOND * 4, "{took:?}");
        assert_eq!(bucket.answered.lock().len(), 1, "what is long past is not forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn rivals_set_out_together() {
        let distant = FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine())));
        distant.set_plan(|_| Fault::SlowMs(20));
        let bucket = Throttled::new(distant, ONE_A_SECOND);
        put(&bucket, "head").await;
        let started = Instant::now();
        tokio::join!(put(&bucket, "head"), put(&bucket, "head"), put(&bucket, "head"));
        let took = started.elapsed();
        assert!(took >= ONE_A_SECOND && took < ONE_A_SECOND * 2, "{took:?}");
    }
}
