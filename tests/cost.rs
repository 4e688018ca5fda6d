//! The bars of cost and group commit that do not depend on the machine: bytes and requests, on paused
//! time. `benches/cost.rs` and `benches/group_commit.rs` print the full-size figures.

#[path = "support/cost_run.rs"]
mod cost_run;
#[path = "support/group_commit_run.rs"]
mod group_commit_run;
#[path = "support/records.rs"]
mod records;

use std::sync::Arc;
use std::time::Duration;

use cost_run::{Run, seconds};
use drumlin::bucket::call::Op;
use drumlin::bucket::clock::StoreClock;
use drumlin::bucket::fault::{Call, Fault, FaultBucket};
use drumlin::bucket::memory::MemoryBucket;
use drumlin::{Settings, Storage, Store, Timing};

/// What is added to every put, in milliseconds.
const PUT_MS: u64 = 25;

#[tokio::test(start_paused = true)]
async fn single_adds_end_below_twice_and_write_below_eight_times_the_raw_data() {
    // A small fan-out makes a thousand adds go through as many levels as many thousands do.
    let timing = Timing { flush_commits: 32, flush_commits_other: 40, fan_out: 4, ..seconds() };
    let (pace, rest) = (Duration::from_millis(10), Duration::from_secs(60));
    let cost = cost_run::run(Run { adds: 1_000, pace, rest, timing }).await;
    assert!(cost.counters.flushes >= 31 && cost.counters.compactions >= 8, "{:?}", cost.counters);
    assert!(cost.counters.log_objects_deleted >= 960, "{:?}", cost.counters);
    let (ends, written) = (cost.times_raw(cost.bytes_at_end), cost.times_raw(cost.bytes_written()));
    assert!(ends < 2.0, "the bucket ends at {ends:.2} × the raw data");
    assert!(written < 8.0, "{written:.2} × the raw data was written");
    assert!(cost.bytes_after_adds > cost.bytes_at_end, "maintenance has freed nothing");
    let data = cost.log_bytes + cost.segment_bytes + cost.graph_bytes;
    assert!(data > 1_000 * 4 * cost_run::DIM as u64, "{data} bytes cannot hold the embeddings");
    assert!(cost.bytes_at_end - data < 64 << 10, "{} bytes besides data", cost.bytes_at_end - data);
    let of = |op: Op| cost.counts.iter().find(|(o, _)| *o == op).map_or(0, |(_, counts)| counts.calls);
    assert_eq!(of(Op::Create), 1_000, "an add is one put");
}

#[tokio::test(start_paused = true)]
async fn an_add_costs_the_same_on_an_empty_collection_and_on_one_of_20_000_records() {
    let (empty, raw) = cost_run::one_add(0).await;
    let (full, _) = cost_run::one_add(20_000).await;
    for calls in [&empty, &full] {
        let kinds: Vec<(Op, u64)> = calls.iter().map(|(op, counts)| (*op, counts.calls)).collect();
        assert_eq!(kinds, [(Op::Create, 1)], "an add is one put and nothing else");
    }
    let bytes = |calls: &[(Op, drumlin::bucket::count::OpCounts)]| calls.iter().map(|(_, c)| c.bytes_sent).sum::<u64>();
    let (empty, full) = (bytes(&empty), bytes(&full));
    assert!(empty.abs_diff(full) * 5 <= empty, "{empty} bytes on an empty collection, {full} on a full one");
    assert!(empty < 2 * raw, "{empty} bytes for a record of {raw}");
    assert!(cost_run::DIM * 4 < raw as usize);
}

/// A store on a bucket in memory where every put takes 25 ms.
async fn slow_puts() -> Store {
    let bucket = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
    bucket.set_plan(|call: &Call| match call.op {
        Op::Put | Op::Create | Op::Swap => Fault::SlowMs(PUT_MS),
        _ => Fault::None,
    });
    Store::open_on(Settings::new(Storage::Memory), bucket).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn adds_of_64_clients_share_a_put_at_least_twenty_at_a_time() {
    let shared = group_commit_run::run(&slow_puts().await, "many", 64, 20).await;
    assert_eq!(shared.adds, 64 * 20);
    assert!(shared.adds >= 20 * shared.puts, "{} adds in {} puts", shared.adds, shared.puts);
    let round_trips = shared.time.as_secs_f64() * 1e3 / PUT_MS as f64;
    assert!(shared.adds as f64 >= 20.0 * round_trips, "{} adds in {round_trips:.1} round trips", shared.adds);
}

#[tokio::test(start_paused = true)]
async fn an_add_of_a_single_client_is_one_round_trip() {
    let alone = group_commit_run::run(&slow_puts().await, "one", 1, 100).await;
    assert_eq!((alone.adds, alone.puts), (100, 100));
    let round_trips = alone.time.as_secs_f64() * 1e3 / PUT_MS as f64;
    assert!((100.0..105.0).contains(&round_trips), "100 adds took {round_trips:.1} round trips");
}
