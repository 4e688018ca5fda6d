//! The objects that HEAD names, as its entries describe them, and which keys a stream gives to objects of each kind.
//! Fields that this version does not know are kept and written back. Invariant: an entry whose object a fork copied says
//! which stream the object was written for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;

use super::Checksum;
use super::inverted::InvertedKind;
use crate::record::Version;

/// A segment as HEAD names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// Key relative to the store's prefix.
    pub key: String,
    /// First version it holds.
    pub lo: Version,
    /// Last version it holds.
    pub hi: Version,
    /// Rows, tombstones included.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// xxh3-128 of the object.
    pub xxh3: Checksum,
    /// How often its rows were merged.
    pub level: u32,
    /// Its inverted indexes; they leave HEAD with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inverted: Vec<InvertedEntry>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An inverted index of a segment as HEAD names it. It is a cache: one of an unknown kind is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvertedEntry {
    /// Key relative to the store's prefix.
    pub key: String,
    /// `text` or `sparse`.
    pub kind: String,
    /// Of a text index: the fingerprint of the settings that its documents were analysed with, in 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Of an index of sparse vectors: their metadata key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_key: Option<String>,
    /// Size in bytes.
    pub bytes: u64,
    /// xxh3-128 of the object.
    pub xxh3: Checksum,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A graph as HEAD names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphEntry {
    /// Key relative to the store's prefix.
    pub key: String,
    /// First version whose embeddings it covers.
    pub lo: Version,
    /// Last version whose embeddings it covers.
    pub hi: Version,
    /// Nodes in it.
    pub nodes: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// xxh3-128 of the object.
    pub xxh3: Checksum,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A collection's map as HEAD names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapEntry {
    /// Key relative to the store's prefix.
    pub key: String,
    /// The version whose records are on it.
    pub version: Version,
    /// How many there are.
    pub records: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// xxh3-128 of the object.
    pub xxh3: Checksum,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The kinds of inverted indexes, as HEAD spells them.
const TEXT: &str = "text";
const SPARSE: &str = "sparse";

/// Field of an entry whose object was copied by a fork: the stream that the object was written for.
const COPIED_FROM: &str = "copied_from";

fn written_for<'a>(other: &'a Map<String, Value>, own: &'a str) -> &'a str {
    other.get(COPIED_FROM).and_then(Value::as_str).unwrap_or(own)
}

fn note_copy(other: &mut Map<String, Value>, own: &str) {
    // A copy of a copy still carries the name of the first.
    other.entry(COPIED_FROM).or_insert_with(|| own.into());
}

/// A folder of a stream, and the ending of the keys in it.
pub type ObjectFolder = (&'static str, &'static str);
pub const SEGMENT: ObjectFolder = ("seg", ".parquet");
pub const GRAPH: ObjectFolder = ("graph", ".arrow");
pub const INVERTED: ObjectFolder = ("inverted", ".arrow");
pub const MAP: ObjectFolder = ("map", ".arrow");

/// Leaves out inverted indexes of segments' sources: a version that knows no inverted indexes copies the entry of a
/// forked segment as it is, without the objects. They are caches, and built anew.
pub fn leave_out_foreign(segs: &mut [SegmentEntry], stream: &str) {
    for seg in segs.iter_mut().filter(|seg| seg.other.contains_key(COPIED_FROM)) {
        seg.inverted.retain(|entry| is_own(&entry.key, stream, INVERTED));
    }
}

/// Whether `stream` gives such keys to objects of this kind.
pub fn is_own(key: &str, stream: &str, (folder, ending): ObjectFolder) -> bool {
    let name =
        key.strip_prefix(stream).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.strip_prefix(folder));
    let ulid = name.and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.strip_suffix(ending));
    // Other spellings of a ULID do not count.
    ulid.is_some_and(|text| text.parse::<Ulid>().is_ok_and(|ulid| ulid.to_string() == text))
}

/// Only collections are forked, and only from other collections.
pub fn check_copy(other: &Map<String, Value>, stream: &str) -> Result<(), String> {
    let Some(from) = other.get(COPIED_FROM) else { return Ok(()) };
    let collection = |name: &str| name.starts_with("c/") && name.len() > 2;
    match from.as_str() {
        Some(name) if collection(name) && collection(stream) && name != stream => Ok(()),
        _ => Err(format!("{from} cannot be what an object of {stream:?} was copied from")),
    }
}

impl SegmentEntry {
    /// The stream whose name the object carries: `own`, the stream of this HEAD, unless it was copied.
    pub fn written_for<'a>(&'a self, own: &'a str) -> &'a str {
        written_for(&self.other, own)
    }

    /// The entry of a copy at `key` in a fork of the stream `own`. It has no inverted indexes yet.
    pub fn copied(&self, own: &str, key: String) -> SegmentEntry {
        let mut copy = SegmentEntry { key, inverted: Vec::new(), ..self.clone() };
        note_copy(&mut copy.other, own);
        copy
    }
}

impl InvertedEntry {
    /// The entry of an index of this kind, with its size and checksum.
    pub fn new(key: String, kind: &InvertedKind, (bytes, xxh3): (u64, Checksum)) -> InvertedEntry {
        let (kind, fingerprint, metadata_key) = match kind {
            InvertedKind::Text { fingerprint } => (TEXT, Some(format!("{fingerprint:016x}")), None),
            InvertedKind::Sparse { metadata_key } => (SPARSE, None, Some(metadata_key.clone())),
        };
        InvertedEntry { key, kind: kind.to_owned(), fingerprint, metadata_key, bytes, xxh3, other: Map::new() }
    }

    /// What it is an index of; `None` if this version does not know such indexes.
    pub fn kind(&self) -> Option<InvertedKind> {
        match (self.kind.as_str(), &self.fingerprint, &self.metadata_key) {
            (TEXT, Some(hex), None) => Some(InvertedKind::Text { fingerprint: u64::from_str_radix(hex, 16).ok()? }),
            (SPARSE, None, Some(key)) => Some(InvertedKind::Sparse { metadata_key: key.clone() }),
            _ => None,
        }
    }
}

impl GraphEntry {
    /// The stream whose name the object carries: `own`, the stream of this HEAD, unless it was copied.
    pub fn written_for<'a>(&'a self, own: &'a str) -> &'a str {
        written_for(&self.other, own)
    }

    /// The entry of a copy at `key` in a fork of the stream `own`.
    pub fn copied(&self, own: &str, key: String) -> GraphEntry {
        let mut copy = GraphEntry { key, ..self.clone() };
        note_copy(&mut copy.other, own);
        copy
    }
}

impl MapEntry {
    /// The stream whose name the object carries: `own`, the stream of this HEAD, unless it was copied.
    pub fn written_for<'a>(&'a self, own: &'a str) -> &'a str {
        written_for(&self.other, own)
    }

    /// The entry of a copy at `key` in a fork of the stream `own`.
    pub fn copied(&self, own: &str, key: String) -> MapEntry {
        let mut copy = MapEntry { key, ..self.clone() };
        note_copy(&mut copy.other, own);
        copy
    }
}
