//! Bytes ↔ values. Records in Parquet, graphs in Arrow IPC, HEAD in JSON; see `docs/format.md`. Everything read here
//! comes from a bucket and is untrusted. Every decoder checks before it uses, and fails with [`FormatError`], never
//! with a panic.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod arrow_file;
pub mod checksum;
mod columns;
pub mod commit;
pub mod contained;
pub mod file_record;
pub mod graph;
pub mod head;
mod head_entries;
pub mod inverted;
pub mod key_types;
pub mod map;
pub mod merge;
mod pages;
pub mod parquet_pages;
pub mod pieces;
mod record_file;
pub mod rows;
pub mod segment;
pub mod store_file;
pub mod stream_config;

pub use checksum::{Checksum, Nonce};
pub use commit::{
    Chain, Commit, CommitHeader, CommitKind, Handover, Successor, decode_commit, encode_commit, move_commit,
};
pub use pieces::Pieces;
pub use rows::{Embeddings, Row, RowOp, Rows};
pub use segment::{SegmentReader, SegmentWriter, decode_segment};
pub use stream_config::StreamConfig;

use crate::error::Error;

/// Format number of `drumlin.json`, HEAD and the records of files.
pub const FORMAT: u64 = 1;
/// The newest format number of commits and segments: that of a commit which names a successor. All others are written
/// as [`SPARSE_FORMAT`] or number 1, which older versions read: see [`Rows::format`].
pub const ROWS_FORMAT: u64 = 3;
/// The format number of commits and segments with sparse vectors.
pub const SPARSE_FORMAT: u64 = 2;

/// Why stored bytes could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes do not parse, or hold impossible values.
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
    /// The value handed to an encoder breaks a rule of the format: a bug of the caller.
    #[error("cannot be stored: {0}")]
    Invalid(String),
}

impl FormatError {
    /// The public error of an object that could not be read (or made), naming its key.
    pub fn at(self, key: &str) -> Error {
        match self {
            FormatError::Damaged(_) | FormatError::Newer { .. } => Error::corrupted(format!("{key}: {self}")),
            FormatError::Invalid(_) => Error::internal(format!("{key}: {self}")),
        }
    }
}
