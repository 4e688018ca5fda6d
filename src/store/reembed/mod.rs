//! Re-embedding: a collection is copied with embeddings of another embedder into a hidden one, which then takes its
//! name (docs/protocol.md#handover). The copy is made by a job in the background, which any instance can take up again.
//! Invariants: what was acknowledged to the old collection is in the new one when it takes the name; the name always
//! has a holder that answers.

mod abandoned;
mod job;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

pub(super) use self::abandoned::{drop_left_over, sweep_abandoned};
use self::job::ReembedJob;
use super::catalog::{self, CollectionRecord, RecordState};
use super::entry::Entry;
use super::{Inner, Store, files};
use crate::bucket::keys::StreamId;
use crate::collection::handle::Collection;
use crate::collection::request::{CollectionSpec, Embedder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::StreamConfig;
use crate::format::head::Head;
use crate::record::{CollectionId, Metric};

/// How often a start looks again while others begin and stop the same work.
const ATTEMPTS: usize = 4;
/// Jobs that have ended and are remembered, so that somebody can see how.
const REMEMBERED: usize = 256;

/// What the new embeddings are to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Reembed {
    /// What makes them.
    pub embedder: Embedder,
    /// How distance is measured then; `None` for as before.
    pub metric: Option<Metric>,
}

impl Reembed {
    /// New embeddings by this embedder.
    pub fn new(embedder: Embedder) -> Reembed {
        Reembed { embedder, metric: None }
    }

    /// Sets another metric.
    pub fn metric(mut self, metric: Metric) -> Reembed {
        self.metric = Some(metric);
        self
    }
}

/// Where a re-embedding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReembedState {
    /// There is none.
    None,
    /// This instance works on it.
    Running,
    /// It was begun, and this instance does not work on it: another may, or it was interrupted. Asking for it once more
    /// goes on with it.
    Elsewhere,
    /// The new collection has the name.
    Done,
    /// It ended with an error. What was embedded is kept: asking for it once more goes on with it.
    Failed,
}

/// How a re-embedding is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReembedStatus {
    /// Where it stands.
    pub state: ReembedState,
    /// The embedder of the new collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<Embedder>,
    /// Records that the new collection has.
    pub embedded: u64,
    /// Records that it is to have.
    pub of: u64,
    /// Texts embedded per second, by this instance.
    pub texts_per_s: f64,
    /// Why it failed, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ReembedStatus {
    fn none() -> ReembedStatus {
        let (state, embedder, error) = (ReembedState::None, None, None);
        ReembedStatus { state, embedder, embedded: 0, of: 0, texts_per_s: 0.0, error }
    }
}

/// A re-embedding that this instance works on. Dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct Reembedding {
    store: Store,
    job: Arc<ReembedJob>,
}

impl Reembedding {
    /// How it is doing.
    pub fn status(&self) -> ReembedStatus {
        self.job.status()
    }

    /// Waits until it has ended. Returns the collection that has the name now.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn wait(&self) -> Result<Collection> {
        self.job.ended().await?;
        self.store.collection_by_id(self.job.target).await
    }
}

/// The jobs of this instance.
#[derive(Debug, Default)]
pub(super) struct Reembeddings {
    /// Held while one begins, so that there is one at most for each collection.
    starting: tokio::sync::Mutex<()>,
    jobs: Mutex<HashMap<CollectionId, Arc<ReembedJob>>>,
}

impl Reembeddings {
    /// The job that embeds this collection, or has made it.
    fn of(&self, id: CollectionId) -> Option<Arc<ReembedJob>> {
        let jobs = self.jobs.lock();
        jobs.get(&id).or_else(|| jobs.values().find(|job| job.target == id)).cloned()
    }

    fn remember(&self, job: Arc<ReembedJob>) {
        let mut jobs = self.jobs.lock();
        if jobs.len() >= REMEMBERED {
            jobs.retain(|_, job| job.is_running());
        }
        jobs.insert(job.source, job);
    }
}

impl Store {
    /// Embeds all documents of a collection anew, in the background, while it is read and written as before. The copy
    /// that this makes takes its name at once when it has all records: with their documents, metadata, order, and the
    /// collection's other settings. It is a collection of its own, so handles of the old one are of no use then. Work
    /// that was begun and interrupted is gone on with, whichever instance began it.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection; `Invalid` if records have no document, or for an embedder that
    /// cannot be used; `Conflict` if another embedder's work was begun.
    pub async fn reembed_collection(&self, id: CollectionId, wanted: Reembed) -> Result<Reembedding> {
        wanted.embedder.check()?;
        let _starting = self.inner.reembeddings.starting.lock().await;
        let entry = self.entry(id).await?;
        files::check_no_files(&entry.record().name, "embedded anew")?;
        if entry.record().fills_in_for.is_some() {
            return Err(catalog::no_collection(id));
        }
        if let Some(job) = self.inner.reembeddings.of(id).filter(|job| job.source == id && job.is_running()) {
            return match job.makes(&wanted, &entry.record()) {
                true => Ok(Reembedding { store: self.clone(), job }),
                false => Err(begun_already(&entry)),
            };
        }
        let source = self.collection_by_id(id).await?;
        check_documents(&source).await?;
        let target = self.target_of(&entry, &source, &wanted).await?;
        let job = job::start(&self.inner, (id, target), wanted);
        self.inner.reembeddings.remember(job.clone());
        Ok(Reembedding { store: self.clone(), job })
    }

    /// The hidden collection that is to take the place of another: the one that was begun, or a new one.
    async fn target_of(&self, entry: &Entry, source: &Collection, wanted: &Reembed) -> Result<CollectionId> {
        self.inner.follow_catalog().await?;
        for _ in 0..ATTEMPTS {
            let record = entry.record();
            if let Some(begun) = self.inner.filler_of(entry.id) {
                let begun_record = begun.record();
                let configuration = &begun_record.configuration;
                let metric = wanted.metric.unwrap_or(record.configuration.metric);
                return match configuration.embedder.as_ref() == Some(&wanted.embedder) && configuration.metric == metric
                {
                    true => Ok(begun.id),
                    false => Err(begun_already(entry)),
                };
            }
            match self.make_target(&record, source, wanted).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.inner.follow_catalog().await?,
                made => return made,
            }
        }
        Err(Error::unavailable("others keep beginning and stopping the same work; try again"))
    }

    async fn make_target(
        &self,
        record: &CollectionRecord,
        source: &Collection,
        wanted: &Reembed,
    ) -> Result<CollectionId> {
        // Here the embedder is needed at once, be it optional for the collection later.
        let embedder = Embedder { optional: false, ..wanted.embedder.clone() };
        let mut spec = CollectionSpec { embedder: Some(embedder), ..CollectionSpec::new(record.name.clone()) };
        self.check_embedder(&mut spec).await?;
        spec.splitting = record.configuration.splitting.clone();
        self.check_splitting(&spec).await?;
        let id = CollectionId(Uuid::new_v4());
        let key_types = source.key_types().as_ref().clone();
        let config = StreamConfig { key_types, ..StreamConfig::of_dimension(spec.dimension) };
        let head = Head::new(StreamId::Collection(id).to_string(), config);
        let mut target = CollectionRecord {
            name: filler_name(source.id()),
            state: RecordState::Live,
            fills_in_for: Some(source.id()),
            replaces: None,
            ..record.clone()
        };
        target.configuration.metric = wanted.metric.unwrap_or(record.configuration.metric);
        target.configuration.dimension = spec.dimension;
        target.configuration.embedder = Some(wanted.embedder.clone());
        self.publish(id, &head, target).await?;
        Ok(id)
    }

    /// How the re-embedding of a collection is doing.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection.
    pub async fn reembedding(&self, id: CollectionId) -> Result<ReembedStatus> {
        // Also of a collection that the new one has replaced.
        if let Some(job) = self.inner.reembeddings.of(id) {
            return Ok(job.status());
        }
        let entry = self.entry(id).await?;
        let Some(begun) = self.inner.filler_of(id) else { return Ok(ReembedStatus::none()) };
        let count = |entry: &Entry| entry.shared_view().map_or(0, |view| view.published.load().count());
        let (state, embedder) = (ReembedState::Elsewhere, begun.record().configuration.embedder.clone());
        Ok(ReembedStatus { state, embedder, embedded: count(&begun), of: count(&entry), ..ReembedStatus::none() })
    }

    /// Stops the re-embedding of a collection, and drops what it has made. The collection stays as it is.
    ///
    /// # Errors
    /// `NotFound` if there is none, or it is over already; `Conflict` if another instance keeps working on it.
    pub async fn stop_reembedding(&self, id: CollectionId) -> Result<()> {
        self.entry(id).await?;
        let _starting = self.inner.reembeddings.starting.lock().await;
        let job = self.inner.reembeddings.of(id).filter(|job| job.source == id);
        if let Some(job) = &job {
            job.stop().await;
        }
        self.inner.follow_catalog().await?;
        let Some(begun) = self.inner.filler_of(id) else {
            return Err(Error::not_found(format!("collection {id} is not being embedded anew")));
        };
        abandoned::give_up(self, id, begun.id).await?;
        self.inner.reembeddings.jobs.lock().remove(&id);
        Ok(())
    }
}

impl Inner {
    /// The hidden collection that is to take the place of this one.
    fn filler_of(&self, id: CollectionId) -> Option<Arc<Entry>> {
        let view = self.view.load_full();
        let (filler, _) = view.live().find(|(_, record)| record.fills_in_for == Some(id))?;
        self.entry(filler)
    }
}

/// Begins the names of fillers. No name that a user may give begins with a dot.
const FILLER: &str = ".reembed-";

/// The name of the collection that is filled to take the place of `source`. It is one name, so that there is one such
/// collection at most.
fn filler_name(source: CollectionId) -> String {
    format!("{FILLER}{source}")
}

/// Whether a collection of this name is one that a re-embedding fills. It answers nobody until it is full; then it takes
/// the name of the one that it was made from.
pub fn is_filler(name: &str) -> bool {
    name.starts_with(FILLER)
}

fn begun_already(entry: &Entry) -> Error {
    let name = &entry.record().name;
    let what = format!(
        "collection {name:?} is being embedded anew with another embedder or metric: wait until that is over, or stop it"
    );
    Error::new(ErrorKind::Conflict, what)
}

/// Refuses a collection with records that nothing can be embedded of.
async fn check_documents(source: &Collection) -> Result<()> {
    let pinned = source.pinned().await?;
    let snapshot = pinned.newest().await?;
    match pinned.compute().search(move |interrupt| snapshot.without_document(interrupt)).await?? {
        0 => Ok(()),
        count => Err(without_document(&source.name(), count)),
    }
}

fn without_document(name: &str, count: u64) -> Error {
    Error::invalid(format!(
        "{count} records of collection {name:?} have no document, and nothing can be embedded of them: give them \
         documents, or delete them"
    ))
}
