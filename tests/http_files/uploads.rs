//! `PUT /api/files/{name}`: what comes back, what is refused, and that nothing is stored where it is.

use drumlin::files::ListFiles;
use drumlin::http::FileKinds;
use drumlin::{Consistency, ErrorKind, Scope};

use super::*;

#[tokio::test]
async fn a_file_comes_back_as_it_went_whatever_its_size_and_name() {
    let server = serve().await;
    for (n, size) in [0, 1, PART - 1, PART, PART + 1, 5 * PART, 54_321].into_iter().enumerate() {
        let (body, name) = (bytes(size as u64, size), format!("a%20b/%C3%BC{n}.bin"));
        let path = format!("/api/files/{name}");
        let stored = server.send("PUT", &path, &[("content-type", "image/x-own")], &body).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        let told = stored.json();
        assert_eq!((&told["size"], &told["sha256"]), (&size.into(), &sum(&body).into()), "{told}");
        assert_eq!((&told["name"], &told["content_type"]), (&format!("a b/ü{n}.bin").into(), &"image/x-own".into()));
        assert_eq!(told["etag"], format!("\"{}\"", sum(&body)));
        assert!(told["uploaded_at"].as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')), "{told}");
        let got = server.get(&path).await;
        assert_eq!((got.status, got.body == body), (200, true), "{size} bytes");
        assert_eq!(header(&got, "content-type"), Some("image/x-own"));
        assert_eq!(header(&got, "content-length"), Some(size.to_string().as_str()));
        assert_eq!(header(&got, "x-content-sha256"), Some(sum(&body).as_str()));
        assert!(header(&got, "content-disposition").is_some_and(|how| how.starts_with("attachment")));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_in_chunks_of_unknown_length_is_taken_and_one_that_breaks_off_is_not() {
    let server = serve().await;
    let head =
        "PUT /api/files/c HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = bytes(1, 3500);
    let chunks: Vec<u8> =
        body.chunks(600).flat_map(|c| [format!("{:x}\r\n", c.len()).as_bytes(), c, b"\r\n"].concat()).collect();
    let whole = [head.as_bytes(), &chunks, b"0\r\n\r\n"].concat();
    assert_eq!(server.send_raw(&whole).await.unwrap().status, 201);
    assert_eq!(server.get("/api/files/c").await.body, body);
    let broken =
        server.send("PUT", "/api/files/d", &[("transfer-encoding", "chunked")], b"5\r\nhello\r\nno number\r\n").await;
    assert_eq!(broken.status, 400, "{}", broken.text());
    assert_eq!(server.get("/api/files/d").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn an_upload_replaces_and_its_conditions_are_kept() {
    let server = serve().await;
    let put = async |body: &[u8], name: &str, value: &str| {
        let headers = if name.is_empty() { vec![] } else { vec![(name, value)] };
        server.send("PUT", "/api/files/a", &headers, body).await.status
    };
    let tag = |body: &[u8]| format!("\"{}\"", sum(body));
    assert_eq!(put(b"one", "if-match", "*").await, 412, "there is none");
    assert_eq!(put(b"one", "if-none-match", "*").await, 201);
    assert_eq!(put(b"two", "if-none-match", "*").await, 412);
    assert_eq!(put(b"two", "if-match", &tag(b"other")).await, 412);
    assert_eq!(put(b"two", "if-match", &format!("W/{}", tag(b"one"))).await, 412, "a weak tag is never the same");
    assert_eq!(server.get("/api/files/a").await.body, b"one");
    assert_eq!(put(b"two", "if-match", &format!("\"x\", {}", tag(b"one"))).await, 200);
    assert_eq!(put(b"three", "", "").await, 200);
    assert_eq!(put(b"four", "if-none-match", &tag(b"x")).await, 400);
    assert_eq!(server.get("/api/files/a").await.body, b"three");
    server.send("DELETE", "/api/files/a", &[], b"").await;
    assert_eq!(put(b"five", "if-match", "*").await, 412, "it was deleted");
    assert_eq!(put(b"five", "if-none-match", "*").await, 201);
    server.stop().await;
}

#[tokio::test]
async fn of_many_that_want_to_be_first_one_is() {
    let server = serve().await;
    let puts = (0..8u8).map(|n| {
        let server = &server;
        async move { server.send("PUT", "/api/files/first", &[("if-none-match", "*")], &[n; 2500]).await.status }
    });
    let mut told = futures::future::join_all(puts).await;
    told.sort_unstable();
    assert_eq!(told, [201, 412, 412, 412, 412, 412, 412, 412]);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_has_not_the_sum_it_should_is_not_stored() {
    let server = serve().await;
    let body = bytes(3, 2500);
    for (name, value) in [
        ("x-content-sha256", sum(b"other")),
        ("x-content-sha256", "zz".to_owned()),
        ("content-digest", "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:".to_owned()),
        ("content-digest", "sha-256=nonsense".to_owned()),
    ] {
        let refused = server.send("PUT", "/api/files/a", &[(name, &value)], &body).await;
        assert_eq!(refused.status, 400, "{name}: {value}: {}", refused.text());
    }
    assert_eq!(server.get("/api/files/a").await.status, 404);
    let upper = sum(&body).to_uppercase();
    assert_eq!(server.send("PUT", "/api/files/a", &[("x-content-sha256", &upper)], &body).await.status, 201);
    server.stop().await;
}

#[tokio::test]
async fn names_that_would_lead_elsewhere_are_refused() {
    let server = serve().await;
    for bad in ["%2E%2E/a", "a//b", "a/", ".a", "a/..%2Fb", "a%00", "a%0A", "%2Fsweep", &"x".repeat(1025)] {
        for method in ["PUT", "GET", "HEAD", "DELETE"] {
            let refused = server.send(method, &format!("/api/files/{bad}"), &[], b"").await;
            assert_eq!(refused.status, 400, "{method} {bad}: {}", refused.text());
        }
    }
    assert_eq!(server.get("/api/files").await.json()["files"], serde_json::json!([]));
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_large_or_of_another_kind_is_refused_before_it_is_read() {
    let kinds = FileKinds::parse("image/*,.txt").unwrap();
    let server = serve_with(HttpSettings { file_kinds: kinds, ..HttpSettings::default() }).await;
    let only_head = async |path: &str, headers: &str| {
        let head = format!("PUT {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n\r\n");
        server.send_raw(head.as_bytes()).await.unwrap()
    };
    let large = only_head("/api/files/a.txt", "content-length: 100001").await;
    assert_eq!(large.status, 413, "{}", large.text());
    assert!(large.text().contains("DRUMLIN_FILE_MAX_BYTES"));
    let other = only_head("/api/files/a.pdf", "content-length: 10\r\ncontent-type: application/pdf").await;
    assert_eq!(other.status, 415, "{}", other.text());
    let chunk = [format!("{:x}\r\n", 100_001).as_bytes(), &bytes(1, 100_001), b"\r\n0\r\n\r\n"].concat();
    let grown = server.send("PUT", "/api/files/a.txt", &[("transfer-encoding", "chunked")], &chunk).await;
    assert_eq!(grown.status, 413, "{}", grown.text());
    assert_eq!(server.send("PUT", "/api/files/a.TXT", &[], &bytes(1, 100_000)).await.status, 201);
    assert_eq!(server.send("PUT", "/api/files/b", &[("content-type", "image/png")], b"x").await.status, 201);
    server.stop().await;
}

#[tokio::test]
async fn a_database_has_its_own_files_and_takes_them_along() {
    let server = serve().await;
    server.store.namespaces().create_database("default_tenant", "other").await.unwrap();
    let at = |database: &str| format!("/api/files/a?database={database}");
    assert_eq!(server.send("PUT", &at("other"), &[], b"there").await.status, 201);
    assert_eq!(server.get("/api/files/a").await.status, 404);
    assert_eq!(server.get(&at("other")).await.body, b"there");
    assert_eq!(server.send("PUT", &at("nowhere"), &[], b"x").await.status, 404);
    server.store.namespaces().drop_database("default_tenant", "other").await.unwrap();
    assert_eq!(server.get(&at("other")).await.status, 404);
    server.store.namespaces().create_database("default_tenant", "other").await.unwrap();
    assert_eq!(server.get(&at("other")).await.status, 404);
    assert_eq!(server.send("PUT", &at("other"), &[], b"anew").await.status, 201);
    server.store.namespaces().reset().await.unwrap();
    let scope = Scope::default();
    let list = ListFiles { prefix: String::new(), after: None, limit: 10 };
    assert_eq!(server.store.with_scope(&scope).files().list(&list, Consistency::Strong).await.unwrap().files, []);
    assert_eq!(
        put(&server.store.with_scope(&scope).files(), "x", b"x").await.map_err(|e| e.kind()).map(|p| p.replaced),
        Ok(false)
    );
    assert_eq!(
        read(&server.store.with_scope(&scope).files(), "y").await.map_err(|e| e.kind()),
        Err(ErrorKind::NotFound)
    );
    server.stop().await;
}
