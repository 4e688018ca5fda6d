//! Chroma's API over real HTTP on a store in memory: every rule of the specification that was measured on
//! Chroma's own server, one test each. One binary for all, since linking takes longer than running.

mod arrays;
mod collections;
mod conditional;
mod errors;
mod filters;
mod modify;
mod namespaces;
mod reads;
mod root;
mod schema;
mod search;
mod two_servers;
mod v1;
mod writes;

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::{Answer, Server};
use serde_json::{Value, json};

/// The default database.
const DB: &str = "/api/v2/tenants/default_tenant/databases/default_database";

async fn start() -> Server {
    let http = HttpSettings { allow_reset: true, ..HttpSettings::default() };
    Server::with(Settings::new(Storage::Memory), http).await
}

/// Makes a collection, and answers the path of its record routes.
async fn create(server: &Server, body: Value) -> String {
    let created = server.post(&format!("{DB}/collections"), &body).await;
    assert_eq!(created.status, 200, "{}", created.text());
    path_of(&created.json())
}

fn path_of(collection: &Value) -> String {
    format!("{DB}/collections/{}", collection["id"].as_str().expect("an id"))
}

/// A server with a collection `things` by squared Euclidean distance, and its path.
async fn with_things() -> (Server, String) {
    let server = start().await;
    let path = create(&server, json!({"name": "things"})).await;
    let body = json!({
        "ids": ["a", "b", "c"],
        "embeddings": [[1, 0], [0, 1], [1, 1]],
        "metadatas": [{"k": 1, "s": "x"}, null, {"l": ["p", "q"], "f": 1.0, "b": true, "e": []}],
        "documents": ["d1", null, ""],
        "uris": ["u", null, null],
    });
    let added = server.post(&format!("{path}/add"), &body).await;
    assert_eq!((added.status, added.json()), (201, json!({})));
    (server, path)
}

async fn put(server: &Server, path: &str, body: &Value) -> Answer {
    server.send("PUT", path, &[("content-type", "application/json")], body.to_string().as_bytes()).await
}

/// The ids that a get finds.
async fn ids(server: &Server, path: &str, body: Value) -> Vec<String> {
    let got = server.post(&format!("{path}/get"), &body).await;
    assert_eq!(got.status, 200, "{body}: {}", got.text());
    serde_json::from_value(got.json()["ids"].clone()).unwrap()
}

/// An error's status, name and message.
fn error(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let text = |key: &str| body[key].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{body}");
    (answer.status, text("error"), text("message"))
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, name: &str, message: &str) {
    let expected = (status, name.to_owned(), message.to_owned());
    assert_eq!(error(answer), expected);
}

/// The message of a refusal as invalid.
#[track_caller]
fn assert_invalid(answer: &Answer, message: &str) {
    assert_refused(answer, 400, "InvalidArgumentError", message);
}
