//! Embeddings of texts, by the collection's embedder.
//! Invariant: a write reaches its stream with every embedding it will have. What the embedder refuses was not written.

use super::Collection;
#[cfg(feature = "server")]
use crate::collection::request::ScoreRequest;
use crate::collection::request::{EmbedRequest, Embedder, TextRole, Transaction, Write};
use crate::collection::write::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{Purpose, Reservation};
use crate::record::{Record, RecordUpdate};

impl Collection {
    /// What makes embeddings of texts here.
    ///
    /// # Errors
    /// `Invalid` if the collection has no embedder.
    pub fn embedder(&self) -> Result<Embedder> {
        self.identity().embedder.clone().ok_or_else(|| {
            Error::invalid(format!(
                "collection {:?} has no embedder: give embeddings instead of texts alone, or create a collection with \
                 embedder",
                self.name()
            ))
        })
    }

    /// The embeddings of texts, one for each, by the collection's embedder. The first use loads its model.
    ///
    /// # Errors
    /// `Invalid` if the collection has no embedder; `NotFound` if its model is not in the bucket; `NoRoom` if there is
    /// no memory for it; `Unavailable` if too many texts wait already.
    pub async fn embed(&self, texts: Vec<String>, role: TextRole) -> Result<Vec<Vec<f32>>> {
        let embedder = self.embedder()?;
        self.embed_with(embedder, texts, role).await
    }

    /// How well passages answer a query, by a cross-encoder in the bucket.
    #[cfg(feature = "server")]
    pub(crate) async fn scores(&self, request: ScoreRequest) -> Result<Vec<f32>> {
        match request.passages.is_empty() {
            true => Ok(Vec::new()),
            false => (self.inner.surroundings.hooks.score)(request).await,
        }
    }

    async fn embed_with(&self, embedder: Embedder, texts: Vec<String>, role: TextRole) -> Result<Vec<Vec<f32>>> {
        let count = texts.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        self.check_texts(&texts)?;
        let _room = self.room_to_embed(&texts)?;
        let dimension = self.dimension().filter(|dimension| *dimension > 0);
        let request = EmbedRequest { embedder, role, texts, dimension };
        let embeddings = (self.inner.surroundings.hooks.embed)(request).await?;
        match embeddings.len() == count {
            true => Ok(embeddings),
            false => Err(Error::internal(format!("expected {count} embeddings, got {}", embeddings.len()))),
        }
    }

    /// Refuses texts that are too long.
    pub(super) fn check_texts(&self, texts: &[String]) -> Result<()> {
        let limit = self.inner.surroundings.limits.document_bytes;
        match texts.iter().position(|text| text.len() > limit) {
            None => Ok(()),
            Some(i) => {
                let got = texts.get(i).map_or(0, String::len);
                let what = format!("texts[{i}]: expected at most {limit} bytes (limits.document_bytes), got {got}");
                Err(Error::limit(what).of_setting("limits.document_bytes"))
            }
        }
    }

    /// The embeddings of a write's texts.
    pub(super) async fn embed_for_write(&self, embedder: Embedder, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        self.embed_with(embedder, texts, TextRole::Passage).await.map_err(|error| match error.kind() {
            // Of a write, only its collection may be missing.
            ErrorKind::NotFound => Error::invalid(error.message().to_owned()),
            _ => error,
        })
    }

    /// Reserves memory for texts and their embeddings while these are made.
    fn room_to_embed(&self, texts: &[String]) -> Result<Option<Reservation>> {
        /// Where the dimension is not known yet.
        const DIMENSION: usize = 1024;
        let budget = &self.inner.surroundings.budget;
        if budget.limit_bytes().is_none() {
            return Ok(None);
        }
        let embedding = self.dimension().unwrap_or(DIMENSION).saturating_mul(size_of::<f32>());
        let need = texts.iter().map(|text| text.len().saturating_add(embedding) as u64).sum();
        let room = budget.reserve(need, Purpose::Work);
        room.map(Some).ok_or_else(|| budget.refusal("the embeddings of these texts", need, Purpose::Work))
    }

    /// The change that a write is: with embeddings of the documents that came without one, if the collection has an
    /// embedder, and with documents in parts, if it splits them.
    pub(crate) async fn completed(&self, write: Write) -> Result<CompletedWrite> {
        if let Some(splitting) = self.identity().splitting.clone() {
            let change = self.change_of_documents(&splitting, write).await?;
            return Ok(CompletedWrite { change, came_without: Vec::new() });
        }
        let came_without = came_without(&write);
        Ok(CompletedWrite { change: Change::Write(self.with_embeddings(write).await?), came_without })
    }

    async fn with_embeddings(&self, mut write: Write) -> Result<Write> {
        let Some(embedder) = self.identity().embedder.clone() else { return self.complete_write(write) };
        // An optional embedder may be another one than its user's own: what a record has is not changed by it.
        let changes = matches!(write, Write::Update(_) | Write::Merge(_));
        if self.dimension() == Some(0) || (embedder.optional && changes) {
            return Ok(write);
        }
        let documents = texts_of(&write)?;
        if documents.is_empty() {
            return Ok(write);
        }
        let embeddings = self.embed_for_write(embedder, documents).await?;
        fill(&mut write, embeddings);
        Ok(write)
    }

    /// Refuses texts alone, where no embedder makes embeddings of them.
    fn complete_write(&self, write: Write) -> Result<Write> {
        let (Write::Add(records) | Write::Upsert(records)) = &write else { return Ok(write) };
        match records.iter().position(|record| record.embedding.is_empty()) {
            Some(i) if self.dimension() != Some(0) => Err(Error::invalid(format!(
                "records[{i}].embedding: expected numbers, got none: collection {:?} has no embedder that makes them of \
                 documents",
                self.name()
            ))),
            _ => Ok(write),
        }
    }

    /// The transaction with embeddings, as [`completed`](Self::completed) makes them.
    pub(super) async fn transaction_with_embeddings(&self, mut transaction: Transaction) -> Result<Transaction> {
        if self.identity().splitting.is_some() {
            return Err(self.splits());
        }
        let writes = std::mem::take(&mut transaction.writes);
        for write in writes {
            transaction.writes.push(self.with_embeddings(write).await?);
        }
        Ok(transaction)
    }
}

/// A write as its collection takes it, with what was made for it.
#[derive(Debug)]
pub(crate) struct CompletedWrite {
    /// The change.
    pub(crate) change: Change,
    /// The places of the records that came without an embedding.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) came_without: Vec<usize>,
}

fn came_without(write: &Write) -> Vec<usize> {
    let places = |lack: &mut dyn Iterator<Item = bool>| {
        lack.enumerate().filter(|(_, lacks)| *lacks).map(|(place, _)| place).collect()
    };
    match write {
        Write::Add(records) | Write::Upsert(records) => {
            places(&mut records.iter().map(|record| record.embedding.is_empty()))
        }
        Write::Update(updates) | Write::Merge(updates) => {
            places(&mut updates.iter().map(|update| update.embedding.is_none()))
        }
        Write::Delete(_) => Vec::new(),
    }
}

/// The write as it came, without the embeddings that were made for records at these places.
#[cfg(feature = "server")]
pub(crate) fn without_embeddings(mut write: Write, places: &[usize]) -> Write {
    for place in places {
        match &mut write {
            Write::Add(records) | Write::Upsert(records) => {
                records.get_mut(*place).into_iter().for_each(|record| record.embedding.clear());
            }
            Write::Update(updates) | Write::Merge(updates) => {
                updates.get_mut(*place).into_iter().for_each(|update| update.embedding = None);
            }
            Write::Delete(_) => {}
        }
    }
    write
}

/// The documents that need an embedding, in the order of their records.
fn texts_of(write: &Write) -> Result<Vec<String>> {
    match write {
        Write::Add(records) | Write::Upsert(records) => {
            let needed = records.iter().enumerate().filter(|(_, record)| record.embedding.is_empty());
            needed.map(|(i, record)| document_of(i, record)).collect()
        }
        Write::Update(updates) | Write::Merge(updates) => Ok(updates.iter().filter_map(changed).cloned().collect()),
        Write::Delete(_) => Ok(Vec::new()),
    }
}

fn document_of(i: usize, record: &Record) -> Result<String> {
    record.document.clone().ok_or_else(|| {
        Error::invalid(format!("records[{i}]: expected an embedding, or a document that the embedder can make one of"))
    })
}

/// The new document of an update that does not bring its embedding.
fn changed(update: &RecordUpdate) -> Option<&String> {
    update.document.as_ref().filter(|_| update.embedding.is_none())
}

/// Puts embeddings where [`texts_of`] found that they are needed.
fn fill(write: &mut Write, embeddings: Vec<Vec<f32>>) {
    let mut made = embeddings.into_iter();
    match write {
        Write::Add(records) | Write::Upsert(records) => {
            for record in records.iter_mut().filter(|record| record.embedding.is_empty()) {
                record.embedding = made.next().unwrap_or_default();
            }
        }
        Write::Update(updates) | Write::Merge(updates) => {
            for update in updates.iter_mut().filter(|update| changed(update).is_some()) {
                update.embedding = made.next();
            }
        }
        Write::Delete(_) => {}
    }
}
