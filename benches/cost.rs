//! What writes cost on a bucket: 5,000 single-record adds of 384 dimensions, with T_KEEP and T_GARBAGE
//! of seconds and with the production constants (one add a second, then a day and two hours of rest,
//! on paused time), and one add on an empty and on a filled collection.
//!
//! `cargo bench --bench cost -- [--adds 5000] [--records 20000]`

use std::time::Duration;

use drumlin::settings::Timing;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::count::OpCounts;
use drumlin_test_support::cost_run::{Cost, DIM, Run, one_add, seconds};
use drumlin_test_support::{arguments, cost_run};

fn main() {
    let (adds, records) = (arguments::number("--adds", 5_000), arguments::number("--records", 20_000));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime starts").block_on(async {
        println!("{adds} adds of one record, {DIM} dimensions\n");
        let (pace, rest) = (Duration::from_millis(10), Duration::from_secs(120));
        let cost = cost_run::run(Run { adds, pace, rest, timing: seconds() }).await;
        report("T_KEEP 10 s, T_GARBAGE 5 s", &cost, adds);
        let (pace, rest) = (Duration::from_secs(1), Duration::from_secs(26 * 3600));
        let cost = cost_run::run(Run { adds, pace, rest, timing: Timing::default() }).await;
        report("production constants, one add a second, 26 h later", &cost, adds);
        let (empty, raw) = one_add(0).await;
        let (full, _) = one_add(records).await;
        println!("one add, {raw} bytes of raw data");
        for (name, calls) in [("empty collection".to_owned(), empty), (format!("{records} records"), full)] {
            let line: Vec<String> = calls.iter().map(line).collect();
            println!("  {name:<24} {}", line.join(", "));
        }
    });
}

fn line((op, counts): &(Op, OpCounts)) -> String {
    format!("{} {}, {} bytes sent", counts.calls, op.name(), counts.bytes_sent)
}

fn report(name: &str, cost: &Cost, adds: usize) {
    let bytes = |what: &str, bytes: u64| println!("  {what:<34} {bytes:>12}  {:6.2} × raw", cost.times_raw(bytes));
    println!("{name}");
    bytes("raw data", cost.raw_bytes);
    bytes("in the bucket after the last add", cost.bytes_after_adds);
    bytes("in the bucket at the end", cost.bytes_at_end);
    bytes("  of this log", cost.log_bytes);
    bytes("  of this segments", cost.segment_bytes);
    bytes("  of this graphs", cost.graph_bytes);
    bytes("written in total", cost.bytes_written());
    println!("  {:<8}{:>10}{:>14}{:>16}{:>16}", "request", "calls", "calls per add", "bytes sent", "bytes received");
    for (op, counts) in &cost.counts {
        let per_add = counts.calls as f64 / adds as f64;
        let (sent, received) = (counts.bytes_sent, counts.bytes_received);
        println!("  {:<8}{:>10}{per_add:>14.4}{sent:>16}{received:>16}", op.name(), counts.calls);
    }
    let done = &cost.counters;
    println!(
        "  {} flushes, {} compactions, {} graphs built, {} log objects deleted\n",
        done.flushes, done.compactions, done.graphs_built, done.log_objects_deleted
    );
}
