//! The collection's side of its stream: folds commits into the newest snapshot, resolves writes against it, and
//! publishes copies of it for readers. One task owns it.
//! Invariant: readers see whole versions only, each of which was published.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;

use super::estimate;
use super::request::WriteOutcome;
#[cfg(test)]
use super::state::graphs::GraphPart;
use super::state::graphs::{self, Relinked};
use super::state::recent_deletions::RecentDeletions;
use super::state::snapshot::Snapshot;
use super::write::change::Change;
use super::write::resolve::resolve;
use crate::config::Limits;
use crate::format::head::GraphEntry;
use crate::format::inverted::Inverted;
use crate::format::{Commit, FormatError, Rows, StreamConfig, Successor};
use crate::memory::Account;
use crate::record::{Metric, Version};
use crate::stream::state::{Resolution, State, Weight};

/// A collection's state at its newest version, and the place where its snapshots are published.
#[derive(Debug)]
pub struct CollectionState {
    pub(super) current: Snapshot,
    deletions: RecentDeletions,
    limits: Limits,
    published: Arc<ArcSwap<Snapshot>>,
    account: Mutex<Account>,
}

impl CollectionState {
    /// The empty collection at version 0. Each [`State::publish`] replaces `published` and updates `account`.
    pub fn new(metric: Metric, limits: Limits, published: Arc<ArcSwap<Snapshot>>, account: Account) -> CollectionState {
        let (current, deletions) = (Snapshot::empty(metric), RecentDeletions::after(Version(0)));
        CollectionState { current, deletions, limits, published, account: Mutex::new(account) }
    }

    /// Frees the records, and publishes a snapshot without them. The state is of no further use. Its tail took
    /// `tail_bytes`.
    pub fn free_records(&mut self, tail_bytes: u64) {
        self.current = self.current.hollow(tail_bytes);
        self.deletions = RecentDeletions::after(self.current.version);
        self.published.store(Arc::new(self.current.clone()));
        self.account.lock().set(0, 0);
    }

    /// The state as a snapshot that may not be published yet.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// Adds a graph that was prepared on an earlier snapshot. The time grows with the changes since.
    pub fn relink(&mut self, relinked: &Relinked) {
        relinked.finish(&mut self.current);
    }

    /// Notes that a graph was put into the bucket under this key.
    pub fn note_stored(&mut self, name: &str, key: &str) {
        self.current.note_stored(name, key);
    }

    /// Removes graphs: their records are scanned from then on.
    #[cfg(test)]
    pub fn detach_graphs(&mut self, keys: &[String]) {
        graphs::relink(&mut self.current, keys, None);
    }

    /// Adds a graph, and removes the graphs of `replaces` ([`Snapshot::attach_graph`]). Readers see it after
    /// [`State::publish`].
    #[cfg(test)]
    pub fn attach_graph(&mut self, part: GraphPart, replaces: &[String]) -> Result<(), FormatError> {
        self.current.attach_graph(part, replaces)
    }
}

impl State for CollectionState {
    type Request = Change;
    type Answer = WriteOutcome;

    fn weight(request: &Change) -> Weight {
        request.weight()
    }

    fn resolve(&self, requests: &[&Change]) -> Resolution<WriteOutcome> {
        resolve(&self.current, &self.deletions, &self.limits, requests)
    }

    fn configure(&mut self, config: &StreamConfig) -> Result<(), FormatError> {
        self.current.configure(config)
    }

    fn load(&mut self, groups: Vec<Rows>, version: Version, inverted: Vec<Inverted>) -> Result<(), FormatError> {
        self.current.load(groups, version, inverted)?;
        self.deletions = RecentDeletions::after(version);
        Ok(())
    }

    fn load_graph(&mut self, entry: &GraphEntry, bytes: Bytes) -> Result<(), FormatError> {
        self.current.attach_graph(graphs::decode(entry, bytes)?, &[])
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), FormatError> {
        self.current.apply(commit)?;
        self.deletions.note(commit.header.version, &commit.rows);
        Ok(())
    }

    fn publish(&self) {
        let held = self.current.footprint().sum() + self.deletions.size_bytes();
        self.account.lock().set(held + estimate::STANDING_BYTES, self.current.owed_bytes());
        self.published.store(Arc::new(self.current.clone()));
    }

    fn version(&self) -> Version {
        self.current.version
    }

    fn dropped(&self) -> bool {
        self.current.dropped
    }

    fn successor(&self) -> Option<Successor> {
        self.current.successor
    }
}
