//! Records in the files that data pipelines exchange: Arrow IPC streams and Parquet in, Arrow IPC out. Columns are
//! those of [`records_from_batch`](crate::arrow::records_from_batch), or those of a [`ColumnChoice`]. All input here
//! is untrusted. The sizes that a file declares are checked against the limits before anything is expanded in memory.
//! The file is decoded in small steps, and every record is counted before the next is made.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod arrow_ipc;
#[cfg(test)]
mod interchange_tests;
#[cfg(feature = "server")]
mod parquet_out;
mod parquet_rows;
#[cfg(feature = "server")]
mod records_out;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
#[cfg(feature = "server")]
use arrow::array::{ArrayRef, Float32Array, StringArray};
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

#[cfg(feature = "server")]
pub use self::parquet_out::{GROUP_BYTES, ParquetStream};
pub use self::parquet_rows::{ParquetRows, Steps};
#[cfg(feature = "server")]
pub use self::records_out::RecordStream;
#[cfg(feature = "server")]
use crate::collection::map::CollectionMap;
use crate::collection::request::QueryAnswer;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::format::contained::contained;
#[cfg(feature = "server")]
pub use crate::format::contained::panics as decoder_panics;
use crate::interop::batch_from_hits;
use crate::interop::record_columns::{ColumnChoice, ColumnPlan};
use crate::interop::record_values::{RecordBytes, records_within};
use crate::memory::{Budget, Growth};
use crate::record::Record;

/// Most bytes of a Parquet body's footer.
const FOOTER_BYTES: u64 = 4 << 20;

/// How to read a body, and how much it may take.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Limits of one request.
    pub limits: Limits,
    /// Which column is what.
    pub columns: ColumnChoice,
    /// The budget for memory; without one only the limits apply.
    pub budget: Option<Arc<Budget>>,
    /// The word for a row, and the limit of rows.
    rows: RowLimit,
}

#[derive(Debug, Clone, Copy)]
struct RowLimit {
    what: &'static str,
    most: usize,
    setting: &'static str,
}

impl Intake {
    /// Reads records.
    #[cfg(feature = "server")]
    pub fn new(limits: Limits, columns: ColumnChoice, budget: Arc<Budget>) -> Intake {
        Intake { columns, budget: Some(budget), ..Intake::of(&limits) }
    }

    /// Reads queries: records of which only the embedding is used.
    #[cfg(feature = "server")]
    pub fn queries(limits: Limits, budget: Arc<Budget>) -> Intake {
        let rows = RowLimit { what: "queries", most: limits.queries, setting: "limits.queries" };
        Intake { rows, ..Intake::new(limits, ColumnChoice::embeddings(), budget) }
    }

    fn of(limits: &Limits) -> Intake {
        let rows = RowLimit { what: "records", most: limits.batch_records, setting: "limits.batch_records" };
        Intake { limits: limits.clone(), columns: ColumnChoice::default(), budget: None, rows }
    }

    fn check_rows(&self, rows: usize) -> Result<()> {
        let RowLimit { what, most, setting } = self.rows;
        match rows > most {
            true => Err(Error::limit(format!(
                "{what}: expected at most {most} in one request ({setting}), got {rows}; split it"
            ))
            .of_setting(setting)),
            false => Ok(()),
        }
    }

    /// The records of an Arrow IPC stream.
    ///
    /// # Errors
    /// `Invalid` if the bytes are not such a stream or a row cannot be a record; `Limit` if there are too many or
    /// they are too large; `NoRoom` if there is no memory for them.
    pub fn records_from_ipc(&self, bytes: Bytes) -> Result<Vec<Record>> {
        const WHAT: &str = "an arrow ipc stream";
        if bytes.starts_with(b"ARROW1") {
            let what = "body: expected an arrow ipc stream, got an arrow ipc file (or feather); write it as a stream";
            return Err(Error::invalid(what));
        }
        within(WHAT, || {
            let mut tally = Tally::new(self);
            tally.make_room(arrow_ipc::expanded_bytes(&bytes, self)?)?;
            // The push decoder, not `StreamReader`. It shares the body's memory. When a message claims too much
            // memory, it returns an error instead of aborting.
            let mut rest = Buffer::from(bytes);
            let mut decoder = StreamDecoder::new();
            while let Some(batch) = decoder.decode(&mut rest).map_err(|e| unreadable(WHAT, e))? {
                let plan = self.columns.plan(&names_of(&batch))?;
                tally.take(&batch, &plan)?;
            }
            decoder.finish().map_err(|e| unreadable(WHAT, e))?;
            match decoder.schema() {
                Some(_) => Ok(tally.records),
                None => Err(Error::invalid(format!("body: expected {WHAT}, got nothing"))),
            }
        })
        .map_err(in_body)
    }

    /// The records of a Parquet file.
    ///
    /// # Errors
    /// As [`records_from_ipc`](Intake::records_from_ipc).
    pub fn records_from_parquet(&self, bytes: Bytes) -> Result<Vec<Record>> {
        const WHAT: &str = "a parquet file";
        within(WHAT, || {
            let mut tally = Tally::new(self);
            let most = (self.limits.batch_bytes as u64).saturating_add(1 << 20);
            let steps = Steps { footer_bytes: FOOTER_BYTES, bytes: most, room: tally.step_room() };
            let mut rows = ParquetRows::open(bytes, &self.columns, steps)?;
            self.check_rows(usize::try_from(rows.count()).unwrap_or(usize::MAX))?;
            while let Some(batch) = rows.next_batch().map_err(|error| tally.shortage().unwrap_or(error))? {
                tally.take(&batch, rows.plan())?;
            }
            Ok(tally.records)
        })
        .map_err(in_body)
    }
}

/// The records of an Arrow IPC stream; see [`records_from_batch`](crate::arrow::records_from_batch) for its columns.
///
/// # Errors
/// `Invalid` if the bytes are not such a stream or a row cannot be a record; `Limit` if there are too many.
pub fn records_from_ipc(bytes: Bytes, limits: &Limits) -> Result<Vec<Record>> {
    Intake::of(limits).records_from_ipc(bytes)
}

/// The records of a Parquet file; see [`records_from_batch`](crate::arrow::records_from_batch) for its columns.
///
/// # Errors
/// `Invalid` if the bytes are not such a file or a row cannot be a record; `Limit` if there are too many, or they are
/// too large once expanded.
pub fn records_from_parquet(bytes: Bytes, limits: &Limits) -> Result<Vec<Record>> {
    Intake::of(limits).records_from_parquet(bytes)
}

/// Runs a decoder on untrusted bytes; a panic of its crates counts as damage.
pub fn within<T>(what: &str, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    contained(what, decode).unwrap_or_else(|| Err(Error::invalid(format!("expected {what}, got a damaged one"))))
}

/// Adds the place `body` to an error about the whole.
fn in_body(error: Error) -> Error {
    if error.message().starts_with("expected ") { error.with_place("body") } else { error }
}

fn names_of(batch: &RecordBatch) -> Vec<&str> {
    batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect()
}

/// The records so far, and the memory that they take.
struct Tally<'a> {
    intake: &'a Intake,
    records: Vec<Record>,
    rows: u64,
    encoded: u64,
    held: u64,
    /// Memory for the records, and for the bytes from which they are read.
    room: Option<[Arc<Growth>; 2]>,
}

impl<'a> Tally<'a> {
    fn new(intake: &'a Intake) -> Tally<'a> {
        let room = intake.budget.as_ref().map(|budget| [(); 2].map(|()| Arc::new(Growth::new(budget.clone()))));
        Tally { intake, records: Vec::new(), rows: 0, encoded: 0, held: 0, room }
    }

    /// Takes memory for the bytes from which the records are read.
    fn make_room(&self, bytes: u64) -> Result<()> {
        match &self.room {
            Some([_, steps]) => steps.reach(bytes).then_some(()).ok_or_else(|| steps.refusal("this request")),
            None => Ok(()),
        }
    }

    fn step_room(&self) -> Option<Arc<Growth>> {
        self.room.as_ref().map(|[_, steps]| steps.clone())
    }

    /// The refusal, if there was no memory to read on.
    fn shortage(&self) -> Option<Error> {
        let [_, steps] = self.room.as_ref()?;
        steps.was_refused().then(|| steps.refusal("this request"))
    }

    fn take(&mut self, batch: &RecordBatch, plan: &ColumnPlan) -> Result<()> {
        let limits = &self.intake.limits;
        self.intake.check_rows(self.records.len().saturating_add(batch.num_rows()))?;
        let (encoded, held, room) = (&mut self.encoded, &mut self.held, &self.room);
        let mut meter = |bytes: RecordBytes| {
            *encoded = encoded.saturating_add(bytes.encoded);
            *held = held.saturating_add(bytes.held);
            check_bytes(*encoded, limits)?;
            match room {
                Some([records, _]) if !records.reach(*held) => Err(records.refusal("this request")),
                _ => Ok(()),
            }
        };
        let mut records = records_within(batch, plan, limits, self.rows, &mut meter)?;
        self.rows += batch.num_rows() as u64;
        self.records.append(&mut records);
        Ok(())
    }
}

fn check_bytes(bytes: u64, limits: &Limits) -> Result<()> {
    let limit = limits.batch_bytes;
    match bytes > limit as u64 {
        true => Err(Error::limit(format!(
            "records: expected at most {limit} bytes in one request once expanded (limits.batch_bytes), got more; split it"
        ))
        .of_setting("limits.batch_bytes")),
        false => Ok(()),
    }
}

/// A map as an Arrow IPC stream of one batch: `id`, `x` and `y`. The schema's metadata has the `version`, and where
/// they were measured `trustworthiness` and `continuity`.
///
/// # Errors
/// `Internal` only: all data comes from the store.
#[cfg(feature = "server")]
pub fn ipc_from_map(map: &CollectionMap) -> Result<Vec<u8>> {
    let ids = StringArray::from_iter_values(&map.records.ids);
    let (x, y): (Vec<f32>, Vec<f32>) = map.records.points.iter().map(|[x, y]| (*x, *y)).unzip();
    let (x, y) = (Float32Array::from(x), Float32Array::from(y));
    let columns: [(&str, ArrayRef); 3] = [("id", Arc::new(ids)), ("x", Arc::new(x)), ("y", Arc::new(y))];
    let batch = RecordBatch::try_from_iter(columns);
    let batch = batch.map_err(|e| Error::internal("the map is no arrow batch").with_source(e))?;
    let mut told = HashMap::from([("version".to_owned(), map.version.to_string())]);
    if let Some(measured) = map.records.faithfulness {
        told.insert("trustworthiness".to_owned(), format!("{:.4}", measured.trustworthiness));
        told.insert("continuity".to_owned(), format!("{:.4}", measured.continuity));
    }
    stream_of(batch, told)
}

/// A search's results as an Arrow IPC stream of one batch, see [`batch_from_hits`]; the schema's
/// metadata has the `version` that was read.
///
/// # Errors
/// `Internal` only: all data comes from the store.
pub fn ipc_from_answer(answer: &QueryAnswer) -> Result<Vec<u8>> {
    let batch = batch_from_hits(&answer.results)?;
    stream_of(batch, HashMap::from([("version".to_owned(), answer.version.to_string())]))
}

fn stream_of(batch: RecordBatch, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let schema = Arc::new(batch.schema().as_ref().clone().with_metadata(metadata));
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
