//! Loading one segment: its pieces are fetched ahead, hashed in order and decoded row group by row group on several
//! threads, while later pieces are under way. Invariants: no row is handed on before the checksum of the whole object
//! was right; memory holds only the bytes that are under way or being decoded.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use tokio::sync::Semaphore;

use super::context::{Context, StreamError};
use super::open::{check_named, sort_missing};
use crate::bucket::fetch::{self, Fetcher};
use crate::bucket::{BucketError, Object};
use crate::compute::off_thread;
use crate::format::checksum::Hasher;
use crate::format::head::SegmentEntry;
use crate::format::{FormatError, Pieces, Rows, SegmentReader};
use crate::memory::{Purpose, Reservation};

/// The shared parts of all loads of one opening.
#[derive(Debug, Clone)]
pub struct Loader {
    pub context: Arc<Context>,
    pub fetcher: Fetcher,
    /// Row groups decoded at once.
    decoders: Arc<Semaphore>,
}

impl Loader {
    pub fn new(context: Arc<Context>) -> Loader {
        let fetcher = Fetcher::new(context.bucket.clone());
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Loader { context, fetcher, decoders: Arc::new(Semaphore::new(cores)) }
    }

    /// Fetches, checks and decodes a segment that HEAD names; repeats this if the bytes do not check out.
    pub async fn segment(&self, entry: &SegmentEntry) -> Result<Vec<Rows>, StreamError> {
        let mut reads = self.context.reread().begin();
        let mut damage = match self.load(entry).await {
            Err(damage @ StreamError::Corrupted { .. }) => damage,
            loaded => return loaded,
        };
        let fresh = Loader { fetcher: self.fetcher.fresh(), ..self.clone() };
        while reads.again().await {
            tracing::debug!(key = entry.key, %damage, "a segment is read again");
            damage = match fresh.load(entry).await {
                Err(damage @ StreamError::Corrupted { .. }) => damage,
                loaded => return loaded,
            };
        }
        Err(damage)
    }

    async fn load(&self, entry: &SegmentEntry) -> Result<Vec<Rows>, StreamError> {
        let mut load = SegmentLoad {
            loader: self,
            entry,
            hasher: Hasher::default(),
            held: VecDeque::new(),
            arrived: 0,
            groups: None,
            decoding: FuturesOrdered::new(),
            decoded: Vec::new(),
            broken: None,
            room: None,
        };
        match load.run().await {
            Ok(checked) => checked.map_err(|cause| StreamError::corrupted(entry.key.clone(), &cause)),
            Err(LoadStop::Bucket(error)) => Err(sort_missing(&self.context, &entry.key, error).await),
            Err(LoadStop::Stream(error)) => Err(error),
        }
    }
}

/// A segment may expand to this multiple of its stored bytes before more memory is reserved.
const FORETOLD: u64 = 4;

/// Why a load stopped before the object was read.
enum LoadStop {
    Bucket(BucketError),
    Stream(StreamError),
}

impl From<BucketError> for LoadStop {
    fn from(error: BucketError) -> LoadStop {
        LoadStop::Bucket(error)
    }
}

impl From<StreamError> for LoadStop {
    fn from(error: StreamError) -> LoadStop {
        LoadStop::Stream(error)
    }
}

type Decoding = Pin<Box<dyn Future<Output = Result<Result<Rows, FormatError>, StreamError>> + Send>>;

/// The row groups of an opened segment, and the index of the next one.
struct Groups {
    reader: SegmentReader,
    /// Where the bytes of each group end.
    ends: Vec<u64>,
    /// Where the bytes of each group and of all after it begin: bytes before that are not needed again.
    starts: Vec<u64>,
    next: usize,
}

impl Groups {
    fn open(pieces: &Pieces, stream: &str, entry: &SegmentEntry) -> Result<Groups, FormatError> {
        let reader = SegmentReader::open(pieces)?;
        check_named(&reader, stream, entry)?;
        let ranges = (0..reader.groups()).map(|group| reader.group_range(group));
        let ranges: Vec<Range<u64>> = ranges.collect::<Result<_, _>>()?;
        let mut starts: Vec<u64> = ranges.iter().map(|range| range.start).collect();
        let mut least = u64::MAX;
        for start in starts.iter_mut().rev() {
            least = least.min(*start);
            *start = least;
        }
        Ok(Groups { reader, ends: ranges.iter().map(|range| range.end).collect(), starts, next: 0 })
    }
}

struct SegmentLoad<'a> {
    loader: &'a Loader,
    entry: &'a SegmentEntry,
    hasher: Hasher,
    /// Pieces that are still needed, with their offsets.
    held: VecDeque<(u64, Bytes)>,
    /// All bytes before this one have come.
    arrived: u64,
    /// Known once the footer is there.
    groups: Option<Groups>,
    decoding: FuturesOrdered<Decoding>,
    decoded: Vec<Rows>,
    /// What is wrong with the content. A wrong checksum is reported rather than this.
    broken: Option<FormatError>,
    /// Memory beyond what HEAD's figures foretold.
    room: Option<Reservation>,
}

impl SegmentLoad<'_> {
    /// The rows, or what is wrong with the object.
    async fn run(&mut self) -> Result<Result<Vec<Rows>, FormatError>, LoadStop> {
        let size = self.entry.bytes;
        let mut pieces = fetch::pieces(size);
        let last = pieces.next_back().unwrap_or(0..size);
        // The last piece comes first: its footer says where the row groups lie.
        let tail = self.loader.fetcher.piece(&self.entry.key, last.clone(), size);
        let mut before = self.loader.fetcher.pieces(&self.entry.key, size, pieces.clone());
        let (tail, mut first) = futures::join!(tail, before.next());
        let tail = match self.part(tail?, &last) {
            Ok(tail) => tail,
            Err(other) => return Ok(Err(other)),
        };
        self.open_groups([tail.clone()]).await?;
        for piece in pieces {
            let object = match first.take() {
                Some(first) => Some(first),
                None => before.next().await,
            };
            let Some(object) = object.transpose()? else { break };
            match self.part(object, &piece) {
                Ok((_, bytes)) => self.take(bytes).await?,
                Err(other) => return Ok(Err(other)),
            }
            self.decode_ready(Some(&tail)).await?;
        }
        self.take(tail.1).await?;
        if self.groups.is_none() && self.broken.is_none() {
            // The footer is larger than the last piece, and complete only now.
            self.open_groups(self.held.clone()).await?;
        }
        self.decode_ready(None).await?;
        self.finish().await
    }

    /// A piece with its offset, if the object is as large as HEAD says.
    fn part(&self, object: Object, piece: &Range<u64>) -> Result<(u64, Bytes), FormatError> {
        let (found, named) = (object.size_bytes, self.entry.bytes);
        if found != named {
            return Err(FormatError::Damaged(format!("object has {found} bytes, HEAD names {named}")));
        }
        let (came, asked) = (object.bytes.len() as u64, piece.end - piece.start);
        match came == asked {
            true => Ok((piece.start, object.bytes)),
            false => Err(FormatError::Damaged(format!("{came} bytes came where {asked} were asked for"))),
        }
    }

    /// Takes in the next bytes of the object.
    async fn take(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.held.push_back((self.arrived, bytes.clone()));
        self.arrived += bytes.len() as u64;
        let mut hasher = std::mem::take(&mut self.hasher);
        self.hasher = off_thread(move || {
            let _span = tracing::debug_span!(target: "drumlin::load", "hash").entered();
            hasher.update(&bytes);
            hasher
        })
        .await?;
        Ok(())
    }

    /// Opens the segment, if the whole footer is among `pieces`.
    async fn open_groups(&mut self, pieces: impl IntoIterator<Item = (u64, Bytes)>) -> Result<(), StreamError> {
        let pieces = Pieces::new(self.entry.bytes, pieces);
        if !SegmentReader::can_open(&pieces) {
            return Ok(());
        }
        let (stream, entry) = (self.loader.context.stream.to_string(), self.entry.clone());
        match off_thread(move || Groups::open(&pieces, &stream, &entry)).await? {
            Ok(groups) => {
                self.make_room(groups.reader.expanded_bytes())?;
                self.groups = Some(groups);
            }
            Err(cause) => self.broken = Some(cause),
        }
        Ok(())
    }

    /// Takes memory for a segment that expands beyond the estimate from its size in HEAD.
    fn make_room(&mut self, expanded: u64) -> Result<(), StreamError> {
        let more = expanded.saturating_sub(self.entry.bytes.saturating_mul(FORETOLD));
        if more > 0 && self.room.is_none() {
            let budget = &self.loader.context.budget;
            let room = budget.reserve(more, Purpose::Work);
            let room = room.ok_or_else(|| {
                let what = format!("segment {}, which is {expanded} bytes once expanded", self.entry.key);
                StreamError::NoRoom(budget.refusal(&what, more, Purpose::Work).message().to_owned())
            })?;
            self.room = Some(room);
        }
        Ok(())
    }

    /// Begins to decode the row groups that are at hand. `tail` is a piece beyond the bytes that have arrived.
    async fn decode_ready(&mut self, tail: Option<&(u64, Bytes)>) -> Result<(), StreamError> {
        if self.broken.is_some() {
            // Only the checksum still matters.
            self.held.clear();
        }
        let Some(mut groups) = self.groups.take() else { return Ok(()) };
        while self.broken.is_none()
            && let (Some(end), Some(start)) = (groups.ends.get(groups.next), groups.starts.get(groups.next))
            && (*end <= self.arrived || tail.is_none())
        {
            while self.held.front().is_some_and(|(at, bytes)| at + bytes.len() as u64 <= *start) {
                self.held.pop_front();
            }
            let pieces = self.held.iter().take_while(|(at, _)| at < end).chain(tail).cloned();
            let (pieces, reader, group) = (Pieces::new(self.entry.bytes, pieces), groups.reader.clone(), groups.next);
            let permit = loop {
                // While all decoders are busy, this load takes in its own results.
                let decoders = self.loader.decoders.clone();
                tokio::select! {
                    biased;
                    permit = decoders.acquire_owned() => break permit,
                    Some(decoded) = self.decoding.next(), if !self.decoding.is_empty() => self.keep(decoded?),
                }
            };
            let decoding = off_thread(move || {
                let _permit = permit;
                reader.read_group(&pieces, group)
            });
            self.decoding.push_back(Box::pin(async move { Ok(decoding.await?) }));
            groups.next += 1;
        }
        self.groups = Some(groups);
        Ok(())
    }

    fn keep(&mut self, decoded: Result<Rows, FormatError>) {
        match decoded {
            Ok(rows) => self.decoded.push(rows),
            Err(cause) => self.broken = self.broken.take().or(Some(cause)),
        }
    }

    async fn finish(&mut self) -> Result<Result<Vec<Rows>, FormatError>, LoadStop> {
        self.held.clear();
        while let Some(decoded) = self.decoding.next().await {
            self.keep(decoded?);
        }
        let (found, named) = (std::mem::take(&mut self.hasher).finish(), self.entry.xxh3);
        if found != named {
            return Ok(Err(FormatError::Damaged(format!("object has checksum {found}, HEAD names {named}"))));
        }
        if let Some(cause) = self.broken.take() {
            return Ok(Err(cause));
        }
        let groups = std::mem::take(&mut self.decoded);
        Ok(SegmentReader::check_order(&groups).map(|()| groups))
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
