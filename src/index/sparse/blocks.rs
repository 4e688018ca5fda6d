//! The row numbers of all posting lists of an index. A term's list is split into blocks of at most [`BLOCK_POSTINGS`]
//! rows, each a 16-bit distance from the block's first row: looked up in place, and nothing is unpacked. Postings are
//! numbered through all blocks; what a posting carries (a weight, a term frequency) lies in the index, by that number.
//! Invariant: blocks are not empty; the rows of a term ascend strictly.

use std::ops::Range;

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::ArrowNativeType;

use crate::format::inverted::{BLOCK_POSTINGS, Blocks};

/// Entries `i` and `i + 1`.
#[inline]
fn span(offsets: &[u32], i: usize) -> Range<usize> {
    match (offsets.get(i), offsets.get(i + 1)) {
        (Some(start), Some(end)) => *start as usize..*end as usize,
        _ => 0..0,
    }
}

impl Blocks {
    /// The blocks of a term; none past the last term.
    pub(super) fn blocks_of(&self, term: usize) -> Range<usize> {
        span(&self.term_blocks, term)
    }

    /// The postings of a block.
    #[inline]
    pub(super) fn postings_of(&self, block: usize) -> Range<usize> {
        span(&self.block_postings, block)
    }

    /// How many postings the blocks have.
    pub(super) fn postings_in(&self, blocks: &Range<usize>) -> u32 {
        let first = |block: usize| self.block_postings.get(block).copied().unwrap_or(0);
        first(blocks.end) - first(blocks.start)
    }

    /// All postings of some blocks as (row, posting).
    pub(super) fn postings(&self, blocks: Range<usize>) -> impl Iterator<Item = (u32, usize)> + '_ {
        blocks.flat_map(move |block| {
            let first = self.block_rows[block];
            self.postings_of(block).map(move |posting| (first + u32::from(self.rows[posting]), posting))
        })
    }

    /// Those of `blocks` that may have rows in `rows`.
    pub(super) fn blocks_between(&self, blocks: &Range<usize>, rows: &Range<u32>) -> Range<usize> {
        let firsts = &self.block_rows[blocks.clone()];
        let start = firsts.partition_point(|first| *first <= rows.start).saturating_sub(1);
        let end = start + firsts[start..].partition_point(|first| *first < rows.end);
        blocks.start + start..blocks.start + end
    }

    /// The postings of `blocks` whose rows are in `rows`, as (row, posting).
    pub(super) fn postings_between(
        &self,
        blocks: &Range<usize>,
        rows: Range<u32>,
    ) -> impl Iterator<Item = (u32, usize)> + '_ {
        let postings = self.postings(self.blocks_between(blocks, &rows));
        postings.filter(move |(row, _)| rows.contains(row))
    }

    /// How many postings of `blocks` have rows in `rows`.
    pub(super) fn count_between(&self, blocks: &Range<usize>, rows: &Range<u32>) -> u32 {
        let within = self.blocks_between(blocks, rows);
        let before = |end: u32, block: usize| {
            let first = self.block_rows[block];
            self.rows[self.postings_of(block)].partition_point(|row| first + u32::from(*row) < end) as u32
        };
        match (within.start, within.end.checked_sub(1)) {
            (first, Some(last)) if first <= last => {
                self.postings_in(&(first..last)) + before(rows.end, last) - before(rows.start, first)
            }
            _ => 0,
        }
    }

    /// The first term at or after `from` with a block that reaches into `rows`: it may have postings there. Cheap where
    /// most terms have none.
    pub(super) fn next_term_between(&self, from: usize, rows: &Range<u32>) -> Option<usize> {
        let start = *self.term_blocks.get(from)? as usize;
        let reaches = |block: &usize| {
            let first = self.block_rows[*block];
            let last = self.postings_of(*block).last().map_or(0, |posting| self.rows[posting]);
            first < rows.end && first + u32::from(last) >= rows.start
        };
        let block = (start..self.block_rows.len()).find(reaches)?;
        Some(from + gallop(&self.term_blocks[from..], block as u32))
    }

    /// Bytes on the heap.
    pub(super) fn size_bytes(&self) -> usize {
        let words = [&self.term_blocks, &self.block_postings, &self.block_rows];
        words.iter().map(|words| words.inner().capacity()).sum::<usize>() + self.rows.inner().capacity()
    }

    /// The posting of `row` within `blocks`. `at` is a block at or before the row's; it is moved to the row's block, so
    /// that rising rows are found in rising steps.
    #[inline]
    pub(super) fn find(&self, blocks: &Range<usize>, at: &mut usize, row: u32) -> Option<usize> {
        let firsts = &self.block_rows[*at..blocks.end];
        if firsts.get(1).is_some_and(|first| *first <= row) {
            *at += gallop(firsts, row);
        }
        let distance = row.checked_sub(*self.block_rows.get(*at)?)?;
        let distance = u16::try_from(distance).ok()?;
        let postings = self.postings_of(*at);
        let place = self.rows[postings.clone()].binary_search(&distance).ok()?;
        Some(postings.start + place)
    }
}

/// The last of the ascending `firsts` that is at most `row`; the first if none is.
#[inline]
pub(super) fn gallop(firsts: &[u32], row: u32) -> usize {
    let mut step = 1;
    while firsts.get(step).is_some_and(|first| *first <= row) {
        step *= 2;
    }
    let low = step / 2;
    let high = step.min(firsts.len());
    low + firsts[low..high].partition_point(|first| *first <= row).saturating_sub(1)
}

/// Appends lists term by term. The fields are those of [`Blocks`].
#[derive(Debug)]
pub(super) struct BlocksBuilder {
    term_blocks: Vec<u32>,
    block_postings: Vec<u32>,
    block_rows: Vec<u32>,
    rows: Vec<u16>,
}

impl Default for BlocksBuilder {
    fn default() -> BlocksBuilder {
        BlocksBuilder { term_blocks: vec![0], block_postings: vec![0], block_rows: Vec::new(), rows: Vec::new() }
    }
}

impl BlocksBuilder {
    /// Appends the rows of one term, which must ascend.
    pub(super) fn list(&mut self, rows: impl Iterator<Item = u32>) {
        let mut filled = 0;
        for row in rows {
            let first = self.block_rows.last().copied().unwrap_or(0);
            let near = row.checked_sub(first).and_then(|distance| u16::try_from(distance).ok());
            match near.filter(|_| filled > 0 && filled < BLOCK_POSTINGS) {
                Some(distance) => {
                    self.rows.push(distance);
                    filled += 1;
                }
                None => {
                    if filled > 0 {
                        self.block_postings.push(self.rows.len() as u32);
                    }
                    self.block_rows.push(row);
                    self.rows.push(0);
                    filled = 1;
                }
            }
        }
        if filled > 0 {
            self.block_postings.push(self.rows.len() as u32);
        }
        self.term_blocks.push(self.block_rows.len() as u32);
    }

    /// All lists.
    pub(super) fn finish(self) -> Blocks {
        Blocks {
            term_blocks: shrunk(self.term_blocks),
            block_postings: shrunk(self.block_postings),
            block_rows: shrunk(self.block_rows),
            rows: shrunk(self.rows),
        }
    }
}

/// A column of just these values, without memory for more.
pub(super) fn shrunk<T: ArrowNativeType>(mut values: Vec<T>) -> ScalarBuffer<T> {
    values.shrink_to_fit();
    values.into()
}
