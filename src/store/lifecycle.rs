//! Creation and drop of collections (docs/protocol.md#create, docs/protocol.md#drop).
//! Invariants: the catalog commit is the commit point of a create; the `drop` commit in the collection's log is that
//! of a drop. Any instance that sees a `drop` finishes it.

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
use crate::collection::write::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::format::head::{Head, Life};
use crate::format::{StreamConfig, Successor};
use crate::head::{self, Created, HeadError, Swapper};
use crate::record::{CollectionId, Metadata};
use crate::stream::context::StreamError;
use crate::stream::ending::Ending;

/// The most bytes of a collection's name.
const NAME_BYTES: usize = 512;
/// How often a create or drop starts again when other writers interfere.
pub const ATTEMPTS: usize = 4;

impl Store {
    /// Creates a collection.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `NotFound` if there is no such database, `Invalid` for a bad
    /// name, dimension or index setting.
    pub async fn create_collection(&self, spec: impl Into<CollectionSpec>) -> Result<Collection> {
        let (mut spec, scope) = (spec.into(), self.scope.as_ref());
        self.check_spec(&spec)?;
        self.check_embedder(&mut spec).await?;
        self.check_splitting(&spec).await?;
        self.namespaces().database(&scope.tenant, &scope.database).await?;
        for _ in 0..ATTEMPTS {
            self.check_name_is_free(scope, &spec.name).await?;
            match self.try_create(scope, &spec).await {
                // The holder of the name may have been dropped elsewhere: look again.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.inner.reconcile(),
                other => return other,
            }
        }
        Err(catalog::already_exists(&spec.name))
    }

    fn check_spec(&self, spec: &CollectionSpec) -> Result<()> {
        let CollectionSpec { name, dimension, index, text, .. } = spec;
        check_collection_name(name)?;
        let limit = self.inner.limits.dimension;
        if let Some(dimension) = dimension.filter(|dimension| *dimension > limit) {
            return Err(Error::invalid(format!("dimension: expected 0 to {limit}, got {dimension}")));
        }
        text.check()?;
        index.check()
    }

    async fn try_create(&self, scope: &Scope, spec: &CollectionSpec) -> Result<Collection> {
        let id = CollectionId(Uuid::new_v4());
        let config = StreamConfig::of_dimension(spec.dimension);
        let head = Head::new(StreamId::Collection(id).to_string(), config);
        self.publish(id, &head, record_of(scope, spec)).await
    }

    /// The steps that a create and a fork share: HEAD by put-if-absent, then the catalog commit.
    pub(super) async fn publish(&self, id: CollectionId, head: &Head, record: CollectionRecord) -> Result<Collection> {
        let inner = &self.inner;
        let (stream, name) = (StreamId::Collection(id), record.name.clone());
        // A collection that memory cannot hold would exist although its creator saw an error. Loading it reserves the
        // memory again.
        drop(eviction::room_for_size(inner, id, eviction::load_size(head, None), &name).await?);
        let made = head::create(inner.bucket.as_ref(), &stream, head, &inner.settings.timing).await;
        let Created::Ours(head_date) = made.map_err(|e| StreamError::of_head(e, &stream))? else {
            // This took so long that a sweep took HEAD's stream for an orphan (docs/protocol.md#orphan-streams).
            let what = format!("collection {name:?} was not created: the HEAD of {id} stands already; try again");
            return Err(Error::unavailable(what));
        };
        match inner.catalog.write(CatalogWrite::Create { id, record: Box::new(record) }).await {
            // IMPORTANT: the catalog names the collection by now. The error must not claim that it does not exist.
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

    /// Opens a collection that the catalog has just named. `dates` are those of its HEAD and of its record.
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

    /// Fails if a live collection holds the name now. Finishes the drop of a holder that has ended.
    pub(super) async fn check_name_is_free(&self, scope: &Scope, name: &str) -> Result<()> {
        if self.inner.find(scope, name).is_some() {
            // IMPORTANT: the holder may have been renamed elsewhere. Its own log does not show that.
            self.inner.follow_catalog().await?;
        }
        match self.inner.find(scope, name) {
            Some(holder) if !ended(&self.inner, &holder).await? => Err(catalog::already_exists(name)),
            _ => Ok(()),
        }
    }

    /// Checks that HEAD is still live: if much time passed before the catalog commit, a sweep may have condemned it.
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
            // A damaged HEAD allows no conclusion.
            Err(error @ HeadError::Format(_)) => Err(StreamError::of_head(error, &stream).into()),
            _ => {
                self.inner.catalog.write(CatalogWrite::Remove { id }).await?;
                Err(unclear("it took too long and was cleaned up by another instance"))
            }
        }
    }

    /// Marks the HEAD of a failed create as dropped.
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
        // The name may have passed to another collection. Its former holder, renamed elsewhere, must not be dropped.
        self.inner.follow_catalog().await?;
        for _ in 0..ATTEMPTS {
            let id = match self.collection(name).await {
                Ok(collection) => collection.identity().id,
                // A damaged collection takes no commits, but it can be dropped. Nor does a drop need memory for the
                // records.
                Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NoRoom) => {
                    self.inner.find(&self.scope, name).ok_or(error)?.id
                }
                Err(error) => return Err(error),
            };
            if self.end(id).await? == Ended::Before {
                // Another instance dropped it before, perhaps long ago: look for the present holder of the name.
                finish_drop(&self.inner, id).await?;
                continue;
            }
            // The drop is durable: the next instance that meets it does the rest.
            if let Err(error) = finish_drop(&self.inner, id).await {
                tracing::warn!(%name, %error, "the drop is durable, but HEAD or the catalog does not show it yet");
            }
            return Ok(());
        }
        // Other writers created and dropped each of these meanwhile, so for a moment the name had no holder.
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
            // Even a HEAD that is dropped by now proves nothing. Either this drop or a much earlier one did it, and
            // since an earlier one the name may have a new holder.
            Err(error) => Err(error),
        }
    }

    /// Ends a collection that does not fit into memory: the `drop` commit needs only its log. If the collection is
    /// loaded meanwhile, its own writer runs beside this one, as another instance's writer would.
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

    /// Ends a damaged collection by its HEAD: nothing is appended behind damage.
    async fn end_unopened(&self, id: CollectionId) -> Result<Ended> {
        let (stream, inner) = (StreamId::Collection(id), &self.inner);
        let told = |error| undecided(error, &stream);
        let swapper = inner.swapper(stream.clone());
        match head::mark_dropped(&swapper).await {
            Ok(()) => return Ok(Ended::Now),
            // A lost HEAD is written again as a dropped one: otherwise the name could never be used again.
            Err(HeadError::Missing) => {}
            Err(error) => return Err(told(error)),
        }
        let tombstone = Head { state: Life::Dropped, ..Head::new(stream.to_string(), StreamConfig::default()) };
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

/// Whether this drop ended a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// This drop ended it.
    Now,
    /// It had ended before.
    Before,
}

/// Refuses names that are empty, too long, or hold unprintable characters.
pub fn check_name(field: &str, name: &str) -> Result<()> {
    match name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        true => {
            Err(Error::invalid(format!("{field}: expected 1 to {NAME_BYTES} bytes of printable text, got {name:?}")))
        }
        false => Ok(()),
    }
}

/// Refuses the names that [`check_name`] refuses, and those with a leading dot, which are Drumlin's own.
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
            text: spec.text.clone(),
            embedder: spec.embedder.clone(),
            splitting: spec.splitting.clone(),
            extension: spec.extension.clone(),
            other: Map::new(),
        },
        state: RecordState::Live,
        forked_from: None,
        fills_in_for: None,
        replaces: None,
        other: Map::new(),
    }
}

fn unclear(why: &str) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, format!("whether the collection was created is not known: {why}"))
}

/// The error of a failed swap that is the commit point of a drop: HEAD may be dropped, unless the bucket refused.
fn undecided(error: HeadError, stream: &StreamId) -> Error {
    match error {
        HeadError::Bucket(error @ BucketError::Unknown { .. }) => {
            let what = format!("whether the collection was dropped is not known: {error}; drop it again");
            Error::new(ErrorKind::OutcomeUnknown, what)
        }
        other => StreamError::of_head(other, stream).into(),
    }
}

/// The error for the creator of a collection that the catalog names, but that could not be opened.
fn published_yet(name: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::OutcomeUnknown => error,
        _ => {
            let what = format!("collection {name:?} was created, but cannot be used yet: {error}");
            Error::new(ErrorKind::OutcomeUnknown, what).with_source(error)
        }
    }
}

/// Whether the holder of a name was dropped, by a strong read of its log. If so, finishes the drop.
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

/// Whether the log has ended of a collection that does not fit into memory.
async fn ended_by_log(inner: &Inner, id: CollectionId) -> Result<bool> {
    match Ending::open(inner.context(StreamId::Collection(id))).await {
        Ok(stream) => Ok(stream.shared().ended()),
        Err(StreamError::Dropped) => Ok(true),
        Err(StreamError::Corrupted { .. } | StreamError::Missing) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What goes on in place of a collection that has ended, if its last commit names it.
async fn successor_of(inner: &Inner, id: CollectionId) -> Result<Option<Successor>> {
    if let Some(collection) = inner.entry(id).and_then(|entry| entry.ready()) {
        return Ok(collection.stream().shared().successor());
    }
    match Ending::open(inner.context(StreamId::Collection(id))).await {
        Ok(stream) => Ok(stream.shared().successor()),
        // HEAD is marked after the catalog, so by then there is nothing left to hand over.
        Err(StreamError::Dropped | StreamError::Missing | StreamError::Corrupted { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The rest of an end, after the `drop` commit or a dropped HEAD was seen. With a successor, the catalog comes first, so
/// that HEAD is never dropped under a name that nobody answers to (docs/protocol.md#handover). Without one, HEAD does.
pub async fn finish_drop(inner: &Arc<Inner>, id: CollectionId) -> Result<()> {
    let Some(to) = successor_of(inner, id).await? else {
        mark_head(inner, id).await?;
        return show_end(inner, id, &CatalogWrite::MarkDropped { id }).await;
    };
    show_end(inner, id, &CatalogWrite::HandOver { id, to }).await?;
    mark_head(inner, id).await
}

async fn mark_head(inner: &Arc<Inner>, id: CollectionId) -> Result<()> {
    let stream = StreamId::Collection(id);
    let swapper = inner.swapper(stream.clone());
    match head::mark_dropped(&swapper).await {
        Ok(()) | Err(HeadError::Missing) => {}
        Err(error) => return Err(StreamError::of_head(error, &stream).into()),
    }
    Ok(())
}

async fn show_end(inner: &Arc<Inner>, id: CollectionId, end: &CatalogWrite) -> Result<()> {
    let mut lost = 0;
    // Marking twice has the effect of marking once, so an unknown outcome is tried again. It is never returned as
    // such, since the caller may only be reading.
    while let Err(error) = inner.catalog.write(end.clone()).await {
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
