//! Records that came after a map was made: they are placed beside their neighbours, and all others stay where they are.

use rayon::prelude::*;

use super::Point;
use super::descent::Descent;
use super::draws::Draws;
use super::fuzzy_graph::FuzzyGraph;
use super::neighbours::NeighbourLists;

/// Epochs and length of the first steps: those of the reference implementation's `transform`.
const EPOCHS: u32 = 60;
const FIRST_RATE: f32 = 0.25;
/// How far coordinates are moved at random at the start.
const JITTER: f32 = 0.01;

/// Appends to `points` the places of the records that `neighbours` has lists of; they come after those that have
/// places. Neighbours may be new, too. Where a new record leads to no old one, `fallback` says where it begins, by
/// its number: its place on [`Projection`](super::Projection), as a rule. `wanted` is as that of
/// [`lay_out`](super::lay_out).
///
/// # Errors
/// What `wanted` returns. `points` are as they were then.
pub fn place<E>(
    points: &mut Vec<Point>,
    neighbours: NeighbourLists,
    seed: u64,
    fallback: impl Fn(u32) -> Point + Sync,
    mut wanted: impl FnMut(f32) -> Result<(), E>,
) -> Result<(), E> {
    wanted(0.0)?;
    debug_assert_eq!(neighbours.first as usize, points.len(), "new records come after the old ones");
    let old = points.len();
    let graph = FuzzyGraph::of_added(neighbours);
    let starts = starts_of(&graph, points, fallback);
    points.extend(starts.iter().zip(old as u64..).map(|(start, node)| {
        let mut draws = Draws::new(seed, 4, node);
        start.map(|x| x + JITTER * draws.signed_unit())
    }));
    let descent = Descent { graph: &graph, epochs: EPOCHS, first_rate: FIRST_RATE, seed };
    descent.run(points, &mut wanted).inspect_err(|_| points.truncate(old))
}

/// Where new records begin: in the middle of their neighbours, once those have a place.
fn starts_of(graph: &FuzzyGraph, old: &[Point], fallback: impl Fn(u32) -> Point + Sync) -> Vec<Point> {
    let mut starts: Vec<Option<Point>> = vec![None; graph.len()];
    loop {
        let place_of = |node: u32| match old.get(node as usize) {
            Some(place) => Some(*place),
            None => starts.get(node as usize - old.len()).copied().flatten(),
        };
        let found = |row: usize| if starts[row].is_none() { middle(graph.row(row), place_of) } else { None };
        let found: Vec<(usize, Point)> =
            (0..graph.len()).into_par_iter().filter_map(|row| Some((row, found(row)?))).collect();
        if found.is_empty() {
            let number = |row: usize| graph.first + row as u32;
            return starts
                .iter()
                .enumerate()
                .map(|(row, start)| start.unwrap_or_else(|| fallback(number(row))))
                .collect();
        }
        found.into_iter().for_each(|(row, place)| starts[row] = Some(place));
    }
}

/// The mean of the places of a row's targets, weighted by strength.
fn middle((targets, rates): (&[u32], &[u32]), place_of: impl Fn(u32) -> Option<Point>) -> Option<Point> {
    let (mut sum, mut total) = ([0f64; 2], 0.0);
    for (target, rate) in targets.iter().zip(rates) {
        if let Some(place) = place_of(*target) {
            // An edge too weak for its unit is an edge still.
            let weight = f64::from(*rate) + 1.0;
            total += weight;
            sum.iter_mut().zip(place).for_each(|(sum, x)| *sum += weight * f64::from(x));
        }
    }
    (total > 0.0).then(|| sum.map(|x| (x / total) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::map::{MapSettings, lay_out};
    use crate::layout::test_data::{clusters, distance, exact_lists, exact_lists_from, rows_of};
    use std::convert::Infallible;

    fn fixed() -> (Vec<Vec<f32>>, Vec<Point>) {
        // Every tenth record comes later, so each cluster has old and new ones.
        let (new, old): (Vec<_>, Vec<_>) =
            clusters(5, 100, 16).into_iter().enumerate().partition(|(number, _)| number % 10 == 0);
        let data: Vec<Vec<f32>> = old.into_iter().chain(new).map(|(_, row)| row).collect();
        let before = &data[..450];
        let settings = MapSettings { seed: 1, epochs: Some(200) };
        let Ok(map) = lay_out(rows_of(before), exact_lists(before, 15), settings, |_| Ok::<_, Infallible>(()));
        (data, map.points)
    }

    #[test]
    fn new_records_are_placed_beside_their_neighbours_and_others_stay() {
        let (data, mut points) = fixed();
        let old = points.clone();
        let lists = exact_lists_from(&data, 450, 15);
        let unused = |node: u32| panic!("{node} has neighbours");
        let Ok(()) = place(&mut points, lists, 1, unused, |_| Ok::<_, Infallible>(()));
        assert_eq!((points.len(), &points[..450]), (500, &old[..]));
        for (number, point) in points[450..].iter().enumerate() {
            let nearest = (0..450).min_by(|a, b| distance(&old[*a], point).total_cmp(&distance(&old[*b], point)));
            // 10 new and 90 old records of each cluster.
            assert_eq!(nearest.unwrap() / 90, number / 10, "record {number}");
        }
    }

    #[test]
    fn records_behind_new_ones_follow_them_and_lone_ones_fall_back() {
        let neighbour_of = [Some(0), Some(2), Some(3), None, Some(99)];
        let lists = crate::layout::neighbours::NeighbourLists::gather(2..7, 3, |node, found| {
            let node = neighbour_of[node as usize - 2];
            found.extend(node.map(|node| crate::layout::neighbours::NearNode { node, distance: 1.0 }));
            Ok::<_, Infallible>(())
        });
        let mut points = vec![[5.0, 5.0], [-5.0, -5.0]];
        let Ok(()) = place(&mut points, lists.unwrap(), 1, |_| [0.0, 9.0], |_| Ok::<_, Infallible>(()));
        for number in [2, 3, 4] {
            assert!(distance(&points[number], &[5.0, 5.0]).sqrt() < 8.0, "{points:?}");
        }
        for number in [5, 6] {
            assert!(distance(&points[number], &[0.0, 9.0]).sqrt() < 2.0 * JITTER, "{points:?}");
        }
    }

    #[test]
    fn points_stay_as_they_were_when_placing_is_given_up() {
        let (data, mut points) = fixed();
        let old = points.clone();
        let lists = exact_lists_from(&data, 450, 15);
        let ended =
            place(&mut points, lists, 1, |_| [0.0; 2], |share| if share > 0.3 { Err("enough") } else { Ok(()) });
        assert_eq!((ended, points), (Err("enough"), old));
    }

    #[test]
    fn nothing_new_changes_nothing() {
        let mut points = vec![[1.0, 2.0]];
        let none = exact_lists_from(&[vec![0.0]], 1, 3);
        let Ok(()) = place(&mut points, none, 1, |_| [0.0; 2], |_| Ok::<_, Infallible>(()));
        assert_eq!(points, [[1.0, 2.0]]);
    }
}
