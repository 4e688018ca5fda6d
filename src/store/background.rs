//! Work behind the requests: loading, following other instances, and the maintenance of every stream (flush,
//! compaction, graphs, garbage).
//! Invariants: background work never holds a store open; it stops when the store closes; a failure costs only another
//! try.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use rand::Rng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::catalog::{CatalogWrite, RecordState};
use super::entry::{Entry, Eviction, Progress};
use super::files::Looked;
use super::report::Recovery;
use super::{Admin, Inner, PARALLEL_COLLECTIONS, eviction, lifecycle, orphans, reembed};
use crate::bucket::keys::StreamId;
use crate::collection::graph_maintenance as graphs;
use crate::collection::handle::Collection;
use crate::error::{Error, Result};
use crate::record::{CollectionId, Version};
use crate::stream::Stream;
use crate::stream::context::StreamError;
use crate::stream::flush::{Due, Outcome};
use crate::stream::gc::{self, End};
use crate::stream::state::State;
use crate::stream::sweep::Sweep;

/// A collection without use is synced only once in this many intervals: its next use syncs first.
const IDLE_INTERVALS: u64 = 64;

/// In a collection without writes, garbage is looked for less and less often: down to once in 2 to the power of this
/// many intervals.
const MOST_QUIET: u32 = 3;

/// How often a maintenance interval looks for graphs that are due. Until its records are in a graph, every search
/// scans them, and looking is cheap.
const GRAPH_LOOKS: u32 = 5;

/// The signal that a store is closing.
#[derive(Debug)]
pub struct Closing(watch::Sender<bool>);

impl Default for Closing {
    fn default() -> Closing {
        Closing(watch::Sender::new(false))
    }
}

impl Closing {
    /// Sends the signal.
    pub fn close(&self) {
        self.0.send_replace(true);
    }

    /// Whether the signal was sent.
    pub fn is_closing(&self) -> bool {
        *self.0.borrow()
    }

    pub(super) fn watch(&self) -> Sign {
        Sign(self.0.subscribe())
    }
}

/// Waits for the signal; the end of the store counts as one.
#[derive(Clone)]
pub struct Sign(watch::Receiver<bool>);

impl Sign {
    /// Waits for the signal.
    pub async fn given(&mut self) {
        // An error means that the store is gone, which is a signal too.
        let _ = self.0.wait_for(|closing| *closing).await;
    }

    /// Sleeps; false if the signal came.
    pub async fn sleep(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = self.given() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

/// Starts the tasks of a store that has just opened.
pub fn start(inner: &Arc<Inner>) {
    let at_start = inner.live_entries();
    tokio::spawn(report_recovery(Arc::downgrade(inner), at_start.clone(), inner.closing.watch()));
    if inner.settings.memory_limit.is_some() && inner.settings.load_at_start {
        tokio::spawn(eviction::plan(Arc::downgrade(inner), at_start, inner.closing.watch()));
    }
    let limited = inner.settings.memory_limit.is_some() || inner.settings.evict_idle_after.is_some();
    // Idle models leave in any case.
    if limited || cfg!(feature = "embedding") {
        tokio::spawn(eviction::keep_within(Arc::downgrade(inner), inner.closing.watch()));
    }
    tokio::spawn(follow(Arc::downgrade(inner), inner.closing.watch(), inner.settings.sync_interval));
    if inner.settings.maintenance {
        tokio::spawn(keep_catalog(Arc::downgrade(inner), inner.closing.watch()));
    }
}

/// Loads a collection and keeps it until the store forgets it. An evicted collection is loaded again at each new use.
pub fn tend(inner: &Arc<Inner>, entry: Arc<Entry>) {
    let (weak, mut sign) = (Arc::downgrade(inner), inner.closing.watch());
    let mut planned = inner.planned.subscribe();
    tokio::spawn(async move {
        let decided = tokio::select! {
            () = sign.given() => false,
            planned = planned.wait_for(|planned| *planned) => planned.is_ok(),
        };
        if decided {
            tend_for_life(weak, &entry, sign).await;
        }
        entry.abandon(StreamError::Unavailable("the store is closing".to_owned()));
    });
}

async fn tend_for_life(weak: Weak<Inner>, entry: &Entry, mut sign: Sign) {
    let mut maintenance = Maintenance::default();
    loop {
        tokio::select! {
            () = sign.given() => return,
            wanted = entry.wanted() => if !wanted { return },
        }
        let Some(inner) = weak.upgrade() else { return };
        tokio::select! {
            () = sign.given() => return,
            () = entry.load(&inner) => {}
        }
        drop(inner);
        let tended = tend_graphs(weak.clone(), entry, sign.clone());
        tokio::join!(tended, keep_collection(weak.clone(), entry, sign.clone(), &mut maintenance));
        match (entry.progress(), weak.upgrade()) {
            (Progress::Evicted(Eviction::Closing(collection)), Some(inner)) => {
                entry.finish_eviction(&inner, collection).await
            }
            // The collection may have been requested again by now. A damaged one is loaded again once another look
            // finds it sound.
            (Progress::Evicted(_) | Progress::Loading | Progress::Failed(StreamError::Corrupted { .. }), _) => {}
            _ => return,
        }
    }
}

async fn report_recovery(weak: Weak<Inner>, entries: Vec<Arc<Entry>>, mut sign: Sign) {
    let mut recovery = Recovery::default();
    for entry in entries {
        let settled = tokio::select! {
            () = sign.given() => return,
            settled = entry.settled() => settled,
        };
        match settled {
            Ok(Progress::Ready(collection)) => {
                recovery.collections += 1;
                recovery.records += collection.present().count();
            }
            Ok(Progress::Evicted(_)) => recovery.evicted += 1,
            _ => {}
        }
    }
    let Some(inner) = weak.upgrade() else { return };
    let counts = inner.at_start.get_or_init(|| inner.traffic.snapshot());
    recovery.bytes = counts.iter().map(|(_, counts)| counts.bytes_received).sum();
    recovery.graphs_loaded = inner.instance.counters.graphs_loaded.get() as usize;
    recovery.seconds = inner.opened.elapsed().as_secs_f64();
    inner.recovered.send_replace(Some(recovery));
}

/// Reads other instances' commits at every sync interval: those of the catalog, and of collections that were used
/// since the last time. Unused collections are synced rarely, each in its own turn.
async fn follow(weak: Weak<Inner>, mut sign: Sign, interval: Duration) {
    let mut used = std::collections::HashMap::<CollectionId, u64>::new();
    let mut round = 0u64;
    while sign.sleep(interval).await {
        let Some(inner) = weak.upgrade() else { return };
        round += 1;
        if let Err(error) = inner.follow_catalog().await {
            tracing::warn!(%error, "the catalog could not be followed");
            continue;
        }
        stream::iter(inner.live_entries())
            .for_each_concurrent(PARALLEL_COLLECTIONS, |entry| async move { entry.look_again().await })
            .await;
        let collections: Vec<Collection> = inner.live_entries().iter().filter_map(|entry| entry.ready()).collect();
        used.retain(|id, _| collections.iter().any(|c| c.identity().id == *id));
        let due = collections.into_iter().filter(|collection| {
            let (id, requests) = (collection.identity().id, collection.requests());
            let seen = used.insert(id, requests).unwrap_or(0);
            let turn = id.0.as_u128() as u64 % IDLE_INTERVALS;
            // A damaged collection is looked at each time.
            let damaged = collection.stream().shared().damage().is_some();
            damaged || seen != requests || round % IDLE_INTERVALS == turn
        });
        let due: Vec<Collection> = due.collect();
        stream::iter(due)
            .for_each_concurrent(PARALLEL_COLLECTIONS, |collection| async move {
                let Some(collection) = collection.pin() else { return };
                if let Err(error) = collection.stream().sync().await {
                    tracing::warn!(collection = %collection.identity().name, %error, "could not be followed");
                }
            })
            .await;
    }
}

/// Maintenance of one collection, until it has ended or the store closes.
async fn keep_collection(weak: Weak<Inner>, entry: &Entry, mut sign: Sign, maintenance: &mut Maintenance) {
    let mut looked = Looked::default();
    loop {
        let collection = match entry.progress() {
            Progress::Ready(collection) => collection,
            // HEAD is dropped under a live record: the instance that finds this finishes the drop.
            Progress::Failed(StreamError::Dropped) => return finish_found_drop(weak, entry, sign).await,
            _ => return,
        };
        let (interval, enabled) = match weak.upgrade() {
            Some(inner) => (inner.settings.timing.maintenance_interval, inner.settings.maintenance),
            None => return,
        };
        tokio::select! {
            () = sign.given() => return,
            () = entry.left() => continue,
            () = collection.stream().shared().rung() => {}
            () = tokio::time::sleep(interval) => {}
        }
        let Some(collection) = collection.pin() else { continue };
        let Some(inner) = weak.upgrade() else { return };
        if !inner.view.load().is_live(entry.id) {
            return;
        }
        if collection.stream().shared().ended() {
            if let Err(error) = lifecycle::finish_drop(&inner, entry.id).await {
                tracing::warn!(collection = %entry.record().name, %error, "its drop could not be finished yet");
            }
            continue;
        }
        if !enabled || collection.stream().shared().damage().is_some() {
            continue;
        }
        tokio::select! {
            () = sign.given() => return,
            result = maintenance.work(collection.stream()) => log_failure(&entry.record().name, result),
        }
        tokio::select! {
            () = sign.given() => return,
            () = looked.again(&inner, entry, inner.settings.timing.collect_interval) => {}
        }
    }
}

/// Maintenance of one collection's graphs. It runs apart from the rest, which a long build must not delay.
async fn tend_graphs(weak: Weak<Inner>, entry: &Entry, mut sign: Sign) {
    loop {
        let interval = match weak.upgrade() {
            Some(inner) if inner.settings.maintenance => inner.settings.timing.maintenance_interval,
            _ => return,
        };
        let Some(collection) = entry.ready() else { return };
        tokio::select! {
            slept = sign.sleep(interval / GRAPH_LOOKS) => if !slept { return },
            () = entry.left() => return,
        }
        // Under a memory limit, a collection that waits for its turn to build can be evicted meanwhile.
        let turn = match weak.upgrade() {
            Some(inner) if inner.settings.memory_limit.is_some() => Some(inner.graph_turn.clone()),
            Some(_) => None,
            None => return,
        };
        let _turn = match turn {
            None => None,
            Some(turn) => tokio::select! {
                () = sign.given() => return,
                () = entry.left() => return,
                turn = turn.lock_owned() => Some(turn),
            },
        };
        let Some(collection) = collection.pin() else { return };
        let shared = collection.stream().shared();
        let live = weak.upgrade().is_some_and(|inner| inner.view.load().is_live(entry.id));
        if !live || shared.ended() || shared.damage().is_some() {
            return;
        }
        tokio::select! {
            () = sign.given() => return,
            result = keep_indexes(&collection, graphs::Effort::Due) => log_failure(&entry.record().name, result),
        }
    }
}

/// Brings a collection's graphs and inverted indexes up to date, and stores a map that could not be stored before.
async fn keep_indexes(collection: &Collection, how: graphs::Effort) -> Result<(), StreamError> {
    while collection.keep_graphs(how).await? {}
    while collection.keep_inverted(how != graphs::Effort::Due).await? {}
    #[cfg(feature = "server")]
    collection.keep_map_stored().await;
    Ok(())
}

/// Finishes a drop that was found half done; repeats that until it succeeds.
async fn finish_found_drop(weak: Weak<Inner>, entry: &Entry, mut sign: Sign) {
    while let Some(inner) = weak.upgrade() {
        let interval = inner.settings.timing.maintenance_interval;
        match lifecycle::finish_drop(&inner, entry.id).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(collection = %entry.record().name, %error, "its drop could not be finished yet")
            }
        }
        drop(inner);
        if !sign.sleep(interval).await {
            return;
        }
    }
}

fn log_failure(name: &str, result: Result<(), StreamError>) {
    if let Err(error) = result {
        tracing::warn!(%name, %error, "maintenance failed and will be tried again");
    }
}

/// What maintenance of one stream remembers between rounds.
#[derive(Debug, Default)]
struct Maintenance {
    written: u64,
    collected: Option<Instant>,
    /// The version at which garbage was last looked for, and for how many rounds in a row it was this one.
    collected_at: Version,
    quiet: u32,
    /// Whether this instance has swept since this flag was last read.
    swept: bool,
}

impl Maintenance {
    /// Flushes, compacts, collects and sweeps what is due.
    async fn work<S: State>(&mut self, stream: &Stream<S>) -> Result<(), StreamError> {
        let written = stream.shared().written();
        let due = if written > self.written { Due::Own } else { Due::Others };
        if stream.flush_due(due) {
            if due == Due::Others {
                jitter(stream).await;
            }
            stream.flush().await?;
            self.written = written;
            while let Outcome::Landed(_) = stream.compact().await? {}
        }
        let version = stream.shared().state().lock().version();
        if version != self.collected_at {
            (self.collected_at, self.quiet) = (version, 0);
        }
        // Without writes there is less and less garbage.
        let interval = stream.context().timing.collect_interval * 2u32.pow(self.quiet);
        if self.collected.is_none_or(|at| at.elapsed() >= interval) {
            self.collected = Some(Instant::now());
            self.quiet = (self.quiet + 1).min(MOST_QUIET);
            stream.collect().await?;
            self.swept |= stream.sweep(Sweep::IfDue).await?.is_some();
        }
        Ok(())
    }
}

impl Admin<'_> {
    /// One round of all maintenance, due or not, for stores that run without it. It flushes, compacts and collects
    /// every collection and the catalog, updates graphs, finishes drops, and purges collections that were dropped
    /// long enough ago. It continues when one stream fails, and returns the first failure.
    #[doc(hidden)]
    pub async fn maintain(self) -> Result<()> {
        let inner = &self.store.inner;
        let mut first = Ok(());
        for entry in inner.live_entries() {
            let done = maintain_entry(inner, &entry).await;
            first = first.and(done);
        }
        first = first.and(round(&inner.catalog).await.map_err(Error::from));
        purge_dropped(inner).await;
        reembed::drop_left_over(inner).await;
        first
    }
}

async fn maintain_entry(inner: &Arc<Inner>, entry: &Entry) -> Result<()> {
    match entry.opened().await {
        Ok(collection) if !collection.stream().shared().ended() => {
            round(collection.stream()).await?;
            Ok(keep_indexes(&collection, graphs::Effort::Settle).await?)
        }
        Ok(_) | Err(StreamError::Dropped) => lifecycle::finish_drop(inner, entry.id).await,
        Err(error) => Err(error.into()),
    }
}

async fn round<S: State>(stream: &Stream<S>) -> Result<(), StreamError> {
    stream.flush().await?;
    while let Outcome::Landed(_) = stream.compact().await? {}
    stream.collect().await?;
    Ok(())
}

/// Spreads out instances that would flush at the same moment.
async fn jitter<S: State>(stream: &Stream<S>) {
    let most = stream.context().timing.maintenance_interval;
    let wait = most.mul_f64(rand::rng().random::<f64>());
    tokio::time::sleep(wait).await;
}

/// Maintenance of the catalog, and the purge of dropped collections.
async fn keep_catalog(weak: Weak<Inner>, mut sign: Sign) {
    let mut maintenance = Maintenance::default();
    let mut purged: Option<Instant> = None;
    loop {
        let (catalog, timing) = match weak.upgrade() {
            Some(inner) => (inner.catalog.clone(), inner.settings.timing.clone()),
            None => return,
        };
        tokio::select! {
            () = sign.given() => return,
            () = catalog.shared().rung() => {}
            () = tokio::time::sleep(timing.maintenance_interval) => {}
        }
        tokio::select! {
            () = sign.given() => return,
            result = maintenance.work(&catalog) => log_failure("catalog", result),
        }
        let Some(inner) = weak.upgrade() else { return };
        // Orphaned streams are swept by the instance that has swept the catalog.
        if std::mem::take(&mut maintenance.swept) {
            let swept = tokio::select! {
                () = sign.given() => return,
                swept = orphans::sweep_streams(&inner) => swept,
            };
            tokio::select! {
                () = sign.given() => return,
                () = reembed::sweep_abandoned(&inner) => {}
            }
            if let Err(error) = swept {
                tracing::warn!(%error, "orphaned streams could not be swept");
            }
        }
        if purged.is_none_or(|at| at.elapsed() >= timing.collect_interval) {
            purged = Some(Instant::now());
            tokio::select! {
                () = sign.given() => return,
                () = purge_dropped(&inner) => {}
            }
            tokio::select! {
                () = sign.given() => return,
                () = reembed::drop_left_over(&inner) => {}
            }
        }
    }
}

/// Deletes what is left of collections that were dropped T_KEEP ago, then their records.
pub(super) async fn purge_dropped(inner: &Arc<Inner>) {
    let view = inner.view.load_full();
    let dropped = view.collections.iter().filter(|(_, record)| record.state == RecordState::Dropped);
    for (id, record) in dropped {
        if let Err(error) = purge(inner, *id).await {
            tracing::warn!(collection = %record.name, %error, "the rest of the collection could not be deleted yet");
        }
    }
}

async fn purge(inner: &Arc<Inner>, id: CollectionId) -> Result<()> {
    let stream = StreamId::Collection(id);
    let context = Arc::new(inner.context(stream.clone()));
    match gc::purge(&context, &inner.swapper(stream)).await {
        Ok(End::Reached) | Err(StreamError::Missing) => {
            inner.catalog.write(CatalogWrite::Remove { id }).await?;
            Ok(())
        }
        Ok(End::Waiting) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
