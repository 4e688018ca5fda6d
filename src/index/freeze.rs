//! Freezing: neighbour lists become the immutable graph that is searched and stored. Nodes are renumbered so that
//! those visited together lie together, lists go into flat arrays, vectors become codes.
//! Invariant: nodes of higher levels come first. Within a level the order is a depth-first walk from the entry point,
//! nearest neighbours first. So the entry point is node 0.

use arrow::buffer::{MutableBuffer, ScalarBuffer};

use super::build::{Adjacency, GraphParams, GraphRange, VectorSet};
use super::graph::Graph;
use super::kernel::prefer_large_pages;
use super::metric::PreparedQuery;
use super::quantiser::Quantiser;
use super::topk::TopK;
use crate::error::{Error, Result};
use crate::format::graph::{GraphColumns, GraphHeader, Lists, NodeColumns, Traversal};
use crate::record::Address;

/// The origin of a graph, as its header states it.
#[derive(Debug, Clone)]
pub struct GraphSource {
    /// The records covered.
    pub range: GraphRange,
    /// The parameters of the build.
    pub params: GraphParams,
    /// The name of the builder.
    pub builder: &'static str,
}

/// Freezes `adjacency` over the vectors of `set`, which are normalised under cosine.
pub fn freeze(adjacency: &Adjacency, set: &VectorSet<'_>, source: GraphSource) -> Result<Graph> {
    let order = node_order(adjacency);
    let columns = frozen_columns(adjacency, &order, &set.addresses)?;
    let rows: Vec<&[f32]> = order.iter().map(|old| set.vectors[*old as usize]).collect();
    let quantiser = Quantiser::fit(set.metric, set.dim, &rows, source.params.seed);
    // Codes are aligned to cache lines, so that a walk does not load a line for only the end of a code.
    let mut codes = MutableBuffer::with_capacity(rows.len() * set.dim);
    prefer_large_pages(codes.as_ptr(), codes.capacity());
    let mut code = Vec::with_capacity(set.dim);
    let coded = |row: &&[f32]| {
        code.clear();
        let bias = quantiser.encode(row, &mut code);
        codes.extend_from_slice(&code);
        bias
    };
    let biases: Vec<f32> = rows.iter().map(coded).collect();
    let columns = NodeColumns { codes: ScalarBuffer::from(codes), biases: biases.into(), ..columns };
    let frozen = Frozen { rows: &rows, columns: &columns, quantiser: &quantiser };
    let header = GraphHeader {
        stream: source.range.stream,
        lo: source.range.lo,
        hi: source.range.hi,
        metric: set.metric,
        dim: set.dim,
        m: source.params.m,
        ef_construction: source.params.ef_construction,
        seed: source.params.seed,
        builder: source.builder.to_owned(),
        traversal: frozen.traversal(),
        entry: 0,
        rotation: quantiser.rotation(),
        scale: quantiser.scale(),
        mean: quantiser.mean().to_vec(),
    };
    let checked = GraphColumns::checked(header, columns);
    checked.map(Graph::new).map_err(|e| Error::internal("a graph just built does not hold together").with_source(e))
}

/// Old node numbers in new order.
fn node_order(adjacency: &Adjacency) -> Vec<u32> {
    let nodes = adjacency.lists.len();
    let mut seen = vec![false; nodes];
    let mut order = Vec::with_capacity(nodes);
    let mut open = vec![adjacency.entry];
    while let Some(node) = open.pop() {
        if std::mem::replace(&mut seen[node as usize], true) {
            continue;
        }
        order.push(node);
        // The nearest is pushed last and thus visited first.
        open.extend(adjacency.neighbours(node, 0).iter().rev().filter(|next| !seen[**next as usize]));
    }
    order.extend((0..nodes as u32).filter(|node| !seen[*node as usize]));
    // Stable: the walk's order stays within each level.
    order.sort_by_key(|node| std::cmp::Reverse(adjacency.top_level(*node)));
    order
}

/// Everything but codes and biases.
fn frozen_columns(adjacency: &Adjacency, order: &[u32], addresses: &[Address]) -> Result<NodeColumns> {
    let mut renumbered = vec![0u32; order.len()];
    order.iter().zip(0u32..).for_each(|(old, new)| renumbered[*old as usize] = new);
    let flat = |lists: &mut dyn Iterator<Item = &[u32]>| -> Result<Lists> {
        let (mut offsets, mut values) = (vec![0i32], Vec::new());
        for list in lists {
            values.extend(list.iter().map(|old| renumbered[*old as usize]));
            offsets.push(i32::try_from(values.len()).map_err(|_| too_many_links(values.len()))?);
        }
        Ok(Lists { offsets: offsets.into(), values: values.into() })
    };
    let neighbours = flat(&mut order.iter().map(|old| adjacency.neighbours(*old, 0)))?;
    let upper_of = |old: &u32| (1..=adjacency.top_level(*old)).map(|level| (*old, level)).collect::<Vec<_>>();
    let upper = flat(&mut order.iter().flat_map(upper_of).map(|(old, level)| adjacency.neighbours(old, level)))?;
    let mut levels = vec![0i32];
    for old in order {
        levels.push(levels.last().copied().unwrap_or(0) + adjacency.top_level(*old) as i32);
    }
    let addresses: Vec<u64> = order.iter().map(|old| addresses[*old as usize].0).collect();
    let mut address_order: Vec<u32> = (0..order.len() as u32).collect();
    address_order.sort_unstable_by_key(|node| addresses[*node as usize]);
    Ok(NodeColumns {
        addresses: addresses.into(),
        address_order: address_order.into(),
        biases: ScalarBuffer::from(Vec::new()),
        codes: ScalarBuffer::from(Vec::new()),
        neighbours,
        levels: levels.into(),
        upper,
    })
}

fn too_many_links(links: usize) -> Error {
    Error::limit(format!("graph: {links} links are more than {} in one graph; build several smaller ones", i32::MAX))
}

/// How many nodes are sampled to judge the codes.
const JUDGED: usize = 128;
/// The most nodes of a sampled node's surroundings: its neighbours and theirs.
const SURROUNDINGS: usize = 1000;
/// The codes' best this many must hold the true best `TRUE_BEST` ...
const CODED_BEST: usize = 20;
const TRUE_BEST: usize = 10;
/// ... in at least this share, or searches compare exact vectors.
const ENOUGH: f64 = 0.97;

/// How far the query of such a test is moved towards another vector.
const MOVED: f32 = 0.2;

/// Judges whether codes tell neighbours apart, at the density the data really has.
struct Frozen<'a> {
    rows: &'a [&'a [f32]],
    columns: &'a NodeColumns,
    quantiser: &'a Quantiser,
}

impl Frozen<'_> {
    fn traversal(&self) -> Traversal {
        let step = self.rows.len().div_ceil(JUDGED).max(1);
        let nodes = self.rows.len() as u32;
        let (found, wanted) = (0..nodes)
            .step_by(step)
            .flat_map(|node| [self.kept_by_codes(node, node), self.kept_by_codes(node, (node + step as u32) % nodes)])
            .fold((0, 0), |(found, wanted), (f, w)| (found + f, wanted + w));
        if (found as f64) < ENOUGH * wanted as f64 { Traversal::Exact } else { Traversal::Codes }
    }

    /// Tests codes around `node`. Returns how many of the codes' best are as near as the true best, and the number of
    /// true best. The query is the node moved a little towards `other`, since queries rarely equal a stored vector.
    fn kept_by_codes(&self, node: u32, other: u32) -> (usize, usize) {
        let (from, towards) = (self.rows[node as usize], self.rows[other as usize]);
        let moved: Vec<f32> = from.iter().zip(towards.iter()).map(|(x, y)| x + MOVED * (y - x)).collect();
        let query = PreparedQuery::new(self.quantiser.metric(), &moved);
        let coded = self.quantiser.encode_query(&query);
        let exact = |other: u32| query.distance_to(self.rows[other as usize]);
        let (mut by_code, mut by_truth) = (TopK::new(CODED_BEST), TopK::new(TRUE_BEST));
        for other in self.surroundings(node) {
            let at = other as usize;
            let dim = query.dim();
            let code = self.columns.codes.get(at * dim..(at + 1) * dim).unwrap_or_default();
            by_code.push(coded.estimate(code, self.columns.biases[at]), u64::from(other));
            by_truth.push(exact(other), u64::from(other));
        }
        let (wanted, bound) = (by_truth.count(), by_truth.bound().min(f32::MAX));
        let found = by_code.into_sorted().iter().filter(|n| exact(n.key as u32) <= bound).count();
        (found.min(wanted), wanted)
    }

    fn surroundings(&self, node: u32) -> Vec<u32> {
        let near = self.columns.neighbours.get(node as usize);
        let further = near.iter().flat_map(|other| self.columns.neighbours.get(*other as usize));
        let others = near.iter().chain(further).copied().filter(|other| *other != node);
        let mut all: Vec<u32> = others.take(SURROUNDINGS).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
