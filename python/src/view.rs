//! The class `View`: a collection as it was at one version, for reads.

use drumlin::answers::{Found, VersionView};
use drumlin::{Error, Get, Include, Query};
use numpy::PyReadonlyArray2;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::answer::{Answer, Records};
use crate::collection::{get, query};
use crate::convert::included;
use crate::pending::{Made, Pending, value};
use crate::scan::Scan;
use crate::threads::Held;

/// A collection at one version. Made by `Store.collection_at`.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct View {
    inner: Held<VersionView>,
}

impl View {
    pub fn new(inner: Held<VersionView>) -> View {
        View { inner }
    }

    fn pending<F, W>(&self, py: Python<'_>, call: F) -> PyResult<Pending>
    where
        F: FnOnce(VersionView) -> W,
        W: Future<Output = Result<Made, Error>> + Send + 'static,
    {
        let view = self.inner.get(py)?.clone();
        Ok(Pending::new(self.inner.threads, call(view)))
    }
}

#[pymethods]
impl View {
    #[getter]
    fn version(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.inner.get(py)?.version().0)
    }

    #[getter]
    fn dimension(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        Ok(self.inner.get(py)?.dimension())
    }

    #[pyo3(signature = (queries, k, ids, where_, where_document, include, ef_search, exact, _strong))]
    #[expect(clippy::too_many_arguments, reason = "as Collection.search")]
    fn search(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        k: usize,
        ids: Option<&Bound<'_, PyList>>,
        where_: Option<&str>,
        where_document: Option<&str>,
        include: Vec<String>,
        ef_search: Option<usize>,
        exact: bool,
        _strong: bool,
    ) -> PyResult<Pending> {
        let query = query(py, &queries, k, ids, (where_, where_document), &include)?;
        let query = Query { ef_search, exact, ..query };
        let include = query.include;
        self.pending(py, |view| async move { Ok(value(Answer::new(view.find(query).await?.answer()?, include))) })
    }

    #[pyo3(signature = (ids, where_, where_document, limit, offset, include, _strong))]
    #[expect(clippy::too_many_arguments, reason = "as Collection.get")]
    fn get(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyList>>,
        where_: Option<&str>,
        where_document: Option<&str>,
        limit: Option<usize>,
        offset: usize,
        include: Vec<String>,
        _strong: bool,
    ) -> PyResult<Pending> {
        let get = get(py, ids, (where_, where_document), (limit, offset), &include)?;
        let include = included(&include);
        self.pending(py, move |view| async move {
            let (version, dimension) = (view.version(), view.dimension());
            let reading = view.read(get).await?;
            let records = tokio::task::spawn_blocking(move || {
                (0..reading.len())
                    .filter_map(|place| reading.record(place).transpose())
                    .collect::<Result<Vec<Found>, _>>()
            });
            let broken = |_| Error::new(drumlin::ErrorKind::Internal, "reading the records failed");
            Ok(value(Records::new(records.await.map_err(broken)??, include, version, dimension)))
        })
    }

    #[pyo3(signature = (where_, where_document, _strong))]
    fn count(
        &self,
        py: Python<'_>,
        where_: Option<&str>,
        where_document: Option<&str>,
        _strong: bool,
    ) -> PyResult<Pending> {
        let filter = crate::convert::filter(py, where_, where_document)?;
        self.pending(py, |view| async move {
            let Some(filter) = filter else { return Ok(value(view.count())) };
            Ok(value(view.read(Get::all().filter(filter).include(Include::NONE)).await?.len()))
        })
    }

    #[pyo3(signature = (_strong))]
    fn scan(&self, py: Python<'_>, _strong: bool) -> PyResult<Pending> {
        let threads = self.inner.threads;
        self.pending(py, move |view| async move {
            let dimension = view.dimension();
            Ok(value(Scan::new(Held::new(view.scan().await?, threads), dimension)))
        })
    }
}
