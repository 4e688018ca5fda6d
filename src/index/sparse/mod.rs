//! Inverted indexes: sparse vectors scored by their inner product, and full text scored by BM25. Both lay out their
//! postings in the same blocks ([`blocks`]), with a byte per row for frequent terms ([`columns`]), and are evaluated in
//! the same ways ([`evaluate`]). An index is over the rows 0..n of one chunk or of several, one behind the other, and
//! never changes; which rows live is for the caller to say ([`rows`]).
//! Invariant: the rows offered to a [`Collector`], and the bits of their scores, are those of a scan of all rows: what
//! is skipped is strictly below the collector's threshold.

mod blocks;
mod bounded;
mod columns;
mod dictionary;
mod evaluate;
mod exhaustive;
mod gather;
mod query;
mod rows;
mod text;
mod text_impacts;
mod text_merge;
mod vectors;
mod window;

#[cfg(test)]
mod bounded_tests;
#[cfg(test)]
mod rows_tests;
#[cfg(test)]
mod stored_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod text_tests;

pub use gather::{DROPPED, MergePart};
pub use query::{Collector, SparseQuery, TermGroup, TermQuery, TextSearch, VectorSearch, WeightedTerm};
pub use rows::{ChunkRows, IndexRows};
pub use text::{TextIndex, TextIndexBuilder, TextStatistics};
pub use vectors::{SparseIndex, SparseIndexBuilder};
