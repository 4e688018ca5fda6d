//! What a collection says about its texts: language, stemming, stopwords, and the constants of BM25.
//! Invariant: the defaults are those of Chroma's `chroma_bm25`, so that one index serves its clients and ours. Settings
//! that [`TextSettings::check`] lets through make an analyser.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use super::word_characters;
use crate::error::{Error, Result};

/// Stopwords of one collection, at most.
pub const MAX_STOPWORDS: usize = 10_000;
/// Code points of one stopword, at most.
const MAX_STOPWORD_LENGTH: usize = 100;
/// Code points that `token_max_length` may allow.
const MAX_TOKEN_LENGTH: usize = 1_000;
const MAX_K1: f64 = 1_000.0;
const MAX_AVG_DOC_LENGTH: f64 = 1e9;

/// Counts changes of the rules in this room. Part of [`TextSettings::fingerprint`].
const RULES: u32 = 1;

/// How texts are cut into terms, and how terms are weighed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TextSettings {
    /// The language of the texts. `english` cuts words as `chroma_bm25` does, all others by Unicode's rules.
    pub language: Language,
    /// Whether words are reduced to their stems.
    pub stemming: bool,
    /// The generation of the English stemmer. Other languages have one.
    pub stemmer: EnglishStemmer,
    /// Words to leave out, in place of the language's own; `[]` leaves none out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopwords: Option<Vec<String>>,
    /// BM25's k₁: how soon more occurrences of a term stop to count. 0: they never count.
    pub k1: f64,
    /// BM25's b: how much the length of a document counts, from 0 to 1.
    pub b: f64,
    /// The length, in terms, of a document that is neither long nor short.
    pub avg_doc_length: f64,
    /// Words of more code points are left out.
    pub token_max_length: usize,
}

impl Default for TextSettings {
    fn default() -> TextSettings {
        TextSettings {
            language: Language::English,
            stemming: true,
            stemmer: EnglishStemmer::Snowball3,
            stopwords: None,
            k1: 1.2,
            b: 0.75,
            avg_doc_length: 256.0,
            token_max_length: 40,
        }
    }
}

impl TextSettings {
    /// Whether nothing differs from the default.
    pub(crate) fn is_default(&self) -> bool {
        *self == TextSettings::default()
    }

    /// # Errors
    /// `Invalid` names the field that is out of bounds.
    pub fn check(&self) -> Result<()> {
        let invalid = |field: &str, expected: &str, got: &dyn fmt::Display| {
            Err(Error::invalid(format!("text.{field}: expected {expected}, got {got}")))
        };
        if !(0.0..=MAX_K1).contains(&self.k1) {
            return invalid("k1", &format!("a number from 0 to {MAX_K1}"), &self.k1);
        }
        if !(0.0..=1.0).contains(&self.b) {
            return invalid("b", "a number from 0 to 1", &self.b);
        }
        if !(self.avg_doc_length > 0.0 && self.avg_doc_length <= MAX_AVG_DOC_LENGTH) {
            let expected = format!("a number above 0, at most {MAX_AVG_DOC_LENGTH}");
            return invalid("avg_doc_length", &expected, &self.avg_doc_length);
        }
        if !(1..=MAX_TOKEN_LENGTH).contains(&self.token_max_length) {
            let expected = format!("a whole number from 1 to {MAX_TOKEN_LENGTH}");
            return invalid("token_max_length", &expected, &self.token_max_length);
        }
        let stopwords = self.stopwords.as_deref().unwrap_or_default();
        if stopwords.len() > MAX_STOPWORDS {
            return invalid("stopwords", &format!("at most {MAX_STOPWORDS} words"), &stopwords.len());
        }
        let long = |word: &String| word.chars().nth(MAX_STOPWORD_LENGTH).is_some();
        if let Some(at) = stopwords.iter().position(|word| word.is_empty() || long(word)) {
            let got = stopwords.get(at).map_or(0, |word| word.chars().count());
            return invalid(&format!("stopwords[{at}]"), &format!("1 to {MAX_STOPWORD_LENGTH} characters"), &got);
        }
        Ok(())
    }

    /// A number that changes with all that decides which terms a text has: these settings, the rules of this room, and
    /// the versions of Unicode. An index made under another one is made anew. k₁, b and the average length are not part
    /// of it.
    pub fn fingerprint(&self) -> u64 {
        let terms = TextSettings { k1: 0.0, b: 0.0, avg_doc_length: 0.0, ..self.clone() };
        let versions =
            (char::UNICODE_VERSION, unicode_segmentation::UNICODE_VERSION, unicode_normalization::UNICODE_VERSION);
        let characters = word_characters::fingerprint();
        xxh3_64(format!("{RULES} {versions:?} {characters} {terms:?}").as_bytes())
    }
}

/// The generation of Snowball's English stemmer. Python's `snowballstemmer` changed from one to the other with 3.0;
/// clients in JavaScript and Rust have the second generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnglishStemmer {
    /// As `snowballstemmer` 2.2.0: "university" has the stem "univers".
    Snowball2,
    /// As `snowballstemmer` 3.1.1: "university" has the stem "universiti".
    #[default]
    Snowball3,
}

/// The language of a collection's texts. In all but `english`, words are cut by Unicode's rules (UAX #29) in NFKC, and
/// scripts without spaces by pairs of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub enum Language {
    /// Arabic.
    Arabic,
    /// Danish.
    Danish,
    /// Dutch.
    Dutch,
    /// English, cut and stemmed as `chroma_bm25` does. The default, whatever a text's language is.
    #[default]
    English,
    /// Finnish.
    Finnish,
    /// French.
    French,
    /// German.
    German,
    /// Greek.
    Greek,
    /// Hungarian.
    Hungarian,
    /// Italian.
    Italian,
    /// Norwegian, Bokmål.
    Norwegian,
    /// Portuguese.
    Portuguese,
    /// Romanian.
    Romanian,
    /// Russian.
    Russian,
    /// Spanish.
    Spanish,
    /// Swedish.
    Swedish,
    /// Tamil.
    Tamil,
    /// Turkish.
    Turkish,
    /// No language: Unicode's rules, and no stems. For Chinese, Japanese, Korean, Thai, and texts in many languages.
    Unicode,
}

impl Language {
    /// All languages.
    pub const ALL: &[Language] = &[
        Language::Arabic,
        Language::Danish,
        Language::Dutch,
        Language::English,
        Language::Finnish,
        Language::French,
        Language::German,
        Language::Greek,
        Language::Hungarian,
        Language::Italian,
        Language::Norwegian,
        Language::Portuguese,
        Language::Romanian,
        Language::Russian,
        Language::Spanish,
        Language::Swedish,
        Language::Tamil,
        Language::Turkish,
        Language::Unicode,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Language::Arabic => "arabic",
            Language::Danish => "danish",
            Language::Dutch => "dutch",
            Language::English => "english",
            Language::Finnish => "finnish",
            Language::French => "french",
            Language::German => "german",
            Language::Greek => "greek",
            Language::Hungarian => "hungarian",
            Language::Italian => "italian",
            Language::Norwegian => "norwegian",
            Language::Portuguese => "portuguese",
            Language::Romanian => "romanian",
            Language::Russian => "russian",
            Language::Spanish => "spanish",
            Language::Swedish => "swedish",
            Language::Tamil => "tamil",
            Language::Turkish => "turkish",
            Language::Unicode => "unicode",
        }
    }
}

impl From<Language> for &'static str {
    fn from(language: Language) -> &'static str {
        language.name()
    }
}

impl FromStr for Language {
    type Err = Error;

    fn from_str(name: &str) -> Result<Language> {
        let known = Language::ALL.iter().find(|language| language.name() == name);
        known.copied().ok_or_else(|| {
            let names: Vec<&str> = Language::ALL.iter().map(|language| language.name()).collect();
            Error::invalid(format!("text.language: expected one of {}, got {name:?}", names.join(", ")))
        })
    }
}

impl TryFrom<String> for Language {
    type Error = Error;

    fn try_from(name: String) -> Result<Language> {
        name.parse()
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
