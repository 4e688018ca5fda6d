//! The effect of a batch's earlier requests on a snapshot: the rows that the commit will have, and the state of each
//! id that they touched.
//! Invariants: there is at most one row per id. A row without `position` or `embedded` means its own address, so
//! nothing here depends on the commit's number. What a transaction did can be taken back until it ends.

use std::collections::{HashMap, HashSet};

use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::Result;
use crate::filter::Filter;
use crate::format::{Row, RowOp};
use crate::interrupt::Interrupt;
use crate::record::{Address, Metadata};

/// An id touched by the batch.
#[derive(Debug, Clone)]
struct Touched {
    /// Its row among `slots`. The slot is empty if the record is gone and was never in the snapshot.
    slot: usize,
    /// Whether the record exists now.
    live: bool,
    /// Whether the snapshot has it, so that deleting it needs a tombstone.
    stored: bool,
}

/// A record as the next request of the batch sees it.
#[derive(Debug)]
pub enum CurrentRecord<'a> {
    /// No record has this id.
    Absent,
    /// The record is as an earlier request of the batch left it.
    Pending(&'a Row),
    /// The record is as the snapshot has it.
    Stored(RowRef),
}

/// A record that a delete selects. Sorts in insertion order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeleteCandidate<'a> {
    /// `Err(slot)` for records that the batch inserted: these come last, in order of insertion.
    pub place: Result<Address, usize>,
    pub id: &'a str,
}

#[derive(Debug)]
pub struct Overlay<'a> {
    base: &'a Snapshot,
    slots: Vec<Option<Row>>,
    /// Bytes of the rows in the slots.
    bytes: usize,
    touched: HashMap<&'a str, Touched>,
    /// Of the transaction in progress.
    journal: Option<Journal<'a>>,
}

/// What a transaction replaced, so that it can be taken back. A copy of all rows instead would cost each transaction
/// of a batch as much as all requests before it.
#[derive(Debug)]
struct Journal<'a> {
    /// Slots, and bytes of their rows, before it.
    before: (usize, usize),
    /// Ids that it changed, each with its state and its row before the first change. What it made itself and replaced
    /// again is not kept: many small updates of one large record would hold that record as many times.
    replaced: HashMap<&'a str, (Option<Touched>, Option<Row>)>,
}

impl<'a> Overlay<'a> {
    pub fn new(base: &'a Snapshot) -> Overlay<'a> {
        Overlay { base, slots: Vec::new(), bytes: 0, touched: HashMap::new(), journal: None }
    }

    /// Begins a transaction.
    pub fn begin(&mut self) {
        self.journal = Some(Journal { before: (self.slots.len(), self.bytes), replaced: HashMap::new() });
    }

    /// Ends a transaction: what it did stays.
    pub fn keep(&mut self) {
        self.journal = None;
    }

    /// Ends a transaction: everything is as it was when it began.
    pub fn roll_back(&mut self) {
        let Some(Journal { before: (slots, bytes), replaced }) = self.journal.take() else { return };
        for (id, (touched, row)) in replaced {
            match touched {
                Some(touched) => {
                    self.slots[touched.slot] = row;
                    self.touched.insert(id, touched);
                }
                None => drop(self.touched.remove(id)),
            }
        }
        self.slots.truncate(slots);
        self.bytes = bytes;
    }

    /// Slots in use, at least as many as there will be rows.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the rows.
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the row that this id has so far.
    pub fn row_bytes(&self, id: &str) -> usize {
        let row = self.touched.get(id).and_then(|touched| self.slots[touched.slot].as_ref());
        row.map_or(0, Row::size_bytes)
    }

    /// Whether an earlier request of the batch wrote or deleted the record with this id.
    pub fn is_touched(&self, id: &str) -> bool {
        self.touched.contains_key(id)
    }

    /// The record with this id.
    pub fn current(&self, id: &str) -> CurrentRecord<'_> {
        match self.touched.get(id) {
            Some(Touched { slot, live: true, .. }) => match &self.slots[*slot] {
                Some(row) => CurrentRecord::Pending(row),
                None => CurrentRecord::Absent,
            },
            Some(_) => CurrentRecord::Absent,
            None => self.base.find(id).map_or(CurrentRecord::Absent, CurrentRecord::Stored),
        }
    }

    /// The id of a live record, as it is kept.
    pub fn kept_id(&self, id: &str) -> Option<&'a str> {
        match self.touched.get_key_value(id) {
            Some((id, touched)) => touched.live.then_some(*id),
            None => self.base.find(id).map(|at| self.base.chunk(at).id(at.row)),
        }
    }

    /// Takes the row of an id that is about to get another one.
    fn take(&mut self, id: &'a str) {
        let touched = self.touched.get(id).cloned();
        let row = touched.as_ref().and_then(|touched| self.slots[touched.slot].take());
        self.bytes -= row.as_ref().map_or(0, Row::size_bytes);
        if let Some(journal) = &mut self.journal {
            journal.replaced.entry(id).or_insert((touched, row));
        }
    }

    /// Makes `row` the record of its id. `id` is the row's.
    pub fn put(&mut self, id: &'a str, row: Row) {
        self.take(id);
        self.bytes += row.size_bytes();
        match self.touched.get_mut(id) {
            Some(touched) if touched.live => self.slots[touched.slot] = Some(row),
            Some(touched) => {
                // The record was deleted and inserted again: its place is behind what was inserted meanwhile.
                (touched.slot, touched.live) = (self.slots.len(), true);
                self.slots.push(Some(row));
            }
            None => {
                // A row put over a record of the snapshot keeps that record's position.
                let stored = row.position.is_some();
                self.touched.insert(id, Touched { slot: self.slots.len(), live: true, stored });
                self.slots.push(Some(row));
            }
        }
    }

    /// Deletes a live record.
    pub fn delete(&mut self, id: &'a str) {
        self.take(id);
        let stored = self.touched.get(id).is_none_or(|touched| touched.stored);
        let tombstone = stored.then(|| Row::delete(id));
        self.bytes += tombstone.as_ref().map_or(0, Row::size_bytes);
        match self.touched.get_mut(id) {
            Some(touched) => {
                touched.live = false;
                self.slots[touched.slot] = tombstone;
            }
            None => {
                self.touched.insert(id, Touched { slot: self.slots.len(), live: false, stored });
                self.slots.push(tombstone);
            }
        }
    }

    /// Of these rows of the snapshot, the records that the batch has not touched.
    pub fn untouched(&self, rows: impl Iterator<Item = (Address, RowRef)>) -> Vec<DeleteCandidate<'a>> {
        let candidates =
            rows.map(|(position, at)| DeleteCandidate { place: Ok(position), id: self.base.chunk(at).id(at.row) });
        candidates.filter(|candidate| self.touched.is_empty() || !self.touched.contains_key(candidate.id)).collect()
    }

    /// Records that the batch has put and that match. Where ids are given, only records with one of them, and no others
    /// are looked at.
    pub fn pending(
        &self,
        ids: Option<&HashSet<&'a str>>,
        filter: Option<&Filter>,
        interrupt: &Interrupt,
    ) -> Result<Vec<DeleteCandidate<'a>>> {
        let named = ids.into_iter().flatten().filter_map(|id| self.touched.get_key_value(id));
        let all = ids.is_none().then_some(&self.touched).into_iter().flatten();
        let live = named.chain(all).filter(|(_, touched)| touched.live);
        let rows = live.filter_map(|(id, touched)| Some((*id, touched.slot, self.slots[touched.slot].as_ref()?)));
        let mut pending = Vec::new();
        for (id, slot, row) in rows {
            if filter.map(|filter| matches(filter, row, interrupt)).transpose()?.unwrap_or(true) {
                pending.push(DeleteCandidate { place: row.position.ok_or(slot), id });
            }
        }
        Ok(pending)
    }

    /// The commit's rows, in order of insertion.
    pub fn into_rows(self) -> Vec<Row> {
        self.slots.into_iter().flatten().collect()
    }
}

fn matches(filter: &Filter, row: &Row, interrupt: &Interrupt) -> Result<bool> {
    interrupt.check()?;
    let metadata = row.metadata.as_deref().and_then(|text| Metadata::from_json_text(text).ok());
    let document = row.document.as_deref();
    Ok(row.op == RowOp::Put && filter.matches_within(&row.id, metadata.as_ref(), document, interrupt)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::estimate_tests::peak;
    use crate::record::Metric;

    #[test]
    fn of_what_is_pending_only_the_named_are_looked_at() {
        let base = Snapshot::empty(Metric::L2);
        let mut overlay = Overlay::new(&base);
        let ids: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        for id in &ids {
            overlay.put(id, Row { op: RowOp::Put, ..Row::delete(id.as_str()) });
        }
        overlay.delete("7");
        let named = HashSet::from(["5", "7", "other"]);
        let (pending, bytes) = peak(|| overlay.pending(Some(&named), None, &Interrupt::never()).unwrap());
        assert_eq!(pending, [DeleteCandidate { place: Err(5), id: "5" }]);
        assert!(bytes < 1_000, "{bytes} bytes for one record");
        assert_eq!(overlay.pending(None, None, &Interrupt::never()).unwrap().len(), 19_999);
        let bytes = |ids: &[String]| ids.iter().map(|id| Row::delete(id.as_str()).size_bytes()).sum::<usize>();
        assert_eq!(overlay.size_bytes(), bytes(&ids) - bytes(&ids[7..8]), "the deleted one was never stored");
    }
}
