//! Group commit: 25 ms are added to every put of the in-process S3 server; 64 clients, then one, add
//! one record at a time. Prints adds per put and per round trip, and adds per second.
//!
//! `cargo bench --bench group_commit -- [--clients 64] [--adds 50] [--latency-ms 25]`

use drumlin::testing::bucket::s3::S3Settings;
use drumlin::{Settings, Storage, Store};
use drumlin_test_servers::{ACCESS_KEY, BUCKET, Mischief, S3Server, SECRET_KEY};
use drumlin_test_support::group_commit_run::Shared;
use drumlin_test_support::{arguments, group_commit_run};

#[tokio::main]
async fn main() {
    let (clients, adds) = (arguments::number("--clients", 64), arguments::number("--adds", 50));
    let latency_ms = arguments::number("--latency-ms", 25);
    let server = S3Server::start().await;
    let mut settings = S3Settings::new(BUCKET);
    settings.endpoint = Some(server.endpoint().to_owned());
    settings.access_key_id = Some(ACCESS_KEY.to_owned());
    settings.secret_access_key = Some(SECRET_KEY.to_owned());
    let store = Store::open(Settings::new(Storage::S3(settings))).await.expect("a store opens on the server");
    let quick = group_commit_run::run(&store, "warm-up", clients, 5).await;
    report("no latency", clients, &quick, 0.0);
    server.set_plan(move |asked| match asked.method {
        "PUT" => Mischief::SlowMs(latency_ms as u64),
        _ => Mischief::None,
    });
    for clients in [clients, 1] {
        let shared = group_commit_run::run(&store, &format!("of-{clients}"), clients, adds).await;
        report(&format!("{latency_ms} ms added to every put"), clients, &shared, latency_ms as f64);
    }
}

fn report(name: &str, clients: usize, shared: &Shared, latency_ms: f64) {
    let (adds, seconds) = (shared.adds as f64, shared.time.as_secs_f64());
    println!(
        "{name}, {clients} clients: {adds} adds in {} puts and {seconds:.2} s: {:.1} adds per put, {:.0} adds/s",
        shared.puts,
        adds / shared.puts as f64,
        adds / seconds
    );
    if latency_ms > 0.0 {
        let trips = seconds * 1e3 / latency_ms;
        println!(
            "  {trips:.1} added latencies: {:.1} adds per latency, {:.2} latencies per put",
            adds / trips,
            trips / shared.puts as f64
        );
    }
}
