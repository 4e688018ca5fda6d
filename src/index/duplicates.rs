//! Exactly equal vectors. They defeat the neighbour heuristic, since each prunes everything behind it. Builders
//! therefore see one of each; its duplicates are linked below it afterwards.
//! Invariant: every node is in exactly one group, and groups' first nodes differ from each other.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::build::Adjacency;

/// Nodes grouped by equal vectors: each group ascends, and groups ascend by their first node.
pub fn duplicate_groups(rows: &[&[f32]]) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut bytes = Vec::new();
    for (node, row) in (0u32..).zip(rows) {
        bytes.clear();
        // + 0.0 turns −0 into 0, as the two are equal.
        row.iter().for_each(|x| bytes.extend_from_slice(&(x + 0.0).to_ne_bytes()));
        let alike = by_hash.entry(xxh3_64(&bytes)).or_default();
        match alike.iter().find(|group| rows[groups[**group][0] as usize] == *row) {
            Some(group) => groups[*group].push(node),
            None => {
                alike.push(groups.len());
                groups.push(vec![node]);
            }
        }
    }
    groups
}

/// Lists over all `nodes`. The builder's node i is the first of group i. Its duplicates hang below it as a tree of
/// fan-out `m`, on level 0 only.
pub fn join_duplicates(linked: Adjacency, groups: &[Vec<u32>], nodes: usize, m: usize) -> Adjacency {
    let first = |i: u32| groups[i as usize][0];
    let mut lists: Vec<Vec<Vec<u32>>> = vec![vec![Vec::new()]; nodes];
    for (i, levels) in (0u32..).zip(linked.lists) {
        let renamed = |list: Vec<u32>| list.into_iter().map(first).collect();
        lists[first(i) as usize] = levels.into_iter().map(renamed).collect();
    }
    let mut joined = Adjacency { entry: first(linked.entry), lists };
    for group in groups {
        for (i, duplicate) in group.iter().enumerate().skip(1) {
            joined.link(group[(i - 1) / m], *duplicate);
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_vectors_are_grouped_whatever_the_sign_of_zero() {
        let rows: [&[f32]; 6] = [&[1.0, 0.0], &[2.0, 0.0], &[1.0, -0.0], &[0.0, 1.0], &[2.0, 0.0], &[1.0, 0.0]];
        assert_eq!(duplicate_groups(&rows), vec![vec![0, 2, 5], vec![1, 4], vec![3]]);
    }

    #[test]
    fn duplicates_hang_below_the_first_of_their_group() {
        let linked = Adjacency { entry: 1, lists: vec![vec![vec![1]], vec![vec![0], vec![]]] };
        let joined = join_duplicates(linked, &[vec![0, 2, 3, 4], vec![1]], 5, 2);
        assert_eq!(joined.entry, 1);
        assert_eq!(joined.lists[0], vec![vec![1, 2, 3]]);
        assert_eq!(joined.lists[1], vec![vec![0], vec![]]);
        assert_eq!((&joined.lists[2], &joined.lists[3]), (&vec![vec![0, 4]], &vec![vec![0]]));
        assert_eq!(joined.lists[4], vec![vec![2]]);
    }
}
