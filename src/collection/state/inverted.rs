//! The inverted indexes of a chunk: of its documents, and of the sparse vectors of metadata keys. Each is built by the
//! first search for it, or before by maintenance, or loaded with its segment.
//! Invariant: an index holds all rows of its chunk, dead ones included, so that it serves every version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, StringArray};
use parking_lot::Mutex;

use super::apply;
use super::chunk::Chunk;
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::format::inverted::{Inverted, InvertedKind, InvertedParts, SparseColumns, TextColumns};
use crate::format::{FormatError, Rows};
use crate::index::{DROPPED, SparseIndex, SparseIndexBuilder, TextIndex, TextIndexBuilder};
use crate::record::SparseVector;
use crate::text::Analyser;

/// The indexes of a chunk that were built so far.
#[derive(Debug, Default)]
pub struct InvertedIndexes {
    /// By metadata key.
    sparse: Slots<String, SparseIndex>,
    /// By the fingerprint of the settings that the documents were analysed with.
    text: Slots<u64, TextIndex>,
}

/// Indexes by what tells them apart.
#[derive(Debug)]
struct Slots<K, I>(Mutex<BTreeMap<K, Arc<OnceLock<Arc<I>>>>>);

impl<K, I> Default for Slots<K, I> {
    fn default() -> Slots<K, I> {
        Slots(Mutex::default())
    }
}

impl<K: Ord + Clone, I> Slots<K, I> {
    /// The index; the first that asks builds it.
    fn get(&self, name: &K, build: impl FnOnce() -> Result<I>) -> Result<Arc<I>> {
        let slot = self.0.lock().entry(name.clone()).or_default().clone();
        if let Some(index) = slot.get() {
            return Ok(index.clone());
        }
        // Two that ask at once may both build it; the first to end keeps its own.
        let built = Arc::new(build()?);
        Ok(slot.get_or_init(|| built).clone())
    }

    /// Puts in an index that is there already; one that was built meanwhile stays.
    fn put(&self, name: K, index: I) {
        let slot = self.0.lock().entry(name).or_default().clone();
        slot.get_or_init(|| Arc::new(index));
    }

    fn has(&self, name: &K) -> bool {
        self.0.lock().get(name).is_some_and(|slot| slot.get().is_some())
    }

    fn built(&self) -> BTreeMap<K, Arc<I>> {
        self.0.lock().iter().filter_map(|(name, slot)| Some((name.clone(), slot.get()?.clone()))).collect()
    }

    fn size_bytes(&self, of: impl Fn(&I) -> usize) -> usize {
        self.built().values().map(|index| of(index)).sum()
    }

    /// Those that all parts have, each made one. One that cannot be merged is left out, and built anew when it is
    /// searched.
    fn merged(parts: &[&Slots<K, I>], merge: impl Fn(Vec<&I>) -> Result<I>) -> Slots<K, I> {
        let built: Vec<_> = parts.iter().map(|slots| slots.built()).collect();
        let Some(first) = built.first() else { return Slots::default() };
        let merged = first.keys().filter_map(|name| {
            let indexes = built.iter().map(|indexes| indexes.get(name).map(Arc::as_ref)).collect::<Option<_>>()?;
            Some((name.clone(), Arc::new(OnceLock::from(Arc::new(merge(indexes).ok()?)))))
        });
        Slots(Mutex::new(merged.collect()))
    }
}

impl InvertedIndexes {
    /// The index of a key's sparse vectors.
    pub fn sparse(&self, key: &str, metadatas: &StringArray) -> Result<Arc<SparseIndex>> {
        self.sparse.get(&key.to_owned(), || build_sparse(key, metadatas))
    }

    /// The index of the documents' terms.
    pub fn text(&self, analyser: &Analyser, documents: &StringArray) -> Result<Arc<TextIndex>> {
        self.text.get(&analyser.fingerprint(), || build_text(analyser, documents))
    }

    /// What there is an index of.
    pub fn kinds(&self) -> impl Iterator<Item = InvertedKind> {
        let text = self.text.built().into_keys().map(|fingerprint| InvertedKind::Text { fingerprint });
        text.chain(self.sparse.built().into_keys().map(|metadata_key| InvertedKind::Sparse { metadata_key }))
    }

    /// Whether there is an index of this.
    pub fn has(&self, kind: &InvertedKind) -> bool {
        match kind {
            InvertedKind::Text { fingerprint } => self.text.has(fingerprint),
            InvertedKind::Sparse { metadata_key } => self.sparse.has(metadata_key),
        }
    }

    /// Bytes of the indexes.
    pub fn size_bytes(&self) -> usize {
        self.sparse.size_bytes(SparseIndex::size_bytes) + self.text.size_bytes(TextIndex::size_bytes)
    }

    /// The indexes of a chunk whose rows are `rows` of several chunks, by chunk and row number. They are made of the
    /// indexes of these chunks, without analysing a text again. `parts` are these chunks' indexes and rows.
    pub fn merged(parts: &[(&InvertedIndexes, usize)], rows: &[(usize, usize)]) -> InvertedIndexes {
        let mut mappings: Vec<Vec<u32>> = parts.iter().map(|(_, len)| vec![DROPPED; *len]).collect();
        for (new, (part, row)) in (0u32..).zip(rows) {
            if let Some(entry) = mappings.get_mut(*part).and_then(|mapping| mapping.get_mut(*row)) {
                *entry = new;
            }
        }
        let count = rows.len() as u32;
        let sparse: Vec<_> = parts.iter().map(|(indexes, _)| &indexes.sparse).collect();
        let text: Vec<_> = parts.iter().map(|(indexes, _)| &indexes.text).collect();
        InvertedIndexes {
            sparse: Slots::merged(&sparse, |indexes| SparseIndex::merge(&mapped(indexes, &mappings), count)),
            text: Slots::merged(&text, |indexes| TextIndex::merge(&mapped(indexes, &mappings), count)),
        }
    }
}

/// Gives chunks their parts of a loaded index. One that does not fit them is left alone: it was made of other chunks.
pub fn attach(inverted: Inverted, chunks: &[Chunk]) {
    let rows = |chunk: &Chunk| chunk.len() as u32;
    let Inverted { kind, parts } = inverted;
    let fits = match &parts {
        InvertedParts::Text(parts) => parts.iter().map(TextColumns::rows).eq(chunks.iter().map(rows)),
        InvertedParts::Sparse(parts) => parts.iter().map(SparseColumns::rows).eq(chunks.iter().map(rows)),
    };
    if !fits {
        tracing::debug!(?kind, "a stored inverted index does not fit the chunks, and is built anew");
        return;
    }
    match (kind, parts) {
        (InvertedKind::Text { fingerprint }, InvertedParts::Text(parts)) => {
            for (chunk, part) in chunks.iter().zip(parts) {
                chunk.inverted().text.put(fingerprint, TextIndex::from_columns(part));
            }
        }
        (InvertedKind::Sparse { metadata_key }, InvertedParts::Sparse(parts)) => {
            for (chunk, part) in chunks.iter().zip(parts) {
                chunk.inverted().sparse.put(metadata_key.clone(), SparseIndex::from_columns(part));
            }
        }
        // Decoding makes parts of the kind only.
        _ => {}
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

    /// Whether no search by words has to build an index first.
    pub(in crate::collection) fn has_text_indexes(&self, analyser: &Analyser) -> bool {
        let fingerprint = analyser.fingerprint();
        self.chunks.iter().all(|view| view.chunk.inverted().text.has(&fingerprint))
    }

    /// The same for a key's sparse vectors.
    pub(in crate::collection) fn has_sparse_indexes(&self, key: &str) -> bool {
        let key = key.to_owned();
        self.chunks.iter().all(|view| view.chunk.inverted().sparse.has(&key))
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

    /// The indexes of the chunks that a segment's rows become, for each kind.
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
                InvertedKind::Text { .. } => InvertedParts::Text(
                    chunks
                        .iter()
                        .map(|chunk| Ok(chunk.text_index(analyser)?.columns().clone()))
                        .collect::<Result<_>>()?,
                ),
                InvertedKind::Sparse { metadata_key } => InvertedParts::Sparse(
                    chunks
                        .iter()
                        .map(|chunk| Ok(chunk.sparse_index(metadata_key)?.columns().clone()))
                        .collect::<Result<_>>()?,
                ),
            };
            Ok((kind.clone(), parts))
        };
        kinds.iter().map(parts).collect()
    }
}

/// Each index with the new numbers of its rows.
fn mapped<'a, I>(indexes: Vec<&'a I>, mappings: &'a [Vec<u32>]) -> Vec<(&'a I, &'a [u32])> {
    indexes.into_iter().zip(mappings.iter().map(Vec::as_slice)).collect()
}

/// Indexes the vectors that rows have under a key. A row without one, and one whose metadata cannot be read, has none.
fn build_sparse(key: &str, metadatas: &StringArray) -> Result<SparseIndex> {
    let mut builder = SparseIndexBuilder::new();
    for row in (0..metadatas.len()).filter(|row| !metadatas.is_null(*row)) {
        if let Some(vector) = SparseVector::of_key(metadatas.value(row), key) {
            builder.add(row as u32, vector.indices(), vector.values())?;
        }
    }
    builder.finish(metadatas.len() as u32)
}

fn build_text(analyser: &Analyser, documents: &StringArray) -> Result<TextIndex> {
    let (mut builder, mut tokeniser) = (TextIndexBuilder::new(), analyser.tokeniser());
    // The terms of one document, one behind the other, and where each ends.
    let (mut terms, mut ends) = (String::new(), Vec::new());
    for row in (0..documents.len()).filter(|row| !documents.is_null(*row)) {
        terms.clear();
        ends.clear();
        tokeniser.each(documents.value(row), |token| {
            terms.push_str(token.term);
            ends.push(terms.len());
        });
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let words = starts.zip(&ends).map(|(start, end)| terms.get(start..*end).unwrap_or_default());
        builder.add(row as u32, words)?;
    }
    builder.finish(documents.len() as u32)
}
