//! The inverted index of one text field: a dictionary of terms, per term the rows that have it with its frequency, and
//! the length of each row in tokens. BM25's parameters and statistics come with the query, as they belong to the whole
//! collection. Invariant: frequencies are at least 1; the lists of the dictionary's terms are in its order.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::columns::{QueryColumns, columns_pay};
use super::dictionary::Dictionary;
use super::evaluate::{ListQuery, Restrictions, Scores};
use super::gather::Gathered;
use super::rows::{DeadRows, IndexRows};
use super::text_impacts::{Drift, ImpactCache, LengthNorm};
use super::text_merge::TextListsBuilder;
use super::vectors::check_rows;
use super::{Collector, TermQuery, TextSearch};
use crate::error::{Error, Result};
use crate::format::inverted::{Blocks, LARGE_FREQUENCY, TextColumns, TextLists};
use crate::index::kernel::prefetch;
use arrow::array::Array;

/// An inverted index over the texts of rows 0..n.
#[derive(Debug, Clone, PartialEq)]
pub struct TextIndex {
    columns: TextColumns,
    /// Per block, the largest frequency and the least length. Not stored.
    block_bounds: Vec<(u32, u32)>,
    /// The sum of all lengths.
    tokens: u64,
    /// The columns of terms that many rows have. Not stored.
    impacts: ImpactCache,
}

/// Sums over live rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextStatistics {
    /// Rows with text.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// BM25: weight · (k1 + 1) · tf / (tf + k1·(1 − b + b·length / average)).
struct Bm25<'a> {
    lists: &'a TextLists,
    block_bounds: &'a [(u32, u32)],
    norm: LengthNorm,
}

impl<'a> Bm25<'a> {
    fn new(index: &'a TextIndex, norm: LengthNorm) -> Bm25<'a> {
        Bm25 { lists: index.lists(), block_bounds: &index.block_bounds, norm }
    }

    #[inline]
    fn score(&self, weight: f32, frequency: u32, length: u32) -> f32 {
        let frequency = frequency as f32;
        weight * frequency / (frequency + self.norm.of(length))
    }
}

impl TermQuery {
    fn norm(&self) -> LengthNorm {
        match self.average_length > 0.0 {
            true => LengthNorm { fixed: self.k1 * (1.0 - self.b), per_token: self.k1 * self.b / self.average_length },
            false => LengthNorm { fixed: self.k1, per_token: 0.0 },
        }
    }
}

impl Scores for Bm25<'_> {
    #[inline]
    fn contribution(&self, weight: f32, posting: usize, row: u32) -> f32 {
        self.score(weight, self.lists.frequency(posting), self.lists.lengths[row as usize])
    }

    #[inline]
    fn each(&self, blocks: &Blocks, block: usize, list: (f32, Range<usize>), mut add: impl FnMut(u16, f32)) {
        let (weight, postings) = list;
        let lengths = &self.lists.lengths[blocks.block_rows[block] as usize..];
        if self.block_bounds[block].0 >= u32::from(LARGE_FREQUENCY) {
            for posting in postings {
                let row = blocks.rows[posting];
                add(row, self.score(weight, self.lists.frequency(posting), lengths[usize::from(row)]));
            }
            return;
        }
        let frequencies = &self.lists.frequencies[postings.clone()];
        for (row, frequency) in blocks.rows[postings].iter().zip(frequencies) {
            add(*row, self.score(weight, u32::from(*frequency), lengths[usize::from(*row)]));
        }
    }

    #[inline]
    fn prefetch(&self, postings: Range<usize>) {
        prefetch(self.lists.frequencies.get(postings).unwrap_or_default());
    }

    fn prefetch_bounds(&self, blocks: Range<usize>) {
        prefetch(self.block_bounds.get(blocks).unwrap_or_default());
    }

    fn bounds(&self, weight: f32, block: usize) -> (f32, f32) {
        let (frequency, length) = self.block_bounds[block];
        (0.0, self.score(weight, frequency, length))
    }
}

impl TextLists {
    /// How often the posting's row has its term.
    #[inline]
    pub(super) fn frequency(&self, posting: usize) -> u32 {
        match self.frequencies[posting] {
            LARGE_FREQUENCY => self.large_frequency(posting),
            frequency => u32::from(frequency),
        }
    }

    #[cold]
    fn large_frequency(&self, posting: usize) -> u32 {
        let found = self.large_postings.binary_search(&(posting as u32));
        let frequency = found.ok().and_then(|at| self.large_frequencies.get(at));
        frequency.copied().unwrap_or(u32::from(LARGE_FREQUENCY))
    }

    /// The terms.
    pub(super) fn dictionary(&self) -> Dictionary<'_> {
        Dictionary(&self.terms)
    }

    /// The largest frequency of a block, and the least length of its rows.
    fn bounds_of(&self, block: usize) -> (u32, u32) {
        let postings = self.blocks.postings_of(block);
        let lengths = &self.lengths[self.blocks.block_rows[block] as usize..];
        let rows = &self.blocks.rows[postings.clone()];
        let length = rows.iter().fold(u32::MAX, |least, row| least.min(lengths[usize::from(*row)]));
        let most = self.frequencies[postings.clone()].iter().fold(0, |most, frequency| *frequency.max(&most));
        let frequency = match most {
            LARGE_FREQUENCY => postings.map(|posting| self.frequency(posting)).fold(0, u32::max),
            most => u32::from(most),
        };
        (frequency, length)
    }
}

impl TextIndex {
    /// The index of these columns.
    pub fn from_columns(columns: TextColumns) -> TextIndex {
        let lists = columns.lists();
        let block_bounds = (0..lists.blocks.block_rows.len()).map(|block| lists.bounds_of(block)).collect();
        let tokens = lists.lengths.iter().map(|length| u64::from(*length)).sum();
        TextIndex { columns, block_bounds, tokens, impacts: ImpactCache::default() }
    }

    /// What is stored of the index.
    pub fn columns(&self) -> &TextColumns {
        &self.columns
    }

    #[inline]
    pub(super) fn lists(&self) -> &TextLists {
        self.columns.lists()
    }

    /// How many rows it is over.
    pub fn rows(&self) -> u32 {
        self.columns.rows()
    }

    /// How many terms.
    pub fn terms(&self) -> usize {
        self.lists().terms.len()
    }

    /// Bytes on the heap.
    pub fn size_bytes(&self) -> usize {
        let lists = self.lists();
        let words = [&lists.large_postings, &lists.large_frequencies, &lists.lengths];
        lists.terms.get_buffer_memory_size()
            + lists.blocks.size_bytes()
            + lists.frequencies.inner().capacity()
            + words.iter().map(|words| words.inner().capacity()).sum::<usize>()
            + lists.documents.serialized_size()
            + self.block_bounds.capacity() * size_of::<(u32, u32)>()
            + self.impacts.size_bytes()
    }

    /// Offers the best rows to the collector, at least all that reach its threshold.
    ///
    /// # Errors
    /// `Unavailable`: the interrupt.
    pub fn search(&self, search: &TextSearch<'_>, collector: &mut dyn Collector) -> Result<()> {
        let query = search.query;
        let restrictions = Restrictions {
            rows: self.rows(),
            allowed: search.allowed,
            minimum_match: query.minimum_match,
            verify: search.verify,
            interrupt: search.interrupt,
        };
        let norm = query.norm();
        let by_columns = !search.exact && columns_pay(self.rows() as usize);
        let impacts = by_columns.then(|| self.impacts.get(self.lists(), norm));
        let columns = impacts.as_ref().map(|impacts| {
            let Drift { least, most } = impacts.drift_to(&norm);
            QueryColumns { columns: impacts.columns(), scale: most, keep: least / most }
        });
        let mut lists = ListQuery::new(&self.lists().blocks, columns, Bm25::new(self, norm), restrictions);
        let terms = query.groups.iter().flat_map(|group| &group.terms);
        lists.prefetch(terms.map(|term| term.number));
        let mut weighted = Vec::new();
        for group in &query.groups {
            weighted.clear();
            weighted.extend(group.terms.iter().map(|term| (term.number, (term.weight * (query.k1 + 1.0)).max(0.0))));
            lists.add_group(&weighted, group.must);
        }
        query.must_not.iter().for_each(|term| lists.exclude(*term));
        if search.exact { lists.run_exhaustively(collector) } else { lists.run(collector) }
    }

    /// The number of a term, by which searches and frequencies name it.
    pub fn number(&self, term: &str) -> Option<usize> {
        self.lists().dictionary().find(term)
    }

    /// Rows with text and their tokens among the live rows, and how many of these have each of the terms; none has a
    /// term without a number.
    pub fn statistics(&self, terms: &[Option<usize>], live: &IndexRows<'_>) -> (TextStatistics, Vec<u32>) {
        let lists = self.lists();
        let mut statistics = TextStatistics { documents: lists.documents.len(), tokens: self.tokens };
        let dead = DeadRows::new(self.rows(), live);
        for rows in dead.gone() {
            let lengths = &lists.lengths[rows.start as usize..rows.end as usize];
            statistics.tokens -= lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
            statistics.documents -= lists.documents.range_cardinality(rows.clone());
        }
        for row in dead.rows().filter(|row| lists.documents.contains(*row)) {
            statistics.tokens -= u64::from(lists.lengths[row as usize]);
            statistics.documents -= 1;
        }
        let frequencies = terms.iter().map(|term| term.map_or(0, |term| dead.live_frequency(&lists.blocks, term)));
        (statistics, frequencies.collect())
    }

    /// At most `limit` terms that start with `prefix`, the most frequent ones, in order. If there are more, those of
    /// `live` rows only.
    pub fn terms_with_prefix(&self, prefix: &str, limit: usize, live: &IndexRows<'_>) -> Vec<&str> {
        let dictionary = self.lists().dictionary();
        let mut found: Vec<usize> = dictionary.with_prefix(prefix).collect();
        if found.len() > limit {
            found.sort_unstable_by_key(|term| (self.rarity(*term), *term));
            found = self.live_terms(found, limit, live, |term| *term);
            found.sort_unstable();
        }
        found.into_iter().map(|term| dictionary.term(term)).collect()
    }

    /// At most `limit` terms within `distance` insertions, deletions and substitutions of characters from `word`, with
    /// their distances: the nearest first, and among those the most frequent. If there are more, those of `live` rows
    /// only.
    pub fn terms_within(&self, word: &str, distance: usize, limit: usize, live: &IndexRows<'_>) -> Vec<(&str, usize)> {
        let dictionary = self.lists().dictionary();
        let mut found = dictionary.within(word, distance);
        found.sort_by_key(|(term, far)| (*far, self.rarity(*term), *term));
        if found.len() > limit {
            found = self.live_terms(found, limit, live, |(term, _)| *term);
        }
        found.into_iter().map(|(term, far)| (dictionary.term(term), far)).collect()
    }

    /// Less for a term that more rows have, dead ones included.
    fn rarity(&self, term: usize) -> u32 {
        let blocks = &self.lists().blocks;
        u32::MAX - blocks.postings_in(&blocks.blocks_of(term))
    }

    /// The first `limit` terms that a live row has: others would displace those that can be found.
    fn live_terms<T>(&self, terms: Vec<T>, limit: usize, live: &IndexRows<'_>, term: impl Fn(&T) -> usize) -> Vec<T> {
        let (dead, blocks) = (DeadRows::new(self.rows(), live), &self.lists().blocks);
        terms.into_iter().filter(|found| dead.live_frequency(blocks, term(found)) > 0).take(limit).collect()
    }
}

/// Builds a [`TextIndex`] from rows in ascending order.
#[derive(Debug, Default)]
pub struct TextIndexBuilder {
    gathered: Gathered<u32>,
    slots: HashMap<Arc<str>, u32>,
    lengths: Vec<(u32, u32)>,
    /// Slots of the row under way.
    row: Vec<u32>,
}

impl TextIndexBuilder {
    /// An index without rows.
    pub fn new() -> TextIndexBuilder {
        TextIndexBuilder::default()
    }

    /// Adds the terms of a row, as often as each occurs. Rows without text are left out; an empty text has no terms.
    ///
    /// # Errors
    /// `Internal`: the row does not come after the last. `Limit`: too many postings.
    pub fn add<'a>(&mut self, row: u32, terms: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.gathered.begin(row)?;
        self.row.clear();
        for term in terms {
            let slot = match self.slots.get(term) {
                Some(slot) => *slot,
                None => {
                    let slot = self.slots.len() as u32;
                    self.slots.insert(term.into(), slot);
                    slot
                }
            };
            self.row.push(slot);
        }
        self.lengths.push((row, u32::try_from(self.row.len()).unwrap_or(u32::MAX)));
        self.row.sort_unstable();
        for same in self.row.chunk_by(|a, b| a == b) {
            self.gathered.push(same[0], same.len() as u32);
        }
        Ok(())
    }

    /// The index over `rows` rows.
    ///
    /// # Errors
    /// `Internal`: a row is not below `rows`. `Limit`: the terms have more than 2 GiB.
    pub fn finish(self, rows: u32) -> Result<TextIndex> {
        check_rows(&self.lengths, rows)?;
        let mut slots: Vec<(Arc<str>, u32)> = self.slots.into_iter().collect();
        slots.sort_unstable();
        let sorted = self.gathered.sort(slots.len());
        let mut builder = TextListsBuilder::new(rows, &self.lengths);
        for (term, slot) in slots {
            builder.list(&term, &sorted.postings[sorted.list(slot as usize)])?;
        }
        builder.finish()
    }
}

/// The error of terms that are too long together.
pub(super) fn too_much_text() -> Error {
    Error::limit("the distinct terms of a text index have at most 2 GiB; split the collection")
}
