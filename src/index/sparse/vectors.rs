//! The inverted index of one sparse vector key: per dimension the rows that have it, with their weights. Invariant:
//! dimensions ascend; weights are kept bit for bit; a stored zero is a posting like any other.

use std::collections::HashMap;
use std::ops::Range;

use super::blocks::{BlocksBuilder, gallop, shrunk};
use super::columns::{ImpactColumns, QueryColumns, STEPS, columns_pay};
use super::evaluate::{ListQuery, Restrictions, Scores};
use super::gather::{Gathered, MergePart};
use super::rows::{DeadRows, IndexRows};
use super::{Collector, VectorSearch};
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::inverted::{Blocks, SparseColumns, SparseLists};
use crate::index::kernel::prefetch;

/// An inverted index over the sparse vectors of rows 0..n.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseIndex {
    columns: SparseColumns,
    /// Per block, the least and the largest weight. Not stored.
    block_weights: Vec<(f32, f32)>,
    /// The columns of dimensions that many rows have. Not stored.
    impacts: ImpactColumns,
}

/// qᵢ·dᵢ.
struct Products<'a> {
    weights: &'a [f32],
    block_weights: &'a [(f32, f32)],
}

impl Scores for Products<'_> {
    #[inline]
    fn contribution(&self, weight: f32, posting: usize, _row: u32) -> f32 {
        // Adding 0 makes 0 of −0.
        weight * self.weights[posting] + 0.0
    }

    #[inline]
    fn each(&self, blocks: &Blocks, _block: usize, list: (f32, Range<usize>), mut add: impl FnMut(u16, f32)) {
        let (weight, postings) = list;
        let weights = &self.weights[postings.clone()];
        for (row, other) in blocks.rows[postings].iter().zip(weights) {
            add(*row, weight * other + 0.0);
        }
    }

    #[inline]
    fn prefetch(&self, postings: Range<usize>) {
        prefetch(self.weights.get(postings).unwrap_or_default());
    }

    fn prefetch_bounds(&self, blocks: Range<usize>) {
        prefetch(self.block_weights.get(blocks).unwrap_or_default());
    }

    fn bounds(&self, weight: f32, block: usize) -> (f32, f32) {
        let (least, most) = self.block_weights[block];
        let (low, high) = (weight * least, weight * most);
        (low.min(high), low.max(high))
    }
}

impl SparseIndex {
    /// Whether no row has a vector with an entry.
    pub fn is_empty(&self) -> bool {
        self.columns.lists().dimensions.is_empty()
    }

    /// The index of these columns.
    pub fn from_columns(columns: SparseColumns) -> SparseIndex {
        let lists = columns.lists();
        let bounds = |block: usize| {
            let weights = &lists.weights[lists.blocks.postings_of(block)];
            weights.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), w| (least.min(*w), most.max(*w)))
        };
        let block_weights: Vec<(f32, f32)> = (0..lists.blocks.block_rows.len()).map(bounds).collect();
        let impacts = impacts(lists, &block_weights);
        SparseIndex { columns, block_weights, impacts }
    }

    /// What is stored of the index.
    pub fn columns(&self) -> &SparseColumns {
        &self.columns
    }

    /// How many rows it is over.
    pub fn rows(&self) -> u32 {
        self.columns.rows()
    }

    /// Bytes on the heap.
    pub fn size_bytes(&self) -> usize {
        let lists = self.columns.lists();
        lists.dimensions.inner().capacity()
            + lists.blocks.size_bytes()
            + lists.weights.inner().capacity()
            + self.block_weights.capacity() * size_of::<(f32, f32)>()
            + self.impacts.size_bytes()
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
            rows: self.rows(),
            allowed: search.allowed,
            minimum_match: 1,
            verify: None,
            interrupt: search.interrupt,
        };
        let found = query.indices.iter().zip(query.values);
        let found = found.filter_map(|(index, value)| Some((self.find(*index)?, *value)));
        let terms: Vec<(usize, f32)> = found.collect();
        let columns = self.columns.lists();
        let products = Products { weights: &columns.weights, block_weights: &self.block_weights };
        let by_columns = !search.exact && columns_pay(self.rows() as usize);
        let impacts = by_columns.then_some(QueryColumns { columns: &self.impacts, scale: 1.0, keep: 1.0 });
        let mut lists = ListQuery::new(&columns.blocks, impacts, products, restrictions);
        lists.prefetch(terms.iter().map(|(term, _)| *term));
        terms.iter().for_each(|term| lists.add_group(&[*term], false));
        if search.exact { lists.run_exhaustively(collector) } else { lists.run(collector) }
    }

    /// The place of a dimension. It is looked for around where it would be if dimensions were evenly spread, as those
    /// of a vocabulary nearly are: a binary search of the whole list would wait for memory a dozen times.
    fn find(&self, dimension: u32) -> Option<usize> {
        let dimensions = &self.columns.lists().dimensions;
        let (first, last) = (*dimensions.first()?, *dimensions.last()?);
        let past = u64::from(dimension.checked_sub(first)?);
        let guess = (past * (dimensions.len() as u64 - 1) / u64::from(last - first).max(1)) as usize;
        let (below, above) = dimensions.split_at(guess.min(dimensions.len()));
        if above.first().is_some_and(|at| *at <= dimension) {
            let place = guess + gallop(above, dimension);
            return (dimensions.get(place) == Some(&dimension)).then_some(place);
        }
        let mut step = 1;
        while step < below.len() && below[below.len() - step] > dimension {
            step *= 2;
        }
        let start = below.len().saturating_sub(step);
        Some(start + below[start..].binary_search(&dimension).ok()?)
    }

    /// How many postings the dimensions have, dead rows included.
    pub fn postings(&self, dimensions: &[u32]) -> u64 {
        let blocks = &self.columns.lists().blocks;
        let found = dimensions.iter().filter_map(|dimension| self.find(*dimension));
        found.map(|term| u64::from(blocks.postings_in(&blocks.blocks_of(term)))).sum()
    }

    /// How many live rows have each of the dimensions.
    pub fn document_frequencies(&self, dimensions: &[u32], live: &IndexRows<'_>) -> Vec<u32> {
        let (dead, blocks) = (DeadRows::new(self.rows(), live), &self.columns.lists().blocks);
        let frequency = |dimension: &u32| self.find(*dimension).map_or(0, |term| dead.live_frequency(blocks, term));
        dimensions.iter().map(frequency).collect()
    }

    /// One index of several. No two rows may become the same. The new index has `rows` rows.
    ///
    /// # Errors
    /// `Internal`: a new row is not below `rows`, or named twice.
    pub fn merge(parts: &[MergePart<'_, SparseIndex>], rows: u32) -> Result<SparseIndex> {
        // Only dimensions of which a run has postings are gone to: a run may be a small part of its index.
        let all = parts.iter().flat_map(|part| {
            let lists = part.index.columns.lists();
            let term_from = move |from: usize| lists.blocks.next_term_between(from, &part.span());
            std::iter::successors(term_from(0), move |term| term_from(term + 1)).map(|term| lists.dimensions[term])
        });
        let mut dimensions: Vec<u32> = all.collect();
        dimensions.sort_unstable();
        dimensions.dedup();
        let mut builder = ListsBuilder::new(rows);
        let mut list = Vec::new();
        for dimension in dimensions {
            list.clear();
            for part in parts {
                let lists = part.index.columns.lists();
                let Ok(term) = lists.dimensions.binary_search(&dimension) else { continue };
                let postings = lists.blocks.postings_between(&lists.blocks.blocks_of(term), part.span());
                list.extend(postings.filter_map(|(row, at)| Some((part.mapped(row)?, lists.weights[at]))));
            }
            list.sort_unstable_by_key(|(row, _)| *row);
            check_rows(&list, rows)?;
            builder.list(dimension, &list);
        }
        builder.finish()
    }
}

/// The columns of the dimensions whose weights are not negative.
fn impacts(lists: &SparseLists, block_weights: &[(f32, f32)]) -> ImpactColumns {
    let unit = |blocks: Range<usize>| {
        let bounds = block_weights.get(blocks)?.iter();
        let (least, most) =
            bounds.fold((f32::INFINITY, 0.0f32), |(least, most), (low, high)| (least.min(*low), most.max(*high)));
        let unit = most / STEPS;
        (least >= 0.0 && unit.is_normal()).then_some(unit)
    };
    let units = |_, posting: usize, unit: f32| lists.weights.get(posting).map_or(0.0, |weight| weight / unit);
    ImpactColumns::new(&lists.blocks, lists.rows as usize, unit, units)
}

/// Rows must ascend and be below `rows`.
pub(super) fn check_rows<P>(list: &[(u32, P)], rows: u32) -> Result<()> {
    let inside = list.last().is_none_or(|(row, _)| *row < rows);
    if inside && list.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Ok(());
    }
    Err(Error::internal(format!("the rows of an inverted index do not ascend, or not all are below {rows}")))
}

/// The error of an index whose columns do not hold together.
pub(super) fn incoherent(error: FormatError) -> Error {
    Error::internal("an inverted index just built does not hold together").with_source(error)
}

/// Makes an index list by list. The fields are those of [`SparseLists`].
struct ListsBuilder {
    rows: u32,
    dimensions: Vec<u32>,
    blocks: BlocksBuilder,
    weights: Vec<f32>,
}

impl ListsBuilder {
    fn new(rows: u32) -> ListsBuilder {
        ListsBuilder { rows, dimensions: Vec::new(), blocks: BlocksBuilder::default(), weights: Vec::new() }
    }

    /// Appends the postings of a dimension, which must ascend, as must their rows. No list if there are none.
    fn list(&mut self, dimension: u32, list: &[(u32, f32)]) {
        if list.is_empty() {
            return;
        }
        self.blocks.list(list.iter().map(|(row, _)| *row));
        self.weights.extend(list.iter().map(|(_, weight)| *weight));
        self.dimensions.push(dimension);
    }

    /// The index.
    ///
    /// # Errors
    /// `Internal`: a weight is not finite, or a list does not ascend.
    fn finish(self) -> Result<SparseIndex> {
        let lists = SparseLists {
            rows: self.rows,
            dimensions: shrunk(self.dimensions),
            blocks: self.blocks.finish(),
            weights: shrunk(self.weights),
        };
        SparseColumns::checked(lists).map(SparseIndex::from_columns).map_err(incoherent)
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
        builder.finish()
    }
}
