//! A store for programs without an async runtime: the calls of [`Store`](crate::Store) and
//! [`Collection`](crate::Collection), each of which blocks its thread until it is done. It is a thin layer over a tokio
//! runtime of its own, whose threads also do the background work.
//! Invariant: a call does what the async call of its name does, and nothing else.
//!
//! ```
//! use drumlin::blocking::Store;
//! use drumlin::{Filter, Query, Record};
//!
//! # fn main() -> drumlin::Result<()> {
//! let store = Store::open("memory://")?; // or "./drumlin-data", "s3://bucket/prefix", Settings
//! let notes = store.create_collection("notes")?;
//! notes.add([Record::new("fog", vec![0.9, 0.1]).with_metadata([("year", 2024)])])?; // durable when this returns
//! let hits = notes.search(Query::new([1.0, 0.0]).filter(Filter::gte("year", 2020)))?;
//! assert_eq!(hits[0].id, "fog");
//! store.close(std::time::Duration::from_secs(10))
//! # }
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::collection::request::{
    CollectionInfo, CollectionSpec, Consistency, Get, GetAnswer, Hit, Query, Scope, Selection, Transaction, Write,
    WriteOutcome,
};
use crate::compute::while_waiting;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::record::{Record, RecordUpdate};

/// Waits for a call of the async library on this thread, for programs that keep a runtime of their own. Short searches
/// are computed on the thread, which spares passing them to another: some 10 µs of a search that takes as long.
///
/// # Panics
/// On a thread of a runtime, as [`Handle::block_on`] does.
pub fn block_on<T>(runtime: &Handle, work: impl Future<Output = T>) -> T {
    while_waiting(|| runtime.block_on(work))
}

/// All collections of one bucket; see [`crate::Store`]. Cheap to clone; every clone is the same store.
#[derive(Debug, Clone)]
pub struct Store {
    store: crate::Store,
    // Dropped last: the store's background work runs on it.
    runtime: Arc<Background>,
}

/// A collection of records; see [`crate::Collection`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Collection {
    collection: crate::Collection,
    runtime: Arc<Background>,
}

/// The runtime. Dropping it waits for nothing, as acknowledged writes are durable.
#[derive(Debug)]
struct Background(Option<Runtime>);

impl Background {
    fn start() -> Result<Background> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name("drumlin").build();
        let failed = |e| Error::internal(format!("the threads of a store could not be started: {e}"));
        Ok(Background(Some(runtime.map_err(failed)?)))
    }

    fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if Handle::try_current().is_ok() {
            let what = "a blocking call was made on a thread of a tokio runtime, and would block that thread; use \
                        drumlin::Store there, or tokio::task::spawn_blocking";
            return Err(Error::invalid(what));
        }
        match &self.0 {
            Some(runtime) => block_on(runtime.handle(), work),
            None => Err(Error::internal("the store's threads have ended")),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Store {
    /// Opens a store and starts its threads; see [`crate::Store::open`].
    ///
    /// # Errors
    /// As the async call; `Invalid` on a thread of a tokio runtime, which a blocking call would stop.
    pub fn open<S>(settings: S) -> Result<Store>
    where
        S: TryInto<Settings>,
        S::Error: Into<Error>,
    {
        let settings = settings.try_into().map_err(Into::into)?;
        let runtime = Arc::new(Background::start()?);
        let store = runtime.run(crate::Store::open(settings))?;
        Ok(Store { store, runtime })
    }

    /// A handle of this store that names collections in another database.
    pub fn with_scope(&self, scope: &Scope) -> Store {
        Store { store: self.store.with_scope(scope), runtime: self.runtime.clone() }
    }

    /// Creates a collection; see [`crate::Store::create_collection`].
    ///
    /// # Errors
    /// As the async call.
    pub fn create_collection(&self, spec: impl Into<CollectionSpec>) -> Result<Collection> {
        self.runtime.run(self.store.create_collection(spec)).map(|collection| self.handle(collection))
    }

    /// A collection by name; waits while it loads.
    ///
    /// # Errors
    /// As [`crate::Store::collection`].
    pub fn collection(&self, name: &str) -> Result<Collection> {
        self.runtime.run(self.store.collection(name)).map(|collection| self.handle(collection))
    }

    /// The collections of the database by name.
    ///
    /// # Errors
    /// As [`crate::Store::collections`].
    pub fn collections(&self, consistency: Consistency) -> Result<Vec<CollectionInfo>> {
        self.runtime.run(self.store.collections(consistency))
    }

    /// Drops a collection for every instance.
    ///
    /// # Errors
    /// As [`crate::Store::drop_collection`].
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.runtime.run(self.store.drop_collection(name))
    }

    /// Pulls other instances' commits, and flushes the commits that are in no segment yet.
    ///
    /// # Errors
    /// As [`crate::Store::sync`].
    pub fn sync(&self) -> Result<()> {
        self.runtime.run(self.store.sync()).map(drop)
    }

    /// Flushes, and ends the background work; see [`crate::Store::close`].
    ///
    /// # Errors
    /// As the async call.
    pub fn close(&self, limit: Duration) -> Result<()> {
        self.runtime.run(self.store.close(limit))
    }

    /// The async store, for calls that are missing here: pass its futures to [`block_on`](Store::block_on).
    pub fn as_async(&self) -> &crate::Store {
        &self.store
    }

    /// Runs a future of the async store to completion.
    ///
    /// # Errors
    /// Those of the future; `Invalid` on a thread of a tokio runtime.
    pub fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.run(work)
    }

    fn handle(&self, collection: crate::Collection) -> Collection {
        Collection { collection, runtime: self.runtime.clone() }
    }
}

impl Collection {
    /// Applies a write request durably; see [`crate::Collection::write`].
    ///
    /// # Errors
    /// As the async call.
    pub fn write(&self, write: Write) -> Result<WriteOutcome> {
        self.runtime.run(self.collection.write(write))
    }

    /// Inserts records; one whose id exists already is skipped.
    ///
    /// # Errors
    /// As [`crate::Collection::write`].
    pub fn add(&self, records: impl IntoIterator<Item = Record>) -> Result<WriteOutcome> {
        self.runtime.run(self.collection.add(records))
    }

    /// Inserts records, or replaces the ones whose ids exist.
    ///
    /// # Errors
    /// As [`crate::Collection::write`].
    pub fn upsert(&self, records: impl IntoIterator<Item = Record>) -> Result<WriteOutcome> {
        self.runtime.run(self.collection.upsert(records))
    }

    /// Changes existing records; unknown ids are skipped.
    ///
    /// # Errors
    /// As [`crate::Collection::write`].
    pub fn update(&self, updates: impl IntoIterator<Item = RecordUpdate>) -> Result<WriteOutcome> {
        self.runtime.run(self.collection.update(updates))
    }

    /// Deletes the selected records.
    ///
    /// # Errors
    /// As [`crate::Collection::write`].
    pub fn delete(&self, selection: Selection) -> Result<WriteOutcome> {
        self.runtime.run(self.collection.delete(selection))
    }

    /// Commits writes that follow from what was read; see [`crate::Collection::commit`].
    ///
    /// # Errors
    /// As the async call.
    pub fn commit(&self, transaction: Transaction) -> Result<WriteOutcome> {
        self.runtime.run(self.collection.commit(transaction))
    }

    /// Reads records in insertion order.
    ///
    /// # Errors
    /// As [`crate::Collection::get`].
    pub fn get(&self, get: Get) -> Result<GetAnswer> {
        self.runtime.run(self.collection.get(get))
    }

    /// Finds the nearest records to the query's embedding, nearest first.
    ///
    /// # Errors
    /// As [`crate::Collection::search`].
    pub fn search(&self, query: Query) -> Result<Vec<Hit>> {
        self.runtime.run(self.collection.search(query))
    }

    /// Finds the nearest records to each of the query's embeddings, one list each.
    ///
    /// # Errors
    /// As [`crate::Collection::search_batch`].
    pub fn search_batch(&self, query: Query) -> Result<Vec<Vec<Hit>>> {
        self.runtime.run(self.collection.search_batch(query))
    }

    /// How many records there are.
    ///
    /// # Errors
    /// As [`crate::Collection::count`].
    pub fn count(&self, consistency: Consistency) -> Result<u64> {
        self.runtime.run(self.collection.count(consistency))
    }

    /// Name, dimension, count, version and condition as this instance knows them.
    pub fn info(&self) -> CollectionInfo {
        self.collection.info()
    }

    /// The async collection, for calls that are missing here.
    pub fn as_async(&self) -> &crate::Collection {
        &self.collection
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_one_store_added_another_finds_after_both_runtimes_ended() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let notes = store.create_collection("notes").unwrap();
        assert_eq!(notes.add((0..3).map(|n| Record::new(n.to_string(), vec![n as f32, 1.0]))).unwrap().applied, 3);
        drop((notes, store));

        let store = Store::open(folder.path()).unwrap();
        let notes = store.collection("notes").unwrap();
        notes.delete(Selection::by_ids(["1"])).unwrap();
        let lists = notes.search_batch(Query::batch([[0.0, 1.0], [2.0, 1.0]]).k(1)).unwrap();
        assert_eq!(lists.iter().map(|hits| hits[0].id.as_str()).collect::<Vec<_>>(), ["0", "2"]);
        assert_eq!(notes.get(Get::all()).unwrap().records.len(), 2);
        assert_eq!(store.collections(Consistency::Local).unwrap()[0].count, 2);
        store.drop_collection("notes").unwrap();
        assert_eq!(store.collection("notes").unwrap_err().kind(), ErrorKind::NotFound);
        store.close(Duration::from_secs(10)).unwrap();
    }

    #[tokio::test]
    async fn a_blocking_call_on_a_runtimes_thread_is_refused_and_does_not_panic() {
        let error = Store::open("memory://").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("spawn_blocking"), "{error}");
    }
}
