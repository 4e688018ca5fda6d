//! An inverted-index object's content: the terms of documents or the dimensions of sparse vectors, each with its
//! postings, for every run of chunks that one segment becomes. Invariant, kept by [`TextColumns::checked`] and
//! [`SparseColumns::checked`] and so true of every value: all columns agree on their lengths; blocks are neither empty
//! nor too large; the rows of a term ascend strictly and exist; terms ascend strictly; frequencies add up to the rows'
//! lengths; weights are finite. Searches rely on it.

mod check;
#[cfg(test)]
mod check_tests;
mod decode;
mod encode;
#[cfg(test)]
mod inverted_tests;
mod layout;

use arrow::array::StringArray;
use arrow::buffer::ScalarBuffer;
use roaring::RoaringBitmap;

use super::{Checksum, FormatError};

pub use decode::decode_inverted;
pub use encode::encode_inverted;

/// Format number of inverted-index objects; it is independent of [`super::FORMAT`]. Format 1 is read as well: there a
/// part is the index of one chunk.
pub const INVERTED_FORMAT: u64 = 2;

/// Most postings of a block.
pub const BLOCK_POSTINGS: usize = 128;
/// A frequency from this on is among the large ones.
pub const LARGE_FREQUENCY: u8 = u8::MAX;
/// Most rows of a part.
pub const MAX_PART_ROWS: usize = 1 << 20;

/// What is indexed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum InvertedKind {
    /// The documents.
    Text {
        /// That of the analyser's settings.
        fingerprint: u64,
    },
    /// Sparse vectors.
    Sparse {
        /// The metadata key that holds them.
        metadata_key: String,
    },
}

/// The header of an object: its schema metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvertedHeader {
    /// The stream whose records these are.
    pub stream: String,
    /// The checksum of the segment object whose rows these are.
    pub segment: Checksum,
    /// What is indexed.
    pub kind: InvertedKind,
}

/// The index of each run of chunks that the segment becomes, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum InvertedParts {
    /// Of documents.
    Text(Vec<TextColumns>),
    /// Of sparse vectors.
    Sparse(Vec<SparseColumns>),
}

/// A loaded inverted index of a segment.
#[derive(Debug)]
pub struct Inverted {
    /// What it is an index of.
    pub kind: InvertedKind,
    /// The index of each run of chunks that the segment becomes.
    pub parts: InvertedParts,
}

/// The posting lists of terms 0..t, whatever a term is. A list is split into blocks of at most [`BLOCK_POSTINGS`] rows.
/// Postings are numbered through all blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    /// Term t has the blocks `term_blocks[t]..term_blocks[t + 1]`, at least one.
    pub term_blocks: ScalarBuffer<u32>,
    /// Block b has the postings `block_postings[b]..block_postings[b + 1]`, at least one.
    pub block_postings: ScalarBuffer<u32>,
    /// The first row of each block.
    pub block_rows: ScalarBuffer<u32>,
    /// Per posting: its row less the first of its block.
    pub rows: ScalarBuffer<u16>,
}

/// The columns of a text index over rows 0..n.
#[derive(Debug, Clone, PartialEq)]
pub struct TextLists {
    /// The terms, strictly ascending by their bytes.
    pub terms: StringArray,
    /// Their postings.
    pub blocks: Blocks,
    /// Per posting: how often the row has the term; [`LARGE_FREQUENCY`]: see `large_frequencies`.
    pub frequencies: ScalarBuffer<u8>,
    /// The postings whose frequency is [`LARGE_FREQUENCY`] or more, ascending.
    pub large_postings: ScalarBuffer<u32>,
    /// The frequencies of these.
    pub large_frequencies: ScalarBuffer<u32>,
    /// Per row, its tokens: the sum of its frequencies. 0 for rows without text.
    pub lengths: ScalarBuffer<u32>,
    /// Rows that have text, even an empty one.
    pub documents: RoaringBitmap,
}

/// The columns of an index of sparse vectors over rows 0..`rows`.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseLists {
    /// n.
    pub rows: u32,
    /// The dimensions, strictly ascending; they are the terms.
    pub dimensions: ScalarBuffer<u32>,
    /// Their postings.
    pub blocks: Blocks,
    /// Per posting, finite.
    pub weights: ScalarBuffer<f32>,
}

/// The columns of a text index, checked. A clone shares them.
#[derive(Debug, Clone, PartialEq)]
pub struct TextColumns(TextLists);

/// The columns of an index of sparse vectors, checked. A clone shares them.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseColumns(SparseLists);

impl TextColumns {
    /// Checks everything that the invariant names. Linear in the index's size.
    pub fn checked(lists: TextLists) -> Result<TextColumns, FormatError> {
        check::check_text(&lists)?;
        Ok(TextColumns(lists))
    }

    /// The columns.
    #[inline]
    pub fn lists(&self) -> &TextLists {
        &self.0
    }

    /// How many rows it is over.
    pub fn rows(&self) -> u32 {
        self.0.lengths.len() as u32
    }
}

impl SparseColumns {
    /// Checks everything that the invariant names. Linear in the index's size.
    pub fn checked(lists: SparseLists) -> Result<SparseColumns, FormatError> {
        check::check_sparse(&lists)?;
        Ok(SparseColumns(lists))
    }

    /// The columns.
    #[inline]
    pub fn lists(&self) -> &SparseLists {
        &self.0
    }

    /// How many rows it is over.
    pub fn rows(&self) -> u32 {
        self.0.rows
    }
}

/// What errors of reading call an object.
const WHAT: &str = "inverted index";

fn damaged<T>(message: impl Into<String>) -> Result<T, FormatError> {
    Err(FormatError::Damaged(format!("{WHAT}: {}", message.into())))
}
