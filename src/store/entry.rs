//! Entries: the collections of a store in this instance. Each live record of the catalog has an entry, which is
//! loading, ready, evicted, or failed. Polls and requests look again at an entry that failed for damage.
//! Invariants: there is at most one entry, and so one writer, per collection: the old writer has ended before a new
//! one begins. What an open handle reports about itself is what the newest record says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Inner;
use super::catalog::CollectionRecord;
use super::eviction;
use crate::bucket::backoff;
use crate::bucket::keys::StreamId;
use crate::collection::estimate::LoadSize;
use crate::collection::handle::{Collection, Identity, SharedView};
use crate::collection::pin::PinGuard;
use crate::collection::stream_state::CollectionState;
use crate::compute::off_thread;
use crate::error::{Error, Result};
use crate::record::{CollectionId, Metadata};
use crate::stream::context::{Context, StreamError};
use crate::stream::heal::{self, KnownDamage};
use crate::stream::{Fresh, Stream};

/// Commits in the tail, and bytes of them, from which on a collection is flushed before its eviction. A smaller tail
/// is read as quickly from the log when the collection is loaded again, and is then in memory twice.
const FLUSH_COMMITS: usize = 16;
const FLUSH_BYTES: u64 = 64 << 10;
/// How long a flush before an eviction may take. What it does not finish is in the log.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// The state of an entry.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The collection is being read from the bucket.
    Loading,
    /// The collection is open.
    Ready(Collection),
    /// The collection is known, but not in memory.
    Evicted(Eviction),
    /// The collection cannot be opened.
    Failed(StreamError),
}

/// The stage of an eviction.
#[derive(Debug, Clone)]
pub enum Eviction {
    /// The writer is being closed. The collection can no longer be pinned.
    Closing(Collection),
    /// The collection is out of memory until its next use.
    Done,
    /// The last use found no memory for the collection.
    Refused(StreamError),
}

/// One live collection of the catalog in this instance.
#[derive(Debug)]
pub struct Entry {
    /// Which collection.
    pub id: CollectionId,
    record: ArcSwap<CollectionRecord>,
    progress: watch::Sender<Progress>,
    /// Held while the record is passed to the handle, so that an older record never comes last.
    updating: Mutex<()>,
    /// The state shared by all its handles, once there is a handle.
    shared_view: Mutex<Option<SharedView>>,
    /// The estimated size, if it was just found out.
    size: Mutex<Option<LoadSize>>,
    /// Whether a use caused the present loading.
    load_requested: AtomicBool,
    inner: Weak<Inner>,
    /// The damage that made the last opening fail.
    damage: KnownDamage,
    /// Held while the damage is looked at again.
    looking: tokio::sync::Mutex<()>,
}

impl Entry {
    /// An entry that begins to load.
    pub fn new(id: CollectionId, record: Arc<CollectionRecord>, inner: Weak<Inner>) -> Entry {
        Entry {
            id,
            record: ArcSwap::new(record),
            progress: watch::Sender::new(Progress::Loading),
            updating: Mutex::new(()),
            shared_view: Mutex::new(None),
            size: Mutex::new(None),
            load_requested: AtomicBool::new(false),
            inner,
            damage: KnownDamage::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Its record in the catalog, as this instance knows it.
    pub fn record(&self) -> Arc<CollectionRecord> {
        self.record.load_full()
    }

    /// Takes over the present record of the catalog.
    pub fn follow(&self, record: &Arc<CollectionRecord>) {
        if !Arc::ptr_eq(&self.record.load(), record) {
            self.record.store(record.clone());
            self.update_handles();
        }
    }

    /// Passes the record to the handles.
    fn update_handles(&self) {
        let _updating = self.updating.lock();
        let Some(shared_view) = self.shared_view() else { return };
        match identity(self.id, &self.record()) {
            Ok(identity) => shared_view.identity.store(Arc::new(identity)),
            Err(error) => tracing::error!(collection = %self.id, %error, "its record cannot be read"),
        }
    }

    /// The state shared by its handles, if there ever was one.
    pub fn shared_view(&self) -> Option<SharedView> {
        self.shared_view.lock().clone()
    }

    /// Its present state.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// The collection, if it is open.
    pub fn ready(&self) -> Option<Collection> {
        match self.progress() {
            Progress::Ready(collection) => Some(collection),
            _ => None,
        }
    }

    /// The collection, pinned, if it is open.
    pub fn pinned(&self) -> Option<PinGuard> {
        self.ready()?.pin()
    }

    /// Waits until the collection is open or cannot be opened, and pins it. An evicted collection is loaded.
    pub async fn opened(&self) -> Result<PinGuard, StreamError> {
        let (mut asked, mut looked) = (false, false);
        loop {
            match self.settled().await? {
                Progress::Ready(collection) => match collection.pin() {
                    Some(pinned) => return Ok(pinned),
                    // The collection was evicted between the two steps.
                    None => tokio::task::yield_now().await,
                },
                Progress::Failed(_) if !looked => {
                    looked = true;
                    self.look_again().await;
                }
                Progress::Failed(error) => return Err(error),
                Progress::Evicted(Eviction::Refused(error)) if asked => return Err(error),
                Progress::Evicted(_) => asked |= self.request_load(),
                Progress::Loading => {}
            }
        }
    }

    /// Waits while the collection is being loaded or closed.
    pub async fn settled(&self) -> Result<Progress, StreamError> {
        let mut watch = self.progress.subscribe();
        let moving = |p: &Progress| matches!(p, Progress::Loading | Progress::Evicted(Eviction::Closing(_)));
        let settled = watch.wait_for(|p| !moving(p)).await;
        let closing = || StreamError::Unavailable("the store is closing".to_owned());
        settled.map(|p| p.clone()).map_err(|_| closing())
    }

    /// Requests a load; false if the collection was not evicted.
    fn request_load(&self) -> bool {
        self.progress.send_if_modified(|p| match p {
            Progress::Evicted(Eviction::Done | Eviction::Refused(_)) => {
                self.load_requested.store(true, Ordering::Relaxed);
                *p = Progress::Loading;
                true
            }
            _ => false,
        })
    }

    /// Waits until a load is requested; false if the entry ends instead.
    pub async fn wanted(&self) -> bool {
        let mut watch = self.progress.subscribe();
        let over = |p: &Progress| matches!(p, Progress::Failed(why) if !matches!(why, StreamError::Corrupted { .. }));
        let decided = watch.wait_for(|p| matches!(p, Progress::Loading) || over(p)).await;
        matches!(decided.as_deref(), Ok(Progress::Loading))
    }

    /// The damage that keeps the collection from being opened.
    pub fn damage(&self) -> Option<(String, String)> {
        self.damage.get()
    }

    /// Looks again at the damage that keeps the collection from being opened, unless that was just done. If the
    /// damage is gone, the collection is loaded again.
    pub async fn look_again(&self) {
        let damaged = |p: &Progress| matches!(p, Progress::Failed(StreamError::Corrupted { .. }));
        if !damaged(&self.progress.borrow()) {
            return;
        }
        let _looking = self.looking.lock().await;
        let (Some((key, _)), Some(inner)) = (self.damage.get(), self.inner.upgrade()) else { return };
        if !damaged(&self.progress.borrow()) || !self.damage.is_due() || inner.closing.is_closing() {
            return;
        }
        let began = Instant::now();
        let looked = heal::look(&Arc::new(self.context(&inner)), &key).await;
        self.damage.looked(began.elapsed());
        match looked {
            Ok(()) | Err(StreamError::Dropped) => {
                self.progress.send_if_modified(|p| {
                    let waits = damaged(p);
                    if waits {
                        *p = Progress::Loading;
                    }
                    waits
                });
            }
            Err(error) => tracing::debug!(collection = %self.record().name, %error, "still cannot be loaded"),
        }
    }

    /// The context in which the collection is opened.
    fn context(&self, inner: &Inner) -> Context {
        let context = inner.context(StreamId::Collection(self.id));
        if let Some((key, cause)) = self.damage.get() {
            // For damage that is known already, the opening does not wait again.
            context.damage.note(&key, &cause);
        }
        context
    }

    /// Waits until the collection is no longer open.
    pub async fn left(&self) {
        let mut watch = self.progress.subscribe();
        // An error means that the entry is gone, which ends the wait too.
        let _ = watch.wait_for(|p| !matches!(p, Progress::Ready(_))).await;
    }

    /// Leaves the collection unloaded at the start, unless somebody has asked for it. Drops the noted size.
    pub fn leave_unloaded(&self) {
        self.size.lock().take();
        self.progress.send_replace(Progress::Evicted(Eviction::Done));
    }

    /// Waits while the collection is being closed. By then somebody may have asked for it again.
    pub async fn closed(&self) {
        let mut watch = self.progress.subscribe();
        // An error means that the entry is gone, which ends the wait too.
        let _ = watch.wait_for(|p| !matches!(p, Progress::Evicted(Eviction::Closing(_)))).await;
    }

    /// Begins to evict the collection, if it is open and nobody pins it. The task that tends the entry does the rest.
    /// A damaged collection stays: its sound part might not be served again.
    pub fn begin_eviction(&self) -> bool {
        self.progress.send_if_modified(|p| {
            let Progress::Ready(collection) = p else { return false };
            let shared = collection.stream().shared();
            if shared.ended() || shared.damage().is_some() || !collection.close_to_pins() {
                return false;
            }
            *p = Progress::Evicted(Eviction::Closing(collection.clone()));
            true
        })
    }

    /// The rest of an eviction: waiting writes finish, and the memory is freed.
    pub async fn finish_eviction(&self, inner: &Inner, collection: Collection) {
        let name = &self.record().name;
        collection.stream().close().await;
        let (commits, bytes) = {
            let current = collection.stream().shared().current();
            let tail = current.tail.lock();
            (tail.len(), tail.size_bytes())
        };
        if (commits >= FLUSH_COMMITS || bytes >= FLUSH_BYTES) && inner.settings.maintenance {
            match tokio::time::timeout(FLUSH_LIMIT, collection.stream().flush()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%name, %error, "was not flushed; its writes are safe in the log"),
                Err(_) => tracing::warn!(%name, "was not flushed in time; its writes are safe in the log"),
            }
        }
        // Freeing much memory takes time. Either it completes or the process ends, which frees the memory too.
        let _ = off_thread(move || collection.free_records()).await;
        inner.instance.counters.evictions.count();
        tracing::info!(%name, "evicted: it is not in memory until somebody uses it");
        self.progress.send_replace(Progress::Evicted(Eviction::Done));
    }

    /// Marks that no task tends the entry any more, and passes the reason to its waiters.
    pub fn abandon(&self, why: StreamError) {
        self.progress.send_if_modified(|p| {
            let damaged = matches!(p, Progress::Failed(StreamError::Corrupted { .. }));
            let waits =
                matches!(p, Progress::Loading | Progress::Evicted(Eviction::Done | Eviction::Refused(_))) || damaged;
            if waits {
                *p = Progress::Failed(why);
            }
            waits
        });
    }

    /// Notes its estimated size.
    pub fn note_size(&self, size: LoadSize) {
        *self.size.lock() = Some(size);
    }

    /// Takes its estimated size, if one was noted since the last call.
    pub fn take_size(&self) -> Option<LoadSize> {
        self.size.lock().take()
    }

    /// Opens the collection. While the bucket does not answer, it tries again, as long as the store lives.
    pub async fn load(&self, inner: &Arc<Inner>) {
        let (mut attempt, began) = (0, Instant::now());
        loop {
            let opened = {
                let Ok(_permit) = inner.recovery.acquire().await else { return };
                self.open(inner).await
            };
            let progress = match opened {
                Ok(collection) => {
                    if self.load_requested.swap(false, Ordering::Relaxed) {
                        inner.instance.counters.reloads.count();
                    }
                    self.damage.clear();
                    Progress::Ready(collection)
                }
                Err(StreamError::Unavailable(why)) if !inner.closing.is_closing() => {
                    tracing::warn!(collection = %self.record().name, %why, "cannot be loaded now, trying again");
                    let timing = &inner.settings.timing;
                    backoff::pause(timing.backoff, timing.backoff_max, attempt).await;
                    attempt += 1;
                    continue;
                }
                Err(error @ StreamError::NoRoom(_)) => {
                    tracing::warn!(collection = %self.record().name, %error, "stays evicted");
                    Progress::Evicted(Eviction::Refused(error))
                }
                Err(error) => {
                    self.note_failure(&error, began);
                    Progress::Failed(error)
                }
            };
            self.progress.send_replace(progress);
            // The record may have changed while the collection was read.
            self.update_handles();
            return;
        }
    }

    fn note_failure(&self, error: &StreamError, began: Instant) {
        let StreamError::Corrupted { key, cause } = error else {
            tracing::error!(collection = %self.record().name, %error, "cannot be loaded");
            return;
        };
        match self.damage.note(key, cause) {
            true => tracing::error!(collection = %self.record().name, %error, "cannot be loaded"),
            // An earlier look had found nothing wrong, so only reading everything shows the damage.
            false => self.damage.looked(began.elapsed()),
        }
    }

    async fn open(&self, inner: &Arc<Inner>) -> Result<Collection, StreamError> {
        let (id, record) = (self.id, self.record());
        let damaged =
            |cause: Error| StreamError::Corrupted { key: format!("catalog, record c:{id}"), cause: cause.to_string() };
        let identity = identity(id, &record).map_err(damaged)?;
        let metric = identity.metric;
        let shared_view = self.shared_view.lock().get_or_insert_with(|| SharedView::new(identity)).clone();
        let _room = eviction::room_for_load(inner, self).await?;
        let fresh: Fresh<CollectionState> = {
            let (limits, published, budget) =
                (inner.limits.clone(), shared_view.published.clone(), inner.instance.budget.clone());
            Arc::new(move || CollectionState::new(metric, limits.as_ref().clone(), published.clone(), budget.account()))
        };
        let stream = match Stream::open(self.context(inner), fresh).await {
            // HEAD is created before the record, and is never deleted (docs/protocol.md#create).
            Err(StreamError::Missing) => {
                let key = StreamId::Collection(id).head();
                return Err(StreamError::Corrupted { key, cause: "it is missing under a live record".to_owned() });
            }
            opened => opened?,
        };
        Ok(Collection::new(shared_view, stream, inner.surroundings()))
    }
}

/// What the catalog says about a collection, in the form that its handle keeps.
pub fn identity(id: CollectionId, record: &CollectionRecord) -> Result<Identity> {
    let metadata = match &record.metadata {
        None => None,
        Some(map) => Some(Metadata::from_json(&serde_json::Value::Object(map.clone()))?),
    };
    Ok(Identity {
        id,
        name: record.name.clone(),
        scope: record.scope(),
        metric: record.configuration.metric,
        metadata,
        index: record.configuration.index.clone(),
        text: record.configuration.text.clone(),
        embedder: record.configuration.embedder.clone(),
        splitting: record.configuration.splitting.clone(),
        extension: record.configuration.extension.clone(),
        complete_at: record.complete_at(),
    })
}
