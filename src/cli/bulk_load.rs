//! Records from anywhere into a collection: page by page, in order, with a bar. Invariant: a page is added in
//! one commit, or in halves where it is too large for one; adding twice is adding once, so that a run that was
//! cut short can be gone on with.

use std::time::Duration;

use drumlin::{Collection, Error, ErrorKind, Record, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Bytes of a page's records, roughly, above which it is written in parts.
const PART_BYTES: usize = 8 << 20;

/// A bar over `total` records, or one without an end if that is not known.
pub fn bar(name: &str, total: Option<u64>) -> Result<ProgressBar> {
    let template = match total {
        Some(_) => "{msg} {wide_bar} {pos}/{len} records, {per_sec}, {eta} left",
        None => "{msg} {spinner} {pos} records, {per_sec}",
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_message(name.to_owned());
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.map_err(|e| Error::new(ErrorKind::Internal, format!("the progress bar: {e}")))?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// Puts the records of a collection into graphs before a command ends, with a bar: whoever serves the bucket next
/// finds them ready.
pub async fn build_graphs(collection: &Collection) -> Result<()> {
    let bar = ProgressBar::new(collection.graph_progress().records).with_message("graph");
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} records, {elapsed}");
    bar.set_style(style.map_err(|e| Error::new(ErrorKind::Internal, format!("the progress bar: {e}")))?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let built = collection.build_graphs(|progress| bar.set_position(progress.in_graphs)).await;
    bar.finish_and_clear();
    built
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A record whose id is there is left alone.
    Add,
    /// A record whose id is there is replaced.
    Upsert,
}

/// Records that were left out because they cannot be written, if that is wanted.
#[derive(Debug)]
pub struct Skipped {
    wanted: bool,
    /// Id of each, and why.
    pub records: Vec<(String, String)>,
}

impl Skipped {
    /// A record that cannot be written ends the run.
    pub fn none() -> Skipped {
        Skipped { wanted: false, records: Vec::new() }
    }

    /// Whether they are gone past.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// They are gone past, where that is `wanted`.
    pub fn past(wanted: bool) -> Skipped {
        Skipped { wanted, records: Vec::new() }
    }
}

/// Writes a page of records. An error names the record by its id, and the variable to set.
pub async fn write(target: &Collection, records: &[Record], how: How, skipped: &mut Skipped) -> Result<()> {
    let mut parts: Vec<&[Record]> = by_size(records);
    parts.reverse();
    while let Some(part) = parts.pop() {
        let written = match how {
            How::Add => target.add(part.to_vec()).await,
            How::Upsert => target.upsert(part.to_vec()).await,
        };
        let error = match written {
            Ok(_) => continue,
            Err(error) => error,
        };
        let at_fault = named_record(&error).filter(|at| *at < part.len());
        match (error.kind(), at_fault.and_then(|at| part.get(at))) {
            // Writing twice is writing once.
            (ErrorKind::OutcomeUnknown, _) => parts.push(part),
            (ErrorKind::Invalid | ErrorKind::Limit, Some(record)) => {
                let why = in_words(&error, record);
                if !skipped.wanted {
                    return Err(Error::new(error.kind(), why).with_source(error));
                }
                skipped.records.push((record.id.clone(), why));
                let (before, rest) = part.split_at(at_fault.unwrap_or(0));
                parts.extend([rest.get(1..).unwrap_or_default(), before].into_iter().filter(|part| !part.is_empty()));
            }
            (ErrorKind::Limit, None) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            (_, _) => return Err(error),
        }
    }
    Ok(())
}

/// Which record of a request an error names, as in `records[3].document: …`.
fn named_record(error: &Error) -> Option<usize> {
    error.message().strip_prefix("records[")?.split_once(']')?.0.parse().ok()
}

/// An error with the record's id, and the variable of a limit.
fn in_words(error: &Error, record: &Record) -> String {
    let rest = error.message().split_once(']').map_or(error.message(), |(_, rest)| rest);
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let limit = rest.split_once("(limit ").and_then(|(_, rest)| Some(rest.split_once(')')?.0));
    let variable = limit.map(|limit| format!("; set DRUMLIN_MAX_{} to allow more", limit.to_ascii_uppercase()));
    format!("record {:?}, {rest}{}", record.id, variable.unwrap_or_default())
}

/// The records in runs of about [`PART_BYTES`].
fn by_size(records: &[Record]) -> Vec<&[Record]> {
    let size = |record: &Record| {
        let texts = [&record.document, &record.uri].into_iter().flatten().map(String::len).sum::<usize>();
        record.embedding.len() * 4 + record.id.len() + texts
    };
    let (mut parts, mut start, mut held) = (Vec::new(), 0, 0);
    for (at, record) in records.iter().enumerate() {
        held += size(record);
        if held >= PART_BYTES {
            parts.extend(records.get(start..=at));
            (start, held) = (at + 1, 0);
        }
    }
    parts.extend(records.get(start..).filter(|rest| !rest.is_empty()));
    parts
}
