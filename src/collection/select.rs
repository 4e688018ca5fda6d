//! Which live rows satisfy ids and a filter, as one bitmap per chunk.
//! Invariant: a selection of a snapshot holds live rows of it only.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::snapshot::{ChunkView, RowRef, Snapshot};
use crate::filter::Filter;

/// Live rows of one snapshot.
#[derive(Debug)]
pub enum Selected {
    /// All of them.
    All,
    /// Some of each chunk.
    Rows(Vec<RoaringBitmap>),
}

impl Selected {
    /// The selected rows of a chunk.
    pub fn of<'a>(&'a self, snapshot: &'a Snapshot, chunk: usize) -> &'a RoaringBitmap {
        match self {
            Selected::All => &snapshot.chunks[chunk].alive,
            Selected::Rows(rows) => &rows[chunk],
        }
    }
}

impl Snapshot {
    /// The live rows with one of these ids, where given, that match the filter, where given.
    pub(super) fn select(&self, ids: Option<&[String]>, filter: Option<&Filter>) -> Selected {
        let candidates = ids.map(|ids| self.rows_of(ids));
        let Some(filter) = filter else {
            return candidates.map_or(Selected::All, Selected::Rows);
        };
        let of_chunk = |(chunk, view): (usize, &Arc<ChunkView>)| {
            let among = candidates.as_ref().map_or(&view.alive, |rows| &rows[chunk]);
            if among.is_empty() { RoaringBitmap::new() } else { view.chunk.matching(filter, among) }
        };
        Selected::Rows(self.chunks.iter().enumerate().map(of_chunk).collect())
    }

    fn rows_of(&self, ids: &[String]) -> Vec<RoaringBitmap> {
        let mut rows = vec![RoaringBitmap::new(); self.chunks.len()];
        for RowRef { chunk, row } in ids.iter().filter_map(|id| self.find(id)) {
            rows[chunk].insert(row);
        }
        rows
    }
}
