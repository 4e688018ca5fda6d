//! A version view: a collection at one version, the present or an earlier one, for any number of reads.
//! Invariant: all reads of a view see the same records, whatever is written meanwhile.

use std::sync::Arc;

use super::answers::{Matches, RankedGroups, RankedRows, Reading};
use super::handle::Collection;
use super::pin::KeptSnapshot;
use super::request::{Consistency, Get, GroupedSearch, Include, Query, RankedSearch};
use super::scan::Scan;
use super::state::snapshot::Snapshot;
use super::stream_state::CollectionState;
use crate::compute::Compute;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::memory::{Purpose, Reservation};
use crate::record::{CollectionId, Version};
use crate::stream::state::State;

/// A collection at one version, for reads. It keeps that version in memory as long as it lives. Cheap to clone. Made by
/// [`Store::collection_at`](crate::Store::collection_at).
#[derive(Debug, Clone)]
pub struct VersionView {
    snapshot: Arc<Snapshot>,
    collection: Collection,
    /// What counts the memory of a version that was loaded for this view.
    state: Option<Arc<CollectionState>>,
}

/// A view kept for later reads. One of the present version, or of what was present lately, ends when its collection is
/// evicted.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
#[derive(Debug)]
pub(crate) struct KeptView {
    snapshot: Arc<KeptSnapshot>,
    version: Version,
    collection: Collection,
    state: Option<Arc<CollectionState>>,
}

#[cfg_attr(not(feature = "server"), allow(dead_code))]
impl KeptView {
    /// The view, unless it has ended.
    pub(crate) fn view(&self) -> Option<VersionView> {
        let (collection, state) = (self.collection.clone(), self.state.clone());
        Some(VersionView { snapshot: self.snapshot.get()?, collection, state })
    }

    /// Whether it is of this collection at this version.
    pub(crate) fn is_of(&self, id: CollectionId, version: Version) -> bool {
        self.version == version && self.collection.id() == id
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.snapshot.get().is_none()
    }

    /// Bytes that only views of this version hold: all of a version that was loaded for one.
    pub(crate) fn own_bytes(&self) -> u64 {
        let loaded = self.state.as_ref().and_then(|_| self.snapshot.get());
        loaded.map_or(0, |snapshot| snapshot.footprint().sum())
    }
}

impl VersionView {
    /// The newest version, as the bucket has it.
    pub(crate) async fn of_newest(collection: Collection) -> Result<VersionView> {
        let pinned = collection.used().await?;
        let snapshot = pinned.snapshot(Consistency::Strong).await?;
        // The handle of an evicted collection has led to the one in its place.
        Ok(VersionView { snapshot, collection: pinned.handle(), state: None })
    }

    /// The collection as `state` holds it.
    pub(crate) fn of_past(collection: Collection, state: CollectionState) -> VersionView {
        VersionView { snapshot: Arc::new(state.current().clone()), collection, state: Some(Arc::new(state)) }
    }

    /// Keeps the view for later; `None` if the collection was evicted.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn kept(&self) -> Option<KeptView> {
        let (snapshot, collection, state) = (self.snapshot.clone(), self.collection.clone(), self.state.clone());
        let snapshot = match &state {
            // It shares nothing with the collection, and counts by itself.
            Some(_) => Arc::new(KeptSnapshot::alone(snapshot)),
            None => collection.pins().keep(snapshot)?,
        };
        Some(KeptView { snapshot, version: self.version(), collection, state })
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.snapshot.version()
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(super) fn compute(&self) -> &Arc<Compute> {
        self.collection.compute()
    }

    /// The collection's identity.
    pub fn collection_id(&self) -> CollectionId {
        self.collection.id()
    }

    /// How many records there were.
    pub fn count(&self) -> u64 {
        self.snapshot.count()
    }

    /// Floats of an embedding; `None` where it was not fixed yet.
    pub fn dimension(&self) -> Option<usize> {
        self.snapshot.dimension()
    }

    /// Finds the nearest records, as [`Collection::find`] does. The query's consistency is of no importance.
    ///
    /// # Errors
    /// As [`Collection::find`]. `NotFound` if the collection was dropped.
    pub async fn find(&self, query: Query) -> Result<Matches> {
        self.collection.find_at(self.snapshot.clone(), query).await
    }

    /// Runs ranked searches, as [`Collection::rank`] does. An earlier version has no inverted indexes: the first search
    /// by words or sparse vectors reads all its documents to build them, and they stay as long as the version does.
    ///
    /// # Errors
    /// As [`Collection::rank`]. `NotFound` if the collection was dropped, `NoRoom` if there is no memory for indexes.
    pub async fn rank(&self, searches: Vec<RankedSearch>, most: usize) -> Result<Vec<RankedRows>> {
        let _room = self.room_for_indexes()?;
        let found = self.collection.rank_at(Some(self.snapshot.clone()), searches, most).await;
        self.count_memory();
        found
    }

    /// Finds the best groups, as [`Collection::rank_groups`] does; else as [`rank`](VersionView::rank).
    ///
    /// # Errors
    /// As [`rank`](VersionView::rank).
    pub async fn rank_groups(&self, grouped: GroupedSearch) -> Result<RankedGroups> {
        let _room = self.room_for_indexes()?;
        let found = self.collection.rank_groups_at(Some(self.snapshot.clone()), grouped).await;
        self.count_memory();
        found
    }

    /// Memory for the inverted indexes of a version that was loaded for this view, until they are counted: no more
    /// than its texts take.
    fn room_for_indexes(&self) -> Result<Option<Reservation>> {
        if self.state.is_none() {
            return Ok(None);
        }
        let (budget, need) = (&self.collection.surroundings().budget, self.snapshot.footprint().records_bytes);
        let room = budget.reserve(need, Purpose::Work);
        room.map(Some).ok_or_else(|| budget.refusal("a search at an earlier version", need, Purpose::Work))
    }

    /// Counts what a version that was loaded for this view takes by now.
    fn count_memory(&self) {
        if let Some(state) = &self.state {
            state.publish();
        }
    }

    /// Opens a reading in insertion order, as [`Collection::read`] does.
    ///
    /// # Errors
    /// As [`Collection::read`]. `NotFound` if the collection was dropped.
    pub async fn read(&self, mut get: Get) -> Result<Reading> {
        let (pinned, snapshot) = (self.collection.pinned().await?, self.snapshot.clone());
        get.ids = self.collection.ids_of_parts(&snapshot, get.ids);
        let read = move |interrupt: &Interrupt| snapshot.read(&get, interrupt);
        let reading = pinned.compute().search(read).await??;
        Ok(reading.of(pinned))
    }

    /// Begins to read all records, page by page.
    ///
    /// # Errors
    /// As [`read`](VersionView::read).
    pub async fn scan(&self) -> Result<Scan> {
        let reading = self.read(Get { include: Include::ALL, ..Get::default() }).await?;
        Ok(Scan::over(reading, self.collection.compute().clone()))
    }
}
