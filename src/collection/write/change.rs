//! A change of a collection as its stream takes it: what it writes, and how much.

use crate::collection::estimate;
use crate::collection::read::select::Matched;
use crate::collection::request::documents::{DocumentUpdate, DocumentWrite};
use crate::collection::request::{Guard, Transaction, Write};
use crate::format::Successor;
use crate::record::Version;
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
    /// Writes whole documents; the parts that match the filter were found before.
    Documents(DocumentWrite, Matched),
    /// Writes records in several steps, unless what they follow from has changed.
    Transaction(Transaction),
    /// Writes records in several steps, unless a commit has come since that version. There is a commit even if nothing
    /// changes, so that nothing else can follow from that version.
    After(Option<Version>, Vec<Write>),
    /// Asks writers to wait for a moment: a handover is near.
    Hold,
    /// Ends the collection.
    Drop,
    /// Ends the collection, unless a commit has come since that version.
    End(Version, Option<Successor>),
}

impl Change {
    /// The change as it is for another collection: nothing is known of which records match.
    pub fn for_another(self) -> Option<Change> {
        match self {
            Change::Write(write) | Change::Prepared(_, write) => Some(Change::Write(write)),
            Change::Documents(write, _) => Some(Change::Documents(write, Matched::default())),
            Change::Guarded(..)
            | Change::Transaction(_)
            | Change::After(..)
            | Change::Hold
            | Change::Drop
            | Change::End(..) => None,
        }
    }

    /// The writes of records in this change.
    fn writes(&self) -> &[Write] {
        match self {
            Change::Write(write) | Change::Prepared(_, write) | Change::Guarded(_, write) => {
                std::slice::from_ref(write)
            }
            Change::Transaction(transaction) => &transaction.writes,
            Change::After(_, writes) => writes,
            Change::Documents(..) | Change::Hold | Change::Drop | Change::End(..) => &[],
        }
    }

    /// How much of a group commit the change takes.
    pub fn weight(&self) -> Weight {
        let sum = |sum: Weight, one: Weight| Weight { rows: sum.rows + one.rows, bytes: sum.bytes + one.bytes };
        let documents = match self {
            Change::Documents(write, _) => documents_weight(write),
            _ => Weight::default(),
        };
        self.writes().iter().map(weight).fold(documents, sum)
    }

    /// Bytes of memory that the change may take, including the room to resolve and encode it. `None` if it adds
    /// nothing.
    pub fn growth(&self, dimension: usize) -> Option<u64> {
        if let Change::Documents(write, _) = self {
            let Weight { rows, bytes } = documents_weight(write);
            let adds = !matches!(write, DocumentWrite::Delete(_));
            return adds.then(|| estimate::growth(rows as u64, bytes as u64));
        }
        self.writes().iter().filter_map(|write| growth(write, dimension)).reduce(u64::saturating_add)
    }
}

/// How much of a group commit a write of documents takes, but for the parts that an update without a text changes.
fn documents_weight(write: &DocumentWrite) -> Weight {
    let (rows, bytes) = write.parts().fold((0, 0), |(rows, bytes), part| (rows + 1, bytes + estimate::record(part)));
    let changes: &[DocumentUpdate] = if let DocumentWrite::Update(updates) = write { updates } else { &[] };
    let ids = if let DocumentWrite::Delete(selection) = write { selection.ids.as_deref() } else { None };
    let ids = ids.unwrap_or_default();
    let named: usize = ids.iter().map(|id| estimate::id(id)).sum();
    let changed: usize = changes.iter().map(|update| estimate::update(&update.change)).sum();
    Weight { rows: rows + changes.len() + ids.len(), bytes: bytes + named + changed }
}

/// How much of a group commit a write takes.
fn weight(write: &Write) -> Weight {
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

/// Bytes of memory that a write may take; `None` if it adds nothing.
fn growth(write: &Write, dimension: usize) -> Option<u64> {
    let Weight { rows, bytes } = weight(write);
    let (rows, mut bytes) = (rows as u64, bytes as u64);
    match write {
        Write::Delete(_) => return None,
        // An update writes the unchanged fields again, the embedding too.
        Write::Update(_) | Write::Merge(_) => bytes += rows * dimension as u64 * 4,
        Write::Add(_) | Write::Upsert(_) => {}
    }
    Some(estimate::growth(rows, bytes))
}
