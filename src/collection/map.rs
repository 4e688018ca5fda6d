//! The map of a collection: made in the background when somebody asks for it, and kept in memory until the collection
//! is evicted or a newer one is asked for, which continues it if few records have changed.
//! Invariant: one map at most is being made of a collection; a map is of one version.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::handle::Collection;
use super::read::map::{GroupNeighbours, MapRows, PlacedRecords};
use super::request::Consistency;
use super::state::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::memory::{Account, Purpose};
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
    /// Counts its memory.
    _account: Account,
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
}

/// The place of a collection's map.
#[derive(Debug, Default)]
pub struct MapPlace(Mutex<MapState>);

impl MapPlace {
    /// What there is.
    pub fn state(&self) -> MapState {
        self.0.lock().clone()
    }

    /// Takes the place for a new map of `version`; `None` if there is no need for one.
    fn begin(self: &Arc<Self>, version: Version) -> Option<MapRun> {
        let mut state = self.0.lock();
        let is_made = state.failed.is_none() && state.done.as_ref().is_some_and(|map| map.version == version);
        if state.running.is_some() || is_made {
            return None;
        }
        state.run += 1;
        (state.running, state.failed) = (Some(0.0), None);
        Some(MapRun { place: self.clone(), run: state.run })
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
        let mut state = self.place.0.lock();
        if state.run == self.run && state.running.is_some() {
            state.running = Some(share);
        }
    }

    fn end(&self, made: Result<CollectionMap>) {
        let mut state = self.place.0.lock();
        if state.run == self.run && state.running.take().is_some() {
            match made {
                Ok(map) => state.done = Some(Arc::new(map)),
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
                let made = pinned.make_map(snapshot, run.clone()).await;
                run.end(made);
            });
        }
        Ok(place.state())
    }

    /// What there is of its map.
    pub(crate) async fn map_state(&self) -> Result<MapState> {
        Ok(self.used().await?.map_place().state())
    }

    async fn make_map(&self, snapshot: Arc<Snapshot>, run: Arc<MapRun>) -> Result<CollectionMap> {
        // IMPORTANT: the turn before the memory, which would else be held by all that wait.
        let _turn = self.compute().long_turn().await?;
        let (version, budget) = (snapshot.version(), self.surroundings().budget.clone());
        let former = run.place.state().done;
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
        let mut account = budget.account();
        account.set(records.bytes(), 0);
        Ok(CollectionMap { version, records, _account: account })
    }
}
