//! What the map of a collection costs here, and how faithful it is, driven by `benches/layout.py`: `cargo bench --bench
//! layout -- work`. Each line of its input is JSON and names files of little-endian numbers, row by row: `vectors` (f32,
//! n × `dim`) and either `map` (f32, n × 2: how faithful is it?) or `out` (where to write the map), the latter with
//! `threads` and, if the neighbours are known, `nodes` (i32, n × 15) and `distances` (f32, n × 15). `held` records at the
//! end are placed afterwards. Answers are CPU seconds of the process, and trustworthiness and continuity at 15
//! neighbours.

use std::convert::Infallible;
use std::io::{BufRead, Write};
use std::ops::Range;

use drumlin::testing::index::{
    Graph, GraphParams, GraphQuery, GraphRange, PreparedQuery, SearchScratch, VectorSet, build_graph, builder_named,
    search_graph,
};
use drumlin::testing::layout::{
    MapSettings, NearNode, NeighbourLists, Point, VectorRows, faithfulness, lay_out, memory_bytes, place,
};
use drumlin::testing::record::{Address, Metric, Version};
use serde_json::{Value, json};

/// Neighbours of a record.
const K: usize = 15;
/// Records that faithfulness is measured on.
const SAMPLE: usize = 2000;
/// All rows are of this commit, so that an address's row is a row of the file.
const VERSION: Version = Version(1);

fn main() -> Result<(), String> {
    // `cargo bench` alone passes by.
    if !std::env::args().any(|argument| argument == "work") {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let asked = Asked(serde_json::from_str(&line).map_err(|e| e.to_string())?);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(asked.number("threads", 1)).build();
        let answer = pool.map_err(|e| e.to_string())?.install(|| answer(&asked))?;
        writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// A line of the input.
struct Asked(Value);

impl Asked {
    fn path(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.0[name].as_u64().map_or(default, |number| number as usize)
    }
}

fn answer(asked: &Asked) -> Result<Value, String> {
    let vectors = Matrix::read(asked.path("vectors"), asked.number("dim", 0))?;
    if asked.path("map").is_none() {
        return laid_out(asked, &vectors);
    }
    let points: Vec<Point> = Matrix::read(asked.path("map"), 2)?.iter().map(|row| [row[0], row[1]]).collect();
    let whole = faithful(&vectors, &points);
    Ok(json!({"trustworthiness": whole[0], "continuity": whole[1]}))
}

/// Lays all out but the held ones, which are placed.
fn laid_out(asked: &Asked, vectors: &Matrix) -> Result<Value, String> {
    let (count, seed) = (vectors.rows() as u32, asked.number("seed", 42) as u64);
    let old = count - asked.number("held", 0) as u32;
    let begun = cpu_s();
    let neighbours = NeighbourSource::of(asked, vectors)?;
    let (build_s, begun) = (cpu_s() - begun, cpu_s());
    let (lists, added) = (neighbours.lists(vectors, 0..old), neighbours.lists(vectors, old..count));
    let lists_s = cpu_s() - begun;
    let read = |node: u32, row: &mut [f32]| row.copy_from_slice(vectors.row(node));
    let rows = VectorRows { count: old, dim: vectors.columns, read: &read };
    let begun = cpu_s();
    let Ok(map) = lay_out(rows, lists, MapSettings { seed, epochs: None }, |_| Ok::<_, Infallible>(()));
    let (map_s, mut points, begun) = (cpu_s() - begun, map.points, cpu_s());
    let fallback = |node: u32| map.projection.of(vectors.row(node));
    let Ok(()) = place(&mut points, added, seed, fallback, |_| Ok::<_, Infallible>(()));
    let place_s = cpu_s() - begun;
    let bytes: Vec<u8> = points.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(asked.path("out").ok_or("expected a file to write")?, bytes).map_err(|e| e.to_string())?;
    let whole = faithful(vectors, &points);
    Ok(json!({
        "build_s": build_s, "lists_s": lists_s, "map_s": map_s, "place_s": place_s,
        "estimate_bytes": memory_bytes(points.len(), K, vectors.columns),
        "trustworthiness": whole[0], "continuity": whole[1],
    }))
}

/// Where neighbours come from.
enum NeighbourSource {
    /// The bits of node numbers, and distances.
    Files(Matrix, Matrix),
    Graph(Box<Graph>),
}

impl NeighbourSource {
    fn of(asked: &Asked, vectors: &Matrix) -> Result<NeighbourSource, String> {
        match (asked.path("nodes"), asked.path("distances")) {
            (None, None) => Ok(NeighbourSource::Graph(Box::new(graph_of(vectors)?))),
            (nodes, distances) => Ok(NeighbourSource::Files(Matrix::read(nodes, K)?, Matrix::read(distances, K)?)),
        }
    }

    /// The lists of some records, among all up to the last of them.
    fn lists(&self, vectors: &Matrix, rows: Range<u32>) -> NeighbourLists {
        let lists = NeighbourLists::gather(rows, K, |node, found| {
            match self {
                NeighbourSource::Files(nodes, distances) => {
                    let near = nodes.row(node).iter().zip(distances.row(node));
                    found.extend(near.map(|(bits, distance)| NearNode { node: bits.to_bits(), distance: *distance }));
                }
                NeighbourSource::Graph(graph) => found.extend(searched(graph, vectors, node)),
            }
            Ok::<_, Infallible>(())
        });
        let Ok(lists) = lists;
        lists
    }
}

/// The graph that a collection would have.
fn graph_of(vectors: &Matrix) -> Result<Graph, String> {
    let address = |row| Address::new(VERSION, row).ok_or("too many rows");
    let addresses = (0..vectors.rows()).map(address).collect::<Result<_, _>>()?;
    let set = VectorSet { metric: Metric::L2, dim: vectors.columns, vectors: vectors.iter().collect(), addresses };
    let range = GraphRange { stream: "bench".to_owned(), lo: VERSION, hi: VERSION };
    let params = GraphParams { threads: rayon::current_num_threads(), ..GraphParams::default() };
    let builder = builder_named("drumlin").ok_or("no builder")?;
    build_graph(&set, range, &params, builder).map_err(|e| e.to_string())
}

fn searched(graph: &Graph, vectors: &Matrix, node: u32) -> Vec<NearNode> {
    let row = |node: u32| graph.address(node).map(|address| address.row());
    let query = PreparedQuery::new(Metric::L2, vectors.row(node));
    let search = GraphQuery { query: &query, k: K + 1, ef: None, allowed: None };
    let found = search_graph(graph, search, |node| Some(vectors.row(row(node)? as u32)), &mut SearchScratch::new());
    let near = |one: &drumlin::testing::index::Candidate| {
        Some(NearNode { node: row(one.node)? as u32, distance: one.distance.max(0.0).sqrt() })
    };
    found.iter().filter_map(near).collect()
}

/// Trustworthiness and continuity, from a sample of all records.
fn faithful(vectors: &Matrix, points: &[Point]) -> [Option<f64>; 2] {
    let measured = faithfulness(points, K, SAMPLE, 1, |node, all| {
        let query = PreparedQuery::new(Metric::L2, vectors.row(node));
        all.extend(vectors.iter().map(|row| query.distance_to(row)));
        Ok::<_, Infallible>(())
    });
    let Ok(measured) = measured;
    [measured.map(|it| it.trustworthiness), measured.map(|it| it.continuity)]
}

/// Rows of numbers out of a file.
struct Matrix {
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    fn read(path: Option<&str>, columns: usize) -> Result<Matrix, String> {
        let path = path.ok_or("expected the name of one more file")?;
        let bytes = std::fs::read(path).map_err(|e| format!("{path}: {e}"))?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        match columns > 0 && values.len().is_multiple_of(columns) {
            true => Ok(Matrix { columns, values }),
            false => Err(format!("{path}: expected rows of {columns} numbers, got {}", values.len())),
        }
    }

    fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns)
    }

    fn row(&self, row: u32) -> &[f32] {
        &self.values[row as usize * self.columns..][..self.columns]
    }
}

fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
