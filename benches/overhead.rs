//! What searches cost through the Rust library, on a store that `benches/python_overhead.py` has made: that script runs
//! this program and its twin in Python in turn, and prints the difference. A JSON line for each case, with the
//! microseconds of a call: of one query among 1,000 records of 8 floats (exact, k = 1), and of a batch of 1,000 queries
//! among 20,000 records of 128 floats (k = 10).
//!
//! `cargo bench --bench overhead -- --folder PATH`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use drumlin::{Collection, Include, Query, Settings, Store};
use serde_json::json;

/// Passes, of which the median counts.
const PASSES: usize = 7;

#[tokio::main]
async fn main() {
    let folder = folder();
    let mut settings = Settings::folder(folder.join("store"));
    settings.maintenance = false;
    let store = Store::open(settings).await.unwrap();
    store.wait_until_loaded().await;
    let small = store.collection("small").await.unwrap();
    let large = store.collection("large").await.unwrap();
    print("single", single(&small, &queries(&folder.join("small.f32"), 8)).await);
    print("batch", batch(&large, &queries(&folder.join("large.f32"), 128)).await);
}

fn folder() -> PathBuf {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--folder").skip(1);
    arguments.next().expect("--folder PATH: what benches/python_overhead.py has made").into()
}

/// The queries of a file: float32, little-endian.
fn queries(path: &Path, dimension: usize) -> Vec<Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let floats: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    floats.chunks_exact(dimension).map(<[f32]>::to_vec).collect()
}

fn print(case: &str, mut passes: Vec<f64>) {
    passes.sort_by(f64::total_cmp);
    println!("{}", json!({"case": case, "by": "rust", "us": passes[passes.len() / 2]}));
}

/// Microseconds of a search of one query, for each pass over all of them.
async fn single(collection: &Collection, queries: &[Vec<f32>]) -> Vec<f64> {
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let began = Instant::now();
        for query in queries {
            let query = Query::new(query.as_slice()).k(1).exact(true).include(Include::NONE);
            assert_eq!(collection.search(query).await.unwrap().len(), 1);
        }
        passes.push(began.elapsed().as_secs_f64() * 1e6 / queries.len() as f64);
    }
    passes
}

/// Microseconds of a search of all queries at once.
async fn batch(collection: &Collection, queries: &[Vec<f32>]) -> Vec<f64> {
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let began = Instant::now();
        let query = Query::batch(queries.to_vec()).k(10).include(Include::NONE);
        assert_eq!(collection.search_batch(query).await.unwrap().len(), queries.len());
        passes.push(began.elapsed().as_secs_f64() * 1e6);
    }
    passes
}
