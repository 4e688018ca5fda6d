//! The difference between a collection and a copy of it whose embeddings are of another kind: what to write to the copy
//! so that it has the same records in the same order.
//! Invariant: a copy without a difference has the same ids, documents, uris and metadata in the same order.

use super::insertion_order::in_order;
use super::select::Selected;
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::record::{Metadata, Record};

/// Rows between two looks whether the work is still wanted.
const ROWS_AT_ONCE: usize = 1024;

/// What a copy lacks.
#[derive(Debug, Default)]
pub struct Difference {
    /// Ids that the original does not have, or has at a later place.
    pub surplus: Vec<String>,
    /// Rows of the original whose records are missing or differ, in insertion order.
    pub missing: Vec<RowRef>,
    /// Whether there are more.
    pub more: bool,
}

impl Snapshot {
    /// What `copy` lacks to have the records of this snapshot; of what is missing, the first `limit` records. A record
    /// that was deleted and added again is at a later place, so the copy has to delete it, too.
    pub fn difference(&self, copy: &Snapshot, limit: usize, interrupt: &Interrupt) -> Result<Difference> {
        self.check_alive()?;
        let mut found = Difference::default();
        let mut theirs = in_order(copy, &Selected::All).map(|(_, at)| at).peekable();
        for (count, (_, at)) in in_order(self, &Selected::All).enumerate() {
            if count % ROWS_AT_ONCE == 0 {
                interrupt.check()?;
            }
            if found.missing.len() >= limit {
                found.more = true;
                return Ok(found);
            }
            let id = self.chunk(at).id(at.row);
            while let Some(other) = theirs.next_if(|other| copy.chunk(*other).id(other.row) != id) {
                found.surplus.push(copy.chunk(other).id(other.row).to_owned());
            }
            let same = theirs.next().is_some_and(|other| self.is_like(at, copy, other));
            if !same {
                found.missing.push(at);
            }
        }
        found.surplus.extend(theirs.map(|other| copy.chunk(other).id(other.row).to_owned()));
        Ok(found)
    }

    /// Whether two records differ in nothing but their embeddings.
    fn is_like(&self, at: RowRef, copy: &Snapshot, other: RowRef) -> bool {
        let (ours, theirs) = (self.chunk(at), copy.chunk(other));
        ours.document(at.row) == theirs.document(other.row)
            && ours.uri(at.row) == theirs.uri(other.row)
            && same_metadata(ours.metadata(at.row), theirs.metadata(other.row))
    }

    /// How many records have no document.
    pub fn without_document(&self, interrupt: &Interrupt) -> Result<u64> {
        let mut count = 0;
        for view in &self.chunks {
            interrupt.check()?;
            count += view.alive.iter().filter(|row| view.chunk.document(*row).is_none()).count() as u64;
        }
        Ok(count)
    }

    /// Bytes of a record's document.
    pub fn document_bytes(&self, at: RowRef) -> usize {
        self.chunk(at).document(at.row).map_or(0, str::len)
    }

    /// A record without its embedding.
    pub fn record_to_embed(&self, at: RowRef) -> Result<Record> {
        let (chunk, row) = (self.chunk(at), at.row);
        let unreadable = |e: Error| Error::corrupted(format!("record {:?}: stored metadata: {e}", chunk.id(row)));
        Ok(Record {
            id: chunk.id(row).to_owned(),
            embedding: Vec::new(),
            document: chunk.document(row).map(str::to_owned),
            uri: chunk.uri(row).map(str::to_owned),
            metadata: chunk.metadata(row).map(Metadata::from_json_text).transpose().map_err(unreadable)?,
        })
    }
}

/// Equality of stored metadata. An earlier version may have written the same values as another text.
fn same_metadata(ours: Option<&str>, theirs: Option<&str>) -> bool {
    let read = |text: &str| Metadata::from_json_text(text).map(|metadata| metadata.to_json_text());
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours == theirs || read(ours).is_ok_and(|ours| ours == theirs),
        (ours, theirs) => ours == theirs,
    }
}
