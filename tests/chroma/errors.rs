//! Which check comes first, and with which status and words a request is refused.

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::{Answer, Server};
use serde_json::{Value, json};

use super::{DB, assert_invalid, assert_refused, create, error, put, with_things};

const NOBODY: &str = "60bc2f5b-0e94-41af-b7b8-a55b841a6255";

async fn raw(server: &Server, path: &str, media_type: Option<&str>, body: &str) -> Answer {
    let headers: Vec<(&str, &str)> = media_type.map(|value| ("content-type", value)).into_iter().collect();
    server.send("POST", path, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn checks_come_in_order_of_media_type_syntax_shape_id_existence_content() {
    let (server, path) = with_things().await;
    let missing = format!("{DB}/collections/{NOBODY}");
    let no_uuid = format!("{DB}/collections/zzz");
    let bad_where = r#"{"where":{}}"#;
    for path in [&path, &missing, &no_uuid] {
        let get = format!("{path}/get");
        let refused = raw(&server, &get, Some("text/plain"), "{").await;
        assert_refused(&refused, 415, "ChromaError", "Expected request with `Content-Type: application/json`");
        assert_eq!(error(&raw(&server, &get, None, "{").await).0, 400);
        assert_eq!(error(&raw(&server, &get, None, r#"{"include":null}"#).await).0, 422);
        assert_eq!(error(&raw(&server, &format!("{path}/add"), None, "{}").await).0, 422);
    }
    let refused = raw(&server, &format!("{no_uuid}/get"), None, bad_where).await;
    assert_invalid(&refused, "Collection ID is not a valid UUIDv4");
    let words = format!("Collection [{NOBODY}] does not exist.");
    for (route, body) in [("get", bad_where), ("add", r#"{"ids":[],"embeddings":[]}"#), ("delete", r#"{"ids":[]}"#)] {
        let refused = raw(&server, &format!("{missing}/{route}"), None, body).await;
        assert_refused(&refused, 404, "NotFoundError", &words);
    }
    let refused = error(&raw(&server, &format!("{path}/get"), None, bad_where).await);
    assert!(refused.0 == 400 && refused.2.starts_with("Invalid where clause: where"), "{refused:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_collection_is_found_under_its_own_database_only() {
    let (server, path) = with_things().await;
    let base = "/api/v2/tenants/default_tenant/databases";
    assert_eq!(server.post(base, &json!({"name": "base"})).await.status, 200);
    let elsewhere = path.replace("default_database", "base");
    assert_eq!(server.get(&format!("{elsewhere}/count")).await.status, 404);
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(3));
    server.stop().await;
}

#[tokio::test]
async fn json_bodies_may_come_with_a_charset_or_without_a_media_type() {
    let (server, path) = with_things().await;
    for media_type in [None, Some("application/json"), Some("application/json; charset=utf-8")] {
        assert_eq!(raw(&server, &format!("{path}/get"), media_type, "{}").await.status, 200, "{media_type:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn broken_syntax_names_the_place_in_chromas_words() {
    let (server, path) = with_things().await;
    let add = format!("{path}/add");
    let cases = [
        (r#"{"ids":["a"]"#, "EOF while parsing an object at line 1 column 12"),
        ("", "EOF while parsing a value at line 1 column 0"),
        (r#"{"ids":["a"],"embeddings":[[NaN]]}"#, "embeddings[0][0]: expected value at line 1 column 29"),
        (r#"{"ids":["a"],"embeddings":[[1e400]]}"#, "embeddings[0][0]: number out of range at line 1 column 33"),
    ];
    for (body, words) in cases {
        assert_invalid(
            &raw(&server, &add, None, body).await,
            &format!("Failed to parse the request body as JSON: {words}"),
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_shape_names_the_place_in_chromas_words() {
    let (server, path) = with_things().await;
    let embeddings = "embeddings: data did not match any variant of untagged enum EmbeddingsPayload";
    let cases = [
        ("add", "{}", "missing field `ids` at line 1 column 2"),
        ("add", r#"{"ids":[1]}"#, "ids[0]: invalid type: integer `1`, expected a string at line 1 column 9"),
        ("add", r#"{"ids":["a"],"embeddings":[["x"]]}"#, embeddings),
        ("add", r#"{"ids":["a"],"embeddings":[[1,2],"AAAA"]}"#, embeddings),
        ("add", r#"{"ids":["a"],"embeddings":null}"#, embeddings),
        ("add", r#"{"ids":["a"],"embeddings":[null]}"#, embeddings),
        ("add", r#"{"ids":["a"],"embeddings":[[true]]}"#, embeddings),
        ("add", r#"{"ids":["a"]}"#, "missing field `embeddings`"),
        (
            "add",
            r#"{"ids":["a"],"embeddings":[[1]],"metadatas":[{"a":{"b":1}}]}"#,
            "metadatas[0].a: data did not match any variant of untagged enum MetadataValue",
        ),
        (
            "add",
            r#"{"ids":["a"],"embeddings":[[1]],"metadatas":[{"a":[1,"b"]}]}"#,
            "metadatas[0].a: data did not match any variant of untagged enum MetadataValue",
        ),
        (
            "add",
            r#"{"ids":["a"],"embeddings":[[1]],"metadatas":[{"a":null}]}"#,
            "metadatas[0].a: data did not match any variant of untagged enum MetadataValue",
        ),
        (
            "add",
            r#"{"ids":["a"],"embeddings":[[1]],"metadatas":[1]}"#,
            "metadatas[0]: invalid type: integer `1`, expected a map at line 1 column 46",
        ),
        (
            "add",
            r#"{"ids":["a"],"embeddings":[[1]],"documents":[1]}"#,
            "documents[0]: invalid type: integer `1`, expected a string at line 1 column 46",
        ),
        (
            "update",
            r#"{"ids":["a","b"],"embeddings":["AAAAAAAAAAA=",[1,2]]}"#,
            "embeddings: data did not match any variant of untagged enum UpdateEmbeddingsPayload",
        ),
        (
            "update",
            r#"{"ids":["a"],"metadatas":[{"z":{"a":1}}]}"#,
            "metadatas[0].z: data did not match any variant of untagged enum UpdateMetadataValue",
        ),
        ("get", r#"{"include":null}"#, "include: invalid type: null, expected a sequence at line 1 column 15"),
        (
            "get",
            r#"{"include":["data"]}"#,
            "include[0]: unknown variant `data`, expected one of `distances`, `documents`, `embeddings`, `metadatas`, `uris`",
        ),
        ("get", r#"{"limit":-1}"#, "limit: invalid value: integer `-1`, expected u32 at line 1 column 11"),
        ("get", r#"{"limit":1.5}"#, "limit: invalid type: floating point `1.5`, expected u32 at line 1 column 12"),
        ("get", r#"{"limit":4294967296}"#, "limit: invalid value: integer `4294967296`, expected u32"),
        ("query", "{}", "missing field `query_embeddings` at line 1 column 2"),
        (
            "query",
            r#"{"query_embeddings":["AAAA"]}"#,
            "query_embeddings[0]: invalid type: string \"AAAA\", expected a sequence",
        ),
        (
            "query",
            r#"{"query_embeddings":[[1,0]],"n_results":-1}"#,
            "n_results: invalid value: integer `-1`, expected u32",
        ),
        ("search", "{}", "missing field `searches` at line 1 column 2"),
        ("fork", "{}", "missing field `new_name` at line 1 column 2"),
    ];
    for (route, body, words) in cases {
        let (status, name, message) = error(&raw(&server, &format!("{path}/{route}"), None, body).await);
        assert_eq!((status, name.as_str()), (422, "ChromaError"), "{body}: {message}");
        let expected = format!("Failed to deserialize the JSON body into the target type: {words}");
        assert!(message.starts_with(&expected), "{body}\n  said {message}\n  not  {expected}");
    }
    server.stop().await;
}

#[tokio::test]
async fn unknown_fields_of_a_body_and_a_query_string_are_ignored() {
    let (server, path) = with_things().await;
    assert_eq!(server.post(&format!("{path}/get?bogus=1"), &json!({"bogus": [1]})).await.status, 200);
    let query = server.post(&format!("{path}/query?limit=1&offset=5"), &json!({"query_embeddings": [[1, 0]]})).await;
    assert_eq!(query.json()["ids"][0].as_array().map(Vec::len), Some(3));
    server.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_in_plain_text() {
    let http = HttpSettings { max_body_bytes: 1000, ..HttpSettings::default() };
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    let body = json!({"name": "things", "metadata": {"k": "x".repeat(2000)}});
    let refused = server.post(&format!("{DB}/collections"), &body).await;
    assert_eq!((refused.status, refused.text()), (413, "Payload too large".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_takes_no_more_says_so_in_chromas_words() {
    let http = HttpSettings { max_concurrent_requests: 0, ..HttpSettings::default() };
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    let refused = server.get("/api/v2/heartbeat").await;
    assert_eq!((error(&refused).0, error(&refused).1.as_str()), (503, "ChromaError"));
    assert!(refused.headers.contains("retry-after: 1"), "{}", refused.headers);
    server.stop().await;
}

#[tokio::test]
async fn base64_that_holds_no_floats_is_refused_after_the_collection_was_found() {
    let (server, path) = with_things().await;
    let cases = [
        ("!!", "Invalid base64 string: Invalid symbol 33, offset 0."),
        ("AAAAAA=", "Invalid base64 string: Invalid padding"),
        ("AAA=", "Invalid byte length: 2 bytes cannot be converted to f32 values (must be divisible by 4)"),
        ("AADAfw==", "Non-finite float value at embedding index 0: NaN"),
        ("", "Validation error: embeddings: Each embedding must have at least 1 dimension"),
    ];
    for (text, words) in cases {
        let body = json!({"ids": ["z"], "embeddings": [text]});
        assert_invalid(&server.post(&format!("{path}/add"), &body).await, words);
        let missing = format!("{DB}/collections/{NOBODY}/add");
        assert_eq!(server.post(&missing, &body).await.status, 404);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_write_holds_is_refused_in_chromas_words_and_order() {
    let (server, path) = with_things().await;
    let dimension = "Collection expecting embedding with dimension of 2, got 1";
    let inconsistent = "Inconsistent number of IDs, embeddings, documents, URIs and metadatas";
    let metadata = "Validation error: metadatas: Invalid metadata at index 0";
    let cases: Vec<(Value, &str)> = vec![
        (
            json!({"ids": ["z"], "embeddings": [[1e40, 0]]}),
            "Validation error: embeddings: Embeddings must not contain NaN or Infinity values",
        ),
        (
            json!({"ids": ["z"], "embeddings": [[]]}),
            "Validation error: embeddings: Each embedding must have at least 1 dimension",
        ),
        (json!({"ids": ["z", "y"], "embeddings": [[1], [1, 2]]}), "Inconsistent dimensions in provided embeddings"),
        (json!({"ids": ["z"], "embeddings": [[1]]}), dimension),
        (json!({"ids": [""], "embeddings": [[1]]}), dimension),
        (json!({"ids": ["z"], "embeddings": []}), inconsistent),
        (json!({"ids": ["z"], "embeddings": [[1, 2]], "documents": []}), inconsistent),
        (json!({"ids": [], "embeddings": [[1, 2]]}), inconsistent),
        (json!({"ids": ["z"], "embeddings": [[1, 2]], "uris": [null, null]}), inconsistent),
        (json!({"ids": [""], "embeddings": [[1, 2]]}), "Empty ID, ID must have at least one character"),
        (json!({"ids": ["z"], "embeddings": [[1, 2]], "metadatas": [{"": 1}]}), metadata),
        (json!({"ids": ["z"], "embeddings": [[1, 2]], "metadatas": [{"#k": 1}]}), metadata),
        (json!({"ids": ["z"], "embeddings": [[1]], "metadatas": [{"$k": 1}]}), metadata),
        (
            json!({"ids": ["z"], "embeddings": [[1, 2]], "metadatas": [{"s": {"#type": "sparse_vector", "indices": [2, 1], "values": [1, 2]}}]}),
            metadata,
        ),
    ];
    for route in ["add", "upsert", "update"] {
        for (body, words) in &cases {
            assert_invalid(&server.post(&format!("{path}/{route}"), body).await, words);
        }
    }
    let sparse = json!({"#type": "sparse_vector", "indices": [1, 2], "values": [1, 2]});
    let body = json!({"ids": ["z"], "embeddings": [[1, 2]], "metadatas": [{"k": sparse}]});
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(3), "nothing was applied");
    assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
    let stored = server.post(&format!("{path}/get"), &json!({"ids": ["z"]})).await.json();
    let expected = json!({"#type": "sparse_vector", "indices": [1, 2], "values": [1.0, 2.0], "tokens": null});
    assert_eq!(stored["metadatas"], json!([{"k": expected}]));
    server.stop().await;
}

#[tokio::test]
async fn a_whole_batch_is_judged_before_any_record_is_applied() {
    let (server, path) = with_things().await;
    let body = json!({"ids": ["x", "y"], "embeddings": [[1, 2], [3, 4]], "metadatas": [{"k": 1}, {"#bad": 1}]});
    assert_eq!(server.post(&format!("{path}/upsert"), &body).await.status, 400);
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(3));
    server.stop().await;
}

#[tokio::test]
async fn query_strings_are_checked() {
    let (server, path) = with_things().await;
    let limit = |text: &str| format!("{DB}/collections?limit={text}");
    let digit = "Failed to deserialize query string: limit: invalid digit found in string";
    assert_invalid(&server.get(&limit("-1")).await, digit);
    assert_invalid(&server.get(&limit("x")).await, digit);
    let empty = "Failed to deserialize query string: limit: cannot parse integer from empty string";
    assert_invalid(&server.get(&limit("")).await, empty);
    let level = "Failed to deserialize query string: read_level: unknown variant `bogus`, expected one of \
                 `index_and_wal`, `index_only`, `index_and_bounded_wal`";
    assert_invalid(&server.get(&format!("{path}/count?read_level=bogus")).await, level);
    for level in ["index_and_wal", "index_only", "index_and_bounded_wal"] {
        assert_eq!(server.get(&format!("{path}/count?read_level={level}")).await.json(), json!(3));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_id_of_a_deleted_collection_is_unknown_at_once() {
    let (server, path) = with_things().await;
    assert_eq!(server.send("DELETE", &format!("{DB}/collections/things"), &[], b"").await.status, 200);
    let id = path.rsplit('/').next().unwrap();
    let words = format!("Collection [{id}] does not exist.");
    assert_refused(&server.post(&format!("{path}/get"), &json!({})).await, 404, "NotFoundError", &words);
    assert_refused(&put(&server, &path, &json!({})).await, 404, "NotFoundError", &words);
    let again = create(&server, json!({"name": "things"})).await;
    assert_ne!(again, path);
    assert_eq!(server.get(&format!("{again}/count")).await.json(), json!(0));
    server.stop().await;
}
