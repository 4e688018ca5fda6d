//! Resolution of catalog changes. Each request is checked against the state right before its own commit, including
//! the effect of earlier requests in the batch.
//! Invariants: at most one live collection per (tenant, database, name); a collection id gets a record once; a
//! refused request changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::CatalogState;
use super::records::{
    CollectionRecord, Configuration, DatabaseRecord, NameKey, RecordState, Replaced, TenantRecord, collection_id,
    database_id, tenant_id,
};
use crate::collection::request::{IndexSettings, Scope};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Row, RowOp, Successor};
use crate::record::{CollectionId, Metric};
use crate::store::modify::CollectionChange;
use crate::text::TextSettings;

/// A change of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum CatalogWrite {
    /// The commit point of a create or a fork.
    Create { id: CollectionId, record: Box<CollectionRecord> },
    /// Changes the name or other values of a live collection.
    Modify { id: CollectionId, change: Box<CollectionChange> },
    /// The collection's log has ended: frees the name.
    MarkDropped { id: CollectionId },
    /// The collection's log has ended with a successor, which takes its name (docs/protocol.md#handover).
    HandOver { id: CollectionId, to: Successor },
    /// Removes a record: its objects are gone, or its create came too late.
    Remove { id: CollectionId },
    /// Blocks the id of objects that no record names: from now on no create of this id can succeed.
    Condemn { id: CollectionId },
    /// Creates a tenant.
    CreateTenant { name: String },
    /// Sets another name of a tenant.
    UpdateTenant { name: String, resource_name: Option<String> },
    /// Creates a database.
    CreateDatabase { scope: Scope, id: Uuid },
    /// Ends a database. All its collections must be among `ended`: their logs have ended.
    DropDatabase { scope: Scope, ended: BTreeSet<CollectionId> },
    /// Ends everything. All live collections must be among `ended`.
    Reset { ended: BTreeSet<CollectionId> },
}

/// A batch during its resolution: the changes of its requests so far.
pub(super) struct CatalogOverlay<'a> {
    state: &'a CatalogState,
    collections: BTreeMap<CollectionId, Option<Arc<CollectionRecord>>>,
    tenants: BTreeMap<String, Option<Arc<TenantRecord>>>,
    databases: BTreeMap<Scope, Option<Arc<DatabaseRecord>>>,
    rows: BTreeMap<String, Row>,
}

impl<'a> CatalogOverlay<'a> {
    pub(super) fn new(state: &'a CatalogState) -> CatalogOverlay<'a> {
        CatalogOverlay {
            state,
            collections: BTreeMap::new(),
            tenants: BTreeMap::new(),
            databases: BTreeMap::new(),
            rows: BTreeMap::new(),
        }
    }

    /// The rows of the commit, at most one per id.
    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows.into_values().collect()
    }

    pub(super) fn resolve(&mut self, request: &CatalogWrite) -> Result<()> {
        match request {
            CatalogWrite::Create { id, record } => self.create(*id, record),
            CatalogWrite::Modify { id, change } => self.modify(*id, change),
            CatalogWrite::MarkDropped { id } => self.mark_dropped(*id),
            CatalogWrite::HandOver { id, to } => self.hand_over(*id, *to),
            CatalogWrite::Remove { id } => {
                if self.collection(*id).is_some() {
                    self.collections.insert(*id, None);
                    self.delete(collection_id(*id));
                }
                Ok(())
            }
            CatalogWrite::Condemn { id } => {
                self.check_new(*id)?;
                self.put_collection(*id, condemned(*id))
            }
            CatalogWrite::CreateTenant { name } => self.create_tenant(name),
            CatalogWrite::UpdateTenant { name, resource_name } => self.update_tenant(name, resource_name),
            CatalogWrite::CreateDatabase { scope, id } => self.create_database(scope, *id),
            CatalogWrite::DropDatabase { scope, ended } => self.drop_database(scope, ended),
            CatalogWrite::Reset { ended } => self.reset(ended),
        }
    }

    fn create(&mut self, id: CollectionId, record: &CollectionRecord) -> Result<()> {
        self.check_new(id)?;
        if !self.has_database(&record.scope()) {
            return Err(no_database(&record.scope()));
        }
        self.check_free(&record.key())?;
        self.put_collection(id, record.clone())
    }

    fn modify(&mut self, id: CollectionId, change: &CollectionChange) -> Result<()> {
        let Some(before) = self.collection(id).filter(|record| record.is_live()) else {
            return Err(no_collection(id));
        };
        let after = change.applied_to(&before);
        if after.key() != before.key() {
            self.check_free(&after.key())?;
        }
        if after == *before { Ok(()) } else { self.put_collection(id, after) }
    }

    fn mark_dropped(&mut self, id: CollectionId) -> Result<()> {
        match self.collection(id).filter(|record| record.is_live()) {
            Some(record) => {
                let dropped = CollectionRecord { state: RecordState::Dropped, ..record.as_ref().clone() };
                self.put_collection(id, dropped)
            }
            None => Ok(()),
        }
    }

    /// Name, metadata and what can be modified are those of this moment: they may have changed while the successor was
    /// filled. A successor that is gone, with its database perhaps, leaves a mere drop.
    fn hand_over(&mut self, id: CollectionId, to: Successor) -> Result<()> {
        let Some(before) = self.collection(id).filter(|record| record.is_live()) else { return Ok(()) };
        self.mark_dropped(id)?;
        let after = self.collection(to.collection).filter(|after| after.is_live() && after.fills_in_for == Some(id));
        let Some(after) = after else { return Ok(()) };
        let mut record = after.as_ref().clone();
        (record.tenant, record.database) = (before.tenant.clone(), before.database.clone());
        (record.name, record.metadata) = (before.name.clone(), before.metadata.clone());
        record.configuration.index.ef_search = before.configuration.index.ef_search;
        record.configuration.extension = before.configuration.extension.clone();
        record.fills_in_for = None;
        record.replaces = Some(Replaced { collection: id, version: to.version });
        self.put_collection(to.collection, record)
    }

    fn create_tenant(&mut self, name: &str) -> Result<()> {
        if self.has_tenant(name) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("tenant {name:?} exists already")));
        }
        self.put_tenant(TenantRecord { name: name.to_owned(), resource_name: None, other: Map::new() })
    }

    fn update_tenant(&mut self, name: &str, resource_name: &Option<String>) -> Result<()> {
        if !self.has_tenant(name) {
            return Err(no_tenant(name));
        }
        let before = self.tenant(name);
        let other = before.as_ref().map_or_else(Map::new, |record| record.other.clone());
        let after = TenantRecord { name: name.to_owned(), resource_name: resource_name.clone(), other };
        match before {
            Some(before) if *before == after => Ok(()),
            None if after.resource_name.is_none() => Ok(()),
            _ => self.put_tenant(after),
        }
    }

    fn create_database(&mut self, scope: &Scope, id: Uuid) -> Result<()> {
        if !self.has_tenant(&scope.tenant) {
            return Err(no_tenant(&scope.tenant));
        }
        if self.has_database(scope) {
            let what = format!("database {:?} of tenant {:?} exists already", scope.database, scope.tenant);
            return Err(Error::new(ErrorKind::AlreadyExists, what));
        }
        self.put_database(database_record(scope, id, RecordState::Live))
    }

    fn drop_database(&mut self, scope: &Scope, ended: &BTreeSet<CollectionId>) -> Result<()> {
        if !self.has_database(scope) {
            return Err(no_database(scope));
        }
        let inside = self.live(|record| record.is_in(scope));
        check_ended(&inside, ended)?;
        inside.into_iter().try_for_each(|id| self.mark_dropped(id))?;
        // The default database exists without a record, so only a record can say that it was dropped.
        if *scope == Scope::default() {
            return self.put_database(database_record(scope, Uuid::nil(), RecordState::Dropped));
        }
        self.databases.insert(scope.clone(), None);
        self.delete(database_id(scope));
        Ok(())
    }

    fn reset(&mut self, ended: &BTreeSet<CollectionId>) -> Result<()> {
        let all = self.live(|_| true);
        check_ended(&all, ended)?;
        all.into_iter().try_for_each(|id| self.mark_dropped(id))?;
        let (tenants, databases) = self.state.view.recorded();
        let tenants: BTreeSet<String> = tenants.into_iter().chain(self.tenants.keys().cloned()).collect();
        let databases: BTreeSet<Scope> = databases.into_iter().chain(self.databases.keys().cloned()).collect();
        for name in tenants {
            self.delete(tenant_id(&name));
            self.tenants.insert(name, None);
        }
        for scope in databases {
            self.delete(database_id(&scope));
            self.databases.insert(scope, None);
        }
        Ok(())
    }

    fn collection(&self, id: CollectionId) -> Option<Arc<CollectionRecord>> {
        let before = || self.state.view.collections.get(&id).cloned();
        self.collections.get(&id).cloned().unwrap_or_else(before)
    }

    fn tenant(&self, name: &str) -> Option<Arc<TenantRecord>> {
        let before = || self.state.view.tenant_record(name).cloned();
        self.tenants.get(name).cloned().unwrap_or_else(before)
    }

    fn has_tenant(&self, name: &str) -> bool {
        name == Scope::default().tenant || self.tenant(name).is_some()
    }

    fn has_database(&self, scope: &Scope) -> bool {
        let before = || self.state.view.database_record(scope).cloned();
        match self.databases.get(scope).cloned().unwrap_or_else(before) {
            Some(record) => record.is_live(),
            None => *scope == Scope::default(),
        }
    }

    /// The live collections that satisfy `wanted`.
    fn live(&self, wanted: impl Fn(&CollectionRecord) -> bool) -> Vec<CollectionId> {
        let untouched = self.state.view.live().filter(|(id, _)| !self.collections.contains_key(id));
        let changed = self.collections.iter().filter_map(|(id, record)| Some((*id, record.as_ref()?)));
        let changed = changed.filter(|(_, record)| record.is_live());
        untouched.chain(changed).filter(|(_, record)| wanted(record)).map(|(id, _)| id).collect()
    }

    fn check_new(&self, id: CollectionId) -> Result<()> {
        match self.collection(id) {
            Some(_) => Err(Error::new(ErrorKind::Conflict, format!("collection {id} has a record already"))),
            None => Ok(()),
        }
    }

    fn check_free(&self, key: &NameKey) -> Result<()> {
        let changed = self.collections.values().flatten();
        let here = changed.into_iter().any(|record| record.is_live() && record.key() == *key);
        let scope = Scope { tenant: key.0.clone(), database: key.1.clone() };
        let there = self.state.view.find(&scope, &key.2).is_some_and(|id| !self.collections.contains_key(&id));
        if here || there { Err(already_exists(&key.2)) } else { Ok(()) }
    }

    fn put_collection(&mut self, id: CollectionId, record: CollectionRecord) -> Result<()> {
        self.put(collection_id(id), &record)?;
        self.collections.insert(id, Some(Arc::new(record)));
        Ok(())
    }

    fn put_tenant(&mut self, record: TenantRecord) -> Result<()> {
        self.put(tenant_id(&record.name), &record)?;
        self.tenants.insert(record.name.clone(), Some(Arc::new(record)));
        Ok(())
    }

    fn put_database(&mut self, record: DatabaseRecord) -> Result<()> {
        self.put(database_id(&record.scope()), &record)?;
        self.databases.insert(record.scope(), Some(Arc::new(record)));
        Ok(())
    }

    fn put(&mut self, id: String, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| Error::internal(format!("catalog record {id}: {e}")))?;
        let deleted = self.rows.get(&id).is_some_and(|row| row.op == RowOp::Delete);
        // A record that was deleted in this batch begins again.
        let position = if deleted { None } else { self.state.position(&id) };
        let row = Row { op: RowOp::Put, metadata: Some(text), position, ..Row::delete(id.clone()) };
        self.rows.insert(id, row);
        Ok(())
    }

    fn delete(&mut self, id: String) {
        match self.state.position(&id) {
            Some(_) => self.rows.insert(id.clone(), Row::delete(id)),
            // The record was new in this batch and leaves no trace.
            None => self.rows.remove(&id),
        };
    }
}

/// Refuses to end many collections if one of them has not ended, because it was published meanwhile.
fn check_ended(live: &[CollectionId], ended: &BTreeSet<CollectionId>) -> Result<()> {
    match live.iter().find(|id| !ended.contains(id)) {
        Some(id) => Err(Error::new(ErrorKind::Conflict, format!("collection {id} was created meanwhile"))),
        None => Ok(()),
    }
}

fn database_record(scope: &Scope, id: Uuid, state: RecordState) -> DatabaseRecord {
    let Scope { tenant, database } = scope.clone();
    DatabaseRecord { id, tenant, name: database, state, other: Map::new() }
}

/// The record of a collection that was never created. It is dropped, so that its objects are purged like those of any
/// other.
fn condemned(id: CollectionId) -> CollectionRecord {
    let Scope { tenant, database } = Scope::default();
    let configuration = Configuration {
        metric: Metric::default(),
        dimension: None,
        index: IndexSettings::default(),
        text: TextSettings::default(),
        embedder: None,
        splitting: None,
        extension: Map::new(),
        other: Map::new(),
    };
    CollectionRecord {
        tenant,
        database,
        name: id.to_string(),
        metadata: None,
        configuration,
        state: RecordState::Dropped,
        forked_from: None,
        fills_in_for: None,
        replaces: None,
        other: Map::from_iter([("orphan".to_owned(), Value::Bool(true))]),
    }
}

/// The error of a create whose name is taken.
pub fn already_exists(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("collection {name:?} exists already; choose another name or use it"))
}

/// The error of a request for a tenant that does not exist.
pub fn no_tenant(name: &str) -> Error {
    Error::not_found(format!("tenant {name:?} does not exist"))
}

/// The error of a request for a database that does not exist.
pub fn no_database(scope: &Scope) -> Error {
    Error::not_found(format!("database {:?} of tenant {:?} does not exist", scope.database, scope.tenant))
}

/// The error of a request for a collection that does not exist.
pub fn no_collection(id: CollectionId) -> Error {
    Error::not_found(format!("collection {id} does not exist"))
}
