//! A change of a collection as its stream takes it: what it writes, and how much.
//! Invariant: a change never takes more memory than its `growth` says.

use crate::collection::read::select::Matched;
use crate::collection::request::{Guard, Write};
use crate::record::{MetaValue, Metadata, MetadataPatch, Record, RecordUpdate};
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

/// Bytes of a record's row beside its texts and embedding: addresses, offsets, and its slot in the table of ids.
const ROW_BYTES: u64 = 128;
/// The least bytes of a commit, which is an object of its own until it is flushed.
const COMMIT_BYTES: u64 = 8 << 10;

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
                Weight { rows: records.len(), bytes: records.iter().map(record_bytes).sum() }
            }
            Write::Update(updates) | Write::Merge(updates) => {
                Weight { rows: updates.len(), bytes: updates.iter().map(update_bytes).sum() }
            }
            Write::Delete(selection) => {
                let ids = selection.ids.as_deref().unwrap_or_default();
                Weight { rows: ids.len(), bytes: ids.iter().map(|id| id.len() + 16).sum() }
            }
        }
    }

    /// Bytes of memory that the change may take, including the room to resolve and encode it. `None` if it adds
    /// nothing.
    ///
    /// At most, its records exist three times at once: as they came, as rows, and in the commit's object, which stays
    /// until it is flushed. A graph takes a quarter of an embedding, and the neighbours.
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
        Some(bytes * 3 + bytes / 4 + rows * 2 * ROW_BYTES + COMMIT_BYTES)
    }
}

fn record_bytes(record: &Record) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let metadata = record.metadata.as_ref().map_or(0, |Metadata(map)| map.iter().map(entry_bytes).sum());
    record.embedding.len() * 4 + record.id.len() + text(&record.document) + text(&record.uri) + metadata + 16
}

fn update_bytes(update: &RecordUpdate) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let entries = |patch: &MetadataPatch| {
        patch.0.iter().map(|(key, value)| value.as_ref().map_or(key.len(), |value| entry_bytes((key, value)))).sum()
    };
    let metadata: usize = update.metadata.as_ref().map_or(0, entries);
    let embedding = update.embedding.as_ref().map_or(0, |e| e.len() * 4);
    embedding + update.id.len() + text(&update.document) + text(&update.uri) + metadata + 16
}

/// Approximate bytes of a metadata entry as JSON text.
fn entry_bytes((key, value): (&String, &MetaValue)) -> usize {
    let value = match value {
        MetaValue::Bool(_) => 5,
        MetaValue::Int(_) | MetaValue::Float(_) => 12,
        MetaValue::Str(text) => text.len() + 2,
        MetaValue::Bools(list) => list.len() * 6,
        MetaValue::Ints(list) => list.len() * 12,
        MetaValue::Floats(list) => list.len() * 12,
        MetaValue::Strs(list) => list.iter().map(|text| text.len() + 3).sum(),
    };
    key.len() + 4 + value
}
