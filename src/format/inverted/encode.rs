//! Inverted indexes → Arrow IPC file: one record batch of one row per part, uncompressed. The columns are written as
//! they lie in memory.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float32Array, ListArray, RecordBatch, StructArray, UInt8Array, UInt16Array, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;

use super::layout::{columns, element, fields};
use super::{
    Blocks, INVERTED_FORMAT, InvertedHeader, InvertedKind, InvertedParts, MAX_PART_ROWS, SparseLists, TextLists,
};
use crate::error::{Error, Result};

/// The object of these parts.
///
/// # Errors
/// `Internal`: the parts are not of the header's kind, or one has more than [`MAX_PART_ROWS`] rows.
pub fn encode_inverted(header: &InvertedHeader, parts: &InvertedParts) -> Result<Vec<u8>> {
    let most = match parts {
        InvertedParts::Text(parts) => parts.iter().map(|part| part.rows()).max(),
        InvertedParts::Sparse(parts) => parts.iter().map(|part| part.rows()).max(),
    };
    if let Some(rows) = most.filter(|rows| *rows as usize > MAX_PART_ROWS) {
        return Err(Error::internal(format!("a part of an inverted index has {rows} rows, more than {MAX_PART_ROWS}")));
    }
    write(header, parts).map_err(|e| Error::internal("an inverted index could not be encoded").with_source(e))
}

fn write(header: &InvertedHeader, parts: &InvertedParts) -> Result<Vec<u8>, ArrowError> {
    let metadata: HashMap<String, String> =
        metadata(header).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let schema = Arc::new(Schema::new_with_metadata(columns(&header.kind), metadata));
    let mut writer = FileWriter::try_new(Vec::new(), &schema)?;
    match (&header.kind, parts) {
        (InvertedKind::Text { .. }, InvertedParts::Text(parts)) => {
            parts.iter().try_for_each(|part| writer.write(&text_batch(&schema, part.lists())?))?;
        }
        (InvertedKind::Sparse { .. }, InvertedParts::Sparse(parts)) => {
            parts.iter().try_for_each(|part| writer.write(&sparse_batch(&schema, part.lists())?))?;
        }
        _ => return Err(ArrowError::InvalidArgumentError("the parts are not of the header's kind".into())),
    }
    writer.finish()?;
    writer.into_inner()
}

/// The schema's key-value metadata.
fn metadata(header: &InvertedHeader) -> [(&'static str, String); 5] {
    let (kind, name, value) = match &header.kind {
        InvertedKind::Text { fingerprint } => ("text", "fingerprint", format!("{fingerprint:016x}")),
        InvertedKind::Sparse { metadata_key } => ("sparse", "metadata_key", metadata_key.clone()),
    };
    [
        ("inverted_format", INVERTED_FORMAT.to_string()),
        ("stream", header.stream.clone()),
        ("segment", header.segment.to_string()),
        ("kind", kind.to_owned()),
        (name, value),
    ]
}

fn text_batch(schema: &SchemaRef, lists: &TextLists) -> Result<RecordBatch, ArrowError> {
    let rows = lists.lengths.len();
    let has_text = BooleanBuffer::collect_bool(rows, |row| lists.documents.contains(row as u32));
    let lengths =
        UInt32Array::new(lists.lengths.clone(), Some(NullBuffer::new(has_text)).filter(|b| b.null_count() > 0));
    let frequencies = Arc::new(UInt8Array::new(lists.frequencies.clone(), None));
    let blocks = block_lists(&lists.blocks, "frequency", frequencies)?;
    let terms = structs([("term", Arc::new(lists.terms.clone())), ("blocks", blocks)])?;
    let large = structs([
        ("posting", Arc::new(UInt32Array::new(lists.large_postings.clone(), None))),
        ("frequency", Arc::new(UInt32Array::new(lists.large_frequencies.clone(), None))),
    ])?;
    let lengths = ListArray::try_new(
        element(lengths.data_type().clone(), true),
        OffsetBuffer::from_lengths([rows]),
        Arc::new(lengths),
        None,
    )?;
    RecordBatch::try_new(schema.clone(), vec![Arc::new(lengths), whole(terms)?, whole(large)?])
}

fn sparse_batch(schema: &SchemaRef, lists: &SparseLists) -> Result<RecordBatch, ArrowError> {
    let weights = Arc::new(Float32Array::new(lists.weights.clone(), None));
    let blocks = block_lists(&lists.blocks, "weight", weights)?;
    let dimensions = Arc::new(UInt32Array::new(lists.dimensions.clone(), None));
    let dimensions = structs([("dimension", dimensions), ("blocks", blocks)])?;
    let rows = Arc::new(UInt32Array::from(vec![lists.rows]));
    RecordBatch::try_new(schema.clone(), vec![rows, whole(dimensions)?])
}

/// Per term its blocks, whose postings carry `values`.
fn block_lists(blocks: &Blocks, name: &str, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let distances = Arc::new(UInt16Array::new(blocks.rows.clone(), None));
    let postings = list(&blocks.block_postings, structs([("distance", distances), (name, values)])?)?;
    let first_rows = Arc::new(UInt32Array::new(blocks.block_rows.clone(), None));
    list(&blocks.term_blocks, structs([("first_row", first_rows), ("postings", postings)])?)
}

fn structs<const N: usize>(arrays: [(&str, ArrayRef); N]) -> Result<ArrayRef, ArrowError> {
    let types = arrays.each_ref().map(|(name, array)| (*name, array.data_type().clone()));
    let arrays = arrays.into_iter().map(|(_, array)| array).collect();
    Ok(Arc::new(StructArray::try_new(fields(types), arrays, None)?))
}

/// Lists of `values`. The offsets of checked columns rise.
fn list(offsets: &ScalarBuffer<u32>, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let last = offsets.last().copied().unwrap_or(0);
    i32::try_from(last).map_err(|_| ArrowError::OffsetOverflowError(last as usize))?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets.inner().clone()));
    Ok(Arc::new(ListArray::try_new(element(values.data_type().clone(), false), offsets, values, None)?))
}

/// One list of all values.
fn whole(values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    Ok(Arc::new(ListArray::try_new(element(values.data_type().clone(), false), offsets, values, None)?))
}
