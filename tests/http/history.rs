//! A collection's history over HTTP: its versions, reads of earlier ones, comparing, going back, forking, renaming.

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::{Answer, Server};
use serde_json::{Value, json};

const C: &str = "/api/collections/things";

/// Four versions: a, b, c are added; c changes and d is added; b goes; a is written again as it was.
async fn with_history() -> Server {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    server.post("/api/collections", &json!({"name": "things", "metric": "l2"})).await;
    let a = json!({"id": "a", "embedding": [0, 0], "document": "origin", "metadata": {"n": 1}});
    let b = json!({"id": "b", "embedding": [1, 0]});
    let c = json!({"id": "c", "embedding": [0, 3], "document": "far"});
    let steps = [
        ("add", json!({"records": [a, b, c]})),
        ("upsert", json!({"records": [{"id": "c", "embedding": [5, 5]}, {"id": "d", "embedding": [6, 6]}]})),
        ("delete", json!({"ids": ["b"]})),
        ("upsert", json!({"records": [a]})),
    ];
    for (verb, body) in steps {
        let done = server.post(&format!("{C}/{verb}"), &body).await;
        assert!(done.status < 300, "{verb}: {}", done.text());
    }
    server
}

async fn post(server: &Server, path: &str, body: Value) -> Answer {
    server.post(&format!("{C}/{path}"), &body).await
}

async fn ids_at(server: &Server, version: &str) -> Vec<String> {
    let got = post(server, &format!("get{version}"), json!({})).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let got = got.json();
    got["records"].as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

fn assert_refused(answer: &Answer, status: u16, words: &str) {
    let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(answer.status == status && message.contains(words), "{} {message}", answer.status);
}

#[tokio::test]
async fn versions_are_listed_newest_first_with_what_each_wrote() {
    let server = with_history().await;
    let all = server.get(&format!("{C}/versions")).await.json();
    let lines = all["versions"].as_array().unwrap();
    let counts: Vec<Value> =
        lines.iter().map(|line| json!([line["version"], line["added"], line["changed"], line["deleted"]])).collect();
    assert_eq!(json!(counts), json!([[4, 0, 1, 0], [3, 0, 0, 1], [2, 1, 1, 0], [1, 3, 0, 0]]));
    for line in lines {
        assert!(line["bytes"].as_u64().unwrap() > 100 && !line["writer"].as_str().unwrap().is_empty(), "{line}");
        assert!(line["at"].as_str().is_some_and(|at| at.contains('T') && at.ends_with('Z')), "{line}");
    }
    assert_eq!(all["oldest"], 1);
    let page = server.get(&format!("{C}/versions?limit=2&before=4")).await.json();
    let page: Vec<&Value> = page["versions"].as_array().unwrap().iter().map(|line| &line["version"]).collect();
    assert_eq!(page, [&json!(3), &json!(2)]);
    assert_refused(&server.get(&format!("{C}/versions?limit=0")).await, 400, "expected 1 to 500");
    assert_refused(&server.get(&format!("{C}/versions?limit=501")).await, 400, "expected 1 to 500");
    assert_refused(&server.get("/api/collections/nothing/versions").await, 404, "does not exist");
    server.post("/api/collections", &json!({"name": "empty"})).await;
    let empty = server.get("/api/collections/empty/versions").await;
    assert_eq!(empty.json(), json!({"versions": [], "oldest": 0}));
    server.stop().await;
}

#[tokio::test]
async fn versions_that_a_flush_has_put_into_segments_are_still_listed_and_read() {
    let server = with_history().await;
    assert_eq!(server.post("/api/s3/sync", &json!({})).await.status, 200);
    let all = server.get(&format!("{C}/versions")).await.json();
    for line in all["versions"].as_array().unwrap() {
        assert_eq!(
            ids_at(&server, &format!("?version={}", line["version"])).await.len(),
            3 + usize::from(line["version"] == 2)
        );
    }
    assert_eq!(all["versions"][0]["version"], 4);
    server.stop().await;
}

#[tokio::test]
async fn reads_with_a_version_see_the_collection_as_it_was() {
    let server = with_history().await;
    assert_eq!(ids_at(&server, "").await, ["a", "c", "d"]);
    assert_eq!(ids_at(&server, "?version=1").await, ["a", "b", "c"]);
    assert_eq!(ids_at(&server, "?version=2").await, ["a", "b", "c", "d"]);
    assert_eq!(ids_at(&server, "?version=0").await, [""; 0]);
    assert_eq!(server.get(&format!("{C}/count?version=2")).await.json(), json!({"count": 4}));
    let matching = post(&server, "count?version=1", json!({"ids": ["c", "d"]})).await;
    assert_eq!(matching.json(), json!({"count": 1}));
    let found =
        post(&server, "search?version=1", json!({"embedding": [0, 3], "k": 1, "include": ["document"]})).await.json();
    assert_eq!(found["results"], json!([[{"id": "c", "distance": 0.0, "document": "far"}]]));
    assert_eq!(found["version"], 1);
    let like = post(&server, "search?version=2", json!({"id": "c", "k": 1, "include": []})).await.json();
    assert_eq!(like["results"][0][0], json!({"id": "d", "distance": 2.0}));
    server.stop().await;
}

#[tokio::test]
async fn what_an_earlier_version_cannot_answer_is_refused_by_name() {
    let server = with_history().await;
    let both = post(&server, "get?version=1&consistency=strong", json!({})).await;
    assert_refused(&both, 400, "expected consistency or version");
    assert_refused(&post(&server, "get?version=9", json!({})).await, 404, "versions 0 to 4 can be restored");
    assert_refused(&post(&server, "get?version=x", json!({})).await, 400, "version");
    assert_refused(&server.get(&format!("{C}?version=1")).await, 400, "version");
    assert_refused(&post(&server, "facets?version=1", json!({"facets": ["n"]})).await, 400, "version");
    server.stop().await;
}

#[tokio::test]
async fn two_versions_are_compared_by_what_their_records_hold() {
    let server = with_history().await;
    let none = json!({"count": 0, "ids": []});
    let one = |id: &str| json!({"count": 1, "ids": [id]});
    let forth = post(&server, "compare", json!({"from": 1, "to": 4})).await.json();
    assert_eq!(forth, json!({"added": one("d"), "changed": one("c"), "removed": one("b")}));
    let back = post(&server, "compare", json!({"from": 4, "to": 1})).await.json();
    assert_eq!(back, json!({"added": one("b"), "changed": one("c"), "removed": one("d")}));
    let same = post(&server, "compare", json!({"from": 3, "to": 4})).await.json();
    assert_eq!(same, json!({"added": none, "changed": none, "removed": none}), "written again as it was");
    let few = post(&server, "compare", json!({"from": 0, "to": 2, "limit": 1})).await.json();
    assert_eq!((&few["added"]["count"], few["added"]["ids"].as_array().unwrap().len()), (&json!(4), 1));
    assert_refused(&post(&server, "compare", json!({"from": 1, "to": 9})).await, 404, "version 9");
    assert_refused(&post(&server, "compare", json!({"from": 1, "to": 2, "limit": 10_001})).await, 400, "at most 10000");
    server.stop().await;
}

#[tokio::test]
async fn a_restore_makes_one_more_version_and_loses_none() {
    let server = with_history().await;
    let restored = post(&server, "restore", json!({"version": 1})).await;
    assert_eq!(restored.json(), json!({"restored": 1, "written": 3, "version": 5}), "{}", restored.status);
    let none = json!({"count": 0, "ids": []});
    let compared = post(&server, "compare", json!({"from": 1, "to": 5})).await.json();
    assert_eq!(compared, json!({"added": none, "changed": none, "removed": none}));
    assert_eq!(ids_at(&server, "?version=4").await, ["a", "c", "d"]);
    let again = post(&server, "restore", json!({"version": 1})).await.json();
    assert_eq!(again, json!({"restored": 1, "written": 0, "version": 5}));
    assert_refused(&post(&server, "restore", json!({"version": 9})).await, 404, "version 9");
    server.stop().await;
}

#[tokio::test]
async fn a_restore_of_more_than_one_write_holds_is_refused_whole() {
    let mut settings = Settings::new(Storage::Memory);
    settings.limits.batch_records = 2;
    let server = Server::with(settings, HttpSettings::default()).await;
    server.post("/api/collections", &json!({"name": "things"})).await;
    for ids in [["a", "b"], ["c", "d"]] {
        let records: Vec<Value> = ids.iter().map(|id| json!({"id": id, "embedding": [1, 2]})).collect();
        assert_eq!(post(&server, "add", json!({"records": records})).await.status, 201);
    }
    assert_refused(&post(&server, "restore", json!({"version": 0})).await, 422, "fork that version");
    assert_eq!(ids_at(&server, "").await.len(), 4);
    assert_eq!(post(&server, "restore", json!({"version": 1})).await.json()["written"], 2);
    assert_eq!(ids_at(&server, "").await, ["a", "b"]);
    server.stop().await;
}

#[tokio::test]
async fn a_fork_is_the_collection_as_it_is_or_as_it_was() {
    let server = with_history().await;
    let now = post(&server, "fork", json!({"name": "now"})).await;
    assert_eq!((now.status, &now.json()["count"], &now.json()["name"]), (201, &json!(3), &json!("now")));
    let then = post(&server, "fork", json!({"name": "then", "version": 2})).await;
    assert_eq!((then.status, &then.json()["count"]), (201, &json!(4)), "{}", then.text());
    assert_eq!(server.get("/api/collections/then/count").await.json(), json!({"count": 4}));
    assert_refused(&post(&server, "fork", json!({"name": "then"})).await, 409, "then");
    assert_refused(&post(&server, "fork", json!({"name": "then", "version": 1})).await, 409, "then");
    assert_refused(&post(&server, "fork", json!({"name": "far", "version": 9})).await, 404, "version 9");
    assert_eq!(post(&server, "fork", json!({"name": "a b"})).await.status, 400);
    assert_eq!(server.send("DELETE", C, &[], b"").await.status, 200);
    for body in [json!({"name": "gone"}), json!({"name": "gone", "version": 1})] {
        assert_refused(&post(&server, "fork", body).await, 404, "things");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_collection_is_renamed() {
    let server = with_history().await;
    let renamed = post(&server, "rename", json!({"name": "others"})).await;
    assert_eq!((renamed.status, &renamed.json()["name"]), (200, &json!("others")), "{}", renamed.text());
    assert_eq!(server.get(C).await.status, 404);
    assert_eq!(server.get("/api/collections/others/count").await.json(), json!({"count": 3}));
    server.post("/api/collections", &json!({"name": "things"})).await;
    assert_refused(&post(&server, "rename", json!({"name": "others"})).await, 409, "others");
    assert_eq!(post(&server, "rename", json!({"name": "things"})).await.status, 200, "its own name");
    assert_eq!(post(&server, "rename", json!({"name": ""})).await.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn the_bucket_is_told_by_kind_with_garbage_and_costs() {
    let server = with_history().await;
    let told = server.get("/api/bucket").await;
    assert_eq!(told.status, 200, "{}", told.text());
    let told = told.json();
    let commits = told["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == "commits").unwrap();
    assert!(commits["objects"].as_u64().unwrap() > 4 && commits["bytes"].as_u64().unwrap() > 400, "{told}");
    let collection = server.get(C).await.json();
    let [amount] = told["collections"].as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!(amount["id"], collection["id"]);
    assert!(amount["objects"].as_u64().unwrap() > 4 && amount["bytes"].as_u64().unwrap() > 400, "{told}");
    assert!(collection["memory_bytes"].as_u64().unwrap() > 0, "{collection}");
    assert_eq!((&amount["levels"], &told["fan_out"]), (&json!([]), &json!(8)), "nothing was flushed yet");
    assert!(told["probe"]["at"].is_string() && told["probe"]["by"].as_str().unwrap().starts_with("drumlin "), "{told}");
    assert!(told["probe"]["shown"].as_array().unwrap().iter().any(|step| step.as_str().unwrap().contains("If-Match")));
    assert_eq!(told["garbage"], json!({"objects": 0, "bytes": 0}));
    let costs = told["costs"].as_array().unwrap();
    assert!(costs.len() > 3 && costs.iter().all(|cost| cost["storage"].is_number() && cost["provider"].is_string()));
    assert!(costs.iter().all(|cost| cost["requests"].is_null()), "nothing is told of requests before an hour");
    post(&server, "add", json!({"records": [{"id": "e", "embedding": [1, 1]}]})).await;
    assert_eq!(server.get("/api/bucket").await.json()["kinds"], told["kinds"], "within a minute it is listed once");
    server.stop().await;
}

#[tokio::test]
async fn segments_are_told_by_level_as_compaction_sees_them() {
    let server = with_history().await;
    assert_eq!(server.post("/api/s3/sync", &json!({})).await.status, 200);
    let told = server.get("/api/bucket").await.json();
    let [amount] = told["collections"].as_array().unwrap().as_slice() else { panic!("{told}") };
    let [level] = amount["levels"].as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!((&level["level"], &level["segments"]), (&json!(0), &json!(1)), "{told}");
    assert!(level["rows"].as_u64().unwrap() > 2 && level["bytes"].as_u64().unwrap() > 400, "{told}");
    server.stop().await;
}

#[tokio::test]
async fn a_check_of_the_bucket_is_begun_watched_and_told_as_verify_tells_it() {
    let server = with_history().await;
    let none = server.get("/api/verify").await.json();
    assert_eq!((&none["state"], &none["findings"]), (&json!("none"), &json!([])));
    let begun = server.post("/api/verify", &json!({"collection": "things"})).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let begun = begun.json();
    assert_eq!((&begun["state"], &begun["collection"]), (&json!("running"), &json!("things")));
    assert!(begun["since"].as_str().unwrap().ends_with('Z'), "{begun}");
    let told = loop {
        let told = server.get("/api/verify").await.json();
        if told["state"] != "running" {
            break told;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!((&told["state"], &told["sound"], &told["damaged"]), (&json!("done"), &json!(true), &json!(0)), "{told}");
    assert!(told["bytes"].as_u64().unwrap() > 400 && told["objects"]["checked"] == told["objects"]["known"], "{told}");
    assert_refused(&server.post("/api/verify", &json!({"collection": "none"})).await, 404, "none");
    assert_refused(&server.post("/api/verify", &json!({"colection": "things"})).await, 400, "colection");
    assert_eq!(server.send("POST", "/api/verify", &[], b"").await.status, 202, "the whole bucket");
    server.stop().await;
}

#[tokio::test]
async fn an_earlier_version_is_searched_by_words_with_facets_and_groups_as_it_was() {
    let server = with_history().await;
    let ids = |answer: &Value| -> Vec<String> {
        let hits = answer["results"][0].as_array().unwrap();
        hits.iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(ids(&post(&server, "search", json!({"text": "far"})).await.json()).is_empty(), "c has no document now");
    let then = post(&server, "search?version=1", json!({"text": "far", "highlight": true})).await;
    assert_eq!(then.status, 200, "{}", then.text());
    let then = then.json();
    assert_eq!((ids(&then), &then["version"], &then["compared"]), (vec!["c".to_owned()], &json!(1), &json!(1)));
    assert_eq!(then["results"][0][0]["highlights"], json!(["<mark>far</mark>"]));
    let fused = json!({"text": "origin", "embedding": [0, 3], "k": 2, "facets": {"n": {}}});
    let fused = post(&server, "search?version=1", fused).await.json();
    assert_eq!((ids(&fused).len(), &fused["facets"]["n"]["values"][0]["value"]), (2, &json!(1)), "{fused}");
    let grouped = json!({"embedding": [1, 0], "group_by": {"key": "n"}});
    let grouped = post(&server, "search?version=1", grouped).await.json();
    assert_eq!(grouped["groups"][0]["results"][0]["id"], "a", "{grouped}");
    let like = post(&server, "search?version=1", json!({"like": ["a"], "k": 1})).await.json();
    assert_eq!(ids(&like), ["b"], "which is gone now");
    server.stop().await;
}
