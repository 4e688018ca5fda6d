//! Arrow IPC files as they come from a bucket. Arrow's own code verifies the flatbuffers (footer, messages); this file
//! checks every position and length in them before use. It does not use Arrow's array reader, which trusts lengths.
//! Invariant: no two buffers that are read share bytes, so what is read never has more bytes than the file.

use std::mem::{align_of, size_of};
use std::str::FromStr;

use arrow::array::StringArray;
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Field};
use arrow::ipc::{
    Block, Endianness, Footer, MessageHeader, MetadataVersion, Precision, RecordBatch, Schema, Type, root_as_footer,
    root_as_message,
};
use bytes::Bytes;

use super::FormatError;

const MAGIC: &[u8] = b"ARROW1";
/// Most pairs of metadata that are looked at.
const MAX_PAIRS: usize = 64;
/// Most bytes of a number, a word or a checksum in the metadata.
const VALUE_BYTES: usize = 128;

/// A file whose footer parses.
pub struct ArrowFile<'a> {
    /// What errors call it.
    what: &'static str,
    bytes: &'a [u8],
    /// The owner of `bytes`, where values may be used in place.
    owner: Option<&'a Bytes>,
    footer: Footer<'a>,
    schema: Schema<'a>,
}

/// `length` bytes from `offset` on, if they are there.
fn part(bytes: &[u8], offset: i64, length: i64) -> Option<&[u8]> {
    let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    bytes.get(offset..offset.checked_add(length)?)
}

/// The file ends with the footer, its length in 4 bytes, and the magic.
fn footer_bytes(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_suffix(MAGIC)?;
    let (before, length) = rest.split_last_chunk::<4>()?;
    let length = usize::try_from(i32::from_le_bytes(*length)).ok()?;
    before.get(before.len().checked_sub(length)?..)
}

impl<'a> ArrowFile<'a> {
    /// Reads the footer. Errors begin with `what`. Columns that are aligned for their type are used where they lie, the
    /// others copied.
    pub fn open_in_place(what: &'static str, bytes: &'a Bytes) -> Result<ArrowFile<'a>, FormatError> {
        Ok(ArrowFile { owner: Some(bytes), ..ArrowFile::open(what, bytes)? })
    }

    /// Reads the footer. Errors begin with `what`. Columns are copied.
    pub fn open(what: &'static str, bytes: &'a [u8]) -> Result<ArrowFile<'a>, FormatError> {
        let damaged = |message: String| FormatError::Damaged(format!("{what}: {message}"));
        let footer = footer_bytes(bytes).ok_or_else(|| damaged("it is not an Arrow IPC file, or truncated".into()))?;
        let footer = root_as_footer(footer).map_err(|e| damaged(format!("the footer does not parse: {e}")))?;
        let schema = footer.schema().ok_or_else(|| damaged("the footer has no schema".into()))?;
        Ok(ArrowFile { what, bytes, owner: None, footer, schema })
    }

    fn damaged<T>(&self, message: impl Into<String>) -> Result<T, FormatError> {
        Err(FormatError::Damaged(format!("{}: {}", self.what, message.into())))
    }

    /// A value of the schema's metadata.
    pub fn text(&self, key: &str) -> Result<&'a str, FormatError> {
        let pairs = self.schema.custom_metadata().into_iter().flatten().take(MAX_PAIRS);
        let found = pairs.filter(|pair| pair.key() == Some(key)).find_map(|pair| pair.value());
        found.map_or_else(|| self.damaged(format!("the metadata has no {key}")), Ok)
    }

    /// A short value of the schema's metadata, parsed.
    pub fn value<T: FromStr<Err: std::fmt::Display>>(&self, key: &str) -> Result<T, FormatError> {
        let text = self.text(key)?;
        if text.len() > VALUE_BYTES {
            return self.damaged(format!("{key}: expected at most {VALUE_BYTES} bytes, got {}", text.len()));
        }
        text.parse().or_else(|e| self.damaged(format!("{key}: {e}")))
    }

    /// Checks that the file has exactly these columns, with exactly these types.
    pub fn check_fields(&self, expected: &[Field]) -> Result<(), FormatError> {
        if self.footer.version() != MetadataVersion::V5 || self.schema.endianness() != Endianness::Little {
            return self.damaged("it is not little-endian Arrow IPC of metadata version 5");
        }
        let fields = self.schema.fields().unwrap_or_default();
        if fields.len() != expected.len() {
            return self.damaged(format!("expected {} columns, found {}", expected.len(), fields.len()));
        }
        for (field, expected) in fields.iter().zip(expected) {
            if field.name() != Some(expected.name()) || !is_of_type(field, expected.data_type()) {
                let (found, name) = (beginning(field.name().unwrap_or("")), expected.name());
                return self.damaged(format!("column {found:?} is not the {name} that was expected"));
            }
        }
        Ok(())
    }

    /// The record batches, in order.
    pub fn batches(&self) -> impl Iterator<Item = Result<BatchArrays<'a>, FormatError>> + '_ {
        let mut end = 0;
        let blocks = self.footer.recordBatches().into_iter().flatten();
        blocks.map(move |block| {
            // No block begins before the last has ended: the batches together have no more bytes than the file.
            if block.offset() < end {
                return self.damaged("record batches overlap");
            }
            let batch = self.batch(block)?;
            end = block.offset() + i64::from(block.metaDataLength()) + block.bodyLength();
            Ok(batch)
        })
    }

    fn batch(&self, block: &Block) -> Result<BatchArrays<'a>, FormatError> {
        let (offset, length) = (block.offset(), i64::from(block.metaDataLength()));
        let places = part(self.bytes, offset, length)
            .and_then(|message| Some((message, part(self.bytes, offset.checked_add(length)?, block.bodyLength())?)));
        let Some((message, body)) = places else { return self.damaged("a record batch lies outside of the object") };
        // A message starts with the continuation marker and the length of the flatbuffer.
        let flatbuffer = message.strip_prefix(&[0xff; 4]).and_then(|rest| rest.get(4..)).unwrap_or_default();
        let message = root_as_message(flatbuffer)
            .or_else(|e| self.damaged(format!("the message of a record batch does not parse: {e}")))?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            _ => None,
        };
        match batch.filter(|batch| batch.compression().is_none()) {
            Some(batch) => {
                let (what, owner) = (self.what, self.owner);
                Ok(BatchArrays { what, batch, body, owner, next_node: 0, next_buffer: 0, read: 0 })
            }
            None => self.damaged("a message is not an uncompressed record batch"),
        }
    }
}

/// What a message repeats of a text.
pub fn beginning(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Whether a field has this type. The names of a list's elements are free.
fn is_of_type(field: arrow::ipc::Field<'_>, expected: &DataType) -> bool {
    let int = |bits: i32, signed: bool| {
        field.type_as_int().is_some_and(|int| int.bitWidth() == bits && int.is_signed() == signed)
    };
    let children = field.children().unwrap_or_default();
    let only_child = (children.len() == 1).then(|| children.get(0));
    let fits = match expected {
        DataType::Int8 => int(8, true),
        DataType::UInt8 => int(8, false),
        DataType::UInt16 => int(16, false),
        DataType::UInt32 => int(32, false),
        DataType::UInt64 => int(64, false),
        DataType::Float32 => field.type_as_floating_point().is_some_and(|f| f.precision() == Precision::SINGLE),
        DataType::Utf8 => field.type_type() == Type::Utf8,
        DataType::List(element) => {
            field.type_type() == Type::List && only_child.is_some_and(|child| is_of_type(child, element.data_type()))
        }
        DataType::FixedSizeList(element, size) => {
            field.type_as_fixed_size_list().is_some_and(|list| list.listSize() == *size)
                && only_child.is_some_and(|child| is_of_type(child, element.data_type()))
        }
        DataType::Struct(fields) => {
            let same = |(child, expected): (arrow::ipc::Field<'_>, &std::sync::Arc<Field>)| {
                child.name() == Some(expected.name()) && is_of_type(child, expected.data_type())
            };
            field.type_type() == Type::Struct_
                && children.len() == fields.len()
                && children.iter().zip(fields).all(same)
        }
        _ => false,
    };
    fits && field.dictionary().is_none() && (expected.is_nested() || children.is_empty())
}

/// Takes a record batch's arrays one after the other: each array by its length, then its buffers.
pub struct BatchArrays<'a> {
    what: &'static str,
    batch: RecordBatch<'a>,
    body: &'a [u8],
    owner: Option<&'a Bytes>,
    next_node: usize,
    next_buffer: usize,
    /// Where in the body the buffers read so far end.
    read: usize,
}

impl<'a> BatchArrays<'a> {
    fn damaged<T>(&self, message: impl Into<String>) -> Result<T, FormatError> {
        Err(FormatError::Damaged(format!("{}: {}", self.what, message.into())))
    }

    /// The length of the next array and how many of its values are null.
    fn node(&mut self) -> Option<(usize, usize)> {
        let nodes = self.batch.nodes().filter(|nodes| self.next_node < nodes.len())?;
        let node = nodes.get(self.next_node);
        self.next_node += 1;
        Some((usize::try_from(node.length()).ok()?, usize::try_from(node.null_count()).ok()?))
    }

    /// The length of the next array, which has no nulls; skips its validity buffer.
    pub fn array(&mut self) -> Result<usize, FormatError> {
        let node = self.node();
        self.next_buffer += 1;
        match node {
            Some((length, 0)) => Ok(length),
            _ => self.damaged("an array is missing, or has nulls"),
        }
    }

    /// The length of the next array, which may have nulls, and its validity: a bit per value, none if there are no nulls.
    pub fn nullable(&mut self) -> Result<(usize, Option<&'a [u8]>), FormatError> {
        match self.node() {
            None => self.damaged("an array is missing"),
            Some((length, 0)) => {
                self.next_buffer += 1;
                Ok((length, None))
            }
            Some((length, _)) => Ok((length, Some(self.buffer(length.div_ceil(8))?))),
        }
    }

    /// The next buffer's first `size_bytes` bytes.
    pub fn buffer(&mut self, size_bytes: usize) -> Result<&'a [u8], FormatError> {
        let buffers = self.batch.buffers().filter(|buffers| self.next_buffer < buffers.len());
        let place = buffers.map(|buffers| *buffers.get(self.next_buffer));
        self.next_buffer += 1;
        let found = place.and_then(|place| {
            let bytes = part(self.body, place.offset(), place.length())?.get(..size_bytes)?;
            Some((usize::try_from(place.offset()).ok()?, bytes))
        });
        match found {
            // Nothing can be shared of nothing.
            Some((_, bytes)) if bytes.is_empty() => Ok(bytes),
            Some((offset, bytes)) if offset >= self.read => {
                self.read = offset + bytes.len();
                Ok(bytes)
            }
            Some(_) => self.damaged("the buffers of a record batch overlap"),
            None => self.damaged("an array lies outside of the object"),
        }
    }

    /// The next buffer as `length` values.
    pub fn values<T: ArrowNativeType>(&mut self, length: usize) -> Result<ScalarBuffer<T>, FormatError> {
        let Some(size_bytes) = length.checked_mul(size_of::<T>()) else {
            return self.damaged("an array lies outside of the object");
        };
        let bytes = self.buffer(size_bytes)?;
        // Of no bytes there is no place to keep.
        let in_place = !bytes.is_empty() && bytes.as_ptr().align_offset(align_of::<T>()) == 0;
        let buffer = match self.owner.filter(|_| in_place) {
            Some(owner) => Buffer::from(owner.slice_ref(bytes)),
            None => Buffer::from(bytes),
        };
        Ok(ScalarBuffer::new(buffer, 0, length))
    }

    /// The next array of plain values without nulls.
    pub fn plain<T: ArrowNativeType>(&mut self) -> Result<ScalarBuffer<T>, FormatError> {
        let length = self.array()?;
        self.values(length)
    }

    /// The offsets of the next array, of lists or texts without nulls: one more than it has. Writers may leave them out
    /// where it has none.
    pub fn offsets<T: ArrowNativeType>(&mut self) -> Result<ScalarBuffer<T>, FormatError> {
        match self.array()? {
            0 => {
                self.next_buffer += 1;
                Ok(vec![T::default()].into())
            }
            length => self.values(length.saturating_add(1)),
        }
    }
    /// The next array, of texts without nulls.
    pub fn texts(&mut self) -> Result<StringArray, FormatError> {
        let offsets: ScalarBuffer<u32> = self.offsets()?;
        let end = offsets.last().copied().unwrap_or(0);
        // The offsets are signed in Arrow; those that rise to a positive end are none of them negative.
        if offsets.first() != Some(&0) || !offsets.is_sorted() || i32::try_from(end).is_err() {
            return self.damaged("the offsets of texts do not rise from 0");
        }
        let text = Buffer::from(self.buffer(end as usize)?);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets.into_inner()));
        StringArray::try_new(offsets, text, None).or_else(|e| self.damaged(format!("its texts are not UTF-8: {e}")))
    }
}
