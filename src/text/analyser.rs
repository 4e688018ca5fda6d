//! The analyser of a collection's texts: words are cut, brought to lower case, left out if they are stopwords or too
//! long, and reduced to stems.
//! Invariant: with the default settings the terms of a text are exactly those of Python's `chroma_bm25`. A term depends
//! on its word alone, never on the text around it, so terms may be remembered from one text to the next.

use std::collections::HashSet;
use std::fmt;

use rust_stemmers::{Algorithm, Stemmer};

use super::english::stem_english;
use super::normal_form::{fold, lower};
use super::settings::{EnglishStemmer, Language, TextSettings};
use super::stopwords::stopwords_of;
use super::tokeniser::Tokeniser;
use crate::error::Result;

/// Turns texts into terms. One is shared by all threads; each makes a [`Tokeniser`] of it.
pub struct Analyser {
    settings: TextSettings,
    stemmer: Stemming,
    stopwords: HashSet<String>,
    fingerprint: u64,
}

impl fmt::Debug for Analyser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analyser").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// How a word is reduced.
enum Stemming {
    English(EnglishStemmer),
    Other(Stemmer),
    Whole,
}

impl Analyser {
    /// # Errors
    /// `Invalid` names the setting that is out of bounds.
    pub fn new(settings: &TextSettings) -> Result<Analyser> {
        settings.check()?;
        let stemmer = match algorithm(settings.language) {
            _ if !settings.stemming => Stemming::Whole,
            Some(algorithm) => Stemming::Other(Stemmer::create(algorithm)),
            None if settings.language == Language::English => Stemming::English(settings.stemmer),
            None => Stemming::Whole,
        };
        let (stopwords, fingerprint) = (HashSet::new(), settings.fingerprint());
        let mut analyser = Analyser { settings: settings.clone(), stemmer, stopwords, fingerprint };
        let form = |word: &str| {
            let mut form = String::new();
            analyser.normalise(word, &mut form);
            form
        };
        let stopwords = match &settings.stopwords {
            Some(words) => words.iter().map(|word| form(word)).collect(),
            None => stopwords_of(settings.language).split_whitespace().map(form).collect(),
        };
        analyser.stopwords = stopwords;
        Ok(analyser)
    }

    /// The settings' [`TextSettings::fingerprint`], which takes a walk over tables of characters to compute.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The settings it was made of.
    pub fn settings(&self) -> &TextSettings {
        &self.settings
    }

    /// A tokeniser for one thread and any number of texts.
    pub fn tokeniser(&self) -> Tokeniser<'_> {
        Tokeniser::new(self)
    }

    /// Whether words are the runs of `\w`, as in `chroma_bm25`.
    pub(super) fn cuts_at_other_characters(&self) -> bool {
        self.settings.language == Language::English
    }

    /// Writes a word of a text into `form`, as it is compared and remembered.
    pub(super) fn normalise(&self, word: &str, form: &mut String) {
        match self.settings.language {
            Language::English => lower(word, form),
            language => fold(word, language, form),
        }
    }

    /// Whether a normalised word is left out.
    pub(super) fn is_stopword(&self, word: &str) -> bool {
        self.stopwords.contains(word)
    }

    /// Whether a word has more code points than are kept.
    pub(super) fn is_too_long(&self, word: &str) -> bool {
        word.chars().nth(self.settings.token_max_length).is_some()
    }

    /// Writes the term of a normalised word into `term`, or says that it has none. `letters` is room for work.
    pub(super) fn reduce(&self, word: &str, letters: &mut Vec<u8>, term: &mut String) -> bool {
        if self.is_stopword(word) || self.is_too_long(word) {
            return false;
        }
        match &self.stemmer {
            Stemming::English(generation) => stem_english(word, *generation, letters, term),
            Stemming::Other(stemmer) => {
                term.clear();
                term.push_str(&stemmer.stem(word));
            }
            Stemming::Whole => {
                term.clear();
                term.push_str(word);
            }
        }
        !term.is_empty()
    }
}

/// The stemmer of a language in the crate `rust-stemmers`.
fn algorithm(language: Language) -> Option<Algorithm> {
    Some(match language {
        Language::Arabic => Algorithm::Arabic,
        Language::Danish => Algorithm::Danish,
        Language::Dutch => Algorithm::Dutch,
        Language::Finnish => Algorithm::Finnish,
        Language::French => Algorithm::French,
        Language::German => Algorithm::German,
        Language::Greek => Algorithm::Greek,
        Language::Hungarian => Algorithm::Hungarian,
        Language::Italian => Algorithm::Italian,
        Language::Norwegian => Algorithm::Norwegian,
        Language::Portuguese => Algorithm::Portuguese,
        Language::Romanian => Algorithm::Romanian,
        Language::Russian => Algorithm::Russian,
        Language::Spanish => Algorithm::Spanish,
        Language::Swedish => Algorithm::Swedish,
        Language::Tamil => Algorithm::Tamil,
        Language::Turkish => Algorithm::Turkish,
        Language::English | Language::Unicode => return None,
    })
}

#[cfg(test)]
#[path = "analyser_tests.rs"]
pub(in crate::text) mod tests;
