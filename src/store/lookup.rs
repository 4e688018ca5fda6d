//! Finding collections by name and by id, and listing them.
//! Invariant: that something does not exist is answered only from a catalog that was just read to its end
//! (docs/protocol.md#no-stale-answers): the name may have been taken again.

use std::sync::Arc;
use std::time::Duration;

use super::catalog;
use super::entry::Entry;
use super::{Inner, Store, lifecycle, overview};
use crate::collection::handle::Collection;
use crate::collection::request::{CollectionInfo, Consistency, Scope};
use crate::error::{Error, Result};
use crate::record::CollectionId;
use crate::stream::context::StreamError;

/// How long the opening of a collection waits for a handover to be over.
const PATIENCE: Duration = Duration::from_secs(1);

impl Store {
    /// A collection by name; waits while it loads.
    ///
    /// # Errors
    /// `NotFound` only after the bucket was asked whether the name is taken now; `Corrupted` if an object of the
    /// collection is damaged, with its key and the cause.
    pub async fn collection(&self, name: &str) -> Result<Collection> {
        // What is being filled is nobody's but the job's that fills it.
        let shown = |entry: &Arc<Entry>| entry.record().fills_in_for.is_none();
        let found = self.opened(|inner| inner.find(&self.scope, name).filter(shown)).await?;
        found.ok_or_else(|| Error::not_found(format!("collection {name:?} does not exist")))
    }

    /// A collection by its identity, in whichever database it is; waits while it loads.
    ///
    /// # Errors
    /// As [`collection`](Store::collection).
    pub async fn collection_by_id(&self, id: CollectionId) -> Result<Collection> {
        let found = self.opened(|inner| inner.entry(id)).await?;
        found.ok_or_else(|| catalog::no_collection(id))
    }

    /// The collection with this identity, if its scope and name `may` be seen; waits while it loads. One that may not is
    /// not opened: what is wrong with it is nobody's business here.
    ///
    /// # Errors
    /// As [`collection`](Store::collection).
    #[cfg(feature = "server")]
    pub(crate) async fn collection_by_id_if(
        &self,
        id: CollectionId,
        may: impl Fn(&Scope, &str) -> bool,
    ) -> Result<Collection> {
        let visible = |entry: &Arc<Entry>| {
            let record = entry.record();
            may(&record.scope(), &record.name)
        };
        let found = self.opened(|inner| inner.entry(id).filter(visible)).await?;
        found.ok_or_else(|| catalog::no_collection(id))
    }

    /// The collections of the database by name, including those that are still loading; empty if there is no such
    /// database. `Strong` shows what other instances created and dropped before the call.
    ///
    /// # Errors
    /// `Unavailable` if `Strong` is asked for and the bucket does not answer.
    pub async fn collections(&self, consistency: Consistency) -> Result<Vec<CollectionInfo>> {
        if consistency == Consistency::Strong {
            self.inner.follow_catalog().await?;
        }
        Ok(overview::collections(&self.inner, &self.scope))
    }

    /// The collection that `look` finds, opened. That there is none is answered only from a catalog read to its end.
    pub(super) async fn opened(&self, look: impl Fn(&Inner) -> Option<Arc<Entry>>) -> Result<Option<Collection>> {
        let mut asked = false;
        loop {
            if let Some(entry) = look(&self.inner) {
                match entry.opened().await {
                    // Its successor gets the name now. Where the bucket does not answer, it is read a little longer.
                    Ok(pinned) if pinned.stream().shared().is_handing_over() => {
                        let finished = tokio::time::timeout(PATIENCE, lifecycle::finish_drop(&self.inner, entry.id));
                        if !matches!(finished.await, Ok(Ok(()))) {
                            return Ok(Some(pinned.handle()));
                        }
                    }
                    Ok(pinned) if !pinned.stream().shared().is_gone() => return Ok(Some(pinned.handle())),
                    Ok(_) | Err(StreamError::Dropped) => {
                        lifecycle::finish_drop(&self.inner, entry.id).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if asked {
                return Ok(None);
            }
            // A refusal must not come from a stale catalog.
            self.inner.follow_catalog().await?;
            asked = look(&self.inner).is_none();
        }
    }

    /// The entry of a live collection, open or not.
    pub(super) async fn entry(&self, id: CollectionId) -> Result<Arc<Entry>> {
        if let Some(entry) = self.inner.entry(id) {
            return Ok(entry);
        }
        self.inner.follow_catalog().await?;
        self.inner.entry(id).ok_or_else(|| catalog::no_collection(id))
    }
}

impl Inner {
    /// Reads the catalog to its end.
    pub(super) async fn follow_catalog(self: &Arc<Self>) -> Result<()> {
        self.catalog.sync().await?;
        self.reconcile();
        Ok(())
    }

    pub(super) fn find(&self, scope: &Scope, name: &str) -> Option<Arc<Entry>> {
        let id = self.view.load().find(scope, name)?;
        self.entry(id)
    }

    pub(super) fn entry(&self, id: CollectionId) -> Option<Arc<Entry>> {
        self.entries.lock().get(&id).cloned()
    }
}
