//! Generated collections for the tests of this room.

use std::convert::Infallible;

use super::draws::Draws;
use super::neighbours::{NearNode, NeighbourLists};
use super::principal::VectorRows;

/// `clusters` clouds of `size` points each, `dim` dimensions; neighbours in order of their cluster.
pub fn clusters(clusters: u64, size: u64, dim: usize) -> Vec<Vec<f32>> {
    let point = |number: u64| {
        let mut centre = Draws::new(11, 0, number / size);
        let mut own = Draws::new(11, 1, number);
        (0..dim).map(|_| 4.0 * centre.signed_unit() + own.signed_unit()).collect()
    };
    (0..clusters * size).map(point).collect()
}

/// The square of the Euclidean distance.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// The neighbours of the rows from `first` on among all, by comparing each with each.
pub fn exact_lists_from(data: &[Vec<f32>], first: usize, k: usize) -> NeighbourLists {
    let lists = NeighbourLists::gather(first as u32..data.len() as u32, k, |node, found| {
        let here = &data[node as usize];
        let one =
            |(node, there): (usize, &Vec<f32>)| NearNode { node: node as u32, distance: distance(here, there).sqrt() };
        found.extend(data.iter().enumerate().map(one));
        Ok::<_, Infallible>(())
    });
    lists.unwrap()
}

/// The neighbours of all rows.
pub fn exact_lists(data: &[Vec<f32>], k: usize) -> NeighbourLists {
    exact_lists_from(data, 0, k)
}

/// The rows as vectors of a collection.
pub fn rows_of(data: &[Vec<f32>]) -> VectorRows<'_> {
    // The closure outlives the call, as tests may leak.
    let read = Box::leak(Box::new({
        let data = data.to_vec();
        move |node: u32, row: &mut [f32]| row.copy_from_slice(&data[node as usize])
    }));
    VectorRows { count: data.len() as u32, dim: data.first().map_or(0, Vec::len), read }
}
