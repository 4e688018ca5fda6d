//! The bridge from async tasks to blocking threads, and the only one: `tests/tidy.rs` looks for others.
//! Invariant: work that has begun runs to its end, whether or not anybody waits for it.

use std::any::Any;

use tokio::task::{JoinError, JoinHandle};

use crate::error::Error;

/// Work on another thread did not end.
#[derive(Debug, thiserror::Error)]
pub enum CutShort {
    /// It panicked, or the runtime stopped.
    #[error("the work was cut short: {0}")]
    Ended(#[from] JoinError),
    /// It ended with something else than was asked for.
    #[error("the work was cut short: it has no result")]
    NoResult,
}

impl From<CutShort> for Error {
    /// The message reaches clients, so the words of a panic are in the source only.
    fn from(cut: CutShort) -> Error {
        cut_short().with_source(cut)
    }
}

/// What clients read of work that panicked.
pub(super) fn cut_short() -> Error {
    Error::internal("the work was cut short")
}

/// Runs work that computes, or waits for a file, off the async threads. It begins at once, awaited or not.
pub fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, CutShort>> + Send {
    let task = begin(Box::new(move || Box::new(work())));
    async move { task.await?.downcast().map(|result| *result).map_err(|_| CutShort::NoResult) }
}

/// Any work with any result, so that what tokio needs for a task (some 2,000 lines of LLVM's language) is compiled once,
/// and not for each of eighty closures.
fn begin(work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>) -> JoinHandle<Box<dyn Any + Send>> {
    tokio::task::spawn_blocking(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn work_begins_before_anybody_waits_for_it() {
        let (begun, begins) = std::sync::mpsc::channel();
        let work = off_thread(move || begun.send(7));
        assert_eq!(off_thread(move || begins.recv()).await.unwrap(), Ok(7));
        work.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_that_says_so() {
        let cut = off_thread(|| panic!("inner words")).await.unwrap_err();
        assert!(cut.to_string().contains("cut short") && cut.to_string().contains("inner words"), "{cut}");
        let error = Error::from(cut);
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("cut short") && !error.message().contains("inner words"), "{error}");
    }
}
