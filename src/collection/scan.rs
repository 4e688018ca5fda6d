//! All records of one version, page by page in insertion order, for whoever copies a collection out while
//! others write to it. Invariant: every page is of the same version, and a record is in exactly one.

use std::sync::Arc;

use super::handle::Collection;
use super::order::in_order;
use super::request::{Consistency, Include};
use super::snapshot::{RowRef, Snapshot};
use crate::compute::Compute;
use crate::error::Result;
use crate::record::{Record, Version};

/// A reading of a whole collection. It keeps the version it reads in memory as long as it lives.
#[derive(Debug)]
pub struct Scan {
    snapshot: Arc<Snapshot>,
    rows: Arc<Vec<RowRef>>,
    compute: Arc<Compute>,
    at: usize,
}

impl Collection {
    /// Begins to read all records.
    ///
    /// # Errors
    /// As a [`get`](Collection::get).
    pub async fn scan(&self, consistency: Consistency) -> Result<Scan> {
        let (snapshot, compute) = (self.snapshot(consistency).await?, self.compute().clone());
        let source = snapshot.clone();
        let rows = compute.search(move || {
            let all = source.select(None, None);
            in_order(&source, &all).map(|(_, row)| row).collect()
        });
        Ok(Scan { rows: Arc::new(rows.await?), snapshot, compute, at: 0 })
    }
}

impl Scan {
    /// The version that is read.
    pub fn version(&self) -> Version {
        self.snapshot.version()
    }

    /// Records in all.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Leaves out the next `count` records.
    pub fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.rows.len());
    }

    /// The next `limit` records; none at the end.
    ///
    /// # Errors
    /// `Corrupted` if a record's metadata cannot be read.
    pub async fn next_page(&mut self, limit: usize) -> Result<Vec<Record>> {
        let (start, end) = (self.at, self.at.saturating_add(limit).min(self.rows.len()));
        let (snapshot, rows) = (self.snapshot.clone(), self.rows.clone());
        let read = move || {
            let rows = rows.get(start..end).unwrap_or_default();
            rows.iter().map(|row| record(&snapshot, *row)).collect::<Result<Vec<Record>>>()
        };
        let records = self.compute.search(read).await??;
        self.at = end;
        Ok(records)
    }
}

fn record(snapshot: &Snapshot, row: RowRef) -> Result<Record> {
    let found = snapshot.found(row, Include::ALL)?;
    Ok(Record {
        id: found.id,
        embedding: found.embedding.unwrap_or_default(),
        document: found.document,
        uri: found.uri,
        metadata: found.metadata,
    })
}
