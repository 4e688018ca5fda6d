//! Arrow IPC file → graph. The bytes come from a bucket. Arrow's own code verifies the two flatbuffers (footer, record
//! batch); this file checks every position and length in them before use. It does not use Arrow's array reader, which
//! trusts lengths, and copies. Columns are slices of the one buffer.

use std::collections::HashMap;
use std::mem::{align_of, size_of};
use std::str::FromStr;

use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;
use arrow::ipc::{Endianness, MessageHeader, MetadataVersion, RecordBatch, Type, root_as_footer, root_as_message};
use bytes::Bytes;

use super::{
    FormatError, GRAPH_FORMAT, GraphColumns, GraphHeader, Lists, NodeColumns, Traversal, UNROTATED_FORMAT, damaged,
};
use crate::record::Version;

const MAGIC: &[u8] = b"ARROW1";
/// The columns with the types of their values, outermost type first.
const FIELDS: [(&str, &[Type]); 6] = [
    ("address", &[Type::Int]),
    ("address_order", &[Type::Int]),
    ("bias", &[Type::FloatingPoint]),
    ("code", &[Type::FixedSizeList, Type::Int]),
    ("neighbours", &[Type::List, Type::Int]),
    ("upper", &[Type::List, Type::List, Type::Int]),
];
/// Widths in bits of the innermost values.
const WIDTHS: [i32; 6] = [64, 32, 32, 8, 32, 32];

/// Reads a graph object and checks all of it. If `bytes` starts at a multiple of 64 bytes, the graph uses it in place;
/// columns that are not aligned for their type are copied. To save the copy, read the body into a buffer with that
/// alignment, such as Arrow's `MutableBuffer`. [`FormatError::Newer`]: another version's format; rebuild the graph.
pub fn decode_graph(bytes: Bytes) -> Result<GraphColumns, FormatError> {
    let footer_bytes = footer_of(&bytes)?;
    let footer = root_as_footer(footer_bytes).map_err(|e| broken("the footer does not parse", e))?;
    let Some(schema) = footer.schema() else { return damaged("the footer has no schema") };
    let pairs = schema.custom_metadata().into_iter().flatten();
    let said: HashMap<&str, &str> = pairs.filter_map(|pair| Some((pair.key()?, pair.value()?))).collect();
    let header = read_header(&said)?;
    if footer.version() != MetadataVersion::V5 || schema.endianness() != Endianness::Little {
        return damaged("it is not little-endian Arrow IPC of metadata version 5");
    }
    check_fields(schema, header.dim)?;
    let block = match footer.recordBatches() {
        Some(blocks) if blocks.len() == 1 => *blocks.get(0),
        _ => return damaged("it does not have exactly one record batch"),
    };
    let (message, body) = (block.offset(), i64::from(block.metaDataLength()));
    let message_bytes = part(&bytes, message, body).ok_or_else(|| out_of_bounds("the record batch's message"))?;
    let body_start = message.checked_add(body).ok_or_else(|| out_of_bounds("the record batch's body"))?;
    let body = part(&bytes, body_start, block.bodyLength()).ok_or_else(|| out_of_bounds("the record batch's body"))?;
    let body = Buffer::from(bytes.slice_ref(body));
    let columns = read_batch(message_bytes, &body, header.dim)?;
    GraphColumns::checked(header, columns)
}

fn broken(what: &str, error: impl std::fmt::Display) -> FormatError {
    FormatError::Damaged(format!("graph: {what}: {error}"))
}

fn out_of_bounds(what: &str) -> FormatError {
    FormatError::Damaged(format!("graph: {what} lies outside of the object"))
}

/// `length` bytes from `offset` on, if they are there.
fn part(bytes: &[u8], offset: i64, length: i64) -> Option<&[u8]> {
    let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    bytes.get(offset..offset.checked_add(length)?)
}

/// The file ends with the footer, its length in 4 bytes, and the magic.
fn footer_of(bytes: &[u8]) -> Result<&[u8], FormatError> {
    let tail = bytes.strip_prefix(MAGIC).and_then(|rest| rest.strip_suffix(MAGIC));
    let Some((before, length)) = tail.and_then(|rest| rest.split_last_chunk::<4>()) else {
        return damaged("it is not an Arrow IPC file, or truncated");
    };
    let length = i32::from_le_bytes(*length);
    let start = usize::try_from(length).ok().and_then(|length| before.len().checked_sub(length));
    start.and_then(|start| before.get(start..)).ok_or_else(|| out_of_bounds("the footer"))
}

fn read_header(said: &HashMap<&str, &str>) -> Result<GraphHeader, FormatError> {
    let format: u64 = value(said, "graph_format")?;
    let rotation = match format {
        GRAPH_FORMAT => Some(value(said, "rotation_seed")?),
        UNROTATED_FORMAT => None,
        _ => return Err(FormatError::Newer { found: format, known: GRAPH_FORMAT }),
    };
    let traversal = match text(said, "traversal")? {
        "codes" => Traversal::Codes,
        "exact" => Traversal::Exact,
        other => return damaged(format!("traversal {other:?} is neither codes nor exact")),
    };
    if text(said, "quantiser")? != "int8" {
        return damaged("the quantiser is not int8");
    }
    let mean = text(said, "mean")?.split(',').map(f32::from_str).collect::<Result<_, _>>();
    Ok(GraphHeader {
        stream: text(said, "stream")?.to_owned(),
        lo: Version(value(said, "lo")?),
        hi: Version(value(said, "hi")?),
        metric: value(said, "metric")?,
        dim: value(said, "dim")?,
        m: value(said, "m")?,
        ef_construction: value(said, "ef_construction")?,
        seed: value(said, "seed")?,
        builder: text(said, "builder")?.to_owned(),
        traversal,
        entry: value(said, "entry")?,
        rotation,
        scale: value(said, "scale")?,
        mean: mean.map_err(|e| broken("mean", e))?,
    })
}

fn text<'a>(said: &HashMap<&str, &'a str>, key: &str) -> Result<&'a str, FormatError> {
    said.get(key).copied().ok_or_else(|| FormatError::Damaged(format!("graph: the metadata has no {key}")))
}

fn value<T: FromStr<Err: std::fmt::Display>>(said: &HashMap<&str, &str>, key: &str) -> Result<T, FormatError> {
    text(said, key)?.parse().map_err(|e| broken(key, e))
}

/// Checks that the schema has exactly our columns, with exactly our types.
fn check_fields(schema: arrow::ipc::Schema<'_>, dim: usize) -> Result<(), FormatError> {
    let fields = schema.fields().unwrap_or_default();
    if fields.len() != FIELDS.len() {
        return damaged(format!("expected {} columns, found {}", FIELDS.len(), fields.len()));
    }
    for (field, ((name, types), width)) in fields.iter().zip(FIELDS.iter().zip(WIDTHS)) {
        let mut level = Some(field);
        let mut matches = field.name() == Some(*name);
        for kind in *types {
            let Some(here) = level else {
                matches = false;
                break;
            };
            matches &= here.type_type() == *kind && here.dictionary().is_none() && has_width(here, width, dim);
            level = here.children().and_then(|children| (children.len() == 1).then(|| children.get(0)));
        }
        if !matches || level.is_some() {
            return damaged(format!("column {:?} is not the {name} that was expected", field.name().unwrap_or("")));
        }
    }
    Ok(())
}

/// Whether a field has the expected width: an integer `width` bits and its sign, a float single precision, a fixed
/// list `dim`.
fn has_width(field: arrow::ipc::Field<'_>, width: i32, dim: usize) -> bool {
    if let Some(int) = field.type_as_int() {
        return int.bitWidth() == width && int.is_signed() == (width == 8);
    }
    if let Some(float) = field.type_as_floating_point() {
        return float.precision() == arrow::ipc::Precision::SINGLE;
    }
    match field.type_as_fixed_size_list() {
        Some(list) => usize::try_from(list.listSize()) == Ok(dim),
        None => true,
    }
}

/// Takes a record batch's arrays one after the other.
struct ArrayParts<'a> {
    batch: RecordBatch<'a>,
    body: &'a Buffer,
    next_node: usize,
    next_buffer: usize,
}

impl ArrayParts<'_> {
    /// The length of the next array, which has no nulls; skips its validity buffer.
    fn array(&mut self) -> Result<usize, FormatError> {
        let node =
            self.batch.nodes().filter(|nodes| self.next_node < nodes.len()).map(|nodes| nodes.get(self.next_node));
        self.next_node += 1;
        self.next_buffer += 1;
        match node.map(|node| (usize::try_from(node.length()), node.null_count())) {
            Some((Ok(length), 0)) => Ok(length),
            _ => damaged("an array is missing, or has nulls"),
        }
    }

    /// The next buffer as `length` values.
    fn values<T: ArrowNativeType>(&mut self, length: usize) -> Result<ScalarBuffer<T>, FormatError> {
        let buffers = self.batch.buffers().filter(|buffers| self.next_buffer < buffers.len());
        let place = buffers.map(|buffers| *buffers.get(self.next_buffer));
        self.next_buffer += 1;
        let wanted = length.checked_mul(size_of::<T>());
        let found = place.zip(wanted).and_then(|(place, wanted)| {
            let bytes = part(self.body, place.offset(), place.length())?.get(..wanted)?;
            Some((usize::try_from(place.offset()).ok()?, bytes))
        });
        let Some((offset, bytes)) = found else { return Err(out_of_bounds("an array")) };
        let buffer = match bytes.as_ptr().align_offset(align_of::<T>()) {
            0 => self.body.slice_with_length(offset, bytes.len()),
            _ => Buffer::from(bytes),
        };
        Ok(ScalarBuffer::new(buffer, 0, length))
    }

    /// The next array of plain values.
    fn plain<T: ArrowNativeType>(&mut self) -> Result<ScalarBuffer<T>, FormatError> {
        let length = self.array()?;
        self.values(length)
    }

    /// The next array's offsets, those of a list. Writers may leave them out if there are no lists.
    fn offsets(&mut self) -> Result<ScalarBuffer<i32>, FormatError> {
        match self.array()? {
            0 => {
                self.next_buffer += 1;
                Ok(vec![0].into())
            }
            length => self.values(length.checked_add(1).ok_or_else(|| out_of_bounds("an array"))?),
        }
    }
}

fn read_batch(message: &[u8], body: &Buffer, dim: usize) -> Result<NodeColumns, FormatError> {
    // A message starts with the continuation marker and the length of the flatbuffer.
    let flatbuffer = message.strip_prefix(&[0xff; 4]).and_then(|rest| rest.get(4..)).unwrap_or_default();
    let message = root_as_message(flatbuffer).map_err(|e| broken("the record batch's message does not parse", e))?;
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        _ => None,
    };
    let Some(batch) = batch.filter(|batch| batch.compression().is_none()) else {
        return damaged("the message is not an uncompressed record batch");
    };
    let mut parts = ArrayParts { batch, body, next_node: 0, next_buffer: 0 };
    let addresses: ScalarBuffer<u64> = parts.plain()?;
    let address_order = parts.plain()?;
    let biases = parts.plain()?;
    let rows = parts.array()?;
    let codes: ScalarBuffer<i8> = parts.plain()?;
    if rows.checked_mul(dim) != Some(codes.len()) {
        return damaged(format!("{rows} codes of {dim} have {} components", codes.len()));
    }
    let neighbours = Lists { offsets: parts.offsets()?, values: parts.plain()? };
    let levels = parts.offsets()?;
    let upper = Lists { offsets: parts.offsets()?, values: parts.plain()? };
    Ok(NodeColumns { addresses, address_order, biases, codes, neighbours, levels, upper })
}
