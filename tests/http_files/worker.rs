//! Worker storage as its clients know it: two forms of upload, download with and without keeping, delete, list.

use drumlin::http::{KeyEntry, KeyScope, Keyring};
use serde_json::json;

use super::*;

const BOUNDARY: &str = "----drumlin";

/// A form of fields: name, headers after it, content.
fn form(fields: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, more, content) in fields {
        body.extend(format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{more}\r\n\r\n").bytes());
        body.extend_from_slice(content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

async fn upload_form(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers: Vec<(&str, &str)> = headers.iter().copied().chain([("content-type", kind.as_str())]).collect();
    server.send("POST", path, &headers, body).await
}

const FILE: &str = "; filename=\"r.png\"\r\ncontent-type: image/png";

#[tokio::test]
async fn both_forms_of_upload_store_under_the_jobs_id_and_the_second_replaces() {
    let server = serve().await;
    let (first, second) = (bytes(1, 5432), bytes(2, 2222));
    // The id may stand before the file, behind it, or in a header.
    let forms = [
        (form(&[("job_id", "", b"job-1"), ("file", FILE, &first)]), vec![]),
        (form(&[("file", FILE, &first), ("note", "", b"ignored"), ("job_id", "", b"job-1")]), vec![]),
        (form(&[("file", FILE, &first)]), vec![("x-job-id", "job-1")]),
    ];
    for (body, headers) in &forms {
        let stored = upload_form(&server, "/upload", headers, body).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        let told = stored.json();
        assert_eq!((&told["success"], &told["job_id"]), (&json!(true), &json!("job-1")));
        assert_eq!((&told["size"], &told["sha256"]), (&json!(5432), &json!(sum(&first))));
        assert_eq!(told["download_url"], format!("http://{}/download/job-1", server.address));
    }
    let got = server.get("/download/job-1").await;
    assert_eq!((got.status, got.body == first, header(&got, "content-type")), (200, true, Some("image/png")));
    let raw = server.send("POST", "/upload", &[("x-job-id", "job-1"), ("content-type", "text/plain")], &second).await;
    assert_eq!(raw.status, 201, "{}", raw.text());
    let got = server.get("/download/job-1?keep=true").await;
    assert_eq!((got.body == second, header(&got, "content-type")), (true, Some("text/plain")));
    assert_eq!(server.get("/api/files/job-1").await.body, second, "it is a file like any other");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_upload_is_refused_and_stores_nothing() {
    let server = serve().await;
    let two = form(&[("job_id", "", b"j"), ("file", FILE, b"x"), ("file", FILE, b"y")]);
    let long = bytes(1, 5000);
    for (why, headers, body) in [
        ("no id", vec![], form(&[("file", FILE, b"x")])),
        ("no file", vec![], form(&[("job_id", "", b"j")])),
        ("empty file", vec![], form(&[("job_id", "", b"j"), ("file", FILE, b"")])),
        ("empty id", vec![], form(&[("job_id", "", b""), ("file", FILE, b"x")])),
        ("bad id", vec![], form(&[("job_id", "", b"a/b"), ("file", FILE, b"x")])),
        ("bad id before", vec![("x-job-id", "../j")], form(&[("file", FILE, b"x")])),
        ("two ids", vec![("x-job-id", "k")], form(&[("job_id", "", b"j"), ("file", FILE, b"x")])),
        ("two files", vec![], two),
        ("long field", vec![], form(&[("job_id", "", b"j"), ("note", "", &long), ("file", FILE, b"x")])),
        ("cut off", vec![], form(&[("job_id", "", b"j"), ("file", FILE, &long)])[..3000].to_vec()),
        ("no form", vec![], b"nothing of the kind".to_vec()),
    ] {
        let refused = upload_form(&server, "/upload", &headers, &body).await;
        assert_eq!(refused.status, 400, "{why}: {}", refused.text());
        assert!(refused.json()["error"]["message"].is_string(), "{why}");
    }
    for (why, headers, body) in [
        ("no id", vec![], b"x".to_vec()),
        ("no body", vec![("x-job-id", "j")], vec![]),
        ("bad id", vec![("x-job-id", "a/b")], b"x".to_vec()),
        ("hidden id", vec![("x-job-id", ".files")], b"x".to_vec()),
    ] {
        let refused = server.send("POST", "/upload", &headers, &body).await;
        assert_eq!(refused.status, 400, "{why}: {}", refused.text());
    }
    assert_eq!(server.get("/list").await.json()["count"], 0);
    server.stop().await;
}

#[tokio::test]
async fn download_delete_and_list_answer_as_documented() {
    let server = serve().await;
    assert_eq!(server.get("/download/j").await.status, 404);
    assert_eq!(server.send("DELETE", "/delete/j", &[], b"").await.status, 404);
    for id in ["j", "k"] {
        server.send("POST", "/upload", &[("x-job-id", id)], b"result").await;
    }
    server.send("PUT", "/api/files/not/a/job", &[], b"x").await;
    let listed = server.get("/list").await.json();
    assert_eq!((&listed["success"], &listed["count"]), (&json!(true), &json!(2)));
    assert_eq!((&listed["files"][0]["job_id"], &listed["files"][1]["size"]), (&json!("j"), &json!(6)));
    let deleted = server.send("DELETE", "/delete/j", &[], b"").await;
    assert_eq!((deleted.status, deleted.json()), (200, json!({"success": true, "job_id": "j"})));
    assert_eq!(server.get("/download/j").await.status, 410);
    assert_eq!(server.send("DELETE", "/delete/j", &[], b"").await.status, 410);
    assert_eq!(server.get("/download/a%2Fb").await.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn a_result_goes_after_one_whole_download_unless_it_is_kept() {
    let server = serve_with(HttpSettings { auto_delete: true, ..HttpSettings::default() }).await;
    let body = bytes(1, 70_000);
    for id in ["j", "k"] {
        server.send("POST", "/upload", &[("x-job-id", id)], &body).await;
    }
    assert_eq!(server.get("/download/j?keep=true").await.body, body);
    let part = server.send("GET", "/download/j", &[("range", "bytes=0-69998")], b"").await;
    assert_eq!((part.status, part.body.len()), (206, 69_999), "a part does not count");
    let known = format!("\"{}\"", sum(&body));
    assert_eq!(server.send("GET", "/download/j", &[("if-none-match", &known)], b"").await.status, 304);
    assert_eq!(server.get("/download/j").await.body, body);
    assert_eq!(server.get("/download/j").await.status, 410, "it was downloaded whole");
    // Nor does a file that was stored to stay go.
    server.send("POST", "/upload?auto_delete=false", &[("x-job-id", "stays")], b"x").await;
    for _ in 0..2 {
        assert_eq!(server.get("/download/stays").await.status, 200);
    }
    assert_eq!(server.get("/download/k").await.body, body, "others stay");
    server.stop().await;
}

#[tokio::test]
async fn whether_a_result_goes_is_judged_at_the_download_by_the_setting_of_then() {
    let folder = tempfile::tempdir().unwrap();
    let start = |auto_delete: Option<bool>| {
        let plain = HttpSettings::default();
        let http = HttpSettings { auto_delete: auto_delete.unwrap_or(plain.auto_delete), ..plain };
        Server::with(small(Settings::folder(folder.path())), http)
    };
    let server = start(Some(false)).await;
    for (path, id) in [("/upload", "under-false"), ("/upload?auto_delete=false", "to-stay")] {
        assert_eq!(server.send("POST", path, &[("x-job-id", id)], b"x").await.status, 201);
    }
    assert_eq!(server.get("/download/under-false").await.status, 200);
    assert_eq!(server.get("/download/under-false").await.status, 200, "it stays as long as the setting is false");
    server.stop().await;

    // Nothing set means true on the routes of workers, and only there.
    let server = start(None).await;
    for (path, id) in [("/upload", "under-true"), ("/upload?auto_delete=true", "to-go")] {
        assert_eq!(server.send("POST", path, &[("x-job-id", id)], b"x").await.status, 201);
    }
    server.send("PUT", "/api/files/plain", &[], b"x").await;
    for _ in 0..2 {
        assert_eq!(server.get("/api/files/under-false").await.status, 200);
        assert_eq!(server.get("/api/files/plain").await.status, 200);
        assert_eq!(server.get("/download/to-stay").await.status, 200, "its upload said so");
    }
    assert_eq!(server.get("/download/under-false").await.status, 200);
    assert_eq!(server.get("/download/under-false").await.status, 410, "the setting is true by now");
    server.stop().await;

    let server = start(Some(false)).await;
    for id in ["under-true", "to-go"] {
        for _ in 0..2 {
            assert_eq!(server.get(&format!("/download/{id}")).await.status, 200, "{id}: the setting is false by now");
        }
    }
    assert_eq!(server.get("/api/files/to-go").await.status, 200);
    assert_eq!(server.get("/api/files/to-go").await.status, 410, "its upload said so, and no setting denies it there");
    server.stop().await;
}

#[tokio::test]
async fn a_download_that_its_client_gives_up_deletes_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut settings = Settings::new(Storage::Memory);
    settings.files.part_bytes = 1 << 20;
    let server = Server::with(settings, HttpSettings::default()).await;
    // More than the buffers between here and there hold.
    let body = bytes(1, 24 << 20);
    server.send("PUT", "/api/files/j?auto_delete=true", &[], &body).await;
    for _ in 0..3 {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /download/j HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut some = vec![0; 100_000];
        stream.read_exact(&mut some).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(server.get("/download/j").await.body.len(), body.len());
    assert_eq!(server.get("/download/j").await.status, 410);
    server.stop().await;
}

#[tokio::test]
async fn the_url_is_the_proxys_only_where_the_proxy_is_trusted() {
    let headers = [
        ("x-job-id", "a b"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "files.example.org"),
        ("x-forwarded-prefix", "/vec/"),
    ];
    for trust_proxy in [false, true] {
        let server = serve_with(HttpSettings { trust_proxy, ..HttpSettings::default() }).await;
        let own = format!("http://{}", server.address);
        let origin = if trust_proxy { "https://files.example.org/vec" } else { &own };
        let stored = server.send("POST", "/upload", &headers, b"x").await;
        assert_eq!(stored.json()["download_url"], format!("{origin}/download/a%20b"));
        server.stop().await;
    }
}

#[tokio::test]
async fn every_route_needs_its_key_and_a_list_one_that_may_do_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let scopes = [KeyScope::Read, KeyScope::Write, KeyScope::Admin];
    let wanted = |scope: KeyScope| KeyEntry {
        name: scope.name().to_owned(),
        sha256: String::new(),
        scope,
        tenant: None,
        database: None,
        expires: None,
    };
    let keys: Vec<(String, KeyEntry)> = scopes.into_iter().map(|s| KeyEntry::fresh(wanted(s)).unwrap()).collect();
    let entries: Vec<&KeyEntry> = keys.iter().map(|(_, entry)| entry).collect();
    std::fs::write(&path, serde_json::to_string(&entries).unwrap()).unwrap();
    let http = HttpSettings { keys: Keyring::open(None, Some(path)).unwrap(), ..HttpSettings::default() };
    let server = serve_with(http).await;
    for (method, path, least) in [
        ("POST", "/upload", 1),
        ("GET", "/download/j", 0),
        ("GET", "/list", 2),
        ("PUT", "/api/files/a", 1),
        ("GET", "/api/files/a", 0),
        ("GET", "/api/files", 0),
        ("DELETE", "/api/files/a", 1),
        ("DELETE", "/delete/j", 1),
    ] {
        assert_eq!(server.send(method, path, &[("x-job-id", "j")], b"x").await.status, 401, "{method} {path}");
        for (n, (key, _)) in keys.iter().enumerate() {
            let answer = server.send(method, path, &[("x-job-id", "j"), ("x-api-key", key)], b"x").await;
            assert_eq!(answer.status == 403, n < least, "{method} {path} with key {n}: {}", answer.text());
        }
    }
    server.stop().await;
}
