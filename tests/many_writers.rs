//! Many writers in one process: four stores on one bucket under a seeded storm of operations, faults,
//! stalls, kills and reopenings. Everything anybody was told must hold against the true history, the
//! protocol's invariants must hold at every change, and all stores must converge.
//! More seeds: `DRUMLIN_SEEDS=200 DRUMLIN_FIRST_SEED=1 cargo test --test many_writers`.

#[path = "support/storm.rs"]
mod storm;

use std::collections::BTreeMap;
use std::time::Instant;

use storm::simulation::{Storm, run};

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn four_stores_under_a_storm_lose_nothing_tell_no_lies_and_converge() {
    let first = number("DRUMLIN_FIRST_SEED", 1);
    let seeds = first..first + number("DRUMLIN_SEEDS", 6);
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in seeds {
        let started = Instant::now();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let report = runtime.block_on(run(&Storm::new(seed)));
        eprintln!("seed {seed}: {:?} in {:?}", report.counts, started.elapsed());
        let wrong = report.wrong.join("\n");
        assert!(report.wrong.is_empty(), "seed {seed}: {} things are wrong:\n{wrong}", report.wrong.len());
        report.counts.iter().for_each(|(what, times)| *counts.entry(what).or_default() += times);
    }
}
