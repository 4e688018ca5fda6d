//! Which searches are short: well under a millisecond, so that a thread which waits for one may compute it itself.
//! Invariant: a search is bounded by what is known before it begins, without looking at a posting or a vector.

use crate::collection::request::{LeafQuery, NearestOptions, Query, RankedSearch};
use crate::collection::state::snapshot::Snapshot;
use crate::filter::Filter;
use crate::text::{QueryClause, TextQuery};

/// The width of walks, and the records that the searches of a rank find together.
const SHORT_WIDTH: usize = 1_000;
/// The floats that are compared (1 MiB of them).
const SHORT_FLOATS: u64 = 1 << 18;
/// The records that a filter looks at.
const SHORT_SELECTION: u64 = 20_000;
/// The postings that are read, of words as if every record had every one: as many as are added up in a millisecond.
const SHORT_POSTINGS: u64 = 1 << 20;

impl Snapshot {
    /// Whether a search takes well under a millisecond: one embedding, graphs or few floats to compare, and few records
    /// where it selects by ids or by a filter that was not used just before.
    pub fn is_short(&self, query: &Query) -> bool {
        let width = query.ef_search.unwrap_or_default().max(query.k);
        let selection = (query.ids.as_deref(), query.filter.as_ref());
        query.embeddings.len() == 1 && self.compares_few(width, query.exact) && self.selects_fast(selection)
    }

    /// Whether a ranked search takes about a millisecond at most: the nearest embeddings as above, and words or sparse
    /// vectors whose indexes are there, in as many records as have few postings. What looks at the whole list, or at
    /// documents, is not short.
    pub(in crate::collection) fn is_short_rank(&self, search: &RankedSearch, ef_search: Option<usize>) -> bool {
        let Some(rank) = &search.rank else { return false };
        let found = rank.leaves.iter().fold(0usize, |sum, leaf| sum.saturating_add(leaf.limit));
        if found > SHORT_WIDTH || search.group_by.is_some() || search.diversity.is_some() || !search.facets.is_empty() {
            return false;
        }
        let nearest = NearestOptions { ef_search: search.nearest.ef_search.or(ef_search), ..search.nearest };
        let mut postings = 0u64;
        for leaf in &rank.leaves {
            match self.postings(&leaf.query, (nearest, found)) {
                Some(more) => postings = postings.saturating_add(more),
                None => return false,
            }
        }
        postings <= SHORT_POSTINGS && self.selects_fast((search.ids.as_deref(), search.filter.as_ref()))
    }

    /// How many postings a search reads at most; `None` if it may take long for another reason.
    fn postings(&self, query: &LeafQuery, (nearest, found): (NearestOptions, usize)) -> Option<u64> {
        match query {
            LeafQuery::Embedding(_) => {
                let width = nearest.ef_search.unwrap_or_default().max(found);
                // Where records were updated, ties at the end of the list may take further searches.
                let moved = self.chunks.iter().any(|view| !view.chunk.moved().is_empty());
                (!moved && self.compares_few(width, nearest.exact)).then_some(0)
            }
            LeafQuery::Text { query, analyser } => {
                let is_short = is_plain(query) && self.has_text_indexes(analyser);
                is_short.then(|| self.live.saturating_mul(query.clauses().len() as u64))
            }
            LeafQuery::Sparse { key, vector, .. } => self.sparse_postings(key, vector.indices()),
            LeafQuery::Examples(_) => None,
        }
    }

    fn compares_few(&self, width: usize, exact: bool) -> bool {
        let scanned = if exact { self.live } else { self.unindexed() };
        width <= SHORT_WIDTH && scanned.saturating_mul(self.dimension.unwrap_or_default() as u64) <= SHORT_FLOATS
    }

    fn selects_fast(&self, selection: (Option<&[String]>, Option<&Filter>)) -> bool {
        match selection {
            (None, None) => true,
            (None, Some(filter)) if self.selections.get(self, filter).is_some() => true,
            _ => self.live <= SHORT_SELECTION,
        }
    }
}

/// Whether a query has words only: each stands for one term, and no document is looked at.
fn is_plain(query: &TextQuery) -> bool {
    let plain = |clause: &QueryClause| clause.terms.iter().all(|term| term.pattern.is_exact()) && !clause.is_phrase();
    query.clauses().iter().all(plain)
}

#[cfg(test)]
#[path = "short_tests.rs"]
mod short_tests;
