//! Requests that no client should send, over real HTTP: each is answered with the right 4xx and a
//! message that names what is wrong, nothing is changed by any of them, and the server lives on.

use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use drumlin::http::HttpSettings;
use drumlin::settings::Limits;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");
const ARROW: (&str, &str) = ("content-type", "application/vnd.apache.arrow.stream");
const PARQUET: (&str, &str) = ("content-type", "application/vnd.apache.parquet");

/// A bad request and what its answer must be.
struct Row {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    names: &'static str,
}

fn row(method: &'static str, path: &str, status: u16, names: &'static str) -> Row {
    Row { method, path: path.to_owned(), headers: vec![], body: vec![], status, names }
}

fn typed(
    header: (&'static str, &'static str),
    path: &str,
    body: impl Into<Vec<u8>>,
    (status, names): (u16, &'static str),
) -> Row {
    Row { headers: vec![header], body: body.into(), ..row("POST", path, status, names) }
}

/// A JSON body to a route of the collection `good`.
fn good(route: &str, body: &str, status: u16, names: &'static str) -> Row {
    typed(JSON, &format!("/api/collections/good/{route}"), body, (status, names))
}

fn create(body: &str, status: u16, names: &'static str) -> Row {
    typed(JSON, "/api/collections", body, (status, names))
}

fn routes() -> Vec<Row> {
    vec![
        row("GET", "/nowhere", 404, "/nowhere"),
        row("GET", "/api", 404, "/api"),
        row("GET", "/api/collections/", 404, "/api/collections/"),
        row("POST", "/api/collections/good/search/more", 404, "search/more"),
        row("GET", "/api/collections/good/nothing", 404, "nothing"),
        row("PUT", "/api/collections", 405, "PUT"),
        row("PATCH", "/api/collections/good", 405, "PATCH"),
        row("GET", "/api/collections/good/add", 405, "GET"),
        row("PUT", "/api/collections/good/count", 405, "PUT"),
        row("GET", "/api/s3/sync", 405, "GET"),
        row("POST", "/health", 405, "POST"),
        row("BREW", "/api/collections", 405, "BREW"),
        row("GET", "/api/collections/unknown", 404, "unknown"),
        row("DELETE", "/api/collections/unknown", 404, "unknown"),
        row("GET", "/api/collections/unknown/count", 404, "unknown"),
        row("GET", "/api/collections/good/count?database=other", 404, "good"),
        row("GET", "/api/collections/.hidden/count", 400, "name"),
        row("GET", "/api/collections/a%2Fb/count", 400, "name"),
        row("GET", "/api/collections/a%00b/count", 400, "name"),
        row("GET", "/api/collections/%FF/count", 400, "name"),
        row("GET", "/api/collections/a%20b", 400, "name"),
        row("DELETE", "/api/collections/-x", 400, "name"),
        row("GET", &format!("/api/collections/{}/count", "x".repeat(513)), 400, "name"),
        row("GET", "/api/collections/good/count?consistency=eventual", 400, "consistency"),
        row("GET", "/api/collections/good/count?consistency=", 400, "consistency"),
        row("GET", "/api/collections/good/count?consistancy=strong", 400, "consistancy"),
        row("GET", "/api/collections/good/count?tenant=a&tenant=b", 400, "tenant"),
        row("GET", "/api/collections?limit=5", 400, "limit"),
        row("GET", "/api/s3/status?verbose=1", 400, "verbose"),
        row("DELETE", "/api/collections/good?force=true", 400, "force"),
        typed(JSON, "/api/collections/good/add?consistency=strong", r#"{"records": []}"#, (400, "consistency")),
        typed(JSON, "/api/collections/unknown/add", r#"{"records": []}"#, (404, "unknown")),
        typed(JSON, "/api/collections/unknown/search", r#"{"embedding": [1, 2, 3]}"#, (404, "unknown")),
    ]
}

fn bodies() -> Vec<Row> {
    let add = "/api/collections/good/add";
    let long = format!(r#"{{"records": [], "x": "{}"}}"#, "x".repeat(70_000));
    vec![
        row("POST", add, 415, "content-type"),
        typed(("content-type", "text/plain"), add, r#"{"records": []}"#, (415, "text/plain")),
        typed(("content-type", "application/x-www-form-urlencoded"), add, "a=b", (415, "urlencoded")),
        typed(("content-type", "application/jsonp"), "/api/collections", "{}", (415, "jsonp")),
        typed(PARQUET, "/api/collections/good/update", "PAR1", (415, "application/json")),
        typed(JSON, add, long, (413, "DRUMLIN_MAX_BODY_BYTES")),
        typed(JSON, "/api/s3/sync", r#"{"collection": "good"}"#, (400, "collection")),
        good("add", "", 400, "body"),
        good("add", " \n", 400, "body"),
        good("add", "{", 400, "body"),
        good("add", r#"{"records": ["#, 400, "records"),
        good("add", r#"{"records": []} x"#, 400, "body"),
        good("add", "null", 400, "body"),
        good("add", "5", 400, "body"),
        good("add", r#""records""#, 400, "body"),
        good("add", "[]", 400, "body: invalid type: sequence, expected an object"),
        good("add", "{}", 400, "records"),
        good("add", r#"{'records': []}"#, 400, "body"),
        good("add", r#"{"records": [],}"#, 400, "body"),
        good("add", r#"{"records": [], "record": []}"#, 400, "record"),
        good("add", r#"{"records": [], "records": []}"#, 400, "records"),
        good("add", r#"{"records": null}"#, 400, "records"),
        good("add", r#"{"records": {}}"#, 400, "records"),
        good("add", r#"{"records": [5]}"#, 400, "records[0]"),
        good("add", r#"{"records": [["n", [1, 2, 3], null, null, null]]}"#, 400, "records[0]"),
        good("add", r#"[[{"id": "n", "embedding": [1, 2, 3]}]]"#, 400, "body"),
        good("add", "\u{feff}{\"records\": []}", 400, "body"),
        typed(JSON, add, b"{\"records\": [{\"id\": \"\xff\"}]}".to_vec(), (400, "records[0].id")),
        typed(JSON, add, vec![0u8; 100], (400, "body")),
        typed(JSON, add, [b"[".repeat(10_000), b"]".repeat(10_000)].concat(), (400, "body")),
        good(
            "add",
            &format!(r#"{{"records": [{}]}}"#, vec![r#"{"id":"n","embedding":[1,2,3]}"#; 60].join(",")),
            422,
            "DRUMLIN_MAX_BATCH_RECORDS",
        ),
    ]
}

fn records() -> Vec<Row> {
    let record = |fields: &str, status, names| good("add", &format!(r#"{{"records": [{{{fields}}}]}}"#), status, names);
    let long = |n: usize| "x".repeat(n);
    vec![
        record(r#""embedding": [1, 2, 3]"#, 400, "id"),
        record(r#""id": null, "embedding": [1, 2, 3]"#, 400, "records[0].id"),
        record(r#""id": 7, "embedding": [1, 2, 3]"#, 400, "records[0].id"),
        record(r#""id": "", "embedding": [1, 2, 3]"#, 400, "records[0].id"),
        record(r#""id": "\ud800", "embedding": [1, 2, 3]"#, 400, "records[0].id"),
        record(&format!(r#""id": "{}", "embedding": [1, 2, 3]"#, long(65)), 422, "DRUMLIN_MAX_ID_BYTES"),
        record(r#""id": "n""#, 400, "embedding"),
        record(r#""id": "n", "embedding": null"#, 400, "records[0].embedding"),
        record(r#""id": "n", "embedding": []"#, 400, "records[0].embedding"),
        record(r#""id": "n", "embedding": "AAAA""#, 400, "records[0].embedding"),
        record(r#""id": "n", "embedding": {"0": 1}"#, 400, "records[0].embedding"),
        record(r#""id": "n", "embedding": [1, 2]"#, 400, "records[0].embedding"),
        record(r#""id": "n", "embedding": [1, 2, 3, 4]"#, 400, "records[0].embedding"),
        record(r#""id": "n", "embedding": [1, null, 3]"#, 400, "records[0].embedding[1]"),
        record(r#""id": "n", "embedding": [1, "2", 3]"#, 400, "records[0].embedding[1]"),
        record(r#""id": "n", "embedding": [[1], 2, 3]"#, 400, "records[0].embedding[0]"),
        record(r#""id": "n", "embedding": [1, NaN, 3]"#, 400, "records[0].embedding[1]"),
        record(r#""id": "n", "embedding": [1, Infinity, 3]"#, 400, "records[0].embedding[1]"),
        record(r#""id": "n", "embedding": [1, -1e39, 3]"#, 400, "records[0].embedding[1]"),
        record(r#""id": "n", "embedding": [1, 1e999, 3]"#, 400, "records[0].embedding[1]"),
        record(r#""id": "n", "embedding": [1, 2, 3], "document": 5"#, 400, "records[0].document"),
        record(r#""id": "n", "embedding": [1, 2, 3], "uri": []"#, 400, "records[0].uri"),
        record(r#""id": "n", "embedding": [1, 2, 3], "text": "x""#, 400, "text"),
        record(
            &format!(r#""id": "n", "embedding": [1, 2, 3], "document": "{}""#, long(1001)),
            422,
            "DRUMLIN_MAX_DOCUMENT_BYTES",
        ),
        record(&format!(r#""id": "n", "embedding": [1, 2, 3], "uri": "{}""#, long(1001)), 422, "records[0].uri"),
        record(r#""id": "n", "embedding": [1, 2, 3], "metadata": []"#, 400, "records[0].metadata"),
        record(r#""id": "n", "embedding": [1, 2, 3], "metadata": "k=v""#, 400, "records[0].metadata"),
        record(r#""id": "n", "embedding": [1, 2, 3], "metadata": {"k": null}"#, 400, "records[0].metadata.k"),
        record(r#""id": "n", "embedding": [1, 2, 3], "metadata": {"k": {"x": 1}}"#, 400, "records[0].metadata.k"),
        record(r#""id": "n", "embedding": [1, 2, 3], "metadata": {"k": [1, "x"]}"#, 400, "records[0].metadata.k"),
        record(r#""id": "n", "embedding": [1, 2, 3], "metadata": {"k": [[1]]}"#, 400, "records[0].metadata.k"),
        record(r#""id": "n", "embedding": [1, 2, 3], "metadata": {"": 1}"#, 400, "records[0].metadata"),
        record(
            &format!(r#""id": "n", "embedding": [1, 2, 3], "metadata": {{"k": "{}"}}"#, long(300)),
            422,
            "DRUMLIN_MAX_METADATA_BYTES",
        ),
        good("upsert", r#"{"records": [{"id": "a", "embedding": [1, 2]}]}"#, 400, "records[0].embedding"),
        good("update", r#"{"records": [{"embedding": [1, 2, 3]}]}"#, 400, "id"),
        good("update", r#"{"records": [{"id": "a", "embedding": [1, 2]}]}"#, 400, "records[0].embedding"),
        good("update", r#"{"records": [{"id": "a", "metadata": {"k": {}}}]}"#, 400, "records[0].metadata.k"),
        good("update", r#"{"records": [{"id": "a", "metdata": {}}]}"#, 400, "metdata"),
        typed(
            JSON,
            "/api/collections/fresh/add",
            json!({"records": [{"id": "a", "embedding": vec![1; 17]}]}).to_string(),
            (422, "(DRUMLIN_MAX_DIMENSION)"),
        ),
    ]
}

fn reads() -> Vec<Row> {
    let search = |fields: &str, status, names| {
        good("search", &format!(r#"{{"embedding": [1, 2, 3], {fields}}}"#), status, names)
    };
    vec![
        good("search", "{}", 400, "embedding"),
        good("search", r#"{"embedding": [1, 2, 3], "embeddings": [[1, 2, 3]]}"#, 400, "embedding"),
        good("search", r#"{"embedding": [1, 2]}"#, 400, "embedding"),
        good("search", r#"{"embedding": []}"#, 400, "embedding"),
        good("search", r#"{"embedding": [[1, 2, 3]]}"#, 400, "embedding[0]"),
        good("search", r#"{"embeddings": [1, 2, 3]}"#, 400, "embeddings[0]"),
        good("search", r#"{"embeddings": []}"#, 400, "embeddings"),
        good("search", r#"{"embeddings": [[1, 2, 3], [1, 2]]}"#, 400, "embeddings[1]"),
        good("search", r#"{"embeddings": [[1,2,3],[1,2,3],[1,2,3],[1,2,3],[1,2,3]]}"#, 422, "(DRUMLIN_MAX_QUERIES)"),
        good("search", r#"{"embeddings": [[1,2,3],[1,2,3]], "k": 100}"#, 422, "DRUMLIN_MAX_ANSWER_RECORDS"),
        search(r#""k": 0"#, 400, "k"),
        search(r#""k": -1"#, 400, "k"),
        search(r#""k": 1.5"#, 400, "k"),
        search(r#""k": "ten""#, 400, "k"),
        search(r#""k": null"#, 400, "k"),
        search(r#""k": 101"#, 422, "(DRUMLIN_MAX_K)"),
        search(r#""k": 0, "text": "fox""#, 400, "k: expected at least 1, got 0"),
        search(r#""candidates": 0, "text": "fox""#, 400, "candidates: expected at least 1, got 0"),
        search(r#""k": 99999999999999999999"#, 400, "k"),
        search(r#""top_k": 5"#, 400, "top_k"),
        search(r#""ef_search": 0"#, 400, "ef_search"),
        search(r#""ef_search": -5"#, 400, "ef_search"),
        search(r#""exact": "yes""#, 400, "exact"),
        search(r#""ids": "a""#, 400, "ids"),
        search(r#""ids": [1]"#, 400, "ids[0]"),
        search(r#""include": ["embeddings"]"#, 400, "include[0]"),
        search(r#""include": "document""#, 400, "include"),
        search(r#""where": {}"#, 400, "where"),
        search(r#""where": []"#, 400, "where"),
        search(r#""where": "k = 1""#, 400, "where"),
        search(r#""where": {"a": 1, "b": 2}"#, 400, "where"),
        search(r#""where": {"k": {"$almost": 1}}"#, 400, "$almost"),
        search(r#""where": {"k": null}"#, 400, "where.k"),
        search(r#""where": {"k": {"$gt": "x"}}"#, 400, "where.k"),
        search(r#""where": {"k": {"$in": []}}"#, 400, "where.k"),
        search(r#""where": {"$and": [{"k": 1}, {}]}"#, 400, "$and[1]"),
        search(r#""where": {"$and": {"k": 1}}"#, 400, "$and"),
        search(r#""where_document": {"$contains": 5}"#, 400, "where_document"),
        search(r#""where_document": {}"#, 400, "where_document"),
        search(r#""where_document": {"$regex": "("}"#, 400, "where_document"),
        search(&format!(r#""where": {}1{}"#, r#"{"$and": ["#.repeat(60), "]}".repeat(60)), 400, "where"),
        good("get", r#"{"limit": -1}"#, 400, "limit"),
        good("get", r#"{"limit": "5"}"#, 400, "limit"),
        good("get", r#"{"offset": -1}"#, 400, "offset"),
        good("get", r#"{"offset": null}"#, 400, "offset"),
        good("get", r#"{"ids": "a"}"#, 400, "ids"),
        good("get", r#"{"id": ["a"]}"#, 400, "id"),
        good("get", r#"{"include": ["everything"]}"#, 400, "include[0]"),
        good("get", r#"{"where": {"k": {"$eq": [1]}}}"#, 400, "where.k"),
        good("delete", "{}", 400, "ids"),
        good("delete", r#"{"limit": 1}"#, 400, "ids"),
        good("delete", r#"{"ids": [null]}"#, 400, "ids[0]"),
        good("delete", r#"{"ids": [""]}"#, 400, "ids[0]"),
        good("delete", r#"{"where": {"k": {"$gt": 1, "$lt": 2}}}"#, 400, "where.k"),
        good("delete", r#"{"id": "a"}"#, 400, "id"),
    ]
}

fn collections() -> Vec<Row> {
    vec![
        create("{}", 400, "name"),
        create(r#"{"name": null}"#, 400, "name"),
        create(r#"{"name": 5}"#, 400, "name"),
        create(r#"{"name": ""}"#, 400, "name"),
        create(r#"{"name": "a b"}"#, 400, "name"),
        create(r#"{"name": "a/b"}"#, 400, "name"),
        create(r#"{"name": ".a"}"#, 400, "name"),
        create(r#"{"name": "é"}"#, 400, "name"),
        create(&format!(r#"{{"name": "{}"}}"#, "x".repeat(513)), 400, "name"),
        create(r#"{"name": "good"}"#, 409, "good"),
        create(r#"{"name": "n", "metric": "euclid"}"#, 400, "metric"),
        create(r#"{"name": "n", "metric": "L2"}"#, 400, "metric"),
        create(r#"{"name": "n", "dimension": -3}"#, 400, "dimension"),
        create(r#"{"name": "n", "dimension": 17}"#, 400, "dimension"),
        create(r#"{"name": "n", "dimension": "3"}"#, 400, "dimension"),
        create(r#"{"name": "n", "dimensions": 3}"#, 400, "dimensions"),
        create(r#"{"name": "n", "metadata": []}"#, 400, "metadata"),
        create(r#"{"name": "n", "metadata": {"k": {}}}"#, 400, "metadata.k"),
        create(r#"{"name": "n", "index": {"m": "many"}}"#, 400, "index.m"),
        create(r#"{"name": "n", "index": {"m": 1}}"#, 400, "index"),
        create(r#"{"name": "n", "index": {"ef": 10}}"#, 400, "index"),
        create(r#"{"name": "n", "index": {"builder": "magic"}}"#, 400, "index.builder"),
    ]
}

fn files() -> Vec<Row> {
    let add = "/api/collections/good/add";
    let batch = |columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        bytes
    };
    let ids = || -> ArrayRef { std::sync::Arc::new(StringArray::from(vec!["n"])) };
    let floats = || -> ArrayRef { std::sync::Arc::new(Float32Array::from(vec![1.0])) };
    let cut = batch(vec![("id", ids())]);
    vec![
        typed(ARROW, add, "", (400, "arrow")),
        typed(ARROW, add, "no arrow at all", (400, "arrow")),
        typed(ARROW, add, cut[..cut.len() / 2].to_vec(), (400, "arrow")),
        typed(ARROW, add, batch(vec![("id", ids())]), (400, "embedding")),
        typed(ARROW, add, batch(vec![("id", ids()), ("embedding", floats())]), (400, "embedding")),
        typed(ARROW, add, batch(vec![("id", ids()), ("vector", floats())]), (400, "vector")),
        typed(PARQUET, add, "", (400, "parquet")),
        typed(PARQUET, add, "PAR1 is not enough PAR1", (400, "parquet")),
    ]
}

async fn start() -> Server {
    let limits = Limits {
        dimension: 16,
        id_bytes: 64,
        metadata_bytes: 256,
        document_bytes: 1000,
        batch_records: 50,
        k: 100,
        queries: 4,
        ..Limits::default()
    };
    let settings = Settings { limits, ..Settings::new(Storage::Memory) };
    let http = HttpSettings { max_body_bytes: 64 << 10, max_answer_records: 150, ..HttpSettings::default() };
    let server = Server::with(settings, http).await;
    for name in ["good", "fresh"] {
        assert_eq!(server.post("/api/collections", &json!({"name": name})).await.status, 201);
    }
    let records = json!({"records": [{"id": "a", "embedding": [1, 2, 3]}, {"id": "b", "embedding": [3, 2, 1]}]});
    assert_eq!(server.post("/api/collections/good/add", &records).await.status, 201);
    server
}

#[tokio::test]
async fn every_malformed_request_gets_the_right_4xx_that_names_the_fault_and_the_server_lives() {
    let server = start().await;
    let before = server.get("/api/collections").await.json();
    let tables = [routes(), bodies(), records(), reads(), collections(), files()];
    let rows: Vec<Row> = tables.into_iter().flatten().collect();
    assert!(rows.len() >= 80, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let answer = server.send(row.method, &row.path, &row.headers, &row.body).await;
        let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = error["error"]["message"].as_str().unwrap_or_default();
        assert!(answer.headers.contains("content-type: application/json"), "{}", answer.headers);
        if answer.status != row.status || error["error"]["kind"].is_null() || !message.contains(row.names) {
            let body: String = String::from_utf8_lossy(&row.body).chars().take(100).collect();
            wrong.push(format!(
                "{} {} {body}\n   expected {} naming {:?}\n   got {} {}",
                row.method,
                row.path,
                row.status,
                row.names,
                answer.status,
                answer.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert_eq!(server.get("/api/collections").await.json(), before, "a refused request changed something");
    let found = server.post("/api/collections/good/search", &json!({"embedding": [1, 2, 3], "k": 1})).await;
    assert_eq!(found.json()["results"][0][0]["id"], "a");
    server.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_http_and_bodies_cut_short_do_not_harm_the_server() {
    let server = start().await;
    let inputs: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/collections HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
        b"POST /api/collections HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n",
    ];
    for input in inputs {
        let answer = server.send_raw(input).await;
        assert!(answer.as_ref().is_none_or(|a| a.status >= 400), "{input:?}: {answer:?}");
    }
    let head = "POST /api/collections/good/add HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n";
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.try_write(format!("{head}{{\"records\": [").as_bytes()).unwrap();
    drop(stream);
    assert_eq!(server.get("/api/collections/good/count").await.json(), json!({"count": 2}));
    server.stop().await;
}

#[tokio::test]
async fn a_body_in_chunks_is_held_to_the_limit_though_it_does_not_tell_its_length() {
    let server = start().await;
    let piece = format!("{:x}\r\n{}\r\n", 40_000, " ".repeat(40_000));
    let head = "POST /api/collections/good/add HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = server.send_raw(format!("{head}{piece}{piece}0\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("DRUMLIN_MAX_BODY_BYTES"), "{}", answer.text());
    server.stop().await;
}
