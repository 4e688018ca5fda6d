//! The catalog: a stream whose records are the tenants, databases and collections (protocol section 2).
//! Invariant: at most one live collection per (tenant, database, name), because a create is checked
//! against the state right before its own commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::Array;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::collection::request::{IndexSettings, Scope};
use crate::error::{Error, Kind, Result};
use crate::format::head::GraphEntry;
use crate::format::{Commit, CommitKind, FormatError, Op, Row, Rows};
use crate::record::{Address, CollectionId, Metric, Version};
use crate::stream::state::{Resolution, State, Weight};

/// Whether a collection's record stands for a live collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// The name is taken.
    Live,
    /// The name is free; the record stays until the objects are deleted.
    Dropped,
}

/// What is fixed about a collection when it is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// How distance is measured.
    pub metric: Metric,
    /// Fixed at creation, or by the first record.
    pub dimension: Option<usize>,
    /// How graphs are built.
    #[serde(default)]
    pub index: IndexSettings,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A collection in the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    /// The tenant's name.
    pub tenant: String,
    /// The database's name.
    pub database: String,
    /// Unique among the live collections of the database.
    pub name: String,
    /// Values remembered with the collection, or null.
    pub metadata: Option<Map<String, Value>>,
    /// Metric, dimension, index.
    pub configuration: Configuration,
    /// Live or dropped.
    pub state: RecordState,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl CollectionRecord {
    /// Where the collection belongs.
    pub fn scope(&self) -> Scope {
        Scope { tenant: self.tenant.clone(), database: self.database.clone() }
    }

    fn key(&self) -> NameKey {
        (self.tenant.clone(), self.database.clone(), self.name.clone())
    }

    fn is_live(&self) -> bool {
        self.state == RecordState::Live
    }
}

type NameKey = (String, String, String);

/// A change of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum CatalogWrite {
    /// The commit point of a create.
    Create { id: CollectionId, record: Box<CollectionRecord> },
    /// The collection's log has ended: frees the name.
    MarkDropped { id: CollectionId },
    /// Takes a record away: its objects are gone, or its create came too late.
    Remove { id: CollectionId },
}

/// What readers of the catalog see.
#[derive(Debug, Clone, Default)]
pub struct CatalogView {
    /// The version it shows.
    pub version: Version,
    /// All collection records, dropped ones included.
    pub collections: HashMap<CollectionId, Arc<CollectionRecord>>,
    names: HashMap<NameKey, CollectionId>,
}

impl CatalogView {
    /// The live collection of that name.
    pub fn find(&self, scope: &Scope, name: &str) -> Option<CollectionId> {
        self.names.get(&(scope.tenant.clone(), scope.database.clone(), name.to_owned())).copied()
    }

    /// Whether the collection has a live record.
    pub fn is_live(&self, id: CollectionId) -> bool {
        self.collections.get(&id).is_some_and(|record| record.is_live())
    }

    /// The live collections.
    pub fn live(&self) -> impl Iterator<Item = (CollectionId, &Arc<CollectionRecord>)> {
        self.collections.iter().filter(|(_, record)| record.is_live()).map(|(id, record)| (*id, record))
    }
}

/// One row of the catalog as stored; kinds of records that this version does not know stay as they are.
#[derive(Debug, Clone)]
struct Stored {
    position: Address,
    collection: Option<(CollectionId, Arc<CollectionRecord>)>,
}

/// The catalog's fold.
#[derive(Debug)]
pub struct CatalogState {
    version: Version,
    records: BTreeMap<String, Stored>,
    view: CatalogView,
    config: Map<String, Value>,
    published: Arc<ArcSwap<CatalogView>>,
}

impl CatalogState {
    /// An empty catalog that publishes to `published`.
    pub fn new(published: Arc<ArcSwap<CatalogView>>) -> CatalogState {
        CatalogState {
            version: Version(0),
            records: BTreeMap::new(),
            view: CatalogView::default(),
            config: Map::new(),
            published,
        }
    }

    /// Sets or removes the record `id`.
    fn set(&mut self, id: &str, stored: Option<Stored>) {
        if let Some((collection, record)) = self.records.remove(id).and_then(|old| old.collection) {
            self.view.collections.remove(&collection);
            if self.view.names.get(&record.key()) == Some(&collection) {
                self.view.names.remove(&record.key());
            }
        }
        let Some(stored) = stored else { return };
        if let Some((collection, record)) = &stored.collection {
            self.view.collections.insert(*collection, record.clone());
            if record.is_live() {
                self.view.names.insert(record.key(), *collection);
            }
        }
        self.records.insert(id.to_owned(), stored);
    }

    /// Takes in rows; `addresses` gives each row's own address.
    fn take_in(&mut self, rows: &Rows, address: impl Fn(usize) -> Option<Address>) -> Result<(), FormatError> {
        let mut changes = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let id = rows.id(row);
            let own = address(row).ok_or_else(|| FormatError::Damaged(format!("row {row} has no address")))?;
            let stored = match rows.ops.get(row) {
                Some(Op::Put) => {
                    let position = match rows.positions.is_null(row) {
                        true => own,
                        false => Address(rows.positions.value(row)),
                    };
                    Some(Stored { position, collection: parse(id, Rows::text(&rows.metadatas, row))? })
                }
                _ => None,
            };
            changes.push((id, stored));
        }
        changes.into_iter().for_each(|(id, stored)| self.set(id, stored));
        Ok(())
    }
}

fn record_id(id: CollectionId) -> String {
    format!("c:{id}")
}

fn parse(id: &str, text: Option<&str>) -> Result<Option<(CollectionId, Arc<CollectionRecord>)>, FormatError> {
    let Some(uuid) = id.strip_prefix("c:") else { return Ok(None) };
    let damaged = |what: String| FormatError::Damaged(format!("catalog record {id:?}: {what}"));
    let uuid = uuid.parse().map_err(|_| damaged("the id is not a UUID".to_owned()))?;
    let text = text.ok_or_else(|| damaged("it has no value".to_owned()))?;
    let record = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
    Ok(Some((CollectionId(uuid), Arc::new(record))))
}

fn put(id: CollectionId, record: &CollectionRecord, position: Option<Address>) -> Result<Row> {
    let text = serde_json::to_string(record).map_err(|e| Error::internal(format!("catalog record: {e}")))?;
    Ok(Row { op: Op::Put, metadata: Some(text), position, ..Row::delete(record_id(id)) })
}

/// A batch in the course of its resolution: what its requests have changed so far.
struct Overlay<'a> {
    state: &'a CatalogState,
    changed: BTreeMap<CollectionId, (Option<CollectionRecord>, Option<Row>)>,
}

impl Overlay<'_> {
    fn record(&self, id: CollectionId) -> Option<CollectionRecord> {
        match self.changed.get(&id) {
            Some((record, _)) => record.clone(),
            None => self.state.view.collections.get(&id).map(|r| r.as_ref().clone()),
        }
    }

    fn taken(&self, key: &NameKey) -> bool {
        let here = self.changed.values().any(|(r, _)| r.as_ref().is_some_and(|r| r.is_live() && r.key() == *key));
        let there = self.state.view.names.get(key).is_some_and(|id| !self.changed.contains_key(id));
        here || there
    }

    fn position(&self, id: CollectionId) -> Option<Address> {
        self.state.records.get(&record_id(id)).map(|stored| stored.position)
    }

    fn resolve(&mut self, request: &CatalogWrite) -> Result<()> {
        match request {
            CatalogWrite::Create { id, record } => {
                if self.record(*id).is_some() {
                    return Err(Error::new(Kind::Conflict, format!("collection {id} has a record already")));
                }
                if record.scope() != Scope::default() {
                    return Err(Error::not_found(format!(
                        "database {:?} of tenant {:?} does not exist",
                        record.database, record.tenant
                    )));
                }
                if self.taken(&record.key()) {
                    return Err(already_exists(&record.name));
                }
                let row = put(*id, record, None)?;
                self.changed.insert(*id, (Some(record.as_ref().clone()), Some(row)));
            }
            CatalogWrite::MarkDropped { id } => {
                if let Some(mut record) = self.record(*id).filter(CollectionRecord::is_live) {
                    record.state = RecordState::Dropped;
                    let row = put(*id, &record, self.position(*id))?;
                    self.changed.insert(*id, (Some(record), Some(row)));
                }
            }
            CatalogWrite::Remove { id } => {
                if self.record(*id).is_some() {
                    let row = self.position(*id).map(|_| Row::delete(record_id(*id)));
                    self.changed.insert(*id, (None, row));
                }
            }
        }
        Ok(())
    }
}

/// The error of a create whose name is taken.
pub fn already_exists(name: &str) -> Error {
    Error::new(Kind::AlreadyExists, format!("collection {name:?} exists already; choose another name or use it"))
}

impl State for CatalogState {
    type Request = CatalogWrite;
    type Answer = ();

    fn weight(_: &CatalogWrite) -> Weight {
        Weight { rows: 1, bytes: 1024 }
    }

    fn resolve(&self, requests: &[&CatalogWrite]) -> Resolution<()> {
        let mut overlay = Overlay { state: self, changed: BTreeMap::new() };
        let answers = requests.iter().map(|request| overlay.resolve(request)).collect();
        let rows = overlay.changed.into_values().filter_map(|(_, row)| row).collect();
        Resolution { rows, config: None, drop: false, answers }
    }

    fn load(&mut self, groups: Vec<Rows>, version: Version) -> Result<(), FormatError> {
        for rows in &groups {
            let addresses = rows.addresses.as_ref();
            self.take_in(rows, |row| addresses.map(|a| Address(a.value(row))))?;
        }
        self.version = version;
        Ok(())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), FormatError> {
        self.config = config.clone();
        Ok(())
    }

    fn load_graph(&mut self, entry: &GraphEntry, _: Bytes) -> Result<(), FormatError> {
        Err(FormatError::Damaged(format!("{}: the catalog has no graphs", entry.key)))
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), FormatError> {
        if commit.header.kind == CommitKind::Drop {
            return Err(FormatError::Damaged("the catalog cannot be dropped".to_owned()));
        }
        let version = commit.header.version;
        self.take_in(&commit.rows, |row| Address::new(version, row))?;
        self.config.extend(commit.header.config.clone().unwrap_or_default());
        self.version = version;
        Ok(())
    }

    fn publish(&self) {
        self.published.store(Arc::new(CatalogView { version: self.version, ..self.view.clone() }));
    }

    fn version(&self) -> Version {
        self.version
    }

    fn config(&self) -> Map<String, Value> {
        self.config.clone()
    }

    fn dropped(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::format::{CommitHeader, Nonce};

    fn record(name: &str) -> Box<CollectionRecord> {
        Box::new(CollectionRecord {
            tenant: "default_tenant".to_owned(),
            database: "default_database".to_owned(),
            name: name.to_owned(),
            metadata: None,
            configuration: Configuration {
                metric: Metric::L2,
                dimension: None,
                index: IndexSettings::default(),
                other: Map::new(),
            },
            state: RecordState::Live,
            other: Map::new(),
        })
    }

    fn id(n: u128) -> CollectionId {
        CollectionId(Uuid::from_u128(n))
    }

    fn run(state: &mut CatalogState, requests: &[CatalogWrite]) -> Vec<Option<Kind>> {
        let resolution = state.resolve(&requests.iter().collect::<Vec<_>>());
        let header = CommitHeader {
            stream: "catalog".to_owned(),
            version: state.version.next(),
            kind: CommitKind::Data,
            writer: String::new(),
            nonce: Nonce(1),
            prev: None,
            config: None,
        };
        state.apply(&Commit { header, rows: Rows::from_iter(resolution.rows) }).unwrap();
        resolution.answers.into_iter().map(|a| a.err().map(|e| e.kind())).collect()
    }

    fn catalog() -> CatalogState {
        CatalogState::new(Arc::new(ArcSwap::default()))
    }

    #[test]
    fn a_name_is_taken_within_a_batch_and_after_it_until_its_collection_is_dropped() {
        let mut state = catalog();
        let create = |n, name| CatalogWrite::Create { id: id(n), record: record(name) };
        let answers = run(&mut state, &[create(1, "a"), create(2, "a"), create(3, "b")]);
        assert_eq!(answers, [None, Some(Kind::AlreadyExists), None]);
        assert_eq!(run(&mut state, &[create(4, "a")]), [Some(Kind::AlreadyExists)]);
        let answers = run(&mut state, &[CatalogWrite::MarkDropped { id: id(1) }, create(5, "a")]);
        assert_eq!(answers, [None, None]);
        assert_eq!(state.view.find(&Scope::default(), "a"), Some(id(5)));
        assert_eq!(state.view.collections[&id(1)].state, RecordState::Dropped);
        assert_eq!(run(&mut state, &[CatalogWrite::Remove { id: id(1) }]), [None]);
        assert_eq!(state.view.collections.len(), 2);
        assert_eq!(state.view.find(&Scope::default(), "a"), Some(id(5)), "the name stays with its new holder");
    }

    #[test]
    fn an_id_is_never_used_twice_and_an_unknown_database_is_refused() {
        let mut state = catalog();
        let create = |record| CatalogWrite::Create { id: id(1), record };
        assert_eq!(run(&mut state, &[create(record("a"))]), [None]);
        assert_eq!(run(&mut state, &[create(record("b"))]), [Some(Kind::Conflict)]);
        let mut elsewhere = record("c");
        elsewhere.database = "nowhere".to_owned();
        assert_eq!(run(&mut state, &[CatalogWrite::Create { id: id(2), record: elsewhere }]), [Some(Kind::NotFound)]);
    }

    #[test]
    fn fields_of_newer_versions_survive_a_change_of_state() {
        let mut state = catalog();
        let mut newer = record("a");
        newer.other.insert("owner".to_owned(), "x".into());
        newer.configuration.other.insert("schema".to_owned(), Value::Bool(true));
        run(&mut state, &[CatalogWrite::Create { id: id(1), record: newer }]);
        run(&mut state, &[CatalogWrite::MarkDropped { id: id(1) }]);
        let kept = &state.view.collections[&id(1)];
        assert_eq!(kept.other["owner"], "x");
        assert_eq!(kept.configuration.other["schema"], true);
    }
}
