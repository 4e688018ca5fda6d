//! Pins: whether a collection's records are in memory, and how many users they have.
//! Invariant: every user of an open collection pins it. Eviction needs that nobody does, and from then on nobody can.
//! The handle of an evicted collection asks the store to load it. Snapshots that are kept without a pin end with the
//! eviction.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::handle::Collection;
use super::request::{EmbedRequest, ScoreRequest};
use super::state::snapshot::Snapshot;
use crate::error::Result;
use crate::memory::Reservation;
use crate::record::CollectionId;

/// In place of the number of pins: the collection was evicted.
const CLOSED: usize = usize::MAX;

/// How many users pin an open collection, and when it was last used.
#[derive(Debug)]
pub struct Pins {
    pins: AtomicUsize,
    since: Instant,
    /// Milliseconds from `since` to the last use.
    used_ms: AtomicU64,
    /// Snapshots that are kept without a pin.
    kept: Mutex<Vec<Weak<KeptSnapshot>>>,
}

/// A snapshot that somebody keeps for later, until the collection is evicted: memory that counts as free must not be
/// held.
#[derive(Debug)]
pub struct KeptSnapshot(Mutex<Option<Arc<Snapshot>>>);

#[cfg_attr(not(feature = "server"), allow(dead_code))]
impl KeptSnapshot {
    /// One that no eviction ends.
    pub fn alone(snapshot: Arc<Snapshot>) -> KeptSnapshot {
        KeptSnapshot(Mutex::new(Some(snapshot)))
    }

    /// The snapshot; `None` once the collection was evicted.
    pub fn get(&self) -> Option<Arc<Snapshot>> {
        self.0.lock().clone()
    }
}

impl Default for Pins {
    fn default() -> Pins {
        Pins { pins: AtomicUsize::new(0), since: Instant::now(), used_ms: AtomicU64::new(0), kept: Mutex::default() }
    }
}

impl Pins {
    fn enter(&self) -> bool {
        // The count never reaches CLOSED.
        let more = |pins: usize| pins.checked_add(1);
        self.pins.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn leave(&self) {
        self.pins.fetch_sub(1, Ordering::SeqCst);
    }

    fn end(&self) -> bool {
        self.pins.compare_exchange(0, CLOSED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Keeps a snapshot of the collection; `None` if the collection was evicted.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub fn keep(&self, snapshot: Arc<Snapshot>) -> Option<Arc<KeptSnapshot>> {
        let mut kept = self.kept.lock();
        // IMPORTANT: with the lock held. The eviction closes first and lets go of what is kept later.
        if self.pins.load(Ordering::SeqCst) == CLOSED {
            return None;
        }
        kept.retain(|other| other.strong_count() > 0);
        let one = Arc::new(KeptSnapshot::alone(snapshot));
        kept.push(Arc::downgrade(&one));
        Some(one)
    }

    fn let_go(&self) {
        let kept = std::mem::take(&mut *self.kept.lock());
        kept.iter().filter_map(Weak::upgrade).for_each(|one| drop(one.0.lock().take()));
    }

    /// Notes a use now.
    pub fn touch(&self) {
        self.used_ms.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long it has been in memory.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long it has been without use.
    pub fn idle(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.used_ms.load(Ordering::Relaxed)))
    }
}

/// A collection that stays in memory as long as this lives.
#[derive(Debug)]
pub struct PinGuard(Collection);

impl Deref for PinGuard {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.0
    }
}

impl PinGuard {
    /// A handle of it that pins nothing.
    pub fn handle(&self) -> Collection {
        self.0.clone()
    }
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        self.0.pins().leave();
    }
}

type LoadHook = dyn Fn(CollectionId) -> BoxFuture<'static, Result<PinGuard>> + Send + Sync;
type EmbedHook = dyn Fn(EmbedRequest) -> BoxFuture<'static, Result<Vec<Vec<f32>>>> + Send + Sync;
type TokenEndsHook = dyn Fn(EmbedRequest) -> BoxFuture<'static, Result<Vec<Vec<usize>>>> + Send + Sync;
type ScoreHook = dyn Fn(ScoreRequest) -> BoxFuture<'static, Result<Vec<f32>>> + Send + Sync;
type MakeRoomHook = dyn Fn(CollectionId, u64) -> BoxFuture<'static, Result<Reservation>> + Send + Sync;

/// What a collection asks of the store, because only the store can do it.
#[derive(Clone)]
pub struct StoreHooks {
    /// Loads a collection that was evicted, and pins it.
    pub load: Arc<LoadHook>,
    /// Reserves bytes for a write to a collection, which may evict others.
    pub make_room: Arc<MakeRoomHook>,
    /// Makes embeddings of texts.
    pub embed: Arc<EmbedHook>,
    /// Finds the byte behind each token of texts.
    pub token_ends: Arc<TokenEndsHook>,
    /// Compares texts with a query, by a cross-encoder.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub score: Arc<ScoreHook>,
}

impl fmt::Debug for StoreHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreHooks")
    }
}

impl Collection {
    /// Pins it, unless it was evicted.
    pub(crate) fn pin(&self) -> Option<PinGuard> {
        self.pins().enter().then(|| PinGuard(self.clone()))
    }

    /// Pins it, or the collection that the store loads in its place.
    pub(crate) async fn pinned(&self) -> Result<PinGuard> {
        match self.pin() {
            Some(pinned) => Ok(pinned),
            None => (self.surroundings().hooks.load)(self.identity().id).await,
        }
    }

    /// Closes it to pins; false if somebody pins it.
    pub(crate) fn close_to_pins(&self) -> bool {
        self.pins().end()
    }

    /// Bytes of memory that would be freed if it were evicted.
    pub(crate) fn evictable_bytes(&self) -> u64 {
        let (present, current) = (self.present(), self.stream().shared().current());
        let tail = current.tail.lock().size_bytes();
        let bytes = present.footprint().sum() + present.owed_bytes() + tail;
        #[cfg(feature = "server")]
        let bytes = bytes + self.map_bytes();
        bytes
    }

    /// Frees its records, which every handle still keeps in memory. The stream must be closed already.
    pub(crate) fn free_records(&self) {
        self.pins().let_go();
        #[cfg(feature = "server")]
        self.free_map();
        let current = self.stream().shared().current();
        let mut tail = current.tail.lock();
        let tail_bytes = tail.size_bytes();
        tail.clear();
        drop(tail);
        current.state.lock().free_records(tail_bytes);
    }
}
