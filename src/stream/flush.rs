//! Flush: the tail becomes a level-0 segment, and HEAD's floor moves past it (docs/protocol.md#flush). Invariants: the
//! floor never passes a `drop`; a segment holds exactly the fold of its versions; a lost swap costs only the upload.
//! Where memory is short, several small flushes replace one large one.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Map;
use tokio::time::Instant;
use ulid::Ulid;

use super::Stream;
use super::context::{Context, StreamError};
use super::state::State;
use super::tail::TailCommit;
use super::upload;
use crate::bucket::keys::StreamId;
use crate::compute::off_thread;
use crate::format::head::{GraphEntry, Head, Life, MapEntry, Retired, SegmentEntry};
use crate::format::merge::merge_rows;
use crate::format::segment::{EncodedSegment, SegmentHeader, SegmentWriter};
use crate::format::{FORMAT, FormatError, StreamConfig, decode_commit};
use crate::head::{HeadRead, Swapped};
use crate::memory::Reservation;
use crate::record::Version;

/// A flush holds this multiple of its commits' bytes: their rows, the row group being written, and the object.
const HELD_FACTOR: u64 = 3;
/// A flush takes at most 1/`MOST_PART` of the memory limit, so that writes continue beside it…
const MOST_PART: u64 = 8;
/// … and may take 1/`LEAST_PART` of it even if less is free: nothing else shortens a tail.
const LEAST_PART: u64 = 64;

/// Why maintenance of a stream was not done.
pub type SkipReason = String;

/// The result of a piece of maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    Idle,
    /// It landed; the number of commits or objects it moved.
    Landed(u64),
    /// It was given up, for this reason; another try may land.
    Abandoned(SkipReason),
}

/// Whether a tail is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Flush any tail.
    Always,
    /// Flush when due for the instance that wrote the newest commit (docs/protocol.md#flush).
    Own,
    /// Flush when due for the other instances.
    Others,
}

/// A segment and what its commits change in the configuration.
pub(super) struct Folded {
    pub(super) segment: EncodedSegment,
    pub(super) config: StreamConfig,
}

impl<S: State> Stream<S> {
    /// Whether the tail should be flushed now.
    pub fn flush_due(&self, due: Due) -> bool {
        let timing = &self.context().timing;
        let current = self.shared().current();
        let tail = current.tail.lock();
        let commits = match due {
            Due::Always => 1,
            Due::Own => timing.flush_commits,
            Due::Others => timing.flush_commits_other,
        };
        let aged = tail.oldest().is_some_and(|at| at + timing.flush_age <= Instant::now());
        tail.len() > 0 && (tail.len() as u64 >= commits || tail.size_bytes() >= timing.flush_bytes || aged)
    }

    /// Moves the present tail into a segment, or into several if there is not enough memory for one.
    pub async fn flush(&self) -> Result<Outcome, StreamError> {
        let newest = self.shared().state().lock().version();
        let mut moved = 0;
        loop {
            match self.flush_some().await? {
                Outcome::Landed(count) => moved += count,
                other if moved == 0 => return Ok(other),
                _ => return Ok(Outcome::Landed(moved)),
            }
            let oldest = self.shared().current().tail.lock().first();
            if oldest.is_none_or(|oldest| oldest > newest) {
                return Ok(Outcome::Landed(moved));
            }
        }
    }

    /// Moves the tail's oldest commits into a segment, as many as there is memory for.
    async fn flush_some(&self) -> Result<Outcome, StreamError> {
        self.check_damage().await?;
        let context = self.context();
        let read = context.read_head().await?;
        self.trim(&read.head);
        if read.head.state == Life::Dropped {
            return Ok(Outcome::Abandoned("the stream has ended".to_owned()));
        }
        let floor = read.head.floor;
        let room = self.room_for_flush().await?;
        let Some(commits) = self.cut(floor, room.bytes() / HELD_FACTOR) else { return Ok(Outcome::Idle) };
        let (Some(last), count) = (commits.last().cloned(), commits.len() as u64) else {
            return Ok(Outcome::Idle);
        };
        let hi = last.version;
        let header = SegmentHeader { stream: context.stream.to_string(), lo: floor, hi, dim: dim(&read.head.config) };
        let folded = off_thread(move || fold(header, commits.into_iter().map(|commit| commit.bytes))).await?;
        let Folded { segment, config } = folded.map_err(|e| StreamError::corrupted(context.stream.log(floor), &e))?;
        let entry = upload_segment(context, &context.stream, segment, (floor, hi), 0).await?;
        drop(room);
        let plan = move |read: &HeadRead| {
            if read.head.state == Life::Dropped || read.head.floor != floor {
                return Err("another instance moved the floor".to_owned());
            }
            let mut next = read.head.successor();
            next.segs.push(entry.clone());
            next.floor = hi.next();
            next.prev = Some(last.link);
            next.config = merged(&read.head.config, config.clone());
            Ok(next)
        };
        match self.swap(read, &plan).await? {
            Swapped::Done(head) => {
                self.trim(&head);
                context.counters.flushes.count();
                self.shared().wrote_segment();
                Ok(Outcome::Landed(count))
            }
            Swapped::Abandoned(why) => Ok(Outcome::Abandoned(why)),
        }
    }

    pub(super) async fn swap(&self, read: HeadRead, plan: &dyn crate::head::HeadPlan) -> Result<Swapped, StreamError> {
        let stream = &self.context().stream;
        self.swapper().swap(read, plan).await.map_err(|error| StreamError::of_head(error, stream))
    }

    /// Forgets tail commits that HEAD's segments hold.
    pub fn trim(&self, head: &Head) {
        self.shared().current().tail.lock().trim(head.floor);
    }

    /// Reserves memory to flush the tail: for all of it if there is enough, and always for at least one commit.
    async fn room_for_flush(&self) -> Result<Reservation, StreamError> {
        let budget = self.context().budget.clone();
        let (all, first) = {
            let current = self.shared().current();
            let tail = current.tail.lock();
            (tail.size_bytes(), tail.first_bytes())
        };
        let limit = budget.limit_bytes();
        let first = first.saturating_mul(HELD_FACTOR);
        let most = limit.map_or(u64::MAX, |limit| first.max(limit / MOST_PART));
        let wanted = all.saturating_mul(HELD_FACTOR).min(most);
        if budget.room_bytes() < wanted {
            let budget = budget.clone();
            off_thread(move || budget.give_back()).await?;
        }
        Ok(budget.reserve_up_to(wanted, first.max(limit.unwrap_or(0) / LEAST_PART)))
    }

    /// The commits from `floor` on, unless one of them is a `drop`: at most `most_bytes`, but at least one commit.
    pub(super) fn cut(&self, floor: Version, most_bytes: u64) -> Option<Vec<TailCommit>> {
        let current = self.shared().current();
        let state = current.state.lock();
        if state.dropped() || state.version() < floor {
            return None;
        }
        let mut commits = current.tail.lock().range(floor, state.version())?;
        let mut bytes = 0;
        let fit = commits.iter().take_while(|commit| {
            bytes += commit.bytes.len() as u64;
            bytes <= most_bytes
        });
        let fit = fit.count().max(1);
        commits.truncate(fit);
        Some(commits)
    }
}

/// Floats per embedding in a stream's configuration; 0 if it has no dimension.
pub(super) fn dim(config: &StreamConfig) -> usize {
    config.dimension.unwrap_or(0)
}

/// HEAD's configuration with our changes; what they do not name stays.
pub(super) fn merged(theirs: &StreamConfig, ours: StreamConfig) -> StreamConfig {
    let mut config = theirs.clone();
    config.extend(ours);
    config
}

/// Folds commits into a segment. `header` has the dimension from before these commits.
pub(super) fn fold(mut header: SegmentHeader, commits: impl Iterator<Item = Bytes>) -> Result<Folded, FormatError> {
    let mut config = StreamConfig::default();
    let rows = commits.map(|bytes| {
        let commit = decode_commit(&bytes)?;
        let version = commit.header.version;
        config.extend(commit.header.config.unwrap_or_default());
        let resolved = commit.rows.resolve_addresses(version);
        resolved.ok_or_else(|| FormatError::Damaged(format!("commit {version} has more rows than addresses")))
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    header.dim = config.dimension.unwrap_or(header.dim);
    let keep_tombstones = header.lo != Version(1);
    let mut writer = SegmentWriter::new(header)?;
    merge_rows(rows, keep_tombstones, &mut writer)?;
    Ok(Folded { segment: writer.finish()?, config })
}

/// Uploads a segment of `stream` under a new key and returns its entry.
pub(super) async fn upload_segment(
    context: &Arc<Context>,
    stream: &StreamId,
    segment: EncodedSegment,
    (lo, hi): (Version, Version),
    level: u32,
) -> Result<SegmentEntry, StreamError> {
    let key = stream.segment(Ulid::generate());
    upload::put(context.bucket.as_ref(), &key, segment.pieces, context.timing.reread()).await?;
    let (rows, bytes, xxh3) = (segment.rows, segment.bytes, segment.xxh3);
    Ok(SegmentEntry { key, lo, hi, rows, bytes, xxh3, level, inverted: Vec::new(), other: Map::new() })
}

/// Uploads the list of what a swap will take off HEAD.
pub async fn upload_retired(
    context: &Arc<Context>,
    segs: Vec<SegmentEntry>,
    graphs: Vec<GraphEntry>,
    map: Option<MapEntry>,
) -> Result<Ulid, StreamError> {
    let ulid = Ulid::generate();
    let list = Retired { format: FORMAT, stream: context.stream.to_string(), ulid: Some(ulid), segs, graphs, map };
    let key = context.stream.retired(ulid);
    let body = list.encode().map_err(|cause| StreamError::corrupted(key.clone(), &cause))?;
    upload::put(context.bucket.as_ref(), &key, vec![body.into()], context.timing.reread()).await?;
    Ok(ulid)
}

#[cfg(test)]
#[path = "flush_tests.rs"]
mod tests;
