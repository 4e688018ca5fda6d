//! Bytes ↔ values. Records in Parquet, graphs in Arrow IPC, HEAD in JSON; see `docs/format.md`.
//! Everything read here comes from a bucket and is untrusted: every decoder checks before it uses and
//! answers [`FormatError`], never a panic.

pub mod graph;
pub mod rows;

pub use rows::{Embeddings, Op, Row, Rows};

/// Format number of `drumlin.json`, HEAD, commits and segments written by this version.
pub const FORMAT: u64 = 1;

/// Why stored bytes could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes do not parse, or say what cannot be.
    #[error("{0}")]
    Damaged(String),
    /// Written by a newer Drumlin.
    #[error("format {found} is newer than the {known} this version reads; use a newer Drumlin")]
    Newer {
        /// The format number found.
        found: u64,
        /// The newest number this version knows.
        known: u64,
    },
}
