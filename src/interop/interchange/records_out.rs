//! Records out as an Arrow IPC stream, a batch at a time, so that a whole collection can be answered in bounded memory.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use crate::collection::request::{Found, Include};
use crate::error::{Error, Result};
use crate::record::{Metadata, Version};

/// The columns of an answer's records.
pub(super) struct RecordTable {
    schema: Arc<Schema>,
    dimension: usize,
}

impl RecordTable {
    /// The columns of records with these fields.
    pub(super) fn new(include: Include, dimension: usize) -> Result<RecordTable> {
        let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
        let mut fields = vec![text("id", false)];
        for (wanted, name) in [(include.document, "document"), (include.uri, "uri"), (include.metadata, "metadata")] {
            fields.extend(wanted.then(|| text(name, true)));
        }
        let width = i32::try_from(dimension).map_err(|_| Error::internal("an embedding is too long for arrow"))?;
        if include.embedding {
            fields.push(Field::new("embedding", DataType::FixedSizeList(item(), width), false));
        }
        Ok(RecordTable { schema: Arc::new(Schema::new(fields)), dimension })
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub(super) fn batch(&self, records: &[Found]) -> Result<RecordBatch> {
        let column = |name: &str| -> std::result::Result<ArrayRef, ArrowError> {
            let texts = |text: fn(&Found) -> Option<String>| -> ArrayRef {
                Arc::new(records.iter().map(text).collect::<StringArray>())
            };
            Ok(match name {
                "id" => texts(|found| Some(found.id.clone())),
                "document" => texts(|found| found.document.clone()),
                "uri" => texts(|found| found.uri.clone()),
                "metadata" => texts(|found| found.metadata.as_ref().map(Metadata::to_json_text)),
                _ => {
                    let floats = records.iter().flat_map(|found| found.embedding.iter().flatten().copied());
                    let floats: Float32Array = floats.collect();
                    let width = i32::try_from(self.dimension).unwrap_or(i32::MAX);
                    // With the length, which no width of 0 tells.
                    let (floats, rows) = (Arc::new(floats), records.len());
                    Arc::new(FixedSizeListArray::try_new_with_length(item(), width, floats, None, rows)?)
                }
            })
        };
        let columns: std::result::Result<_, _> =
            self.schema.fields().iter().map(|field| column(field.name())).collect();
        RecordBatch::try_new(self.schema.clone(), columns.map_err(unwritable)?).map_err(unwritable)
    }
}

/// The stream under way.
pub struct RecordStream {
    table: RecordTable,
    writer: StreamWriter<Vec<u8>>,
}

impl RecordStream {
    /// Begins a stream of records with these fields; the schema's metadata has the `version` that was read.
    ///
    /// # Errors
    /// `Internal` only: all data comes from the store.
    pub fn begin(include: Include, dimension: usize, version: Version) -> Result<RecordStream> {
        let mut table = RecordTable::new(include, dimension)?;
        let said = HashMap::from([("version".to_owned(), version.to_string())]);
        table.schema = Arc::new(table.schema.as_ref().clone().with_metadata(said));
        let writer = StreamWriter::try_new(Vec::new(), &table.schema).map_err(unwritable)?;
        Ok(RecordStream { table, writer })
    }

    /// Appends records to the stream, and moves the bytes written so far to `into`.
    pub fn push(&mut self, records: &[Found], into: &mut Vec<u8>) -> Result<()> {
        self.writer.write(&self.table.batch(records)?).map_err(unwritable)?;
        into.append(self.writer.get_mut());
        Ok(())
    }

    /// Ends the stream.
    pub fn finish(&mut self, into: &mut Vec<u8>) -> Result<()> {
        self.writer.finish().map_err(unwritable)?;
        into.append(self.writer.get_mut());
        Ok(())
    }
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

fn unwritable(cause: ArrowError) -> Error {
    Error::internal("the answer could not be written as arrow").with_source(cause)
}
