//! Batches that others should not feel, such as embedding ten thousand documents: on a few threads of the lowest
//! priority, which take the next part of whichever batch has waited longest. Where others leave them next to nothing, as
//! searches without end do, the parts run on threads of a low priority instead, so that they end too.
//! Invariant: a caller that stops waiting interrupts its batch, and its parts that have not begun never do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
#[cfg(feature = "server")]
use tokio::sync::SemaphorePermit;

use super::priority::Priority;
use super::{Compute, QueuePlace, closed, off_thread};
use crate::error::{Error, Result};
use crate::interrupt::{Asker, Interrupt};

/// A part that takes this long was left next to nothing: most take some tens of milliseconds.
const STARVED: Duration = Duration::from_secs(1);
/// How long parts run at a low priority then.
const RELIEF: Duration = Duration::from_secs(30);

/// Threads for batches, each kind started by the first part that needs it.
#[derive(Debug)]
pub(super) struct LaterThreads {
    count: usize,
    lowest: OnceLock<Arc<rayon::ThreadPool>>,
    low: OnceLock<Arc<rayon::ThreadPool>>,
    /// Until when parts run at a low priority.
    relief: Mutex<Option<Instant>>,
    permits: Semaphore,
    waiting: AtomicUsize,
    /// Whose turn it is to do long work.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    long: Semaphore,
}

impl LaterThreads {
    pub(super) fn new(count: usize) -> LaterThreads {
        let (count, waiting) = (count.max(1), AtomicUsize::new(0));
        LaterThreads {
            count,
            lowest: OnceLock::new(),
            low: OnceLock::new(),
            relief: Mutex::default(),
            permits: Semaphore::new(count),
            waiting,
            long: Semaphore::new(1),
        }
    }

    /// The threads for the next part.
    fn pool(&self) -> Result<Arc<rayon::ThreadPool>> {
        let starved = self.relief.lock().is_some_and(|until| Instant::now() < until);
        let (pool, priority) = if starved { (&self.low, Priority::Low) } else { (&self.lowest, Priority::Lowest) };
        if let Some(pool) = pool.get() {
            return Ok(pool.clone());
        }
        let started = pool_of(self.count, "later", priority)?;
        Ok(pool.get_or_init(|| Arc::new(started)).clone())
    }

    fn took(&self, part: Duration) {
        if part >= STARVED {
            *self.relief.lock() = Some(Instant::now() + RELIEF);
        }
    }
}

fn pool_of(threads: usize, name: &'static str, priority: Priority) -> Result<rayon::ThreadPool> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(move |i| format!("{name}-{i}"));
    let pool = threads.start_handler(move |_| priority.take()).build();
    pool.map_err(|e| Error::internal(format!("the threads for batches cannot be started: {e}")))
}

impl Compute {
    /// Runs the parts `0..count` of a batch at the lowest priority, and returns the results in their order. The batch is
    /// refused if too many wait already.
    pub async fn later_batch<T: Send + 'static>(
        &self,
        count: usize,
        part: impl Fn(usize, &Interrupt) -> T + Send + Sync + 'static,
    ) -> Result<Vec<T>> {
        let _place = self.later_place()?;
        let (later, part, asker, next) = (&self.later, Arc::new(part), Asker::default(), AtomicUsize::new(0));
        let lanes = (0..later.count.min(count)).map(|_| async {
            let mut done = Vec::new();
            loop {
                let permit = later.permits.acquire().await.map_err(|_| closed())?;
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, Error>(done);
                }
                let (pool, part, gone) = (later.pool()?, part.clone(), asker.gone());
                let run = move || pool.install(|| part(number, &Interrupt::new(gone, || {})));
                let began = Instant::now();
                done.push((number, off_thread(run).await?));
                later.took(began.elapsed());
                drop(permit);
            }
        });
        let mut done: Vec<(usize, T)> = try_join_all(lanes).await?.into_iter().flatten().collect();
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }

    /// Runs one piece of work at the lowest priority. Work that has begun runs to its end.
    #[cfg(feature = "server")]
    pub async fn later<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let later = &self.later;
        let _permit = later.permits.acquire().await.map_err(|_| closed())?;
        let (pool, began) = (later.pool()?, Instant::now());
        let done = off_thread(move || pool.install(work)).await?;
        later.took(began.elapsed());
        Ok(done)
    }

    /// Waits for the turn to do long work: one does at a time.
    #[cfg(feature = "server")]
    pub async fn long_turn(&self) -> Result<SemaphorePermit<'_>> {
        self.later.long.acquire().await.map_err(|_| closed())
    }

    /// Runs one piece of work that may take minutes, at the lowest priority and on threads of its own, so that batches go
    /// on beside it. For whoever has the [turn](Self::long_turn).
    #[cfg(feature = "server")]
    pub async fn long_work<T: Send + 'static>(&self, work: impl FnOnce(&Interrupt) -> T + Send + 'static) -> Result<T> {
        let (pool, asker) = (pool_of(self.later.count, "long", Priority::Lowest)?, Asker::default());
        let gone = asker.gone();
        Ok(off_thread(move || pool.install(|| work(&Interrupt::new(gone, || {})))).await?)
    }

    fn later_place(&self) -> Result<QueuePlace<'_>> {
        let place = QueuePlace(&self.later.waiting);
        if self.later.waiting.fetch_add(1, Ordering::SeqCst) >= self.waiting_limit {
            return Err(Error::unavailable(format!(
                "{} requests wait already for embeddings of their texts, or maps (limits.waiting_searches); try again later",
                self.waiting_limit
            ))
            .of_setting("limits.waiting_searches"));
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_run_at_a_low_priority_and_are_answered_in_order() {
        let compute = Compute::new(1, 2, 2).unwrap();
        let done = compute.later_batch(50, |number, _| number * 2).await.unwrap();
        assert_eq!(done, (0..50).map(|number| number * 2).collect::<Vec<_>>());
        #[cfg(target_os = "linux")]
        {
            use rustix::process::getpriority_process;
            let search = compute.search(|_| getpriority_process(None).unwrap()).await.unwrap();
            let later = compute.later_batch(4, |_, _| getpriority_process(None).unwrap()).await.unwrap();
            assert!(later.iter().all(|priority| *priority > search), "{later:?}");
        }
        assert_eq!(compute.later_batch(0, |number, _| number).await.unwrap(), Vec::<usize>::new());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn parts_that_get_next_to_nothing_run_at_a_low_priority_for_a_while() {
        use rustix::process::getpriority_process;
        let compute = Compute::new(1, 2, 1).unwrap();
        let priority = async || compute.later_batch(1, |_, _| getpriority_process(None).unwrap()).await.unwrap()[0];
        let (usual, lowest) = (getpriority_process(None).unwrap(), priority().await);
        compute.later.took(STARVED - Duration::from_millis(1));
        assert_eq!(priority().await, lowest);
        compute.later.took(STARVED);
        let low = priority().await;
        assert!(usual < low && low < lowest, "{usual} {low} {lowest}");
        *compute.later.relief.lock() = Some(Instant::now());
        assert_eq!(priority().await, lowest);
    }

    #[tokio::test]
    async fn a_short_batch_does_not_wait_for_the_end_of_a_long_one() {
        let compute = Arc::new(Compute::new(1, 9, 1).unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let (all, count, (begun, mut begins)) = (compute.clone(), done.clone(), tokio::sync::mpsc::unbounded_channel());
        let long = tokio::spawn(async move {
            let slow = move |number: usize, _: &Interrupt| {
                begun.send(number).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(2));
                count.fetch_add(1, Ordering::SeqCst)
            };
            all.later_batch(200, slow).await
        });
        assert!(begins.recv().await.is_some());
        let seen = compute.later_batch(1, move |_, _| done.load(Ordering::SeqCst)).await.unwrap();
        assert!(seen[0] < 20, "it waited for {} parts", seen[0]);
        assert_eq!(long.await.unwrap().unwrap().len(), 200);
    }

    #[tokio::test]
    async fn a_batch_ends_once_nobody_waits_for_it_and_too_many_are_refused() {
        let compute = Arc::new(Compute::new(1, 1, 1).unwrap());
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let all = compute.clone();
        let long = tokio::spawn(async move {
            let endless = move |number: usize, interrupt: &Interrupt| {
                begun.send(number).unwrap();
                (0..).take_while(|_| interrupt.check().is_ok()).count()
            };
            all.later_batch(2, endless).await
        });
        assert_eq!(begins.recv().await, Some(0));
        let refused = compute.later_batch(1, |_, _| 0).await.unwrap_err();
        assert!(refused.to_string().contains("limits.waiting_searches"), "{refused}");
        long.abort();
        assert!(long.await.unwrap_err().is_cancelled());
        assert_eq!(compute.later_batch(1, |_, _| 7).await.unwrap(), [7]);
        assert_eq!(begins.recv().await, None, "the second part never began");
    }
}
