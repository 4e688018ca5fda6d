//! What the key of an agent allows over `POST /mcp`: the tools of its scope, in the database to which it is bound.

use serde_json::json;

use super::*;

/// A request of the protocol with a key.
async fn message(server: &Server, path: &str, key: &str, method: &str, params: Value) -> Answer {
    let headers =
        [("x-api-key", key), ("accept", "application/json, text/event-stream"), ("content-type", "application/json")];
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    server.send("POST", path, &headers, message.to_string().as_bytes()).await
}

async fn call(server: &Server, path: &str, key: &str, tool: &str, arguments: Value) -> Value {
    let answer = message(server, path, key, "tools/call", json!({"name": tool, "arguments": arguments})).await;
    assert_eq!(answer.status, 200, "{tool}: {}", answer.text());
    answer.json()["result"].clone()
}

#[tokio::test]
async fn a_key_that_reads_is_shown_and_allowed_the_tools_that_change_nothing() {
    let mut keys = Keys::new();
    let (read, write) = (keys.add("reader", KeyScope::Read, &[]), keys.add("writer", KeyScope::Write, &[]));
    let server = keys.serve(HttpSettings::default()).await;
    let remember = json!({"texts": [{"text": "a fact", "id": "a"}]});
    for (key, tools) in [(&read, 3), (&write, 6)] {
        let listed = message(&server, "/mcp", key, "tools/list", json!({})).await.json();
        assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), tools);
    }
    assert_eq!(call(&server, "/mcp", &write, "remember", remember.clone()).await["isError"], false);
    for (tool, arguments) in [
        ("remember", remember),
        ("update", json!({"updates": [{"id": "a", "text": "b"}]})),
        ("forget", json!({"ids": ["a"]})),
    ] {
        let refused = call(&server, "/mcp", &read, tool, arguments).await;
        assert_eq!(refused["isError"], true, "{tool}");
        assert!(refused.to_string().contains("may only read"), "{refused}");
    }
    let found = call(&server, "/mcp", &read, "search", json!({"query": "fact"})).await;
    assert_eq!(found["structuredContent"]["results"][0]["text"], "a fact");
    server.stop().await;
}

#[tokio::test]
async fn a_bound_key_remembers_and_sees_only_what_is_in_its_database() {
    let mut keys = Keys::new();
    let (prod, all) = (keys.add("prod", KeyScope::Write, &["acme", "prod"]), keys.add("all", KeyScope::Write, &[]));
    let server = keys.serve(HttpSettings::default()).await;
    server.store.namespaces().create_tenant("acme").await.unwrap();
    server.store.namespaces().create_database("acme", "prod").await.unwrap();
    let own = "/mcp?tenant=acme&database=prod";
    for foreign in ["/mcp", "/mcp?tenant=acme", "/mcp?tenant=acme&database=test"] {
        let refused = message(&server, foreign, &prod, "tools/list", json!({})).await;
        assert_refused(&refused, 403, foreign, foreign);
    }
    let remember = json!({"texts": [{"text": "a fact of acme"}]});
    assert_eq!(call(&server, own, &prod, "remember", remember).await["isError"], false);
    let refused = call(&server, own, &prod, "search", json!({"query": "fact", "collection": HOARD})).await;
    let told = refused["content"][0]["text"].as_str().unwrap();
    assert!(refused["isError"] == true && told.contains("there are \"memory\";"), "{told}");
    for (path, key, names) in [(own, &prod, vec!["memory"]), ("/mcp", &all, vec![HOARD])] {
        let listed = call(&server, path, key, "list_collections", json!({})).await;
        let collections = listed["structuredContent"]["collections"].as_array().unwrap().clone();
        assert_eq!(collections.iter().map(|told| told["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
        let resources = message(&server, path, key, "resources/list", json!({})).await.json();
        assert_eq!(resources["result"]["resources"].as_array().unwrap().len(), names.len());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_message_without_a_key_is_refused_and_each_one_counts_for_the_rate() {
    let mut keys = Keys::new();
    let key = keys.add("agent", KeyScope::Read, &[]);
    let rate = drumlin::http::Rate { per_second: 0.01, burst: 2.0 };
    let server = keys.serve(HttpSettings { rate: Some(rate), ..HttpSettings::default() }).await;
    assert_refused(&message(&server, "/mcp", "no key at all", "tools/list", json!({})).await, 401, "/mcp", "no key");
    for status in [200, 200, 429] {
        assert_eq!(message(&server, "/mcp", &key, "tools/list", json!({})).await.status, status);
    }
    server.stop().await;
}
