//! HEAD in the bucket: reading it, creating it, and swapping it (protocol sections 3 and 7).
//! Invariant: a swap is decided by the store's compare-and-swap alone; an unclear answer is resolved by
//! reading HEAD back and looking for the swap's nonce, and abandoning a swap never deletes anything.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::bucket::keys::StreamId;
use crate::bucket::{Bucket, BucketError, Condition, StoreTime, backoff};
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
    /// Store time at which it was last written.
    pub last_modified: Option<StoreTime>,
}

/// Why HEAD could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The stream has no HEAD.
    #[error("there is no HEAD")]
    Missing,
    /// The bytes are not a HEAD this version can use.
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

/// Reads HEAD of `stream`.
pub async fn read(bucket: &dyn Bucket, stream: &StreamId) -> Result<HeadRead, HeadError> {
    let object = bucket.get(&stream.head(), None).await?;
    let head = Head::decode(&object.bytes, &stream.to_string())?;
    let etag = object.stamp.etag.ok_or_else(|| {
        HeadError::Bucket(BucketError::Refused { message: "the store sent no ETag with HEAD".to_owned() })
    })?;
    Ok(HeadRead { head, etag, date: object.stamp.date, last_modified: object.stamp.last_modified })
}

/// How a create ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// HEAD is ours; store time of that answer.
    Ours(Option<StoreTime>),
    /// Somebody else's HEAD stands there.
    Exists,
}

/// Creates HEAD of a new stream by put-if-absent. A lost answer is resolved by reading back: it counts
/// only if HEAD is live and carries our nonce, and then its last-modified time is the answer's date.
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
        let unknown = match bucket.put(&stream.head(), body.clone(), Condition::IfAbsent).await {
            Ok(stamp) => return Ok(Created::Ours(stamp.date)),
            Err(BucketError::Exists { .. }) => {
                let found = read(bucket, stream).await;
                match found {
                    Ok(found) if found.head.nonce == head.nonce && found.head.state == Life::Live => {
                        return Ok(Created::Ours(found.last_modified));
                    }
                    Ok(_) => return Ok(Created::Exists),
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

/// How a swap ended.
#[derive(Debug, Clone)]
pub enum Swapped {
    /// HEAD now is (or has been) this one of ours.
    Done(Box<Head>),
    /// The change no longer fits what HEAD says, or the outcome stayed unclear until the deadline.
    /// Whatever was uploaded for it stays; it may have landed all the same.
    Abandoned(String),
}

/// A change of HEAD, planned anew on each HEAD it is tried on.
pub trait Plan: Send + Sync {
    /// The next HEAD, made from [`Head::successor`] of `read.head`; `Err` tells why the change no
    /// longer fits.
    fn plan(&self, read: &HeadRead) -> Result<Head, String>;
}

impl<F: Fn(&HeadRead) -> Result<Head, String> + Send + Sync> Plan for F {
    fn plan(&self, read: &HeadRead) -> Result<Head, String> {
        self(read)
    }
}

/// Swaps the HEADs of one stream for one instance, at most one swap per `swap_interval`.
#[derive(Debug)]
pub struct Swapper {
    bucket: Arc<dyn Bucket>,
    stream: StreamId,
    timing: Timing,
    last: tokio::sync::Mutex<Option<Instant>>,
}

impl Swapper {
    /// A swapper for `stream`.
    pub fn new(bucket: Arc<dyn Bucket>, stream: StreamId, timing: Timing) -> Swapper {
        Swapper { bucket, stream, timing, last: tokio::sync::Mutex::new(None) }
    }

    /// The stream whose HEAD this swaps.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// Swaps HEAD as `plan` says, starting from `read` (protocol section 7, step 3): a lost race is
    /// planned anew on the HEAD that won, unless an orphan sweep began since `read`.
    pub async fn swap(&self, read: HeadRead, plan: &dyn Plan) -> Result<Swapped, HeadError> {
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
            if let Err(broken) = next.check_invariants() {
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

    /// Tries one successor until its fate is known: the same bytes under the same tag, so that it can
    /// land at most once however often it is sent.
    async fn swap_once(
        &self,
        ground: &HeadRead,
        next: &Head,
        last: &mut Option<Instant>,
        deadline: Instant,
    ) -> Result<Once, HeadError> {
        let body = Bytes::from(next.encode()?);
        let condition = Condition::IfMatch(ground.etag.clone());
        let mut unknown = false;
        let mut attempt = 0;
        loop {
            self.keep_interval(last).await;
            let put = self.bucket.put(&self.stream.head(), body.clone(), condition.clone()).await;
            *last = Some(Instant::now());
            match put {
                Ok(_) => return Ok(Once::Done),
                Err(BucketError::Refused { message }) if !unknown => {
                    return Err(HeadError::Bucket(BucketError::Refused { message }));
                }
                // The object of a compare-and-swap is gone: HEAD is never deleted, so this is damage.
                Err(BucketError::NotFound { .. }) => return Err(HeadError::Missing),
                Err(BucketError::Exists { .. }) => {}
                Err(BucketError::Unknown { .. } | BucketError::Refused { .. }) => unknown = true,
            }
            loop {
                match read(self.bucket.as_ref(), &self.stream).await {
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
        read(self.bucket.as_ref(), &self.stream).await
    }
}

enum Once {
    Done,
    Lost(Box<HeadRead>),
    Abandoned(String),
}

/// Marks a live HEAD as dropped; done already is done.
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
