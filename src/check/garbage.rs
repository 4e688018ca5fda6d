//! What garbage collection and the sweeps would delete now (docs/protocol.md#garbage), by reason. Invariant: it lists
//! only objects that a server's next collection deletes, judged by the objects at one moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::inspect::SeenStreams;
use super::inventory::StreamObjects;
use super::names::CollectionSelector;
use super::stream_check::Expected;
use crate::bucket::keys::StreamId;
use crate::bucket::{Bucket, Listed, StoreTime};
use crate::config::Timing;
use crate::error::Result;
use crate::format::head::{Head, Life};
use crate::head::{self, HeadError};
use crate::record::Version;
use crate::stream::context::{StreamError, look_at_retired};
use crate::stream::sweep::older;

/// Why an object goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A commit that segments have held for longer than any reader needs it.
    OldCommit,
    /// A segment or graph that was replaced long enough ago, or the list that names it.
    Replaced,
    /// An old object that nothing names, left by an upload that failed.
    Orphan,
    /// An object of a collection that was dropped long enough ago.
    Dropped,
}

/// An object that would be deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PendingDeletion {
    /// The reason.
    pub reason: Reason,
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The objects that would be deleted from the whole bucket. Orphans are swept once a week only, unless `sweep` asks
/// for all.
///
/// # Errors
/// `Unavailable` if the bucket does not answer, `NotFound` if there is no store.
pub async fn garbage(bucket: Arc<dyn Bucket>, timing: &Timing, sweep: bool) -> Result<Vec<PendingDeletion>> {
    garbage_and_heads(bucket, timing, sweep, |_, _| {}).await
}

/// As [`garbage`]; passes each stream's HEAD to `look`, since it is read anyway.
pub async fn garbage_and_heads(
    bucket: Arc<dyn Bucket>,
    timing: &Timing,
    sweep: bool,
    mut look: impl FnMut(&StreamId, &Head),
) -> Result<Vec<PendingDeletion>> {
    let seen = SeenStreams::look(bucket.clone(), &CollectionSelector::default()).await?;
    let mut pending = Vec::new();
    for (id, expected, objects) in &seen.streams {
        let read = match head::read(bucket.as_ref(), id, timing.reread()).await {
            Ok(read) => read,
            Err(HeadError::Bucket(error)) => return Err(StreamError::from(error).into()),
            // No object is deleted from a stream whose HEAD cannot be read.
            Err(_) => continue,
        };
        look(id, &read.head);
        let Some(date) = read.date else { continue };
        let mut stream = GarbageStream { id, head: &read.head, date, objects, timing, pending: &mut pending };
        match read.head.state {
            Life::Dropped => stream.dropped(expected),
            Life::Live => stream.live(bucket.as_ref(), sweep).await?,
        }
    }
    pending.sort();
    Ok(pending)
}

struct GarbageStream<'a> {
    id: &'a StreamId,
    head: &'a Head,
    date: StoreTime,
    objects: &'a StreamObjects,
    timing: &'a Timing,
    pending: &'a mut Vec<PendingDeletion>,
}

impl GarbageStream<'_> {
    fn past(&self, seen: StoreTime, time: std::time::Duration) -> bool {
        u128::try_from(self.date.since_ms(seen)).is_ok_and(|age| age >= time.as_millis())
    }

    fn doom(&mut self, reason: Reason, object: &Listed) {
        self.pending.push(PendingDeletion { reason, key: object.key.clone(), bytes: object.size_bytes });
    }

    /// The objects that a purge deletes.
    fn dropped(&mut self, expected: &Expected) {
        let ripe = self.head.dropped_seen.is_some_and(|seen| self.past(seen, self.timing.keep));
        if !ripe || !expected.recorded || expected.live {
            return;
        }
        self.objects.without_head().for_each(|object| self.doom(Reason::Dropped, object));
    }

    async fn live(&mut self, bucket: &dyn Bucket, sweep: bool) -> Result<()> {
        let (head, objects) = (self.head, self.objects);
        let ripe = head.aging.iter().filter(|aging| self.past(aging.seen, self.timing.keep)).map(|aging| aging.floor);
        let gone: Version = ripe.max().unwrap_or(head.gone).max(head.gone);
        objects.log.range(..gone).for_each(|(_, object)| self.doom(Reason::OldCommit, object));
        let mut named: BTreeSet<String> = head.objects().cloned().collect();
        for entry in &head.retired {
            let key = self.id.retired(entry.ulid);
            let ripe = self.past(entry.seen, self.timing.garbage);
            let list = match look_at_retired(bucket, self.id, entry.ulid, self.timing.reread()).await {
                // The objects of a lost list are swept once they are old enough.
                Ok(None) if !ripe => return Ok(()),
                Ok(list) => list.map(|list| list.keys()).unwrap_or_default(),
                // A server that meets a damaged list stops here too.
                Err(StreamError::Corrupted { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if ripe {
                let unnamed = list.iter().filter(|key| !named.contains(*key));
                let listed: Vec<&Listed> = unnamed.filter_map(|key| objects.find(key)).collect();
                listed.into_iter().for_each(|object| self.doom(Reason::Replaced, object));
                objects.retired.get(&entry.ulid).into_iter().for_each(|object| self.doom(Reason::Replaced, object));
            }
            named.extend(list);
            named.insert(key);
        }
        let due = match head.swept {
            Some(swept) => self.past(swept, self.timing.sweep_interval),
            None => head.floor.0 > 1,
        };
        if sweep || due {
            let files = objects.named().chain(objects.retired.values());
            let (date, age) = (self.date, self.timing.sweep_age);
            files
                .filter(|object| !named.contains(&object.key) && older(object, date, age))
                .for_each(|object| self.doom(Reason::Orphan, object));
        }
        Ok(())
    }
}
