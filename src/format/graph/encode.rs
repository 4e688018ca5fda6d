//! Graph → Arrow IPC file: one record batch, one row per node, uncompressed. Buffers lie at multiples of 64 bytes from
//! the file's start, so that a reader with an aligned buffer uses them in place.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Int8Array, ListArray, RecordBatch, UInt32Array, UInt64Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;

use super::{GRAPH_FORMAT, GraphColumns, GraphHeader, Lists, Traversal, UNROTATED_FORMAT};
use crate::error::{Error, Result};

/// The graph object of `graph`.
pub fn encode_graph(graph: &GraphColumns) -> Result<Vec<u8>> {
    write(graph).map_err(|e| Error::internal("a graph could not be encoded").with_source(e))
}

fn write(graph: &GraphColumns) -> Result<Vec<u8>, ArrowError> {
    let columns = graph.columns();
    let element = |kind: DataType| Arc::new(Field::new("element", kind, false));
    let dim = i32::try_from(graph.header().dim).map_err(|e| ArrowError::InvalidArgumentError(e.to_string()))?;
    let codes = Arc::new(Int8Array::new(columns.codes.clone(), None));
    let upper = list_array(&columns.upper)?;
    let levels = ListArray::try_new(
        element(upper.data_type().clone()),
        OffsetBuffer::new(columns.levels.clone()),
        Arc::new(upper),
        None,
    )?;
    let arrays: [(&str, ArrayRef); 6] = [
        ("address", Arc::new(UInt64Array::new(columns.addresses.clone(), None))),
        ("address_order", Arc::new(UInt32Array::new(columns.address_order.clone(), None))),
        ("bias", Arc::new(Float32Array::new(columns.biases.clone(), None))),
        ("code", Arc::new(FixedSizeListArray::try_new(element(DataType::Int8), dim, codes, None)?)),
        ("neighbours", Arc::new(list_array(&columns.neighbours)?)),
        ("upper", Arc::new(levels)),
    ];
    let fields: Vec<Field> =
        arrays.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), false)).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata(graph.header())));
    let batch = RecordBatch::try_new(schema.clone(), arrays.into_iter().map(|(_, array)| array).collect())?;
    let mut writer = FileWriter::try_new(Vec::with_capacity(batch.get_array_memory_size() + 4096), &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

fn list_array(lists: &Lists) -> Result<ListArray, ArrowError> {
    let values: ScalarBuffer<u32> = lists.values.clone();
    ListArray::try_new(
        Arc::new(Field::new("element", DataType::UInt32, false)),
        OffsetBuffer::new(lists.offsets.clone()),
        Arc::new(UInt32Array::new(values, None)),
        None,
    )
}

/// The schema's key-value metadata: numbers in decimal, floats in a form that reads back exactly.
fn metadata(header: &GraphHeader) -> HashMap<String, String> {
    let traversal = match header.traversal {
        Traversal::Codes => "codes",
        Traversal::Exact => "exact",
    };
    let mean: Vec<String> = header.mean.iter().map(f32::to_string).collect();
    let format = if header.rotation.is_some() { GRAPH_FORMAT } else { UNROTATED_FORMAT };
    let pairs = [
        ("graph_format", format.to_string()),
        ("stream", header.stream.clone()),
        ("lo", header.lo.to_string()),
        ("hi", header.hi.to_string()),
        ("metric", header.metric.to_string()),
        ("dim", header.dim.to_string()),
        ("m", header.m.to_string()),
        ("ef_construction", header.ef_construction.to_string()),
        ("seed", header.seed.to_string()),
        ("builder", header.builder.clone()),
        ("quantiser", "int8".to_owned()),
        ("traversal", traversal.to_owned()),
        ("entry", header.entry.to_string()),
        ("scale", header.scale.to_string()),
        ("mean", mean.join(",")),
    ];
    let rotation = header.rotation.map(|seed| ("rotation_seed", seed.to_string()));
    pairs.into_iter().chain(rotation).map(|(key, value)| (key.to_owned(), value)).collect()
}
