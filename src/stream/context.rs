//! The shared parts of one stream in one instance: the bucket, the constants, counters, and the errors after which a
//! stream cannot continue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use ulid::Ulid;

use crate::bucket::keys::StreamId;
use crate::bucket::reread::{self, Absence, Reread, Unsound};
use crate::bucket::{Bucket, BucketError, Object};
use crate::compute::CutShort;
use crate::config::Timing;
use crate::error::{Error, ErrorKind};
use crate::format::FormatError;
use crate::format::head::Retired;
use crate::head::{self, HeadError, HeadRead};
use crate::memory::{Budget, MEMORY_LIMIT};

use super::anchor::Moments;
use super::heal::KnownDamage;

/// Shared by the writer, the flusher and the collector of one stream.
#[derive(Debug)]
pub struct Context {
    /// Where the objects are.
    pub bucket: Arc<dyn Bucket>,
    /// Which stream.
    pub stream: StreamId,
    /// The protocol's constants.
    pub timing: Timing,
    /// Most bytes of one commit.
    pub commit_bytes: usize,
    /// Requests that may wait for the writer.
    pub waiting_writes: usize,
    /// This instance's name in commits.
    pub writer: String,
    /// Whether a stream whose log is damaged opens up to the damage, read-only.
    pub serve_damaged: bool,
    /// Order of requests and answers.
    pub moments: Moments,
    /// Counters of the whole store.
    pub counters: Arc<StreamCounters>,
    /// The memory of the whole store.
    pub budget: Arc<Budget>,
    /// Reads HEAD.
    pub head: Arc<head::HeadReader>,
    /// The known damage of the stream.
    pub damage: KnownDamage,
    /// Keys of inverted indexes and maps that HEAD named and that could not be used.
    pub unusable: Mutex<BTreeSet<String>>,
}

impl Context {
    /// How objects that do not check out are read again. For a stream with known damage there is hardly a wait.
    pub fn reread(&self) -> Reread {
        let reread = self.timing.reread();
        if self.damage.get().is_some() { reread.once() } else { reread }
    }

    /// Reads HEAD until it checks out or the time limit is over.
    pub async fn read_head(&self) -> Result<HeadRead, StreamError> {
        self.head.read(self.reread()).await.map_err(|error| StreamError::of_head(error, &self.stream))
    }

    /// Reads a retired list: what one swap took off HEAD. A missing list is read again as long as HEAD, read again,
    /// names it.
    pub async fn read_retired(&self, ulid: Ulid) -> Result<RetiredRead, StreamError> {
        let (key, name) = (self.stream.retired(ulid), self.stream.to_string());
        let mut reads = self.reread().begin();
        loop {
            let wrong = match reads.get(self.bucket.as_ref(), &key).await {
                Ok(object) => match Retired::decode(&object.bytes, &name, ulid) {
                    Ok(list) => return Ok(RetiredRead::There(Box::new(list))),
                    Err(cause) => Err(StreamError::corrupted(key.clone(), &cause)),
                },
                // IMPORTANT: an absence alone proves nothing. Objects that a list names must not be taken for orphans.
                Err(BucketError::NotFound { .. }) if self.names_list(ulid).await? => Ok(RetiredRead::Lost),
                Err(BucketError::NotFound { .. }) => return Ok(RetiredRead::WorkedOff),
                Err(error) => return Err(error.into()),
            };
            if !reads.again().await {
                return wrong;
            }
            tracing::debug!(%key, "a retired list is read again");
        }
    }

    async fn names_list(&self, ulid: Ulid) -> Result<bool, StreamError> {
        Ok(self.read_head().await?.head.retired.iter().any(|entry| entry.ulid == ulid))
    }
}

/// The result of reading a retired list.
#[derive(Debug)]
pub enum RetiredRead {
    /// The list.
    There(Box<Retired>),
    /// HEAD does not name the list any more: its objects are deleted.
    WorkedOff,
    /// HEAD names the list, but it is missing.
    Lost,
}

/// Reads a retired list, only to look at it. `None` if it stays missing, as one that was worked off since HEAD was
/// read.
pub async fn look_at_retired(
    bucket: &dyn Bucket,
    stream: &StreamId,
    ulid: Ulid,
    reread: Reread,
) -> Result<Option<Retired>, StreamError> {
    let (key, name) = (stream.retired(ulid), stream.to_string());
    let check = |object: Object| Retired::decode(&object.bytes, &name, ulid);
    match reread::read(bucket, &key, (reread, Absence::Doubted), check).await {
        Ok(list) => Ok(Some(list)),
        Err(Unsound::Bucket(BucketError::NotFound { .. })) => Ok(None),
        Err(Unsound::Bucket(error)) => Err(error.into()),
        Err(Unsound::Wrong(cause)) => Err(StreamError::corrupted(key, &cause)),
    }
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Counts `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many tasks or callers are in some state now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// One of them, until this is dropped.
#[derive(Debug)]
pub struct Present<'a>(&'a Gauge);

impl Gauge {
    /// Counts one more until the returned value is dropped.
    pub fn enter(&self) -> Present<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Present(self)
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all streams together have done.
#[derive(Debug, Default)]
pub struct StreamCounters {
    /// Commits written.
    pub commits_written: Counter,
    /// Callers that wait for their write to be durable.
    pub writes_waiting: Gauge,
    /// Requests acknowledged.
    pub writes_acknowledged: Counter,
    /// Commits of others applied.
    pub commits_pulled: Counter,
    /// Slots lost to others.
    pub slots_lost: Counter,
    /// Requests answered with `outcome unknown`.
    pub outcomes_unknown: Counter,
    /// Flushes that landed.
    pub flushes: Counter,
    /// Compactions that landed.
    pub compactions: Counter,
    /// Log objects deleted.
    pub log_objects_deleted: Counter,
    /// Log objects found again below `gone`.
    pub zombies_deleted: Counter,
    /// States discarded because a slot had been recycled.
    pub reopenings: Counter,
    /// Graphs built.
    pub graphs_built: Counter,
    /// Graphs loaded ready-made.
    pub graphs_loaded: Counter,
    /// Inverted indexes of segments stored.
    pub inverted_stored: Counter,
    /// Inverted indexes of segments loaded ready-made.
    pub inverted_loaded: Counter,
    /// Maps of collections stored.
    pub maps_stored: Counter,
    /// Maps of collections loaded ready-made.
    pub maps_loaded: Counter,
    /// Bytes of segments, graphs and inverted indexes read while opening.
    pub bytes_loaded: Counter,
    /// Query embeddings answered.
    pub searches: Counter,
    /// Collections that were evicted.
    pub evictions: Counter,
    /// Collections that were loaded again for a new use.
    pub reloads: Counter,
    /// Builds of graphs and inverted indexes, and segment merges, that were put off for want of memory.
    pub put_off: Counter,
}

/// Why a stream cannot continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The bucket does not answer, or refuses; trying later may help.
    #[error("{0}")]
    Unavailable(String),
    /// An object is damaged: the stream is read-only up to it.
    #[error("{key}: {cause}")]
    Corrupted { key: String, cause: String },
    /// The stream has ended.
    #[error("the collection was dropped")]
    Dropped,
    /// There is no such stream.
    #[error("the stream has no HEAD")]
    Missing,
    /// The others had given up what was read or written: start anew from HEAD.
    #[error("the log has moved on: {0}")]
    Recycled(String),
    /// There is not enough memory to open the stream.
    #[error("{0}")]
    NoRoom(String),
}

impl StreamError {
    /// Damage of the object `key`.
    pub fn corrupted(key: String, cause: &FormatError) -> StreamError {
        StreamError::Corrupted { key, cause: cause.to_string() }
    }

    /// A failed read of HEAD.
    pub fn of_head(error: HeadError, stream: &StreamId) -> StreamError {
        match error {
            HeadError::Missing => StreamError::Missing,
            HeadError::Format(cause) => StreamError::corrupted(stream.head(), &cause),
            HeadError::Bucket(error) => error.into(),
        }
    }
}

impl From<CutShort> for StreamError {
    fn from(cut: CutShort) -> StreamError {
        StreamError::Unavailable(cut.to_string())
    }
}

impl From<BucketError> for StreamError {
    fn from(error: BucketError) -> StreamError {
        StreamError::Unavailable(error.to_string())
    }
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Error {
        let kind = match &error {
            StreamError::Unavailable(_) | StreamError::Recycled(_) => ErrorKind::Unavailable,
            StreamError::Corrupted { .. } => ErrorKind::Corrupted,
            StreamError::NoRoom(_) => ErrorKind::NoRoom,
            StreamError::Dropped | StreamError::Missing => ErrorKind::NotFound,
        };
        let message = match &error {
            StreamError::Corrupted { key, cause } => {
                format!(
                    "the object {key} is damaged ({cause}); it is looked at again from time to time: put it back from a \
                     backup of the bucket, or take out what is sound with `drumlin restore --sound`"
                )
            }
            other => other.to_string(),
        };
        let short_of_memory = matches!(error, StreamError::NoRoom(_));
        let error = Error::new(kind, message);
        if short_of_memory { error.of_setting(MEMORY_LIMIT) } else { error }
    }
}
