//! Parquet: the columns `id`, `embedding` (list of float), `document`, `uri` and `metadata` (JSON text). The property
//! `drumlin.collection` describes the collection, so that an import recreates it. Other Parquet files can be read too
//! if their columns fit these, see [`ReadOptions`].

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde_json::Value;

use super::{FileName, ReadOptions, failed};
use crate::config::Limits;
use crate::error::Result;
use crate::interop::interchange::{ParquetRows, Steps, within};
use crate::interop::record_columns::ColumnPlan;
use crate::interop::record_values::{RecordBytes, records_within};
use crate::record::{Metadata, Record};

/// Rows of a row group.
const GROUP_ROWS: usize = 8_192;
/// Approximate bytes of a row group at which it ends early.
const GROUP_BYTES: usize = 64 << 20;
/// Most bytes of a footer, and of the rows that are read at once with their pages.
const FOOTER_BYTES: u64 = 256 << 20;
const STEP_BYTES: u64 = 256 << 20;
/// Bytes of records at which a page ends early; they are counted after every `SLICE_ROWS` rows.
const PAGE_BYTES: u64 = 16 << 20;
const SLICE_ROWS: usize = 16;
/// The property with the collection's description.
const COLLECTION: &str = "drumlin.collection";

fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

fn schema() -> Arc<Schema> {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("id", false),
        text("document", true),
        text("uri", true),
        text("metadata", true),
        Field::new("embedding", DataType::List(element()), false),
    ]))
}

/// Writes records as a Parquet file.
pub struct ParquetWriter {
    writer: ArrowWriter<File>,
}

impl std::fmt::Debug for ParquetWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetWriter").finish_non_exhaustive()
    }
}

impl ParquetWriter {
    /// Begins a file; replaces an existing one. `description` is that of the collection.
    pub fn create(path: &Path, description: &Value) -> Result<ParquetWriter> {
        let file = File::create(path).map_err(|e| failed("created", e))?;
        let floats = ColumnPath::from(vec!["embedding".to_owned(), "list".to_owned(), "element".to_owned()]);
        let zstd = ZstdLevel::try_new(1).map_err(|e| failed("created", e))?;
        let properties = WriterProperties::builder()
            .set_created_by(format!("drumlin {}", env!("CARGO_PKG_VERSION")))
            .set_compression(Compression::ZSTD(zstd))
            .set_column_dictionary_enabled(floats, false)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .set_key_value_metadata(Some(vec![KeyValue::new(COLLECTION.to_owned(), description.to_string())]))
            .build();
        let writer = ArrowWriter::try_new(file, schema(), Some(properties)).map_err(|e| failed("created", e))?;
        Ok(ParquetWriter { writer })
    }

    /// Appends records.
    pub fn push(&mut self, records: &[Record]) -> Result<()> {
        let batch = batch(records).map_err(|e| failed("written", e))?;
        self.writer.write(&batch).map_err(|e| failed("written", e))
    }

    /// Ends the file.
    pub fn finish(self) -> Result<()> {
        let file = self.writer.into_inner().map_err(|e| failed("written", e))?;
        file.sync_all().map_err(|e| failed("written", e))
    }
}

fn batch(records: &[Record]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let floats: Float32Array = records.iter().flat_map(|record| record.embedding.iter().copied()).collect();
    let offsets = OffsetBuffer::from_lengths(records.iter().map(|record| record.embedding.len()));
    let embeddings = ListArray::try_new(element(), offsets, Arc::new(floats), None)?;
    let texts = |text: fn(&Record) -> Option<String>| -> ArrayRef {
        Arc::new(records.iter().map(text).collect::<StringArray>())
    };
    let columns = vec![
        texts(|record| Some(record.id.clone())),
        texts(|record| record.document.clone()),
        texts(|record| record.uri.clone()),
        texts(|record| record.metadata.as_ref().map(Metadata::to_json_text)),
        Arc::new(embeddings),
    ];
    RecordBatch::try_new(schema(), columns)
}

/// Reads records from a Parquet file.
pub struct ParquetReader {
    file: FileName,
    rows: ParquetRows<File>,
    /// The batch that is being read, and how many of its rows were.
    batch: Option<(RecordBatch, usize)>,
    limits: Limits,
    description: Option<Value>,
}

impl std::fmt::Debug for ParquetReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetReader").field("file", &self.file).finish_non_exhaustive()
    }
}

impl ParquetReader {
    /// Opens a file with Drumlin's own columns.
    ///
    /// # Errors
    /// `Invalid` if it is not a Parquet file, or has other columns.
    pub fn open(path: &Path) -> Result<ParquetReader> {
        ParquetReader::open_with(path, &ReadOptions::default())
    }

    /// Opens a file whose columns are read according to `options`.
    ///
    /// # Errors
    /// `Invalid` if it is not a Parquet file, or its columns do not fit.
    pub fn open_with(path: &Path, options: &ReadOptions) -> Result<ParquetReader> {
        let name = FileName::of(path);
        let file = File::open(path).map_err(|e| name.failed("opened", e))?;
        let steps = Steps { footer_bytes: FOOTER_BYTES, bytes: STEP_BYTES, room: None };
        let rows = ParquetRows::open(file, &options.columns, steps).map_err(|e| name.says(e))?;
        let description = rows.property(COLLECTION).and_then(|text| serde_json::from_str(text).ok());
        Ok(ParquetReader { file: name, rows, batch: None, limits: options.limits.clone(), description })
    }

    /// The file's description of its collection, if Drumlin wrote it.
    pub fn description(&self) -> Option<&Value> {
        self.description.as_ref()
    }

    /// The number of rows that the file states.
    pub fn rows(&self) -> u64 {
        self.rows.count()
    }

    /// The use of each column.
    pub fn plan(&self) -> &ColumnPlan {
        self.rows.plan()
    }

    /// The next records; empty at the end.
    ///
    /// # Errors
    /// `Invalid` if the file is damaged or a row cannot be a record; `Limit` if one is too large.
    pub fn next_page(&mut self) -> Result<Vec<Record>> {
        if self.batch.as_ref().is_none_or(|(batch, at)| *at >= batch.num_rows()) {
            let batch = self.rows.next_batch().map_err(|e| self.file.says(e))?;
            self.batch = batch.map(|batch| (batch, 0));
        }
        let Some((batch, mut at)) = self.batch.take() else { return Ok(Vec::new()) };
        let first = self.rows.rows() - batch.num_rows() as u64;
        let (plan, limits) = (self.rows.plan(), &self.limits);
        let read = || {
            let (mut records, mut bytes) = (Vec::new(), 0);
            // A value that is stored once may come in every row.
            while at < batch.num_rows() && bytes < PAGE_BYTES {
                let rows = batch.slice(at, SLICE_ROWS.min(batch.num_rows() - at));
                let mut meter = |record: RecordBytes| {
                    bytes += record.held;
                    Ok(())
                };
                records.append(&mut records_within(&rows, plan, limits, first + at as u64, &mut meter)?);
                at += rows.num_rows();
            }
            Ok((records, at))
        };
        let read = within("a parquet file", read);
        let (records, at) = read.map_err(|e| self.file.says(e))?;
        self.batch = Some((batch, at));
        Ok(records)
    }
}
