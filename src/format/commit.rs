//! A commit: one durable, numbered change of one stream, as a Parquet object (docs/protocol.md#commits). The writer
//! settings keep a commit of one record small; the properties chain a commit to the one before it. Invariant: a
//! decoded commit has a sound `xxh3` over all its bytes, rows that obey the format's rules, and a `prev` unless it is
//! commit 1.

use std::ops::Range;

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use serde_json::Value;

use super::columns::{self, Layout};
use super::record_file::{RecordFile, damaged};
use super::{Checksum, FormatError, Nonce, Pieces, ROWS_FORMAT, Rows, StreamConfig};
use crate::record::{Address, CollectionId, Version};

/// The identity of a commit, by which its successor names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Chain {
    /// The commit's nonce.
    pub nonce: Nonce,
    /// xxh3-128 of the commit's whole object.
    pub xxh3: Checksum,
}

/// What a commit does to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitKind {
    /// Puts and deletes records.
    Data,
    /// Ends the stream: nothing after it is valid. Has no rows.
    Drop,
}

/// The collection that goes on in place of one that ended, and its version when it had all records of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Successor {
    /// Which collection.
    pub collection: CollectionId,
    /// Complete from this version on.
    pub version: Version,
}

/// The part of a commit in a handover (docs/protocol.md#handover).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// Asks writers to wait for a moment. Binds nobody: a commit may follow at once.
    Hold,
    /// The stream ends, and this collection goes on in its place.
    To(Successor),
}

/// What a commit says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitHeader {
    /// The stream's name, `catalog` or `c/{cid}`.
    pub stream: String,
    /// Its number; the first is 1.
    pub version: Version,
    /// What it does.
    pub kind: CommitKind,
    /// Which instance wrote it; for people.
    pub writer: String,
    /// Distinguishes this batch from every other.
    pub nonce: Nonce,
    /// The commit before; `None` only for commit 1.
    pub prev: Option<Chain>,
    /// Changes of the stream's configuration, applied before the rows.
    pub config: Option<StreamConfig>,
    /// Its part in a handover.
    pub handover: Option<Handover>,
}

impl CommitHeader {
    /// What goes on in place of the stream that this commit ends.
    pub fn successor(&self) -> Option<Successor> {
        match self.handover {
            Some(Handover::To(successor)) => Some(successor),
            _ => None,
        }
    }
}

/// A decoded commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// What it says about itself.
    pub header: CommitHeader,
    /// Its rows; `addresses` is `None`.
    pub rows: Rows,
}

/// The properties of a handover.
const HOLD: &str = "hold";
const SUCCESSOR: &str = "successor";
const SUCCESSOR_VERSION: &str = "successor_version";

/// The property that seals a commit: xxh3-128 of the whole object with these 32 digits as zeros.
const XXH3: &str = "xxh3";

/// The bytes before the digits in a footer: the key, then (Thrift compact) the type of the value, a string, and its
/// length, 32.
const SEAL_MARK: &[u8] = b"xxh3\x18\x20";

/// Encodes a commit. It may have no rows. The same input gives the same bytes.
pub fn encode_commit(header: &CommitHeader, rows: &Rows) -> Result<Bytes, FormatError> {
    // Encoding refuses whatever decoding refuses: a durable but unreadable commit ends its stream.
    check_header(header).map_err(FormatError::Invalid)?;
    check_commit_rows(header, rows).map_err(FormatError::Invalid)?;
    write_commit(header, rows)
}

fn write_commit(header: &CommitHeader, rows: &Rows) -> Result<Bytes, FormatError> {
    let batch = columns::to_batch(rows, Layout::Commit).map_err(FormatError::Invalid)?;
    let capacity = rows.embeddings.values.len() * 4 + rows.len() * 64 + 4096;
    let options = ArrowWriterOptions::new().with_properties(writer_properties()).with_skip_arrow_metadata(true);
    let sink = Vec::with_capacity(capacity);
    let mut writer = ArrowWriter::try_new_with_options(sink, batch.schema(), options).map_err(unencodable)?;
    writer.write(&batch).map_err(unencodable)?;
    for (key, value) in to_properties(header, rows) {
        writer.append_key_value_metadata(KeyValue::new(key.into(), value));
    }
    // IMPORTANT: this is the last property, so that its digits are the last such text in the object.
    writer.append_key_value_metadata(KeyValue::new(XXH3.into(), Checksum(0).to_string()));
    let mut bytes = writer.into_inner().map_err(unencodable)?;
    let digits = seal_range(&bytes).ok_or_else(|| FormatError::Invalid("the checksum has no place".into()))?;
    let checksum = Checksum::of(&bytes).to_string();
    bytes.splice(digits, checksum.into_bytes());
    Ok(bytes.into())
}

/// Moves an encoded commit to a later slot: the bytes that [`encode_commit`] makes of the same rows and the header `to`.
/// The slot's number, the commit before it and the checksum are exchanged in place. `None` where they do not fit there
/// or more differs; then the commit must be encoded again.
pub fn move_commit(bytes: &Bytes, from: &CommitHeader, to: &CommitHeader) -> Option<Bytes> {
    let (before, after) = (from.prev?, to.prev?);
    // Rows name addresses before their own, so they may move to a later slot only.
    if to.version <= from.version || check_header(to).is_err() {
        return None;
    }
    let mut moved = bytes.to_vec();
    for (key, old, new) in [
        ("version", from.version.to_string(), to.version.to_string()),
        ("prev_nonce", before.nonce.to_string(), after.nonce.to_string()),
        ("prev_xxh3", before.xxh3.to_string(), after.xxh3.to_string()),
        (XXH3, bytes_as_text(bytes, seal_range(bytes)?)?, Checksum(0).to_string()),
    ] {
        exchange(&mut moved, key, &old, &new)?;
    }
    let checksum = Checksum::of(&moved).to_string();
    exchange(&mut moved, XXH3, &Checksum(0).to_string(), &checksum)?;
    let moved = Bytes::from(moved);
    let file = RecordFile::open(&Pieces::whole(&moved), Layout::Commit).ok()?;
    from_properties(&file).is_ok_and(|header| header == *to).then_some(moved)
}

fn bytes_as_text(bytes: &[u8], range: Range<usize>) -> Option<String> {
    String::from_utf8(bytes.get(range)?.to_vec()).ok()
}

/// Exchanges the value of a property in a footer for one of the same length.
fn exchange(bytes: &mut [u8], key: &str, old: &str, new: &str) -> Option<()> {
    let length = u8::try_from(old.len()).ok().filter(|length| *length < 128 && old.len() == new.len())?;
    // As in a footer, where the value follows its key: see `SEAL_MARK`.
    let mark = [key.as_bytes(), &[0x18, length], old.as_bytes()].concat();
    let end = memchr::memmem::rfind(bytes, &mark)? + mark.len();
    bytes.get_mut(end - old.len()..end)?.copy_from_slice(new.as_bytes());
    Some(())
}

/// Decodes a commit and checks everything that can be checked without the stream. The caller checks the stream's name,
/// the version and the chain.
pub fn decode_commit(bytes: &Bytes) -> Result<Commit, FormatError> {
    let pieces = Pieces::whole(bytes);
    let file = RecordFile::open(&pieces, Layout::Commit)?;
    check_seal(bytes, file.parse(XXH3)?)?;
    let header = from_properties(&file)?;
    check_header(&header).map_err(FormatError::Damaged)?;
    let rows = match file.groups() {
        0 => Rows::from_iter([]),
        1 => file.read_group(&pieces, 0)?,
        more => return Err(damaged(format!("expected one row group, got {more}"))),
    };
    check_commit_rows(&header, &rows).map_err(FormatError::Damaged)?;
    Ok(Commit { header, rows })
}

fn unencodable(error: impl Into<ParquetError>) -> FormatError {
    FormatError::Invalid(error.into().to_string())
}

/// Settings that keep a commit of one record small: the footer holds nothing that the reader does not use.
fn writer_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by("drumlin".into())
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(Address::MAX_ROWS))
        .build()
}

fn to_properties(header: &CommitHeader, rows: &Rows) -> Vec<(&'static str, String)> {
    let kind = match header.kind {
        CommitKind::Data => "data",
        CommitKind::Drop => "drop",
    };
    let mut properties = vec![
        // A version that knows no successors must not take the end of the stream for a mere drop.
        ("format", if header.successor().is_some() { ROWS_FORMAT } else { rows.format() }.to_string()),
        ("stream", header.stream.clone()),
        ("version", header.version.to_string()),
        ("kind", kind.to_owned()),
        ("writer", header.writer.clone()),
        ("nonce", header.nonce.to_string()),
        ("dim", rows.embeddings.dim.to_string()),
    ];
    if let Some(prev) = &header.prev {
        properties.extend([("prev_nonce", prev.nonce.to_string()), ("prev_xxh3", prev.xxh3.to_string())]);
    }
    properties.extend(header.config.clone().map(|config| ("config", Value::Object(config.into()).to_string())));
    match header.handover {
        None => {}
        Some(Handover::Hold) => properties.push((HOLD, "true".to_owned())),
        Some(Handover::To(Successor { collection, version })) => {
            properties.extend([(SUCCESSOR, collection.to_string()), (SUCCESSOR_VERSION, version.to_string())]);
        }
    }
    properties
}

fn handover_of(file: &RecordFile) -> Result<Option<Handover>, FormatError> {
    if file.properties().contains_key(SUCCESSOR) {
        let collection = file.require(SUCCESSOR)?.parse().map(CollectionId);
        let collection = collection.map_err(|e| damaged(format!("property {SUCCESSOR}: expected a UUID ({e})")))?;
        let version = Version(file.parse(SUCCESSOR_VERSION)?);
        return Ok(Some(Handover::To(Successor { collection, version })));
    }
    let holds = file.properties().get(HOLD).is_some_and(|held| held == "true");
    Ok(holds.then_some(Handover::Hold))
}

fn from_properties(file: &RecordFile) -> Result<CommitHeader, FormatError> {
    let kind = match file.require("kind")? {
        "data" => CommitKind::Data,
        "drop" => CommitKind::Drop,
        other => return Err(damaged(format!("property kind: expected data or drop, got {other:?}"))),
    };
    let has = |key: &str| file.properties().contains_key(key);
    let prev = match has("prev_nonce") || has("prev_xxh3") {
        true => Some(Chain { nonce: file.parse("prev_nonce")?, xxh3: file.parse("prev_xxh3")? }),
        false => None,
    };
    let config = match file.properties().get("config").map(|text| serde_json::from_str(text)) {
        None => None,
        Some(Ok(Value::Object(config))) => Some(StreamConfig::try_from(config)?),
        Some(_) => return Err(damaged("property config: expected a JSON object")),
    };
    Ok(CommitHeader {
        stream: file.require("stream")?.to_owned(),
        version: Version(file.parse("version")?),
        kind,
        writer: file.require("writer")?.to_owned(),
        nonce: file.parse("nonce")?,
        prev,
        config,
        handover: handover_of(file)?,
    })
}

/// Where the digits of the seal are: after the last mark in the object.
fn seal_range(bytes: &[u8]) -> Option<Range<usize>> {
    let start = memchr::memmem::rfind(bytes, SEAL_MARK)? + SEAL_MARK.len();
    let range = start..start + 32;
    bytes.get(range.clone()).map(|_| range)
}

fn check_seal(bytes: &Bytes, expected: Checksum) -> Result<(), FormatError> {
    let range = seal_range(bytes).ok_or_else(|| damaged("the checksum is not where it is written"))?;
    let zeros = Bytes::from_static(&[b'0'; 32]);
    let found = Checksum::of_pieces(&[bytes.slice(..range.start), zeros, bytes.slice(range.end..)]);
    match expected == found && bytes.get(range).is_some_and(|digits| digits == expected.to_string().as_bytes()) {
        true => Ok(()),
        false => Err(damaged(format!("checksum of the commit: expected {expected}, got {found}"))),
    }
}

fn check_header(header: &CommitHeader) -> Result<(), String> {
    let CommitHeader { version, prev, .. } = header;
    if header.successor().is_some() && header.kind != CommitKind::Drop {
        return Err("only a drop names a successor".into());
    }
    if Address::new(*version, 0).is_none() || *version == Version(0) {
        return Err(format!("version: expected 1 to 2^40 - 1, got {version}"));
    }
    match (*version == Version(1), prev) {
        (true, Some(_)) => Err("commit 1 names a commit before it".into()),
        (false, None) => Err(format!("commit {version} does not name the commit before it")),
        _ => Ok(()),
    }
}

fn check_commit_rows(header: &CommitHeader, rows: &Rows) -> Result<(), String> {
    if header.kind == CommitKind::Drop && !rows.is_empty() {
        return Err(format!("a drop has no rows, this one {}", rows.len()));
    }
    if rows.len() > Address::MAX_ROWS {
        return Err(format!("{} rows; a commit numbers at most {}", rows.len(), Address::MAX_ROWS));
    }
    let first = Address::new(header.version, 0).map_or(0, |address| address.0);
    for (name, column) in [("position", &rows.positions), ("embedded", &rows.embedded)] {
        for (row, named) in column.iter().enumerate() {
            if named.is_some_and(|named| named >= first + row as u64) {
                return Err(format!("column {name}, row {row}: expected an earlier address, got {named:?}"));
            }
        }
    }
    check_metadata_texts(rows)
}

fn check_metadata_texts(rows: &Rows) -> Result<(), String> {
    for (row, text) in rows.metadatas.iter().enumerate() {
        let Some(text) = text else { continue };
        let is_object = text.trim_start().starts_with('{');
        if !is_object || serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
            return Err(format!("column metadata, row {row}: expected a JSON object, got {text:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
