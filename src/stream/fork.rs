//! Copying a stream into a new one (docs/protocol.md#fork): its segments and graphs by copies inside
//! the store, its tail as one segment. Invariants: the copy holds every commit up to one version and
//! shares no object with the stream it came from; nothing names it before its HEAD is created.

use futures::stream::{self, StreamExt, TryStreamExt};
use ulid::Ulid;

use super::Stream;
use super::context::StreamError;
use super::flush::{Folded, dim, fold, merged, upload_segment};
use super::open::sort_missing;
use super::state::State;
use super::upload;
use crate::bucket::keys::StreamId;
use crate::compute::off_thread;
use crate::format::head::{GraphEntry, Head, InvertedEntry, Life, MapEntry, SegmentEntry};
use crate::format::segment::SegmentHeader;
use crate::format::{Chain, FormatError, StreamConfig};
use crate::record::Version;

/// Objects copied at once.
const PARALLEL_COPIES: usize = 8;

/// The part of a stream that HEAD does not name: the commits from its floor on, as a segment.
struct Rest {
    segment: Option<SegmentEntry>,
    version: Version,
    prev: Option<Chain>,
    config: StreamConfig,
}

impl<S: State> Stream<S> {
    /// Copies the stream, as far as this instance has read it, under the name `target`. Returns the HEAD that makes
    /// the copy a stream.
    ///
    /// # Errors
    /// `Recycled` if HEAD is ahead of this instance or moves on meanwhile: read the log, and try again. Objects copied
    /// until then are left to the sweeps.
    pub async fn copy_to(&self, target: &StreamId) -> Result<Head, StreamError> {
        self.check_damage().await?;
        let context = self.context();
        let read = context.read_head().await?;
        if read.head.state == Life::Dropped {
            return Err(StreamError::Dropped);
        }
        let rest = self.write_rest(&read.head, target).await?;
        let (segs, graphs, map) = futures::future::try_join3(
            self.copy_segments(&read.head, target),
            self.copy_graphs(&read.head, target, rest.version),
            self.copy_map(&read.head, target, rest.version),
        )
        .await?;
        let mut head = Head::new(target.to_string(), merged(&read.head.config, rest.config));
        (head.segs, head.graphs, head.map) = (segs, graphs, map);
        head.segs.extend(rest.segment);
        (head.floor, head.gone, head.prev) = (rest.version.next(), rest.version.next(), rest.prev);
        head.check_invariants().map_err(|cause| StreamError::corrupted(context.stream.head(), &cause))?;
        Ok(head)
    }

    /// Writes the commits from HEAD's floor on, if there are any, as a segment of `target`.
    async fn write_rest(&self, head: &Head, target: &StreamId) -> Result<Rest, StreamError> {
        let floor = head.floor;
        let version = self.shared().state().lock().version();
        if version.next() == floor {
            return Ok(Rest { segment: None, version, prev: head.prev, config: StreamConfig::default() });
        }
        let ahead = || StreamError::Recycled(format!("HEAD's floor {floor} does not fit version {version}"));
        let commits = self.cut(floor, u64::MAX).ok_or_else(ahead)?;
        let last = commits.last().cloned().ok_or_else(ahead)?;
        let header = SegmentHeader { stream: target.to_string(), lo: floor, hi: last.version, dim: dim(&head.config) };
        let folded = off_thread(move || fold(header, commits.into_iter().map(|commit| commit.bytes))).await?;
        let damaged = |cause: FormatError| StreamError::corrupted(self.context().stream.log(floor), &cause);
        let Folded { segment, config } = folded.map_err(damaged)?;
        let segment = upload_segment(self.context(), target, segment, (floor, last.version), 0).await?;
        Ok(Rest { segment: Some(segment), version: last.version, prev: Some(last.link), config })
    }

    async fn copy_segments(&self, head: &Head, target: &StreamId) -> Result<Vec<SegmentEntry>, StreamError> {
        let copies = stream::iter(head.segs.clone()).map(|entry| async move {
            let key = target.segment(Ulid::generate());
            self.copy_object(&entry.key, &key, entry.bytes).await?;
            let mut copy = entry.copied(&self.context().stream.to_string(), key);
            copy.inverted = self.copy_inverted(&entry, target).await?;
            Ok(copy)
        });
        copies.buffered(PARALLEL_COPIES).try_collect().await
    }

    async fn copy_inverted(
        &self,
        segment: &SegmentEntry,
        target: &StreamId,
    ) -> Result<Vec<InvertedEntry>, StreamError> {
        let mut copies = Vec::with_capacity(segment.inverted.len());
        for entry in &segment.inverted {
            let key = target.inverted(Ulid::generate());
            if self.copy_cache(&entry.key, &key, entry.bytes).await? {
                copies.push(InvertedEntry { key, ..entry.clone() });
            }
        }
        Ok(copies)
    }

    /// Copies the graphs that cover nothing after `version`.
    async fn copy_graphs(
        &self,
        head: &Head,
        target: &StreamId,
        version: Version,
    ) -> Result<Vec<GraphEntry>, StreamError> {
        let graphs: Vec<GraphEntry> = head.graphs.iter().filter(|graph| graph.hi <= version).cloned().collect();
        let copies = stream::iter(graphs).map(|entry| async move {
            let key = target.graph(Ulid::generate());
            let copied = self.copy_cache(&entry.key, &key, entry.bytes).await?;
            Ok::<_, StreamError>(copied.then(|| entry.copied(&self.context().stream.to_string(), key)))
        });
        let copies: Vec<Option<GraphEntry>> = copies.buffered(PARALLEL_COPIES).try_collect().await?;
        Ok(copies.into_iter().flatten().collect())
    }

    /// Copies the map, unless it is of a version after this one.
    async fn copy_map(
        &self,
        head: &Head,
        target: &StreamId,
        version: Version,
    ) -> Result<Option<MapEntry>, StreamError> {
        let Some(entry) = head.map.as_ref().filter(|map| map.version <= version) else { return Ok(None) };
        let key = target.map(Ulid::generate());
        let copied = self.copy_cache(&entry.key, &key, entry.bytes).await?;
        Ok(copied.then(|| entry.copied(&self.context().stream.to_string(), key)))
    }

    /// Copies an object that can be built anew. `false`: it is lost, and the fork does without it.
    async fn copy_cache(&self, from: &str, to: &str, size: u64) -> Result<bool, StreamError> {
        match self.copy_object(from, to, size).await {
            Ok(()) => Ok(true),
            Err(StreamError::Corrupted { key, cause }) => {
                tracing::warn!(%key, %cause, "a fork is made without this object, which is built anew");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn copy_object(&self, from: &str, to: &str, size: u64) -> Result<(), StreamError> {
        let context = self.context();
        let mut copies = context.reread().begin();
        loop {
            let error = match upload::copy(context.bucket.as_ref(), from, to, size, context.timing.reread()).await {
                Ok(()) => return Ok(()),
                Err(error) => sort_missing(context, from, error).await,
            };
            if !matches!(error, StreamError::Corrupted { .. }) || !copies.again().await {
                return Err(error);
            }
        }
    }
}
