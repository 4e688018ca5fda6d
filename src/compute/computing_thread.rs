//! Threads that compute short searches themselves, since to pass one to a blocking thread and back takes as long as many
//! searches do: those that wait for one call and would do nothing else, and those of a server, whose other tasks can wait
//! for a search of well under a millisecond, or are taken by another of its threads.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::off_thread::cut_short;
use crate::error::Result;

thread_local! {
    static COMPUTES: Cell<bool> = const { Cell::new(false) };
}

/// Runs `wait`, which blocks this thread until one call is done. What it polls may compute here.
pub fn while_waiting<T>(wait: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            COMPUTES.set(self.0);
        }
    }
    let _before = Before(COMPUTES.replace(true));
    wait()
}

/// Has this thread, one of several of a server's runtime, compute the short searches of its tasks, as long as it lives.
#[cfg(feature = "server")]
pub(super) fn enlist() {
    COMPUTES.set(true);
}

/// Whether this thread computes a short search that it is asked for.
pub(super) fn computes() -> bool {
    COMPUTES.get()
}

/// Runs work on this thread. A panic becomes an error, as that of work on another thread does.
pub(super) fn here<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| cut_short())
}
