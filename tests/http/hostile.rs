//! Clients that mean no good, or stand still: connections that say nothing, bodies that are announced and never come,
//! answers that nobody takes, bodies that grow when they are decoded. Others are served meanwhile, and what was taken
//! is given back.

use std::io::Write;
use std::time::{Duration, Instant};

use drumlin::http::HttpSettings;
use drumlin::settings::MemoryLimit;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SEARCH: &str = "/api/collections/c/search";
const MIB: u64 = 1 << 20;

/// Until something happens that must happen soon.
const SOON: Duration = Duration::from_secs(30);

async fn start(limit: Option<u64>, http: HttpSettings) -> Server {
    let mut settings = Settings::new(Storage::Memory);
    settings.memory_limit = limit.map(|bytes| MemoryLimit { bytes, whole_process: false });
    settings.timing.room_patience = Duration::from_millis(100);
    let server = Server::with(settings, http).await;
    assert_eq!(server.post("/api/collections", &json!({"name": "c", "metric": "l2"})).await.status, 201);
    let records = json!({"records": [{"id": "a", "embedding": [1, 2], "metadata": {"k": "a"}}]});
    assert_eq!(server.post("/api/collections/c/add", &records).await.status, 201);
    server
}

async fn connect(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Whether the server ends the connection soon.
async fn is_ended(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.is_ok()
}

fn announced(path: &str, bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n"
    )
}

async fn health(server: &Server) -> Value {
    server.get("/health").await.json()
}

#[tokio::test]
async fn a_connection_without_a_whole_request_is_closed_after_a_while() {
    let http = HttpSettings { connection_idle: Duration::from_millis(400), ..HttpSettings::default() };
    let server = start(None, http).await;
    let kinds: [&[u8]; 5] = [
        b"",
        b"P",
        b"PRI * HTT",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX:",
    ];
    for bytes in kinds {
        let stream = connect(&server, bytes).await;
        assert!(is_ended(stream).await, "{}", String::from_utf8_lossy(bytes));
    }
    let mut idle = connect(&server, b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(idle.read(&mut [0; 1000]).await.unwrap() > 100);
    assert!(is_ended(idle).await, "idle between requests");
    server.stop().await;
}

#[tokio::test]
async fn more_silent_connections_than_there_are_places_do_not_keep_a_client_out() {
    let http = HttpSettings { max_connections: 20, ..HttpSettings::default() };
    let server = start(None, http).await;
    let mut silent = Vec::new();
    for kind in [&b""[..], b"P", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX:"].iter().cycle().take(2000) {
        silent.push(connect(&server, kind).await);
    }
    let asked = tokio::time::timeout(SOON, server.get("/health")).await;
    assert_eq!(asked.expect("an answer").status, 200);
    // Who is in the middle of a request stays.
    let mut busy = connect(&server, announced(SEARCH, 29).as_bytes()).await;
    busy.write_all(b"{\"embedding\"").await.unwrap();
    for _ in 0..100 {
        silent.push(connect(&server, b"").await);
    }
    assert_eq!(tokio::time::timeout(SOON, server.get("/health")).await.expect("an answer").status, 200);
    busy.write_all(b": [1, 2], \"k\": 1}").await.unwrap();
    let mut answer = vec![0; 1000];
    let read = tokio::time::timeout(SOON, busy.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
    drop((silent, busy));
    server.stop().await;
}

#[tokio::test]
async fn bodies_that_are_only_announced_take_no_memory_and_are_given_up() {
    let http = HttpSettings { body_idle: Duration::from_millis(1500), ..HttpSettings::default() };
    let server = start(Some(32 * MIB), http).await;
    let mut announcing = Vec::new();
    for _ in 0..100 {
        announcing.push(connect(&server, announced(SEARCH, 1_000_000).as_bytes()).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(health(&server).await["memory"]["reserved_bytes"], 0);
    let document = "x".repeat(1_000_000);
    let write = json!({"records": [{"id": "b", "embedding": [1, 2], "document": document}]});
    assert_eq!(server.post("/api/collections/c/upsert", &write).await.status, 200);
    let mut first = announcing.swap_remove(0);
    let mut answer = vec![0; 2000];
    let read = tokio::time::timeout(SOON, first.read(&mut answer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("DRUMLIN_BODY_IDLE_S"), "{text}");
    drop(announcing);
    server.stop().await;
}

#[tokio::test]
async fn bodies_of_reads_on_their_way_leave_memory_for_writes() {
    let server = start(Some(32 * MIB), HttpSettings::default()).await;
    let mut sending = Vec::new();
    for _ in 0..40 {
        let mut stream = connect(&server, announced(SEARCH, 4_000_000).as_bytes()).await;
        stream.write_all(&vec![b' '; 900_000]).await.unwrap();
        sending.push(stream);
    }
    let began = Instant::now();
    let reserved = loop {
        let reserved = health(&server).await["memory"]["reserved_bytes"].as_u64().unwrap();
        if reserved > 6 * MIB || began.elapsed() > SOON {
            break reserved;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!((6 * MIB..=8 * MIB).contains(&reserved), "{reserved}");
    let write = json!({"records": [{"id": "b", "embedding": [1, 2], "document": "x".repeat(2_000_000)}]});
    let written = server.post("/api/collections/c/upsert", &write).await;
    assert_eq!(written.status, 200, "{}", written.text());
    drop(sending);
    let began = Instant::now();
    while health(&server).await["memory"]["reserved_bytes"] != 0 {
        assert!(began.elapsed() < SOON, "what bodies took is given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The beginning of a connection whose client takes nothing.
fn closed_window() -> Vec<u8> {
    let settings = [0, 4, 0, 0, 0, 0];
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &settings)].concat()
}

/// A search as HTTP/2 has it, with names from HPACK's static table.
fn search(stream: u32, body: &[u8]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let mut head = vec![0x83, 0x86, 0x04];
    head.extend(text(SEARCH));
    head.push(0x01);
    head.extend(text("127.0.0.1"));
    head.extend([0x0f, 0x10]);
    head.extend(text("application/json"));
    [frame(1, 4, stream, &head), frame(0, 1, stream, body)].concat()
}

#[tokio::test]
async fn answers_that_nobody_takes_stay_admitted_and_their_connection_is_closed() {
    let http =
        HttpSettings { max_concurrent_requests: 8, body_idle: Duration::from_millis(2500), ..HttpSettings::default() };
    let server = start(None, http).await;
    let mut stream = connect(&server, &closed_window()).await;
    for number in 0..8 {
        stream.write_all(&search(2 * number + 1, br#"{"embedding": [1, 2], "k": 1}"#)).await.unwrap();
    }
    let ask = json!({"embedding": [1, 2], "k": 1});
    let began = Instant::now();
    while server.post(SEARCH, &ask).await.status != 503 {
        assert!(began.elapsed() < SOON, "eight answers are under way, and a ninth request was admitted");
    }
    assert!(is_ended(stream).await, "the connection whose answers stand still");
    let began = Instant::now();
    while server.post(SEARCH, &ask).await.status != 200 {
        assert!(began.elapsed() < SOON, "the answers were dropped, and no request is admitted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_answer_that_nobody_reads_is_cut_off_and_one_that_is_read_slowly_is_not() {
    let http = HttpSettings { body_idle: Duration::from_millis(1000), ..HttpSettings::default() };
    let server = start(None, http).await;
    let text = "x".repeat(1 << 20);
    for number in 0..24 {
        let record = json!({"records": [{"id": format!("r{number}"), "embedding": [1, number], "document": text}]});
        assert_eq!(server.post("/api/collections/c/add", &record).await.status, 201);
    }
    let body = br#"{"embedding": [1, 2], "k": 100}"#;
    let ask = [announced(SEARCH, body.len()).as_bytes(), body].concat();
    let mut unread = connect(&server, &ask).await;
    let mut slow = connect(&server, &ask).await;
    let (mut took, mut piece) = (0, vec![0; 2 << 20]);
    let began = Instant::now();
    while took < 24 << 20 {
        let read = tokio::time::timeout(SOON, slow.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "cut off after {took} bytes");
        took += read;
        if began.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut rest = Vec::new();
    let read = tokio::time::timeout(SOON, unread.read_to_end(&mut rest)).await.expect("the end");
    assert!(read.is_err() || rest.len() < 24 << 20, "all of {} bytes came, seconds later", rest.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_first_sends_all_of_its_body() {
    let http = HttpSettings { max_body_bytes: 1 << 20, ..HttpSettings::default() };
    let server = start(None, http).await;
    for length in ["content-length: 30000000", "transfer-encoding: chunked"] {
        let head = format!(
            "POST /api/collections/c/add HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
        );
        let mut stream = connect(&server, head.as_bytes()).await;
        let piece = vec![b' '; 1_000_000];
        for _ in 0..30 {
            if length.starts_with("transfer") {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
            }
            stream.write_all(&piece).await.expect("the server reads on");
            if length.starts_with("transfer") {
                stream.write_all(b"\r\n").await.unwrap();
            }
        }
        let mut answer = vec![0; 2000];
        let read = tokio::time::timeout(SOON, stream.read(&mut answer)).await.unwrap().expect("an answer");
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(text.starts_with("HTTP/1.1 413") && text.contains("DRUMLIN_MAX_BODY_BYTES"), "{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_lists_too_much_is_refused_while_it_is_read() {
    let http = HttpSettings { max_query_bytes: 3 << 20, ..HttpSettings::default() };
    let server = start(Some(64 * MIB), http).await;
    let collection = server.get("/api/collections/c").await.json()["id"].as_str().unwrap().to_owned();
    let chroma = format!("/api/v2/tenants/default_tenant/databases/default_database/collections/{collection}");
    let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    let long = list("\"x\"", 200_000);
    // The JSON ends there, so that whoever reads it to its end says something else.
    let cases = [
        (SEARCH.to_owned(), format!(r#"{{"embedding": [1, 2], "where": {{"k": {{"$in": {long}}}}} !"#), 422),
        (
            SEARCH.to_owned(),
            format!(r#"{{"embedding": [1, 2], "where_document": {{"$or": {}}} !"#, list("{}", 200_000)),
            422,
        ),
        (SEARCH.to_owned(), format!(r#"{{"embedding": [1, 2], "ids": {long} !"#), 422),
        (SEARCH.to_owned(), format!(r#"{{"embedding": {} !"#, list("1", 200_000)), 422),
        (SEARCH.to_owned(), format!(r#"{{"embeddings": {} !"#, list("[1]", 200_000)), 422),
        ("/api/collections/c/get".to_owned(), format!(r#"{{"ids": {long} !"#), 422),
        ("/api/collections/c/delete".to_owned(), format!(r#"{{"ids": {long} !"#), 422),
        (
            "/api/collections/c/add".to_owned(),
            format!(r#"{{"records": {} !"#, list(r#"{"id":"a","embedding":[1,2]}"#, 100_001)),
            422,
        ),
        (format!("{chroma}/get"), format!(r#"{{"ids": {long} !"#), 400),
        (
            format!("{chroma}/query"),
            format!(r#"{{"query_embeddings": [[1, 2]], "where": {{"k": {{"$in": {long}}}}} !"#),
            400,
        ),
        (format!("{chroma}/query"), format!(r#"{{"query_embeddings": {} !"#, list("[1]", 200_000)), 400),
        (
            format!("{chroma}/search"),
            format!(r#"{{"searches": [{{"rank": {{"$knn": {{"query": {}}}}}}}] !"#, list("1", 200_000)),
            400,
        ),
        (format!("{chroma}/search"), format!(r#"{{"searches": {} !"#, list("{}", 200_000)), 400),
        (format!("{chroma}/delete"), format!(r#"{{"ids": {long} !"#), 400),
        (format!("{chroma}/add"), format!(r#"{{"ids": {long} !"#), 400),
        (format!("{chroma}/add"), format!(r#"{{"ids": ["a"], "embeddings": {} !"#, list("[1]", 100_001)), 400),
        (
            format!("{chroma}/add"),
            format!(r#"{{"ids": ["a"], "embeddings": [[1]], "metadatas": [{{"k": {}}}] !"#, list("1", 200_000)),
            400,
        ),
    ];
    for (path, body, status) in cases {
        let answer = server.send("POST", &path, &[("content-type", "application/json")], body.as_bytes()).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!(answer.status, status, "{path} {shown}: {}", answer.text());
        assert!(answer.text().contains("expected at most"), "{path} {shown}: {}", answer.text());
    }
    let large = format!(r#"{{"embedding": [1, 2], "where_document": {{"$contains": "{}"}}}}"#, "x".repeat(3 << 20));
    let answer = server.send("POST", SEARCH, &[("content-type", "application/json")], large.as_bytes()).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("DRUMLIN_MAX_QUERY_BYTES"), "{}", answer.text());
    assert_eq!(health(&server).await["memory"]["reserved_bytes"], 0);
    server.stop().await;
}

#[tokio::test]
async fn coded_bodies_are_decoded_within_the_limit_and_other_codings_refused() {
    let http = HttpSettings { max_body_bytes: 1 << 20, ..HttpSettings::default() };
    let server = start(None, http).await;
    let gzip = |bytes: &[u8]| {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        coder.write_all(bytes).unwrap();
        coder.finish().unwrap()
    };
    let records = json!({"records": [{"id": "coded", "embedding": [5, 5]}]}).to_string();
    let post = async |path: &str, coding: &str, body: &[u8]| {
        let headers = [("content-type", "application/json"), ("content-encoding", coding)];
        server.send("POST", path, &headers, body).await
    };
    let add = "/api/collections/c/upsert";
    assert_eq!(post(add, "gzip", &gzip(records.as_bytes())).await.status, 200);
    assert_eq!(post(add, "zstd", &zstd::encode_all(records.as_bytes(), 3).unwrap()).await.status, 200);
    let bomb = vec![b' '; 200 << 20];
    assert_eq!(post(add, "gzip", &gzip(&bomb)).await.status, 413);
    assert_eq!(post(add, "zstd", &zstd::encode_all(&bomb[..], 3).unwrap()).await.status, 413);
    for coding in ["br", "deflate", "gzip, gzip"] {
        let refused = post(add, coding, records.as_bytes()).await;
        assert_eq!(refused.status, 415, "{coding}");
        assert!(refused.text().contains("gzip, zstd"), "{}", refused.text());
    }
    assert_eq!(post(add, "gzip", records.as_bytes()).await.status, 400);
    let databases = "/api/v2/tenants/default_tenant/databases";
    assert_eq!(post(databases, "gzip", &gzip(br#"{"name": "coded"}"#)).await.status, 200);
    assert_eq!(post(databases, "br", br#"{"name": "coded"}"#).await.status, 415);
    // A file is kept as it comes, and what is said of it with it.
    let coded = gzip(b"hello");
    let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    assert_eq!(server.send("PUT", "/api/files/a.txt", &headers, &coded).await.status, 201);
    let file = server.get("/api/files/a.txt").await;
    assert_eq!((file.status, &file.body), (200, &coded));
    assert!(file.headers.contains("content-encoding: gzip"), "{}", file.headers);
    let form = [("content-type", "multipart/form-data; boundary=b"), ("content-encoding", "gzip")];
    assert_eq!(server.send("POST", "/upload", &form, &coded).await.status, 415);
    server.stop().await;
}

#[tokio::test]
async fn a_form_whose_header_or_preamble_never_ends_is_refused_after_a_few_pieces() {
    let server = start(None, HttpSettings::default()).await;
    for beginning in ["--b\r\nX: ", "preamble"] {
        let mut stream = connect(
            &server,
            b"POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
        let piece = [beginning, &"x".repeat(100_000)].concat();
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
        let mut answer = vec![0; 2000];
        let read =
            tokio::time::timeout(SOON, stream.read(&mut answer)).await.expect("an answer before the end").unwrap();
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(text.starts_with("HTTP/1.1 400") && text.contains("65536 bytes"), "{text}");
    }
    server.stop().await;
}
