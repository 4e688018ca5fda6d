//! The nearest neighbours of nodes, as the caller found them, in flat columns.
//! Invariant: a list names no node twice, not its own node, and none past the end; its distances are finite, not
//! negative and ascend.

use std::ops::Range;

use rayon::prelude::*;

/// Marks the unused end of a list.
const NONE: u32 = u32::MAX;

/// A neighbour of a node, as it is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearNode {
    /// The node's number.
    pub node: u32,
    /// How far away it is. Only differences of one node's distances count, so any monotonous scale will do.
    pub distance: f32,
}

/// Up to k neighbours of each node of a range, nearest first.
#[derive(Debug, Clone)]
pub struct NeighbourLists {
    pub(super) first: u32,
    pub(super) k: usize,
    /// k for each node of the range; the unused end of a list is `NONE`.
    pub(super) nodes: Vec<u32>,
    /// Beside `nodes`.
    pub(super) distances: Vec<f32>,
}

impl NeighbourLists {
    /// Asks `find` for the neighbours of each of `nodes`, in any order, and keeps the `k` nearest. Entries that cannot
    /// be used are left out: the node itself, one named before, one not below the end of `nodes`, a distance that is
    /// not finite. `find` is given an empty vector, and is called from many threads at once.
    ///
    /// # Errors
    /// The first that `find` returns, if it does.
    pub fn gather<E: Send>(
        nodes: Range<u32>,
        k: usize,
        find: impl Fn(u32, &mut Vec<NearNode>) -> Result<(), E> + Sync,
    ) -> Result<NeighbourLists, E> {
        let (first, k) = (nodes.start, k.max(1));
        let length = nodes.len() * k;
        let mut lists = NeighbourLists { first, k, nodes: vec![NONE; length], distances: vec![0.0; length] };
        let rows = lists.nodes.par_chunks_mut(k).zip(lists.distances.par_chunks_mut(k)).enumerate();
        rows.try_for_each_init(Vec::new, |found, (row, (ids, distances))| {
            let node = first + row as u32;
            found.clear();
            find(node, found)?;
            found.retain(|n| n.node != node && n.node < nodes.end && n.distance.is_finite());
            found.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.node.cmp(&b.node)));
            let mut kept = 0;
            for neighbour in found.iter() {
                if kept < k && !ids[..kept].contains(&neighbour.node) {
                    (ids[kept], distances[kept]) = (neighbour.node, neighbour.distance.max(0.0));
                    kept += 1;
                }
            }
            Ok(())
        })?;
        Ok(lists)
    }

    /// How many nodes have a list.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() / self.k
    }

    /// The neighbours in row `row` and their distances.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = row * self.k..(row + 1) * self.k;
        let (nodes, distances) = (&self.nodes[range.clone()], &self.distances[range]);
        let used = nodes.iter().position(|node| *node == NONE).unwrap_or(self.k);
        (&nodes[..used], &distances[..used])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn what_cannot_be_used_is_left_out() {
        let found = [(3, 0.5), (1, 0.1), (9, 0.1), (2, f32::NAN), (3, 0.7), (0, -0.1), (2, f32::INFINITY), (4, 0.6)];
        let lists = NeighbourLists::gather(0..5, 3, |node, list| {
            list.extend(found.map(|(node, distance)| NearNode { node, distance }));
            if node == 2 {
                list.clear();
            }
            Ok::<_, Infallible>(())
        });
        let lists = lists.unwrap();
        assert_eq!(lists.len(), 5);
        assert_eq!(lists.row(1), (&[0, 3, 4][..], &[0.0, 0.5, 0.6][..]));
        assert_eq!(lists.row(0), (&[1, 3, 4][..], &[0.1, 0.5, 0.6][..]));
        assert_eq!(lists.row(2), (&[][..], &[][..]));
    }

    #[test]
    fn an_error_ends_the_gathering() {
        let refused = NeighbourLists::gather(0..1000, 3, |node, _| if node == 500 { Err("stop") } else { Ok(()) });
        assert_eq!(refused.unwrap_err(), "stop");
    }

    #[test]
    fn nothing_has_no_lists() {
        let lists = NeighbourLists::gather(0..0, 3, |_, _| Ok::<_, Infallible>(())).unwrap();
        assert!(lists.len() == 0);
    }
}
