//! The HTTP API without a socket, for Chroma's clients in this process: the same routes, by the same code, as those of
//! the server.

use drumlin::http::{HttpSettings, InProcess};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::pending::{Pending, made};
use crate::store::Store;
use crate::threads::Held;

/// The routes of a store.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Routes {
    inner: Held<InProcess>,
}

#[pymethods]
impl Routes {
    #[new]
    #[allow(clippy::field_reassign_with_default, reason = "the settings are non-exhaustive outside of tests")]
    fn new(py: Python<'_>, store: &Store, allow_reset: bool) -> PyResult<Routes> {
        let mut settings = HttpSettings::default();
        settings.allow_reset = allow_reset;
        let held = store.inner();
        let routes = InProcess::new(held.get(py)?.clone(), settings);
        Ok(Routes { inner: Held::new(routes, held.threads) })
    }

    /// The answer to a request: status, headers, body.
    fn call(
        &self,
        py: Python<'_>,
        method: String,
        target: String,
        headers: Vec<(Bound<'_, PyBytes>, Bound<'_, PyBytes>)>,
        body: &Bound<'_, PyBytes>,
    ) -> PyResult<Pending> {
        let routes = self.inner.get(py)?.clone();
        let headers: Vec<(Vec<u8>, Vec<u8>)> =
            headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        let body = body.as_bytes().to_vec();
        Ok(Pending::new(self.inner.threads, async move {
            let reply = routes.call(&method, &target, headers, body).await?;
            Ok(made(move |py| {
                let body = PyBytes::new(py, &reply.body);
                let headers: Vec<_> = reply
                    .headers
                    .iter()
                    .map(|(name, value)| (PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value)))
                    .collect();
                Ok((reply.status, headers, body).into_pyobject(py)?.into_any().unbind())
            }))
        }))
    }
}
