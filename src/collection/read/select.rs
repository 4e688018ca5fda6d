//! Which live rows satisfy ids and a filter, as one bitmap per chunk.
//! Invariant: a selection of a snapshot holds live rows of it only.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::collection::state::chunk::Chunk;
use crate::collection::state::selections::SelectedRows;
use crate::collection::state::snapshot::{ChunkView, RowRef, Snapshot};
use crate::error::Result;
use crate::filter::Filter;
use crate::interrupt::Interrupt;

/// Live rows of one snapshot.
#[derive(Debug, Clone)]
pub enum Selected {
    /// All of them.
    All,
    /// Some of each chunk.
    Rows(Arc<SelectedRows>),
}

impl Selected {
    pub fn some(rows: Vec<RoaringBitmap>) -> Selected {
        Selected::Rows(Arc::new(SelectedRows::new(rows)))
    }

    /// The selected rows of a chunk.
    pub fn of<'a>(&'a self, snapshot: &'a Snapshot, chunk: usize) -> &'a RoaringBitmap {
        match self {
            Selected::All => &snapshot.chunks[chunk].alive,
            Selected::Rows(selected) => &selected.rows()[chunk],
        }
    }
}

/// Which rows of some chunks match a filter. A request finds them before it waits in line, so that no other request
/// waits while documents are read. Chunks never change, so the result stays true.
#[derive(Debug, Clone, Default)]
pub struct Matched(Vec<ChunkMatches>);

/// The rows of one chunk on which the filter was evaluated, and those of them that match.
#[derive(Debug, Clone)]
struct ChunkMatches {
    chunk: Arc<Chunk>,
    rows: RoaringBitmap,
    matching: RoaringBitmap,
}

impl Matched {
    /// The matching rows among `rows`, if the filter was evaluated on all of these.
    fn among(&self, chunk: &Arc<Chunk>, rows: &RoaringBitmap) -> Option<RoaringBitmap> {
        let looked = self.0.iter().find(|looked| Arc::ptr_eq(&looked.chunk, chunk))?;
        rows.is_subset(&looked.rows).then(|| &looked.matching & rows)
    }
}

impl PartialEq for Matched {
    /// Knowledge gained beforehand changes no answer.
    fn eq(&self, _: &Matched) -> bool {
        true
    }
}

impl Snapshot {
    /// Evaluates the filter beforehand, on the rows with one of these ids, where given.
    pub(in crate::collection) fn matched(
        &self,
        ids: Option<&[String]>,
        filter: &Filter,
        interrupt: &Interrupt,
    ) -> Result<Matched> {
        let candidates = ids.map(|ids| self.rows_of(ids));
        let look = |(chunk, view): (usize, &Arc<ChunkView>)| {
            interrupt.check()?;
            let rows = candidates.as_ref().map_or(&view.alive, |rows| &rows[chunk]).clone();
            let matching =
                if rows.is_empty() { rows.clone() } else { view.chunk.matching(filter, &rows, interrupt)? };
            Ok(ChunkMatches { chunk: view.chunk.clone(), rows, matching })
        };
        Ok(Matched(self.chunks.iter().enumerate().map(look).collect::<Result<_>>()?))
    }

    /// The live rows with one of these ids, where given, that match the filter, where given.
    ///
    /// # Errors
    /// `Invalid` where a regex is too large for a document; the interrupt's error.
    pub(in crate::collection) fn select(
        &self,
        ids: Option<&[String]>,
        filter: Option<&Filter>,
        interrupt: &Interrupt,
    ) -> Result<Selected> {
        let (None, Some(filter)) = (ids, filter) else {
            return self.select_knowing(&Matched::default(), ids, filter, interrupt);
        };
        if let Some(selected) = self.selections.get(self, filter) {
            return Ok(Selected::Rows(selected));
        }
        let selected = self.select_knowing(&Matched::default(), None, Some(filter), interrupt)?;
        if let Selected::Rows(rows) = &selected {
            self.selections.put(self, filter, rows);
        }
        Ok(selected)
    }

    /// Selects rows; for some, `Matched` already has the filter's result.
    pub(in crate::collection) fn select_knowing(
        &self,
        matched: &Matched,
        ids: Option<&[String]>,
        filter: Option<&Filter>,
        interrupt: &Interrupt,
    ) -> Result<Selected> {
        let candidates = ids.map(|ids| self.rows_of(ids));
        let Some(filter) = filter else {
            return Ok(candidates.map_or(Selected::All, Selected::some));
        };
        let of_chunk = |(chunk, view): (usize, &Arc<ChunkView>)| {
            interrupt.check()?;
            let among = candidates.as_ref().map_or(&view.alive, |rows| &rows[chunk]);
            match matched.among(&view.chunk, among) {
                Some(rows) => Ok(rows),
                None if among.is_empty() => Ok(RoaringBitmap::new()),
                None => view.chunk.matching(filter, among, interrupt),
            }
        };
        Ok(Selected::some(self.chunks.iter().enumerate().map(of_chunk).collect::<Result<_>>()?))
    }

    fn rows_of(&self, ids: &[String]) -> Vec<RoaringBitmap> {
        let mut rows = vec![RoaringBitmap::new(); self.chunks.len()];
        for RowRef { chunk, row } in ids.iter().filter_map(|id| self.find(id)) {
            rows[chunk].insert(row);
        }
        rows
    }
}
