//! Stub.
pub mod report;
use crate::collection::{Collection, State, request::*};
use crate::{
    CollectionId, Error, Kind, Result, Version,
    config::{Limits, Settings},
};
use parking_lot::Mutex;
use report::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Store {
    settings: Arc<Settings>,
    map: Arc<Mutex<BTreeMap<(Scope, String), Collection>>>,
}
impl Store {
    pub async fn open(settings: Settings) -> Result<Store> {
        Ok(Store { settings: Arc::new(settings), map: Arc::default() })
    }
    pub async fn wait_until_loaded(&self) -> Recovery {
        Recovery::default()
    }
    pub async fn create_collection(&self, scope: &Scope, spec: CollectionSpec) -> Result<Collection> {
        let mut m = self.map.lock();
        let key = (scope.clone(), spec.name.clone());
        if m.contains_key(&key) {
            return Err(Error::new(Kind::AlreadyExists, format!("collection {:?} exists already", spec.name)));
        }
        let info = CollectionInfo {
            id: CollectionId(uuid::Uuid::new_v4()),
            name: spec.name,
            scope: scope.clone(),
            metric: spec.metric,
            dimension: spec.dimension,
            count: 0,
            version: Version(0),
            metadata: spec.metadata,
            index: spec.index,
            condition: Condition::Ready,
        };
        let c = Collection(Arc::new(Mutex::new(State { info, records: vec![], limits: self.settings.limits.clone() })));
        m.insert(key, c.clone());
        Ok(c)
    }
    pub async fn collection_in(&self, scope: &Scope, name: &str) -> Result<Collection> {
        self.map
            .lock()
            .get(&(scope.clone(), name.to_owned()))
            .cloned()
            .ok_or_else(|| Error::not_found(format!("there is no collection {name:?}")))
    }
    pub async fn drop_collection(&self, scope: &Scope, name: &str) -> Result<()> {
        self.map
            .lock()
            .remove(&(scope.clone(), name.to_owned()))
            .map(|_| ())
            .ok_or_else(|| Error::not_found(format!("there is no collection {name:?}")))
    }
    pub fn collections(&self, scope: &Scope) -> Vec<CollectionInfo> {
        self.map.lock().iter().filter(|(k, _)| k.0 == *scope).map(|(_, c)| c.info()).collect()
    }
    pub async fn sync(&self) -> Result<SyncReport> {
        Ok(self.status())
    }
    pub fn status(&self) -> SyncReport {
        SyncReport { collections: vec![], catalog_version: Version(0), duration_ms: 0 }
    }
    pub fn health(&self) -> Health {
        Health {
            status: "ok",
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: 0,
            storage: StorageHealth {
                place: crate::bucket::Place {
                    kind: "memory",
                    location: "memory".into(),
                    endpoint: String::new(),
                    bucket: String::new(),
                },
                connected: true,
                last_error: None,
                conditional_put: true,
            },
            collections: self.map.lock().len(),
            records: 0,
            loading: Loading { done: 0, total: 0 },
            memory: Memory::default(),
            damaged: vec![],
        }
    }
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }
    pub async fn close(&self, _: Duration) -> Result<()> {
        Ok(())
    }
}
