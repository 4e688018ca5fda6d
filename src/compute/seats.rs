//! Seats: permits to compute a search. A long search passes its permit on every few milliseconds, and waits for the
//! next one in a separate queue. A short search thus waits for at most as many long ones as there are permits, never
//! for all.
//! Invariant: no more searches compute than there are permits.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{TURN, closed};
use crate::error::Result;

/// How many threads may wait for their next turn. Each is a blocking thread, of which the runtime has 512.
const STANDING: usize = 128;

/// The permits.
#[derive(Debug)]
pub struct Seats {
    searches: Arc<Semaphore>,
    /// Permits of the long searches that may ask for a seat.
    long: Arc<Semaphore>,
    standing: Semaphore,
    /// Searches that wait for a permit.
    waiting: AtomicUsize,
}

impl Seats {
    /// Seats with this many permits.
    pub fn new(permits: usize) -> Seats {
        Seats {
            searches: Arc::new(Semaphore::new(permits)),
            long: Arc::new(Semaphore::new(permits)),
            standing: Semaphore::new(STANDING),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many permits are free.
    pub fn free(&self) -> usize {
        self.searches.available_permits()
    }

    /// Takes a permit, once its turn has come.
    pub async fn take(self: &Arc<Self>) -> Result<Seat> {
        let permit = self.wait().await?;
        let runtime = Handle::current();
        Ok(Seat {
            seats: self.clone(),
            runtime,
            permit: RefCell::new(Some(permit)),
            long: RefCell::default(),
            since: Cell::new(Instant::now()),
        })
    }

    /// Takes `count` permits at once, for other work; `None` for a count of 0.
    pub async fn take_some(&self, count: usize) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) else { return Ok(None) };
        let _waiting = Waiting::begin(&self.waiting);
        self.searches.clone().acquire_many_owned(count).await.map(Some).map_err(|_| closed())
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit> {
        let _waiting = Waiting::begin(&self.waiting);
        self.searches.clone().acquire_owned().await.map_err(|_| closed())
    }
}

/// Counts one waiting search.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn begin(count: &AtomicUsize) -> Waiting<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A permit, held by the thread that computes.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    runtime: Handle,
    permit: RefCell<Option<OwnedSemaphorePermit>>,
    long: RefCell<Option<OwnedSemaphorePermit>>,
    since: Cell<Instant>,
}

impl Seat {
    /// Lets other searches run first, if this one has had its turn. Then waits for the next turn.
    pub fn share(&self) {
        if self.since.get().elapsed() < TURN {
            return;
        }
        let seats = &self.seats;
        if seats.waiting.load(Ordering::Relaxed) > 0
            && let Ok(_standing) = seats.standing.try_acquire()
        {
            self.permit.take();
            self.long.take();
            self.runtime.block_on(async {
                let _waiting = Waiting::begin(&seats.waiting);
                // The semaphores are never closed.
                self.long.replace(seats.long.clone().acquire_owned().await.ok());
                self.permit.replace(seats.searches.clone().acquire_owned().await.ok());
            });
        }
        self.since.set(Instant::now());
    }
}
