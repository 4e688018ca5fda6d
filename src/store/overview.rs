//! What a store reports about itself: status, health, counters, the list of collections. All values come from memory;
//! only [`all_collections`](Admin::all_collections) asks the bucket, to read the catalog to its end.

use std::sync::Arc;

use super::catalog::CollectionRecord;
use super::entry::{Entry, Eviction, Progress, identity};
use super::report::{
    CollectionSync, Counters, Damage, GraphsBehind, Health, Loading, Memory, StorageHealth, SyncReport,
};
use super::{Admin, Inner, Store, pulse};
use crate::bucket::call::Direction;
use crate::bucket::{Place, count};
use crate::collection::request::{CollectionInfo, Scope, ServingState};
use crate::error::Result;
use crate::file::{FileCounts, holds_files};
use crate::memory::resident_bytes;
use crate::record::Version;
use crate::stream::context::StreamError;

/// A collection's row of a report before any work.
pub fn unsynced(entry: &Entry) -> CollectionSync {
    let (version, tail, error) = match entry.progress() {
        Progress::Ready(collection) => {
            let tail = collection.stream().shared().current().tail.lock().len() as u64;
            let damage = collection.stream().shared().damage();
            (collection.present().version(), tail, damage.map(|(key, cause)| format!("{key}: {cause}")))
        }
        Progress::Loading => (Version(0), 0, Some("it is still loading".to_owned())),
        Progress::Evicted(eviction) => {
            let version = entry.shared_view().map_or(Version(0), |shared_view| shared_view.published.load().version());
            (version, 0, if let Eviction::Refused(error) = eviction { Some(error.to_string()) } else { None })
        }
        Progress::Failed(error) => (Version(0), 0, Some(error.to_string())),
    };
    let evicted = matches!(entry.progress(), Progress::Evicted(_));
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
        evicted,
        error,
    }
}

fn damage_of(entry: &Entry) -> Option<Damage> {
    let (key, cause) = match entry.progress() {
        Progress::Ready(collection) => collection.stream().shared().damage()?,
        Progress::Failed(StreamError::Corrupted { key, cause }) => (key, cause),
        // The collection is being loaded again.
        Progress::Loading => entry.damage()?,
        _ => return None,
    };
    Some(Damage { collection: entry.record().name.clone(), key, cause })
}

/// The report of a collection that is building a graph, or has enough unindexed records to slow its searches.
fn behind(entry: &Entry) -> Option<GraphsBehind> {
    const FELT: u64 = 4096;
    let Progress::Ready(collection) = entry.progress() else { return None };
    let progress = collection.graph_progress();
    let behind = progress.building || progress.records - progress.in_graphs >= FELT;
    behind.then(|| GraphsBehind { collection: entry.record().name.clone(), progress })
}

fn info_of(entry: &Entry) -> CollectionInfo {
    if let Progress::Ready(collection) = entry.progress() {
        return collection.info();
    }
    let state = match entry.progress() {
        Progress::Failed(StreamError::Corrupted { key, cause }) => ServingState::Damaged { key, cause },
        Progress::Evicted(_) => ServingState::Evicted,
        _ => ServingState::Loading,
    };
    let record = &entry.record();
    let known = entry.shared_view().map(|shared_view| shared_view.published.load_full());
    let known = known.as_ref();
    CollectionInfo {
        id: entry.id,
        name: record.name.clone(),
        scope: record.scope(),
        metric: record.configuration.metric,
        dimension: known.and_then(|snapshot| snapshot.dimension()).or(record.configuration.dimension),
        count: known.map_or(0, |snapshot| snapshot.count()),
        version: known.map_or(Version(0), |snapshot| snapshot.version()),
        metadata: identity(entry.id, record).ok().and_then(|identity| identity.metadata),
        index: record.configuration.index.clone(),
        text: record.configuration.text.clone(),
        embedder: record.configuration.embedder.clone(),
        splitting: record.configuration.splitting.clone(),
        extension: record.configuration.extension.clone(),
        memory_bytes: 0,
        state,
    }
}

/// The collections of a database, by name, without the one of its files and those that are being filled to take the
/// place of others.
pub fn collections(inner: &Inner, scope: &Scope) -> Vec<CollectionInfo> {
    let entries = inner.live_entries();
    let hidden = |record: &CollectionRecord| holds_files(&record.name) || record.fills_in_for.is_some();
    let shown = |entry: &&Arc<Entry>| entry.record().is_in(scope) && !hidden(&entry.record());
    entries.iter().filter(shown).map(|entry| info_of(entry)).collect()
}

impl Admin<'_> {
    /// The live collections of all databases, by name, as of now: the catalog is read to its end. Among them are those
    /// that [re-embeddings](crate::models::Reembedding) are filling (see [`is_filler`](crate::models::is_filler)).
    ///
    /// # Errors
    /// `Unavailable` if the bucket does not answer.
    pub async fn all_collections(self) -> Result<Vec<CollectionInfo>> {
        self.store.inner.follow_catalog().await?;
        Ok(self.store.inner.live_entries().iter().map(|entry| info_of(entry)).collect())
    }

    /// Where the store's bucket is.
    pub fn place(self) -> Place {
        self.store.inner.bucket.place()
    }

    /// What [`sync`](Store::sync) would find; nothing is done.
    pub fn status(self) -> SyncReport {
        SyncReport {
            collections: self.store.inner.live_entries().iter().map(|entry| unsynced(entry)).collect(),
            catalog_version: self.store.inner.view.load().version,
            duration_ms: 0,
        }
    }

    /// How the store is doing.
    pub fn health(self) -> Health {
        let entries = self.store.inner.live_entries();
        let damaged: Vec<Damage> = entries.iter().filter_map(|entry| damage_of(entry)).collect();
        let (done, total) = self.store.inner.loading();
        let fortune = self.store.inner.traffic.fortune();
        let connected = fortune.connected() && self.store.inner.traffic.silence() < pulse::SILENCE;
        let failing = fortune.failing();
        let loaded = self.store.inner.recovered.borrow().is_some();
        let budget = &self.store.inner.instance.budget;
        let mut memory = Memory {
            resident_bytes: resident_bytes(),
            held_bytes: budget.held_bytes(),
            reserved_bytes: budget.reserved_bytes(),
            limit_bytes: budget.limit_bytes().unwrap_or(0),
            ..Memory::default()
        };
        let mut records = 0;
        for shared_view in entries.iter().filter_map(|entry| entry.shared_view()) {
            let snapshot = shared_view.published.load();
            let footprint = snapshot.footprint();
            records += snapshot.count();
            memory.vectors_bytes += footprint.vectors_bytes;
            memory.graph_bytes += footprint.graph_bytes;
            memory.records_bytes += footprint.records_bytes;
        }
        let is_evicted =
            |entry: &&Arc<Entry>| matches!(entry.progress(), Progress::Evicted(Eviction::Done | Eviction::Refused(_)));
        let refused = |entry: &Arc<Entry>| matches!(entry.progress(), Progress::Evicted(Eviction::Refused(_)));
        let fine = damaged.is_empty() && connected && failing.is_empty() && !entries.iter().any(refused);
        let status = match (fine, loaded) {
            (false, _) => "degraded",
            (true, false) => "loading",
            (true, true) => "ok",
        };
        let evicted = entries.iter().filter(is_evicted).count();
        Health {
            status,
            waiting_for: None,
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.store.inner.opened.elapsed().as_secs(),
            storage: StorageHealth {
                place: self.store.inner.bucket.place(),
                connected,
                last_error: self.store.inner.bucket_trouble(),
                failing: failing.into_iter().map(Direction::name).collect(),
                conditional_put: true,
            },
            collections: entries.len(),
            records,
            loading: Loading { done, total },
            evicted,
            resting: evicted,
            memory,
            graphs: entries.iter().filter_map(|entry| behind(entry)).collect(),
            damaged,
        }
    }

    /// What went in and out of files since the store opened.
    pub fn file_counters(self) -> FileCounts {
        self.store.inner.files.counts()
    }

    /// Requests and bytes of the bucket since the store opened.
    pub fn storage_counters(self) -> count::Counts {
        self.store.inner.traffic.snapshot()
    }

    /// The start's calls to the bucket, and the seconds that the start took; `None` while it goes on.
    pub fn start_counters(self) -> Option<(count::Counts, f64)> {
        let recovery = (*self.store.inner.recovered.borrow())?;
        Some((*self.store.inner.at_start.get()?, recovery.seconds))
    }

    /// What the store did since it opened.
    pub fn counters(self) -> Counters {
        let c = &self.store.inner.instance.counters;
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
            inverted_stored: c.inverted_stored.get(),
            inverted_loaded: c.inverted_loaded.get(),
            maps_stored: c.maps_stored.get(),
            maps_loaded: c.maps_loaded.get(),
            log_objects_deleted: c.log_objects_deleted.get(),
            zombies_deleted: c.zombies_deleted.get(),
            searches: c.searches.get(),
            evictions: c.evictions.get(),
            reloads: c.reloads.get(),
            memory_refusals: self.store.inner.instance.budget.refusals(),
            put_off: c.put_off.get(),
        }
    }
}

impl Store {
    /// Whether every collection that was live at the start is loaded or has failed.
    pub fn is_loaded(&self) -> bool {
        self.inner.recovered.borrow().is_some()
    }
}
