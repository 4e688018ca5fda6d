//! Files over real HTTP and through the library: `/api/files`, worker storage, damage, two stores, sweeps. Parts are
//! small here, so that small bodies have many.

mod bounds;
mod durable;
mod hidden;
mod reads;
mod sweeps;
mod tools;
mod uploads;
mod worker;

use std::path::Path;

use bytes::Bytes;
use drumlin::files::{Files, PutFile, PutOutcome};
use drumlin::http::HttpSettings;
use drumlin::{Consistency, Settings, Storage};
use drumlin_test_support::server::{Answer, Server};
use futures::stream;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// Bytes of a part here.
const PART: usize = 1000;

fn small(mut settings: Settings) -> Settings {
    settings.files.part_bytes = PART;
    settings.files.max_bytes = 100_000;
    settings
}

async fn serve() -> Server {
    serve_with(HttpSettings::default()).await
}

async fn serve_with(http: HttpSettings) -> Server {
    Server::with(small(Settings::new(Storage::Memory)), http).await
}

async fn serve_folder(folder: &Path) -> Server {
    Server::with(small(Settings::folder(folder)), HttpSettings::default()).await
}

/// Bytes that look like nothing in particular, the same for the same seed.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Uploads in pieces that do not fit the parts.
async fn put(files: &Files, name: &str, bytes: &[u8]) -> drumlin::Result<PutOutcome> {
    put_as(files, name, bytes, PutFile::default()).await
}

async fn put_as(files: &Files, name: &str, bytes: &[u8], file: PutFile) -> drumlin::Result<PutOutcome> {
    let pieces: Vec<drumlin::Result<Bytes>> =
        bytes.chunks(777).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    files.put(name, file, stream::iter(pieces)).await
}

async fn read(files: &Files, name: &str) -> drumlin::Result<Vec<u8>> {
    let mut download = files.get(name, Consistency::Local).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = download.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The value of a header of an answer.
fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
