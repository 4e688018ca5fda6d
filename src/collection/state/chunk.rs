//! A chunk: put rows of a collection as immutable columns, in address order, shared by all snapshots that hold them.
//! Columns of a decoded commit or row group are used in place, not copied.
//! Invariants: addresses strictly ascend; ids are distinct; `vectors` is rows × `dim`; a chunk has at least one row
//! and at most [`CHUNK_ROWS`].

use std::sync::OnceLock;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave;
use roaring::RoaringBitmap;

use super::id_table::{IdHasher, IdTable};
use super::inverted::{IndexShare, InvertedIndexes};
use crate::collection::estimate;
use crate::error;
use crate::filter::{Columns, Filter, RowTexts};
use crate::format::FormatError;
use crate::format::inverted::InvertedKind;
use crate::index::{SparseIndex, TextIndex, Vectors, inverse_norms};
use crate::interrupt::Interrupt;
use crate::record::{Address, Metadata, Metric};
use crate::text::Analyser;

/// The most rows of a chunk.
pub const CHUNK_ROWS: usize = 16_384;
/// The most bytes of a chunk made by merging (one row may be larger).
pub const CHUNK_BYTES: usize = 32 << 20;

/// The properties that the chunks of one collection share.
#[derive(Debug, Clone, Copy)]
pub struct ChunkKind {
    pub metric: Metric,
    pub dim: usize,
    /// Whether the collection was declared to have no embeddings: `dim` is 0 for good.
    pub bare: bool,
    pub hasher: IdHasher,
}

/// The columns of a chunk, all of one length (`vectors`: × `dim`).
#[derive(Debug, Clone)]
pub struct ChunkColumns {
    pub addresses: ScalarBuffer<u64>,
    pub positions: ScalarBuffer<u64>,
    pub embedded: ScalarBuffer<u64>,
    pub ids: StringArray,
    pub vectors: ScalarBuffer<f32>,
    pub documents: StringArray,
    pub uris: StringArray,
    pub metadatas: StringArray,
}

#[derive(Debug)]
pub struct Chunk {
    columns: ChunkColumns,
    dim: usize,
    /// 1 / |v| of each row, under cosine.
    inverse_norms: Option<Vec<f32>>,
    table: IdTable,
    /// Rows whose position is not their address: updates of older records.
    moved: RoaringBitmap,
    /// Rows whose embedding an earlier row wrote, with that row's address.
    carried: Vec<(u64, u32)>,
    /// Metadata by key, built by the first filter.
    by_key: OnceLock<Columns>,
    /// Documents by term and sparse vectors by dimension, built by the first search for them.
    inverted: InvertedIndexes,
}

impl Chunk {
    /// Makes a chunk of checked columns. Fails if ids repeat or addresses do not ascend.
    pub fn new(columns: ChunkColumns, kind: ChunkKind) -> Result<Chunk, FormatError> {
        let ChunkColumns { addresses, positions, embedded, ids, vectors, .. } = &columns;
        if !addresses.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(FormatError::Damaged("addresses of rows do not ascend".into()));
        }
        let table = IdTable::build(ids, kind.hasher)
            .map_err(|row| FormatError::Damaged(format!("row {row}: id {:?} is there twice", ids.value(row))))?;
        let inverse_norms = (kind.metric.normalises() && kind.dim > 0).then(|| inverse_norms(vectors, kind.dim));
        let rows = || (0u32..).zip(addresses.iter());
        let moved = rows().zip(positions.iter()).filter(|((_, a), p)| a != p).map(|((row, _), _)| row).collect();
        let carried = rows().zip(embedded.iter()).filter(|((_, a), e)| a != e).map(|((row, _), e)| (*e, row));
        let mut carried: Vec<(u64, u32)> = carried.collect();
        carried.sort_unstable();
        let (by_key, inverted) = (OnceLock::new(), InvertedIndexes::default());
        Ok(Chunk { dim: kind.dim, inverse_norms, table, moved, carried, by_key, inverted, columns })
    }

    /// Makes one chunk from chosen rows of several. The given order must be address order.
    pub fn gather(chunks: &[&Chunk], rows: &[(usize, usize)], kind: ChunkKind) -> Result<Chunk, FormatError> {
        let numbers = |column: fn(&Chunk) -> &ScalarBuffer<u64>| -> ScalarBuffer<u64> {
            rows.iter().map(|(chunk, row)| column(chunks[*chunk])[*row]).collect()
        };
        let mut vectors = Vec::with_capacity(rows.len() * kind.dim);
        rows.iter().for_each(|(chunk, row)| vectors.extend_from_slice(chunks[*chunk].vector(*row as u32)));
        let columns = ChunkColumns {
            addresses: numbers(|c| &c.columns.addresses),
            positions: numbers(|c| &c.columns.positions),
            embedded: numbers(|c| &c.columns.embedded),
            ids: texts(chunks, rows, |c| &c.columns.ids)?,
            vectors: vectors.into(),
            documents: texts(chunks, rows, |c| &c.columns.documents)?,
            uris: texts(chunks, rows, |c| &c.columns.uris)?,
            metadatas: texts(chunks, rows, |c| &c.columns.metadatas)?,
        };
        let parts: Vec<(&InvertedIndexes, usize)> = chunks.iter().map(|c| (&c.inverted, c.len())).collect();
        Ok(Chunk { inverted: InvertedIndexes::merged(&parts, rows), ..Chunk::new(columns, kind)? })
    }

    /// The inverted indexes that were built or loaded so far.
    pub fn inverted(&self) -> &InvertedIndexes {
        &self.inverted
    }

    /// The inverted index of the documents, over all rows, dead ones included.
    pub fn text_index(&self, analyser: &Analyser) -> error::Result<IndexShare<TextIndex>> {
        self.inverted.text(analyser, &self.columns.documents)
    }

    /// The inverted index of a metadata key's sparse vectors, over all rows, dead ones included.
    pub fn sparse_index(&self, key: &str) -> error::Result<IndexShare<SparseIndex>> {
        self.inverted.sparse(key, &self.columns.metadatas)
    }

    pub fn len(&self) -> usize {
        self.columns.addresses.len()
    }

    /// The documents of all rows.
    pub fn documents(&self) -> &StringArray {
        &self.columns.documents
    }

    /// The metadata of all rows, as JSON texts.
    pub fn metadatas(&self) -> &StringArray {
        &self.columns.metadatas
    }

    /// The row with this id, dead or alive.
    pub fn row_of(&self, hash: u64, id: &str) -> Option<u32> {
        self.table.find(hash, |row| self.id(row) == id)
    }

    /// The row at this address, dead or alive.
    #[inline]
    pub fn row_at(&self, address: Address) -> Option<u32> {
        let addresses = &self.columns.addresses;
        // Most commits are a run of rows or one row each. If such a run begins at this chunk's first row, or ends at
        // its last, no search is needed.
        let from_first = address.0.wrapping_sub(self.first().0) as usize;
        let from_last = addresses.len().wrapping_sub(1).wrapping_sub(self.last().0.wrapping_sub(address.0) as usize);
        let guessed = [from_first, from_last].into_iter().find(|row| addresses.get(*row) == Some(&address.0));
        guessed.or_else(|| addresses.binary_search(&address.0).ok()).map(|row| row as u32)
    }

    /// Rows whose embedding an earlier row wrote at `embedded`.
    pub fn carriers(&self, embedded: Address) -> impl Iterator<Item = u32> + '_ {
        let from = self.carried.partition_point(|(e, _)| *e < embedded.0);
        self.carried[from..].iter().take_while(move |(e, _)| *e == embedded.0).map(|(_, row)| *row)
    }

    /// Rows whose embedding an earlier row wrote, with that row's address.
    pub fn carried(&self) -> &[(u64, u32)] {
        &self.carried
    }

    /// Rows whose position is not their address.
    pub fn moved(&self) -> &RoaringBitmap {
        &self.moved
    }

    pub fn first(&self) -> Address {
        Address(self.columns.addresses.first().copied().unwrap_or_default())
    }

    pub fn last(&self) -> Address {
        Address(self.columns.addresses.last().copied().unwrap_or_default())
    }

    pub fn address(&self, row: u32) -> Address {
        Address(self.columns.addresses[row as usize])
    }

    pub fn position(&self, row: u32) -> Address {
        Address(self.columns.positions[row as usize])
    }

    #[inline]
    pub fn embedded(&self, row: u32) -> Address {
        Address(self.columns.embedded[row as usize])
    }

    #[inline]
    pub fn id(&self, row: u32) -> &str {
        self.columns.ids.value(row as usize)
    }

    pub fn document(&self, row: u32) -> Option<&str> {
        text(&self.columns.documents, row)
    }

    pub fn uri(&self, row: u32) -> Option<&str> {
        text(&self.columns.uris, row)
    }

    /// JSON text.
    pub fn metadata(&self, row: u32) -> Option<&str> {
        text(&self.columns.metadatas, row)
    }

    /// The row's embedding, `dim` floats.
    pub fn vector(&self, row: u32) -> &[f32] {
        &self.columns.vectors[row as usize * self.dim..][..self.dim]
    }

    /// All embeddings, as scans take them.
    pub fn vectors(&self) -> Vectors<'_> {
        Vectors { values: &self.columns.vectors, dim: self.dim, inverse_norms: self.inverse_norms.as_deref() }
    }

    /// Rows among `rows` that match, dead ones included.
    pub fn matching(
        &self,
        filter: &Filter,
        rows: &RoaringBitmap,
        interrupt: &Interrupt,
    ) -> error::Result<RoaringBitmap> {
        // Reading a few rows one by one is quicker than sorting all rows by key.
        if rows.len() * 16 < self.len() as u64 && self.by_key.get().is_none() {
            let mut matching = RoaringBitmap::new();
            for row in rows {
                if self.matches(filter, row, interrupt)? {
                    matching.insert(row);
                }
            }
            return Ok(matching);
        }
        let by_key = self.by_key();
        let texts = RowTexts { ids: &self.columns.ids, documents: &self.columns.documents };
        Ok(filter.evaluate(by_key, texts, interrupt)? & rows)
    }

    /// Metadata by key, built where it is not yet.
    pub fn by_key(&self) -> &Columns {
        self.by_key.get_or_init(|| Columns::build(&self.columns.metadatas))
    }

    fn matches(&self, filter: &Filter, row: u32, interrupt: &Interrupt) -> error::Result<bool> {
        interrupt.check()?;
        let metadata = self.metadata(row).and_then(|text| Metadata::from_json_text(text).ok());
        filter.matches_within(self.id(row), metadata.as_ref(), self.document(row), interrupt)
    }

    /// Bytes of embeddings and norms.
    pub fn vector_bytes(&self) -> usize {
        (self.columns.vectors.len() + self.inverse_norms.as_ref().map_or(0, Vec::len)) * 4
    }

    /// Bytes of everything else but inverted indexes, which chunks share.
    pub fn record_bytes(&self) -> usize {
        let texts = self.texts().iter().map(|c| c.value_data().len().min(text_bytes(c)) + c.len() * 4).sum::<usize>();
        let filters = self.filter_bytes().unwrap_or(0);
        texts + self.len() * 24 + self.table.size_bytes() + self.carried.len() * 16 + filters
    }

    /// Bytes of the texts that an inverted index is made of.
    pub fn indexed_bytes(&self, kind: &InvertedKind) -> usize {
        text_bytes(match kind {
            InvertedKind::Text { .. } => &self.columns.documents,
            InvertedKind::Sparse { .. } => &self.columns.metadatas,
        })
    }

    /// Bytes of metadata arranged for filters; `None` until the first filter needed it.
    pub fn filter_bytes(&self) -> Option<usize> {
        self.by_key.get().map(Columns::size_bytes)
    }

    /// Bytes that merging `row` copies.
    pub fn row_bytes(&self, row: u32) -> usize {
        let texts = self.texts().iter().map(|c| c.value_length(row as usize) as usize).sum::<usize>();
        estimate::row(texts, self.dim)
    }

    /// Average bytes that merging a row copies.
    pub fn mean_row_bytes(&self) -> usize {
        let texts = self.texts().iter().map(|c| text_bytes(c)).sum::<usize>();
        estimate::row(texts / self.len().max(1), self.dim)
    }

    fn texts(&self) -> [&StringArray; 4] {
        let columns = &self.columns;
        [&columns.ids, &columns.documents, &columns.uris, &columns.metadatas]
    }
}

/// Bytes of the texts of an array, which may be a slice of a longer one.
fn text_bytes(column: &StringArray) -> usize {
    let offsets = column.value_offsets();
    (offsets.last().copied().unwrap_or_default() - offsets.first().copied().unwrap_or_default()) as usize
}

fn text(column: &StringArray, row: u32) -> Option<&str> {
    let row = row as usize;
    (!column.is_null(row)).then(|| column.value(row))
}

fn texts(
    chunks: &[&Chunk],
    rows: &[(usize, usize)],
    column: fn(&Chunk) -> &StringArray,
) -> Result<StringArray, FormatError> {
    let columns: Vec<&dyn Array> = chunks.iter().map(|c| column(c) as &dyn Array).collect();
    let joined: ArrayRef = interleave(&columns, rows).map_err(|e| FormatError::Damaged(e.to_string()))?;
    Ok(StringArray::from(joined.to_data()))
}
