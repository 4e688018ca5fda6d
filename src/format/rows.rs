//! Rows as columns: the decoded form of a commit or of a segment's row group, and the input of encoding. Arrow arrays
//! share their buffers, so memory uses a decoded row group as it is. Invariant: all columns have `len` rows;
//! embeddings are dense over the rows that have one.

use arrow::array::{Array, StringArray, UInt64Array};
use arrow::buffer::ScalarBuffer;

use super::{FORMAT, SPARSE_FORMAT};
use crate::record::{Address, SparseVector, Version};

/// What a row does to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOp {
    /// The record is now this row.
    Put,
    /// The record is gone.
    Delete,
}

/// The embeddings of some rows: `values` is row-major, `dim` floats for each row that has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// Floats per embedding; 0 where no row has one (a group of a segment keeps the segment's).
    pub dim: usize,
    /// `dim` × (rows that have an embedding) floats, in row order.
    pub values: ScalarBuffer<f32>,
    /// For each row, whether it has an embedding; `None` means every row has.
    pub present: Option<Vec<bool>>,
}

impl Embeddings {
    /// `rows` rows without an embedding.
    #[cfg(any(test, feature = "testing"))]
    pub fn none(rows: usize) -> Embeddings {
        Embeddings { dim: 0, values: Vec::new().into(), present: Some(vec![false; rows]) }
    }

    /// Rows that all have an embedding.
    #[cfg(any(test, feature = "testing"))]
    pub fn dense(dim: usize, values: Vec<f32>) -> Embeddings {
        Embeddings { dim, values: values.into(), present: None }
    }
}

/// Rows of a commit or of one row group of a segment, as columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Put or delete, per row.
    pub ops: Vec<RowOp>,
    /// Record ids, non-null.
    pub ids: StringArray,
    /// Embeddings of the rows that have one (deletes and catalog records have none).
    pub embeddings: Embeddings,
    /// Nullable.
    pub documents: StringArray,
    /// Nullable.
    pub uris: StringArray,
    /// JSON text; null and `{}` differ.
    pub metadatas: StringArray,
    /// Address of the row that first inserted the id; null means "this row" (only in commits).
    pub positions: UInt64Array,
    /// Address of the row that last changed the embedding; null means "this row" (only in commits).
    pub embedded: UInt64Array,
    /// The rows' own addresses: filled in segments. `None` in commits, where version and row number give the address.
    pub addresses: Option<UInt64Array>,
}

impl Rows {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The lowest number of the format that these rows can be stored in: sparse vectors came with number 2.
    pub fn format(&self) -> u64 {
        let sparse = self.metadatas.iter().flatten().any(SparseVector::may_be_in);
        if sparse { SPARSE_FORMAT } else { FORMAT }
    }
}

/// One row on its way into a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Put or delete.
    pub op: RowOp,
    /// The record's id.
    pub id: String,
    /// `None` for deletes and catalog records.
    pub embedding: Option<Vec<f32>>,
    /// See [`Rows::documents`].
    pub document: Option<String>,
    /// See [`Rows::uris`].
    pub uri: Option<String>,
    /// JSON text.
    pub metadata: Option<String>,
    /// See [`Rows::positions`].
    pub position: Option<Address>,
    /// See [`Rows::embedded`].
    pub embedded: Option<Address>,
}

impl Row {
    /// A tombstone.
    pub fn delete(id: impl Into<String>) -> Row {
        Row {
            op: RowOp::Delete,
            id: id.into(),
            embedding: None,
            document: None,
            uri: None,
            metadata: None,
            position: None,
            embedded: None,
        }
    }

    /// Roughly the bytes this row adds to a commit, as group commit counts them.
    pub fn size_bytes(&self) -> usize {
        let text = |t: &Option<String>| t.as_ref().map_or(0, String::len);
        self.embedding.as_ref().map_or(0, |e| e.len() * 4)
            + self.id.len()
            + text(&self.document)
            + text(&self.uri)
            + text(&self.metadata)
            + 16
    }
}

impl FromIterator<Row> for Rows {
    /// Turns rows into columns. All embeddings must have the same length, which the writer has checked. A row whose
    /// embedding differs in length from the first is stored without one.
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Rows {
        let rows: Vec<Row> = rows.into_iter().collect();
        let dim = rows.iter().find_map(|r| r.embedding.as_ref().map(Vec::len)).unwrap_or(0);
        let has = |r: &Row| r.embedding.as_ref().is_some_and(|e| e.len() == dim && dim > 0);
        let present: Vec<bool> = rows.iter().map(has).collect();
        let mut values = Vec::with_capacity(dim * rows.len());
        for row in rows.iter().filter(|r| has(r)) {
            values.extend_from_slice(row.embedding.as_deref().unwrap_or_default());
        }
        let all = present.iter().all(|p| *p);
        Rows {
            ops: rows.iter().map(|r| r.op).collect(),
            ids: rows.iter().map(|r| Some(r.id.as_str())).collect(),
            embeddings: Embeddings { dim, values: values.into(), present: (!all).then_some(present) },
            documents: rows.iter().map(|r| r.document.as_deref()).collect(),
            uris: rows.iter().map(|r| r.uri.as_deref()).collect(),
            metadatas: rows.iter().map(|r| r.metadata.as_deref()).collect(),
            positions: rows.iter().map(|r| r.position.map(|a| a.0)).collect(),
            embedded: rows.iter().map(|r| r.embedded.map(|a| a.0)).collect(),
            addresses: None,
        }
    }
}

impl Rows {
    /// The id of row `row`. Panics past the end, as slices do.
    pub fn id(&self, row: usize) -> &str {
        self.ids.value(row)
    }

    /// The nullable text at `row` of a text column.
    pub fn text(column: &StringArray, row: usize) -> Option<&str> {
        (!column.is_null(row)).then(|| column.value(row))
    }
}

impl Rows {
    /// The rows of commit `version` as rows of a segment: addresses are filled in, also where `positions` and
    /// `embedded` said "this row". `None` if the version or a row number is too large for an address.
    pub fn resolve_addresses(mut self, version: Version) -> Option<Rows> {
        let first = Address::new(version, 0)?.0;
        Address::new(version, self.len().saturating_sub(1))?;
        let own = || first..first + self.ops.len() as u64;
        let filled = |column: &UInt64Array| {
            own().zip(column.iter()).map(|(own, named)| Some(named.unwrap_or(own))).collect::<UInt64Array>()
        };
        let (positions, embedded) = (filled(&self.positions), filled(&self.embedded));
        let addresses = own().map(Some).collect();
        self.positions = positions;
        self.embedded = embedded;
        self.addresses = Some(addresses);
        Some(self)
    }

    /// The rows at which `keep` is true, in their order; rows beyond the end of `keep` are left out.
    pub fn select(&self, keep: &[bool]) -> Rows {
        let at: Vec<usize> = (0..self.len()).filter(|row| keep.get(*row) == Some(&true)).collect();
        let texts = |column: &StringArray| at.iter().map(|row| Rows::text(column, *row)).collect::<StringArray>();
        let number = |column: &UInt64Array, row: usize| (!column.is_null(row)).then(|| column.value(row));
        let numbers = |column: &UInt64Array| at.iter().map(|row| number(column, *row)).collect::<UInt64Array>();
        Rows {
            ops: at.iter().filter_map(|row| self.ops.get(*row).copied()).collect(),
            ids: texts(&self.ids),
            embeddings: self.embeddings.select(&at, self.len()),
            documents: texts(&self.documents),
            uris: texts(&self.uris),
            metadatas: texts(&self.metadatas),
            positions: numbers(&self.positions),
            embedded: numbers(&self.embedded),
            addresses: self.addresses.as_ref().map(numbers),
        }
    }
}

impl Embeddings {
    /// The embeddings of the rows `at` (ascending) out of `rows`.
    fn select(&self, at: &[usize], rows: usize) -> Embeddings {
        if at.len() == rows {
            return self.clone();
        }
        let mut values = Vec::with_capacity(self.dim * at.len());
        let mut present = Vec::with_capacity(at.len());
        let mut wanted = at.iter().copied().peekable();
        let mut start = 0;
        for row in 0..rows {
            let has = self.present.as_ref().is_none_or(|p| p.get(row) == Some(&true));
            let end = start + if has { self.dim } else { 0 };
            if wanted.next_if_eq(&row).is_some() {
                values.extend_from_slice(self.values.get(start..end).unwrap_or_default());
                present.push(has);
            }
            start = end;
        }
        let all = present.iter().all(|p| *p);
        Embeddings { dim: self.dim, values: values.into(), present: (!all).then_some(present) }
    }
}
