//! Copying a stream as it was at an earlier version into a new one. Segments are copied inside the store after their
//! checksums were found right; the log's part becomes new segments. Invariants: nothing damaged is copied; nothing
//! names the copy before its HEAD is created; the stream itself is only read.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use ulid::Ulid;

use super::context::{Context, StreamError};
use super::flush::{dim, fold, upload_segment};
use super::history::{History, Recipe};
use super::upload;
use crate::bucket::BucketError;
use crate::bucket::fetch::{self, Fetcher};
use crate::bucket::keys::StreamId;
use crate::bucket::reread::Reread;
use crate::compute::off_thread;
use crate::format::checksum::Hasher;
use crate::format::head::{Head, SegmentEntry};
use crate::format::segment::SegmentHeader;
use crate::format::{Chain, CommitKind, FormatError, Nonce, StreamConfig, decode_commit};
use crate::log::{self, Chained, Slot};
use crate::record::Version;

/// Segments checked and copied at once.
const PARALLEL_COPIES: usize = 4;
/// Most commits that become one segment, and their most bytes, as in a flush.
const COMMITS: usize = 128;
const COMMIT_BYTES: usize = 16 << 20;

/// Why a version could not be put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewindError {
    /// It is out of reach.
    OutOfReach,
    /// It lies at or after damage, or after the end of the stream; `last` is the last version before that.
    Ends { last: Version, why: StreamError },
    /// The bucket does not answer, or the past changes while it is read.
    Stream(StreamError),
}

impl From<StreamError> for RewindError {
    fn from(error: StreamError) -> RewindError {
        RewindError::Stream(error)
    }
}

/// Writes the objects of `target`, as the stream was at `version`. Returns the HEAD that makes the copy a stream.
/// Damaged segments are avoided where the past still has others.
pub async fn rewind(
    context: &Arc<Context>,
    history: &History,
    version: Version,
    target: &StreamId,
) -> Result<Head, RewindError> {
    let recipe = sound_recipe(context, history, version).await?;
    let mut tail = RecipeTail::new(context, history, &recipe);
    let segments = tail.write(recipe.version, target).await?;
    let (config, link) = (tail.config, tail.link);
    let mut head = Head::new(target.to_string(), config);
    head.segs = copy(context, &recipe.segments, target).await?;
    head.segs.extend(segments);
    (head.floor, head.gone) = (version.next(), version.next());
    head.prev = match (link, recipe.segments.last()) {
        (Some(link), _) => Some(link),
        (None, None) => None,
        (None, Some(last)) => Some(before(context, history, last).await?),
    };
    copy_graphs(context, history, &mut head, target).await?;
    copy_map(context, history, &mut head, target).await?;
    let checked = head.check_invariants();
    checked.map_err(|cause| StreamError::corrupted(context.stream.head(), &cause))?;
    Ok(head)
}

/// The recipe for the version, with all its segments found sound.
async fn sound_recipe(context: &Arc<Context>, history: &History, version: Version) -> Result<Recipe, RewindError> {
    let (fetcher, reread) = (Fetcher::new(context.bucket.clone()), context.timing.reread());
    let (mut sound, mut damaged) = (BTreeSet::new(), BTreeSet::new());
    let mut why = None;
    while let Some(recipe) = history.recipe(version, &damaged) {
        let unchecked = recipe.segments.iter().filter(|s| !sound.contains(&s.key)).cloned();
        let unchecked: Vec<SegmentEntry> = unchecked.collect();
        if unchecked.is_empty() {
            return Ok(recipe);
        }
        let fetcher = &fetcher;
        // The entries are owned, so that a task can wait for the checks.
        let check = |entry: SegmentEntry| async move { checksum(fetcher, &entry, reread).await };
        let mut checks = stream::iter(unchecked).map(check).buffered(PARALLEL_COPIES);
        while let Some(check) = checks.next().await {
            match check? {
                (key, None) => drop(sound.insert(key)),
                (key, Some(cause)) => {
                    tracing::warn!(%key, %cause, "a damaged segment is passed over");
                    why = Some(StreamError::Corrupted { key: key.clone(), cause });
                    damaged.insert(key);
                }
            }
        }
    }
    let last = history.last_without(version, &damaged);
    Err(why.map_or(RewindError::OutOfReach, |why| RewindError::Ends { last, why }))
}

/// A segment's key, and the fault of its bytes if every read shows one.
pub(super) async fn checksum(
    fetcher: &Fetcher,
    entry: &SegmentEntry,
    reread: Reread,
) -> Result<(String, Option<String>), StreamError> {
    let mut reads = reread.begin();
    let mut judged = checksum_once(fetcher, entry).await?;
    while judged.1.is_some() && reads.again().await {
        judged = checksum_once(&fetcher.fresh(), entry).await?;
    }
    Ok(judged)
}

async fn checksum_once(fetcher: &Fetcher, entry: &SegmentEntry) -> Result<(String, Option<String>), StreamError> {
    let mut hasher = Hasher::default();
    let mut pieces = std::pin::pin!(fetcher.pieces(&entry.key, entry.bytes, fetch::pieces(entry.bytes)));
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(object) if object.size_bytes != entry.bytes => {
                let cause = format!("object has {} bytes, HEAD names {}", object.size_bytes, entry.bytes);
                return Ok((entry.key.clone(), Some(cause)));
            }
            Ok(object) => {
                hasher = off_thread(move || {
                    hasher.update(&object.bytes);
                    hasher
                })
                .await?;
            }
            Err(BucketError::NotFound { .. }) => return Ok((entry.key.clone(), Some("it is missing".to_owned()))),
            Err(error) => return Err(error.into()),
        }
    }
    let found = hasher.finish();
    let wrong = (found != entry.xxh3).then(|| format!("object has checksum {found}, HEAD names {}", entry.xxh3));
    Ok((entry.key.clone(), wrong))
}

/// The part of a recipe that comes from the log.
pub(super) struct RecipeTail<'a> {
    context: &'a Arc<Context>,
    next: Version,
    /// The commit before `next`, where it is known.
    prev: Option<Chain>,
    /// Whether `prev` is known.
    chained: bool,
    config: StreamConfig,
    /// The last commit taken.
    link: Option<Chain>,
}

impl<'a> RecipeTail<'a> {
    pub(super) fn new(context: &'a Arc<Context>, history: &History, recipe: &Recipe) -> RecipeTail<'a> {
        let head = &history.head;
        let at_floor = recipe.from == head.floor;
        let chained = (at_floor && head.prev.is_some()) || recipe.from == Version(1);
        let prev = head.prev.filter(|_| at_floor);
        RecipeTail { context, next: recipe.from, prev, chained, config: head.config.clone(), link: None }
    }

    /// Writes the commits up to `last` as segments of `target`.
    async fn write(&mut self, last: Version, target: &StreamId) -> Result<Vec<SegmentEntry>, RewindError> {
        let mut segments = Vec::new();
        while self.next <= last {
            let lo = self.next;
            let mut commits: Vec<Bytes> = Vec::new();
            let mut size = 0;
            while self.next <= last && commits.len() < COMMITS && size < COMMIT_BYTES {
                let bytes = self.take().await?;
                size += bytes.len();
                commits.push(bytes);
            }
            let hi = Version(self.next.0 - 1);
            let header = SegmentHeader { stream: target.to_string(), lo, hi, dim: dim(&self.config) };
            let folded = off_thread(move || fold(header, commits.into_iter())).await.map_err(StreamError::from)?;
            let damaged = |cause: FormatError| StreamError::corrupted(self.context.stream.log(lo), &cause);
            let segment = folded.map_err(damaged)?.segment;
            segments.push(upload_segment(self.context, target, segment, (lo, hi), 0).await?);
        }
        Ok(segments)
    }

    /// The version that comes next.
    pub(super) fn next(&self) -> Version {
        self.next
    }

    /// Reads and checks the next commit; reads it again if it is missing or does not check out.
    pub(super) async fn take(&mut self) -> Result<Bytes, RewindError> {
        let (version, stream, bucket) = (self.next, &self.context.stream, self.context.bucket.as_ref());
        let ends = |why| RewindError::Ends { last: Version(version.0 - 1), why };
        let mut reads = self.context.timing.reread().begin();
        let mut slot = log::read_slot(bucket, stream, version).await.map_err(StreamError::from)?;
        let (bytes, chained) = loop {
            let cause = match slot {
                Slot::Found { bytes, .. } => match self.chain(&bytes) {
                    Ok(chained) => break (bytes, chained),
                    Err(cause) => cause.to_string(),
                },
                Slot::Missing { .. } => "it is missing".to_owned(),
            };
            if !reads.again().await {
                return Err(ends(StreamError::Corrupted { key: stream.log(version), cause }));
            }
            slot = log::reread_slot(bucket, stream, version).await.map_err(StreamError::from)?;
        };
        if chained.commit.header.kind == CommitKind::Drop {
            return Err(ends(StreamError::Dropped));
        }
        self.chained = true;
        self.config.extend(chained.commit.header.config.unwrap_or_default());
        (self.prev, self.link, self.next) = (Some(chained.link), Some(chained.link), version.next());
        Ok(bytes)
    }

    /// Decodes the next commit and checks that it belongs there.
    fn chain(&self, bytes: &Bytes) -> Result<Chained, FormatError> {
        let prev = match self.chained {
            true => self.prev,
            // The commit before this one is in a segment, and no HEAD names its chain link any more.
            false => decode_commit(bytes)?.header.prev,
        };
        log::chain(bytes, &self.context.stream, self.next, prev.as_ref())
    }
}

/// The chain link of the commit that ends the segment `last`, as HEAD or the following commit has it. If neither does,
/// the copy begins a chain of its own: only its own commits will be checked against it.
async fn before(context: &Arc<Context>, history: &History, last: &SegmentEntry) -> Result<Chain, StreamError> {
    let next = last.hi.next();
    if next == history.head.floor
        && let Some(prev) = history.head.prev
    {
        return Ok(prev);
    }
    let own = Chain { nonce: Nonce::random(), xxh3: last.xxh3 };
    match log::read_slot(context.bucket.as_ref(), &context.stream, next).await? {
        Slot::Found { bytes, .. } => {
            Ok(decode_commit(&bytes).ok().and_then(|commit| commit.header.prev).unwrap_or(own))
        }
        Slot::Missing { .. } => Ok(own),
    }
}

async fn copy(
    context: &Arc<Context>,
    segments: &[SegmentEntry],
    target: &StreamId,
) -> Result<Vec<SegmentEntry>, StreamError> {
    let own = context.stream.to_string();
    // The entries are owned, so that a task can wait for the copies.
    let copies = stream::iter(segments.to_vec()).map(|entry| {
        let (key, own) = (target.segment(Ulid::generate()), own.clone());
        async move {
            match upload::copy(context.bucket.as_ref(), &entry.key, &key, entry.bytes, context.timing.reread()).await {
                Ok(()) => Ok(entry.copied(&own, key)),
                Err(BucketError::NotFound { .. }) => Err(StreamError::Recycled(format!("{} is gone", entry.key))),
                Err(error) => Err(error.into()),
            }
        }
    });
    copies.buffered(PARALLEL_COPIES).try_collect().await
}

/// Copies the graphs that cover nothing after the version.
async fn copy_graphs(
    context: &Arc<Context>,
    history: &History,
    head: &mut Head,
    target: &StreamId,
) -> Result<(), StreamError> {
    for entry in history.head.graphs.iter().filter(|graph| graph.hi < head.floor) {
        let key = target.graph(Ulid::generate());
        if copy_cache(context, &entry.key, &key, entry.bytes).await? {
            head.graphs.push(entry.copied(&context.stream.to_string(), key));
        }
    }
    Ok(())
}

/// Copies the map, unless it is of a later version.
async fn copy_map(
    context: &Arc<Context>,
    history: &History,
    head: &mut Head,
    target: &StreamId,
) -> Result<(), StreamError> {
    if let Some(entry) = history.head.map.as_ref().filter(|map| map.version < head.floor) {
        let key = target.map(Ulid::generate());
        let copied = copy_cache(context, &entry.key, &key, entry.bytes).await?;
        head.map = copied.then(|| entry.copied(&context.stream.to_string(), key));
    }
    Ok(())
}

/// Copies an object that can be built anew. `false`: it is missing, and the copy does without it.
async fn copy_cache(context: &Arc<Context>, from: &str, to: &str, size: u64) -> Result<bool, StreamError> {
    match upload::copy(context.bucket.as_ref(), from, to, size, context.timing.reread()).await {
        Ok(()) => Ok(true),
        Err(BucketError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
