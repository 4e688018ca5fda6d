//! One round of the collection of garbage, on request: the same steps that the background takes hourly and weekly.
//! Invariant: the steps are the protocol's own (docs/protocol.md#garbage), in its order; nothing is deleted that a
//! server would keep.

use serde::Serialize;

use super::{Admin, background, orphans};
use crate::error::{Error, Result};
use crate::stream::Stream;
use crate::stream::state::State;
use crate::stream::sweep::Sweep;

/// What one round of the collection of garbage deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Commits that segments hold, deleted from the log.
    pub log_objects: u64,
    /// Lists of replaced segments and graphs that were deleted, with everything that they name.
    pub retired_lists: u64,
    /// Orphaned objects.
    pub orphans: u64,
    /// Streams without a collection that were condemned.
    pub condemned: u64,
}

impl Admin<'_> {
    /// Collects the garbage of every collection and of the catalog, and purges collections that were dropped long
    /// enough ago. Orphans are swept if that is due, or if `sweep` is set. It continues when one stream fails, and
    /// returns the first failure.
    ///
    /// # Errors
    /// `Corrupted` if a stream is damaged: nothing of it is deleted. `Unavailable` if the bucket does not answer.
    pub async fn collect_garbage(self, sweep: bool) -> Result<Collected> {
        let inner = &self.store.inner;
        let when = if sweep { Sweep::Now } else { Sweep::IfDue };
        let (mut collected, mut failed) = (Collected::default(), None::<Error>);
        for entry in inner.live_entries() {
            let done = match entry.opened().await {
                Ok(collection) => collect(collection.stream(), when, &mut collected).await,
                Err(error) => Err(error.into()),
            };
            let swept = inner.sweep_files(&entry, when).await;
            collected.orphans += swept.as_ref().copied().unwrap_or(0);
            failed = failed.or(done.err()).or(swept.err());
        }
        let before = collected.orphans;
        let catalog = collect(&inner.catalog, when, &mut collected).await;
        failed = failed.or(catalog.err());
        if sweep || collected.orphans > before {
            match orphans::sweep_streams(inner).await {
                Ok(condemned) => collected.condemned = condemned,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        background::purge_dropped(inner).await;
        failed.map_or(Ok(collected), Err)
    }
}

async fn collect<S: State>(stream: &Stream<S>, when: Sweep, collected: &mut Collected) -> Result<()> {
    let done = stream.collect().await?;
    collected.log_objects += done.log_objects;
    collected.retired_lists += done.retired;
    collected.orphans += stream.sweep(when).await?.unwrap_or(0);
    Ok(())
}
