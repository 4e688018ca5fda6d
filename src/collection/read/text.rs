//! Searches of documents by words: BM25 over the inverted indexes of a snapshot.
//! Invariants: statistics are those of the live records of the whole collection; what an index proposes for a query
//! with phrases counts only after its document was analysed again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compared::Compared;
use super::leaf::{LeafContext, NearestRow, NearestRows, RankKey};
use crate::collection::state::inverted::spans::IndexSpan;
use crate::collection::state::snapshot::Snapshot;
use crate::error::Result;
use crate::index::{Collector, IndexRows, TermGroup, TermQuery, TextIndex, TextSearch, TextStatistics, WeightedTerm};
use crate::interrupt::Interrupt;
use crate::ranking::ScoreRange;
use crate::text::{Analyser, Occur, QueryClause, TermMatch, TermPattern, TextQuery, Tokeniser};

/// Terms that one word of a query is expanded to, at most: the nearest, of these the most frequent.
const MOST_EXPANSIONS: usize = 64;
/// Terms of one index that are looked at for an expansion.
const MOST_LOOKED_AT: usize = 1_024;
/// What a term counts that begins with the word.
const PREFIX_WEIGHT: f32 = 0.8;
/// What a term counts for each wrong letter.
const TYPO_WEIGHT: f32 = 0.5;

/// A term of documents that a word of the query stands for.
#[derive(Debug)]
struct WordTerm {
    term: String,
    /// Its place among all terms of the query.
    place: usize,
    weight: f32,
}

/// A word of the query.
#[derive(Debug)]
struct QueryWord {
    terms: Vec<WordTerm>,
    /// The largest of their weights; where no document has one, that of a word which none has.
    bound: f32,
    must: bool,
    /// Its clause.
    clause: usize,
}

impl QueryWord {
    /// `found` are the terms of documents that it stands for, each with its place and the number of documents that
    /// have it.
    fn new(
        (clause, wanted): (usize, &QueryClause),
        found: impl Iterator<Item = ((String, TermMatch), (usize, u64))>,
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
        let mut found: Vec<_> = found.filter(|(_, (_, frequency))| *frequency > 0).collect();
        found.sort_by(|((a, near_a), (_, frequency_a)), ((b, near_b), (_, frequency_b))| {
            near_a.cmp(near_b).then(frequency_b.cmp(frequency_a)).then_with(|| a.cmp(b))
        });
        found.truncate(MOST_EXPANSIONS);
        let term = |((term, near), (place, frequency))| WordTerm { term, place, weight: weight(near, frequency) };
        let terms: Vec<WordTerm> = found.into_iter().map(term).collect();
        let bound = terms.iter().map(|term| term.weight).reduce(f32::max);
        let bound = bound.unwrap_or_else(|| weight(TermMatch::Exact, 0));
        QueryWord { terms, bound, must: wanted.occur == Occur::Must, clause }
    }

    /// The word in an index in which the query's terms have these numbers.
    fn group(&self, numbers: &[Option<usize>]) -> TermGroup {
        let number = |place: usize| numbers.get(place).copied().flatten();
        let term = |term: &WordTerm| Some(WeightedTerm { number: number(term.place)?, weight: term.weight });
        TermGroup { terms: self.terms.iter().filter_map(term).collect(), must: self.must }
    }
}

/// A search by words, made ready: the indexes, and the query weighed by them.
pub(super) struct TextLeaf<'q> {
    analyser: &'q Analyser,
    spans: Vec<TextSpan>,
    weighed: Weighed<'q>,
}

/// An index, and the terms of the query in it.
struct TextSpan {
    span: IndexSpan<TextIndex>,
    /// The number of each term, by its place in the query; `None` where the index lacks it.
    numbers: Vec<Option<usize>>,
    /// The numbers of terms that documents must not have.
    must_not: Vec<usize>,
}

/// A query with the weights of its terms in this collection.
struct Weighed<'q> {
    query: &'q TextQuery,
    words: Vec<QueryWord>,
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
        let spans = self.spans(0..self.chunks.len(), interrupt, |chunk| chunk.text_index(analyser))?;
        let (spans, weighed) = self.weigh(query, analyser, spans, interrupt)?;
        Ok(Some(TextLeaf { analyser, spans, weighed }))
    }

    /// The best documents, largest score first.
    pub(super) fn best_documents(
        &self,
        leaf: &TextLeaf<'_>,
        limit: usize,
        context: LeafContext<'_>,
    ) -> Result<Vec<(RankKey, f32)>> {
        let TextLeaf { analyser, spans, weighed } = leaf;
        let mut nearest = NearestRows::new(limit);
        for text_span in spans {
            context.interrupt.check()?;
            let span = &text_span.span;
            let rows = span.rows(self, |chunk| context.selected.of(self, chunk));
            let rows = IndexRows::new(&rows);
            if rows.is_empty() {
                continue;
            }
            let search = TextSearch {
                query: &weighed.index_query(text_span),
                allowed: (rows.len() < u64::from(span.index.rows())).then_some(rows),
                verify: None,
                exact: false,
                interrupt: context.interrupt,
            };
            let tokeniser = weighed.checks.then(|| analyser.tokeniser());
            let (nearest, compared) = (&mut nearest, context.compared);
            let mut documents = SpanDocuments { snapshot: self, span, weighed, tokeniser, nearest, compared };
            span.index.search(&search, &mut documents)?;
        }
        Ok(nearest.into_sorted().into_iter().map(|(key, distance)| (key, -distance)).collect())
    }

    /// Finds the terms of the query's words, and weighs them.
    fn weigh<'q>(
        &self,
        query: &'q TextQuery,
        analyser: &Analyser,
        spans: Vec<IndexSpan<TextIndex>>,
        interrupt: &Interrupt,
    ) -> Result<(Vec<TextSpan>, Weighed<'q>)> {
        let (mut words, mut must_not, mut checks) = (Vec::new(), Vec::new(), false);
        for (clause, wanted) in query.clauses().iter().enumerate() {
            interrupt.check()?;
            checks |= wanted.is_phrase();
            let mut found = wanted.terms.iter().map(|term| self.terms_of(&term.pattern, &spans));
            match (wanted.occur, wanted.is_phrase()) {
                (Occur::MustNot, true) => {}
                (Occur::MustNot, false) => must_not.extend(found.flatten().map(|(term, _)| term)),
                _ => words.extend(found.by_ref().map(|found| ((clause, wanted), found))),
            }
        }
        // For all words at once: each index looks for its deleted rows once, and for each term.
        let terms: Vec<&str> = words.iter().flat_map(|(_, found)| found).map(|(term, _)| term.as_str()).collect();
        let (mut statistics, mut frequencies) = (TextStatistics::default(), vec![0u64; terms.len()]);
        let mut text_spans = Vec::with_capacity(spans.len());
        for span in spans {
            interrupt.check()?;
            let text_span = TextSpan::new(span, &terms, &must_not);
            text_span.add_up(self, &mut statistics, &mut frequencies);
            text_spans.push(text_span);
        }
        let mut counted = frequencies.into_iter().enumerate();
        let word = |(of_clause, found): (_, Vec<(String, TermMatch)>)| {
            QueryWord::new(of_clause, found.into_iter().zip(counted.by_ref()), statistics.documents)
        };
        let words = words.into_iter().map(word).collect();
        let settings = analyser.settings();
        let weighed = Weighed { query, words, statistics, k1: settings.k1 as f32, b: settings.b as f32, checks };
        Ok((text_spans, weighed))
    }

    /// The terms of documents that a term of the query stands for, and how near each is.
    fn terms_of(&self, pattern: &TermPattern, spans: &[IndexSpan<TextIndex>]) -> Vec<(String, TermMatch)> {
        if pattern.is_exact() {
            return vec![(pattern.term.clone(), TermMatch::Exact)];
        }
        let mut found: BTreeMap<String, TermMatch> = BTreeMap::new();
        for span in spans {
            let (index, live) = (&span.index, span.live_rows(self));
            let live = IndexRows::new(&live);
            let mut terms: Vec<&str> = vec![pattern.term.as_str()];
            if pattern.is_prefix {
                terms.extend(index.terms_with_prefix(&pattern.word, MOST_LOOKED_AT, &live));
            }
            for (word, typos) in [(&pattern.term, pattern.term_typos), (&pattern.word, pattern.word_typos)] {
                if typos > 0 {
                    let near = index.terms_within(word, usize::from(typos), MOST_LOOKED_AT, &live);
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
}

impl TextSpan {
    fn new(span: IndexSpan<TextIndex>, terms: &[&str], must_not: &[String]) -> TextSpan {
        let numbers = terms.iter().map(|term| span.index.number(term)).collect();
        let must_not = must_not.iter().filter_map(|term| span.index.number(term)).collect();
        TextSpan { span, numbers, must_not }
    }

    /// Adds what the live rows of the index have to what others have: documents, tokens, and documents with each term.
    fn add_up(&self, snapshot: &Snapshot, statistics: &mut TextStatistics, frequencies: &mut [u64]) {
        let live = self.span.live_rows(snapshot);
        let live = IndexRows::new(&live);
        let (here, of_terms) = self.span.index.statistics(&self.numbers, &live);
        statistics.documents += here.documents;
        statistics.tokens += here.tokens;
        frequencies.iter_mut().zip(of_terms).for_each(|(sum, here)| *sum += u64::from(here));
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
    /// The query in an index.
    fn index_query(&self, span: &TextSpan) -> TermQuery {
        // Where documents are analysed again, the minimum is judged then: a phrase is several words here.
        let minimum = if self.checks { 1 } else { self.least_words() };
        TermQuery {
            groups: self.words.iter().map(|word| word.group(&span.numbers)).collect(),
            must_not: span.must_not.clone(),
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
            self.words.iter().flat_map(|word| &word.terms).map(|term| (term.term.as_str(), 0)).collect();
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
        let of_term = |term: &WordTerm| {
            let frequency = frequencies.get(term.term.as_str()).copied().unwrap_or(0) as f32;
            (term.weight * (self.k1 + 1.0)).max(0.0) * frequency / (frequency + norm)
        };
        let met = self.words.iter().filter(|word| has.get(word.clause) == Some(&true));
        Some(met.map(|word| word.terms.iter().map(of_term).fold(0.0, f32::max)).sum())
    }
}

/// Takes the documents of one index.
struct SpanDocuments<'a, 'q> {
    snapshot: &'a Snapshot,
    span: &'a IndexSpan<TextIndex>,
    weighed: &'a Weighed<'q>,
    /// Where documents must be analysed again.
    tokeniser: Option<Tokeniser<'a>>,
    /// A document's distance here is its score with the other sign.
    nearest: &'a mut NearestRows,
    compared: &'a Compared,
}

impl Collector for SpanDocuments<'_, '_> {
    fn threshold(&self) -> f32 {
        self.nearest.farthest().map_or(f32::NEG_INFINITY, |distance| -distance)
    }

    fn limit(&self) -> Option<usize> {
        // Analysed again, a document may score less, or not match.
        self.tokeniser.is_none().then(|| self.nearest.limit())
    }

    fn offer(&mut self, row: u32, score: f32) {
        let Some(at) = self.span.place(row) else { return };
        // Of a query with phrases the index knows an upper bound only.
        let score = match &mut self.tokeniser {
            None => Some(score),
            Some(tokeniser) => {
                let document = self.snapshot.chunk(at).document(at.row).unwrap_or_default();
                self.weighed.score(document, tokeniser)
            }
        };
        let Some(score) = score else { return };
        self.nearest.push(NearestRow { distance: -score, key: self.snapshot.key_of(at) });
    }

    fn scored(&mut self, rows: u64) {
        self.compared.add(rows);
    }
}
