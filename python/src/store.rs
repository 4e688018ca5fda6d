//! The class `Store`: all collections of one bucket.

use std::path::PathBuf;
use std::time::Duration;

use drumlin::admin::{CollectionSelector, Moment, verify};
use drumlin::models::{Embedder, Reembed, Splitting, folder_files, folder_name};
use drumlin::settings::MemoryLimit;
use drumlin::{CollectionChange, CollectionSpec, Error, ErrorKind, Metric, Scope, Settings, Storage, Version};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::collection::{Collection, described};
use crate::convert::{self, freshness};
use crate::errors::{invalid, raised};
use crate::pending::{Made, Pending, value};
use crate::threads::{Held, Threads};
use crate::view::View;

/// All collections of one bucket. Made by `drumlin.connect`.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Store {
    inner: Held<drumlin::Store>,
    settings: Settings,
}

impl Store {
    pub fn inner(&self) -> &Held<drumlin::Store> {
        &self.inner
    }

    /// A call on the store, to be made.
    fn pending<F, W>(&self, py: Python<'_>, call: F) -> PyResult<Pending>
    where
        F: FnOnce(drumlin::Store) -> W,
        W: Future<Output = Result<Made, Error>> + Send + 'static,
    {
        let store = self.inner.get(py)?.clone();
        Ok(Pending::new(self.inner.threads, call(store)))
    }
}

/// A collection as Python sees it.
fn handle(collection: drumlin::Collection, threads: &'static Threads) -> Made {
    value(Collection::new(collection, threads))
}

fn json(report: &impl serde::Serialize) -> Result<Made, Error> {
    let text = serde_json::to_string(report);
    text.map(value).map_err(|error| Error::new(ErrorKind::Internal, format!("the report is no JSON: {error}")))
}

/// Runs a call whose future cannot move between threads on a thread of its own.
async fn on_a_thread<F, W, T>(call: F) -> Result<T, Error>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = Result<T, Error>>,
    T: Send + 'static,
{
    let handle = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || handle.block_on(call())).await;
    done.map_err(|_| Error::new(ErrorKind::Internal, "the thread of this call ended early"))?
}

/// An embedder out of JSON.
fn embedder_of(py: Python<'_>, text: &str) -> PyResult<Embedder> {
    let fields: serde_json::Map<_, _> =
        serde_json::from_str(text).map_err(|error| invalid(py, format!("embedder: {error}")))?;
    Ok(Embedder::from(fields))
}

/// How documents are split, out of JSON.
fn splitting_of(py: Python<'_>, text: &str) -> PyResult<Splitting> {
    serde_json::from_str(text).map_err(|error| invalid(py, format!("chunk: {error}")))
}

fn seconds(py: Python<'_>, name: &str, given: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given).map_err(|_| invalid(py, format!("{name}: expected seconds, got {given}")))
}

#[pymethods]
impl Store {
    /// Opens the store at `url`, or the one that the environment names. What is `None` is as there, or by default.
    #[staticmethod]
    #[pyo3(signature = (
        url, *, memory_limit=None, search_threads=None, index_threads=None, sync_interval=None, start_timeout=None,
        create=None, load_at_start=None, maintenance=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of drumlin.connect")]
    fn open(
        py: Python<'_>,
        url: Option<&str>,
        memory_limit: Option<u64>,
        search_threads: Option<usize>,
        index_threads: Option<usize>,
        sync_interval: Option<f64>,
        start_timeout: Option<f64>,
        create: Option<bool>,
        load_at_start: Option<bool>,
        maintenance: Option<bool>,
    ) -> PyResult<Pending> {
        let named = url.map_or_else(Settings::from_env, str::parse);
        let mut settings: Settings = named.map_err(|error| raised(py, &error))?;
        if let Some(bytes) = memory_limit {
            settings.memory_limit = Some(MemoryLimit { bytes, whole_process: false });
        }
        settings.search_threads = search_threads.unwrap_or(settings.search_threads);
        settings.index_threads = index_threads.unwrap_or(settings.index_threads);
        if let Some(given) = sync_interval {
            settings.sync_interval = seconds(py, "sync_interval", given)?;
        }
        if let Some(given) = start_timeout {
            settings.start_timeout = seconds(py, "start_timeout", given)?;
        }
        settings.create = create.unwrap_or(settings.create);
        settings.load_at_start = load_at_start.unwrap_or(settings.load_at_start);
        settings.maintenance = maintenance.unwrap_or(settings.maintenance);
        let threads = Threads::get()?;
        Ok(Pending::new(threads, async move {
            let store = drumlin::Store::open(settings.clone()).await?;
            Ok(value(Store { inner: Held::new(store, threads), settings }))
        }))
    }

    fn with_scope(&self, py: Python<'_>, tenant: String, database: String) -> PyResult<Store> {
        let store = self.inner.get(py)?.with_scope(&Scope { tenant, database });
        Ok(Store { inner: Held::new(store, self.inner.threads), settings: self.settings.clone() })
    }

    #[pyo3(signature = (name, metric, dimension, metadata, m=None, ef_construction=None, ef_search=None, embedder=None, chunk=None))]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of Database.collection")]
    fn create_collection(
        &self,
        py: Python<'_>,
        name: &str,
        metric: &str,
        dimension: Option<usize>,
        metadata: Option<&Bound<'_, PyDict>>,
        m: Option<usize>,
        ef_construction: Option<usize>,
        ef_search: Option<usize>,
        embedder: Option<&str>,
        chunk: Option<&str>,
    ) -> PyResult<Pending> {
        let metric: Metric = metric.parse().map_err(|error| raised(py, &error))?;
        let mut spec = CollectionSpec::new(name).metric(metric);
        spec.dimension = dimension;
        spec.metadata = metadata.map(convert::metadata).transpose()?;
        spec.index.m = m.unwrap_or(spec.index.m);
        spec.index.ef_construction = ef_construction.unwrap_or(spec.index.ef_construction);
        spec.index.ef_search = ef_search;
        spec.embedder = embedder.map(|text| embedder_of(py, text)).transpose()?;
        spec.splitting = chunk.map(|text| splitting_of(py, text)).transpose()?;
        let threads = self.inner.threads;
        self.pending(py, move |store| async move { Ok(handle(store.create_collection(spec).await?, threads)) })
    }

    fn collection(&self, py: Python<'_>, name: String) -> PyResult<Pending> {
        let threads = self.inner.threads;
        self.pending(py, move |store| async move { Ok(handle(store.collection(&name).await?, threads)) })
    }

    /// A collection at a version, or as it is now.
    fn collection_at(&self, py: Python<'_>, name: String, version: Option<u64>) -> PyResult<Pending> {
        let threads = self.inner.threads;
        self.pending(py, move |store| async move {
            let view = store.collection_at(&name, version.map(Version)).await?;
            Ok(value(View::new(Held::new(view, threads))))
        })
    }

    /// Whether nothing of it outlives this process.
    #[getter]
    fn in_memory(&self) -> bool {
        matches!(self.settings.storage, Storage::Memory)
    }

    /// What is known of each collection, as JSON.
    fn collections(&self, py: Python<'_>, strong: bool) -> PyResult<Pending> {
        self.pending(py, move |store| async move {
            let infos = store.collections(freshness(strong)).await?;
            Ok(value(infos.iter().map(described).collect::<Vec<String>>()))
        })
    }

    fn drop_collection(&self, py: Python<'_>, name: String) -> PyResult<Pending> {
        self.pending(py, move |store| async move { store.drop_collection(&name).await.map(value) })
    }

    /// The collection with this identity, whatever its name is by now.
    fn collection_by_id(&self, py: Python<'_>, id: &str) -> PyResult<Pending> {
        let (id, threads) = (convert::collection_id(py, id)?, self.inner.threads);
        self.pending(py, move |store| async move { Ok(handle(store.collection_by_id(id).await?, threads)) })
    }

    /// Another name, other metadata, or other values of single metadata keys, for the collection with this identity.
    #[pyo3(signature = (id, *, name=None, metadata=None, values=None))]
    fn modify(
        &self,
        py: Python<'_>,
        id: &str,
        name: Option<String>,
        metadata: Option<&Bound<'_, PyDict>>,
        values: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Pending> {
        let id = convert::collection_id(py, id)?;
        let metadata = metadata.map(convert::metadata).transpose()?.map(Some);
        let metadata_patch = values.map(convert::patch).transpose()?;
        let change = CollectionChange { name, metadata, metadata_patch, ..CollectionChange::default() };
        self.pending(py, move |store| async move { store.modify_collection(id, change).await.map(value) })
    }

    /// Begins to embed the collection with this identity anew, or goes on with it.
    fn reembed(&self, py: Python<'_>, id: &str, embedder: &str, metric: Option<&str>) -> PyResult<Pending> {
        let id = convert::collection_id(py, id)?;
        let metric = metric.map(|metric| metric.parse().map_err(|error| raised(py, &error))).transpose()?;
        let wanted = Reembed { embedder: embedder_of(py, embedder)?, metric };
        self.pending(py, move |store| async move { store.reembed_collection(id, wanted).await.map(|_| value(())) })
    }

    /// How that is doing, as JSON.
    fn reembedding(&self, py: Python<'_>, id: &str) -> PyResult<Pending> {
        let id = convert::collection_id(py, id)?;
        self.pending(py, move |store| async move { json(&store.reembedding(id).await?) })
    }

    fn stop_reembedding(&self, py: Python<'_>, id: &str) -> PyResult<Pending> {
        let id = convert::collection_id(py, id)?;
        self.pending(py, move |store| async move { store.stop_reembedding(id).await.map(value) })
    }

    fn fork(&self, py: Python<'_>, name: String, new_name: String) -> PyResult<Pending> {
        let threads = self.inner.threads;
        self.pending(py, move |store| async move {
            let id = store.collection(&name).await?.id();
            Ok(handle(store.fork_collection(id, &new_name).await?, threads))
        })
    }

    /// The state of `name` at a version, at a time (milliseconds since 1970), or before any damage, as `new_name`.
    fn restore(
        &self,
        py: Python<'_>,
        name: String,
        new_name: String,
        version: Option<u64>,
        time_ms: Option<i64>,
    ) -> PyResult<Pending> {
        let moment = match (version, time_ms) {
            (Some(version), None) => Moment::Version(Version(version)),
            (None, Some(time)) => Moment::Time(time),
            (None, None) => Moment::Sound,
            (Some(_), Some(_)) => return Err(invalid(py, "restore: expected a version or a time, got both")),
        };
        let threads = self.inner.threads;
        self.pending(py, move |store| async move {
            let restore = move || async move { store.admin().restore_collection(&name, moment, &new_name).await };
            let (restored, version) = on_a_thread(restore).await?;
            Ok(value((Collection::new(restored, threads), version.0)))
        })
    }

    /// Which versions of a collection can be restored, as JSON.
    fn past(&self, py: Python<'_>, name: String) -> PyResult<Pending> {
        self.pending(py, move |store| async move { json(&store.admin().past_of(&name).await?) })
    }

    /// The statement with which DuckDB reads a collection out of the bucket.
    fn sql_view(&self, py: Python<'_>, of: String, version: Option<u64>, name: Option<String>) -> PyResult<Pending> {
        self.pending(py, move |store| async move {
            let view = move || async move { store.admin().sql_view(&of, version.map(Version), name.as_deref()).await };
            Ok(value(on_a_thread(view).await?))
        })
    }

    fn create_database(&self, py: Python<'_>, tenant: String, database: String) -> PyResult<Pending> {
        self.pending(py, move |store| async move {
            let spaces = store.namespaces();
            for done in
                [spaces.create_tenant(&tenant).await, spaces.create_database(&tenant, &database).await.map(drop)]
            {
                match done {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    other => other?,
                }
            }
            Ok(value(()))
        })
    }

    /// Puts the model in a folder into the bucket, under its own name or another. The answer describes it, as JSON.
    fn add_model(&self, py: Python<'_>, folder: PathBuf, name: Option<String>) -> PyResult<Pending> {
        self.pending(py, move |store| async move {
            let read = tokio::task::spawn_blocking(move || {
                let name = name.map_or_else(|| folder_name(&folder), Ok)?;
                Ok::<_, Error>((name, folder_files(&folder)?))
            });
            let (name, files) =
                read.await.map_err(|_| Error::new(ErrorKind::Internal, "reading the folder failed"))??;
            json(&store.models().add(&name, files).await?)
        })
    }

    /// The models in the bucket, as JSON.
    fn models(&self, py: Python<'_>) -> PyResult<Pending> {
        self.pending(py, |store| async move { json(&store.models().list().await?) })
    }

    fn remove_model(&self, py: Python<'_>, name: String) -> PyResult<Pending> {
        self.pending(py, move |store| async move { store.models().remove(&name).await.map(value) })
    }

    /// What was read from other processes and flushed, as JSON.
    fn sync(&self, py: Python<'_>) -> PyResult<Pending> {
        self.pending(py, |store| async move { json(&store.sync().await?) })
    }

    /// The state of the store, as JSON.
    fn health(&self, py: Python<'_>) -> PyResult<Pending> {
        self.pending(py, |store| async move { json(&store.admin().health()) })
    }

    fn wait_until_loaded(&self, py: Python<'_>) -> PyResult<Pending> {
        self.pending(py, |store| async move {
            store.wait_until_loaded().await;
            Ok(value(()))
        })
    }

    /// Whether every object in the bucket is sound, as JSON.
    fn verify(&self, py: Python<'_>, collection: Option<String>) -> PyResult<Pending> {
        let settings = self.settings.clone();
        let Scope { tenant, database } = self.inner.get(py)?.scope().clone();
        self.pending(py, move |_| async move {
            let (tenant, database) = collection.is_some().then_some((tenant, database)).unzip();
            let choice = CollectionSelector { collection, tenant, database };
            json(&on_a_thread(move || async move { verify(&settings, &choice).await }).await?)
        })
    }

    fn close(&self, py: Python<'_>, timeout: f64) -> PyResult<Pending> {
        let limit = seconds(py, "timeout", timeout)?;
        self.pending(py, move |store| async move { store.close(limit).await.map(value) })
    }
}
