//! Searches of documents by words: BM25 over the inverted indexes of chunks.
//! Invariants: statistics are those of the live records of the whole collection; what an index proposes for a query
//! with phrases counts only after its document was analysed again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::leaf::{LeafContext, NearestRow, NearestRows, RankKey};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::Result;
use crate::index::{Collector, TermGroup, TermQuery, TextIndex, TextSearch, TextStatistics, WeightedTerm};
use crate::interrupt::Interrupt;
use crate::ranking::ScoreRange;
use crate::text::{Analyser, Occur, QueryClause, TermMatch, TermPattern, TextQuery, Tokeniser};

/// Terms that one word of a query is expanded to, at most: the nearest, of these the most frequent.
const MOST_EXPANSIONS: usize = 64;
/// Terms of one chunk that are looked at for an expansion.
const MOST_LOOKED_AT: usize = 1_024;
/// What a term counts that begins with the word.
const PREFIX_WEIGHT: f32 = 0.8;
/// What a term counts for each wrong letter.
const TYPO_WEIGHT: f32 = 0.5;

/// A word of the query: the terms that it stands for, each with its weight.
#[derive(Debug)]
struct QueryWord {
    terms: Vec<(String, f32)>,
    /// The largest of their weights; where no document has one, that of a word which none has.
    bound: f32,
    must: bool,
    /// Its clause.
    clause: usize,
}

impl QueryWord {
    /// `found` are the terms of documents that it stands for, each with the number of documents that have it.
    fn new(
        (clause, wanted): (usize, &QueryClause),
        found: impl Iterator<Item = ((String, TermMatch), u64)>,
        documents: u64,
    ) -> QueryWord {
        let weight = |near: TermMatch, frequency: u64| {
            let near = match near {
                TermMatch::Exact => 1.0,
                TermMatch::Prefix => PREFIX_WEIGHT,
                TermMatch::Typos(typos) => TYPO_WEIGHT.powi(i32::from(typos)),
            };
            wanted.count as f32 * near * idf(documents, frequency)
        };
        // An index has terms of deleted documents too, until it is merged: no answer may depend on that.
        let mut found: Vec<_> = found.filter(|(_, frequency)| *frequency > 0).collect();
        found.sort_by(|((a, near_a), frequency_a), ((b, near_b), frequency_b)| {
            near_a.cmp(near_b).then(frequency_b.cmp(frequency_a)).then_with(|| a.cmp(b))
        });
        found.truncate(MOST_EXPANSIONS);
        let terms: Vec<(String, f32)> =
            found.into_iter().map(|((term, near), frequency)| (term, weight(near, frequency))).collect();
        let bound = terms.iter().map(|(_, weight)| *weight).reduce(f32::max);
        let bound = bound.unwrap_or_else(|| weight(TermMatch::Exact, 0));
        QueryWord { terms, bound, must: wanted.occur == Occur::Must, clause }
    }

    fn group(&self) -> TermGroup<'_> {
        let terms = self.terms.iter().map(|(term, weight)| WeightedTerm { term, weight: *weight });
        TermGroup { terms: terms.collect(), must: self.must }
    }
}

/// A search by words, made ready: the indexes of the chunks, and the query weighed by them.
pub(super) struct TextLeaf<'q> {
    analyser: &'q Analyser,
    indexes: Vec<Arc<TextIndex>>,
    weighed: Weighed<'q>,
}

/// A query with the weights of its terms in this collection.
struct Weighed<'q> {
    query: &'q TextQuery,
    words: Vec<QueryWord>,
    must_not: Vec<String>,
    statistics: TextStatistics,
    k1: f32,
    b: f32,
    /// Whether a document must be analysed again to know that it matches: where there are phrases.
    checks: bool,
}

impl Snapshot {
    /// A search by words, made ready; `None` where it finds nothing.
    pub(super) fn text_leaf<'q>(
        &self,
        query: &'q TextQuery,
        analyser: &'q Arc<Analyser>,
        interrupt: &Interrupt,
    ) -> Result<Option<TextLeaf<'q>>> {
        if query.matches_nothing() {
            return Ok(None);
        }
        let mut indexes = Vec::with_capacity(self.chunks.len());
        for view in &self.chunks {
            interrupt.check()?;
            indexes.push(view.chunk.text_index(analyser)?);
        }
        let weighed = self.weigh(query, analyser, &indexes, interrupt)?;
        Ok(Some(TextLeaf { analyser, indexes, weighed }))
    }

    /// The best documents, largest score first.
    pub(super) fn best_documents(
        &self,
        leaf: &TextLeaf<'_>,
        limit: usize,
        context: LeafContext<'_>,
    ) -> Result<Vec<(RankKey, f32)>> {
        let TextLeaf { analyser, indexes, weighed } = leaf;
        let index_query = weighed.index_query();
        let mut nearest = NearestRows::new(limit);
        for (chunk, index) in indexes.iter().enumerate() {
            context.interrupt.check()?;
            let rows = context.selected.of(self, chunk);
            if rows.is_empty() {
                continue;
            }
            let search = TextSearch {
                query: &index_query,
                allowed: (rows.len() < u64::from(index.rows())).then_some(rows),
                verify: None,
                exact: false,
                interrupt: context.interrupt,
            };
            let tokeniser = weighed.checks.then(|| analyser.tokeniser());
            let nearest = &mut nearest;
            let mut of_chunk = ChunkDocuments { snapshot: self, chunk, weighed, tokeniser, nearest };
            index.search(&search, &mut of_chunk)?;
        }
        Ok(nearest.into_sorted().into_iter().map(|(key, distance)| (key, -distance)).collect())
    }

    /// Finds the terms of the query's words, and weighs them.
    fn weigh<'q>(
        &self,
        query: &'q TextQuery,
        analyser: &Analyser,
        indexes: &[Arc<TextIndex>],
        interrupt: &Interrupt,
    ) -> Result<Weighed<'q>> {
        let mut statistics = TextStatistics::default();
        for (view, index) in self.chunks.iter().zip(indexes) {
            interrupt.check()?;
            let here = index.statistics(&view.alive);
            statistics.documents += here.documents;
            statistics.tokens += here.tokens;
        }
        let (mut words, mut must_not, mut checks) = (Vec::new(), Vec::new(), false);
        for (clause, wanted) in query.clauses().iter().enumerate() {
            interrupt.check()?;
            checks |= wanted.is_phrase();
            let mut found = wanted.terms.iter().map(|term| self.terms_of(&term.pattern, indexes));
            match (wanted.occur, wanted.is_phrase()) {
                (Occur::MustNot, true) => {}
                (Occur::MustNot, false) => must_not.extend(found.flatten().map(|(term, _)| term)),
                _ => words.extend(found.by_ref().map(|found| ((clause, wanted), found))),
            }
        }
        // For all words at once: each chunk looks for its deleted rows once.
        let terms: Vec<&str> = words.iter().flat_map(|(_, found)| found).map(|(term, _)| term.as_str()).collect();
        let mut frequencies = self.document_frequencies(&terms, indexes).into_iter();
        let word = |(of_clause, found): (_, Vec<(String, TermMatch)>)| {
            QueryWord::new(of_clause, found.into_iter().zip(frequencies.by_ref()), statistics.documents)
        };
        let words = words.into_iter().map(word).collect();
        let settings = analyser.settings();
        Ok(Weighed { query, words, must_not, statistics, k1: settings.k1 as f32, b: settings.b as f32, checks })
    }

    /// The terms of documents that a term of the query stands for, and how near each is.
    fn terms_of(&self, pattern: &TermPattern, indexes: &[Arc<TextIndex>]) -> Vec<(String, TermMatch)> {
        if pattern.is_exact() {
            return vec![(pattern.term.clone(), TermMatch::Exact)];
        }
        let mut found: BTreeMap<String, TermMatch> = BTreeMap::new();
        for index in indexes {
            let mut terms: Vec<&str> = vec![pattern.term.as_str()];
            if pattern.is_prefix {
                terms.extend(index.terms_with_prefix(&pattern.word, MOST_LOOKED_AT));
            }
            for (word, typos) in [(&pattern.term, pattern.term_typos), (&pattern.word, pattern.word_typos)] {
                if typos > 0 {
                    let near = index.terms_within(word, usize::from(typos), MOST_LOOKED_AT);
                    terms.extend(near.into_iter().map(|(term, _)| term));
                }
            }
            for term in terms {
                if let Some(near) = pattern.matches(term).filter(|_| !found.contains_key(term)) {
                    found.insert(term.to_owned(), near);
                }
            }
        }
        found.into_iter().collect()
    }

    /// How many live records have each of the terms.
    fn document_frequencies(&self, terms: &[&str], indexes: &[Arc<TextIndex>]) -> Vec<u64> {
        let mut sums = vec![0; terms.len()];
        for (view, index) in self.chunks.iter().zip(indexes) {
            let here = index.document_frequencies(terms, &view.alive);
            sums.iter_mut().zip(here).for_each(|(sum, here)| *sum += u64::from(here));
        }
        sums
    }
}

/// The inverse document frequency: ln(1 + (n − nᵢ + ½) / (nᵢ + ½)).
pub(super) fn idf(documents: u64, frequency: u64) -> f32 {
    let (documents, frequency) = (documents as f32, frequency as f32);
    ((documents - frequency + 0.5) / (frequency + 0.5)).ln_1p()
}

impl TextLeaf<'_> {
    /// Where scores lie: from 0, without a word of the query, to what no document passes, having all of them without
    /// end: Σ weight · (k1 + 1). Words that no document has count too: a match of the others is a part of the query.
    pub(super) fn range(&self) -> ScoreRange {
        let bound: f32 = self.weighed.words.iter().map(|word| (word.bound * (self.weighed.k1 + 1.0)).max(0.0)).sum();
        ScoreRange { worst: Some(0.0), best: Some(bound) }
    }
}

impl Weighed<'_> {
    fn index_query(&self) -> TermQuery<'_> {
        // Where documents are analysed again, the minimum is judged then: a phrase is several words here.
        let minimum = if self.checks { 1 } else { self.least_words() };
        TermQuery {
            groups: self.words.iter().map(QueryWord::group).collect(),
            must_not: self.must_not.iter().map(String::as_str).collect(),
            minimum_match: minimum,
            k1: self.k1,
            b: self.b,
            average_length: self.average_length(),
        }
    }

    /// How many words a document must have: those it must have anyway, and the least of the others.
    fn least_words(&self) -> usize {
        self.words.iter().filter(|word| word.must).count() + self.query.minimum_match()
    }

    fn average_length(&self) -> f32 {
        let TextStatistics { documents, tokens } = self.statistics;
        if documents == 0 { 0.0 } else { (tokens as f64 / documents as f64) as f32 }
    }

    /// The score of a document; `None` if it does not match. Words of clauses that it does not have count nothing.
    fn score(&self, document: &str, tokeniser: &mut Tokeniser<'_>) -> Option<f32> {
        let mut has = vec![false; self.query.clauses().len()];
        for hit in self.query.hits(document, tokeniser) {
            if let Some(has) = has.get_mut(hit.clause) {
                *has = true;
            }
        }
        if !self.query.is_met(|clause| has.get(clause) == Some(&true)) {
            return None;
        }
        let mut frequencies: BTreeMap<&str, u32> =
            self.words.iter().flat_map(|word| &word.terms).map(|(term, _)| (term.as_str(), 0)).collect();
        let mut length = 0u32;
        tokeniser.each(document, |token| {
            length += 1;
            if let Some(frequency) = frequencies.get_mut(token.term) {
                *frequency += 1;
            }
        });
        let long = self.average_length();
        let norm =
            if long > 0.0 { self.k1 * (1.0 - self.b) + self.k1 * self.b / long * length as f32 } else { self.k1 };
        let of_term = |(term, weight): &(String, f32)| {
            let frequency = frequencies.get(term.as_str()).copied().unwrap_or(0) as f32;
            (weight * (self.k1 + 1.0)).max(0.0) * frequency / (frequency + norm)
        };
        let met = self.words.iter().filter(|word| has.get(word.clause) == Some(&true));
        Some(met.map(|word| word.terms.iter().map(of_term).fold(0.0, f32::max)).sum())
    }
}

/// Takes the documents of one chunk.
struct ChunkDocuments<'a, 'q> {
    snapshot: &'a Snapshot,
    chunk: usize,
    weighed: &'a Weighed<'q>,
    /// Where documents must be analysed again.
    tokeniser: Option<Tokeniser<'a>>,
    /// A document's distance here is its score with the other sign.
    nearest: &'a mut NearestRows,
}

impl Collector for ChunkDocuments<'_, '_> {
    fn threshold(&self) -> f32 {
        self.nearest.farthest().map_or(f32::NEG_INFINITY, |distance| -distance)
    }

    fn offer(&mut self, row: u32, score: f32) {
        let at = RowRef { chunk: self.chunk, row };
        // Of a query with phrases the index knows an upper bound only.
        let score = match &mut self.tokeniser {
            None => Some(score),
            Some(tokeniser) => {
                let document = self.snapshot.chunk(at).document(row).unwrap_or_default();
                self.weighed.score(document, tokeniser)
            }
        };
        let Some(score) = score else { return };
        self.nearest.push(NearestRow { distance: -score, key: self.snapshot.key_of(at) });
    }
}
