//! A query over words, as people type it into a search box: words, "phrases", `+must` and `-not`.
//! Invariant: every text within the limits is a query. What has no term left matches nothing.
//!
//! - A sign counts at the beginning of a word or quote, if something stands behind it: `e-mail`, `C++`, `--verbose` and
//!   `a - b` have none.
//! - A quote opens at the beginning of a word: `24"` has none. Without a second one it reaches to the end, as it does
//!   while it is being typed. Curly quotes and « » are quotes as well.
//! - A word that the analyser cuts into several terms (`e-mail`) asks for each of them; behind a sign it is a phrase.
//! - Stopwords ask for nothing, but keep their place in phrases.

use std::ops::Range;

use super::analyser::Analyser;
use super::matching::Lookup;
use super::query_options::{QueryOptions, Typos};
use super::term_pattern::TermPattern;
use super::tokeniser::Tokeniser;
use crate::error::{Error, Result};

/// A query over words.
#[derive(Debug, Clone)]
pub struct TextQuery {
    clauses: Vec<QueryClause>,
    minimum: usize,
    pub(super) lookup: Lookup,
}

/// A word or a phrase of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryClause {
    /// Whether documents must have it, or must not.
    pub occur: Occur,
    /// How often the query says it.
    pub count: u32,
    /// One term, or the terms of a phrase, in order; never none.
    pub terms: Vec<PhraseTerm>,
}

/// A term of a phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhraseTerm {
    /// Words from the first term's to this one's.
    pub offset: u32,
    /// Which terms are meant.
    pub pattern: TermPattern,
}

/// What a clause asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occur {
    /// No sign: it counts, and towards `minimum_match`.
    Should,
    /// `+`: a document must have it.
    Must,
    /// `-`: a document must not have it.
    MustNot,
}

/// A word or a quote as it was typed.
#[derive(Debug, PartialEq)]
struct QueryPart {
    occur: Occur,
    bytes: Range<usize>,
    is_quoted: bool,
    /// Whether more of it may follow: nothing is behind it, not even a quote.
    is_open: bool,
}

impl TextQuery {
    /// Reads a query with the analyser of the documents.
    ///
    /// # Errors
    /// `Limit` names the limit that the query passes.
    pub fn parse(text: &str, analyser: &Analyser, options: &QueryOptions) -> Result<TextQuery> {
        let limits = &options.limits;
        if text.chars().nth(limits.characters).is_some() {
            let got = text.chars().count();
            return Err(too_much(&format!("{} characters", limits.characters), "characters", got));
        }
        let mut tokeniser = analyser.tokeniser();
        let (mut clauses, mut terms) = (Vec::new(), 0);
        for part in parts(text) {
            let found = part.clauses(text, &mut tokeniser, options);
            terms += found.iter().map(|clause| clause.terms.len()).sum::<usize>();
            for clause in found {
                add(&mut clauses, clause);
            }
            if terms > limits.terms {
                return Err(too_much(&format!("{} terms", limits.terms), "terms", terms));
            }
        }
        let count = |occur| clauses.iter().filter(|clause: &&QueryClause| clause.occur == occur).count();
        let least = usize::from(count(Occur::Must) == 0);
        let minimum = options.minimum_match.map_or(least, |minimum| minimum.of(count(Occur::Should)).max(least));
        let lookup = Lookup::new(&clauses);
        Ok(TextQuery { clauses, minimum, lookup })
    }

    /// What it asks for: words and phrases, each once.
    pub fn clauses(&self) -> &[QueryClause] {
        &self.clauses
    }

    /// How many of the clauses without a sign a document must have.
    pub fn minimum_match(&self) -> usize {
        self.minimum
    }

    /// Whether no document can match: nothing is left of the query, or only what documents must not have.
    pub fn matches_nothing(&self) -> bool {
        self.clauses.iter().all(|clause| clause.occur == Occur::MustNot)
    }
}

impl QueryClause {
    /// Whether it has several terms.
    pub fn is_phrase(&self) -> bool {
        self.terms.len() > 1
    }
}

fn too_much(limit: &str, unit: &str, got: usize) -> Error {
    Error::limit(format!("text: expected at most {limit}, got {got}; use fewer, or raise the limit of {unit}"))
}

/// Adds a clause, or counts it once more. Terms are few: the limit bounds the comparisons.
fn add(clauses: &mut Vec<QueryClause>, clause: QueryClause) {
    match clauses.iter_mut().find(|known| known.occur == clause.occur && known.terms == clause.terms) {
        Some(known) => known.count += 1,
        None => clauses.push(clause),
    }
}

/// The words and quotes of a query.
fn parts(text: &str) -> Vec<QueryPart> {
    let is_quote = |c: char| "\"“”„‟«»＂".contains(c);
    let find = |from: usize, wanted: &dyn Fn(char) -> bool| {
        let rest = text.get(from..).unwrap_or_default();
        rest.char_indices().find(|(_, c)| wanted(*c)).map(|(at, c)| (from + at, from + at + c.len_utf8()))
    };
    let at = |from: usize| text.get(from..).and_then(|rest| rest.chars().next());
    let (mut parts, mut end) = (Vec::new(), 0);
    while let Some((mut start, behind)) = find(end, &|c| !c.is_whitespace()) {
        let sign = match at(start) {
            Some('+') => Some(Occur::Must),
            Some('-') => Some(Occur::MustNot),
            _ => None,
        };
        let counts = at(behind).is_some_and(|next| !next.is_whitespace() && next != '+' && next != '-');
        let occur = sign.filter(|_| counts).unwrap_or(Occur::Should);
        if occur != Occur::Should {
            start = behind;
        }
        if let Some(quote) = at(start).filter(|c| is_quote(*c)) {
            let inside = start + quote.len_utf8();
            let close = find(inside, &is_quote);
            let bytes = inside..close.map_or(text.len(), |(at, _)| at);
            end = close.map_or(text.len(), |(_, behind)| behind);
            parts.push(QueryPart { occur, bytes, is_quoted: true, is_open: close.is_none() });
        } else {
            end = find(start, &char::is_whitespace).map_or(text.len(), |(at, _)| at);
            parts.push(QueryPart { occur, bytes: start..end, is_quoted: false, is_open: end == text.len() });
        }
    }
    parts
}

impl QueryPart {
    fn clauses(&self, text: &str, tokeniser: &mut Tokeniser<'_>, options: &QueryOptions) -> Vec<QueryClause> {
        let part = text.get(self.bytes.clone()).unwrap_or_default();
        let mut terms: Vec<PhraseTerm> = Vec::new();
        let (mut first, mut last_end) = (0, 0);
        tokeniser.each(part, |token| {
            if terms.is_empty() {
                first = token.position;
            }
            last_end = token.bytes.end;
            let typos = if self.is_quoted { Typos::None } else { options.typos };
            let mut pattern = TermPattern::new(token.term, token.index, token.word);
            (pattern.term_typos, pattern.word_typos) = (typos.of(token.term), typos.of(token.word));
            terms.push(PhraseTerm { offset: token.position - first, pattern });
        });
        // While a word is typed that documents must not have, its beginning would shut out too many.
        let is_prefix = options.prefix && self.is_open && last_end == part.len() && self.occur != Occur::MustNot;
        if let Some(last) = terms.last_mut() {
            last.pattern.is_prefix = is_prefix;
        }
        let clause = |terms| QueryClause { occur: self.occur, count: 1, terms };
        if terms.is_empty() {
            Vec::new()
        } else if self.is_quoted || self.occur != Occur::Should {
            vec![clause(terms)]
        } else {
            terms.into_iter().map(|term| clause(vec![PhraseTerm { offset: 0, ..term }])).collect()
        }
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
