//! Start-up: records with their graph are written to an S3 server, then new stores open on it. Prints
//! seconds and MB/s until everything is loaded, and that no graph was built.
//!
//! `cargo bench --bench startup -- [--records 100000] [--dim 384] [--runs 3]`
//!
//! The server runs in this process and shares its cores, unless `S3_ENDPOINT` names another (then with
//! `S3_BUCKET`, and credentials as the AWS SDK finds them). Smaller by default: graphs take long to build.

#[path = "../tests/support/arguments.rs"]
mod arguments;
#[path = "../tests/support/records.rs"]
mod records;

use std::time::{Duration, Instant};

use drumlin::bucket::call::Op;
use drumlin::bucket::s3::S3Settings;
use drumlin::{Collection, CollectionSpec, Query, Scope, Settings, Storage, Store};
use drumlin_test_s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use records::Source;

const COLLECTION: &str = "startup";
/// Records of one add request.
const BATCH: usize = 5_000;
/// Rounds of upkeep at most until nothing is left to flush, merge or build.
const ROUNDS: usize = 32;

#[tokio::main]
async fn main() {
    let (records, dim) = (arguments::number("--records", 20_000), arguments::number("--dim", 384));
    let (server, settings) = server(&std::env::var("S3_ENDPOINT").unwrap_or_default()).await;
    let query = fill(&settings, records, dim).await;
    let mut seconds: Vec<f64> = Vec::new();
    for _ in 0..arguments::number("--runs", 3).max(1) {
        seconds.push(open_once(&settings, records, &query).await);
    }
    seconds.sort_by(f64::total_cmp);
    println!("median {:.2} s until all is loaded", seconds[seconds.len() / 2]);
    drop(server);
}

/// The server in this process, or the one at `endpoint`, and how to reach it.
async fn server(endpoint: &str) -> (Option<S3Server>, Settings) {
    let prefix = format!("startup-bench-{}/", std::process::id());
    let (server, s3) = if endpoint.is_empty() {
        let server = S3Server::start().await;
        let s3 = S3Settings {
            endpoint: Some(server.endpoint().to_owned()),
            access_key_id: Some(ACCESS_KEY.to_owned()),
            secret_access_key: Some(SECRET_KEY.to_owned()),
            ..S3Settings::new(BUCKET)
        };
        (Some(server), s3)
    } else {
        let bucket = std::env::var("S3_BUCKET").expect("S3_BUCKET names the bucket at S3_ENDPOINT");
        (None, S3Settings { endpoint: Some(endpoint.to_owned()), ..S3Settings::new(bucket) })
    };
    let mut settings = Settings::new(Storage::S3(S3Settings { prefix, ..s3 }));
    // Upkeep runs where this bench asks for it, and loading is measured without it.
    settings.maintenance = false;
    settings.timing.swap_interval = Duration::ZERO;
    (server, settings)
}

/// Writes the records, lets upkeep finish, and answers with an embedding to ask for.
async fn fill(settings: &Settings, records: usize, dim: usize) -> Vec<f32> {
    let store = Store::open(settings.clone()).await.expect("a store opens on the server");
    let collection =
        store.create_collection(&Scope::default(), CollectionSpec::new(COLLECTION)).await.expect("the name");
    let mut source = Source::new(4, dim, 1_000);
    let mut added = 0;
    let mut query = Vec::new();
    let started = Instant::now();
    while added < records {
        let batch = source.take(BATCH.min(records - added));
        query.clone_from(&batch[0].embedding);
        added += collection.add(&batch).await.expect("a batch is added").applied;
    }
    let written = started.elapsed();
    for _ in 0..ROUNDS {
        let before = store.counters();
        store.maintain().await.expect("upkeep succeeds");
        if store.counters() == before {
            break;
        }
    }
    let done = store.counters();
    println!(
        "{records} records of {dim} dimensions, {:.1} MB of embeddings: written in {:.1} s, upkeep {:.1} s, {} graphs built",
        (records * dim * 4) as f64 / 1e6,
        written.as_secs_f64(),
        (started.elapsed() - written).as_secs_f64(),
        done.graphs_built
    );
    store.close(Duration::from_secs(60)).await.expect("the store closes");
    query
}

/// Opens a new store and answers with the seconds until all is loaded.
async fn open_once(settings: &Settings, records: usize, query: &[f32]) -> f64 {
    let started = Instant::now();
    let store = Store::open(settings.clone()).await.expect("a store opens on the server");
    let catalog = started.elapsed();
    let recovery = store.wait_until_loaded().await;
    let loaded = started.elapsed();
    assert_eq!(recovery.records, records as u64, "every record came back");
    let collection = store.collection(COLLECTION).await.expect("the collection is loaded");
    let first = first_search(&collection, query).await;
    let (gets, counters) = (store.storage_counters().of(Op::Get), store.counters());
    assert_eq!(counters.graphs_built, 0, "a start builds no graph");
    println!(
        "open {:.2} s (catalog {:.3} s, then {:.2} s): {:.1} MB in {} GETs, {:.0} MB/s; {} graphs loaded, {} built; \
         first search {:.1} ms",
        loaded.as_secs_f64(),
        catalog.as_secs_f64(),
        (loaded - catalog).as_secs_f64(),
        recovery.bytes as f64 / 1e6,
        gets.calls,
        recovery.bytes as f64 / 1e6 / loaded.as_secs_f64(),
        recovery.graphs_loaded,
        counters.graphs_built,
        first.as_secs_f64() * 1e3
    );
    store.close(Duration::from_secs(60)).await.expect("the store closes");
    loaded.as_secs_f64()
}

async fn first_search(collection: &Collection, query: &[f32]) -> Duration {
    let started = Instant::now();
    let answer = collection.search(Query::new(query)).await.expect("a search is answered");
    let nearest = answer.results.first().and_then(|hits| hits.first()).expect("there are records");
    assert!(nearest.distance < 1e-3, "a stored embedding finds its record, got distance {}", nearest.distance);
    started.elapsed()
}
