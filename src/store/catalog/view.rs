//! What readers of the catalog see at one version: the tenants, databases and collections, and the holder of each
//! name.
//! Invariant: `names` has exactly the live collections.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::records::{CatalogRecord, CollectionRecord, DatabaseRecord, NameKey, TenantRecord};
use crate::collection::request::Scope;
use crate::record::{CollectionId, Version};
use crate::store::namespaces::{Database, Tenant};

/// The catalog at one version.
#[derive(Debug, Clone, Default)]
pub struct CatalogView {
    /// The version it shows.
    pub version: Version,
    /// All collection records, dropped ones included.
    pub collections: HashMap<CollectionId, Arc<CollectionRecord>>,
    names: HashMap<NameKey, CollectionId>,
    tenants: BTreeMap<String, Arc<TenantRecord>>,
    databases: BTreeMap<Scope, Arc<DatabaseRecord>>,
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

    /// The tenant of that name. The default tenant needs no record.
    pub fn tenant(&self, name: &str) -> Option<Tenant> {
        let of_record = |r: &Arc<TenantRecord>| Tenant { name: r.name.clone(), resource_name: r.resource_name.clone() };
        let default =
            || (name == Scope::default().tenant).then(|| Tenant { name: name.to_owned(), resource_name: None });
        self.tenants.get(name).map(of_record).or_else(default)
    }

    /// The live database of that tenant and name. The default database needs no record.
    pub fn database(&self, scope: &Scope) -> Option<Database> {
        match self.databases.get(scope) {
            Some(record) => record.is_live().then(|| as_database(record)),
            None => (*scope == Scope::default()).then(default_database),
        }
    }

    /// The live databases of a tenant, by name.
    pub fn databases(&self, tenant: &str) -> Vec<Database> {
        let of_tenant = self.databases.values().filter(|record| record.tenant == tenant);
        let mut found: Vec<Database> = of_tenant.filter(|r| r.is_live()).map(|r| as_database(r)).collect();
        let default = Scope::default();
        if tenant == default.tenant && !self.databases.contains_key(&default) {
            found.push(default_database());
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    pub(super) fn tenant_record(&self, name: &str) -> Option<&Arc<TenantRecord>> {
        self.tenants.get(name)
    }

    pub(super) fn database_record(&self, scope: &Scope) -> Option<&Arc<DatabaseRecord>> {
        self.databases.get(scope)
    }

    /// Names of the tenants that have a record; tenant and name of the databases that have one.
    pub(super) fn recorded(&self) -> (Vec<String>, Vec<Scope>) {
        (self.tenants.keys().cloned().collect(), self.databases.keys().cloned().collect())
    }

    pub(super) fn insert(&mut self, record: &CatalogRecord) {
        match record {
            CatalogRecord::Tenant(record) => drop(self.tenants.insert(record.name.clone(), record.clone())),
            CatalogRecord::Database(record) => drop(self.databases.insert(record.scope(), record.clone())),
            CatalogRecord::Collection(id, record) => {
                self.collections.insert(*id, record.clone());
                if record.is_live() {
                    self.names.insert(record.key(), *id);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, record: &CatalogRecord) {
        match record {
            CatalogRecord::Tenant(record) => drop(self.tenants.remove(&record.name)),
            CatalogRecord::Database(record) => drop(self.databases.remove(&record.scope())),
            CatalogRecord::Collection(id, record) => {
                self.collections.remove(id);
                if self.names.get(&record.key()) == Some(id) {
                    self.names.remove(&record.key());
                }
            }
        }
    }
}

fn as_database(record: &DatabaseRecord) -> Database {
    Database { id: record.id, name: record.name.clone(), tenant: record.tenant.clone() }
}

fn default_database() -> Database {
    let Scope { tenant, database } = Scope::default();
    Database { id: Uuid::nil(), name: database, tenant }
}
