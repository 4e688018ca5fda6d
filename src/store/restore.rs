//! Restoring: the state of a collection at an earlier version becomes a new collection.
//! Invariants: the old collection is only read, even if it is damaged or dropped; the new one is published as a fork
//! is (docs/protocol.md#restore).

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use uuid::Uuid;

use super::catalog::{self, CollectionRecord, RecordState};
use super::lifecycle::{ATTEMPTS, check_collection_name};
use super::{Admin, files, report};
use crate::bucket::StoreTime;
use crate::bucket::keys::StreamId;
use crate::collection::handle::Collection;
use crate::error::{Error, ErrorKind, Result};
use crate::format::head::Head;
use crate::record::{CollectionId, Version};
use crate::stream::context::{Context, StreamError};
use crate::stream::history::History;
use crate::stream::rewind::{RewindError, rewind};
use crate::stream::salvage::salvage;

/// Which state of a collection to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After this commit.
    Version(Version),
    /// After the last commit that the store had written by this time, in milliseconds since 1970 by the store's
    /// clock.
    Time(i64),
    /// After the last commit that no damage precedes.
    Sound,
}

impl Admin<'_> {
    /// Makes a collection called `name` with the records that the collection `of` held at `moment`. Also returns
    /// which version that was. `of` may be damaged, or dropped as long as its objects are kept. If several
    /// collections had the name, the live one is used, else the one with the newest commit. Metric, index and
    /// metadata are those of the catalog now.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection, or the moment is out of reach: the message says how far back it
    /// goes. `AlreadyExists` if the name is taken. `Corrupted` if a needed object is damaged.
    pub async fn restore_collection(self, of: &str, moment: Moment, name: &str) -> Result<(Collection, Version)> {
        self.restored(of, moment, name).await
    }

    /// Boxed, so that a task can wait for it whatever the lifetimes of its borrows.
    fn restored<'a>(self, of: &'a str, moment: Moment, name: &'a str) -> BoxFuture<'a, Result<(Collection, Version)>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            check_collection_name(name)?;
            files::check_no_files(of, "restored")?;
            self.store.inner.follow_catalog().await?;
            let (id, record) = match moment {
                Moment::Time(ms) => self.recorded_at(of, StoreTime(ms)).await?,
                Moment::Version(_) | Moment::Sound => self.recorded(of).await?,
            };
            for _ in 0..ATTEMPTS {
                self.store.check_name_is_free(self.store.scope(), name).await?;
                let copy = CollectionId(Uuid::new_v4());
                let context = Arc::new(self.store.inner.context(StreamId::Collection(id)));
                let (head, version) = copied(&context, moment, &record, &StreamId::Collection(copy)).await?;
                let (name, state) = (name.to_owned(), RecordState::Live);
                let record = CollectionRecord {
                    name,
                    state,
                    forked_from: None,
                    fills_in_for: None,
                    replaces: None,
                    ..record.clone()
                };
                match self.store.publish(copy, &head, record).await {
                    // The holder of the name may have been dropped elsewhere: look again.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => self.store.inner.reconcile(),
                    published => return Ok((published?, version)),
                }
            }
            Err(catalog::already_exists(name))
        })
    }

    /// The versions of a collection that can be restored.
    ///
    /// # Errors
    /// As [`restore_collection`](Admin::restore_collection).
    pub async fn past_of(self, of: &str) -> Result<Option<report::Past>> {
        self.store.inner.follow_catalog().await?;
        let (id, record) = self.recorded(of).await?;
        let history = self.history(id, &record).await?;
        Ok(history.reach().map(|reach| report::Past {
            oldest: reach.oldest,
            also: reach.also,
            newest: reach.newest,
            since_ms: reach.since.map(|since| since.0),
        }))
    }

    /// The collection of that name: the live one. Otherwise, of the dropped ones whose objects are kept, the one with
    /// the newest commit.
    async fn recorded(self, name: &str) -> Result<(CollectionId, CollectionRecord)> {
        let view = self.store.inner.view.load_full();
        let of_name =
            view.collections.iter().filter(|(_, record)| record.is_in(self.store.scope()) && record.name == name);
        let mut found = None::<(Option<StoreTime>, CollectionId, CollectionRecord)>;
        for (id, record) in of_name {
            if record.is_live() {
                return Ok((*id, record.as_ref().clone()));
            }
            let Ok(history) = self.history(*id, record).await else { continue };
            let last = history.commits.values().next_back().and_then(|commit| commit.written);
            if found.as_ref().is_none_or(|(best, ..)| *best < last) {
                found = Some((last, *id, record.as_ref().clone()));
            }
        }
        let found = found.map(|(_, id, record)| (id, record));
        found.ok_or_else(|| Error::not_found(format!("there is, or was lately, no collection {name:?}")))
    }

    /// As [`recorded`](Admin::recorded), or the collection that had its place at that time: the one that it was made
    /// from when all was embedded anew, as long as its objects are kept.
    async fn recorded_at(self, name: &str, time: StoreTime) -> Result<(CollectionId, CollectionRecord)> {
        let (mut id, mut record) = self.recorded(name).await?;
        while let Some(replaced) = record.replaces {
            let earlier = self.store.inner.view.load().collections.get(&replaced.collection).cloned();
            let younger = self.history(id, &record).await.is_ok_and(|history| history.version_at(time).is_none());
            let Some(earlier) = earlier.filter(|_| younger) else { break };
            if self.history(replaced.collection, &earlier).await.is_err() {
                break;
            }
            (id, record) = (replaced.collection, earlier.as_ref().clone());
        }
        Ok((id, record))
    }

    pub(super) async fn history(self, id: CollectionId, record: &CollectionRecord) -> Result<History, StreamError> {
        let (inner, stream) = (&self.store.inner, StreamId::Collection(id));
        let history = History::read(inner.bucket.as_ref(), &stream, inner.settings.timing.reread()).await?;
        Ok(history.beginning_at(record.complete_at()))
    }
}

/// The collection's past. For [`Moment::Sound`], a lost or damaged HEAD does not stand in the way.
async fn past(context: &Arc<Context>, moment: Moment, record: &CollectionRecord) -> Result<History, StreamError> {
    let (bucket, stream, reread) = (context.bucket.as_ref(), &context.stream, context.timing.reread());
    let history = match History::read(bucket, stream, reread).await {
        Err(StreamError::Corrupted { .. } | StreamError::Missing) if moment == Moment::Sound => {
            salvage(bucket, stream, record.configuration.dimension, reread).await
        }
        read => read,
    };
    Ok(history?.beginning_at(record.complete_at()))
}

/// Writes the objects of `target`. Returns its HEAD, and the restored version.
async fn copied(
    context: &Arc<Context>,
    moment: Moment,
    record: &CollectionRecord,
    target: &StreamId,
) -> Result<(Head, Version)> {
    let mut why = StreamError::Missing;
    for _ in 0..ATTEMPTS {
        let history = past(context, moment, record).await?;
        let mut version = chosen(&history, moment)?;
        loop {
            match rewind(context, &history, version, target).await {
                Ok(head) => return Ok((head, version)),
                // IMPORTANT: go only further back with each try, so that this ends.
                Err(RewindError::Ends { last, .. }) if moment == Moment::Sound && last < version => version = last,
                // A time after the drop means the collection as it was before the drop.
                Err(RewindError::Ends { last, why: StreamError::Dropped })
                    if matches!(moment, Moment::Time(_)) && last < version =>
                {
                    version = last;
                }
                Err(RewindError::Stream(error @ StreamError::Recycled(_))) => {
                    why = error;
                    break;
                }
                Err(error) => return Err(refusal(&history, version, error)),
            }
        }
    }
    Err(Error::unavailable(format!("the collection kept changing while it was read ({why}); try again")))
}

fn chosen(history: &History, moment: Moment) -> Result<Version> {
    match moment {
        Moment::Version(version) => Ok(version),
        Moment::Sound => Ok(history.last_without(history.newest(), &BTreeSet::new())),
        Moment::Time(ms) => history.version_at(StoreTime(ms)).ok_or_else(|| {
            let first = history.commits.iter().find_map(|(version, commit)| Some((*version, commit.written?.0)));
            let known = first.map_or_else(
                || "no commit is left in its log".to_owned(),
                |(version, ms)| format!("the oldest commit whose time is known is {version}, of {}", report::time(ms)),
            );
            Error::not_found(format!(
                "what the collection was at {} is out of reach: {known}; `drumlin inspect` shows what can be restored",
                report::time(ms)
            ))
        }),
    }
}

/// The error for a version beyond the newest.
pub(super) fn not_there_yet(version: Version, newest: Version) -> Error {
    Error::not_found(format!("version {version} is not there yet: the newest is {newest}"))
}

/// An error for callers: a version out of reach says how far back the past goes.
pub(super) fn refusal(history: &History, version: Version, error: RewindError) -> Error {
    match error {
        RewindError::Stream(error) => error.into(),
        RewindError::OutOfReach => Error::not_found(format!("version {version} is out of reach: {}", reach(history))),
        RewindError::Ends { last, why: StreamError::Dropped } => {
            Error::not_found(format!("the collection was dropped after version {last}; restore that one"))
        }
        RewindError::Ends { last, why } => {
            let error = Error::from(why);
            let sound = format!("{error}; what is sound before it, version {last}, can be restored");
            Error::new(error.kind(), sound)
        }
    }
}

/// How far back a collection can be restored, in words.
fn reach(history: &History) -> String {
    let Some(reach) = history.reach() else { return "nothing of its past can be read".to_owned() };
    let mut text = format!("versions {} to {} can be restored", reach.oldest, reach.newest);
    if !reach.also.is_empty() {
        let also: Vec<String> = reach.also.iter().map(Version::to_string).collect();
        text.push_str(&format!(", and {}", also.join(", ")));
    }
    text
}
