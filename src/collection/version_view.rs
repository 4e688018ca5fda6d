//! A version view: a collection at one version, the present or an earlier one, for any number of reads.
//! Invariant: all reads of a view see the same records, whatever is written meanwhile.

use std::sync::Arc;

use super::answers::{Matches, Reading};
use super::handle::Collection;
use super::request::{Consistency, Get, Include, Query};
use super::scan::Scan;
use super::state::snapshot::Snapshot;
use super::stream_state::CollectionState;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::record::{CollectionId, Version};

/// A collection at one version, for reads. It keeps that version in memory as long as it lives. Cheap to clone. Made by
/// [`Store::collection_at`](crate::Store::collection_at).
#[derive(Debug, Clone)]
pub struct VersionView {
    snapshot: Arc<Snapshot>,
    collection: Collection,
    /// What counts the memory of a version that was loaded for this view.
    _state: Option<Arc<CollectionState>>,
}

impl VersionView {
    /// The newest version, as the bucket has it.
    pub(crate) async fn of_newest(collection: Collection) -> Result<VersionView> {
        let snapshot = collection.pinned().await?.snapshot(Consistency::Strong).await?;
        Ok(VersionView { snapshot, collection, _state: None })
    }

    /// The collection as `state` holds it.
    pub(crate) fn of_past(collection: Collection, state: CollectionState) -> VersionView {
        VersionView { snapshot: Arc::new(state.current().clone()), collection, _state: Some(Arc::new(state)) }
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.snapshot.version()
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

    /// Opens a reading in insertion order, as [`Collection::read`] does.
    ///
    /// # Errors
    /// As [`Collection::read`]. `NotFound` if the collection was dropped.
    pub async fn read(&self, get: Get) -> Result<Reading> {
        let (pinned, snapshot) = (self.collection.pinned().await?, self.snapshot.clone());
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
