//! The map of a collection: made in the background when somebody asks for it, which continues the one before it if few
//! records have changed. It is kept in the bucket ([`stored_map`](super::stored_map)), and in memory until the
//! collection is evicted, a newer map takes its place, or its memory is needed while nobody asks for it.
//! Invariant: one map at most is being made of a collection; a map is of one version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::handle::Collection;
use super::read::map::{GroupNeighbours, MapRows, PlacedRecords};
use super::request::Consistency;
use super::state::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::memory::{Account, Budget, Purpose};
use crate::record::Version;

/// The share of the work that neighbours take, in what is told as progress.
const NEIGHBOURS_SHARE: f32 = 0.5;

/// The records of a collection in two dimensions.
#[derive(Debug)]
pub struct CollectionMap {
    /// The version that it is of.
    pub version: Version,
    /// Where its records are.
    pub records: PlacedRecords,
    /// Whether the bucket has it, or a newer one.
    pub(super) is_stored: AtomicBool,
    /// Counts its memory.
    _account: Account,
}

impl CollectionMap {
    /// A map in memory, which is counted.
    pub(super) fn new(version: Version, records: PlacedRecords, is_stored: bool, budget: &Arc<Budget>) -> Arc<Self> {
        let mut account = budget.account();
        account.set(records.bytes(), 0);
        Arc::new(CollectionMap { version, records, is_stored: is_stored.into(), _account: account })
    }
}

/// What there is of a collection's map.
#[derive(Debug, Clone, Default)]
pub struct MapState {
    /// The map that was made last.
    pub done: Option<Arc<CollectionMap>>,
    /// A newer one is being made; the share that is done, from 0 to 1.
    pub running: Option<f32>,
    /// Why the last one could not be made.
    pub failed: Option<Error>,
    /// Counts the maps that were begun.
    run: u64,
    /// When somebody last asked for the map.
    asked: Option<Instant>,
    /// When the bucket was last looked at for one.
    looked: Option<Instant>,
}

/// The place of a collection's map.
#[derive(Debug, Default)]
pub struct MapPlace {
    state: Mutex<MapState>,
    /// Held while a map is loaded or stored.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl MapPlace {
    /// What there is.
    pub fn state(&self) -> MapState {
        self.state.lock().clone()
    }

    /// Takes the place for a new map of `version`; `None` if there is no need for one.
    fn begin(self: &Arc<Self>, version: Version) -> Option<MapRun> {
        let mut state = self.state.lock();
        state.asked = Some(Instant::now());
        let is_made = state.failed.is_none() && state.done.as_ref().is_some_and(|map| map.version == version);
        if state.running.is_some() || is_made {
            return None;
        }
        state.run += 1;
        (state.running, state.failed) = (Some(0.0), None);
        Some(MapRun { place: self.clone(), run: state.run })
    }

    /// Whether it is time to look at the bucket for a map, which is noted.
    pub(super) fn begin_look(&self, interval: Duration) -> bool {
        let mut state = self.state.lock();
        let is_due = state.looked.is_none_or(|at| at.elapsed() >= interval);
        if is_due {
            state.looked = Some(Instant::now());
        }
        is_due
    }

    /// Has the next one who asks look at the bucket again.
    pub(super) fn look_again(&self) {
        self.state.lock().looked = None;
    }

    /// Takes in a map of the bucket, unless there is a newer one.
    pub(super) fn adopt(&self, map: Arc<CollectionMap>) {
        let mut state = self.state.lock();
        if state.done.as_ref().is_none_or(|done| done.version < map.version) {
            state.done = Some(map);
        }
    }

    /// Lets go of a map that the bucket has, and that nobody has asked for during `idle`. Returns whether it did.
    fn let_go(&self, idle: Duration) -> bool {
        let mut state = self.state.lock();
        let is_idle = state.running.is_none() && state.asked.is_none_or(|at| at.elapsed() >= idle);
        // A request that is answering it, or the storing of it, holds it too: nothing would be free.
        let can_go = |map: &Arc<CollectionMap>| map.is_stored.load(Ordering::Relaxed) && Arc::strong_count(map) == 1;
        if !is_idle || !state.done.as_ref().is_some_and(can_go) {
            return false;
        }
        state.looked = None;
        let left = state.done.take();
        drop(state);
        left.is_some()
    }
}

/// A map that is being made. Dropped before its end, it has failed.
#[derive(Debug)]
struct MapRun {
    place: Arc<MapPlace>,
    run: u64,
}

impl MapRun {
    /// Tells how far it is. Parts of a run that has ended may still tell; they are not heard.
    fn tell(&self, share: f32) {
        let mut state = self.place.state.lock();
        if state.run == self.run && state.running.is_some() {
            state.running = Some(share);
        }
    }

    fn end(&self, made: Result<Arc<CollectionMap>>) {
        let mut state = self.place.state.lock();
        if state.run == self.run && state.running.take().is_some() {
            match made {
                Ok(map) => state.done = Some(map),
                Err(error) => state.failed = Some(error),
            }
        }
    }
}

impl Drop for MapRun {
    fn drop(&mut self) {
        self.end(Err(Error::internal("the map was not finished: its work ended early")));
    }
}

impl Collection {
    /// Has a map of the newest version made in the background, if there is none: its records in two dimensions, for the
    /// page and `GET /api/collections/{name}/map`.
    ///
    /// # Errors
    /// `Invalid` if the records have no embeddings; `Limit` if they are too many.
    pub async fn make_map(&self) -> Result<()> {
        self.begin_map().await.map(drop)
    }

    /// Begins to make a map of the newest version, if there is none.
    ///
    /// # Errors
    /// `Invalid` if the records have no embeddings; `Limit` if they are too many.
    pub(crate) async fn begin_map(&self) -> Result<MapState> {
        let pinned = self.used().await?;
        let snapshot = pinned.snapshot(Consistency::Local).await?;
        MapRows::check(&snapshot)?;
        let place = pinned.map_place().clone();
        if let Some(run) = place.begin(snapshot.version()) {
            let run = Arc::new(run);
            tokio::spawn(async move {
                let made = pinned.made_map(snapshot, run.clone()).await;
                run.end(made);
                pinned.keep_map_stored().await;
            });
        }
        Ok(place.state())
    }

    /// What there is of its map, that of the bucket included.
    ///
    /// # Errors
    /// `Unavailable` if there is none in memory and the bucket does not answer; `Limit` if there is no memory for it.
    pub(crate) async fn map_state(&self) -> Result<MapState> {
        let pinned = self.used().await?;
        let place = pinned.map_place();
        place.state.lock().asked = Some(Instant::now());
        let state = place.state();
        if state.running.is_none() {
            pinned.look_for_map(state.done.is_some()).await?;
        }
        Ok(place.state())
    }

    /// Bytes of memory that its map takes.
    pub(super) fn map_bytes(&self) -> u64 {
        self.map_place().state().done.map_or(0, |map| map.records.bytes())
    }

    /// Lets go of its map, which nobody is making.
    pub(super) fn free_map(&self) {
        drop(self.map_place().state.lock().done.take());
    }

    /// Lets go of a map that nobody has asked for during `idle`, and that can be loaded again. Returns whether it did.
    pub(crate) fn let_map_go(&self, idle: Duration) -> bool {
        self.map_place().let_go(idle)
    }

    /// The map of a snapshot: that of the bucket if it is of this version, else a new one.
    async fn made_map(&self, snapshot: Arc<Snapshot>, run: Arc<MapRun>) -> Result<Arc<CollectionMap>> {
        if let Err(error) = self.load_map().await {
            tracing::debug!(%error, "a stored map cannot be continued");
        }
        match run.place.state().done {
            Some(map) if map.version == snapshot.version() => Ok(map),
            former => self.new_map(snapshot, former, run).await,
        }
    }

    async fn new_map(
        &self,
        snapshot: Arc<Snapshot>,
        former: Option<Arc<CollectionMap>>,
        run: Arc<MapRun>,
    ) -> Result<Arc<CollectionMap>> {
        // IMPORTANT: the turn before the memory, which would else be held by all that wait.
        let _turn = self.compute().long_turn().await?;
        let (version, budget) = (snapshot.version(), self.surroundings().budget.clone());
        let rows = self
            .compute()
            .search(move |interrupt| MapRows::of(snapshot, former.as_ref().map(|former| &former.records), interrupt));
        let rows = rows.await??;
        let bytes = rows.work_bytes();
        let work = match budget.limit_bytes() {
            None => None,
            Some(_) => match budget.reserve(bytes, Purpose::Work) {
                None => return Err(budget.refusal("a map of this collection", bytes, Purpose::Work)),
                room => room,
            },
        };
        let (groups, rows, done) = (rows.groups(), Arc::new(rows), AtomicUsize::new(0));
        let (limits, searched, told) = (self.surroundings().limits.clone(), rows.clone(), run.clone());
        let shared = self.stream().shared().clone();
        let neighbours = self.compute().later_batch(groups, move |group, interrupt| {
            // Nobody looks at the map of what is dropped.
            if shared.ended() {
                return Err(Error::not_found("the collection was dropped"));
            }
            let found = searched.neighbours(group, &limits, interrupt);
            let share = (done.fetch_add(1, Ordering::Relaxed) + 1) as f32 / groups as f32;
            told.tell(share * NEIGHBOURS_SHARE);
            found
        });
        let neighbours = neighbours.await?.into_iter().collect::<Result<Vec<GroupNeighbours>>>()?;
        let laid = self.compute().long_work(move |interrupt| {
            rows.lay_out(&neighbours, |share| {
                run.tell(NEIGHBOURS_SHARE + share * (1.0 - NEIGHBOURS_SHARE));
                interrupt.check()
            })
        });
        let records = laid.await??;
        drop(work);
        Ok(CollectionMap::new(version, records, false, &budget))
    }
}
