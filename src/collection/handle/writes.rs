//! Writes of a collection: completed, given memory, and handed to its stream's writer.
//! Invariant: a write returns once the change is in the bucket, or says that it may not be.

use super::Collection;
use crate::collection::request::documents::DocumentWrite;
use crate::collection::request::{Selection, Write, WriteOutcome};
use crate::collection::write::change::Change;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::interrupt::Interrupt;
use crate::memory::{Purpose, Reservation};
use crate::record::{Record, RecordUpdate};

impl Collection {
    /// Applies a write request durably: when this returns, the change is in the bucket. The whole request is in one
    /// commit. Several requests at the same time share a commit.
    ///
    /// # Errors
    /// `Invalid` and `Limit` name the offending field; nothing is applied. `Unavailable`: nothing was applied.
    /// `OutcomeUnknown`: the bucket did not say whether it was. `NotFound`: the collection was dropped. `Corrupted`:
    /// an object of the collection is damaged and it is read-only. `NoRoom`: there is no memory for the write;
    /// nothing was applied. Deletes are never refused for lack of memory.
    pub async fn write(&self, write: Write) -> Result<WriteOutcome> {
        let completed = self.completed(write).await?;
        self.offer(completed.change).await.map_err(|(error, _)| error)
    }

    /// Applies a change that is [completed](Self::completed). A refused one is handed back where possible.
    pub(crate) async fn offer(&self, change: Change) -> Result<WriteOutcome, (Error, Option<Box<Change>>)> {
        let lost = |error| (error, None);
        // IMPORTANT: reserve before pinning, so that a load which waits for room never waits for this write.
        let _room = self.room_for(&change).await.map_err(lost)?;
        let pinned = match self.used().await {
            Ok(pinned) => pinned,
            Err(error) => return Err((error, change.for_another().map(Box::new))),
        };
        let change = pinned.prepared(change).await.map_err(lost)?;
        pinned.wait_while_held().await;
        let offered = pinned.inner.stream.offer(change).await;
        let back = |change: Box<Change>| change.for_another().map(Box::new);
        offered.map(|written| written.answer).map_err(|refusal| (refusal.error, refusal.request.and_then(back)))
    }

    /// Finds the records that match the filter of a delete before other writes have to wait for it.
    async fn prepared(&self, change: Change) -> Result<Change> {
        let (snapshot, deadline) = (self.present(), self.inner.stream.context().timing.deadline);
        // Ids are those of records in one, of documents in the other.
        let ids = match &change {
            Change::Write(Write::Delete(Selection { ids, filter: Some(_), .. })) => ids.clone(),
            Change::Documents(DocumentWrite::Delete(Selection { filter: Some(_), .. }), _) => None,
            _ => return Ok(change),
        };
        let work = move |interrupt: &Interrupt| {
            let find = |filter: &Filter| snapshot.matched(ids.as_deref(), filter, interrupt);
            Ok(match change {
                Change::Write(Write::Delete(selection)) => {
                    let matched = selection.filter.as_ref().map(find).transpose()?.unwrap_or_default();
                    Change::Prepared(matched, Write::Delete(selection))
                }
                Change::Documents(DocumentWrite::Delete(selection), _) => {
                    let matched = selection.filter.as_ref().map(find).transpose()?.unwrap_or_default();
                    Change::Documents(DocumentWrite::Delete(selection), matched)
                }
                other => other,
            })
        };
        match tokio::time::timeout(deadline, self.compute().search(work)).await {
            Ok(prepared) => prepared?,
            Err(_) => {
                let seconds = deadline.as_secs_f64();
                Err(Error::unavailable(format!(
                    "the records to delete were not found within {seconds} s; nothing was changed. Select fewer by ids \
                     or metadata"
                )))
            }
        }
    }

    /// Reserves memory for what a write adds. `None` if the write adds nothing, or if there is no limit.
    pub(crate) async fn room_for(&self, change: &Change) -> Result<Option<Reservation>> {
        let budget = &self.inner.surroundings.budget;
        let Some(need) = change.growth(self.dimension().unwrap_or(0)).filter(|_| budget.limit_bytes().is_some()) else {
            return Ok(None);
        };
        match budget.reserve(need, Purpose::Write) {
            Some(room) => Ok(Some(room)),
            None => (self.inner.surroundings.hooks.make_room)(self.identity().id, need).await.map(Some),
        }
    }

    /// Inserts records; one whose id exists already is skipped.
    pub async fn add(&self, records: impl IntoIterator<Item = Record>) -> Result<WriteOutcome> {
        self.write(Write::Add(records.into_iter().collect())).await
    }

    /// Inserts records, or replaces the ones whose ids exist.
    pub async fn upsert(&self, records: impl IntoIterator<Item = Record>) -> Result<WriteOutcome> {
        self.write(Write::Upsert(records.into_iter().collect())).await
    }

    /// Changes existing records; unknown ids are skipped.
    pub async fn update(&self, updates: impl IntoIterator<Item = RecordUpdate>) -> Result<WriteOutcome> {
        self.write(Write::Update(updates.into_iter().collect())).await
    }

    /// Changes the records whose ids exist, and inserts the others; each needs an embedding.
    pub async fn merge(&self, updates: impl IntoIterator<Item = RecordUpdate>) -> Result<WriteOutcome> {
        self.write(Write::Merge(updates.into_iter().collect())).await
    }

    /// Deletes the selected records.
    pub async fn delete(&self, selection: Selection) -> Result<WriteOutcome> {
        self.write(Write::Delete(selection)).await
    }
}
