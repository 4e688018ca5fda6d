//! One term of a query, and which terms of documents it stands for: itself, those that begin like its word, and those
//! with a few wrong letters.
//! Invariant: the distance is the optimal string alignment's (Damerau 1964): letters that are put in, left out, replaced,
//! or swapped with their neighbour, and no place twice.

use std::str::Chars;

/// One term of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermPattern {
    /// The term that is meant: the stem of the word.
    pub term: String,
    /// Its index in sparse vectors of `chroma_bm25`.
    pub index: u32,
    /// The word in lower case.
    pub word: String,
    /// Whether terms that begin with the word are meant, too.
    pub is_prefix: bool,
    /// Wrong letters that terms may have which are meant to be the term, at most 2.
    pub term_typos: u8,
    /// Wrong letters of terms that are meant to be the word: the stem of a mistyped word is often another one.
    pub word_typos: u8,
    /// `letters` of the term and of the word.
    letters: [u64; 2],
}

/// How near a document's term is to the query's. The first is the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TermMatch {
    /// It is that term.
    Exact,
    /// It begins with the word of the query.
    Prefix,
    /// So many letters are wrong.
    Typos(u8),
}

impl TermPattern {
    /// A term with the word that it is the stem of. It stands for itself alone.
    pub(super) fn new(term: &str, index: u32, word: &str) -> TermPattern {
        let (term, word) = (term.to_owned(), word.to_owned());
        let letters = [letters(&term), letters(&word)];
        TermPattern { term, index, word, is_prefix: false, term_typos: 0, word_typos: 0, letters }
    }

    /// Whether it stands for one term only.
    pub fn is_exact(&self) -> bool {
        !self.is_prefix && self.term_typos == 0 && self.word_typos == 0
    }

    /// Whether a document's term is meant, and how near it is.
    pub fn matches(&self, term: &str) -> Option<TermMatch> {
        if term == self.term {
            return Some(TermMatch::Exact);
        }
        if self.is_prefix && term.starts_with(&self.word) {
            return Some(TermMatch::Prefix);
        }
        let most = self.term_typos.max(self.word_typos);
        let found = if most == 0 { 0 } else { letters(term) };
        (1..=most).find(|typos| self.is_within(term, found, *typos)).map(TermMatch::Typos)
    }

    /// `found` are the letters of `term`.
    fn is_within(&self, term: &str, found: u64, typos: u8) -> bool {
        let near = |wanted: &str, wanted_letters: u64, most: u8, beginning: bool| {
            // A wrong letter changes two bits at most, one of each word; of a beginning, only its own counts.
            let wrong = (wanted_letters & !found).count_ones();
            let more = if beginning { 0 } else { (found & !wanted_letters).count_ones() };
            let possible = typos <= most && wrong.max(more) <= u32::from(typos);
            possible && is_within(wanted.chars(), term.chars(), typos, beginning)
        };
        let [of_term, of_word] = self.letters;
        near(&self.term, of_term, self.term_typos, false) || near(&self.word, of_word, self.word_typos, self.is_prefix)
    }
}

/// One bit for each letter that a term has, some letters sharing one.
fn letters(term: &str) -> u64 {
    term.chars().fold(0, |bits, c| bits | 1 << (u32::from(c) % 64))
}

/// Whether `typos` changes make `one` of `other`, or of a beginning of it.
fn is_within(mut one: Chars<'_>, mut other: Chars<'_>, typos: u8, beginning: bool) -> bool {
    loop {
        let (one_here, other_here) = (one.clone(), other.clone());
        match (one.next(), other.next()) {
            (None, None) => return true,
            (None, Some(_)) if beginning => return true,
            (Some(a), Some(b)) if a == b => {}
            _ if typos == 0 => return false,
            (a, b) => {
                let fewer =
                    |one: &Chars<'_>, other: &Chars<'_>| is_within(one.clone(), other.clone(), typos - 1, beginning);
                let (mut one_next, mut other_next) = (one.clone(), other.clone());
                let swapped = a.is_some() && b.is_some() && one_next.next() == b && other_next.next() == a;
                return (a.is_some() && b.is_some() && fewer(&one, &other))
                    || (a.is_some() && fewer(&one, &other_here))
                    || (b.is_some() && fewer(&one_here, &other))
                    || (swapped && fewer(&one_next, &other_next));
            }
        }
    }
}

#[cfg(test)]
#[path = "term_pattern_tests.rs"]
mod tests;
