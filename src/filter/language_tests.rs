//! Each rule of the filter language as a test. Both evaluators answer every case.

use arrow::array::StringArray;
use serde_json::{Value, json};

use super::{Columns, Filter, RowTexts};
use crate::interrupt::Interrupt;
use crate::record::Metadata;

/// Records as (metadata, document); null metadata means none.
pub(super) struct Records(pub(super) Vec<(Value, Option<&'static str>)>);

impl Records {
    pub(super) fn with_metadata(metadatas: impl IntoIterator<Item = Value>) -> Records {
        Records(metadatas.into_iter().map(|m| (m, None)).collect())
    }

    pub(super) fn with_documents(documents: impl IntoIterator<Item = Option<&'static str>>) -> Records {
        Records(documents.into_iter().map(|d| (Value::Null, d)).collect())
    }

    /// The numbers of the records that match, by the record evaluator. Also checks that the evaluator over columns
    /// agrees.
    pub(super) fn selected(&self, filter: &Filter) -> Vec<u32> {
        let texts: Vec<Option<String>> = self
            .0
            .iter()
            .map(|(m, _)| (!m.is_null()).then(|| Metadata::from_json(m).unwrap().to_json_text()))
            .collect();
        let documents: StringArray = self.0.iter().map(|(_, d)| *d).collect();
        // The record at place 7 is "r7".
        let ids: StringArray = (0..self.0.len()).map(|i| Some(format!("r{i}"))).collect();
        let columns = Columns::build(&texts.iter().map(Option::as_deref).collect());
        let selected = filter.evaluate(&columns, RowTexts { ids: &ids, documents: &documents }, &Interrupt::never());
        let by_columns = selected.unwrap();
        let matches = |i: &usize| {
            let metadata = texts[*i].as_deref().map(|t| Metadata::from_json_text(t).unwrap());
            filter.matches_within(ids.value(*i), metadata.as_ref(), self.0[*i].1, &Interrupt::never()).unwrap()
        };
        let selected: Vec<u32> = (0..self.0.len()).filter(matches).map(|i| i as u32).collect();
        assert_eq!(by_columns.iter().collect::<Vec<_>>(), selected, "columns and records disagree on {filter:?}");
        selected
    }

    pub(super) fn where_(&self, json: Value) -> Vec<u32> {
        self.selected(&Filter::parse_where(&json).unwrap())
    }

    pub(super) fn where_document(&self, json: Value) -> Vec<u32> {
        self.selected(&Filter::parse_where_document(&json).unwrap())
    }
}

/// One record of each kind under key `k`; 12 lacks it, 13 has no metadata.
pub(super) fn kinds() -> Records {
    Records::with_metadata([
        json!({"k": 1}),
        json!({"k": 1.0}),
        json!({"k": true}),
        json!({"k": "1"}),
        json!({"k": [1, 2]}),
        json!({"k": [1.0, 2.5]}),
        json!({"k": [true]}),
        json!({"k": ["1", "p"]}),
        json!({"k": []}),
        json!({"k": 2}),
        json!({"k": 2.5}),
        json!({"k": "pq"}),
        json!({"other": 1}),
        Value::Null,
    ])
}

pub(super) fn all_but(selected: &[u32]) -> Vec<u32> {
    (0..14).filter(|i| !selected.contains(i)).collect()
}

#[test]
fn a_bare_value_means_equals() {
    assert_eq!(kinds().where_(json!({"k": "pq"})), [11]);
    assert_eq!(kinds().where_(json!({"k": "pq"})), kinds().where_(json!({"k": {"$eq": "pq"}})));
}

#[test]
fn integers_and_floats_are_equal_by_value() {
    assert_eq!(kinds().where_(json!({"k": 1})), [0, 1]);
    assert_eq!(kinds().where_(json!({"k": 1.0})), [0, 1]);
    assert_eq!(kinds().where_(json!({"k": {"$in": [1]}})), [0, 1]);
    assert_eq!(kinds().where_(json!({"k": {"$in": [2.0, 2.5]}})), [9, 10]);
}

#[test]
fn ranges_see_integers_and_floats() {
    assert_eq!(kinds().where_(json!({"k": {"$gt": 1}})), [9, 10]);
    assert_eq!(kinds().where_(json!({"k": {"$gte": 1}})), [0, 1, 9, 10]);
    assert_eq!(kinds().where_(json!({"k": {"$lt": 2.5}})), [0, 1, 9]);
    assert_eq!(kinds().where_(json!({"k": {"$lte": 2.5}})), [0, 1, 9, 10]);
    assert_eq!(kinds().where_(json!({"k": {"$gt": 1.5}})), [9, 10]);
    assert_eq!(kinds().where_(json!({"k": {"$lte": 1.5}})), [0, 1]);
}

#[test]
fn large_integers_compare_exactly() {
    let records = Records::with_metadata([
        json!({"k": 9_007_199_254_740_991_i64}),
        json!({"k": 9_007_199_254_740_992_i64}),
        json!({"k": 9_007_199_254_740_993_i64}),
        json!({"k": 9_007_199_254_740_992.0}),
        json!({"k": i64::MAX}),
        json!({"k": 9_223_372_036_854_775_808_u64}),
        json!({"k": i64::MIN}),
    ]);
    assert_eq!(records.where_(json!({"k": 9_007_199_254_740_993_i64})), [2]);
    assert_eq!(records.where_(json!({"k": 9_007_199_254_740_992_i64})), [1, 3]);
    assert_eq!(records.where_(json!({"k": 9_007_199_254_740_992.0})), [1, 3]);
    assert_eq!(records.where_(json!({"k": {"$gt": 9_007_199_254_740_992.0}})), [2, 4, 5]);
    assert_eq!(records.where_(json!({"k": {"$lt": 9_007_199_254_740_993_i64}})), [0, 1, 3, 6]);
    assert_eq!(records.where_(json!({"k": i64::MAX})), [4]);
    assert_eq!(records.where_(json!({"k": {"$gt": i64::MAX}})), [5]);
    assert_eq!(records.where_(json!({"k": 9_223_372_036_854_775_808_u64})), [5]);
    assert_eq!(records.where_(json!({"k": -9_223_372_036_854_775_808.0})), [6]);
}

#[test]
fn zero_and_minus_zero_are_equal() {
    let records =
        Records::with_metadata([json!({"k": 0}), json!({"k": 0.0}), json!({"k": -0.0}), json!({"k": [-0.0]})]);
    for zero in [json!(0), json!(0.0), json!(-0.0)] {
        assert_eq!(records.where_(json!({ "k": zero })), [0, 1, 2]);
        assert_eq!(records.where_(json!({"k": {"$lt": zero}})), [0; 0]);
        assert_eq!(records.where_(json!({"k": {"$gte": zero}})), [0, 1, 2]);
    }
    assert_eq!(records.where_(json!({"k": {"$contains": 0.0}})), [3]);
}

#[test]
fn a_boolean_is_a_type_of_its_own() {
    assert_eq!(kinds().where_(json!({"k": true})), [2]);
    assert_eq!(kinds().where_(json!({"k": false})), [0; 0]);
    assert_eq!(kinds().where_(json!({"k": {"$in": [true, false]}})), [2]);
}

#[test]
fn a_string_equals_only_a_string() {
    assert_eq!(kinds().where_(json!({"k": "1"})), [3]);
    assert_eq!(kinds().where_(json!({"k": "true"})), [0; 0]);
    assert_eq!(kinds().where_(json!({"k": "PQ"})), [0; 0]);
}

#[test]
fn negative_tests_match_every_record_that_the_positive_one_does_not() {
    for (positive, negative) in [("$eq", "$ne"), ("$contains", "$not_contains")] {
        for value in [json!(1), json!(1.0), json!(true), json!("1"), json!("absent")] {
            let selected = kinds().where_(json!({"k": {positive: value}}));
            assert_eq!(kinds().where_(json!({"k": {negative: value}})), all_but(&selected));
        }
    }
    let selected = kinds().where_(json!({"k": {"$in": ["1", "pq"]}}));
    assert_eq!(selected, [3, 11]);
    assert_eq!(kinds().where_(json!({"k": {"$nin": ["1", "pq"]}})), all_but(&selected));
}

#[test]
fn negative_tests_match_records_without_the_key_or_without_metadata() {
    for json in
        [json!({"absent": {"$ne": 1}}), json!({"absent": {"$nin": [1]}}), json!({"absent": {"$not_contains": 1}})]
    {
        assert_eq!(kinds().where_(json), all_but(&[]));
    }
}

#[test]
fn positive_tests_never_match_records_without_the_key() {
    let tests = [
        json!({"$eq": 1}),
        json!({"$gt": 0}),
        json!({"$gte": 0}),
        json!({"$lt": 9}),
        json!({"$lte": 9}),
        json!({"$in": [1]}),
        json!({"$contains": 1}),
    ];
    for test in tests {
        assert_eq!(kinds().where_(json!({ "absent": test })), [0; 0]);
    }
}

#[test]
fn scalar_tests_never_match_a_list() {
    assert_eq!(kinds().where_(json!({"k": "p"})), [0; 0]);
    assert_eq!(kinds().where_(json!({"k": {"$in": ["p"]}})), [0; 0]);
    assert_eq!(kinds().where_(json!({"k": {"$gte": 2}})), [9, 10]);
}

#[test]
fn contains_finds_an_element_of_the_lists_own_kind() {
    assert_eq!(kinds().where_(json!({"k": {"$contains": "p"}})), [7]);
    assert_eq!(kinds().where_(json!({"k": {"$contains": 1}})), [4]);
    assert_eq!(kinds().where_(json!({"k": {"$contains": 1.0}})), [5]);
    assert_eq!(kinds().where_(json!({"k": {"$contains": 2}})), [4]);
    assert_eq!(kinds().where_(json!({"k": {"$contains": true}})), [6]);
    assert_eq!(kinds().where_(json!({"k": {"$contains": false}})), [0; 0]);
}

#[test]
fn contains_is_not_a_substring_test() {
    assert_eq!(kinds().where_(json!({"k": {"$contains": "q"}})), [0; 0]);
    assert_eq!(kinds().where_(json!({"k": {"$contains": "pq"}})), [0; 0]);
    assert_eq!(kinds().where_(json!({"k": {"$contains": ""}})), [0; 0]);
}

#[test]
fn ne_and_nin_match_lists() {
    assert!(kinds().where_(json!({"k": {"$ne": "p"}})).contains(&7));
    assert!(kinds().where_(json!({"k": {"$nin": ["p", "1"]}})).contains(&7));
}

#[test]
fn an_and_of_nothing_is_all_and_an_or_of_nothing_is_none() {
    assert_eq!(kinds().where_(json!({"$and": []})), all_but(&[]));
    assert_eq!(kinds().where_(json!({"$or": []})), [0; 0]);
    assert_eq!(kinds().where_document(json!({"$and": []})), all_but(&[]));
    assert_eq!(kinds().where_document(json!({"$or": []})), [0; 0]);
}

#[test]
fn an_and_or_or_of_one_is_that_one() {
    assert_eq!(kinds().where_(json!({"$and": [{"k": 1}]})), [0, 1]);
    assert_eq!(kinds().where_(json!({"$or": [{"k": 1}]})), [0, 1]);
}

#[test]
fn conditions_nest() {
    let json = json!({"$or": [{"$and": [{"k": {"$gt": 1}}, {"k": {"$ne": 2.5}}]}, {"other": 1}]});
    assert_eq!(kinds().where_(json), [9, 12]);
}

#[test]
fn document_operators_work_inside_where() {
    let records = Records(vec![
        (json!({"k": 1}), Some("red apple")),
        (json!({"k": 1}), Some("green pear")),
        (json!({"k": 2}), Some("red cherry")),
        (json!({"k": 1}), None),
    ]);
    assert_eq!(records.where_(json!({"#document": {"$contains": "red"}})), [0, 2]);
    assert_eq!(records.where_(json!({"#document": {"$not_contains": "red"}})), [1, 3]);
    assert_eq!(records.where_(json!({"#document": {"$regex": "^red a"}})), [0]);
    assert_eq!(records.where_(json!({"#document": {"$not_regex": "^red a"}})), [1, 2, 3]);
    assert_eq!(records.where_(json!({"$and": [{"#document": {"$contains": "red"}}, {"k": 1}]})), [0]);
    assert_eq!(records.where_(json!({"$or": [{"#document": {"$contains": "pear"}}, {"k": 2}]})), [1, 2]);
}

#[test]
fn where_and_where_document_are_joined_with_and() {
    let records =
        Records(vec![(json!({"k": 1}), Some("a")), (json!({"k": 1}), Some("b")), (json!({"k": 2}), Some("a"))]);
    let filter = Filter::parse(Some(&json!({"k": 1})), Some(&json!({"$contains": "a"}))).unwrap().unwrap();
    assert_eq!(records.selected(&filter), [0]);
}

#[test]
fn other_hash_keys_match_nothing_and_their_negations_everything() {
    for key in ["#id", "#embedding", "#document", "#x"] {
        assert_eq!(kinds().where_(json!({key: "a"})), [0; 0]);
        assert_eq!(kinds().where_(json!({key: {"$in": ["a"]}})), [0; 0]);
        assert_eq!(kinds().where_(json!({key: {"$gte": 0}})), [0; 0]);
        assert_eq!(kinds().where_(json!({key: {"$ne": "a"}})), all_but(&[]));
        assert_eq!(kinds().where_(json!({key: {"$nin": ["a"]}})), all_but(&[]));
    }
    assert_eq!(kinds().where_(json!({"#id": {"$contains": "a"}})), [0; 0]);
    assert_eq!(kinds().where_(json!({"#id": {"$not_contains": "a"}})), all_but(&[]));
}

#[test]
fn ids_are_tested_at_any_depth_where_the_language_has_them() {
    let by_ids = |json: Value| kinds().selected(&Filter::parse_where_with_ids(&json).unwrap());
    assert_eq!(by_ids(json!({"#id": "r3"})), [3]);
    assert_eq!(by_ids(json!({"#id": {"$eq": "r3"}})), [3]);
    assert_eq!(by_ids(json!({"#id": {"$ne": "r3"}})), all_but(&[3]));
    assert_eq!(by_ids(json!({"#id": {"$in": ["r5", "zz", "r2", "r5"]}})), [2, 5]);
    assert_eq!(by_ids(json!({"#id": {"$nin": ["r5", "zz"]}})), all_but(&[5]));
    assert_eq!(by_ids(json!({"$or": [{"#id": "r13"}, {"k": 2}]})), [9, 13]);
    assert_eq!(by_ids(json!({"$and": [{"#id": {"$nin": ["r0"]}}, {"k": 1}]})), [1]);
    let nested = json!({"$or": [{"$and": [{"#id": {"$in": ["r0", "r3"]}}, {"k": 1}]}, {"#id": "r11"}]});
    assert_eq!(by_ids(nested), [0, 11]);
    // An id is a string: it equals no number.
    assert_eq!(by_ids(json!({"#id": 5})), [0; 0]);
    assert_eq!(by_ids(json!({"#id": {"$nin": [5]}})), all_but(&[]));
    assert_eq!(by_ids(json!({"#id": {"$contains": "r"}})), [0; 0]);
    assert_eq!(by_ids(json!({"#id": {"$not_contains": "r"}})), all_but(&[]));
    for operator in ["$gt", "$gte", "$lt", "$lte"] {
        let refused = Filter::parse_where_with_ids(&json!({"#id": {operator: 5}})).unwrap_err();
        assert!(refused.message.contains("ids have no order"), "{refused}");
    }
}

#[test]
fn ids_that_every_match_must_have_are_taken_out() {
    let named = |ids: &[&str]| Filter::ids(ids.iter().map(|id| (*id).to_owned()));
    let list = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    let k = || Filter::eq("k", 1);
    assert_eq!(named(&["b", "a"]).split_ids(), (list(&["a", "b"]), None));
    assert_eq!(Filter::and([named(&["a"])]).split_ids(), (list(&["a"]), None));
    let both = Filter::and([named(&["a", "b"]), k(), named(&["b", "c"])]);
    assert_eq!(both.split_ids(), (list(&["b"]), Some(Filter::and([k()]))));
    assert_eq!(Filter::and([named(&["a"]), named(&["b"])]).split_ids(), (list(&[]), None));
    for whole in [k(), !named(&["a"]), Filter::or([named(&["a"]), k()]), Filter::and([])] {
        assert_eq!(whole.clone().split_ids(), (None, Some(whole)));
    }
}

#[test]
fn contains_is_a_case_sensitive_literal_substring() {
    let records = Records::with_documents([Some("100% of a_b*c"), Some("Apple"), Some("apple"), Some("")]);
    assert_eq!(records.where_document(json!({"$contains": "apple"})), [2]);
    assert_eq!(records.where_document(json!({"$contains": "A"})), [1]);
    assert_eq!(records.where_document(json!({"$contains": "%"})), [0]);
    assert_eq!(records.where_document(json!({"$contains": "a_b*"})), [0]);
    assert_eq!(records.where_document(json!({"$contains": "aXb"})), [0; 0]);
    assert_eq!(records.where_document(json!({"$contains": "pl"})), [1, 2]);
}

#[test]
fn contains_works_over_unicode() {
    let records = Records::with_documents([Some("привет мир"), Some("你好世界"), Some("naïve"), Some("🦀")]);
    assert_eq!(records.where_document(json!({"$contains": "мир"})), [0]);
    assert_eq!(records.where_document(json!({"$contains": "世"})), [1]);
    assert_eq!(records.where_document(json!({"$contains": "ï"})), [2]);
    assert_eq!(records.where_document(json!({"$contains": "🦀"})), [3]);
    assert_eq!(records.where_document(json!({"$contains": "МИР"})), [0; 0]);
}

#[test]
fn the_empty_text_and_the_empty_regex_match_every_record_that_has_a_document() {
    let records = Records::with_documents([Some("a"), None, Some("")]);
    assert_eq!(records.where_document(json!({"$contains": ""})), [0, 2]);
    assert_eq!(records.where_document(json!({"$regex": ""})), [0, 2]);
    assert_eq!(records.where_document(json!({"$not_contains": ""})), [1]);
    assert_eq!(records.where_document(json!({"$not_regex": ""})), [1]);
}

#[test]
fn records_without_a_document_fail_positive_and_pass_negative_tests() {
    let records = Records::with_documents([Some("abc"), None]);
    assert_eq!(records.where_document(json!({"$contains": "a"})), [0]);
    assert_eq!(records.where_document(json!({"$regex": "a"})), [0]);
    assert_eq!(records.where_document(json!({"$not_contains": "a"})), [1]);
    assert_eq!(records.where_document(json!({"$not_regex": "a"})), [1]);
    assert_eq!(records.where_document(json!({"$not_contains": "z"})), [0, 1]);
}

#[test]
fn a_regex_searches_unanchored_with_anchors_for_the_whole_text() {
    let records = Records::with_documents([Some("one\ntwo"), Some("two"), Some("TWO three")]);
    assert_eq!(records.where_document(json!({"$regex": "wo"})), [0, 1]);
    assert_eq!(records.where_document(json!({"$regex": "^two"})), [1]);
    assert_eq!(records.where_document(json!({"$regex": "one$"})), [0; 0]);
    assert_eq!(records.where_document(json!({"$regex": "(?m)^two$"})), [0, 1]);
    assert_eq!(records.where_document(json!({"$regex": "(?i)^two"})), [1, 2]);
    assert_eq!(records.where_document(json!({"$regex": "one.two"})), [0; 0]);
    assert_eq!(records.where_document(json!({"$regex": "(?s)one.two"})), [0]);
}

#[test]
fn document_conditions_nest() {
    let records = Records::with_documents([Some("ab"), Some("a"), Some("b"), None]);
    let json = json!({"$or": [{"$and": [{"$contains": "a"}, {"$not_contains": "b"}]}, {"$regex": "^b$"}]});
    assert_eq!(records.where_document(json), [1, 2]);
}

#[test]
fn nothing_is_in_an_empty_list_and_nothing_compares_with_nan() {
    assert_eq!(kinds().selected(&Filter::is_in::<i64>("k", [])), [0; 0]);
    assert_eq!(kinds().selected(&Filter::not_in::<i64>("k", [])), all_but(&[]));
    let with_nan = [Filter::eq("k", f64::NAN), Filter::contains("k", f64::NAN), Filter::is_in("k", [f64::NAN])];
    let ranges = [Filter::lt, Filter::lte, Filter::gt, Filter::gte].map(|range| range("k", f64::NAN));
    for filter in with_nan.into_iter().chain(ranges) {
        assert_eq!(kinds().selected(&filter), [0; 0]);
    }
    assert_eq!(kinds().selected(&Filter::is_in("k", [f64::NAN, 1.0])), [0, 1]);
}

#[test]
fn a_list_of_many_values_selects_the_same_as_its_values_one_by_one() {
    let mut records = kinds();
    records.0.push((json!({"k": "x500"}), None));
    assert_eq!(records.selected(&Filter::is_in("k", (0..1000).map(|i| format!("x{i}")))), [14]);
    assert_eq!(records.selected(&Filter::is_in("k", 1..1000)), [0, 1, 9]);
    assert_eq!(records.selected(&Filter::is_in("k", (0..1000).map(|i| f64::from(i) / 2.0))), [0, 1, 9, 10]);
    assert_eq!(records.selected(&Filter::is_in("k", [true; 1000])), [2]);
}
