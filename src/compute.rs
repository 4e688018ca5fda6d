//! The one bridge between async tasks and CPU work. Searches run on blocking threads, as many at once
//! as there are permits, and wait their turn in a bounded queue; graph builds run on a rayon pool of
//! their own, one at a time, so that they never take the searches' cores all at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// CPU work of one store.
#[derive(Debug)]
pub struct Compute {
    searches: Semaphore,
    waiting: AtomicUsize,
    waiting_limit: usize,
    builds: Semaphore,
    pool: Arc<rayon::ThreadPool>,
}

impl Compute {
    /// Room for `search_threads` searches at once, `waiting_limit` waiting, and `index_threads` threads
    /// that build graphs.
    pub fn new(search_threads: usize, waiting_limit: usize, index_threads: usize) -> Result<Compute> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(index_threads.max(1))
            .thread_name(|i| format!("index-{i}"))
            .build()
            .map_err(|e| Error::internal(format!("the index threads cannot be started: {e}")))?;
        Ok(Compute {
            searches: Semaphore::new(search_threads.max(1)),
            waiting: AtomicUsize::new(0),
            waiting_limit: waiting_limit.max(1),
            builds: Semaphore::new(1),
            pool: Arc::new(pool),
        })
    }

    /// Runs a read; refuses it when too many wait already.
    pub async fn search<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _place = self.queue()?;
        let _permit = self.searches.acquire().await.map_err(|_| closed())?;
        run(work).await
    }

    /// Threads that build graphs.
    pub fn index_threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs a graph build on the index threads.
    pub async fn build<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _permit = self.builds.acquire().await.map_err(|_| closed())?;
        let pool = self.pool.clone();
        run(move || pool.install(work)).await
    }

    fn queue(&self) -> Result<Place<'_>> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= self.waiting_limit {
            return Err(Error::unavailable(format!(
                "{} searches wait already (setting: waiting searches); try again later",
                self.waiting_limit
            )));
        }
        Ok(place)
    }
}

/// A place in the queue of searches, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    // Only a panic or the end of the runtime cuts blocking work short.
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("the work was cut short: {e}")))
}

fn closed() -> Error {
    Error::unavailable("the store is closing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[tokio::test]
    async fn a_search_beyond_the_waiting_limit_is_refused_and_the_place_is_given_back() {
        let compute = Arc::new(Compute::new(1, 2, 1).unwrap());
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let compute = compute.clone();
            async move { compute.search(move || wait.recv().is_ok()).await }
        });
        while compute.waiting.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let compute = compute.clone();
            async move { compute.search(|| 2).await }
        });
        while compute.waiting.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        let refused = compute.search(|| 3).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable);
        go.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert_eq!(second.await.unwrap().unwrap(), 2);
        assert_eq!(compute.search(|| 4).await.unwrap(), 4);
    }
}
