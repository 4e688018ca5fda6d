//! A call that has been prepared: Python waits for it, or starts it and is told when it is done. So each call has one
//! form here, and two in Python: the plain one and its async twin.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use drumlin::Error;
use drumlin::blocking::block_on;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::errors::{named, raised};
use crate::threads::Threads;

/// How often a wait looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);

/// Makes the Python value of a result, once the work is done.
pub type Made = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
type Work = Pin<Box<dyn Future<Output = Result<Made, Error>> + Send>>;

/// A result whose Python value is made by `make`.
pub fn made<F>(make: F) -> Made
where
    F: FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
{
    Box::new(make)
}

/// A result that converts by itself.
pub fn value<T>(value: T) -> Made
where
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    made(move |py| value.into_py_any(py))
}

/// A call that has been prepared, to be waited for or started, once.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Pending {
    work: Mutex<Option<Work>>,
    threads: &'static Threads,
}

impl Pending {
    pub fn new<W>(threads: &'static Threads, work: W) -> Pending
    where
        W: Future<Output = Result<Made, Error>> + Send + 'static,
    {
        Pending { work: Mutex::new(Some(Box::pin(work))), threads }
    }

    fn take(&self, py: Python<'_>) -> PyResult<Work> {
        self.threads.check(py)?;
        let work = self.work.lock().ok().and_then(|mut work| work.take());
        work.ok_or_else(|| named(py, "DrumlinError", "this call was made already"))
    }
}

#[pymethods]
impl Pending {
    /// Waits for the result without Python's lock. Ctrl-C ends the wait, and the work with it.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut work = self.take(py)?;
        loop {
            let step = async { tokio::time::timeout(LOOK, work.as_mut()).await };
            let step = py.detach(|| block_on(self.threads.runtime.handle(), step));
            match step {
                Ok(done) => return done.map_err(|error| raised(py, &error))?(py),
                Err(_) => py.check_signals()?,
            }
        }
    }

    /// Starts the work. `done(result, None)` or `done(None, exception)` is called on another thread; it is not called
    /// once the task is cancelled, or the interpreter ends.
    fn start(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Task> {
        let (work, callbacks) = (self.take(py)?, &self.threads.callbacks);
        if callbacks.ended() {
            return Err(named(py, "DrumlinError", "the interpreter is ending, and no result would be told any more"));
        }
        let task = self.threads.runtime.spawn(async move {
            let outcome = work.await;
            // Waits for Python's lock, which no thread of the runtime may do.
            tokio::task::spawn_blocking(move || callbacks.make(|py| tell(py, outcome, &done)));
        });
        Ok(Task { handle: task.abort_handle() })
    }
}

fn tell(py: Python<'_>, outcome: Result<Made, Error>, done: &Py<PyAny>) {
    let (result, error) = match outcome.map_err(|error| raised(py, &error)).and_then(|make| make(py)) {
        Ok(result) => (result, py.None()),
        Err(error) => (py.None(), error.into_value(py).into_any()),
    };
    if let Err(error) = done.call1(py, (result, error)) {
        error.write_unraisable(py, None);
    }
}

/// A call under way.
#[pyclass(frozen, module = "drumlin._drumlin")]
pub struct Task {
    handle: AbortHandle,
}

#[pymethods]
impl Task {
    /// Ends the work as soon as it waits for something. A write may or may not have been applied.
    fn cancel(&self) {
        self.handle.abort();
    }
}
