//! The end of many collections at once: dropping a database, and reset (docs/protocol.md#drop-many).
//! Invariant: each collection's own `drop` commit comes first, then one catalog commit for all. That commit is
//! refused while a live collection has not ended. A collection that was published meanwhile is dropped before the
//! next try.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::{self, StreamExt};

use super::catalog::{self, CatalogWrite};
use super::entry::Entry;
use super::lifecycle::ATTEMPTS;
use super::namespaces::{Namespaces, scope};
use super::{PARALLEL_COLLECTIONS, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::record::CollectionId;

/// The result of one try to commit the end.
enum Try {
    Done,
    /// A collection was published meanwhile.
    Again,
}

impl Namespaces<'_> {
    /// Drops a database and all its collections. The default database can be dropped too, and can be created again.
    ///
    /// # Errors
    /// `NotFound` if there is no such database; `OutcomeUnknown` if some of its collections may have been dropped and
    /// others not: drop it again.
    pub async fn drop_database(self, tenant: &str, name: &str) -> Result<()> {
        let scope = scope(tenant, name);
        self.database(tenant, name).await?;
        let inside = |entry: &Entry| entry.record().is_in(&scope);
        let write = |ended| CatalogWrite::DropDatabase { scope: scope.clone(), ended };
        self.store.end_all(inside, write).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => catalog::no_database(&scope),
            _ => error,
        })
    }

    /// Drops everything: all collections, tenants and databases but the default ones.
    ///
    /// # Errors
    /// `OutcomeUnknown` if some collections may have been dropped and others not: reset again.
    pub async fn reset(self) -> Result<()> {
        self.store.end_all(|_| true, |ended| CatalogWrite::Reset { ended }).await
    }
}

impl Store {
    async fn end_all(
        &self,
        wanted: impl Fn(&Entry) -> bool,
        write: impl Fn(BTreeSet<CollectionId>) -> CatalogWrite,
    ) -> Result<()> {
        let mut ended = BTreeSet::new();
        for _ in 0..ATTEMPTS {
            self.inner.follow_catalog().await.map_err(|error| in_part(error, &ended))?;
            let live: Vec<Arc<Entry>> = self.inner.live_entries().into_iter().filter(|entry| wanted(entry)).collect();
            self.end_each(live, &mut ended).await?;
            match self.commit_end(write(ended.clone())).await.map_err(|error| in_part(error, &ended))? {
                Try::Done => return Ok(()),
                Try::Again => {}
            }
        }
        let why = "collections kept being created meanwhile";
        Err(in_part(Error::unavailable(why), &ended))
    }

    /// Ends each collection's log and marks its HEAD. Adds those that have ended to `ended`.
    async fn end_each(&self, entries: Vec<Arc<Entry>>, ended: &mut BTreeSet<CollectionId>) -> Result<()> {
        let new = entries.iter().map(|entry| entry.id).filter(|id| !ended.contains(id));
        let work = stream::iter(new.collect::<Vec<_>>()).map(|id| async move { (id, self.end_one(id).await) });
        let results: Vec<(CollectionId, Result<()>)> = work.buffer_unordered(PARALLEL_COLLECTIONS).collect().await;
        let mut failed: Option<Error> = None;
        for (id, result) in results {
            match result {
                Ok(()) => drop(ended.insert(id)),
                // A failure that leaves the outcome unknown takes precedence over one that certainly changed nothing.
                Err(error) if failed.as_ref().is_none_or(|first| first.kind() != ErrorKind::OutcomeUnknown) => {
                    failed = Some(error);
                }
                Err(_) => {}
            }
        }
        match failed {
            Some(error) => Err(in_part(error, ended)),
            None => Ok(()),
        }
    }

    async fn end_one(&self, id: CollectionId) -> Result<()> {
        self.end(id).await?;
        // The log has ended, so the collection is gone whatever happens to HEAD now.
        match self.mark_dropped(id).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::OutcomeUnknown, format!("collection {id} was dropped, but {error}")))
            }
            _ => Ok(()),
        }
    }

    async fn commit_end(&self, write: CatalogWrite) -> Result<Try> {
        let written = self.inner.catalog.write(write).await;
        self.inner.reconcile();
        match written {
            Ok(_) => Ok(Try::Done),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Try::Again),
            Err(error) => Err(error),
        }
    }
}

/// The error after some collections have ended: it can no longer say that nothing was changed.
fn in_part(error: Error, ended: &BTreeSet<CollectionId>) -> Error {
    match error.kind() {
        ErrorKind::NotFound => error,
        _ if ended.is_empty() => error,
        _ => {
            let what = format!("{} collections were dropped, the rest may not have been: {error}", ended.len());
            Error::new(ErrorKind::OutcomeUnknown, what).with_source(error)
        }
    }
}
