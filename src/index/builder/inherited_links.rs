//! The lists that a larger graph inherits from a smaller one. Equal vectors become one row. Where a node is left out,
//! its neighbours are linked directly.
//! Invariant: every list holds rows of its level, without its own row and without repetition, and no more than fit.

use rayon::prelude::*;

use super::points::FloatPoints;
use super::search_layer::Scratch;
use super::select::select;
use crate::index::build::{Adjacency, GraphParams};
use crate::index::graph::Graph;
use crate::index::metric::PointSpace;

/// A graph and the rows its nodes become.
#[derive(Debug)]
pub struct InheritedLinks<'a> {
    graph: &'a Graph,
    /// The nodes of each row.
    members: &'a [Vec<u32>],
    /// The row of each node; `None` if the node is left out.
    row_of: Vec<Option<u32>>,
}

impl<'a> InheritedLinks<'a> {
    /// Row i consists of the nodes `members[i]`, at least one.
    pub fn new(graph: &'a Graph, members: &'a [Vec<u32>]) -> InheritedLinks<'a> {
        let mut row_of = vec![None; graph.len()];
        for (row, nodes) in (0u32..).zip(members) {
            nodes.iter().for_each(|node| row_of[*node as usize] = Some(row));
        }
        InheritedLinks { graph, members, row_of }
    }

    /// The lists of all rows. With `threads` > 1 they are made on the pool that this is called in.
    pub fn lists(&self, space: &PointSpace<'_>, params: &GraphParams) -> Adjacency {
        let points = FloatPoints::new(&space.rows);
        let rows = 0..self.members.len() as u32;
        let levels = |scratch: &mut Scratch, row: u32| -> Vec<Vec<u32>> {
            (0..=self.top_level(row)).map(|level| self.list(row, level, &points, params.m, scratch)).collect()
        };
        let lists: Vec<Vec<Vec<u32>>> = if params.threads > 1 {
            rows.into_par_iter().map_init(Scratch::default, levels).collect()
        } else {
            let mut scratch = Scratch::default();
            rows.map(|row| levels(&mut scratch, row)).collect()
        };
        let entry = (0..lists.len()).rev().max_by_key(|row| lists[*row].len()).unwrap_or(0);
        Adjacency { entry: entry as u32, lists }
    }

    fn top_level(&self, row: u32) -> usize {
        self.members[row as usize].iter().map(|node| self.graph.top_level(*node)).max().unwrap_or(0)
    }

    fn neighbours(&self, node: u32, level: usize) -> &[u32] {
        if level == 0 { self.graph.neighbours(node) } else { self.graph.upper_neighbours(node, level) }
    }

    fn list(&self, row: u32, level: usize, points: &FloatPoints<'_>, m: usize, scratch: &mut Scratch) -> Vec<u32> {
        let capacity = if level == 0 { 2 * m } else { m };
        let (mut list, mut gone) = (Vec::new(), false);
        for other in self.members[row as usize].iter().flat_map(|node| self.neighbours(*node, level)) {
            match self.row_of[*other as usize] {
                Some(other) => list.push(other),
                None => {
                    gone = true;
                    list.extend(self.neighbours(*other, level).iter().filter_map(|next| self.row_of[*next as usize]));
                }
            }
        }
        list.retain(|other| *other != row);
        let mut sorted = list.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if !gone && sorted.len() == list.len() && list.len() <= capacity {
            return list;
        }
        scratch.rank(points, row, sorted.into_iter());
        select(points, &scratch.found, capacity, &mut scratch.kept);
        scratch.kept.clone()
    }
}
