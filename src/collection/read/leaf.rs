//! The searches that a rank reads: the best records by embedding or by sparse vector, of those selected.
//! Invariants: a record is found once; equal scores are in insertion order, also where the limit cuts.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::compared::Compared;
use super::examples::ExampleVectors;
use super::select::Selected;
use super::text::{TextLeaf, idf};
use crate::collection::request::validate::{check_query, check_sparse};
use crate::collection::request::{LeafQuery, LeafSearch, NearestOptions, Query};
use crate::collection::state::inverted::spans::IndexSpan;
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::config::Limits;
use crate::error::Result;
use crate::index::{Collector, IndexRows, SparseIndex, SparseQuery, VectorSearch};
use crate::interrupt::Interrupt;
use crate::ranking::ScoreRange;
use crate::record::{Address, SparseVector};

/// A record in a ranked list. The order is that of insertion, since positions are distinct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RankKey {
    position: Address,
    /// Where the record stands.
    pub at: RowRef,
}

/// What all searches of one rank share.
#[derive(Debug, Clone, Copy)]
pub struct LeafContext<'a> {
    /// The records that may be found.
    pub selected: &'a Selected,
    /// What searches by embedding leave out, and how they are done.
    pub nearest: NearestOptions,
    /// How many records each search finds, instead of its own limit.
    pub limit: Option<usize>,
    pub limits: &'a Limits,
    pub interrupt: &'a Interrupt,
    /// Counts what is compared.
    pub compared: &'a Compared,
}

/// A search of a rank, made ready: its query was checked, and what it has to know of the collection was looked up.
pub(super) enum ReadyLeaf<'q> {
    /// Finds nothing.
    Nothing,
    /// The nearest embeddings.
    Nearest(Query),
    /// The best scores by examples.
    BestScore(ExampleVectors),
    /// The nearest sparse vectors of a key; the values of the query are weighed.
    Sparse { key: &'q str, indices: &'q [u32], values: Cow<'q, [f32]> },
    /// The best documents.
    Text(TextLeaf<'q>),
}

impl ReadyLeaf<'_> {
    /// Where its scores lie in theory. BM25 says how much of the query a document has, and its bound is known. So is
    /// the inner product of sparse vectors without a common index. What distance embeddings have that are alike, or
    /// are not, depends on the model: their list alone tells.
    pub(super) fn range(&self) -> ScoreRange {
        match self {
            ReadyLeaf::Nothing | ReadyLeaf::Nearest(_) | ReadyLeaf::BestScore(_) => ScoreRange::default(),
            ReadyLeaf::Sparse { .. } => ScoreRange { worst: Some(1.0), best: None },
            ReadyLeaf::Text(text) => text.range(),
        }
    }
}

impl LeafContext<'_> {
    /// A search for the nearest to one embedding.
    pub(super) fn query(&self, embedding: Vec<f32>) -> Query {
        let NearestOptions { max_distance, ef_search, exact } = self.nearest;
        Query { max_distance, ef_search, exact, k: 1, ..Query::new(embedding) }
    }
}

impl Snapshot {
    /// Makes a search ready.
    pub(super) fn ready<'q>(&self, leaf: &'q LeafSearch, context: LeafContext<'_>) -> Result<ReadyLeaf<'q>> {
        if self.live == 0 {
            return Ok(ReadyLeaf::Nothing);
        }
        match &leaf.query {
            LeafQuery::Embedding(embedding) if self.dimension.is_some() => {
                let query = context.query(embedding.clone());
                check_query(&query, self.dimension, context.limits)?;
                Ok(ReadyLeaf::Nearest(query))
            }
            LeafQuery::Embedding(_) => Ok(ReadyLeaf::Nothing),
            LeafQuery::Examples(examples) => self.ready_examples(examples, context),
            LeafQuery::Sparse { key, vector, idf } => {
                check_sparse(&"sparse", vector, context.limits)?;
                let values = match idf {
                    true => Cow::Owned(self.weighted(key, vector, context.interrupt)?),
                    false => Cow::Borrowed(vector.values()),
                };
                Ok(ReadyLeaf::Sparse { key, indices: vector.indices(), values })
            }
            LeafQuery::Text { query, analyser } => {
                let text = self.text_leaf(query, analyser, context.interrupt)?;
                Ok(text.map_or(ReadyLeaf::Nothing, ReadyLeaf::Text))
            }
        }
    }

    /// The records of one search, best first.
    pub(super) fn leaf(
        &self,
        leaf: &mut ReadyLeaf<'_>,
        limit: usize,
        context: LeafContext<'_>,
    ) -> Result<Vec<(RankKey, f32)>> {
        // No allocation is made by the limit: it may be any number.
        let limit = limit.min(usize::try_from(self.live).unwrap_or(usize::MAX));
        if limit == 0 {
            return Ok(Vec::new());
        }
        match leaf {
            ReadyLeaf::Nothing => Ok(Vec::new()),
            ReadyLeaf::Nearest(query) => self.nearest_embeddings(query, limit, context),
            ReadyLeaf::BestScore(examples) => self.best_scores(examples, limit, context),
            ReadyLeaf::Sparse { key, indices, values } => {
                self.nearest_sparse((key, SparseQuery { indices, values }), limit, context)
            }
            ReadyLeaf::Text(text) => self.best_documents(text, limit, context),
        }
    }

    pub(super) fn key_of(&self, at: RowRef) -> RankKey {
        RankKey { position: self.chunk(at).position(at.row), at }
    }

    fn nearest_embeddings(
        &self,
        query: &mut Query,
        limit: usize,
        context: LeafContext<'_>,
    ) -> Result<Vec<(RankKey, f32)>> {
        query.exact = context.nearest.exact;
        // A search breaks ties by address. It is that of insertion but for updated records: where there are any, all
        // that are as far as the last one must be found before the list is cut.
        let moved = self.chunks.iter().any(|view| !view.chunk.moved().is_empty());
        let mut k = if moved { limit.saturating_add(1) } else { limit };
        loop {
            query.k = k;
            let route = self.route_among(query, context.selected.clone());
            let (mut found, compared) = self.counted_answer(query, &route, 0..1, context.interrupt)?;
            context.compared.add(compared);
            let found = found.pop().unwrap_or_default();
            let whole = found.len() < k;
            let mut rows: Vec<(RankKey, f32)> =
                found.into_iter().map(|(at, distance)| (self.key_of(at), distance)).collect();
            let tied = match (rows.get(limit - 1), rows.last()) {
                (Some(cut), Some(last)) => cut.1 == last.1,
                _ => false,
            };
            if whole || !moved || !tied {
                rows.sort_by(crate::ranking::by_score);
                rows.truncate(limit);
                return Ok(rows);
            }
            k = k.saturating_mul(4);
        }
    }

    fn nearest_sparse(
        &self,
        (key, query): (&str, SparseQuery<'_>),
        limit: usize,
        context: LeafContext<'_>,
    ) -> Result<Vec<(RankKey, f32)>> {
        let selected = |chunk: usize| context.selected.of(self, chunk);
        let chunks = (0..self.chunks.len()).filter(|chunk| !selected(*chunk).is_empty());
        let spans = self.spans(chunks, context.interrupt, |chunk| chunk.sparse_index(key))?;
        let mut nearest = NearestRows::new(limit);
        for span in &spans {
            context.interrupt.check()?;
            let rows = span.rows(self, selected);
            let rows = IndexRows::new(&rows);
            let allowed = (rows.len() < u64::from(span.index.rows())).then_some(rows);
            let search = VectorSearch { query, allowed, exact: false, interrupt: context.interrupt };
            let (nearest, compared) = (&mut nearest, context.compared);
            span.index.search(&search, &mut SpanRows { snapshot: self, span, nearest, compared })?;
        }
        Ok(nearest.into_sorted())
    }

    /// The query's values times the idf of their indices.
    fn weighted(&self, key: &str, vector: &SparseVector, interrupt: &Interrupt) -> Result<Vec<f32>> {
        let mut frequencies = vec![0u64; vector.len()];
        for span in self.spans(0..self.chunks.len(), interrupt, |chunk| chunk.sparse_index(key))? {
            let live = span.live_rows(self);
            let here = span.index.document_frequencies(vector.indices(), &IndexRows::new(&live));
            frequencies.iter_mut().zip(here).for_each(|(sum, here)| *sum += u64::from(here));
        }
        let weighted = vector.values().iter().zip(frequencies);
        Ok(weighted.map(|(value, frequency)| value * idf(self.live, frequency)).collect())
    }
}

/// A record and its distance.
#[derive(Debug)]
pub(super) struct NearestRow {
    pub distance: f32,
    pub key: RankKey,
}

impl Ord for NearestRow {
    fn cmp(&self, other: &NearestRow) -> Ordering {
        crate::ranking::by_score(&(self.key, self.distance), &(other.key, other.distance))
    }
}

impl PartialOrd for NearestRow {
    fn partial_cmp(&self, other: &NearestRow) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for NearestRow {
    fn eq(&self, other: &NearestRow) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for NearestRow {}

/// The nearest rows so far, the farthest on top.
#[derive(Debug)]
pub(super) struct NearestRows {
    limit: usize,
    kept: BinaryHeap<NearestRow>,
}

impl NearestRows {
    pub fn new(limit: usize) -> NearestRows {
        NearestRows { limit, kept: BinaryHeap::new() }
    }

    /// The distance of the last row that is kept, once as many are kept as there may be.
    pub fn farthest(&self) -> Option<f32> {
        self.kept.peek().filter(|_| self.kept.len() >= self.limit).map(|row| row.distance)
    }

    /// The nearest first.
    pub fn into_sorted(self) -> Vec<(RankKey, f32)> {
        self.kept.into_sorted_vec().into_iter().map(|row| (row.key, row.distance)).collect()
    }

    /// The most that are kept.
    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn push(&mut self, row: NearestRow) {
        if self.kept.len() < self.limit {
            self.kept.push(row);
        } else if let Some(mut farthest) = self.kept.peek_mut()
            && row < *farthest
        {
            *farthest = row;
        }
    }
}

/// A product below this is farther than the distance. Products that differ may have one distance, since 1 − x is
/// rounded: those are not below it.
fn least_product(distance: f32) -> f32 {
    let distance = f64::from(distance);
    let rounding = distance.abs() * f64::from(f32::EPSILON) + f64::from(f32::MIN_POSITIVE);
    ((1.0 - distance - rounding) as f32).next_down()
}

/// Takes the rows of one index.
struct SpanRows<'a> {
    snapshot: &'a Snapshot,
    span: &'a IndexSpan<SparseIndex>,
    nearest: &'a mut NearestRows,
    compared: &'a Compared,
}

impl Collector for SpanRows<'_> {
    fn threshold(&self) -> f32 {
        self.nearest.farthest().map_or(f32::NEG_INFINITY, least_product)
    }

    fn limit(&self) -> Option<usize> {
        Some(self.nearest.limit())
    }

    fn threshold_at(&self, score: f32) -> f32 {
        least_product(1.0 - score)
    }

    fn offer(&mut self, row: u32, score: f32) {
        if let Some(at) = self.span.place(row) {
            self.nearest.push(NearestRow { distance: 1.0 - score, key: self.snapshot.key_of(at) });
        }
    }

    fn scored(&mut self, rows: u64) {
        self.compared.add(rows);
    }
}
