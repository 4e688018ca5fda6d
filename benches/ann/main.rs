//! The graph alone, without store and server: builds it over a file of vectors, sweeps the width of search,
//! and prints one JSON line of the build and one per width: recall@10, and queries per second of process CPU
//! time and of wall time, one search thread. `benches/README.md` explains the options and the figures.
//!
//! `cargo bench --bench ann -- --base base.npy --queries queries.npy --metric cosine`

mod codes;
mod npy;
mod options;

use std::collections::VecDeque;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arrow::buffer::Buffer;
use bytes::Bytes;
use drumlin::testing::format::graph::{decode_graph, encode_graph};
use drumlin::testing::index::{
    BUILDERS, Candidate, Graph, GraphQuery, GraphRange, PreparedQuery, SearchScratch, TopK, VectorSet, Vectors,
    build_graph, builder_named, default_ef, scan, search_codes, search_graph,
};
use drumlin::testing::record::{Address, Metric, Version};
use npy::Matrix;
use options::{Mode, Options};
use rayon::prelude::*;
use serde_json::json;

/// Recall is of this many answers.
const K: usize = 10;
/// All rows are of this commit, so that an address's row is a row of the base file.
const VERSION: Version = Version(1);

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ann: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let (base, queries) = (npy::read_floats(&options.base)?, npy::read_floats(&options.queries)?);
    if base.columns != queries.columns || base.rows < K {
        let (rows, dim, got) = (base.rows, base.columns, queries.columns);
        return Err(format!("expected at least {K} rows and queries of their dimension, got {rows} × {dim} and {got}"));
    }
    let rows: Vec<&[f32]> = queries.iter().collect();
    if options.mode == Mode::Codes {
        let bounds = bounds(options, &rows, &base)?;
        codes::report(&codes::Truth { metric: options.metric, base: &base, queries: &rows, bounds: &bounds });
        return Ok(());
    }
    let began = Clock::start();
    let graph = match &options.load {
        Some(path) => load(path, &base, options.metric)?,
        None => build(options, &base)?,
    };
    let taken = began.elapsed();
    let stored = encode_graph(graph.content()).map_err(|e| e.to_string())?;
    if let Some(path) = &options.save {
        fs::write(path, &stored).map_err(|e| format!("{path}: {e}"))?;
    }
    report_graph(options, &graph, taken, stored.len());
    drop(stored);
    let bounds = bounds(options, &rows, &base)?;
    let codes_only = options.mode == Mode::Int8;
    let sweep = Sweep { graph: &graph, base: &base, queries: &rows, bounds: &bounds, codes_only };
    options.ef.iter().for_each(|ef| sweep.report(*ef, options.runs));
    Ok(())
}

/// Builds the graph on as many threads as asked for.
fn build(options: &Options, base: &Matrix) -> Result<Graph, String> {
    let address = |row| Address::new(VERSION, row).ok_or(format!("expected at most {} rows", Address::MAX_ROWS));
    let addresses = (0..base.rows).map(address).collect::<Result<_, _>>()?;
    let set = VectorSet { metric: options.metric, dim: base.columns, vectors: base.iter().collect(), addresses };
    let range = GraphRange { stream: "bench".to_owned(), lo: VERSION, hi: VERSION };
    let known: Vec<&str> = BUILDERS.iter().map(|builder| builder.name()).collect();
    let unknown = || format!("--builder: expected one of {}, got {:?}", known.join(", "), options.builder);
    let builder = builder_named(&options.builder).ok_or_else(unknown)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.params.threads).build();
    let graph = pool.map_err(|e| e.to_string())?.install(|| build_graph(&set, range, &options.params, builder));
    graph.map_err(|e| format!("the graph could not be built: {e}"))
}

/// The graph in a file that `--save` wrote for the same base.
fn load(path: &str, base: &Matrix, metric: Metric) -> Result<Graph, String> {
    let file = fs::read(path).map_err(|e| format!("{path}: {e}"))?;
    // Copied to where Arrow wants it, as the store reads graph objects.
    let aligned = Buffer::from_slice_ref(&file);
    let content = decode_graph(Bytes::from_owner(aligned)).map_err(|e| format!("{path}: {e}"))?;
    let header = content.header();
    if (content.len(), header.dim, header.metric) != (base.rows, base.columns, metric) {
        let (nodes, dim, of) = (content.len(), header.dim, header.metric);
        return Err(format!("{path}: a graph of {nodes} × {dim} by {of}, not of this base and metric"));
    }
    Ok(Graph::new(content))
}

fn report_graph(options: &Options, graph: &Graph, taken: Elapsed, stored_bytes: usize) {
    let (nodes, header) = (graph.len() as f64, graph.header());
    let raw_bytes = (header.dim * size_of::<f32>()) as f64;
    let kept_bytes = if options.mode == Mode::Int8 { 0.0 } else { raw_bytes };
    let built = |seconds: f64| options.load.is_none().then_some(seconds);
    let line = json!({
        "build_cpu_s": built(taken.cpu.as_secs_f64()),
        "build_wall_s": built(taken.wall.as_secs_f64()),
        "resident_bytes_per_vector": graph.size_bytes() as f64 / nodes + kept_bytes,
        "stored_bytes_per_vector": stored_bytes as f64 / nodes + raw_bytes,
        "unreachable": unreachable(graph),
        "rows": graph.len(), "dim": header.dim, "metric": header.metric.name(), "builder": header.builder,
        "m": header.m, "ef_construction": header.ef_construction, "threads": options.params.threads,
        "mode": if options.mode == Mode::Int8 { "int8" } else { "exact" },
        "traversal": format!("{:?}", header.traversal).to_lowercase(),
    });
    println!("{line}");
}

/// Nodes that no walk from the entry point over level 0 reaches.
fn unreachable(graph: &Graph) -> usize {
    let mut reached = vec![false; graph.len()];
    let mut open = VecDeque::from([graph.header().entry]);
    while let Some(node) = open.pop_front() {
        if !std::mem::replace(&mut reached[node as usize], true) {
            open.extend(graph.content().columns().neighbours.get(node as usize));
        }
    }
    reached.iter().filter(|reached| !**reached).count()
}

/// The distance of each query's K-th nearest row.
fn bounds(options: &Options, queries: &[&[f32]], base: &Matrix) -> Result<Vec<f32>, String> {
    match &options.truth {
        Some(path) => bounds_of(npy::read_row_numbers(path)?, queries, base, options.metric),
        None => Ok(scan_bounds(queries, base, options.metric)),
    }
}

/// The bounds by a flat scan on all cores.
fn scan_bounds(queries: &[&[f32]], base: &Matrix, metric: Metric) -> Vec<f32> {
    let vectors = Vectors { values: &base.values, dim: base.columns, inverse_norms: None };
    let bound = |query: &&[f32]| {
        let mut top = TopK::new(K);
        scan(&PreparedQuery::new(metric, query), vectors, 0..base.rows as u32, u64::from, &mut top);
        top.bound()
    };
    queries.par_iter().map(bound).collect()
}

/// The bounds from the rows that a file says are nearest.
fn bounds_of(truth: Vec<Vec<usize>>, queries: &[&[f32]], base: &Matrix, metric: Metric) -> Result<Vec<f32>, String> {
    if truth.len() != queries.len() || truth.iter().any(|rows| rows.len() < K) {
        return Err(format!("--truth: expected {} rows of at least {K} numbers", queries.len()));
    }
    let bound = |(query, rows): (&&[f32], Vec<usize>)| {
        let query = PreparedQuery::new(metric, query);
        rows.iter().take(K).try_fold(f32::NEG_INFINITY, |bound, row| {
            let v = base.row(*row).ok_or_else(|| format!("--truth: the base has no row {row}"))?;
            Ok(bound.max(query.distance_to(v)))
        })
    };
    queries.iter().zip(truth).map(bound).collect()
}

/// All that a search of the whole query file needs.
struct Sweep<'a> {
    graph: &'a Graph,
    base: &'a Matrix,
    queries: &'a [&'a [f32]],
    /// An answer at most this far is one of the true best, ties included.
    bounds: &'a [f32],
    codes_only: bool,
}

impl Sweep<'_> {
    fn report(&self, ef: Option<usize>, runs: usize) {
        let mut scratch = SearchScratch::new();
        let (mut found, mut taken) = (0, Vec::with_capacity(runs));
        for _ in 0..runs {
            let began = Clock::start();
            found = black_box(self.found(ef, &mut scratch));
            taken.push(began.elapsed());
        }
        let per_second = |time: fn(&Elapsed) -> Duration| {
            let mut seconds: Vec<f64> = taken.iter().map(|taken| time(taken).as_secs_f64()).collect();
            seconds.sort_by(f64::total_cmp);
            self.queries.len() as f64 / seconds[runs / 2]
        };
        let line = json!({
            "ef": ef.unwrap_or_else(|| default_ef(self.graph.metric(), K)),
            "is_default": ef.is_none(),
            "recall": found as f64 / (K * self.queries.len()) as f64,
            "qps_cpu": per_second(|taken| taken.cpu),
            "qps_wall": per_second(|taken| taken.wall),
        });
        println!("{line}");
    }

    /// Searches for every query and counts the true best among the answers.
    fn found(&self, ef: Option<usize>, scratch: &mut SearchScratch) -> usize {
        let exact = |node: u32| self.base.row(self.graph.address(node)?.row());
        let mut found = 0;
        let is_near = |query: &PreparedQuery, answer: &Candidate, bound: f32| match self.codes_only {
            // Its distance is an estimate.
            true => exact(answer.node).is_some_and(|v| query.distance_to(v) <= bound),
            false => answer.distance <= bound,
        };
        for (query, bound) in self.queries.iter().zip(self.bounds) {
            let prepared = PreparedQuery::new(self.graph.metric(), query);
            let search = GraphQuery { query: &prepared, k: K, ef, allowed: None };
            let answers = match self.codes_only {
                true => search_codes(self.graph, search, scratch),
                false => search_graph(self.graph, search, exact, scratch),
            };
            found += answers.iter().filter(|answer| is_near(&prepared, answer, *bound)).count();
        }
        found
    }
}

/// When something began.
struct Clock {
    wall: Instant,
    cpu: Duration,
}

/// What it took.
struct Elapsed {
    wall: Duration,
    /// Of all threads of the process.
    cpu: Duration,
}

impl Clock {
    fn start() -> Clock {
        Clock { wall: Instant::now(), cpu: process_cpu_time() }
    }

    fn elapsed(&self) -> Elapsed {
        Elapsed { wall: self.wall.elapsed(), cpu: process_cpu_time().saturating_sub(self.cpu) }
    }
}

fn process_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
