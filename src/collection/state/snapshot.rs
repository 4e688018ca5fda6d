//! A snapshot, which is what one read sees: a collection at one version, whole and immutable. Snapshots are published
//! through an `ArcSwap`, so readers never wait. Making one copies pointers, not records.
//! Invariants: see `invariants.rs`, which states and checks them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roaring::RoaringBitmap;

use super::KeyTypes;
use super::chunk::{Chunk, ChunkKind};
use super::graphs::{ChunkLinks, GraphView, Link};
use super::id_table::IdHasher;
use super::selections::SelectionCache;
use crate::collection::estimate;
use crate::error::{Error, Result};
use crate::format::Successor;
use crate::index::LazyCodes;
use crate::record::{Address, Metric, Version};

/// A chunk, and the present state of its rows.
#[derive(Debug, Clone)]
pub struct ChunkView {
    pub chunk: Arc<Chunk>,
    /// Rows that are live records.
    pub alive: RoaringBitmap,
    /// Which rows' embeddings are nodes of graphs; `None` where none is.
    pub links: Option<ChunkLinks>,
    /// Codes of the rows, while none is in a graph.
    pub codes: Arc<LazyCodes>,
}

impl ChunkView {
    /// All rows live, none in a graph.
    pub fn new(chunk: Chunk) -> ChunkView {
        let mut alive = RoaringBitmap::new();
        alive.insert_range(0..chunk.len() as u32);
        ChunkView { chunk: Arc::new(chunk), alive, links: None, codes: Arc::default() }
    }

    /// Sets which rows are nodes. Rows in a graph are not scanned, so their codes are dropped.
    pub fn set_links(&mut self, links: Option<ChunkLinks>) {
        if links.is_some() {
            self.codes = Arc::default();
        }
        self.links = links;
    }

    /// The node that a row's embedding is.
    pub fn link(&self, row: u32) -> Option<Link> {
        self.links.as_ref().and_then(|links| links.get(row))
    }

    /// Live rows whose embeddings are in no graph: only scans find them.
    pub fn unindexed(&self) -> &RoaringBitmap {
        self.links.as_ref().map_or(&self.alive, |links| &links.unindexed)
    }

    /// Ends a live record. Returns the node that was its embedding.
    pub fn kill(&mut self, row: u32) -> Option<Link> {
        self.alive.remove(row);
        let links = self.links.as_mut()?;
        links.unindexed.remove(row);
        links.get(row)
    }
}

/// A row of a snapshot, by chunk and row number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowRef {
    pub chunk: usize,
    pub row: u32,
}

/// Bytes of memory that a snapshot's parts take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Embeddings and their norms.
    pub vectors_bytes: u64,
    /// Ids, documents, uris, metadata, and the tables that find and filter them.
    pub records_bytes: u64,
    /// Graphs.
    pub graph_bytes: u64,
}

/// Metadata arranged by key. The first filter that meets a chunk builds it for that chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FilterCache {
    /// How many chunks there are.
    pub chunks: u64,
    /// How many chunks have it.
    pub built: u64,
    /// Bytes of memory it takes.
    pub bytes: u64,
}

impl Footprint {
    /// The sum of all parts.
    pub fn sum(&self) -> u64 {
        self.vectors_bytes + self.records_bytes + self.graph_bytes
    }
}

/// A collection at one version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(in crate::collection) version: Version,
    pub(in crate::collection) metric: Metric,
    pub(in crate::collection) dimension: Option<usize>,
    /// In address order.
    pub(in crate::collection) chunks: Vec<Arc<ChunkView>>,
    pub(in crate::collection) graphs: Vec<Arc<GraphView>>,
    pub(in crate::collection) live: u64,
    /// The kinds of values that metadata keys have held.
    pub(in crate::collection) key_types: Arc<KeyTypes>,
    pub(in crate::collection) dropped: bool,
    /// What goes on in place of the collection. Its records stay readable until the catalog says so, too.
    pub(in crate::collection) successor: Option<Successor>,
    /// When a hold was last seen.
    pub(in crate::collection) held_at: Option<Instant>,
    pub(in crate::collection) hasher: IdHasher,
    /// See [`Snapshot::evicted_bytes`].
    pub(in crate::collection) evicted_bytes: u64,
    /// Microseconds that searches have spent on unindexed records, over all versions.
    pub(in crate::collection) scanned_us: Arc<AtomicU64>,
    /// Whether memory is too short to make codes of rows, for all versions.
    pub(in crate::collection) codes_put_off: Arc<AtomicBool>,
    /// What recent filters selected, in all versions.
    pub(in crate::collection) selections: Arc<SelectionCache>,
}

impl Snapshot {
    /// The empty collection at version 0.
    pub fn empty(metric: Metric) -> Snapshot {
        Snapshot {
            version: Version(0),
            metric,
            dimension: None,
            chunks: Vec::new(),
            graphs: Vec::new(),
            live: 0,
            key_types: Arc::default(),
            dropped: false,
            successor: None,
            held_at: None,
            hasher: IdHasher::new(rand::random()),
            evicted_bytes: 0,
            scanned_us: Arc::default(),
            codes_put_off: Arc::default(),
            selections: Arc::default(),
        }
    }

    /// The last commit that it includes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Refuses reads of a collection that has ended, unless another is about to go on in its place.
    pub(in crate::collection) fn check_alive(&self) -> Result<()> {
        match self.dropped && self.successor.is_none() {
            true => Err(Error::not_found("the collection was deleted")),
            false => Ok(()),
        }
    }

    /// Refuses writes to a collection that has ended.
    pub(in crate::collection) fn check_writable(&self) -> Result<()> {
        match (self.dropped, self.successor) {
            (false, _) => Ok(()),
            (true, None) => Err(Error::not_found("the collection was deleted")),
            (true, Some(_)) => {
                Err(Error::not_found("the collection was embedded anew: open the one that has its name now"))
            }
        }
    }

    /// How long ago writers were last asked to wait.
    pub(in crate::collection) fn held_for(&self) -> Option<Duration> {
        self.held_at.map(|at| at.elapsed())
    }

    /// Floats of an embedding; `None` until the first record, 0 where records have none.
    pub fn dimension(&self) -> Option<usize> {
        self.dimension
    }

    /// The kinds of values that metadata keys have held.
    pub fn key_types(&self) -> &Arc<KeyTypes> {
        &self.key_types
    }

    /// Time that searches have spent so far on unindexed records.
    pub fn scanned(&self) -> Duration {
        Duration::from_micros(self.scanned_us.load(Ordering::Relaxed))
    }

    /// Bytes that codes of all unindexed rows would take.
    fn code_bytes(&self) -> u64 {
        estimate::codes(self.unindexed(), self.dim())
    }

    /// Allows codes of rows if `room_bytes` of free memory suffice. `u64::MAX` means that there is no limit, and
    /// spares the sum.
    pub fn allow_codes(&self, room_bytes: u64) {
        let allowed = room_bytes == u64::MAX || room_bytes / 2 > self.code_bytes();
        self.codes_put_off.store(!allowed, Ordering::Relaxed);
    }

    /// Live records.
    pub fn count(&self) -> u64 {
        self.live
    }

    /// Bytes of memory that its parts take. Snapshots share parts: adding up two snapshots counts these twice.
    pub fn footprint(&self) -> Footprint {
        let sum = |bytes: fn(&Chunk) -> usize| self.chunks.iter().map(|view| bytes(&view.chunk) as u64).sum();
        let graph_bytes = self.graphs.iter().map(|view| view.size_bytes() as u64).sum::<u64>()
            + self.chunks.iter().map(|view| view.codes.size_bytes() as u64).sum::<u64>();
        let records_bytes = sum(Chunk::record_bytes) + self.inverted_bytes() + self.selections.size_bytes();
        Footprint { vectors_bytes: sum(Chunk::vector_bytes), records_bytes, graph_bytes }
    }

    /// Bytes of metadata arranged for filters, the chunks that have it, and all chunks.
    pub fn filter_cache(&self) -> FilterCache {
        let built: Vec<usize> = self.chunks.iter().filter_map(|view| view.chunk.filter_bytes()).collect();
        let bytes = built.iter().sum::<usize>() as u64;
        FilterCache { chunks: self.chunks.len() as u64, built: built.len() as u64, bytes }
    }

    /// Approximate bytes of a graph of `nodes` records.
    pub fn graph_bytes_of(&self, nodes: u64) -> u64 {
        estimate::graph(nodes, self.dim())
    }

    /// Approximate bytes of memory that building a graph of `nodes` records takes, the graph included.
    pub fn build_bytes_of(&self, nodes: u64) -> u64 {
        estimate::graph_build(nodes, self.dim(), self.metric)
    }

    /// Bytes that graphs of the unindexed records will take.
    pub fn owed_bytes(&self) -> u64 {
        estimate::owed_graphs(self.unindexed(), self.dim())
    }

    fn dim(&self) -> u64 {
        self.dimension.unwrap_or(0) as u64
    }

    /// This snapshot without its records.
    pub(in crate::collection) fn hollow(&self, tail_bytes: u64) -> Snapshot {
        let evicted_bytes = self.footprint().sum() + tail_bytes;
        Snapshot { chunks: Vec::new(), graphs: Vec::new(), evicted_bytes, ..self.clone() }
    }

    /// Bytes that it took in memory before its eviction; 0 if it was not evicted.
    pub fn evicted_bytes(&self) -> u64 {
        self.evicted_bytes
    }

    pub(in crate::collection) fn chunk_kind(&self) -> ChunkKind {
        let (dim, bare) = (self.dimension.unwrap_or(0), self.dimension == Some(0));
        ChunkKind { metric: self.metric, dim, bare, hasher: self.hasher }
    }

    #[inline]
    pub(in crate::collection) fn chunk(&self, at: RowRef) -> &Chunk {
        &self.chunks[at.chunk].chunk
    }

    pub(in crate::collection) fn address(&self, at: RowRef) -> Address {
        self.chunk(at).address(at.row)
    }

    /// The live record with this id.
    pub(in crate::collection) fn find(&self, id: &str) -> Option<RowRef> {
        self.find_before(id, self.chunks.len())
    }

    /// The live record with this id, if it lies in the first `chunks` chunks.
    pub(in crate::collection) fn find_before(&self, id: &str, chunks: usize) -> Option<RowRef> {
        let hash = self.hasher.hash(id);
        let views = self.chunks.iter().take(chunks).enumerate().rev();
        let newest = views.filter_map(|(chunk, view)| Some((chunk, view.chunk.row_of(hash, id)?))).next();
        // If the newest row of an id is dead, all older ones are.
        let (chunk, row) = newest?;
        self.chunks[chunk].alive.contains(row).then_some(RowRef { chunk, row })
    }

    /// The live row at this address.
    #[inline]
    pub(in crate::collection) fn row_at(&self, address: Address) -> Option<RowRef> {
        let chunk = self.chunks.partition_point(|view| view.chunk.last() < address);
        let view = self.chunks.get(chunk)?;
        let row = view.chunk.row_at(address)?;
        view.alive.contains(row).then_some(RowRef { chunk, row })
    }

    /// The live row whose embedding was written at this address.
    #[inline]
    pub(in crate::collection) fn find_embedded(&self, embedded: Address) -> Option<RowRef> {
        let own = |at: &RowRef| self.chunk(*at).embedded(at.row) == embedded;
        self.row_at(embedded).filter(own).or_else(|| self.find_carrier(embedded))
    }

    /// Searches the newest rows first: of the rows that carry one embedding on, the last is the live one.
    fn find_carrier(&self, embedded: Address) -> Option<RowRef> {
        let mut views = self.chunks.iter().enumerate().rev().take_while(|(_, view)| view.chunk.last() > embedded);
        views.find_map(|(chunk, view)| {
            let row = view.chunk.carriers(embedded).find(|row| view.alive.contains(*row))?;
            Some(RowRef { chunk, row })
        })
    }
}
