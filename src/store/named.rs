//! Requests that name a collection, as the server gets them. Invariant: a name that was dropped and taken anew
//! elsewhere leads to its new holder, not to an error about the old one.

use super::Store;
use crate::collection::handle::Collection;
use crate::collection::request::{Consistency, Write, WriteOutcome};
use crate::error::{Error, ErrorKind, Result};

impl Store {
    /// The collection of that name, as far up to date as is asked for: what is read of it next need not be strong. Where
    /// it turns out to have been dropped elsewhere, the collection that has the name now.
    pub(crate) async fn collection_to_read(&self, name: &str, consistency: Consistency) -> Result<Collection> {
        let collection = self.collection(name).await?;
        // Counting reads the log as far as it has to be read.
        let Err(error) = collection.count(consistency).await else { return Ok(collection) };
        let holder = self.next_holder(name, &collection, error).await?;
        holder.count(consistency).await?;
        Ok(holder)
    }

    /// Writes to `collection`, which the name led to; where it turns out to have been dropped elsewhere, to the one that
    /// has the name now.
    pub(crate) async fn write_by_name(
        &self,
        name: &str,
        collection: &Collection,
        write: Write,
    ) -> Result<WriteOutcome> {
        match collection.offer(write).await {
            Ok(done) => Ok(done),
            Err((error, None)) => Err(error),
            Err((error, Some(write))) => self.next_holder(name, collection, error).await?.write(*write).await,
        }
    }

    /// Who has the name now, after a request to `before` failed with `error`; that error if it does not say that there is
    /// no such collection, or nobody else has the name.
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
