//! The bridge from async tasks to blocking threads, and the only one: `tests/tidy.rs` looks for others.
//! Invariant: work that has begun runs to its end, whether or not anybody waits for it.

use tokio::task::JoinError;

use crate::error::Error;

/// Work on another thread did not end: it panicked, or the runtime stopped.
#[derive(Debug, thiserror::Error)]
#[error("the work was cut short: {0}")]
pub struct CutShort(#[from] JoinError);

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
    let task = tokio::task::spawn_blocking(work);
    async move { Ok(task.await?) }
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
