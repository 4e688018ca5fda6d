//! Searches of one graph whose answers are restricted: by filters that have nothing to do with the query, that
//! select what is near it, or what is far from it; and by deletions. Recall@10 against a flat scan of what is
//! allowed, and microseconds of CPU for one query, beside a scan of all allowed vectors; one thread.

use drumlin::testing::index::{
    BUILDERS, Candidate, Graph, GraphParams, GraphQuery, GraphRange, NodeBitmap, PlanInput, PreparedQuery,
    SearchScratch, TopK, VectorSet, Vectors, build_graph, default_ef, plan, scan, search_graph,
};
use drumlin::testing::record::{Address, Metric, Version};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const K: usize = 10;
const RUNS: usize = 3;
/// Records fall into this many cells, which are what correlated filters select.
const CELLS: usize = 1_000;
const SHARES: [f64; 6] = [0.9, 0.5, 0.1, 0.03, 0.01, 0.001];
const DEAD: [f64; 4] = [0.0, 0.1, 0.3, 0.5];

/// Vectors with their graph, and queries; row r is at row r of commit 1.
pub struct Data {
    pub dim: usize,
    pub values: Vec<f32>,
    pub queries: Vec<f32>,
    pub graph: Graph,
}

/// How what a filter selects lies to the query.
#[derive(Debug, Clone, Copy)]
enum Correlation {
    None,
    Near,
    Far,
}

/// `rows` × `dim` floats in clusters of about 200 rows, 100 more rows as queries, and a graph by l2.
pub fn clustered(rows: usize, dim: usize) -> Data {
    let mut rng = StdRng::seed_from_u64(42);
    let mut normal = |spread: f32| {
        let (u, v): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random());
        spread * ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    let clusters = rows.div_ceil(200);
    let centres: Vec<f32> = (0..clusters * dim).map(|_| normal(1.0)).collect();
    let mut values = Vec::with_capacity((rows + 100) * dim);
    for row in 0..rows + 100 {
        let (cluster, spread) = (row * 7919 % clusters, 0.25 + 0.75 * (row * 7919 % clusters) as f32 / clusters as f32);
        values.extend(centres[cluster * dim..][..dim].iter().map(|c| c + normal(spread)));
    }
    let queries = values.split_off(rows * dim);
    let vectors: Vec<&[f32]> = values.chunks_exact(dim).collect();
    let addresses = (0..rows).filter_map(|row| Address::new(Version(1), row)).collect();
    let set = VectorSet { metric: Metric::L2, dim, vectors, addresses };
    let range = GraphRange { stream: "bench".into(), lo: Version(1), hi: Version(1) };
    let params = GraphParams { threads: rayon::current_num_threads(), ..GraphParams::default() };
    let graph = build_graph(&set, range, &params, BUILDERS[0]).expect("the vectors are finite");
    Data { dim, values, queries, graph }
}

/// Prints both tables.
pub fn report(data: &Data) {
    let cells = Cells::of(data);
    println!("{} x {} {}, k {K}, default ef", data.graph.len(), data.dim, data.graph.metric());
    println!("{:<8}{:<14}{:>10}{:>12}{:>12}  plan", "share", "correlation", "recall@10", "us CPU", "scan us");
    for share in SHARES {
        for correlation in [Correlation::None, Correlation::Near, Correlation::Far] {
            let allowed: Vec<NodeBitmap> =
                data.queries().enumerate().map(|(i, query)| cells.selected(query, share, correlation, i)).collect();
            let line = data.measure(|i| allowed.get(i));
            println!("{share:<8}{:<14}{line}", format!("{correlation:?}").to_lowercase());
        }
    }
    println!("{:<22}{:>10}{:>12}{:>12}  plan", "deleted", "recall@10", "us CPU", "scan us");
    for dead in DEAD {
        let alive = chosen(data.graph.len(), 1.0 - dead, 7);
        println!("{dead:<22}{}", data.measure(|_| Some(&alive)));
    }
}

/// A seeded choice of about `share` of the nodes.
fn chosen(nodes: usize, share: f64, seed: usize) -> NodeBitmap {
    let mut rng = StdRng::seed_from_u64(seed as u64);
    let mut bitmap = NodeBitmap::none(nodes);
    (0..nodes as u32).filter(|_| rng.random_bool(share)).for_each(|node| bitmap.insert(node));
    bitmap
}

impl Data {
    fn queries(&self) -> impl Iterator<Item = PreparedQuery> {
        self.queries.chunks_exact(self.dim).map(|query| PreparedQuery::new(self.graph.metric(), query))
    }

    fn vector(&self, node: u32) -> Option<&[f32]> {
        let row = self.graph.address(node)?.row();
        self.values.get(row * self.dim..(row + 1) * self.dim)
    }

    /// The distance of the k-th nearest of the allowed.
    fn truth(&self, query: &PreparedQuery, allowed: Option<&NodeBitmap>) -> f32 {
        let rows: Vec<u32> = match allowed {
            Some(allowed) => {
                let mut rows: Vec<u32> =
                    allowed.iter().filter_map(|node| Some(self.graph.address(node)?.row() as u32)).collect();
                rows.sort_unstable();
                rows
            }
            None => (0..self.graph.len() as u32).collect(),
        };
        let mut top = TopK::new(K);
        let vectors = Vectors { values: &self.values, dim: self.dim, inverse_norms: None };
        scan(query, vectors, rows, u64::from, &mut top);
        top.bound()
    }

    /// One line of a table: recall, CPU time of a search and of a flat scan, and what was planned.
    fn measure<'a>(&'a self, allowed: impl Fn(usize) -> Option<&'a NodeBitmap>) -> String {
        let queries: Vec<PreparedQuery> = self.queries().collect();
        let mut scratch = SearchScratch::new();
        let began = process_cpu_us();
        let truth: Vec<f32> = queries.iter().enumerate().map(|(i, query)| self.truth(query, allowed(i))).collect();
        let scan_us = (process_cpu_us() - began) / queries.len() as f64;
        let (mut times_us, mut recall) = (Vec::new(), 0.0);
        for _ in 0..RUNS {
            let began = process_cpu_us();
            let found: Vec<Vec<Candidate>> = queries
                .iter()
                .enumerate()
                .map(|(i, query)| {
                    let search = GraphQuery { query, k: K, ef: None, allowed: allowed(i) };
                    search_graph(&self.graph, search, |node| self.vector(node), &mut scratch)
                })
                .collect();
            times_us.push((process_cpu_us() - began) / queries.len() as f64);
            let good =
                |(found, worst): (&Vec<Candidate>, &f32)| found.iter().filter(|c| c.distance <= *worst).count().min(K);
            recall = found.iter().zip(&truth).map(good).sum::<usize>() as f64 / (K * queries.len()) as f64;
        }
        times_us.sort_by(f64::total_cmp);
        let nodes = self.graph.len();
        let choice = PlanInput {
            allowed: allowed(0).map_or(nodes, NodeBitmap::count),
            nodes,
            ef: default_ef(self.graph.metric(), K),
            degree: self.graph.content().columns().neighbours.values.len() / nodes,
        };
        format!("{recall:>10.4}{:>12.1}{scan_us:>12.1}  {:?}", times_us[RUNS / 2], plan(choice))
    }
}

/// Which cell each node is in: that of its nearest pivot.
struct Cells<'a> {
    data: &'a Data,
    pivots: Vec<u32>,
    members: Vec<Vec<u32>>,
}

impl<'a> Cells<'a> {
    fn of(data: &'a Data) -> Cells<'a> {
        let (nodes, metric) = (data.graph.len() as u32, data.graph.metric());
        let mut rng = StdRng::seed_from_u64(4);
        let pivots: Vec<u32> = (0..CELLS).map(|_| rng.random_range(0..nodes)).collect();
        let mut members = vec![Vec::new(); CELLS];
        for (node, v) in (0..nodes).filter_map(|node| Some((node, data.vector(node)?))) {
            members[nearest(data, &PreparedQuery::new(metric, v), &pivots)].push(node);
        }
        Cells { data, pivots, members }
    }

    /// Nodes of the cells nearest to, or farthest from, the query, until there are enough.
    fn selected(&self, query: PreparedQuery, share: f64, correlation: Correlation, number: usize) -> NodeBitmap {
        let nodes = self.data.graph.len();
        let mut cells = match correlation {
            Correlation::None => return chosen(nodes, share, number),
            Correlation::Near | Correlation::Far => by_distance(self.data, &query, &self.pivots),
        };
        if matches!(correlation, Correlation::Far) {
            cells.reverse();
        }
        let mut bitmap = NodeBitmap::none(nodes);
        let members = cells.into_iter().flat_map(|cell| &self.members[cell]);
        members.take((share * nodes as f64) as usize).for_each(|node| bitmap.insert(*node));
        bitmap
    }
}

/// The number of the nearest pivot.
fn nearest(data: &Data, query: &PreparedQuery, pivots: &[u32]) -> usize {
    let distance = |pivot: &u32| data.vector(*pivot).map_or(f32::INFINITY, |v| query.distance_to(v));
    let distances = pivots.iter().map(distance).zip(0..);
    distances.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, number)| number)
}

/// Numbers of the pivots, nearest first.
fn by_distance(data: &Data, query: &PreparedQuery, pivots: &[u32]) -> Vec<usize> {
    let distance = |pivot: &u32| data.vector(*pivot).map_or(f32::INFINITY, |v| query.distance_to(v));
    let mut order: Vec<(f32, usize)> = pivots.iter().map(distance).zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order.into_iter().map(|(_, number)| number).collect()
}

fn process_cpu_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
