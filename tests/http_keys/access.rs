//! What is open, how keys change while the server runs, and the line of log of each request.

use std::time::{Duration, Instant};

use drumlin::http::Key;

use super::*;

const FULL: &str = "a-full-key-of-our-own-2026";

async fn with_full_key() -> Server {
    let full = Key::full("STORAGE_API_KEY", FULL).unwrap();
    serve(HttpSettings { keys: Keyring::open(Some(full), None).unwrap(), ..HttpSettings::default() }).await
}

#[tokio::test]
async fn open_routes_answer_without_a_key_and_name_nothing() {
    let server = with_full_key().await;
    for path in [
        "/",
        "/page/js/main.js",
        "/api/key",
        "/favicon.ico",
        "/openapi.json",
        "/health",
        "/ready",
        "/api/v2",
        "/api/v2/heartbeat",
        "/api/v2/healthcheck",
        "/api/v2/version",
        "/api/v2/pre-flight-checks",
        "/api/v1",
        "/api/v1/heartbeat",
        "/api/v1/version",
        "/api/v1/pre-flight-checks",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains(SECRET_WORD), "{path}");
    }
    assert_eq!(server.get("/api/v1/collections").await.status, 401);
    assert_eq!(server.get("/no/such/route").await.status, 404);
    let location = async |key: Option<&(&str, String)>| {
        let health = ask_as(&server, "GET", "/health", key).await.json();
        assert_eq!((&health["collections"], &health["status"]), (&1.into(), &"ok".into()));
        health["storage"]["location"].as_str().unwrap().to_owned()
    };
    assert_eq!(location(None).await, "(shown with a key)");
    assert_eq!(location(Some(&shown("bearer", "wrong"))).await, "(shown with a key)");
    assert!(!location(Some(&shown("bearer", FULL))).await.contains("key"));
    server.stop().await;
}

#[tokio::test]
async fn a_key_is_told_what_it_allows_and_a_stranger_that_nothing_is() {
    let mut keys = Keys::new();
    let reader = keys.add("reader", KeyScope::Read, &[]);
    let bound = keys.add("bound", KeyScope::Write, &["acme", "prod"]);
    let server = keys.serve(HttpSettings::default()).await;
    let nothing = serde_json::json!({"required": true, "scope": null});
    for (key, told) in [
        ("", nothing.clone()),
        ("a-wrong-key-that-nobody-has", nothing),
        (reader.as_str(), serde_json::json!({"required": true, "scope": "read", "name": "reader"})),
        (
            bound.as_str(),
            serde_json::json!({"required": true, "scope": "write", "name": "bound", "tenant": "acme", "database": "prod"}),
        ),
    ] {
        assert_eq!(ask(&server, "GET", "/api/key", key).await.json(), told);
    }
    server.stop().await;
}

#[tokio::test]
async fn one_full_key_opens_everything_in_each_form_and_forms_that_differ_open_nothing() {
    let server = with_full_key().await;
    for form in FORMS {
        let answer = ask_as(&server, "POST", "/api/s3/sync", Some(&shown(form, FULL))).await;
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
    }
    for (one, other, status) in [(FULL, FULL, 200), (FULL, "another", 401), ("another", FULL, 401), (FULL, "", 401)] {
        let bearer = format!("Bearer {one}");
        let headers = [("authorization", bearer.as_str()), ("x-api-key", other)];
        assert_eq!(server.send("GET", "/metrics", &headers, b"").await.status, status, "{one} and {other}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_changed_key_file_counts_within_seconds_and_a_broken_one_changes_nothing() {
    let mut keys = Keys::new();
    let old = keys.add("old", KeyScope::Read, &[]);
    let server = keys.serve(HttpSettings::default()).await;
    let status = async |key: &str| ask(&server, "GET", "/api/collections", key).await.status;
    assert_eq!(status(&old).await, 200);
    std::fs::write(keys.path(), "[{").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(status(&old).await, 200, "the broken file is not used");
    assert!(LOG.text().contains("the keys stay as they were"), "and the log says so");
    keys.entries.clear();
    let new = keys.add("new", KeyScope::Read, &[]);
    let since = Instant::now();
    while status(&new).await != 200 {
        assert!(since.elapsed() < Duration::from_secs(10), "the new key does not count");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status(&old).await, 401, "the old key is gone");
    server.stop().await;
}

#[tokio::test]
async fn a_request_has_one_line_of_log_with_the_name_of_its_key_and_no_secret() {
    let mut keys = Keys::new();
    let key = keys.add("line-reader", KeyScope::Read, &[]);
    let server = keys.serve(HttpSettings::default()).await;
    let path = format!("/api/collections/{HOARD}/count");
    let query = "consistency=strong&tenant=default_tenant";
    let send = async |id: &str, key: &str| {
        let headers = [("x-request-id", id), ("x-api-key", key)];
        server.send("GET", &format!("{path}?{query}"), &headers, b"").await
    };
    let answer = send("line-good", &key).await;
    assert_eq!((answer.status, header(&answer, "x-request-id")), (200, Some("line-good")));
    let line = LOG.line("line-good");
    assert_eq!(
        (&line["method"], &line["route"], &line["path"]),
        (&"GET".into(), &"/api/collections/{name}/count".into(), &path.as_str().into())
    );
    assert_eq!(
        (&line["status"], &line["bytes"], &line["key"], &line["peer"], &line["scheme"]),
        (&200.into(), &answer.body.len().into(), &"line-reader".into(), &"127.0.0.1".into(), &"http".into())
    );
    assert!(line["ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 10_000.0), "{line}");
    send("line-bad", "a-wrong-key-that-is-not-logged").await;
    let line = LOG.line("line-bad");
    assert_eq!((&line["status"], line.get("key")), (&401.into(), None));
    for secret in [key.as_str(), "a-wrong-key-that-is-not-logged", query, "consistency"] {
        assert!(!LOG.text().contains(secret), "{secret} is logged");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_id_that_is_not_sane_is_replaced_and_every_answer_has_one() {
    let server = serve(HttpSettings::default()).await;
    let mut ids = std::collections::BTreeSet::new();
    for (path, id) in [("/health", "two words"), ("/no/such", "\"quoted\""), ("/api/v2/nope", ""), ("/docs", "{}")] {
        let answer = server.send("GET", path, &[("x-request-id", id)], b"").await;
        let told = header(&answer, "x-request-id").unwrap().to_owned();
        assert!(told.len() == 26 && told.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{told}");
        ids.insert(told);
    }
    assert_eq!(ids.len(), 4, "all differ");
    server.stop().await;
}
