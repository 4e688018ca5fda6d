//! What clients ask before anything else, and the routes that are no more.

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use super::{DB, assert_invalid, assert_refused, create, start, with_things};

#[tokio::test]
async fn a_client_that_starts_finds_what_it_asks_for() {
    let server = start().await;
    for path in ["/api/v2", "/api/v2/heartbeat"] {
        let beat = server.get(path).await;
        assert_eq!(beat.status, 200);
        assert!(
            beat.json()["nanosecond heartbeat"].as_i64().is_some_and(|ns| ns > 1_700_000_000_000_000_000),
            "{path}"
        );
        assert_eq!(beat.json().as_object().map(serde_json::Map::len), Some(1));
    }
    assert_eq!(server.get("/api/v2/version").await.text(), "\"1.0.0\"");
    let identity = json!({"user_id": "", "tenant": "default_tenant", "databases": ["default_database"]});
    assert_eq!(server.get("/api/v2/auth/identity").await.json(), identity);
    let checks = server.get("/api/v2/pre-flight-checks").await.json();
    assert_eq!(checks["supports_base64_encoding"], true);
    assert!(checks["max_batch_size"].as_u64().is_some_and(|n| n >= 5461), "at least as many as Chroma: {checks}");
    server.store.wait_until_loaded().await;
    let ready = server.get("/api/v2/healthcheck").await;
    assert_eq!((ready.status, ready.json()), (200, json!({"is_executor_ready": true, "is_log_client_ready": true})));
    server.stop().await;
}

#[tokio::test]
async fn unknown_routes_and_methods_answer_without_a_body() {
    let server = start().await;
    for path in ["/api/v2/nope", "/api/v2/tenants/a/b", "/api/v1/nope"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.text()), (404, String::new()), "{path}");
    }
    for (method, path) in [("PUT", "/api/v2/version"), ("POST", "/api/v2/heartbeat"), ("OPTIONS", "/api/v2/tenants")] {
        let answer = server.send(method, path, &[], b"").await;
        assert_eq!((answer.status, answer.text()), (405, String::new()), "{method} {path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_first_version_is_gone_where_it_is_switched_off() {
    let http = HttpSettings { chroma_v1: false, ..HttpSettings::default() };
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    let words = json!({"error": "Unimplemented", "message": "The v1 API is deprecated. Please use /v2 apis"});
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let answer = server.send(method, "/api/v1/collections", &[], b"").await;
        assert_eq!((answer.status, answer.json()), (410, words.clone()), "{method}");
    }
    let posted = server.send("POST", "/api/v1/collections", &[], b"").await;
    assert_eq!((posted.status, posted.text()), (405, String::new()));
    assert_eq!(server.get("/api/v1").await.status, 404);
    assert_eq!(server.get(&format!("{DB}/collections")).await.json(), json!([]), "the second version is there");
    server.stop().await;
}

#[tokio::test]
async fn reset_drops_everything_but_the_defaults_if_the_server_allows_it() {
    let (server, path) = with_things().await;
    for (route, name) in [("/api/v2/tenants", "another"), ("/api/v2/tenants/another/databases", "more")] {
        assert_eq!(server.post(route, &json!({"name": name})).await.status, 200);
    }
    let reset = server.send("POST", "/api/v2/reset", &[], b"").await;
    assert_eq!((reset.status, reset.text()), (200, "true".to_owned()));
    assert_eq!(server.get(&format!("{DB}/collections")).await.json(), json!([]));
    assert_eq!(server.get("/api/v2/tenants/another").await.status, 404);
    assert_eq!(server.get(DB).await.status, 200);
    assert_eq!(server.get(&format!("{path}/count")).await.status, 404);
    create(&server, json!({"name": "things"})).await;
    assert_eq!(server.get(&format!("{DB}/collections_count")).await.json(), json!(1));
    server.stop().await;

    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    let refused = server.send("POST", "/api/v2/reset", &[], b"").await;
    assert_refused(&refused, 403, "ChromaError", "Reset is disabled by config");
    server.stop().await;
}

#[tokio::test]
async fn names_of_chromas_cloud_are_refused() {
    let server = start().await;
    let crn = "Validation error: crn: CRN must be in the format \
               <tenant_resource_name>:<database_name>:<collection_name> with non-empty parts";
    assert_invalid(&server.get("/api/v2/collections/abc").await, crn);
    assert_invalid(&server.get("/api/v2/collections/a::c").await, crn);
    assert_eq!(server.get("/api/v2/collections/a:b:c").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn attached_functions_are_not_there() {
    let (server, path) = with_things().await;
    let attach = json!({"name": "f", "function_id": "x", "output_collection": "y", "params": {}});
    assert_eq!(server.post(&format!("{path}/functions/attach"), &attach).await.status, 501);
    let detach = json!({"delete_output": true});
    assert_eq!(server.post(&format!("{path}/attached_functions/f/detach"), &detach).await.status, 501);
    let add = json!({"input_collection_id": "60bc2f5b-0e94-41af-b7b8-a55b841a6255"});
    let refused = server.post(&format!("{path}/attached_functions/f/add_input"), &add).await;
    assert_refused(&refused, 501, "ChromaError", "Functions cannot be attached to collections here");
    let described = server.get(&format!("{path}/functions/f")).await;
    assert_refused(&described, 404, "NotFoundError", "Attached function not found");
    server.stop().await;
}

#[tokio::test]
async fn tokens_are_accepted_and_ignored_while_there_are_no_keys() {
    let server = start().await;
    for header in [("x-chroma-token", "t"), ("authorization", "Bearer t"), ("authorization", "Basic dTpw")] {
        let answer = server.send("GET", "/api/v2/auth/identity", &[header], b"").await;
        assert_eq!(answer.status, 200, "{header:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_answer_of_success_is_json() {
    let (server, path) = with_things().await;
    let answers = [
        server.post(&format!("{path}/upsert"), &json!({"ids": [], "embeddings": []})).await,
        server.post(&format!("{path}/update"), &json!({"ids": []})).await,
        server.post(&format!("{path}/delete"), &json!({})).await,
        server.send("DELETE", &format!("{DB}/collections/things"), &[], b"").await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 200);
        assert!(answer.headers.contains("content-type: application/json"), "{}", answer.headers);
        assert!(matches!(answer.json(), Value::Object(_)));
    }
    server.stop().await;
}
