//! HEAD in the bucket: reading it, creating it, and swapping it (docs/protocol.md#head-swap). Invariants: the store's
//! compare-and-swap alone decides a swap. After an unclear answer, HEAD is read back and searched for the swap's
//! nonce. Abandoning a swap never deletes anything. Bytes that do not decode as HEAD are read again before any
//! conclusion, and so is a HEAD older than one seen before.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::time::Instant;

use crate::bucket::keys::StreamId;
use crate::bucket::reread::{self, Absence, Reread, Unsound};
use crate::bucket::{Bucket, BucketError, Object, PutCondition, StoreTime, backoff};
use crate::config::Timing;
use crate::format::FormatError;
use crate::format::head::{Head, Life};

/// HEAD as one read showed it.
#[derive(Debug, Clone)]
pub struct HeadRead {
    /// Its content.
    pub head: Head,
    /// Its tag, for a swap.
    pub etag: String,
    /// Store time of the answer.
    pub date: Option<StoreTime>,
    /// Store time of HEAD's last write.
    pub last_modified: Option<StoreTime>,
}

/// Why HEAD could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The stream has no HEAD.
    #[error("there is no HEAD")]
    Missing,
    /// The bytes are not a HEAD that this version can use.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The bucket did not answer, or refused.
    #[error(transparent)]
    Bucket(BucketError),
}

impl From<BucketError> for HeadError {
    fn from(error: BucketError) -> HeadError {
        match error {
            BucketError::NotFound { .. } => HeadError::Missing,
            other => HeadError::Bucket(other),
        }
    }
}

/// Reads HEAD of `stream`, which should be there, until it checks out or the time limit is over.
pub async fn read(bucket: &dyn Bucket, stream: &StreamId, reread: Reread) -> Result<HeadRead, HeadError> {
    read_as(bucket, stream, (reread, Absence::Doubted), None).await
}

/// Reads HEAD of `stream` where there may be none: its absence is believed at once.
pub async fn look(bucket: &dyn Bucket, stream: &StreamId, reread: Reread) -> Result<HeadRead, HeadError> {
    read_as(bucket, stream, (reread, Absence::Believed), None).await
}

async fn read_as(
    bucket: &dyn Bucket,
    stream: &StreamId,
    how: (Reread, Absence),
    newest: Option<&AtomicU64>,
) -> Result<HeadRead, HeadError> {
    let name = stream.to_string();
    let check = |object: Object| {
        let head = Head::decode(&object.bytes, &name)?;
        newest.map_or(Ok(()), |newest| check_newest(&head, newest))?;
        let untagged = || FormatError::Damaged("HEAD came without an ETag".to_owned());
        let etag = object.stamp.etag.ok_or_else(untagged)?;
        Ok(HeadRead { head, etag, date: object.stamp.date, last_modified: object.stamp.last_modified })
    };
    reread::read(bucket, &stream.head(), how, check).await.map_err(|unsound| match unsound {
        Unsound::Bucket(error) => error.into(),
        Unsound::Wrong(cause) => HeadError::Format(cause),
    })
}

/// Reads the HEAD of one stream for one instance. The generation never goes down: an older HEAD is a stale answer, or
/// was put back.
#[derive(Debug)]
pub struct HeadReader {
    bucket: Arc<dyn Bucket>,
    stream: StreamId,
    newest: AtomicU64,
}

impl HeadReader {
    /// A reader that has seen nothing yet.
    pub fn new(bucket: Arc<dyn Bucket>, stream: StreamId) -> HeadReader {
        HeadReader { bucket, stream, newest: AtomicU64::new(0) }
    }

    /// Reads HEAD, which should be there, until it checks out or the time limit is over.
    pub async fn read(&self, reread: Reread) -> Result<HeadRead, HeadError> {
        read_as(self.bucket.as_ref(), &self.stream, (reread, Absence::Doubted), Some(&self.newest)).await
    }
}

fn check_newest(head: &Head, newest: &AtomicU64) -> Result<(), FormatError> {
    let newest = newest.fetch_max(head.r#gen, Ordering::SeqCst);
    match head.r#gen < newest {
        true => {
            let own = head.r#gen;
            Err(FormatError::Damaged(format!("HEAD is of generation {own}, though one of {newest} was read before")))
        }
        false => Ok(()),
    }
}

/// How a create ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// HEAD is ours; store time of that answer.
    Ours(Option<StoreTime>),
    /// Somebody else's HEAD stands there.
    Exists,
}

/// Creates HEAD of a new stream by put-if-absent, and confirms it with a read. After a lost answer the read decides:
/// the create counts only if HEAD is live and carries our nonce. HEAD's last-modified time then is the answer's date.
pub async fn create(
    bucket: &dyn Bucket,
    stream: &StreamId,
    head: &Head,
    timing: &Timing,
) -> Result<Created, HeadError> {
    let body = Bytes::from(head.encode()?);
    let deadline = Instant::now() + timing.deadline;
    let mut attempt = 0;
    loop {
        let put = bucket.put(&stream.head(), body.clone(), PutCondition::IfAbsent).await;
        let unknown = match put {
            Ok(_) | Err(BucketError::Exists { .. }) => {
                let answered = put.ok().map(|stamp| stamp.date);
                // IMPORTANT: also read after a success. Nobody can use a collection whose HEAD is missing.
                match read(bucket, stream, timing.reread()).await {
                    Ok(found) if found.head.recent.contains(&head.nonce) && found.head.state == head.state => {
                        return Ok(Created::Ours(answered.unwrap_or(found.last_modified)));
                    }
                    Ok(_) => return Ok(Created::Exists),
                    Err(HeadError::Missing) => unclear("HEAD was put, but is not there"),
                    Err(HeadError::Bucket(error @ BucketError::Unknown { .. })) => error,
                    Err(error) => return Err(error),
                }
            }
            Err(error @ BucketError::Unknown { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= deadline {
            return Err(HeadError::Bucket(unknown));
        }
        backoff::pause(timing.backoff, timing.backoff_max, attempt).await;
        attempt += 1;
    }
}

fn unclear(why: &str) -> BucketError {
    BucketError::unknown(why)
}

/// How a swap ended.
#[derive(Debug, Clone)]
pub enum Swapped {
    /// HEAD now is (or has been) this one of ours.
    Done(Box<Head>),
    /// The change no longer fits HEAD, or the outcome stayed unclear until the deadline. Objects uploaded for it stay;
    /// the swap may have landed all the same.
    Abandoned(String),
}

/// A change of HEAD, planned anew for each HEAD that it is tried on.
pub trait HeadPlan: Send + Sync {
    /// The next HEAD, made from [`Head::successor`] of `read.head`; `Err` says why the change no longer fits.
    fn plan(&self, read: &HeadRead) -> Result<Head, String>;
}

impl<F: Fn(&HeadRead) -> Result<Head, String> + Send + Sync> HeadPlan for F {
    fn plan(&self, read: &HeadRead) -> Result<Head, String> {
        self(read)
    }
}

/// Swaps the HEADs of one stream for one instance, at most one swap per `swap_interval`.
#[derive(Debug)]
pub struct Swapper {
    bucket: Arc<dyn Bucket>,
    reader: Arc<HeadReader>,
    timing: Timing,
    last: tokio::sync::Mutex<Option<Instant>>,
}

impl Swapper {
    /// A swapper for `stream`.
    pub fn new(bucket: Arc<dyn Bucket>, stream: StreamId, timing: Timing) -> Swapper {
        let reader = Arc::new(HeadReader::new(bucket.clone(), stream));
        Swapper::over(bucket, reader, timing)
    }

    /// A swapper of the HEAD that `reader` reads.
    pub fn over(bucket: Arc<dyn Bucket>, reader: Arc<HeadReader>, timing: Timing) -> Swapper {
        Swapper { bucket, reader, timing, last: tokio::sync::Mutex::new(None) }
    }

    /// The stream whose HEAD this swaps.
    pub fn stream(&self) -> &StreamId {
        &self.reader.stream
    }

    /// Swaps HEAD as `plan` says, starting from `read` (docs/protocol.md#head-swap). After a lost race the change is
    /// planned anew on the HEAD that won, unless an orphan sweep began since `read`.
    pub async fn swap(&self, read: HeadRead, plan: &dyn HeadPlan) -> Result<Swapped, HeadError> {
        let mut last = self.last.lock().await;
        let deadline = Instant::now() + self.timing.deadline;
        let sweeps = read.head.sweeps;
        let mut ground = read;
        let mut attempt = 0;
        loop {
            let next = match plan.plan(&ground) {
                Ok(next) => next,
                Err(why) => return Ok(Swapped::Abandoned(why)),
            };
            if let Err(broken) = next.check_invariants().and_then(|()| next.check_keys()) {
                return Err(broken.into());
            }
            match self.swap_once(&ground, &next, &mut last, deadline).await? {
                Once::Done => return Ok(Swapped::Done(Box::new(next))),
                Once::Abandoned(why) => return Ok(Swapped::Abandoned(why)),
                Once::Lost(found) if found.head.sweeps != sweeps => {
                    return Ok(Swapped::Abandoned("an orphan sweep began meanwhile".to_owned()));
                }
                Once::Lost(found) => ground = *found,
            }
            if Instant::now() >= deadline {
                return Ok(Swapped::Abandoned("others kept winning the swap until the deadline".to_owned()));
            }
            backoff::pause(self.timing.backoff, self.timing.backoff_max, attempt).await;
            attempt += 1;
        }
    }

    /// Tries one successor until its fate is known. Every attempt sends the same bytes under the same tag, so that the
    /// swap lands at most once.
    async fn swap_once(
        &self,
        ground: &HeadRead,
        next: &Head,
        last: &mut Option<Instant>,
        deadline: Instant,
    ) -> Result<Once, HeadError> {
        let body = Bytes::from(next.encode()?);
        let condition = PutCondition::IfMatch(ground.etag.clone());
        let mut unknown = false;
        let mut attempt = 0;
        loop {
            self.keep_interval(last).await;
            let put = self.bucket.put(&self.stream().head(), body.clone(), condition.clone()).await;
            *last = Some(Instant::now());
            match put {
                Ok(_) => return Ok(Once::Done),
                Err(BucketError::Refused { message }) if !unknown => {
                    return Err(HeadError::Bucket(BucketError::Refused { message }));
                }
                // HEAD is never deleted: its absence is believed only if a read confirms it.
                Err(BucketError::Exists { .. } | BucketError::NotFound { .. }) => {}
                Err(BucketError::Unknown { .. } | BucketError::Refused { .. }) => unknown = true,
            }
            loop {
                match self.read().await {
                    Ok(found) if found.head.recent.contains(&next.nonce) => return Ok(Once::Done),
                    Ok(found) if found.etag == ground.etag => break,
                    Ok(found) => return Ok(Once::Lost(Box::new(found))),
                    Err(HeadError::Bucket(BucketError::Unknown { .. })) => {}
                    Err(error) => return Err(error),
                }
                if Instant::now() >= deadline {
                    return Ok(Once::Abandoned("the outcome of the swap stayed unclear".to_owned()));
                }
                backoff::pause(self.timing.backoff, self.timing.backoff_max, attempt).await;
                attempt += 1;
            }
            if Instant::now() >= deadline {
                return Ok(Once::Abandoned("the outcome of the swap stayed unclear".to_owned()));
            }
            backoff::pause(self.timing.backoff, self.timing.backoff_max, attempt).await;
            attempt += 1;
        }
    }

    async fn keep_interval(&self, last: &Option<Instant>) {
        if let Some(at) = *last {
            tokio::time::sleep_until(at + self.timing.swap_interval).await;
        }
    }

    /// Reads HEAD of the stream.
    pub async fn read(&self) -> Result<HeadRead, HeadError> {
        self.reader.read(self.timing.reread()).await
    }
}

enum Once {
    Done,
    Lost(Box<HeadRead>),
    Abandoned(String),
}

/// Marks a live HEAD as dropped. A HEAD that is dropped already is a success.
pub async fn mark_dropped(swapper: &Swapper) -> Result<(), HeadError> {
    let read = swapper.read().await?;
    if read.head.state == Life::Dropped {
        return Ok(());
    }
    let drop = |read: &HeadRead| {
        if read.head.state == Life::Dropped {
            return Err("dropped already".to_owned());
        }
        let mut next = read.head.successor();
        next.state = Life::Dropped;
        Ok(next)
    };
    match swapper.swap(read, &drop).await? {
        Swapped::Done(_) => Ok(()),
        Swapped::Abandoned(why) => match swapper.read().await? {
            found if found.head.state == Life::Dropped => Ok(()),
            _ => Err(HeadError::Bucket(BucketError::unknown(format!("HEAD was not marked dropped: {why}")))),
        },
    }
}
