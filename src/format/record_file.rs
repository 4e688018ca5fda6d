//! One Parquet object of records, opened for reading: its properties (file key-value metadata) and its row groups.
//! Invariant: an open file has every column of its layout, with exactly the layout's type; unknown columns are
//! skipped.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::Length;

use super::columns::{self, EMBEDDING, Layout};
use super::contained::contained;
use super::parquet_pages::{BoundedGroup, PageBounds, Values, declared_bytes, read_metadata};
use super::pieces::Pieces;
use super::{Embeddings, FormatError, ROWS_FORMAT, Rows, pages};
use crate::record::Address;

/// Damage, in words.
pub(super) fn damaged(what: impl Into<String>) -> FormatError {
    FormatError::Damaged(what.into())
}

/// Runs a decoder over untrusted bytes. The Parquet crate promises errors for bad input, but a hostile footer or page
/// header still reaches assertions and slices in it. Such a panic is reported as damage, and nothing half-decoded
/// survives it.
pub(super) fn guarded<T>(decode: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    contained("a stored object", decode)
        .unwrap_or_else(|| Err(damaged("not a readable parquet file: its parts contradict each other")))
}

/// What the Parquet crate says about bad bytes.
pub(super) fn parquet_damage(error: impl Display) -> FormatError {
    damaged(format!("not a readable parquet file: {error}"))
}

/// Most bytes of a footer: a segment of a thousand million rows has less.
const FOOTER_BYTES: u64 = 64 << 20;
/// Most bytes that a commit decodes to: this multiple of its own bytes, plus a constant. Commits are not compressed; a
/// row of twelve bytes takes a few hundred in memory.
const COMMIT_EXPANSION: u64 = 64;
const COMMIT_EXPANSION_BYTES: u64 = 4 << 20;
/// Memory of a segment's row beside its texts and floats, and of a row group beside its rows.
const ROW_BYTES: u64 = 512;
const GROUP_BYTES: u64 = 64 << 10;

/// An opened commit or segment.
#[derive(Debug, Clone)]
pub(super) struct RecordFile {
    metadata: Arc<ParquetMetaData>,
    layout: Layout,
    properties: BTreeMap<String, String>,
    dim: usize,
}

impl RecordFile {
    /// Reads the footer, which must be at hand. Checks the format number and the columns.
    pub fn open(pieces: &Pieces, layout: Layout) -> Result<RecordFile, FormatError> {
        guarded(|| {
            let metadata = Arc::new(read_metadata(pieces, FOOTER_BYTES).map_err(parquet_damage)?);
            let properties = read_properties(&metadata)?;
            let mut file = RecordFile { metadata, layout, properties, dim: 0 };
            let format: u64 = file.parse("format")?;
            if format > ROWS_FORMAT {
                return Err(FormatError::Newer { found: format, known: ROWS_FORMAT });
            }
            if format == 0 {
                return Err(damaged("property format: expected 1 or more, got 0"));
            }
            file.dim = file.parse("dim")?;
            file.check_schema()?;
            file.check_row_counts()?;
            Ok(file)
        })
    }

    fn check_schema(&self) -> Result<(), FormatError> {
        let found = self.schema().root_schema().get_fields();
        for expected in self.layout.columns().parquet.root_schema().get_fields() {
            let name = expected.name();
            let mut same_name = found.iter().filter(|field| field.name() == name);
            match (same_name.next(), same_name.next()) {
                (Some(field), None) if field == expected => {}
                (Some(field), None) => {
                    return Err(damaged(format!("column {name}: expected {expected:?}, got {field:?}")));
                }
                (None, _) => return Err(damaged(format!("column {name} is missing"))),
                (Some(_), Some(_)) => return Err(damaged(format!("column {name} is there twice"))),
            }
        }
        Ok(())
    }

    fn check_row_counts(&self) -> Result<(), FormatError> {
        let metadata = &self.metadata;
        let mut sum: i64 = 0;
        for group in metadata.row_groups() {
            let rows = group.num_rows();
            if !(0..=Address::MAX_ROWS as i64).contains(&rows) {
                return Err(damaged(format!("a row group of {rows} rows; at most {} can be", Address::MAX_ROWS)));
            }
            sum = sum.checked_add(rows).ok_or_else(|| damaged("more rows than can be counted"))?;
        }
        match sum == metadata.file_metadata().num_rows() {
            true => Ok(()),
            false => Err(damaged(format!(
                "the footer counts {} rows, its row groups {sum}",
                metadata.file_metadata().num_rows()
            ))),
        }
    }

    /// All properties.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// A property that must be there.
    pub fn require(&self, key: &str) -> Result<&str, FormatError> {
        let value = self.properties.get(key).ok_or_else(|| damaged(format!("property {key} is missing")))?;
        Ok(value)
    }

    /// A property that must be there, as a value.
    pub fn parse<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, FormatError> {
        let text = self.require(key)?;
        text.parse().map_err(|e| damaged(format!("property {key}: cannot read {text:?}: {e}")))
    }

    /// Floats per embedding; 0 where no row has one.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many row groups.
    pub fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// How many rows in all groups.
    pub fn rows(&self) -> u64 {
        self.metadata.row_groups().iter().map(|g| g.num_rows().unsigned_abs()).sum()
    }

    /// Where in the file the columns of a row group lie.
    pub fn group_range(&self, group: usize) -> Result<Range<u64>, FormatError> {
        guarded(|| {
            let row_group = self.metadata.row_groups().get(group);
            let columns = row_group.ok_or_else(|| damaged(format!("there is no row group {group}")))?.columns();
            let ranges = columns.iter().map(|column| column.byte_range());
            let ends = ranges.clone().map(|(start, length)| start.saturating_add(length));
            Ok(ranges.map(|(start, _)| start).min().unwrap_or(0)..ends.max().unwrap_or(0))
        })
    }

    /// Decodes one row group. It needs only the bytes in the group's range, and no other group.
    pub fn read_group(&self, pieces: &Pieces, group: usize) -> Result<Rows, FormatError> {
        guarded(|| {
            let span = tracing::debug_span!(target: "drumlin::load", "decode texts").entered();
            let batch = self.read_columns(pieces, group, |name| name != EMBEDDING)?;
            drop(span);
            let span = tracing::debug_span!(target: "drumlin::load", "decode floats").entered();
            let embeddings = self.read_embeddings(pieces, group)?;
            drop(span);
            let _span = tracing::debug_span!(target: "drumlin::load", "check rows").entered();
            columns::from_batch(&batch, embeddings, self.layout).map_err(FormatError::Damaged)
        })
    }

    /// Bytes that the footer claims for all columns once expanded. Decoding never takes more.
    pub fn expanded_bytes(&self) -> u64 {
        self.metadata.row_groups().iter().fold(0, |sum, group| sum.saturating_add(declared_bytes(group)))
    }

    /// Most bytes of memory that a row group decodes to.
    fn group_bytes(&self, group: &RowGroupMetaData) -> u64 {
        let row = ROW_BYTES.saturating_add((self.dim as u64).saturating_mul(8));
        let rows = group.num_rows().unsigned_abs().saturating_mul(row);
        declared_bytes(group).saturating_mul(2).saturating_add(rows).saturating_add(GROUP_BYTES)
    }

    fn schema(&self) -> &parquet::schema::types::SchemaDescriptor {
        self.metadata.file_metadata().schema_descr()
    }

    /// A row group, and the bounds within which it is decoded.
    fn bounded(&self, pieces: &Pieces, group: usize) -> Result<BoundedGroup<Pieces>, FormatError> {
        let row_group =
            self.metadata.row_groups().get(group).ok_or_else(|| damaged(format!("there is no row group {group}")))?;
        let most = match self.layout {
            Layout::Commit => {
                Length::len(pieces).saturating_mul(COMMIT_EXPANSION).saturating_add(COMMIT_EXPANSION_BYTES)
            }
            Layout::Segment => self.group_bytes(row_group),
        };
        let bounds = PageBounds::new(most, most, usize::MAX, Values::Copied);
        BoundedGroup::new(Arc::new(pieces.clone()), self.metadata.clone(), group, Arc::new(bounds))
            .map_err(parquet_damage)
    }

    pub fn read_embeddings(&self, pieces: &Pieces, group: usize) -> Result<Embeddings, FormatError> {
        let row_group = self.metadata.row_groups().get(group);
        let leaf = self.schema().columns().iter().position(|c| c.path().parts().starts_with(&[EMBEDDING.into()]));
        if let (Some(row_group), Some(leaf)) = (row_group, leaf)
            && self.dim > 0
        {
            let pages = self.bounded(pieces, group)?.pages(leaf).map_err(parquet_damage)?;
            let rows = row_group.num_rows() as usize;
            if let Some(embeddings) = pages::read_embeddings(pages, Length::len(pieces), rows, self.dim)? {
                return Ok(embeddings);
            }
        }
        self.read_embeddings_standard(pieces, group)
    }

    /// Reads embeddings with the standard reader, which knows every kind of page.
    pub fn read_embeddings_standard(&self, pieces: &Pieces, group: usize) -> Result<Embeddings, FormatError> {
        let batch = self.read_columns(pieces, group, |name| name == EMBEDDING)?;
        columns::from_list(&batch, self.dim).map_err(FormatError::Damaged)
    }

    /// The columns of the layout that `wanted` selects, read by the standard reader, as one batch.
    fn read_columns(
        &self,
        pieces: &Pieces,
        group: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<arrow::array::RecordBatch, FormatError> {
        let row_group = self.metadata.row_groups().get(group);
        let rows = row_group.ok_or_else(|| damaged(format!("there is no row group {group}")))?.num_rows() as usize;
        let known = &self.layout.columns().arrow;
        let schema = self.schema();
        let roots = schema.root_schema().get_fields().iter().enumerate();
        let roots = roots.filter(|(_, f)| known.field_with_name(f.name()).is_ok() && wanted(f.name())).map(|(i, _)| i);
        // The embedded Arrow schema is for other readers: the columns are judged by their Parquet types.
        let levels = parquet_to_arrow_field_levels(schema, ProjectionMask::roots(schema, roots), None);
        let (levels, group_pages) = (levels.map_err(parquet_damage)?, self.bounded(pieces, group)?);
        let batches = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &group_pages, rows.max(1), None);
        let mut batches = batches.map_err(parquet_damage)?;
        match (batches.next().transpose().map_err(parquet_damage)?, batches.next()) {
            (Some(batch), None) if batch.num_rows() == rows => Ok(batch),
            _ => Err(damaged(format!("row group {group} does not hold the {rows} rows it says"))),
        }
    }
}

fn read_properties(metadata: &ParquetMetaData) -> Result<BTreeMap<String, String>, FormatError> {
    let mut properties = BTreeMap::new();
    for entry in metadata.file_metadata().key_value_metadata().into_iter().flatten() {
        let value = entry.value.clone().unwrap_or_default();
        if properties.insert(entry.key.clone(), value).is_some() {
            return Err(damaged(format!("property {} is there twice", entry.key)));
        }
    }
    Ok(properties)
}
