//! A transaction: writes that are committed together, and only if what they follow from is unchanged (optimistic
//! concurrency control). Nothing is locked: the reader remembers the version and the ids that it read, and the commit
//! compares them with what others have committed since.
//! Invariant: the records that a transaction touches are known by id before it is resolved.

use super::{Selection, Write};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::record::Version;

/// Writes that are applied in one commit, one after another, or not at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transaction {
    /// The version that the writes follow from. No later commit may have written a record of `read_ids`, or one that
    /// the writes name. `None`: the writes hold whatever others write.
    pub read: Option<Version>,
    /// Ids of the records that were read, and of those that were found missing.
    pub read_ids: Vec<String>,
    /// What to write, in order. Deletes select by ids alone.
    pub writes: Vec<Write>,
}

impl Transaction {
    /// The ids that the writes name.
    pub(crate) fn written_ids(&self) -> impl Iterator<Item = &str> {
        self.writes.iter().flat_map(ids)
    }

    /// Refuses a delete that selects by more than ids, and more records than one request may have.
    pub(crate) fn check(&self, limits: &Limits) -> Result<()> {
        let by_ids =
            |selection: &Selection| selection.ids.is_some() && selection.filter.is_none() && selection.limit.is_none();
        let odd = |write: &Write| matches!(write, Write::Delete(selection) if !by_ids(selection));
        if let Some(i) = self.writes.iter().position(odd) {
            let what = format!("writes[{i}]: expected a delete of ids alone, as the ids are compared with the log");
            return Err(Error::invalid(what));
        }
        let limit = limits.batch_records;
        for (what, got) in [("read_ids", self.read_ids.len()), ("writes", self.written_ids().count())] {
            if got > limit {
                let refused = format!(
                    "{what}: expected at most {limit} records in one transaction (limits.batch_records), got {got}"
                );
                return Err(Error::limit(refused).of_setting("limits.batch_records"));
            }
        }
        Ok(())
    }
}

/// The ids that a write names.
fn ids(write: &Write) -> Box<dyn Iterator<Item = &str> + '_> {
    match write {
        Write::Add(records) | Write::Upsert(records) => Box::new(records.iter().map(|record| record.id.as_str())),
        Write::Update(updates) | Write::Merge(updates) => Box::new(updates.iter().map(|update| update.id.as_str())),
        Write::Delete(selection) => Box::new(selection.ids.iter().flatten().map(String::as_str)),
    }
}
