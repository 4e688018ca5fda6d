//! Records from anywhere into a collection: page by page, in order, with a progress bar. Invariants: every record is
//! offered to the collection, which alone knows whether it exists there; no position in the source is derived from a
//! count. A page is added in one commit, or in halves where it is too large for one. Adding twice equals adding once,
//! so that the next run can continue an interrupted one.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::settings::with_variables;
use crate::{Collection, Error, ErrorKind, Get, Include, Record, Result};

/// Approximate bytes of a page's records above which it is written in parts.
const PART_BYTES: usize = 8 << 20;
/// Slots that a part of a page may lose to other writers before it is halved.
pub const LOST_SLOTS: u32 = 4;
/// Time since the last written part after which a run ends, if other writers always win.
const PATIENCE: Duration = Duration::from_secs(600);

/// A bar over `total` records, or an open-ended one if the total is not known.
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

/// Builds graphs over the records of a collection before a command ends, with a bar: the next server on the bucket
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
    /// A record whose id exists is left alone.
    Add,
    /// A record whose id exists is replaced.
    Upsert,
}

/// Records that a run left out because they cannot be written, if `wanted`, and the size of its commits.
#[derive(Debug)]
pub struct Skipped {
    wanted: bool,
    /// Most records of a commit. It shrinks for the rest of the run where other writers were faster.
    most: usize,
    /// The id of each, and the reason.
    pub records: Vec<(String, String)>,
}

impl Skipped {
    /// A record that cannot be written ends the run.
    pub fn none() -> Skipped {
        Skipped::past(false)
    }

    /// Records that cannot be written are skipped, if `wanted`.
    pub fn past(wanted: bool) -> Skipped {
        Skipped { wanted, most: usize::MAX, records: Vec::new() }
    }
}

/// The outcome for records that were offered to a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that did not exist before.
    pub added: u64,
    /// Records whose ids existed: left alone by an add, replaced by an upsert.
    pub there: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.added += more.added;
        self.there += more.there;
    }
}

/// Writes a page of records. An error names the record by its id, and the variable to set.
pub async fn write(target: &Collection, records: &[Record], how: How, skipped: &mut Skipped) -> Result<Tally> {
    match how {
        How::Upsert => {
            let there = known(target, records).await?;
            let written = write_parts(target, records, how, skipped).await?;
            Ok(Tally { added: written.saturating_sub(there), there })
        }
        // An add leaves alone what is there, and says how much it took: nothing needs to be asked before.
        How::Add => {
            let ids: HashSet<&str> = records.iter().map(|record| record.id.as_str()).collect();
            let left_out = skipped.records.len();
            let added = write_parts(target, records, how, skipped).await?;
            let left_out = (skipped.records.len() - left_out) as u64;
            Ok(Tally { added, there: (ids.len() as u64).saturating_sub(added + left_out) })
        }
    }
}

/// How many of the records' ids exist as far as this instance knows. Another instance's last writes may be missing.
async fn known(target: &Collection, records: &[Record]) -> Result<u64> {
    let ids = records.iter().map(|record| record.id.clone()).collect();
    let known = target.get(Get { ids: Some(ids), include: Include::NONE, ..Get::default() }).await?;
    Ok(known.records.len() as u64)
}

async fn write_parts(target: &Collection, records: &[Record], how: How, skipped: &mut Skipped) -> Result<u64> {
    let write = async |part: &[Record]| match how {
        How::Add => target.add(part.to_vec()).await,
        How::Upsert => target.upsert(part.to_vec()).await,
    };
    in_parts(records, skipped, async |part| Ok(write(part).await?.applied as u64)).await
}

/// Writes records in as many commits as it takes; returns how many records the collection took.
async fn in_parts(
    records: &[Record],
    skipped: &mut Skipped,
    write: impl AsyncFn(&[Record]) -> Result<u64>,
) -> Result<u64> {
    let mut parts: Vec<&[Record]> = by_size(records);
    parts.reverse();
    let (mut applied, mut written_at) = (0, Instant::now());
    while let Some(part) = parts.pop() {
        if part.len() > skipped.most {
            let (first, rest) = part.split_at(skipped.most);
            parts.extend([rest, first]);
            continue;
        }
        let error = match write(part).await {
            Ok(written) => {
                applied += written;
                written_at = Instant::now();
                continue;
            }
            Err(error) => error,
        };
        let at_fault = named_record(&error).filter(|at| *at < part.len());
        match (error.kind(), at_fault.and_then(|at| part.get(at))) {
            // The part is written again: writing twice equals writing once.
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
            // Nothing was written. A smaller part is ready sooner, before another writer takes the slot.
            (ErrorKind::Unavailable, _) if error.is_outrun() && written_at.elapsed() < PATIENCE => {
                skipped.most = part.len().div_ceil(2);
                parts.push(part);
            }
            (_, _) => return Err(error),
        }
    }
    Ok(applied)
}

/// The index of the record that an error names, as in `records[3].document: …`.
fn named_record(error: &Error) -> Option<usize> {
    error.message().strip_prefix("records[")?.split_once(']')?.0.parse().ok()
}

/// An error with the record's id, and the variable of a limit.
fn in_words(error: &Error, record: &Record) -> String {
    let error = with_variables(error.clone());
    let rest = error.message().split_once(']').map_or(error.message(), |(_, rest)| rest);
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let way_out = if error.setting().is_some() { "; raise it to allow more" } else { "" };
    format!("record {:?}, {rest}{way_out}", record.id)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::testing::bucket::call::Op;
    use crate::testing::bucket::clock::StoreClock;
    use crate::testing::bucket::fault::{Call, Fault, FaultBucket};
    use crate::testing::bucket::memory::MemoryBucket;
    use crate::{Settings, Storage, Store};

    use super::*;

    fn records(names: &str, count: usize) -> Vec<Record> {
        (0..count).map(|at| Record::new(format!("{names}{at}"), vec![at as f32, 1.0])).collect()
    }

    #[tokio::test]
    async fn a_page_goes_on_in_halves_where_other_writers_were_faster() {
        let written = std::cell::RefCell::new(Vec::new());
        let tried = std::cell::Cell::new(0);
        let write = async |part: &[Record]| {
            tried.set(tried.get() + 1);
            if part.len() > 2 {
                return Err(Error::outrun());
            }
            written.borrow_mut().push(part.len());
            Ok(part.len() as u64)
        };
        let mut run = Skipped::none();
        for _ in 0..2 {
            assert_eq!(in_parts(&records("p", 7), &mut run, write).await.unwrap(), 7);
        }
        assert_eq!(*written.borrow(), [2, 2, 2, 1, 2, 2, 2, 1]);
        assert_eq!(tried.get(), 10, "only the first page tries more than goes in");
        let full = async |_: &[Record]| Err(Error::new(ErrorKind::Unavailable, "no space left on device"));
        let refused = in_parts(&records("p", 7), &mut Skipped::none(), full).await.unwrap_err();
        assert_eq!(refused.message(), "no space left on device", "another cause ends the run at once");
    }

    #[tokio::test]
    async fn a_page_is_told_apart_in_records_that_were_added_and_those_that_were_there() {
        let store = Store::open(Settings::new(Storage::Memory)).await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        notes.add(records("p", 2)).await.unwrap();
        let mut told = Vec::new();
        for how in [How::Add, How::Upsert] {
            told.push(write(&notes, &records("p", 5), how, &mut Skipped::none()).await.unwrap());
        }
        assert_eq!(told, [Tally { added: 3, there: 2 }, Tally { added: 0, there: 5 }]);
    }

    #[tokio::test]
    async fn a_record_that_was_left_out_or_comes_twice_in_a_page_is_not_one_that_was_there() {
        let store = Store::open(Settings::new(Storage::Memory)).await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        notes.add(records("p", 1)).await.unwrap();
        let unfit = Record::new("unfit", vec![1.0]);
        let page = [records("p", 3), vec![unfit], records("p", 2)].concat();
        let mut skipped = Skipped::past(true);
        assert_eq!(write(&notes, &page, How::Add, &mut skipped).await.unwrap(), Tally { added: 2, there: 1 });
        assert_eq!((skipped.records.len(), notes.info().count), (1, 3));
    }

    /// A put of `n` records takes `n` milliseconds, and another writer takes a slot each 100 ms.
    #[tokio::test(start_paused = true)]
    async fn a_large_page_beside_a_fast_writer_lands_after_a_bounded_number_of_tries() {
        let memory = Arc::new(MemoryBucket::new(StoreClock::machine()));
        let slow = Arc::new(FaultBucket::new(memory.clone()));
        let mut settings = Settings::new(Storage::Memory);
        settings.maintenance = false;
        let theirs = Store::open_on(settings.clone(), memory).await.unwrap();
        settings.timing.lost_slots = Some(LOST_SLOTS);
        let ours = Store::open_on(settings, slow.clone()).await.unwrap();
        let notes = ours.create_collection("notes").await.unwrap();
        let same = theirs.collection("notes").await.unwrap();
        let rival = tokio::spawn(async move {
            loop {
                same.upsert(vec![Record::new("rival", vec![0.0, 0.0])]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let is_put = |call: &Call| call.op == Op::Create && call.key.starts_with("c/") && call.key.contains("/log/");
        let size = Arc::new(AtomicU64::new(0));
        let seen = size.clone();
        slow.set_plan(move |call| if is_put(call) { Fault::SlowMs(seen.load(Ordering::Relaxed)) } else { Fault::None });
        let write = async |part: &[Record]| {
            size.store(part.len() as u64, Ordering::Relaxed);
            Ok(notes.add(part.to_vec()).await?.applied as u64)
        };
        let began = tokio::time::Instant::now();
        let applied = in_parts(&records("p", 256), &mut Skipped::none(), write).await.unwrap();
        let puts = slow.log().iter().filter(|call| is_put(call)).count();
        rival.abort();
        assert_eq!(applied, 256);
        assert!(puts < 200 && began.elapsed() < Duration::from_secs(30), "{puts} puts in {:?}", began.elapsed());
    }
}
