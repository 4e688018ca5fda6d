//! Threads that wait for one call and would do nothing else. Short searches are computed on them: to pass one to a
//! blocking thread and back takes as long as many searches do, and nobody else needs the thread.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::off_thread::cut_short;
use crate::error::Result;

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `wait`, which blocks this thread until one call is done. What it polls may compute here.
pub fn while_waiting<T>(wait: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            WAITS.set(self.0);
        }
    }
    let _before = Before(WAITS.replace(true));
    wait()
}

/// Whether this thread waits for the call that asks.
pub(super) fn waits() -> bool {
    WAITS.get()
}

/// Runs work on this thread. A panic becomes an error, as that of work on another thread does.
pub(super) fn here<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| cut_short())
}
