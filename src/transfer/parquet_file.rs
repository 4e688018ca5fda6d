//! Parquet: the columns `id`, `embedding` (list of float), `document`, `uri` and `metadata` (JSON text), as
//! `records_from_batch` reads them; the property `drumlin.collection` describes the collection, so that an
//! import makes the same. Any Parquet file with these columns can be read.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde_json::Value;

use super::failed;
use crate::collection::columnar::records_from_batch;
use crate::error::{Error, Result};
use crate::record::{Metadata, Record};

/// Rows of a row group.
const GROUP_ROWS: usize = 8_192;
/// Bytes of a row group, roughly, at which it ends before it has all its rows.
const GROUP_BYTES: usize = 64 << 20;
/// Records of a page.
const PAGE: usize = 1_000;
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
    /// Begins a file, in place of one that is there; `description` is that of the collection.
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
    batches: ParquetRecordBatchReader,
    description: Option<Value>,
    rows: u64,
}

impl std::fmt::Debug for ParquetReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetReader").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Runs a decoder of untrusted bytes: the Parquet crate answers most damage with an error, but panics on some.
fn contained<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(Error::invalid("expected a parquet file, got a damaged one")))
}

fn unreadable(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(format!("expected a parquet file, got something else or a damaged one: {cause}")).with_source(cause)
}

impl ParquetReader {
    /// Opens a file.
    ///
    /// # Errors
    /// `Invalid` if it is no Parquet file.
    pub fn open(path: &Path) -> Result<ParquetReader> {
        let file = File::open(path).map_err(|e| failed("opened", e))?;
        contained(|| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
            let metadata = builder.metadata().file_metadata();
            let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
            let said = metadata.key_value_metadata().into_iter().flatten();
            let said = said.filter(|pair| pair.key == COLLECTION).find_map(|pair| pair.value.as_deref());
            let description = said.and_then(|text| serde_json::from_str(text).ok());
            let batches = builder.with_batch_size(PAGE).build().map_err(unreadable)?;
            Ok(ParquetReader { batches, description, rows })
        })
    }

    /// What the file says about the collection that was in it, if Drumlin wrote it.
    pub fn description(&self) -> Option<&Value> {
        self.description.as_ref()
    }

    /// How many rows it says it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next records; none at the end.
    ///
    /// # Errors
    /// `Invalid` if the file is damaged or a row cannot be a record.
    pub fn next_page(&mut self) -> Result<Vec<Record>> {
        let batches = &mut self.batches;
        contained(|| {
            for batch in batches {
                let records = records_from_batch(&batch.map_err(unreadable)?)?;
                if !records.is_empty() {
                    return Ok(records);
                }
            }
            Ok(Vec::new())
        })
    }
}
