//! Rows of an untrusted Parquet file, a batch at a time. Only the wanted columns are read, by their Parquet types.
//! Invariant: a batch and its pages take no more than [`Steps`] allows, whatever the file declares. If rows are
//! larger than expected, fewer are read at once; if that does not help, the file is refused.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::ChunkReader;

use super::within;
use crate::error::{Error, Result};
use crate::format::parquet_pages::{BoundedGroup, PageBounds, Values, declared_bytes, read_metadata};
use crate::interop::record_columns::{ColumnChoice, ColumnPlan, Part};
use crate::memory::Growth;

/// The name of a file in errors.
const WHAT: &str = "a parquet file";
/// Most rows of a batch, and the bytes that a batch aims at.
const BATCH_ROWS: u64 = 1_000;
const BATCH_BYTES: u64 = 8 << 20;
/// Divisor of the number of rows at once, where rows are larger than expected.
const FEWER: usize = 8;

/// Limits of reading.
#[derive(Debug, Clone)]
pub struct Steps {
    /// Bytes of the footer.
    pub footer_bytes: u64,
    /// Bytes of a page, and of a batch with its pages.
    pub bytes: u64,
    /// The memory reserved for them, if there is a budget.
    pub room: Option<Arc<Growth>>,
}

/// The rows of one file.
pub struct ParquetRows<R: ChunkReader + 'static> {
    file: Arc<R>,
    metadata: Arc<ParquetMetaData>,
    levels: FieldLevels,
    plan: ColumnPlan,
    steps: Steps,
    /// The row group that is read next.
    next: usize,
    group: Option<Group>,
    /// Rows handed out.
    rows: u64,
}

/// The row group that is being read.
struct Group {
    batches: ParquetRecordBatchReader,
    bounds: Arc<PageBounds>,
    at_once: usize,
    /// Rows of it that were handed out, and rows that are to be skipped first.
    rows: u64,
    skip: u64,
}

impl<R: ChunkReader + 'static> ParquetRows<R> {
    /// Opens a file, and finds its columns.
    ///
    /// # Errors
    /// `Invalid` if it is not such a file, or its columns do not fit.
    pub fn open(file: R, columns: &ColumnChoice, steps: Steps) -> Result<ParquetRows<R>> {
        within(WHAT, || {
            let metadata = read_metadata(&file, steps.footer_bytes).map_err(unreadable)?;
            let schema = metadata.file_metadata().schema_descr();
            let roots = schema.root_schema().get_fields();
            let names: Vec<&str> = roots.iter().map(|field| field.name()).collect();
            let plan = columns.plan(&names)?;
            let parts = [Part::Id, Part::Embedding, Part::Document, Part::Uri, Part::Metadata];
            let mut wanted: Vec<&str> = parts.into_iter().filter_map(|part| plan.column(part)).collect();
            wanted.extend(plan.into_metadata().iter().map(String::as_str));
            let at = names.iter().enumerate().filter(|(_, name)| wanted.contains(name)).map(|(at, _)| at);
            let mask = ProjectionMask::roots(schema, at);
            // Texts are read as views: a value that a dictionary repeats exists once.
            let shown = parquet_to_arrow_schema(schema, None).map_err(unreadable)?;
            let levels = parquet_to_arrow_field_levels(schema, mask, Some(&viewed(&shown)));
            let levels = levels.map_err(unreadable)?;
            Ok(ParquetRows {
                file: Arc::new(file),
                metadata: Arc::new(metadata),
                levels,
                plan,
                steps,
                next: 0,
                group: None,
                rows: 0,
            })
        })
    }

    /// Which column is what.
    pub fn plan(&self) -> &ColumnPlan {
        &self.plan
    }

    /// The number of rows that the file states.
    pub fn count(&self) -> u64 {
        self.metadata.row_groups().iter().fold(0, |sum, group| sum.saturating_add(group.num_rows().unsigned_abs()))
    }

    /// How many rows were handed out.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// A property of the file, by its key.
    pub fn property(&self, key: &str) -> Option<&str> {
        let said = self.metadata.file_metadata().key_value_metadata()?;
        said.iter().filter(|pair| pair.key == key).find_map(|pair| pair.value.as_deref())
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// `Invalid` if the file is damaged, `Limit` if a row and the page it is in are too large.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        within(WHAT, || {
            loop {
                let Some(mut group) = self.group.take() else {
                    let Some(next) = self.metadata.row_groups().get(self.next) else { return Ok(None) };
                    self.group = Some(self.group(self.next, at_once(declared_bytes(next), next.num_rows()), 0)?);
                    continue;
                };
                group.bounds.begin_step();
                match group.batches.next() {
                    None => self.next += 1,
                    Some(Ok(batch)) => {
                        let skipped = group.skip.min(batch.num_rows() as u64);
                        group.skip -= skipped;
                        let skipped = usize::try_from(skipped).unwrap_or(0);
                        let batch = batch.slice(skipped, batch.num_rows() - skipped);
                        group.rows += batch.num_rows() as u64;
                        self.rows += batch.num_rows() as u64;
                        self.group = Some(group);
                        if batch.num_rows() > 0 {
                            return Ok(Some(batch));
                        }
                    }
                    Some(Err(_)) if group.bounds.passed() && group.at_once > 1 => {
                        self.group = Some(self.group(self.next, group.at_once / FEWER, group.rows)?);
                    }
                    Some(Err(cause)) if group.bounds.passed() => return Err(self.too_large(&cause)),
                    Some(Err(cause)) => return Err(unreadable(cause)),
                }
            }
        })
    }

    fn group(&self, number: usize, at_once: usize, skip: u64) -> Result<Group> {
        let at_once = at_once.max(1);
        let most = self.steps.bytes;
        let bounds = PageBounds::new(most, most, at_once, Values::Shared);
        let bounds = match &self.steps.room {
            Some(room) => {
                let room = room.clone();
                bounds.with_room(Box::new(move |bytes| room.reach(bytes)))
            }
            None => bounds,
        };
        let bounds = Arc::new(bounds);
        let group = BoundedGroup::new(self.file.clone(), self.metadata.clone(), number, bounds.clone());
        let group = group.map_err(unreadable)?;
        let batches = ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, &group, at_once, None);
        Ok(Group { batches: batches.map_err(unreadable)?, bounds, at_once, rows: skip, skip })
    }

    fn too_large(&self, cause: &ArrowError) -> Error {
        let said = cause.to_string();
        let said = said.rsplit_once("error: ").map_or(said.as_str(), |(_, said)| said);
        Error::limit(format!("row {} of the Parquet file is too large: {said}; write smaller pages", self.rows))
    }
}

/// The number of rows that fill a batch, if all have the average length.
fn at_once(bytes: u64, rows: i64) -> usize {
    let each = bytes.checked_div(rows.unsigned_abs()).unwrap_or(0).max(1);
    usize::try_from((BATCH_BYTES / each).clamp(1, BATCH_ROWS)).unwrap_or(1)
}

/// The fields of a schema, with texts as views.
fn viewed(schema: &Schema) -> Fields {
    fn kind(shown: &DataType) -> DataType {
        let inner = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_data_type(kind(field.data_type())));
        match shown {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            DataType::List(item) => DataType::List(inner(item)),
            DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
            DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
            other => other.clone(),
        }
    }
    schema.fields().iter().map(|field| field.as_ref().clone().with_data_type(kind(field.data_type()))).collect()
}

fn unreadable(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(format!("expected a parquet file, got something else or a damaged one: {cause}")).with_source(cause)
}
