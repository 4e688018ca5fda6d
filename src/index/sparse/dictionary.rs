//! The terms of a text index, sorted by their bytes; a term's number is its place. Prefixes are ranges. Terms within an
//! edit distance are found by walking the sorted terms with one row of the matrix of distances per character: terms
//! that share a prefix share its rows, and a prefix that is too far already skips all its terms.
//! Invariant: terms ascend strictly.

use std::ops::Range;

use arrow::array::{Array, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer};

use super::blocks::shrunk;
use crate::error::{Error, Result};

/// Sorted terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dictionary<'a>(pub(super) &'a StringArray);

/// Appends terms one after the other.
#[derive(Debug)]
pub(super) struct DictionaryBuilder {
    text: String,
    /// Term i is `text[ends[i]..ends[i + 1]]`.
    ends: Vec<i32>,
}

impl Default for DictionaryBuilder {
    fn default() -> DictionaryBuilder {
        DictionaryBuilder { text: String::new(), ends: vec![0] }
    }
}

impl DictionaryBuilder {
    /// Appends a term, which must come after the last. `None`: the text has more than 2 GiB.
    pub(super) fn push(&mut self, term: &str) -> Option<()> {
        let end = i32::try_from(self.text.len() + term.len()).ok()?;
        self.text.push_str(term);
        self.ends.push(end);
        Some(())
    }

    /// All terms.
    pub(super) fn finish(mut self) -> Result<StringArray> {
        self.text.shrink_to_fit();
        let (offsets, text) = (OffsetBuffer::new(shrunk(self.ends)), Buffer::from_vec(self.text.into_bytes()));
        let terms = StringArray::try_new(offsets, text, None);
        terms.map_err(|e| Error::internal("terms just put together do not hold together").with_source(e))
    }
}

impl<'a> Dictionary<'a> {
    /// How many terms.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Term `i`; empty past the end.
    pub(super) fn term(&self, i: usize) -> &'a str {
        if i < self.0.len() { self.0.value(i) } else { "" }
    }

    /// The number of `term`.
    pub(super) fn find(&self, term: &str) -> Option<usize> {
        let at = self.first(0, |other| other >= term);
        (at < self.len() && self.term(at) == term).then_some(at)
    }

    /// The terms that start with `prefix`.
    pub(super) fn with_prefix(&self, prefix: &str) -> Range<usize> {
        let start = self.first(0, |term| term >= prefix);
        start..self.first(start, |term| !term.starts_with(prefix))
    }

    /// The terms at most `distance` changes of characters from `word`, with their distances, in the order of terms.
    /// Changes are insertions, deletions, substitutions, and swaps of neighbours (optimal string alignment, Damerau 1964).
    pub(super) fn within(&self, word: &str, distance: usize) -> Vec<(usize, usize)> {
        let word: Vec<char> = word.chars().collect();
        let mut rows: Vec<Vec<usize>> = vec![(0..=word.len()).collect()];
        let mut path: Vec<char> = Vec::new();
        let mut found = Vec::new();
        let mut at = 0;
        'terms: while at < self.len() {
            let term = self.term(at);
            let shared = path.iter().zip(term.chars()).take_while(|(a, b)| **a == *b).count();
            path.truncate(shared);
            rows.truncate(shared + 1);
            for (place, character) in term.char_indices().skip(shared) {
                let row = next_row(&rows, &path, &word, character);
                let too_far = row.iter().all(|cell| *cell > distance);
                path.push(character);
                rows.push(row);
                if too_far {
                    let prefix = &term[..place + character.len_utf8()];
                    at = self.first(at, |other| !other.starts_with(prefix));
                    continue 'terms;
                }
            }
            let far = rows[path.len()][word.len()];
            if far <= distance {
                found.push((at, far));
            }
            at += 1;
        }
        found
    }

    /// The first term at or after `from` for which `test` holds, which then holds for all after it.
    fn first(&self, from: usize, test: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if test(self.term(middle)) { high = middle } else { low = middle + 1 }
        }
        low
    }
}

/// The row of the matrix of distances after one more character; `rows` are those of `path` so far, the first one's
/// being that of nothing.
fn next_row(rows: &[Vec<usize>], path: &[char], word: &[char], character: char) -> Vec<usize> {
    let row = &rows[path.len()];
    let mut next = Vec::with_capacity(row.len());
    next.push(row[0] + 1);
    for (i, other) in word.iter().enumerate() {
        let changed = row[i] + usize::from(*other != character);
        let mut least = changed.min(row[i + 1] + 1).min(next[i] + 1);
        if i > 0 && path.last() == Some(other) && word[i - 1] == character {
            least = least.min(rows[path.len() - 1][i - 1] + 1);
        }
        next.push(least);
    }
    next
}
