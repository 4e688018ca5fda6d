//! The handle of an open collection: writes go to its stream's writer, reads to the snapshot that was
//! published last. Reads never wait for the bucket unless they ask to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::get::Reading;
use super::graphs::Parts;
use super::key_types::KeyTypes;
use super::request::{
    CollectionInfo, Condition, Consistency, Get, GetAnswer, Guard, IndexSettings, Query, QueryAnswer, Scope, Selection,
    Write, WriteOutcome,
};
use super::snapshot::Snapshot;
use super::state::{Change, CollectionState};
use super::upkeep::Calm;
use crate::bucket::StoreTime;
use crate::compute::Compute;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::record::{CollectionId, Metadata, Metric, Record, RecordUpdate};
use crate::stream::Stream;
use crate::stream::writer::Written;

/// What the catalog says about a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Its identity.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// Where it belongs.
    pub scope: Scope,
    /// How distance is measured.
    pub metric: Metric,
    /// Values remembered with it.
    pub metadata: Option<Metadata>,
    /// How graphs are built.
    pub index: IndexSettings,
    /// Remembered with it, never read here.
    pub extension: Map<String, Value>,
}

/// Who an open collection asks for what it does not hold itself.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// CPU work.
    pub compute: Arc<Compute>,
    /// What requests may ask for.
    pub limits: Arc<Limits>,
}

#[derive(Debug)]
struct Inner {
    identity: ArcSwap<Identity>,
    stream: Stream<CollectionState>,
    published: Arc<ArcSwap<Snapshot>>,
    surroundings: Surroundings,
    reads: AtomicU64,
    calm: Mutex<Calm>,
}

/// A collection of records. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Collection {
    inner: Arc<Inner>,
}

impl Collection {
    pub(crate) fn new(
        identity: Identity,
        stream: Stream<CollectionState>,
        published: Arc<ArcSwap<Snapshot>>,
        surroundings: Surroundings,
    ) -> Collection {
        let (identity, reads, calm) = (ArcSwap::from_pointee(identity), AtomicU64::new(0), Mutex::default());
        Collection { inner: Arc::new(Inner { identity, stream, published, surroundings, reads, calm }) }
    }

    /// Applies a write request durably: when this returns, the change is in the bucket. The request is
    /// in one commit, whole. Several requests at the same time share a commit.
    ///
    /// # Errors
    /// `Invalid` and `Limit` name the offending field; nothing is applied. `Unavailable`: nothing was
    /// applied. `OutcomeUnknown`: the bucket did not say whether it was. `NotFound`: the collection was
    /// dropped. `Corrupted`: an object of the collection is damaged and it is read-only.
    pub async fn write(&self, write: Write) -> Result<WriteOutcome> {
        self.used();
        self.inner.stream.write(Change::Write(write)).await.map(|written| written.answer)
    }

    /// The same, if all guards hold right before it; tells when the store gave the answer, too.
    ///
    /// # Errors
    /// `Conflict` if a guard does not hold: nothing was written.
    pub(crate) async fn write_guarded(&self, guards: Vec<Guard>, write: Write) -> Result<Written<WriteOutcome>> {
        self.used();
        self.inner.stream.write(Change::Guarded(guards, write)).await
    }

    /// Brings readers up to date; the store time at which there was no newer commit. What a snapshot shows that
    /// was taken before the call is older than that time.
    pub(crate) async fn caught_up(&self) -> Result<Option<StoreTime>> {
        let nothing = Write::Delete(Selection { ids: Some(Vec::new()), ..Selection::default() });
        Ok(self.write_guarded(Vec::new(), nothing).await?.date)
    }

    /// Inserts records; one whose id exists already is skipped.
    pub async fn add(&self, records: &[Record]) -> Result<WriteOutcome> {
        self.write(Write::Add(records.to_vec())).await
    }

    /// Inserts records, or replaces the ones whose ids exist.
    pub async fn upsert(&self, records: &[Record]) -> Result<WriteOutcome> {
        self.write(Write::Upsert(records.to_vec())).await
    }

    /// Changes existing records; unknown ids are skipped.
    pub async fn update(&self, updates: &[RecordUpdate]) -> Result<WriteOutcome> {
        self.write(Write::Update(updates.to_vec())).await
    }

    /// Changes the records whose ids exist, and inserts the others; each needs an embedding.
    pub async fn merge(&self, updates: &[RecordUpdate]) -> Result<WriteOutcome> {
        self.write(Write::Merge(updates.to_vec())).await
    }

    /// Deletes the selected records.
    pub async fn delete(&self, selection: Selection) -> Result<WriteOutcome> {
        self.write(Write::Delete(selection)).await
    }

    /// Reads records in insertion order.
    pub async fn get(&self, get: Get) -> Result<GetAnswer> {
        let snapshot = self.snapshot(get.consistency).await?;
        self.inner.surroundings.compute.search(move || snapshot.get(&get)).await?
    }

    /// Reads records in insertion order, to be taken one by one: whoever passes them on need not hold them all.
    pub async fn read(&self, get: Get) -> Result<Reading> {
        let snapshot = self.snapshot(get.consistency).await?;
        self.inner.surroundings.compute.search(move || snapshot.read(&get)).await?
    }

    /// Finds the nearest records to each query embedding: the k nearest *of those that match*. Several
    /// embeddings are spread over the search threads.
    pub async fn search(&self, mut query: Query) -> Result<QueryAnswer> {
        query.ef_search = query.ef_search.or(self.inner.identity.load().index.ef_search);
        let snapshot = self.snapshot(query.consistency).await?;
        let limits = self.inner.surroundings.limits.clone();
        self.inner.stream.context().counters.searches.add(query.embeddings.len() as u64);
        let compute = &self.inner.surroundings.compute;
        if query.embeddings.len() < 2 {
            return compute.search(move || snapshot.search(&query, &limits)).await?;
        }
        let planned = compute.search(move || (snapshot.route(&query, &limits), snapshot, query));
        let (route, snapshot, query) = planned.await?;
        let route = route?;
        let (version, count) = (snapshot.version(), query.embeddings.len());
        let answers = compute.search_batch(count, move |number| snapshot.answer(&query, &route, number)).await?;
        Ok(QueryAnswer { results: answers.into_iter().collect::<Result<_>>()?, version })
    }

    /// Floats of an embedding, as this instance knows it; `None` until fixed.
    pub fn dimension(&self) -> Option<usize> {
        self.inner.published.load().dimension()
    }

    /// The kinds of values that metadata keys have held, as this instance knows them.
    pub fn key_types(&self) -> Arc<KeyTypes> {
        self.inner.published.load().key_types().clone()
    }

    /// How many records there are.
    pub async fn count(&self, consistency: Consistency) -> Result<u64> {
        Ok(self.snapshot(consistency).await?.count())
    }

    /// Name, dimension, count, version and condition as this instance knows them.
    pub fn info(&self) -> CollectionInfo {
        let snapshot = self.inner.published.load();
        let Identity { id, name, scope, metric, metadata, index, extension } = self.identity().as_ref().clone();
        let condition = match self.inner.stream.shared().damage() {
            Some((key, cause)) => Condition::Damaged { key, cause },
            None => Condition::Ready,
        };
        CollectionInfo {
            id,
            name,
            scope,
            metric,
            dimension: snapshot.dimension(),
            count: snapshot.count(),
            version: snapshot.version(),
            metadata,
            index,
            extension,
            condition,
        }
    }

    /// The snapshot a read of this consistency sees.
    pub(crate) async fn snapshot(&self, consistency: Consistency) -> Result<Arc<Snapshot>> {
        self.used();
        if consistency == Consistency::Strong {
            self.inner.stream.sync().await?;
        }
        if self.inner.stream.shared().ended() {
            let what = format!("collection {:?} does not exist: it was dropped", self.identity().name);
            return Err(Error::not_found(what));
        }
        Ok(self.inner.published.load_full())
    }

    fn used(&self) {
        self.inner.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests so far: tells whether the collection is in use.
    pub(crate) fn requests(&self) -> u64 {
        self.inner.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn stream(&self) -> &Stream<CollectionState> {
        &self.inner.stream
    }

    /// What the catalog says about it, as this instance knows it.
    pub fn identity(&self) -> Arc<Identity> {
        self.inner.identity.load_full()
    }

    /// Takes note of what the catalog says now.
    pub(crate) fn follow(&self, identity: Identity) {
        self.inner.identity.store(Arc::new(identity));
    }

    /// When the newest commit was seen, for upkeep.
    pub(crate) fn calm(&self) -> &Mutex<Calm> {
        &self.inner.calm
    }

    /// What a search goes through, for benches.
    #[doc(hidden)]
    pub fn parts(&self) -> Parts {
        self.present().parts()
    }

    pub(crate) fn compute(&self) -> &Arc<Compute> {
        &self.inner.surroundings.compute
    }

    pub(crate) fn present(&self) -> Arc<Snapshot> {
        self.inner.published.load_full()
    }
}
