//! The sweep for orphans of one stream (docs/protocol.md#orphan-sweep): objects that were uploaded and never named,
//! because their uploader died or lost the swap. Invariant: a sweep first raises `sweeps` in HEAD, so that no upload
//! that began before can still be named. Only then does the sweep list and delete.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Stream;
use super::context::{Context, RetiredRead, StreamError};
use super::state::State;
use crate::bucket::keys::Role;
use crate::bucket::listing::each_page;
use crate::bucket::{Bucket, BucketError, Listed, PAGE_KEYS, StoreTime};
use crate::format::head::{Head, Life};
use crate::head::{HeadRead, Swapped};
use crate::record::Version;

/// The fault of a lost retired list.
const LOST: &str = "HEAD names it, but it is missing; nothing is swept until its objects are old enough";

/// When to sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// If the last sweep of any instance is long enough ago.
    IfDue,
    /// In any case.
    Now,
}

impl<S: State> Stream<S> {
    /// Deletes old objects that HEAD does not name, and returns their number. `None` if no sweep was due, or another
    /// instance was faster.
    pub async fn sweep(&self, when: Sweep) -> Result<Option<u64>, StreamError> {
        self.check_damage().await?;
        let context = self.context();
        let read = context.read_head().await?;
        // The time of this read, not of the swap: it is always known, and earlier, so that fewer objects count as old.
        let Some(began) = read.date else { return Ok(None) };
        let interval = (when == Sweep::IfDue).then_some(context.timing.sweep_interval);
        let written = self.shared().state().lock().version() > Version(0);
        let plan = move |read: &HeadRead| swept(read, began, interval, written);
        if plan(&read).is_err() {
            return Ok(None);
        }
        if let Swapped::Abandoned(_) = self.swap(read, &plan).await? {
            return Ok(None);
        }
        let mut old = Vec::new();
        for folder in ["seg", "graph", "inverted", "map", "retired"] {
            let mut listed = list_all(context, &format!("{}/{folder}/", context.stream)).await?;
            // Only uploads of this stream count, whatever a listing shows.
            listed.retain(|object| is_upload(context.stream.role(&object.key)));
            old.extend(listed.into_iter().filter(|o| older(o, began, context.timing.sweep_age)).map(|o| o.key));
        }
        if old.is_empty() {
            return Ok(Some(0));
        }
        // IMPORTANT: HEAD is read after the listing. Listed objects may have been named since.
        let head = context.read_head().await?.head;
        let named = self.named(&head).await?;
        old.retain(|key| !named.contains(key));
        for keys in old.chunks(PAGE_KEYS) {
            context.bucket.delete(keys).await?;
        }
        if !old.is_empty() {
            tracing::info!(stream = %context.stream, objects = old.len(), "orphaned objects were deleted");
        }
        Ok(Some(old.len() as u64))
    }

    /// The keys that HEAD names, itself or through its retired lists.
    async fn named(&self, head: &Head) -> Result<BTreeSet<String>, StreamError> {
        let context = self.context();
        let mut named: BTreeSet<String> = head.objects().cloned().collect();
        for entry in &head.retired {
            let key = context.stream.retired(entry.ulid);
            match context.read_retired(entry.ulid).await? {
                RetiredRead::There(list) => named.extend(list.keys()),
                // Another instance did: its objects are deleted.
                RetiredRead::WorkedOff => {}
                // The objects of a lost list look like orphans, until the collector takes the list off HEAD.
                RetiredRead::Lost => return Err(StreamError::Corrupted { key, cause: LOST.to_owned() }),
            }
            named.insert(key);
        }
        Ok(named)
    }
}

fn is_upload(role: Option<Role>) -> bool {
    matches!(role, Some(Role::Segment | Role::Graph | Role::Inverted | Role::Map | Role::Retired(_)))
}

/// HEAD with one more sweep, if one is due. `interval` is `None` for a sweep in any case. `written`: the stream has
/// commits.
fn swept(read: &HeadRead, began: StoreTime, interval: Option<Duration>, written: bool) -> Result<Head, String> {
    let head = &read.head;
    let passed = |last: StoreTime| {
        let ms = u128::try_from(began.since_ms(last)).ok();
        interval.is_none_or(|interval| ms.is_some_and(|ms| ms >= interval.as_millis()))
    };
    if head.state == Life::Dropped {
        return Err("the stream has ended".to_owned());
    }
    let due = match head.swept {
        Some(last) => passed(last),
        None if head.floor > Version(1) => true,
        // Nothing was flushed, but a flush or the storing of a graph may have ended before HEAD named what it uploaded.
        // Nothing is uploaded for a stream without commits.
        None => interval.is_none() || written && read.last_modified.is_none_or(passed),
    };
    if !due {
        return Err("it was swept not long ago".to_owned());
    }
    let mut next = head.successor();
    next.sweeps += 1;
    next.swept = Some(began);
    Ok(next)
}

/// Whether an object was last written more than `age` before `now`.
pub fn older(object: &Listed, now: StoreTime, age: Duration) -> bool {
    let ms = object.last_modified.and_then(|at| u128::try_from(now.since_ms(at)).ok());
    ms.is_some_and(|ms| ms > age.as_millis())
}

/// All objects whose keys start with `prefix`.
pub async fn list_all(context: &Context, prefix: &str) -> Result<Vec<Listed>, BucketError> {
    list_under(context.bucket.as_ref(), prefix).await
}

/// All objects of a bucket whose keys start with `prefix`.
pub async fn list_under(bucket: &dyn Bucket, prefix: &str) -> Result<Vec<Listed>, BucketError> {
    let mut objects = Vec::new();
    each_page(bucket, prefix, |page| objects.extend(page.objects)).await?;
    Ok(objects)
}
