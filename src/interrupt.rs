//! Whether work is still wanted: long computations check at short intervals, and stop once nobody waits for the
//! answer or their time is over. Plain values, so that CPU work needs no async runtime. Invariant: an interrupt that
//! has once said "give up" says so from then on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Error, Result};

/// Checked by long work at short intervals, which should be some milliseconds at most.
#[derive(Default)]
pub struct Interrupt {
    ended: Arc<AtomicBool>,
    deadline: Option<Instant>,
    pause: Option<Box<dyn Fn() + Send>>,
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.ended.load(Ordering::Relaxed);
        f.debug_struct("Interrupt").field("ended", &ended).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Interrupt {
    /// For work that is always wanted.
    pub fn never() -> Interrupt {
        Interrupt::default()
    }

    /// For work that is no longer wanted once `ended` is true. Each check calls `pause`, which may wait to let others
    /// come first.
    pub fn new(ended: Arc<AtomicBool>, pause: impl Fn() + Send + 'static) -> Interrupt {
        Interrupt { ended, deadline: None, pause: Some(Box::new(pause)) }
    }

    /// For work that is wanted until the deadline.
    pub fn at(deadline: Instant) -> Interrupt {
        Interrupt { deadline: Some(deadline), ..Interrupt::default() }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// `Unavailable`: nobody waits for the answer any more, or the work took too long. Its partial results must be
    /// discarded.
    pub fn check(&self) -> Result<()> {
        if let Some(pause) = &self.pause {
            pause();
        }
        if self.ended.load(Ordering::Relaxed) {
            return Err(Error::unavailable("given up: nobody waits for the answer any more"));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::unavailable(
                "given up: finding the records took too long; nothing was changed. Select fewer by ids or metadata",
            ));
        }
        Ok(())
    }
}

/// Ends the work when it is dropped: the waiter for the answer holds it.
#[derive(Debug, Default)]
pub struct Asker(Arc<AtomicBool>);

impl Asker {
    /// Becomes true when the asker is gone.
    pub fn gone(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn work_is_wanted_until_its_asker_is_gone() {
        let asker = Asker::default();
        let interrupt = Interrupt::new(asker.gone(), || {});
        assert!(interrupt.check().is_ok());
        drop(asker);
        assert_eq!(interrupt.check().unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn work_is_wanted_until_its_deadline() {
        assert!(Interrupt::at(Instant::now() + std::time::Duration::from_secs(60)).check().is_ok());
        assert_eq!(Interrupt::at(Instant::now()).check().unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(Interrupt::never().check().is_ok());
    }
}
