//! Requests that name a collection, as the server gets them.
//! Invariant: if a name was dropped and taken again elsewhere, the request reaches the new holder, and does not fail
//! for the old one.

use super::Store;
use crate::collection::handle::Collection;
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
        change: Change,
    ) -> Result<WriteOutcome> {
        match collection.offer(change).await {
            Ok(done) => Ok(done),
            Err((error, None)) => Err(error),
            Err((error, Some(change))) => {
                let again =
                    Error::unavailable(format!("collection {name:?} was made anew meanwhile; send the write again"));
                let holder = self.next_holder(name, collection, error).await?;
                let (new, old) = (holder.identity(), collection.identity());
                // Embeddings that one embedder made are of no use to another.
                match new.embedder == old.embedder && new.splitting == old.splitting {
                    true => holder.offer(*change).await.map_err(|(error, _)| error),
                    false => Err(again),
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
        match self.collection(name).await {
            Ok(holder) if holder.identity().id != before.identity().id => Ok(holder),
            Err(other) if other.kind() != ErrorKind::NotFound => Err(other),
            _ => Err(error),
        }
    }
}
