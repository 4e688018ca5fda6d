//! Collection of garbage (protocol section 8 a–c) and the physical end of a dropped stream (section 9).
//! Invariants: a log slot is deleted only after a durable HEAD has `gone` above it, and `gone` passes a
//! floor at least T_KEEP after HEAD was seen with it; an object is deleted only after a durable HEAD no
//! longer names it. Only store time is compared.

use std::sync::Arc;

use serde_json::Map;
use ulid::Ulid;

use super::Stream;
use super::context::{Context, StreamError};
use super::state::State;
use crate::bucket::{BucketError, StoreTime};
use crate::format::head::{AGING, Aging, Head, Life, Retired, RetiredEntry};
use crate::head::{self, HeadRead, Swapped, Swapper};
use crate::record::Version;

/// What a collection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Log slots deleted.
    pub log_objects: u64,
    /// Retired lists worked off.
    pub retired: u64,
}

impl<S: State> Stream<S> {
    /// Collects the garbage of a live stream.
    pub async fn collect(&self) -> Result<Collected, StreamError> {
        self.shared().check_damage()?;
        let context = self.context();
        let mut collected = Collected::default();
        let read = self.read_head().await?;
        self.trim(&read.head);
        if read.head.state == Life::Dropped {
            return Ok(collected);
        }
        let gone_before = read.head.gone;
        let read = self.age(read).await?;
        let read = self.let_go(read).await?;
        collected.log_objects = delete_log(context, read.head.gone, gone_before).await?;
        let mut read = read;
        for entry in ripe(&read, context.timing.garbage.as_millis()) {
            if work_off(context, self.swapper(), &read, &entry).await? {
                collected.retired += 1;
            }
            read = self.read_head().await?;
        }
        Ok(collected)
    }

    async fn read_head(&self) -> Result<HeadRead, StreamError> {
        self.swapper().read().await.map_err(|e| StreamError::of_head(e, &self.context().stream))
    }

    /// Step a: remembers when the floor was seen.
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

    /// Step b: lets `gone` follow a floor that has been visible for T_KEEP.
    async fn let_go(&self, read: HeadRead) -> Result<HeadRead, StreamError> {
        let keep = self.context().timing.keep.as_millis();
        if loosened(&read, keep).is_err() {
            return Ok(read);
        }
        match self.swap(read.clone(), &move |read: &HeadRead| loosened(read, keep)).await? {
            // IMPORTANT: only what a durable HEAD says may be deleted.
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

/// Deletes the slots below `gone`, also those that a stalled writer put there again.
async fn delete_log(context: &Arc<Context>, gone: Version, gone_before: Version) -> Result<u64, StreamError> {
    let mut deleted = 0;
    let mut after = None::<String>;
    loop {
        let page = context.bucket.list(&context.stream.log_prefix(), after.as_deref()).await?;
        let version = |key: &str| context.stream.log_version(key);
        let keys: Vec<String> =
            page.objects.iter().filter(|o| version(&o.key).is_some_and(|v| v < gone)).map(|o| o.key.clone()).collect();
        let again = keys.iter().filter(|k| version(k).is_some_and(|v| v < gone_before)).count();
        if again > 0 {
            tracing::warn!(stream = %context.stream, again, "log slots found below gone are deleted");
            context.counters.zombies_deleted.add(again as u64);
        }
        let whole_page = keys.len() == page.objects.len();
        if !keys.is_empty() {
            context.bucket.delete(&keys).await?;
            deleted += keys.len() as u64;
            context.counters.log_objects_deleted.add(keys.len() as u64);
        }
        after = page.objects.last().map(|o| o.key.clone());
        if !page.more || !whole_page || after.is_none() {
            return Ok(deleted);
        }
    }
}

fn ripe(read: &HeadRead, garbage_ms: u128) -> Vec<RetiredEntry> {
    let Some(date) = read.date else { return Vec::new() };
    read.head.retired.iter().filter(|r| old_enough(date, r.seen, garbage_ms)).cloned().collect()
}

/// Step c for one list: the objects, then the entry, then the list itself.
async fn work_off(
    context: &Arc<Context>,
    swapper: &Swapper,
    read: &HeadRead,
    entry: &RetiredEntry,
) -> Result<bool, StreamError> {
    let key = context.stream.retired(entry.ulid);
    match context.bucket.get(&key, None).await {
        Ok(object) => {
            let list = Retired::decode(&object.bytes, &context.stream.to_string(), entry.ulid)
                .map_err(|cause| StreamError::corrupted(key.clone(), &cause))?;
            let named =
                |k: &String| read.head.segs.iter().any(|s| &s.key == k) || read.head.graphs.iter().any(|g| &g.key == k);
            let keys: Vec<String> = list.keys().into_iter().filter(|k| !named(k)).collect();
            context.bucket.delete(&keys).await?;
        }
        // Another instance has been faster.
        Err(BucketError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let ulid = entry.ulid;
    let plan = move |read: &HeadRead| forget(read, ulid);
    let swapped = swapper.swap(read.clone(), &plan).await;
    match swapped.map_err(|e| StreamError::of_head(e, &context.stream))? {
        Swapped::Done(_) => {
            context.bucket.delete(&[key]).await?;
            Ok(true)
        }
        Swapped::Abandoned(_) => Ok(false),
    }
}

fn forget(read: &HeadRead, ulid: Ulid) -> Result<Head, String> {
    if !read.head.retired.iter().any(|r| r.ulid == ulid) {
        return Err("another instance has worked the list off".to_owned());
    }
    let mut next = read.head.successor();
    next.retired.retain(|r| r.ulid != ulid);
    Ok(next)
}

/// How far the physical end of a dropped stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// T_KEEP has not passed yet.
    Waiting,
    /// Only HEAD is left.
    Reached,
}

/// Brings a dropped stream nearer to its physical end: notes when it was seen dropped and, T_KEEP
/// later, deletes everything but HEAD, which stays as the tombstone.
pub async fn bury(context: &Arc<Context>, swapper: &Swapper) -> Result<End, StreamError> {
    let read = swapper.read().await.map_err(|e| StreamError::of_head(e, &context.stream))?;
    if read.head.state != Life::Dropped {
        // Whoever condemned it died before the HEAD was marked: its record is dropped for good, or nobody would ask.
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
    let head = context.stream.head();
    let mut after = None::<String>;
    loop {
        let page = context.bucket.list(&context.stream.prefix(), after.as_deref()).await?;
        let keys: Vec<String> = page.objects.iter().map(|o| o.key.clone()).filter(|key| *key != head).collect();
        if !keys.is_empty() {
            context.bucket.delete(&keys).await?;
        }
        after = page.objects.last().map(|o| o.key.clone());
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}
