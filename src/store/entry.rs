//! The collections of a store as they come and go: each live record of the catalog has an entry, which
//! is loading, ready, or failed. Invariants: at most one entry, and so one writer, per collection; what
//! an open handle says about itself is what the newest record says.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Inner;
use super::catalog::CollectionRecord;
use crate::bucket::backoff;
use crate::bucket::keys::StreamId;
use crate::collection::handle::{Collection, Identity};
use crate::collection::snapshot::Snapshot;
use crate::collection::state::CollectionState;
use crate::error::{Error, Result};
use crate::record::{CollectionId, Metadata};
use crate::stream::context::StreamError;
use crate::stream::{Fresh, Stream};

/// How far an entry has come.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Being read from the bucket.
    Loading,
    /// Open.
    Ready(Collection),
    /// It cannot be opened.
    Failed(StreamError),
}

/// One live collection of the catalog in this instance.
#[derive(Debug)]
pub struct Entry {
    /// Which collection.
    pub id: CollectionId,
    record: ArcSwap<CollectionRecord>,
    progress: watch::Sender<Progress>,
    /// Held while the handle is told what the record says, so that an older record never comes last.
    telling: Mutex<()>,
}

impl Entry {
    /// An entry that begins to load.
    pub fn new(id: CollectionId, record: Arc<CollectionRecord>) -> Entry {
        let (record, progress) = (ArcSwap::new(record), watch::Sender::new(Progress::Loading));
        Entry { id, record, progress, telling: Mutex::new(()) }
    }

    /// Its record in the catalog, as it is known here.
    pub fn record(&self) -> Arc<CollectionRecord> {
        self.record.load_full()
    }

    /// Takes note of what the catalog says now.
    pub fn follow(&self, record: &Arc<CollectionRecord>) {
        if !Arc::ptr_eq(&self.record.load(), record) {
            self.record.store(record.clone());
            self.tell();
        }
    }

    /// Tells the handle what the record says.
    fn tell(&self) {
        let _telling = self.telling.lock();
        let Some(collection) = self.ready() else { return };
        match identity(self.id, &self.record()) {
            Ok(identity) => collection.follow(identity),
            Err(error) => tracing::error!(collection = %self.id, %error, "its record cannot be read"),
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// The collection, if it is open.
    pub fn ready(&self) -> Option<Collection> {
        match self.progress() {
            Progress::Ready(collection) => Some(collection),
            _ => None,
        }
    }

    /// Waits until it is open or cannot be opened.
    pub async fn opened(&self) -> Result<Collection, StreamError> {
        let mut watch = self.progress.subscribe();
        let settled = watch.wait_for(|p| !matches!(p, Progress::Loading)).await;
        match settled.as_deref() {
            Ok(Progress::Ready(collection)) => Ok(collection.clone()),
            Ok(Progress::Failed(error)) => Err(error.clone()),
            _ => Err(StreamError::Unavailable("the store is closing".to_owned())),
        }
    }

    /// Opens the collection; the bucket being away is waited out as long as the store lives.
    pub async fn load(&self, inner: &Arc<Inner>) {
        let mut attempt = 0;
        loop {
            let opened = {
                let Ok(_permit) = inner.recovery.acquire().await else { return };
                open(inner, self.id, &self.record()).await
            };
            let progress = match opened {
                Ok(collection) => Progress::Ready(collection),
                Err(StreamError::Unavailable(why)) if !inner.closing.is_closing() => {
                    tracing::warn!(collection = %self.record().name, %why, "cannot be loaded now, trying again");
                    let timing = &inner.settings.timing;
                    backoff::pause(timing.backoff, timing.backoff_max, attempt).await;
                    attempt += 1;
                    continue;
                }
                Err(error) => {
                    tracing::error!(collection = %self.record().name, %error, "cannot be loaded");
                    Progress::Failed(error)
                }
            };
            self.progress.send_replace(progress);
            // The record may have changed while the collection was read.
            self.tell();
            return;
        }
    }
}

/// What the catalog says about a collection, as its handle keeps it.
pub fn identity(id: CollectionId, record: &CollectionRecord) -> Result<Identity> {
    let metadata = match &record.metadata {
        None => None,
        Some(map) => Some(Metadata::from_json(&serde_json::Value::Object(map.clone()))?),
    };
    Ok(Identity {
        id,
        name: record.name.clone(),
        scope: record.scope(),
        metric: record.configuration.metric,
        metadata,
        index: record.configuration.index.clone(),
        extension: record.configuration.extension.clone(),
    })
}

async fn open(inner: &Arc<Inner>, id: CollectionId, record: &CollectionRecord) -> Result<Collection, StreamError> {
    let damaged =
        |cause: Error| StreamError::Corrupted { key: format!("catalog, record c:{id}"), cause: cause.to_string() };
    let identity = identity(id, record).map_err(damaged)?;
    let metric = identity.metric;
    let published = Arc::new(arc_swap::ArcSwap::from_pointee(Snapshot::empty(metric)));
    let fresh: Fresh<CollectionState> = {
        let (limits, published) = (inner.limits.clone(), published.clone());
        Arc::new(move || CollectionState::new(metric, limits.as_ref().clone(), published.clone()))
    };
    let stream = match Stream::open(inner.context(StreamId::Collection(id)), fresh).await {
        // HEAD stands before its record does, and is never deleted (protocol section 9).
        Err(StreamError::Missing) => {
            let key = StreamId::Collection(id).head();
            return Err(StreamError::Corrupted { key, cause: "it is missing under a live record".to_owned() });
        }
        opened => opened?,
    };
    Ok(Collection::new(identity, stream, published, inner.surroundings()))
}
