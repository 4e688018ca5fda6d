//! Bodies of searches: those that are read, and a table of those that are refused, with status and words.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::super::knn::{Knn, KnnQuery};
use super::*;
use crate::ranking::{Aggregate, GroupKey, Leaf, RankStep};

/// Embeddings of two floats, and sparse vectors under `sp`.
struct Fixture;

impl Searchable for Fixture {
    fn dimension(&self) -> Option<usize> {
        Some(2)
    }

    fn has_sparse_index(&self, key: &str) -> bool {
        key == "sp"
    }
}

/// The searches of a body, or the status and the words of its refusal.
fn read(body: &str) -> Result<Vec<Search>, String> {
    let mut json = serde_json::Deserializer::from_str(body);
    let decoded: Result<SearchRequest, _> = serde_path_to_error::deserialize(&mut json);
    let request = decoded.map_err(|e| format!("{} {e}", if e.inner().is_data() { 422 } else { 400 }))?;
    let searches = request.searches.0.into_iter().enumerate();
    let read = searches.map(|(number, search)| search.read(number, &Fixture, |_| Ok(())));
    read.collect::<Result<_, _>>().map_err(|e: ChromaError| format!("{e:?}"))
}

fn read_one(search: Value) -> Search {
    read(&json!({"searches": [search]}).to_string()).unwrap().remove(0)
}

fn refusal(search: &str) -> String {
    match read(&format!("{{\"searches\":[{search}]}}")) {
        Ok(read) => panic!("{search} was read as {read:?}"),
        Err(refusal) => refusal,
    }
}

fn assert_refused(status: u16, cases: &[(&str, &str)]) {
    for (search, words) in cases {
        let refusal = refusal(search);
        assert!(refusal.contains(&status.to_string()) && refusal.contains(words), "{search}: {refusal}");
    }
}

fn dense(query: &[f32], limit: u32) -> Knn {
    Knn { query: KnnQuery::Dense(query.to_vec()), limit }
}

#[test]
fn a_search_without_members_selects_everything_unranked() {
    for search in [json!({}), json!({"filter": null, "rank": null}), json!({"filter": {}, "more": [1]}), json!([])] {
        let read = read_one(search.clone());
        assert_eq!((read.rank, read.group_by, read.offset, read.limit), (None, None, 0, None), "{search}");
        assert_eq!((read.ids, read.filter, read.select), (None, None, SelectedKeys::default()), "{search}");
    }
    assert_eq!(read(r#"{"searches":[],"read_level":"index_only"}"#).unwrap().len(), 0);
}

#[test]
fn a_knn_has_defaults_and_a_rank_is_read_in_postfix_order() {
    let rank = read_one(json!({"rank": {"$knn": {"query": [0, 1.5]}}})).rank.unwrap();
    assert_eq!(rank.searches, [dense(&[0.0, 1.5], 16)]);
    assert_eq!(rank.expression.leaves().collect::<Vec<_>>(), [Leaf { slot: 0, default: None, return_rank: false }]);
    let sparse = json!({"indices": [1, 7], "values": [1, 2], "tokens": null});
    let rank = read_one(json!({"rank": {"$sum": [
        {"$knn": {"query": [0, 0], "limit": 3, "default": -1, "return_rank": true}},
        {"$div": {"right": {"$val": 2}, "left": {"$knn": {"query": sparse, "key": "sp", "limit": 4_294_967_295_u32}}}},
    ]}}))
    .rank
    .unwrap();
    let query = KnnQuery::Sparse { key: "sp".to_owned(), indices: vec![1, 7], values: vec![1.0, 2.0] };
    assert_eq!(rank.searches, [dense(&[0.0, 0.0], 3), Knn { query, limit: u32::MAX }]);
    let leaf = |slot, default, return_rank| RankStep::Leaf(Leaf { slot, default, return_rank });
    let (add, divide) = (crate::ranking::BinaryOperator::Add, crate::ranking::BinaryOperator::Divide);
    let steps = vec![
        RankStep::Value(0.0),
        leaf(0, Some(-1.0), true),
        RankStep::Binary(add),
        leaf(1, None, false),
        RankStep::Value(2.0),
        RankStep::Binary(divide),
        RankStep::Binary(add),
    ];
    assert_eq!(Some(rank.expression), crate::ranking::Expression::new(steps));
}

#[test]
fn structs_may_be_written_as_lists_of_their_members() {
    let read =
        read_one(json!([null, {"$sub": [{"$val": 1}, {"$knn": [[0, 0], "#embedding", 5]}]}, {}, [1, 2], [["n"]]]));
    assert_eq!(read.rank.unwrap().searches, [dense(&[0.0, 0.0], 5)]);
    assert_eq!((read.offset, read.limit, read.select.shown()), (1, Some(2), vec!["n"]));
}

#[test]
fn ids_of_the_outermost_and_are_taken_out_and_others_stay_in_the_filter() {
    let read = read_one(json!({"filter": {"$and": [{"#id": {"$in": ["b", "a"]}}, {"k": 1}]}}));
    assert_eq!(read.ids, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(read.filter, Some(Filter::and([Filter::eq("k", 1)])));
    let nested = read_one(json!({"filter": {"$or": [{"#id": "a"}, {"k": 1}]}}));
    assert_eq!(nested.ids, None);
    assert_eq!(nested.filter, Some(Filter::or([Filter::ids(["a".to_owned()]), Filter::eq("k", 1)])));
}

#[test]
fn a_grouping_is_read_with_its_aggregate() {
    let group_by = json!({"keys": ["cat", "#id"], "aggregate": {"$max_k": {"keys": ["prio", "#score"], "k": 2}}});
    let read = read_one(json!({"rank": {"$val": 1}, "group_by": group_by})).group_by.unwrap();
    assert_eq!(read.fields, ["cat", "#id"]);
    assert_eq!(read.order, [GroupKey::Field("prio".to_owned()), GroupKey::Score]);
    assert_eq!((read.aggregate, read.k), (Aggregate::MaxK, 2));
    let none = json!({"keys": [], "aggregate": null});
    assert_eq!(read_one(json!({ "group_by": none })).group_by, None);
}

#[test]
fn another_shape_is_refused_as_such() {
    assert_refused(
        422,
        &[
            ("null", "null"),
            ("5", "invalid type: integer `5`"),
            (r#"{"group_by":null}"#, "null"),
            (r#"{"limit":null}"#, "null"),
            (r#"{"select":null}"#, "null"),
            (r#"{"limit":5}"#, "integer `5`"),
            (r#"{"limit":{"limit":-1}}"#, "integer `-1`"),
            (r#"{"limit":{"limit":3.0}}"#, "floating point `3.0`"),
            (r#"{"limit":{"limit":4294967296}}"#, "4294967296"),
            (r#"{"limit":{"offset":null}}"#, "null"),
            (r#"{"limit":{},"limit":{}}"#, "duplicate field `limit`"),
            (r#"{"select":{"keys":null}}"#, "null"),
            (r#"{"select":["n"]}"#, "string \"n\""),
            (r#"{"filter":[]}"#, "Invalid where clause: where: expected an object"),
            (r#"{"filter":{"a":1,"b":2}}"#, "Invalid where clause: where: expected an object with exactly one key"),
            (r#"{"filter":{"a":{"$gt":"x"}}}"#, "Invalid where clause: where.a.$gt"),
            (r##"{"filter":{"#id":{"$gt":1}}}"##, "Invalid where clause: where.#id.$gt: ids have no order"),
            (r#"{"filter":{"sp":{"$eq":{"indices":[1],"values":[1]}}}}"#, "Invalid where clause"),
            (r##"{"filter":{"#document":{"$regex":"("}}}"##, "Regex syntax errror"),
            (r#"{"filter":{"query_ids":["a"],"where_clause":{}}}"#, "Invalid where clause"),
            (r#"{"rank":{"$add":[]}}"#, "unknown variant `$add`"),
            (r#"{"rank":{"$val":null}}"#, "null"),
            (r#"{"rank":{"$val":"1"}}"#, "string"),
            (r#"{"rank":{"$sum":null}}"#, "null"),
            (r#"{"rank":{"$sub":{"left":{"$val":1}}}}"#, "missing field `right`"),
            (r#"{"rank":{"$knn":{}}}"#, "missing field `query`"),
            (r#"{"rank":{"$knn":{"query":"text"}}}"#, "string \"text\""),
            (r#"{"rank":{"$knn":{"query":null}}}"#, "null"),
            (r#"{"rank":{"$knn":{"query":[1,null]}}}"#, "null"),
            (r#"{"rank":{"$knn":{"query":[0,0],"key":null}}}"#, "null"),
            (r#"{"rank":{"$knn":{"query":[0,0],"limit":null}}}"#, "null"),
            (r#"{"rank":{"$knn":{"query":[0,0],"limit":-1}}}"#, "-1"),
            (r#"{"rank":{"$knn":{"query":[0,0],"return_rank":null}}}"#, "null"),
            (r#"{"rank":{"$knn":{"query":[0,0],"default":"1"}}}"#, "string"),
            (r#"{"rank":{"$knn":{"query":{"indices":[-1],"values":[1]},"key":"sp"}}}"#, "-1"),
            (r##"{"rank":{"$knn":{"query":{"#type":"x","indices":[1],"values":[1]},"key":"sp"}}}"##, "#type"),
            (r#"{"group_by":{"keys":["a"],"aggregate":{"$min_k":{"keys":["a"]}}}}"#, "missing field `k`"),
            (r#"{"group_by":{"keys":["a"],"aggregate":{"$avg":{"keys":["a"],"k":1}}}}"#, "unknown variant `$avg`"),
            (r#"{"group_by":{"keys":["a"],"aggregate":{"$min_k":{"keys":["a"],"k":-1}}}}"#, "-1"),
        ],
    );
    for body in [r#"{}"#, r#"{"searches":null}"#, r#"{"searches":{}}"#, r#"{"searches":[],"read_level":"all"}"#] {
        assert!(read(body).unwrap_err().starts_with("422"), "{body}");
    }
}

#[test]
fn json_that_no_operator_begins_is_refused_as_json() {
    let nested = format!("{{\"rank\":{}{{\"$val\":1}}{}}}", "{\"$abs\":".repeat(200), "}".repeat(200));
    assert_refused(
        400,
        &[
            (r#"{"rank":{}}"#, "expected"),
            (r#"{"rank":5}"#, "expected"),
            (r#"{"rank":{"$abs":null}}"#, "expected"),
            (r#"{"rank":{"$val":1,"$val":1}}"#, "expected"),
            (r#"{"rank":{"$sum":[1]}}"#, "expected"),
            (r#"{"rank":{"$val":1e40}}"#, "searches[0].rank.$val: number out of range"),
            (r#"{"rank":{"$sum":[{"$val":1},{"$val":-1e40}]}}"#, "searches[0].rank.$sum[1].$val: number out of range"),
            (r#"{"rank":{"$knn":{"query":[0,1e40]}}}"#, "searches[0].rank.$knn.query[1]: number out of range"),
            (r#"{"rank":{"$knn":{"query":[0,0],"default":1e40}}}"#, "searches[0].rank.$knn.default: number out of"),
            (
                r#"{"rank":{"$knn":{"query":{"indices":[1],"values":[1e400]},"key":"sp"}}}"#,
                "searches[0].rank.$knn.query.values[0]: number out of range",
            ),
            (&nested, "recursion limit"),
        ],
    );
    assert!(read(r#"{"searches":[],"read_level":null}"#).unwrap_err().starts_with("400"));
}

#[test]
fn contents_that_cannot_be_searched_for_are_refused_with_their_place() {
    let deep =
        |levels: usize| format!("{{\"rank\":{}{{\"$val\":1}}{}}}", "{\"$abs\":".repeat(levels), "}".repeat(levels));
    read(&format!("{{\"searches\":[{}]}}", deep(63))).unwrap();
    let knns = |count: usize| {
        let knn = vec![r#"{"$knn":{"query":[0,0]}}"#; count].join(",");
        format!("{{\"rank\":{{\"$sum\":[{knn}]}}}}")
    };
    read(&format!("{{\"searches\":[{}]}}", knns(64))).unwrap();
    let operators = format!("{{\"rank\":{{\"$sum\":[{}]}}}}", vec![r#"{"$val":1}"#; 1_000].join(","));
    assert_refused(
        400,
        &[
            (r#"{"rank":{"$knn":{"query":[0,0,0]}}}"#, "dimension of 2, got 3"),
            (r#"{"rank":{"$knn":{"query":[]}}}"#, "dimension of 2, got 0"),
            (r#"{"rank":{"$knn":{"query":[0,0],"key":"sp"}}}"#, "searches[0].rank.$knn.key: a dense query"),
            (
                r#"{"rank":{"$knn":{"query":{"indices":[1,2],"values":[1]},"key":"sp"}}}"#,
                "Validation error: searches[0].rank: Invalid sparse vector in KNN query: Sparse vector indices, values, \
                 and tokens (when present) must have the same length",
            ),
            (
                r#"{"rank":{"$knn":{"query":{"indices":[2,1],"values":[1,1]},"key":"sp"}}}"#,
                "Sparse vector indices must be sorted in strictly ascending order (no duplicates)",
            ),
            (
                r#"{"rank":{"$sum":[{"$knn":{"query":{"indices":[1],"values":[1]},"key":"k"}}]}}"#,
                "Cannot filter using metadata key 'k' with type 'SparseVector' because indexing is disabled",
            ),
            (r#"{"rank":{"$knn":{"query":{"indices":[1],"values":[1]}}}}"#, "metadata key '#embedding' with type"),
            (&deep(64), "at most 64 operators within each other"),
            (&knns(65), "at most 64 $knn"),
            (&operators, "at most 1000 operators"),
        ],
    );
    let many = format!("{{\"searches\":[{}]}}", vec!["{}"; 101].join(","));
    assert!(read(&many).unwrap_err().contains("at most 100"));
}

#[test]
fn a_grouping_that_chroma_refuses_is_refused_with_its_words() {
    let grouped = |keys: &str, aggregate: &str| {
        format!(r#"{{"rank":{{"$val":1}},"group_by":{{"keys":{keys},"aggregate":{aggregate}}}}}"#)
    };
    let by = |keys: &str, k: u32| format!(r#"{{"$min_k":{{"keys":{keys},"k":{k}}}}}"#);
    for (search, words) in [
        (grouped("[\"a\"]", "null"), "group_by keys and aggregate must both be specified or both be omitted"),
        (grouped("[]", &by("[\"a\"]", 1)), "must both be specified or both be omitted"),
        (grouped("[\"#score\"]", &by("[\"a\"]", 1)), "group_by keys must be metadata fields"),
        (grouped("[\"a\"]", &by("[]", 1)), "aggregate keys must not be empty"),
        (grouped("[\"a\"]", &by("[\"a\"]", 0)), "aggregate k must be greater than 0"),
        (grouped("[\"a\"]", &by("[\"#document\"]", 1)), "aggregate keys must be metadata fields or #score"),
        (
            r#"{"group_by":{"keys":["a"],"aggregate":{"$min_k":{"keys":["a"],"k":1}}}}"#.to_owned(),
            "Validation error: searches[0].__all__: group_by requires rank expression to be specified",
        ),
    ] {
        assert_refused(400, &[(&search, words)]);
    }
}

#[test]
fn a_grouping_has_sixteen_keys_at_most_and_its_aggregate_too() {
    let keys = |count: usize| vec![r#""a""#; count].join(",");
    let of = |fields: usize, order: usize| {
        let (fields, order) = (keys(fields), keys(order));
        let aggregate = format!(r#"{{"$min_k":{{"keys":[{order}],"k":1}}}}"#);
        format!(r#"{{"rank":{{"$val":1}},"group_by":{{"keys":[{fields}],"aggregate":{aggregate}}}}}"#)
    };
    read(&format!("{{\"searches\":[{}]}}", of(16, 16))).unwrap();
    assert_refused(
        400,
        &[
            (&of(17, 1), "searches[0].group_by: group_by keys: expected at most 16, got 17"),
            (&of(1, 17), "searches[0].group_by: aggregate keys: expected at most 16, got 17"),
        ],
    );
}

#[test]
fn a_key_that_a_grouping_repeats_counts_once() {
    let aggregate = json!({"$min_k": {"keys": ["#score", "a", "a"], "k": 1}});
    let grouping = json!({"keys": ["a", "a", "b"], "aggregate": aggregate});
    let search = read_one(json!({"rank": {"$val": 1}, "group_by": grouping}));
    let by = search.group_by.unwrap();
    assert_eq!(
        (by.fields, by.order),
        (vec!["a".into(), "b".into()], vec![GroupKey::Score, GroupKey::Field("a".into())])
    );
}

#[test]
fn the_deepest_body_that_json_allows_is_decoded_within_a_small_stack() {
    let deep = format!("{{\"rank\":{}{{\"$val\":1}}{}}}", "{\"$abs\":".repeat(120), "}".repeat(120));
    let body = format!("{{\"searches\":[{deep}]}}");
    let decode = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let mut json = serde_json::Deserializer::from_str(&body);
        let request: SearchRequest = serde_path_to_error::deserialize(&mut json).unwrap();
        let search = request.searches.0.into_iter().next().unwrap();
        format!("{:?}", search.read(0, &Fixture, |_| Ok(())).map(|_| ()))
    });
    assert!(decode.unwrap().join().unwrap().contains("at most 64 operators"));
}

#[test]
fn bodies_with_random_changes_are_read_or_refused_and_never_panic() {
    let whole = json!({"searches": [{
        "filter": {"$or": [{"#id": {"$in": ["a", "b"]}}, {"#document": {"$regex": "^a"}}, {"n": {"$gte": 1.5}}]},
        "rank": {"$mul": [{"$val": -1}, {"$sub": {
            "left": {"$knn": {"query": [0, 1e3], "limit": 5, "default": 1, "return_rank": true}},
            "right": {"$log": {"$knn": {"query": {"indices": [1, 2], "values": [1, 2]}, "key": "sp"}}},
        }}]},
        "group_by": {"keys": ["cat"], "aggregate": {"$min_k": {"keys": ["#score"], "k": 2}}},
        "limit": {"offset": 1, "limit": 2},
        "select": {"keys": ["#score", "n"]},
    }], "read_level": "index_and_wal"});
    let whole = whole.to_string().into_bytes();
    assert!(read(std::str::from_utf8(&whole).unwrap()).is_ok());
    let pieces: [&[u8]; 12] = [
        b"null",
        b"[]",
        b"{}",
        b"-1",
        b"1e40",
        b"\"$sum\"",
        b"\"#id\"",
        b",",
        b":",
        b"4294967296",
        b"true",
        b"\\u0000",
    ];
    let seed = 40;
    let mut random = StdRng::seed_from_u64(seed);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut body = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let from = random.random_range(0..body.len());
            let to = (from + random.random_range(0..12)).min(body.len());
            let piece = match random.random_range(0..3) {
                0 => Vec::new(),
                1 => pieces[random.random_range(0..pieces.len())].to_vec(),
                _ => body[from..to].repeat(2),
            };
            body.splice(from..to, piece);
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        match read(&text) {
            Ok(_) => accepted += 1,
            Err(refusal) => assert!(refusal.len() > 10 && refusal.len() < 1_000, "seed {seed}: {text}: {refusal}"),
        }
    }
    assert!((100..19_900).contains(&accepted), "seed {seed}: {accepted} of 20,000 were accepted");
}
