//! The map of a collection: made in the background when somebody asks for it, and kept in memory until the collection
//! is evicted or a newer one is asked for.
//! Invariant: one map at most is being made of a collection; a map is of one version.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::handle::Collection;
use super::read::map::{GroupNeighbours, MapRows};
use super::request::Consistency;
use crate::error::{Error, Result};
use crate::layout::{Faithfulness, Point};
use crate::memory::{Purpose, Reservation};
use crate::record::Version;

/// The share of the work that neighbours take, in what is told as progress.
const NEIGHBOURS_SHARE: f32 = 0.5;

/// The records of a collection in two dimensions.
#[derive(Debug)]
pub struct CollectionMap {
    /// The version that it is of.
    pub version: Version,
    /// The records, in insertion order.
    pub ids: Vec<String>,
    /// Where each is.
    pub points: Vec<Point>,
    /// How much of what is near on the map is near in truth, and the reverse.
    pub faithfulness: Option<Faithfulness>,
    _room: Option<Reservation>,
}

/// Whether there is a map.
#[derive(Debug, Clone, Default)]
pub enum MapState {
    /// Nobody asked for one.
    #[default]
    None,
    /// It is being made; the share that is done, from 0 to 1.
    Running(f32),
    /// It is there.
    Done(Arc<CollectionMap>),
    /// It could not be made.
    Failed(Error),
}

/// The place of a collection's map.
#[derive(Debug, Default)]
pub struct MapPlace(Mutex<MapState>);

impl MapPlace {
    /// Whether there is a map.
    pub fn state(&self) -> MapState {
        self.0.lock().clone()
    }

    fn set(&self, state: MapState) {
        *self.0.lock() = state;
    }

    /// Takes the place for a new map of `version`; false if there is no need for one.
    fn begin(&self, version: Version) -> bool {
        let mut state = self.0.lock();
        match &*state {
            MapState::Running(_) => false,
            MapState::Done(map) if map.version == version => false,
            _ => {
                *state = MapState::Running(0.0);
                true
            }
        }
    }
}

impl Collection {
    /// Begins to make a map of the newest version, if there is none.
    ///
    /// # Errors
    /// `Invalid` if the records have no embeddings; `NoRoom` if there is no memory for it.
    pub(crate) async fn begin_map(&self) -> Result<MapState> {
        let pinned = self.used().await?;
        let snapshot = pinned.snapshot(Consistency::Local).await?;
        let (version, place) = (snapshot.version(), pinned.map_place().clone());
        let rows = pinned.compute().search(move |interrupt| MapRows::of(snapshot, interrupt)).await??;
        let work = pinned.room_for_map(rows.work_bytes())?;
        if !place.begin(version) {
            return Ok(place.state());
        }
        let (rows, state) = (Arc::new(rows), place.state());
        tokio::spawn(async move {
            let made = pinned.make_map(version, rows).await;
            drop(work);
            place.set(match made {
                Ok(map) => MapState::Done(Arc::new(map)),
                Err(error) => MapState::Failed(error),
            });
        });
        Ok(state)
    }

    /// Whether there is a map.
    pub(crate) async fn map_state(&self) -> Result<MapState> {
        Ok(self.used().await?.map_place().state())
    }

    fn room_for_map(&self, bytes: u64) -> Result<Option<Reservation>> {
        let budget = &self.surroundings().budget;
        if budget.limit_bytes().is_none() {
            return Ok(None);
        }
        let room = budget.reserve(bytes, Purpose::Work);
        room.map(Some).ok_or_else(|| budget.refusal("a map of this collection", bytes, Purpose::Work))
    }

    async fn make_map(&self, version: Version, rows: Arc<MapRows>) -> Result<CollectionMap> {
        let (limits, place) = (self.surroundings().limits.clone(), self.map_place().clone());
        let (groups, done) = (rows.groups(), AtomicUsize::new(0));
        let (searched, told) = (rows.clone(), place.clone());
        let neighbours = self.compute().later_batch(groups, move |group, interrupt| {
            let found = searched.neighbours(group, &limits, interrupt);
            let share = (done.fetch_add(1, Ordering::Relaxed) + 1) as f32 / groups as f32;
            told.set(MapState::Running(share * NEIGHBOURS_SHARE));
            found
        });
        let neighbours = neighbours.await?.into_iter().collect::<Result<Vec<GroupNeighbours>>>()?;
        let laid = self.compute().long_work(move |interrupt| {
            let laid = rows.lay_out(&neighbours, |share| {
                place.set(MapState::Running(NEIGHBOURS_SHARE + share * (1.0 - NEIGHBOURS_SHARE)));
                interrupt.check()
            });
            laid.map(|(points, faithfulness)| (rows.ids(), points, faithfulness))
        });
        let (ids, points, faithfulness) = laid.await??;
        let bytes = ids.iter().map(|id| (id.len() + size_of::<String>() + size_of::<Point>()) as u64).sum();
        Ok(CollectionMap { version, ids, points, faithfulness, _room: self.room_for_map(bytes)? })
    }
}
