//! Many writers in one process: four stores on one bucket under a seeded storm of operations, faults,
//! stalls, kills and reopenings. Everything anybody was told must hold against the true history, the
//! protocol's invariants must hold at every change, and all stores must converge.
//! More seeds: `DRUMLIN_SEEDS=200 DRUMLIN_FIRST_SEED=1 cargo test --test faults many_writers`.

use std::collections::BTreeMap;
use std::time::Instant;

use super::storm::simulation::{Report, Storm, run};

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn weather(storm: &Storm) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let started = Instant::now();
    let report = runtime.expect("a runtime").block_on(run(storm));
    eprintln!("seed {}: {:?} in {:?}", storm.seed, report.counts, started.elapsed());
    report
}

#[test]
fn four_stores_under_a_storm_lose_nothing_tell_no_lies_and_converge() {
    let first = number("DRUMLIN_FIRST_SEED", 1);
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + number("DRUMLIN_SEEDS", 15) {
        let report = weather(&Storm::new(seed));
        let wrong = report.wrong.join("\n");
        assert!(report.wrong.is_empty(), "seed {seed}: {} things are wrong:\n{wrong}", report.wrong.len());
        report.counts.iter().for_each(|(what, times)| *counts.entry(what).or_default() += times);
    }
    // A storm in which one of these never happened would prove little.
    for what in ["commits", "segments", "graphs", "log objects deleted", "zombies", "kills", "stalls", "dropped"] {
        assert!(counts.get(what).is_some_and(|times| *times > 0), "no {what} in {counts:?}");
    }
}

#[test]
fn the_storm_finds_what_is_wrong_without_fresh_answers() {
    let mut storm = Storm::new(1);
    storm.timing.ablate.fresh_answers = true;
    let report = weather(&storm);
    assert!(report.wrong.iter().any(|what| what.contains("answered from version")), "{:?}", report.wrong);
}
