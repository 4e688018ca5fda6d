//! The inverted indexes of a chunk: of its documents, and of the sparse vectors of metadata keys, each built by the
//! first search for it.
//! Invariant: an index holds all rows of its chunk, dead ones included, so that it serves every version.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, StringArray};
use parking_lot::Mutex;

use crate::error::Result;
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
