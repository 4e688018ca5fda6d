//! The threads that stores of this process run on, and how a call waits on them.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drumlin::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::errors::raised;

/// How often a wait looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);

/// The runtime of one process.
#[derive(Debug, Clone)]
pub struct Threads {
    runtime: Arc<Runtime>,
    process: u32,
}

/// The runtime that all stores share. It is never dropped: at the end of the interpreter its threads end with the
/// process, and what was acknowledged is in the bucket.
static THREADS: OnceLock<Threads> = OnceLock::new();

impl Threads {
    /// The threads of this process, started at the first call.
    pub fn get() -> PyResult<Threads> {
        if let Some(threads) = THREADS.get() {
            return threads.here().map(|()| threads.clone());
        }
        let runtime = Builder::new_multi_thread().enable_all().thread_name("drumlin").build();
        let failed = |error| PyRuntimeError::new_err(format!("the threads of a store could not be started: {error}"));
        let made = Threads { runtime: Arc::new(runtime.map_err(failed)?), process: std::process::id() };
        Ok(THREADS.get_or_init(|| made).clone())
    }

    /// Fails in a process that was forked after the threads were started: threads do not survive a fork.
    fn here(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "this process was forked from one that had used drumlin, and its threads are not here: connect in the child \
             first, or start workers with multiprocessing's \"spawn\" or \"forkserver\"",
        ))
    }

    /// Waits for `work` without Python's lock; Ctrl-C ends the wait, and the work with it.
    pub fn wait<T: Send>(&self, py: Python<'_>, work: impl Future<Output = Result<T, Error>> + Send) -> PyResult<T> {
        self.here()?;
        let mut work = std::pin::pin!(work);
        loop {
            let step = py.detach(|| self.runtime.block_on(async { tokio::time::timeout(LOOK, work.as_mut()).await }));
            match step {
                Ok(done) => return done.map_err(|error| raised(py, &error)),
                Err(_) => py.check_signals()?,
            }
        }
    }
}
