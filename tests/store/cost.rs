//! The bars of cost and group commit that do not depend on the machine: bytes and requests, on paused
//! time. `benches/cost.rs` and `benches/group_commit.rs` print the full-size figures.

use std::sync::Arc;
use std::time::Duration;

use drumlin::settings::Timing;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{Call, Fault, FaultBucket};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{CollectionSpec, Consistency, Record, Settings, Storage, Store};
use drumlin_test_support::cost_run::{Run, seconds};
use drumlin_test_support::{cost_run, group_commit_run};

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
    let bytes = |calls: &[(Op, drumlin::testing::bucket::count::OpCounts)]| {
        calls.iter().map(|(_, c)| c.bytes_sent).sum::<u64>()
    };
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

/// A bucket in memory whose calls can be looked at and held up.
fn watched() -> Arc<FaultBucket> {
    Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))))
}

async fn store_on(bucket: &Arc<FaultBucket>) -> Store {
    let store = Store::open_on(Settings::new(Storage::Memory), bucket.clone()).await.unwrap();
    store.wait_until_loaded().await;
    store
}

fn record(id: usize) -> Record {
    Record::new(format!("r{id}"), vec![1.0, 2.0])
}

#[tokio::test(start_paused = true)]
async fn collections_that_nobody_uses_cost_next_to_nothing() {
    const COLLECTIONS: usize = 25;
    let bucket = watched();
    let mut settings = Settings::new(Storage::Memory);
    settings.timing.maintenance_interval = Duration::from_secs(120);
    let store = Store::open_on(settings, bucket.clone()).await.unwrap();
    for number in 0..COLLECTIONS {
        let spec = CollectionSpec::new(format!("c{number}"));
        store.create_collection(spec).await.unwrap().add([record(0)]).await.unwrap();
    }
    // What the writes leave to do is done: flushes and the first looks for garbage.
    tokio::time::sleep(Duration::from_secs(8 * 3600)).await;
    let before = bucket.log().len();
    tokio::time::sleep(Duration::from_secs(64 * 60)).await;
    let calls = bucket.log().split_off(before);
    let of_collections = calls.iter().filter(|call| call.key.starts_with("c/")).count();
    assert!(of_collections >= COLLECTIONS, "{of_collections} looks: commits of others would go unseen");
    assert!(of_collections <= COLLECTIONS * 3, "{of_collections} requests in 64 intervals");
    assert!(calls.len() <= of_collections + 80, "{} requests besides", calls.len() - of_collections);
}

#[tokio::test(start_paused = true)]
async fn a_read_after_a_time_without_use_sees_what_another_server_wrote_an_interval_ago() {
    let bucket = watched();
    let (one, other) = (store_on(&bucket).await, store_on(&bucket).await);
    let written = one.create_collection(CollectionSpec::new("shared")).await.unwrap();
    other.sync().await.unwrap();
    let read = other.collection("shared").await.unwrap();
    for round in 0..5 {
        tokio::time::sleep(Duration::from_secs(20 * 60 + 7)).await;
        written.add([record(round)]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(read.count(Consistency::Local).await.unwrap(), round as u64 + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_away_keeps_a_read_after_a_time_without_use_for_a_second_once() {
    let bucket = watched();
    let store = store_on(&bucket).await;
    let collection = store.create_collection(CollectionSpec::new("c")).await.unwrap();
    collection.add([record(0)]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20 * 60 + 7)).await;
    bucket.set_plan(|_| Fault::SlowMs(3_600_000));
    for longest_ms in [1_100, 10, 10] {
        let began = tokio::time::Instant::now();
        assert_eq!(collection.count(Consistency::Local).await.unwrap(), 1);
        let took = began.elapsed();
        assert!(took <= Duration::from_millis(longest_ms), "a read took {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_and_a_create_ask_for_few_slots_of_a_log_beyond_its_end() {
    let bucket = watched();
    let store = store_on(&bucket).await;
    let slots = |from: usize| {
        let slot = |key: &str| key.starts_with("c/") && key.contains("/log/");
        bucket.log().iter().skip(from).filter(|call| call.op == Op::Get && slot(&call.key)).count()
    };
    let before = bucket.log().len();
    let collection = store.create_collection(CollectionSpec::new("c")).await.unwrap();
    assert_eq!(slots(before), 2, "a create");
    let mut commits = 0;
    for (more, most) in [(1, 3), (1, 6), (38, 40 + 16)] {
        for _ in 0..more {
            commits += 1;
            collection.add([record(commits)]).await.unwrap();
        }
        let before = bucket.log().len();
        let again = store_on(&bucket).await;
        assert_eq!(again.collection("c").await.unwrap().count(Consistency::Local).await.unwrap(), commits as u64);
        let asked = slots(before);
        assert!(asked > commits && asked <= most, "{asked} slots of a log of {commits}");
    }
}
