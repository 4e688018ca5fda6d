//! Documents that are split into parts, and writes of them. A part is a record: its id is the document's with `#` and
//! its number, and its metadata is the document's with its place in the document.
//! Invariant: the parts of a document are numbered from 0 without a gap, so that they are found by their ids.

use std::ops::Range;

use super::Selection;
use crate::error::{Error, Result};
use crate::record::{MetaValue, Metadata, Record, RecordUpdate};

/// Metadata of a part: the id of its document.
pub const DOCUMENT_ID: &str = "document_id";
/// Metadata of a part: its number in its document, from 0.
pub const PART: &str = "part";
/// Metadata of a part: the characters of the document before it.
pub const START: &str = "start";

/// A write of whole documents. It is applied whole, in one commit, or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum DocumentWrite {
    /// Inserts documents; one that exists is skipped.
    Add(Vec<SplitDocument>),
    /// Inserts documents, or replaces all parts of those that exist.
    Upsert(Vec<SplitDocument>),
    /// Changes existing documents; unknown ones are skipped.
    Update(Vec<DocumentUpdate>),
    /// Deletes documents: those of the ids, and of these those with a part that matches.
    Delete(Selection),
}

/// A document in parts.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitDocument {
    /// The document's id.
    pub id: String,
    /// Its parts in order, at least one.
    pub parts: Vec<Record>,
}

/// A change of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentUpdate {
    /// What changes in every part: uri and metadata. The id is the document's.
    pub change: RecordUpdate,
    /// The parts of a new text. They have no metadata but their places.
    pub parts: Option<Vec<Record>>,
}

/// The id of a part.
pub fn part_id(document: &str, part: usize) -> String {
    format!("{document}#{part}")
}

/// The id of a part's document.
pub fn document_of_part(id: &str) -> &str {
    id.rsplit_once('#').map_or(id, |(document, _)| document)
}

/// Whether a record is a part, as one is stored.
pub fn is_part(record: &Record) -> bool {
    let Some(Metadata(entries)) = &record.metadata else { return false };
    match (entries.get(DOCUMENT_ID), entries.get(PART)) {
        (Some(MetaValue::Str(document)), Some(MetaValue::Int(part))) => {
            usize::try_from(*part).is_ok_and(|part| part_id(document, part) == record.id)
        }
        _ => false,
    }
}

/// Refuses metadata keys that parts have of their own.
pub fn check_keys<'k>(i: usize, mut keys: impl Iterator<Item = &'k String>) -> Result<()> {
    match keys.find(|key| [DOCUMENT_ID, PART, START].contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::invalid(format!(
            "records[{i}].metadata.{key}: expected another key, as documents of this collection are split, and their \
             parts have this one"
        ))),
    }
}

/// The parts of a text, without embeddings, each with the document's uri and metadata.
pub fn split(document: &Record, ranges: &[Range<usize>]) -> Vec<Record> {
    let text = document.document.as_deref().unwrap_or_default();
    let (mut counted, mut characters) = (0, 0);
    let parts = ranges.iter().enumerate().map(|(number, range)| {
        characters += text.get(counted..range.start).map_or(0, |between| between.chars().count());
        counted = range.start;
        let mut metadata = document.metadata.clone().unwrap_or_default();
        metadata.0.extend([
            (DOCUMENT_ID.to_owned(), MetaValue::from(document.id.as_str())),
            (PART.to_owned(), MetaValue::Int(number as i64)),
            (START.to_owned(), MetaValue::Int(characters as i64)),
        ]);
        Record {
            id: part_id(&document.id, number),
            embedding: Vec::new(),
            document: text.get(range.clone()).map(str::to_owned),
            uri: document.uri.clone(),
            metadata: Some(metadata),
        }
    });
    parts.collect()
}

impl DocumentWrite {
    /// The parts that it brings.
    pub fn parts(&self) -> impl Iterator<Item = &Record> {
        let (documents, updates): (&[SplitDocument], &[DocumentUpdate]) = match self {
            DocumentWrite::Add(documents) | DocumentWrite::Upsert(documents) => (documents, &[]),
            DocumentWrite::Update(updates) => (&[], updates),
            DocumentWrite::Delete(_) => (&[], &[]),
        };
        let updated = updates.iter().filter_map(|update| update.parts.as_ref()).flatten();
        documents.iter().flat_map(|document| &document.parts).chain(updated)
    }

    /// The parts that it brings, to be completed.
    pub fn parts_mut(&mut self) -> Box<dyn Iterator<Item = &mut Record> + Send + '_> {
        match self {
            DocumentWrite::Add(documents) | DocumentWrite::Upsert(documents) => {
                Box::new(documents.iter_mut().flat_map(|document| &mut document.parts))
            }
            DocumentWrite::Update(updates) => {
                Box::new(updates.iter_mut().filter_map(|update| update.parts.as_mut()).flatten())
            }
            DocumentWrite::Delete(_) => Box::new(std::iter::empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_know_their_document_and_where_they_begin_in_it() {
        let document = Record {
            id: "a#b".into(),
            embedding: Vec::new(),
            document: Some("Één. Twee. Drie.".into()),
            uri: Some("u".into()),
            metadata: Some(Metadata::from([("year", 2024)])),
        };
        let parts = split(&document, &[0..12, 7..18]);
        assert_eq!(parts.len(), 2);
        let last = parts.last().unwrap();
        assert_eq!(
            (last.id.as_str(), last.document.as_deref(), last.uri.as_deref()),
            ("a#b#1", Some("Twee. Drie."), Some("u"))
        );
        let metadata = last.metadata.as_ref().unwrap();
        assert_eq!(metadata.0.get(START), Some(&MetaValue::Int(5)));
        assert_eq!(metadata.0.get("year"), Some(&MetaValue::Int(2024)));
        assert!(parts.iter().all(is_part) && !is_part(&document));
        assert_eq!(document_of_part(&last.id), "a#b");
        assert!(
            check_keys(3, [&"part".to_owned()].into_iter()).unwrap_err().message().contains("records[3].metadata.part")
        );
    }

    #[test]
    fn a_record_is_a_part_only_under_the_id_of_one() {
        let of = |id: &str, document: &str, part: i64| {
            let metadata = Metadata::from([(DOCUMENT_ID, MetaValue::from(document)), (PART, MetaValue::Int(part))]);
            is_part(&Record::new(id, vec![1.0]).with_metadata(metadata))
        };
        assert!(of("d#3", "d", 3));
        assert!(!of("d#3", "d", 2) && !of("d", "d", 0) && !of("d#-1", "d", -1) && !of("e#0", "d", 0));
    }
}
