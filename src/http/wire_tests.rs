//! The strictness of the wire: invalid requests are refused, and accepted values arrive exactly.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::http::body::decode_json;

fn message<T: serde::de::DeserializeOwned>(body: &str) -> String {
    match decode_json::<T>(body.as_bytes()) {
        Ok(_) => panic!("accepted: {body}"),
        Err(e) => e.message().to_owned(),
    }
}

#[test]
fn every_wrong_field_is_named_by_its_path() {
    let cases = [
        (r#"{"records": [{"id": 5, "embedding": [1]}]}"#, "records[0].id:"),
        (
            r#"{"records": [{"id": "a", "embedding": [1]}, {"id": "b", "embedding": [1, "x"]}]}"#,
            "records[1].embedding[1]:",
        ),
        (r#"{"records": [{"id": "a", "embedding": [1e39]}]}"#, "records[0].embedding[0]: expected a number that fits"),
        (r#"{"records": [{"id": "a", "embedding": [NaN]}]}"#, "records[0].embedding[0]:"),
        (r#"{"records": [{"id": "a", "embedding": [1], "metadata": {"k": {"nested": 1}}}]}"#, "records[0].metadata.k:"),
        (r#"{"records": [{"id": "a", "embedding": [1], "metadata": {"k": null}}]}"#, "records[0].metadata.k:"),
        (r#"{"records": [{"id": "a", "embedding": [1], "metadata": {"k": 1, "k": 2}}]}"#, "key \"k\" is given twice"),
        (r#"{"records": [{"id": "a", "embedding": [1], "docment": "x"}]}"#, "docment"),
        (r#"{"records": [{"embedding": [1]}]}"#, "records[0]: missing field `id`"),
        (r#"{"record": []}"#, "record"),
        (r#"{"records": []} {}"#, "body:"),
        ("   ", "body:"),
    ];
    for (body, expected) in cases {
        let message = message::<RecordsBody>(body);
        assert!(message.contains(expected), "{body} should name {expected}, says {message}");
    }
}

#[test]
fn null_removes_a_key_in_an_update_and_is_refused_in_an_add() {
    let body: UpdatesBody =
        decode_json(br#"{"records": [{"id": "a", "metadata": {"gone": null, "set": 1}}]}"#).unwrap();
    let update = RecordUpdate::from(body.records.0.into_iter().next().unwrap().0);
    let patch = update.metadata.unwrap();
    assert_eq!(patch.0.get("gone"), Some(&None));
    assert_eq!(patch.0.get("set"), Some(&Some(MetaValue::Int(1))));
    assert!(
        message::<RecordsBody>(r#"{"records": [{"id": "a", "embedding": [], "metadata": {"gone": null}}]}"#)
            .contains("gone")
    );
}

#[test]
fn whole_numbers_and_floats_of_metadata_stay_apart() {
    let body: MetadataBody = decode_json(br#"{"whole": 1, "float": 1.0, "large": 9007199254740993}"#).unwrap();
    assert_eq!(body.0.0.get("whole"), Some(&MetaValue::Int(1)));
    assert_eq!(body.0.0.get("float"), Some(&MetaValue::Float(1.0)));
    assert_eq!(body.0.0.get("large"), Some(&MetaValue::Int(9_007_199_254_740_993)));
}

#[test]
fn include_is_everything_but_the_embedding_unless_it_says_otherwise() {
    assert_eq!(include(None), Include::default());
    assert_eq!(include(Some(vec![])), Include::NONE);
    assert_eq!(include(Some(vec![Field::Embedding])), Include { embedding: true, ..Include::NONE });
}

#[test]
fn both_filter_clauses_must_hold() {
    let both = filter(Some(&Tree(json!({"k": 1}))), Some(&Tree(json!({"$contains": "x"})))).unwrap().unwrap();
    let metadata = Metadata::from([("k", 1i64)]);
    assert!(both.matches(Some(&metadata), Some("xyz")));
    assert!(!both.matches(Some(&metadata), Some("abc")));
    assert!(!both.matches(None, Some("xyz")));
}

proptest! {
    #[test]
    fn every_float_an_answer_prints_is_read_back_as_the_same(bits in prop::collection::vec(any::<u32>(), 1..50)) {
        let floats: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|f| f.is_finite()).collect();
        let printed = serde_json::to_vec(&floats).unwrap();
        let read: Embedding = decode_json(&printed).unwrap();
        let bits = |floats: &[f32]| floats.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read.0), bits(&floats));
    }

    #[test]
    fn every_float_of_metadata_is_read_back_as_the_same(float in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL) {
        let printed = Metadata::from([("f", float)]).to_json_text();
        let read: MetadataBody = decode_json(printed.as_bytes()).unwrap();
        prop_assert_eq!(read.0, Metadata::from([("f", float)]));
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_json::<RecordsBody>(&bytes);
        let _ = decode_json::<SearchBody>(&bytes);
    }
}
