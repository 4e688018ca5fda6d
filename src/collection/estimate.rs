//! Byte estimates: the memory that records, rows, codes, graphs and open collections will take, before it is
//! allocated. Memory in use is counted instead
//! ([`Snapshot::footprint`](super::state::snapshot::Snapshot::footprint)).
//! Invariant: the estimates of loaded rows, codes and graphs are not below what is allocated (`estimate_tests.rs`
//! counts it). Exceptions: texts that compress better than four times, and the fixed buffers that encode a small write.

use crate::record::{MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate};

/// An open collection without records: its tasks, queues and settings.
pub const STANDING_BYTES: u64 = 16 << 10;
/// A collection that is being loaded, beside its segments: its tail, pieces of segments in flight, its tasks.
pub const LOADING_BYTES: u64 = 128 << 10;
/// A row that is written, beside its texts and embedding: addresses, offsets, and its slot in the table of ids.
const ROW_BYTES: u64 = 128;
/// A row that is loaded, beside its texts and embedding.
pub const LOADED_ROW_BYTES: u64 = 160;
/// The addresses of a row in a chunk.
const ADDRESS_BYTES: usize = 24;
/// How many times larger texts are in memory than in a segment, where they are compressed.
const TEXT_FACTOR: u64 = 4;
/// The least bytes of a commit, which is an object of its own until it is flushed.
const COMMIT_BYTES: u64 = 8 << 10;
/// A row's code, beyond the one byte for each float.
const CODE_BYTES: u64 = 12;
/// A graph's node beside its code: neighbours, address, norm.
const NODE_BYTES: u64 = 176;
/// Building a graph takes this many times the memory of the result: codes, lists of two kinds, duplicates.
const BUILD_FACTOR: u64 = 3;
/// Fewer unindexed records than this stay unindexed.
const FEW: u64 = 1024;
/// A number as JSON.
const NUMBER_BYTES: usize = 16;
/// How many times larger metadata is during an answer than as text: it becomes a map before it is text again.
const ANSWERED_METADATA: usize = 16;

/// What a write of records adds, with the room to resolve and encode it. `bytes` is what its records take as they came.
///
/// At most, its records exist three times at once: as they came, as rows, and in the commit's object, which stays until
/// it is flushed. A graph takes a quarter of an embedding, and the neighbours.
pub fn growth(rows: u64, bytes: u64) -> u64 {
    bytes * 3 + bytes / 4 + rows * 2 * ROW_BYTES + COMMIT_BYTES
}

/// A record as it came.
pub fn record(record: &Record) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let metadata = record.metadata.as_ref().map_or(0, |Metadata(map)| map.iter().map(entry).sum());
    record.embedding.len() * 4 + record.id.len() + text(&record.document) + text(&record.uri) + metadata + 16
}

/// A change of a record as it came.
pub fn update(update: &RecordUpdate) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let entries = |patch: &MetadataPatch| {
        patch.0.iter().map(|(key, value)| value.as_ref().map_or(key.len(), |value| entry((key, value)))).sum()
    };
    let metadata: usize = update.metadata.as_ref().map_or(0, entries);
    let embedding = update.embedding.as_ref().map_or(0, |e| e.len() * 4);
    embedding + update.id.len() + text(&update.document) + text(&update.uri) + metadata + 16
}

/// The id of a record to delete.
pub fn id(id: &str) -> usize {
    id.len() + 16
}

/// A metadata entry as JSON text.
fn entry((key, value): (&String, &MetaValue)) -> usize {
    let value = match value {
        MetaValue::Bool(_) => 5,
        MetaValue::Int(_) | MetaValue::Float(_) => 12,
        MetaValue::Str(text) => text.len() + 2,
        MetaValue::Bools(list) => list.len() * 6,
        MetaValue::Ints(list) => list.len() * 12,
        MetaValue::Floats(list) => list.len() * 12,
        MetaValue::Strs(list) => list.iter().map(|text| text.len() + 3).sum(),
        // Around the lists, then an index and a value as text, and a token.
        MetaValue::Sparse(vector) => {
            let tokens: usize = vector.tokens().into_iter().flatten().map(|token| token.len() + 3).sum();
            48 + vector.len() * 24 + tokens
        }
    };
    key.len() + 4 + value
}

/// A row of a chunk as merges copy it, without its share of the tables.
pub fn row(text_bytes: usize, dim: usize) -> usize {
    text_bytes + dim * 4 + ADDRESS_BYTES
}

/// A record during an answer: its fields once more, and as JSON.
pub fn answered(floats: usize, text_bytes: usize, metadata_bytes: usize) -> usize {
    floats * (size_of::<f32>() + NUMBER_BYTES) + 2 * text_bytes + ANSWERED_METADATA * metadata_bytes
}

/// Codes of rows.
pub fn codes(rows: u64, dim: u64) -> u64 {
    rows.saturating_mul(dim + CODE_BYTES)
}

/// A graph of `nodes` records.
pub fn graph(nodes: u64, dim: u64) -> u64 {
    nodes.saturating_mul(NODE_BYTES + dim)
}

/// The building of a graph of `nodes` records, the graph included.
pub fn graph_build(nodes: u64, dim: u64, metric: Metric) -> u64 {
    // Some metrics compare directions or lengths. Their graphs are built on a copy of the embeddings that distance can
    // compare.
    let copied = if metric.builds_on_copies() { dim * 4 } else { 0 };
    graph(nodes, dim).saturating_mul(BUILD_FACTOR).saturating_add(nodes.saturating_mul(copied))
}

/// The graphs that unindexed records will be in.
pub fn owed_graphs(unindexed: u64, dim: u64) -> u64 {
    if unindexed < FEW { 0 } else { graph(unindexed, dim) }
}

/// The memory that a collection takes, estimated from its HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadSize {
    /// Bytes, loading included.
    pub need: u64,
    /// A lower bound of the bytes.
    pub least: u64,
}

/// A collection whose segments have so many rows and bytes, and whose graphs so many bytes.
pub fn loaded(rows: u64, segment_bytes: u64, graph_bytes: u64, dim: u64) -> LoadSize {
    let vectors = rows.saturating_mul(dim.saturating_mul(4));
    let texts = segment_bytes.saturating_sub(vectors).saturating_mul(TEXT_FACTOR);
    let rest = rows.saturating_mul(LOADED_ROW_BYTES).saturating_add(LOADING_BYTES);
    let least = vectors.min(segment_bytes.saturating_mul(2)).saturating_add(graph_bytes);
    let need = vectors.saturating_add(graph_bytes).saturating_add(texts).saturating_add(rest);
    LoadSize { need, least: least.min(need) }
}
