//! HEAD, the one mutable object of a stream, in JSON (docs/protocol.md#head), and the retired lists of what was taken
//! off it. Fields that this version does not know are kept and written back. Both kinds carry a self-checksum, in the
//! field `seal`. Invariant of a decoded [`Head`]: a self-checksum of its own fits. Segments are adjacent and cover
//! exactly [1, floor − 1]; `gone` ≤ `floor`; graphs are disjoint and ascending. Every key belongs to the HEAD's own
//! stream and occurs once. There are at most [`ENTRIES`] entries of each kind.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;

use super::head_entries::{GRAPH, INVERTED, MAP, SEGMENT, check_copy, is_own, leave_out_foreign};
use super::{Chain, FORMAT, FormatError, Nonce, StreamConfig};
use crate::bucket::StoreTime;
use crate::record::Version;
use crate::self_checksum::{self, Checksummed, SelfChecksum};

pub use super::head_entries::{GraphEntry, InvertedEntry, MapEntry, SegmentEntry};

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
    /// The map of the collection, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapEntry>,
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
            map: None,
            retired: Vec::new(),
            sweeps: 0,
            swept: None,
            other: Map::new(),
        }
    }

    /// The keys of all objects that HEAD names and that hold, index or show records: segments, their inverted indexes,
    /// graphs, the map.
    pub fn objects(&self) -> impl Iterator<Item = &String> {
        objects(&self.segs, &self.graphs, &self.map)
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
        let map = self.map.iter().map(|map| (&map.key, &map.other, MAP));
        let mut seen = BTreeSet::new();
        for (key, other, kind) in segs.chain(inverted).chain(graphs).chain(map) {
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

fn objects<'a>(
    segs: &'a [SegmentEntry],
    graphs: &'a [GraphEntry],
    map: &'a Option<MapEntry>,
) -> impl Iterator<Item = &'a String> {
    let inverted = segs.iter().flat_map(|seg| &seg.inverted).map(|entry| &entry.key);
    let caches = inverted.chain(graphs.iter().map(|graph| &graph.key)).chain(map.iter().map(|map| &map.key));
    segs.iter().map(|seg| &seg.key).chain(caches)
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
    /// The map that left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapEntry>,
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
        let map = retired.map.iter().map(|map| is_own(&map.key, stream, MAP));
        let mut own = segs.chain(inverted).chain(graphs).chain(map);
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
        objects(&self.segs, &self.graphs, &self.map).cloned().collect()
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
