//! Joins: inverted indexes of several chunks become one, so that a search goes through few, and terms are kept once.
//! Only chunks count that chunk merges have done with, and those that share an index with one. Indexes are joined by
//! size, wherever their chunks stand: the smallest ones, up to one with [`JOIN_RATIO`] times as many rows as those
//! before it have together, as far as memory allows. A row thus gets into an index half as large again each time, which
//! is some ten times until it has [`MAX_PART_ROWS`]. An index more than a quarter of which is of chunks that were
//! rewritten since is made anew without these.
//! Invariant: a join changes no answer, but for the terms that a prefix or a word with typos stands for where an index
//! has very many. Snapshots share chunks, so older ones use the joined index as well.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::{IndexShare, InvertedIndex, merge_shares};
use crate::collection::state::chunk::Chunk;
use crate::collection::state::chunk_merge;
use crate::collection::state::snapshot::Snapshot;
use crate::error::Result;
use crate::format::inverted::{InvertedKind, MAX_PART_ROWS};
use crate::index::{SparseIndex, TextIndex};

/// The largest index of a join has at most this many times the rows of all others.
const JOIN_RATIO: u64 = 2;
/// The most bytes of indexes that are joined.
pub const JOINED_BYTES: usize = 1 << 30;
/// How many times its bytes an index takes while it is made of others.
const MAKING_FACTOR: u64 = 2;

/// Chunks whose indexes of a kind are due to be joined.
#[derive(Debug)]
pub struct Join {
    kind: InvertedKind,
    chunks: Vec<Arc<Chunk>>,
    /// Of the index that it makes, about.
    bytes: u64,
}

impl Join {
    /// Bytes of memory that it takes, beside the indexes that it joins.
    pub fn bytes(&self) -> u64 {
        self.bytes.saturating_mul(MAKING_FACTOR)
    }

    /// Makes the index and puts it in the place of those that it was made of.
    ///
    /// # Errors
    /// `Limit`: the terms are too long together.
    pub fn run(&self) -> Result<()> {
        match &self.kind {
            InvertedKind::Text { fingerprint } => join::<TextIndex>(&self.chunks, fingerprint),
            InvertedKind::Sparse { metadata_key } => join::<SparseIndex>(&self.chunks, metadata_key),
        }
    }
}

/// Makes one index of those that the chunks have; the chunks that have none are left out.
pub(super) fn join<I: InvertedIndex>(chunks: &[Arc<Chunk>], name: &I::SlotName) -> Result<()> {
    let shares = chunks.iter().filter_map(|chunk| Some((chunk, I::slots(chunk.inverted()).find(name)?)));
    let shares: Vec<(&Arc<Chunk>, IndexShare<I>)> = shares.collect();
    let (mut rows, mut mappings) = (0u32, Vec::with_capacity(shares.len()));
    for (chunk, _) in &shares {
        let end = rows + chunk.len() as u32;
        mappings.push((rows..end).collect::<Vec<u32>>());
        rows = end;
    }
    let parts = shares.iter().map(|(_, share)| share.clone()).zip(mappings.iter().map(Vec::as_slice));
    let index = Arc::new(merge_shares(parts, rows)?);
    for ((chunk, old), mapping) in shares.iter().zip(&mappings) {
        let first = mapping.first().copied().unwrap_or_default();
        I::slots(chunk.inverted()).replace(name, &old.index, IndexShare { index: index.clone(), first });
    }
    Ok(())
}

/// An index of a snapshot, and its chunks' places.
struct JoinCandidate<I> {
    index: Arc<I>,
    chunks: Vec<usize>,
    /// Of these chunks.
    size: IndexSize,
}

/// How large an index would be without the chunks that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IndexSize {
    rows: u64,
    bytes: usize,
    /// Whether more than a quarter of it is of chunks that are gone.
    is_sparse: bool,
}

impl Snapshot {
    /// The next join among the indexes of `kinds` that takes no more memory than `room_bytes`.
    pub(in crate::collection) fn due_join(&self, kinds: &BTreeSet<InvertedKind>, room_bytes: u64) -> Option<Join> {
        let most = usize::try_from(room_bytes / MAKING_FACTOR).map_or(JOINED_BYTES, |most| most.min(JOINED_BYTES));
        kinds.iter().find_map(|kind| {
            let (chunks, bytes) = match kind {
                InvertedKind::Text { fingerprint } => self.due_chunks::<TextIndex>(fingerprint, most)?,
                InvertedKind::Sparse { metadata_key } => self.due_chunks::<SparseIndex>(metadata_key, most)?,
            };
            Some(self.join_of(kind, chunks, bytes))
        })
    }

    /// The join of the chunks at these places into an index of about `bytes` bytes.
    pub(in crate::collection) fn join_of(&self, kind: &InvertedKind, chunks: Vec<usize>, bytes: u64) -> Join {
        let chunks = chunks.into_iter().map(|chunk| self.chunks[chunk].chunk.clone()).collect();
        Join { kind: kind.clone(), chunks, bytes }
    }

    /// The chunks whose indexes are due to be joined into one of at most so many bytes, and about those.
    fn due_chunks<I: InvertedIndex>(&self, name: &I::SlotName, most_bytes: usize) -> Option<(Vec<usize>, u64)> {
        let mut candidates = self.candidates::<I>(name);
        candidates.sort_by_key(|candidate| candidate.size.rows);
        let sizes: Vec<IndexSize> = candidates.iter().map(|candidate| candidate.size).collect();
        let due = &candidates[due(&sizes, most_bytes)?];
        let mut chunks: Vec<usize> = due.iter().flat_map(|candidate| candidate.chunks.iter().copied()).collect();
        chunks.sort_unstable();
        Some((chunks, due.iter().map(|candidate| candidate.size.bytes as u64).sum()))
    }

    /// The indexes that may be joined: those of chunks that chunk merges have done with, and those that lost chunks.
    fn candidates<I: InvertedIndex>(&self, name: &I::SlotName) -> Vec<JoinCandidate<I>> {
        let mut found: Vec<JoinCandidate<I>> = Vec::new();
        for (at, view) in self.chunks.iter().enumerate() {
            let Some(share) = I::slots(view.chunk.inverted()).find(name) else { continue };
            let rows = view.chunk.len() as u64;
            let same = found.iter_mut().rev().find(|candidate| Arc::ptr_eq(&candidate.index, &share.index));
            match same {
                Some(candidate) => {
                    candidate.chunks.push(at);
                    candidate.size.rows += rows;
                }
                None => {
                    let size = IndexSize { rows, bytes: 0, is_sparse: false };
                    found.push(JoinCandidate { index: share.index, chunks: vec![at], size });
                }
            }
        }
        for JoinCandidate { index, size, .. } in &mut found {
            let all = u64::from(index.rows()).max(1);
            size.is_sparse = size.rows * 4 < all * 3;
            size.bytes = (index.size_bytes() as u64 * size.rows / all) as usize;
        }
        let settled = chunk_merge::settled(&self.chunks);
        found.retain(|candidate| candidate.size.is_sparse || candidate.chunks.first().is_some_and(|at| *at < settled));
        found
    }
}

/// Which indexes are due to become one of at most so many bytes, if any. They are in the order of their rows.
fn due(sizes: &[IndexSize], most_bytes: usize) -> Option<Range<usize>> {
    let (mut rows, mut bytes, mut end) = (0, 0, 0);
    for (at, size) in sizes.iter().enumerate() {
        let is_due = at > 0 && size.rows <= JOIN_RATIO * rows;
        (rows, bytes) = (rows + size.rows, bytes + size.bytes);
        if rows > MAX_PART_ROWS as u64 || bytes > most_bytes {
            break;
        }
        if is_due {
            end = at + 1;
        }
    }
    let fits = |size: &IndexSize| size.is_sparse && size.bytes <= most_bytes;
    let sparse = || sizes.iter().position(fits).map(|at| at..at + 1);
    if end > 0 { Some(0..end) } else { sparse() }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
