//! The row numbers of all posting lists of an index. A term's list is split into blocks of at most [`BLOCK_POSTINGS`]
//! rows, each a 16-bit distance from the block's first row: looked up in place, and nothing is unpacked. Postings are
//! numbered through all blocks; what a posting carries (a weight, a term frequency) lies in the index, by that number.
//! Invariant: blocks are not empty; the rows of a term ascend strictly.

use std::ops::Range;

/// Most postings of a block.
pub(super) const BLOCK_POSTINGS: usize = 128;

/// The posting lists of terms 0..t.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blocks {
    /// Term t has the blocks `term_blocks[t]..term_blocks[t + 1]`.
    pub(super) term_blocks: Vec<u32>,
    /// Block b has the postings `block_postings[b]..block_postings[b + 1]`.
    pub(super) block_postings: Vec<u32>,
    /// The first row of each block.
    pub(super) block_rows: Vec<u32>,
    /// Per posting: its row less the first of its block.
    pub(super) rows: Vec<u16>,
}

impl Default for Blocks {
    fn default() -> Blocks {
        Blocks { term_blocks: vec![0], block_postings: vec![0], block_rows: Vec::new(), rows: Vec::new() }
    }
}

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

    /// Bytes on the heap.
    pub(super) fn size_bytes(&self) -> usize {
        let words = self.term_blocks.capacity() + self.block_postings.capacity() + self.block_rows.capacity();
        words * size_of::<u32>() + self.rows.capacity() * size_of::<u16>()
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

/// Appends lists term by term.
#[derive(Debug, Default)]
pub(super) struct BlocksBuilder(Blocks);

impl BlocksBuilder {
    /// Appends the rows of one term, which must ascend.
    pub(super) fn list(&mut self, rows: impl Iterator<Item = u32>) {
        let blocks = &mut self.0;
        let mut filled = 0;
        for row in rows {
            let first = blocks.block_rows.last().copied().unwrap_or(0);
            let near = row.checked_sub(first).and_then(|distance| u16::try_from(distance).ok());
            match near.filter(|_| filled > 0 && filled < BLOCK_POSTINGS) {
                Some(distance) => {
                    blocks.rows.push(distance);
                    filled += 1;
                }
                None => {
                    if filled > 0 {
                        blocks.block_postings.push(blocks.rows.len() as u32);
                    }
                    blocks.block_rows.push(row);
                    blocks.rows.push(0);
                    filled = 1;
                }
            }
        }
        if filled > 0 {
            blocks.block_postings.push(blocks.rows.len() as u32);
        }
        blocks.term_blocks.push(blocks.block_rows.len() as u32);
    }

    /// All lists.
    pub(super) fn finish(mut self) -> Blocks {
        for words in [&mut self.0.term_blocks, &mut self.0.block_postings, &mut self.0.block_rows] {
            words.shrink_to_fit();
        }
        self.0.rows.shrink_to_fit();
        self.0
    }
}
