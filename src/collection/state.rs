//! A collection's state as its stream drives it: it takes in segments and commits, publishes snapshots and resolves
//! writes. One task owns it; readers hold the published snapshots.
//! Invariant: the state is a fold of commits in order; an error changes nothing.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::apply;
use super::chunk::Chunk;
use super::chunk_merge;
use super::graphs::{self, GraphPart, Relinked};
use super::key_types::KeyTypes;
use super::request::{Guard, Write, WriteOutcome};
use super::resolve::resolve;
use super::select::Matched;
use super::snapshot::{ChunkView, RowRef, Snapshot};
use crate::config::Limits;
use crate::format::head::GraphEntry;
use crate::format::{Commit, CommitKind, FormatError, Rows};
use crate::memory::Account;
use crate::record::{MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
use crate::stream::state::{Resolution, State, Weight};

/// A change of a collection: a write, or its end.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Writes records.
    Write(Write),
    /// Writes records; those that match the filter were found before.
    Prepared(Matched, Write),
    /// Writes records, unless one of the guards does not hold: then the write is refused with `Conflict`.
    Guarded(Vec<Guard>, Write),
    /// Ends the collection.
    Drop,
}

/// Approximate bytes of an open collection without records: its tasks, queues and settings.
const STANDING_BYTES: u64 = 16 << 10;
/// Bytes of a record's row beside its texts and embedding: addresses, offsets, and its slot in the table of ids.
const ROW_BYTES: u64 = 128;
/// The least bytes of a commit, which is an object of its own until it is flushed.
const COMMIT_BYTES: u64 = 8 << 10;

impl Change {
    /// The write in this change, if there is one.
    pub fn into_write(self) -> Option<Write> {
        match self {
            Change::Write(write) | Change::Prepared(_, write) | Change::Guarded(_, write) => Some(write),
            Change::Drop => None,
        }
    }

    /// Bytes of memory that the change may take, including the room to resolve and encode it. `None` if it adds
    /// nothing.
    ///
    /// At most, its records exist three times at once: as they came, as rows, and in the commit's object, which stays
    /// until it is flushed. A graph takes a quarter of an embedding, and the neighbours.
    pub fn growth(&self, dimension: usize) -> Option<u64> {
        let Weight { rows, bytes } = CollectionState::weight(self);
        let (rows, mut bytes) = (rows as u64, bytes as u64);
        let (Change::Write(write) | Change::Prepared(_, write) | Change::Guarded(_, write)) = self else { return None };
        match write {
            Write::Delete(_) => return None,
            // An update writes the unchanged fields again, the embedding too.
            Write::Update(_) | Write::Merge(_) => bytes += rows * dimension as u64 * 4,
            Write::Add(_) | Write::Upsert(_) => {}
        }
        Some(bytes * 3 + bytes / 4 + rows * 2 * ROW_BYTES + COMMIT_BYTES)
    }
}

/// A collection's state at its newest version, and the place where its snapshots are published.
#[derive(Debug)]
pub struct CollectionState {
    pub(super) current: Snapshot,
    limits: Limits,
    published: Arc<ArcSwap<Snapshot>>,
    account: Mutex<Account>,
}

/// A configuration, and its parsed values.
struct Configured {
    config: Map<String, Value>,
    dimension: Option<usize>,
    key_types: KeyTypes,
}

impl CollectionState {
    /// The empty collection at version 0. Each [`State::publish`] replaces `published` and updates `account`.
    pub fn new(metric: Metric, limits: Limits, published: Arc<ArcSwap<Snapshot>>, account: Account) -> CollectionState {
        CollectionState { current: Snapshot::empty(metric), limits, published, account: Mutex::new(account) }
    }

    /// Frees the records, and publishes a snapshot without them. The state is of no further use. Its tail took
    /// `tail_bytes`.
    pub fn free_records(&mut self, tail_bytes: u64) {
        self.current = self.current.hollow(tail_bytes);
        self.published.store(Arc::new(self.current.clone()));
        self.account.lock().set(0, 0);
    }

    /// The state as a snapshot that may not be published yet.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// Adds a graph, and removes the graphs of `replaces`. Its nodes are judged by the records that live now, so it
    /// may have been built from an older snapshot. Linear in the number of records. Readers see it after
    /// [`State::publish`].
    pub fn attach_graph(&mut self, part: GraphPart, replaces: &[String]) -> Result<(), FormatError> {
        self.current.check_graph(&part)?;
        graphs::relink(&mut self.current, replaces, Some(part));
        Ok(())
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

    /// The configuration after a delta. A dimension, once fixed, stays.
    fn configured(&self, delta: &Map<String, Value>) -> Result<Configured, FormatError> {
        let mut config = self.current.config.as_ref().clone();
        config.extend(delta.iter().map(|(key, value)| (key.clone(), value.clone())));
        let dimension = match config.get("dimension") {
            None => None,
            Some(value) => Some(read_dimension(value)?),
        };
        match (self.current.dimension, dimension) {
            (Some(old), Some(new)) if old != new => {
                Err(FormatError::Damaged(format!("config: the dimension is {old} and cannot become {new}")))
            }
            _ => {
                let mut key_types = self.current.key_types.as_ref().clone();
                key_types.take_in(delta)?;
                Ok(Configured { config, dimension, key_types })
            }
        }
    }

    fn set_configuration(&mut self, Configured { config, dimension, key_types }: Configured) {
        let current = &mut self.current;
        (current.config, current.dimension, current.key_types) = (Arc::new(config), dimension, Arc::new(key_types));
    }

    /// Ends replaced rows and adds new chunks.
    fn take_in(&mut self, replaced: Vec<RowRef>, chunks: Vec<Chunk>, version: Version) {
        let current = &mut self.current;
        for RowRef { chunk, row } in &replaced {
            if let Some(link) = Arc::make_mut(&mut current.chunks[*chunk]).kill(*row) {
                graphs::end_node(&mut current.graphs, link);
            }
        }
        current.live -= replaced.len() as u64;
        if replaced.iter().any(|at| current.chunks[at.chunk].alive.is_empty()) {
            current.chunks.retain(|view| !view.alive.is_empty());
        }
        for chunk in chunks {
            current.live += chunk.len() as u64;
            // A row that carries its record's embedding on revives the node that just ended.
            let mut view = ChunkView::new(chunk);
            graphs::link_new(&mut current.graphs, &mut view);
            current.chunks.push(Arc::new(view));
        }
        current.version = version;
        chunk_merge::merge_tail(current);
        if !replaced.is_empty() {
            chunk_merge::rewrite_sparse(current);
        }
    }

    fn end(&mut self, version: Version) {
        let current = &mut self.current;
        (current.version, current.dropped, current.live) = (version, true, 0);
        current.chunks.clear();
        current.graphs.clear();
    }
}

impl State for CollectionState {
    type Request = Change;
    type Answer = WriteOutcome;

    fn weight(request: &Change) -> Weight {
        let (Change::Write(write) | Change::Prepared(_, write) | Change::Guarded(_, write)) = request else {
            return Weight::default();
        };
        match write {
            Write::Add(records) | Write::Upsert(records) => {
                Weight { rows: records.len(), bytes: records.iter().map(record_bytes).sum() }
            }
            Write::Update(updates) | Write::Merge(updates) => {
                Weight { rows: updates.len(), bytes: updates.iter().map(update_bytes).sum() }
            }
            Write::Delete(selection) => {
                let ids = selection.ids.as_deref().unwrap_or_default();
                Weight { rows: ids.len(), bytes: ids.iter().map(|id| id.len() + 16).sum() }
            }
        }
    }

    fn resolve(&self, requests: &[&Change]) -> Resolution<WriteOutcome> {
        resolve(&self.current, &self.limits, requests)
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), FormatError> {
        let configured = self.configured(config)?;
        self.set_configuration(configured);
        Ok(())
    }

    fn load(&mut self, groups: Vec<Rows>, version: Version) -> Result<(), FormatError> {
        let kind = self.current.chunk_kind();
        // A segment has one row per id, so it can only replace rows that were there before it.
        let before = self.current.chunks.len();
        let current = &self.current;
        let taken = groups.into_par_iter().map(|rows| {
            let _span = tracing::debug_span!(target: "drumlin::load", "chunks").entered();
            Ok((apply::replaced(current, &rows, before), apply::chunks(&rows, None, kind)?))
        });
        let taken = taken.collect::<Result<Vec<_>, FormatError>>()?;
        let (replaced, chunks): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let (replaced, chunks): (Vec<RowRef>, Vec<Chunk>) = (replaced.concat(), chunks.into_iter().flatten().collect());
        let newest = current.chunks.last().map(|view| view.chunk.last());
        let ends = chunks.iter().flat_map(|chunk| [chunk.first(), chunk.last()]);
        let ends: Vec<_> = newest.into_iter().chain(ends).collect();
        if !ends.windows(2).all(|pair| pair[0] <= pair[1]) {
            return Err(FormatError::Damaged("addresses of row groups do not ascend".into()));
        }
        self.take_in(replaced, chunks, version);
        Ok(())
    }

    fn load_graph(&mut self, entry: &GraphEntry, bytes: Bytes) -> Result<(), FormatError> {
        self.attach_graph(graphs::decode(entry, bytes)?, &[])
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), FormatError> {
        let (version, next) = (commit.header.version, self.current.version.next());
        if version != next || self.current.dropped {
            let ended = if self.current.dropped { ", and the stream has ended" } else { "" };
            return Err(FormatError::Damaged(format!("expected commit {next}, got {version}{ended}")));
        }
        if commit.header.kind == CommitKind::Drop {
            self.end(version);
            return Ok(());
        }
        let configured = commit.header.config.as_ref().map(|delta| self.configured(delta)).transpose()?;
        let mut kind = self.current.chunk_kind();
        if let Some(dim) = configured.as_ref().and_then(|configured| configured.dimension) {
            (kind.dim, kind.bare) = (dim, dim == 0);
        }
        apply::check_claims(&self.current, &commit.rows)?;
        let chunks = apply::chunks(&commit.rows, Some(version), kind)?;
        let replaced = apply::replaced(&self.current, &commit.rows, self.current.chunks.len());
        if let Some(configured) = configured {
            self.set_configuration(configured);
        }
        self.take_in(replaced, chunks, version);
        Ok(())
    }

    fn publish(&self) {
        let held = self.current.footprint().sum();
        self.account.lock().set(held + STANDING_BYTES, self.current.owed_bytes());
        self.published.store(Arc::new(self.current.clone()));
    }

    fn version(&self) -> Version {
        self.current.version
    }

    fn dropped(&self) -> bool {
        self.current.dropped
    }
}

fn read_dimension(value: &Value) -> Result<usize, FormatError> {
    let dimension = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (0..=1 << 20).contains(n));
    dimension.ok_or_else(|| FormatError::Damaged(format!("config.dimension: expected 0 to 1048576, got {value}")))
}

fn record_bytes(record: &Record) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let metadata = record.metadata.as_ref().map_or(0, |Metadata(map)| map.iter().map(entry_bytes).sum());
    record.embedding.len() * 4 + record.id.len() + text(&record.document) + text(&record.uri) + metadata + 16
}

fn update_bytes(update: &RecordUpdate) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let entries = |patch: &MetadataPatch| {
        patch.0.iter().map(|(key, value)| value.as_ref().map_or(key.len(), |value| entry_bytes((key, value)))).sum()
    };
    let metadata: usize = update.metadata.as_ref().map_or(0, entries);
    let embedding = update.embedding.as_ref().map_or(0, |e| e.len() * 4);
    embedding + update.id.len() + text(&update.document) + text(&update.uri) + metadata + 16
}

/// Approximate bytes of a metadata entry as JSON text.
fn entry_bytes((key, value): (&String, &MetaValue)) -> usize {
    let value = match value {
        MetaValue::Bool(_) => 5,
        MetaValue::Int(_) | MetaValue::Float(_) => 12,
        MetaValue::Str(text) => text.len() + 2,
        MetaValue::Bools(list) => list.len() * 6,
        MetaValue::Ints(list) => list.len() * 12,
        MetaValue::Floats(list) => list.len() * 12,
        MetaValue::Strs(list) => list.iter().map(|text| text.len() + 3).sum(),
    };
    key.len() + 4 + value
}
