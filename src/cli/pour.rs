//! Records from anywhere into a collection: page by page, in order, with a bar. Invariant: a page is added in
//! one commit, or in halves where it is too large for one; adding twice is adding once, so that a run that was
//! cut short can be gone on with.

use std::time::Duration;

use drumlin::{Collection, Error, Kind, Record, Result};
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
    bar.set_style(style.map_err(|e| Error::new(Kind::Internal, format!("the progress bar: {e}")))?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A record whose id is there is left alone.
    Add,
    /// A record whose id is there is replaced.
    Upsert,
}

/// Writes a page of records.
pub async fn write(target: &Collection, records: &[Record], how: How) -> Result<()> {
    let mut parts: Vec<&[Record]> = by_size(records);
    parts.reverse();
    while let Some(part) = parts.pop() {
        let written = match how {
            How::Add => target.add(part).await,
            How::Upsert => target.upsert(part).await,
        };
        match written {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Limit && part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            // Writing twice is writing once.
            Err(error) if error.kind() == Kind::OutcomeUnknown => parts.push(part),
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
