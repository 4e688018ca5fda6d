//! Texts: how documents become terms, how a query over words is read, and which words of a document it found.
//! Invariant: a pure function of texts and [`TextSettings`]. It knows no index and no collection, and whatever a text
//! holds, places in it are on character boundaries and memory stays in proportion to it.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod analyser;
mod bm25;
mod cutting;
mod english;
mod fragment_choice;
mod fragments;
mod matching;
mod normal_form;
mod query;
mod query_options;
mod settings;
mod splitting;
mod stopwords;
mod term_pattern;
mod tokeniser;
mod word_characters;

pub use analyser::Analyser;
pub use bm25::{Encoded, term_index};
pub use fragments::{Fragment, HighlightSettings, HighlightTags};
pub use matching::WordHit;
pub use query::{Occur, PhraseTerm, QueryClause, TextQuery};
pub use query_options::{MinimumMatch, QueryLimits, QueryOptions, Typos};
pub use settings::{EnglishStemmer, Language, MAX_STOPWORDS, TextSettings};
pub use splitting::{SplitUnit, Splitting};
pub use term_pattern::{TermMatch, TermPattern};
pub use tokeniser::{Token, Tokeniser};
