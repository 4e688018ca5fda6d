//! Making a graph larger instead of building a new one: its lists are kept, new vectors are inserted, nodes
//! whose record is gone are left out. Merging two graphs so costs what inserting the smaller one costs.
//! Invariant: as for graphs just built: one node per vector, all reached on level 0.

use super::build::{Adjacency, GraphParams, GraphRange, VectorSet, link_and_freeze};
use super::builder::{self, Heritage};
use super::freeze::GraphSource;
use super::graph::Graph;
use super::space::Space;
use crate::error::{Error, Result};

/// A graph to extend.
#[derive(Debug, Clone)]
pub struct OldGraph<'a> {
    /// The graph, by whichever builder.
    pub graph: &'a Graph,
    /// The raw vector of each of its nodes, by node; `None`: its record is gone, leave it out.
    pub vectors: Vec<Option<&'a [f32]>>,
}

/// The graph of `old`'s remaining nodes and of `new` (which may be empty if some remain). `range` covers
/// both. Works best where `new` is the smaller part.
pub fn extend_graph(old: &OldGraph<'_>, new: &VectorSet<'_>, range: GraphRange, params: &GraphParams) -> Result<Graph> {
    let header = old.graph.header();
    if old.vectors.len() != old.graph.len() || (header.metric, header.dim) != (new.metric, new.dim) {
        return Err(Error::internal(format!(
            "graph: expected a vector or none for each of {} nodes, by {} of dimension {}, got {}, by {} of dimension {}",
            old.graph.len(),
            header.metric,
            header.dim,
            old.vectors.len(),
            new.metric,
            new.dim
        )));
    }
    let mut set = VectorSet { metric: new.metric, dim: new.dim, vectors: Vec::new(), addresses: Vec::new() };
    let mut kept = Vec::new();
    for (node, vector) in (0u32..).zip(&old.vectors) {
        if let (Some(vector), Some(address)) = (vector, old.graph.address(node)) {
            kept.push(node);
            set.vectors.push(vector);
            set.addresses.push(address);
        }
    }
    set.vectors.extend(&new.vectors);
    set.addresses.extend(&new.addresses);
    let source = GraphSource { range, params: *params, builder: builder::NAME };
    link_and_freeze(&set, source, |space, groups| link(old.graph, &kept, space, groups, params))
}

/// `kept` are the first vectors, so the groups that have any of them come first.
fn link(graph: &Graph, kept: &[u32], space: &Space<'_>, groups: &[Vec<u32>], params: &GraphParams) -> Adjacency {
    let old_members = |group: &Vec<u32>| group.iter().filter_map(|i| kept.get(*i as usize)).copied().collect();
    let members: Vec<Vec<u32>> = groups.iter().map(old_members).take_while(|old: &Vec<u32>| !old.is_empty()).collect();
    if members.is_empty() {
        return builder::grow(space, None, params);
    }
    let start = Heritage::new(graph, &members).lists(space, params);
    builder::grow(space, Some(&start), params)
}
