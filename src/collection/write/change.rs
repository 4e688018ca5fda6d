//! A change of a collection as its stream takes it: what it writes, and how much.

use crate::collection::estimate;
use crate::collection::read::select::Matched;
use crate::collection::request::{Guard, Write};
use crate::stream::state::Weight;

/// A change of a collection: a write, or its end.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Writes records.
    Write(Write),
    /// Writes records; those that match the filter were found before.
    Prepared(Matched, Write),
    /// Writes records, unless one of the guards does not hold: then the write is refused with `Conflict`.
    Guarded(Vec<Guard>, Write),
    /// Ends the collection.
    Drop,
}

impl Change {
    /// The write in this change, if there is one.
    pub fn into_write(self) -> Option<Write> {
        match self {
            Change::Write(write) | Change::Prepared(_, write) | Change::Guarded(_, write) => Some(write),
            Change::Drop => None,
        }
    }

    /// How much of a group commit the change takes.
    pub fn weight(&self) -> Weight {
        let (Change::Write(write) | Change::Prepared(_, write) | Change::Guarded(_, write)) = self else {
            return Weight::default();
        };
        match write {
            Write::Add(records) | Write::Upsert(records) => {
                Weight { rows: records.len(), bytes: records.iter().map(estimate::record).sum() }
            }
            Write::Update(updates) | Write::Merge(updates) => {
                Weight { rows: updates.len(), bytes: updates.iter().map(estimate::update).sum() }
            }
            Write::Delete(selection) => {
                let ids = selection.ids.as_deref().unwrap_or_default();
                Weight { rows: ids.len(), bytes: ids.iter().map(|id| estimate::id(id)).sum() }
            }
        }
    }

    /// Bytes of memory that the change may take, including the room to resolve and encode it. `None` if it adds
    /// nothing.
    pub fn growth(&self, dimension: usize) -> Option<u64> {
        let Weight { rows, bytes } = self.weight();
        let (rows, mut bytes) = (rows as u64, bytes as u64);
        let (Change::Write(write) | Change::Prepared(_, write) | Change::Guarded(_, write)) = self else { return None };
        match write {
            Write::Delete(_) => return None,
            // An update writes the unchanged fields again, the embedding too.
            Write::Update(_) | Write::Merge(_) => bytes += rows * dimension as u64 * 4,
            Write::Add(_) | Write::Upsert(_) => {}
        }
        Some(estimate::growth(rows, bytes))
    }
}
