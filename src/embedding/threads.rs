//! The threads that compute. The runtime computes in a pool of threads and never on the one that calls it; pools of one
//! thread are kept for the next calls, so that a short text does not pay for the start of a thread.
//! Invariants: a kept thread computes for one call at a time, so that calls run side by side; and it has the priority
//! of the thread it computes for, which it got when it was started from one of the same priority.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use rten::ThreadPool;

/// Threads that are kept while nobody computes. More calls at once than this start threads of their own.
const MAX_IDLE: usize = 16;

/// The threads of one model.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    priority: i32,
    pool: Arc<ThreadPool>,
}

/// A pool of one thread, which goes back when this is dropped.
pub(crate) struct LentThread<'a> {
    threads: &'a Threads,
    priority: i32,
    pool: Arc<ThreadPool>,
}

impl Threads {
    /// A thread of the caller's priority, for one call.
    pub(crate) fn lend(&self) -> LentThread<'_> {
        let priority = priority();
        let mut idle = self.idle.lock();
        // The last one given back: what it worked on may still be in its core's cache.
        let kept = idle.iter().rposition(|idle| idle.priority == priority).map(|at| idle.remove(at).pool);
        drop(idle);
        let pool = kept.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(1)));
        LentThread { threads: self, priority, pool }
    }
}

impl Deref for LentThread<'_> {
    type Target = Arc<ThreadPool>;

    fn deref(&self) -> &Arc<ThreadPool> {
        &self.pool
    }
}

impl Drop for LentThread<'_> {
    fn drop(&mut self) {
        let mut idle = self.threads.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { priority: self.priority, pool: self.pool.clone() });
        }
    }
}

/// The priority of the calling thread. Only Linux has one for each thread.
fn priority() -> i32 {
    #[cfg(target_os = "linux")]
    let priority = rustix::process::getpriority_process(None).unwrap_or_default();
    #[cfg(not(target_os = "linux"))]
    let priority = 0;
    priority
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn computing_thread(lent: &LentThread<'_>) -> thread::ThreadId {
        lent.run(|| thread::current().id())
    }

    #[test]
    fn calls_at_once_have_a_thread_each_and_calls_one_after_the_other_the_same() {
        let threads = Threads::default();
        let (first, second) = (threads.lend(), threads.lend());
        let ids = [computing_thread(&first), computing_thread(&second)];
        assert_ne!(ids[0], ids[1]);
        drop(first);
        assert_eq!(computing_thread(&threads.lend()), ids[0]);
        assert_eq!(computing_thread(&threads.lend()), ids[0]);
        drop(second);
        assert_eq!(computing_thread(&threads.lend()), ids[1]);
    }

    #[test]
    fn no_more_threads_are_kept_than_the_limit() {
        let threads = Threads::default();
        drop((0..MAX_IDLE + 3).map(|_| threads.lend()).collect::<Vec<_>>());
        assert_eq!(threads.idle.lock().len(), MAX_IDLE);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_computes_at_the_priority_of_its_caller() {
        let threads = Threads::default();
        let computing_priority = || threads.lend().run(priority);
        let usual = priority();
        assert_eq!(computing_priority(), usual);
        thread::scope(|scope| {
            let later = scope.spawn(|| {
                rustix::process::setpriority_process(None, usual + 3).unwrap();
                [computing_priority(), computing_priority()]
            });
            assert_eq!(later.join().unwrap(), [usual + 3; 2]);
        });
        assert_eq!([computing_priority(), computing_priority()], [usual; 2]);
        assert_eq!(threads.idle.lock().len(), 2);
    }
}
