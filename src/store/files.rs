//! Files of a database, and the collection that holds their records. The first file creates it, the end of the
//! database drops it, and no user sees it as a collection. Models are files too, in a collection of their own.
//! Invariant: only this module names a collection with a leading dot.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde_json::Map;
use tokio::time::Instant;
use uuid::Uuid;

use super::catalog::{CollectionRecord, Configuration, RecordState};
use super::entry::Entry;
use super::lifecycle::ATTEMPTS;
use super::{Inner, Store};
use crate::bucket::keys::StreamId;
use crate::collection::pin::PinGuard;
use crate::collection::request::{Consistency, IndexSettings, Scope};
use crate::config::FileSettings;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "server")]
use crate::file::Received;
use crate::file::{
    Download, FILES, FileInfo, FilePage, FileStore, ListFiles, PutFile, PutOutcome, check_file_name, holds_files,
    no_file,
};
use crate::format::StreamConfig;
use crate::format::head::Head;
use crate::record::{CollectionId, Metric, Version};
use crate::stream::sweep::Sweep;
use crate::text::TextSettings;

/// The files of one database: whole bodies by name, streamed in and out. Cheap to clone.
///
/// ```
/// use drumlin::{Consistency, Store};
/// use drumlin::files::PutFile;
/// use futures::stream;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> drumlin::Result<()> {
/// let store = Store::open("memory://").await?;
/// let files = store.files();
/// let body = stream::iter([Ok("hello, ".into()), Ok("file".into())]);
/// files.put("notes/hello.txt", PutFile::default(), body).await?; // durable when this returns
///
/// let mut download = files.get("notes/hello.txt", Consistency::Local).await?;
/// let mut bytes = Vec::new();
/// while let Some(piece) = download.next().await? {
///     bytes.extend_from_slice(&piece);
/// }
/// assert_eq!(bytes, b"hello, file");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Files {
    store: Store,
    /// The collection of their records: [`FILES`] or [`MODELS`](crate::file::MODELS).
    records: &'static str,
}

impl Store {
    /// The files of the database.
    pub fn files(&self) -> Files {
        Files { store: self.clone(), records: FILES }
    }

    /// The settings for files of this store.
    pub fn file_settings(&self) -> &FileSettings {
        &self.inner.settings.files
    }

    /// The collection of a database's files, if there is one.
    async fn file_store(&self, records: &str) -> Result<Option<FileStore>> {
        let found = self.opened(|inner| inner.find(&self.scope, records)).await?;
        match found {
            Some(collection) => Ok(Some(self.inner.file_store(collection.pinned().await?))),
            None => Ok(None),
        }
    }

    /// The collection of a database's files; creates it if it does not exist.
    async fn file_store_made(&self, records: &str) -> Result<FileStore> {
        let scope = self.scope();
        for _ in 0..ATTEMPTS {
            if let Some(file_store) = self.file_store(records).await? {
                return Ok(file_store);
            }
            self.namespaces().database(&scope.tenant, &scope.database).await?;
            let id = CollectionId(Uuid::new_v4());
            // Dimension 0 states for good that no record has an embedding.
            let config = StreamConfig::of_dimension(0);
            let head = Head::new(StreamId::Collection(id).to_string(), config);
            match self.publish(id, &head, record(scope, records)).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.inner.reconcile(),
                published => return Ok(self.inner.file_store(published?.pinned().await?)),
            }
        }
        Err(Error::unavailable(
            "the files of the database kept being created and dropped; nothing was stored, try again",
        ))
    }
}

/// The record of the collection of a database's files.
fn record(scope: &Scope, name: &str) -> CollectionRecord {
    CollectionRecord {
        tenant: scope.tenant.clone(),
        database: scope.database.clone(),
        name: name.to_owned(),
        metadata: None,
        configuration: Configuration {
            metric: Metric::L2,
            dimension: Some(0),
            index: IndexSettings::default(),
            text: TextSettings::default(),
            embedder: None,
            splitting: None,
            extension: Map::new(),
            other: Map::new(),
        },
        state: RecordState::Live,
        forked_from: None,
        fills_in_for: None,
        replaces: None,
        other: Map::new(),
    }
}

/// Refuses an operation that would separate the records of files from their contents.
pub(super) fn check_no_files(name: &str, done: &str) -> Result<()> {
    match holds_files(name) {
        true => Err(Error::invalid(format!(
            "{name} holds the records of files and cannot be {done}; copy the files instead"
        ))),
        false => Ok(()),
    }
}

impl Files {
    /// The files of the models of a bucket.
    #[cfg(feature = "embedding")]
    pub(super) fn of_models(store: &Store) -> Files {
        Files { store: store.with_scope(&Scope::default()), records: crate::file::MODELS }
    }

    /// Stores a body under a name, or replaces the file of that name: durable when this returns. Memory does not
    /// depend on the body's length.
    ///
    /// # Errors
    /// `Invalid` for a bad name or a body whose SHA-256 is not the stated one; `Limit` if it is too large; `Conflict`
    /// if the condition does not hold; `NotFound` if there is no such database. Any error of the body's stream.
    pub async fn put<S>(&self, name: &str, file: PutFile, body: S) -> Result<PutOutcome>
    where
        S: Stream<Item = Result<Bytes>> + Send,
    {
        check_file_name(name)?;
        self.store.file_store_made(self.records).await?.put(name, file, body).await
    }

    /// Stores a body that has no name yet.
    #[cfg(feature = "server")]
    pub(crate) async fn receive<S>(&self, file: &PutFile, body: S) -> Result<Received>
    where
        S: Stream<Item = Result<Bytes>> + Send,
    {
        self.store.file_store_made(self.records).await?.receive(file, body).await
    }

    /// Names a stored body; refuses if the database's files were dropped meanwhile.
    #[cfg(feature = "server")]
    pub(crate) async fn settle(&self, name: &str, file: &PutFile, received: Received) -> Result<PutOutcome> {
        check_file_name(name)?;
        received.settle(name, file).await
    }

    /// The facts about a file.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, which is answered only after the bucket was asked; `Gone` if it was
    /// deleted not long ago.
    pub async fn stat(&self, name: &str, consistency: Consistency) -> Result<FileInfo> {
        let file_store = self.existing(name).await?;
        match file_store.stat(name, consistency).await {
            Err(error) => self.remade(&file_store, error).await?.stat(name, consistency).await,
            found => found,
        }
    }

    /// Begins to read a file.
    ///
    /// # Errors
    /// As [`stat`](Files::stat); `Corrupted` if its first part is damaged.
    pub async fn get(&self, name: &str, consistency: Consistency) -> Result<Download> {
        self.get_range(name, consistency, |_| None).await
    }

    /// Begins to read the bytes that `choose` picks when it sees the file's facts; all bytes if it returns `None`.
    pub async fn get_range(
        &self,
        name: &str,
        consistency: Consistency,
        choose: impl Fn(&FileInfo) -> Option<Range<u64>> + Send + Sync,
    ) -> Result<Download> {
        let file_store = self.existing(name).await?;
        match file_store.get(name, consistency, &choose).await {
            Err(error) => self.remade(&file_store, error).await?.get(name, consistency, choose).await,
            found => found,
        }
    }

    /// Deletes a file; its name can be used again. Returns the commit that did it.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `Gone` if it was deleted before.
    pub async fn delete(&self, name: &str) -> Result<Version> {
        let file_store = self.existing(name).await?;
        match file_store.delete(name).await {
            Err(error) => self.remade(&file_store, error).await?.delete(name).await,
            deleted => deleted,
        }
    }

    /// Files by name; an empty page if there is no such database.
    pub async fn list(&self, list: &ListFiles, consistency: Consistency) -> Result<FilePage> {
        if consistency == Consistency::Strong {
            self.store.inner.follow_catalog().await?;
        }
        let Some(file_store) = self.store.file_store(self.records).await? else { return Ok(FilePage::default()) };
        match file_store.list(list, consistency).await {
            Err(error) => self.remade(&file_store, error).await?.list(list, consistency).await,
            listed => listed,
        }
    }

    /// The present collection of files, if the one of `before` was dropped (which `error` reported) and another was
    /// created since. Otherwise returns `error`.
    pub(crate) async fn remade(&self, before: &FileStore, error: Error) -> Result<FileStore> {
        if error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        match self.store.file_store(self.records).await? {
            Some(file_store) if file_store.id() != before.id() => Ok(file_store),
            _ => Err(error),
        }
    }

    /// The collection of files, for the steps that a server adds to a download.
    pub(crate) async fn existing(&self, name: &str) -> Result<FileStore> {
        check_file_name(name)?;
        self.store.file_store(self.records).await?.ok_or_else(|| no_file(name))
    }
}

impl Inner {
    pub(super) fn file_store(&self, collection: PinGuard) -> FileStore {
        FileStore::new(collection, self.files.clone())
    }

    /// Sweeps the contents of files if `entry` is a collection of files. Returns how many objects were deleted.
    pub(super) async fn sweep_files(&self, entry: &Entry, when: Sweep) -> Result<u64> {
        match entry.pinned().filter(|_| holds_files(&entry.record().name)) {
            Some(collection) => Ok(self.file_store(collection).sweep(when).await?.unwrap_or(0)),
            None => Ok(0),
        }
    }
}

/// When this instance last checked whether a sweep of files' contents is due.
#[derive(Debug, Default)]
pub(super) struct Looked(Option<Instant>);

impl Looked {
    /// Checks again if the last time was long ago.
    pub(super) async fn again(&mut self, inner: &Inner, entry: &Entry, interval: Duration) {
        if self.0.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        self.0 = Some(Instant::now());
        if let Err(error) = inner.sweep_files(entry, Sweep::IfDue).await {
            tracing::warn!(collection = %entry.id, %error, "contents of files could not be swept yet");
        }
    }
}
