//! Collection of garbage (docs/protocol.md#log-garbage, docs/protocol.md#retired-lists) and the physical end of a
//! dropped stream (docs/protocol.md#purge).
//! Invariants: a log slot is deleted only after a durable HEAD has `gone` above it. `gone` passes a floor at least
//! T_KEEP after HEAD was seen with that floor. An object is deleted only after a durable HEAD no longer names it, and
//! only while its replacement in HEAD is there. Only store times are compared. Nothing outside the stream is deleted,
//! whatever a listing or a list says.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use serde_json::Map;
use ulid::Ulid;

use super::context::{Context, RetiredRead, StreamError};
use super::open::still_named;
use super::state::State;
use super::sweep::list_all;
use super::{Stream, upload};
use crate::bucket::listing::Listing;
use crate::bucket::{PAGE_KEYS, StoreTime};
use crate::format::head::{AGING, Aging, Head, Life, RetiredEntry};
use crate::head::{self, HeadRead, Swapped, Swapper};
use crate::record::Version;

/// Requests under way at once.
const PARALLEL_REQUESTS: usize = 8;

/// What a collection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GcCounts {
    /// Log slots deleted.
    pub log_objects: u64,
    /// Retired lists worked off.
    pub retired: u64,
}

impl<S: State> Stream<S> {
    /// Collects the garbage of a live stream.
    pub async fn collect(&self) -> Result<GcCounts, StreamError> {
        self.check_damage().await?;
        let context = self.context();
        let mut collected = GcCounts::default();
        let read = self.read_head().await?;
        self.trim(&read.head);
        if read.head.state == Life::Dropped {
            return Ok(collected);
        }
        let gone_before = read.head.gone;
        let read = self.age(read).await?;
        let read = self.let_go(read).await?;
        collected.log_objects = self.delete_log(&read.head, gone_before).await?;
        let mut read = read;
        for entry in ripe(&read, context.timing.garbage.as_millis()) {
            if self.work_off(&read, &entry).await? {
                collected.retired += 1;
            }
            read = self.read_head().await?;
        }
        Ok(collected)
    }

    async fn read_head(&self) -> Result<HeadRead, StreamError> {
        self.context().read_head().await
    }

    /// Whether the segments that HEAD names for these versions are there. If not, the objects they were made of must
    /// stay.
    async fn holds(&self, head: &Head, versions: Range<Version>) -> Result<bool, StreamError> {
        let held = segments_there(self.context(), head, versions).await;
        if let Err(StreamError::Corrupted { key, cause }) = &held {
            self.shared().note_damage(key, cause);
        }
        held
    }

    /// Deletes the slots below `gone`, also those that a stalled writer put there again.
    async fn delete_log(&self, head: &Head, gone_before: Version) -> Result<u64, StreamError> {
        let (context, gone) = (self.context(), head.gone);
        let version = |key: &str| context.stream.log_version(key);
        let mut keys = Vec::new();
        let prefix = context.stream.log_prefix();
        let mut listing = Listing::new(context.bucket.as_ref(), &prefix);
        while let Some(page) = listing.next_page().await? {
            let (all, before) = (page.objects.len(), keys.len());
            keys.extend(page.objects.into_iter().map(|o| o.key).filter(|key| version(key).is_some_and(|v| v < gone)));
            // Keys ascend: after the first slot that stays there is nothing to delete.
            if keys.len() - before < all {
                break;
            }
        }
        if keys.is_empty() || !self.holds(head, Version(1)..gone).await? {
            return Ok(0);
        }
        let again = keys.iter().filter(|k| version(k).is_some_and(|v| v < gone_before)).count();
        if again > 0 {
            tracing::warn!(stream = %context.stream, again, "log slots found below gone are deleted");
            context.counters.zombies_deleted.add(again as u64);
        }
        for keys in keys.chunks(PAGE_KEYS) {
            context.bucket.delete(keys).await?;
            context.counters.log_objects_deleted.add(keys.len() as u64);
        }
        Ok(keys.len() as u64)
    }

    /// Works off one retired list: the objects, then the entry, then the list itself.
    async fn work_off(&self, read: &HeadRead, entry: &RetiredEntry) -> Result<bool, StreamError> {
        let context = self.context();
        let list = context.read_retired(entry.ulid).await?;
        if let RetiredRead::Lost = list {
            // The list's objects are old enough, and left to the orphan sweep.
            tracing::warn!(stream = %context.stream, ulid = %entry.ulid, "a list of replaced objects is lost");
        }
        // If the list is worked off, another instance was faster.
        if let RetiredRead::There(list) = list {
            for seg in &list.segs {
                if !self.holds(&read.head, seg.lo..seg.hi.next()).await? {
                    return Ok(false);
                }
            }
            let named: BTreeSet<&String> = read.head.objects().collect();
            let keys: Vec<String> = list.keys().into_iter().filter(|key| !named.contains(key)).collect();
            context.bucket.delete(&keys).await?;
        }
        let ulid = entry.ulid;
        match self.swap(read.clone(), &move |read: &HeadRead| forget(read, ulid)).await? {
            Swapped::Done(_) => {
                context.bucket.delete(&[context.stream.retired(ulid)]).await?;
                Ok(true)
            }
            Swapped::Abandoned(_) => Ok(false),
        }
    }

    /// Remembers when the floor was seen.
    async fn age(&self, read: HeadRead) -> Result<HeadRead, StreamError> {
        let apart = self.context().timing.keep.as_millis() / 16;
        if aged(&read, apart).is_err() {
            return Ok(read);
        }
        match self.swap(read.clone(), &move |read: &HeadRead| aged(read, apart)).await? {
            Swapped::Done(_) => self.read_head().await,
            Swapped::Abandoned(_) => Ok(read),
        }
    }

    /// Moves `gone` to a floor that has been visible for T_KEEP.
    async fn let_go(&self, read: HeadRead) -> Result<HeadRead, StreamError> {
        let keep = self.context().timing.keep.as_millis();
        if loosened(&read, keep).is_err() {
            return Ok(read);
        }
        match self.swap(read.clone(), &move |read: &HeadRead| loosened(read, keep)).await? {
            // IMPORTANT: only what a durable HEAD permits may be deleted.
            Swapped::Done(_) => self.read_head().await,
            Swapped::Abandoned(_) => Ok(read),
        }
    }
}

fn old_enough(now: StoreTime, seen: StoreTime, ms: u128) -> bool {
    u128::try_from(now.since_ms(seen)).is_ok_and(|age| age >= ms)
}

fn aged(read: &HeadRead, apart_ms: u128) -> Result<Head, String> {
    let date = read.date.ok_or("the store sent no date with HEAD")?;
    let head = &read.head;
    let newest = head.aging.last();
    let known = newest.is_some_and(|a| a.floor >= head.floor) || head.floor <= head.gone;
    let too_soon = newest.is_some_and(|a| !old_enough(date, a.seen, apart_ms));
    if head.state == Life::Dropped || known || too_soon || head.aging.len() >= AGING {
        return Err("the floor needs no aging entry".to_owned());
    }
    let mut next = head.successor();
    next.aging.push(Aging { floor: head.floor, seen: date, other: Map::new() });
    Ok(next)
}

fn loosened(read: &HeadRead, keep_ms: u128) -> Result<Head, String> {
    let date = read.date.ok_or("the store sent no date with HEAD")?;
    let head = &read.head;
    let ripe = head.aging.iter().filter(|a| old_enough(date, a.seen, keep_ms)).map(|a| a.floor).max();
    let gone = ripe.filter(|floor| *floor > head.gone).ok_or("no floor is old enough")?;
    if head.state == Life::Dropped {
        return Err("the stream has ended".to_owned());
    }
    let mut next = head.successor();
    next.gone = gone;
    next.aging.retain(|a| a.floor > gone);
    Ok(next)
}

fn ripe(read: &HeadRead, garbage_ms: u128) -> Vec<RetiredEntry> {
    let Some(date) = read.date else { return Vec::new() };
    read.head.retired.iter().filter(|r| old_enough(date, r.seen, garbage_ms)).cloned().collect()
}

/// Looks for the segments that HEAD names for these versions; false if HEAD has moved on meanwhile.
async fn segments_there(context: &Arc<Context>, head: &Head, versions: Range<Version>) -> Result<bool, StreamError> {
    let mut covering = head.segs.clone();
    covering.retain(|seg| seg.lo < versions.end && seg.hi >= versions.start);
    let asked = stream::iter(covering).map(|seg| async move {
        let wrong = upload::find(context.bucket.as_ref(), &seg.key, seg.bytes, context.reread()).await;
        Ok::<_, StreamError>((seg.key, wrong?))
    });
    let mut asked = asked.buffered(PARALLEL_REQUESTS);
    while let Some(answer) = asked.next().await {
        match answer? {
            (_, None) => {}
            (key, Some(wrong)) => match still_named(context, &key).await? {
                true => {
                    let cause = format!("HEAD names it, but {wrong}; the objects that it replaced are kept");
                    return Err(StreamError::Corrupted { key, cause });
                }
                false => return Ok(false),
            },
        }
    }
    Ok(true)
}

fn forget(read: &HeadRead, ulid: Ulid) -> Result<Head, String> {
    if !read.head.retired.iter().any(|r| r.ulid == ulid) {
        return Err("another instance has worked the list off".to_owned());
    }
    let mut next = read.head.successor();
    next.retired.retain(|r| r.ulid != ulid);
    Ok(next)
}

/// How far the purge of a dropped stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// T_KEEP has not passed yet.
    Waiting,
    /// Only HEAD is left.
    Reached,
}

/// Advances the purge of a dropped stream. Notes when the stream was seen dropped. T_KEEP later, deletes everything
/// but HEAD, which stays as the tombstone.
pub async fn purge(context: &Arc<Context>, swapper: &Swapper) -> Result<End, StreamError> {
    let read = swapper.read().await.map_err(|e| StreamError::of_head(e, &context.stream))?;
    if read.head.state != Life::Dropped {
        // The process that condemned the stream died before it marked HEAD. The record is dropped for good, or this
        // purge would not run.
        head::mark_dropped(swapper).await.map_err(|e| StreamError::of_head(e, &context.stream))?;
        return Ok(End::Waiting);
    }
    let keep = context.timing.keep.as_millis();
    let Some(date) = read.date else { return Ok(End::Waiting) };
    match read.head.dropped_seen {
        None => {
            let plan = |read: &HeadRead| {
                let date = read.date.ok_or("the store sent no date with HEAD")?;
                if read.head.state != Life::Dropped || read.head.dropped_seen.is_some() {
                    return Err("noted already".to_owned());
                }
                let mut next = read.head.successor();
                next.dropped_seen = Some(date);
                Ok(next)
            };
            let swapped = swapper.swap(read, &plan).await;
            swapped.map_err(|e| StreamError::of_head(e, &context.stream))?;
            Ok(End::Waiting)
        }
        Some(seen) if old_enough(date, seen, keep) => {
            delete_all_but_head(context).await?;
            Ok(End::Reached)
        }
        Some(_) => Ok(End::Waiting),
    }
}

async fn delete_all_but_head(context: &Arc<Context>) -> Result<(), StreamError> {
    let (head, prefix) = (context.stream.head(), context.stream.prefix());
    let mut keys: Vec<String> = list_all(context, &prefix).await?.into_iter().map(|object| object.key).collect();
    keys.retain(|key| *key != head && key.starts_with(&prefix));
    for keys in keys.chunks(PAGE_KEYS) {
        context.bucket.delete(keys).await?;
    }
    Ok(())
}
