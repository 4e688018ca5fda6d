//! All records of one version, page by page in insertion order: for copying a collection while others write to it.
//! Invariant: all pages are of one version, and a record is in exactly one.

use std::sync::Arc;

use super::answers::Reading;
use super::handle::Collection;
use super::request::{Consistency, Found, Get, Include};
use crate::compute::Compute;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::record::{Record, Version};

/// A reading of a whole collection. It keeps its version of the collection in memory as long as it lives.
#[derive(Debug)]
pub struct Scan {
    reading: Arc<Reading>,
    compute: Arc<Compute>,
    at: usize,
}

impl Collection {
    /// Begins to read all records.
    ///
    /// # Errors
    /// As a [`get`](Collection::get).
    pub async fn scan(&self, consistency: Consistency) -> Result<Scan> {
        let reading = self.read(Get { include: Include::ALL, consistency, ..Get::default() }).await?;
        Ok(Scan::over(reading, self.compute().clone()))
    }
}

impl Scan {
    pub(super) fn over(reading: Reading, compute: Arc<Compute>) -> Scan {
        Scan { reading: Arc::new(reading), compute, at: 0 }
    }

    /// The version that is read.
    pub fn version(&self) -> Version {
        self.reading.version()
    }

    /// How many records there are in all.
    pub fn count(&self) -> usize {
        self.reading.len()
    }

    /// The next `limit` records; empty at the end.
    ///
    /// # Errors
    /// `Corrupted` if a record's metadata cannot be read.
    pub async fn next_page(&mut self, limit: usize) -> Result<Vec<Record>> {
        let (start, end) = (self.at, self.at.saturating_add(limit).min(self.count()));
        let reading = self.reading.clone();
        let read = move |interrupt: &Interrupt| {
            let record = |place| {
                interrupt.check()?;
                reading.record(place)
            };
            (start..end).filter_map(|place| record(place).transpose()).collect::<Result<Vec<_>>>()
        };
        let page = self.compute.search(read).await??;
        self.at = end;
        Ok(page.into_iter().map(record).collect())
    }
}

fn record(found: Found) -> Record {
    let Found { id, embedding, document, uri, metadata } = found;
    Record { id, embedding: embedding.unwrap_or_default(), document, uri, metadata }
}
