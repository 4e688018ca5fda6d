//! Arrow's PyCapsule interface, in and out: the memory of batches is shared, not copied.

use std::ptr::NonNull;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, RecordBatchIterator, RecordBatchReader, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use drumlin::answers::Found;
use drumlin::{Error, ErrorKind, Include, Metadata};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::errors::invalid;

/// The batches of an object with `__arrow_c_stream__`: tables and readers of pyarrow, Polars, pandas, DuckDB and others.
pub fn batches(table: &Bound<'_, PyAny>) -> PyResult<Vec<RecordBatch>> {
    let py = table.py();
    let capsule = table.call_method0("__arrow_c_stream__")?;
    let capsule = capsule.cast::<PyCapsule>()?;
    let stream: NonNull<FFI_ArrowArrayStream> = capsule.pointer_checked(Some(c"arrow_array_stream"))?.cast();
    // SAFETY: the capsule's name says that it points to an ArrowArrayStream, as Arrow's PyCapsule interface has it;
    // the stream is moved out, and its place is left released, so that the capsule frees nothing twice.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(stream.as_ptr()) };
    // A producer may run Python code, on any thread: it must be able to take Python's lock.
    let read = py.detach(|| RecordBatchStreamReader::try_new(stream)?.collect::<Result<Vec<_>, ArrowError>>());
    read.map_err(|error| invalid(py, format!("the Arrow stream cannot be read: {error}")))
}

/// A capsule of a stream.
pub fn capsule<'py, R>(py: Python<'py>, reader: R) -> PyResult<Bound<'py, PyCapsule>>
where
    R: RecordBatchReader + Send + 'static,
{
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), c"arrow_array_stream")
}

/// A capsule of one batch.
pub fn capsule_of_batch<'py>(py: Python<'py>, batch: RecordBatch) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = batch.schema();
    capsule(py, RecordBatchIterator::new([Ok(batch)], schema))
}

/// The columns of records with these fields; embeddings have `dimension` floats.
pub fn schema(include: Include, dimension: usize) -> SchemaRef {
    let mut fields = vec![Field::new("id", DataType::Utf8, false)];
    let texts = [("document", include.document), ("uri", include.uri), ("metadata", include.metadata)];
    fields.extend(texts.iter().filter(|(_, wanted)| *wanted).map(|(name, _)| Field::new(*name, DataType::Utf8, true)));
    if include.embedding {
        fields.push(Field::new("embedding", DataType::FixedSizeList(element(), width(dimension)), false));
    }
    Arc::new(Schema::new(fields))
}

fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

fn width(dimension: usize) -> i32 {
    i32::try_from(dimension).unwrap_or(i32::MAX)
}

/// Records as one batch; metadata is JSON text.
pub fn batch(records: &[Found], include: Include, dimension: usize) -> Result<RecordBatch, Error> {
    let text =
        |of: fn(&Found) -> Option<String>| -> ArrayRef { Arc::new(records.iter().map(of).collect::<StringArray>()) };
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(records.iter().map(|record| Some(record.id.as_str())).collect::<StringArray>())];
    if include.document {
        columns.push(text(|record| record.document.clone()));
    }
    if include.uri {
        columns.push(text(|record| record.uri.clone()));
    }
    if include.metadata {
        columns.push(text(|record| record.metadata.as_ref().map(Metadata::to_json_text)));
    }
    let broken =
        |error: ArrowError| Error::new(ErrorKind::Internal, format!("the records fit no Arrow batch: {error}"));
    if include.embedding {
        let floats = records.iter().flat_map(|record| record.embedding.iter().flatten()).copied();
        let values = Arc::new(floats.collect::<Float32Array>());
        // With the length, which no width of 0 tells.
        let (width, rows) = (width(dimension), records.len());
        let list = FixedSizeListArray::try_new_with_length(element(), width, values, None, rows);
        columns.push(Arc::new(list.map_err(broken)?));
    }
    RecordBatch::try_new(schema(include, dimension), columns).map_err(broken)
}
