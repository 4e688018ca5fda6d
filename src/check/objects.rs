//! Reading single objects to check them. Invariants: of an object of any size, no more than a piece or a row group is
//! held at a time (a graph is held whole, if there is memory for it); all readers of a check together hold about as many MiB as
//! its [`CheckHost`] allow.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::host::{CheckHost, Reserved};
use crate::bucket::fetch::{self, Fetcher, PIECE_BYTES};
use crate::bucket::reread::Reread;
use crate::bucket::{Bucket, BucketError, Object};
use crate::format::checksum::Hasher;
use crate::format::graph::{GraphColumns, decode_graph};
use crate::format::head::{GraphEntry, InvertedEntry, MapEntry, SegmentEntry};
use crate::format::map::StoredMap;
use crate::format::{Checksum, FormatError, Pieces, Rows, SegmentReader};
use crate::stream::context::StreamError;
use crate::stream::open::{check_named, check_object, read_inverted, read_map};

/// Why an object could not be checked, or did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectFault {
    /// The bucket does not answer: nothing is known about the object.
    Away(StreamError),
    /// The object is missing.
    Missing,
    /// The object is damaged.
    Damaged(FormatError),
}

impl From<BucketError> for ObjectFault {
    fn from(error: BucketError) -> ObjectFault {
        match error {
            BucketError::NotFound { .. } => ObjectFault::Missing,
            other => ObjectFault::Away(other.into()),
        }
    }
}

impl From<FormatError> for ObjectFault {
    fn from(error: FormatError) -> ObjectFault {
        ObjectFault::Damaged(error)
    }
}

impl From<StreamError> for ObjectFault {
    fn from(error: StreamError) -> ObjectFault {
        ObjectFault::Away(error)
    }
}

fn damaged<T>(what: String) -> Result<T, ObjectFault> {
    Err(ObjectFault::Damaged(FormatError::Damaged(what)))
}

/// Reads objects for all streams of a check.
#[derive(Debug, Clone)]
pub struct Reader {
    pub bucket: Arc<dyn Bucket>,
    /// How objects that do not check out are read again.
    pub reread: Reread,
    fetcher: Fetcher,
    budget: Arc<Semaphore>,
    /// Whether every read uses a new connection.
    fresh: bool,
    host: CheckHost,
    counted: Option<Arc<StreamCount>>,
}

/// Counts the objects of one stream as checked while they are read, and all of them when its check ends: not every
/// object is read, and some are read again.
#[derive(Debug)]
struct StreamCount {
    host: CheckHost,
    listed: u64,
    read: AtomicU64,
}

impl StreamCount {
    fn read_one(&self) {
        if self.read.fetch_add(1, Ordering::Relaxed) < self.listed {
            self.host.tell_checked(1);
        }
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.host.tell_checked(self.listed.saturating_sub(self.read.load(Ordering::Relaxed)));
    }
}

/// The right to hold bytes.
#[derive(Debug)]
struct Permit {
    _turn: OwnedSemaphorePermit,
    _room: Reserved,
}

/// Bytes, and the right to hold them.
#[derive(Debug)]
pub struct BudgetedBytes {
    pub bytes: Bytes,
    _permit: Permit,
}

/// A graph, and the right to hold it.
#[derive(Debug)]
pub struct HeldGraph {
    pub columns: GraphColumns,
    _permit: Permit,
}

impl Reader {
    pub fn new(bucket: Arc<dyn Bucket>, reread: Reread, host: CheckHost) -> Reader {
        let budget = Arc::new(Semaphore::new(host.objects_mib()));
        let fetcher = Fetcher::new(bucket.clone());
        Reader { bucket, reread, fetcher, budget, fresh: false, host, counted: None }
    }

    /// A reader that counts the objects of a stream of so many.
    pub fn of_stream(&self, listed: u64) -> Reader {
        let count = StreamCount { host: self.host.clone(), listed, read: AtomicU64::new(0) };
        Reader { counted: Some(Arc::new(count)), ..self.clone() }
    }

    /// What the check runs in.
    pub fn host(&self) -> &CheckHost {
        &self.host
    }

    fn count(&self) {
        self.counted.iter().for_each(|count| count.read_one());
    }

    /// A reader over new connections, for a second look.
    pub fn fresh(&self) -> Reader {
        Reader { fetcher: self.fetcher.fresh(), fresh: true, ..self.clone() }
    }

    /// An object, or a range of it.
    pub async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        match self.fresh {
            true => self.bucket.get_fresh(key, range).await,
            false => self.bucket.get(key, range).await,
        }
    }

    /// Waits until `bytes` more may be held. No caller that holds some already waits here, so no deadlock can arise.
    async fn permit(&self, bytes: u64) -> Result<Permit, StreamError> {
        let turn = self.turn(bytes).await?;
        Ok(Permit { _turn: turn, _room: self.host.room_for_objects(bytes).await? })
    }

    /// The right to hold an object whole; `None` if there is no memory for it.
    async fn permit_whole(&self, bytes: u64) -> Result<Option<Permit>, StreamError> {
        let turn = self.turn(bytes).await?;
        Ok(self.host.room_for_whole(bytes).map(|room| Permit { _turn: turn, _room: room }))
    }

    async fn turn(&self, bytes: u64) -> Result<OwnedSemaphorePermit, StreamError> {
        let mib = (bytes >> 20).saturating_add(1).min(self.host.objects_mib() as u64) as u32;
        let turn = self.budget.clone().acquire_many_owned(mib).await;
        turn.map_err(|e| StreamError::Unavailable(format!("the check was cut short: {e}")))
    }

    /// A whole object of about `size` bytes.
    pub async fn whole(&self, key: &str, size: u64) -> Result<BudgetedBytes, ObjectFault> {
        self.count();
        let permit = self.permit(size).await?;
        let object = self.get(key, None).await?;
        Ok(BudgetedBytes { bytes: object.bytes, _permit: permit })
    }

    /// Reads an object and compares its size and checksum. Returns its last bytes, at most a piece of them.
    pub async fn checksum(&self, key: &str, size: u64, xxh3: Checksum) -> Result<Bytes, ObjectFault> {
        self.count();
        let _permit = self.permit(size.min(2 * PIECE_BYTES)).await?;
        let (mut hasher, mut last) = (Hasher::default(), Bytes::new());
        let mut pieces = std::pin::pin!(self.fetcher.pieces(key, size, fetch::pieces(size)));
        while let Some(object) = pieces.next().await {
            let object = object?;
            if object.size_bytes != size {
                return damaged(format!("object has {} bytes, HEAD names {size}", object.size_bytes));
            }
            let bytes = object.bytes;
            let update = move || {
                hasher.update(&bytes);
                (hasher, bytes)
            };
            (hasher, last) = self.host.compute(update).await?;
        }
        let found = hasher.finish();
        match found == xxh3 {
            true => Ok(last),
            false => damaged(format!("object has checksum {found}, HEAD names {xxh3}")),
        }
    }

    /// Reads a segment that HEAD names, and passes its row groups to `take` one by one, in order.
    pub async fn segment(
        &self,
        stream: &str,
        entry: &SegmentEntry,
        mut take: impl FnMut(&Rows) -> Result<(), FormatError>,
    ) -> Result<SegmentReader, ObjectFault> {
        let last = self.checksum(&entry.key, entry.bytes, entry.xxh3).await?;
        let reader = self.opened(&entry.key, entry.bytes, last, &mut take).await?;
        check_named(&reader, stream, entry)?;
        Ok(reader)
    }

    /// Reads all rows of a segment of `size` bytes; `last` are its last bytes.
    pub async fn opened(
        &self,
        key: &str,
        size: u64,
        last: Bytes,
        take: &mut impl FnMut(&Rows) -> Result<(), FormatError>,
    ) -> Result<SegmentReader, ObjectFault> {
        let mut tail = (size - (last.len() as u64).min(size), last);
        while !SegmentReader::can_open(&Pieces::new(size, [tail.clone()])) && tail.0 > 0 {
            // The footer is longer than the bytes that were read.
            let start = size.saturating_sub(2 * tail.1.len().max(1 << 16) as u64);
            tail = (start, self.get(key, Some(start..size)).await?.bytes);
        }
        let pieces = Pieces::new(size, [tail.clone()]);
        let reader = self.host.compute(move || SegmentReader::open(&pieces)).await??;
        for group in 0..reader.groups() {
            let range = reader.group_range(group)?;
            let _permit = self.permit(range.end.saturating_sub(range.start)).await?;
            let pieces = match range.start >= tail.0 {
                true => Pieces::new(size, [tail.clone()]),
                false => {
                    let bytes = self.get(key, Some(range.start..range.end.min(size))).await?.bytes;
                    Pieces::new(size, [(range.start, bytes), tail.clone()])
                }
            };
            let own = reader.clone();
            let rows = self.host.compute(move || own.read_group(&pieces, group)).await??;
            take(&rows)?;
        }
        Ok(reader)
    }

    /// Reads an inverted index that HEAD names, and checks it against its entry. One of a kind that this version does
    /// not know has the size and checksum of its entry. Returns whether it was read whole: without memory for it, its
    /// size and checksum alone are checked.
    pub async fn inverted(
        &self,
        stream: &str,
        segment: &SegmentEntry,
        entry: &InvertedEntry,
    ) -> Result<bool, ObjectFault> {
        let Some(_permit) = self.permit_whole(entry.bytes).await? else {
            self.checksum(&entry.key, entry.bytes, entry.xxh3).await?;
            return Ok(false);
        };
        self.count();
        let bytes = self.fetcher.whole(&entry.key, entry.bytes).await?;
        let (stream, segment, entry) = (stream.to_owned(), segment.clone(), entry.clone());
        let checked = self.host.compute(move || {
            check_object(&bytes, entry.bytes, entry.xxh3)?;
            match entry.kind() {
                Some(_) => read_inverted(&bytes, &stream, &segment, &entry).map(drop),
                None => Ok(()),
            }
        });
        checked.await??;
        Ok(true)
    }

    /// Reads a graph that HEAD names, and checks it against its entry. `None` if its size and checksum alone were
    /// checked, since there is no memory for it.
    pub async fn graph(&self, stream: &str, entry: &GraphEntry) -> Result<Option<HeldGraph>, ObjectFault> {
        let Some(permit) = self.permit_whole(entry.bytes).await? else {
            self.checksum(&entry.key, entry.bytes, entry.xxh3).await?;
            return Ok(None);
        };
        self.count();
        let bytes = self.fetcher.whole(&entry.key, entry.bytes).await?;
        let (size, xxh3) = (entry.bytes, entry.xxh3);
        let decode = move || check_object(&bytes, size, xxh3).and_then(|()| decode_graph(bytes));
        let graph = self.host.compute(decode).await??;
        let header = graph.header();
        let said = (header.stream.as_str(), header.lo, header.hi, graph.len() as u64);
        let named = (entry.written_for(stream), entry.lo, entry.hi, entry.nodes);
        match said == named {
            true => Ok(Some(HeldGraph { columns: graph, _permit: permit })),
            false => damaged(format!("graph says {said:?} (stream, versions, nodes), HEAD names {named:?}")),
        }
    }

    /// Reads the map that HEAD names, and checks it against its entry. `None` if its size and checksum alone were
    /// checked, since there is no memory for it.
    pub async fn map(&self, stream: &str, entry: &MapEntry) -> Result<Option<StoredMap>, ObjectFault> {
        let Some(_permit) = self.permit_whole(entry.bytes).await? else {
            self.checksum(&entry.key, entry.bytes, entry.xxh3).await?;
            return Ok(None);
        };
        self.count();
        let bytes = self.fetcher.whole(&entry.key, entry.bytes).await?;
        let (stream, entry) = (stream.to_owned(), entry.clone());
        let read =
            move || check_object(&bytes, entry.bytes, entry.xxh3).and_then(|()| read_map(&bytes, &stream, &entry));
        Ok(Some(self.host.compute(read).await??))
    }
}
