//! Reading single objects to check them. Invariants: of an object of any size, no more than a piece or a row group is
//! held at a time (a graph is held whole); all readers together hold about [`BUDGET_MIB`] MiB.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bucket::fetch::{self, Fetcher, PIECE_BYTES};
use crate::bucket::reread::Reread;
use crate::bucket::{Bucket, BucketError, Object};
use crate::compute::{CutShort, off_thread};
use crate::format::checksum::Hasher;
use crate::format::graph::{GraphColumns, decode_graph};
use crate::format::head::{GraphEntry, InvertedEntry, SegmentEntry};
use crate::format::{Checksum, FormatError, Pieces, Rows, SegmentReader};
use crate::stream::context::StreamError;
use crate::stream::open::{check_named, check_object, read_inverted};

/// Mebibytes of objects held at once.
const BUDGET_MIB: usize = 256;

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

impl From<CutShort> for ObjectFault {
    fn from(cut: CutShort) -> ObjectFault {
        ObjectFault::Away(cut.into())
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
}

/// Bytes, and the right to hold them.
#[derive(Debug)]
pub struct BudgetedBytes {
    pub bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    pub fn new(bucket: Arc<dyn Bucket>, reread: Reread) -> Reader {
        let (fetcher, budget) = (Fetcher::new(bucket.clone()), Arc::new(Semaphore::new(BUDGET_MIB)));
        Reader { bucket, reread, fetcher, budget, fresh: false }
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
    async fn permit(&self, bytes: u64) -> Result<OwnedSemaphorePermit, StreamError> {
        let mib = (bytes >> 20).saturating_add(1).min(BUDGET_MIB as u64) as u32;
        let permit = self.budget.clone().acquire_many_owned(mib).await;
        permit.map_err(|e| StreamError::Unavailable(format!("the check was cut short: {e}")))
    }

    /// A whole object of about `size` bytes.
    pub async fn whole(&self, key: &str, size: u64) -> Result<BudgetedBytes, ObjectFault> {
        let permit = self.permit(size).await?;
        let object = self.get(key, None).await?;
        Ok(BudgetedBytes { bytes: object.bytes, _permit: permit })
    }

    /// Reads an object and compares its size and checksum. Returns its last bytes, at most a piece of them.
    pub async fn checksum(&self, key: &str, size: u64, xxh3: Checksum) -> Result<Bytes, ObjectFault> {
        let _permit = self.permit(size.min(2 * PIECE_BYTES)).await?;
        let (mut hasher, mut last) = (Hasher::default(), Bytes::new());
        let mut pieces = std::pin::pin!(self.fetcher.pieces(key, size, fetch::pieces(size)));
        while let Some(object) = pieces.next().await {
            let object = object?;
            if object.size_bytes != size {
                return damaged(format!("object has {} bytes, HEAD names {size}", object.size_bytes));
            }
            let bytes = object.bytes;
            (hasher, last) = off_thread(move || {
                hasher.update(&bytes);
                (hasher, bytes)
            })
            .await?;
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
        let reader = off_thread(move || SegmentReader::open(&pieces)).await??;
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
            let rows = off_thread(move || own.read_group(&pieces, group)).await??;
            take(&rows)?;
        }
        Ok(reader)
    }

    /// Reads an inverted index that HEAD names, and checks it against its entry. One of a kind that this version does
    /// not know has the size and checksum of its entry.
    pub async fn inverted(
        &self,
        stream: &str,
        segment: &SegmentEntry,
        entry: &InvertedEntry,
    ) -> Result<(), ObjectFault> {
        let _permit = self.permit(entry.bytes).await?;
        let bytes = self.fetcher.whole(&entry.key, entry.bytes).await?;
        let (stream, segment, entry) = (stream.to_owned(), segment.clone(), entry.clone());
        let checked = off_thread(move || {
            check_object(&bytes, entry.bytes, entry.xxh3)?;
            match entry.kind() {
                Some(_) => read_inverted(&bytes, &stream, &segment, &entry).map(drop),
                None => Ok(()),
            }
        });
        Ok(checked.await??)
    }

    /// Reads a graph that HEAD names, and checks it against its entry.
    pub async fn graph(&self, stream: &str, entry: &GraphEntry) -> Result<GraphColumns, ObjectFault> {
        let _permit = self.permit(entry.bytes).await?;
        let bytes = self.fetcher.whole(&entry.key, entry.bytes).await?;
        let (size, xxh3) = (entry.bytes, entry.xxh3);
        let graph = off_thread(move || check_object(&bytes, size, xxh3).and_then(|()| decode_graph(bytes))).await??;
        let header = graph.header();
        let said = (header.stream.as_str(), header.lo, header.hi, graph.len() as u64);
        let named = (entry.written_for(stream), entry.lo, entry.hi, entry.nodes);
        match said == named {
            true => Ok(graph),
            false => damaged(format!("graph says {said:?} (stream, versions, nodes), HEAD names {named:?}")),
        }
    }
}
