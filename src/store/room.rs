//! Memory of a request in progress. It grows as bytes come in and as they are decoded, and is given back when the
//! request is dropped.
//! Invariant: nothing is reserved for bytes that a client only announces.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Store;
use super::eviction::WAIT_INTERVAL;
use crate::compute::off_thread;
use crate::error::Result;
use crate::memory::{Budget, Purpose, Reservation};

/// The memory that one request has reserved.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<Budget>,
    purpose: Purpose,
    patience: Duration,
    taken: Option<Reservation>,
}

impl Room {
    /// Bytes reserved so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.taken.as_ref().map_or(0, Reservation::bytes)
    }

    /// Another room of this purpose, of no bytes yet.
    pub(crate) fn another(&self) -> Room {
        Room { budget: self.budget.clone(), purpose: self.purpose, patience: self.patience, taken: None }
    }

    /// The bytes that all rooms of this purpose may reserve together.
    pub(crate) fn share(&self) -> u64 {
        self.budget.share(self.purpose).unwrap_or(u64::MAX)
    }

    /// Reserves `bytes` more. Waits a little if work in progress holds the memory.
    ///
    /// # Errors
    /// `NoRoom` if there is none.
    pub(crate) async fn grow(&mut self, bytes: u64) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        while !self.took(bytes) {
            let budget = self.budget.clone();
            // A failure here only means that freed memory is noticed later.
            let _ = off_thread(move || budget.give_back()).await;
            if self.took(bytes) {
                return Ok(());
            }
            if Instant::now() >= deadline || !self.budget.would_hold_soon(bytes, self.purpose) {
                return Err(self.budget.refusal("this request", bytes, self.purpose));
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
        Ok(())
    }

    /// Reserves `bytes` more, on a thread that may block.
    ///
    /// # Errors
    /// `NoRoom` if there is none.
    pub(crate) fn grow_blocking(&mut self, bytes: u64) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        while !self.took(bytes) {
            self.budget.give_back();
            if self.took(bytes) {
                return Ok(());
            }
            if Instant::now() >= deadline || !self.budget.would_hold_soon(bytes, self.purpose) {
                return Err(self.budget.refusal("this request", bytes, self.purpose));
            }
            std::thread::sleep(WAIT_INTERVAL);
        }
        Ok(())
    }

    /// Gives `bytes` back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        if let Some(taken) = &mut self.taken {
            taken.shrink(bytes);
        }
    }

    fn took(&mut self, bytes: u64) -> bool {
        let Some(more) = self.budget.reserve(bytes, self.purpose) else { return false };
        match &mut self.taken {
            Some(taken) => taken.absorb(more),
            None => self.taken = Some(more),
        }
        true
    }
}

impl Store {
    /// The memory budget of this store.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.inner.instance.budget
    }

    /// Room for a request, of no bytes yet.
    pub(crate) fn room(&self, purpose: Purpose) -> Room {
        let patience = self.inner.write_patience();
        Room { budget: self.inner.instance.budget.clone(), purpose, patience, taken: None }
    }
}
