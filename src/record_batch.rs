//! Records as columns: Arrow record batches, Arrow IPC streams and Parquet files in, records out; and
//! search results as a record batch. Columns are named as records' fields: `id`, `embedding`,
//! `document`, `uri`, `metadata` (JSON text). Everything read here is untrusted: each wrong value is
//! refused by row and column, and an unknown column is refused like an unknown field.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::collection::request::{Hit, QueryAnswer};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::record::{Metadata, Record};

/// How much larger than the limit of a batch a compressed file may declare itself.
const MOST_EXPANSION: i64 = 4;

/// The records of an Arrow IPC stream.
///
/// # Errors
/// `Invalid` if the bytes are no such stream or a row cannot be a record; `Limit` if there are too many.
pub fn records_from_ipc(bytes: &[u8], limits: &Limits) -> Result<Vec<Record>> {
    let reader = StreamReader::try_new(bytes, None).map_err(|e| unreadable("an arrow ipc stream", e))?;
    let batches = reader.map(|batch| batch.map_err(|e| unreadable("an arrow ipc stream", e)));
    records_from_batches(batches, limits)
}

/// The records of a Parquet file.
///
/// # Errors
/// `Invalid` if the bytes are no such file or a row cannot be a record; `Limit` if there are too many.
pub fn records_from_parquet(bytes: Bytes, limits: &Limits) -> Result<Vec<Record>> {
    let broken = |e: parquet::errors::ParquetError| unreadable("a parquet file", e);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(broken)?;
    let groups = builder.metadata().row_groups();
    // What the file declares is checked before anything is expanded in memory.
    check_rows(
        groups.iter().map(|g| usize::try_from(g.num_rows()).unwrap_or(usize::MAX)).fold(0, usize::saturating_add),
        limits,
    )?;
    let declared = groups.iter().map(|g| g.total_byte_size().max(0)).fold(0i64, i64::saturating_add);
    let most = i64::try_from(limits.batch_bytes).unwrap_or(i64::MAX).saturating_mul(MOST_EXPANSION);
    if declared > most {
        return Err(Error::limit(format!(
            "body: expected a parquet file of at most {most} bytes once expanded (DRUMLIN_MAX_BATCH_BYTES), got {declared}"
        )));
    }
    let reader = builder.build().map_err(broken)?;
    records_from_batches(reader.map(|batch| batch.map_err(|e| unreadable("a parquet file", e))), limits)
}

fn records_from_batches(batches: impl Iterator<Item = Result<RecordBatch>>, limits: &Limits) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for batch in batches {
        let batch = batch?;
        check_rows(records.len().saturating_add(batch.num_rows()), limits)?;
        append_batch(&batch, &mut records)?;
    }
    Ok(records)
}

fn check_rows(rows: usize, limits: &Limits) -> Result<()> {
    if rows > limits.batch_records {
        return Err(Error::limit(format!(
            "records: expected at most {} (DRUMLIN_MAX_BATCH_RECORDS), got {rows}",
            limits.batch_records
        )));
    }
    Ok(())
}

/// The records of one record batch.
///
/// # Errors
/// `Invalid` names the row and column.
pub fn records_from_batch(batch: &RecordBatch) -> Result<Vec<Record>> {
    let mut records = Vec::with_capacity(batch.num_rows());
    append_batch(batch, &mut records)?;
    Ok(records)
}

fn append_batch(batch: &RecordBatch, records: &mut Vec<Record>) -> Result<()> {
    const KNOWN: [&str; 5] = ["id", "embedding", "document", "uri", "metadata"];
    let schema = batch.schema();
    if let Some(field) = schema.fields().iter().find(|f| !KNOWN.contains(&f.name().as_str())) {
        return Err(Error::invalid(format!("{}: unknown column, expected some of {}", field.name(), KNOWN.join(", "))));
    }
    let required = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| Error::invalid(format!("{name}: expected a column of this name, got none")))
    };
    let ids = Texts::new("id", Some(required("id")?))?;
    let embeddings = Lists::new(required("embedding")?)?;
    let documents = Texts::new("document", batch.column_by_name("document"))?;
    let uris = Texts::new("uri", batch.column_by_name("uri"))?;
    let metadatas = Texts::new("metadata", batch.column_by_name("metadata"))?;
    let first = records.len();
    for row in 0..batch.num_rows() {
        let place = |e: &str| Error::invalid(format!("records[{}].{e}", first + row));
        let metadata = metadatas.at(row).map(Metadata::from_json_text).transpose();
        records.push(Record {
            id: ids.at(row).ok_or_else(|| place("id: expected a string, got null"))?.to_owned(),
            embedding: embeddings.at(row).map_err(|e| place(&e))?,
            document: documents.at(row).map(str::to_owned),
            uri: uris.at(row).map(str::to_owned),
            metadata: metadata.map_err(|e| place(e.message()))?,
        });
    }
    Ok(())
}

/// A text column of any of Arrow's layouts; an absent column is all null.
enum Texts<'a> {
    Absent,
    Small(&'a StringArray),
    Large(&'a arrow::array::LargeStringArray),
    View(&'a arrow::array::StringViewArray),
}

impl<'a> Texts<'a> {
    fn new(name: &str, column: Option<&'a ArrayRef>) -> Result<Texts<'a>> {
        let Some(column) = column else { return Ok(Texts::Absent) };
        match column.data_type() {
            DataType::Utf8 => Ok(Texts::Small(column.as_string())),
            DataType::LargeUtf8 => Ok(Texts::Large(column.as_string())),
            DataType::Utf8View => Ok(Texts::View(column.as_string_view())),
            DataType::Null => Ok(Texts::Absent),
            other => Err(Error::invalid(format!("{name}: expected a column of strings, got {other}"))),
        }
    }

    fn at(&self, row: usize) -> Option<&'a str> {
        match self {
            Texts::Absent => None,
            Texts::Small(a) => a.is_valid(row).then(|| a.value(row)),
            Texts::Large(a) => a.is_valid(row).then(|| a.value(row)),
            Texts::View(a) => a.is_valid(row).then(|| a.value(row)),
        }
    }
}

/// A column of embeddings: lists, of fixed size or not, of 32- or 64-bit floats.
struct Lists<'a> {
    column: &'a ArrayRef,
    floats: &'a ArrayRef,
}

impl<'a> Lists<'a> {
    fn new(column: &'a ArrayRef) -> Result<Lists<'a>> {
        let floats = match column.data_type() {
            DataType::FixedSizeList(..) => column.as_fixed_size_list().values(),
            DataType::List(_) => column.as_list::<i32>().values(),
            DataType::LargeList(_) => column.as_list::<i64>().values(),
            other => {
                return Err(Error::invalid(format!("embedding: expected a column of lists of floats, got {other}")));
            }
        };
        match floats.data_type() {
            DataType::Float32 | DataType::Float64 => Ok(Lists { column, floats }),
            other => Err(Error::invalid(format!("embedding: expected lists of float32, got lists of {other}"))),
        }
    }

    fn at(&self, row: usize) -> Result<Vec<f32>, String> {
        if self.column.is_null(row) {
            return Err("embedding: expected a list of floats, got null".to_owned());
        }
        let range = self.range(row);
        if let Some(at) = range.clone().find(|at| self.floats.is_null(*at)) {
            return Err(format!("embedding[{}]: expected a number, got null", at - range.start));
        }
        let floats: Vec<f32> = match self.floats.as_primitive_opt::<Float32Type>() {
            Some(narrow) => narrow.values().get(range).unwrap_or_default().to_vec(),
            None => {
                let wide = self.floats.as_primitive::<Float64Type>().values();
                wide.get(range).unwrap_or_default().iter().map(|x| *x as f32).collect()
            }
        };
        match floats.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(format!("embedding[{at}]: expected a finite 32-bit float")),
            None => Ok(floats),
        }
    }

    /// Where the row's floats lie in the column of all floats.
    fn range(&self, row: usize) -> Range<usize> {
        match self.column.data_type() {
            DataType::FixedSizeList(..) => {
                let list = self.column.as_fixed_size_list();
                let width = usize::try_from(list.value_length()).unwrap_or(0);
                let start = usize::try_from(list.value_offset(row)).unwrap_or(0);
                start..start + width
            }
            DataType::List(_) => bounds(self.column.as_list::<i32>().value_offsets(), row),
            _ => bounds(self.column.as_list::<i64>().value_offsets(), row),
        }
    }
}

fn bounds<O: Copy + TryInto<usize>>(offsets: &[O], row: usize) -> Range<usize> {
    let at = |i: usize| offsets.get(i).and_then(|o| (*o).try_into().ok()).unwrap_or(0);
    at(row)..at(row + 1)
}

/// A search's results as an Arrow IPC stream of one batch: `query` (which embedding, from 0), `id`,
/// `distance`, `document`, `uri`, `metadata` (JSON text) and, if any record carries one, `embedding`;
/// rows in the order of the answer. The schema's metadata has the `version` that was read.
///
/// # Errors
/// `Internal` only: everything comes from the store.
pub fn ipc_from_answer(answer: &QueryAnswer) -> Result<Vec<u8>> {
    let failed = |e: ArrowError| Error::internal("the answer could not be written as arrow").with_source(e);
    let hits = || answer.results.iter().flatten();
    let queries = answer.results.iter().zip(0u32..).flat_map(|(hits, q)| hits.iter().map(move |_| q));
    let texts = |field: fn(&Hit) -> Option<&str>| Arc::new(hits().map(field).collect::<StringArray>()) as ArrayRef;
    let metadatas = hits().map(|h| h.record.metadata.as_ref().map(Metadata::to_json_text));
    let mut columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("query", DataType::UInt32, false), Arc::new(UInt32Array::from_iter_values(queries))),
        (Field::new("id", DataType::Utf8, false), texts(|h| Some(&h.record.id))),
        (
            Field::new("distance", DataType::Float32, false),
            Arc::new(Float32Array::from_iter_values(hits().map(|h| h.distance))),
        ),
        (Field::new("document", DataType::Utf8, true), texts(|h| h.record.document.as_deref())),
        (Field::new("uri", DataType::Utf8, true), texts(|h| h.record.uri.as_deref())),
        (Field::new("metadata", DataType::Utf8, true), Arc::new(metadatas.collect::<StringArray>())),
    ];
    if let Some(dim) = hits().find_map(|h| h.record.embedding.as_ref().map(Vec::len)) {
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let floats: Float32Array =
            hits().flat_map(|h| h.record.embedding.iter().flatten().copied()).collect::<Vec<f32>>().into();
        let width = i32::try_from(dim).map_err(|e| Error::internal("an embedding is too long").with_source(e))?;
        let list = FixedSizeListArray::try_new(item, width, Arc::new(floats), None).map_err(failed)?;
        columns.push((Field::new("embedding", list.data_type().clone(), false), Arc::new(list)));
    }
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Schema::new(fields).with_metadata(HashMap::from([("version".to_owned(), answer.version.to_string())]));
    let batch = RecordBatch::try_new(Arc::new(schema), arrays).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).map_err(failed)?;
    writer.write(&batch).and_then(|()| writer.finish()).map_err(failed)?;
    drop(writer);
    Ok(bytes)
}

fn unreadable(what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(format!("body: expected {what}, got something else or a damaged one: {cause}")).with_source(cause)
}

#[cfg(test)]
#[path = "record_batch_tests.rs"]
mod record_batch_tests;
