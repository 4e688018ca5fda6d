//! Decoding rows into chunks: which rows are puts, their columns with nulls filled in, and the rows that they
//! replace. Every fault of a commit or a row group is found here, before the state changes.
//! Invariant: of several rows with one id the last wins, as in every fold.

use std::collections::HashMap;

use arrow::array::{Array, BooleanArray, StringArray, UInt64Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter;

use super::chunk::{CHUNK_ROWS, Chunk, ChunkColumns, ChunkKind};
use super::snapshot::{RowRef, Snapshot};
use crate::format::{FormatError, RowOp, Rows};
use crate::record::{Address, Version};

fn damaged(message: impl Into<String>) -> FormatError {
    FormatError::Damaged(message.into())
}

/// The put rows of `rows` as chunks. `version` is the commit's; `None` for rows of a segment, which carry their own
/// addresses.
pub fn chunks(rows: &Rows, version: Option<Version>, kind: ChunkKind) -> Result<Vec<Chunk>, FormatError> {
    let kept = kept(rows);
    if !kept.iter().any(|kept| *kept) {
        return Ok(Vec::new());
    }
    let vectors = vectors(rows, &kept, kind)?;
    let columns = select(rows, addresses(rows, version)?, vectors, &kept)?;
    let count = columns.addresses.len();
    let starts = (0..count).step_by(CHUNK_ROWS);
    starts.map(|start| Chunk::new(slice(&columns, start, CHUNK_ROWS.min(count - start), kind.dim), kind)).collect()
}

/// Live rows that `rows` replace or delete, among the first `chunks` chunks.
pub fn replaced(base: &Snapshot, rows: &Rows, chunks: usize) -> Vec<RowRef> {
    if chunks == 0 {
        return Vec::new();
    }
    let mut found: Vec<RowRef> = (0..rows.len()).filter_map(|row| base.find_before(rows.id(row), chunks)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Refuses a commit whose rows claim a position or an embedding that their ids do not have.
pub fn check_claims(base: &Snapshot, rows: &Rows) -> Result<(), FormatError> {
    for row in (0..rows.len()).filter(|row| rows.ops[*row] == RowOp::Put) {
        let claim = |column: &UInt64Array| (!column.is_null(row)).then(|| Address(column.value(row)));
        let (position, embedded) = (claim(&rows.positions), claim(&rows.embedded));
        if position.is_none() && embedded.is_none() {
            continue;
        }
        let at = base.find(rows.id(row)).ok_or_else(|| {
            damaged(format!("row {row}: names an earlier row of {:?}, which does not exist", rows.id(row)))
        })?;
        let (chunk, old) = (base.chunk(at), at.row);
        for (name, claimed, real) in
            [("position", position, chunk.position(old)), ("embedded", embedded, chunk.embedded(old))]
        {
            if let Some(wrong) = claimed.filter(|claimed| *claimed != real) {
                let (real, wrong) = (real.0, wrong.0);
                return Err(damaged(format!("row {row}: {name}: expected {real}, the record's, got {wrong}")));
            }
        }
    }
    Ok(())
}

/// For each row, whether it is a put and the last of its id.
fn kept(rows: &Rows) -> Vec<bool> {
    let mut kept: Vec<bool> = rows.ops.iter().map(|op| *op == RowOp::Put).collect();
    if rows.len() > 1 {
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(rows.len());
        for row in 0..rows.len() {
            if let Some(earlier) = last.insert(rows.id(row), row) {
                kept[earlier] = false;
            }
        }
    }
    kept
}

fn addresses(rows: &Rows, version: Option<Version>) -> Result<ScalarBuffer<u64>, FormatError> {
    match (version, &rows.addresses) {
        (Some(version), _) => {
            let address = |row| Address::new(version, row).map(|address| address.0);
            let all: Option<Vec<u64>> = (0..rows.len()).map(address).collect();
            all.map(ScalarBuffer::from).ok_or_else(|| damaged(format!("commit {version} has rows beyond 2^24")))
        }
        (None, Some(addresses)) if addresses.null_count() == 0 => Ok(addresses.values().clone()),
        (None, _) => Err(damaged("a segment's rows lack addresses")),
    }
}

/// The kept rows' embeddings. The buffer is shared with `rows` where all puts are kept.
fn vectors(rows: &Rows, kept: &[bool], kind: ChunkKind) -> Result<ScalarBuffer<f32>, FormatError> {
    let embeddings = &rows.embeddings;
    if kind.bare {
        return match embeddings.dim == 0 && embeddings.values.is_empty() {
            true => Ok(ScalarBuffer::from(Vec::new())),
            false => Err(damaged("expected no embeddings: the collection's dimension is 0")),
        };
    }
    let dim = kind.dim;
    let puts = rows.ops.iter().filter(|op| **op == RowOp::Put).count();
    let in_place = match &embeddings.present {
        None => puts == rows.len(),
        Some(present) => present.iter().zip(&rows.ops).all(|(present, op)| *present == (*op == RowOp::Put)),
    };
    if !in_place {
        return Err(damaged("expected an embedding on every put row and on no other"));
    }
    if embeddings.dim != dim || dim == 0 || embeddings.values.len() != puts * dim {
        let (got, floats) = (embeddings.dim, embeddings.values.len());
        return Err(damaged(format!(
            "embeddings: expected {puts} of dimension {dim}, got {floats} floats of dimension {got}"
        )));
    }
    if kept.iter().filter(|kept| **kept).count() == puts {
        return Ok(embeddings.values.clone());
    }
    let kept_puts = kept.iter().zip(&rows.ops).filter(|(_, op)| **op == RowOp::Put).map(|(kept, _)| *kept);
    let values = embeddings.values.chunks_exact(dim).zip(kept_puts).filter(|(_, kept)| *kept);
    Ok(values.flat_map(|(v, _)| v.iter().copied()).collect())
}

/// The columns of the kept rows, with nulls filled in. The arrays are shared with `rows` where all rows are kept.
fn select(
    rows: &Rows,
    addresses: ScalarBuffer<u64>,
    vectors: ScalarBuffer<f32>,
    kept: &[bool],
) -> Result<ChunkColumns, FormatError> {
    let all = kept.iter().all(|kept| *kept);
    let mask = BooleanArray::from(kept.to_vec());
    let texts = |column: &StringArray| -> Result<StringArray, FormatError> {
        match all {
            true => Ok(column.clone()),
            false => filter(column, &mask).map(|a| StringArray::from(a.to_data())).map_err(|e| damaged(e.to_string())),
        }
    };
    let numbers = |column: &UInt64Array| -> ScalarBuffer<u64> {
        if all && column.null_count() == 0 {
            return column.values().clone();
        }
        let filled = column.iter().zip(addresses.iter()).map(|(value, own)| value.unwrap_or(*own));
        filled.zip(kept).filter(|(_, kept)| **kept).map(|(value, _)| value).collect()
    };
    let (positions, embedded) = (numbers(&rows.positions), numbers(&rows.embedded));
    let own = UInt64Array::new(addresses.clone(), None);
    Ok(ChunkColumns {
        positions,
        embedded,
        ids: texts(&rows.ids)?,
        vectors,
        documents: texts(&rows.documents)?,
        uris: texts(&rows.uris)?,
        metadatas: texts(&rows.metadatas)?,
        addresses: numbers(&own),
    })
}

fn slice(columns: &ChunkColumns, start: usize, len: usize, dim: usize) -> ChunkColumns {
    ChunkColumns {
        addresses: columns.addresses.slice(start, len),
        positions: columns.positions.slice(start, len),
        embedded: columns.embedded.slice(start, len),
        ids: columns.ids.slice(start, len),
        vectors: columns.vectors.slice(start * dim, len * dim),
        documents: columns.documents.slice(start, len),
        uris: columns.uris.slice(start, len),
        metadatas: columns.metadatas.slice(start, len),
    }
}
