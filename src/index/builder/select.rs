//! The paper's neighbour heuristic (algorithm 4): of candidates, nearest first, keep those that are nearer
//! to the point than to any kept before, so that links lead in all directions.

use super::points::Points;
use super::search_layer::node_of;

/// Replaces `kept` by at most `most` of `candidates` (keys of distance and node, ascending).
pub fn select(points: &impl Points, candidates: &[u64], most: usize, kept: &mut Vec<u32>) {
    kept.clear();
    for key in candidates {
        if kept.len() == most {
            break;
        }
        let (distance, node) = ((key >> 32) as u32, node_of(*key));
        if kept.iter().all(|other| points.distance(*other, node) >= distance) {
            kept.push(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::points::FloatPoints;
    use super::super::search_layer::key;
    use super::*;

    fn kept(values: &[f32], most: usize) -> Vec<u32> {
        let rows: Vec<&[f32]> = values.chunks_exact(2).collect();
        let points = FloatPoints::new(&rows);
        let mut candidates: Vec<u64> = (1..rows.len() as u32).map(|node| key(points.distance(0, node), node)).collect();
        candidates.sort_unstable();
        let mut kept = Vec::new();
        select(&points, &candidates, most, &mut kept);
        kept
    }

    #[test]
    fn a_candidate_behind_a_nearer_one_is_left_out() {
        // East at 1 and 2, north at 1.5, west at 5: the second point in the east is behind the first.
        let values = [0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 1.5, -5.0, 0.0];
        assert_eq!(kept(&values, 10), vec![1, 3, 4]);
        assert_eq!(kept(&values, 2), vec![1, 3]);
    }
}
