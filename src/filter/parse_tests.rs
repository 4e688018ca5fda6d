//! What the two clauses accept and which tree each form becomes; what they refuse and at which place.

use serde_json::{Value, json};

use super::{Clause, Filter, FilterError};

fn where_error(json: Value) -> FilterError {
    match Filter::parse_where(&json) {
        Ok(filter) => panic!("{json} was accepted as {filter:?}"),
        Err(error) => error,
    }
}

fn document_error(json: Value) -> FilterError {
    match Filter::parse_where_document(&json) {
        Ok(filter) => panic!("{json} was accepted as {filter:?}"),
        Err(error) => error,
    }
}

#[test]
fn every_legal_where_means_the_filter_a_constructor_makes() {
    let none = || Filter::or([]);
    let cases = [
        (json!({"k": "v"}), Filter::eq("k", "v")),
        (json!({"k": ""}), Filter::eq("k", "")),
        (json!({"k": 3}), Filter::eq("k", 3)),
        (json!({"k": -2.5}), Filter::eq("k", -2.5)),
        (json!({"k": true}), Filter::eq("k", true)),
        (json!({"k": {"$eq": "v"}}), Filter::eq("k", "v")),
        (json!({"k": {"$eq": 3}}), Filter::eq("k", 3)),
        (json!({"k": {"$ne": "v"}}), Filter::ne("k", "v")),
        (json!({"k": {"$ne": false}}), !Filter::eq("k", false)),
        (json!({"k": {"$gt": 1}}), Filter::gt("k", 1)),
        (json!({"k": {"$gte": 1.5}}), Filter::gte("k", 1.5)),
        (json!({"k": {"$lt": i64::MIN}}), Filter::lt("k", i64::MIN)),
        (json!({"k": {"$lte": 0}}), Filter::lte("k", 0)),
        (json!({"k": {"$gt": u64::MAX}}), Filter::gt("k", 18_446_744_073_709_551_615.0)),
        (json!({"k": {"$in": ["b", "a", "b"]}}), Filter::is_in("k", ["a", "b"])),
        (json!({"k": {"$in": [2, 1]}}), Filter::is_in("k", [1, 2])),
        (json!({"k": {"$in": [1.5]}}), Filter::eq("k", 1.5)),
        (json!({"k": {"$in": [true, false]}}), Filter::is_in("k", [false, true])),
        (json!({"k": {"$nin": ["a"]}}), Filter::ne("k", "a")),
        (json!({"k": {"$nin": [1, 2]}}), Filter::not_in("k", [1, 2])),
        (json!({"k": {"$contains": "a"}}), Filter::contains("k", "a")),
        (json!({"k": {"$contains": 1}}), Filter::contains("k", 1)),
        (json!({"k": {"$contains": 1.0}}), Filter::contains("k", 1.0)),
        (json!({"k": {"$not_contains": true}}), !Filter::contains("k", true)),
        (json!({"$and": []}), Filter::and([])),
        (json!({"$or": []}), none()),
        (json!({"$and": [{"k": 1}]}), Filter::and([Filter::eq("k", 1)])),
        (
            json!({"$or": [{"k": 1}, {"$and": [{"j": "x"}]}]}),
            Filter::or([Filter::eq("k", 1), Filter::and([Filter::eq("j", "x")])]),
        ),
        (json!({"#document": {"$contains": "x"}}), Filter::document_contains("x")),
        (json!({"#document": {"$not_contains": "x"}}), !Filter::document_contains("x")),
        (json!({"#document": {"$regex": "x+"}}), Filter::document_matches("x+").unwrap()),
        (json!({"#document": {"$not_regex": "x+"}}), !Filter::document_matches("x+").unwrap()),
        (json!({"$and": [{"#document": {"$contains": ""}}]}), Filter::and([Filter::document_contains("")])),
        (json!({"#document": "x"}), none()),
        (json!({"#id": "a"}), none()),
        (json!({"#id": {"$ne": "a"}}), !none()),
        (json!({"#embedding": {"$contains": 1}}), none()),
        (json!({"#anything": {"$in": [1, 2]}}), none()),
        (json!({"#anything": {"$gt": 0}}), none()),
        (json!({"a key with spaces, 'quotes' and ключ": 1}), Filter::eq("a key with spaces, 'quotes' and ключ", 1)),
    ];
    for (json, expected) in cases {
        assert_eq!(Filter::parse_where(&json), Ok(expected), "{json}");
    }
}

#[test]
fn every_legal_where_document_means_the_filter_a_constructor_makes() {
    let cases = [
        (json!({"$contains": "x"}), Filter::document_contains("x")),
        (json!({"$contains": ""}), Filter::document_contains("")),
        (json!({"$not_contains": "x"}), !Filter::document_contains("x")),
        (json!({"$regex": "(?i)^x$"}), Filter::document_matches("(?i)^x$").unwrap()),
        (json!({"$not_regex": "x"}), !Filter::document_matches("x").unwrap()),
        (json!({"$and": []}), Filter::and([])),
        (json!({"$or": []}), Filter::or([])),
        (
            json!({"$or": [{"$contains": "a"}, {"$and": [{"$not_contains": "b"}]}]}),
            Filter::or([Filter::document_contains("a"), Filter::and([!Filter::document_contains("b")])]),
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(Filter::parse_where_document(&json), Ok(expected), "{json}");
    }
}

/// Checks that each JSON is refused by the clause `where`, with a message that begins with the given text.
fn assert_where_refused(cases: &[(Value, &str)]) {
    for (json, message) in cases {
        let error = where_error(json.clone());
        assert!(error.message.starts_with(message), "{json}\n  said {}\n  not  {message}", error.message);
        assert_eq!(error.clause, Clause::Where, "{json}");
    }
}

#[test]
fn every_malformed_where_is_refused_at_its_place() {
    assert_where_refused(&[
        (json!({}), "where: expected an object with exactly one key"),
        (json!([]), "where: expected an object with one key, got an empty list"),
        (json!("k"), "where: expected an object with one key, got the string \"k\""),
        (json!(null), "where: expected an object with one key, got null"),
        (json!(1), "where: expected an object with one key, got the number 1"),
        (json!(true), "where: expected an object with one key, got the boolean true"),
        (json!([{"k": 1}]), "where: expected an object with one key, got a list"),
        (
            json!({"a": 1, "b": 2}),
            "where: expected an object with exactly one key; join several conditions with $and, got 2",
        ),
        (json!({"$and": [], "b": 2}), "where: expected an object with exactly one key"),
        (json!({"k": {"$gt": 1, "$lt": 2}}), "where.k: expected an object with exactly one operator"),
        (
            json!({"k": {}}),
            "where.k: expected an object with exactly one operator; join several conditions with $and, got 0",
        ),
        (json!({"k": null}), "where.k: expected a string, number or boolean, got null"),
        (json!({"k": []}), "where.k: expected a string, number or boolean, got an empty list"),
        (json!({"k": ["a"]}), "where.k: expected a string, number or boolean, got a list"),
        (json!({"$not": {"k": 1}}), "where.$not: expected $and, $or or a metadata key"),
        (json!({"$nor": []}), "where.$nor: expected $and, $or or a metadata key"),
        (json!({"$contains": "a"}), "where.$contains: expected $and, $or or a metadata key"),
        (json!({"$eq": 1}), "where.$eq: expected $and, $or or a metadata key"),
        (json!({"$": 1}), "where.$: expected $and, $or or a metadata key"),
        (json!({"$and": {}}), "where.$and: expected a list of conditions, got an object"),
        (json!({"$and": null}), "where.$and: expected a list of conditions, got null"),
        (json!({"$or": "a"}), "where.$or: expected a list of conditions, got the string \"a\""),
        (json!({"$or": {"k": 1}}), "where.$or: expected a list of conditions, got an object"),
        (json!({"$and": [{}]}), "where.$and[0]: expected an object with exactly one key"),
        (json!({"$and": [{"k": 1}, {}]}), "where.$and[1]: expected an object with exactly one key"),
        (json!({"$and": [{"k": 1}, null]}), "where.$and[1]: expected an object with one key, got null"),
        (json!({"$or": [{"k": 1}, "j"]}), "where.$or[1]: expected an object with one key"),
        (json!({"$or": [[{"k": 1}]]}), "where.$or[0]: expected an object with one key, got a list"),
        (json!({"$and": [{"x": 1}, {"age": {"$gt": "a"}}]}), "where.$and[1].age.$gt: expected a number"),
        (json!({"$and": [{"x": 1}, {"$or": [{"y": null}]}, {"z": 2}]}), "where.$and[1].$or[0].y: expected a string"),
        (json!({"#document": {"$contains": 1}}), "where.#document.$contains: expected a string, got the number 1"),
        (json!({"#document": {"$not_contains": null}}), "where.#document.$not_contains: expected a string"),
        (json!({"#document": {"$regex": ["a"]}}), "where.#document.$regex: expected a string, got a list"),
        (json!({"#document": {"$and": []}}), "where.#document.$and: expected one of $eq"),
        (json!({"#document": {}}), "where.#document: expected an object with exactly one operator"),
        (json!({"#document": null}), "where.#document: expected a string, number or boolean, got null"),
    ]);
}

#[test]
fn comparisons_are_refused_other_kinds_of_values() {
    assert_where_refused(&[
        (json!({"k": {"$eq": ["a"]}}), "where.k.$eq: expected a string, number or boolean, got a list"),
        (json!({"k": {"$eq": null}}), "where.k.$eq: expected a string, number or boolean, got null"),
        (json!({"k": {"$eq": {"$eq": 1}}}), "where.k.$eq: expected a string, number or boolean, got an object"),
        (json!({"k": {"$ne": null}}), "where.k.$ne: expected a string"),
        (json!({"k": {"$ne": [1]}}), "where.k.$ne: expected a string"),
        (json!({"k": {"$gt": "a"}}), "where.k.$gt: expected a number, got the string \"a\""),
        (json!({"k": {"$gt": true}}), "where.k.$gt: expected a number, got the boolean true"),
        (json!({"k": {"$gt": null}}), "where.k.$gt: expected a number, got null"),
        (json!({"k": {"$gt": [1]}}), "where.k.$gt: expected a number, got a list"),
        (json!({"k": {"$gte": "1"}}), "where.k.$gte: expected a number"),
        (json!({"k": {"$gte": false}}), "where.k.$gte: expected a number"),
        (json!({"k": {"$lt": ""}}), "where.k.$lt: expected a number"),
        (json!({"k": {"$lt": {}}}), "where.k.$lt: expected a number, got an object"),
        (json!({"k": {"$lte": "b"}}), "where.k.$lte: expected a number"),
        (json!({"k": {"$lte": true}}), "where.k.$lte: expected a number"),
    ]);
}

#[test]
fn lists_are_refused_when_empty_or_mixed() {
    assert_where_refused(&[
        (json!({"k": {"$in": []}}), "where.k.$in: expected a list of at least one value"),
        (json!({"k": {"$in": "a"}}), "where.k.$in: expected a list of values, got the string"),
        (json!({"k": {"$in": null}}), "where.k.$in: expected a list of values, got null"),
        (json!({"k": {"$in": {"a": 1}}}), "where.k.$in: expected a list of values, got an object"),
        (json!({"k": {"$in": [null]}}), "where.k.$in[0]: expected a string, number or boolean, got null"),
        (
            json!({"k": {"$in": ["a", 1]}}),
            "where.k.$in[1]: expected a string, as the list's first value is, got the number 1",
        ),
        (json!({"k": {"$in": [1, "a"]}}), "where.k.$in[1]: expected an integer"),
        (
            json!({"k": {"$in": [2, 2.5]}}),
            "where.k.$in[1]: expected an integer, as the list's first value is, got the number 2.5",
        ),
        (json!({"k": {"$in": [2.5, 2]}}), "where.k.$in[1]: expected a float"),
        (json!({"k": {"$in": [1, u64::MAX]}}), "where.k.$in[1]: expected an integer"),
        (json!({"k": {"$in": [true, 1]}}), "where.k.$in[1]: expected a boolean"),
        (json!({"k": {"$in": [[1]]}}), "where.k.$in[0]: expected a string, number or boolean, got a list"),
        (json!({"k": {"$nin": []}}), "where.k.$nin: expected a list of at least one value"),
        (json!({"k": {"$nin": [1, true]}}), "where.k.$nin[1]: expected an integer"),
        (json!({"k": {"$nin": 1}}), "where.k.$nin: expected a list of values"),
    ]);
}

#[test]
fn membership_regexes_and_unknown_operators_are_refused_at_their_place() {
    assert_where_refused(&[
        (json!({"k": {"$contains": null}}), "where.k.$contains: expected a string, number or boolean"),
        (json!({"k": {"$contains": ["a"]}}), "where.k.$contains: expected a string, number or boolean"),
        (json!({"k": {"$not_contains": {}}}), "where.k.$not_contains: expected a string, number or boolean"),
        (json!({"k": {"$regex": "a"}}), "where.k.$regex: a regex is only allowed on #document"),
        (json!({"k": {"$not_regex": "a"}}), "where.k.$not_regex: a regex is only allowed on #document"),
        (json!({"#id": {"$regex": "a"}}), "where.#id.$regex: a regex is only allowed on #document"),
        (json!({"k": {"$like": "a"}}), "where.k.$like: expected one of $eq"),
        (json!({"k": {"eq": 1}}), "where.k.eq: expected one of $eq"),
        (json!({"k": {"$EQ": 1}}), "where.k.$EQ: expected one of $eq"),
        (json!({"k": {"": 1}}), "where.k.: expected one of $eq"),
        (json!({"k": {"$and": []}}), "where.k.$and: expected one of $eq"),
        (json!({"k": {"$not": {"$eq": 1}}}), "where.k.$not: expected one of $eq"),
    ]);
}

#[test]
fn every_illegal_where_document_is_refused_at_its_place() {
    let cases = [
        (json!({}), "where_document: expected an object with exactly one key"),
        (json!([]), "where_document: expected an object with one key, got an empty list"),
        (json!("x"), "where_document: expected an object with one key"),
        (json!(null), "where_document: expected an object with one key, got null"),
        (json!(0), "where_document: expected an object with one key"),
        (json!({"$contains": "a", "$regex": "b"}), "where_document: expected an object with exactly one key"),
        (json!({"$contains": 1}), "where_document.$contains: expected a string, got the number 1"),
        (json!({"$contains": null}), "where_document.$contains: expected a string, got null"),
        (json!({"$contains": true}), "where_document.$contains: expected a string"),
        (json!({"$contains": ["a"]}), "where_document.$contains: expected a string, got a list"),
        (json!({"$contains": {"$eq": "a"}}), "where_document.$contains: expected a string, got an object"),
        (json!({"$not_contains": 2.5}), "where_document.$not_contains: expected a string"),
        (json!({"$not_contains": []}), "where_document.$not_contains: expected a string"),
        (json!({"$regex": 1}), "where_document.$regex: expected a string"),
        (json!({"$regex": null}), "where_document.$regex: expected a string"),
        (json!({"$not_regex": {}}), "where_document.$not_regex: expected a string"),
        (json!({"$eq": "a"}), "where_document.$eq: expected one of $and, $or, $contains"),
        (json!({"$not": {"$contains": "a"}}), "where_document.$not: expected one of $and"),
        (json!({"k": "a"}), "where_document.k: expected one of $and"),
        (json!({"k": {"$contains": "a"}}), "where_document.k: expected one of $and"),
        (json!({"#document": {"$contains": "a"}}), "where_document.#document: expected one of $and"),
        (json!({"$and": "a"}), "where_document.$and: expected a list of conditions"),
        (json!({"$or": null}), "where_document.$or: expected a list of conditions"),
        (json!({"$and": [{}]}), "where_document.$and[0]: expected an object with exactly one key"),
        (json!({"$or": [{"$contains": "a"}, {"$contains": 1}]}), "where_document.$or[1].$contains: expected a string"),
        (json!({"$or": [{"$contains": "a"}, {"k": 1}]}), "where_document.$or[1].k: expected one of $and"),
    ];
    for (json, message) in cases {
        let error = document_error(json.clone());
        assert!(error.message.starts_with(message), "{json}\n  said {}\n  not  {message}", error.message);
        assert_eq!(error.clause, Clause::WhereDocument, "{json}");
    }
}

#[test]
fn a_bad_regex_is_refused_as_a_regex_whichever_clause_holds_it() {
    let too_large = "\\w{1000}{1000}";
    for bad in ["(", "[a", "a**b(", "(?=x)y", "(?<!x)y", "(a)\\1", "*", "\\p{Nonsense}", too_large] {
        let error = document_error(json!({"$and": [{"$regex": bad}]}));
        assert_eq!(error.clause, Clause::Regex, "{bad}");
        assert!(error.message.starts_with("where_document.$and[0].$regex: "), "{}", error.message);
        let error = where_error(json!({"#document": {"$not_regex": bad}}));
        assert_eq!(error.clause, Clause::Regex, "{bad}");
        assert!(error.message.starts_with("where.#document.$not_regex: "), "{}", error.message);
        let error = Filter::document_matches(bad).unwrap_err();
        assert_eq!(error.clause, Clause::Regex, "{bad}");
    }
}

#[test]
fn look_around_is_named_in_the_message() {
    let error = document_error(json!({"$regex": "(?=x)"}));
    assert!(error.message.contains("look-around"), "{}", error.message);
}

/// Alternating `$and` and `$or`.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({"k": 1}), |inner, level| json!({ (["$and", "$or"][level % 2]): [inner] }))
}

#[test]
fn a_filter_may_nest_64_levels_in_turn_and_no_more() {
    assert!(Filter::parse_where(&nested(64)).is_ok_and(|f| f.reads_metadata()));
    for levels in [65, 128] {
        let error = where_error(nested(levels));
        assert!(error.message.contains("at most 64 levels"), "{}", error.message);
    }
}

/// Conditions joined in pairs, as by clients that only know `and(a, b)`.
fn chained(operator: &str, count: i64, left: bool) -> Value {
    (1..count).fold(json!({"k": 0}), |chain, i| match left {
        true => json!({ operator: [chain, {"k": i}] }),
        false => json!({ operator: [{"k": i}, chain] }),
    })
}

#[test]
fn a_chain_of_one_operator_is_one_list_in_its_order_however_deep_it_is() {
    let tests = |order: &mut dyn Iterator<Item = i64>| order.map(|i| Filter::eq("k", i)).collect::<Vec<_>>();
    for count in [2, 33, 60, 500] {
        let (forth, back) = (tests(&mut (0..count)), tests(&mut (0..count).rev()));
        assert_eq!(Filter::parse_where(&chained("$and", count, true)), Ok(Filter::and(forth.clone())));
        assert_eq!(Filter::parse_where(&chained("$or", count, false)), Ok(Filter::or(back)));
        let documents = json!({"$and": [{"$and": [{"$contains": "a"}]}, {"$and": []}, {"$contains": "b"}]});
        let both = ["a", "b"].map(Filter::document_contains);
        assert_eq!(Filter::parse_where_document(&documents), Ok(Filter::and(both)));
    }
    let error = where_error(chained("$and", 501, true));
    assert!(error.message.contains("at most 1000 conditions"), "{}", error.message);
    let wrong = json!({"$and": [{"k": 1}, {"$and": [{"k": 2}, {"k": null}]}, {"k": 3}]});
    assert_eq!(where_error(wrong).message, "where.$and[1].$and[1].k: expected a string, number or boolean, got null");
    let later = json!({"$and": [{"$and": [{"k": 2}]}, {"k": null}]});
    assert_eq!(where_error(later).message, "where.$and[1].k: expected a string, number or boolean, got null");
}

#[test]
fn what_is_no_operator_is_repeated_with_those_there_are_and_the_one_that_is_meant() {
    let all = "expected one of $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $contains, $not_contains, $startsWith, \
               $not_startsWith, $ieq, $ine, $icontains, $not_icontains, $istartsWith, $not_istartsWith, $exists, got";
    for (operator, meant) in [("gte", "$gte"), (">=", "$gte"), ("$GT", "$gt"), ("in", "$in"), ("==", "$eq")] {
        let error = where_error(json!({"year": {operator: 1}})).message;
        let expected = format!("where.year.{operator}: {all} {operator:?}; did you mean {meant}?");
        assert_eq!(error, expected);
    }
    assert_eq!(where_error(json!({"year": {"$bogus": 1}})).message, format!("where.year.$bogus: {all} \"$bogus\""));
    let error = where_error(json!({"$AND": []})).message;
    assert!(error.contains("did you mean $and?"), "{error}");
    let error = document_error(json!({"contains": "x"})).message;
    assert!(error.contains("$regex, $not_regex, got \"contains\"; did you mean $contains?"), "{error}");
}

#[test]
fn a_filter_may_have_1000_conditions_and_no_more() {
    let of = |children: usize| json!({"$or": vec![json!({"k": 1}); children]});
    assert_eq!(Filter::parse_where(&of(999)), Ok(Filter::or(vec![Filter::eq("k", 1); 999])));
    let error = where_error(of(1000));
    assert!(error.message.starts_with("where.$or[999]: at most 1000 conditions"), "{}", error.message);
}

#[test]
fn a_filter_may_list_100000_values_and_no_more() {
    let of = |values: i64| json!({"k": {"$in": (0..values).collect::<Vec<_>>()}});
    assert_eq!(Filter::parse_where(&of(100_000)), Ok(Filter::is_in("k", 0..100_000)));
    let error = where_error(of(100_001));
    assert!(error.message.starts_with("where.k.$in: at most 100000 listed values"), "{}", error.message);
}

#[test]
fn a_filter_may_have_16_regexes_and_no_more() {
    let of = |regexes: usize| json!({"$and": vec![json!({"$regex": "a"}); regexes]});
    assert_eq!(Filter::parse_where_document(&of(16)).map(|f| f.reads_documents()), Ok(true));
    let error = document_error(of(17));
    assert_eq!(error.clause, Clause::WhereDocument);
    assert!(error.message.starts_with("where_document.$and[16].$regex: at most 16 regexes"), "{}", error.message);
}

#[test]
fn an_error_repeats_only_the_beginning_of_a_long_key_or_value() {
    let long = "ü".repeat(100_000);
    let error = where_error(json!({ &long: {"$gt": &long} }));
    assert!(error.message.len() < 500, "{} bytes", error.message.len());
    assert!(error.message.starts_with("where.üüü"), "{}", error.message);
}

#[test]
fn an_error_becomes_an_invalid_request_with_the_same_message() {
    let error: crate::Error = where_error(json!({"age": null})).into();
    assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    assert_eq!(error.message(), "where.age: expected a string, number or boolean, got null");
}

#[test]
fn both_clauses_are_joined_with_and_and_null_counts_as_absent() {
    let (null, a, b) = (Value::Null, json!({"k": 1}), json!({"$contains": "x"}));
    let (left, right) = (Filter::eq("k", 1), Filter::document_contains("x"));
    assert_eq!(Filter::parse(None, None), Ok(None));
    assert_eq!(Filter::parse(Some(&null), Some(&null)), Ok(None));
    assert_eq!(Filter::parse(Some(&a), Some(&null)), Ok(Some(left.clone())));
    assert_eq!(Filter::parse(None, Some(&b)), Ok(Some(right.clone())));
    assert_eq!(Filter::parse(Some(&a), Some(&b)), Ok(Some(Filter::and([left, right]))));
    assert_eq!(Filter::parse(Some(&a), Some(&a)).map_err(|e| e.clause), Err(Clause::WhereDocument));
}

#[test]
fn a_filter_tells_what_it_reads() {
    let both = Filter::and([Filter::eq("k", 1), !Filter::document_contains("x")]);
    assert_eq!((both.reads_metadata(), both.reads_documents()), (true, true));
    let metadata = !Filter::eq("k", 1);
    assert_eq!((metadata.reads_metadata(), metadata.reads_documents()), (true, false));
    let document = Filter::or([Filter::document_contains("x")]);
    assert_eq!((document.reads_metadata(), document.reads_documents()), (false, true));
    let ids = Filter::ids(["a".to_owned()]);
    assert_eq!((ids.reads_metadata(), ids.reads_documents()), (false, false));
    let everything = Filter::and([]);
    assert_eq!((everything.reads_metadata(), everything.reads_documents()), (false, false));
}
