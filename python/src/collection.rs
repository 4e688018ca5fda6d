//! The class `Collection`: records of one collection.

use drumlin::answers::QueryAnswer;
use drumlin::arrow::{ColumnChoice, OtherColumns};
use drumlin::models::TextRole;
use drumlin::{CollectionInfo, Error, Get, Include, Query, Record, RecordUpdate, Selection, Write, WriteOutcome};
use numpy::{PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use serde_json::json;

use crate::answer::{Answer, Records};
use crate::arrow_io::batches;
use crate::convert::{self, freshness, included};
use crate::errors::{invalid, raised};
use crate::pending::{Made, Pending, made, value};
use crate::ranked;
use crate::scan::Scan;
use crate::threads::{Held, Threads};
use crate::write::{Wanted, how, records_of, write_records, write_updates};

/// Records of one collection. Made by `Store.collection`.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Collection {
    inner: Held<drumlin::Collection>,
}

impl Collection {
    pub fn new(collection: drumlin::Collection, threads: &'static Threads) -> Collection {
        Collection { inner: Held::new(collection, threads) }
    }

    /// A call on the collection, to be made.
    fn pending<F, W>(&self, py: Python<'_>, call: F) -> PyResult<Pending>
    where
        F: FnOnce(drumlin::Collection) -> W,
        W: Future<Output = Result<Made, Error>> + Send + 'static,
    {
        let collection = self.inner.get(py)?.clone();
        Ok(Pending::new(self.inner.threads, call(collection)))
    }
}

fn told(outcome: WriteOutcome) -> Made {
    value((outcome.applied, outcome.skipped, outcome.version.0))
}

/// What stands beside the ids and embeddings of a call, one per record.
struct Beside<'py> {
    documents: Option<Vec<Option<String>>>,
    uris: Option<Vec<Option<String>>>,
    metadatas: Option<Bound<'py, PyList>>,
}

impl<'py> Beside<'py> {
    fn read(
        count: usize,
        documents: Option<&Bound<'py, PyList>>,
        uris: Option<&Bound<'py, PyList>>,
        metadatas: Option<Bound<'py, PyList>>,
    ) -> PyResult<Beside<'py>> {
        for (name, list) in [("documents", documents), ("uris", uris), ("metadatas", metadatas.as_ref())] {
            if let Some(list) = list
                && list.len() != count
            {
                let got = list.len();
                return Err(invalid(list.py(), format!("{name}: expected one per id, got {got} for {count} ids")));
            }
        }
        let documents = documents.map(|list| convert::texts("documents", list)).transpose()?;
        let uris = uris.map(|list| convert::texts("uris", list)).transpose()?;
        Ok(Beside { documents, uris, metadatas })
    }

    fn document(&mut self, place: usize) -> Option<String> {
        self.documents.as_mut()?.get_mut(place)?.take()
    }

    fn uri(&mut self, place: usize) -> Option<String> {
        self.uris.as_mut()?.get_mut(place)?.take()
    }
}

/// The embeddings of a call: an n × d array, and which of its records have one if not all have.
struct Embeddings<'py> {
    matrix: Option<PyReadonlyArray2<'py, f32>>,
    given: Option<Vec<bool>>,
}

impl Embeddings<'_> {
    /// One for each id, copied once, without Python's lock.
    fn rows(&self, py: Python<'_>, ids: usize) -> PyResult<Vec<Option<Vec<f32>>>> {
        let rows = self.matrix.as_ref().map(|matrix| matrix.as_array());
        let got = match (&self.given, &rows) {
            (Some(given), _) => given.len(),
            (None, Some(rows)) => rows.nrows(),
            (None, None) => ids,
        };
        if got != ids {
            return Err(invalid(py, format!("embeddings: expected one per id, got {got} for {ids} ids")));
        }
        let given = self.given.as_deref();
        Ok(py.detach(|| {
            let mut rows = rows.iter().flat_map(|rows| rows.rows()).map(|row| row.to_vec());
            let has_one = |place: usize| given.is_none_or(|given| given.get(place) == Some(&true));
            (0..ids).map(|place| if has_one(place) { rows.next() } else { None }).collect()
        }))
    }
}

#[pymethods]
impl Collection {
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.inner.get(py)?.name())
    }

    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.inner.get(py)?.id().to_string())
    }

    #[getter]
    fn dimension(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        Ok(self.inner.get(py)?.dimension())
    }

    /// Whether records may come without an embedding: it is made of their document, or none has one.
    #[getter]
    fn takes_texts(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(Wanted::of(self.inner.get(py)?).takes_texts())
    }

    /// The embeddings of texts (n × d, float32) by the collection's embedder; `role` is what they are compared with.
    fn embed(&self, py: Python<'_>, texts: Vec<String>, role: &str) -> PyResult<Pending> {
        let role = match role {
            "query" => TextRole::Query,
            "passage" => TextRole::Passage,
            other => return Err(invalid(py, format!("role: expected query or passage, got {other:?}"))),
        };
        self.pending(py, |collection| async move {
            // Also of no text at all: refused where there is no embedder.
            collection.embedder()?;
            let embeddings = collection.embed(texts, role).await?;
            let dimension = embeddings.first().map(Vec::len).or(collection.dimension()).unwrap_or(0);
            Ok(made(move |py| {
                let matrix = match embeddings.is_empty() {
                    true => PyArray2::zeros(py, [0, dimension], false),
                    false => PyArray2::from_vec2(py, &embeddings)?,
                };
                Ok(matrix.into_any().unbind())
            }))
        })
    }

    /// Name, metric, dimension, count and the like, as JSON.
    fn info(&self, py: Python<'_>) -> PyResult<String> {
        Ok(described(&self.inner.get(py)?.info()))
    }

    /// Writes one record per id. `embeddings` (n × d, float32) are of the records that `given` says, or of all.
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of Collection.add")]
    fn write_rows(
        &self,
        py: Python<'_>,
        way: &str,
        ids: &Bound<'_, PyList>,
        embeddings: Option<PyReadonlyArray2<'_, f32>>,
        given: Option<Vec<bool>>,
        documents: Option<&Bound<'_, PyList>>,
        uris: Option<&Bound<'_, PyList>>,
        metadatas: Option<Bound<'_, PyList>>,
    ) -> PyResult<Pending> {
        let way = how(way).map_err(|error| raised(py, &error))?;
        let ids = convert::ids(ids)?;
        let mut beside = Beside::read(ids.len(), documents, uris, metadatas)?;
        let vectors = Embeddings { matrix: embeddings, given }.rows(py, ids.len())?;
        let mut records = Vec::with_capacity(ids.len());
        for (place, (id, embedding)) in ids.into_iter().zip(vectors).enumerate() {
            let metadata = beside.metadatas.as_ref().map(|list| convert::metadata_at(list, place)).transpose()?;
            let (document, uri) = (beside.document(place), beside.uri(place));
            let embedding = embedding.unwrap_or_default();
            records.push(Record { id, embedding, document, uri, metadata: metadata.flatten() });
        }
        self.pending(py, |collection| async move { write_records(&collection, way, records).await.map(told) })
    }

    /// Changes the records of these ids; what is `None` stays as it is.
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of Collection.update")]
    fn update(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyList>,
        embeddings: Option<PyReadonlyArray2<'_, f32>>,
        given: Option<Vec<bool>>,
        documents: Option<&Bound<'_, PyList>>,
        uris: Option<&Bound<'_, PyList>>,
        metadatas: Option<Bound<'_, PyList>>,
    ) -> PyResult<Pending> {
        let ids = convert::ids(ids)?;
        let mut beside = Beside::read(ids.len(), documents, uris, metadatas)?;
        let vectors = Embeddings { matrix: embeddings, given }.rows(py, ids.len())?;
        let mut updates = Vec::with_capacity(ids.len());
        for (place, (id, embedding)) in ids.into_iter().zip(vectors).enumerate() {
            let metadata = beside.metadatas.as_ref().map(|list| convert::patch_at(list, place)).transpose()?;
            let (document, uri) = (beside.document(place), beside.uri(place));
            updates.push(RecordUpdate { id, embedding, document, uri, metadata: metadata.flatten() });
        }
        self.pending(py, |collection| async move { write_updates(&collection, updates).await.map(told) })
    }

    /// Writes the records of an object with `__arrow_c_stream__`. The answer is (applied, skipped, version, rows,
    /// bad rows).
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of Collection.add_batches")]
    fn write_arrow(
        &self,
        py: Python<'_>,
        way: &str,
        table: &Bound<'_, PyAny>,
        columns: &str,
        others: &str,
        first: u64,
        set_aside: bool,
    ) -> PyResult<Pending> {
        let refused = |error: Error| raised(py, &error);
        let way = how(way).map_err(refused)?;
        let others: OtherColumns = others.parse().map_err(refused)?;
        let choice = ColumnChoice::guessing(others).naming(columns).map_err(refused)?;
        let batches = batches(table)?;
        self.pending(py, |collection| async move {
            let wanted = Wanted::of(&collection);
            let choice = if wanted.takes_texts() { choice.with_texts() } else { choice };
            let made = tokio::task::spawn_blocking(move || records_of(&batches, &choice, first, set_aside, wanted));
            let made = made.await.map_err(|_| Error::new(drumlin::ErrorKind::Internal, "reading the table failed"))?;
            let (records, bad) = made?;
            let rows = records.len() + bad.len();
            let WriteOutcome { applied, skipped, version } = match records.is_empty() {
                true => WriteOutcome { version: collection.info().version, ..WriteOutcome::default() },
                false => write_records(&collection, way, records).await?,
            };
            Ok(value((applied, skipped, version.0, rows, bad)))
        })
    }

    fn delete(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyList>>,
        where_: Option<&str>,
        where_document: Option<&str>,
        limit: Option<usize>,
    ) -> PyResult<Pending> {
        let filter = convert::filter(py, where_, where_document)?;
        let selection = Selection { ids: ids.map(convert::ids).transpose()?, filter, limit };
        self.pending(py, |collection| async move { collection.write(Write::Delete(selection)).await.map(told) })
    }

    #[expect(clippy::too_many_arguments, reason = "each is a keyword of Collection.search")]
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
        strong: bool,
    ) -> PyResult<Pending> {
        let filters = (where_, where_document);
        let query = query(py, &queries, k, ids, filters, &include)?;
        let query = Query { ef_search, exact, consistency: freshness(strong), ..query };
        let include = query.include;
        self.pending(py, |collection| async move {
            let answer: QueryAnswer = collection.find(query).await?.answer()?;
            Ok(value(Answer::new(answer, include)))
        })
    }

    /// Searches by `options`, the fields of a search over HTTP. The answer is (hits, groups, facets as JSON, version).
    fn rank(&self, py: Python<'_>, options: &Bound<'_, PyDict>, strong: bool) -> PyResult<Pending> {
        let request = ranked::request(self.inner.get(py)?, options)?;
        self.pending(py, |collection| async move { ranked::answer(request.run(&collection, freshness(strong)).await?) })
    }

    #[expect(clippy::too_many_arguments, reason = "each is a keyword of Collection.get")]
    fn get(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyList>>,
        where_: Option<&str>,
        where_document: Option<&str>,
        limit: Option<usize>,
        offset: usize,
        include: Vec<String>,
        strong: bool,
    ) -> PyResult<Pending> {
        let get = get(py, ids, (where_, where_document), (limit, offset), &include)?;
        let (get, include) = (get.consistency(freshness(strong)), included(&include));
        self.pending(py, |collection| async move {
            let answer = collection.get(get).await?;
            Ok(value(Records::new(answer.records, include, answer.version, collection.dimension())))
        })
    }

    fn count(
        &self,
        py: Python<'_>,
        where_: Option<&str>,
        where_document: Option<&str>,
        strong: bool,
    ) -> PyResult<Pending> {
        let filter = convert::filter(py, where_, where_document)?;
        self.pending(py, |collection| async move {
            let Some(filter) = filter else { return collection.count(freshness(strong)).await.map(value) };
            let get = Get::all().filter(filter).include(Include::NONE).consistency(freshness(strong));
            Ok(value(collection.read(get).await?.len()))
        })
    }

    fn scan(&self, py: Python<'_>, strong: bool) -> PyResult<Pending> {
        let threads = self.inner.threads;
        self.pending(py, move |collection| async move {
            let scan = collection.scan(freshness(strong)).await?;
            Ok(value(Scan::new(Held::new(scan, threads), collection.dimension())))
        })
    }
}

/// What `where` and `where_document` say, as JSON.
pub type Filters<'a> = (Option<&'a str>, Option<&'a str>);

/// A query of these embeddings (q × d), which are copied.
pub fn query(
    py: Python<'_>,
    queries: &PyReadonlyArray2<'_, f32>,
    k: usize,
    ids: Option<&Bound<'_, PyList>>,
    filters: Filters<'_>,
    include: &[String],
) -> PyResult<Query> {
    let ids = ids.map(convert::ids).transpose()?;
    let filter = convert::filter(py, filters.0, filters.1)?;
    let embeddings = queries.as_array().rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>();
    Ok(Query { ids, filter, ..Query::batch(embeddings).k(k).include(included(include)) })
}

/// A get of a page: at most so many, and how many to leave out first.
pub fn get(
    py: Python<'_>,
    ids: Option<&Bound<'_, PyList>>,
    filters: Filters<'_>,
    page: (Option<usize>, usize),
    include: &[String],
) -> PyResult<Get> {
    let ids = ids.map(convert::ids).transpose()?;
    let filter = convert::filter(py, filters.0, filters.1)?;
    Ok(Get { ids, filter, limit: page.0, offset: page.1, include: included(include), ..Get::default() })
}

/// What is known of a collection, as JSON.
pub fn described(info: &CollectionInfo) -> String {
    json!({
        "name": info.name,
        "id": info.id,
        "tenant": info.scope.tenant,
        "database": info.scope.database,
        "metric": info.metric,
        "dimension": info.dimension,
        "count": info.count,
        "version": info.version,
        "metadata": info.metadata,
        "index": info.index,
        "embedder": info.embedder,
        "chunk": info.splitting,
        "state": info.state,
    })
    .to_string()
}
