//! Repeats calls whose outcome is unknown, where a repetition can do no harm: reads, deletes, copies and unconditional
//! puts (their keys are unique by nature). Invariant: a conditional put passes exactly once, because after an unknown
//! outcome only the protocol knows what the next answer means (docs/protocol.md#attempts).

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Bucket, BucketError, Object, Page, Place, PutCondition, Stamp, backoff};

/// How often and how fast to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Attempts in all, the first one included; at least 1.
    pub attempts: u32,
    /// The longest pause before the second attempt; doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause at all.
    pub longest_pause: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings { attempts: 6, first_pause: Duration::from_millis(50), longest_pause: Duration::from_secs(5) }
    }
}

/// The decorator; see the module's text.
#[derive(Debug)]
pub struct Retrying<B> {
    inner: B,
    settings: RetrySettings,
}

impl<B: Bucket> Retrying<B> {
    /// `inner`, with repetition of the calls that are safe to repeat.
    pub fn new(inner: B, settings: RetrySettings) -> Self {
        Retrying { inner, settings }
    }

    async fn repeat<T, F>(&self, mut call: impl FnMut() -> F + Send) -> Result<T, BucketError>
    where
        F: Future<Output = Result<T, BucketError>> + Send,
    {
        let mut failed = 0;
        loop {
            match call().await {
                Err(BucketError::Unknown { message, retry_after }) => {
                    failed += 1;
                    if failed >= self.settings.attempts {
                        let message = format!("{message} (after {failed} attempts)");
                        return Err(BucketError::Unknown { message, retry_after });
                    }
                    tracing::debug!(failed, %message, "repeating a call to the bucket");
                    let (first, longest) = (self.settings.first_pause, self.settings.longest_pause);
                    backoff::pause_at_least(retry_after, first, longest, failed - 1).await;
                }
                answer => return answer,
            }
        }
    }
}

#[async_trait]
impl<B: Bucket> Bucket for Retrying<B> {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.repeat(|| self.inner.get(key, range.clone())).await
    }

    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.repeat(|| self.inner.get_fresh(key, range.clone())).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        match condition {
            PutCondition::Always => self.repeat(|| self.inner.put(key, body.clone(), PutCondition::Always)).await,
            conditional => self.inner.put(key, body, conditional).await,
        }
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        self.repeat(|| self.inner.put_large(key, pieces.clone())).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        self.repeat(|| self.inner.copy(from, to)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        self.repeat(|| self.inner.list(prefix, after)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        self.repeat(|| self.inner.delete(keys)).await
    }

    async fn abort_stale_uploads(&self, age: Duration) -> Result<usize, BucketError> {
        self.repeat(|| self.inner.abort_stale_uploads(age)).await
    }

    fn place(&self) -> Place {
        self.inner.place()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bucket::call::Op;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;

    /// A bucket whose first `failures` calls meet `fault`, and the layer over it.
    fn failing(failures: u64, fault: Fault) -> (Arc<FaultBucket>, Retrying<Arc<FaultBucket>>) {
        let faulty = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        faulty.set_plan(move |call| if call.index < failures { fault } else { Fault::None });
        (faulty.clone(), Retrying::new(faulty, RetrySettings::default()))
    }

    async fn put(bucket: &impl Bucket, condition: PutCondition) -> Result<Stamp, BucketError> {
        bucket.put("k", Bytes::from_static(b"x"), condition).await
    }

    #[tokio::test(start_paused = true)]
    async fn safe_calls_are_repeated_until_they_are_answered() {
        let (faulty, bucket) = failing(3, Fault::UnknownBefore);
        put(&bucket, PutCondition::Always).await.unwrap();
        assert_eq!(faulty.log().len(), 4);
        let (faulty, bucket) = failing(5, Fault::UnknownAfter);
        let missing = bucket.get("k", None).await.map(|object| object.bytes);
        assert!(matches!(missing, Err(BucketError::NotFound { .. })), "{missing:?}");
        assert_eq!(faulty.log().len(), 6);
        for op in [Op::Delete, Op::List, Op::Put, Op::Copy] {
            let (faulty, bucket) = failing(0, Fault::None);
            put(&bucket, PutCondition::Always).await.unwrap();
            faulty.set_plan(|call| if call.index < 3 { Fault::UnknownAfter } else { Fault::None });
            let answer = match op {
                Op::Delete => bucket.delete(&["k".into()]).await,
                Op::List => bucket.list("", None).await.map(drop),
                Op::Put => bucket.put_large("k", vec![Bytes::from_static(b"y")]).await.map(drop),
                _ => bucket.copy("k", "l").await.map(drop),
            };
            assert_eq!(answer, Ok(()), "{op:?}");
            let made: Vec<Op> = faulty.log().iter().skip(1).map(|call| call.op).collect();
            assert_eq!(made, [op; 3]);
        }
    }

    #[derive(Debug)]
    struct Busy(MemoryBucket, std::sync::atomic::AtomicU32);

    #[async_trait]
    impl Bucket for Busy {
        async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
            if self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                return Err(BucketError::unknown_until("status 503", Some(Duration::from_secs(17))));
            }
            self.0.get(key, range).await
        }

        async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
            self.0.put(key, body, condition).await
        }

        async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
            self.0.put_large(key, pieces).await
        }

        async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
            self.0.copy(from, to).await
        }

        async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
            self.0.list(prefix, after).await
        }

        async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
            self.0.delete(keys).await
        }

        fn place(&self) -> Place {
            self.0.place()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_asks_to_be_left_alone_is_left_alone_for_as_long() {
        let busy = Busy(MemoryBucket::new(StoreClock::machine()), 0.into());
        put(&busy, PutCondition::Always).await.unwrap();
        let (bucket, started) = (Retrying::new(busy, RetrySettings::default()), tokio::time::Instant::now());
        assert_eq!(bucket.get("k", None).await.unwrap().bytes, "x");
        let took = started.elapsed();
        assert!((Duration::from_secs(17)..Duration::from_secs(18)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_conditional_put_is_made_once_whatever_comes_of_it() {
        for condition in [PutCondition::IfAbsent, PutCondition::IfMatch("\"0\"".into())] {
            let (faulty, bucket) = failing(1, Fault::UnknownBefore);
            let answer = put(&bucket, condition).await;
            assert!(matches!(answer, Err(BucketError::Unknown { .. })), "{answer:?}");
            assert_eq!(faulty.log().len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_and_refusals_are_not_repeated() {
        let (faulty, bucket) = failing(u64::MAX, Fault::UnknownBefore);
        let answer = put(&bucket, PutCondition::Always).await;
        let Err(BucketError::Unknown { message, .. }) = answer else { panic!("{answer:?}") };
        assert!(message.contains("after 6 attempts"), "{message}");
        assert_eq!(faulty.log().len(), 6);
        let (faulty, bucket) = failing(u64::MAX, Fault::RefuseBefore);
        let answer = put(&bucket, PutCondition::Always).await;
        assert!(matches!(answer, Err(BucketError::Refused { .. })), "{answer:?}");
        assert_eq!(faulty.log().len(), 1);
    }
}
