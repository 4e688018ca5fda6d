//! Forking a collection: a copy as of one version that shares no object with the original (docs/protocol.md#fork).
//! Invariant: the fork cannot be seen before its HEAD is created, nor found before the catalog commit. A fork that
//! fails in between leaves its copied objects to the sweeps.

use uuid::Uuid;

use super::Store;
use super::catalog::{self, CollectionRecord};
use super::files;
use super::lifecycle::{ATTEMPTS, check_collection_name};
use crate::bucket::keys::StreamId;
use crate::collection::handle::Collection;
use crate::error::{Error, ErrorKind, Result};
use crate::format::head::Head;
use crate::record::CollectionId;
use crate::stream::context::StreamError;

impl Store {
    /// Copies a collection under another name in the same database. Every write acknowledged before the call is in
    /// the copy. Segments and graphs are copied inside the bucket where it can; the tail becomes a new segment.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection, `AlreadyExists` if the name is taken, `Invalid` for a bad name.
    pub async fn fork_collection(&self, id: CollectionId, name: &str) -> Result<Collection> {
        check_collection_name(name)?;
        let source = self.collection_by_id(id).await?.pinned().await?;
        files::check_no_files(&source.identity().name, "forked")?;
        for _ in 0..ATTEMPTS {
            let record = self.entry(id).await?.record();
            self.check_name_is_free(&record.scope(), name).await?;
            let fork = CollectionId(Uuid::new_v4());
            let head = copy(&source, &StreamId::Collection(fork)).await?;
            let record = CollectionRecord {
                name: name.to_owned(),
                forked_from: Some(id),
                fills_in_for: None,
                replaces: None,
                ..record.as_ref().clone()
            };
            match self.publish(fork, &head, record).await {
                // The holder of the name may have been dropped elsewhere: look again.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.inner.reconcile(),
                other => return other,
            }
        }
        Err(catalog::already_exists(name))
    }

    /// How many live collections were forked from this one.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection.
    pub async fn fork_count(&self, id: CollectionId) -> Result<u64> {
        self.entry(id).await?;
        let view = self.inner.view.load();
        Ok(view.live().filter(|(_, record)| record.forked_from == Some(id)).count() as u64)
    }
}

/// Copies a collection's objects under the name `target`. Returns the HEAD that makes the copy a stream.
async fn copy(source: &Collection, target: &StreamId) -> Result<Head> {
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        source.stream().sync().await?;
        if source.stream().shared().ended() {
            return Err(StreamError::Dropped.into());
        }
        match source.stream().copy_to(target).await {
            Err(StreamError::Recycled(moved)) => why = moved,
            other => return Ok(other?),
        }
    }
    Err(Error::unavailable(format!("the collection kept changing while it was copied ({why}); try again")))
}
