//! The levels of a graph being built. Invariant: level l holds lists for the first `level_sizes[l]` nodes;
//! node 0 is on all of them.

use super::levels::Ordering;
use super::links::Links;
use crate::index::build::Adjacency;

/// One [`Links`] per level, level 0 first: at most 2 M links there, M above.
#[derive(Debug)]
pub struct Layers {
    pub levels: Vec<Links>,
}

impl Layers {
    /// Empty lists.
    pub fn empty(ordering: &Ordering, m: usize) -> Layers {
        let capacity = |level| if level == 0 { 2 * m } else { m };
        let sizes = ordering.level_sizes.iter().enumerate();
        Layers { levels: sizes.map(|(level, nodes)| Links::new(*nodes, capacity(level))).collect() }
    }

    /// The lists of `start`, with nodes renumbered. Of a list that is too long, the nearest are kept.
    pub fn of(start: &Adjacency, ordering: &Ordering, m: usize) -> Layers {
        let mut layers = Layers::empty(ordering, m);
        let mut node_of_row = vec![0u32; ordering.order.len()];
        (0u32..).zip(&ordering.order).for_each(|(node, row)| node_of_row[*row as usize] = node);
        for (row, levels) in start.lists.iter().enumerate() {
            for (links, list) in layers.levels.iter_mut().zip(levels) {
                let list: Vec<u32> = list.iter().map(|other| node_of_row[*other as usize]).collect();
                links.rows().replace(node_of_row[row], &list);
            }
        }
        layers
    }

    /// The highest level of `node`.
    pub fn top_level(&self, node: u32) -> usize {
        self.levels.iter().take_while(|links| (node as usize) < links.nodes()).count().saturating_sub(1)
    }

    /// Lists by row.
    pub fn into_adjacency(self, ordering: &Ordering) -> Adjacency {
        let mut lists = vec![Vec::new(); ordering.order.len()];
        for (node, row) in (0u32..).zip(&ordering.order) {
            let rows = |list: &[u32]| list.iter().map(|other| ordering.order[*other as usize]).collect::<Vec<u32>>();
            let levels = &self.levels[..=self.top_level(node)];
            lists[*row as usize] = levels.iter().map(|links| rows(links.of(node))).collect();
        }
        Adjacency { entry: ordering.order.first().copied().unwrap_or(0), lists }
    }
}
