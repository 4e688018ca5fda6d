//! Get, query, count: columns, orders, limits, distances.

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use super::{DB, assert_invalid, create, error, ids, start, with_things};

#[tokio::test]
async fn a_get_answers_every_column_and_null_for_those_not_asked_for() {
    let (server, path) = with_things().await;
    let get = async |body: Value| server.post(&format!("{path}/get"), &body).await.json();
    let expected = json!({
        "ids": ["a"], "embeddings": null, "documents": ["d1"], "uris": null, "metadatas": [{"k": 1, "s": "x"}],
        "include": ["documents", "metadatas"],
    });
    assert_eq!(get(json!({"ids": ["a"]})).await, expected);
    let all = get(json!({"include": ["embeddings", "uris", "metadatas", "documents", "distances"]})).await;
    let expected = json!({
        "ids": ["a", "b", "c"], "embeddings": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], "documents": ["d1", null, ""],
        "uris": ["u", null, null], "metadatas": [{"k": 1, "s": "x"}, null, {"b": true, "f": 1.0, "l": ["p", "q"]}],
        "include": ["embeddings", "uris", "metadatas", "documents", "distances"],
    });
    assert_eq!(all, expected);
    let bare =
        json!({"ids": ["b"], "embeddings": null, "documents": null, "uris": null, "metadatas": null, "include": []});
    assert_eq!(get(json!({"ids": ["b"], "include": []})).await, bare);
    let echoed = get(json!({"ids": [], "include": ["uris", "uris"]})).await;
    assert_eq!((&echoed["include"], &echoed["uris"]), (&json!(["uris", "uris"]), &json!([])));
    server.stop().await;
}

#[tokio::test]
async fn a_get_selects_in_insertion_order_whatever_the_order_of_ids() {
    let (server, path) = with_things().await;
    let cases = [
        (json!({}), vec!["a", "b", "c"]),
        (json!({"ids": ["c", "a", "a", "zz"]}), vec!["a", "c"]),
        (json!({"ids": []}), vec![]),
        (json!({"ids": null, "limit": null, "offset": null}), vec!["a", "b", "c"]),
        (json!({"limit": 0}), vec![]),
        (json!({"limit": 1, "offset": 1}), vec!["b"]),
        (json!({"offset": 2}), vec!["c"]),
        (json!({"offset": 9}), vec![]),
        (json!({"ids": ["c", "b"], "limit": 1}), vec!["b"]),
        (json!({"where": {"k": {"$ne": 1}}, "limit": 1, "offset": 1}), vec!["c"]),
        (json!({"ids": ["a", "b"], "where": {"k": {"$ne": 1}}}), vec!["b"]),
    ];
    for (body, expected) in cases {
        assert_eq!(ids(&server, &path, body.clone()).await, expected, "{body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_query_answers_lists_per_embedding_nearest_first() {
    let (server, path) = with_things().await;
    let query = async |body: Value| server.post(&format!("{path}/query"), &body).await.json();
    let body =
        json!({"query_embeddings": [[1, 0], [0, 0.9]], "n_results": 2, "include": ["distances", "uris", "embeddings"]});
    let expected = json!({
        "ids": [["a", "c"], ["b", "a"]], "embeddings": [[[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]],
        "documents": null, "uris": [["u", null], [null, "u"]], "metadatas": null,
        "distances": [[0.0, 1.0], [0.010000004, 1.81]], "include": ["distances", "uris", "embeddings"],
    });
    let mut found = query(body).await;
    // c is as near as a to within rounding, in the second list.
    let near = found["distances"][1][0].as_f64().unwrap();
    assert!((near - 0.01).abs() < 1e-6, "{near}");
    assert_eq!(found["ids"][1][0], "b");
    found["ids"][1] = expected["ids"][1].clone();
    found["embeddings"][1] = expected["embeddings"][1].clone();
    found["uris"][1] = expected["uris"][1].clone();
    found["distances"][1] = expected["distances"][1].clone();
    assert_eq!(found, expected);
    let default = query(json!({"query_embeddings": [[1, 0]], "n_results": null})).await;
    assert_eq!(default["include"], json!(["documents", "metadatas", "distances"]));
    assert_eq!(default["ids"][0].as_array().map(Vec::len), Some(3));
    assert_eq!(default["documents"][0][0], "d1");
    server.stop().await;
}

#[tokio::test]
async fn a_query_takes_the_nearest_of_what_ids_and_filters_leave() {
    let (server, path) = with_things().await;
    let found = async |mut body: Value| {
        body["query_embeddings"] = json!([[1, 0]]);
        server.post(&format!("{path}/query"), &body).await.json()["ids"].clone()
    };
    assert_eq!(found(json!({"ids": ["b", "c"], "n_results": 1})).await, json!([["c"]]));
    assert_eq!(found(json!({"ids": ["b", "b"]})).await, json!([["b"]]));
    assert_eq!(found(json!({"ids": []})).await, json!([[]]));
    assert_eq!(found(json!({"ids": ["b", "zz"], "where": {"k": {"$ne": 1}}})).await, json!([["b"]]));
    let unknown = json!({"query_embeddings": [[1, 0]], "ids": ["b", "zz"]});
    let refused = server.post(&format!("{path}/query"), &unknown).await;
    assert_invalid(&refused, "Error finding id \"zz\": no record has it");
    assert_eq!(found(json!({"where": {"k": {"$ne": 1}}, "n_results": 1})).await, json!([["c"]]));
    assert_eq!(found(json!({"where": {"k": 1}, "ids": ["b"]})).await, json!([[]]));
    assert_eq!(found(json!({"where_document": {"$contains": "d"}})).await, json!([["a"]]));
    assert_eq!(found(json!({"n_results": 100_000_000})).await, json!([["a", "c", "b"]]));
    server.stop().await;
}

#[tokio::test]
async fn queries_that_cannot_be_asked_are_refused() {
    let (server, path) = with_things().await;
    let query = async |body: Value| server.post(&format!("{path}/query"), &body).await;
    let dimension = "Collection expecting embedding with dimension of 2, got";
    assert_invalid(&query(json!({"query_embeddings": [[1]]})).await, &format!("{dimension} 1"));
    assert_invalid(&query(json!({"query_embeddings": [[]]})).await, &format!("{dimension} 0"));
    assert_invalid(
        &query(json!({"query_embeddings": [[1, 2], [1]]})).await,
        "Inconsistent dimensions in provided embeddings",
    );
    assert_eq!(query(json!({"query_embeddings": [[1e40, 0]]})).await.status, 400);
    let none = query(json!({"query_embeddings": [[1, 0], [0, 1]], "n_results": 0})).await;
    assert_eq!((none.status, &none.json()["ids"]), (200, &json!([[], []])), "{}", none.text());
    assert_eq!(none.json()["distances"], json!([[], []]));
    let none = query(json!({"query_embeddings": []})).await.json();
    assert_eq!((&none["ids"], &none["distances"]), (&json!([]), &json!([])));
    server.stop().await;
}

#[tokio::test]
async fn a_distance_beyond_every_float_is_the_largest_float_in_both_apis() {
    let (server, path) = with_things().await;
    let far = json!({"ids": ["far"], "embeddings": [[3e38, -3e38]]});
    assert_eq!(server.post(&format!("{path}/add"), &far).await.status, 201);
    let query = json!({"query_embeddings": [[-3e38, 3e38]], "n_results": 10, "include": ["distances"]});
    let theirs = server.post(&format!("{path}/query"), &query).await.json();
    let search = json!({"embedding": [-3e38, 3e38], "k": 10, "include": []});
    let ours = server.post("/api/collections/things/search", &search).await.json();
    let last = |list: &Value| list.as_array().unwrap().last().unwrap().clone();
    assert_eq!(last(&theirs["distances"][0]).as_f64().map(|d| d as f32), Some(f32::MAX), "{theirs}");
    assert_eq!(last(&ours["results"][0])["distance"].as_f64().map(|d| d as f32), Some(f32::MAX), "{ours}");
    server.stop().await;
}

#[tokio::test]
async fn an_empty_collection_answers_any_query_with_nothing() {
    let server = start().await;
    let path = create(&server, json!({"name": "empty"})).await;
    let found = server.post(&format!("{path}/query"), &json!({"query_embeddings": [[1, 2, 3], [4, 5, 6]]})).await;
    let expected = json!({
        "ids": [[], []], "embeddings": null, "documents": [[], []], "uris": null, "metadatas": [[], []],
        "distances": [[], []], "include": ["documents", "metadatas", "distances"],
    });
    assert_eq!((found.status, found.json()), (200, expected));
    assert_eq!(server.get(&format!("{path}/count")).await.text(), "0");
    server.stop().await;
}

#[tokio::test]
async fn distances_are_chromas_in_all_three_spaces() {
    let server = start().await;
    let cases = [
        ("l2", json!([["same", "zero", "opposite"]]), [0.0, 14.0, 56.0]),
        ("cosine", json!([["same", "zero", "opposite"]]), [0.0, 1.0, 2.0]),
        ("ip", json!([["same", "zero", "opposite"]]), [-13.0, 1.0, 15.0]),
    ];
    for (space, order, distances) in cases {
        let path =
            create(&server, json!({"name": format!("by-{space}"), "configuration": {"hnsw": {"space": space}}})).await;
        let body = json!({"ids": ["zero", "opposite", "same"], "embeddings": [[0, 0, 0], [-1, -2, -3], [1, 2, 3]]});
        assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
        let found = server.post(&format!("{path}/query"), &json!({"query_embeddings": [[1, 2, 3]]})).await.json();
        assert_eq!(found["ids"], order, "{space}");
        for (n, expected) in distances.into_iter().enumerate() {
            let got = found["distances"][0][n].as_f64().unwrap();
            assert!((got - expected).abs() < 1e-5, "{space}: {got} instead of {expected}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_search_beyond_the_limit_is_refused_with_the_setting_and_a_get_is_not() {
    let http = HttpSettings { max_answer_records: 2, ..HttpSettings::default() };
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    let path = create(&server, json!({"name": "things"})).await;
    let body = json!({"ids": ["a", "b", "c"], "embeddings": [[1], [2], [3]]});
    assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
    let two = json!({"query_embeddings": [[1], [2]], "n_results": 2});
    let refused = server.post(&format!("{path}/query"), &two).await;
    assert!(refused.status == 400 && error(&refused).2.contains("DRUMLIN_MAX_ANSWER_RECORDS"), "{}", refused.text());
    let unranked = server.post(&format!("{path}/search"), &json!({"searches": [{}]})).await;
    assert!(unranked.status == 400 && error(&unranked).2.contains("limit"), "{}", unranked.text());
    assert_eq!(ids(&server, &path, json!({})).await, ["a", "b", "c"]);
    server.stop().await;
}

#[tokio::test]
async fn a_get_of_more_than_a_piece_of_the_answer_is_one_valid_answer() {
    let server = start().await;
    let path = create(&server, json!({"name": "many"})).await;
    let ids: Vec<String> = (0..3_000).map(|n| format!("id {n:04}")).collect();
    let documents: Vec<String> = ids.iter().map(|id| format!("{id} \"quoted\" {}", "text ".repeat(40))).collect();
    let embeddings: Vec<[f32; 2]> = (0..3_000).map(|n| [n as f32, 0.1]).collect();
    let body = json!({"ids": ids, "embeddings": embeddings, "documents": documents});
    assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
    let everything = json!({"include": ["embeddings", "documents", "metadatas", "uris"]});
    let answer = server.post(&format!("{path}/get"), &everything).await;
    assert!(answer.headers.contains("transfer-encoding: chunked"), "{}", answer.headers);
    let answer = answer.json();
    assert_eq!(answer["ids"], json!(ids));
    assert_eq!(answer["documents"], json!(documents));
    assert_eq!(answer["embeddings"].as_array().unwrap().len(), 3_000);
    assert_eq!(answer["embeddings"][2_999], json!([2999.0, 0.1]));
    assert_eq!(answer["metadatas"], json!(vec![(); 3_000]));
    server.stop().await;
}

#[tokio::test]
async fn a_read_is_fresh_at_once_after_a_write() {
    let (server, path) = with_things().await;
    for n in 0..20 {
        let body = json!({"ids": [format!("n{n}")], "embeddings": [[n, n]]});
        assert_eq!(server.post(&format!("{path}/upsert"), &body).await.status, 200);
        assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(4 + n));
    }
    assert_eq!(server.get(&format!("{DB}/collections_count")).await.json(), json!(1));
    server.stop().await;
}
