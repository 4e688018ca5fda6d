//! The inverted index of one sparse vector key: per dimension the rows that have it, with their weights. Invariant:
//! dimensions ascend; weights are kept bit for bit; a stored zero is a posting like any other.

use std::collections::HashMap;
use std::ops::Range;

use roaring::RoaringBitmap;

use super::blocks::{Blocks, BlocksBuilder};
use super::evaluate::{ListQuery, Restrictions, Scores};
use super::gather::{Gathered, mapped};
use super::{Collector, VectorSearch};
use crate::error::{Error, Result};
use crate::index::kernel::prefetch;

/// An inverted index over the sparse vectors of rows 0..n.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseIndex {
    rows: u32,
    dimensions: Vec<u32>,
    blocks: Blocks,
    weights: Vec<f32>,
    /// Per block, the least and the largest weight.
    block_weights: Vec<(f32, f32)>,
}

/// qᵢ·dᵢ.
struct Products<'a>(&'a SparseIndex);

impl Scores for Products<'_> {
    #[inline]
    fn contribution(&self, weight: f32, posting: usize, _row: u32) -> f32 {
        // Adding 0 makes 0 of −0.
        weight * self.0.weights[posting] + 0.0
    }

    #[inline]
    fn each(&self, blocks: &Blocks, _block: usize, list: (f32, Range<usize>), mut add: impl FnMut(u16, f32)) {
        let (weight, postings) = list;
        let weights = &self.0.weights[postings.clone()];
        blocks.rows[postings].iter().zip(weights).for_each(|(row, other)| add(*row, weight * other + 0.0));
    }

    #[inline]
    fn prefetch(&self, postings: Range<usize>) {
        prefetch(self.0.weights.get(postings).unwrap_or_default());
    }

    fn bounds(&self, weight: f32, block: usize) -> (f32, f32) {
        let (least, most) = self.0.block_weights[block];
        let (low, high) = (weight * least, weight * most);
        (low.min(high), low.max(high))
    }
}

impl SparseIndex {
    /// Bytes on the heap.
    pub fn size_bytes(&self) -> usize {
        self.dimensions.capacity() * size_of::<u32>()
            + self.blocks.size_bytes()
            + self.weights.capacity() * size_of::<f32>()
            + self.block_weights.capacity() * size_of::<(f32, f32)>()
    }

    /// Offers the best rows to the collector, at least all that reach its threshold.
    ///
    /// # Errors
    /// `Unavailable`: the interrupt. `Internal`: the query's indices do not ascend, or do not match its values.
    pub fn search(&self, search: &VectorSearch<'_>, collector: &mut dyn Collector) -> Result<()> {
        let query = search.query;
        if query.indices.len() != query.values.len() || !query.indices.is_sorted_by(|a, b| a < b) {
            return Err(Error::internal("the indices of a sparse query do not ascend, or not match its values"));
        }
        let restrictions = Restrictions {
            rows: self.rows,
            allowed: search.allowed,
            minimum_match: 1,
            verify: None,
            interrupt: search.interrupt,
        };
        let mut lists = ListQuery::new(&self.blocks, Products(self), restrictions);
        for (index, value) in query.indices.iter().zip(query.values) {
            if let Ok(term) = self.dimensions.binary_search(index) {
                lists.add_group(&[(term, *value)], false);
            }
        }
        if search.exact { lists.run_exhaustively(collector) } else { lists.run(collector) }
    }

    /// How many live rows have each of the dimensions.
    pub fn document_frequencies(&self, dimensions: &[u32], live: &RoaringBitmap) -> Vec<u32> {
        let dead = dead_rows(self.rows, live);
        let frequency = |dimension: &u32| match self.dimensions.binary_search(dimension) {
            Ok(term) => live_frequency(&self.blocks, term, live, &dead),
            Err(_) => 0,
        };
        dimensions.iter().map(frequency).collect()
    }

    /// One index of several. `parts` are indexes with, per old row, the new one or [`super::DROPPED`]; no two rows may
    /// become the same. The new chunk has `rows` rows.
    ///
    /// # Errors
    /// `Internal`: a new row is not below `rows`, or named twice.
    pub fn merge(parts: &[(&SparseIndex, &[u32])], rows: u32) -> Result<SparseIndex> {
        let mut dimensions: Vec<u32> = parts.iter().flat_map(|(part, _)| part.dimensions.iter().copied()).collect();
        dimensions.sort_unstable();
        dimensions.dedup();
        let mut builder = ListsBuilder::new(rows);
        let mut list = Vec::new();
        for dimension in dimensions {
            list.clear();
            for (part, mapping) in parts {
                let Ok(term) = part.dimensions.binary_search(&dimension) else { continue };
                let postings = part.blocks.postings(part.blocks.blocks_of(term));
                list.extend(postings.filter_map(|(row, at)| Some((mapped(mapping, row)?, part.weights[at]))));
            }
            list.sort_unstable_by_key(|(row, _)| *row);
            check_rows(&list, rows)?;
            builder.list(dimension, &list);
        }
        Ok(builder.finish())
    }
}

/// Rows must ascend and be below `rows`.
pub(super) fn check_rows<P>(list: &[(u32, P)], rows: u32) -> Result<()> {
    let inside = list.last().is_none_or(|(row, _)| *row < rows);
    if inside && list.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Ok(());
    }
    Err(Error::internal(format!("the rows of an inverted index do not ascend, or not all are below {rows}")))
}

/// The rows of 0..`rows` that are not live.
pub(super) fn dead_rows(rows: u32, live: &RoaringBitmap) -> RoaringBitmap {
    let mut dead = RoaringBitmap::new();
    dead.insert_range(0..rows);
    dead -= live;
    dead
}

/// How many live rows have the term: looks up the dead, or counts the living, whatever is less work.
pub(super) fn live_frequency(blocks: &Blocks, term: usize, live: &RoaringBitmap, dead: &RoaringBitmap) -> u32 {
    const POSTINGS_PER_LOOK_UP: u64 = 4;
    let range = blocks.blocks_of(term);
    let all = blocks.postings_in(&range);
    if dead.len() * POSTINGS_PER_LOOK_UP > u64::from(all) {
        return blocks.postings(range).filter(|(row, _)| live.contains(*row)).count() as u32;
    }
    let mut at = range.start;
    all - dead.iter().filter(|row| blocks.find(&range, &mut at, *row).is_some()).count() as u32
}

/// Makes an index list by list.
struct ListsBuilder {
    index: SparseIndex,
    blocks: BlocksBuilder,
}

impl ListsBuilder {
    fn new(rows: u32) -> ListsBuilder {
        ListsBuilder { index: SparseIndex { rows, ..SparseIndex::default() }, blocks: BlocksBuilder::default() }
    }

    /// Appends the postings of a dimension, which must ascend, as must their rows. No list if there are none.
    fn list(&mut self, dimension: u32, list: &[(u32, f32)]) {
        if list.is_empty() {
            return;
        }
        self.blocks.list(list.iter().map(|(row, _)| *row));
        self.index.weights.extend(list.iter().map(|(_, weight)| *weight));
        self.index.dimensions.push(dimension);
    }

    fn finish(self) -> SparseIndex {
        let mut index = self.index;
        index.blocks = self.blocks.finish();
        let bounds = |block: usize| {
            let weights = &index.weights[index.blocks.postings_of(block)];
            weights.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), w| (least.min(*w), most.max(*w)))
        };
        index.block_weights = (0..index.blocks.block_rows.len()).map(bounds).collect();
        index.dimensions.shrink_to_fit();
        index.weights.shrink_to_fit();
        index
    }
}

/// Builds a [`SparseIndex`] from rows in ascending order.
#[derive(Debug, Default)]
pub struct SparseIndexBuilder {
    gathered: Gathered<f32>,
    slots: HashMap<u32, u32>,
}

impl SparseIndexBuilder {
    /// An index without rows.
    pub fn new() -> SparseIndexBuilder {
        SparseIndexBuilder::default()
    }

    /// Adds the vector of `row`: distinct indices, one finite value each. Rows without a vector are left out.
    ///
    /// # Errors
    /// `Internal`: the row does not come after the last, or indices and values do not match. `Limit`: too many
    /// postings.
    pub fn add(&mut self, row: u32, indices: &[u32], values: &[f32]) -> Result<()> {
        if indices.len() != values.len() {
            return Err(Error::internal(format!("{} indices with {} values", indices.len(), values.len())));
        }
        self.gathered.begin(row)?;
        for (index, value) in indices.iter().zip(values) {
            let next = self.slots.len() as u32;
            self.gathered.push(*self.slots.entry(*index).or_insert(next), *value);
        }
        Ok(())
    }

    /// The index of a chunk of `rows` rows.
    ///
    /// # Errors
    /// `Internal`: a row is not below `rows`, or has an index twice.
    pub fn finish(self, rows: u32) -> Result<SparseIndex> {
        let mut slots: Vec<(u32, u32)> = self.slots.into_iter().collect();
        slots.sort_unstable();
        let sorted = self.gathered.sort(slots.len());
        let mut builder = ListsBuilder::new(rows);
        for (dimension, slot) in slots {
            let list = &sorted.postings[sorted.list(slot as usize)];
            check_rows(list, rows)?;
            builder.list(dimension, list);
        }
        Ok(builder.finish())
    }
}
