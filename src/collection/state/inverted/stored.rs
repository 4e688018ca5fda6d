//! The inverted indexes of a segment: which parts are stored of it, and which chunks the parts that were stored belong
//! to. Invariant: a part that does not fit the chunks is left alone.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::join::JOINED_BYTES;
use super::{IndexShare, InvertedIndex, build_sparse, build_text};
use crate::collection::state::apply;
use crate::collection::state::chunk::Chunk;
use crate::collection::state::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::format::inverted::{Inverted, InvertedKind, InvertedParts, MAX_PART_ROWS, SparseColumns, TextColumns};
use crate::format::{FormatError, Rows};
use crate::index::{MergePart, SparseIndex, TextIndex};
use crate::text::Analyser;

/// Gives chunks their shares in a loaded index. One that does not fit them is left alone: it was made of other chunks.
pub fn attach(inverted: Inverted, chunks: &[Chunk]) {
    let Inverted { kind, parts } = inverted;
    let fits = match (kind.clone(), parts) {
        (InvertedKind::Text { fingerprint }, InvertedParts::Text(parts)) => {
            let runs = runs(parts.iter().map(TextColumns::rows), chunks);
            runs.map(|runs| share_out(fingerprint, parts.into_iter().map(TextIndex::from_columns), chunks, runs))
        }
        (InvertedKind::Sparse { metadata_key }, InvertedParts::Sparse(parts)) => {
            let runs = runs(parts.iter().map(SparseColumns::rows), chunks);
            runs.map(|runs| share_out(metadata_key, parts.into_iter().map(SparseIndex::from_columns), chunks, runs))
        }
        // Decoding makes parts of the kind only.
        _ => None,
    };
    if fits.is_none() {
        tracing::debug!(?kind, "a stored inverted index does not fit the chunks, and is built anew");
    }
}

/// The chunks of each part, all of which have at least a row. `None`: the parts are not of these chunks.
fn runs(parts: impl Iterator<Item = u32>, chunks: &[Chunk]) -> Option<Vec<Range<usize>>> {
    let (mut runs, mut end) = (Vec::new(), 0);
    for rows in parts {
        let (start, mut left) = (end, rows as usize);
        while let Some(rest) = chunks.get(end).and_then(|chunk| left.checked_sub(chunk.len())) {
            (left, end) = (rest, end + 1);
        }
        if left > 0 || start == end {
            return None;
        }
        runs.push(start..end);
    }
    (end == chunks.len()).then_some(runs)
}

fn share_out<I: InvertedIndex>(
    name: I::SlotName,
    indexes: impl Iterator<Item = I>,
    chunks: &[Chunk],
    runs: Vec<Range<usize>>,
) {
    for (index, run) in indexes.zip(runs) {
        let (index, mut first) = (Arc::new(index), 0);
        for chunk in &chunks[run] {
            I::slots(chunk.inverted()).put(name.clone(), IndexShare { index: index.clone(), first });
            first += chunk.len() as u32;
        }
    }
}

/// Builds the index of a chunk that it lacks. Text by other settings than the analyser's is left out.
fn build(chunk: &Chunk, kind: &InvertedKind, analyser: &Analyser) -> Result<()> {
    match kind {
        InvertedKind::Text { fingerprint } if *fingerprint == analyser.fingerprint() => {
            chunk.text_index(analyser).map(drop)
        }
        InvertedKind::Text { .. } => Ok(()),
        InvertedKind::Sparse { metadata_key } => chunk.sparse_index(metadata_key).map(drop),
    }
}

impl Snapshot {
    /// What chunks have an inverted index of.
    pub(in crate::collection) fn inverted_kinds(&self) -> BTreeSet<InvertedKind> {
        self.chunks.iter().flat_map(|view| view.chunk.inverted().kinds()).collect()
    }

    /// Bytes of what the indexes of `kinds` are to be made of that chunks of at least so many rows lack. The indexes
    /// take less; 0 if none is lacking.
    pub(in crate::collection) fn unindexed_bytes(&self, kinds: &BTreeSet<InvertedKind>, least_rows: usize) -> u64 {
        let of_kind = |chunk: &Chunk, kind: &InvertedKind| match chunk.inverted().has(kind) {
            true => 0,
            false => chunk.indexed_bytes(kind).max(1) as u64,
        };
        self.large_chunks(least_rows).flat_map(|chunk| kinds.iter().map(move |kind| of_kind(chunk, kind))).sum()
    }

    /// Builds the indexes of `kinds` that chunks of at least so many rows lack.
    pub(in crate::collection) fn index_chunks(
        &self,
        kinds: &BTreeSet<InvertedKind>,
        analyser: &Analyser,
        least_rows: usize,
    ) -> Result<()> {
        let mut chunks = self.large_chunks(least_rows);
        chunks.try_for_each(|chunk| kinds.iter().try_for_each(|kind| build(chunk, kind, analyser)))
    }

    fn large_chunks(&self, least_rows: usize) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter().map(|view| view.chunk.as_ref()).filter(move |chunk| chunk.len() >= least_rows)
    }

    /// The indexes of a segment's rows, for each kind.
    ///
    /// # Errors
    /// `Internal`: the rows are not of this collection. `Limit`: an index would be too large.
    pub(in crate::collection) fn index_segment(
        &self,
        groups: &[Rows],
        kinds: &[InvertedKind],
        analyser: &Analyser,
    ) -> Result<Vec<(InvertedKind, InvertedParts)>> {
        let chunks = groups.iter().map(|rows| apply::chunks(rows, None, self.chunk_kind()));
        let chunks: Vec<Vec<Chunk>> = chunks
            .collect::<Result<_, FormatError>>()
            .map_err(|cause| Error::internal(format!("a segment could not be indexed: {cause}")))?;
        let chunks: Vec<Chunk> = chunks.into_iter().flatten().collect();
        let parts = |kind: &InvertedKind| {
            let parts = match kind {
                InvertedKind::Text { .. } => {
                    let indexes = joined(&chunks, |chunk| build_text(analyser, chunk.documents()))?;
                    InvertedParts::Text(indexes.iter().map(|index: &TextIndex| index.columns().clone()).collect())
                }
                InvertedKind::Sparse { metadata_key } => {
                    let indexes = joined(&chunks, |chunk| build_sparse(metadata_key, chunk.metadatas()))?;
                    InvertedParts::Sparse(indexes.iter().map(|index: &SparseIndex| index.columns().clone()).collect())
                }
            };
            Ok((kind.clone(), parts))
        };
        kinds.iter().map(parts).collect()
    }
}

/// Indexes of runs of chunks, as long as an index may be.
fn joined<I: InvertedIndex>(chunks: &[Chunk], build: impl Fn(&Chunk) -> Result<I>) -> Result<Vec<I>> {
    let (mut joined, mut run, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
    for chunk in chunks {
        let index = build(chunk)?;
        let (more_rows, more_bytes) = (index.rows() as usize, index.size_bytes());
        if !run.is_empty() && (rows + more_rows > MAX_PART_ROWS || bytes + more_bytes > JOINED_BYTES) {
            joined.push(one_of(std::mem::take(&mut run))?);
            (rows, bytes) = (0, 0);
        }
        run.push(index);
        (rows, bytes) = (rows + more_rows, bytes + more_bytes);
    }
    if !run.is_empty() {
        joined.push(one_of(run)?);
    }
    Ok(joined)
}

/// One index of several, one behind the other.
fn one_of<I: InvertedIndex>(run: Vec<I>) -> Result<I> {
    let run = match <[I; 1]>::try_from(run) {
        Ok([index]) => return Ok(index),
        Err(run) => run,
    };
    let (mut rows, mut mappings) = (0, Vec::with_capacity(run.len()));
    for index in &run {
        let end = rows + index.rows();
        mappings.push((rows..end).collect::<Vec<u32>>());
        rows = end;
    }
    let parts = run.iter().zip(&mappings).map(|(index, mapping)| MergePart { index, first: 0, rows: mapping });
    I::merge(&parts.collect::<Vec<_>>(), rows)
}
