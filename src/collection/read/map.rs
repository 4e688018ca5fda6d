//! The map of a snapshot: the nearest neighbours of its records, their layout in two dimensions, and how faithful that
//! is. A former map of the collection is continued while few records have changed: those that it has stay where they
//! are, and new ones are placed among them.
//! Invariant: the same snapshot and the same former map make the same map, on any number of threads.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use crate::collection::request::{Get, Include, Query};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::layout::{self, Faithfulness, MapSettings, NearNode, NeighbourLists, Point, Projection, VectorRows};
use crate::record::Metric;

/// Neighbours that count for each record, as UMAP has them by default.
pub const NEIGHBOURS: usize = 15;
/// Records whose neighbours are looked for at once: they share the reading of rows that are scanned.
const GROUP: usize = 64;
/// The most records of a map.
const MOST_RECORDS: u64 = 5_000_000;
/// Numbers that are multiplied, at most, to measure how faithful a map is, and records that are measured for it.
const MEASURED_PRODUCTS: usize = 20_000_000_000;
const MEASURED: (usize, usize) = (20, 500);
/// The seed of every layout, so that one version has one map.
pub const SEED: u64 = 42;

/// A former map is continued until one in so many records came or went since all were laid out together.
const CHANGED_SHARE: usize = 10;
/// Records between two looks at the interrupt.
const ROWS_PER_CHECK: usize = 256;

/// Where the records of a snapshot are on their map.
#[derive(Debug)]
pub struct PlacedRecords {
    /// The records: those that a former map had in its order, then the others in insertion order.
    pub ids: Vec<String>,
    /// Where each is.
    pub points: Vec<Point>,
    /// How much of what is near on the map is near in truth, and the reverse.
    pub faithfulness: Option<Faithfulness>,
    /// A checksum of each record's embedding: another one is another place.
    pub embeddings: Vec<u64>,
    /// Where later records are that have no neighbours.
    pub projection: Projection,
    /// Records that came or went since all were laid out together.
    pub changes: usize,
}

impl PlacedRecords {
    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> u64 {
        let each = size_of::<String>() + size_of::<Point>() + size_of::<u64>();
        let ids: usize = self.ids.iter().map(String::len).sum();
        (ids + self.ids.len() * each) as u64
    }
}

/// The records of a map, with the numbers that they have in it: those of `kept` first, then in insertion order.
#[derive(Debug)]
pub struct MapRows {
    snapshot: Arc<Snapshot>,
    rows: Vec<RowRef>,
    /// By chunk and row.
    numbers: Vec<Vec<u32>>,
    dimension: usize,
    kept: Option<KeptRecords>,
}

/// What is left of a former map.
#[derive(Debug)]
struct KeptRecords {
    points: Vec<Point>,
    projection: Projection,
    changes: usize,
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

    /// The records of a snapshot. `former` is the newest map there is of the collection.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn of(snapshot: Arc<Snapshot>, former: Option<&PlacedRecords>, interrupt: &Interrupt) -> Result<MapRows> {
        let dimension = MapRows::check(&snapshot)?;
        let all = snapshot.rows(&Get { include: Include::NONE, ..Get::default() }, interrupt)?;
        let kept = former.map(|former| kept_of(&snapshot, former, all.len(), interrupt)).transpose()?.flatten();
        let (first, kept) = kept.unzip();
        let numbers = snapshot.chunks.iter().map(|view| vec![u32::MAX; view.chunk.len()]).collect();
        let mut rows = MapRows { snapshot, rows: Vec::with_capacity(all.len()), numbers, dimension, kept };
        first.into_iter().flatten().chain(all).for_each(|at| rows.push(at));
        Ok(rows)
    }

    /// Gives a record the next number, unless it has one.
    fn push(&mut self, at: RowRef) {
        if let Some(number) = self.numbers.get_mut(at.chunk).and_then(|chunk| chunk.get_mut(at.row as usize))
            && *number == u32::MAX
        {
            *number = self.rows.len() as u32;
            self.rows.push(at);
        }
    }

    /// The number of the first record that needs a place.
    fn first_new(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.points.len())
    }

    /// How many groups neighbours are looked up in: those of all records that need a place.
    pub fn groups(&self) -> usize {
        (self.rows.len() - self.first_new()).div_ceil(GROUP)
    }

    /// Bytes that a map of so many records takes while it is made.
    pub fn work_bytes(&self) -> u64 {
        let neighbours = self.rows.len() * NEIGHBOURS * (size_of::<NearNode>() + size_of::<u32>());
        (layout::memory_bytes(self.rows.len(), NEIGHBOURS, self.dimension) + neighbours) as u64
    }

    fn vector(&self, number: u32) -> &[f32] {
        self.rows.get(number as usize).map_or(&[], |at| self.snapshot.chunk(*at).vector(at.row))
    }

    /// The nearest neighbours of each record of a group.
    pub fn neighbours(&self, group: usize, limits: &Limits, interrupt: &Interrupt) -> Result<GroupNeighbours> {
        let first = self.first_new() + group * GROUP;
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

    /// Lays out the records by their neighbours, or places those that are new. `wanted` is told the share that is done,
    /// and may say that it is enough.
    pub fn lay_out(
        &self,
        neighbours: &[GroupNeighbours],
        wanted: impl FnMut(f32) -> Result<()>,
    ) -> Result<PlacedRecords> {
        let (first, count) = (self.first_new() as u32, self.rows.len() as u32);
        let lists = NeighbourLists::gather(first..count, NEIGHBOURS, |node, found| {
            let at = (node - first) as usize;
            let group = neighbours.get(at / GROUP).and_then(|group| group.get(at % GROUP));
            found.extend(group.into_iter().flatten());
            Ok::<_, Error>(())
        })?;
        let read = |number: u32, into: &mut [f32]| self.copy(number, into);
        let (points, projection, changes) = match &self.kept {
            None => {
                let rows = VectorRows { count, dim: self.dimension, read: &read };
                let map = layout::lay_out(rows, lists, MapSettings { seed: SEED, epochs: None }, wanted)?;
                (map.points, map.projection, 0)
            }
            Some(kept) => {
                let fallback = |number: u32| {
                    let mut vector = vec![0.0; self.dimension];
                    read(number, &mut vector);
                    kept.projection.of(&vector)
                };
                let mut points = kept.points.clone();
                layout::place(&mut points, lists, SEED, fallback, wanted)?;
                (points, kept.projection.clone(), kept.changes)
            }
        };
        let faithfulness = self.measured(&points)?;
        let ids = self.rows.iter().map(|at| self.snapshot.chunk(*at).id(at.row).to_owned()).collect();
        let embeddings = self.rows.iter().map(|at| embedding_checksum(&self.snapshot, *at)).collect();
        Ok(PlacedRecords { ids, points, faithfulness, embeddings, projection, changes })
    }

    /// How faithful a map is, by a sample of the records.
    fn measured(&self, points: &[Point]) -> Result<Option<Faithfulness>> {
        let sample = MEASURED_PRODUCTS / (self.rows.len() * self.dimension).max(1);
        let sample = sample.clamp(MEASURED.0, MEASURED.1);
        layout::faithfulness(points, NEIGHBOURS, sample, SEED, |number, all| {
            let from = self.vector(number);
            let others = 0..self.rows.len() as u32;
            all.extend(others.map(|other| rank_distance(self.snapshot.metric, from, self.vector(other))));
            Ok::<_, Error>(())
        })
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

/// The records of `former` that a snapshot of `count` records has with the same embedding, and where they are. `None` if
/// too many have changed.
fn kept_of(
    snapshot: &Snapshot,
    former: &PlacedRecords,
    count: usize,
    interrupt: &Interrupt,
) -> Result<Option<(Vec<RowRef>, KeptRecords)>> {
    let (mut rows, mut points) = (Vec::new(), Vec::new());
    let known = former.ids.iter().zip(&former.points).zip(&former.embeddings);
    for (number, ((id, point), embedding)) in known.enumerate() {
        if number % ROWS_PER_CHECK == 0 {
            interrupt.check()?;
        }
        if let Some(at) = snapshot.find(id)
            && embedding_checksum(snapshot, at) == *embedding
        {
            rows.push(at);
            points.push(*point);
        }
    }
    let changes = former.changes + (former.ids.len() - rows.len()) + count.saturating_sub(rows.len());
    let kept = KeptRecords { points, projection: former.projection.clone(), changes };
    Ok((changes <= count / CHANGED_SHARE).then_some((rows, kept)))
}

fn embedding_checksum(snapshot: &Snapshot, at: RowRef) -> u64 {
    let mut hasher = Xxh3Default::new();
    snapshot.chunk(at).vector(at.row).iter().for_each(|x| hasher.update(&x.to_le_bytes()));
    hasher.digest()
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
