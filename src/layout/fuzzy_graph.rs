//! The fuzzy union of all neighbourhoods (§3.1 of the paper: a + b − a·b), as rows of edges.
//! Invariant: a graph of all nodes is symmetric. A graph of added nodes has only their rows.

use rayon::prelude::*;

use super::membership::strengths_of;
use super::neighbours::NeighbourLists;

/// Edges with strengths, row by row.
#[derive(Debug, Clone)]
pub(super) struct FuzzyGraph {
    /// The node of the first row.
    pub first: u32,
    /// Where each row begins, and the end.
    offsets: Vec<usize>,
    targets: Vec<u32>,
    /// Strengths in units of 2⁻³².
    rates: Vec<u32>,
}

impl FuzzyGraph {
    /// The union of the neighbourhoods of all nodes.
    pub fn union(mut lists: NeighbourLists) -> FuzzyGraph {
        debug_assert_eq!(lists.first, 0, "the rows of all nodes");
        strengths_of(&mut lists);
        let (offsets, mut ends) = union_offsets(&lists);
        let edges = offsets.last().copied().unwrap_or(0);
        let (mut targets, mut rates) = (vec![0; edges], vec![0; edges]);
        for row in 0..lists.len() {
            let (nodes, strengths) = lists.row(row);
            for (node, strength) in nodes.iter().zip(strengths) {
                let back = strength_of(&lists, *node as usize, row as u32);
                let union = strength + back.unwrap_or(0.0) - strength * back.unwrap_or(0.0);
                let mut put = |row: usize, target: u32| {
                    (targets[ends[row]], rates[ends[row]]) = (target, rate_of(union));
                    ends[row] += 1;
                };
                put(row, *node);
                if back.is_none() {
                    put(*node as usize, row as u32);
                }
            }
        }
        FuzzyGraph { first: 0, offsets, targets, rates }
    }

    /// The neighbourhoods of added nodes, one-sided: others stay where they are.
    pub fn of_added(mut lists: NeighbourLists) -> FuzzyGraph {
        strengths_of(&mut lists);
        let mut graph = FuzzyGraph { first: lists.first, offsets: vec![0], targets: Vec::new(), rates: Vec::new() };
        for row in 0..lists.len() {
            let (nodes, strengths) = lists.row(row);
            graph.targets.extend_from_slice(nodes);
            graph.rates.extend(strengths.iter().copied().map(rate_of));
            graph.offsets.push(graph.targets.len());
        }
        graph
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The edges of a row: targets, and strengths in units of 2⁻³².
    #[inline]
    pub fn row(&self, row: usize) -> (&[u32], &[u32]) {
        let range = self.start(row)..self.offsets[row + 1];
        (&self.targets[range.clone()], &self.rates[range])
    }

    /// The number of the first edge of a row.
    #[inline]
    pub fn start(&self, row: usize) -> usize {
        self.offsets[row]
    }
}

/// Where the rows of the union begin, with the end, and the same once more to count on.
fn union_offsets(lists: &NeighbourLists) -> (Vec<usize>, Vec<usize>) {
    // Only the lookups take long; they need no order.
    let one_sided: Vec<Vec<u32>> = (0..lists.len())
        .into_par_iter()
        .chunks(4096)
        .map(|rows| {
            let of_row = |row: usize| lists.row(row).0.iter().copied().filter(move |node| !knows(lists, *node, row));
            rows.into_iter().flat_map(of_row).collect()
        })
        .collect();
    let mut offsets = vec![0; lists.len() + 1];
    for row in 0..lists.len() {
        offsets[row + 1] += lists.row(row).0.len();
    }
    for node in one_sided.into_iter().flatten() {
        offsets[node as usize + 1] += 1;
    }
    for row in 0..lists.len() {
        offsets[row + 1] += offsets[row];
    }
    let ends = offsets[..lists.len()].to_vec();
    (offsets, ends)
}

fn knows(lists: &NeighbourLists, node: u32, row: usize) -> bool {
    lists.row(node as usize).0.contains(&(row as u32))
}

/// The strength of `target` in the list of `row`, if it is there.
fn strength_of(lists: &NeighbourLists, row: usize, target: u32) -> Option<f32> {
    let (nodes, strengths) = lists.row(row);
    nodes.iter().position(|node| *node == target).map(|at| strengths[at])
}

fn rate_of(strength: f32) -> u32 {
    // Conversions saturate: a strength of 1 is 1 − 2⁻³².
    (f64::from(strength) * (1u64 << 32) as f64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::test_data::{clusters, exact_lists};

    fn strength(graph: &FuzzyGraph, row: usize, target: u32) -> Option<u32> {
        let (targets, rates) = graph.row(row);
        targets.iter().position(|node| *node == target).map(|at| rates[at])
    }

    #[test]
    fn the_union_is_symmetric_and_holds_every_neighbour_once() {
        let data = clusters(3, 60, 5);
        let lists = exact_lists(&data, 8);
        let graph = FuzzyGraph::union(lists.clone());
        let mut edges = 0;
        for row in 0..data.len() {
            let (targets, _) = graph.row(row);
            let distinct: std::collections::HashSet<&u32> = targets.iter().collect();
            assert_eq!(distinct.len(), targets.len());
            for target in targets {
                let there = strength(&graph, row, *target).unwrap();
                assert_eq!(strength(&graph, *target as usize, row as u32), Some(there));
                assert!(knows(&lists, row as u32, *target as usize) || knows(&lists, *target, row));
            }
            assert!(lists.row(row).0.iter().all(|node| targets.contains(node)));
            edges += targets.len();
        }
        assert_eq!(edges, graph.targets.len());
    }

    #[test]
    fn strengths_unite_as_probabilities() {
        let data = clusters(1, 40, 3);
        let mut lists = exact_lists(&data, 5);
        let graph = FuzzyGraph::union(lists.clone());
        strengths_of(&mut lists);
        for row in 0..data.len() {
            for target in graph.row(row).0 {
                let a = f64::from(strength_of(&lists, row, *target).unwrap_or(0.0));
                let b = f64::from(strength_of(&lists, *target as usize, row as u32).unwrap_or(0.0));
                let is = f64::from(strength(&graph, row, *target).unwrap()) / 2f64.powi(32);
                assert!((is - (a + b - a * b)).abs() < 1e-6, "{is} of {a} and {b}");
            }
        }
    }
}
