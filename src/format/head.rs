//! HEAD, the one mutable object of a stream, in JSON (docs/protocol.md#head), and the retired lists of what was taken
//! off it. Fields that this version does not know are kept and written back. Both kinds carry a self-checksum, in the
//! field `seal`. Invariant of a decoded [`Head`]: a self-checksum of its own fits. Segments are adjacent and cover
//! exactly [1, floor − 1]; `gone` ≤ `floor`; graphs are disjoint and ascending. Every key belongs to the HEAD's own
//! stream and occurs once. There are at most [`ENTRIES`] entries of each kind.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;

use super::inverted::InvertedKind;
use super::{Chain, Checksum, FORMAT, FormatError, Nonce, StreamConfig};
use crate::bucket::StoreTime;
use crate::record::Version;
use crate::self_checksum::{self, Checksummed, SelfChecksum};

/// How many nonces of the last swaps HEAD remembers.
const RECENT: usize = 32;
/// Most aging entries in HEAD.
pub const AGING: usize = 16;
/// Most segments, graphs and retired lists in HEAD, of each kind. Maintenance never leaves nearly as many: the limit
/// bounds the cost of a made-up HEAD.
pub const ENTRIES: usize = 65_536;
/// Most inverted indexes of a segment.
pub const INVERTED_OF_SEGMENT: usize = 64;

/// Whether a stream is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// It can be read and written.
    Live,
    /// It has ended; its HEAD stays as a tombstone.
    Dropped,
}

/// When a floor was seen in HEAD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aging {
    /// The floor.
    pub floor: Version,
    /// Store time of a read of HEAD that showed the floor.
    pub seen: StoreTime,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

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
type ObjectFolder = (&'static str, &'static str);
const SEGMENT: ObjectFolder = ("seg", ".parquet");
const GRAPH: ObjectFolder = ("graph", ".arrow");
const INVERTED: ObjectFolder = ("inverted", ".arrow");

/// Whether `stream` gives such keys to objects of this kind.
/// Leaves out inverted indexes of segments' sources: a version that knows no inverted indexes copies the entry of a
/// forked segment as it is, without the objects. They are caches, and built anew.
fn leave_out_foreign(segs: &mut [SegmentEntry], stream: &str) {
    for seg in segs.iter_mut().filter(|seg| seg.other.contains_key(COPIED_FROM)) {
        seg.inverted.retain(|entry| is_own(&entry.key, stream, INVERTED));
    }
}

fn is_own(key: &str, stream: &str, (folder, ending): ObjectFolder) -> bool {
    let name =
        key.strip_prefix(stream).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.strip_prefix(folder));
    let ulid = name.and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.strip_suffix(ending));
    // Other spellings of a ULID do not count.
    ulid.is_some_and(|text| text.parse::<Ulid>().is_ok_and(|ulid| ulid.to_string() == text))
}

/// Only collections are forked, and only from other collections.
fn check_copy(other: &Map<String, Value>, stream: &str) -> Result<(), String> {
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

/// A list of objects that one swap took off HEAD, named by the ULID of the list's own object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredEntry {
    /// Names the list's object.
    pub ulid: Ulid,
    /// Store time of the HEAD read that the swap was based on.
    pub seen: StoreTime,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The content of HEAD, the root of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Format number of the stream.
    pub format: u64,
    /// The stream's name: `catalog` or `c/{collection id}`.
    pub stream: String,
    /// One more at each swap.
    pub r#gen: u64,
    /// Random at each swap, so that a tag never repeats.
    pub nonce: Nonce,
    /// Nonces of the last swaps, this one included, newest last.
    pub recent: Vec<Nonce>,
    /// Whether the stream lives.
    pub state: Life,
    /// Store time of a HEAD read that showed `state` dropped.
    pub dropped_seen: Option<StoreTime>,
    /// The stream's configuration as of `floor`.
    pub config: StreamConfig,
    /// All commits below are in segments; readers of the log start here.
    pub floor: Version,
    /// Commit `floor` − 1; `None` while the floor is 1.
    pub prev: Option<Chain>,
    /// Only log slots below this may ever have been deleted.
    pub gone: Version,
    /// Floors on their way to `gone`, ascending.
    pub aging: Vec<Aging>,
    /// The segments, ascending.
    pub segs: Vec<SegmentEntry>,
    /// The graphs, ascending.
    pub graphs: Vec<GraphEntry>,
    /// Lists of objects that were taken off and are not deleted yet.
    pub retired: Vec<RetiredEntry>,
    /// How many orphan sweeps there were.
    pub sweeps: u64,
    /// Store time of the HEAD read with which the last sweep began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swept: Option<StoreTime>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Head {
    /// The HEAD of a new, empty stream.
    pub fn new(stream: String, config: StreamConfig) -> Head {
        let nonce = Nonce::random();
        Head {
            format: FORMAT,
            stream,
            r#gen: 1,
            nonce,
            recent: vec![nonce],
            state: Life::Live,
            dropped_seen: None,
            config,
            floor: Version(1),
            prev: None,
            gone: Version(1),
            aging: Vec::new(),
            segs: Vec::new(),
            graphs: Vec::new(),
            retired: Vec::new(),
            sweeps: 0,
            swept: None,
            other: Map::new(),
        }
    }

    /// The keys of all objects that HEAD names and that hold or index records: segments, their inverted indexes, graphs.
    pub fn objects(&self) -> impl Iterator<Item = &String> {
        objects(&self.segs, &self.graphs)
    }

    /// This HEAD with a fresh nonce and the next generation: the basis of every swap.
    pub fn successor(&self) -> Head {
        let mut next = self.clone();
        next.r#gen += 1;
        next.nonce = Nonce::random();
        next.recent.push(next.nonce);
        let surplus = next.recent.len().saturating_sub(RECENT);
        next.recent.drain(..surplus);
        next
    }

    /// The JSON bytes, with their checksum. The same HEAD gives the same bytes.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        with_checksum("HEAD", &Checksummed::version(self, self.r#gen, self.nonce.to_string()))
    }

    /// Reads and checks HEAD of `stream`.
    pub fn decode(bytes: &[u8], stream: &str) -> Result<Head, FormatError> {
        #[derive(Deserialize)]
        struct Peek {
            format: u64,
        }
        let damaged = |e: serde_json::Error| FormatError::Damaged(format!("HEAD is not the JSON expected: {e}"));
        let peek: Peek = serde_json::from_slice(bytes).map_err(damaged)?;
        if peek.format > FORMAT {
            return Err(FormatError::Newer { found: peek.format, known: FORMAT });
        }
        let mut head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
        head.check_self_checksum(bytes).map_err(|cause| FormatError::Damaged(format!("HEAD: {cause}")))?;
        if head.stream != stream {
            return Err(FormatError::Damaged(format!("HEAD is of stream {:?}, expected {stream:?}", head.stream)));
        }
        leave_out_foreign(&mut head.segs, stream);
        head.check_invariants()?;
        head.check_keys()?;
        Ok(head)
    }

    /// Checks that HEAD names only objects of its own stream, each once, and not too many. Objects that HEAD names are
    /// read, served, copied and in the end deleted.
    pub fn check_keys(&self) -> Result<(), FormatError> {
        let fail = |what: String| Err(FormatError::Damaged(format!("HEAD: {what}")));
        for (what, count) in
            [("segments", self.segs.len()), ("graphs", self.graphs.len()), ("lists", self.retired.len())]
        {
            if count > ENTRIES {
                return fail(format!("it names {count} {what}, at most {ENTRIES} are expected"));
            }
        }
        if let Some(seg) = self.segs.iter().find(|seg| seg.inverted.len() > INVERTED_OF_SEGMENT) {
            let (key, count) = (&seg.key, seg.inverted.len());
            return fail(format!("{key} has {count} inverted indexes, at most {INVERTED_OF_SEGMENT} are expected"));
        }
        let segs = self.segs.iter().map(|seg| (&seg.key, &seg.other, SEGMENT));
        let inverted = self.segs.iter().flat_map(|seg| &seg.inverted);
        let inverted = inverted.map(|entry| (&entry.key, &entry.other, INVERTED));
        let graphs = self.graphs.iter().map(|graph| (&graph.key, &graph.other, GRAPH));
        let mut seen = BTreeSet::new();
        for (key, other, kind) in segs.chain(inverted).chain(graphs) {
            if !is_own(key, &self.stream, kind) {
                let what = kind.0;
                return fail(format!("{key:?} cannot be the key of an object of {:?} under {what}/", self.stream));
            }
            if !seen.insert(key) {
                return fail(format!("it names {key} twice"));
            }
            check_copy(other, &self.stream).or_else(|cause| fail(format!("{key}: {cause}")))?;
        }
        Ok(())
    }

    /// Checks the self-checksum among the unknown fields, and takes it out: the next HEAD has one of its own. One that
    /// an older version copied from the previous HEAD says nothing about this one.
    fn check_self_checksum(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(checksum) = self_checksum::take(&mut self.other)? else { return Ok(()) };
        match self.is_own(&checksum)? {
            true => checksum.check(bytes),
            false => Ok(()),
        }
    }

    fn is_own(&self, checksum: &SelfChecksum) -> Result<bool, String> {
        let (Some(of), Some(nonce)) = (checksum.r#gen, &checksum.nonce) else {
            return Err("its seal does not say of which HEAD it is".to_owned());
        };
        let (own, nonce_of) = (self.nonce.to_string(), |nonce: &Nonce| nonce.to_string());
        if of == self.r#gen || *nonce == own {
            return Ok(true);
        }
        let behind = self.r#gen.checked_sub(of).and_then(|behind| usize::try_from(behind).ok());
        match behind.map(|behind| self.recent.iter().rev().nth(behind).map(nonce_of)) {
            // Too far back for `recent`.
            Some(None) => Ok(false),
            Some(Some(then)) if then == *nonce => Ok(false),
            _ => Err(format!("its seal is of generation {of} with nonce {nonce}, which is no HEAD before this one")),
        }
    }

    /// Checks what every HEAD keeps (I4 and I5 of docs/protocol.md#invariants, as far as HEAD alone shows them).
    pub fn check_invariants(&self) -> Result<(), FormatError> {
        let fail = |what: String| Err(FormatError::Damaged(format!("HEAD: {what}")));
        if self.format != FORMAT || self.floor.0 == 0 || self.gone > self.floor {
            return fail(format!("format {}, floor {}, gone {} do not fit", self.format, self.floor, self.gone));
        }
        let mut next = 1;
        for seg in &self.segs {
            if seg.lo.0 != next || seg.hi < seg.lo {
                return fail(format!("segment {} covers {}..={}, expected from {next}", seg.key, seg.lo, seg.hi));
            }
            next = seg.hi.0.saturating_add(1);
        }
        if next != self.floor.0 {
            return fail(format!("segments end before version {next}, the floor is {}", self.floor));
        }
        if self.prev.is_some() != (self.floor.0 > 1) {
            return fail(format!("floor {} and prev do not fit", self.floor));
        }
        let mut after = 0;
        for graph in &self.graphs {
            if graph.lo.0 <= after || graph.hi < graph.lo {
                return fail(format!("graph {} covers {}..={}, expected above {after}", graph.key, graph.lo, graph.hi));
            }
            after = graph.hi.0;
        }
        if self.aging.len() > AGING || self.aging.iter().any(|a| a.floor > self.floor) {
            return fail("aging floors do not fit".to_owned());
        }
        Ok(())
    }
}

fn objects<'a>(segs: &'a [SegmentEntry], graphs: &'a [GraphEntry]) -> impl Iterator<Item = &'a String> {
    let inverted = segs.iter().flat_map(|seg| &seg.inverted).map(|entry| &entry.key);
    segs.iter().map(|seg| &seg.key).chain(inverted).chain(graphs.iter().map(|graph| &graph.key))
}

fn with_checksum<T: Serialize>(what: &str, value: &Checksummed<T>) -> Result<Vec<u8>, FormatError> {
    let json =
        serde_json::to_vec(value).map_err(|e| FormatError::Damaged(format!("{what} does not serialise: {e}")))?;
    self_checksum::close(json).map_err(|cause| FormatError::Damaged(format!("{what}: {cause}")))
}

/// What one swap took off HEAD: the content of a `retired/` object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Format number.
    pub format: u64,
    /// The stream's name.
    pub stream: String,
    /// Names the list's object; older versions wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ulid: Option<Ulid>,
    /// Segments that left.
    pub segs: Vec<SegmentEntry>,
    /// Graphs that left.
    pub graphs: Vec<GraphEntry>,
}

impl Retired {
    /// The JSON bytes, with their checksum.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        with_checksum("retired list", &Checksummed::once(self))
    }

    /// Reads the list `ulid` of `stream`. Refuses a self-checksum that does not fit, another list, and a key outside
    /// the stream: a damaged list must not delete objects of others, nor its own too early.
    pub fn decode(bytes: &[u8], stream: &str, ulid: Ulid) -> Result<Retired, FormatError> {
        let mut retired: Retired = serde_json::from_slice(bytes)
            .map_err(|e| FormatError::Damaged(format!("retired list is not the JSON expected: {e}")))?;
        if retired.format > FORMAT {
            return Err(FormatError::Newer { found: retired.format, known: FORMAT });
        }
        self_checksum::check_once(bytes).map_err(|cause| FormatError::Damaged(format!("retired list: {cause}")))?;
        if let Some(other) = retired.ulid.filter(|own| *own != ulid) {
            return Err(FormatError::Damaged(format!("it is the retired list {other}, expected {ulid}")));
        }
        leave_out_foreign(&mut retired.segs, stream);
        let segs = retired.segs.iter().map(|seg| is_own(&seg.key, stream, SEGMENT));
        let inverted = retired.segs.iter().flat_map(|seg| &seg.inverted).map(|at| is_own(&at.key, stream, INVERTED));
        let graphs = retired.graphs.iter().map(|graph| is_own(&graph.key, stream, GRAPH));
        let mut own = segs.chain(inverted).chain(graphs);
        if retired.stream != stream || !own.all(|own| own) {
            return Err(FormatError::Damaged(format!("retired list names objects outside stream {stream:?}")));
        }
        if retired.segs.len().max(retired.graphs.len()) > ENTRIES {
            return Err(FormatError::Damaged(format!("retired list names more than {ENTRIES} objects of a kind")));
        }
        Ok(retired)
    }

    /// The keys it lists.
    pub fn keys(&self) -> Vec<String> {
        objects(&self.segs, &self.graphs).cloned().collect()
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
