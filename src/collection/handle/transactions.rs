//! Transactions of a collection: what was read at one version, and writes that hold only if it is unchanged.
//! Invariant: whether they hold is decided where the commit takes its slot, not by what this instance remembers.

use super::Collection;
use crate::bucket::StoreTime;
use crate::collection::request::{Guard, Selection, Transaction, Write, WriteOutcome};
use crate::collection::write::change::Change;
use crate::error::Result;
use crate::stream::writer::Written;

impl Collection {
    /// Writes if all guards hold right before, and returns when the store answered. The caller reserves the memory
    /// for it ([`room_for`](Self::room_for)).
    ///
    /// # Errors
    /// `Conflict` if a guard does not hold: nothing was written.
    pub(crate) async fn write_guarded(&self, guards: Vec<Guard>, write: Write) -> Result<Written<WriteOutcome>> {
        let pinned = self.used().await?;
        pinned.wait_while_held().await;
        pinned.inner.stream.write(Change::Guarded(guards, write)).await
    }

    /// Brings readers up to date. Returns the store time at which there was no newer commit. A snapshot taken before
    /// the call shows a state older than that time.
    pub(crate) async fn caught_up(&self) -> Result<Option<StoreTime>> {
        let nothing = Write::Delete(Selection { ids: Some(Vec::new()), ..Selection::default() });
        Ok(self.write_guarded(Vec::new(), nothing).await?.date)
    }

    /// Commits writes that follow from what was read: all of them in one commit, or none. Nothing is locked, so read
    /// and try again where another writer was faster. Writes that changed nothing, such as a delete of a missing
    /// record, count as no write.
    ///
    /// ```
    /// use drumlin::{ErrorKind, Get, Record, Store, Transaction, Write};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> drumlin::Result<()> {
    /// # let store = Store::open("memory://").await?;
    /// let notes = store.create_collection("notes").await?;
    /// let view = store.collection_at("notes", None).await?;
    /// assert!(view.read(Get::by_ids(["fog"])).await?.is_empty());
    ///
    /// let add = Write::Add(vec![Record::new("fog", vec![0.9, 0.1])]);
    /// let first = Transaction { read: Some(view.version()), read_ids: vec!["fog".into()], writes: vec![add] };
    /// let second = first.clone();
    /// assert_eq!(notes.commit(first).await?.applied, 1);
    /// assert_eq!(notes.commit(second).await.unwrap_err().kind(), ErrorKind::Conflict);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write`](Collection::write). `Conflict` if another commit wrote one of the records: nothing was written.
    /// [`is_stale_read`](crate::Error::is_stale_read) tells that the version is too old to know. `Invalid` if the
    /// version is not there yet.
    pub async fn commit(&self, transaction: Transaction) -> Result<WriteOutcome> {
        transaction.check(&self.inner.surroundings.limits)?;
        let change = Change::Transaction(self.transaction_with_embeddings(transaction).await?);
        // IMPORTANT: reserve before pinning, so that a load which waits for room never waits for this write.
        let _room = self.room_for(&change).await?;
        let pinned = self.used().await?;
        pinned.wait_while_held().await;
        Ok(pinned.inner.stream.write(change).await?.answer)
    }
}
