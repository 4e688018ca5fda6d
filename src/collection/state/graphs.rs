//! Which live rows are nodes of which graphs. A graph covers embeddings by the address of the row that wrote them,
//! whichever chunk holds the record's row now. A link names the node of a row's embedding.
//! Invariants: a row has at most one link; a node is alive iff a live row links to it; a live row without a link is
//! unindexed, and scans find it.

use std::collections::HashMap;
use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringBitmap;

use super::chunk::Chunk;
use super::snapshot::{ChunkView, Snapshot};
use crate::format::FormatError;
use crate::format::graph::decode_graph;
use crate::format::head::GraphEntry;
use crate::index::{Graph, NodeBitmap, OldGraph, VectorSet};
use crate::record::{Address, Version};

/// A graph of a collection.
#[derive(Debug, Clone)]
pub struct GraphPart {
    /// Its object's key. An unstored graph has a name here that no object has.
    pub key: String,
    /// The graph itself; its header names the versions whose embeddings it covers.
    pub graph: Arc<Graph>,
    /// Whether the graph is in the bucket.
    pub stored: GraphStorage,
}

/// Whether a graph is in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphStorage {
    /// The graph is stored, and HEAD named it.
    Yes,
    /// The graph is only in memory; `new` of its nodes are in no stored graph.
    NotYet { new: u64 },
}

impl GraphPart {
    /// Whether it covers all of these versions.
    pub fn covers(&self, lo: Version, hi: Version) -> bool {
        self.versions().contains(&lo) && self.versions().contains(&hi)
    }

    /// Whether it covers some of these versions.
    pub fn overlaps(&self, lo: Version, hi: Version) -> bool {
        *self.versions().start() <= hi && lo <= *self.versions().end()
    }

    /// Splits vectors into nodes of this graph and others. `set` is in ascending order of addresses, as
    /// [`Snapshot::graph_input`] returns it.
    pub fn among<'a>(&'a self, set: VectorSet<'a>) -> (OldGraph<'a>, VectorSet<'a>) {
        let mut vectors = vec![None; self.graph.len()];
        let mut new = VectorSet { vectors: Vec::new(), addresses: Vec::new(), ..set };
        let mut nodes = self.graph.nodes_by_address().peekable();
        for (address, vector) in set.addresses.into_iter().zip(set.vectors) {
            while nodes.next_if(|(node, _)| *node < address).is_some() {}
            match nodes.next_if(|(node, _)| *node == address) {
                Some((_, node)) => vectors[node as usize] = Some(vector),
                None => {
                    new.vectors.push(vector);
                    new.addresses.push(address);
                }
            }
        }
        (OldGraph { graph: &self.graph, vectors }, new)
    }

    fn versions(&self) -> RangeInclusive<Version> {
        self.graph.header().lo..=self.graph.header().hi
    }
}

/// A graph, and which of its nodes are live records.
#[derive(Debug, Clone)]
pub struct GraphView {
    pub part: GraphPart,
    /// The number by which links name it.
    pub number: u32,
    pub alive: NodeBitmap,
}

/// The parts that a search of all records goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphParts {
    /// For each graph, its nodes, and how many of these are no longer a live record's.
    pub graphs: Vec<(usize, usize)>,
    /// Live records in no graph.
    pub unindexed: u64,
    /// Graphs that are not in the bucket.
    pub unstored: usize,
}

impl GraphView {
    /// Nodes that are no longer a live record's embedding.
    pub fn ended(&self) -> usize {
        self.part.graph.len() - self.alive.count()
    }

    pub fn size_bytes(&self) -> usize {
        self.part.graph.size_bytes() + self.alive.len() / 8
    }

    fn covers(&self, embedded: Address) -> bool {
        self.part.versions().contains(&embedded.version())
    }

    fn link_to(&self, embedded: Address) -> Option<Link> {
        let node = self.covers(embedded).then(|| self.part.graph.node_of(embedded)).flatten()?;
        Some(Link { graph: self.number, node })
    }
}

/// A node of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The [`GraphView::number`].
    pub graph: u32,
    pub node: u32,
}

impl Link {
    /// Stands for no link: the number of graphs never reaches this value.
    const NONE: Link = Link { graph: u32::MAX, node: 0 };
}

/// The links of a chunk's rows.
#[derive(Debug, Clone)]
pub struct ChunkLinks {
    links: Arc<[Link]>,
    /// Live rows without a link.
    pub unindexed: RoaringBitmap,
}

impl ChunkLinks {
    /// Makes the links of a chunk whose live rows are `alive`; `None` if no row has a link.
    pub fn among(links: Vec<Option<Link>>, alive: &RoaringBitmap) -> Option<ChunkLinks> {
        links.iter().any(Option::is_some).then(|| {
            let unindexed = alive.iter().filter(|row| links[*row as usize].is_none()).collect();
            ChunkLinks { links: links.into_iter().map(|link| link.unwrap_or(Link::NONE)).collect(), unindexed }
        })
    }

    /// These links, when only the rows `alive` are live.
    fn among_alive(&self, alive: &RoaringBitmap) -> ChunkLinks {
        ChunkLinks { links: self.links.clone(), unindexed: &self.unindexed & alive }
    }

    pub fn get(&self, row: u32) -> Option<Link> {
        self.links.get(row as usize).copied().filter(|link| *link != Link::NONE)
    }
}

/// Marks the node as a live row's embedding.
fn begin_node(graphs: &mut [Arc<GraphView>], link: Link) {
    if let Some(view) = graphs.iter_mut().find(|view| view.number == link.graph && !view.alive.contains(link.node)) {
        Arc::make_mut(view).alive.insert(link.node);
    }
}

/// Marks the node as no live row's embedding any more.
pub fn end_node(graphs: &mut [Arc<GraphView>], link: Link) {
    if let Some(view) = graphs.iter_mut().find(|view| view.number == link.graph) {
        Arc::make_mut(view).alive.remove(link.node);
    }
}

/// Links the rows of a new chunk, all of which are live, and marks their nodes alive.
pub fn link_new(graphs: &mut [Arc<GraphView>], view: &mut ChunkView) {
    if graphs.iter().any(|graph| reaches(&graph.part, &view.chunk)) {
        link_all(graphs, view);
    }
}

/// Links all rows of a chunk again, and marks the nodes of live ones alive.
fn link_all(graphs: &mut [Arc<GraphView>], view: &mut ChunkView) {
    let chunk = &view.chunk;
    let link_to = |row| graphs.iter().find_map(|view| view.link_to(chunk.embedded(row)));
    let links: Vec<Option<Link>> = (0..chunk.len() as u32).map(link_to).collect();
    let live: Vec<Link> = view.alive.iter().filter_map(|row| links[row as usize]).collect();
    live.into_iter().for_each(|link| begin_node(graphs, link));
    let links = ChunkLinks::among(links, &view.alive);
    view.set_links(links);
}

/// Removes the graphs of `keys` and adds `part`, whose nodes are alive where a live row has them.
pub fn relink(snapshot: &mut Snapshot, keys: &[String], part: Option<GraphPart>) {
    let next = snapshot.graphs.iter().map(|view| view.number + 1).max().unwrap_or(0);
    let (gone, kept) = std::mem::take(&mut snapshot.graphs).into_iter().partition(|view| keys.contains(&view.part.key));
    snapshot.graphs = kept;
    let gone: Vec<Arc<GraphView>> = gone;
    let gone: Vec<u32> = gone.iter().map(|view| view.number).collect();
    let Some(part) = part else {
        snapshot.chunks.iter_mut().for_each(|view| unlink(view, &gone, &mut snapshot.graphs));
        return;
    };
    let graph = part.graph.clone();
    let mut nodes = graph.nodes_by_address().peekable();
    let mut added = GraphView { alive: NodeBitmap::none(graph.len()), number: next, part };
    for view in &mut snapshot.chunks {
        unlink(view, &gone, &mut snapshot.graphs);
        if reaches(&added.part, &view.chunk) {
            link_to(view, &mut added, &mut nodes);
        }
    }
    snapshot.graphs.push(Arc::new(added));
}

/// [`relink`] in two steps. Most of it is done on an earlier snapshot. The rest blocks writers, and takes only as
/// long as the changes since that snapshot need.
#[derive(Debug)]
pub struct Relinked {
    before: Arc<Snapshot>,
    after: Snapshot,
    keys: Vec<String>,
    part: Option<GraphPart>,
}

impl Relinked {
    /// Does the first step of [`relink`], on a copy.
    pub fn prepare(before: Arc<Snapshot>, keys: Vec<String>, part: Option<GraphPart>) -> Relinked {
        let mut after = before.as_ref().clone();
        relink(&mut after, &keys, part.clone());
        Relinked { before, after, keys, part }
    }

    /// Brings the result into `current`, a later version of this collection.
    pub fn finish(&self, current: &mut Snapshot) {
        let graphs_of = |snapshot: &Snapshot| snapshot.graph_keys();
        if graphs_of(current) != graphs_of(&self.before) {
            return relink(current, &self.keys, self.part.clone());
        }
        let mut graphs = self.after.graphs.clone();
        let earlier: HashMap<*const Chunk, usize> =
            self.before.chunks.iter().enumerate().map(|(at, view)| (Arc::as_ptr(&view.chunk), at)).collect();
        let mut kept = vec![false; self.before.chunks.len()];
        for view in &mut current.chunks {
            let Some(at) = earlier.get(&Arc::as_ptr(&view.chunk)).copied() else { continue };
            kept[at] = true;
            let (before, after) = (&self.before.chunks[at], &self.after.chunks[at]);
            if Arc::ptr_eq(view, before) {
                *view = after.clone();
                continue;
            }
            for row in &before.alive - &view.alive {
                after.link(row).into_iter().for_each(|link| end_node(&mut graphs, link));
            }
            let links = after.links.as_ref().map(|links| links.among_alive(&view.alive));
            Arc::make_mut(view).set_links(links);
        }
        let gone = self.after.chunks.iter().zip(&kept).filter(|(_, kept)| !**kept);
        for (view, _) in gone {
            view.alive.iter().filter_map(|row| view.link(row)).for_each(|link| end_node(&mut graphs, link));
        }
        for view in &mut current.chunks {
            if !earlier.contains_key(&Arc::as_ptr(&view.chunk)) {
                link_all(&mut graphs, Arc::make_mut(view));
            }
        }
        current.graphs = graphs;
    }
}

/// Whether the graph may cover embeddings of the chunk's rows. An embedding is as old as its row, or older.
fn reaches(part: &GraphPart, chunk: &Chunk) -> bool {
    let versions = part.versions();
    chunk.last().version() >= *versions.start()
        && (chunk.first().version() <= *versions.end() || !chunk.carried().is_empty())
}

/// Removes the links to the graphs `gone` from a chunk. A row that is also a node of another graph links there
/// instead.
fn unlink(view: &mut Arc<ChunkView>, gone: &[u32], graphs: &mut [Arc<GraphView>]) {
    let Some(links) = &view.links else { return };
    if !links.links.iter().any(|link| gone.contains(&link.graph)) {
        return;
    }
    let kept = |row| {
        let link = view.link(row)?;
        let other = || graphs.iter().find_map(|graph| graph.link_to(view.chunk.embedded(row)));
        if gone.contains(&link.graph) { other() } else { Some(link) }
    };
    let links: Vec<Option<Link>> = (0..view.chunk.len() as u32).map(kept).collect();
    let live = view.alive.iter().filter_map(|row| links[row as usize]);
    live.for_each(|link| begin_node(graphs, link));
    let links = ChunkLinks::among(links, &view.alive);
    Arc::make_mut(view).set_links(links);
}

/// Links the unlinked rows of a chunk to the nodes of `graph`. `nodes` are the graph's nodes by address, without
/// those that earlier chunks have passed. Chunks and nodes both ascend, so one pass over the two finds all rows that
/// wrote a node. Rows that carry an older embedding on are few, and looked up.
fn link_to(
    view: &mut Arc<ChunkView>,
    graph: &mut GraphView,
    nodes: &mut Peekable<impl Iterator<Item = (Address, u32)>>,
) {
    let mut links: Vec<Option<Link>> = (0..view.chunk.len() as u32).map(|row| view.link(row)).collect();
    for (row, link) in (0u32..).zip(&mut links) {
        let (address, embedded) = (view.chunk.address(row), view.chunk.embedded(row));
        while nodes.next_if(|(node, _)| *node < address).is_some() {}
        let found = match embedded == address {
            true => nodes.peek().filter(|(node, _)| *node == address),
            false => None,
        };
        let found = match found {
            Some((_, node)) => Some(Link { graph: graph.number, node: *node }),
            None if embedded == address => None,
            None => graph.link_to(embedded),
        };
        *link = link.or(found);
        if let Some(link) = link.filter(|link| link.graph == graph.number && view.alive.contains(row)) {
            graph.alive.insert(link.node);
        }
    }
    let links = ChunkLinks::among(links, &view.alive);
    Arc::make_mut(view).set_links(links);
}

/// Decodes a graph object and checks that it is the one HEAD names.
pub fn decode(entry: &GraphEntry, bytes: Bytes) -> Result<GraphPart, FormatError> {
    let graph = Graph::new(decode_graph(bytes)?);
    let header = graph.header();
    let own = entry.key.rsplit_once("/graph/").map_or("", |(stream, _)| stream);
    let fits = header.stream == entry.written_for(own) && header.lo == entry.lo && header.hi == entry.hi;
    if !fits || graph.len() as u64 != entry.nodes {
        return Err(FormatError::Damaged(format!(
            "graph of {} {}..={} with {} nodes, HEAD names {} with {} nodes, {}..={}",
            header.stream,
            header.lo,
            header.hi,
            graph.len(),
            entry.key,
            entry.nodes,
            entry.lo,
            entry.hi
        )));
    }
    Ok(GraphPart { key: entry.key.clone(), graph: Arc::new(graph), stored: GraphStorage::Yes })
}

impl Snapshot {
    /// Refuses a graph whose vectors do not fit the collection.
    pub fn check_graph(&self, part: &GraphPart) -> Result<(), FormatError> {
        let (metric, dimension, header) = (self.metric, self.dimension, part.graph.header());
        if header.metric == metric && Some(header.dim) == dimension {
            return Ok(());
        }
        let (key, got, dim) = (&part.key, header.metric, header.dim);
        let message = format!("{key}: expected a graph of {metric}, dimension {dimension:?}; got {got}, {dim}");
        Err(FormatError::Damaged(message))
    }

    /// Keys of the graphs in use.
    pub fn graph_keys(&self) -> Vec<String> {
        self.graphs.iter().map(|view| view.part.key.clone()).collect()
    }

    /// Notes that a graph is in the bucket now, under this key.
    pub fn note_stored(&mut self, name: &str, key: &str) {
        if let Some(view) = self.graphs.iter_mut().find(|view| view.part.key == name) {
            let part = &mut Arc::make_mut(view).part;
            (part.key, part.stored) = (key.to_owned(), GraphStorage::Yes);
        }
    }

    /// For each graph, its nodes and how many are no longer a live record's; also the live records in no graph.
    pub fn parts(&self) -> GraphParts {
        let graphs = self.graphs.iter().map(|view| (view.part.graph.len(), view.ended()));
        let unstored = self.graphs.iter().filter(|view| view.part.stored != GraphStorage::Yes).count();
        GraphParts { graphs: graphs.collect(), unindexed: self.unindexed(), unstored }
    }

    /// Live records whose embeddings are in no graph.
    pub fn unindexed(&self) -> u64 {
        self.chunks.iter().map(|view| view.unindexed().len()).sum()
    }

    /// How many live records' embeddings were written in versions `lo..=hi`.
    pub fn count_embedded(&self, lo: Version, hi: Version) -> usize {
        self.embedded_between(lo, hi).count()
    }

    /// The last version up to which at most `most` of these embeddings were written, and their number.
    pub fn first_embedded(&self, lo: Version, hi: Version, most: u64) -> (Version, u64) {
        let versions = self.embedded_between(lo, hi).map(|(address, _)| address.version());
        let mut versions: Vec<Version> = versions.collect();
        let Some(most) = usize::try_from(most).ok().filter(|most| *most < versions.len()) else {
            return (hi, versions.len() as u64);
        };
        let (before, beyond, _) = versions.select_nth_unstable(most);
        let count = before.iter().filter(|version| *version < beyond).count();
        (Version(beyond.0 - 1), count as u64)
    }

    /// Live records' embeddings written in versions `lo..=hi`, by ascending address: the input to build a graph of
    /// that range. The vectors are borrowed, not copied.
    pub fn graph_input(&self, lo: Version, hi: Version) -> VectorSet<'_> {
        let mut rows: Vec<(Address, &[f32])> = self.embedded_between(lo, hi).collect();
        rows.sort_unstable_by_key(|(address, _)| *address);
        let (addresses, vectors) = rows.into_iter().unzip();
        VectorSet { metric: self.metric, dim: self.dimension.unwrap_or(0), vectors, addresses }
    }

    fn embedded_between(&self, lo: Version, hi: Version) -> impl Iterator<Item = (Address, &[f32])> + '_ {
        let views = self.chunks.iter().filter(move |view| view.chunk.last().version() >= lo);
        let rows = views.flat_map(|view| view.alive.iter().map(move |row| (&view.chunk, row)));
        let embedded = rows.map(|(chunk, row)| (chunk.embedded(row), chunk.vector(row)));
        embedded.filter(move |(address, _)| (lo..=hi).contains(&address.version()))
    }
}
