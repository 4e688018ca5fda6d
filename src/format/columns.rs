//! The Parquet columns of commits and segments: their schema, and rows ↔ Arrow batches. Both kinds have the same
//! columns, `embedding` last; segments add `address` and fill `position` and `embedded`. [`check_rows`] holds the
//! rules for every stored set of rows, of any writer.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ListArray, PrimitiveArray, RecordBatch, StringArray, UInt64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::SchemaDescriptor;

use super::{Embeddings, RowOp, Rows};

/// The column whose values are most of the bytes; the last one.
pub(super) const EMBEDDING: &str = "embedding";

/// Which of the two kinds of Parquet object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Commit,
    Segment,
}

/// The columns of one kind of object, in both notations.
pub(super) struct ColumnSet {
    pub arrow: SchemaRef,
    pub parquet: SchemaDescriptor,
}

fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

impl Layout {
    /// The columns every object of this kind has.
    pub fn columns(self) -> &'static ColumnSet {
        static COMMIT: LazyLock<ColumnSet> = LazyLock::new(|| ColumnSet::new(Layout::Commit));
        static SEGMENT: LazyLock<ColumnSet> = LazyLock::new(|| ColumnSet::new(Layout::Segment));
        match self {
            Layout::Commit => &COMMIT,
            Layout::Segment => &SEGMENT,
        }
    }

    /// The Arrow schema with embeddings of the given type (list, or list of fixed size).
    pub fn schema_with(self, embedding: DataType) -> Schema {
        let filled = self == Layout::Segment;
        let mut fields = vec![
            Field::new("op", DataType::Utf8, false),
            Field::new("id", DataType::Utf8, false),
            Field::new("document", DataType::Utf8, true),
            Field::new("uri", DataType::Utf8, true),
            Field::new("metadata", DataType::Utf8, true),
        ];
        if filled {
            fields.push(Field::new("address", DataType::UInt64, false));
        }
        fields.push(Field::new("position", DataType::UInt64, !filled));
        fields.push(Field::new("embedded", DataType::UInt64, !filled));
        fields.push(Field::new(EMBEDDING, embedding, true));
        Schema::new(fields)
    }
}

impl ColumnSet {
    #[allow(clippy::expect_used, reason = "both layouts are constants, and the tests make them")]
    fn new(layout: Layout) -> ColumnSet {
        let arrow = layout.schema_with(DataType::List(element()));
        let parquet = ArrowSchemaConverter::new().convert(&arrow).expect("the fixed column types have Parquet forms");
        ColumnSet { arrow: Arc::new(arrow), parquet }
    }
}

/// The Arrow type under which a column of full embeddings is shown to other readers.
pub(super) fn fixed_size_list(dim: usize) -> Option<DataType> {
    i32::try_from(dim).ok().filter(|dim| *dim > 0).map(|dim| DataType::FixedSizeList(element(), dim))
}

/// Checks the rules for a stored set of rows. Columns have equal lengths; ids are there; there are as many floats as
/// embeddings need; every float is finite. If there are embeddings at all, each put has one and no delete does.
pub(super) fn check_rows(rows: &Rows) -> Result<(), String> {
    let len = rows.len();
    let mut lengths = vec![
        ("id", rows.ids.len()),
        ("document", rows.documents.len()),
        ("uri", rows.uris.len()),
        ("metadata", rows.metadatas.len()),
        ("position", rows.positions.len()),
        ("embedded", rows.embedded.len()),
    ];
    lengths.extend(rows.addresses.as_ref().map(|a| ("address", a.len())));
    lengths.extend(rows.embeddings.present.as_ref().map(|p| (EMBEDDING, p.len())));
    for (name, found) in lengths {
        if found != len {
            return Err(format!("column {name}: expected {len} rows as in column op, got {found}"));
        }
    }
    if rows.ids.null_count() > 0 || rows.ids.iter().any(|id| id.is_none_or(str::is_empty)) {
        return Err("column id: expected an id in every row, got an empty one".into());
    }
    check_embeddings(rows)
}

fn check_embeddings(rows: &Rows) -> Result<(), String> {
    let Embeddings { dim, values, present } = &rows.embeddings;
    let has = |row: usize| present.as_ref().is_none_or(|p| p.get(row).copied().unwrap_or(false));
    let embeddings = match (dim, present) {
        (0, None) if !rows.is_empty() => return Err("embeddings: expected a dimension above 0, got 0".into()),
        (_, None) => rows.len(),
        (_, Some(present)) => present.iter().filter(|p| **p).count(),
    };
    if embeddings.checked_mul(*dim) != Some(values.len()) || (*dim == 0 && embeddings > 0) {
        return Err(format!("embeddings: expected {embeddings} × {dim} floats, got {}", values.len()));
    }
    if *dim > 0 {
        for (row, op) in rows.ops.iter().enumerate() {
            match (op, has(row)) {
                (RowOp::Put, true) | (RowOp::Delete, false) => {}
                (RowOp::Put, false) => return Err(format!("row {row}: a put without embedding among embeddings")),
                (RowOp::Delete, true) => return Err(format!("row {row}: a delete with an embedding")),
            }
        }
    }
    match all_finite(values) {
        true => Ok(()),
        false => Err("embeddings: expected finite floats, got NaN or infinity".into()),
    }
}

/// Whether no float is NaN or infinite. Works in blocks without early exit, so that the compiler can vectorise it.
pub(super) fn all_finite(values: &[f32]) -> bool {
    values.chunks(4096).all(|block| block.iter().fold(true, |all, value| all & value.is_finite()))
}

/// Rows as a batch of the layout's Arrow schema. The embeddings' floats are shared, not copied.
pub(super) fn to_batch(rows: &Rows, layout: Layout) -> Result<RecordBatch, String> {
    check_rows(rows)?;
    let ops: StringArray = rows.ops.iter().map(|op| Some(op_name(*op))).collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(ops),
        Arc::new(rows.ids.clone()),
        Arc::new(rows.documents.clone()),
        Arc::new(rows.uris.clone()),
        Arc::new(rows.metadatas.clone()),
    ];
    if layout == Layout::Segment {
        let addresses = rows.addresses.clone().ok_or("rows of a segment need their addresses")?;
        columns.push(Arc::new(addresses));
    }
    columns.push(Arc::new(rows.positions.clone()));
    columns.push(Arc::new(rows.embedded.clone()));
    columns.push(Arc::new(to_list(&rows.embeddings, rows.len())?));
    RecordBatch::try_new(layout.columns().arrow.clone(), columns).map_err(|e| e.to_string())
}

fn to_list(embeddings: &Embeddings, rows: usize) -> Result<ListArray, String> {
    if i32::try_from(embeddings.values.len()).is_err() {
        return Err(format!("{} floats in one group of rows; at most 2^31 - 1 fit", embeddings.values.len()));
    }
    let lengths = (0..rows).map(|row| match &embeddings.present {
        Some(present) if !present.get(row).copied().unwrap_or(false) => 0,
        _ => embeddings.dim,
    });
    let values = PrimitiveArray::<Float32Type>::new(embeddings.values.clone(), None);
    let nulls = embeddings.present.as_ref().map(|present| NullBuffer::from(present.clone()));
    ListArray::try_new(element(), OffsetBuffer::from_lengths(lengths), Arc::new(values), nulls)
        .map_err(|e| e.to_string())
}

/// The columns of a decoded batch except its embeddings, which come separately (see [`from_list`]).
pub(super) fn from_batch(batch: &RecordBatch, embeddings: Embeddings, layout: Layout) -> Result<Rows, String> {
    let rows = Rows {
        ops: text(batch, "op")?.iter().map(op_from_name).collect::<Result<_, _>>()?,
        ids: text(batch, "id")?,
        embeddings,
        documents: text(batch, "document")?,
        uris: text(batch, "uri")?,
        metadatas: text(batch, "metadata")?,
        positions: numbers(batch, "position")?,
        embedded: numbers(batch, "embedded")?,
        addresses: (layout == Layout::Segment).then(|| numbers(batch, "address")).transpose()?,
    };
    check_rows(&rows)?;
    Ok(rows)
}

/// Embeddings from a decoded list column: every list present has `dim` floats.
pub(super) fn from_list(batch: &RecordBatch, dim: usize) -> Result<Embeddings, String> {
    let list: ListArray = column(batch, EMBEDDING)?;
    let present: Vec<bool> = (0..list.len()).map(|row| list.is_valid(row)).collect();
    for (row, (length, present)) in list.offsets().lengths().zip(&present).enumerate() {
        let expected = if *present { dim } else { 0 };
        if length != expected || (*present && dim == 0) {
            return Err(format!("embedding of row {row}: expected {expected} floats, got {length}"));
        }
    }
    let (first, last) = (list.value_offsets().first().copied(), list.value_offsets().last().copied());
    let (first, last) = (first.unwrap_or(0) as usize, last.unwrap_or(0) as usize);
    let floats = list.values().slice(first, last - first);
    let floats = floats.as_any().downcast_ref::<PrimitiveArray<Float32Type>>().ok_or("embeddings are not floats")?;
    let all = present.iter().all(|p| *p);
    Ok(Embeddings { dim, values: floats.values().clone(), present: (!all).then_some(present) })
}

fn op_name(op: RowOp) -> &'static str {
    match op {
        RowOp::Put => "put",
        RowOp::Delete => "delete",
    }
}

fn op_from_name(name: Option<&str>) -> Result<RowOp, String> {
    match name {
        Some("put") => Ok(RowOp::Put),
        Some("delete") => Ok(RowOp::Delete),
        other => Err(format!("column op: expected put or delete, got {other:?}")),
    }
}

fn column<A: Array + Clone + 'static>(batch: &RecordBatch, name: &str) -> Result<A, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("column {name} is missing"))?;
    let array = column.as_any().downcast_ref::<A>();
    array.cloned().ok_or_else(|| format!("column {name} has the wrong type {}", column.data_type()))
}

fn text(batch: &RecordBatch, name: &str) -> Result<StringArray, String> {
    column(batch, name)
}

fn numbers(batch: &RecordBatch, name: &str) -> Result<UInt64Array, String> {
    column(batch, name)
}
