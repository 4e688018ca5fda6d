//! Which words of a document a query finds, by analysing the document again. It is the truth for what an index proposes.
//! Invariant: a phrase is found where all its terms stand at their distances, stopwords counted. Memory is in proportion
//! to what is found.

use std::ops::Range;

use super::query::{Occur, PhraseTerm, QueryClause, TextQuery};
use super::tokeniser::{Token, Tokeniser};

/// A word of a document that a query found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordHit {
    /// The word's place in the document.
    pub bytes: Range<usize>,
    /// The clause that found it, by its place among the query's.
    pub clause: usize,
}

/// The terms of a query, to look up those of a document.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    /// Terms that stand for themselves alone, by ascending index of the term.
    exact: Vec<(u32, TermSlot)>,
    /// The others.
    inexact: Vec<TermSlot>,
}

/// A term's place in a query.
#[derive(Debug, Clone, Copy)]
struct TermSlot {
    clause: usize,
    term: usize,
    /// Its place in `SlotHits`.
    number: usize,
}

impl Lookup {
    pub(super) fn new(clauses: &[QueryClause]) -> Lookup {
        let (mut exact, mut inexact, mut number) = (Vec::new(), Vec::new(), 0);
        for (clause, terms) in clauses.iter().map(|clause| &clause.terms).enumerate() {
            for (term, wanted) in terms.iter().enumerate() {
                let slot = TermSlot { clause, term, number };
                number += 1;
                if wanted.pattern.is_exact() { exact.push((wanted.pattern.index, slot)) } else { inexact.push(slot) }
            }
        }
        exact.sort_by_key(|(index, _)| *index);
        Lookup { exact, inexact }
    }

    /// The slots that mean a token's term.
    fn find<'a>(&'a self, query: &'a TextQuery, token: &'a Token<'_>) -> impl Iterator<Item = TermSlot> + 'a {
        let start = self.exact.partition_point(|(index, _)| *index < token.index);
        let equal = self.exact.get(start..).unwrap_or_default();
        let equal = equal.iter().take_while(|(index, _)| *index == token.index).map(|(_, slot)| *slot);
        let means = |slot: &TermSlot| {
            let term = query.clauses().get(slot.clause).and_then(|clause| clause.terms.get(slot.term));
            term.is_some_and(|wanted| wanted.pattern.matches(token.term).is_some())
        };
        equal.chain(self.inexact.iter().copied()).filter(means)
    }
}

/// Where one term of a query was found: positions ascend.
type SlotHits = Vec<(u32, Range<usize>)>;

impl TextQuery {
    /// Whether the document matches: it has all that it must have, nothing that it must not, and enough of the rest.
    pub fn matches(&self, document: &str, tokeniser: &mut Tokeniser<'_>) -> bool {
        if self.matches_nothing() {
            return false;
        }
        let mut found = vec![false; self.clauses().len()];
        for hit in self.hits(document, tokeniser) {
            if let Some(found) = found.get_mut(hit.clause) {
                *found = true;
            }
        }
        self.is_met(|clause| found.get(clause) == Some(&true))
    }

    /// Whether a document matches that has those clauses which `has` says, by their place among the query's.
    pub fn is_met(&self, has: impl Fn(usize) -> bool) -> bool {
        let mut should = 0;
        for (place, clause) in self.clauses().iter().enumerate() {
            match (clause.occur, has(place)) {
                (Occur::Must, false) | (Occur::MustNot, true) => return false,
                (Occur::Should, true) => should += 1,
                _ => {}
            }
        }
        !self.matches_nothing() && should >= self.minimum_match()
    }

    /// The words of a document that the query's clauses find, those that it must not have among them, in the order of
    /// the document.
    pub fn hits(&self, document: &str, tokeniser: &mut Tokeniser<'_>) -> Vec<WordHit> {
        let count = self.clauses().iter().map(|clause| clause.terms.len()).sum();
        let mut slots: Vec<SlotHits> = vec![Vec::new(); count];
        tokeniser.each(document, |token| {
            for slot in self.lookup.find(self, &token) {
                if let Some(hits) = slots.get_mut(slot.number) {
                    hits.push((token.position, token.bytes.clone()));
                }
            }
        });
        let mut hits = Vec::new();
        let mut rest = slots.as_slice();
        for (place, clause) in self.clauses().iter().enumerate() {
            let (own, behind) = rest.split_at_checked(clause.terms.len()).unwrap_or_default();
            rest = behind;
            clause.join(own, |bytes| hits.push(WordHit { bytes, clause: place }));
        }
        hits.sort_by_key(|hit| (hit.bytes.start, hit.bytes.end, hit.clause));
        hits.dedup();
        hits
    }
}

impl QueryClause {
    /// Gives the words of each place at which all terms stand as they should.
    fn join(&self, slots: &[SlotHits], mut found: impl FnMut(Range<usize>)) {
        let Some(first) = slots.first() else { return };
        for (start, _) in first {
            let word = |(slot, term): (&'_ SlotHits, &PhraseTerm)| {
                let position = start.checked_add(term.offset)?;
                let at = slot.binary_search_by_key(&position, |(position, _)| *position).ok()?;
                slot.get(at).map(|(_, bytes)| bytes.clone())
            };
            let words: Option<Vec<Range<usize>>> = slots.iter().zip(&self.terms).map(word).collect();
            words.into_iter().flatten().for_each(&mut found);
        }
    }
}
