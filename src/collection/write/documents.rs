//! Writes of whole documents at their resolution. The parts of a document are found by their ids, at the version
//! before the slot that the commit takes, so the log decides between writers of all instances.
//! Invariant: a document has the parts of one write, all of them; a write that is refused leaves no trace.

use std::collections::HashSet;

use super::overlay::CurrentRecord;
use super::resolve::{Resolver, Staged, new_row, patched};
use crate::collection::read::select::Matched;
use crate::collection::request::documents::{DocumentUpdate, DocumentWrite, SplitDocument, document_of_part, part_id};
use crate::collection::request::validate::{
    check_bytes, check_count, check_metadata_text, check_records, check_selection, check_update,
};
use crate::collection::request::{Selection, WriteOutcome};
use crate::error::Result;
use crate::format::Row;
use crate::record::{Metadata, MetadataPatch, Record};

impl<'a> Resolver<'a> {
    pub(super) fn documents(&mut self, write: &'a DocumentWrite, matched: &Matched) -> Result<WriteOutcome> {
        check_count(write.parts().count(), self.limits)?;
        self.all_or_nothing(|resolver| match write {
            DocumentWrite::Add(documents) => resolver.put_documents(documents, false),
            DocumentWrite::Upsert(documents) => resolver.put_documents(documents, true),
            DocumentWrite::Update(updates) => resolver.update_documents(updates),
            DocumentWrite::Delete(selection) => resolver.delete_documents(selection, matched),
        })
    }

    /// Inserts documents. One that exists is replaced, or skipped.
    fn put_documents(&mut self, documents: &'a [SplitDocument], replace: bool) -> Result<WriteOutcome> {
        let mut outcome = WriteOutcome::default();
        for document in documents {
            let exists = !matches!(self.overlay.current(&part_id(&document.id, 0)), CurrentRecord::Absent);
            if exists && !replace {
                outcome.skipped += 1;
                continue;
            }
            let row = |part: &Record| Ok(new_row(part, part.metadata.as_ref().map(Metadata::to_json_text)));
            self.put_parts(&document.id, &document.parts, row)?;
            outcome.applied += 1;
        }
        Ok(outcome)
    }

    /// Makes these the parts of a document. `row` makes the row of a part.
    fn put_parts(&mut self, document: &str, parts: &'a [Record], row: impl Fn(&Record) -> Result<Row>) -> Result<()> {
        let dimension = check_records(parts, self.dimension, self.limits)?;
        for id in self.part_ids(document).into_iter().skip(parts.len()) {
            self.overlay.delete(id);
        }
        let (mut rows, mut bytes, staged) = (Vec::with_capacity(parts.len()), 0usize, Staged::default());
        for (i, part) in parts.iter().enumerate() {
            let mut row = row(part)?;
            check_metadata_text(i, row.metadata.as_deref(), self.limits)?;
            if let Some(origin) = self.origin(&staged, &part.id) {
                origin.inherit(&mut row);
            }
            bytes = bytes.saturating_add(row.size_bytes());
            check_bytes(bytes, self.limits)?;
            rows.push((part.id.as_str(), row));
        }
        self.put_all(rows, parts.len())?;
        self.learn(parts.iter().flat_map(|part| &part.metadata).flat_map(|metadata| &metadata.0));
        self.dimension = dimension;
        Ok(())
    }

    fn update_documents(&mut self, updates: &'a [DocumentUpdate]) -> Result<WriteOutcome> {
        check_count(updates.len(), self.limits)?;
        let mut outcome = WriteOutcome::default();
        for (i, update) in updates.iter().enumerate() {
            let change = &update.change;
            check_update(&format_args!("records[{i}]"), change, self.dimension, self.limits)?;
            let ids = self.part_ids(&change.id);
            let Some(first) = ids.first().and_then(|id| self.row(id)) else {
                outcome.skipped += 1;
                continue;
            };
            match &update.parts {
                Some(parts) => {
                    let uri = change.uri.as_ref().or(first.uri.as_ref());
                    let row = |part: &Record| {
                        let metadata = metadata_of(part, first.metadata.as_deref(), change.metadata.as_ref())?;
                        Ok(Row { uri: uri.cloned(), ..new_row(part, metadata) })
                    };
                    self.put_parts(&change.id, parts, row)?;
                    self.learn_patch(change);
                }
                None => self.change_parts(&ids, update, i)?,
            }
            outcome.applied += 1;
        }
        Ok(outcome)
    }

    /// Changes uri and metadata of every part.
    fn change_parts(&mut self, ids: &[&'a str], update: &'a DocumentUpdate, i: usize) -> Result<()> {
        let (mut rows, mut bytes) = (Vec::with_capacity(ids.len()), 0usize);
        for id in ids {
            let Some(row) = self.row(id) else { continue };
            let row = self.updated(row, &update.change, i)?;
            // A change of a few bytes makes whole records: they are not all made before they are found too large.
            bytes = bytes.saturating_add(row.size_bytes());
            check_bytes(bytes, self.limits)?;
            rows.push((*id, row));
        }
        let count = rows.len();
        self.put_all(rows, count)?;
        self.learn_patch(&update.change);
        Ok(())
    }

    fn delete_documents(&mut self, selection: &'a Selection, matched: &Matched) -> Result<WriteOutcome> {
        check_selection(selection, self.limits)?;
        let named: Option<HashSet<&str>> = selection.ids.as_ref().map(|ids| ids.iter().map(String::as_str).collect());
        let mut documents: Vec<&str> = Vec::new();
        let mut seen = HashSet::new();
        match (&selection.ids, &selection.filter) {
            (Some(ids), None) => documents.extend(ids.iter().map(String::as_str).filter(|id| seen.insert(*id))),
            (_, filter) => {
                let mut parts = self.selected((None, None), filter.as_ref(), matched)?;
                parts.sort_unstable();
                let wanted = |document: &str| named.as_ref().is_none_or(|named| named.contains(document));
                for part in parts {
                    // A part that came alone, as in a copy that was cut, has no document to go with.
                    let document = document_of_part(part.id);
                    let document = if self.is_document(document) { document } else { part.id };
                    if wanted(document) && seen.insert(document) {
                        documents.push(document);
                    }
                }
            }
        }
        let limit = selection.limit.unwrap_or(usize::MAX);
        let mut applied = 0;
        for document in documents {
            if applied == limit {
                break;
            }
            let mut parts = self.part_ids(document);
            if parts.is_empty() && !self.is_document(document_of_part(document)) {
                parts.extend(self.overlay.kept_id(document));
            }
            self.check_rows(parts.len())?;
            parts.iter().for_each(|id| self.overlay.delete(id));
            applied += usize::from(!parts.is_empty());
        }
        let skipped = named.map_or(0, |named| named.len().saturating_sub(applied));
        Ok(WriteOutcome { applied, skipped, ..WriteOutcome::default() })
    }

    fn is_document(&self, id: &str) -> bool {
        self.overlay.kept_id(&part_id(id, 0)).is_some()
    }

    /// The ids of a document's parts.
    fn part_ids(&self, document: &str) -> Vec<&'a str> {
        (0..).map_while(|part| self.overlay.kept_id(&part_id(document, part))).collect()
    }
}

/// The metadata of a new part of a document: what the document had, the change, and the part's place.
fn metadata_of(part: &Record, before: Option<&str>, change: Option<&MetadataPatch>) -> Result<Option<String>> {
    let mut patch = change.cloned().unwrap_or_default();
    let places = part.metadata.iter().flat_map(|metadata| &metadata.0);
    patch.0.extend(places.map(|(key, value)| (key.clone(), Some(value.clone()))));
    patched(before, &patch)
}
