//! The two evaluators agree. The inputs: random records and filters, with the numbers and texts that break casts and
//! dictionaries; texts that no writer of ours makes; more rows than one block.

use std::collections::BTreeMap;

use arrow::array::StringArray;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Columns, DateTime, Filter, Limit, Number, RowTexts, Scalar};
use crate::interrupt::Interrupt;
use crate::record::{MetaValue, Metadata};

const KEYS: [&str; 4] = ["a", "b", "ключ", ""];

fn int() -> impl Strategy<Value = i64> {
    let hostile =
        [0, 1, -1, 2, 1 << 53, (1 << 53) + 1, (1 << 53) - 1, -(1 << 53) - 1, i64::MAX, i64::MAX - 1, i64::MIN];
    prop_oneof![4 => prop::sample::select(hostile.to_vec()), 3 => -3..3_i64, 1 => any::<i64>()]
}

fn float() -> impl Strategy<Value = f64> {
    const TWO_53: f64 = 9_007_199_254_740_992.0;
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    let hostile = [
        0.0,
        -0.0,
        1.0,
        1.5,
        -0.5,
        5e-324,
        TWO_53,
        TWO_53 + 2.0,
        -TWO_53,
        TWO_63,
        -TWO_63,
        TWO_63 - 1024.0,
        1e300,
        -1e300,
    ];
    prop_oneof![
        4 => prop::sample::select(hostile.to_vec()),
        2 => (-3..3_i32).prop_map(f64::from),
        1 => prop::num::f64::NORMAL,
    ]
}

fn text() -> impl Strategy<Value = String> {
    let hostile = ["", "a", "b", "ab", "aé", "é", "1", "true", "\0", "\"\\", "🦀", "\u{10ffff}", "a\nb", "世界"];
    let cased = ["A", "AB", "É", "οδος", "ΟΔΟΣ", "ΟΔΟΣΑ", "İ", "i\u{307}", "ß", "ẞ", "SS", "ǅ", "K"];
    prop_oneof![
        5 => prop::sample::select(hostile.to_vec()).prop_map(str::to_owned),
        3 => prop::sample::select(cased.to_vec()).prop_map(str::to_owned),
        3 => date_text(),
        1 => "\\PC{0,6}",
    ]
}

/// Texts of few instants, each in several forms, and texts that are almost dates.
fn date_text() -> impl Strategy<Value = String> {
    let whole = ["2024-05-01", "2024-05-01T02:00:00+02:00", "2024-02-29 23:59:60.5z", "0000-01-01", "9999-12-31"];
    let almost = ["2024-02-30", "2024-05-01T00:00:00", "2024-05-01 ", "1"];
    let made = (1..3_u32, 0..2_u32, 0..3_u32, prop::sample::select(vec!["", ".0", ".5", ".000000001"]))
        .prop_map(|(day, second, hours, part)| format!("2024-05-0{day}T0{hours}:00:0{second}{part}+0{hours}:00"));
    let listed = [whole.to_vec(), almost.to_vec()].concat();
    prop_oneof![prop::sample::select(listed).prop_map(str::to_owned), made]
}

fn date() -> impl Strategy<Value = DateTime> {
    date_text().prop_filter_map("no date", |text| DateTime::parse(&text).ok())
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![2 => number().prop_map(Limit::from), 1 => date().prop_map(Limit::from)]
}

fn sparse_vector() -> MetaValue {
    let json = json!({"#type": "sparse_vector", "indices": [1, 7], "values": [0.5, 2.0]});
    MetaValue::from_json(&json).unwrap()
}

fn meta_value() -> impl Strategy<Value = MetaValue> {
    prop_oneof![
        any::<bool>().prop_map(MetaValue::Bool),
        int().prop_map(MetaValue::Int),
        float().prop_map(MetaValue::Float),
        text().prop_map(MetaValue::Str),
        prop::collection::vec(any::<bool>(), 0..3).prop_map(MetaValue::Bools),
        prop::collection::vec(int(), 0..4).prop_map(MetaValue::Ints),
        prop::collection::vec(float(), 0..4).prop_map(MetaValue::Floats),
        prop::collection::vec(text(), 0..4).prop_map(MetaValue::Strs),
        Just(sparse_vector()),
    ]
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(KEYS.to_vec())
}

fn metadata() -> impl Strategy<Value = Option<Metadata>> {
    let pairs = prop::collection::btree_map(key().prop_map(str::to_owned), meta_value(), 0..4);
    prop::option::weighted(0.9, pairs.prop_map(Metadata))
}

fn record() -> impl Strategy<Value = (Option<Metadata>, Option<String>)> {
    (metadata(), prop::option::weighted(0.8, text()))
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![int().prop_map(Number::from), float().prop_map(Number::from)]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        1 => any::<bool>().prop_map(Scalar::from),
        3 => number().prop_map(Scalar::from),
        2 => text().prop_map(Scalar::from),
        1 => date().prop_map(Scalar::from),
    ]
}

fn leaf() -> impl Strategy<Value = Filter> {
    let regexes = ["", "a", "^a", "b$", "(?i)A", "a.b", "\\d|é", "[^a]"];
    prop_oneof![
        (key(), scalar()).prop_map(|(k, v)| Filter::eq(k, v)),
        (key(), scalar()).prop_map(|(k, v)| Filter::ne(k, v)),
        (key(), prop::collection::vec(scalar(), 0..30)).prop_map(|(k, v)| Filter::is_in(k, v)),
        (key(), limit()).prop_map(|(k, n)| Filter::gt(k, n)),
        (key(), limit()).prop_map(|(k, n)| Filter::gte(k, n)),
        (key(), limit()).prop_map(|(k, n)| Filter::lt(k, n)),
        (key(), limit()).prop_map(|(k, n)| Filter::lte(k, n)),
        (key(), scalar()).prop_map(|(k, v)| Filter::contains(k, v)),
        (key(), text()).prop_map(|(k, t)| Filter::starts_with(k, t)),
        (key(), text()).prop_map(|(k, t)| Filter::starts_with_ignore_case(k, t)),
        (key(), text()).prop_map(|(k, t)| Filter::eq_ignore_case(k, t)),
        (key(), text()).prop_map(|(k, t)| Filter::contains_ignore_case(k, t)),
        key().prop_map(Filter::exists),
        text().prop_map(Filter::document_contains),
        text().prop_map(Filter::document_contains_ignore_case),
        text().prop_map(Filter::document_starts_with),
        text().prop_map(Filter::document_starts_with_ignore_case),
        prop::collection::vec(0..200_u32, 0..40).prop_map(|rows| Filter::ids(rows.into_iter().map(id))),
        prop::sample::select(regexes.to_vec()).prop_map(|r| Filter::document_matches(r).unwrap()),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::and),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::or),
            inner.prop_map(|f| !f),
        ]
    })
}

/// The id of a row.
fn id(row: u32) -> String {
    format!("record {row}")
}

fn ids(rows: usize) -> StringArray {
    (0..rows as u32).map(|row| Some(id(row))).collect()
}

fn by_record(filter: &Filter, metadatas: &StringArray, documents: &StringArray) -> Vec<u32> {
    let matches = |row: u32, (metadata, document): (Option<&str>, Option<&str>)| {
        let metadata = metadata.and_then(|t| Metadata::from_json_text(t).ok());
        filter.matches_within(&id(row), metadata.as_ref(), document, &Interrupt::never()).unwrap()
    };
    let rows = (0..).zip(metadatas.iter().zip(documents));
    rows.filter(|(row, texts)| matches(*row, *texts)).map(|(row, _)| row).collect()
}

fn by_columns(filter: &Filter, metadatas: &StringArray, documents: &StringArray) -> Vec<u32> {
    selected(filter, &Columns::build(metadatas), documents)
}

fn selected(filter: &Filter, columns: &Columns, documents: &StringArray) -> Vec<u32> {
    let texts = RowTexts { ids: &ids(columns.len()), documents };
    filter.evaluate(columns, texts, &Interrupt::never()).unwrap().iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_evaluators_select_the_same_rows(
        records in prop::collection::vec(record(), 0..150),
        filters in prop::collection::vec(filter(), 1..12),
    ) {
        let metadatas: StringArray = records.iter().map(|(m, _)| m.as_ref().map(Metadata::to_json_text)).collect();
        let documents: StringArray = records.iter().map(|(_, d)| d.as_deref()).collect();
        let columns = Columns::build(&metadatas);
        for filter in &filters {
            let selected = selected(filter, &columns, &documents);
            prop_assert_eq!(selected, by_record(filter, &metadatas, &documents), "{:?}", filter);
        }
    }

    #[test]
    fn parsing_never_panics_and_what_it_accepts_both_evaluators_understand(json in any_json()) {
        for parsed in [Filter::parse_where(&json), Filter::parse_where_document(&json)] {
            match parsed {
                Ok(filter) => {
                    let (metadatas, documents) = fixed_records();
                    prop_assert_eq!(
                        by_columns(&filter, &metadatas, &documents),
                        by_record(&filter, &metadatas, &documents)
                    );
                }
                Err(error) => prop_assert!(error.message.starts_with("where"), "{}", error.message),
            }
        }
    }
}

fn fixed_records() -> (StringArray, StringArray) {
    let metadatas = vec![Some(r#"{"a":1,"b":"x"}"#), Some(r#"{"a":[1,2]}"#), Some("{}"), None];
    (metadatas.into(), vec![Some("a"), None, Some(""), Some("ab")].into())
}

/// JSON whose keys are mostly the language's own words.
fn any_json() -> impl Strategy<Value = Value> {
    let words = [
        "$and",
        "$or",
        "$eq",
        "$ne",
        "$gt",
        "$lte",
        "$in",
        "$nin",
        "$contains",
        "$not_contains",
        "$regex",
        "$not_regex",
        "$startsWith",
        "$not_istartsWith",
        "$icontains",
        "$ieq",
        "$ine",
        "$exists",
        "$date",
        "#document",
        "#id",
        "a",
        "b",
        "$",
        "",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        int().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        float().prop_map(Value::from),
        text().prop_map(Value::from),
        "[()*a\\[\\\\]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 32, 4, move |inner| {
        let word = prop::sample::select(words.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => (word.clone(), inner.clone()).prop_map(|(k, v)| json!({ k: v })),
            1 => prop::collection::btree_map(word, inner, 0..3)
                .prop_map(|map: BTreeMap<String, Value>| map.into_iter().collect()),
        ]
    })
}

#[test]
fn texts_from_other_writers_read_the_same_in_both_evaluators() {
    let texts = [
        r#"{"b":1,"a":2}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"b":1,"a":[2]}"#,
        r#"{"a":[1,2],"a":1}"#,
        r#"{ "a" : 1 , "b" : "\u0061\n" }"#,
        r#"{"\u0061":2}"#,
        r#"{"a":18446744073709551615}"#,
        r#"{"a":-0}"#,
        r#"{"a":-0.0}"#,
        r#"{"a":1e0}"#,
        r#"{"a":[1,2.0]}"#,
        r#"{"a":[1,18446744073709551615]}"#,
        r#"{"a":[2,"x"]}"#,
        r#"{"a":2,"b":null}"#,
        r#"{"a":2,"b":{}}"#,
        r#"{"a":2,"b":[[1]]}"#,
        r#"{"a":2,"b":1e999}"#,
        r#"{"a":2"#,
        r#"{"a":2} 1"#,
        r#"[1]"#,
        r#""a""#,
        "null",
        "",
        r#"{"#,
        r#"{"a":[]}"#,
    ];
    let metadatas: StringArray = texts.iter().map(Some).collect();
    let documents = StringArray::new_null(texts.len());
    let values = [json!(0), json!(1), json!(2), json!(2.0), json!(1.0), json!("a\n"), json!("x"), json!(u64::MAX)];
    for key in ["a", "b"] {
        for value in &values {
            for operator in ["$eq", "$ne", "$contains"] {
                let filter = Filter::parse_where(&json!({key: {operator: value}})).unwrap();
                let expected = by_record(&filter, &metadatas, &documents);
                assert_eq!(by_columns(&filter, &metadatas, &documents), expected, "{filter:?}");
            }
        }
    }
    assert_eq!(by_columns(&Filter::eq("a", 2), &metadatas, &documents), [0, 1, 5]);
    assert_eq!(by_columns(&Filter::exists("a"), &metadatas, &documents), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 24]);
    for key in ["a", "b"] {
        let exists = Filter::exists(key);
        assert_eq!(by_columns(&exists, &metadatas, &documents), by_record(&exists, &metadatas, &documents));
    }
}

#[test]
fn more_rows_than_one_block_keep_their_numbers() {
    let rows = 140_000_u32;
    let metadatas: StringArray = (0..rows).map(|i| (i % 3 != 0).then(|| format!("{{\"n\":{i}}}"))).collect();
    let documents: StringArray = (0..rows).map(|i| (i % 2 == 0).then_some("even")).collect();
    let columns = Columns::build(&metadatas);
    assert_eq!(columns.len(), rows as usize);
    let filter = Filter::and([Filter::gte("n", 65_530), Filter::lt("n", 131_080), Filter::document_contains("even")]);
    let expected: Vec<u32> = (65_530..131_080).filter(|i| i % 3 != 0 && i % 2 == 0).collect();
    assert_eq!(selected(&filter, &columns, &documents), expected);
    let none = !Filter::gte("n", 0);
    assert_eq!(selected(&none, &columns, &documents).len(), rows.div_ceil(3) as usize);
    let named = [3, 65_535, 65_536, 139_999, 140_000];
    assert_eq!(selected(&Filter::ids(named.map(id)), &columns, &documents), &named[..4]);
    assert_eq!(selected(&!Filter::ids(named.map(id)), &columns, &documents).len(), rows as usize - 4);
}

#[test]
fn rows_past_the_documents_have_none() {
    let columns = Columns::build(&StringArray::new_null(3));
    let documents = StringArray::from(vec!["a"]);
    assert_eq!(selected(&Filter::document_contains("a"), &columns, &documents), [0]);
    assert_eq!(selected(&!Filter::document_contains("a"), &columns, &documents), [1, 2]);
    let texts = RowTexts { ids: &ids(1), documents: &documents };
    let without = !Filter::ids([id(0), id(2)]);
    assert_eq!(without.evaluate(&columns, texts, &Interrupt::never()).unwrap().iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn no_rows_give_no_rows() {
    let columns = Columns::build(&StringArray::new_null(0));
    assert!(columns.is_empty());
    assert_eq!(selected(&Filter::and([]), &columns, &StringArray::new_null(0)), [0; 0]);
}

#[test]
fn a_key_of_few_values_costs_a_few_bytes_a_row() {
    let metadatas: StringArray =
        (0..16_384).map(|i| Some(format!("{{\"kind\":\"a long name number {}\"}}", i % 10))).collect();
    let size_bytes = Columns::build(&metadatas).size_bytes();
    assert!((2 * 16_384..3 * 16_384).contains(&size_bytes), "{size_bytes} bytes");
}

#[test]
fn that_a_row_has_a_key_costs_two_bytes_where_no_value_of_it_is_kept() {
    let metadatas: StringArray = (0..16_384).map(|i| (i % 2 == 0).then_some(r#"{"terms":[]}"#)).collect();
    let size_bytes = Columns::build(&metadatas).size_bytes();
    assert!((16_384..18_000).contains(&size_bytes), "{size_bytes} bytes");
}
