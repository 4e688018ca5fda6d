//! A bulk import and the first search after it: records into a store in a folder, their graph with them, the store
//! closed and opened anew, and what searches then cost. Beside it, where a Python with `lancedb` is given, the same
//! vectors there: table, index, first search. Wall time and CPU time of each, as other work on the machine counts
//! in the first.
//!
//! `cargo bench --bench import -- [--records 200000] [--dim 384] [--python PATH]`

#[path = "../tests/support/arguments.rs"]
mod arguments;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use drumlin::{CollectionSpec, Metric, Query, Record, Scope, Settings, Store};
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

    fn tell(&self, what: &str) {
        let (wall, cpu) = (self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1);
        println!("{what:<40} {wall:8.2} s, {cpu:8.2} s of CPU");
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

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
    let collection = store.create_collection(&Scope::default(), spec).await.expect("it is new");
    let mut number = 0;
    for page in values.chunks(PAGE * dim) {
        let records = page.chunks_exact(dim).map(|vector| {
            number += 1;
            Record::new(format!("r{number}"), vector.to_vec())
        });
        collection.add(&records.collect::<Vec<_>>()).await.expect("records are added");
    }
    whole.tell("drumlin: records");
    collection.build_graphs(|_| {}).await.expect("graphs are built");
    whole.tell("drumlin: records and graph");
    store.close(Duration::from_secs(60)).await.expect("the store closes");
    drop((collection, store));
    whole.tell("drumlin: closed");
    let first = Clock::start();
    let store = Store::open(settings).await.expect("the folder can be used");
    store.wait_until_loaded().await;
    let collection = store.collection_in(&Scope::default(), "bulk").await.expect("it is there");
    let query = |n: usize| Query::new(values[n * dim..][..dim].to_vec()).k(10);
    collection.search(query(0)).await.expect("it answers");
    first.tell("drumlin: opened anew, first search");
    whole.tell("drumlin: together");
    let rate = Instant::now();
    for n in 0..SEARCHES {
        collection.search(query(n)).await.expect("it answers");
    }
    println!("drumlin: {:.0} searches a second, one at a time", SEARCHES as f64 / rate.elapsed().as_secs_f64());
    let parts = collection.parts();
    println!("drumlin: graphs {:?}, {} records in none", parts.graphs, parts.loose);
}

/// The same with LanceDB.
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
table.create_index(metric="cosine", vector_column_name="vector")
tell("lancedb: records and index", whole)
first = (time.time(), time.process_time())
table = lancedb.connect(place).open_table("bulk")
table.search(values[0]).limit(10).to_list()
tell("lancedb: opened anew, first search", first)
tell("lancedb: together", whole)
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
}
