//! The level of each node, and the order in which nodes are numbered and inserted.
//! Invariant: nodes are numbered by level, highest first. So each level's nodes are a prefix of all, and node 0 is
//! the entry point. Within a level the order is a seeded shuffle, as sorted data ruins graphs.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::index::build::{Adjacency, GraphParams};

/// Levels above this would hold no more than a handful of nodes at any size.
const MAX_LEVEL: usize = 24;

/// A row and its highest level, in the order of insertion.
pub type Levels = Vec<(u32, usize)>;

/// All `rows` with their levels. Rows of `start` keep theirs and come first. The others are shuffled and draw ⌊−ln U
/// · 1/ln M⌋, at most the highest level of `start`, whose entry point thus stays the first node.
pub fn draw_levels(rows: usize, start: Option<&Adjacency>, params: &GraphParams) -> Levels {
    let mut rng = StdRng::seed_from_u64(params.seed);
    let linked = start.map_or(0, |start| start.lists.len());
    let highest = start.map_or(MAX_LEVEL, |start| start.top_level(start.entry));
    let mut levels: Levels = (0..linked as u32).map(|row| (row, start.map_or(0, |s| s.top_level(row)))).collect();
    if let Some(start) = start {
        levels.swap(0, start.entry as usize);
    }
    let mut new: Vec<u32> = (linked as u32..rows as u32).collect();
    new.shuffle(&mut rng);
    let per_level = 1.0 / (params.m as f64).ln();
    levels.extend(new.into_iter().map(|row| {
        let uniform: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
        (row, ((-uniform.ln() * per_level) as usize).min(highest))
    }));
    levels
}

/// How nodes are numbered while building.
#[derive(Debug)]
pub struct Ordering {
    /// The row of each node.
    pub order: Vec<u32>,
    /// How many nodes are on level 0, level 1, …; none is 0.
    pub level_sizes: Vec<usize>,
}

impl Ordering {
    pub fn new(levels: &[(u32, usize)]) -> Ordering {
        let mut sorted = levels.to_vec();
        sorted.sort_by_key(|(_, level)| std::cmp::Reverse(*level));
        let top = sorted.first().map_or(0, |(_, level)| *level);
        let size = |level| sorted.partition_point(|(_, of)| *of >= level);
        Ordering { order: sorted.iter().map(|(row, _)| *row).collect(), level_sizes: (0..=top).map(size).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_holds_one_mth_of_the_one_below() {
        let params = GraphParams { m: 16, ..GraphParams::default() };
        let ordering = Ordering::new(&draw_levels(200_000, None, &params));
        let sizes = &ordering.level_sizes;
        assert_eq!(sizes[0], 200_000);
        assert!((11_900..13_100).contains(&sizes[1]), "expected about 12500 of 200000 on level 1, got {}", sizes[1]);
        assert!((640..930).contains(&sizes[2]), "expected about 781 of 200000 on level 2, got {}", sizes[2]);
        let mut rows = ordering.order.clone();
        rows.sort_unstable();
        assert!(rows.into_iter().eq(0..200_000), "every row is one node");
        assert!(ordering.order[..100].windows(2).any(|pair| pair[0] > pair[1]), "the order is shuffled");
    }

    #[test]
    fn rows_already_linked_keep_their_levels_and_their_entry_point() {
        let lists = vec![vec![vec![]], vec![vec![], vec![]], vec![vec![], vec![]]];
        let start = Adjacency { entry: 2, lists };
        let params = GraphParams { m: 2, ..GraphParams::default() };
        let levels = draw_levels(1000, Some(&start), &params);
        let ordering = Ordering::new(&levels);
        assert_eq!(ordering.order[0], 2);
        assert_eq!(ordering.level_sizes.len(), 2, "no new node is above the entry point");
        let level_of = |row| levels.iter().find(|(of, _)| *of == row).map(|(_, level)| *level);
        assert_eq!((level_of(0), level_of(1), level_of(2)), (Some(0), Some(1), Some(1)));
    }
}
