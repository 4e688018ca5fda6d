//! The class `Store`: all collections of one bucket.

use std::time::Duration;

use drumlin::settings::MemoryLimit;
use drumlin::{CollectionSpec, Consistency, Metric, Scope, Settings};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::collection::Collection;
use crate::convert;
use crate::errors::{invalid, raised};
use crate::runtime::Threads;

/// All collections of one bucket. Made by `drumlin.connect`.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Store {
    store: drumlin::Store,
    threads: Threads,
    url: String,
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (url, *, memory_limit=None, search_threads=None, index_threads=None, sync_interval=None, create=true, maintenance=true))]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of drumlin.connect")]
    fn new(
        py: Python<'_>,
        url: String,
        memory_limit: Option<u64>,
        search_threads: Option<usize>,
        index_threads: Option<usize>,
        sync_interval: Option<f64>,
        create: bool,
        maintenance: bool,
    ) -> PyResult<Store> {
        let mut settings: Settings = url.parse().map_err(|error| raised(py, &error))?;
        settings.memory_limit = memory_limit.map(|bytes| MemoryLimit { bytes, whole_process: false });
        settings.search_threads = search_threads.unwrap_or(settings.search_threads);
        settings.index_threads = index_threads.unwrap_or(settings.index_threads);
        if let Some(seconds) = sync_interval {
            settings.sync_interval = Duration::try_from_secs_f64(seconds)
                .map_err(|_| invalid(py, format!("sync_interval: expected seconds, got {seconds}")))?;
        }
        (settings.create, settings.maintenance) = (create, maintenance);
        let threads = Threads::get()?;
        let store = threads.wait(py, drumlin::Store::open(settings))?;
        Ok(Store { store, threads, url })
    }

    /// The URL that it was opened with.
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }

    fn with_scope(&self, tenant: String, database: String) -> Store {
        let store = self.store.with_scope(&Scope { tenant, database });
        Store { store, threads: self.threads.clone(), url: self.url.clone() }
    }

    fn create_collection(
        &self,
        py: Python<'_>,
        name: &str,
        metric: &str,
        dimension: Option<usize>,
        metadata: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Collection> {
        let metric: Metric = metric.parse().map_err(|error| raised(py, &error))?;
        let mut spec = CollectionSpec::new(name).metric(metric);
        spec.dimension = dimension;
        spec.metadata = metadata.map(convert::metadata).transpose()?;
        let made = self.threads.wait(py, self.store.create_collection(spec))?;
        Ok(Collection::new(made, self.threads.clone()))
    }

    fn collection(&self, py: Python<'_>, name: &str) -> PyResult<Collection> {
        let found = self.threads.wait(py, self.store.collection(name))?;
        Ok(Collection::new(found, self.threads.clone()))
    }

    fn collections(&self, py: Python<'_>, strong: bool) -> PyResult<Vec<String>> {
        let consistency = if strong { Consistency::Strong } else { Consistency::Local };
        let infos = self.threads.wait(py, self.store.collections(consistency))?;
        Ok(infos.into_iter().map(|info| info.name).collect())
    }

    fn drop_collection(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.threads.wait(py, self.store.drop_collection(name))
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.threads.wait(py, async { self.store.sync().await.map(drop) })
    }

    fn close(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(10));
        self.threads.wait(py, self.store.close(limit))
    }
}
