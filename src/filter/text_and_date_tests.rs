//! The rules of tests for beginnings, case, dates and existence. Both evaluators answer every case.

use serde_json::{Value, json};

use super::language_tests::{Records, all_but, kinds};
use super::{Clause, DateTime, Filter};

fn where_error(json: &Value) -> String {
    let error = Filter::parse_where(json).expect_err("an error");
    assert_eq!(error.clause, Clause::Where, "{json}");
    error.message
}

#[test]
fn a_beginning_is_tested_on_strings_only_and_with_case() {
    let records = Records::with_metadata([
        json!({"k": "src/main.rs"}),
        json!({"k": "src"}),
        json!({"k": "Src/lib.rs"}),
        json!({"k": "sr"}),
        json!({"k": "srd"}),
        json!({"k": ["src/main.rs"]}),
        json!({"k": 5}),
        json!({}),
        json!({"k": "é1"}),
        json!({"k": ""}),
    ]);
    assert_eq!(records.where_(json!({"k": {"$startsWith": "src"}})), [0, 1]);
    assert_eq!(records.where_(json!({"k": {"$istartsWith": "SRC"}})), [0, 1, 2]);
    assert_eq!(records.where_(json!({"k": {"$startsWith": "src/main.rs"}})), [0]);
    assert_eq!(records.where_(json!({"k": {"$startsWith": "src/main.rs "}})), [0; 0]);
    assert_eq!(records.where_(json!({"k": {"$startsWith": ""}})), [0, 1, 2, 3, 4, 8, 9]);
    assert_eq!(records.where_(json!({"k": {"$istartsWith": "É"}})), [8]);
    assert_eq!(records.where_(json!({"k": {"$startsWith": "É"}})), [0; 0]);
    assert_eq!(records.where_(json!({"k": {"$startsWith": "\u{10ffff}"}})), [0; 0]);
    assert_eq!(records.where_(json!({"k": {"$not_startsWith": "s"}})), [2, 5, 6, 7, 8, 9]);
    assert_eq!(records.where_(json!({"k": {"$not_istartsWith": "s"}})), [5, 6, 7, 8, 9]);
}

#[test]
fn equality_and_membership_may_ignore_case() {
    let records = Records::with_metadata([
        json!({"k": "Rust"}),
        json!({"k": "RUST"}),
        json!({"k": "rusty"}),
        json!({"k": ["Rust", "go"]}),
        json!({"k": ["rustic"]}),
        json!({"k": []}),
        json!({"k": [1, 2]}),
        json!({}),
    ]);
    assert_eq!(records.where_(json!({"k": {"$ieq": "rust"}})), [0, 1]);
    assert_eq!(records.where_(json!({"k": {"$ine": "rust"}})), [2, 3, 4, 5, 6, 7]);
    assert_eq!(records.where_(json!({"k": {"$icontains": "rUST"}})), [3]);
    assert_eq!(records.where_(json!({"k": {"$not_icontains": "GO"}})), [0, 1, 2, 4, 5, 6, 7]);
    assert_eq!(records.where_(json!({"k": {"$icontains": ""}})), [0; 0]);
}

#[test]
fn documents_are_tested_for_their_beginning_and_without_case() {
    let records = Records::with_documents([Some("Привет, мир"), Some("say ПРИВЕТ"), None, Some(""), Some("При")]);
    assert_eq!(records.where_document(json!({"$startsWith": "При"})), [0, 4]);
    assert_eq!(records.where_document(json!({"$startsWith": "при"})), [0; 0]);
    assert_eq!(records.where_document(json!({"$istartsWith": "ПРИВ"})), [0]);
    assert_eq!(records.where_document(json!({"$icontains": "привет"})), [0, 1]);
    assert_eq!(records.where_document(json!({"$not_icontains": "привет"})), [2, 3, 4]);
    assert_eq!(records.where_document(json!({"$not_startsWith": "При"})), [1, 2, 3]);
    assert_eq!(records.where_document(json!({"$not_istartsWith": "say"})), [0, 2, 3, 4]);
    assert_eq!(records.where_document(json!({"$startsWith": ""})), [0, 1, 3, 4]);
    assert_eq!(records.where_document(json!({"$and": [{"$icontains": "МИР"}, {"$startsWith": "П"}]})), [0]);
    assert_eq!(records.where_(json!({"#document": {"$istartsWith": "SAY"}})), [1]);
    assert_eq!(records.where_(json!({"#document": {"$not_icontains": "р"}})), [2, 3]);
}

/// Five instants in time, then what is no date.
fn dates() -> Records {
    Records::with_metadata([
        json!({"k": "2024-04-30T23:59:59.999999999Z"}),
        json!({"k": "2024-05-01"}),
        json!({"k": "2024-05-01T02:00:00+02:00"}),
        json!({"k": "2024-04-30T20:00:00.000000001-04:00"}),
        json!({"k": "2024-05-02 00:00:00z"}),
        json!({"k": "2024-05-01T00:00:00"}),
        json!({"k": "yesterday"}),
        json!({"k": 1_714_521_600}),
        json!({"k": ["2024-05-01", "x"]}),
        json!({"k": ["x"]}),
        json!({"k": true}),
        json!({}),
        Value::Null,
        json!({"k": "2024-05-01 "}),
    ])
}

#[test]
fn dates_compare_as_instants() {
    let may = || json!({"$date": "2024-05-01T00:00:00Z"});
    assert_eq!(dates().where_(json!({ "k": may() })), [1, 2]);
    assert_eq!(dates().where_(json!({"k": {"$eq": may()}})), [1, 2]);
    assert_eq!(dates().where_(json!({"k": {"$gt": may()}})), [3, 4]);
    assert_eq!(dates().where_(json!({"k": {"$gte": may()}})), [1, 2, 3, 4]);
    assert_eq!(dates().where_(json!({"k": {"$lt": may()}})), [0]);
    assert_eq!(dates().where_(json!({"k": {"$lte": may()}})), [0, 1, 2]);
    let listed = json!([{"$date": "2024-05-01T23:59:00+23:59"}, {"$date": "2024-05-02"}, {"$date": "1999-01-01"}]);
    assert_eq!(dates().where_(json!({"k": {"$in": listed}})), [1, 2, 4]);
    assert_eq!(dates().where_(json!({"k": {"$nin": listed}})), all_but(&[1, 2, 4]));
    assert_eq!(dates().where_(json!({"k": {"$contains": {"$date": "2024-05-01T00:00:00Z"}}})), [8]);
}

#[test]
fn what_is_no_date_fails_each_test_of_dates_and_passes_its_negation() {
    assert_eq!(dates().where_(json!({"k": {"$gte": {"$date": "0000-01-01"}}})), [0, 1, 2, 3, 4]);
    assert_eq!(dates().where_(json!({"k": {"$ne": {"$date": "2024-05-01"}}})), all_but(&[1, 2]));
    let before = Filter::lt("k", DateTime::parse("9999-12-31").unwrap());
    assert_eq!(dates().selected(&before), [0, 1, 2, 3, 4]);
    assert_eq!(dates().selected(&!before), all_but(&[0, 1, 2, 3, 4]));
    // A string, even of a date, is compared as a string.
    assert_eq!(dates().where_(json!({"k": "2024-05-01"})), [1]);
    assert_eq!(dates().where_(json!({"k": {"$contains": "2024-05-01"}})), [8]);
}

#[test]
fn dates_may_be_listed_with_other_values_in_the_library() {
    let date = DateTime::parse("2024-05-01").unwrap();
    let values = || [date.into(), "yesterday".into(), 1_714_521_600_i64.into(), super::Scalar::from("x")];
    assert_eq!(dates().selected(&Filter::is_in("k", values())), [1, 2, 6, 7]);
    let many = (0..100).map(|i| super::Scalar::from(format!("x{i}")));
    assert_eq!(dates().selected(&Filter::is_in("k", many.chain(values()))), [1, 2, 6, 7]);
}

#[test]
fn a_key_exists_whatever_its_value_is() {
    let mut records = kinds();
    records.0.push((json!({"k": {"#type": "sparse_vector", "indices": [3], "values": [1.5]}}), None));
    records.0.push((json!({"k": false}), None));
    assert_eq!(records.where_(json!({"k": {"$exists": true}})), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15]);
    assert_eq!(records.where_(json!({"k": {"$exists": false}})), [12, 13]);
    assert_eq!(records.where_(json!({"other": {"$exists": true}})), [12]);
    assert_eq!(records.where_(json!({"absent": {"$exists": true}})), [0; 0]);
    let both = json!({"$and": [{"k": {"$exists": true}}, {"k": {"$not_startsWith": "p"}}, {"k": {"$ne": 1}}]});
    assert_eq!(records.where_(both), [2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15]);
}

#[test]
fn a_document_exists_even_if_it_is_empty() {
    let records = Records::with_documents([Some("a"), None, Some("")]);
    assert_eq!(records.where_(json!({"#document": {"$exists": true}})), [0, 2]);
    assert_eq!(records.where_(json!({"#document": {"$exists": false}})), [1]);
}

#[test]
fn reserved_keys_have_no_strings() {
    for operator in ["$startsWith", "$istartsWith", "$ieq", "$icontains"] {
        assert_eq!(kinds().where_(json!({"#x": {operator: ""}})), [0; 0]);
    }
    assert_eq!(kinds().where_(json!({"#x": {"$ine": ""}})), all_but(&[]));
    assert_eq!(kinds().where_(json!({"#x": {"$gt": {"$date": "2024-05-01"}}})), [0; 0]);
    assert_eq!(kinds().selected(&Filter::exists("#x")), [0; 0]);
}

#[test]
fn each_form_means_the_filter_of_a_constructor() {
    let date = || DateTime::parse("2024-05-01T00:00:00Z").unwrap();
    let cases = [
        (json!({"k": {"$startsWith": "a"}}), Filter::starts_with("k", "a")),
        (json!({"k": {"$not_startsWith": "a"}}), !Filter::starts_with("k", "a")),
        (json!({"k": {"$istartsWith": "A"}}), Filter::starts_with_ignore_case("k", "a")),
        (json!({"k": {"$ieq": "A"}}), Filter::eq_ignore_case("k", "a")),
        (json!({"k": {"$ine": "A"}}), !Filter::eq_ignore_case("k", "a")),
        (json!({"k": {"$not_icontains": "A"}}), !Filter::contains_ignore_case("k", "a")),
        (json!({"k": {"$exists": false}}), !Filter::exists("k")),
        (json!({"k": {"$date": "2024-05-01"}}), Filter::eq("k", date())),
        (json!({"k": {"$ne": {"$date": "2024-05-01"}}}), Filter::ne("k", date())),
        (json!({"k": {"$lte": {"$date": "2024-05-01T01:00:00+01:00"}}}), Filter::lte("k", date())),
        (json!({"k": {"$in": [{"$date": "2024-05-01"}]}}), Filter::eq("k", date())),
        (json!({"#document": {"$startsWith": "A"}}), Filter::document_starts_with("A")),
        (json!({"#document": {"$istartsWith": "A"}}), Filter::document_starts_with_ignore_case("a")),
        (json!({"#document": {"$not_icontains": "A"}}), !Filter::document_contains_ignore_case("a")),
    ];
    for (json, expected) in cases {
        assert_eq!(Filter::parse_where(&json), Ok(expected), "{json}");
    }
    assert!(Filter::exists("k").reads_metadata() && !Filter::exists("k").reads_documents());
}

#[test]
fn bad_operands_are_refused_at_their_place() {
    let date = "expected an RFC 3339 date-time such as \"2024-05-01T09:30:00Z\" or a date such as \"2024-05-01\"";
    let cases = [
        (json!({"k": {"$startsWith": 5}}), "where.k.$startsWith: expected a string, got the number 5".to_owned()),
        (json!({"k": {"$not_istartsWith": null}}), "where.k.$not_istartsWith: expected a string, got null".to_owned()),
        (json!({"k": {"$ieq": ["a"]}}), "where.k.$ieq: expected a string, got a list".to_owned()),
        (json!({"k": {"$icontains": true}}), "where.k.$icontains: expected a string, got the boolean true".to_owned()),
        (json!({"k": {"$exists": 1}}), "where.k.$exists: expected true or false, got the number 1".to_owned()),
        (
            json!({"k": {"$exists": "yes"}}),
            "where.k.$exists: expected true or false, got the string \"yes\"".to_owned(),
        ),
        (
            json!({"#id": {"$exists": true}}),
            "where.#id.$exists: expected a metadata key or #document before $exists".to_owned(),
        ),
        (json!({"k": {"$date": 5}}), format!("where.k.$date: {date}, got the number 5")),
        (json!({"k": {"$gt": {"$date": "May"}}}), format!("where.k.$gt.$date: {date}, got the string \"May\"")),
        (json!({"k": {"$eq": {"$date": null}}}), format!("where.k.$eq.$date: {date}, got null")),
        (
            json!({"k": {"$in": [{"$date": "2024-05-01"}, {"$date": "2024-5-1"}]}}),
            format!("where.k.$in[1].$date: {date}, got the string \"2024-5-1\""),
        ),
        (
            json!({"k": {"$in": [{"$date": "2024-05-01"}, "2024-05-01"]}}),
            "where.k.$in[1]: expected a date, as the list's first value is, got the string \"2024-05-01\"".to_owned(),
        ),
        (
            json!({"k": {"$gte": "2024-05-01"}}),
            "where.k.$gte: expected a number, got the string \"2024-05-01\"; a time is {\"$date\": \"2024-05-01\"}"
                .to_owned(),
        ),
        (
            json!({"k": {"$lt": {"$date": "2024-05-01", "x": 1}}}),
            "where.k.$lt: expected a number, got an object".to_owned(),
        ),
        (json!({"k": {"$startsWith": {"$date": "2024-05-01"}}}), "where.k.$startsWith: expected a string".to_owned()),
    ];
    for (json, message) in cases {
        let said = where_error(&json);
        assert!(said.starts_with(&message), "{json}\n  said {said}\n  not  {message}");
    }
    let error = Filter::parse_where_document(&json!({"$istartsWith": 1})).unwrap_err();
    assert_eq!(error.message, "where_document.$istartsWith: expected a string, got the number 1");
    assert_eq!(error.clause, Clause::WhereDocument);
}

#[test]
fn ids_have_no_parts_to_test() {
    for operator in ["$startsWith", "$not_startsWith", "$istartsWith", "$ieq", "$ine", "$icontains"] {
        let refused = Filter::parse_where_with_ids(&json!({"#id": {operator: "a"}})).unwrap_err();
        assert!(refused.message.contains("expected one of $eq, $ne, $in, $nin"), "{refused}");
    }
    let by_date = Filter::parse_where_with_ids(&json!({"#id": {"$date": "2024-05-01"}})).unwrap();
    assert_eq!(kinds().selected(&by_date), [0; 0]);
}

#[test]
fn what_is_almost_an_operator_is_told_the_one_that_is_meant() {
    for (operator, meant) in [
        ("$starts_with", "$startsWith"),
        ("startswith", "$startsWith"),
        ("$prefix", "$startsWith"),
        ("$iStartsWith", "$istartsWith"),
        ("$notStartsWith", "$not_startsWith"),
        ("exist", "$exists"),
        ("$ilike", "$icontains"),
    ] {
        let error = where_error(&json!({"k": {operator: "a"}}));
        assert!(error.ends_with(&format!("did you mean {meant}?")), "{error}");
    }
}
