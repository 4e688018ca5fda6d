//! Extending a graph instead of building a new one: its lists are kept, new vectors are inserted, nodes whose record
//! is gone are left out. Merging two graphs thus costs as much as inserting the smaller one.
//! Invariant: as after a build, there is one node per vector, all reached on level 0.

use super::build::{Adjacency, GraphParams, GraphRange, VectorSet, link_and_freeze};
use super::builder::{self, InheritedLinks};
use super::freeze::GraphSource;
use super::graph::Graph;
use super::metric::PointSpace;
use crate::error::{Error, Result};

/// A graph to extend.
#[derive(Debug, Clone)]
pub struct OldGraph<'a> {
    /// The graph, made by any builder.
    pub graph: &'a Graph,
    /// The raw vector of each node; `None` if its record is gone, which leaves the node out.
    pub vectors: Vec<Option<&'a [f32]>>,
}

/// The graph of `old`'s remaining nodes and of `new` (which may be empty if some remain). `range` covers both. It
/// works best if `new` is the smaller part.
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

/// `kept` are the first vectors, so their groups come first.
fn link(graph: &Graph, kept: &[u32], space: &PointSpace<'_>, groups: &[Vec<u32>], params: &GraphParams) -> Adjacency {
    let old_members = |group: &Vec<u32>| group.iter().filter_map(|i| kept.get(*i as usize)).copied().collect();
    let members: Vec<Vec<u32>> = groups.iter().map(old_members).take_while(|old: &Vec<u32>| !old.is_empty()).collect();
    if members.is_empty() {
        return builder::grow(space, None, params);
    }
    let start = InheritedLinks::new(graph, &members).lists(space, params);
    builder::grow(space, Some(&start), params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::recall_tests::{Built, built_by, clustered, mean_recall};
    use crate::index::{BUILDERS, NodeBitmap};
    use crate::record::{Address, Metric, Version};

    const DIM: usize = 24;

    /// Rows `from..` of `values` at their addresses in commit 1.
    fn rows_from(metric: Metric, values: &[f32], from: usize) -> VectorSet<'_> {
        let vectors: Vec<&[f32]> = values.chunks_exact(DIM).skip(from).collect();
        let addresses = (from..from + vectors.len()).filter_map(|row| Address::new(Version(1), row)).collect();
        VectorSet { metric, dim: DIM, vectors, addresses }
    }

    /// Extends `old` by the rows of `values` that it lacks; its rows for which `gone` is true are left out.
    fn extended(old: &Built, values: &[f32], gone: impl Fn(usize) -> bool) -> Built {
        let row = |node| old.graph.address(node).map(Address::row).unwrap_or(0);
        let vector = |node: u32| old.vector(node).filter(|_| !gone(row(node)));
        let source = OldGraph { graph: &old.graph, vectors: (0..old.graph.len() as u32).map(vector).collect() };
        let range = GraphRange { stream: "c/test".into(), lo: Version(1), hi: Version(1) };
        let new = rows_from(old.graph.metric(), values, old.values.len() / DIM);
        let graph = extend_graph(&source, &new, range, &GraphParams::default()).expect("the vectors are valid");
        graph.check_invariants().expect("an extended graph holds together");
        Built { dim: DIM, values: values.to_vec(), graph }
    }

    /// Six thousand rows in no order, a tenth of them duplicates of others.
    fn shuffled(seed: u64) -> Vec<f32> {
        let sorted = clustered(6000, DIM, seed);
        let row = |i: usize| if i % 10 == 9 { (i * 31) % 500 } else { (i * 2477) % 6000 };
        (0..6000).flat_map(|i| sorted[row(i) * DIM..][..DIM].to_vec()).collect()
    }

    #[test]
    fn an_extended_graph_finds_as_much_as_one_built_at_once() {
        let (values, queries) = (shuffled(1), clustered(50, DIM, 2));
        for metric in [Metric::L2, Metric::Cosine, Metric::Ip] {
            for builder in BUILDERS.iter().copied() {
                let old = built_by(builder, metric, DIM, values[..4000 * DIM].to_vec(), 1);
                let extended = extended(&old, &values, |_| false);
                assert_eq!(extended.graph.len(), 6000);
                let (_, walked) = mean_recall(&extended, &queries, None);
                assert!(walked >= 0.95, "{metric}, {} extended: recall@10 of the walk is {walked}", builder.name());
            }
        }
    }

    #[test]
    fn nodes_whose_record_is_gone_are_left_out_and_the_others_still_found() {
        let (values, queries) = (shuffled(1), clustered(50, DIM, 2));
        let old = built_by(BUILDERS[0], Metric::L2, DIM, values[..5000 * DIM].to_vec(), 1);
        // Every third row, and the entry point's.
        let entry = old.graph.address(old.graph.header().entry).map(Address::row);
        let gone = |row: usize| row.is_multiple_of(3) || Some(row) == entry;
        let extended = extended(&old, &values, gone);
        let left = (0..5000).filter(|row| !gone(*row)).count();
        assert_eq!(extended.graph.len(), left + 1000);
        let rows = (0..extended.graph.len() as u32).filter_map(|node| extended.graph.address(node).map(Address::row));
        assert!(rows.into_iter().all(|row| row >= 5000 || !gone(row)));
        let (_, walked) = mean_recall(&extended, &queries, None);
        assert!(walked >= 0.95, "recall@10 of the walk is {walked}");
    }

    #[test]
    fn a_graph_of_which_nothing_is_left_is_built_of_the_new_alone() {
        let values = shuffled(3);
        let old = built_by(BUILDERS[0], Metric::L2, DIM, values[..100 * DIM].to_vec(), 1);
        assert_eq!(extended(&old, &values[..300 * DIM], |_| true).graph.len(), 200);
    }

    #[test]
    fn a_graph_can_be_extended_by_nothing_to_shed_its_dead() {
        let values = shuffled(4);
        let old = built_by(BUILDERS[0], Metric::L2, DIM, values[..1000 * DIM].to_vec(), 1);
        let shed = extended(&old, &values[..1000 * DIM], |row| row < 900);
        assert_eq!(shed.graph.len(), 100);
        let allowed = NodeBitmap::none(100);
        assert_eq!(mean_recall(&shed, &values[..DIM], Some(&allowed)), (1.0, 1.0));
    }

    #[test]
    fn vectors_that_do_not_fit_the_graph_are_refused() {
        let values = shuffled(5);
        let old = built_by(BUILDERS[0], Metric::L2, DIM, values[..50 * DIM].to_vec(), 1);
        let range = GraphRange { stream: "c/test".into(), lo: Version(1), hi: Version(1) };
        let params = GraphParams::default();
        let refused = |metric, nodes| {
            let old = OldGraph { graph: &old.graph, vectors: vec![None; nodes] };
            extend_graph(&old, &rows_from(metric, &values, 50), range.clone(), &params)
                .expect_err("refused")
                .to_string()
        };
        assert!(refused(Metric::L2, 49).contains("each of 50 nodes, by l2 of dimension 24, got 49"));
        assert!(refused(Metric::Ip, 50).contains("got 50, by ip"));
    }
}
