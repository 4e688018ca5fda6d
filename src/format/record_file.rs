//! One Parquet object of records, opened for reading: its properties (file key-value metadata) and its
//! row groups. Invariant: an open file has every column of its layout, in exactly the layout's type;
//! columns it does not know are skipped.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::columns::{self, EMBEDDING, Layout};
use super::pieces::Pieces;
use super::{Embeddings, FORMAT, FormatError, Rows, pages};
use crate::record::Address;

/// Damage, in words.
pub(super) fn damaged(what: impl Into<String>) -> FormatError {
    FormatError::Damaged(what.into())
}

/// Runs a decoder over bytes that may be anything. The Parquet crate promises errors for bad input but
/// still has assertions and slices that a hostile footer or page header reaches; a panic there means
/// damage like any other, and nothing half-decoded survives it.
pub(super) fn guarded<T>(decode: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(damaged("not a readable parquet file: its parts contradict each other")))
}

/// What the Parquet crate says about bad bytes.
pub(super) fn parquet_damage(error: impl Display) -> FormatError {
    damaged(format!("not a readable parquet file: {error}"))
}

/// An opened commit or segment.
#[derive(Debug, Clone)]
pub(super) struct RecordFile {
    metadata: ArrowReaderMetadata,
    layout: Layout,
    properties: BTreeMap<String, String>,
    dim: usize,
}

impl RecordFile {
    /// Reads the footer, which must be at hand, and checks format number and columns.
    pub fn open(pieces: &Pieces, layout: Layout) -> Result<RecordFile, FormatError> {
        guarded(|| {
            // The embedded Arrow schema is for other readers: the columns are judged by their Parquet types.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let metadata = ArrowReaderMetadata::load(pieces, options).map_err(parquet_damage)?;
            let properties = read_properties(&metadata)?;
            let mut file = RecordFile { metadata, layout, properties, dim: 0 };
            let format: u64 = file.parse("format")?;
            if format > FORMAT {
                return Err(FormatError::Newer { found: format, known: FORMAT });
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
        let found = self.metadata.parquet_schema().root_schema().get_fields();
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
        let metadata = self.metadata.metadata();
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
        self.metadata.metadata().num_row_groups()
    }

    /// How many rows in all groups.
    pub fn rows(&self) -> u64 {
        self.metadata.metadata().row_groups().iter().map(|g| g.num_rows().unsigned_abs()).sum()
    }

    /// Where in the file the columns of a row group lie.
    pub fn group_range(&self, group: usize) -> Result<Range<u64>, FormatError> {
        guarded(|| {
            let row_group = self.metadata.metadata().row_groups().get(group);
            let columns = row_group.ok_or_else(|| damaged(format!("there is no row group {group}")))?.columns();
            let ranges = columns.iter().map(|column| column.byte_range());
            let ends = ranges.clone().map(|(start, length)| start.saturating_add(length));
            Ok(ranges.map(|(start, _)| start).min().unwrap_or(0)..ends.max().unwrap_or(0))
        })
    }

    /// Decodes one row group; it needs nothing of the others, and of the file the bytes in its range.
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

    pub fn read_embeddings(&self, pieces: &Pieces, group: usize) -> Result<Embeddings, FormatError> {
        let row_group = self.metadata.metadata().row_groups().get(group);
        let leaf = self
            .metadata
            .parquet_schema()
            .columns()
            .iter()
            .position(|c| c.path().parts().starts_with(&[EMBEDDING.into()]));
        if let (Some(row_group), Some(leaf)) = (row_group, leaf)
            && self.dim > 0
        {
            let chunk = row_group.columns().get(leaf).ok_or_else(|| damaged("a row group lacks a column"))?;
            let rows = row_group.num_rows() as usize;
            if let Some(embeddings) = pages::read_embeddings(pieces, chunk, rows, self.dim)? {
                return Ok(embeddings);
            }
        }
        self.read_embeddings_standard(pieces, group)
    }

    /// The same by the standard reader, which knows every page there is.
    pub fn read_embeddings_standard(&self, pieces: &Pieces, group: usize) -> Result<Embeddings, FormatError> {
        let batch = self.read_columns(pieces, group, |name| name == EMBEDDING)?;
        columns::from_list(&batch, self.dim).map_err(FormatError::Damaged)
    }

    /// The layout's columns that `wanted` names, by the standard reader, as one batch.
    fn read_columns(
        &self,
        pieces: &Pieces,
        group: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<arrow::array::RecordBatch, FormatError> {
        let metadata = self.metadata.metadata();
        let row_group = metadata.row_groups().get(group);
        let rows = row_group.ok_or_else(|| damaged(format!("there is no row group {group}")))?.num_rows() as usize;
        let known = &self.layout.columns().arrow;
        let schema = self.metadata.parquet_schema();
        let roots = schema.root_schema().get_fields().iter().enumerate();
        let roots = roots.filter(|(_, f)| known.field_with_name(f.name()).is_ok() && wanted(f.name())).map(|(i, _)| i);
        let mask = ProjectionMask::roots(schema, roots);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(pieces.clone(), self.metadata.clone());
        let mut batches = reader
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_batch_size(rows.max(1))
            .build()
            .map_err(parquet_damage)?;
        match (batches.next().transpose().map_err(parquet_damage)?, batches.next()) {
            (Some(batch), None) if batch.num_rows() == rows => Ok(batch),
            _ => Err(damaged(format!("row group {group} does not hold the {rows} rows it says"))),
        }
    }
}

fn read_properties(metadata: &ArrowReaderMetadata) -> Result<BTreeMap<String, String>, FormatError> {
    let mut properties = BTreeMap::new();
    for entry in metadata.metadata().file_metadata().key_value_metadata().into_iter().flatten() {
        let value = entry.value.clone().unwrap_or_default();
        if properties.insert(entry.key.clone(), value).is_some() {
            return Err(damaged(format!("property {} is there twice", entry.key)));
        }
    }
    Ok(properties)
}
