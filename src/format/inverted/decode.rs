//! Arrow IPC file → inverted indexes. The bytes come from a bucket: every position, length and value is checked before
//! use. Columns are copied, so that each part has just its own memory, however long the others are kept.

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::ArrowNativeType;
use roaring::RoaringBitmap;

use super::{
    Blocks, FormatError, INVERTED_FORMAT, InvertedHeader, InvertedKind, InvertedParts, MAX_PART_ROWS, SparseColumns,
    SparseLists, TextColumns, TextLists, WHAT, damaged, layout,
};
use crate::format::arrow_file::{ArrowFile, BatchArrays};

/// Reads an object and checks all of it, in time linear in its size. [`FormatError::Newer`]: another version's format;
/// build the index anew.
pub fn decode_inverted(bytes: &[u8]) -> Result<(InvertedHeader, InvertedParts), FormatError> {
    let file = ArrowFile::open(WHAT, bytes)?;
    let header = read_header(&file)?;
    let expected: Vec<_> = layout::columns(&header.kind).iter().map(|field| field.as_ref().clone()).collect();
    file.check_fields(&expected)?;
    let parts = match header.kind {
        InvertedKind::Text { .. } => {
            InvertedParts::Text(file.batches().map(|b| text_part(b?)).collect::<Result<_, _>>()?)
        }
        InvertedKind::Sparse { .. } => {
            InvertedParts::Sparse(file.batches().map(|b| sparse_part(b?)).collect::<Result<_, _>>()?)
        }
    };
    Ok((header, parts))
}

fn read_header(file: &ArrowFile<'_>) -> Result<InvertedHeader, FormatError> {
    let format: u64 = file.value("inverted_format")?;
    if !(1..=INVERTED_FORMAT).contains(&format) {
        return Err(FormatError::Newer { found: format, known: INVERTED_FORMAT });
    }
    let kind = match file.value::<String>("kind")?.as_str() {
        "text" => InvertedKind::Text { fingerprint: read_fingerprint(&file.value::<String>("fingerprint")?)? },
        "sparse" => InvertedKind::Sparse { metadata_key: file.text("metadata_key")?.to_owned() },
        other => return damaged(format!("kind {other:?} is neither text nor sparse")),
    };
    Ok(InvertedHeader { stream: file.text("stream")?.to_owned(), segment: file.value("segment")?, kind })
}

fn read_fingerprint(text: &str) -> Result<u64, FormatError> {
    let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let read = || (text.len() == 16 && text.bytes().all(digits)).then(|| u64::from_str_radix(text, 16).ok()).flatten();
    read().map_or_else(|| damaged(format!("fingerprint: expected 16 lower-case hex digits, got {text:?}")), Ok)
}

/// A part is one row: its lists have all the elements there are. Returns the length of the next list.
fn whole_list(arrays: &mut BatchArrays<'_>) -> Result<usize, FormatError> {
    let offsets: ScalarBuffer<u32> = arrays.offsets()?;
    match (offsets.len(), offsets.first(), offsets.last()) {
        (2, Some(0), Some(end)) => Ok(*end as usize),
        _ => damaged("a part is not one row whose lists begin at 0"),
    }
}

/// Checks that the next array has `expected` entries.
fn expect_length(what: &str, found: usize, expected: usize) -> Result<(), FormatError> {
    match found == expected {
        true => Ok(()),
        false => damaged(format!("expected {expected} {what}, found {found}")),
    }
}

fn text_part(mut arrays: BatchArrays<'_>) -> Result<TextColumns, FormatError> {
    let rows = whole_list(&mut arrays)?;
    let (found, validity) = arrays.nullable()?;
    expect_length("lengths", found, rows)?;
    check_part_rows(rows)?;
    let lengths = arrays.values(rows)?;
    let documents = documents(rows as u32, validity);
    let terms = whole_list(&mut arrays)?;
    expect_length("entries of terms", arrays.array()?, terms)?;
    let (texts, (blocks, frequencies)) = (arrays.texts()?, read_blocks(&mut arrays)?);
    let large = whole_list(&mut arrays)?;
    expect_length("large frequencies", arrays.array()?, large)?;
    let (large_postings, large_frequencies) = (arrays.plain()?, arrays.plain()?);
    TextColumns::checked(TextLists {
        terms: texts,
        blocks,
        frequencies,
        large_postings,
        large_frequencies,
        lengths,
        documents,
    })
}

fn sparse_part(mut arrays: BatchArrays<'_>) -> Result<SparseColumns, FormatError> {
    let rows: ScalarBuffer<u32> = arrays.plain()?;
    let [rows] = *rows else { return damaged(format!("expected a part to be one row, found {}", rows.len())) };
    check_part_rows(rows as usize)?;
    let count = whole_list(&mut arrays)?;
    expect_length("entries of dimensions", arrays.array()?, count)?;
    let dimensions = arrays.plain()?;
    let (blocks, weights) = read_blocks(&mut arrays)?;
    SparseColumns::checked(SparseLists { rows, dimensions, blocks, weights })
}

fn check_part_rows(rows: usize) -> Result<(), FormatError> {
    match rows <= MAX_PART_ROWS {
        true => Ok(()),
        false => damaged(format!("a part has {rows} rows, more than {MAX_PART_ROWS}")),
    }
}

/// The rows whose bit is set; all of them if there are no bits.
fn documents(rows: u32, validity: Option<&[u8]>) -> RoaringBitmap {
    let Some(validity) = validity else { return (0..rows).collect() };
    let has_text = |row: &u32| validity.get(*row as usize / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1);
    (0..rows).filter(has_text).collect()
}

/// The blocks of all terms, and what their postings carry.
fn read_blocks<T: ArrowNativeType>(arrays: &mut BatchArrays<'_>) -> Result<(Blocks, ScalarBuffer<T>), FormatError> {
    let term_blocks = arrays.offsets()?;
    let count = arrays.array()?;
    let block_rows: ScalarBuffer<u32> = arrays.plain()?;
    expect_length("first rows of blocks", block_rows.len(), count)?;
    let block_postings = arrays.offsets()?;
    let count = arrays.array()?;
    let rows: ScalarBuffer<u16> = arrays.plain()?;
    expect_length("distances", rows.len(), count)?;
    Ok((Blocks { term_blocks, block_postings, block_rows, rows }, arrays.plain()?))
}
