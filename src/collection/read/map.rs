//! The map of a snapshot: the nearest neighbours of all its records, their layout in two dimensions, and how faithful
//! that is.
//! Invariant: the same snapshot makes the same map, on any number of threads.

use std::sync::Arc;

use crate::collection::request::{Get, Include, Query};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::layout::{self, Faithfulness, MapSettings, NearNode, NeighbourLists, Point, VectorRows};
use crate::record::Metric;

/// Neighbours that count for each record, as UMAP has them by default.
const NEIGHBOURS: usize = 15;
/// Records whose neighbours are looked for at once: they share the reading of rows that are scanned.
const GROUP: usize = 64;
/// The most records of a map.
const MOST_RECORDS: u64 = 5_000_000;
/// Numbers that are multiplied, at most, to measure how faithful a map is, and records that are measured for it.
const MEASURED_PRODUCTS: usize = 20_000_000_000;
const MEASURED: (usize, usize) = (20, 500);
const SEED: u64 = 42;

/// The records of a map, in insertion order, with the numbers that they have in it.
#[derive(Debug)]
pub struct MapRows {
    snapshot: Arc<Snapshot>,
    rows: Vec<RowRef>,
    /// By chunk and row.
    numbers: Vec<Vec<u32>>,
    dimension: usize,
}

/// The neighbours of a group of records.
pub type GroupNeighbours = Vec<Vec<NearNode>>;

impl MapRows {
    /// Returns the dimension.
    ///
    /// # Errors
    /// `Invalid` if the records have no embeddings; `Limit` if they are too many.
    pub fn check(snapshot: &Snapshot) -> Result<usize> {
        let Some(dimension) = snapshot.dimension().filter(|dimension| *dimension > 0) else {
            return Err(Error::invalid("a map needs embeddings, and the records of this collection have none"));
        };
        match snapshot.count() {
            count if count > MOST_RECORDS => {
                Err(Error::limit(format!("a map has at most {MOST_RECORDS} records, the collection has {count}")))
            }
            _ => Ok(dimension),
        }
    }

    /// # Errors
    /// As [`check`](Self::check).
    pub fn of(snapshot: Arc<Snapshot>, interrupt: &Interrupt) -> Result<MapRows> {
        let dimension = MapRows::check(&snapshot)?;
        let rows = snapshot.rows(&Get { include: Include::NONE, ..Get::default() }, interrupt)?;
        let mut numbers: Vec<Vec<u32>> = snapshot.chunks.iter().map(|view| vec![u32::MAX; view.chunk.len()]).collect();
        for (number, at) in rows.iter().enumerate() {
            if let Some(place) = numbers.get_mut(at.chunk).and_then(|chunk| chunk.get_mut(at.row as usize)) {
                *place = number as u32;
            }
        }
        Ok(MapRows { snapshot, rows, numbers, dimension })
    }

    /// How many groups they are looked up in.
    pub fn groups(&self) -> usize {
        self.rows.len().div_ceil(GROUP)
    }

    /// Bytes that a map of so many records takes while it is made.
    pub fn work_bytes(&self) -> u64 {
        let neighbours = self.rows.len() * NEIGHBOURS * (size_of::<NearNode>() + size_of::<u32>());
        (layout::memory_bytes(self.rows.len(), NEIGHBOURS, self.dimension) + neighbours) as u64
    }

    /// The ids, in order.
    pub fn ids(&self) -> Vec<String> {
        self.rows.iter().map(|at| self.snapshot.chunk(*at).id(at.row).to_owned()).collect()
    }

    fn vector(&self, number: u32) -> &[f32] {
        self.rows.get(number as usize).map_or(&[], |at| self.snapshot.chunk(*at).vector(at.row))
    }

    /// The nearest neighbours of each record of a group.
    pub fn neighbours(&self, group: usize, limits: &Limits, interrupt: &Interrupt) -> Result<GroupNeighbours> {
        let first = group * GROUP;
        let numbers = first as u32..(first + GROUP).min(self.rows.len()) as u32;
        let query = Query::batch(numbers.map(|number| self.vector(number).to_vec())).k(NEIGHBOURS + 1);
        let query = Query { include: Include::NONE, ..query };
        let route = self.snapshot.route(&query, limits, interrupt)?;
        let found = self.snapshot.answer(&query, &route, 0..query.embeddings.len(), interrupt)?;
        Ok(found.into_iter().map(|rows| self.numbered(rows)).collect())
    }

    fn numbered(&self, rows: Vec<(RowRef, f32)>) -> Vec<NearNode> {
        // Inner products have no least distance: the nearest one is where it begins.
        let nearest = match self.snapshot.metric {
            Metric::Ip => rows.first().map_or(0.0, |(_, distance)| *distance),
            _ => 0.0,
        };
        let neighbour = |(at, distance): (RowRef, f32)| {
            let node = *self.numbers.get(at.chunk)?.get(at.row as usize)?;
            let distance = match self.snapshot.metric {
                Metric::L2 => distance.max(0.0).sqrt(),
                _ => distance - nearest,
            };
            Some(NearNode { node, distance })
        };
        rows.into_iter().filter_map(neighbour).collect()
    }

    /// Lays out the records by their neighbours. `wanted` is told the share that is done, and may say that it is
    /// enough.
    pub fn lay_out(
        &self,
        neighbours: &[GroupNeighbours],
        wanted: impl FnMut(f32) -> Result<()>,
    ) -> Result<(Vec<Point>, Option<Faithfulness>)> {
        let count = self.rows.len() as u32;
        let lists = NeighbourLists::gather(0..count, NEIGHBOURS, |node, found| {
            let group = neighbours.get(node as usize / GROUP).and_then(|group| group.get(node as usize % GROUP));
            found.extend(group.into_iter().flatten());
            Ok::<_, Error>(())
        })?;
        let read = |number: u32, into: &mut [f32]| self.copy(number, into);
        let rows = VectorRows { count, dim: self.dimension, read: &read };
        let map = layout::lay_out(rows, lists, MapSettings { seed: SEED, epochs: None }, wanted)?;
        let sample = MEASURED_PRODUCTS / (self.rows.len() * self.dimension).max(1);
        let sample = sample.clamp(MEASURED.0, MEASURED.1);
        let told = layout::faithfulness(&map.points, NEIGHBOURS, sample, SEED, |number, all| {
            let from = self.vector(number);
            all.extend((0..count).map(|other| rank_distance(self.snapshot.metric, from, self.vector(other))));
            Ok::<_, Error>(())
        })?;
        Ok((map.points, told))
    }

    /// Copies an embedding, at unit length under the cosine metric.
    fn copy(&self, number: u32, into: &mut [f32]) {
        let vector = self.vector(number);
        let scale = match self.snapshot.metric {
            Metric::Cosine => 1.0 / dot(vector, vector).sqrt().max(f32::MIN_POSITIVE),
            _ => 1.0,
        };
        into.iter_mut().zip(vector).for_each(|(to, x)| *to = x * scale);
    }
}

/// A distance in the order of the metric's.
fn rank_distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    match metric {
        Metric::Cosine => -dot(a, b) / dot(b, b).sqrt().max(f32::MIN_POSITIVE),
        Metric::L2 => dot(b, b) - 2.0 * dot(a, b),
        Metric::Ip => -dot(a, b),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (mut sums, tail) = ([0f32; LANES], a.len() / LANES * LANES);
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    let rest = a.iter().zip(b).skip(tail).map(|(x, y)| x * y);
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}
