//! Requests that name a collection, as the server gets them.
//! Invariant: if a name was dropped and taken again elsewhere, the request reaches the new holder, and does not fail
//! for the old one.

use super::{Store, lifecycle};
use crate::collection::handle::{Collection, CompletedWrite, without_embeddings};
use crate::collection::request::{Consistency, WriteOutcome};
use crate::collection::write::change::Change;
use crate::error::{Error, ErrorKind, Result};

impl Store {
    /// The collection of that name, as fresh as `consistency` asks: further reads of it need not be strong. If it was
    /// dropped elsewhere, the collection that has the name now.
    pub(crate) async fn collection_to_read(&self, name: &str, consistency: Consistency) -> Result<Collection> {
        let collection = self.collection(name).await?;
        // Counting reads the log as far as necessary.
        let Err(error) = collection.count(consistency).await else { return Ok(collection) };
        let holder = self.next_holder(name, &collection, error).await?;
        holder.count(consistency).await?;
        Ok(holder)
    }

    /// Writes to `collection`, which was found by the name. If that was dropped elsewhere, writes to the collection
    /// that has the name now.
    pub(crate) async fn write_by_name(
        &self,
        name: &str,
        collection: &Collection,
        completed: CompletedWrite,
    ) -> Result<WriteOutcome> {
        let CompletedWrite { change, came_without } = completed;
        match collection.offer(change).await {
            Ok(done) => Ok(done),
            Err((error, None)) => Err(error),
            Err((error, Some(change))) => {
                let again =
                    Error::unavailable(format!("collection {name:?} was made anew meanwhile; send the write again"));
                let holder = self.next_holder(name, collection, error).await?;
                let (new, old) = (holder.identity(), collection.identity());
                let same = new.embedder == old.embedder && new.splitting == old.splitting;
                match *change {
                    Change::Write(write) => {
                        let write = without_embeddings(write, &came_without);
                        // Embeddings that were made for one embedder are of no use to another.
                        match same || !write.has_embeddings() {
                            true => holder.write(write).await,
                            false => Err(again),
                        }
                    }
                    // New texts are split and embedded for the one collection alone.
                    Change::Documents(write, matched)
                        if same || (new.splitting.is_some() && write.parts().next().is_none()) =>
                    {
                        let change = Change::Documents(write, matched);
                        holder.offer(change).await.map_err(|(error, _)| error)
                    }
                    change if same => holder.offer(change).await.map_err(|(error, _)| error),
                    _ => Err(again),
                }
            }
        }
    }

    /// The present holder of the name, after a request to `before` failed with `error`. Returns `error` itself unless
    /// it is `NotFound` and another collection has the name.
    async fn next_holder(&self, name: &str, before: &Collection, error: Error) -> Result<Collection> {
        if error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        if before.stream().shared().successor().is_some() {
            lifecycle::finish_drop(&self.inner, before.id()).await?;
        }
        match self.collection(name).await {
            Ok(holder) if holder.identity().id != before.identity().id => Ok(holder),
            Err(other) if other.kind() != ErrorKind::NotFound => Err(other),
            _ => Err(error),
        }
    }
}
