//! What a search of a snapshot goes through: each inverted index once, with the chunks that it spans.
//! Invariant: every chunk that was asked for is in one span, at its own place; the rows of all others count as dead.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::IndexShare;
use crate::collection::state::chunk::Chunk;
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::Result;
use crate::index::ChunkRows;
use crate::interrupt::Interrupt;

/// An index, and chunks of a snapshot that it spans.
#[derive(Debug)]
pub struct IndexSpan<I> {
    pub index: Arc<I>,
    /// Where the chunks stand in the snapshot, each with its first row in the index; both ascend.
    chunks: Vec<(usize, u32)>,
}

impl<I> IndexSpan<I> {
    /// Some rows of each of its chunks, which `of_chunk` knows.
    pub fn rows<'a>(
        &self,
        snapshot: &'a Snapshot,
        of_chunk: impl Fn(usize) -> &'a RoaringBitmap,
    ) -> Vec<ChunkRows<'a>> {
        let chunk_rows = |(chunk, first): &(usize, u32)| ChunkRows {
            first: *first,
            len: snapshot.chunks[*chunk].chunk.len() as u32,
            rows: of_chunk(*chunk),
        };
        self.chunks.iter().map(chunk_rows).collect()
    }

    /// The live rows of its chunks.
    pub fn live_rows<'a>(&self, snapshot: &'a Snapshot) -> Vec<ChunkRows<'a>> {
        self.rows(snapshot, |chunk| &snapshot.chunks[chunk].alive)
    }

    /// Where a row of one of its chunks stands.
    pub fn place(&self, row: u32) -> Option<RowRef> {
        let after = self.chunks.partition_point(|(_, first)| *first <= row);
        let (chunk, first) = *self.chunks.get(after.checked_sub(1)?)?;
        Some(RowRef { chunk, row: row - first })
    }
}

impl Snapshot {
    /// The indexes of the chunks at `chunks`, which ascend. `share` finds a chunk's, or builds it.
    pub(in crate::collection) fn spans<I>(
        &self,
        chunks: impl Iterator<Item = usize>,
        interrupt: &Interrupt,
        share: impl Fn(&Chunk) -> Result<IndexShare<I>>,
    ) -> Result<Vec<IndexSpan<I>>> {
        let mut spans: Vec<IndexSpan<I>> = Vec::new();
        for at in chunks {
            interrupt.check()?;
            let IndexShare { index, first } = share(&self.chunks[at].chunk)?;
            // Mostly the last one.
            match spans.iter_mut().rev().find(|span| Arc::ptr_eq(&span.index, &index)) {
                Some(span) => span.chunks.push((at, first)),
                None => spans.push(IndexSpan { index, chunks: vec![(at, first)] }),
            }
        }
        Ok(spans)
    }
}
