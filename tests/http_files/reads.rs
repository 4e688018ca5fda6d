//! Reading: ranges against a model, conditions, HEAD, lists, deletion.

use rand::Rng;
use serde_json::json;

use super::*;

/// What a range means, in the plainest words.
fn model(spec: (Option<usize>, Option<usize>), size: usize) -> Option<(usize, usize)> {
    match spec {
        (Some(first), _) if first >= size => None,
        (Some(first), Some(last)) => Some((first, last.min(size - 1))),
        (Some(first), None) => Some((first, size - 1)),
        (None, Some(0)) => None,
        (None, Some(count)) => Some((size - count.min(size), size - 1)),
        (None, None) => None,
    }
}

#[tokio::test]
async fn ranges_are_what_the_model_says_across_parts() {
    let server = serve().await;
    let body = bytes(7, 4321);
    server.send("PUT", "/api/files/r", &[], &body).await;
    let seed = 20_261_121;
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..150 {
        let first = random.random_bool(0.7).then(|| random.random_range(0..5000));
        let last = match first {
            Some(first) => random.random_bool(0.7).then(|| first + random.random_range(0..3000)),
            None => Some(random.random_range(0..6000)),
        };
        let text = |n: Option<usize>| n.map_or(String::new(), |n| n.to_string());
        let range = format!("bytes={}-{}", text(first), text(last));
        let got = server.send("GET", "/api/files/r", &[("range", &range)], b"").await;
        let what = format!("seed {seed}, round {round}: {range}");
        match model((first, last), body.len()) {
            Some((from, to)) => {
                assert_eq!((got.status, got.body == body[from..=to]), (206, true), "{what}");
                assert_eq!(header(&got, "content-range"), Some(format!("bytes {from}-{to}/4321").as_str()), "{what}");
                assert_eq!(header(&got, "content-length"), Some((to - from + 1).to_string().as_str()), "{what}");
            }
            None => {
                assert_eq!(got.status, 416, "{what}");
                assert_eq!(header(&got, "content-range"), Some("bytes */4321"), "{what}");
            }
        }
    }
    let whole = server.send("GET", "/api/files/r", &[("range", "bytes=0-1,5-6")], b"").await;
    assert_eq!((whole.status, whole.body == body), (200, true), "several ranges");
    server.stop().await;
}

#[tokio::test]
async fn conditions_of_reads_are_kept() {
    let server = serve().await;
    server.send("PUT", "/api/files/a", &[], b"hello").await;
    let tag = format!("\"{}\"", sum(b"hello"));
    let get = async |headers: &[(&str, &str)]| {
        let got = server.send("GET", "/api/files/a", headers, b"").await;
        (got.status, String::from_utf8(got.body).unwrap())
    };
    let modified = header(&server.get("/api/files/a").await, "last-modified").unwrap().to_owned();
    assert_eq!(get(&[("if-none-match", &tag)]).await, (304, String::new()));
    assert_eq!(get(&[("if-none-match", "\"x\"")]).await, (200, "hello".to_owned()));
    assert_eq!(get(&[("if-match", &tag)]).await, (200, "hello".to_owned()));
    assert_eq!(get(&[("if-match", "\"x\"")]).await.0, 412);
    let range = ("range", "bytes=1-2");
    assert_eq!(get(&[range, ("if-range", &tag)]).await, (206, "el".to_owned()));
    assert_eq!(get(&[range, ("if-range", "\"x\"")]).await, (200, "hello".to_owned()));
    assert_eq!(get(&[range, ("if-none-match", &tag)]).await.0, 304);
    // The test's reader lowers the case of headers.
    let proper = httpdate::fmt_http_date(httpdate::parse_http_date(&title(&modified)).unwrap());
    assert_eq!(get(&[range, ("if-range", &proper)]).await, (206, "el".to_owned()));
    server.stop().await;
}

/// A date in lower case as it was before.
fn title(date: &str) -> String {
    let word = |word: &str| match word.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => format!("{}{}", first.to_ascii_uppercase(), &word[1..]),
        _ => word.to_owned(),
    };
    date.split(' ').map(word).collect::<Vec<_>>().join(" ").replace("Gmt", "GMT")
}

#[tokio::test]
async fn a_head_tells_what_a_get_would_and_sends_nothing() {
    let server = serve().await;
    let body = bytes(1, 2500);
    server.send("PUT", "/api/files/a?auto_delete=true", &[], &body).await;
    let told = server.send("HEAD", "/api/files/a", &[("range", "bytes=0-1")], b"").await;
    assert_eq!((told.status, told.body.len()), (200, 0));
    assert_eq!(header(&told, "content-length"), Some("2500"));
    assert_eq!(header(&told, "etag"), Some(format!("\"{}\"", sum(&body)).as_str()));
    assert_eq!(header(&told, "accept-ranges"), Some("bytes"));
    assert_eq!(server.send("HEAD", "/api/files/b", &[], b"").await.status, 404);
    assert_eq!(server.get("/api/files/a?keep=true").await.body, body, "a head deletes nothing");
    server.stop().await;
}

#[tokio::test]
async fn files_are_listed_by_name_page_by_page() {
    let server = serve().await;
    let names: Vec<String> = (0..25).map(|n| format!("{}/{n:02}", if n % 2 == 0 { "even" } else { "odd" })).collect();
    for name in &names {
        server.send("PUT", &format!("/api/files/{name}"), &[], name.as_bytes()).await;
    }
    server.send("DELETE", "/api/files/even/04", &[], b"").await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/api/files?prefix=even/&limit=5&after={after}")).await.json();
        let files = page["files"].as_array().unwrap();
        assert!(files.len() <= 5);
        seen.extend(files.iter().map(|file| file["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> = names.iter().filter(|n| n.starts_with("even/") && *n != "even/04").cloned().collect();
    assert_eq!(seen, expected);
    assert_eq!(server.get("/api/files").await.json()["files"].as_array().unwrap().len(), 24);
    for bad in ["limit=0", "limit=10001", "limit=x", "offset=3"] {
        assert_eq!(server.get(&format!("/api/files?{bad}")).await.status, 400, "{bad}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_deleted_file_is_gone_until_its_name_is_used_again() {
    let server = serve().await;
    assert_eq!(server.send("DELETE", "/api/files/a", &[], b"").await.status, 404);
    server.send("PUT", "/api/files/a", &[], b"x").await;
    let deleted = server.send("DELETE", "/api/files/a", &[], b"").await;
    assert_eq!((deleted.status, &deleted.json()["deleted"]), (200, &json!("a")));
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!(server.send(method, "/api/files/a", &[], b"").await.status, 410, "{method}");
    }
    assert_eq!(server.get("/api/files").await.json()["files"], json!([]));
    assert_eq!(server.get("/api/files/a").await.json()["error"]["kind"], "gone");
    assert_eq!(server.send("PUT", "/api/files/a", &[], b"y").await.status, 201);
    assert_eq!(server.get("/api/files/a").await.body, b"y");
    server.stop().await;
}
