//! Rows of an index by the chunks that it spans. A selection has a bitmap for each chunk; they are read where they lie,
//! as putting them together would cost more than most searches.
//! Invariant: chunks ascend and do not overlap; a chunk's bitmap has rows of that chunk only.

use std::ops::Range;

use roaring::RoaringBitmap;

use crate::format::inverted::Blocks;

/// The place of a chunk in an index, and some of its rows.
#[derive(Debug, Clone, Copy)]
pub struct ChunkRows<'a> {
    /// Its first row in the index.
    pub first: u32,
    /// How many rows the chunk has.
    pub len: u32,
    /// Some of these, counted from 0.
    pub rows: &'a RoaringBitmap,
}

impl ChunkRows<'_> {
    /// Where the chunk lies in the index.
    fn span(&self) -> Range<u32> {
        self.first..self.first + self.len
    }

    /// The other rows of the chunk.
    fn others(&self) -> RoaringBitmap {
        let mut others = RoaringBitmap::new();
        others.insert_range(0..self.len);
        others -= self.rows;
        others
    }
}

/// Some rows of an index.
#[derive(Debug, Clone, Copy)]
pub struct IndexRows<'a> {
    chunks: &'a [ChunkRows<'a>],
    len: u64,
}

impl<'a> IndexRows<'a> {
    /// The rows of these chunks, which must ascend.
    pub fn new(chunks: &'a [ChunkRows<'a>]) -> IndexRows<'a> {
        IndexRows { chunks, len: chunks.iter().map(|chunk| chunk.rows.len()).sum() }
    }

    /// How many they are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether this row is among them.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        let after = self.chunks.partition_point(|chunk| chunk.first <= row);
        let chunk = after.checked_sub(1).and_then(|at| self.chunks.get(at));
        chunk.is_some_and(|chunk| chunk.rows.contains(row - chunk.first))
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + 'a {
        self.chunks.iter().flat_map(|chunk| chunk.rows.iter().map(|row| chunk.first + row))
    }

    /// Those in `range`, ascending.
    pub fn range(&self, range: Range<u32>) -> impl Iterator<Item = u32> + 'a {
        let start = self.chunks.partition_point(|chunk| chunk.span().end <= range.start);
        let chunks = self.chunks[start..].iter().take_while(move |chunk| chunk.first < range.end);
        chunks.flat_map(move |chunk| {
            let local = range.start.saturating_sub(chunk.first)..range.end - chunk.first;
            chunk.rows.range(local).map(|row| chunk.first + row)
        })
    }
}

/// The rows of an index that do not live: all others do.
#[derive(Debug)]
pub(super) struct DeadRows<'a> {
    /// Chunks of which some rows are dead, with these.
    chunks: Vec<(ChunkRows<'a>, RoaringBitmap)>,
    /// Rows of chunks that are no longer there.
    gone: Vec<Range<u32>>,
}

impl<'a> DeadRows<'a> {
    /// Those of the rows 0..`rows` that are not `live`.
    pub(super) fn new(rows: u32, live: &IndexRows<'a>) -> DeadRows<'a> {
        let mut dead = DeadRows { chunks: Vec::new(), gone: Vec::new() };
        if live.len() == u64::from(rows) {
            return dead;
        }
        let mut next = 0;
        for chunk in live.chunks {
            let span = chunk.span();
            if next < span.start {
                dead.gone.push(next..span.start);
            }
            if chunk.rows.len() < u64::from(chunk.len) {
                dead.chunks.push((*chunk, chunk.others()));
            }
            next = span.end;
        }
        if next < rows {
            dead.gone.push(next..rows);
        }
        dead
    }

    /// Rows of chunks that are no longer there.
    pub(super) fn gone(&self) -> &[Range<u32>] {
        &self.gone
    }

    /// Dead rows of chunks that are there.
    pub(super) fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().flat_map(|(chunk, dead)| dead.iter().map(|row| chunk.first + row))
    }

    /// How many live rows have the term.
    pub(super) fn live_frequency(&self, blocks: &Blocks, term: usize) -> u32 {
        let range = blocks.blocks_of(term);
        let gone: u32 = self.gone.iter().map(|rows| blocks.count_between(&range, rows)).sum();
        let dead: u32 = self.chunks.iter().map(|(chunk, dead)| count_dead(blocks, &range, chunk, dead)).sum();
        blocks.postings_in(&range) - gone - dead
    }
}

/// How many dead rows of a chunk have the term of these blocks: looks up the dead, or goes through the postings,
/// whatever is less work.
fn count_dead(blocks: &Blocks, range: &Range<usize>, chunk: &ChunkRows<'_>, dead: &RoaringBitmap) -> u32 {
    const POSTINGS_PER_LOOK_UP: u64 = 4;
    let span = chunk.span();
    if dead.len() * POSTINGS_PER_LOOK_UP > u64::from(blocks.count_between(range, &span)) {
        let postings = blocks.postings_between(range, span);
        return postings.filter(|(row, _)| dead.contains(row - chunk.first)).count() as u32;
    }
    let mut at = blocks.blocks_between(range, &span).start;
    dead.iter().filter(|row| blocks.find(range, &mut at, chunk.first + row).is_some()).count() as u32
}
