//! Arrow IPC file → graph. The bytes come from a bucket: every position, length and value is checked before use. Columns
//! are slices of the one buffer.

use std::str::FromStr;
use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field};
use bytes::Bytes;

use super::{
    FormatError, GRAPH_FORMAT, GraphColumns, GraphHeader, Lists, NodeColumns, Traversal, UNROTATED_FORMAT, damaged,
};
use crate::format::arrow_file::{ArrowFile, BatchArrays};
use crate::record::Version;

/// Reads a graph object and checks all of it. If `bytes` starts at a multiple of 64 bytes, the graph uses it in place;
/// columns that are not aligned for their type are copied. To save the copy, read the body into a buffer with that
/// alignment, such as Arrow's `MutableBuffer`. [`FormatError::Newer`]: another version's format; rebuild the graph.
pub fn decode_graph(bytes: Bytes) -> Result<GraphColumns, FormatError> {
    let file = ArrowFile::open_in_place("graph", &bytes)?;
    let header = read_header(&file)?;
    file.check_fields(&fields(header.dim)?)?;
    let mut batches = file.batches();
    let (Some(batch), None) = (batches.next(), batches.next()) else {
        return damaged("it does not have exactly one record batch");
    };
    let columns = read_batch(batch?, header.dim)?;
    GraphColumns::checked(header, columns)
}

/// The columns of graphs of this dimension.
fn fields(dim: usize) -> Result<[Field; 6], FormatError> {
    let element = |kind: DataType| Arc::new(Field::new("element", kind, false));
    let Ok(dim) = i32::try_from(dim) else { return damaged(format!("dimension {dim} is beyond 31 bits")) };
    let nodes = DataType::List(element(DataType::UInt32));
    let columns = [
        ("address", DataType::UInt64),
        ("address_order", DataType::UInt32),
        ("bias", DataType::Float32),
        ("code", DataType::FixedSizeList(element(DataType::Int8), dim)),
        ("neighbours", nodes.clone()),
        ("upper", DataType::List(element(nodes))),
    ];
    Ok(columns.map(|(name, kind)| Field::new(name, kind, false)))
}

fn read_header(file: &ArrowFile<'_>) -> Result<GraphHeader, FormatError> {
    let format: u64 = file.value("graph_format")?;
    let rotation = match format {
        GRAPH_FORMAT => Some(file.value("rotation_seed")?),
        UNROTATED_FORMAT => None,
        _ => return Err(FormatError::Newer { found: format, known: GRAPH_FORMAT }),
    };
    let traversal = match file.text("traversal")? {
        "codes" => Traversal::Codes,
        "exact" => Traversal::Exact,
        other => return damaged(format!("traversal {other:?} is neither codes nor exact")),
    };
    if file.text("quantiser")? != "int8" {
        return damaged("the quantiser is not int8");
    }
    let mean = file.text("mean")?.split(',').map(f32::from_str).collect::<Result<_, _>>();
    Ok(GraphHeader {
        stream: file.text("stream")?.to_owned(),
        lo: Version(file.value("lo")?),
        hi: Version(file.value("hi")?),
        metric: file.value("metric")?,
        dim: file.value("dim")?,
        m: file.value("m")?,
        ef_construction: file.value("ef_construction")?,
        seed: file.value("seed")?,
        builder: file.text("builder")?.to_owned(),
        traversal,
        entry: file.value("entry")?,
        rotation,
        scale: file.value("scale")?,
        mean: mean.or_else(|e| damaged(format!("mean: {e}")))?,
    })
}

fn read_batch(mut arrays: BatchArrays<'_>, dim: usize) -> Result<NodeColumns, FormatError> {
    let addresses = arrays.plain()?;
    let address_order = arrays.plain()?;
    let biases = arrays.plain()?;
    let rows = arrays.array()?;
    let codes: ScalarBuffer<i8> = arrays.plain()?;
    if rows.checked_mul(dim) != Some(codes.len()) {
        return damaged(format!("{rows} codes of {dim} have {} components", codes.len()));
    }
    let neighbours = Lists { offsets: arrays.offsets()?, values: arrays.plain()? };
    let levels = arrays.offsets()?;
    let upper = Lists { offsets: arrays.offsets()?, values: arrays.plain()? };
    Ok(NodeColumns { addresses, address_order, biases, codes, neighbours, levels, upper })
}
