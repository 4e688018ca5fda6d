//! What a collection should be, told by something simpler than the store: a `BTreeMap` that folds
//! commits, and the meaning of each request written down a second time. Invariant: nothing here is
//! shared with the store but the decoded formats.

use std::collections::BTreeMap;

use drumlin::answers::Found;
use drumlin::testing::format::{Commit, CommitKind, RowOp, Rows};
use drumlin::{Filter, MetaValue, Metadata, Record, RecordUpdate, Selection, Write};

/// A record as the model holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub embedding: Vec<f32>,
    pub document: Option<String>,
    pub metadata: Option<Metadata>,
    /// Where it is listed: the address of the row that inserted it.
    pub position: u64,
}

/// A collection at one version.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    pub records: BTreeMap<String, Held>,
    pub dimension: Option<usize>,
    pub dropped: bool,
}

/// A write request in words that the model understands.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Add(Vec<Record>),
    Upsert(Vec<Record>),
    /// Sets embedding (where given) and document of these ids.
    Update(Vec<(String, Option<Vec<f32>>, String)>),
    DeleteIds(Vec<String>),
    /// Deletes the records whose metadata say this `kind`.
    DeleteKind(i64),
}

/// The key of the metadata that deletes select by.
pub const KIND: &str = "kind";

impl Change {
    /// The request as the store takes it.
    pub fn request(&self) -> Write {
        let by_ids = |ids: &[String]| Selection { ids: Some(ids.to_vec()), ..Selection::default() };
        let update = |(id, embedding, document): &(String, Option<Vec<f32>>, String)| RecordUpdate {
            id: id.clone(),
            embedding: embedding.clone(),
            document: Some(document.clone()),
            ..RecordUpdate::default()
        };
        match self {
            Change::Add(records) => Write::Add(records.clone()),
            Change::Upsert(records) => Write::Upsert(records.clone()),
            Change::Update(updates) => Write::Update(updates.iter().map(update).collect()),
            Change::DeleteIds(ids) => Write::Delete(by_ids(ids)),
            Change::DeleteKind(kind) => {
                Write::Delete(Selection { filter: Some(Filter::eq(KIND, *kind)), ..Selection::default() })
            }
        }
    }

    /// The dimension of its embeddings, if it has any.
    pub fn dimension(&self) -> Option<usize> {
        match self {
            Change::Add(records) | Change::Upsert(records) => records.first().map(|r| r.embedding.len()),
            Change::Update(updates) => updates.iter().find_map(|(_, embedding, _)| embedding.as_ref().map(Vec::len)),
            Change::DeleteIds(_) | Change::DeleteKind(_) => None,
        }
    }

    /// Whether `row` of a commit could come of it; `token` is the document of the request's rows.
    pub fn explains(&self, op: RowOp, id: &str, document: Option<&str>, token: &str) -> bool {
        match (self, op) {
            (Change::Add(records) | Change::Upsert(records), RowOp::Put) => {
                document == Some(token) && records.iter().any(|r| r.id == id)
            }
            (Change::Update(updates), RowOp::Put) => document == Some(token) && updates.iter().any(|(i, ..)| i == id),
            (Change::DeleteIds(ids), RowOp::Delete) => ids.iter().any(|i| i == id),
            (Change::DeleteKind(_), RowOp::Delete) => true,
            _ => false,
        }
    }
}

fn kind_of(held: &Held) -> Option<&MetaValue> {
    held.metadata.as_ref().and_then(|m| m.0.get(KIND))
}

impl Model {
    /// Does what the request means; how many records it applied to and how many it left alone.
    /// `next_position` numbers new records.
    pub fn change(&mut self, change: &Change, next_position: &mut u64) -> (usize, usize) {
        match change {
            Change::Add(records) => {
                let applied = records.iter().filter(|r| self.insert(r, false, next_position)).count();
                (applied, records.len() - applied)
            }
            Change::Upsert(records) => {
                records.iter().for_each(|r| {
                    self.insert(r, true, next_position);
                });
                (records.len(), 0)
            }
            Change::Update(updates) => {
                let applied = updates.iter().filter(|(id, embedding, document)| {
                    let Some(held) = self.records.get_mut(id) else { return false };
                    held.embedding = embedding.clone().unwrap_or_else(|| held.embedding.clone());
                    held.document = Some(document.clone());
                    true
                });
                let applied = applied.count();
                (applied, updates.len() - applied)
            }
            Change::DeleteIds(ids) => {
                let applied = ids.iter().filter(|id| self.records.remove(*id).is_some()).count();
                (applied, ids.len() - applied)
            }
            Change::DeleteKind(kind) => {
                let before = self.records.len();
                self.records.retain(|_, held| kind_of(held) != Some(&MetaValue::Int(*kind)));
                (before - self.records.len(), 0)
            }
        }
    }

    fn insert(&mut self, record: &Record, replace: bool, next_position: &mut u64) -> bool {
        let old = self.records.get(&record.id).map(|held| held.position);
        if old.is_some() && !replace {
            return false;
        }
        let position = old.unwrap_or_else(|| {
            *next_position += 1;
            *next_position
        });
        self.dimension.get_or_insert(record.embedding.len());
        let (embedding, document, metadata) =
            (record.embedding.clone(), record.document.clone(), record.metadata.clone());
        self.records.insert(record.id.clone(), Held { embedding, document, metadata, position });
        true
    }

    /// Folds in a commit as it stands in the log.
    pub fn commit(&mut self, commit: &Commit) {
        let first = commit.header.version.0 << 24;
        let config = commit.header.config.as_ref();
        self.dimension = config.and_then(|config| config.dimension).or(self.dimension);
        if commit.header.kind == CommitKind::Drop {
            self.dropped = true;
        }
        self.rows(&commit.rows, |row| first + row as u64);
    }

    /// Folds in rows; `address` gives the address of each.
    pub fn rows(&mut self, rows: &Rows, address: impl Fn(usize) -> u64) {
        let mut embeddings = rows.embeddings.values.chunks(rows.embeddings.dim.max(1));
        for (row, op) in rows.ops.iter().enumerate() {
            let has = rows.embeddings.present.as_ref().is_none_or(|present| present[row]);
            let embedding = if has { embeddings.next().unwrap_or_default().to_vec() } else { Vec::new() };
            let id = rows.id(row).to_owned();
            let inserted = rows.positions.iter().nth(row).flatten();
            let position = inserted.unwrap_or_else(|| address(row));
            let document = Rows::text(&rows.documents, row).map(str::to_owned);
            let metadata = Rows::text(&rows.metadatas, row).map(|text| Metadata::from_json_text(text).unwrap());
            match op {
                RowOp::Put => drop(self.records.insert(id, Held { embedding, document, metadata, position })),
                RowOp::Delete => drop(self.records.remove(&id)),
            }
        }
    }

    /// All records as a `get` answers them.
    pub fn listed(&self) -> Vec<Found> {
        let mut all: Vec<(&String, &Held)> = self.records.iter().collect();
        all.sort_by_key(|(_, held)| held.position);
        let found = |(id, held): (&String, &Held)| Found {
            id: id.clone(),
            embedding: Some(held.embedding.clone()),
            document: held.document.clone(),
            uri: None,
            metadata: held.metadata.clone(),
        };
        all.into_iter().map(found).collect()
    }

    /// The ids of the `k` records nearest to `query` by squared Euclidean distance, nearest first.
    pub fn nearest(&self, query: &[f32], k: usize) -> Vec<(String, f32)> {
        let distance = |held: &Held| held.embedding.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let mut all: Vec<(String, f32)> = self.records.iter().map(|(id, held)| (id.clone(), distance(held))).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }
}
