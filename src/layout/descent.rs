//! Stochastic gradient descent on the places of points (§4.2 of the paper): each epoch samples edges as often as
//! they are strong. A sampled edge pulls its ends together, and for each one some random points push.
//!
//! Each point is moved by its own edges only, as in the paper's algorithm 5; every edge is in the rows of both ends.
//! The reference implementation moves both ends at once, which threads cannot do without races, and which pulls twice
//! as much for each push: its maps are less faithful. Points move in blocks: all of a block see the places from before
//! it, and move at its end.
//! Invariant: the result does not depend on the number of threads.

use rayon::prelude::*;

use super::Point;
use super::curve::{attraction, repulsion};
use super::draws::Draws;
use super::fuzzy_graph::FuzzyGraph;

/// Blocks of an epoch. The more, the fresher are the places that points see; the fewer, the less threads wait for each
/// other.
const BLOCKS: usize = 16;
/// This many rows lie together in one block, for the sake of caches; the next as many are in the next block.
const GROUP: usize = 16;
/// Groups that are worth another thread: some 0.1 ms.
const GROUPS_AT_ONCE: usize = if cfg!(test) { 1 } else { 32 };
/// Random points that push for each sampled edge; from the paper.
const NEGATIVE_SAMPLES: u32 = 5;
/// Random points that are looked at together: two registers of SSE.
const LANES: usize = 8;
/// Edges whose turn is decided together.
const EDGES: usize = 64;

/// Moves points by the edges of a graph.
#[derive(Debug)]
pub(super) struct Descent<'a> {
    /// The rows of the points that move.
    pub graph: &'a FuzzyGraph,
    pub epochs: u32,
    /// The length of steps in the first epoch. It falls to 0 linearly.
    pub first_rate: f32,
    pub seed: u64,
}

impl Descent<'_> {
    /// Moves the points that have rows. `wanted` is asked before each block, and told the share that is done.
    ///
    /// # Errors
    /// What `wanted` returns.
    pub fn run<E>(&self, points: &mut [Point], mut wanted: impl FnMut(f32) -> Result<(), E>) -> Result<(), E> {
        let groups = self.graph.len().div_ceil(GROUP);
        let blocks = BLOCKS.min(groups);
        let mut moved = Vec::new();
        for epoch in 0..self.epochs {
            for block in 0..blocks {
                wanted((epoch as f32 + block as f32 / blocks as f32) / self.epochs as f32)?;
                let of_block = (0..(groups - block).div_ceil(blocks)).into_par_iter().with_min_len(GROUPS_AT_ONCE);
                let group = |number: usize| block + number * blocks;
                of_block.map(|number| self.moved_group(group(number), epoch, points)).collect_into_vec(&mut moved);
                for (number, places) in moved.iter().enumerate() {
                    let start = self.graph.first as usize + group(number) * GROUP;
                    // The last group may be shorter.
                    points[start..].iter_mut().zip(places).for_each(|(point, place)| *point = *place);
                }
            }
        }
        Ok(())
    }

    fn moved_group(&self, group: usize, epoch: u32, points: &[Point]) -> [Point; GROUP] {
        let mut places = [[0.0; 2]; GROUP];
        let rows = group * GROUP..self.graph.len();
        places.iter_mut().zip(rows).for_each(|(place, row)| *place = self.moved(row, epoch, points));
        places
    }

    /// Where the point of `row` goes in an epoch.
    fn moved(&self, row: usize, epoch: u32, points: &[Point]) -> Point {
        let node = self.graph.first as usize + row;
        let rate = self.first_rate * (1.0 - epoch as f32 / self.epochs as f32);
        let mut draws = Draws::new(self.seed, u64::from(epoch), node as u64);
        let (targets, rates) = self.graph.row(row);
        let mut place = points[node];
        // A rest of negative samples is left over in each epoch. So that none are lost on average, it is drawn.
        let mut owed = draws.below(LANES as u32);
        let edges = self.graph.start(row)..;
        for ((targets, rates), start) in targets.chunks(EDGES).zip(rates.chunks(EDGES)).zip(edges.step_by(EDGES)) {
            let mut due = [0; EDGES];
            let mut count = 0;
            for (at, (target, rate)) in targets.iter().zip(rates).enumerate() {
                due[count] = *target;
                count += usize::from(is_due(start + at, *rate, epoch));
            }
            for target in &due[..count] {
                let force = attraction(place, points[*target as usize]);
                place = [place[0] + rate * force[0], place[1] + rate * force[1]];
                owed += NEGATIVE_SAMPLES;
                if owed >= LANES as u32 {
                    owed -= LANES as u32;
                    place = repelled(place, rate, &mut draws, points);
                }
            }
        }
        place
    }
}

/// Whether an edge is sampled in an epoch. Samples of an edge are evenly spaced; where they begin differs from edge to
/// edge by the golden ratio.
#[inline]
fn is_due(edge: usize, rate: u32, epoch: u32) -> bool {
    let before = (edge as u32).wrapping_mul(0x9e37_79b9).wrapping_add(epoch.wrapping_mul(rate));
    before.checked_add(rate).is_none()
}

/// Where `place` goes when random points push.
#[inline]
fn repelled(place: Point, rate: f32, draws: &mut Draws, points: &[Point]) -> Point {
    let (mut x, mut y) = ([0.0; LANES], [0.0; LANES]);
    for (x, y) in x.iter_mut().zip(&mut y) {
        [*x, *y] = points[draws.below(points.len() as u32) as usize];
    }
    let force = repulsion(place, x, y);
    [place[0] + rate * force[0], place[1] + rate * force[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::test_data::{clusters, exact_lists};
    use std::convert::Infallible;

    fn moved(threads: usize, count: u64) -> Vec<Point> {
        let data = clusters(4, count / 4, 6);
        let graph = FuzzyGraph::union(exact_lists(&data, 10));
        let mut points: Vec<Point> = data.iter().map(|row| [row[0], row[1]]).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let descent = Descent { graph: &graph, epochs: 4, first_rate: 1.0, seed: 9 };
        pool.install(|| descent.run(&mut points, |_| Ok::<_, Infallible>(()))).unwrap();
        points
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let expected = moved(1, 2000);
        assert!(expected.iter().flatten().all(|x| x.is_finite()));
        for threads in [2, 3, 8] {
            assert_eq!(moved(threads, expected.len() as u64), expected, "{threads} threads");
        }
    }

    #[test]
    fn an_edge_is_sampled_as_often_as_it_is_strong() {
        for edge in [0, 1, 77, usize::MAX] {
            for (rate, expected) in [(u32::MAX, 1.0), (1 << 31, 0.5), (1 << 28, 1.0 / 16.0), (0, 0.0)] {
                let sampled = (0..1600).filter(|epoch| is_due(edge, rate, *epoch)).count();
                assert!((sampled as f64 - 1600.0 * expected).abs() <= 1.0, "{sampled} of edge {edge} at {rate}");
            }
        }
    }

    #[test]
    fn work_ends_once_it_is_not_wanted_and_tells_how_far_it_is() {
        let data = clusters(2, 50, 4);
        let graph = FuzzyGraph::union(exact_lists(&data, 5));
        let (mut points, mut told) = (vec![[0.0; 2]; 100], Vec::new());
        let descent = Descent { graph: &graph, epochs: 10, first_rate: 1.0, seed: 9 };
        let ended = descent.run(&mut points, |share| {
            told.push(share);
            if share >= 0.5 { Err("enough") } else { Ok(()) }
        });
        assert_eq!(ended, Err("enough"));
        assert!(told.is_sorted() && told[0] == 0.0 && told.last() == Some(&0.5), "{told:?}");
    }

    #[test]
    fn no_rows_need_no_epochs() {
        let graph = FuzzyGraph::union(exact_lists(&[], 5));
        let descent = Descent { graph: &graph, epochs: 10, first_rate: 1.0, seed: 9 };
        assert_eq!(descent.run(&mut [], |_| Err("asked")), Ok(()));
    }
}
