//! The fold: how a snapshot takes in segments, commits and graphs. The one that folds is its owner's copy; published
//! ones share its parts and never change.
//! Invariant: the state is a fold of commits in order; an error changes nothing.

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::apply;
use super::chunk::Chunk;
use super::chunk_merge;
use super::graphs::{self, GraphPart};
use super::inverted::stored;
use super::snapshot::{ChunkView, RowRef, Snapshot};
use crate::format::inverted::Inverted;
use crate::format::{Commit, CommitKind, FormatError, Handover, Rows, StreamConfig};
use crate::record::Version;

impl Snapshot {
    /// Adds a graph, and removes the graphs of `replaces`. Its nodes are judged by the records that live now, so it
    /// may have been built from an older snapshot. Linear in the number of records.
    pub(in crate::collection) fn attach_graph(
        &mut self,
        part: GraphPart,
        replaces: &[String],
    ) -> Result<(), FormatError> {
        self.check_graph(&part)?;
        graphs::relink(self, replaces, Some(part));
        Ok(())
    }

    /// Refuses a change of the configuration that gives another dimension: once fixed, it stays.
    fn check_change(&self, change: &StreamConfig) -> Result<(), FormatError> {
        match (self.dimension, change.dimension) {
            (Some(old), Some(new)) if old != new => {
                Err(FormatError::Damaged(format!("config: the dimension is {old} and cannot become {new}")))
            }
            _ => Ok(()),
        }
    }

    fn change_config(&mut self, change: &StreamConfig) {
        self.dimension = change.dimension.or(self.dimension);
        if !change.key_types.is_empty() {
            Arc::make_mut(&mut self.key_types).extend(&change.key_types);
        }
    }

    /// Ends replaced rows and adds new chunks.
    fn take_in(&mut self, replaced: Vec<RowRef>, chunks: Vec<Chunk>, version: Version) {
        for RowRef { chunk, row } in &replaced {
            if let Some(link) = Arc::make_mut(&mut self.chunks[*chunk]).kill(*row) {
                graphs::end_node(&mut self.graphs, link);
            }
        }
        self.live -= replaced.len() as u64;
        if replaced.iter().any(|at| self.chunks[at.chunk].alive.is_empty()) {
            self.chunks.retain(|view| !view.alive.is_empty());
        }
        for chunk in chunks {
            self.live += chunk.len() as u64;
            // A row that carries its record's embedding on revives the node that just ended.
            let mut view = ChunkView::new(chunk);
            graphs::link_new(&mut self.graphs, &mut view);
            self.chunks.push(Arc::new(view));
        }
        self.version = version;
        chunk_merge::merge_tail(self);
        if !replaced.is_empty() {
            chunk_merge::rewrite_sparse(self);
        }
    }

    /// Ends the collection at this version.
    fn end(&mut self, version: Version) {
        (self.version, self.dropped, self.live) = (version, true, 0);
        self.chunks.clear();
        self.graphs.clear();
    }

    /// Sets the configuration as of the newest segment.
    pub(in crate::collection) fn configure(&mut self, config: &StreamConfig) -> Result<(), FormatError> {
        self.check_change(config)?;
        self.change_config(config);
        Ok(())
    }

    /// Takes in the rows of a segment, whose last version is `version`. Of `inverted`, its inverted indexes, those that
    /// fit its chunks are taken.
    pub(in crate::collection) fn load(
        &mut self,
        groups: Vec<Rows>,
        version: Version,
        inverted: Vec<Inverted>,
    ) -> Result<(), FormatError> {
        let kind = self.chunk_kind();
        // A segment has one row per id, so it can only replace rows that were there before it.
        let before = self.chunks.len();
        let current = &*self;
        let taken = groups.into_par_iter().map(|rows| {
            let _span = tracing::debug_span!(target: "drumlin::load", "chunks").entered();
            Ok((apply::replaced(current, &rows, before), apply::chunks(&rows, None, kind)?))
        });
        let taken = taken.collect::<Result<Vec<_>, FormatError>>()?;
        let (replaced, chunks): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let (replaced, chunks): (Vec<RowRef>, Vec<Chunk>) = (replaced.concat(), chunks.into_iter().flatten().collect());
        let newest = current.chunks.last().map(|view| view.chunk.last());
        let ends = chunks.iter().flat_map(|chunk| [chunk.first(), chunk.last()]);
        let ends: Vec<_> = newest.into_iter().chain(ends).collect();
        if !ends.windows(2).all(|pair| pair[0] <= pair[1]) {
            return Err(FormatError::Damaged("addresses of row groups do not ascend".into()));
        }
        inverted.into_iter().for_each(|inverted| stored::attach(inverted, &chunks));
        self.take_in(replaced, chunks, version);
        Ok(())
    }

    /// Applies the next commit.
    pub(in crate::collection) fn apply(&mut self, commit: &Commit) -> Result<(), FormatError> {
        let (version, next) = (commit.header.version, self.version.next());
        if version != next || self.dropped {
            let ended = if self.dropped { ", and the stream has ended" } else { "" };
            return Err(FormatError::Damaged(format!("expected commit {next}, got {version}{ended}")));
        }
        if commit.header.kind == CommitKind::Drop {
            match commit.header.successor() {
                // Until the name has passed, there are no newer records than these.
                Some(successor) => {
                    (self.version, self.dropped, self.successor) = (version, true, Some(successor));
                }
                None => self.end(version),
            }
            return Ok(());
        }
        if commit.header.handover == Some(Handover::Hold) {
            self.held_at = Some(Instant::now());
        }
        let change = commit.header.config.as_ref();
        change.map_or(Ok(()), |change| self.check_change(change))?;
        let mut kind = self.chunk_kind();
        if let Some(dim) = change.and_then(|change| change.dimension) {
            (kind.dim, kind.bare) = (dim, dim == 0);
        }
        apply::check_claims(self, &commit.rows)?;
        let chunks = apply::chunks(&commit.rows, Some(version), kind)?;
        let replaced = apply::replaced(self, &commit.rows, self.chunks.len());
        if let Some(change) = change {
            self.change_config(change);
        }
        self.take_in(replaced, chunks, version);
        Ok(())
    }
}
