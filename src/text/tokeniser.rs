//! An analyser at work on texts, one after the other: it finds their tokens, and remembers what became of each word.
//! Invariant: what it remembers is bounded, and changes no token.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::analyser::Analyser;
use super::bm25::term_index;
use super::cutting::{WordPlace, cut_at_other_characters, cut_by_unicode};
use super::word_characters::is_spaceless;

/// Places for remembered words: of a new tokeniser, and at most.
const FEWEST_PLACES: usize = 1 << 8;
const MOST_PLACES: usize = 1 << 16;
/// Bytes of a word and its term; what is longer is not remembered. Together with the places this bounds memory.
const LONGEST_REMEMBERED: usize = 128;

/// A term and where its word stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'a> {
    /// The word's stem.
    pub term: &'a str,
    /// The word in lower case.
    pub word: &'a str,
    /// The term's index in sparse vectors of `chroma_bm25`.
    pub index: u32,
    /// The word's place in the text.
    pub bytes: Range<usize>,
    /// Words before it, counting those that are left out.
    pub position: u32,
}

/// An [`Analyser`] at work. It remembers the terms of words, up to a limit.
pub struct Tokeniser<'a> {
    analyser: &'a Analyser,
    known: TermCache,
    /// Room for a word in lower case.
    word: String,
}

/// What became of words: each has one place by its hash, and the newer one keeps it.
struct TermCache {
    places: Vec<CachedTerm>,
    /// One that texts cannot know, so that none can make its words collide.
    seed: u64,
    /// Words that were not found since there are so many places.
    missed: usize,
    letters: Vec<u8>,
    term: String,
}

/// A word and its term.
#[derive(Clone, Default)]
struct CachedTerm {
    /// The word, then its term.
    text: String,
    word_length: usize,
    hash: u64,
    index: u32,
    is_kept: bool,
}

impl<'a> Tokeniser<'a> {
    pub(super) fn new(analyser: &'a Analyser) -> Tokeniser<'a> {
        let places = vec![CachedTerm::default(); FEWEST_PLACES];
        let seed = RandomState::new().hash_one(0);
        let known = TermCache { places, seed, missed: 0, letters: Vec::new(), term: String::new() };
        Tokeniser { analyser, known, word: String::new() }
    }

    /// The analyser at work.
    pub fn analyser(&self) -> &'a Analyser {
        self.analyser
    }

    /// Gives every token of the text to `found`, in the order of the text.
    pub fn each(&mut self, text: &str, mut found: impl FnMut(Token<'_>)) {
        let Tokeniser { analyser, known, word } = self;
        let take = |WordPlace { bytes, position }: WordPlace| {
            let cut = text.get(bytes.clone()).unwrap_or_default();
            // No letter becomes fewer in lower case, so a word that is too long is not even brought to it.
            if cut.len() > 8 * analyser.settings().token_max_length && analyser.is_too_long(cut) {
                return;
            }
            analyser.normalise(cut, word);
            if cut.starts_with(is_spaceless) && !analyser.cuts_at_other_characters() {
                // Pairs of characters have no stems, and are too many to remember.
                if !analyser.is_stopword(word) {
                    found(Token { term: word, word, index: term_index(word), bytes, position });
                }
                return;
            }
            if let Some((term, index)) = known.term(word, analyser) {
                found(Token { term, word, index, bytes, position });
            }
        };
        if analyser.cuts_at_other_characters() {
            cut_at_other_characters(text, take)
        } else {
            cut_by_unicode(text, take)
        }
    }
}

impl TermCache {
    /// The term of a normalised word and its index, unless it is left out.
    fn term(&mut self, word: &str, analyser: &Analyser) -> Option<(&str, u32)> {
        let hash = xxh3_64_with_seed(word.as_bytes(), self.seed);
        let place = hash as usize % self.places.len();
        let hit = self.places.get(place).is_some_and(|entry| entry.is(word, hash));
        if !hit {
            let is_kept = analyser.reduce(word, &mut self.letters, &mut self.term);
            let index = if is_kept { term_index(&self.term) } else { 0 };
            if word.len() + self.term.len() > LONGEST_REMEMBERED {
                return is_kept.then_some((&self.term, index));
            }
            self.remember(word, CachedTerm { hash, index, is_kept, ..CachedTerm::default() });
        }
        let entry = self.places.get(hash as usize % self.places.len())?;
        entry.is_kept.then(|| (entry.text.get(entry.word_length..).unwrap_or_default(), entry.index))
    }

    fn remember(&mut self, word: &str, entry: CachedTerm) {
        self.missed += 1;
        if self.missed > self.places.len() && self.places.len() < MOST_PLACES {
            self.places = vec![CachedTerm::default(); 4 * self.places.len()];
            self.missed = 0;
        }
        let place = entry.hash as usize % self.places.len();
        if let Some(known) = self.places.get_mut(place) {
            let mut text = std::mem::take(&mut known.text);
            text.clear();
            text.push_str(word);
            text.push_str(&self.term);
            *known = CachedTerm { text, word_length: word.len(), ..entry };
        }
    }
}

impl CachedTerm {
    #[inline]
    fn is(&self, word: &str, hash: u64) -> bool {
        // An empty place has the hash 0 and an empty text; no word is empty.
        self.hash == hash && self.text.get(..self.word_length) == Some(word)
    }
}
