//! Searching a frozen graph: a walk or a scan over codes, then exact distances of the best.
//! Invariant: the answer holds min(k, allowed nodes whose vector the caller has) nodes, nearest first, with exact
//! distances. If codes find fewer, exact distances of all allowed nodes are computed instead.

use std::cell::RefCell;

use super::entry_points::entry_points;
use super::filtered::{Sought, enough, nearest_by_codes, within_by_codes};
use super::graph::Graph;
use super::kernel::prefetch;
use super::metric::PreparedQuery;
use super::nodes::NodeBitmap;
use super::plan::Plan;
#[cfg(any(test, feature = "testing"))]
use super::plan::{GraphFacts, GraphPlan, plan_graphs};
use super::quantiser::CodedQuery;
use super::topk::{Neighbour, TopK};
use super::walk::{Bounds, SearchGraph, SearchScratch, best_first};
use crate::record::Address;

/// A search of one graph.
#[derive(Debug, Clone, Copy)]
pub struct GraphQuery<'a> {
    /// Prepared for the graph's metric and dimension.
    pub query: &'a PreparedQuery,
    /// How many to find.
    pub k: usize,
    /// The width of the walk (the paper's ef); `None`: [`super::default_ef`].
    pub ef: Option<usize>,
    /// Which nodes may be answers (alive, and matching the filter); `None`: all.
    pub allowed: Option<&'a NodeBitmap>,
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Which node.
    pub node: u32,
    /// Its distance: exact, except from [`super::search_codes`].
    pub distance: f32,
}

/// How many of a walk's best get exact distances.
pub fn reranked(k: usize) -> usize {
    (2 * k).max(40)
}

/// The k nearest allowed nodes of one graph, whose plan is made here.
#[cfg(any(test, feature = "testing"))]
pub fn search_graph<'v>(
    graph: &Graph,
    search: GraphQuery<'_>,
    exact: impl Fn(u32) -> Option<&'v [f32]>,
    scratch: &mut SearchScratch,
) -> Vec<Candidate> {
    Planned::alone(graph, search).map_or_else(Vec::new, |planned| search_planned(graph, planned, exact, scratch))
}

/// The k nearest allowed nodes, nearest first, ties by address. `exact` returns the raw vector of a node; a node
/// without one (its record is gone) is no answer.
pub fn search_planned<'v>(
    graph: &Graph,
    planned: Planned<'_>,
    exact: impl Fn(u32) -> Option<&'v [f32]>,
    scratch: &mut SearchScratch,
) -> Vec<Candidate> {
    let search = planned.search;
    let allowed = search.allowed.map_or(graph.len(), NodeBitmap::count);
    let walked = match planned.plan {
        Plan::Walk { distances } => {
            walk_graph(graph, search, &exact, WalkLimits { ef: planned.ef, distances }, scratch)
        }
        Plan::Scan | Plan::ScanCodes => None,
    };
    let found = walked.or_else(|| {
        let by_codes = planned.plan != Plan::Scan && !graph.is_exact();
        scratch.count_compared(if by_codes { allowed } else { 0 });
        if by_codes { scan_graph_codes(graph, search, &exact) } else { None }
    });
    // Fewer than wanted: some have no vector, or a walk cannot reach them.
    found.filter(|found| found.len() >= planned.wanted).unwrap_or_else(|| {
        scratch.count_compared(allowed);
        scan_graph(graph, search, exact)
    })
}

/// A search that has something to find.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// The search; its `allowed` is `None` if all nodes are.
    pub search: GraphQuery<'a>,
    /// How many there are to find, at most k.
    pub wanted: usize,
    /// The width of a walk.
    pub ef: usize,
    /// The way to find them.
    pub plan: Plan,
}

impl<'a> Planned<'a> {
    /// A search of one graph only, decided here. `None` if no node is allowed or asked for.
    #[cfg(any(test, feature = "testing"))]
    pub fn alone(graph: &Graph, search: GraphQuery<'a>) -> Option<Planned<'a>> {
        let allowed = search.allowed.map_or(graph.len(), NodeBitmap::count);
        let plans = plan_graphs(graph.metric(), search.k, search.ef, &[GraphFacts::of(graph, allowed)]);
        let GraphPlan { ef, plan } = *plans.first()?;
        Planned::by(graph, GraphQuery { ef: Some(ef), ..search }, plan)
    }

    /// A search by what [`plan_graphs`](super::plan_graphs) decided: a plan, and the width in `search`. `None` if no
    /// node is allowed or asked for.
    pub fn by(graph: &Graph, search: GraphQuery<'a>, plan: Plan) -> Option<Planned<'a>> {
        let search = GraphQuery { allowed: search.allowed.filter(|allowed| allowed.count() < graph.len()), ..search };
        let allowed = search.allowed.map_or(graph.len(), NodeBitmap::count);
        let wanted = search.k.min(allowed);
        if wanted == 0 {
            return None;
        }
        Some(Planned { search, wanted, ef: search.ef.unwrap_or(search.k).max(search.k), plan })
    }
}

/// How many times more nodes get exact distances after a scan than after a walk: if the allowed nodes lie far from
/// the query, many are nearly as far.
const SCANNED_RERANKED: usize = 4;
/// One in this many of these nodes is used to judge the error of codes.
const JUDGED: usize = 4;

/// The best of all allowed nodes by codes, then by exact distances; `None` if codes are useless here. If the error of
/// codes could have hidden one of the best, all nodes that are near enough by codes are compared.
pub fn scan_graph_codes<'v>(
    graph: &Graph,
    search: GraphQuery<'_>,
    exact: &impl Fn(u32) -> Option<&'v [f32]>,
) -> Option<Vec<Candidate>> {
    if graph.is_exact() {
        return None;
    }
    let coded = graph.quantiser().encode_query(search.query);
    let wanted = SCANNED_RERANKED * reranked(search.k);
    let nearest = nearest_by_codes(graph, &coded, search.allowed, wanted);
    let found = rerank(graph, search, wanted, nearest.iter().map(|n| n.key as u32), exact);
    let (Some(left_out), Some(worst)) = (nearest.get(wanted - 1), found.get(search.k - 1)) else { return Some(found) };
    let off = |n: &Neighbour| Some((search.query.distance_to(exact(n.key as u32)?) - n.distance).abs());
    let reach = worst.distance + nearest.iter().step_by(JUDGED).filter_map(off).fold(0.0, f32::max);
    if left_out.distance >= reach {
        return Some(found);
    }
    let near_enough = within_by_codes(graph, &coded, search.allowed, reach);
    Some(rerank(graph, search, near_enough.len(), near_enough.into_iter(), exact))
}

/// If fewer than one in this many is allowed, scanning them in node order beats finding them in address order.
const SPARSE: usize = 32;

/// Exact distances of all allowed nodes. [`search_planned`] does this if a walk does not pay.
pub fn scan_graph<'v>(
    graph: &Graph,
    search: GraphQuery<'_>,
    exact: impl Fn(u32) -> Option<&'v [f32]>,
) -> Vec<Candidate> {
    let mut best = ExactBest::new(graph, search);
    let mut offer = |node: u32| {
        if let Some(v) = exact(node) {
            best.offer(node, v);
        }
    };
    match search.allowed {
        Some(allowed) if allowed.count() * SPARSE < graph.len() => allowed.iter().for_each(offer),
        // In address order, the order of vectors in chunks.
        Some(allowed) => graph.nodes_by_address().filter(|(_, n)| allowed.contains(*n)).for_each(|(_, n)| offer(n)),
        None => graph.nodes_by_address().for_each(|(_, n)| offer(n)),
    }
    best.into_candidates()
}

/// Bounds of one walk.
#[derive(Debug, Clone, Copy)]
pub struct WalkLimits {
    /// The width, at least k.
    pub ef: usize,
    /// The most distances to compute.
    pub distances: usize,
}

/// The walk alone; `None` if it gave up. It may find fewer nodes than there are.
pub fn walk_graph<'v>(
    graph: &Graph,
    search: GraphQuery<'_>,
    exact: &impl Fn(u32) -> Option<&'v [f32]>,
    limits: WalkLimits,
    scratch: &mut SearchScratch,
) -> Option<Vec<Candidate>> {
    let nearest = walked_nodes(graph, search, exact, limits, scratch)?;
    Some(rerank(graph, search, reranked(search.k), nearest, exact))
}

/// The allowed nodes that a walk keeps, nearest first as far as the walk knows; `None` if it gave up.
pub fn walked_nodes<'v>(
    graph: &Graph,
    search: GraphQuery<'_>,
    exact: &impl Fn(u32) -> Option<&'v [f32]>,
    limits: WalkLimits,
    scratch: &mut SearchScratch,
) -> Option<impl Iterator<Item = u32>> {
    let coded = graph.quantiser().encode_query(search.query);
    let sought = search.allowed.map_or(Sought::ANY, |allowed| Sought {
        enough: enough(search.k).min(limits.ef),
        share: allowed.count() as f64 / graph.len() as f64,
    });
    let walk = GraphWalk { graph, search, coded, exact, products: RefCell::default(), sought };
    let entries = entry_points(graph, &walk, search.k, scratch);
    let bounds = Bounds { nodes: graph.len(), entries: &entries, ef: limits.ef, distances: limits.distances };
    let pool = best_first(&walk, bounds, scratch)?;
    Some(pool.found(move |node| search.allowed.is_none_or(|allowed| allowed.contains(node))).map(|n| n.key as u32))
}

/// How many vectors are fetched at a time.
const AHEAD: usize = 16;

/// The k nearest of the first `wanted` of `nodes` that have a vector, with exact distances.
fn rerank<'v>(
    graph: &Graph,
    search: GraphQuery<'_>,
    wanted: usize,
    nodes: impl Iterator<Item = u32>,
    exact: &impl Fn(u32) -> Option<&'v [f32]>,
) -> Vec<Candidate> {
    let mut vectors = nodes.filter_map(|node| Some((node, exact(node)?))).take(wanted);
    let mut best: Vec<(Candidate, Option<Address>)> = Vec::with_capacity(wanted);
    loop {
        let mut ahead = [const { None }; AHEAD];
        let mut count = 0;
        for (slot, (node, v)) in ahead.iter_mut().zip(&mut vectors) {
            prefetch(v);
            *slot = Some((node, v));
            count += 1;
        }
        for (node, v) in ahead.into_iter().flatten() {
            best.push((Candidate { node, distance: search.query.distance_to(v) }, graph.address(node)));
        }
        if count < AHEAD {
            break;
        }
    }
    nearest_first(best, search.k)
}

/// The k nearest, ties by address.
pub fn nearest_first(mut found: Vec<(Candidate, Option<Address>)>, k: usize) -> Vec<Candidate> {
    found.sort_unstable_by(|(a, x), (b, y)| a.distance.total_cmp(&b.distance).then(x.cmp(y)));
    found.into_iter().take(k).map(|(candidate, _)| candidate).collect()
}

/// The k best exact distances. Ties go to the smaller address, so each is kept by its rank in address order.
struct ExactBest<'a> {
    graph: &'a Graph,
    search: GraphQuery<'a>,
    top: TopK,
}

impl<'a> ExactBest<'a> {
    fn new(graph: &'a Graph, search: GraphQuery<'a>) -> ExactBest<'a> {
        ExactBest { graph, search, top: TopK::new(search.k) }
    }

    #[inline]
    fn offer(&mut self, node: u32, v: &[f32]) {
        let distance = self.search.query.distance_to(v);
        if distance <= self.top.bound()
            && let Some(address) = self.graph.address(node)
        {
            self.top.push(distance, address.0);
        }
    }

    fn into_candidates(self) -> Vec<Candidate> {
        let graph = self.graph;
        let found = self.top.into_sorted().into_iter();
        found
            .filter_map(|n| graph.node_of(Address(n.key)).map(|node| Candidate { node, distance: n.distance }))
            .collect()
    }
}

/// A graph seen from one query.
struct GraphWalk<'a, E> {
    graph: &'a Graph,
    search: GraphQuery<'a>,
    coded: CodedQuery,
    exact: &'a E,
    products: RefCell<Vec<i32>>,
    sought: Sought,
}

impl<'v, E: Fn(u32) -> Option<&'v [f32]>> SearchGraph for GraphWalk<'_, E> {
    #[inline]
    fn neighbours(&self, node: u32) -> &[u32] {
        self.graph.neighbours(node)
    }

    #[inline]
    fn distances(&self, nodes: &[u32], distances: &mut Vec<f32>) {
        if !self.graph.is_exact() {
            return self.coded.estimates(self.graph.coded(), nodes, &mut self.products.borrow_mut(), distances);
        }
        distances.clear();
        distances.extend(nodes.iter().map(|node| match (self.exact)(*node) {
            Some(v) => self.search.query.distance_to(v),
            None => self.coded.estimate(self.graph.code(*node), self.graph.bias(*node)),
        }));
    }

    #[inline]
    fn accepts(&self, node: u32) -> bool {
        self.search.allowed.is_none_or(|allowed| allowed.contains(node))
    }

    #[inline]
    fn sought(&self) -> Sought {
        self.sought
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        match self.graph.is_exact().then(|| (self.exact)(node)).flatten() {
            Some(v) => prefetch(v),
            None => prefetch(self.graph.code(node)),
        }
    }

    #[inline]
    fn prefetch_offset(&self, node: u32) {
        prefetch(self.graph.columns().neighbours.offsets.get(node as usize..node as usize + 1).unwrap_or_default());
    }

    #[inline]
    fn prefetch_neighbours(&self, node: u32) {
        prefetch(self.graph.neighbours(node));
    }
}
