//! Writes of any size: a call that is larger than one commit may be becomes several, one after the other.
//! Invariant: parts are written in the order of the call, and an error says how many records were written before it.

use arrow::array::RecordBatch;
use drumlin::arrow::{ColumnChoice, records_from_batch_with};
use drumlin::{Collection, Error, ErrorKind, Record, RecordUpdate, Write, WriteOutcome};

/// Most records, and about the most bytes, of one commit. The library's own limits are twice as high.
const PART_RECORDS: usize = 50_000;
const PART_BYTES: usize = 32 << 20;
/// Floats of embeddings that are still to be made by a model which this process does not know yet: as many as usual
/// models have at most.
const UNKNOWN_DIMENSION: usize = 1024;

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub enum How {
    Add,
    Upsert,
}

impl How {
    fn write(self, records: Vec<Record>) -> Write {
        match self {
            How::Add => Write::Add(records),
            How::Upsert => Write::Upsert(records),
        }
    }
}

/// What can stand in a part.
trait Weighed {
    /// Once it has its embedding, of `dimension` floats if it is still to be made.
    fn bytes(&self, dimension: usize) -> usize;
}

impl Weighed for Record {
    fn bytes(&self, dimension: usize) -> usize {
        let texts =
            self.id.len() + self.document.as_ref().map_or(0, String::len) + self.uri.as_ref().map_or(0, String::len);
        let metadata = self.metadata.as_ref().map_or(0, |found| found.to_json_text().len());
        let floats = if self.embedding.is_empty() { dimension } else { self.embedding.len() };
        texts + metadata + 4 * floats
    }
}

impl Weighed for RecordUpdate {
    fn bytes(&self, dimension: usize) -> usize {
        let texts =
            self.id.len() + self.document.as_ref().map_or(0, String::len) + self.uri.as_ref().map_or(0, String::len);
        // A patch is small beside the record that it makes, which is written whole: a kilobyte stands for the rest.
        let renewed = if self.document.is_some() { dimension } else { 0 };
        texts + 4 * self.embedding.as_ref().map_or(renewed, Vec::len) + 1024
    }
}

/// The parts of a call.
fn parts<T: Weighed>(items: Vec<T>, dimension: Option<usize>) -> Vec<Vec<T>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        let more = item.bytes(dimension.unwrap_or(UNKNOWN_DIMENSION));
        if !part.is_empty() && (part.len() == PART_RECORDS || bytes + more > PART_BYTES) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += more;
        part.push(item);
    }
    parts.push(part);
    parts
}

/// Writes records.
pub async fn write_records(collection: &Collection, how: How, records: Vec<Record>) -> Result<WriteOutcome, Error> {
    write_all(collection, parts(records, collection.dimension()), |part| how.write(part)).await
}

/// Changes records.
pub async fn write_updates(collection: &Collection, updates: Vec<RecordUpdate>) -> Result<WriteOutcome, Error> {
    write_all(collection, parts(updates, collection.dimension()), Write::Update).await
}

async fn write_all<T>(
    collection: &Collection,
    parts: Vec<Vec<T>>,
    write: impl Fn(Vec<T>) -> Write,
) -> Result<WriteOutcome, Error> {
    let (mut sum, mut before) = (WriteOutcome::default(), 0);
    for part in parts {
        let count = part.len();
        let done = collection.write(write(part)).await.map_err(|error| after(error, before))?;
        (sum.applied, sum.skipped, sum.version) =
            (sum.applied + done.applied, sum.skipped + done.skipped, done.version);
        before += count;
    }
    Ok(sum)
}

fn after(error: Error, before: usize) -> Error {
    if before == 0 {
        return error;
    }
    Error::new(error.kind(), format!("{error}; the first {before} records of this call were written before that"))
}

/// What a collection asks of embeddings.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// How many floats, once that is known.
    dimension: Option<usize>,
    /// Whether it makes embeddings of documents.
    embeds: bool,
}

impl Wanted {
    pub fn of(collection: &Collection) -> Wanted {
        Wanted { dimension: collection.dimension(), embeds: collection.embedder().is_ok() }
    }

    /// Whether records may come without an embedding.
    pub fn takes_texts(self) -> bool {
        self.embeds || self.dimension == Some(0)
    }
}

/// A row that cannot be a record: its number in the whole source, and why.
pub type BadRow = (u64, String);

/// The records of batches whose first row has the number `first`. Bad rows are refused, or set aside.
///
/// # Errors
/// `Invalid`, with the number of the row.
pub fn records_of(
    batches: &[RecordBatch],
    columns: &ColumnChoice,
    first: u64,
    set_aside: bool,
    mut wanted: Wanted,
) -> Result<(Vec<Record>, Vec<BadRow>), Error> {
    let (mut records, mut bad, mut at) = (Vec::new(), Vec::new(), first);
    for batch in batches {
        // What is wrong with the columns is wrong with every row: refused.
        records_from_batch_with(&batch.slice(0, 0), columns, at)?;
        match records_from_batch_with(batch, columns, at) {
            Ok(made) if !set_aside => records.extend(made),
            Ok(made) => {
                for (row, record) in (at..).zip(made) {
                    keep(record, row, &mut wanted, &mut records, &mut bad);
                }
            }
            Err(error) if !set_aside => return Err(error),
            Err(_) => {
                // One by one: only the bad rows are left out.
                for place in 0..batch.num_rows() {
                    let row = at + place as u64;
                    match records_from_batch_with(&batch.slice(place, 1), columns, row) {
                        Ok(made) => {
                            made.into_iter().for_each(|record| keep(record, row, &mut wanted, &mut records, &mut bad))
                        }
                        Err(error) => bad.push((row, error.to_string())),
                    }
                }
            }
        }
        at += batch.num_rows() as u64;
    }
    Ok((records, bad))
}

/// Keeps a record unless a write would refuse it, which would refuse all others with it.
fn keep(record: Record, row: u64, wanted: &mut Wanted, kept: &mut Vec<Record>, bad: &mut Vec<BadRow>) {
    let got = record.embedding.len();
    let why = match wanted.dimension {
        _ if record.id.is_empty() => Some("id: expected text, got an empty one".to_owned()),
        _ if got == 0 && wanted.embeds => {
            record.document.is_none().then(|| "expected an embedding, or a document to make one of".to_owned())
        }
        Some(0) if got == 0 => None,
        _ if got == 0 => Some("embedding: expected numbers, got none".to_owned()),
        _ if !record.embedding.iter().all(|float| float.is_finite()) => {
            Some("embedding: expected finite numbers".to_owned())
        }
        Some(expected) if expected != got => Some(format!("embedding: expected {expected} numbers, got {got}")),
        _ => None,
    };
    match why {
        Some(why) => bad.push((row, format!("row {row}: {why}"))),
        None => {
            if got > 0 {
                wanted.dimension = Some(got);
            }
            kept.push(record);
        }
    }
}

/// How records are written, by the name of the Python call.
///
/// # Errors
/// `Invalid` for any other name.
pub fn how(name: &str) -> Result<How, Error> {
    match name {
        "add" => Ok(How::Add),
        "upsert" => Ok(How::Upsert),
        other => Err(Error::new(ErrorKind::Invalid, format!("expected add or upsert, got {other:?}"))),
    }
}
