//! The class `Collection`: records of one collection.

use drumlin::answers::QueryAnswer;
use drumlin::arrow::{ipc_from_answer, records_from_batch};
use drumlin::{Consistency, Get, Include, Metadata, Query, Record, Selection, Write, WriteOutcome};
use numpy::{PyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::convert::{self, arrow_batches};
use crate::errors::{invalid, raised};
use crate::runtime::Threads;

/// Records of one collection. Made by `Store.collection`.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Collection {
    collection: drumlin::Collection,
    threads: Threads,
}

impl Collection {
    pub fn new(collection: drumlin::Collection, threads: Threads) -> Collection {
        Collection { collection, threads }
    }

    fn write(&self, py: Python<'_>, write: Write) -> PyResult<(usize, usize, u64)> {
        let WriteOutcome { applied, skipped, version } = self.threads.wait(py, self.collection.write(write))?;
        Ok((applied, skipped, version.0))
    }
}

/// How records are written, by the name of the Python call.
fn made(py: Python<'_>, how: &str, records: Vec<Record>) -> PyResult<Write> {
    match how {
        "add" => Ok(Write::Add(records)),
        "upsert" => Ok(Write::Upsert(records)),
        _ => Err(invalid(py, format!("expected add or upsert, got {how:?}"))),
    }
}

fn included(fields: &[String]) -> Include {
    let has = |name: &str| fields.iter().any(|field| field == name);
    Include { embedding: has("embeddings"), document: has("documents"), uri: has("uris"), metadata: has("metadatas") }
}

fn freshness(strong: bool) -> Consistency {
    if strong { Consistency::Strong } else { Consistency::Local }
}

#[pymethods]
impl Collection {
    #[getter]
    fn name(&self) -> String {
        self.collection.name()
    }

    #[getter]
    fn id(&self) -> String {
        self.collection.id().to_string()
    }

    #[getter]
    fn dimension(&self) -> Option<usize> {
        self.collection.dimension()
    }

    /// Writes one record per row of `embeddings` (n × d, float32). Rows are copied once, into the records.
    fn write_array(
        &self,
        py: Python<'_>,
        how: &str,
        ids: Vec<String>,
        embeddings: PyReadonlyArray2<'_, f32>,
        documents: Option<Vec<Option<String>>>,
        metadatas: Option<&Bound<'_, PyList>>,
    ) -> PyResult<(usize, usize, u64)> {
        let rows = embeddings.as_array();
        let count = rows.nrows();
        let fits = |name: &str, got: usize| match got == count {
            true => Ok(()),
            false => Err(invalid(py, format!("{name}: expected one per embedding, got {got} for {count} embeddings"))),
        };
        fits("ids", ids.len())?;
        documents.as_ref().map_or(Ok(()), |documents| fits("documents", documents.len()))?;
        metadatas.map_or(Ok(()), |metadatas| fits("metadatas", metadatas.len()))?;
        let mut documents = documents.unwrap_or_default().into_iter();
        let mut records = Vec::with_capacity(count);
        for (place, (id, row)) in ids.into_iter().zip(rows.rows()).enumerate() {
            let mut record = Record::new(id, row.to_vec());
            record.document = documents.next().flatten();
            if let Some(value) =
                metadatas.map(|list| list.get_item(place)).transpose()?.filter(|value| !value.is_none())
            {
                let found: Metadata = convert::metadata(value.cast::<PyDict>()?)?;
                record.metadata = (!found.0.is_empty()).then_some(found);
            }
            records.push(record);
        }
        self.write(py, made(py, how, records)?)
    }

    /// Writes the records of an object with `__arrow_c_stream__`.
    fn write_arrow(&self, py: Python<'_>, how: &str, table: &Bound<'_, PyAny>) -> PyResult<(usize, usize, u64)> {
        let batches = arrow_batches(table)?;
        let read = || batches.iter().map(records_from_batch).collect::<Result<Vec<_>, _>>();
        let records = py.detach(read).map_err(|error| raised(py, &error))?;
        self.write(py, made(py, how, records.into_iter().flatten().collect())?)
    }

    fn delete(
        &self,
        py: Python<'_>,
        ids: Option<Vec<String>>,
        where_: Option<&str>,
        where_document: Option<&str>,
        limit: Option<usize>,
    ) -> PyResult<(usize, usize, u64)> {
        let filter = convert::filter(where_, where_document)?;
        self.write(py, Write::Delete(Selection { ids, filter, limit }))
    }

    /// The answer to a search as (one list of ids per query, all distances in one array, the version, Arrow IPC).
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of Collection.search")]
    #[expect(clippy::type_complexity, reason = "the Python side names the parts")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'_, f32>,
        k: usize,
        ids: Option<Vec<String>>,
        where_: Option<&str>,
        where_document: Option<&str>,
        include: Vec<String>,
        ef_search: Option<usize>,
        exact: bool,
        strong: bool,
        fields: bool,
    ) -> PyResult<(Vec<Vec<String>>, Bound<'py, PyArray1<f32>>, u64, Option<Bound<'py, PyBytes>>)> {
        let rows = queries.as_array();
        let query = Query {
            ids,
            filter: convert::filter(where_, where_document)?,
            ef_search,
            ..Query::batch(rows.rows().into_iter().map(|row| row.to_vec()))
                .k(k)
                .exact(exact)
                .include(included(&include))
                .consistency(freshness(strong))
        };
        let answer: QueryAnswer = self.threads.wait(py, async { self.collection.find(query).await?.answer() })?;
        let ids = answer.results.iter().map(|hits| hits.iter().map(|hit| hit.id.clone()).collect()).collect();
        let distances = PyArray1::from_iter(py, answer.results.iter().flatten().map(|hit| hit.distance));
        let ipc = match fields {
            true => {
                let bytes = py.detach(|| ipc_from_answer(&answer)).map_err(|error| raised(py, &error))?;
                Some(PyBytes::new(py, &bytes))
            }
            false => None,
        };
        Ok((ids, distances, answer.version.0, ipc))
    }

    /// Records as dicts, in insertion order, and the version that was read.
    #[expect(clippy::too_many_arguments, reason = "each is a keyword of Collection.get")]
    fn get<'py>(
        &self,
        py: Python<'py>,
        ids: Option<Vec<String>>,
        where_: Option<&str>,
        where_document: Option<&str>,
        limit: Option<usize>,
        offset: usize,
        include: Vec<String>,
        strong: bool,
    ) -> PyResult<(Vec<Bound<'py, PyDict>>, u64)> {
        let filter = convert::filter(where_, where_document)?;
        let get = Get { ids, filter, limit, offset, include: included(&include), consistency: freshness(strong) };
        let answer = self.threads.wait(py, self.collection.get(get))?;
        let mut records = Vec::with_capacity(answer.records.len());
        for record in answer.records {
            let dict = PyDict::new(py);
            dict.set_item("id", record.id)?;
            if let Some(embedding) = record.embedding {
                dict.set_item("embedding", PyArray1::from_vec(py, embedding))?;
            }
            dict.set_item("document", record.document)?;
            dict.set_item("uri", record.uri)?;
            dict.set_item("metadata", record.metadata.map(|found| convert::dict(py, &found)).transpose()?)?;
            records.push(dict);
        }
        Ok((records, answer.version.0))
    }

    fn count(&self, py: Python<'_>, where_: Option<&str>, where_document: Option<&str>, strong: bool) -> PyResult<u64> {
        match convert::filter(where_, where_document)? {
            None => self.threads.wait(py, self.collection.count(freshness(strong))),
            Some(filter) => {
                let get = Get::all().filter(filter).include(Include::NONE).consistency(freshness(strong));
                self.threads.wait(py, async { Ok(self.collection.read(get).await?.len() as u64) })
            }
        }
    }
}
