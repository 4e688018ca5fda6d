//! The bridge between async tasks and the work that would hold them up. [`off_thread`] runs decoding, encoding, hashing
//! and files on blocking threads, as it comes. [`Compute`] decides how many reads and graph builds run at once.
//! Searches run on blocking threads, as many at once as there are permits; others wait in a bounded queue. A batch
//! takes all free permits, and gives them back every few milliseconds. So does a long search. A short search of a thread
//! that waits for it ([`while_waiting`]), or of a server's own ([`prepare_server_thread`]), is computed there, with a
//! permit as well.
//! Graph builds run on rayon pools of their own, one at a time. Normally a build has a low priority, so that it never
//! takes all cores of the searches at once. If searches spend their time on scans that a graph would save, the build
//! has the searches' priority and some of their permits. Texts are embedded at the lowest (`later`).
//! Invariants: a permit is held as long as its thread computes, even if no caller waits for the answer any more. A
//! caller that stops waiting interrupts the work.

mod computing_thread;
#[cfg(any(feature = "embedding", feature = "server"))]
mod later;
mod off_thread;
mod priority;
mod seats;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::interrupt::{Asker, Interrupt};
pub use computing_thread::while_waiting;
pub use off_thread::{CutShort, off_thread};
use priority::Priority;
use seats::Seats;

/// After this time, a part of a batch or a long search gives its permit back and goes to the end of the queue. The
/// time is long compared with passing work to a thread (some 10 µs), and short compared with how long a single search
/// may wait.
const TURN: Duration = Duration::from_millis(2);

/// The CPU work of one store.
#[derive(Debug)]
pub struct Compute {
    seats: Arc<Seats>,
    search_threads: usize,
    waiting: AtomicUsize,
    waiting_limit: usize,
    builds: Semaphore,
    building: AtomicUsize,
    built_us: AtomicU64,
    pool: Arc<rayon::ThreadPool>,
    urgent: Arc<rayon::ThreadPool>,
    #[cfg(any(feature = "embedding", feature = "server"))]
    later: later::LaterThreads,
}

/// How much searches would gain by a graph: the share of their time that a graph would save, from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Urgency(f64);

/// A build is urgent from this share on.
const URGENT: f64 = 0.1;

impl Urgency {
    /// No search waits for the graph.
    pub const NONE: Urgency = Urgency(0.0);
    /// There is nothing else to do.
    pub const FULL: Urgency = Urgency(1.0);

    /// The urgency when `threads` threads have spent `spent` on scans that a graph would save, in the last `elapsed`.
    pub fn of(spent: Duration, elapsed: Duration, threads: usize) -> Urgency {
        let whole = elapsed.as_secs_f64() * threads.max(1) as f64;
        Urgency(if whole > 0.0 { (spent.as_secs_f64() / whole).min(1.0) } else { 0.0 })
    }

    fn is_urgent(self) -> bool {
        self.0 >= URGENT
    }

    /// How many permits of searches a build takes: half of those that the graph would save, and never all.
    fn permits(self, threads: usize) -> usize {
        let wanted = (self.0 * threads as f64 / 2.0).round() as usize;
        if self.is_urgent() { wanted.min(threads.saturating_sub(1)) } else { 0 }
    }
}

/// How busy the pools are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Searches, and batches of them, that run or wait for their turn.
    pub searches: usize,
    /// Threads that compute searches now.
    pub search_threads_busy: usize,
    /// Graph builds that run or wait.
    pub builds: usize,
    /// Seconds spent on graph builds so far.
    pub build_seconds: f64,
}

impl Compute {
    /// Allows `search_threads` searches at once and `waiting_limit` in the queue. `index_threads` threads build
    /// graphs.
    pub fn new(search_threads: usize, waiting_limit: usize, index_threads: usize) -> Result<Compute> {
        let threads = |count: usize| rayon::ThreadPoolBuilder::new().num_threads(count.max(1));
        let failed = |e| Error::internal(format!("the index threads cannot be started: {e}"));
        let later =
            threads(index_threads).thread_name(|i| format!("index-{i}")).start_handler(|_| Priority::Low.take());
        let pool = later.build().map_err(failed)?;
        let urgent = threads(search_threads.max(index_threads)).thread_name(|i| format!("index-now-{i}"));
        let urgent = urgent.build().map_err(failed)?;
        Ok(Compute {
            seats: Arc::new(Seats::new(search_threads.max(1))),
            search_threads: search_threads.max(1),
            waiting: AtomicUsize::new(0),
            waiting_limit: waiting_limit.max(1),
            builds: Semaphore::new(1),
            building: AtomicUsize::new(0),
            built_us: AtomicU64::new(0),
            pool: Arc::new(pool),
            urgent: Arc::new(urgent),
            #[cfg(any(feature = "embedding", feature = "server"))]
            later: later::LaterThreads::new(index_threads),
        })
    }

    /// Runs a read; refuses it if too many wait already. The read is interrupted if its caller stops waiting.
    pub async fn search<T: Send + 'static>(&self, work: impl FnOnce(&Interrupt) -> T + Send + 'static) -> Result<T> {
        let _place = self.queue()?;
        self.seated(work, &Asker::default()).await
    }

    /// Runs a read that takes less than a turn. A thread that waits for this call alone computes it itself, and so does
    /// one of a server.
    pub async fn short_search<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Interrupt) -> T + Send + 'static,
    ) -> Result<T> {
        if !computing_thread::computes() {
            return self.search(work).await;
        }
        let _place = self.queue()?;
        let _seat = self.seats.take().await?;
        computing_thread::here(|| work(&Interrupt::never()))
    }

    /// Runs the reads `0..count` of one batch, spread over the search threads, and returns the results in their
    /// order. Searches that arrive meanwhile take turns with the batch. The batch is refused if too many wait
    /// already.
    pub async fn search_batch<T: Send + 'static>(
        &self,
        count: usize,
        read: impl Fn(usize, &Interrupt) -> T + Send + Sync + 'static,
    ) -> Result<Vec<T>> {
        let _place = self.queue()?;
        let (batch, asker) = (Arc::new(Batch { next: AtomicUsize::new(0), count, read }), Asker::default());
        let lanes = (0..self.search_threads.min(count)).map(|_| self.lane(batch.clone(), &asker));
        let mut done: Vec<(usize, T)> = try_join_all(lanes).await?.into_iter().flatten().collect();
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Runs reads of the batch, one after the other, until none is left.
    async fn lane<T: Send + 'static, F: Fn(usize, &Interrupt) -> T + Send + Sync + 'static>(
        &self,
        batch: Arc<Batch<F>>,
        asker: &Asker,
    ) -> Result<Vec<(usize, T)>> {
        let mut done = Vec::new();
        while batch.next.load(Ordering::Relaxed) < batch.count {
            let batch = batch.clone();
            done.extend(self.seated(move |interrupt| batch.turn(interrupt), asker).await?);
        }
        Ok(done)
    }

    /// Runs work on a thread once a permit for it is free.
    async fn seated<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Interrupt) -> T + Send + 'static,
        asker: &Asker,
    ) -> Result<T> {
        let seat = self.seats.take().await?;
        let gone = asker.gone();
        let seated = off_thread(move || {
            let interrupt = Interrupt::new(gone, move || seat.share());
            work(&interrupt)
        });
        Ok(seated.await?)
    }

    /// Threads that compute searches.
    pub fn search_threads(&self) -> usize {
        self.search_threads
    }

    /// Runs a graph build on index threads, and passes it their number.
    pub async fn build<T: Send + 'static>(
        &self,
        urgency: Urgency,
        work: impl FnOnce(usize) -> T + Send + 'static,
    ) -> Result<T> {
        self.building.fetch_add(1, Ordering::SeqCst);
        let _place = QueuePlace(&self.building);
        let _permit = self.builds.acquire().await.map_err(|_| closed())?;
        let pool = if urgency.is_urgent() { self.urgent.clone() } else { self.pool.clone() };
        let (begun, share) = (Instant::now(), self.seats.take_some(urgency.permits(self.search_threads)).await?);
        let threads = pool.current_num_threads();
        let built = off_thread(move || {
            let built = pool.install(|| work(threads));
            drop(share);
            built
        })
        .await;
        self.built_us.fetch_add(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(built?)
    }

    /// How busy the pools are now.
    pub fn load(&self) -> Load {
        Load {
            searches: self.waiting.load(Ordering::Relaxed),
            search_threads_busy: self.search_threads.saturating_sub(self.seats.free()),
            builds: self.building.load(Ordering::Relaxed),
            build_seconds: self.built_us.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }

    fn queue(&self) -> Result<QueuePlace<'_>> {
        let place = QueuePlace(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= self.waiting_limit {
            return Err(Error::unavailable(format!(
                "{} searches wait already (limits.waiting_searches); try again later",
                self.waiting_limit
            ))
            .of_setting("limits.waiting_searches"));
        }
        Ok(place)
    }
}

/// The reads of one batch.
struct Batch<F> {
    /// The first read that no lane has taken.
    next: AtomicUsize,
    count: usize,
    read: F,
}

impl<F> Batch<F> {
    /// Runs reads until none is left or the turn is over.
    fn turn<T>(&self, interrupt: &Interrupt) -> Vec<(usize, T)>
    where
        F: Fn(usize, &Interrupt) -> T,
    {
        let begun = Instant::now();
        let mut done = Vec::new();
        while done.is_empty() || begun.elapsed() < TURN {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                break;
            }
            done.push((number, (self.read)(number, interrupt)));
        }
        done
    }
}

/// Prepares a thread of the runtime of a server, where it starts: it computes the short searches of its tasks itself, and
/// has short time slices (on Linux 6.12 and later), so that it gets a core soon after it wakes, and gives it up as soon.
/// The background threads of a store have such slices without being asked.
///
/// ```
/// use drumlin::http::prepare_server_thread;
///
/// # fn main() -> std::io::Result<()> {
/// let runtime =
///     tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_start(prepare_server_thread).build()?;
/// # runtime.block_on(async {});
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "server")]
pub fn prepare_server_thread() {
    priority::take_short_slices();
    computing_thread::enlist();
}

/// A place in a queue, given back when it is dropped.
struct QueuePlace<'a>(&'a AtomicUsize);

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn closed() -> Error {
    Error::unavailable("the store is closing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn a_search_beyond_the_waiting_limit_is_refused_and_the_place_is_given_back() {
        let compute = Arc::new(Compute::new(1, 2, 1).unwrap());
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let compute = compute.clone();
            async move { compute.search(move |_| wait.recv().is_ok()).await }
        });
        while compute.waiting.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let compute = compute.clone();
            async move { compute.search(|_| 2).await }
        });
        while compute.waiting.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        let refused = compute.search(|_| 3).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        let load = compute.load();
        assert_eq!((load.searches, load.search_threads_busy, load.builds), (2, 1, 0));
        go.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert_eq!(second.await.unwrap().unwrap(), 2);
        assert_eq!(compute.search(|_| 4).await.unwrap(), 4);
    }

    #[test]
    fn a_short_search_is_computed_on_the_thread_that_waits_for_it_and_on_no_other() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let compute = Arc::new(Compute::new(1, 9, 1).unwrap());
        let thread = |compute: &Arc<Compute>| {
            let compute = compute.clone();
            async move { compute.short_search(|_| std::thread::current().id()).await.unwrap() }
        };
        let this = std::thread::current().id();
        assert_eq!(while_waiting(|| runtime.block_on(thread(&compute))), this);
        assert_ne!(runtime.block_on(thread(&compute)), this, "it did not say that it waits");
        let spawned = while_waiting(|| runtime.block_on(runtime.spawn(thread(&compute)))).unwrap();
        assert_ne!(spawned, this);
        let long = compute.search(|_| std::thread::current().id());
        assert_ne!(while_waiting(|| runtime.block_on(long)).unwrap(), this);
    }

    #[test]
    fn a_search_on_the_computing_thread_waits_for_a_permit_and_gives_it_back_whatever_happens() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let compute = Arc::new(Compute::new(1, 9, 1).unwrap());
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let all = compute.clone();
        let first = runtime.spawn(async move { all.search(move |_| wait.recv().is_ok()).await });
        while compute.load().search_threads_busy < 1 {
            std::thread::yield_now();
        }
        let later = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            go.send(()).unwrap();
        });
        let begun = Instant::now();
        assert_eq!(while_waiting(|| runtime.block_on(compute.short_search(|_| 2))).unwrap(), 2);
        assert!(begun.elapsed() >= Duration::from_millis(40), "it did not wait for the first");
        assert!(runtime.block_on(first).unwrap().unwrap());
        later.join().unwrap();
        let broken = while_waiting(|| runtime.block_on(compute.short_search(|_| panic!("inner words"))));
        let error: Error = broken.map(|(): ()| ()).unwrap_err();
        assert!(error.kind() == ErrorKind::Internal && !error.message().contains("inner words"), "{error}");
        let load = compute.load();
        assert_eq!((load.searches, load.search_threads_busy), (0, 0));
        assert!(!computing_thread::computes());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn graphs_are_built_at_a_lower_priority_than_searches() {
        use rustix::process::getpriority_process;
        let compute = Compute::new(1, 1, 2).unwrap();
        let search = compute.search(|_| getpriority_process(None).unwrap()).await.unwrap();
        let priorities = |_: usize| rayon::join(|| getpriority_process(None), || getpriority_process(None));
        let (one, two) = compute.build(Urgency::NONE, priorities).await.unwrap();
        assert!(one.unwrap() > search && two.unwrap() > search);
        let (one, two) = compute.build(Urgency::FULL, priorities).await.unwrap();
        assert!(one.unwrap() == search && two.unwrap() == search, "where searches wait for it it comes first");
        let load = compute.load();
        assert!(load.builds == 0 && load.build_seconds > 0.0, "{load:?}");
    }

    #[tokio::test]
    async fn a_build_takes_as_many_permits_of_searches_as_they_spend_time_on_what_it_spares_them() {
        let second = Duration::from_secs(1);
        for (threads, spent, permits) in [(1, 1, 0), (2, 2, 1), (4, 4, 2), (8, 4, 2), (8, 1, 1), (16, 1, 0)] {
            assert_eq!(Urgency::of(second * spent, second, threads).permits(threads), permits, "{spent} of {threads}");
        }
        let compute = Arc::new(Compute::new(4, 10, 1).unwrap());
        let all = compute.clone();
        let busy = compute.build(Urgency::FULL, move |_| all.load().search_threads_busy).await.unwrap();
        assert_eq!((busy, compute.load().search_threads_busy), (2, 0));
        assert_eq!(Urgency::of(second, Duration::ZERO, 2), Urgency::NONE);
    }

    #[tokio::test]
    async fn reads_of_a_batch_run_at_the_same_time_and_are_answered_in_order() {
        let compute = Compute::new(2, 1, 1).unwrap();
        // Neither of the first two reads ends before both have begun.
        let met = std::sync::Barrier::new(2);
        let answers = compute.search_batch(100, move |number, _| {
            if number < 2 {
                met.wait();
            }
            number * 3
        });
        assert_eq!(answers.await.unwrap(), (0..100).map(|number| number * 3).collect::<Vec<_>>());
        assert_eq!(compute.search_batch(0, |number, _| number).await.unwrap(), Vec::<usize>::new());
        assert_eq!(compute.search(|_| 4).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_search_that_comes_during_a_long_batch_is_answered_before_its_end() {
        let compute = Arc::new(Compute::new(1, 2, 1).unwrap());
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let reads = Arc::new(AtomicUsize::new(0));
        let (counter, all) = (reads.clone(), compute.clone());
        let batch = tokio::spawn(async move {
            let slow = move |number, _: &Interrupt| {
                begun.send(number).unwrap();
                std::thread::sleep(TURN);
                counter.fetch_add(1, Ordering::SeqCst)
            };
            all.search_batch(50, slow).await
        });
        assert!(begins.recv().await.is_some());
        let before = compute.search(move |_| reads.load(Ordering::SeqCst)).await.unwrap();
        assert!(before < 10, "the search waited for {before} reads of the batch");
        assert_eq!(batch.await.unwrap().unwrap().len(), 50);
    }

    /// Checks the interrupt again and again, until it asks to stop.
    fn endless(begun: std::sync::mpsc::Sender<()>) -> impl FnOnce(&Interrupt) -> usize {
        move |interrupt| {
            begun.send(()).unwrap();
            (0..).take_while(|_| interrupt.check().is_ok()).count()
        }
    }

    #[tokio::test]
    async fn a_search_ends_once_nobody_waits_for_it_and_holds_its_thread_until_then() {
        let compute = Arc::new(Compute::new(1, 4, 1).unwrap());
        let (begun, begins) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let all = compute.clone();
        let long = tokio::spawn(async move {
            let work = move |interrupt: &Interrupt| {
                let asked = endless(begun)(interrupt);
                wait.recv().map(|()| asked)
            };
            all.search(work).await
        });
        tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        long.abort();
        assert!(long.await.unwrap_err().is_cancelled());
        assert_eq!(compute.load().search_threads_busy, 1, "its thread still computes");
        go.send(()).unwrap();
        assert_eq!(compute.search(|_| 5).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn long_searches_take_turns_with_short_ones_and_with_each_other() {
        let compute = Arc::new(Compute::new(1, 100, 1).unwrap());
        let (begun, begins) = std::sync::mpsc::channel();
        let long: Vec<_> = (0..5)
            .map(|_| {
                let (all, begun) = (compute.clone(), begun.clone());
                tokio::spawn(async move { all.search(endless(begun)).await })
            })
            .collect();
        // All have begun, though none gives the only thread up for good.
        tokio::task::spawn_blocking(move || (0..5).for_each(|_| begins.recv().unwrap())).await.unwrap();
        for short in 0..20 {
            assert_eq!(compute.search(move |_| short).await.unwrap(), short);
        }
        long.iter().for_each(|long| long.abort());
        for long in long {
            assert!(long.await.unwrap_err().is_cancelled());
        }
        assert_eq!(compute.search(|_| 6).await.unwrap(), 6);
    }
}
