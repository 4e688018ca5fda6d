//! A store: all collections of one bucket prefix as one instance runs them. It opens the catalog, loads
//! every live collection, follows other instances, and keeps flush, compaction, graphs and garbage
//! collection going in the background. Invariant: the bucket is the only truth; a store can be dropped
//! at any instant and opened anywhere else.

mod activity;
mod background;
mod bootstrap;
pub mod catalog;
pub mod checks;
#[cfg(feature = "server")]
mod contents;
mod duckdb;
mod embedders;
mod entry;
mod eviction;
pub mod files;
mod fork;
pub mod garbage;
mod lifecycle;
#[cfg(feature = "embedding")]
mod loaded_models;
mod lookup;
#[cfg(all(test, feature = "server"))]
mod map_tests;
#[cfg(feature = "embedding")]
pub mod model_folder;
#[cfg(feature = "embedding")]
pub mod models;
#[cfg(all(test, feature = "embedding"))]
mod models_tests;
pub mod modify;
#[cfg(feature = "server")]
mod named;
pub mod namespaces;
pub mod opening;
mod orphans;
mod overview;
mod past;
mod pulse;
pub mod reembed;
pub mod report;
mod reset;
pub mod restore;
#[cfg(feature = "server")]
mod reversal;
#[cfg(feature = "server")]
pub(crate) mod room;
mod sql_view;
#[cfg(feature = "server")]
pub(crate) mod verification;
mod versions;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use ulid::Ulid;

use self::background::Closing;
use self::catalog::{CatalogState, CatalogView};
use self::entry::{Entry, Progress};
use self::namespaces::Namespaces;
use self::opening::Opening;
use self::pulse::Pulse;
use self::report::{CollectionSync, Recovery, SyncReport};
use crate::bucket::Bucket;
use crate::bucket::count::{self, Counting};
use crate::bucket::keys::StreamId;
use crate::bucket::retry::{RetrySettings, Retrying};
use crate::collection::handle::Surroundings;
use crate::collection::pin::{PinGuard, StoreHooks};
use crate::collection::request::Scope;
use crate::compute::Compute;
use crate::config::{Limits, Settings};
use crate::error::{Error, Result};
use crate::file::FileShare;
use crate::head;
use crate::memory::Budget;
use crate::record::CollectionId;
use crate::stream::context::{Context, StreamCounters, StreamError};
use crate::stream::flush::Due;
use crate::stream::{Fresh, Stream};

/// Collections synced or closed at once.
const PARALLEL_COLLECTIONS: usize = 16;

/// All collections of one bucket, and the database in which this handle names them: the default one, or that of
/// [`with_scope`](Store::with_scope). Cheap to clone; every clone is the same store.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    scope: Arc<Scope>,
    _lifeline: Arc<Lifeline>,
}

/// The whole store, across all databases: its state, its counters, maintenance on request, and restoring. Made by
/// [`Store::admin`].
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    store: &'a Store,
}

/// Stops the background work when the last handle of a store is gone.
#[derive(Debug)]
struct Lifeline(Arc<Inner>);

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.0.closing.close();
    }
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    limits: Arc<Limits>,
    bucket: Arc<dyn Bucket>,
    /// The bucket, without repeated attempts of calls.
    direct: Arc<dyn Bucket>,
    traffic: Arc<count::CallCounters>,
    pulse: Pulse,
    instance: Instance,
    compute: Arc<Compute>,
    files: Arc<FileShare>,
    catalog: Stream<CatalogState>,
    view: Arc<ArcSwap<CatalogView>>,
    entries: Mutex<HashMap<CollectionId, Arc<Entry>>>,
    /// Held while collections are evicted to make room.
    making_room: tokio::sync::Mutex<()>,
    /// Held by the one collection that may build graphs, where memory is limited.
    graph_turn: Arc<tokio::sync::Mutex<()>>,
    /// Whether it is decided which collections the start loads.
    planned: watch::Sender<bool>,
    /// What makes handles of this store for its own work.
    lifeline: OnceLock<Weak<Lifeline>>,
    /// The models that are in memory.
    #[cfg(feature = "embedding")]
    loaded_models: loaded_models::LoadedModels,
    /// What calls services for embeddings, once one is used.
    #[cfg(feature = "provider")]
    provider: OnceLock<crate::provider::Provider>,
    /// How collections reserve memory, and load themselves again.
    hooks: StoreHooks,
    reembeddings: reembed::Reembeddings,
    #[cfg(feature = "server")]
    last_check: verification::LastCheck,
    recovery: Semaphore,
    recovered: watch::Sender<Option<Recovery>>,
    /// The start's calls to the bucket, once the start is over.
    at_start: OnceLock<count::Counts>,
    opened: Instant,
    closing: Closing,
}

/// What all streams of this instance have in common.
#[derive(Debug)]
struct Instance {
    /// The instance's name in commits.
    writer: String,
    counters: Arc<StreamCounters>,
    budget: Arc<Budget>,
}

impl Store {
    /// Opens the store that a string names, such as `s3://bucket/prefix`, `./folder` or `memory://` (see
    /// [`Storage::from_str`](crate::Storage)), or the one at `settings.storage`. It proves the bucket once, reads the
    /// catalog, and begins to load all collections in the background. It waits at most `settings.start_timeout` for a
    /// bucket that is away. It runs on a tokio runtime only.
    ///
    /// # Errors
    /// `Invalid` if the string names no place, the bucket lacks what the protocol needs (the message names it), or no
    /// tokio runtime is there; `Unavailable` if the bucket does not answer, or refuses for a reason that waiting does
    /// not cure; `Corrupted` if the catalog is damaged.
    pub async fn open<S>(settings: S) -> Result<Store>
    where
        S: TryInto<Settings>,
        S::Error: Into<Error>,
    {
        let settings = settings.try_into().map_err(Into::into)?;
        let opening = Opening::new(&settings);
        Store::open_watched(settings, opening).await
    }

    /// Opens the store as [`open`](Store::open) does. Meanwhile `opening` shows what the start waits for.
    ///
    /// # Errors
    /// As [`open`](Store::open).
    pub async fn open_watched(settings: Settings, opening: Opening) -> Result<Store> {
        if tokio::runtime::Handle::try_current().is_err() {
            let what = "a store works on a tokio runtime, and there is none: await Store::open inside of one, for example \
                        under #[tokio::main]";
            return Err(Error::invalid(what));
        }
        let bucket = opening.persist(|| bootstrap::connect(&settings)).await?;
        Store::open_in(settings, bucket, &opening).await
    }

    /// Opens the store on a bucket that already exists in this process.
    #[doc(hidden)]
    pub async fn open_on(settings: Settings, bucket: Arc<dyn Bucket>) -> Result<Store> {
        let opening = Opening::new(&settings);
        Store::open_in(settings, bucket, &opening).await
    }

    async fn open_in(settings: Settings, bucket: Arc<dyn Bucket>, opening: &Opening) -> Result<Store> {
        let opened = Instant::now();
        let counting = Arc::new(Counting::new(bucket));
        let traffic = counting.counters();
        opening.connected(counting.place(), traffic.clone());
        let direct: Arc<dyn Bucket> = counting.clone();
        let bucket: Arc<dyn Bucket> = Arc::new(Retrying::new(counting, RetrySettings::default()));
        let counters = Arc::new(StreamCounters::default());
        let view = Arc::new(ArcSwap::default());
        let compute = Compute::new(settings.search_threads, settings.limits.waiting_searches, settings.index_threads)?;
        let fresh: Fresh<CatalogState> = {
            let view = view.clone();
            Arc::new(move || CatalogState::new(view.clone()))
        };
        let budget = Budget::new(settings.memory_limit);
        let instance = Instance { writer: Ulid::generate().to_string(), counters, budget };
        let open_catalog = || async {
            bootstrap::prepare(&bucket, &settings).await?;
            let context = make_context(&settings, &bucket, &instance, StreamId::Catalog);
            Ok(Stream::open(context, fresh.clone()).await?)
        };
        let catalog = opening.persist(open_catalog).await?;
        let inner = Arc::new_cyclic(|weak| Inner {
            lifeline: OnceLock::new(),
            #[cfg(feature = "embedding")]
            loaded_models: Default::default(),
            #[cfg(feature = "provider")]
            provider: OnceLock::new(),
            hooks: eviction::hooks(weak.clone()),
            making_room: tokio::sync::Mutex::new(()),
            graph_turn: Arc::default(),
            planned: watch::Sender::new(settings.memory_limit.is_none() || !settings.load_at_start),
            limits: Arc::new(settings.limits.clone()),
            files: Arc::new(FileShare::new(&settings.files)),
            reembeddings: Default::default(),
            #[cfg(feature = "server")]
            last_check: Default::default(),
            recovery: Semaphore::new(settings.recovery_parallel.max(1)),
            settings,
            bucket,
            direct,
            traffic,
            pulse: Pulse::default(),
            instance,
            compute: Arc::new(compute),
            catalog,
            view,
            entries: Mutex::new(HashMap::new()),
            recovered: watch::Sender::new(None),
            at_start: OnceLock::new(),
            opened,
            closing: Closing::default(),
        });
        let lifeline = Arc::new(Lifeline(inner.clone()));
        // Set once: an opening makes its own state.
        let _ = inner.lifeline.set(Arc::downgrade(&lifeline));
        inner.reconcile();
        background::start(&inner);
        Ok(Store { _lifeline: lifeline, inner, scope: Arc::default() })
    }

    /// A handle of this store that names collections and files in another database.
    pub fn with_scope(&self, scope: &Scope) -> Store {
        Store { scope: Arc::new(scope.clone()), ..self.clone() }
    }

    /// The database in which this handle names collections and files.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Tenants and databases.
    pub fn namespaces(&self) -> Namespaces<'_> {
        Namespaces { store: self }
    }

    /// The whole store: its state, its maintenance, and its repair.
    pub fn admin(&self) -> Admin<'_> {
        Admin { store: self }
    }

    /// Waits until every collection that was live at the start is loaded or has failed. Returns how much was
    /// recovered.
    pub async fn wait_until_loaded(&self) -> Recovery {
        let mut watch = self.inner.recovered.subscribe();
        let recovered = watch.wait_for(Option::is_some).await;
        recovered.ok().and_then(|r| *r).unwrap_or_default()
    }

    /// Pulls other instances' commits of all collections, and flushes the commits that are in no segment yet.
    pub async fn sync(&self) -> Result<SyncReport> {
        let started = Instant::now();
        self.inner.follow_catalog().await?;
        let mut collections: Vec<CollectionSync> = stream::iter(self.inner.live_entries())
            .map(|entry| async move { sync_entry(&entry).await })
            .buffer_unordered(PARALLEL_COLLECTIONS)
            .collect()
            .await;
        if let Err(error) = self.inner.catalog.flush().await {
            tracing::warn!(%error, "the catalog was not flushed");
        }
        collections.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(SyncReport {
            collections,
            catalog_version: self.inner.view.load().version,
            duration_ms: started.elapsed().as_millis() as u64,
        })
    }

    /// The bounds of requests.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Stops the background work, lets waiting writes finish, and flushes every collection. Giving up after `limit`
    /// loses nothing: acknowledged writes are in the log.
    pub async fn close(&self, limit: Duration) -> Result<()> {
        self.inner.closing.close();
        let work = async {
            let entries = self.inner.live_entries();
            stream::iter(entries)
                .for_each_concurrent(PARALLEL_COLLECTIONS, |entry| async move {
                    // An eviction that has begun may finish first.
                    if let Ok(Progress::Ready(collection)) = entry.settled().await {
                        collection.stream().close().await;
                        flush_at_close(collection.stream(), &entry.record().name).await;
                    }
                })
                .await;
            self.inner.catalog.close().await;
            flush_at_close(&self.inner.catalog, "catalog").await;
        };
        tokio::time::timeout(limit, work).await.map_err(|_| {
            Error::unavailable(format!("closing took longer than {limit:?}; acknowledged writes are safe in the log"))
        })
    }
}

async fn flush_at_close<S: crate::stream::state::State>(stream: &Stream<S>, name: &str) {
    if !stream.flush_due(Due::Always) {
        return;
    }
    if let Err(error) = stream.flush().await {
        tracing::warn!(%name, %error, "was not flushed; its writes are safe in the log");
    }
}

async fn sync_entry(entry: &Entry) -> CollectionSync {
    let started = Instant::now();
    let mut report = overview::unsynced(entry);
    entry.look_again().await;
    // An evicted collection needs no sync: loading it reads the log to its end.
    let collection = match entry.settled().await {
        Ok(Progress::Ready(collection)) => collection.pin(),
        _ => None,
    };
    let Some(collection) = collection else { return overview::unsynced(entry) };
    let before = collection.present().version();
    report.version_before = before;
    let result = async {
        let pulled = collection.stream().sync().await?;
        report.records_pulled = pulled.rows;
        report.bytes_pulled = pulled.bytes;
        if let crate::stream::flush::Outcome::Landed(commits) = collection.stream().flush().await? {
            report.commits_flushed = commits;
        }
        Ok::<(), Error>(())
    };
    let error = result.await.err().map(|e| e.to_string());
    CollectionSync {
        version_after: collection.present().version(),
        commits_unflushed: collection.stream().shared().current().tail.lock().len() as u64,
        duration_ms: started.elapsed().as_millis() as u64,
        error,
        ..report
    }
}

fn make_context(settings: &Settings, bucket: &Arc<dyn Bucket>, instance: &Instance, stream: StreamId) -> Context {
    Context {
        bucket: bucket.clone(),
        head: Arc::new(head::HeadReader::new(bucket.clone(), stream.clone())),
        damage: Default::default(),
        unusable: Default::default(),
        serve_damaged: settings.serve_damaged && stream != StreamId::Catalog,
        stream,
        timing: settings.timing.clone(),
        commit_bytes: settings.limits.batch_bytes,
        waiting_writes: settings.limits.waiting_writes,
        writer: instance.writer.clone(),
        moments: Default::default(),
        counters: instance.counters.clone(),
        budget: instance.budget.clone(),
    }
}

impl Inner {
    fn context(&self, stream: StreamId) -> Context {
        make_context(&self.settings, &self.bucket, &self.instance, stream)
    }

    fn surroundings(&self) -> Surroundings {
        let (compute, limits) = (self.compute.clone(), self.limits.clone());
        let (budget, hooks) = (self.instance.budget.clone(), self.hooks.clone());
        Surroundings { compute, limits, budget, hooks, sync_interval: self.settings.sync_interval }
    }

    /// Makes the entries fit the catalog: new live collections begin to load, changed ones get their new record,
    /// others end.
    fn reconcile(self: &Arc<Self>) {
        let mut entries = self.entries.lock();
        // IMPORTANT: load the view under the lock, so that no older view comes after a newer one.
        let view = self.view.load_full();
        entries.retain(|id, entry| {
            let live = view.is_live(*id);
            if !live {
                entry.abandon(StreamError::Dropped);
                if let Some(collection) = entry.ready() {
                    collection.stream().shared().note_handed_over();
                }
            }
            live
        });
        for (id, record) in view.live() {
            if let Some(entry) = entries.get(&id) {
                entry.follow(record);
                continue;
            }
            if self.closing.is_closing() {
                continue;
            }
            let entry = Arc::new(Entry::new(id, record.clone(), Arc::downgrade(self)));
            if !self.settings.load_at_start {
                entry.leave_unloaded();
            }
            entries.insert(id, entry.clone());
            background::tend(self, entry);
        }
    }

    /// A handle of this store; `None` once all others are gone.
    fn handle(self: &Arc<Self>) -> Option<Store> {
        let lifeline = self.lifeline.get()?.upgrade()?;
        Some(Store { inner: self.clone(), scope: Arc::default(), _lifeline: lifeline })
    }

    fn live_entries(&self) -> Vec<Arc<Entry>> {
        let mut entries: Vec<Arc<Entry>> = self.entries.lock().values().cloned().collect();
        entries.sort_by_cached_key(|entry| (entry.record().name.clone(), entry.id));
        entries
    }

    /// The collections that are open, pinned.
    fn pinned_collections(&self) -> Vec<PinGuard> {
        self.live_entries().iter().filter_map(|entry| entry.pinned()).collect()
    }

    fn loading(&self) -> (usize, usize) {
        let entries = self.entries.lock();
        let done = entries.values().filter(|e| !matches!(e.progress(), Progress::Loading)).count();
        (done, entries.len())
    }
}
