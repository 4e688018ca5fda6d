//! Resolution: the outcome of a batch of requests at one version. Each request is judged against the state plus the
//! requests before it, so a commit has the effect of its requests one after another.
//! Invariants: nothing is changed here; a refused request leaves no trace; rows are complete records.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::change::Change;
use super::overlay::{CurrentRecord, DeleteCandidate, Overlay};
use crate::collection::read::insertion_order::in_order;
use crate::collection::read::select::Matched;
use crate::collection::request::validate::{check_bytes, check_metadata_text, check_write};
use crate::collection::request::{Guard, Selection, Write, WriteOutcome};
use crate::collection::state::recent_deletions::RecentDeletions;
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::collection::state::{KeyType, KeyTypes};
use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Filter;
use crate::format::{Handover, Row, RowOp, StreamConfig};
use crate::interrupt::Interrupt;
use crate::record::{Address, MetaValue, Metadata, MetadataPatch, Record, RecordUpdate, Version};
use crate::stream::state::Resolution;

/// Resolves a batch against a snapshot. `deletions` are those that led to it.
pub fn resolve(
    base: &Snapshot,
    deletions: &RecentDeletions,
    limits: &Limits,
    changes: &[&Change],
) -> Resolution<WriteOutcome> {
    let mut resolver = Resolver::new(base, deletions, limits);
    let mut answers: Vec<Result<WriteOutcome>> = Vec::with_capacity(changes.len());
    for change in changes {
        answers.push(resolver.change(change));
        // Rows take their bytes in a commit. Those of all requests together could take any memory.
        if changes.len() > 1 && resolver.overlay.size_bytes() > limits.batch_bytes {
            return Resolution::too_large();
        }
    }
    let resolution = resolver.finish();
    let version = if resolution.is_empty() { base.version() } else { base.version().next() };
    answers.iter_mut().flatten().for_each(|outcome| outcome.version = version);
    Resolution { answers, ..resolution }
}

/// How long a delete may search for its records while all other writes of the collection wait. Most of them were
/// found before ([`Change::Prepared`]).
const SELECT_TIME: Duration = Duration::from_secs(5);

pub(super) struct Resolver<'a> {
    pub(super) base: &'a Snapshot,
    pub(super) deletions: &'a RecentDeletions,
    pub(super) limits: &'a Limits,
    /// The dimension that the snapshot or an earlier request fixed.
    pub(super) dimension: Option<usize>,
    /// Kinds of metadata values that the snapshot has not seen.
    pub(super) learnt: KeyTypes,
    pub(super) overlay: Overlay<'a>,
    /// Bytes of the rows before the present request.
    bytes_before: usize,
    dropping: bool,
    handover: Option<Handover>,
    /// Whether a commit is wanted even if nothing changes.
    fence: bool,
}

impl<'a> Resolver<'a> {
    fn new(base: &'a Snapshot, deletions: &'a RecentDeletions, limits: &'a Limits) -> Resolver<'a> {
        let (dimension, learnt, overlay) = (base.dimension(), KeyTypes::default(), Overlay::new(base));
        Resolver {
            base,
            deletions,
            limits,
            dimension,
            learnt,
            overlay,
            bytes_before: 0,
            dropping: false,
            handover: None,
            fence: false,
        }
    }

    /// A drop has no rows: earlier writes of the batch took effect and ended at once.
    fn finish(self) -> Resolution<WriteOutcome> {
        if self.dropping {
            return Resolution { drop: true, handover: self.handover, ..Resolution::default() };
        }
        let fixed = self.dimension.filter(|_| self.base.dimension().is_none());
        let config = StreamConfig { key_types: self.learnt, ..StreamConfig::of_dimension(fixed) };
        let config = (!config.is_empty()).then_some(config);
        let (handover, fence) = (self.handover, self.fence);
        Resolution { rows: self.overlay.into_rows(), config, handover, fence, ..Resolution::default() }
    }

    fn change(&mut self, change: &'a Change) -> Result<WriteOutcome> {
        self.base.check_writable()?;
        self.bytes_before = self.overlay.size_bytes();
        if self.dropping {
            return Err(Error::not_found("the collection was deleted"));
        }
        match change {
            Change::Write(write) => self.write(write, &Matched::default()),
            Change::Prepared(matched, write) => self.write(write, matched),
            Change::Guarded(guards, write) => {
                guards.iter().try_for_each(|guard| self.check_guard(guard))?;
                self.write(write, &Matched::default())
            }
            Change::Documents(write, matched) => self.documents(write, matched),
            Change::Transaction(transaction) => self.transaction(transaction),
            Change::After(version, writes) => {
                version.map_or(Ok(()), |version| self.check_newest(version))?;
                let outcome = self.all_or_none(writes)?;
                self.fence = true;
                Ok(outcome)
            }
            Change::Hold => {
                (self.fence, self.handover) = (true, Some(Handover::Hold));
                Ok(WriteOutcome::default())
            }
            Change::Drop => {
                self.dropping = true;
                Ok(WriteOutcome::default())
            }
            Change::End(version, successor) => {
                self.check_newest(*version)?;
                self.dropping = true;
                self.handover = successor.map(Handover::To);
                Ok(WriteOutcome::default())
            }
        }
    }

    /// Refuses a change that follows from `version` if anything was written since, be it earlier in this batch.
    fn check_newest(&self, version: Version) -> Result<()> {
        let newest = self.base.version();
        match newest == version && self.overlay.len() == 0 && !self.fence {
            true => Ok(()),
            false => {
                let what = format!("another writer wrote after version {version}; nothing was written");
                Err(Error::new(ErrorKind::Conflict, what))
            }
        }
    }

    /// Refuses a write whose guard does not hold. A record that an earlier request of the batch wrote fails the
    /// guard: its address is not known to any caller yet.
    fn check_guard(&self, guard: &Guard) -> Result<()> {
        let holds = match (self.overlay.current(&guard.id), guard.address) {
            (CurrentRecord::Absent, None) => true,
            (CurrentRecord::Stored(at), Some(address)) => self.base.address(at) == address,
            _ => false,
        };
        match holds {
            true => Ok(()),
            false => {
                let what = format!("record {:?} was changed by another writer; nothing was written", guard.id);
                Err(Error::new(ErrorKind::Conflict, what))
            }
        }
    }

    pub(super) fn write(&mut self, write: &'a Write, matched: &Matched) -> Result<WriteOutcome> {
        let dimension = check_write(write, self.dimension, self.limits)?;
        let outcome = match write {
            Write::Add(records) => self.add(records),
            Write::Upsert(records) => self.upsert(records),
            Write::Update(updates) => self.change_records(updates, Unknown::Skipped),
            Write::Merge(updates) => self.change_records(updates, Unknown::Inserted),
            Write::Delete(selection) => self.delete(selection, matched),
        }?;
        // The first embeddings fix the dimension, even those of an update that finds none of its ids.
        self.dimension = dimension;
        Ok(outcome)
    }

    /// Remembers the kinds of an accepted request's metadata.
    pub(super) fn learn<'m>(&mut self, entries: impl Iterator<Item = (&'m String, &'m MetaValue)>) {
        for (key, value) in entries {
            if let Some(kind) = KeyType::of(value) {
                self.learnt.learn(self.base.key_types(), key, kind);
            }
        }
    }

    pub(super) fn learn_patch(&mut self, update: &RecordUpdate) {
        let patch = update.metadata.iter().flat_map(|patch| &patch.0);
        self.learn(patch.filter_map(|(key, value)| Some((key, value.as_ref()?))));
    }

    /// Does several steps of which none is to stay if one is refused.
    pub(super) fn all_or_nothing<T>(&mut self, steps: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = (self.dimension, self.learnt.clone());
        self.overlay.begin();
        let done = steps(self);
        match &done {
            Ok(_) => self.overlay.keep(),
            Err(_) => {
                (self.dimension, self.learnt) = before;
                self.overlay.roll_back();
            }
        }
        done
    }

    fn add(&mut self, records: &'a [Record]) -> Result<WriteOutcome> {
        let mut rows = Vec::with_capacity(records.len());
        let mut ids = HashSet::with_capacity(records.len());
        let mut metadata_of_new = Vec::new();
        for (i, record) in records.iter().enumerate() {
            let metadata = self.metadata_text(i, record)?;
            if ids.insert(record.id.as_str()) && matches!(self.overlay.current(&record.id), CurrentRecord::Absent) {
                rows.push((record.id.as_str(), new_row(record, metadata)));
                metadata_of_new.extend(&record.metadata);
            }
        }
        let outcome = self.put_all(rows, records.len())?;
        self.learn(metadata_of_new.into_iter().flat_map(|metadata| &metadata.0));
        Ok(outcome)
    }

    fn upsert(&mut self, records: &'a [Record]) -> Result<WriteOutcome> {
        let mut staged = Staged::default();
        for (i, record) in records.iter().enumerate() {
            let mut row = new_row(record, self.metadata_text(i, record)?);
            if let Some(origin) = self.origin(&staged, &record.id) {
                origin.inherit(&mut row);
            }
            staged.set(&record.id, row);
        }
        let outcome = self.put_all(staged.rows, records.len())?;
        self.learn(records.iter().flat_map(|record| &record.metadata).flat_map(|metadata| &metadata.0));
        Ok(WriteOutcome { applied: records.len(), skipped: 0, ..outcome })
    }

    /// Merges updates into their records.
    fn change_records(&mut self, updates: &'a [RecordUpdate], unknown: Unknown) -> Result<WriteOutcome> {
        let mut staged = Staged::default();
        let mut changed = Vec::with_capacity(updates.len());
        for (i, update) in updates.iter().enumerate() {
            let row = match staged.get(&update.id).cloned().or_else(|| self.row(&update.id)) {
                Some(row) => row,
                None if unknown == Unknown::Inserted => Row { op: RowOp::Put, ..Row::delete(update.id.as_str()) },
                None => continue,
            };
            staged.set(&update.id, self.updated(row, update, i)?);
            // An update of a few bytes makes a whole record: they are not all made before they are found too large.
            check_bytes(staged.bytes, self.limits)?;
            changed.push(update);
        }
        let applied = changed.len();
        let outcome = self.put_all(staged.rows, updates.len())?;
        changed.into_iter().for_each(|update| self.learn_patch(update));
        Ok(WriteOutcome { applied, skipped: updates.len() - applied, ..outcome })
    }

    /// The record of that id as a row.
    pub(super) fn row(&self, id: &str) -> Option<Row> {
        match self.overlay.current(id) {
            CurrentRecord::Absent => None,
            CurrentRecord::Pending(row) => Some(row.clone()),
            CurrentRecord::Stored(at) => Some(self.base.row(at)),
        }
    }

    /// `row` with the changes of update `i` of its request.
    pub(super) fn updated(&self, mut row: Row, update: &RecordUpdate, i: usize) -> Result<Row> {
        if let Some(embedding) = &update.embedding {
            row.embedded = row.embedded.filter(|_| row.embedding.as_ref().is_some_and(|old| same_bits(old, embedding)));
            row.embedding = Some(embedding.clone());
        }
        row.document = update.document.clone().or(row.document);
        row.uri = update.uri.clone().or(row.uri);
        if let Some(patch) = &update.metadata {
            row.metadata = patched(row.metadata.as_deref(), patch)?;
        }
        check_metadata_text(i, row.metadata.as_deref(), self.limits)?;
        Ok(row)
    }

    fn metadata_text(&self, i: usize, record: &Record) -> Result<Option<String>> {
        let text = record.metadata.as_ref().map(Metadata::to_json_text);
        check_metadata_text(i, text.as_deref(), self.limits)?;
        Ok(text)
    }

    /// The records that satisfy ids and a filter, where given. `distinct` are the ids.
    pub(super) fn selected(
        &self,
        (ids, distinct): (Option<&[String]>, Option<&HashSet<&'a str>>),
        filter: Option<&Filter>,
        matched: &Matched,
    ) -> Result<Vec<DeleteCandidate<'a>>> {
        let interrupt = Interrupt::at(Instant::now() + SELECT_TIME);
        let pending = match self.overlay.len() {
            0 => Vec::new(),
            _ => self.overlay.pending(distinct, filter, &interrupt)?,
        };
        let selected = self.base.select_knowing(matched, ids, filter, &interrupt)?;
        let mut chosen = self.overlay.untouched(in_order(self.base, &selected));
        chosen.extend(pending);
        Ok(chosen)
    }

    fn delete(&mut self, selection: &'a Selection, matched: &Matched) -> Result<WriteOutcome> {
        let limit = selection.limit.unwrap_or(usize::MAX);
        let ids = selection.ids.as_deref();
        let distinct: Option<HashSet<&'a str>> = ids.map(|ids| ids.iter().map(String::as_str).collect());
        let mut chosen = self.selected((ids, distinct.as_ref()), selection.filter.as_ref(), matched)?;
        let named = distinct.as_ref().map_or(0, HashSet::len);
        if chosen.len() > limit {
            chosen.sort_unstable();
            chosen.truncate(limit);
        }
        self.check_rows(chosen.len())?;
        chosen.iter().for_each(|candidate| self.overlay.delete(candidate.id));
        let applied = chosen.len();
        Ok(WriteOutcome { applied, skipped: named.saturating_sub(applied), ..WriteOutcome::default() })
    }

    /// The parts of this id's record that a row which replaces it inherits.
    pub(super) fn origin<'r>(&'r self, staged: &'r Staged<'a>, id: &str) -> Option<RowOrigin<'r>> {
        if let Some(row) = staged.get(id) {
            return Some(RowOrigin::of(row));
        }
        match self.overlay.current(id) {
            CurrentRecord::Absent => None,
            CurrentRecord::Pending(row) => Some(RowOrigin::of(row)),
            CurrentRecord::Stored(at) => {
                let (chunk, row) = (self.base.chunk(at), at.row);
                let (position, embedded) = (Some(chunk.position(row)), Some(chunk.embedded(row)));
                Some(RowOrigin { position, embedded, embedding: chunk.vector(row) })
            }
        }
    }

    /// Puts the rows of one write, unless they are too many. `requested` counts its records.
    pub(super) fn put_all(&mut self, rows: Vec<(&'a str, Row)>, requested: usize) -> Result<WriteOutcome> {
        let bytes = rows.iter().map(|(_, row)| row.size_bytes()).fold(0, usize::saturating_add);
        check_bytes(bytes, self.limits)?;
        // The rows of a transaction are those of all its writes, less what a later one of them replaces.
        let replaced: usize = rows.iter().map(|(id, _)| self.overlay.row_bytes(id)).sum();
        let of_request = self.overlay.size_bytes().saturating_add(bytes).saturating_sub(replaced + self.bytes_before);
        check_bytes(of_request, self.limits)?;
        self.check_rows(rows.len())?;
        let applied = rows.len();
        rows.into_iter().for_each(|(id, row)| self.overlay.put(id, row));
        Ok(WriteOutcome { applied, skipped: requested - applied, ..WriteOutcome::default() })
    }

    pub(super) fn check_rows(&self, more: usize) -> Result<()> {
        let (limit, rows) = (Address::MAX_ROWS, self.overlay.len() + more);
        match rows > limit {
            true => Err(Error::limit(format!("one commit holds at most {limit} changes, got {rows}; give a limit"))),
            false => Ok(()),
        }
    }
}

/// The treatment of an update whose id is unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Skipped,
    Inserted,
}

/// Rows of a request that may still be refused: the last one of each id, in order of first mention.
#[derive(Default)]
pub(super) struct Staged<'a> {
    rows: Vec<(&'a str, Row)>,
    /// Bytes of the rows.
    bytes: usize,
    by_id: HashMap<&'a str, usize>,
}

impl<'a> Staged<'a> {
    fn get(&self, id: &str) -> Option<&Row> {
        self.by_id.get(id).map(|at| &self.rows[*at].1)
    }

    fn set(&mut self, id: &'a str, row: Row) {
        self.bytes = self.bytes.saturating_add(row.size_bytes());
        match self.by_id.get(id) {
            Some(at) => self.bytes -= std::mem::replace(&mut self.rows[*at].1, row).size_bytes(),
            None => {
                self.by_id.insert(id, self.rows.len());
                self.rows.push((id, row));
            }
        }
    }
}

pub(super) struct RowOrigin<'r> {
    position: Option<Address>,
    embedded: Option<Address>,
    embedding: &'r [f32],
}

impl<'r> RowOrigin<'r> {
    fn of(row: &'r Row) -> RowOrigin<'r> {
        let embedding = row.embedding.as_deref().unwrap_or_default();
        RowOrigin { position: row.position, embedded: row.embedded, embedding }
    }

    /// Gives the place to a row that replaces it, and the embedding's address if that is the same.
    pub(super) fn inherit(&self, row: &mut Row) {
        row.position = self.position;
        let embedding = row.embedding.as_deref().unwrap_or_default();
        row.embedded = self.embedded.filter(|_| same_bits(self.embedding, embedding));
    }
}

impl Snapshot {
    /// A stored record as a row that keeps its position and embedding.
    pub(super) fn row(&self, at: RowRef) -> Row {
        let (chunk, row) = (self.chunk(at), at.row);
        Row {
            op: RowOp::Put,
            id: chunk.id(row).to_owned(),
            embedding: Some(chunk.vector(row).to_vec()),
            document: chunk.document(row).map(str::to_owned),
            uri: chunk.uri(row).map(str::to_owned),
            metadata: chunk.metadata(row).map(str::to_owned),
            position: Some(chunk.position(row)),
            embedded: Some(chunk.embedded(row)),
        }
    }
}

pub(super) fn new_row(record: &Record, metadata: Option<String>) -> Row {
    Row {
        op: RowOp::Put,
        id: record.id.clone(),
        embedding: Some(record.embedding.clone()),
        document: record.document.clone(),
        uri: record.uri.clone(),
        metadata,
        position: None,
        embedded: None,
    }
}

/// Equality of bits: 0.0 and −0.0 differ.
fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
}

/// Metadata text after a patch. A record that had metadata keeps `{}` when its last key goes. A record without
/// metadata gets some only from a key that is set.
pub(super) fn patched(old: Option<&str>, patch: &MetadataPatch) -> Result<Option<String>> {
    let unreadable = |e: Error| Error::corrupted(format!("stored metadata: {e}"));
    let had = old.map(Metadata::from_json_text).transpose().map_err(unreadable)?;
    let had_some = had.is_some();
    let Metadata(mut map) = had.unwrap_or_default();
    for (key, value) in &patch.0 {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
    let some = had_some || !map.is_empty();
    Ok(some.then(|| Metadata(map).to_json_text()))
}
