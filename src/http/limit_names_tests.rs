//! Each setting of the store that refuses something is provoked over HTTP: the answer names the variable, as
//! docs/operations.md promises, and not the field of the library.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::error::ApiError;
use super::{Front, HttpSettings, router};
use crate::bucket::clock::StoreClock;
use crate::bucket::fault::{Fault, FaultBucket};
use crate::bucket::memory::MemoryBucket;
use crate::config::{Settings, Storage};
use crate::environment::{ROWS, variable_of};
use crate::memory::MemoryLimit;
use crate::store::Store;

const NOTES: &str = "/api/collections/notes";

fn post(path: &str, body: &Value) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

fn add(records: Value) -> Request<Body> {
    post(&format!("{NOTES}/add"), &json!({"records": records}))
}

fn search(body: &Value) -> Request<Body> {
    post(&format!("{NOTES}/search"), body)
}

/// A create of a collection whose embeddings a service makes.
#[cfg(feature = "provider")]
fn embedded_by(provider: Value) -> Request<Body> {
    post("/api/collections", &json!({"name": "texts", "embedder": {"provider": provider}}))
}

fn upload(pieces: impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Request<Body> {
    Request::put("/api/files/f").body(Body::from_stream(pieces)).unwrap()
}

/// What a server whose store has these settings answers to each of the requests, all of them sent at once.
async fn answers(settings: Settings, requests: Vec<Request<Body>>) -> Vec<(u16, String)> {
    let store = Store::open(settings).await.unwrap();
    let router = router(store, &Front::new(HttpSettings::default(), false));
    let made = router.clone().oneshot(post("/api/collections", &json!({"name": "notes"}))).await.unwrap();
    assert_eq!(made.status().as_u16(), 201);
    let fog = json!([{"id": "f", "embedding": [1.0]}]);
    router.clone().oneshot(add(fog)).await.unwrap();
    let router = &router;
    let all = requests.into_iter().map(|request| async move {
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    });
    join_all(all).await
}

/// A change of one setting, and requests of which at least one passes it.
type Case = (&'static str, fn(&mut Settings), fn() -> Vec<Request<Body>>);

fn cases() -> [Case; 17] {
    [
        ("limits.dimension", |s| s.limits.dimension = 1, || vec![add(json!([{"id": "r", "embedding": [1.0, 2.0]}]))]),
        ("limits.id_bytes", |s| s.limits.id_bytes = 2, || vec![add(json!([{"id": "long", "embedding": [1.0]}]))]),
        (
            "limits.metadata_bytes",
            |s| s.limits.metadata_bytes = 4,
            || vec![add(json!([{"id": "r", "embedding": [1.0], "metadata": {"key": "long"}}]))],
        ),
        (
            "limits.document_bytes",
            |s| s.limits.document_bytes = 2,
            || vec![add(json!([{"id": "r", "embedding": [1.0], "document": "long"}]))],
        ),
        (
            "limits.batch_records",
            |s| s.limits.batch_records = 1,
            || {
                let two = json!([{"id": "r", "embedding": [1.0]}, {"id": "s", "embedding": [1.0]}]);
                vec![add(two), post(&format!("{NOTES}/get"), &json!({"ids": ["a", "b"]}))]
            },
        ),
        (
            "limits.batch_bytes",
            |s| s.limits.batch_bytes = 4096,
            || vec![add(json!([{"id": "r", "embedding": [1.0], "document": "long".repeat(2000)}]))],
        ),
        ("limits.k", |s| s.limits.k = 2, || vec![search(&json!({"embedding": [1.0], "k": 3}))]),
        ("limits.queries", |s| s.limits.queries = 1, || vec![search(&json!({"embeddings": [[1.0], [2.0]]}))]),
        (
            "limits.sparse_entries",
            |s| s.limits.sparse_entries = 1,
            || {
                let long = json!({"indices": [1, 2], "values": [1.0, 1.0]});
                let query = json!({"sparse": {"key": "terms", "indices": [1, 2], "values": [1.0, 1.0]}});
                let of_chroma = json!({"ids": ["r"], "embeddings": [[1.0]], "metadatas": [{"terms": &long}]});
                let chroma = "/api/v2/tenants/default_tenant/databases/default_database/collections";
                vec![
                    add(json!([{"id": "r", "embedding": [1.0], "metadata": {"terms": &long}}])),
                    search(&query),
                    post(&format!("{chroma}/notes/add"), &of_chroma),
                ]
            },
        ),
        (
            "limits.waiting_writes",
            |s| s.limits.waiting_writes = 1,
            || (0..20).map(|n| add(json!([{"id": format!("r{n}"), "embedding": [1.0]}]))).collect(),
        ),
        (
            "limits.waiting_searches",
            |s| (s.limits.waiting_searches, s.search_threads) = (1, 1),
            || (0..20).map(|_| search(&json!({"embedding": [1.0], "k": 1}))).collect(),
        ),
        (
            "files.max_bytes",
            |s| s.files.max_bytes = 2,
            || vec![upload(stream::iter([Ok(Bytes::from_static(b"long"))]))],
        ),
        (
            "files.memory_bytes",
            |s| (s.files.memory_bytes, s.files.idle_timeout) = (1, Duration::from_millis(200)),
            || {
                let drip = |n: u32| async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    (n < 20).then(|| (Ok(Bytes::from_static(b"x")), n + 1))
                };
                (0..2).map(|_| upload(stream::unfold(0, drip))).collect()
            },
        ),
        (
            "files.idle_timeout",
            |s| s.files.idle_timeout = Duration::from_millis(50),
            || vec![upload(stream::pending())],
        ),
        #[cfg(feature = "provider")]
        (
            "provider.allow_private_addresses",
            |_| {},
            || vec![embedded_by(json!({"kind": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"}))],
        ),
        #[cfg(feature = "provider")]
        (
            "provider.keys",
            |_| {},
            || {
                let url = "https://provider.example/v1";
                vec![embedded_by(json!({"kind": "openai", "url": url, "model": "m", "key_variable": "KEY"}))]
            },
        ),
        (
            "memory_limit",
            |s| {
                s.memory_limit = Some(MemoryLimit { bytes: 2 << 20, whole_process: false });
                s.timing.room_patience = Duration::ZERO;
            },
            || vec![add(json!([{"id": "r", "embedding": [1.0], "document": "long".repeat(1 << 20)}]))],
        ),
    ]
}

#[tokio::test]
async fn every_limit_that_the_server_refuses_by_names_its_variable() {
    for (setting, change, requests) in cases() {
        let mut settings = Settings::new(Storage::Memory);
        change(&mut settings);
        let answers = answers(settings, requests()).await;
        let variable = variable_of(setting).unwrap();
        let refused: Vec<_> = answers.iter().filter(|(status, _)| *status >= 400).collect();
        let named = refused.iter().all(|(_, text)| text.contains(&format!("({variable})")));
        assert!(named && !refused.is_empty(), "{setting}: {answers:?}");
        assert!(answers.iter().all(|(_, text)| !text.contains(setting)), "{setting}: {answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waited_in_vain_names_the_variable_of_its_patience() {
    let bucket = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
    bucket.set_plan(|_| Fault::UnknownBefore);
    let refused = Store::open_on(Settings::new(Storage::Memory), bucket).await.unwrap_err();
    assert_eq!(refused.setting(), Some("start_timeout"));
    let told = ApiError::from(refused).into_error();
    assert!(told.message().contains("60 s (DRUMLIN_START_TIMEOUT_S)"), "{told}");
}

/// The settings that refusals in `folder` name, out of tests.
fn named_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["cli", "environment", "http"].contains(&name.as_str()) {
            named_in(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !name.ends_with("tests") {
            let text = std::fs::read_to_string(&path).unwrap();
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let quoted = product.split('"').filter(|text| ROWS.iter().any(|row| row.setting == *text));
            found.extend(quoted.map(str::to_owned));
        }
    }
}

#[test]
fn every_setting_that_the_core_names_and_every_limit_is_provoked_here() {
    let mut named = BTreeSet::new();
    named_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut named);
    named.extend(ROWS.iter().map(|row| row.setting.to_owned()).filter(|setting| setting.starts_with("limits.")));
    let mut provoked: BTreeSet<String> = cases().iter().map(|(setting, ..)| (*setting).to_owned()).collect();
    provoked.insert("start_timeout".to_owned());
    // A service has to be slow, or to answer too much: `provider/provider_tests.rs` has one.
    provoked.extend(["provider.answer_bytes", "provider.timeout", "provider.waiting"].map(str::to_owned));
    // Read at the start, and refused there: `environment/environment_tests.rs`.
    provoked.insert("provider.proxy".to_owned());
    let missing: Vec<_> = named.difference(&provoked).collect();
    assert!(named.len() >= 12 && missing.is_empty(), "{missing:?} of {named:?}");
}
