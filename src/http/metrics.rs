//! The text of `/metrics`, in Prometheus's format: requests measured here, and the store's own counters and sizes,
//! read at the moment of the scrape.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

use crate::error::{Error, Result};
use crate::interop::interchange::decoder_panics;
use crate::store::Store;

/// Upper bounds of the latency histogram in seconds, from a search in memory to a stalled bucket.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Requests, measured.
pub(super) struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    under_way: IntGauge,
}

/// Counts one request as under way until it is dropped.
pub(super) struct UnderWay(IntGauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    #[allow(clippy::expect_used, reason = "all names are constants, and every server of the tests makes them")]
    pub(super) fn new() -> Metrics {
        const VALID: &str = "names and labels are literals that Prometheus allows";
        let requests = Opts::new("drumlin_requests_total", "Requests answered.");
        let seconds = HistogramOpts::new("drumlin_request_seconds", "Time from a request's headers to its answer.");
        Metrics {
            requests: IntCounterVec::new(requests, &["method", "route", "status"]).expect(VALID),
            seconds: HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["method", "route"]).expect(VALID),
            under_way: IntGauge::new("drumlin_requests_under_way", "Requests being answered now.").expect(VALID),
        }
    }

    /// Counts a request as under way until the answer is dropped.
    pub(super) fn begin(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// Records an answered request. `route` is the pattern, never the path: labels stay few.
    pub(super) fn record(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let known =
            [Method::GET, Method::POST, Method::DELETE, Method::PUT, Method::HEAD, Method::OPTIONS, Method::PATCH];
        let method = if known.contains(method) { method.as_str() } else { "other" };
        self.requests.with_label_values(&[method, route, status.as_str()]).inc();
        self.seconds.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// Everything as Prometheus text.
    pub(super) fn text(&self, store: &Store) -> Result<String> {
        let scrape = Scrape::new();
        scrape.add(Ok(self.requests.clone()))?;
        scrape.add(Ok(self.seconds.clone()))?;
        scrape.add(Ok(self.under_way.clone()))?;
        counters(&scrape, store)?;
        sizes(&scrape, store)?;
        activity(&scrape, store)?;
        bucket(&scrape, store)?;
        start(&scrape, store)?;
        scrape.text()
    }
}

/// The registry of one scrape, made anew each time so that values from the store can simply be set.
struct Scrape(Registry);

impl Scrape {
    fn new() -> Scrape {
        Scrape(Registry::new())
    }

    fn add(&self, collector: prometheus::Result<impl Collector + 'static>) -> Result<()> {
        collector.and_then(|c| self.0.register(Box::new(c))).map_err(failed)
    }

    fn counter(&self, name: &str, about: &str, value: u64) -> Result<()> {
        let counter = IntCounter::new(format!("drumlin_{name}_total"), about);
        self.add(counter.inspect(|c| c.inc_by(value)))
    }

    fn seconds(&self, name: &str, about: &str, value: f64) -> Result<()> {
        self.add(Counter::new(format!("drumlin_{name}_total"), about).inspect(|c| c.inc_by(value)))
    }

    fn gauge(&self, name: &str, about: &str, value: f64) -> Result<()> {
        self.add(Gauge::new(format!("drumlin_{name}"), about).inspect(|g| g.set(value)))
    }

    fn text(&self) -> Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut text).map_err(failed)?;
        String::from_utf8(text).map_err(|e| Error::internal("metrics are not text").with_source(e))
    }
}

fn failed(cause: prometheus::Error) -> Error {
    Error::internal("metrics could not be gathered").with_source(cause)
}

fn counters(scrape: &Scrape, store: &Store) -> Result<()> {
    let c = store.admin().counters();
    scrape.counter("commits_written", "Commits written by this instance.", c.commits_written)?;
    scrape.counter("writes_acknowledged", "Write requests acknowledged.", c.writes_acknowledged)?;
    scrape.counter("commits_pulled", "Commits of other instances applied.", c.commits_pulled)?;
    scrape.counter("slots_lost", "Log slots lost to another writer.", c.slots_lost)?;
    scrape.counter("outcomes_unknown", "Writes answered with outcome unknown.", c.outcomes_unknown)?;
    scrape.counter("reopenings", "Streams discarded and opened anew.", c.reopenings)?;
    scrape.counter("flushes", "Segments written by flushes.", c.flushes)?;
    scrape.counter("compactions", "Segments written by compactions.", c.compactions)?;
    scrape.counter("graphs_built", "Graphs built.", c.graphs_built)?;
    scrape.counter("graphs_loaded", "Graphs loaded ready-made.", c.graphs_loaded)?;
    scrape.counter("inverted_stored", "Segments whose inverted indexes were stored.", c.inverted_stored)?;
    scrape.counter("inverted_loaded", "Inverted indexes loaded ready-made.", c.inverted_loaded)?;
    scrape.counter("maps_stored", "Maps of collections stored.", c.maps_stored)?;
    scrape.counter("maps_loaded", "Maps of collections loaded ready-made.", c.maps_loaded)?;
    scrape.counter("log_objects_deleted", "Log objects deleted.", c.log_objects_deleted)?;
    scrape.counter("zombies_deleted", "Log objects that a stalled writer had left.", c.zombies_deleted)?;
    scrape.counter("searches", "Searches answered, by query embedding.", c.searches)?;
    scrape.counter("rests", "Collections evicted from memory.", c.evictions)?;
    scrape.counter("wakings", "Collections loaded again because somebody used them.", c.reloads)?;
    scrape.counter("memory_refusals", "Requests and loads refused for want of memory.", c.memory_refusals)?;
    scrape.counter("put_off", "Graph builds and merges put off for want of memory.", c.put_off)?;
    let panics = "Arrow and Parquet decoders that gave up on damaged bytes, of requests and of the bucket.";
    scrape.counter("decoder_panics", panics, decoder_panics())?;
    let f = store.admin().file_counters();
    scrape.counter("files_put", "Files uploaded.", f.puts)?;
    scrape.counter("files_in_bytes", "Bytes of files taken in.", f.bytes_in)?;
    scrape.counter("files_out_bytes", "Bytes of files handed out.", f.bytes_out)?;
    scrape.counter("files_waits", "Uploads and downloads that waited for memory.", f.waits)
}

fn sizes(scrape: &Scrape, store: &Store) -> Result<()> {
    let h = store.admin().health();
    let one_if = |yes: bool| f64::from(u8::from(yes));
    let loading = h.loading.total.saturating_sub(h.loading.done);
    scrape.gauge("up_seconds", "Seconds since the store opened.", h.uptime_seconds as f64)?;
    scrape.gauge("collections", "Live collections.", h.collections as f64)?;
    scrape.gauge("collections_damaged", "Collections with a damaged object.", h.damaged.len() as f64)?;
    scrape.gauge("collections_loading", "Collections not loaded yet.", loading as f64)?;
    scrape.gauge("records", "Live records.", h.records as f64)?;
    scrape.gauge("storage_connected", "1 if the bucket answered the last request.", one_if(h.storage.connected))?;
    let failing = "How many of reads, writes and deletes failed at the last try.";
    scrape.gauge("storage_failing", failing, h.storage.failing.len() as f64)?;
    scrape.gauge("memory_resident_bytes", "Resident size of the process.", h.memory.resident_bytes as f64)?;
    scrape.gauge("memory_vectors_bytes", "f32 embeddings.", h.memory.vectors_bytes as f64)?;
    scrape.gauge("memory_graph_bytes", "Graphs, codes included.", h.memory.graph_bytes as f64)?;
    scrape.gauge("memory_records_bytes", "Ids, documents and metadata.", h.memory.records_bytes as f64)?;
    scrape.gauge("memory_reserved_bytes", "Reserved for work under way.", h.memory.reserved_bytes as f64)?;
    scrape.gauge("memory_limit_bytes", "The limit of memory, 0 for none.", h.memory.limit_bytes as f64)?;
    scrape.gauge("collections_resting", "Collections not in memory until somebody uses them.", h.evicted as f64)
}

fn activity(scrape: &Scrape, store: &Store) -> Result<()> {
    let now = store.admin().activity();
    scrape.gauge("writes_waiting", "Callers that wait for their write to be durable.", now.writes_waiting as f64)?;
    scrape.gauge("searches_under_way", "Searches computed or waiting their turn.", now.searches as f64)?;
    let busy = now.search_threads_busy as f64;
    scrape.gauge("search_threads_busy", "Threads that compute searches now.", busy)?;
    scrape.gauge("graph_builds_under_way", "Graph builds under way or waiting.", now.builds as f64)?;
    scrape.seconds("graph_build_seconds", "Time spent on building graphs.", now.build_seconds)?;
    scrape.gauge("commits_unflushed", "Commits in no segment yet.", now.commits_unflushed as f64)?;
    let catalog = "Seconds for which other instances' changes to the catalog may have gone unseen.";
    scrape.gauge("catalog_lag_seconds", catalog, now.catalog_lag_seconds)?;
    let lag = "Seconds for which other instances' commits may have gone unseen, in the collection furthest behind.";
    scrape.gauge("lag_seconds", lag, now.lag_seconds)?;
    scrape.gauge("chunks", "Immutable runs of records in memory.", now.chunks as f64)?;
    let arranged = "Chunks whose metadata is arranged for filters; the first filter arranges it.";
    scrape.gauge("chunks_arranged", arranged, now.chunks_arranged as f64)?;
    scrape.gauge("filter_cache_bytes", "Memory of metadata arranged for filters.", now.filter_bytes as f64)
}

fn vector(name: &str, about: &str, labels: &[&str]) -> Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, about), labels).map_err(failed)
}

/// The start's share of the bucket's figures: it happens once, and does not repeat every hour.
fn start(scrape: &Scrape, store: &Store) -> Result<()> {
    let Some((counts, seconds)) = store.admin().start_counters() else { return Ok(()) };
    let about = |what: &str| format!("{what} while the server started, of drumlin_bucket_*.");
    let calls = vector("drumlin_start_bucket_calls_total", &about("Calls"), &["operation"])?;
    let sent = vector("drumlin_start_bucket_sent_bytes_total", &about("Bytes sent"), &["operation"])?;
    let received = vector("drumlin_start_bucket_received_bytes_total", &about("Bytes received"), &["operation"])?;
    for (op, counts) in counts.iter() {
        calls.with_label_values(&[op.name()]).inc_by(counts.calls);
        sent.with_label_values(&[op.name()]).inc_by(counts.bytes_sent);
        received.with_label_values(&[op.name()]).inc_by(counts.bytes_received);
    }
    scrape.add(Ok(calls))?;
    scrape.add(Ok(sent))?;
    scrape.add(Ok(received))?;
    scrape.gauge("start_seconds", "Seconds from the opening of the store until everything was loaded.", seconds)
}

fn bucket(scrape: &Scrape, store: &Store) -> Result<()> {
    let calls =
        vector("drumlin_bucket_calls_total", "Calls to the bucket, every attempt counted.", &["operation", "outcome"])?;
    let sent = vector("drumlin_bucket_sent_bytes_total", "Body bytes sent to the bucket.", &["operation"])?;
    let received =
        vector("drumlin_bucket_received_bytes_total", "Body bytes received from the bucket.", &["operation"])?;
    let waited = Opts::new("drumlin_bucket_waited_seconds_total", "Time spent waiting for the bucket, over all calls.");
    let waited = CounterVec::new(waited, &["operation"]).map_err(failed)?;
    for (op, counts) in store.admin().storage_counters().iter() {
        let failures = [
            ("exists", counts.exists),
            ("not_found", counts.not_found),
            ("refused", counts.refused),
            ("unknown", counts.unknown),
        ];
        let failed: u64 = failures.iter().map(|(_, calls)| calls).sum();
        calls.with_label_values(&[op.name(), "ok"]).inc_by(counts.calls.saturating_sub(failed));
        for (outcome, number) in failures {
            calls.with_label_values(&[op.name(), outcome]).inc_by(number);
        }
        sent.with_label_values(&[op.name()]).inc_by(counts.bytes_sent);
        received.with_label_values(&[op.name()]).inc_by(counts.bytes_received);
        waited.with_label_values(&[op.name()]).inc_by(counts.waited_us as f64 / 1e6);
    }
    scrape.add(Ok(calls))?;
    scrape.add(Ok(sent))?;
    scrape.add(Ok(received))?;
    scrape.add(Ok(waited))
}
