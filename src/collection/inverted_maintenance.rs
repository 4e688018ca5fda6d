//! Maintenance of one collection's inverted indexes in the background. What searches need is built for chunks before
//! a search has to, joined to few ([`join`](super::state::inverted::join)), and stored for each segment beside it, so
//! that the next start loads it (docs/protocol.md#inverted-index-maintenance).
//! Invariant: an inverted index is only a cache; whatever goes wrong here costs time, never an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;
use ulid::Ulid;

use super::handle::Collection;
use super::state::snapshot::Snapshot;
use crate::compute::Urgency;
use crate::error::Error;
use crate::format::head::{Head, INVERTED_OF_SEGMENT, InvertedEntry, Life, SegmentEntry};
use crate::format::inverted::{InvertedHeader, InvertedKind, encode_inverted};
use crate::format::{Checksum, Rows};
use crate::head::{HeadRead, Swapped};
use crate::memory::{Purpose, Reservation};
use crate::record::Version;
use crate::stream::context::StreamError;
use crate::stream::load::Loader;
use crate::stream::state::State;
use crate::stream::upload;
use crate::text::Analyser;

/// A round looks at HEAD at most once in this many intervals of maintenance.
const INTERVALS: u32 = 6;
/// Bytes in memory of a segment that is loaded and indexed, as a multiple of its bytes in the bucket: as in
/// compaction, the rows beside the bytes, and the indexes, of chunks and of the whole.
const BYTES_PER_STORED: u64 = 4;

/// What maintenance of a collection's inverted indexes remembers between rounds.
#[derive(Debug, Default)]
pub struct InvertedRounds {
    /// What the last round found nothing left to do for, and when that was.
    done: Option<(Wanted, Instant)>,
    /// When a round began that has stored nothing since: it failed, or was put off.
    in_vain: Option<Instant>,
    /// Segments that could not be indexed, and when.
    failed: BTreeMap<String, Instant>,
}

/// What indexes are to be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    kinds: BTreeSet<InvertedKind>,
    version: Version,
    /// Segments of this collection that this instance has written.
    segments_written: u64,
}

/// A segment, and the indexes that it lacks.
type Lacking = (SegmentEntry, Vec<InvertedKind>);

impl Collection {
    /// One round of maintenance: indexes the chunks that lack an index which searches use, joins indexes, and stores
    /// those that one segment lacks. Returns whether anything was stored, so that the caller can repeat rounds until
    /// nothing is.
    /// `now`: whether HEAD is looked at even if it was not long ago.
    pub(crate) async fn keep_inverted(&self, now: bool) -> Result<bool, StreamError> {
        let context = self.stream().context();
        let snapshot = self.present();
        let wanted = Wanted {
            kinds: self.kinds_of(snapshot.inverted_kinds()),
            version: snapshot.version(),
            segments_written: self.stream().shared().segments_written(),
        };
        if wanted.kinds.is_empty() || !self.is_round_due(&wanted, now) {
            return Ok(false);
        }
        // IMPORTANT: noted before anything is read. A round that fails or is put off rests as well: it may have read a
        // whole segment.
        self.inverted_rounds().lock().in_vain = Some(Instant::now());
        let read = context.read_head().await?;
        if read.head.state == Life::Dropped {
            return Ok(false);
        }
        let indexed = self.index_chunks(snapshot, &wanted.kinds).await?;
        let joined = self.join_indexes(&wanted.kinds).await?;
        let lacking = self.lacking(&read.head, &wanted.kinds);
        if lacking.is_empty() {
            if indexed && joined {
                let mut rounds = self.inverted_rounds().lock();
                (rounds.done, rounds.in_vain) = (Some((wanted, Instant::now())), None);
            }
            return Ok(false);
        }
        // A segment that there is no room for now does not hold up the others.
        let with_room =
            |lacking: Lacking| Some((self.room_to_index(lacking.0.bytes.saturating_mul(BYTES_PER_STORED))?, lacking));
        let Some((_room, lacking)) = lacking.into_iter().find_map(with_room) else { return Ok(false) };
        let segment = lacking.0.key.clone();
        let stored = self.store_inverted(read, lacking).await;
        let mut rounds = self.inverted_rounds().lock();
        match &stored {
            Ok(true) => rounds.in_vain = None,
            Ok(false) => {}
            Err(_) => drop(rounds.failed.insert(segment, Instant::now())),
        }
        stored
    }

    /// The segments of HEAD that lack an index. One that could not be indexed a while ago rests: it may have to be read
    /// whole to fail again, and the others wait for it.
    fn lacking(&self, head: &Head, wanted: &BTreeSet<InvertedKind>) -> Vec<Lacking> {
        let rest = self.stream().context().timing.collect_interval;
        let mut rounds = self.inverted_rounds().lock();
        rounds.failed.retain(|key, at| at.elapsed() < rest && head.segs.iter().any(|segment| segment.key == *key));
        let segments = head.segs.iter().filter(|segment| !rounds.failed.contains_key(&segment.key));
        segments.filter_map(|segment| self.lacks(segment, wanted)).collect()
    }

    fn is_round_due(&self, wanted: &Wanted, now: bool) -> bool {
        let rounds = self.inverted_rounds().lock();
        let timing = &self.stream().context().timing;
        if !now && rounds.in_vain.is_some_and(|at| at.elapsed() < timing.maintenance_interval * INTERVALS) {
            return false;
        }
        let Some((done, at)) = &rounds.done else { return true };
        match done == wanted {
            // Other instances merge segments, too.
            true => at.elapsed() >= timing.collect_interval,
            false => now || at.elapsed() >= timing.maintenance_interval * INTERVALS,
        }
    }

    /// Those of `kinds` that this collection can build: of texts, only the index by its own settings.
    fn kinds_of(&self, mut kinds: BTreeSet<InvertedKind>) -> BTreeSet<InvertedKind> {
        let own = self.analyser().ok().map(|analyser| analyser.fingerprint());
        kinds.retain(|kind| match kind {
            InvertedKind::Text { fingerprint } => Some(*fingerprint) == own,
            InvertedKind::Sparse { .. } => true,
        });
        kinds
    }

    fn lacks(&self, segment: &SegmentEntry, wanted: &BTreeSet<InvertedKind>) -> Option<Lacking> {
        let context = self.stream().context();
        let unusable = context.unusable.lock();
        let sound = || segment.inverted.iter().filter(|entry| !unusable.contains(&entry.key));
        let has = |kind: &InvertedKind| sound().any(|entry| entry.kind().as_ref() == Some(kind));
        let room = INVERTED_OF_SEGMENT.saturating_sub(sound().count());
        let lacking: Vec<InvertedKind> = wanted.iter().filter(|kind| !has(kind)).take(room).cloned().collect();
        (segment.rows >= context.timing.inverted_rows as u64 && !lacking.is_empty()).then(|| (segment.clone(), lacking))
    }

    /// Indexes chunks that no search has indexed yet. Returns whether there was room for it.
    async fn index_chunks(&self, snapshot: Arc<Snapshot>, kinds: &BTreeSet<InvertedKind>) -> Result<bool, StreamError> {
        let (kinds, analyser) = (kinds.clone(), self.analyser().map_err(failed)?);
        let least_rows = self.stream().context().timing.inverted_rows;
        let bytes = snapshot.unindexed_bytes(&kinds, least_rows);
        let room = if bytes > 0 { self.room_to_index(bytes) } else { None };
        let is_done = bytes == 0 || room.is_some();
        if room.is_some() {
            let work = move |_| snapshot.index_chunks(&kinds, &analyser, least_rows);
            self.compute().build(Urgency::NONE, work).await.and_then(|built| built).map_err(failed)?;
        }
        // The indexes count in the memory of the collection from now on, also those that searches have built.
        self.stream().shared().state().lock().publish();
        Ok(is_done)
    }

    /// Joins indexes while any are due that there is room for. Returns whether none waits for room.
    async fn join_indexes(&self, kinds: &BTreeSet<InvertedKind>) -> Result<bool, StreamError> {
        let room_bytes = || self.stream().context().budget.room_bytes();
        while let Some(join) = self.present().due_join(kinds, room_bytes()) {
            let Some(_room) = self.room_to_index(join.bytes()) else { return Ok(false) };
            let work = move |_| join.run();
            self.compute().build(Urgency::NONE, work).await.and_then(|joined| joined).map_err(failed)?;
            // What the joined indexes took is free once nothing searches them any more.
            self.stream().shared().state().lock().publish();
        }
        Ok(self.present().due_join(kinds, u64::MAX).is_none())
    }

    /// Builds the indexes that a segment lacks, for which the caller holds memory, puts them into the bucket and names them in HEAD.
    async fn store_inverted(&self, read: HeadRead, (segment, kinds): Lacking) -> Result<bool, StreamError> {
        let context = self.stream().context();
        let groups = Loader::new(context.clone()).segment(&segment).await?;
        let input = SegmentInput {
            header: (segment.written_for(&context.stream.to_string()).to_owned(), segment.xxh3),
            groups,
            kinds,
            analyser: self.analyser().map_err(failed)?,
            snapshot: self.present(),
        };
        let encoded = self.compute().build(Urgency::NONE, move |_| input.encode()).await;
        let mut entries = Vec::new();
        for (kind, bytes) in encoded.and_then(|encoded| encoded).map_err(failed)? {
            let (key, size, xxh3) = (context.stream.inverted(Ulid::generate()), bytes.len(), Checksum::of(&bytes));
            upload::put(context.bucket.as_ref(), &key, vec![bytes.into()], context.timing.reread()).await?;
            entries.push(InvertedEntry::new(key, &kind, (size as u64, xxh3)));
        }
        let unusable = context.unusable.lock().clone();
        let plan = move |read: &HeadRead| name_inverted(read, &segment.key, &unusable, &entries);
        let swapped = self.stream().swapper().swap(read, &plan).await;
        match swapped.map_err(|e| StreamError::of_head(e, &context.stream))? {
            Swapped::Done(_) => {
                context.counters.inverted_stored.count();
                Ok(true)
            }
            Swapped::Abandoned(why) => {
                tracing::debug!(%why, "an inverted index was stored in vain");
                Ok(false)
            }
        }
    }

    /// Reserves memory for indexing; `None` if that has to wait.
    fn room_to_index(&self, bytes: u64) -> Option<Reservation> {
        let context = self.stream().context();
        let room = context.budget.reserve(bytes, Purpose::Work);
        if room.is_none() {
            context.counters.put_off.count();
        }
        room
    }
}

/// A segment to be indexed.
struct SegmentInput {
    /// The stream that it was written for, and its checksum.
    header: (String, Checksum),
    groups: Vec<Rows>,
    kinds: Vec<InvertedKind>,
    analyser: Arc<Analyser>,
    snapshot: Arc<Snapshot>,
}

impl SegmentInput {
    /// The object of each kind.
    fn encode(self) -> crate::error::Result<Vec<(InvertedKind, Vec<u8>)>> {
        let (stream, segment) = self.header;
        let indexed = self.snapshot.index_segment(&self.groups, &self.kinds, &self.analyser)?;
        let encoded = indexed.into_iter().map(|(kind, parts)| {
            let header = InvertedHeader { stream: stream.clone(), segment, kind: kind.clone() };
            Ok((kind, encode_inverted(&header, &parts)?))
        });
        encoded.collect()
    }
}

fn failed(error: Error) -> StreamError {
    StreamError::Unavailable(format!("indexing failed: {error}"))
}

/// HEAD with `entries` beside their segment, in place of those that are of no use. `None` unless HEAD still names the
/// segment, without an index of these. What is replaced is left to the sweeps.
fn name_inverted(
    read: &HeadRead,
    segment: &str,
    unusable: &BTreeSet<String>,
    entries: &[InvertedEntry],
) -> Result<Head, String> {
    if read.head.state == Life::Dropped {
        return Err("the collection has ended".to_owned());
    }
    let mut next = read.head.successor();
    let found = next.segs.iter_mut().find(|seg| seg.key == segment);
    let named = found.ok_or("another instance replaced the segment")?;
    named.inverted.retain(|entry| !unusable.contains(&entry.key));
    if named.inverted.len() + entries.len() > INVERTED_OF_SEGMENT
        || named.inverted.iter().any(|there| entries.iter().any(|new| there.kind() == new.kind()))
    {
        return Err("another instance indexed the segment".to_owned());
    }
    named.inverted.extend_from_slice(entries);
    Ok(next)
}
