//! What a search of an inverted index is given, and the collector that it offers rows to.

use super::rows::IndexRows;
use crate::interrupt::Interrupt;

/// Keeps the best rows of a search. Several indexes may be searched one after the other with one collector.
pub trait Collector {
    /// A row whose score is below this cannot enter; −∞ until k rows are kept. It never falls. A row whose score equals
    /// it is offered: the collector breaks ties.
    fn threshold(&self) -> f32;
    /// How many rows are kept, if those with the best scores are, whatever else they have; `None`: that is not all.
    fn limit(&self) -> Option<usize>;
    /// The threshold where the k-th best score is this.
    fn threshold_at(&self, score: f32) -> f32 {
        score
    }
    /// Takes a row. Larger scores are better. Every row is offered once at most, in ascending order; a score is never
    /// NaN.
    fn offer(&mut self, row: u32, score: f32);
    /// Told once, at the end of a search of an index: how many rows were scored to the end, also those that were not
    /// offered.
    fn scored(&mut self, _rows: u64) {}
}

/// A sparse query vector.
#[derive(Debug, Clone, Copy)]
pub struct SparseQuery<'a> {
    /// Strictly ascending.
    pub indices: &'a [u32],
    /// One finite value per index. Zero counts as shared.
    pub values: &'a [f32],
}

/// A search for sparse vectors: the score of a row is Σ qᵢ·dᵢ over the shared indices, added up in f32 by ascending
/// index. Rows that share no index are no candidates.
#[derive(Debug, Clone, Copy)]
pub struct VectorSearch<'a> {
    /// The query.
    pub query: SparseQuery<'a>,
    /// Rows that may be offered; `None`: all.
    pub allowed: Option<IndexRows<'a>>,
    /// Score every row, skipping none.
    pub exact: bool,
    /// Ends the search early.
    pub interrupt: &'a Interrupt,
}

/// A term and what it weighs: its inverse document frequency, times any boost.
#[derive(Debug, Clone, Copy)]
pub struct WeightedTerm {
    /// Its number in the index that is searched.
    pub number: usize,
    /// Finite; counts as zero if negative.
    pub weight: f32,
}

/// One word of a query: its term, or the terms that it was expanded to. The best of those in a row counts.
#[derive(Debug, Clone)]
pub struct TermGroup {
    /// Those of the terms that the index has.
    pub terms: Vec<WeightedTerm>,
    /// Whether a row must have one of them.
    pub must: bool,
}

/// A query for words, and the parameters of BM25 (Robertson & Zaragoza 2009), which belong to the whole collection.
/// The score of a row is Σ weight · tf·(k1 + 1) / (tf + k1·(1 − b + b·length / average)) over the groups, in their
/// order, in f32.
#[derive(Debug, Clone)]
pub struct TermQuery {
    /// The words.
    pub groups: Vec<TermGroup>,
    /// Rows with one of these terms are no candidates.
    pub must_not: Vec<usize>,
    /// How many of the groups a row must have; at least one counts.
    pub minimum_match: usize,
    /// How slowly a term's frequency saturates; at least 0.
    pub k1: f32,
    /// How much a long row is held against it, 0 to 1.
    pub b: f32,
    /// Tokens of a row in the mean; if not above 0, lengths do not count.
    pub average_length: f32,
}

/// A search for words.
#[derive(Clone, Copy)]
pub struct TextSearch<'a> {
    /// The query.
    pub query: &'a TermQuery,
    /// Rows that may be offered; `None`: all.
    pub allowed: Option<IndexRows<'a>>,
    /// A last test of a row, such as for a phrase: only for rows that would enter.
    pub verify: Option<&'a dyn Fn(u32) -> bool>,
    /// Score every row, skipping none.
    pub exact: bool,
    /// Ends the search early.
    pub interrupt: &'a Interrupt,
}
