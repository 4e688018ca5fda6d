//! Records in the files that data pipelines exchange: Arrow IPC streams and Parquet in, Arrow IPC out.
//! Columns are those of [`records_from_batch`]. Everything read here is untrusted: what a file declares
//! is held against the limits before anything is expanded in memory.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::collection::columnar::{batch_from_hits, records_from_batch};
use crate::collection::request::QueryAnswer;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::record::Record;

/// How many times the limit of a batch a compressed file may declare to be once expanded.
const MOST_EXPANSION: i64 = 4;

/// The records of an Arrow IPC stream; see [`records_from_batch`] for its columns.
///
/// # Errors
/// `Invalid` if the bytes are no such stream or a row cannot be a record; `Limit` if there are too many.
pub fn records_from_ipc(bytes: Bytes, limits: &Limits) -> Result<Vec<Record>> {
    const WHAT: &str = "an arrow ipc stream";
    contained(WHAT, || {
        // The push decoder, not `StreamReader`: it shares the body's memory, and it asks the allocator
        // politely for what a message claims to need instead of aborting.
        let mut rest = Buffer::from(bytes);
        let mut decoder = StreamDecoder::new();
        let batches = std::iter::from_fn(|| decoder.decode(&mut rest).transpose());
        let records = records_from_batches(batches.map(|batch| batch.map_err(|e| unreadable(WHAT, e))), limits)?;
        decoder.finish().map_err(|e| unreadable(WHAT, e))?;
        match decoder.schema() {
            Some(_) => Ok(records),
            None => Err(Error::invalid(format!("body: expected {WHAT}, got nothing"))),
        }
    })
}

/// The records of a Parquet file; see [`records_from_batch`] for its columns.
///
/// # Errors
/// `Invalid` if the bytes are no such file or a row cannot be a record; `Limit` if there are too many,
/// or the file declares to be too large once expanded.
pub fn records_from_parquet(bytes: Bytes, limits: &Limits) -> Result<Vec<Record>> {
    const WHAT: &str = "a parquet file";
    contained(WHAT, || {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| unreadable(WHAT, e))?;
        let groups = builder.metadata().row_groups();
        let rows = groups.iter().map(|g| usize::try_from(g.num_rows()).unwrap_or(usize::MAX));
        check_rows(rows.fold(0, usize::saturating_add), limits)?;
        let declared = groups.iter().map(|g| g.total_byte_size().max(0)).fold(0, i64::saturating_add);
        let most = i64::try_from(limits.batch_bytes).unwrap_or(i64::MAX).saturating_mul(MOST_EXPANSION);
        if declared > most {
            return Err(Error::limit(format!(
                "body: expected a parquet file of at most {most} bytes once expanded (4 × limit batch_bytes), got {declared}"
            )));
        }
        let reader = builder.build().map_err(|e| unreadable(WHAT, e))?;
        records_from_batches(reader.map(|batch| batch.map_err(|e| unreadable(WHAT, e))), limits)
    })
}

/// Runs a decoder of untrusted bytes. arrow and parquet answer most damage with an error, but slice
/// past the end (and so panic) on some; nothing outlives the attempt, so it may be given up there.
fn contained<T>(what: &str, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(Error::invalid(format!("body: expected {what}, got a damaged one"))))
}

fn records_from_batches(batches: impl Iterator<Item = Result<RecordBatch>>, limits: &Limits) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for batch in batches {
        let batch = batch?;
        check_rows(records.len().saturating_add(batch.num_rows()), limits)?;
        records.append(&mut records_from_batch(&batch)?);
    }
    Ok(records)
}

fn check_rows(rows: usize, limits: &Limits) -> Result<()> {
    let limit = limits.batch_records;
    if rows > limit {
        return Err(Error::limit(format!(
            "records: expected at most {limit} in one request (limit batch_records), got {rows}"
        )));
    }
    Ok(())
}

/// A search's results as an Arrow IPC stream of one batch, see [`batch_from_hits`]; the schema's
/// metadata has the `version` that was read.
///
/// # Errors
/// `Internal` only: everything comes from the store.
pub fn ipc_from_answer(answer: &QueryAnswer) -> Result<Vec<u8>> {
    let batch = batch_from_hits(answer)?;
    let version = HashMap::from([("version".to_owned(), answer.version.to_string())]);
    let schema = Arc::new(batch.schema().as_ref().clone().with_metadata(version));
    let mut bytes = Vec::new();
    let written = batch.with_schema(schema.clone()).and_then(|batch| {
        let mut writer = StreamWriter::try_new(&mut bytes, &schema)?;
        writer.write(&batch)?;
        writer.finish()
    });
    written.map_err(|e| Error::internal("the answer could not be written as arrow").with_source(e))?;
    Ok(bytes)
}

fn unreadable(what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(format!("body: expected {what}, got something else or a damaged one: {cause}")).with_source(cause)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array, StringArray};
    use arrow::datatypes::{DataType, Field, Float32Type};
    use arrow::ipc::reader::StreamReader;
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::collection::request::{Found, Hit};
    use crate::record::Version;

    /// `rows` records `r0`, `r1`, … of two dimensions with a document each.
    fn batch(rows: usize) -> RecordBatch {
        let ids: StringArray = (0..rows).map(|i| Some(format!("r{i}"))).collect();
        let floats: Float32Array = (0..rows * 2).map(|i| i as f32).collect::<Vec<_>>().into();
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let embeddings = FixedSizeListArray::try_new(item, 2, Arc::new(floats), None).unwrap();
        let documents: StringArray = (0..rows).map(|i| Some(format!("document {i}"))).collect();
        let columns: [(&str, ArrayRef); 3] =
            [("id", Arc::new(ids)), ("embedding", Arc::new(embeddings)), ("document", Arc::new(documents))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn expected(rows: usize) -> Vec<Record> {
        let record = |i: usize| Record::new(format!("r{i}"), vec![i as f32 * 2.0, i as f32 * 2.0 + 1.0]);
        (0..rows).map(|i| record(i).with_document(format!("document {i}"))).collect()
    }

    fn ipc(batches: &[RecordBatch]) -> Bytes {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
        batches.iter().for_each(|b| writer.write(b).unwrap());
        writer.finish().unwrap();
        drop(writer);
        bytes.into()
    }

    fn parquet(batch: &RecordBatch) -> Bytes {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        bytes.into()
    }

    #[test]
    fn records_of_several_batches_come_out_in_order() {
        let whole = batch(5);
        let parts = [whole.slice(0, 2), whole.slice(2, 0), whole.slice(2, 3)];
        assert_eq!(records_from_ipc(ipc(&parts), &Limits::default()).unwrap(), expected(5));
    }

    #[test]
    fn records_come_out_of_a_parquet_file() {
        assert_eq!(records_from_parquet(parquet(&batch(5)), &Limits::default()).unwrap(), expected(5));
    }

    #[test]
    fn too_many_rows_are_refused_and_the_limit_is_named() {
        let limits = Limits { batch_records: 4, ..Limits::default() };
        let by_ipc = records_from_ipc(ipc(&[batch(3), batch(2)]), &limits).unwrap_err();
        let by_parquet = records_from_parquet(parquet(&batch(5)), &limits).unwrap_err();
        for error in [by_ipc, by_parquet] {
            assert_eq!(error.kind(), crate::Kind::Limit);
            assert!(error.message().contains("batch_records"), "{error}");
        }
    }

    #[test]
    fn a_file_that_expands_beyond_the_limit_is_refused_unread() {
        let limits = Limits { batch_bytes: 10, ..Limits::default() };
        let error = records_from_parquet(parquet(&batch(100)), &limits).unwrap_err();
        assert!(error.message().contains("once expanded"), "{error}");
    }

    #[test]
    fn files_cut_anywhere_or_with_a_flipped_byte_never_panic() {
        let (stream, file) = (ipc(&[batch(3)]), parquet(&batch(3)));
        for cut in 0..stream.len() {
            // A stream may end after its schema or a whole batch, without a mark.
            match records_from_ipc(stream.slice(..cut), &Limits::default()) {
                Ok(read) => assert!(read.is_empty() || read == expected(3), "cut at {cut}: {read:?}"),
                Err(error) => assert_eq!(error.kind(), crate::Kind::Invalid, "cut at {cut}"),
            }
        }
        for cut in 0..file.len() {
            let cut_short = records_from_parquet(file.slice(..cut), &Limits::default());
            assert_eq!(cut_short.map_err(|e| e.kind()), Err(crate::Kind::Invalid), "cut at {cut}");
        }
        for at in 0..file.len().max(stream.len()) {
            let flip = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                bytes.get_mut(at).into_iter().for_each(|b| *b ^= 0x41);
                bytes
            };
            // Whether a flip is noticed depends on where; that nothing panics is what is tested.
            let _ = records_from_ipc(flip(&stream).into(), &Limits::default());
            let _ = records_from_parquet(flip(&file).into(), &Limits::default());
        }
    }

    #[test]
    fn an_answer_reads_back_with_its_version() {
        let hit = Hit { distance: 0.5, record: Found { id: "a".to_owned(), ..Found::default() } };
        let answer = QueryAnswer { results: vec![vec![], vec![hit]], version: Version(7) };
        let bytes = ipc_from_answer(&answer).unwrap();
        let mut reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert_eq!(reader.schema().metadata().get("version").map(String::as_str), Some("7"));
        let batch = reader.next().unwrap().unwrap();
        assert_eq!(batch["distance"].as_primitive::<Float32Type>().values().as_ref(), [0.5]);
    }
}
