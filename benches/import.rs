//! A bulk import and the first search after it: records into a store in a folder, their graph with them, the store
//! closed and opened anew, and what searches then cost. Beside it, where a Python with `lancedb` is given, the same
//! vectors there: table, index, first search. Wall time and CPU time of each, as other work on the machine counts
//! in the first.
//! Then records that a server takes while others search: after how long all of them are in graphs, with nobody
//! asking and with clients that search without a pause, and how many searches these get meanwhile.
//!
//! `cargo bench --bench import -- [--records 200000] [--dim 384] [--python PATH] [--served 100000] [--clients 8]`

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use drumlin::{CollectionSpec, Metric, Query, Record, Settings, Storage, Store};
use drumlin_test_support::arguments;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::time::{ClockId, clock_gettime};

/// Centres that vectors lie around.
const CENTRES: usize = 2_000;
/// Records of one add.
const PAGE: usize = 1_000;
/// Searches that a rate is taken of.
const SEARCHES: usize = 500;

/// Wall and CPU seconds since it began.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now(), cpu_seconds())
    }

    fn print(&self, what: &str) {
        let (wall, cpu) = (self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1);
        println!("{what:<40} {wall:8.2} s, {cpu:8.2} s of CPU");
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Exact searches asked for at once.
const BATCH: usize = 200;

/// Seeded vectors around centres, flat.
fn vectors(records: usize, dim: usize) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(17);
    let centres: Vec<f32> = (0..CENTRES * dim).map(|_| random.random_range(-1f32..1.0)).collect();
    let mut values = Vec::with_capacity(records * dim);
    for _ in 0..records {
        let centre = random.random_range(0..CENTRES) * dim;
        values.extend(centres[centre..centre + dim].iter().map(|x| x + random.random_range(-0.6f32..0.6)));
    }
    values
}

async fn drumlin(values: &[f32], dim: usize, folder: &Path) {
    let mut settings = Settings::folder(folder);
    settings.maintenance = false;
    let whole = Clock::start();
    let store = Store::open(settings.clone()).await.expect("the folder can be used");
    let spec = CollectionSpec::new("bulk").metric(Metric::Cosine);
    let collection = store.create_collection(spec).await.expect("it is new");
    let mut number = 0;
    for page in values.chunks(PAGE * dim) {
        let records = page.chunks_exact(dim).map(|vector| {
            number += 1;
            Record::new(format!("r{number}"), vector.to_vec())
        });
        collection.add(records).await.expect("records are added");
    }
    whole.print("drumlin: records");
    collection.build_graphs(|_| {}).await.expect("graphs are built");
    whole.print("drumlin: records and graph");
    store.close(Duration::from_secs(60)).await.expect("the store closes");
    drop((collection, store));
    whole.print("drumlin: closed");
    let first = Clock::start();
    let store = Store::open(settings).await.expect("the folder can be used");
    store.wait_until_loaded().await;
    let collection = store.collection("bulk").await.expect("it is there");
    let query = |n: usize| Query::new(values[n * dim..][..dim].to_vec()).k(10);
    collection.search(query(0)).await.expect("it answers");
    first.print("drumlin: opened anew, first search");
    whole.print("drumlin: together");
    let rate = Instant::now();
    for n in 0..SEARCHES {
        collection.search(query(n)).await.expect("it answers");
    }
    println!("drumlin: {:.0} searches a second, one at a time", SEARCHES as f64 / rate.elapsed().as_secs_f64());
    let queries: Vec<Vec<f32>> = (0..BATCH).map(|n| values[n * dim..][..dim].to_vec()).collect();
    let rate = Instant::now();
    collection.search_batch(Query::batch(queries).k(10).exact(true)).await.expect("it answers");
    println!("drumlin: {:.0} exact searches a second in a batch", BATCH as f64 / rate.elapsed().as_secs_f64());
    let parts = collection.parts();
    println!("drumlin: graphs {:?}, {} records in none", parts.graphs, parts.unindexed);
}

/// The import with LanceDB.
const LANCEDB: &str = r#"
import sys, time, numpy, pyarrow, lancedb
path, place, dim = sys.argv[1], sys.argv[2], int(sys.argv[3])
values = numpy.fromfile(path, dtype=numpy.float32).reshape(-1, dim)
def tell(what, since): print(f"{what:<40} {time.time() - since[0]:8.2f} s, {time.process_time() - since[1]:8.2f} s of CPU", flush=True)
whole = (time.time(), time.process_time())
vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), dim)
ids = pyarrow.array([f"r{n}" for n in range(len(values))])
table = lancedb.connect(place).create_table("bulk", pyarrow.table({"id": ids, "vector": vectors}))
tell("lancedb: records", whole)
table.create_index("vector", config=lancedb.index.IvfPq(distance_type="cosine"))
tell("lancedb: records and index", whole)
first = (time.time(), time.process_time())
table = lancedb.connect(place).open_table("bulk")
table.search(values[0]).limit(10).to_list()
tell("lancedb: opened anew, first search", first)
tell("lancedb: together", whole)
unit = values / numpy.linalg.norm(values, axis=1, keepdims=True)
begun = time.time()
distances = 1 - unit[:200] @ unit.T
for row in distances:
    near = numpy.argpartition(row, 10)[:10]
    near[numpy.argsort(row[near])]
print(f"numpy: {200 / (time.time() - begun):.0f} exact searches a second in a batch", flush=True)
"#;

fn lancedb(values: &[f32], dim: usize, python: &str, folder: &Path) {
    let path = folder.join("vectors.f32");
    let mut file = std::io::BufWriter::new(fs::File::create(&path).expect("a file"));
    values.iter().for_each(|x| file.write_all(&x.to_le_bytes()).expect("it is written"));
    file.flush().expect("it is written");
    let place = folder.join("lancedb");
    let run = Command::new(python).arg("-c").arg(LANCEDB).arg(&path).arg(&place).arg(dim.to_string()).status();
    println!("lancedb: {}", run.map_or_else(|error| error.to_string(), |status| status.to_string()));
}

/// Adds records to a store that tends its graphs, and waits until all are in one while `clients` search.
async fn served(values: &[f32], dim: usize, clients: usize) -> f64 {
    let store = Store::open(Settings::new(Storage::Memory)).await.expect("memory can be used");
    let spec = CollectionSpec::new("served").metric(Metric::Cosine);
    let collection = store.create_collection(spec).await.expect("it is new");
    let count = values.len() / dim;
    let begun = Instant::now();
    for (number, page) in values.chunks(PAGE * dim).enumerate() {
        let records = page.chunks_exact(dim).enumerate();
        let records = records.map(|(n, vector)| Record::new(format!("r{}", number * PAGE + n), vector.to_vec()));
        collection.add(records).await.expect("records are added");
    }
    let added = begun.elapsed();
    let (done, mut asking) = (Arc::new(AtomicBool::new(false)), tokio::task::JoinSet::new());
    let searches = Arc::new(AtomicUsize::new(0));
    for client in 0..clients {
        let (collection, done, searches) = (collection.clone(), done.clone(), searches.clone());
        let queries: Vec<Vec<f32>> =
            values.chunks_exact(dim).skip(client).step_by(count / 100).map(<[f32]>::to_vec).collect();
        asking.spawn(async move {
            for query in queries.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                collection.search(Query::new(query.clone()).k(10)).await.expect("it answers");
                searches.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let (mut told, mut before) = (begun.elapsed(), 0);
    // Fewer than a graph is worth are left to scans.
    while collection.graph_progress().in_graphs + 1_000 < count as u64 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if told + Duration::from_secs(2) < begun.elapsed() {
            let all = searches.load(Ordering::Relaxed);
            let rate = (all - before) as f64 / (begun.elapsed() - told).as_secs_f64();
            println!(
                "  {:6.1} s: {:>7} in graphs, {rate:6.0} searches a second",
                begun.elapsed().as_secs_f64(),
                collection.graph_progress().in_graphs
            );
            (told, before) = (begun.elapsed(), all);
        }
    }
    let whole = begun.elapsed().as_secs_f64();
    println!("{clients} clients: added after {:.1} s, in graphs after {whole:.1} s", added.as_secs_f64());
    done.store(true, Ordering::Relaxed);
    while asking.join_next().await.is_some() {}
    store.close(Duration::from_secs(60)).await.expect("the store closes");
    whole
}

fn main() {
    let (records, dim) = (arguments::number("--records", 200_000), arguments::number("--dim", 384));
    let values = vectors(records, dim);
    println!("{records} records of {dim} floats");
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(drumlin(&values, dim, &folder.path().join("store")));
    if let Some(python) = std::env::args().skip_while(|argument| argument != "--python").nth(1) {
        lancedb(&values, dim, &python, folder.path());
    }
    drop(folder);
    let (some, clients) = (arguments::number("--served", 100_000), arguments::number("--clients", 8));
    let values = &values[..some.min(records) * dim];
    let quiet = runtime.block_on(served(values, dim, 0));
    let busy = runtime.block_on(served(values, dim, clients));
    println!("in graphs with {clients} clients that search: {:.2} times as late as with none", busy / quiet);
}
