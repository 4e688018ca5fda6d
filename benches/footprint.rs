//! What fits into a small container: the server's binary under a limit of memory is given records until it
//! refuses, is searched, is stopped and started again, and searched again. Prints one row of a table.
//!
//! `cargo bench --bench footprint -- [--container-mib 512] [--dim 384] [--records 10000000] [--settle-s 60]`
//!
//! The limit is that of a container of so many MiB less the server's own reserve. No container is needed: what
//! counts is the peak of the resident size, which the kernel keeps (VmHWM); a process that never passed it would
//! not have been killed. The allocator's settings are the Dockerfile's. Linux only. The bucket is a folder, which is deleted at the end.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::ipc::writer::StreamWriter;
use drumlin::Record;
use drumlin::settings::MemoryLimit;
use drumlin_test_support::arguments;
use drumlin_test_support::records::Source;
use serde_json::{Value, json};

const BATCH: usize = 1_000;
const SEARCHES: usize = 500;
const MIB: u64 = 1 << 20;

/// The server's process and how to talk to it.
struct Server {
    process: Child,
    url: String,
    client: reqwest::Client,
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let container = arguments::number("--container-mib", 512) as u64 * MIB;
    let (dim, most) = (arguments::number("--dim", 384), arguments::number("--records", 10_000_000));
    let settle = Duration::from_secs(arguments::number("--settle-s", 60) as u64);
    let limit = MemoryLimit::within(container).bytes;
    let folder = tempfile::tempdir().unwrap();
    let mut source = Source::new(7, dim, 1_000);

    let server = Server::start(folder.path(), limit).await;
    let (status, body) = server.post("/api/collections", &json!({"name": "c", "metric": "cosine"})).await;
    assert_eq!(status, 201, "{body}");
    let begun = Instant::now();
    let (mut added, mut refusal) = (0, None);
    while added < most && refusal.is_none() {
        match server.add(&source.take(BATCH)).await {
            (200..300, _) => added += BATCH,
            (507, body) => refusal = Some(body),
            (status, body) => panic!("an add of {BATCH} records after {added} answered {status}: {body}"),
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!(
        "{added} records in {seconds:.0} s; then {}",
        refusal.map_or("no more".to_owned(), |body| body.to_string())
    );
    tokio::time::sleep(settle).await;
    let full = server.measure(&mut source).await;
    server.stop();

    let begun = Instant::now();
    let server = Server::start(folder.path(), limit).await;
    let start = begun.elapsed().as_secs_f64();
    let again = server.measure(&mut source).await;
    let (_, count) = server.get("/api/collections/c/count").await;
    assert_eq!(count["count"], json!(added), "records after the restart");
    server.stop();

    println!(
        "| container | records of {dim} floats | resident, full | peak | search p50 | started again in | resident then | peak | search p50 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    println!("| {} MiB | {added} | {full} | {start:.1} s | {again} |", container / MIB);
    assert!(full.peak <= container && again.peak <= container, "the container would have killed it");
}

/// Sizes of the process in bytes, and the median of searches in milliseconds.
struct Measured {
    resident: u64,
    peak: u64,
    p50_ms: f64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} MiB | {} MiB | {:.1} ms", self.resident / MIB, self.peak / MIB, self.p50_ms)
    }
}

impl Server {
    async fn start(folder: &Path, limit: u64) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(env!("CARGO_BIN_EXE_drumlin"))
            .arg("serve")
            .envs([("HOST", "127.0.0.1"), ("DRUMLIN_LOG", "warn")])
            // As the Dockerfile has them.
            .envs([
                ("MALLOC_ARENA_MAX", "2"),
                ("MALLOC_MMAP_THRESHOLD_", "131072"),
                ("MALLOC_TRIM_THRESHOLD_", "131072"),
            ])
            .env("PORT", port.to_string())
            .env("DRUMLIN_DATA", folder)
            .env("DRUMLIN_MEMORY_LIMIT", limit.to_string())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { process, url: format!("http://127.0.0.1:{port}"), client: reqwest::Client::new() };
        let begun = Instant::now();
        loop {
            let ready = server.client.get(format!("{}/ready", server.url)).send().await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return server;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "the server did not become ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM, and the exit code.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success(), "the server lived to the end and stopped in order");
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let sent = self.client.post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        (sent.status().as_u16(), sent.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let sent = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        (sent.status().as_u16(), sent.json().await.unwrap())
    }

    async fn add(&self, records: &[Record]) -> (u16, Value) {
        let request = self.client.post(format!("{}/api/collections/c/add", self.url));
        let request = request.header("content-type", "application/vnd.apache.arrow.stream").body(arrow(records));
        let sent = request.send().await.unwrap();
        (sent.status().as_u16(), sent.json().await.unwrap())
    }

    async fn measure(&self, source: &mut Source) -> Measured {
        let mut took = Vec::with_capacity(SEARCHES);
        for query in source.take(SEARCHES) {
            let body = json!({"embedding": query.embedding, "k": 10});
            let begun = Instant::now();
            let (status, answer) = self.post("/api/collections/c/search", &body).await;
            took.push(begun.elapsed());
            assert_eq!(status, 200, "{answer}");
        }
        took.sort_unstable();
        let (_, health) = self.get("/health").await;
        eprintln!("{health}");
        let p50_ms = took[SEARCHES / 2].as_secs_f64() * 1e3;
        Measured { resident: self.status("VmRSS:"), peak: self.status("VmHWM:"), p50_ms }
    }

    /// A size that the kernel tells of the process.
    fn status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

/// Ids, embeddings and documents as an Arrow stream.
fn arrow(records: &[Record]) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values(records.iter().map(|r| &r.id)));
    let documents: ArrayRef = Arc::new(StringArray::from_iter(records.iter().map(|r| r.document.as_deref())));
    let floats = Float32Array::from_iter_values(records.iter().flat_map(|r| r.embedding.iter().copied()));
    let lengths = OffsetBuffer::from_lengths(records.iter().map(|r| r.embedding.len()));
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let embeddings: ArrayRef = Arc::new(ListArray::new(item, lengths, Arc::new(floats), None));
    let columns = [("id", ids), ("embedding", embeddings), ("document", documents)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}
