//! The Arrow types of an inverted-index object's columns. Lists in lists have their offsets, and structs their fields,
//! in buffers of their own: the columns as they lie in memory.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use super::InvertedKind;

/// The element of a list.
pub fn element(kind: DataType, nullable: bool) -> Arc<Field> {
    Arc::new(Field::new("element", kind, nullable))
}

/// Fields without nulls.
pub fn fields<const N: usize>(fields: [(&str, DataType); N]) -> Fields {
    fields.into_iter().map(|(name, kind)| Field::new(name, kind, false)).collect()
}

fn list(kind: DataType) -> DataType {
    DataType::List(element(kind, false))
}

fn structs<const N: usize>(of: [(&str, DataType); N]) -> DataType {
    list(DataType::Struct(fields(of)))
}

/// Blocks whose postings carry a value of this name and type.
fn blocks(value: &str, kind: DataType) -> DataType {
    let postings = structs([("distance", DataType::UInt16), (value, kind)]);
    structs([("first_row", DataType::UInt32), ("postings", postings)])
}

/// The columns of an object. A part is one row.
pub fn columns(kind: &InvertedKind) -> Fields {
    match kind {
        InvertedKind::Text { .. } => fields([
            ("lengths", DataType::List(element(DataType::UInt32, true))),
            ("terms", structs([("term", DataType::Utf8), ("blocks", blocks("frequency", DataType::UInt8))])),
            ("large_frequencies", structs([("posting", DataType::UInt32), ("frequency", DataType::UInt32)])),
        ]),
        InvertedKind::Sparse { .. } => fields([
            ("rows", DataType::UInt32),
            ("dimensions", structs([("dimension", DataType::UInt32), ("blocks", blocks("weight", DataType::Float32))])),
        ]),
    }
}
