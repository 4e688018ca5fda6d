//! The handle of an open collection. Writes go to its stream's writer, reads to the snapshot that was published last.
//! A read waits for the bucket only if it is strong, or for a second at most after a time without use.

mod documents;
mod handover;
mod ranked;
mod texts;
mod transactions;
mod writes;

pub(crate) use handover::HOLD;
#[cfg(feature = "server")]
pub(crate) use texts::{CompletedWrite, without_embeddings};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::answers::{Matches, Reading};
use super::graph_maintenance::QuietTimer;
use super::inverted_maintenance::InvertedRounds;
use super::pin::{PinGuard, Pins, StoreHooks};
use super::request::{
    CollectionInfo, Consistency, Embedder, Get, GetAnswer, Hit, IndexSettings, Query, Scope, ServingState,
};
use super::state::KeyTypes;
use super::state::graphs::GraphParts;
use super::state::snapshot::Snapshot;
use super::stream_state::CollectionState;
use crate::compute::Compute;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::memory::Budget;
use crate::record::{CollectionId, Metadata, Metric, Version};
use crate::stream::Stream;
use crate::text::{Analyser, Splitting, TextSettings};

/// After a time without use, a read first looks at the bucket, and waits at most this long.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// What the catalog says about a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Its identity.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// The tenant and database that it belongs to.
    pub scope: Scope,
    /// How distance is measured.
    pub metric: Metric,
    /// Values remembered with it.
    pub metadata: Option<Metadata>,
    /// How graphs are built.
    pub index: IndexSettings,
    /// How documents are searched by their words.
    pub text: TextSettings,
    /// What makes embeddings of documents that come without one.
    pub embedder: Option<Embedder>,
    /// How documents are split into parts; `None` if they are not.
    pub splitting: Option<Splitting>,
    /// Stored with it, never interpreted here.
    pub extension: Map<String, Value>,
    /// The first version that readers may see: one that takes another's place is filled before.
    pub complete_at: Version,
}

/// The parts of the store that an open collection uses.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The threads for CPU work.
    pub compute: Arc<Compute>,
    /// The bounds of requests.
    pub limits: Arc<Limits>,
    /// The memory budget.
    pub budget: Arc<Budget>,
    /// What only the store can do.
    pub hooks: StoreHooks,
    /// The greatest age of what a read sees of other instances' writes.
    pub sync_interval: Duration,
}

/// The part of a collection that outlives an eviction: handles from before it see what later ones see.
#[derive(Debug, Clone)]
pub struct SharedView {
    /// What the catalog says.
    pub identity: Arc<ArcSwap<Identity>>,
    /// The snapshot that was published last.
    pub published: Arc<ArcSwap<Snapshot>>,
    /// How many requests there were so far.
    pub requests: Arc<AtomicU64>,
}

impl SharedView {
    /// The view of a collection of which only its catalog entry is known.
    pub fn new(identity: Identity) -> SharedView {
        let published = Arc::new(ArcSwap::from_pointee(Snapshot::empty(identity.metric)));
        SharedView { identity: Arc::new(ArcSwap::from_pointee(identity)), published, requests: Arc::default() }
    }
}

#[derive(Debug)]
struct CollectionInner {
    shared_view: SharedView,
    stream: Stream<CollectionState>,
    surroundings: Surroundings,
    quiet_timer: Mutex<QuietTimer>,
    graph_turn: tokio::sync::Mutex<()>,
    inverted_rounds: Mutex<InvertedRounds>,
    pins: Pins,
    #[cfg(feature = "server")]
    map: Arc<super::map::MapPlace>,
    /// Made by the first search for words, of settings that never change.
    analyser: OnceLock<Arc<Analyser>>,
}

/// A collection of records. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Collection {
    inner: Arc<CollectionInner>,
}

impl Collection {
    pub(crate) fn new(
        shared_view: SharedView,
        stream: Stream<CollectionState>,
        surroundings: Surroundings,
    ) -> Collection {
        let (quiet_timer, graph_turn, pins) = (Mutex::default(), tokio::sync::Mutex::default(), Pins::default());
        let inner = CollectionInner {
            shared_view,
            stream,
            surroundings,
            quiet_timer,
            graph_turn,
            inverted_rounds: Mutex::default(),
            pins,
            #[cfg(feature = "server")]
            map: Arc::default(),
            analyser: OnceLock::new(),
        };
        Collection { inner: Arc::new(inner) }
    }

    /// Reads records in insertion order.
    pub async fn get(&self, mut get: Get) -> Result<GetAnswer> {
        let pinned = self.used().await?;
        let snapshot = pinned.snapshot(get.consistency).await?;
        get.ids = self.ids_of_parts(&snapshot, get.ids);
        pinned.compute().search(move |interrupt| snapshot.get(&get, interrupt)).await?
    }

    /// Opens a reading in insertion order. Its records are made one by one, so that a caller who forwards them need
    /// not hold them all.
    pub async fn read(&self, mut get: Get) -> Result<Reading> {
        let pinned = self.used().await?;
        let snapshot = pinned.snapshot(get.consistency).await?;
        get.ids = self.ids_of_parts(&snapshot, get.ids);
        let reading = pinned.compute().search(move |interrupt| snapshot.read(&get, interrupt)).await??;
        Ok(reading.of(pinned))
    }

    /// Finds the nearest records to the query's embedding, nearest first: the k nearest *of those that match*.
    ///
    /// # Errors
    /// `Invalid` if the query has more than one embedding, or one that does not fit the collection.
    pub async fn search(&self, mut query: Query) -> Result<Vec<Hit>> {
        if query.embeddings.len() != 1 {
            let got = query.embeddings.len();
            return Err(Error::invalid(format!(
                "search: expected one embedding, got {got}; search_batch takes several"
            )));
        }
        let pinned = self.used().await?;
        let (snapshot, limits) = pinned.prepare(&mut query).await?;
        let short = snapshot.is_short(&query);
        let search = move |interrupt: &Interrupt| snapshot.search(&query, &limits, interrupt);
        let mut answer = run(pinned.compute(), short, search).await??;
        Ok(answer.results.pop().unwrap_or_default())
    }

    /// Finds the nearest records to each of the query's embeddings, one list each, nearest first. The embeddings are
    /// spread over the search threads.
    ///
    /// # Errors
    /// `Invalid` if an embedding does not fit the collection.
    pub async fn search_batch(&self, query: Query) -> Result<Vec<Vec<Hit>>> {
        let matches = self.find(query).await?;
        Ok(self.compute().search(move |_| matches.answer()).await??.results)
    }

    /// Finds the nearest records, to be taken one by one, so that a caller who forwards them need not hold them all.
    /// The matches name the version that was searched.
    pub async fn find(&self, mut query: Query) -> Result<Matches> {
        let pinned = self.used().await?;
        let (snapshot, limits) = pinned.prepare(&mut query).await?;
        find_in(pinned, snapshot, limits, query).await
    }

    /// What documents are analysed with.
    ///
    /// # Errors
    /// `Invalid` where a newer version stored settings that this one refuses.
    pub fn analyser(&self) -> Result<Arc<Analyser>> {
        if let Some(analyser) = self.inner.analyser.get() {
            return Ok(analyser.clone());
        }
        let made = Arc::new(Analyser::new(&self.identity().text)?);
        Ok(self.inner.analyser.get_or_init(|| made).clone())
    }

    /// Finds the nearest records of a snapshot that need not be the newest.
    pub(super) async fn find_at(&self, snapshot: Arc<Snapshot>, mut query: Query) -> Result<Matches> {
        let pinned = self.used().await?;
        let limits = pinned.complete(&mut query, &snapshot);
        find_in(pinned, snapshot, limits, query).await
    }

    /// The snapshot and the limits of a search. Completes the query.
    async fn prepare(&self, query: &mut Query) -> Result<(Arc<Snapshot>, Arc<Limits>)> {
        let snapshot = self.snapshot(query.consistency).await?;
        let limits = self.complete(query, &snapshot);
        Ok((snapshot, limits))
    }

    /// Completes a query on a snapshot, and counts it. Returns the limits of the search.
    fn complete(&self, query: &mut Query, snapshot: &Snapshot) -> Arc<Limits> {
        query.ids = self.ids_of_parts(snapshot, query.ids.take());
        query.ef_search = query.ef_search.or(self.identity().index.ef_search);
        snapshot.allow_codes(self.inner.stream.context().budget.room_bytes());
        self.inner.stream.context().counters.searches.add(query.embeddings.len() as u64);
        self.inner.surroundings.limits.clone()
    }

    /// Floats of an embedding, as this instance knows it; `None` until fixed.
    pub fn dimension(&self) -> Option<usize> {
        self.inner.shared_view.published.load().dimension()
    }

    /// The kinds of values that metadata keys have held, as this instance knows them.
    pub fn key_types(&self) -> Arc<KeyTypes> {
        self.inner.shared_view.published.load().key_types().clone()
    }

    /// How many records there are.
    pub async fn count(&self, consistency: Consistency) -> Result<u64> {
        Ok(self.used().await?.snapshot(consistency).await?.count())
    }

    /// Name, dimension, count, version and state as this instance knows them.
    pub fn info(&self) -> CollectionInfo {
        let snapshot = self.inner.shared_view.published.load();
        let Identity { id, name, scope, metric, metadata, index, text, embedder, splitting, extension, .. } =
            self.identity().as_ref().clone();
        let state = match self.inner.stream.shared().damage() {
            Some((key, cause)) => ServingState::Damaged { key, cause },
            None => ServingState::Ready,
        };
        CollectionInfo {
            id,
            name,
            scope,
            metric,
            dimension: snapshot.dimension(),
            count: snapshot.count(),
            version: snapshot.version(),
            metadata,
            index,
            text,
            embedder,
            splitting,
            extension,
            memory_bytes: snapshot.footprint().sum(),
            state,
        }
    }

    /// Syncs before a read that comes after a time without use, so that it sees what other instances wrote meanwhile.
    /// A bucket that does not answer delays one read by at most a second, and other reads not at all.
    async fn look_if_stale(&self) {
        let shared = self.inner.stream.shared();
        if !shared.may_look(self.inner.surroundings.sync_interval) {
            return;
        }
        let looked = tokio::time::timeout(LOOK_LIMIT, self.inner.stream.sync()).await;
        if !matches!(looked, Ok(Ok(_))) {
            shared.note_missed_look();
        }
    }

    /// The snapshot that a read of this consistency sees. The caller pins the collection.
    pub(crate) async fn snapshot(&self, consistency: Consistency) -> Result<Arc<Snapshot>> {
        match consistency {
            Consistency::Strong => drop(self.inner.stream.sync().await?),
            Consistency::Local => self.look_if_stale().await,
        }
        self.wait_until_complete().await?;
        let shared = self.inner.stream.shared();
        // A successor may have newer records by now, which only a local read may miss.
        if shared.is_gone() || (consistency == Consistency::Strong && shared.ended()) {
            let what = format!("collection {:?} does not exist: it was dropped", self.identity().name);
            return Err(Error::not_found(what));
        }
        Ok(self.inner.shared_view.published.load_full())
    }

    /// Pins the collection for a request.
    pub(super) async fn used(&self) -> Result<PinGuard> {
        let pinned = self.pinned().await?;
        pinned.pins().touch();
        pinned.inner.shared_view.requests.fetch_add(1, Ordering::Relaxed);
        Ok(pinned)
    }

    /// How many requests there were so far: shows whether the collection is in use.
    pub(crate) fn requests(&self) -> u64 {
        self.inner.shared_view.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn stream(&self) -> &Stream<CollectionState> {
        &self.inner.stream
    }

    /// Its identity, which stays when it is renamed.
    pub fn id(&self) -> CollectionId {
        self.identity().id
    }

    /// Its name, as this instance knows it.
    pub fn name(&self) -> String {
        self.identity().name.clone()
    }

    /// What the catalog says about it, as this instance knows it.
    pub fn identity(&self) -> Arc<Identity> {
        self.inner.shared_view.identity.load_full()
    }

    /// The lock for building and storing graphs: two tasks at once would build one graph twice.
    pub(crate) fn graph_turn(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.graph_turn
    }

    /// What maintenance of inverted indexes remembers.
    pub(crate) fn inverted_rounds(&self) -> &Mutex<InvertedRounds> {
        &self.inner.inverted_rounds
    }

    /// When the newest commit was seen, for maintenance.
    pub(crate) fn quiet_timer(&self) -> &Mutex<QuietTimer> {
        &self.inner.quiet_timer
    }

    /// The parts that a search goes through, for benches.
    #[doc(hidden)]
    pub fn parts(&self) -> GraphParts {
        self.present().parts()
    }

    #[cfg(feature = "server")]
    pub(super) fn map_place(&self) -> &Arc<super::map::MapPlace> {
        &self.inner.map
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.inner.pins
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.inner.surroundings
    }

    pub(crate) fn compute(&self) -> &Arc<Compute> {
        &self.inner.surroundings.compute
    }

    pub(crate) fn present(&self) -> Arc<Snapshot> {
        self.inner.shared_view.published.load_full()
    }
}

/// Runs a search on the pools, or on the thread that waits for it if it is short.
async fn run<T: Send + 'static>(
    compute: &Compute,
    short: bool,
    search: impl FnOnce(&Interrupt) -> T + Send + 'static,
) -> Result<T> {
    if short { compute.short_search(search).await } else { compute.search(search).await }
}

/// Searches a snapshot on the pools: one embedding at once, several in parts.
async fn find_in(pinned: PinGuard, snapshot: Arc<Snapshot>, limits: Arc<Limits>, query: Query) -> Result<Matches> {
    let (compute, include) = (pinned.compute(), query.include);
    if query.embeddings.len() < 2 {
        let searched = run(compute, snapshot.is_short(&query), move |interrupt| {
            let route = snapshot.route(&query, &limits, interrupt);
            let all = 0..query.embeddings.len();
            let rows = route.and_then(|route| snapshot.counted_answer(&query, &route, all, interrupt));
            (rows, snapshot)
        });
        let (rows, snapshot) = searched.await?;
        return Ok(Matches::of(snapshot, rows?, include, pinned));
    }
    let planned = compute.search(move |interrupt| (snapshot.route(&query, &limits, interrupt), snapshot, query));
    let (route, snapshot, query) = planned.await?;
    let route = route?;
    let (searched, count) = (snapshot.clone(), query.embeddings.len());
    let parts = route.parts(count, compute.search_threads());
    let answer = move |part: usize, interrupt: &Interrupt| {
        searched.counted_answer(&query, &route, part * count / parts..(part + 1) * count / parts, interrupt)
    };
    let answers = compute.search_batch(parts, answer).await?.into_iter().collect::<Result<Vec<_>>>()?;
    let compared = answers.iter().map(|(_, compared)| compared).sum();
    let results = answers.into_iter().flat_map(|(rows, _)| rows).collect();
    Ok(Matches::of(snapshot, (results, compared), include, pinned))
}
