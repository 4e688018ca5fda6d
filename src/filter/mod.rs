//! Filters: the `where` and `where_document` language as a tree, and its two evaluators. The evaluator over single
//! records ([`Filter::matches`]) is the reference; the one over a chunk's columns ([`Filter::evaluate`]) is fast.
//! Invariant: both select the same rows, for every filter and every row.

mod ast;
mod bitset;
mod columns;
mod date_time;
mod evaluate;
mod ingest;
mod literal;
mod parse;
mod pattern;
mod postings;
mod scalar;
mod values;

#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod language_tests;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod text_and_date_tests;

pub use ast::{Clause, Filter, FilterError};
pub use columns::{Columns, RowTexts};
pub use date_time::DateTime;
#[cfg(feature = "server")]
pub(crate) use parse::DOCUMENT_TESTS;
pub use scalar::{Limit, Number, Scalar};
