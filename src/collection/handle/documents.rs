//! Documents of a collection that splits them: on the way in they become parts with embeddings, and reads that name a
//! document find its parts.
//! Invariant: nothing is stored in such a collection but parts.

use std::collections::HashSet;
use std::ops::Range;

use super::Collection;
use crate::collection::estimate;
use crate::collection::read::select::Matched;
use crate::collection::request::documents::{
    DocumentUpdate, DocumentWrite, SplitDocument, check_keys, is_part, part_id, split,
};
use crate::collection::request::validate::{check_bytes, check_id};
use crate::collection::request::{EmbedRequest, TextRole, Write};
use crate::collection::state::snapshot::Snapshot;
use crate::collection::write::change::Change;
use crate::error::{Error, Result};
use crate::record::{Record, RecordUpdate};
use crate::text::{SplitUnit, Splitting};

impl Collection {
    /// The write as a change of documents. Parts that come as they are stored, as in a copy, stay records.
    pub(super) async fn change_of_documents(&self, splitting: &Splitting, write: Write) -> Result<Change> {
        splitting.check()?;
        let documents = match write {
            Write::Add(records) if records.iter().any(is_part) => {
                return parts_alone(records).map(|parts| Change::Write(Write::Add(parts)));
            }
            Write::Upsert(records) if records.iter().any(is_part) => {
                return parts_alone(records).map(|parts| Change::Write(Write::Upsert(parts)));
            }
            Write::Add(records) => DocumentWrite::Add(self.split_all(splitting, records).await?),
            Write::Upsert(records) => DocumentWrite::Upsert(self.split_all(splitting, records).await?),
            Write::Update(updates) => DocumentWrite::Update(self.split_updates(splitting, updates).await?),
            Write::Merge(_) => return Err(self.splits()),
            Write::Delete(selection) => DocumentWrite::Delete(selection),
        };
        Ok(Change::Documents(self.with_part_embeddings(documents).await?, Matched::default()))
    }

    /// The refusal of what only records can have.
    pub(super) fn splits(&self) -> Error {
        Error::invalid(format!(
            "collection {:?} splits documents: expected a document without an embedding under an id, and no transaction; \
             add, upsert, update and delete of the native API take it",
            self.name()
        ))
    }

    async fn split_all(&self, splitting: &Splitting, records: Vec<Record>) -> Result<Vec<SplitDocument>> {
        let limits = &self.inner.surroundings.limits;
        for (i, record) in records.iter().enumerate() {
            if !record.embedding.is_empty() {
                return Err(self.splits());
            }
            check_id(&format_args!("records[{i}].id"), &record.id, limits)?;
            check_keys(i, record.metadata.iter().flat_map(|metadata| metadata.0.keys()))?;
        }
        let texts = records.iter().enumerate().map(|(i, record)| {
            record.document.clone().ok_or_else(|| {
                Error::invalid(format!("records[{i}].document: expected a text, as this collection splits documents"))
            })
        });
        let ranges = self.ranges(splitting, texts.collect::<Result<_>>()?).await?;
        // IMPORTANT: before the parts are made. Each has the metadata and the uri of its document.
        let sizes = records.iter().zip(&ranges).map(|(record, ranges)| {
            let text = record.document.as_ref().map_or(0, String::len);
            let of_part = estimate::record(record).saturating_sub(text);
            ranges.len().saturating_mul(of_part).saturating_add(text)
        });
        check_bytes(sizes.fold(0, usize::saturating_add), limits)?;
        let documents = records.into_iter().zip(ranges);
        Ok(documents.map(|(record, ranges)| SplitDocument { parts: split(&record, &ranges), id: record.id }).collect())
    }

    async fn split_updates(&self, splitting: &Splitting, updates: Vec<RecordUpdate>) -> Result<Vec<DocumentUpdate>> {
        for (i, update) in updates.iter().enumerate() {
            if update.embedding.is_some() {
                return Err(self.splits());
            }
            check_keys(i, update.metadata.iter().flat_map(|patch| patch.0.keys()))?;
        }
        let texts = updates.iter().filter_map(|update| update.document.clone()).collect();
        let mut ranges = self.ranges(splitting, texts).await?.into_iter();
        let mut split_update = |mut change: RecordUpdate| {
            let parts = change.document.take().map(|text| {
                let document = Record { document: Some(text), ..Record::new(change.id.as_str(), Vec::new()) };
                split(&document, &ranges.next().unwrap_or_default())
            });
            DocumentUpdate { change, parts }
        };
        Ok(updates.into_iter().map(&mut split_update).collect())
    }

    /// The parts of each text, as ranges of its bytes.
    async fn ranges(&self, splitting: &Splitting, texts: Vec<String>) -> Result<Vec<Vec<Range<usize>>>> {
        self.check_texts(&texts)?;
        let ends = match splitting.by {
            SplitUnit::Tokens if !texts.is_empty() => {
                let request = EmbedRequest {
                    embedder: self.embedder()?,
                    role: TextRole::Passage,
                    texts: texts.clone(),
                    dimension: self.dimension(),
                };
                (self.inner.surroundings.hooks.token_ends)(request).await?
            }
            _ => Vec::new(),
        };
        let (splitting, most) = (splitting.clone(), self.inner.surroundings.limits.batch_records);
        let cut = move || {
            let none = Vec::new();
            let parts = texts.iter().enumerate().map(|(i, text)| splitting.parts(text, ends.get(i).unwrap_or(&none)));
            parts.collect::<Vec<_>>()
        };
        let ranges = crate::compute::off_thread(cut).await?;
        let count: usize = ranges.iter().map(Vec::len).sum();
        match count > most {
            true => Err(Error::limit(format!(
                "records: expected documents of at most {most} parts together (limits.batch_records), got {count}; send \
                 fewer documents at once, or make a collection with larger parts"
            ))
            .of_setting("limits.batch_records")),
            false => Ok(ranges),
        }
    }

    async fn with_part_embeddings(&self, mut documents: DocumentWrite) -> Result<DocumentWrite> {
        let Some(embedder) = self.identity().embedder.clone() else { return Ok(documents) };
        let texts: Vec<String> = documents.parts().filter_map(|part| part.document.clone()).collect();
        let embeddings = self.embed_for_write(embedder, texts).await?;
        for (part, embedding) in documents.parts_mut().zip(embeddings) {
            part.embedding = embedding;
        }
        Ok(documents)
    }

    /// The ids of a read with those of the parts in place of those of documents. There are no more than records, for
    /// each document counts once.
    pub(crate) fn ids_of_parts(&self, snapshot: &Snapshot, ids: Option<Vec<String>>) -> Option<Vec<String>> {
        let (Some(ids), Some(_)) = (&ids, &self.identity().splitting) else { return ids };
        let (mut named, mut expanded) = (HashSet::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        for id in ids.iter().filter(|id| named.insert(id.as_str())) {
            let before = expanded.len();
            expanded.extend((0..).map(|part| part_id(id, part)).take_while(|part| snapshot.find(part).is_some()));
            if expanded.len() == before {
                expanded.push(id.clone());
            }
        }
        Some(expanded)
    }
}

/// Records that are all parts.
fn parts_alone(records: Vec<Record>) -> Result<Vec<Record>> {
    match records.iter().position(|record| !is_part(record)) {
        None => Ok(records),
        Some(i) => Err(Error::invalid(format!(
            "records[{i}]: expected a part of a document like the others: its id is document_id, \"#\" and part, both of \
             which are in its metadata"
        ))),
    }
}
