//! A segment: the latest row per id of the commits of a version range, as a Parquet object that any Parquet reader
//! understands (docs/protocol.md#segments-and-graphs). It is written as a stream into pieces for a multipart put, and
//! read group by group, so that several threads can share the work. Invariants: addresses ascend strictly and lie in
//! commits lo..=hi; `position` and `embedded` are filled and never later than the row itself.

use std::io::{self, Write};
use std::mem;
use std::ops::Range;

use bytes::Bytes;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, encode_arrow_schema};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::Xxh3;

use super::columns::{self, EMBEDDING, Layout};
use super::pieces::Pieces;
use super::record_file::{RecordFile, damaged};
use super::{Checksum, FORMAT, FormatError, RowOp, Rows};
use crate::record::{Address, Version};

/// Most rows of a row group, the unit that one thread decodes at once.
pub const ROWS_PER_GROUP: usize = 16_384;

/// A row group ends early at roughly this many encoded bytes.
const GROUP_BYTES: usize = 128 << 20;

/// Bytes of a page of embeddings.
const PAGE_BYTES: usize = 1 << 20;

/// Bytes of each piece of the object but the last. A multipart upload needs at least 5 MiB.
const PIECE_BYTES: usize = 8 << 20;

/// The end of a Parquet object: the footer's length (u32, little-endian) and the magic.
const FOOTER_END_BYTES: u64 = 8;

/// The header of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The stream's name, `catalog` or `c/{cid}`.
    pub stream: String,
    /// The first commit it covers.
    pub lo: Version,
    /// The last commit it covers.
    pub hi: Version,
    /// Floats per embedding; 0 for a stream without embeddings.
    pub dim: usize,
}

impl SegmentHeader {
    fn check(&self) -> Result<(), String> {
        let SegmentHeader { lo, hi, .. } = self;
        match *lo >= Version(1) && lo <= hi && Address::new(*hi, 0).is_some() {
            true => Ok(()),
            false => Err(format!("versions of a segment: expected 1 <= lo <= hi < 2^40, got {lo} to {hi}")),
        }
    }

    /// Checks that rows may follow a row with address `last` in this segment. Returns the last address.
    fn check_rows(&self, rows: &Rows, mut last: Option<u64>) -> Result<Option<u64>, String> {
        let addresses = rows.addresses.as_ref().ok_or("rows of a segment need their addresses")?;
        for (row, address) in addresses.iter().enumerate() {
            let address = address.ok_or_else(|| format!("row {row} has no address"))?;
            let version = Address(address).version();
            if version < self.lo || version > self.hi {
                return Err(format!("row {row} is of commit {version}, outside {} to {}", self.lo, self.hi));
            }
            if last.is_some_and(|last| last >= address) {
                return Err(format!("row {row}: address {address} does not follow {}", last.unwrap_or(0)));
            }
            last = Some(address);
        }
        for (name, column) in [("position", &rows.positions), ("embedded", &rows.embedded)] {
            for (row, (named, own)) in column.iter().zip(addresses).enumerate() {
                if named.is_none() || named > own {
                    return Err(format!("column {name}, row {row}: expected at most {own:?}, got {named:?}"));
                }
            }
        }
        Ok(last)
    }
}

/// A segment's object, ready to be put, and the figures for its entry in HEAD.
#[derive(Debug, Clone)]
pub struct EncodedSegment {
    /// The object in consecutive pieces of 8 MiB, the last one smaller.
    pub pieces: Vec<Bytes>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows, tombstones included.
    pub rows: u64,
    /// xxh3-128 of the whole object.
    pub xxh3: Checksum,
}

/// Collects the written bytes as pieces, and their checksum.
#[derive(Default)]
struct Sink {
    done: Vec<Bytes>,
    current: Vec<u8>,
    hash: Xxh3,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.current.len());
        let bytes = bytes.get(..taken).unwrap_or(bytes);
        self.current.extend_from_slice(bytes);
        self.hash.update(bytes);
        if self.current.len() == PIECE_BYTES {
            self.done.push(mem::take(&mut self.current).into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a segment from rows pushed in address order. Holds the encoded object, never the rows.
pub struct SegmentWriter {
    header: SegmentHeader,
    writer: ArrowWriter<Sink>,
    last: Option<u64>,
    rows: u64,
    format: u64,
}

impl SegmentWriter {
    /// Begins a segment.
    pub fn new(header: SegmentHeader) -> Result<SegmentWriter, FormatError> {
        header.check().map_err(FormatError::Invalid)?;
        let options = ArrowWriterOptions::new().with_properties(writer_properties(&header)?);
        let options = options.with_skip_arrow_metadata(true);
        let schema = Layout::Segment.columns().arrow.clone();
        let writer = ArrowWriter::try_new_with_options(Sink::default(), schema, options).map_err(unencodable)?;
        Ok(SegmentWriter { header, writer, last: None, rows: 0, format: FORMAT })
    }

    /// The header that the segment will have.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Appends rows that have their addresses, all after those of the rows before.
    pub fn push(&mut self, mut rows: Rows) -> Result<(), FormatError> {
        if rows.embeddings.dim == 0 && rows.ops.iter().all(|op| *op == RowOp::Delete) {
            rows.embeddings.dim = self.header.dim;
        }
        if rows.embeddings.dim != self.header.dim {
            let (expected, found) = (self.header.dim, rows.embeddings.dim);
            return Err(FormatError::Invalid(format!("expected embeddings of {expected} floats, got {found}")));
        }
        let batch = columns::to_batch(&rows, Layout::Segment).map_err(FormatError::Invalid)?;
        self.last = self.header.check_rows(&rows, self.last).map_err(FormatError::Invalid)?;
        self.writer.write(&batch).map_err(unencodable)?;
        self.rows += rows.len() as u64;
        self.format = self.format.max(rows.format());
        Ok(())
    }

    /// Ends the segment.
    pub fn finish(mut self) -> Result<EncodedSegment, FormatError> {
        self.writer.append_key_value_metadata(KeyValue::new("format".to_owned(), self.format.to_string()));
        let mut sink = self.writer.into_inner().map_err(unencodable)?;
        if !sink.current.is_empty() {
            sink.done.push(sink.current.into());
        }
        let bytes = sink.done.iter().map(|piece| piece.len() as u64).sum();
        Ok(EncodedSegment { pieces: sink.done, bytes, rows: self.rows, xxh3: Checksum(sink.hash.digest128()) })
    }
}

/// Encodes a segment whose rows are all at hand.
#[cfg(any(test, feature = "testing"))]
pub fn encode_segment(header: SegmentHeader, groups: &[Rows]) -> Result<EncodedSegment, FormatError> {
    let mut writer = SegmentWriter::new(header)?;
    groups.iter().try_for_each(|rows| writer.push(rows.clone()))?;
    writer.finish()
}

fn unencodable(error: impl Into<ParquetError>) -> FormatError {
    FormatError::Invalid(error.into().to_string())
}

/// Settings under which embeddings can be copied out as they lie, and every other column is small.
fn writer_properties(header: &SegmentHeader) -> Result<WriterProperties, FormatError> {
    let embedding = ColumnPath::from(vec![EMBEDDING.to_owned(), "list".to_owned(), "element".to_owned()]);
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).map_err(unencodable)?);
    // Lists are stored as lists; this makes other readers show embeddings as lists of fixed size.
    let shown = columns::fixed_size_list(header.dim)
        .map_or_else(|| Layout::Segment.columns().arrow.as_ref().clone(), |list| Layout::Segment.schema_with(list));
    let property = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let properties = vec![
        property("kind", "segment".to_owned()),
        property("stream", header.stream.clone()),
        property("lo", header.lo.to_string()),
        property("hi", header.hi.to_string()),
        property("dim", header.dim.to_string()),
        property("ARROW:schema", encode_arrow_schema(&shown)),
    ];
    Ok(WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by("drumlin".into())
        .set_compression(zstd)
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled(ColumnPath::from("op"), true)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(ColumnPath::from("address"), EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_column_compression(embedding.clone(), Compression::UNCOMPRESSED)
        .set_column_data_page_size_limit(embedding, PAGE_BYTES)
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_key_value_metadata(Some(properties))
        .build())
}

/// An opened segment; its groups can be read in any order by any thread.
#[derive(Debug, Clone)]
pub struct SegmentReader {
    header: SegmentHeader,
    file: RecordFile,
}

impl SegmentReader {
    /// Whether the whole footer is among the pieces; also `true` if the end is no footer at all.
    pub fn can_open(pieces: &Pieces) -> bool {
        let Some(end) = pieces.len().checked_sub(FOOTER_END_BYTES) else { return true };
        let Ok(end_bytes) = pieces.get_bytes(end, FOOTER_END_BYTES as usize) else { return false };
        let length = end_bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        pieces.tail_start() <= end.saturating_sub(length.into())
    }

    /// Reads the footer, which must be at hand. The caller checks the bytes against the checksum in HEAD.
    pub fn open(pieces: &Pieces) -> Result<SegmentReader, FormatError> {
        let file = RecordFile::open(pieces, Layout::Segment)?;
        let kind = file.require("kind")?;
        if kind != "segment" {
            return Err(damaged(format!("property kind: expected segment, got {kind:?}")));
        }
        let header = SegmentHeader {
            stream: file.require("stream")?.to_owned(),
            lo: Version(file.parse("lo")?),
            hi: Version(file.parse("hi")?),
            dim: file.dim(),
        };
        header.check().map_err(FormatError::Damaged)?;
        Ok(SegmentReader { header, file })
    }

    /// The header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// How many row groups.
    pub fn groups(&self) -> usize {
        self.file.groups()
    }

    /// How many rows, tombstones included.
    pub fn rows(&self) -> u64 {
        self.file.rows()
    }

    /// Bytes that its columns claim to expand to. Decoding takes at most a small multiple.
    pub fn expanded_bytes(&self) -> u64 {
        self.file.expanded_bytes()
    }

    /// Where in the object a row group lies.
    pub fn group_range(&self, group: usize) -> Result<Range<u64>, FormatError> {
        self.file.group_range(group)
    }

    /// Decodes one row group, whose range must be at hand, and checks the group by itself. See
    /// [`SegmentReader::check_order`] for the rest.
    pub fn read_group(&self, pieces: &Pieces, group: usize) -> Result<Rows, FormatError> {
        let rows = self.file.read_group(pieces, group)?;
        self.header.check_rows(&rows, None).map_err(FormatError::Damaged)?;
        Ok(rows)
    }

    /// Checks what no single group shows: addresses ascend from each group to the next. `groups` are all groups,
    /// decoded, in order.
    pub fn check_order(groups: &[Rows]) -> Result<(), FormatError> {
        let ends = groups.iter().filter_map(|rows| {
            let addresses = rows.addresses.as_ref()?.values();
            Some((*addresses.first()?, *addresses.last()?))
        });
        let mut last = None;
        for (first_of_group, last_of_group) in ends {
            if last.is_some_and(|last| last >= first_of_group) {
                return Err(damaged(format!("address {first_of_group} begins a row group but does not follow")));
            }
            last = Some(last_of_group);
        }
        Ok(())
    }
}

/// A whole decoded segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its header.
    pub header: SegmentHeader,
    /// Its rows, group by group.
    pub groups: Vec<Rows>,
}

/// Decodes a whole segment on this thread.
pub fn decode_segment(bytes: &Bytes) -> Result<Segment, FormatError> {
    let pieces = Pieces::whole(bytes);
    let reader = SegmentReader::open(&pieces)?;
    let groups: Vec<Rows> =
        (0..reader.groups()).map(|group| reader.read_group(&pieces, group)).collect::<Result<_, _>>()?;
    SegmentReader::check_order(&groups)?;
    Ok(Segment { header: reader.header, groups })
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
