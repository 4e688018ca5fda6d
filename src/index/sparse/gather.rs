//! Turns rows of (term, payload) into lists of (row, payload) by a counting sort. Memory: eight bytes per posting
//! while rows are added, twice that while they are sorted. Also the row numbers of a merge.

use std::ops::Range;

use crate::error::{Error, Result};

/// In the row mapping of a merge: the row is left out.
pub const DROPPED: u32 = u32::MAX;

/// Most postings of an index: they are numbered in 32 bits.
pub(super) const MAX_POSTINGS: usize = u32::MAX as usize;

/// Postings in the order of rows. Terms are slots, numbered as they first came.
#[derive(Debug)]
pub(super) struct Gathered<P> {
    rows: Vec<(u32, u32)>,
    slots: Vec<u32>,
    payloads: Vec<P>,
}

impl<P> Default for Gathered<P> {
    fn default() -> Gathered<P> {
        Gathered { rows: Vec::new(), slots: Vec::new(), payloads: Vec::new() }
    }
}

/// Postings in the order of slots: those of slot s are `postings[ends[s - 1]..ends[s]]`, rows ascending.
#[derive(Debug)]
pub(super) struct Sorted<P> {
    pub(super) postings: Vec<(u32, P)>,
    ends: Vec<usize>,
}

impl<P: Copy + Default> Gathered<P> {
    /// Begins a row.
    ///
    /// # Errors
    /// `Internal`: rows do not ascend. `Limit`: the index has more postings than it can number.
    pub(super) fn begin(&mut self, row: u32) -> Result<()> {
        if self.rows.last().is_some_and(|(last, _)| *last >= row) {
            return Err(Error::internal(format!("row {row} of an inverted index does not ascend")));
        }
        if self.slots.len() >= MAX_POSTINGS {
            return Err(Error::limit(format!("an inverted index has at most {MAX_POSTINGS} postings")));
        }
        self.rows.push((row, self.slots.len() as u32));
        Ok(())
    }

    /// Adds a posting to the row last begun.
    pub(super) fn push(&mut self, slot: u32, payload: P) {
        self.slots.push(slot);
        self.payloads.push(payload);
    }

    /// Sorts by slot, of which there are `slots`.
    pub(super) fn sort(self, slots: usize) -> Sorted<P> {
        let mut ends = vec![0usize; slots];
        self.slots.iter().for_each(|slot| ends[*slot as usize] += 1);
        let mut sum = 0;
        for end in &mut ends {
            // For now the start of each slot; the loop below moves it to its end.
            sum += std::mem::replace(end, sum);
        }
        let mut postings = vec![(0, P::default()); self.slots.len()];
        let starts = self.rows.iter().map(|(_, start)| *start as usize).skip(1).chain([self.slots.len()]);
        let mut from = 0;
        for ((row, _), to) in self.rows.iter().zip(starts) {
            for posting in from..to {
                let end = &mut ends[self.slots[posting] as usize];
                postings[*end] = (*row, self.payloads[posting]);
                *end += 1;
            }
            from = to;
        }
        Sorted { postings, ends }
    }
}

impl<P> Sorted<P> {
    /// The postings of a slot.
    pub(super) fn list(&self, slot: usize) -> Range<usize> {
        slot.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[slot]
    }
}

/// What a merge takes of an index: a run of rows, with their new numbers.
#[derive(Debug)]
pub struct MergePart<'a, I> {
    /// The index.
    pub index: &'a I,
    /// The first row of the run. Rows outside of it are left out.
    pub first: u32,
    /// Per row of the run, the new one or [`DROPPED`].
    pub rows: &'a [u32],
}

impl<I> MergePart<'_, I> {
    /// The run.
    pub(super) fn span(&self) -> Range<u32> {
        self.first..self.first.saturating_add(self.rows.len() as u32)
    }

    /// The new row of `row`; `None` if it is left out.
    #[inline]
    pub(super) fn mapped(&self, row: u32) -> Option<u32> {
        let place = row.checked_sub(self.first)?;
        self.rows.get(place as usize).copied().filter(|row| *row != DROPPED)
    }
}
