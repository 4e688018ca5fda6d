//! The memory budget for bytes of files. Every part in memory, on its way in or out, holds a share of it; a request
//! that finds none left waits. The budget also counts what went through.
//! Invariant: a request that waits for a share holds none that only its own progress would free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::FileSettings;
use crate::error::{Error, Result};

/// Bytes per permit.
const UNIT_BYTES: usize = 1024;

/// Bytes of files taken in and handed out since the store opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Files put.
    pub puts: u64,
    /// Bytes taken in, including those of failed uploads.
    pub bytes_in: u64,
    /// Bytes handed out.
    pub bytes_out: u64,
    /// Uploads and downloads that waited for memory.
    pub waits: u64,
}

/// The budget of one store.
#[derive(Debug)]
pub struct FileBudget {
    permits: Arc<Semaphore>,
    units: usize,
    counts: [AtomicU64; 4],
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Counted {
    Puts,
    BytesIn,
    BytesOut,
    Waits,
}

/// The right to hold some bytes, until it is dropped.
pub type Share = OwnedSemaphorePermit;

impl FileBudget {
    pub fn new(settings: &FileSettings) -> FileBudget {
        let units = (settings.memory_bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        FileBudget { permits: Arc::new(Semaphore::new(units)), units, counts: Default::default() }
    }

    /// The permits for `bytes`. More than the whole budget becomes the whole budget.
    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES).clamp(1, self.units)).unwrap_or(u32::MAX)
    }

    /// Waits for a share of `bytes`.
    pub async fn take(&self, bytes: usize, settings: &FileSettings) -> Result<Share> {
        if let Some(share) = self.try_take(bytes) {
            return Ok(share);
        }
        self.count(Counted::Waits, 1);
        let waiting = self.permits.clone().acquire_many_owned(self.units(bytes));
        let limit = settings.idle_timeout;
        match tokio::time::timeout(limit, waiting).await {
            Ok(share) => share.map_err(|e| Error::internal("the budget for files is closed").with_source(e)),
            Err(_) => Err(Error::unavailable(format!(
                "other uploads and downloads held all {} bytes for files for {} s (files.memory_bytes); try again",
                settings.memory_bytes,
                limit.as_secs_f64()
            ))
            .of_setting("files.memory_bytes")),
        }
    }

    /// A share, if one is free right now.
    pub fn try_take(&self, bytes: usize) -> Option<Share> {
        self.permits.clone().try_acquire_many_owned(self.units(bytes)).ok()
    }

    pub fn count(&self, what: Counted, number: u64) {
        if let Some(counter) = self.counts.get(what as usize) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    pub fn counts(&self) -> FileCounts {
        let [puts, bytes_in, bytes_out, waits] = self.counts.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        FileCounts { puts, bytes_in, bytes_out, waits }
    }
}
