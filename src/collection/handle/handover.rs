//! The collection's side of a handover to another one (docs/protocol.md#handover): writers that wait for a moment, and
//! readers that do not see what is half full.
//! Invariant: nothing depends on who waits here, nor for how long.

use std::sync::Arc;
use std::time::Duration;

use super::Collection;
use crate::collection::request::{Consistency, Write};
use crate::collection::state::snapshot::Snapshot;
use crate::collection::write::change::Change;
use crate::error::Result;
use crate::format::Successor;
use crate::record::Version;

/// How long writes wait for a handover at most.
pub(crate) const HOLD: Duration = Duration::from_secs(2);

impl Collection {
    /// Waits a moment if another collection is about to take the place of this one: the fewer write meanwhile, the
    /// sooner it does.
    pub(super) async fn wait_while_held(&self) {
        while self.present().held_for().is_some_and(|held| held < HOLD) && !self.stream().shared().ended() {
            tokio::time::sleep(HOLD / 40).await;
            // Shows whether it is over. A failure only makes the wait as long as it may be.
            let _ = self.stream().sync().await;
        }
    }

    /// What another instance filled may not be seen half full.
    pub(super) async fn wait_until_complete(&self) -> Result<()> {
        if self.present().version() < self.identity().complete_at {
            self.stream().sync().await?;
        }
        Ok(())
    }
}

/// What only a handover does to a collection.
impl Collection {
    /// The newest snapshot in the bucket.
    pub(crate) async fn newest(&self) -> Result<Arc<Snapshot>> {
        self.snapshot(Consistency::Strong).await
    }

    /// Writes in one commit, which is there even if nothing changes, unless another commit has come since `version`.
    /// Returns the commit's version.
    ///
    /// # Errors
    /// `Conflict` if another commit has come.
    pub(crate) async fn write_after(&self, version: Option<Version>, writes: Vec<Write>) -> Result<Version> {
        let change = Change::After(version, writes);
        let _room = self.room_for(&change).await?;
        Ok(self.stream().write(change).await?.answer.version)
    }

    /// Asks the writers of all instances to wait for a moment.
    pub(crate) async fn hold(&self) -> Result<()> {
        self.stream().write(Change::Hold).await.map(drop)
    }

    /// Ends the collection, unless another commit has come since `version`.
    ///
    /// # Errors
    /// `Conflict` if another commit has come.
    pub(crate) async fn end_after(&self, version: Version, successor: Option<Successor>) -> Result<()> {
        self.stream().write(Change::End(version, successor)).await.map(drop)
    }
}
