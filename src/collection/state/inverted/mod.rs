//! The inverted indexes of a chunk: of its documents, and of the sparse vectors of metadata keys. Each is built by the
//! first search for it, or before by maintenance, or loaded with its segment. One index may span several chunks
//! ([`join`]); each of these then has a share in it: a run of its rows.
//! Invariants: an index holds all rows of its chunks, dead ones included, so that it serves every version; those of
//! chunks that come later come later.

pub mod join;
pub mod spans;
pub mod stored;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, StringArray};
use parking_lot::Mutex;

use super::snapshot::Snapshot;
use crate::error::Result;
use crate::format::head::INVERTED_OF_SEGMENT;
use crate::format::inverted::InvertedKind;
use crate::index::{DROPPED, MergePart, SparseIndex, SparseIndexBuilder, TextIndex, TextIndexBuilder};
use crate::record::SparseVector;
use crate::text::Analyser;

/// The rows of a chunk in an index.
#[derive(Debug)]
pub struct IndexShare<I> {
    pub index: Arc<I>,
    /// The chunk's first row in the index. All others follow.
    pub first: u32,
}

impl<I> Clone for IndexShare<I> {
    fn clone(&self) -> IndexShare<I> {
        IndexShare { index: self.index.clone(), first: self.first }
    }
}

/// What indexes of both kinds have in common.
pub trait InvertedIndex: Sized {
    /// What tells two indexes of a chunk apart.
    type SlotName: Ord + Clone;

    /// A chunk's indexes of this type.
    fn slots(indexes: &InvertedIndexes) -> &Slots<Self::SlotName, Self>;
    /// How many rows it is over.
    fn rows(&self) -> u32;
    /// Bytes on the heap.
    fn size_bytes(&self) -> usize;
    /// One index of parts of several.
    fn merge(parts: &[MergePart<'_, Self>], rows: u32) -> Result<Self>;
}

impl InvertedIndex for TextIndex {
    type SlotName = u64;

    fn slots(indexes: &InvertedIndexes) -> &Slots<u64, TextIndex> {
        &indexes.text
    }

    fn rows(&self) -> u32 {
        self.rows()
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes()
    }

    fn merge(parts: &[MergePart<'_, TextIndex>], rows: u32) -> Result<TextIndex> {
        TextIndex::merge(parts, rows)
    }
}

impl InvertedIndex for SparseIndex {
    type SlotName = String;

    fn slots(indexes: &InvertedIndexes) -> &Slots<String, SparseIndex> {
        &indexes.sparse
    }

    fn rows(&self) -> u32 {
        self.rows()
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes()
    }

    fn merge(parts: &[MergePart<'_, SparseIndex>], rows: u32) -> Result<SparseIndex> {
        SparseIndex::merge(parts, rows)
    }
}

/// The indexes of a chunk that were built so far.
#[derive(Debug, Default)]
pub struct InvertedIndexes {
    /// By metadata key.
    sparse: Slots<String, SparseIndex>,
    /// By the fingerprint of the settings that the documents were analysed with.
    text: Slots<u64, TextIndex>,
}

/// A chunk's shares in indexes of one type, by what tells those apart.
#[derive(Debug)]
pub struct Slots<K, I>(Mutex<BTreeMap<K, IndexShare<I>>>);

impl<K, I> Default for Slots<K, I> {
    fn default() -> Slots<K, I> {
        Slots(Mutex::default())
    }
}

impl<K: Ord + Clone, I> Slots<K, I> {
    /// The share in an index; the first that asks builds it.
    fn get<Q>(&self, name: &Q, build: impl FnOnce() -> Result<I>) -> Result<IndexShare<I>>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(share) = self.find(name) {
            return Ok(share);
        }
        // Two that ask at once may both build it; the first to end keeps its own.
        let built = IndexShare { index: Arc::new(build()?), first: 0 };
        Ok(self.0.lock().entry(name.to_owned()).or_insert(built).clone())
    }

    fn find<Q: Ord + ?Sized>(&self, name: &Q) -> Option<IndexShare<I>>
    where
        K: Borrow<Q>,
    {
        self.0.lock().get(name).cloned()
    }

    /// Puts in a share in an index that is there already; one that was put in meanwhile stays.
    fn put(&self, name: K, share: IndexShare<I>) {
        self.0.lock().entry(name).or_insert(share);
    }

    /// Puts in a share in the place of that in `old`.
    fn replace(&self, name: &K, old: &Arc<I>, share: IndexShare<I>) {
        if let Some(place) = self.0.lock().get_mut(name).filter(|place| Arc::ptr_eq(&place.index, old)) {
            *place = share;
        }
    }

    fn names(&self) -> Vec<K> {
        self.0.lock().keys().cloned().collect()
    }

    /// Forgets indexes of nothing, where there are many.
    fn forget_empty(&self, most: usize, is_empty: impl Fn(&I) -> bool) {
        let mut slots = self.0.lock();
        if slots.len() > most {
            slots.retain(|_, share| !is_empty(&share.index));
        }
    }
}

impl InvertedIndexes {
    /// The index of a key's sparse vectors.
    pub fn sparse(&self, key: &str, metadatas: &StringArray) -> Result<IndexShare<SparseIndex>> {
        let share = self.sparse.get(key, || build_sparse(key, metadatas))?;
        if share.index.is_empty() {
            self.sparse.forget_empty(INVERTED_OF_SEGMENT, SparseIndex::is_empty);
        }
        Ok(share)
    }

    /// The index of the documents' terms.
    pub fn text(&self, analyser: &Analyser, documents: &StringArray) -> Result<IndexShare<TextIndex>> {
        self.text.get(&analyser.fingerprint(), || build_text(analyser, documents))
    }

    /// What there is an index of. An empty index of sparse vectors counts for nothing: a search under any key makes one.
    pub fn kinds(&self) -> Vec<InvertedKind> {
        let text = self.text.names().into_iter().map(|fingerprint| InvertedKind::Text { fingerprint });
        let sparse = self.sparse.0.lock();
        let of_vectors = sparse.iter().filter(|(_, share)| !share.index.is_empty());
        let of_vectors = of_vectors.map(|(key, _)| InvertedKind::Sparse { metadata_key: key.clone() });
        text.chain(of_vectors).collect()
    }

    /// Whether there is an index of this.
    pub fn has(&self, kind: &InvertedKind) -> bool {
        match kind {
            InvertedKind::Text { fingerprint } => self.text.find(fingerprint).is_some(),
            InvertedKind::Sparse { metadata_key } => self.sparse.find(metadata_key).is_some(),
        }
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
        let indexes: Vec<&InvertedIndexes> = parts.iter().map(|(indexes, _)| *indexes).collect();
        let count = rows.len() as u32;
        InvertedIndexes { sparse: merged(&indexes, &mappings, count), text: merged(&indexes, &mappings, count) }
    }
}

/// Those indexes that all chunks have, each made one. One that cannot be merged is left out, and built anew when it is
/// searched.
fn merged<I: InvertedIndex>(chunks: &[&InvertedIndexes], mappings: &[Vec<u32>], rows: u32) -> Slots<I::SlotName, I> {
    let names = chunks.first().map(|first| I::slots(first).names()).unwrap_or_default();
    let one = |name: I::SlotName| {
        let shares: Option<Vec<IndexShare<I>>> = chunks.iter().map(|chunk| I::slots(chunk).find(&name)).collect();
        let index = merge_shares(shares?.into_iter().zip(mappings.iter().map(Vec::as_slice)), rows).ok()?;
        Some((name, IndexShare { index: Arc::new(index), first: 0 }))
    };
    Slots(Mutex::new(names.into_iter().filter_map(one).collect()))
}

/// One index of the shares of chunks, each with the new numbers of its rows. Shares in one index are one part of the
/// merge, so that its terms are gone through once.
fn merge_shares<'a, I: InvertedIndex>(
    chunks: impl Iterator<Item = (IndexShare<I>, &'a [u32])>,
    rows: u32,
) -> Result<I> {
    let mut runs: Vec<(IndexShare<I>, Vec<u32>)> = Vec::new();
    for (share, mapping) in chunks {
        let Some(start) = mapping.iter().position(|row| *row != DROPPED) else { continue };
        let end = mapping.iter().rposition(|row| *row != DROPPED).unwrap_or(start);
        let kept = &mapping[start..=end];
        let first = share.first + start as u32;
        let run = runs.iter_mut().rev().find(|(run, _)| Arc::ptr_eq(&run.index, &share.index));
        match run.filter(|(run, mapped)| run.first as usize + mapped.len() <= first as usize) {
            Some((run, mapped)) => {
                mapped.resize((first - run.first) as usize, DROPPED);
                mapped.extend_from_slice(kept);
            }
            None => runs.push((IndexShare { index: share.index, first }, kept.to_vec())),
        }
    }
    let parts =
        runs.iter().map(|(run, mapped)| MergePart { index: run.index.as_ref(), first: run.first, rows: mapped });
    I::merge(&parts.collect::<Vec<_>>(), rows)
}

impl Snapshot {
    /// Whether no search by words has to build an index first.
    pub(in crate::collection) fn has_text_indexes(&self, analyser: &Analyser) -> bool {
        let fingerprint = analyser.fingerprint();
        self.chunks.iter().all(|view| view.chunk.inverted().text.find(&fingerprint).is_some())
    }

    /// How many postings the indexes of a key's sparse vectors have for these dimensions, dead rows included; `None`
    /// where a search has to build an index first.
    pub(in crate::collection) fn sparse_postings(&self, key: &str, dimensions: &[u32]) -> Option<u64> {
        let mut counted: Vec<Arc<SparseIndex>> = Vec::new();
        for view in &self.chunks {
            let index = view.chunk.inverted().sparse.find(key)?.index;
            if !counted.iter().rev().any(|other| Arc::ptr_eq(other, &index)) {
                counted.push(index);
            }
        }
        Some(counted.iter().map(|index| index.postings(dimensions)).sum())
    }

    /// Bytes of the inverted indexes of its chunks.
    pub(super) fn inverted_bytes(&self) -> u64 {
        (self.bytes_of::<TextIndex>() + self.bytes_of::<SparseIndex>()) as u64
    }

    /// Bytes of the indexes of one type, each counted once, however many chunks it spans.
    fn bytes_of<I: InvertedIndex>(&self) -> usize {
        let mut counted: HashSet<*const I> = HashSet::new();
        let mut bytes = 0;
        for view in &self.chunks {
            for share in I::slots(view.chunk.inverted()).0.lock().values() {
                if counted.insert(Arc::as_ptr(&share.index)) {
                    bytes += share.index.size_bytes();
                }
            }
        }
        bytes
    }
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
