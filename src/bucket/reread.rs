//! Reading again what does not check out. One wrong answer of a bucket is no verdict: it may be a gateway's page, a
//! flipped bit or half a body. The object is read anew over a new connection, with pauses, until its bytes check out
//! or the time limit is over (docs/protocol.md#reading-again). Invariant: after a single read nothing is called
//! damaged, nor missing where it was expected.

use std::time::Duration;

use tokio::time::Instant;

use super::{Bucket, BucketError, Object, backoff};

/// How long, and how fast, objects are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Reread {
    /// Bytes that still do not check out after this long count as damaged.
    pub limit: Duration,
    /// The longest pause before the second read; doubled with each further one.
    pub first_pause: Duration,
    /// The longest pause at all.
    pub longest_pause: Duration,
}

impl Default for Reread {
    fn default() -> Reread {
        let longest_pause = Duration::from_secs(1);
        Reread { limit: Duration::from_secs(5), first_pause: Duration::from_millis(50), longest_pause }
    }
}

impl Reread {
    /// One more read, almost without a pause: for objects that are known to be damaged, or may well be absent.
    pub fn once(self) -> Reread {
        Reread { limit: Duration::ZERO, ..self }
    }

    /// Starts the time limit of one object.
    pub fn begin(self) -> Rereads {
        Rereads { settings: self, until: Instant::now() + self.limit, reads: 0 }
    }
}

/// The reads of one object.
#[derive(Debug)]
pub struct Rereads {
    settings: Reread,
    until: Instant,
    reads: u32,
}

impl Rereads {
    /// Waits, and returns whether the object is to be read again. The first time the answer is always yes.
    pub async fn again(&mut self) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        if self.reads > 0 && left.is_zero() {
            return false;
        }
        let longest = self.settings.longest_pause.min(left.max(self.settings.first_pause));
        backoff::pause(self.settings.first_pause, longest, self.reads).await;
        self.reads += 1;
        true
    }

    /// Reads an object: over any connection the first time, over a new one later.
    pub async fn get(&self, bucket: &dyn Bucket, key: &str) -> Result<Object, BucketError> {
        match self.reads {
            0 => bucket.get(key, None).await,
            _ => bucket.get_fresh(key, None).await,
        }
    }
}

/// What the answer "no such object" means to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// The object may well be absent.
    Believed,
    /// The object should be there: the read is repeated.
    Doubted,
}

/// Why nothing sound was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsound<E> {
    /// What the bucket answered.
    Bucket(BucketError),
    /// What was wrong with the bytes that came last.
    Wrong(E),
}

/// Reads a whole object until `check` accepts it.
///
/// # Errors
/// `Wrong` if no bytes passed before the limit; `Bucket` if the last answer was a failure.
pub async fn read<T, E>(
    bucket: &dyn Bucket,
    key: &str,
    (reread, absence): (Reread, Absence),
    check: impl Fn(Object) -> Result<T, E>,
) -> Result<T, Unsound<E>> {
    let mut reads = reread.begin();
    loop {
        let unsound = match reads.get(bucket, key).await {
            Ok(object) => match check(object) {
                Ok(checked) => return Ok(checked),
                Err(wrong) => Unsound::Wrong(wrong),
            },
            Err(error @ BucketError::NotFound { .. }) if absence == Absence::Doubted => Unsound::Bucket(error),
            Err(error) => return Err(Unsound::Bucket(error)),
        };
        if !reads.again().await {
            return Err(unsound);
        }
        tracing::debug!(%key, "the bytes do not check out; the object is read again");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::bucket::PutCondition;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Call, Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;

    const REREAD: Reread = Reread {
        limit: Duration::from_secs(5),
        first_pause: Duration::from_millis(50),
        longest_pause: Duration::from_secs(1),
    };

    async fn bucket() -> FaultBucket {
        let memory = MemoryBucket::new(StoreClock::machine());
        memory.put("k", Bytes::from_static(b"sound"), PutCondition::Always).await.unwrap();
        FaultBucket::new(Arc::new(memory))
    }

    /// Accepts the bytes from read number `from` on, counted from 0.
    fn sound_from(from: u32) -> impl Fn(Object) -> Result<Bytes, u32> {
        let reads = AtomicU32::new(0);
        move |object| match reads.fetch_add(1, Ordering::SeqCst) {
            read if read >= from => Ok(object.bytes),
            read => Err(read),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_check_out_is_read_again_until_it_does_or_the_time_is_over() {
        let bucket = bucket().await;
        for wrong in [0, 1, 5] {
            let read = read(&bucket, "k", (REREAD, Absence::Believed), sound_from(wrong)).await;
            assert_eq!(read, Ok(Bytes::from_static(b"sound")), "{wrong} wrong answers");
        }
        let began = Instant::now();
        let never = read(&bucket, "k", (REREAD, Absence::Believed), sound_from(u32::MAX)).await;
        let Err(Unsound::Wrong(reads)) = never else { panic!("{never:?}") };
        assert!(reads >= 5, "only {reads} reads were made again");
        assert!(began.elapsed() >= REREAD.limit && began.elapsed() < REREAD.limit * 2, "{:?}", began.elapsed());
        let once = read(&bucket, "k", (REREAD.once(), Absence::Believed), sound_from(u32::MAX)).await;
        assert_eq!(once, Err(Unsound::Wrong(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_doubted_only_where_the_object_should_be_there() {
        let bucket = bucket().await;
        for (absence, least) in [(Absence::Believed, 1), (Absence::Doubted, 6)] {
            let before = bucket.log().len();
            let missing = read(&bucket, "absent", (REREAD, absence), sound_from(0)).await;
            assert!(matches!(missing, Err(Unsound::Bucket(BucketError::NotFound { .. }))), "{missing:?}");
            let reads = bucket.log().len() - before;
            assert!(reads >= least && (least > 1 || reads == 1), "{absence:?}: {reads} reads");
        }
        bucket.set_plan(|_: &Call| Fault::UnknownBefore);
        let away = read(&bucket, "k", (REREAD, Absence::Doubted), sound_from(0)).await;
        assert!(matches!(away, Err(Unsound::Bucket(BucketError::Unknown { .. }))), "{away:?}");
    }
}
