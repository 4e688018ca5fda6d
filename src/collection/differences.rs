//! The differences between two versions of a collection.
//! Invariant: records count as the same by what they hold, not by when they were written. Only records that were
//! written anew are compared by their contents, and only ids are collected.

use std::sync::Arc;

use super::request::{Found, Include};
use super::state::snapshot::{RowRef, Snapshot};
use super::version_view::VersionView;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::record::{Record, Version};

/// The records in which one version of a collection differs from another.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Differences {
    /// Records that only the second version has.
    pub added: CountedIds,
    /// Records that both have, with other contents.
    pub changed: CountedIds,
    /// Records that only the first version has.
    pub removed: CountedIds,
}

/// How many records there are, and the first of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct CountedIds {
    /// How many.
    pub count: u64,
    /// The first ids in the order in which the records were last written; as many as were asked for.
    pub ids: Vec<String>,
}

impl CountedIds {
    fn add(&mut self, id: &str, limit: usize) {
        self.count += 1;
        if self.ids.len() < limit {
            self.ids.push(id.to_owned());
        }
    }
}

/// What makes the present version of a collection hold what an earlier one held.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reversal {
    /// The present version.
    pub(crate) from: Version,
    /// Ids of records that were not there.
    pub(crate) deletes: Vec<String>,
    /// Records that are missing, or hold something else.
    pub(crate) puts: Vec<Record>,
}

/// A record that differs.
enum ChangedRecord {
    Added(RowRef),
    Changed(RowRef),
    Removed(RowRef),
}

impl VersionView {
    /// Compares this version with another of the same collection. Of each kind of difference, at most `limit` ids are
    /// answered.
    ///
    /// # Errors
    /// `Corrupted` names a record whose metadata cannot be read. `NotFound` if the collection was dropped.
    pub async fn differences(&self, other: &VersionView, limit: usize) -> Result<Differences> {
        let (before, after) = (self.snapshot().clone(), other.snapshot().clone());
        let compare = move |interrupt: &Interrupt| {
            let mut found = Differences::default();
            each_difference(&before, &after, interrupt, |difference| {
                match difference {
                    ChangedRecord::Added(at) => found.added.add(id(&after, at), limit),
                    ChangedRecord::Changed(at) => found.changed.add(id(&after, at), limit),
                    ChangedRecord::Removed(at) => found.removed.add(id(&before, at), limit),
                }
                Ok(())
            })?;
            Ok(found)
        };
        self.compute().search(compare).await?
    }

    /// What turns `present` into this version, if that fits into one commit.
    ///
    /// # Errors
    /// As [`differences`](VersionView::differences). `Limit` if it does not.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) async fn reversal(&self, present: &VersionView, limits: &Limits) -> Result<Reversal> {
        let (before, after) = (present.snapshot().clone(), self.snapshot().clone());
        let (records, bytes) = (limits.batch_records, limits.batch_bytes);
        let collect = move |interrupt: &Interrupt| {
            let mut reversal = Reversal { from: before.version(), ..Reversal::default() };
            let mut taken = 0;
            each_difference(&before, &after, interrupt, |difference| {
                if reversal.deletes.len() + reversal.puts.len() >= records || taken > bytes {
                    return Err(Error::limit(format!(
                        "expected at most {records} records of {bytes} bytes together that differ, as they are written in \
                         one commit, got more; fork that version"
                    )));
                }
                match difference {
                    ChangedRecord::Removed(at) => reversal.deletes.push(id(&before, at).to_owned()),
                    ChangedRecord::Added(at) | ChangedRecord::Changed(at) => {
                        taken += after.weight(at, Include::ALL);
                        reversal.puts.push(record(&after, at)?);
                    }
                }
                Ok(())
            })?;
            Ok(reversal)
        };
        self.compute().search(collect).await?
    }
}

/// Rows between two looks at the interrupt.
const ROWS_PER_CHECK: u32 = 256;

/// Calls `take` with each record in which `after` differs from `before`.
fn each_difference(
    before: &Arc<Snapshot>,
    after: &Arc<Snapshot>,
    interrupt: &Interrupt,
    mut take: impl FnMut(ChangedRecord) -> Result<()>,
) -> Result<()> {
    for at in rows(before) {
        if at.row % ROWS_PER_CHECK == 0 {
            interrupt.check()?;
        }
        if after.find(id(before, at)).is_none() {
            take(ChangedRecord::Removed(at))?;
        }
    }
    for at in rows(after) {
        if at.row % ROWS_PER_CHECK == 0 {
            interrupt.check()?;
        }
        match before.find(id(after, at)) {
            None => take(ChangedRecord::Added(at))?,
            // A row is never written over.
            Some(old) if before.address(old) == after.address(at) => {}
            Some(old) if before.found(old, Include::ALL)? == after.found(at, Include::ALL)? => {}
            Some(_) => take(ChangedRecord::Changed(at))?,
        }
    }
    Ok(())
}

/// The live rows.
fn rows(snapshot: &Snapshot) -> impl Iterator<Item = RowRef> {
    let chunks = snapshot.chunks.iter().enumerate();
    chunks.flat_map(|(chunk, view)| view.alive.iter().map(move |row| RowRef { chunk, row }))
}

fn id(snapshot: &Snapshot, at: RowRef) -> &str {
    snapshot.chunk(at).id(at.row)
}

fn record(snapshot: &Snapshot, at: RowRef) -> Result<Record> {
    let Found { id, embedding, document, uri, metadata } = snapshot.found(at, Include::ALL)?;
    Ok(Record { id, embedding: embedding.unwrap_or_default(), document, uri, metadata })
}
