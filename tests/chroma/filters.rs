//! `where` and `where_document`: what they match, and how they are refused.

use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use super::{assert_invalid, create, error, ids, start, with_things};

async fn with_values() -> (Server, String) {
    let server = start().await;
    let path = create(&server, json!({"name": "values"})).await;
    let body = r#"{"ids":["int","float","str","bool","none","big","zero"],
        "embeddings":[[1],[2],[3],[4],[5],[6],[7]],
        "metadatas":[{"v":2},{"v":2.5},{"v":"2"},{"v":true},null,{"v":9007199254740993},{"v":2.0}],
        "documents":["Red fox","red","100%_*","Кот 猫","", null, null]}"#;
    let added = server.send("POST", &format!("{path}/add"), &[], body.as_bytes()).await;
    assert_eq!(added.status, 201, "{}", added.text());
    (server, path)
}

#[tokio::test]
async fn values_compare_by_number_and_else_by_kind_and_negations_match_all_the_rest() {
    let (server, path) = with_values().await;
    let cases = [
        (json!({"v": 2}), vec!["int", "zero"]),
        (json!({"v": {"$eq": 2.0}}), vec!["int", "zero"]),
        (json!({"v": "2"}), vec!["str"]),
        (json!({"v": true}), vec!["bool"]),
        (json!({"v": 1}), vec![]),
        (json!({"v": 9007199254740992_i64}), vec![]),
        (json!({"v": 9007199254740993_i64}), vec!["big"]),
        (json!({"v": {"$gt": 2}}), vec!["float", "big"]),
        (json!({"v": {"$gte": 2}}), vec!["int", "float", "big", "zero"]),
        (json!({"v": {"$lt": 2.5}}), vec!["int", "zero"]),
        (json!({"v": {"$lte": 2.5}}), vec!["int", "float", "zero"]),
        (json!({"v": {"$in": [2, 7]}}), vec!["int", "zero"]),
        (json!({"v": {"$in": ["2"]}}), vec!["str"]),
        (json!({"v": {"$ne": 2}}), vec!["float", "str", "bool", "none", "big"]),
        (json!({"v": {"$nin": [2, 3]}}), vec!["float", "str", "bool", "none", "big"]),
        (json!({"nokey": {"$ne": 1}}), vec!["int", "float", "str", "bool", "none", "big", "zero"]),
        (json!({"$and": []}), vec!["int", "float", "str", "bool", "none", "big", "zero"]),
        (json!({"$or": []}), vec![]),
        (json!({"$and": [{"v": 2}]}), vec!["int", "zero"]),
        (json!({"$or": [{"v": "2"}, {"$and": [{"v": {"$gt": 2}}, {"v": {"$lt": 3}}]}]}), vec!["float", "str"]),
        (json!({"#document": {"$contains": "red"}}), vec!["float"]),
        (json!({"$or": [{"#document": {"$contains": "red"}}, {"v": "2"}]}), vec!["float", "str"]),
        (json!({"#id": "int"}), vec![]),
        (json!({"#embedding": {"$gt": 1}}), vec![]),
        (json!({"": "a"}), vec![]),
        (json!({"v": {"$exists": true}}), vec!["int", "float", "str", "bool", "big", "zero"]),
        (json!({"v": {"$startsWith": "2"}}), vec!["str"]),
        (json!({"v": {"$lt": {"$date": "2024-05-01"}}}), vec![]),
        (json!({"#document": {"$istartsWith": "RED"}}), vec!["int", "float"]),
    ];
    for (clause, expected) in cases {
        assert_eq!(ids(&server, &path, json!({"where": clause})).await, expected, "{clause}");
    }
    server.stop().await;
}

#[tokio::test]
async fn documents_match_by_literal_text_or_regex_and_negations_match_records_without_one() {
    let (server, path) = with_values().await;
    let cases = [
        (json!({"$contains": "red"}), vec!["float"]),
        (json!({"$contains": "ed"}), vec!["int", "float"]),
        (json!({"$contains": "%_*"}), vec!["str"]),
        (json!({"$contains": "от 猫"}), vec!["bool"]),
        (json!({"$contains": ""}), vec!["int", "float", "str", "bool", "none"]),
        (json!({"$not_contains": "e"}), vec!["str", "bool", "none", "big", "zero"]),
        (json!({"$startsWith": "red"}), vec!["float"]),
        (json!({"$icontains": "КОТ"}), vec!["bool"]),
        (json!({"$not_istartsWith": "RED"}), vec!["str", "bool", "none", "big", "zero"]),
        (json!({"$regex": "^[Rr]ed"}), vec!["int", "float"]),
        (json!({"$regex": "(?i)FOX$"}), vec!["int"]),
        (json!({"$regex": ""}), vec!["int", "float", "str", "bool", "none"]),
        (json!({"$not_regex": "."}), vec!["none", "big", "zero"]),
        (json!({"$and": [{"$contains": "ed"}, {"$not_contains": "fox"}]}), vec!["float"]),
        (json!({"$or": [{"$contains": "fox"}, {"$contains": "%"}]}), vec!["int", "str"]),
    ];
    for (clause, expected) in cases {
        assert_eq!(ids(&server, &path, json!({"where_document": clause})).await, expected, "{clause}");
    }
    let both = json!({"where": {"v": {"$gt": 1}}, "where_document": {"$contains": "ed"}});
    assert_eq!(ids(&server, &path, both).await, ["int", "float"]);
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_where_is_refused_in_chromas_words_with_the_reason_behind_them() {
    let (server, path) = with_things().await;
    let bad = [
        json!({}),
        json!([]),
        json!("k"),
        json!(1),
        json!({"k": 1, "s": "x"}),
        json!({"k": {"$gt": 1, "$lt": 2}}),
        json!({"k": null}),
        json!({"k": {"$gt": "x"}}),
        json!({"k": {"$gt": true}}),
        json!({"k": {"$in": []}}),
        json!({"k": {"$in": [1, "a"]}}),
        json!({"k": {"$in": [2, 2.5]}}),
        json!({"k": {"$bogus": 1}}),
        json!({"k": {"$not": 1}}),
        json!({"k": {"$eq": [1]}}),
        json!({"k": [1]}),
        json!({"k": {}}),
        json!({"$and": [{}]}),
        json!({"$and": {"k": 1}}),
        json!({"$contains": "a"}),
        json!({"$foo": "a"}),
        json!({"k": {"$regex": "x"}}),
        json!({"k": {"$exists": "yes"}}),
        json!({"k": {"$startsWith": 1}}),
        json!({"k": {"$gte": {"$date": "May"}}}),
    ];
    for clause in bad {
        for (route, extra) in
            [("get", json!({})), ("query", json!({"query_embeddings": [[1, 0]]})), ("delete", json!({}))]
        {
            let mut body: Value = extra;
            body["where"] = clause.clone();
            let (status, name, message) = error(&server.post(&format!("{path}/{route}"), &body).await);
            assert_eq!((status, name.as_str()), (400, "InvalidArgumentError"), "{clause}");
            assert!(message.starts_with("Invalid where clause: where"), "{clause}: {message}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_where_document_is_refused_in_chromas_words_with_the_reason_behind_them() {
    let (server, path) = with_things().await;
    let bad = [
        json!({}),
        json!([]),
        json!("x"),
        json!({"$contains": 1}),
        json!({"$contains": null}),
        json!({"$bogus": "1"}),
        json!({"k": "1"}),
        json!({"$contains": "a", "$not_contains": "b"}),
        json!({"$and": [{"$contains": 1}]}),
        json!({"$and": {"$contains": "a"}}),
    ];
    for clause in bad {
        let refused = server.post(&format!("{path}/get"), &json!({"where_document": clause})).await;
        let (status, name, message) = error(&refused);
        assert_eq!((status, name.as_str()), (400, "InvalidArgumentError"), "{clause}");
        assert!(message.starts_with("Invalid where document clause: where_document"), "{clause}: {message}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_regex_that_cannot_be_read_is_told_in_its_own_words() {
    let (server, path) = with_things().await;
    let words = "Regex syntax errror: regex parse error:\n    (\n    ^\nerror: unclosed group";
    for body in [json!({"where_document": {"$regex": "("}}), json!({"where": {"#document": {"$not_regex": "("}}})] {
        assert_invalid(&server.post(&format!("{path}/get"), &body).await, words);
    }
    for look_around in ["(?=a)", "(a)\\1"] {
        let refused = server.post(&format!("{path}/get"), &json!({"where_document": {"$regex": look_around}})).await;
        assert_eq!(refused.status, 400, "{look_around}");
        assert!(super::error(&refused).2.starts_with("Regex syntax errror: "), "{}", refused.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn conditions_chained_in_pairs_are_taken_60_deep_and_a_limit_is_told_as_the_native_api_tells_it() {
    let (server, path) = with_things().await;
    let chained = |operator: &str, count: i64| {
        let first = json!({"k": {"$gt": 0}});
        (1..count).fold(first, |chain, i| json!({ operator: [chain, {"k": {"$lt": 100 + i}}] }))
    };
    for operator in ["$and", "$or"] {
        for count in [2, 31, 33, 60] {
            let found = server.post(&format!("{path}/get"), &json!({"where": chained(operator, count)})).await;
            assert_eq!(found.status, 200, "{count} by {operator}: {}", found.text());
        }
    }
    let wide = json!({"$or": vec![json!({"k": 1}); 1000]});
    let native = server.post("/api/collections/things/get", &json!({"where": wide})).await;
    let reason = native.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("where.$or[999]: at most 1000 conditions are allowed"), "{reason}");
    let refused = server.post(&format!("{path}/get"), &json!({"where": wide})).await;
    assert_invalid(&refused, &format!("Invalid where clause: {reason}"));
    let deep = server.post(&format!("{path}/get"), &json!({"where": chained("$and", 100)})).await;
    let (status, _, message) = error(&deep);
    assert!(status == 400 && message.contains("at most 127 lists and objects"), "{status}: {message}");
    server.stop().await;
}

#[tokio::test]
async fn null_clauses_are_absent_ones() {
    let (server, path) = with_things().await;
    assert_eq!(ids(&server, &path, json!({"where": null, "where_document": null})).await, ["a", "b", "c"]);
    server.stop().await;
}
