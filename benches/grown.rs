//! A collection grown by many small adds with deletions between them, against the same records built in
//! one go: CPU time of a search at equal recall, parts searched, bytes written, latency of adds; and the
//! rate of a batch of queries on one thread and on all. While it grows, what a search costs is told with all
//! that the process does meanwhile (flushes, compactions); the two are compared after a rest.
//!
//! `cargo bench --bench grown -- [--adds 20000] [--batch 5] [--dim 384] [--put-ms 4] [--queries 400]`
//!
//! Every put takes `--put-ms`, as on a bucket nearby. CPU time is the process's without the index threads'.

use std::sync::Arc;
use std::time::{Duration, Instant};

use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{Call, Fault, FaultBucket};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{Collection, CollectionSpec, Include, Query, Record, Selection, Settings, Storage, Store};
use drumlin_test_support::arguments;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::time::{ClockId, clock_gettime};

/// Factors that vectors are made of, as embeddings vary in far fewer directions than they have floats.
const FACTORS: usize = 24;
/// Share of a vector that is noise of its own.
const NOISE: f32 = 0.15;
/// After so many adds, as many records are deleted as one add brings.
const ADDS_PER_DELETE: usize = 8;
/// Widths of search that are compared.
const WIDTHS: [usize; 7] = [10, 20, 40, 70, 100, 200, 400];
/// Times every figure is measured; the best counts, as other work on the machine only adds.
const RUNS: usize = 3;
/// Looks at the collection while it grows.
const SAMPLES: usize = 60;
/// Records of one add where a collection is built in one go.
const BULK: usize = 5_000;

/// Seeded embedding-like vectors.
struct Vectors {
    directions: Vec<Vec<f32>>,
    random: StdRng,
}

impl Vectors {
    fn new(dim: usize) -> Vectors {
        let mut random = StdRng::seed_from_u64(11);
        let direction = |n: usize, random: &mut StdRng| {
            let weight = 1.0 / (1.0 + n as f32).sqrt();
            (0..dim).map(|_| weight * normal(random)).collect()
        };
        Vectors { directions: (0..FACTORS).map(|n| direction(n, &mut random)).collect(), random }
    }

    fn next(&mut self) -> Vec<f32> {
        let mut vector: Vec<f32> = self.directions[0].iter().map(|_| NOISE * normal(&mut self.random)).collect();
        for direction in &self.directions {
            let factor = normal(&mut self.random);
            vector.iter_mut().zip(direction).for_each(|(x, d)| *x += factor * d);
        }
        vector
    }
}

/// A draw of the standard normal distribution (Box and Muller).
fn normal(random: &mut StdRng) -> f32 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}

struct Sizes {
    adds: usize,
    batch: usize,
    dim: usize,
    put_ms: u64,
}

#[tokio::main]
async fn main() {
    let sizes = Sizes {
        adds: arguments::number("--adds", 20_000),
        batch: arguments::number("--batch", 5),
        dim: arguments::number("--dim", 384),
        put_ms: arguments::number("--put-ms", 4) as u64,
    };
    let mut vectors = Vectors::new(sizes.dim);
    let queries: Vec<Vec<f32>> = (0..arguments::number("--queries", 400)).map(|_| vectors.next()).collect();

    let (grown_store, grown, live) = grow(&sizes, &mut vectors, &queries).await;
    let at_once_store = open(sizes.put_ms, false, 1).await;
    let at_once = build_at_once(&at_once_store, &live).await;
    println!("built in one go:   {}", grown_parts(&at_once));
    let truth = Truth::of(&at_once, &queries).await;
    rest(&grown_store, &grown).await;
    println!("\nafter a rest\n{}", written(&grown_store, &live));
    println!("parts: {}", grown_parts(&grown));
    compare(&grown, &at_once, &truth).await;
    latencies_without_maintenance(&sizes, &at_once, &mut vectors).await;
    batches(&sizes, &live, &queries).await;
    for store in [grown_store, at_once_store] {
        store.close(Duration::from_secs(60)).await.expect("the store closes");
    }
}

/// A store on a bucket in memory where a put takes as long as on a real one.
async fn open(put_ms: u64, maintenance: bool, search_threads: usize) -> Store {
    let bucket = FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine())));
    bucket.set_plan(move |call: &Call| match call.op {
        Op::Put | Op::Create | Op::Swap if put_ms > 0 => Fault::SlowMs(put_ms),
        _ => Fault::None,
    });
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = maintenance;
    settings.search_threads = search_threads;
    // Adds come some ten times as fast as on a bucket far away, so maintenance looks as much more often.
    settings.timing.maintenance_interval = Duration::from_millis(250);
    settings.timing.swap_interval = Duration::from_millis(100);
    Store::open_on(settings, Arc::new(bucket)).await.expect("a bucket in memory opens")
}

/// Grows a collection with maintenance in the background. Answers the records that are left, too.
async fn grow(sizes: &Sizes, vectors: &mut Vectors, queries: &[Vec<f32>]) -> (Store, Collection, Vec<Record>) {
    let store = open(sizes.put_ms, true, 1).await;
    let collection = store.create_collection(CollectionSpec::new("grown")).await.expect("the name");
    let mut random = StdRng::seed_from_u64(12);
    let (mut live, mut made): (Vec<Record>, usize) = (Vec::new(), 0);
    let (mut latencies_ms, mut searches_us) = (Vec::new(), Vec::new());
    let started = Instant::now();
    for add in 1..=sizes.adds {
        let records: Vec<Record> =
            (0..sizes.batch).map(|n| Record::new(format!("r{}", made + n), vectors.next())).collect();
        made += records.len();
        let begun = Instant::now();
        collection.add(records.clone()).await.expect("an add succeeds");
        latencies_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        live.extend(records);
        if add % ADDS_PER_DELETE == 0 {
            let gone = (0..sizes.batch).map(|_| live.swap_remove(random.random_range(0..live.len())).id);
            let gone = Selection { ids: Some(gone.collect()), ..Selection::default() };
            collection.delete(gone).await.expect("a delete succeeds");
        }
        if add % sizes.adds.div_ceil(SAMPLES) == 0 {
            let sample = Query { include: Include::NONE, ..Query::batch(queries[..queries.len().min(100)].to_vec()) };
            let begun = search_cpu_us();
            let asked = collection.search_batch(sample).await.expect("a search is answered").len();
            let cost = (search_cpu_us() - begun) / asked as f64;
            println!("{:>8} records: {cost:7.1} us a query, {}", live.len(), grown_parts(&collection));
            searches_us.push(cost);
        }
    }
    println!("grown in {:.1} s; {}", started.elapsed().as_secs_f64(), written(&store, &live));
    let late = searches_us.split_off(searches_us.len() / 2);
    println!("second half of the growth: {:.1} us a query on average", late.iter().sum::<f64>() / late.len() as f64);
    print_latencies("adds while graphs are built", &mut latencies_ms);
    (store, collection, live)
}

async fn build_at_once(store: &Store, live: &[Record]) -> Collection {
    let collection = store.create_collection(CollectionSpec::new("once")).await.expect("the name");
    for records in live.chunks(BULK) {
        collection.add(records.iter().cloned()).await.expect("an add succeeds");
    }
    let (wall, cpu) = (Instant::now(), process_cpu_us());
    store.admin().maintain().await.expect("maintenance succeeds");
    let cpu_s = (process_cpu_us() - cpu) / 1e6;
    println!("\n{} records built in one go: {cpu_s:.1} s of CPU, {:.1} s", live.len(), wall.elapsed().as_secs_f64());
    collection
}

/// What exact searches find.
struct Truth {
    queries: Vec<Vec<f32>>,
    /// Distance of the tenth nearest.
    bounds: Vec<f32>,
}

impl Truth {
    async fn of(collection: &Collection, queries: &[Vec<f32>]) -> Truth {
        let query = Query { include: Include::NONE, ..Query::batch(queries.to_vec()).exact(true) };
        let results = collection.search_batch(query).await.expect("a search is answered");
        let bounds = results.iter().map(|hits| hits.last().map_or(f32::MAX, |hit| hit.distance)).collect();
        Truth { queries: queries.to_vec(), bounds }
    }

    /// Recall@10 and microseconds of CPU time a query.
    async fn measure(&self, collection: &Collection, ef: Option<usize>) -> (f64, f64) {
        let query = Query { include: Include::NONE, ef_search: ef, ..Query::batch(self.queries.clone()) };
        let begun = search_cpu_us();
        let results = collection.search_batch(query).await.expect("a search is answered");
        let cost = (search_cpu_us() - begun) / self.queries.len() as f64;
        let near = results.iter().zip(&self.bounds).map(|(hits, bound)| {
            let bound = bound * (1.0 + 1e-6);
            hits.iter().filter(|hit| hit.distance <= bound).count() as f64 / 10.0
        });
        (near.sum::<f64>() / results.len() as f64, cost)
    }
}

/// Sweeps both, interleaved, and prints what a search costs at equal recall.
async fn compare(grown: &Collection, at_once: &Collection, truth: &Truth) {
    println!("{:>8} {:>9} {:>10} {:>9} {:>10}", "ef", "recall", "us grown", "recall", "us at once");
    let mut curves = [Vec::new(), Vec::new()];
    for ef in WIDTHS.into_iter().map(Some).chain([None]) {
        let mut best = [(0.0, f64::MAX); 2];
        for _ in 0..RUNS {
            for (best, collection) in best.iter_mut().zip([grown, at_once]) {
                let (recall, cost) = truth.measure(collection, ef).await;
                *best = (recall, best.1.min(cost));
            }
        }
        let [(recall_grown, us_grown), (recall_once, us_once)] = best;
        let name = ef.map_or("default".to_owned(), |ef| ef.to_string());
        println!("{name:>8} {recall_grown:>9.4} {us_grown:>10.1} {recall_once:>9.4} {us_once:>10.1}");
        if ef.is_some() {
            curves.iter_mut().zip(best).for_each(|(curve, point)| curve.push(point));
        }
    }
    for recall in [0.90, 0.95, 0.99] {
        let [grown, once] = curves.each_ref().map(|curve| cost_at(curve, recall));
        match (grown, once) {
            (Some(grown), Some(once)) => println!(
                "recall {recall:.2}: grown {grown:.1} us ({:.0} QPS), at once {once:.1} us ({:.0} QPS), ratio {:.2}",
                1e6 / grown,
                1e6 / once,
                grown / once
            ),
            _ => println!("recall {recall:.2}: not reached by both"),
        }
    }
}

/// Cost at a recall, between the points next to it (straight in the logarithm of cost).
fn cost_at(curve: &[(f64, f64)], recall: f64) -> Option<f64> {
    let (first, cost) = curve.first()?;
    if *first >= recall {
        return Some(*cost);
    }
    curve.windows(2).find(|pair| pair[0].0 < recall && recall <= pair[1].0).map(|pair| {
        let ((r0, c0), (r1, c1)) = (pair[0], pair[1]);
        (c0.ln() + (c1.ln() - c0.ln()) * (recall - r0) / (r1 - r0)).exp()
    })
}

/// Waits until maintenance has had nothing to do for a while.
async fn rest(store: &Store, collection: &Collection) {
    let (mut seen, mut since) = (String::new(), Instant::now());
    while since.elapsed() < Duration::from_secs(8) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = format!("{:?} {}", store.admin().counters(), grown_parts(collection));
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}

fn grown_parts(collection: &Collection) -> String {
    let parts = collection.parts();
    let graphs: Vec<String> = parts.graphs.iter().map(|(nodes, dead)| format!("{nodes} ({dead} dead)")).collect();
    format!("graphs of [{}] nodes, {} rows in none", graphs.join(", "), parts.unindexed)
}

fn written(store: &Store, live: &[Record]) -> String {
    let raw: usize = live.iter().map(|record| record.embedding.len() * 4 + record.id.len()).sum();
    let sent = store.admin().storage_counters().bytes_sent();
    let done = store.admin().counters();
    format!(
        "{:.0} MB written, {:.2} x raw; {} graphs built",
        sent as f64 / 1e6,
        sent as f64 / raw as f64,
        done.graphs_built
    )
}

fn print_latencies(name: &str, latencies_ms: &mut [f64]) {
    latencies_ms.sort_by(f64::total_cmp);
    let at = |share: f64| latencies_ms[((latencies_ms.len() - 1) as f64 * share) as usize];
    println!(
        "{name}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, most {:.2} ms",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

async fn latencies_without_maintenance(sizes: &Sizes, collection: &Collection, vectors: &mut Vectors) {
    let mut latencies_ms = Vec::new();
    for add in 0..(sizes.adds / 10).max(1) {
        let records: Vec<Record> =
            (0..sizes.batch).map(|n| Record::new(format!("late {add} {n}"), vectors.next())).collect();
        let begun = Instant::now();
        collection.add(records.clone()).await.expect("an add succeeds");
        latencies_ms.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    print_latencies("\nadds without maintenance", &mut latencies_ms);
}

/// Queries a second of one call with many queries, on one search thread and on all.
async fn batches(sizes: &Sizes, live: &[Record], queries: &[Vec<f32>]) {
    let all = std::thread::available_parallelism().map_or(2, usize::from);
    let (one, many) = (open(0, false, 1).await, open(0, false, all).await);
    let live = &live[..live.len().min(20_000)];
    let collections = [build_at_once(&one, live).await, build_at_once(&many, live).await];
    let mut best = [f64::MAX; 2];
    for _ in 0..5 {
        for (best, collection) in best.iter_mut().zip(&collections) {
            let query = Query { include: Include::NONE, ..Query::batch(queries.to_vec()) };
            let begun = Instant::now();
            collection.search(query).await.expect("a search is answered");
            *best = best.min(begun.elapsed().as_secs_f64());
        }
    }
    let [one_qps, all_qps] = best.map(|seconds| queries.len() as f64 / seconds);
    println!(
        "a batch of {} queries, dim {}: {one_qps:.0} QPS on 1 thread, {all_qps:.0} on {all}: {:.2} x",
        queries.len(),
        sizes.dim,
        all_qps / one_qps
    );
}

/// Microseconds of CPU time the process has used, without its index threads.
fn search_cpu_us() -> f64 {
    process_cpu_us() - index_threads_cpu_us()
}

fn process_cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// From `/proc`: the first figure of a thread's `schedstat` is its CPU time in nanoseconds.
fn index_threads_cpu_us() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let of_thread = |path: std::path::PathBuf| {
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let used = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let ns: f64 = used.split(' ').next()?.parse().ok()?;
        name.starts_with("index-").then_some(ns / 1e3)
    };
    threads.filter_map(|thread| of_thread(thread.ok()?.path())).sum()
}
