//! The threads that the stores of this process run on, and values that belong to them.
//! Invariant: threads do not survive a fork. A child gets threads of its own, and leaves what it inherited alone: a
//! lock in there may be held for ever by a thread that is not there.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::errors::named;

/// What is wrong with a value that a process inherited.
pub const FORKED: &str = "was opened before the process was forked, and its threads are not here: connect again";

/// The runtime of one process. It is never dropped: at the end of the interpreter its threads end with the process,
/// and what was acknowledged is in the bucket.
#[derive(Debug)]
pub struct Threads {
    pub runtime: Runtime,
    pub callbacks: Callbacks,
    process: u32,
}

/// The calls of Python functions that threads of the runtime make. One that is under way while the interpreter is taken
/// down would crash the process, so the end of the interpreter waits for them, and none begins after it.
#[derive(Debug, Default)]
pub struct Callbacks {
    under_way: AtomicUsize,
    ended: AtomicBool,
}

impl Callbacks {
    /// How long the interpreter waits for those under way.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Makes a call, unless the interpreter ends.
    pub fn make(&self, call: impl FnOnce(Python<'_>)) {
        /// Counts down even if the call panics.
        struct UnderWay<'a>(&'a AtomicUsize);
        impl Drop for UnderWay<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        // IMPORTANT: counted before the end is looked at: either this sees the end, or the end sees this.
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(&self.under_way);
        if !self.ended() {
            Python::try_attach(call);
        }
    }

    /// Whether no call is made any more.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + Callbacks::PATIENCE;
        while self.under_way.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Called when the interpreter ends, before anything of it is taken down.
#[pyfunction]
pub fn end_callbacks(py: Python<'_>) {
    // SAFETY: what the pointer points to is never freed.
    let threads = unsafe { THREADS.load(Ordering::Acquire).as_ref() };
    if let Some(threads) = threads.filter(|threads| threads.are_here()) {
        py.detach(|| threads.callbacks.end());
    }
}

/// That of the process which started it.
static THREADS: AtomicPtr<Threads> = AtomicPtr::new(std::ptr::null_mut());

impl Threads {
    /// The threads of this process, started at the first call.
    pub fn get() -> PyResult<&'static Threads> {
        let known = THREADS.load(Ordering::Acquire);
        // SAFETY: what the pointer points to is never freed.
        if let Some(threads) = unsafe { known.as_ref() }.filter(|threads| threads.are_here()) {
            return Ok(threads);
        }
        let runtime = Builder::new_multi_thread().enable_all().thread_name("drumlin").build();
        let failed = |error| PyRuntimeError::new_err(format!("the threads of a store could not be started: {error}"));
        let (runtime, callbacks, process) = (runtime.map_err(failed)?, Callbacks::default(), std::process::id());
        let made = Box::leak(Box::new(Threads { runtime, callbacks, process }));
        match THREADS.compare_exchange(known, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(made),
            // SAFETY: as above. Another thread was faster; the runtime made here stays idle.
            Err(theirs) => Ok(unsafe { theirs.as_ref() }.unwrap_or(made)),
        }
    }

    /// Whether this process started them.
    pub fn are_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// Fails in a process that was forked from the one that started them.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.are_here() {
            return Ok(());
        }
        Err(named(py, "ForkedProcess", format!("this {FORKED}")))
    }
}

/// A value that lives on the threads.
#[derive(Debug)]
pub struct Held<T> {
    value: ManuallyDrop<T>,
    pub threads: &'static Threads,
}

impl<T> Held<T> {
    pub fn new(value: T, threads: &'static Threads) -> Held<T> {
        Held { value: ManuallyDrop::new(value), threads }
    }

    /// The value and its threads, apart.
    pub fn into_parts(self) -> (T, &'static Threads) {
        let mut held = ManuallyDrop::new(self);
        // SAFETY: `held` is not dropped, so the value is taken out once.
        (unsafe { ManuallyDrop::take(&mut held.value) }, held.threads)
    }

    /// The value; `None` where this process inherited it.
    pub fn here(&self) -> Option<&T> {
        self.threads.are_here().then(|| &*self.value)
    }

    /// The value, unless this process inherited it.
    pub fn get(&self, py: Python<'_>) -> PyResult<&T> {
        self.threads.check(py).map(|()| &*self.value)
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        if self.threads.are_here() {
            let _entered = self.threads.runtime.enter();
            // SAFETY: dropped here only, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}
