//! Birth and death of collections (docs/protocol.md#create, docs/protocol.md#drop). Invariants: the catalog commit is
//! the commit point of a create, the `drop` commit in the collection's log that of a drop; whoever sees a `drop`
//! finishes it.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::catalog::{self, CatalogWrite, CollectionRecord, Configuration, RecordState};
use super::entry::Entry;
use super::{Inner, Store, eviction};
use crate::bucket::keys::StreamId;
use crate::bucket::{BucketError, StoreTime};
use crate::collection::handle::Collection;
use crate::collection::request::{CollectionSpec, Scope};
use crate::collection::state::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::format::head::{Head, Life};
use crate::head::{self, Created, HeadError, Swapper};
use crate::record::{CollectionId, Metadata};
use crate::stream::context::StreamError;
use crate::stream::ending::Ending;

/// Bytes of a collection's name at most.
const NAME_BYTES: usize = 512;
/// How often a create or drop that others interfere with starts anew.
pub const ATTEMPTS: usize = 4;

impl Store {
    /// Creates a collection.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `NotFound` if there is no such database, `Invalid` for a bad
    /// name, dimension or index setting.
    pub async fn create_collection(&self, spec: impl Into<CollectionSpec>) -> Result<Collection> {
        let (spec, scope) = (spec.into(), self.scope.as_ref());
        self.check_spec(&spec)?;
        self.namespaces().database(&scope.tenant, &scope.database).await?;
        for _ in 0..ATTEMPTS {
            self.check_name_is_free(scope, &spec.name).await?;
            match self.try_create(scope, &spec).await {
                // The name may be held by a collection that has been dropped: look again.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.inner.reconcile(),
                other => return other,
            }
        }
        Err(catalog::already_exists(&spec.name))
    }

    fn check_spec(&self, spec: &CollectionSpec) -> Result<()> {
        let CollectionSpec { name, dimension, index, .. } = spec;
        check_collection_name(name)?;
        let limit = self.inner.limits.dimension;
        if dimension.is_some_and(|d| d == 0 || d > limit) {
            return Err(Error::invalid(format!("dimension: expected 1 to {limit}, got {}", dimension.unwrap_or(0))));
        }
        index.check()
    }

    async fn try_create(&self, scope: &Scope, spec: &CollectionSpec) -> Result<Collection> {
        let id = CollectionId(Uuid::new_v4());
        let mut config = Map::new();
        if let Some(dimension) = spec.dimension {
            config.insert("dimension".to_owned(), Value::from(dimension));
        }
        let head = Head::new(StreamId::Collection(id).to_string(), config);
        self.publish(id, &head, record_of(scope, spec)).await
    }

    /// The steps of a create that a fork has too: HEAD by put-if-absent, then the catalog commit.
    pub(super) async fn publish(&self, id: CollectionId, head: &Head, record: CollectionRecord) -> Result<Collection> {
        let inner = &self.inner;
        let (stream, name) = (StreamId::Collection(id), record.name.clone());
        eviction::check_room(inner, id, head, &name).await?;
        let made = head::create(inner.bucket.as_ref(), &stream, head, &inner.settings.timing).await;
        let Created::Ours(head_date) = made.map_err(|e| StreamError::of_head(e, &stream))? else {
            // A sweep took it for an orphan, for this took too long (docs/protocol.md#orphan-streams).
            let what = format!("collection {name:?} was not created: the HEAD of {id} stands already; try again");
            return Err(Error::unavailable(what));
        };
        match inner.catalog.write(CatalogWrite::Create { id, record: Box::new(record) }).await {
            // IMPORTANT: the catalog names it by now. Its creator must not be told that there is none.
            Ok(written) => {
                self.open_published(id, &name, (head_date, written.date)).await.map_err(|e| published_yet(&name, e))
            }
            Err(error) => {
                if error.kind() != ErrorKind::OutcomeUnknown {
                    self.abandon_head(&stream).await;
                }
                Err(error)
            }
        }
    }

    /// Opens a collection that the catalog names since just now. `dates` are those of its HEAD and of its record.
    async fn open_published(
        &self,
        id: CollectionId,
        name: &str,
        dates: (Option<StoreTime>, Option<StoreTime>),
    ) -> Result<Collection> {
        self.check_published_in_time(id, dates).await?;
        self.inner.reconcile();
        match self.inner.entry(id) {
            Some(entry) => Ok(entry.opened().await?.handle()),
            None if self.inner.view.load().is_live(id) => Err(Error::unavailable("the store is closing")),
            None => Err(Error::not_found(format!("collection {name:?} was dropped at once"))),
        }
    }

    /// Fails if a live collection holds the name by now; finishes the drop of one that has ended.
    pub(super) async fn check_name_is_free(&self, scope: &Scope, name: &str) -> Result<()> {
        if self.inner.find(scope, name).is_some() {
            // IMPORTANT: the holder may have been renamed elsewhere. Its own log does not tell.
            self.inner.follow_catalog().await?;
        }
        match self.inner.find(scope, name) {
            Some(holder) if !ended(&self.inner, &holder).await? => Err(catalog::already_exists(name)),
            _ => Ok(()),
        }
    }

    /// If much time passed between HEAD and the catalog commit, a sweep may have taken HEAD away.
    async fn check_published_in_time(
        &self,
        id: CollectionId,
        dates: (Option<StoreTime>, Option<StoreTime>),
    ) -> Result<()> {
        let lease = self.inner.settings.timing.lease.as_millis();
        let in_time = match dates {
            (Some(head), Some(catalog)) => u128::try_from(catalog.since_ms(head)).unwrap_or(0) <= lease,
            _ => false,
        };
        if in_time {
            return Ok(());
        }
        let stream = StreamId::Collection(id);
        match head::read(self.inner.bucket.as_ref(), &stream, self.inner.settings.timing.reread()).await {
            Ok(read) if read.head.state == Life::Live => Ok(()),
            Err(HeadError::Bucket(error)) => Err(unclear(&format!("HEAD could not be read: {error}"))),
            // Nothing is concluded from a damaged HEAD.
            Err(error @ HeadError::Format(_)) => Err(StreamError::of_head(error, &stream).into()),
            _ => {
                self.inner.catalog.write(CatalogWrite::Remove { id }).await?;
                Err(unclear("it took too long and was cleaned up by another instance"))
            }
        }
    }

    /// Marks the HEAD of a create that did not come to be.
    async fn abandon_head(&self, stream: &StreamId) {
        let swapper = self.inner.swapper(stream.clone());
        if let Err(error) = head::mark_dropped(&swapper).await {
            tracing::warn!(%stream, %error, "the HEAD of a refused create is left over");
        }
    }

    /// Drops a collection: its records are gone for every instance, and its name is free.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection.
    pub async fn drop_collection(&self, name: &str) -> Result<()> {
        // By now the name may be another collection's: the one it was of, renamed elsewhere, must not be dropped.
        self.inner.follow_catalog().await?;
        for _ in 0..ATTEMPTS {
            let id = match self.collection(name).await {
                Ok(collection) => collection.identity().id,
                // A damaged collection takes no commits, but it can be thrown away.
                // Nor need there be memory for what is thrown away.
                Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NoRoom) => {
                    self.inner.find(&self.scope, name).ok_or(error)?.id
                }
                Err(error) => return Err(error),
            };
            if self.end(id).await? == Ended::Before {
                // Another instance dropped it before, perhaps long ago: look who has the name now.
                finish_drop(&self.inner, id).await?;
                continue;
            }
            // The drop is durable: what is left to do is done by the next to meet it.
            if let Err(error) = finish_drop(&self.inner, id).await {
                tracing::warn!(%name, %error, "the drop is durable, but HEAD or the catalog does not show it yet");
            }
            return Ok(());
        }
        // Each of these was created and dropped by others while this went on, so for a moment there was none.
        Err(Error::not_found(format!(
            "there is no collection {name:?}; concurrent requests keep creating and dropping it"
        )))
    }

    /// Ends a live collection's log: the commit point of its drop. HEAD and catalog do not show it yet.
    pub(super) async fn end(&self, id: CollectionId) -> Result<Ended> {
        let Some(entry) = self.inner.entry(id) else { return Ok(Ended::Before) };
        let collection = match entry.opened().await {
            Ok(collection) => collection,
            Err(StreamError::Dropped) => return Ok(Ended::Before),
            Err(StreamError::NoRoom(_)) => return self.end_by_log(id).await,
            Err(StreamError::Corrupted { .. }) => return self.end_unopened(id).await,
            Err(error) => return Err(error.into()),
        };
        match collection.stream().write(Change::Drop).await {
            Ok(_) => Ok(Ended::Now),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ended::Before),
            Err(error) if error.kind() == ErrorKind::Corrupted => self.end_unopened(id).await,
            // Even a HEAD that is dropped by now would not tell whether this drop did it, or one of long ago
            // since which the name has a new holder.
            Err(error) => Err(error),
        }
    }

    /// Ends a collection that there is no memory for: the `drop` commit needs its log alone. The writer that puts it stands
    /// beside the collection's own, if somebody loads that meanwhile, as another instance's would.
    async fn end_by_log(&self, id: CollectionId) -> Result<Ended> {
        let stream = match Ending::open(self.inner.context(StreamId::Collection(id))).await {
            Ok(stream) => stream,
            Err(StreamError::Dropped) => return Ok(Ended::Before),
            Err(StreamError::Corrupted { .. } | StreamError::Missing) => return self.end_unopened(id).await,
            Err(error) => return Err(error.into()),
        };
        match stream.write(()).await {
            Ok(_) => Ok(Ended::Now),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ended::Before),
            Err(error) if error.kind() == ErrorKind::Corrupted => self.end_unopened(id).await,
            Err(error) => Err(error),
        }
    }

    /// Ends a collection that is damaged: nothing is appended behind damage.
    async fn end_unopened(&self, id: CollectionId) -> Result<Ended> {
        let (stream, inner) = (StreamId::Collection(id), &self.inner);
        let told = |error| undecided(error, &stream);
        let swapper = inner.swapper(stream.clone());
        match head::mark_dropped(&swapper).await {
            Ok(()) => return Ok(Ended::Now),
            // A HEAD that is lost is put anew, as one that is dropped: else the name could never be used again.
            Err(HeadError::Missing) => {}
            Err(error) => return Err(told(error)),
        }
        let tombstone = Head { state: Life::Dropped, ..Head::new(stream.to_string(), Map::new()) };
        let made = head::create(inner.bucket.as_ref(), &stream, &tombstone, &inner.settings.timing).await;
        match made.map_err(told)? {
            Created::Ours(_) => {}
            Created::Exists => head::mark_dropped(&swapper).await.map_err(told)?,
        }
        Ok(Ended::Now)
    }

    /// Marks a collection's HEAD as dropped.
    pub(super) async fn mark_dropped(&self, id: CollectionId) -> Result<()> {
        let stream = StreamId::Collection(id);
        let marked = head::mark_dropped(&self.inner.swapper(stream.clone())).await;
        marked.map_err(|e| StreamError::of_head(e, &stream).into())
    }
}

/// Whether a drop was the one that ended a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was.
    Now,
    /// The collection had ended before.
    Before,
}

/// Refuses names that are empty, too long, or hold what cannot be printed.
pub fn check_name(field: &str, name: &str) -> Result<()> {
    match name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        true => {
            Err(Error::invalid(format!("{field}: expected 1 to {NAME_BYTES} bytes of printable text, got {name:?}")))
        }
        false => Ok(()),
    }
}

/// Refuses what [`check_name`] refuses, and names that begin with a dot, which are Drumlin's own.
pub fn check_collection_name(name: &str) -> Result<()> {
    check_name("name", name)?;
    match name.starts_with('.') {
        true => Err(Error::invalid(format!("name: expected no dot in front, got {name:?}"))),
        false => Ok(()),
    }
}

/// Metadata as the catalog stores it.
pub fn metadata_json(metadata: Option<&Metadata>) -> Option<Map<String, Value>> {
    let json = serde_json::to_value(metadata?).ok()?;
    json.as_object().cloned()
}

fn record_of(scope: &Scope, spec: &CollectionSpec) -> CollectionRecord {
    CollectionRecord {
        tenant: scope.tenant.clone(),
        database: scope.database.clone(),
        name: spec.name.clone(),
        metadata: metadata_json(spec.metadata.as_ref()),
        configuration: Configuration {
            metric: spec.metric,
            dimension: spec.dimension,
            index: spec.index.clone(),
            extension: spec.extension.clone(),
            other: Map::new(),
        },
        state: RecordState::Live,
        forked_from: None,
        other: Map::new(),
    }
}

fn unclear(why: &str) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, format!("whether the collection was created is not known: {why}"))
}

/// A failed swap that is the commit point of a drop: HEAD may be dropped, unless the bucket refused.
fn undecided(error: HeadError, stream: &StreamId) -> Error {
    match error {
        HeadError::Bucket(error @ BucketError::Unknown { .. }) => {
            let what = format!("whether the collection was dropped is not known: {error}; drop it again");
            Error::new(ErrorKind::OutcomeUnknown, what)
        }
        other => StreamError::of_head(other, stream).into(),
    }
}

/// What the creator of a collection that the catalog names is told, where it could not be opened.
fn published_yet(name: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::OutcomeUnknown => error,
        _ => {
            let what = format!("collection {name:?} was created, but cannot be used yet: {error}");
            Error::new(ErrorKind::OutcomeUnknown, what).with_source(error)
        }
    }
}

/// Whether the holder of a name has been dropped, by a strong read of its log; finishes the drop.
pub async fn ended(inner: &Arc<Inner>, holder: &Entry) -> Result<bool> {
    let ended = match holder.opened().await {
        Ok(collection) => {
            match collection.stream().sync().await {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupted) => {}
                Err(error) => return Err(error),
            }
            collection.stream().shared().ended()
        }
        Err(StreamError::Dropped) => true,
        Err(StreamError::NoRoom(_)) => ended_by_log(inner, holder.id).await?,
        Err(StreamError::Corrupted { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    if ended {
        finish_drop(inner, holder.id).await?;
    }
    Ok(ended)
}

/// Whether the log of a collection that there is no memory for has ended.
async fn ended_by_log(inner: &Inner, id: CollectionId) -> Result<bool> {
    match Ending::open(inner.context(StreamId::Collection(id))).await {
        Ok(stream) => Ok(stream.shared().ended()),
        Err(StreamError::Dropped) => Ok(true),
        Err(StreamError::Corrupted { .. } | StreamError::Missing) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The rest of a drop, after the `drop` commit or a dropped HEAD was seen: HEAD, then the catalog.
pub async fn finish_drop(inner: &Arc<Inner>, id: CollectionId) -> Result<()> {
    let stream = StreamId::Collection(id);
    let swapper = inner.swapper(stream.clone());
    match head::mark_dropped(&swapper).await {
        Ok(()) | Err(HeadError::Missing) => {}
        Err(error) => return Err(StreamError::of_head(error, &stream).into()),
    }
    let mut lost = 0;
    // Marking twice is marking once, so an unknown outcome is asked again, and never told as one: whoever
    // needs this may only be reading.
    while let Err(error) = inner.catalog.write(CatalogWrite::MarkDropped { id }).await {
        lost += 1;
        match error.kind() {
            ErrorKind::OutcomeUnknown if lost < ATTEMPTS => {}
            ErrorKind::OutcomeUnknown => {
                return Err(Error::unavailable(format!("collection {id} has ended, the catalog may not show it yet")));
            }
            _ => return Err(error),
        }
    }
    inner.reconcile();
    Ok(())
}

impl Inner {
    pub(super) fn swapper(&self, stream: StreamId) -> Swapper {
        Swapper::new(self.bucket.clone(), stream, self.settings.timing.clone())
    }
}
