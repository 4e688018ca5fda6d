//! The bodies of writes: one list per field, all as long as `ids`. The lists are checked as a whole before any record
//! is made of them, in the order of Chroma's server: first the values, then dimensions, then lengths and ids.

use serde::Deserialize;

use super::super::body::bodies;
use super::super::bounded::{List, Records as Listed};
use super::embeddings::EmbeddingColumn;
use super::error::ChromaError;
use super::metadata::{self, FieldValue, Fields};
use crate::record::{Record, RecordUpdate};

type Texts = Option<Vec<Option<String>>>;
/// Texts as a body lists them, one per record.
type TextRows = Option<List<Option<String>, Listed>>;
type FieldRows<const NULLS: bool> = Option<List<Option<Fields<NULLS>>, Listed>>;
/// Fields of metadata per record, whether or not null was a value.
type PlainRows = Option<Vec<Option<Vec<(String, FieldValue)>>>>;

/// `POST …/add`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "struct AddCollectionRecordsPayload")]
pub(super) struct AddBody {
    ids: List<String, Listed>,
    embeddings: EmbeddingColumn<false>,
    documents: TextRows,
    uris: TextRows,
    metadatas: FieldRows<false>,
}

/// `POST …/upsert`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "struct UpsertCollectionRecordsPayload")]
pub(super) struct UpsertBody {
    ids: List<String, Listed>,
    embeddings: EmbeddingColumn<false>,
    documents: TextRows,
    uris: TextRows,
    metadatas: FieldRows<true>,
}

/// `POST …/update`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "struct UpdateCollectionRecordsPayload")]
pub(super) struct ChromaUpdateBody {
    ids: List<String, Listed>,
    embeddings: Option<EmbeddingColumn<true>>,
    documents: TextRows,
    uris: TextRows,
    metadatas: FieldRows<true>,
}

bodies! { Records: AddBody, UpsertBody, ChromaUpdateBody; }

/// The lists that all three bodies have in common; absent lists are `None`.
#[derive(Debug)]
pub(super) struct RecordColumns {
    ids: Vec<String>,
    embeddings: Option<Result<Vec<Option<Vec<f32>>>, String>>,
    documents: Texts,
    uris: Texts,
    metadatas: PlainRows,
}

fn texts(rows: TextRows) -> Texts {
    rows.map(|rows| rows.0)
}

fn fields<const NULLS: bool>(rows: FieldRows<NULLS>) -> PlainRows {
    rows.map(|rows| rows.0.into_iter().map(|row| row.map(|fields| fields.0)).collect())
}

impl From<AddBody> for RecordColumns {
    fn from(AddBody { ids, embeddings, documents, uris, metadatas }: AddBody) -> RecordColumns {
        RecordColumns {
            ids: ids.0,
            embeddings: Some(embeddings.0),
            documents: texts(documents),
            uris: texts(uris),
            metadatas: fields(metadatas),
        }
    }
}

impl From<UpsertBody> for RecordColumns {
    fn from(UpsertBody { ids, embeddings, documents, uris, metadatas }: UpsertBody) -> RecordColumns {
        RecordColumns {
            ids: ids.0,
            embeddings: Some(embeddings.0),
            documents: texts(documents),
            uris: texts(uris),
            metadatas: fields(metadatas),
        }
    }
}

impl From<ChromaUpdateBody> for RecordColumns {
    fn from(ChromaUpdateBody { ids, embeddings, documents, uris, metadatas }: ChromaUpdateBody) -> RecordColumns {
        RecordColumns {
            ids: ids.0,
            embeddings: embeddings.map(|e| e.0),
            documents: texts(documents),
            uris: texts(uris),
            metadatas: fields(metadatas),
        }
    }
}

/// Refuses embeddings of different lengths, and of another length than the collection's, if that is fixed.
pub(super) fn check_dimensions<'e>(
    embeddings: impl Iterator<Item = &'e Vec<f32>>,
    dimension: Option<usize>,
) -> Result<(), ChromaError> {
    let mut lengths = embeddings.map(Vec::len);
    let Some(first) = lengths.next() else { return Ok(()) };
    if lengths.any(|length| length != first) {
        return Err(ChromaError::invalid("Inconsistent dimensions in provided embeddings"));
    }
    match dimension.filter(|dimension| *dimension != first) {
        Some(dimension) => Err(ChromaError::dimension(dimension, first)),
        None => Ok(()),
    }
}

impl RecordColumns {
    /// The columns, where an empty one counts as absent beside ids. `embeddings`: that of embeddings, too.
    pub(super) fn without_empty(mut self, embeddings: bool) -> RecordColumns {
        if !self.ids.is_empty() {
            let absent = |column: &Result<Vec<_>, String>| embeddings && column.as_ref().is_ok_and(Vec::is_empty);
            self.embeddings = self.embeddings.filter(|column| !absent(column));
            self.documents = self.documents.filter(|rows| !rows.is_empty());
            self.uris = self.uris.filter(|rows| !rows.is_empty());
            self.metadatas = self.metadatas.filter(|rows| !rows.is_empty());
        }
        self
    }

    /// How many ids there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The length of the embeddings, if there are any.
    pub(super) fn dimension(&self) -> Option<usize> {
        self.embeddings().next().map(Vec::len)
    }

    fn embeddings(&self) -> impl Iterator<Item = &Vec<f32>> {
        self.embeddings.iter().flat_map(|column| column.iter().flatten()).flatten()
    }

    /// Refuses columns that cannot be written to a collection of this dimension.
    pub(super) fn check(&self, dimension: Option<usize>) -> Result<(), ChromaError> {
        if let Some(Err(fault)) = &self.embeddings {
            return Err(ChromaError::invalid(fault));
        }
        let faults = self.faults();
        if !faults.is_empty() {
            return Err(ChromaError::validation(&faults));
        }
        check_dimensions(self.embeddings(), dimension)?;
        let embeddings = self.embeddings.as_ref().map(|column| column.as_ref().map_or(0, Vec::len));
        let lengths = [
            embeddings,
            self.documents.as_ref().map(Vec::len),
            self.uris.as_ref().map(Vec::len),
            self.metadatas.as_ref().map(Vec::len),
        ];
        if lengths.into_iter().flatten().any(|length| length != self.ids.len()) {
            return Err(ChromaError::invalid("Inconsistent number of IDs, embeddings, documents, URIs and metadatas"));
        }
        if self.ids.iter().any(String::is_empty) {
            return Err(ChromaError::invalid("Empty ID, ID must have at least one character"));
        }
        Ok(())
    }

    /// The faults of the values themselves.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.embeddings().any(Vec::is_empty) {
            faults.push("embeddings: Each embedding must have at least 1 dimension".to_owned());
        } else if self.embeddings().flatten().any(|x| !x.is_finite()) {
            faults.push("embeddings: Embeddings must not contain NaN or Infinity values".to_owned());
        }
        let mut rows = self.metadatas.iter().flatten().enumerate();
        if let Some((i, _)) = rows.find(|(_, row)| row.as_ref().is_some_and(|fields| !metadata::is_valid(fields))) {
            faults.push(format!("metadatas: Invalid metadata at index {i}"));
        }
        faults
    }

    /// New records. The columns must have been checked.
    pub(super) fn into_records(self) -> Vec<Record> {
        let row = |row: RecordRow| {
            let document = row.document;
            let metadata = row.fields.and_then(metadata::stored);
            Record { id: row.id, embedding: row.embedding.unwrap_or_default(), document, uri: row.uri, metadata }
        };
        self.into_rows().map(row).collect()
    }

    /// Changes of records. The columns must have been checked.
    pub(super) fn into_updates(self) -> Vec<RecordUpdate> {
        let row = |row: RecordRow| RecordUpdate {
            id: row.id,
            embedding: row.embedding,
            document: row.document,
            uri: row.uri,
            metadata: row.fields.map(metadata::patch),
        };
        self.into_rows().map(row).collect()
    }

    fn into_rows(self) -> impl Iterator<Item = RecordRow> {
        let mut embeddings = self.embeddings.and_then(Result::ok).unwrap_or_default().into_iter();
        let mut documents = self.documents.unwrap_or_default().into_iter();
        let mut uris = self.uris.unwrap_or_default().into_iter();
        let mut metadatas = self.metadatas.unwrap_or_default().into_iter();
        self.ids.into_iter().map(move |id| {
            let mut fields = metadatas.next().flatten();
            let hidden = fields.as_mut().and_then(metadata::take_document);
            let document = documents.next().flatten().or(hidden);
            RecordRow { id, embedding: embeddings.next().flatten(), document, uri: uris.next().flatten(), fields }
        })
    }
}

/// One record across the columns.
struct RecordRow {
    id: String,
    embedding: Option<Vec<f32>>,
    document: Option<String>,
    uri: Option<String>,
    fields: Option<Vec<(String, FieldValue)>>,
}
