//! What a store says about itself: status, health, counters, the list of collections. All from memory;
//! nothing here asks the bucket.

use super::Store;
use super::entry::{Entry, Progress, identity};
use super::report::{CollectionSync, Counters, Damage, Health, Loading, Memory, StorageHealth, SyncReport};
use crate::bucket::Place;
use crate::collection::request::{CollectionInfo, Condition, Scope};
use crate::error::Result;
use crate::files::FILES;
use crate::record::Version;
use crate::stream::context::StreamError;

/// A collection's row of a report before anything was done.
pub fn unsynced(entry: &Entry) -> CollectionSync {
    let (version, tail, error) = match entry.progress() {
        Progress::Ready(collection) => {
            let tail = collection.stream().shared().current().tail.lock().len() as u64;
            let damage = collection.stream().shared().damage();
            (collection.present().version(), tail, damage.map(|(key, cause)| format!("{key}: {cause}")))
        }
        Progress::Loading => (Version(0), 0, Some("it is still loading".to_owned())),
        Progress::Failed(error) => (Version(0), 0, Some(error.to_string())),
    };
    CollectionSync {
        id: entry.id,
        name: entry.record().name.clone(),
        version_before: version,
        version_after: version,
        records_pulled: 0,
        bytes_pulled: 0,
        commits_flushed: 0,
        commits_unflushed: tail,
        duration_ms: 0,
        error,
    }
}

fn damage_of(entry: &Entry) -> Option<Damage> {
    let (key, cause) = match entry.progress() {
        Progress::Ready(collection) => collection.stream().shared().damage()?,
        Progress::Failed(StreamError::Corrupted { key, cause }) => (key, cause),
        _ => return None,
    };
    Some(Damage { collection: entry.record().name.clone(), key, cause })
}

fn info_of(entry: &Entry) -> CollectionInfo {
    if let Progress::Ready(collection) = entry.progress() {
        return collection.info();
    }
    let condition = match entry.progress() {
        Progress::Failed(StreamError::Corrupted { key, cause }) => Condition::Damaged { key, cause },
        _ => Condition::Loading,
    };
    let record = &entry.record();
    CollectionInfo {
        id: entry.id,
        name: record.name.clone(),
        scope: record.scope(),
        metric: record.configuration.metric,
        dimension: record.configuration.dimension,
        count: 0,
        version: Version(0),
        metadata: identity(entry.id, record).ok().and_then(|identity| identity.metadata),
        index: record.configuration.index.clone(),
        extension: record.configuration.extension.clone(),
        condition,
    }
}

impl Store {
    /// The collections of a database, by name; the one of its files is not among them.
    pub fn collections(&self, scope: &Scope) -> Vec<CollectionInfo> {
        let entries = self.inner.live_entries();
        let shown = |entry: &&std::sync::Arc<Entry>| entry.record().is_in(scope) && entry.record().name != FILES;
        entries.iter().filter(shown).map(|entry| info_of(entry)).collect()
    }

    /// The live collections of all databases, by name, as of now: the catalog is read to its end.
    ///
    /// # Errors
    /// `Unavailable` if the bucket does not answer.
    pub async fn all_collections(&self) -> Result<Vec<CollectionInfo>> {
        self.inner.follow_catalog().await?;
        Ok(self.inner.live_entries().iter().map(|entry| info_of(entry)).collect())
    }

    /// Where the store's bucket is.
    pub fn place(&self) -> Place {
        self.inner.bucket.place()
    }

    /// What [`sync`](Store::sync) would find, without doing anything.
    pub fn status(&self) -> SyncReport {
        SyncReport {
            collections: self.inner.live_entries().iter().map(|entry| unsynced(entry)).collect(),
            catalog_version: self.inner.view.load().version,
            duration_ms: 0,
        }
    }

    /// How the store is doing.
    pub fn health(&self) -> Health {
        let entries = self.inner.live_entries();
        let damaged: Vec<Damage> = entries.iter().filter_map(|entry| damage_of(entry)).collect();
        let (done, total) = self.inner.loading();
        let fortune = self.inner.traffic.fortune();
        let connected = fortune.connected();
        let loaded = self.inner.recovered.borrow().is_some();
        let mut memory = Memory { resident_bytes: resident_bytes(), ..Memory::default() };
        let mut records = 0;
        for collection in self.inner.ready_collections() {
            let snapshot = collection.present();
            let footprint = snapshot.footprint();
            records += snapshot.count();
            memory.vectors_bytes += footprint.vectors_bytes;
            memory.graph_bytes += footprint.graph_bytes;
            memory.records_bytes += footprint.records_bytes;
        }
        let status = match (damaged.is_empty() && connected, loaded) {
            (false, _) => "degraded",
            (true, false) => "loading",
            (true, true) => "ok",
        };
        Health {
            status,
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.inner.opened.elapsed().as_secs(),
            storage: StorageHealth {
                place: self.inner.bucket.place(),
                connected,
                last_error: fortune.last_error.filter(|_| !connected).map(|(_, error)| error),
                conditional_put: true,
            },
            collections: entries.len(),
            records,
            loading: Loading { done, total },
            memory,
            damaged,
        }
    }

    /// Whether every collection that was live at the start is loaded or has failed.
    pub fn is_loaded(&self) -> bool {
        self.inner.recovered.borrow().is_some()
    }

    /// What the store did since it opened.
    pub fn counters(&self) -> Counters {
        let c = &self.inner.counters;
        Counters {
            commits_written: c.commits_written.get(),
            writes_acknowledged: c.writes_acknowledged.get(),
            commits_pulled: c.commits_pulled.get(),
            slots_lost: c.slots_lost.get(),
            outcomes_unknown: c.outcomes_unknown.get(),
            reopenings: c.reopenings.get(),
            flushes: c.flushes.get(),
            compactions: c.compactions.get(),
            graphs_built: c.graphs_built.get(),
            graphs_loaded: c.graphs_loaded.get(),
            log_objects_deleted: c.log_objects_deleted.get(),
            zombies_deleted: c.zombies_deleted.get(),
            searches: c.searches.get(),
        }
    }
}

/// Resident size of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * PAGE_BYTES)
}
