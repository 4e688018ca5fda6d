//! Start-up: records with their graph are written to an S3 server, then new stores open on it. Prints
//! seconds and MB/s until everything is loaded and answers, where the time went, and beside it, in turn
//! with it, what plain parallel GETs of the same objects take.
//!
//! `cargo bench --bench startup -- [--records 20000] [--dim 384] [--runs 3] [--no-graph] [--keep]
//! [--added-latency-ms 0]`
//!
//! The server runs in this process and shares its cores, unless `S3_ENDPOINT` names another (then with
//! `S3_BUCKET`, and credentials as the AWS SDK finds them). There `--keep` leaves the objects, and the next
//! run with `--keep` and the same numbers opens them again. `--no-graph` leaves the graphs out, which take
//! long to build. `--added-latency-ms` makes every round trip longer, by a proxy in this process.

mod link;
mod phases;

use std::time::{Duration, Instant};

use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::s3::{S3Bucket, S3Settings};
use drumlin::testing::bucket::{Bucket, PAGE_KEYS};
use drumlin::{Collection, CollectionSpec, ErrorKind, Query, Settings, Storage, Store};
use drumlin_test_servers::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use drumlin_test_support::arguments;
use drumlin_test_support::records::Source;
use link::Objects;
use phases::Phases;

const COLLECTION: &str = "startup";
/// Records of one add request.
const BATCH: usize = 5_000;
/// Batches after which the tail is flushed while the bucket is filled.
const FLUSH_BATCHES: usize = 20;
/// Rounds of maintenance at most until nothing is left to flush, merge or build.
const ROUNDS: usize = 32;
const SEED: u64 = 4;
const CENTRES: usize = 1_000;

/// What is measured, and on what.
struct Bench {
    settings: Settings,
    s3: S3Settings,
    records: usize,
    dim: usize,
    keep: bool,
    server: Option<S3Server>,
}

#[tokio::main]
async fn main() {
    let phases = Phases::collect();
    let mut bench = Bench::new().await;
    let query = Source::new(SEED, bench.dim, CENTRES).take(1).remove(0).embedding;
    let objects = bench.fill().await;
    println!("an opening reads {:.1} MB", objects.bytes as f64 / 1e6);
    bench.lengthen(Duration::from_millis(arguments::number("--added-latency-ms", 0) as u64)).await;
    let objects = objects.through(&bench.s3).await;
    let (mut opens, mut plains) = (Vec::new(), Vec::new());
    for run in 0..arguments::number("--runs", 3).max(1) {
        // In turn, so that both meet the same weather.
        let cpu_s = phases::process_cpu_s();
        let plain = objects.get().await;
        let cpu_s = phases::process_cpu_s() - cpu_s;
        println!(
            "run {run}: plain GETs {plain:.2} s, {cpu_s:.2} CPU s, {:.0} MB/s",
            objects.bytes as f64 / 1e6 / plain
        );
        plains.push(plain);
        phases.clear();
        opens.push(bench.open_once(&query, &phases).await);
    }
    let (open, plain) = (median(opens), median(plains));
    println!(
        "median: first answer after {open:.2} s, {:.0} MB/s; plain GETs {plain:.2} s, {:.0} MB/s: {:.0} % of the link",
        objects.bytes as f64 / 1e6 / open,
        objects.bytes as f64 / 1e6 / plain,
        100.0 * plain / open
    );
    bench.clear().await;
}

impl Bench {
    /// The server in this process, or the one in the environment, and how to reach it.
    async fn new() -> Bench {
        let (records, dim) = (arguments::number("--records", 20_000), arguments::number("--dim", 384));
        let given = |name: &str| std::env::args().any(|argument| argument == name);
        let (keep, graph) = (given("--keep"), !given("--no-graph"));
        let endpoint = std::env::var("S3_ENDPOINT").unwrap_or_default();
        let (server, mut s3) = if endpoint.is_empty() {
            let server = S3Server::start().await;
            let mut s3 = S3Settings::new(BUCKET);
            s3.endpoint = Some(server.endpoint().to_owned());
            s3.access_key_id = Some(ACCESS_KEY.to_owned());
            s3.secret_access_key = Some(SECRET_KEY.to_owned());
            (Some(server), s3)
        } else {
            let bucket = std::env::var("S3_BUCKET").expect("S3_BUCKET names the bucket at S3_ENDPOINT");
            let mut s3 = S3Settings::new(bucket);
            s3.endpoint = Some(endpoint);
            (None, s3)
        };
        let whose = if keep { "kept".to_owned() } else { std::process::id().to_string() };
        let kind = if graph { "graph" } else { "bare" };
        s3.prefix = format!("startup-bench-{records}-{dim}-{kind}-{whose}/");
        let mut settings = Settings::new(Storage::S3(s3.clone()));
        // Maintenance runs where this bench asks for it, and loading is measured without it.
        settings.maintenance = false;
        settings.timing.swap_interval = Duration::ZERO;
        if !graph {
            settings.timing.graph_rows = usize::MAX;
        }
        Bench { settings, s3, records, dim, keep, server }
    }

    /// From here on every round trip to the server takes `latency` more.
    async fn lengthen(&mut self, latency: Duration) {
        if latency > Duration::ZERO {
            let endpoint = self.s3.endpoint.as_deref().expect("the server's endpoint is known");
            self.s3.endpoint = Some(link::delayed(endpoint, latency).await);
            self.settings.storage = Storage::S3(self.s3.clone());
        }
    }

    /// Writes the records, unless an earlier run has, and lets maintenance finish.
    async fn fill(&self) -> Objects {
        let store = Store::open(self.settings.clone()).await.expect("a store opens on the server");
        store.wait_until_loaded().await;
        let collection = match store.collection(COLLECTION).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let spec = CollectionSpec::new(COLLECTION);
                store.create_collection(spec).await.expect("the name is free")
            }
            found => found.expect("the collection is loaded"),
        };
        let (started, mut source) = (Instant::now(), Source::new(SEED, self.dim, CENTRES));
        let missing = self.records.saturating_sub(collection.info().count as usize);
        assert!([0, self.records].contains(&missing), "an earlier run was cut short; delete {}", self.s3.prefix);
        let mut added = 0;
        while added < missing {
            let batch = source.take(BATCH.min(missing - added));
            added += collection.add(batch.clone()).await.expect("a batch is added").applied;
            if added % (BATCH * FLUSH_BATCHES) == 0 {
                store.sync().await.expect("the tail is flushed");
            }
        }
        let written = started.elapsed();
        for _ in 0..ROUNDS {
            let before = store.admin().counters();
            store.admin().maintain().await.expect("maintenance succeeds");
            if store.admin().counters() == before {
                break;
            }
        }
        println!(
            "{} records of {} dimensions, {:.1} MB of embeddings: {added} written in {:.1} s, maintenance {:.1} s, {} graphs built",
            self.records,
            self.dim,
            (self.records * self.dim * 4) as f64 / 1e6,
            written.as_secs_f64(),
            (started.elapsed() - written).as_secs_f64(),
            store.admin().counters().graphs_built
        );
        let objects = Objects::of(&self.s3, collection.info().id).await;
        store.close(Duration::from_secs(60)).await.expect("the store closes");
        objects
    }

    /// Opens a new store and asks it once; the seconds until the answer.
    async fn open_once(&self, query: &[f32], phases: &Phases) -> f64 {
        let (started, cpu_s) = (Instant::now(), phases::process_cpu_s());
        let store = Store::open(self.settings.clone()).await.expect("a store opens on the server");
        let catalog = started.elapsed();
        let recovery = store.wait_until_loaded().await;
        let loaded = started.elapsed();
        assert_eq!(recovery.records, self.records as u64, "every record came back");
        let collection = store.collection(COLLECTION).await.expect("the collection is loaded");
        first_search(&collection, query).await;
        let (answered, cpu_s) = (started.elapsed(), phases::process_cpu_s() - cpu_s);
        let (gets, counters) = (store.admin().storage_counters().of(Op::Get), store.admin().counters());
        assert_eq!(counters.graphs_built, 0, "a start builds no graph");
        println!(
            "  open {:.2} s, {cpu_s:.2} CPU s: catalog after {:.3} s, loaded after {:.3} s, answered after {:.3} s; \
             {:.1} MB in {} GETs, {} graphs loaded",
            answered.as_secs_f64(),
            catalog.as_secs_f64(),
            loaded.as_secs_f64(),
            answered.as_secs_f64(),
            recovery.bytes as f64 / 1e6,
            gets.calls,
            recovery.graphs_loaded
        );
        phases.print(started);
        store.close(Duration::from_secs(60)).await.expect("the store closes");
        answered.as_secs_f64()
    }

    /// Deletes what was written, unless it is to be kept or goes with its server.
    async fn clear(self) {
        if self.keep || self.server.is_some() {
            return;
        }
        let bucket = S3Bucket::connect(self.s3).await.expect("the settings are right");
        loop {
            let page = bucket.list("", None).await.expect("the bucket is listed");
            let keys: Vec<String> = page.objects.into_iter().take(PAGE_KEYS).map(|object| object.key).collect();
            if keys.is_empty() {
                return;
            }
            bucket.delete(&keys).await.expect("objects are deleted");
        }
    }
}

async fn first_search(collection: &Collection, query: &[f32]) {
    let hits = collection.search(Query::new(query)).await.expect("a search is answered");
    let nearest = hits.first().expect("there are records");
    assert!(nearest.distance < 1e-3, "a stored embedding finds its record, got distance {}", nearest.distance);
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(0.0)
}
