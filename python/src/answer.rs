//! Answers of reads, as the library made them. Python values are made when they are asked for.

use drumlin::answers::{Found, QueryAnswer};
use drumlin::arrow::batch_from_hits;
use drumlin::{Include, Version};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList};

use crate::arrow_io::{batch, capsule_of_batch};
use crate::convert;
use crate::errors::raised;

/// The hits of each query.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Answer {
    answer: QueryAnswer,
    include: Include,
}

impl Answer {
    pub fn new(answer: QueryAnswer, include: Include) -> Answer {
        Answer { answer, include }
    }
}

#[pymethods]
impl Answer {
    #[getter]
    fn version(&self) -> u64 {
        self.answer.version.0
    }

    /// How many hits each query has.
    #[getter]
    fn lengths(&self) -> Vec<usize> {
        self.answer.results.iter().map(Vec::len).collect()
    }

    /// The ids of each query's hits.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let lists = self.answer.results.iter().map(|hits| PyList::new(py, hits.iter().map(|hit| hit.id.as_str())));
        PyList::new(py, lists.collect::<PyResult<Vec<_>>>()?)
    }

    /// The distances of all hits, one query after the other.
    #[getter]
    fn distances<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_iter(py, self.answer.results.iter().flatten().map(|hit| hit.distance))
    }

    /// The hits of one query as dicts.
    fn hits<'py>(&self, py: Python<'py>, query: usize) -> PyResult<Bound<'py, PyList>> {
        let hits = self.answer.results.get(query).map(Vec::as_slice).unwrap_or_default();
        let one = |hit: &drumlin::Hit| {
            let dict = PyDict::new(py);
            dict.set_item("id", &hit.id)?;
            dict.set_item("distance", hit.distance)?;
            // Without the distance, a hit has the fields of a record.
            let fields = (&hit.document, &hit.uri, hit.metadata.as_ref(), hit.embedding.as_deref());
            fill(&dict, self.include, fields)?;
            Ok(dict)
        };
        PyList::new(py, hits.iter().map(one).collect::<PyResult<Vec<_>>>()?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A producer may leave a wish for other types unfulfilled.
        drop(requested_schema);
        let made = py.detach(|| batch_from_hits(&self.answer.results)).map_err(|error| raised(py, &error))?;
        let (all, include) = (made.schema(), self.include);
        let unwanted = [("document", include.document), ("uri", include.uri), ("metadata", include.metadata)];
        let wanted = |name: &str| !unwanted.iter().any(|(field, kept)| *field == name && !kept);
        let kept: Vec<usize> = (0..all.fields().len()).filter(|at| wanted(all.field(*at).name())).collect();
        let made = made.project(&kept).map_err(|error| crate::errors::invalid(py, error.to_string()))?;
        capsule_of_batch(py, made)
    }
}

type Fields<'a> = (&'a Option<String>, &'a Option<String>, Option<&'a drumlin::Metadata>, Option<&'a [f32]>);

fn fill(dict: &Bound<'_, PyDict>, include: Include, fields: Fields<'_>) -> PyResult<()> {
    let (document, uri, metadata, embedding) = fields;
    if include.document {
        dict.set_item("document", document)?;
    }
    if include.uri {
        dict.set_item("uri", uri)?;
    }
    if include.metadata {
        dict.set_item("metadata", metadata.map(|found| convert::dict(dict.py(), found)).transpose()?)?;
    }
    if include.embedding {
        dict.set_item("embedding", embedding.map(|floats| PyArray1::from_slice(dict.py(), floats)))?;
    }
    Ok(())
}

/// Records in insertion order.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Records {
    records: Vec<Found>,
    include: Include,
    version: Version,
    /// Floats of an embedding.
    dimension: usize,
}

impl Records {
    pub fn new(records: Vec<Found>, include: Include, version: Version, dimension: Option<usize>) -> Records {
        // The records themselves know best: another process may have fixed the dimension just now.
        let first = records.first().and_then(|record| record.embedding.as_ref()).map(Vec::len);
        Records { records, include, version, dimension: first.or(dimension).unwrap_or(0) }
    }
}

#[pymethods]
impl Records {
    fn __len__(&self) -> usize {
        self.records.len()
    }

    #[getter]
    fn version(&self) -> u64 {
        self.version.0
    }

    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.records.iter().map(|record| record.id.as_str()))
    }

    /// n × d floats; `None` where the embeddings were not included.
    #[getter]
    fn embeddings<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray2<f32>>>> {
        if !self.include.embedding {
            return Ok(None);
        }
        let matrix = PyArray2::zeros(py, [self.records.len(), self.dimension], false);
        // SAFETY: the array was made just now, so nothing else refers to it.
        let floats = unsafe { matrix.as_slice_mut() }?;
        for (row, record) in floats.chunks_exact_mut(self.dimension.max(1)).zip(&self.records) {
            if let Some(embedding) = record.embedding.as_ref().filter(|embedding| embedding.len() == row.len()) {
                row.copy_from_slice(embedding);
            }
        }
        Ok(Some(matrix))
    }

    /// The records as dicts.
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let one = |record: &Found| {
            let dict = PyDict::new(py);
            dict.set_item("id", &record.id)?;
            let fields = (&record.document, &record.uri, record.metadata.as_ref(), record.embedding.as_deref());
            fill(&dict, self.include, fields)?;
            Ok(dict)
        };
        PyList::new(py, self.records.iter().map(one).collect::<PyResult<Vec<_>>>()?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let made = py.detach(|| batch(&self.records, self.include, self.dimension));
        capsule_of_batch(py, made.map_err(|error| raised(py, &error))?)
    }
}
