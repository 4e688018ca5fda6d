//! For tests: a collection without a bucket. Every commit is encoded, decoded and applied, and kept, so
//! that a history can be loaded again from commits or from segments.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::request::{Selection, Write, WriteOutcome};
use super::state::snapshot::Snapshot;
use super::stream_state::CollectionState;
use super::write::change::Change;
use crate::config::Limits;
use crate::error::Result;
use crate::format::merge::merge_rows;
use crate::format::segment::SegmentHeader;
use crate::format::{
    Chain, Checksum, Commit, CommitHeader, CommitKind, Nonce, Rows, SegmentWriter, decode_commit, decode_segment,
    encode_commit,
};
use crate::memory::Budget;
use crate::record::{Metric, Record, Version};
use crate::stream::state::{Resolution, State};

pub struct Replay {
    pub state: CollectionState,
    pub published: Arc<ArcSwap<Snapshot>>,
    pub commits: Vec<Commit>,
}

impl Replay {
    pub fn new(metric: Metric) -> Replay {
        Replay::with_limits(metric, Limits::default())
    }

    pub fn with_limits(metric: Metric, limits: Limits) -> Replay {
        let published = Arc::new(ArcSwap::from_pointee(Snapshot::empty(metric)));
        let account = Budget::new(None).account();
        Replay {
            state: CollectionState::new(metric, limits, published.clone(), account),
            published,
            commits: Vec::new(),
        }
    }

    /// Resolves a batch, commits the result and publishes it.
    pub fn commit(&mut self, changes: &[Change]) -> Vec<Result<WriteOutcome>> {
        let resolution = self.state.resolve(&changes.iter().collect::<Vec<_>>());
        if !resolution.is_empty() {
            let commit = stored(self.state.version().next(), &resolution);
            self.state.apply(&commit).unwrap();
            self.commits.push(commit);
        }
        self.state.publish();
        resolution.answers
    }

    pub fn write(&mut self, write: Write) -> Result<WriteOutcome> {
        self.commit(&[Change::Write(write)]).remove(0)
    }

    pub fn add(&mut self, records: impl IntoIterator<Item = Record>) -> WriteOutcome {
        self.write(Write::Add(records.into_iter().collect())).unwrap()
    }

    pub fn delete(&mut self, ids: &[&str]) -> WriteOutcome {
        let ids = Some(ids.iter().map(|id| id.to_string()).collect());
        self.write(Write::Delete(Selection { ids, ..Selection::default() })).unwrap()
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// This collection, read back: versions up to each of `ends` as one segment each, the rest as
    /// commits.
    pub fn reopened(&self, ends: &[u64]) -> Replay {
        let mut other = self.loaded(ends);
        other.catch_up(self);
        other
    }

    /// The state after segments of versions up to each of `ends`, before any commit of the log.
    pub fn loaded(&self, ends: &[u64]) -> Replay {
        let mut other = Replay::new(self.state.current().metric);
        let flushed = ends.last().map_or(0, |end| *end as usize);
        let deltas = self.commits[..flushed].iter().filter_map(|commit| commit.header.config.as_ref());
        deltas.for_each(|delta| other.state.configure(delta).unwrap());
        let mut lo = 1;
        for hi in ends.iter().copied() {
            let groups: Vec<Rows> = decode_segment(&self.segment(lo, hi)).unwrap().groups;
            other.state.load(groups, Version(hi), Vec::new()).unwrap();
            lo = hi + 1;
        }
        other
    }

    /// The commits of versions `lo..=hi` as a segment.
    pub fn segment(&self, lo: u64, hi: u64) -> Bytes {
        let dim = self.state.current().dimension().unwrap_or(0);
        let header = SegmentHeader { stream: "c/x".into(), lo: Version(lo), hi: Version(hi), dim };
        let commits = &self.commits[lo as usize - 1..hi as usize];
        let rows = commits.iter().map(|c| c.rows.clone().resolve_addresses(c.header.version).unwrap());
        let mut sink = SegmentWriter::new(header).unwrap();
        merge_rows(rows, lo > 1, &mut sink).unwrap();
        sink.finish().unwrap().pieces.concat().into()
    }

    /// Applies the commits of `source` that are missing here.
    pub fn catch_up(&mut self, source: &Replay) {
        for commit in &source.commits[self.state.version().0 as usize..] {
            self.state.apply(commit).unwrap();
        }
        self.commits = source.commits.clone();
        self.state.publish();
    }
}

/// The commit that the bucket would return for this resolution.
pub fn stored(version: Version, resolution: &Resolution<WriteOutcome>) -> Commit {
    let prev = Chain { nonce: Nonce(7), xxh3: Checksum(7) };
    let header = CommitHeader {
        stream: "c/x".into(),
        version,
        kind: if resolution.drop { CommitKind::Drop } else { CommitKind::Data },
        writer: "test".into(),
        nonce: Nonce(version.0.into()),
        prev: (version > Version(1)).then_some(prev),
        config: resolution.config.clone(),
        handover: resolution.handover,
    };
    let rows: Rows = resolution.rows.iter().cloned().collect();
    decode_commit(&encode_commit(&header, &rows).unwrap()).unwrap()
}
