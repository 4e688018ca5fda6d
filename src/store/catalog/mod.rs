//! The catalog: a stream whose records are the tenants, databases and collections (docs/protocol.md#catalog).
//! Invariant: the state is a fold of commits in order; records of a kind that this version does not know stay as they
//! are.

mod records;
mod resolve;
mod view;

#[cfg(test)]
mod catalog_tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::Array;
use bytes::Bytes;

pub use self::records::{CollectionRecord, Configuration, RecordState};
pub use self::resolve::{CatalogWrite, already_exists, no_collection, no_database, no_tenant};
pub use self::view::CatalogView;

use self::records::CatalogRecord;
use self::resolve::CatalogOverlay;
use crate::error::Result;
use crate::format::head::GraphEntry;
use crate::format::inverted::Inverted;
use crate::format::{Commit, CommitKind, FormatError, RowOp, Rows, StreamConfig};
use crate::record::{Address, Version};
use crate::stream::state::{Resolution, State, Weight};

/// One row of the catalog as stored. Rows of an unknown kind are kept too.
#[derive(Debug, Clone)]
struct StoredRow {
    position: Address,
    record: Option<CatalogRecord>,
}

/// The catalog's fold.
#[derive(Debug)]
pub struct CatalogState {
    version: Version,
    records: BTreeMap<String, StoredRow>,
    view: CatalogView,
    published: Arc<ArcSwap<CatalogView>>,
}

impl CatalogState {
    /// An empty catalog that publishes to `published`.
    pub fn new(published: Arc<ArcSwap<CatalogView>>) -> CatalogState {
        CatalogState { version: Version(0), records: BTreeMap::new(), view: CatalogView::default(), published }
    }

    /// The place of the record `id` in the order of records, if it exists.
    fn position(&self, id: &str) -> Option<Address> {
        self.records.get(id).map(|stored| stored.position)
    }

    /// Sets or removes the record `id`.
    fn set(&mut self, id: &str, stored: Option<StoredRow>) {
        if let Some(old) = self.records.remove(id).and_then(|old| old.record) {
            self.view.remove(&old);
        }
        let Some(stored) = stored else { return };
        if let Some(record) = &stored.record {
            self.view.insert(record);
        }
        self.records.insert(id.to_owned(), stored);
    }

    /// Takes in rows; `addresses` gives each row's own address.
    fn take_in(&mut self, rows: &Rows, address: impl Fn(usize) -> Option<Address>) -> Result<(), FormatError> {
        let mut changes = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let id = rows.id(row);
            let own = address(row).ok_or_else(|| FormatError::Damaged(format!("row {row} has no address")))?;
            let stored = match rows.ops.get(row) {
                Some(RowOp::Put) => {
                    let position = match rows.positions.is_null(row) {
                        true => own,
                        false => Address(rows.positions.value(row)),
                    };
                    Some(StoredRow { position, record: CatalogRecord::parse(id, Rows::text(&rows.metadatas, row))? })
                }
                _ => None,
            };
            changes.push((id, stored));
        }
        changes.into_iter().for_each(|(id, stored)| self.set(id, stored));
        Ok(())
    }
}

impl State for CatalogState {
    type Request = CatalogWrite;
    type Answer = ();

    fn weight(_: &CatalogWrite) -> Weight {
        Weight { rows: 1, bytes: 1024 }
    }

    fn resolve(&self, requests: &[&CatalogWrite]) -> Resolution<()> {
        let mut overlay = CatalogOverlay::new(self);
        let answers = requests.iter().map(|request| overlay.resolve(request)).collect();
        let rows = overlay.into_rows();
        Resolution { rows, answers, ..Resolution::default() }
    }

    fn load(&mut self, groups: Vec<Rows>, version: Version, _: Vec<Inverted>) -> Result<(), FormatError> {
        for rows in &groups {
            let addresses = rows.addresses.as_ref();
            self.take_in(rows, |row| addresses.map(|a| Address(a.value(row))))?;
        }
        self.version = version;
        Ok(())
    }

    fn configure(&mut self, _: &StreamConfig) -> Result<(), FormatError> {
        Ok(())
    }

    fn load_graph(&mut self, entry: &GraphEntry, _: Bytes) -> Result<(), FormatError> {
        Err(FormatError::Damaged(format!("{}: the catalog has no graphs", entry.key)))
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), FormatError> {
        if commit.header.kind == CommitKind::Drop {
            return Err(FormatError::Damaged("the catalog cannot be dropped".to_owned()));
        }
        let version = commit.header.version;
        self.take_in(&commit.rows, |row| Address::new(version, row))?;
        self.version = version;
        Ok(())
    }

    fn publish(&self) {
        let mut view = self.view.clone();
        view.version = self.version;
        self.published.store(Arc::new(view));
    }

    fn version(&self) -> Version {
        self.version
    }

    fn dropped(&self) -> bool {
        false
    }
}
