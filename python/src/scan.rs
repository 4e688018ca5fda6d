//! The class `Scan`: all records of one version, page by page.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use drumlin::answers::Found;
use drumlin::{Include, Record, Version};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use tokio::sync::Mutex;

use crate::answer::Records;
use crate::arrow_io::{batch, capsule, schema};
use crate::pending::{Pending, value};
use crate::threads::{FORKED, Held};

/// Records of a batch of the Arrow stream.
const PAGE: usize = 4096;

/// A reading of a whole collection. It keeps its version in memory as long as it lives.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Scan {
    scan: Held<Arc<Mutex<drumlin::answers::Scan>>>,
    version: Version,
    count: usize,
    dimension: Option<usize>,
}

impl Scan {
    pub fn new(scan: Held<drumlin::answers::Scan>, dimension: Option<usize>) -> Scan {
        let (inner, threads) = scan.into_parts();
        let (version, count) = (inner.version(), inner.count());
        Scan { scan: Held::new(Arc::new(Mutex::new(inner)), threads), version, count, dimension }
    }
}

#[pymethods]
impl Scan {
    #[getter]
    fn version(&self) -> u64 {
        self.version.0
    }

    fn __len__(&self) -> usize {
        self.count
    }

    /// The next `limit` records; none at the end.
    fn next_page(&self, py: Python<'_>, limit: usize) -> PyResult<Pending> {
        let (scan, version, dimension) = (self.scan.get(py)?.clone(), self.version, self.dimension);
        Ok(Pending::new(self.scan.threads, async move {
            let page = scan.lock().await.next_page(limit).await?;
            Ok(value(Records::new(page.into_iter().map(found).collect(), Include::ALL, version, dimension)))
        }))
    }

    /// The rest of the records as a stream: each batch is made when it is asked for.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let scan = Held::new(self.scan.get(py)?.clone(), self.scan.threads);
        capsule(py, Pages { scan, dimension: self.dimension.unwrap_or(0) })
    }
}

fn found(record: Record) -> Found {
    let Record { id, embedding, document, uri, metadata } = record;
    Found { id, embedding: Some(embedding), document, uri, metadata }
}

/// The pages of a scan as batches.
struct Pages {
    scan: Held<Arc<Mutex<drumlin::answers::Scan>>>,
    dimension: usize,
}

impl Iterator for Pages {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(scan) = self.scan.here() else {
            let refused = format!("this scan {FORKED}");
            return Some(Err(ArrowError::InvalidArgumentError(refused)));
        };
        let page = self.scan.threads.runtime.block_on(async { scan.lock().await.next_page(PAGE).await });
        let records: Vec<Found> = match page {
            Ok(page) if page.is_empty() => return None,
            Ok(page) => page.into_iter().map(found).collect(),
            Err(error) => return Some(Err(ArrowError::ExternalError(Box::new(error)))),
        };
        let made = batch(&records, Include::ALL, self.dimension);
        Some(made.map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

impl RecordBatchReader for Pages {
    fn schema(&self) -> SchemaRef {
        schema(Include::ALL, self.dimension)
    }
}
