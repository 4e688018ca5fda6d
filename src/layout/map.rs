//! The map of a whole collection: where it begins, and how it is improved.

use rayon::prelude::*;

use super::Point;
use super::descent::Descent;
use super::draws::Draws;
use super::fuzzy_graph::FuzzyGraph;
use super::neighbours::NeighbourLists;
use super::principal::{self, Projection, VectorRows};

/// Up to so many records a map is improved for longer; from the reference implementation, as are the epochs.
const FEW: usize = 10_000;
const EPOCHS_OF_FEW: u32 = 500;
const EPOCHS: u32 = 200;
/// How far each coordinate is moved at random at the start, so that equal vectors can part.
const JITTER: f32 = 0.01;

/// What a map depends on, beside its collection.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MapSettings {
    /// Chooses among maps that are equally good.
    pub seed: u64,
    /// How often points are moved; by default as the number of records demands.
    pub epochs: Option<u32>,
}

/// A map: a place for each record.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// In the order of the records.
    pub points: Vec<Point>,
    /// Places records that come later and have no neighbours.
    pub projection: Projection,
}

/// Lays out a collection by the neighbours of all its records. `wanted` is asked every few milliseconds, and told the
/// share of the work that is done, from 0 to 1.
///
/// # Errors
/// What `wanted` returns.
pub fn lay_out<E>(
    rows: VectorRows<'_>,
    neighbours: NeighbourLists,
    settings: MapSettings,
    mut wanted: impl FnMut(f32) -> Result<(), E>,
) -> Result<Map, E> {
    wanted(0.0)?;
    let projection = Projection::fit(rows, settings.seed);
    let mut points = start(rows, &projection, settings.seed);
    // NearNode lists of fewer or more records than there are vectors: what has no vector begins in the middle.
    points.resize(neighbours.len(), [0.0; 2]);
    wanted(0.0)?;
    let graph = FuzzyGraph::union(neighbours);
    let epochs = settings.epochs.unwrap_or(if points.len() > FEW { EPOCHS } else { EPOCHS_OF_FEW });
    let middle = mean_of(&points);
    Descent { graph: &graph, epochs, first_rate: 1.0, seed: settings.seed }.run(&mut points, &mut wanted)?;
    // Few points drift together, as what moves one does not move the others back.
    let drift = mean_of(&points);
    let back = |point: &mut Point| *point = [point[0] + middle[0] - drift[0], point[1] + middle[1] - drift[1]];
    points.par_iter_mut().for_each(back);
    wanted(1.0)?;
    Ok(Map { points, projection })
}

/// The mean place, summed in order.
fn mean_of(points: &[Point]) -> Point {
    let mut sum = [0f64; 2];
    for point in points {
        sum.iter_mut().zip(point).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sum.map(|sum| (sum / points.len().max(1) as f64) as f32)
}

/// The places of all records on their principal components, a little off.
fn start(rows: VectorRows<'_>, projection: &Projection, seed: u64) -> Vec<Point> {
    let place = |vector: &mut Vec<f32>, node: u32| {
        vector.resize(rows.dim, 0.0);
        (rows.read)(node, vector);
        let mut draws = Draws::new(seed, 3, u64::from(node));
        projection.of(vector).map(|x| x + JITTER * draws.signed_unit())
    };
    (0..rows.count).into_par_iter().map_init(Vec::new, place).collect()
}

/// An upper bound of the memory that [`lay_out`] takes for `count` records with `k` neighbours, including the
/// neighbour lists and the answer.
pub fn memory_bytes(count: usize, k: usize, dim: usize) -> usize {
    // Lists: two words of 4 bytes an entry. The union: as many again for every entry and its reverse.
    let edges = count * k * (8 + 2 * 8);
    // Points; row offsets twice while the union is made; the list of edges without a reverse.
    let nodes = count * (8 + 2 * 8) + count * k * 4;
    edges + nodes + principal::memory_bytes(dim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::faithfulness::{Faithfulness, faithfulness};
    use crate::layout::test_data::{clusters, distance, exact_lists, rows_of};
    use std::convert::Infallible;

    const SETTINGS: MapSettings = MapSettings { seed: 42, epochs: Some(200) };

    fn map_of(data: &[Vec<f32>], k: usize) -> Map {
        let Ok(map) = lay_out(rows_of(data), exact_lists(data, k), SETTINGS, |_| Ok::<_, Infallible>(()));
        map
    }

    fn quality(data: &[Vec<f32>], points: &[Point]) -> Faithfulness {
        let distances = |node: u32, all: &mut Vec<f32>| {
            all.extend(data.iter().map(|row| distance(row, &data[node as usize])));
            Ok::<_, Infallible>(())
        };
        let Ok(measured) = faithfulness(points, 15, usize::MAX, 0, distances);
        measured.unwrap()
    }

    #[test]
    fn clusters_stay_together_and_apart() {
        let data = clusters(6, 100, 24);
        let map = map_of(&data, 15);
        let measured = quality(&data, &map.points);
        assert!(measured.trustworthiness > 0.93 && measured.continuity > 0.93, "{measured:?}");
        let strangers = |at: usize| {
            let mut others: Vec<usize> = (0..data.len()).filter(|other| *other != at).collect();
            let square = |n: usize| distance(&map.points[n], &map.points[at]);
            others.sort_by(|a, b| square(*a).total_cmp(&square(*b)));
            others[..15].iter().filter(|other| **other / 100 != at / 100).count()
        };
        assert_eq!((0..data.len()).map(strangers).sum::<usize>(), 0);
    }

    #[test]
    fn separate_components_are_not_flung_apart() {
        // 30 clusters, of which none has a neighbour in another.
        let data = clusters(30, 20, 24);
        let points = map_of(&data, 10).points;
        let farthest = points.iter().flatten().fold(0f32, |farthest, x| farthest.max(x.abs()));
        assert!(farthest < 40.0, "{farthest}");
    }

    #[test]
    fn the_same_input_is_the_same_map_on_any_number_of_threads() {
        let data = clusters(3, 200, 8);
        let of = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| map_of(&data, 15))
        };
        let expected = of(1);
        assert_eq!(of(4), expected);
        let settings = MapSettings { seed: 43, ..SETTINGS };
        let Ok(other) = lay_out(rows_of(&data), exact_lists(&data, 15), settings, |_| Ok::<_, Infallible>(()));
        assert_ne!(other.points, expected.points);
    }

    #[test]
    fn few_equal_and_lone_records_have_places() {
        let equal = vec![vec![1.0f32; 4]; 100];
        let hostile = vec![vec![f32::NAN; 4], vec![f32::MAX; 4], vec![f32::MIN; 4], vec![0.0; 4]];
        for data in [vec![], clusters(1, 1, 4), clusters(1, 2, 4), clusters(1, 5, 4), equal, hostile] {
            let points = map_of(&data, 15).points;
            assert_eq!(points.len(), data.len());
            assert!(points.iter().flatten().all(|x| x.abs() < 50.0), "{points:?}");
        }
        let data = clusters(1, 100, 4);
        let Ok(alone) = NeighbourLists::gather(0..100, 15, |_, _| Ok::<_, Infallible>(()));
        let Ok(map) = lay_out(rows_of(&data), alone, SETTINGS, |_| Ok::<_, Infallible>(()));
        let off = |(point, row): (&Point, &Vec<f32>)| distance(point, &map.projection.of(row)).sqrt();
        assert!(map.points.iter().zip(&data).map(off).all(|off| off <= 2.0 * JITTER));
    }

    #[test]
    fn a_hub_and_equal_records_part() {
        let points = map_of(&vec![vec![1.0f32; 4]; 100], 15).points;
        let distinct: std::collections::HashSet<[u32; 2]> = points.iter().map(|p| p.map(f32::to_bits)).collect();
        assert_eq!(distinct.len(), 100);
        // Every record's only neighbour is the first.
        let data = clusters(1, 300, 4);
        let Ok(star) = NeighbourLists::gather(0..300, 1, |_, found| {
            found.push(super::super::neighbours::NearNode { node: 0, distance: 1.0 });
            Ok::<_, Infallible>(())
        });
        let Ok(map) = lay_out(rows_of(&data), star, SETTINGS, |_| Ok::<_, Infallible>(()));
        assert!(map.points.iter().flatten().all(|x| x.abs() < 50.0), "{:?}", map.points);
    }

    #[test]
    fn what_is_not_wanted_ends() {
        let data = clusters(2, 50, 4);
        let mut asked = 0;
        let ended = lay_out(rows_of(&data), exact_lists(&data, 5), SETTINGS, |_| {
            asked += 1;
            if asked == 10 { Err("enough") } else { Ok(()) }
        });
        assert_eq!((ended.unwrap_err(), asked), ("enough", 10));
    }
}
