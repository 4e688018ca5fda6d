//! Metadata as Chroma's requests write it: values of the core's kinds, and null where a key is to be removed. Empty
//! lists are accepted and never stored.
//! Invariant: a value of no known kind is a fault of the body's shape (422) and found here. The names of keys and the
//! contents of sparse vectors are checked later.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::bounded::{self, Tree};
use super::super::meter;
use super::sparse::SparseBody;
use crate::record::{MetaValue, Metadata, MetadataPatch};

/// Prefix of the keys under which Chroma keeps fields of its own among the metadata.
const RESERVED: &str = "chroma:";
/// The key under which old clients wrote the document.
const DOCUMENT_KEY: &str = "chroma:document";

/// A value of a metadata key in a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FieldValue {
    /// A value that can be stored.
    Value(MetaValue),
    /// Null: the key is to be removed.
    Null,
    /// An empty list, which no key holds.
    Empty,
    /// A sparse vector whose indices do not ascend, or whose parts differ in length.
    UnsoundSparse,
}

/// The fields of one record's metadata, in the order given. `NULLS`: whether null is a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fields<const NULLS: bool>(pub(super) Vec<(String, FieldValue)>);

impl<'de, const NULLS: bool> Deserialize<'de> for Fields<NULLS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor::<NULLS>).map(Fields)
    }
}

struct FieldsVisitor<const NULLS: bool>;

impl<'de, const NULLS: bool> Visitor<'de> for FieldsVisitor<NULLS> {
    type Value = Vec<(String, FieldValue)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key()? {
            bounded::grow(&mut fields)?;
            fields.push((key, map.next_value_seed(ValueSeed::<NULLS>)?));
        }
        Ok(fields)
    }
}

struct ValueSeed<const NULLS: bool>;

impl<'de, const NULLS: bool> DeserializeSeed<'de> for ValueSeed<NULLS> {
    type Value = FieldValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn mismatch<E: Error, const NULLS: bool>() -> E {
    let name = if NULLS { "UpdateMetadataValue" } else { "MetadataValue" };
    E::custom(format_args!("data did not match any variant of untagged enum {name}"))
}

impl<'de, const NULLS: bool> Visitor<'de> for ValueSeed<NULLS> {
    type Value = FieldValue;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a metadata value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<FieldValue, E> {
        Ok(FieldValue::Value(MetaValue::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<FieldValue, E> {
        Ok(FieldValue::Value(MetaValue::Int(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<FieldValue, E> {
        Ok(FieldValue::Value(i64::try_from(value).map_or(MetaValue::Float(value as f64), MetaValue::Int)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<FieldValue, E> {
        Ok(FieldValue::Value(MetaValue::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<FieldValue, E> {
        Ok(FieldValue::Value(MetaValue::Str(value.to_owned())))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<FieldValue, E> {
        Ok(FieldValue::Value(MetaValue::Str(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<FieldValue, E> {
        if NULLS { Ok(FieldValue::Null) } else { Err(mismatch::<E, NULLS>()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<FieldValue, A::Error> {
        let value = meter::scratch(|| {
            let tree = Tree::deserialize(SeqAccessDeserializer::new(&mut items))?;
            if tree.as_array().is_some_and(Vec::is_empty) {
                return Ok(FieldValue::Empty);
            }
            MetaValue::from_json(&tree).map(FieldValue::Value).map_err(|_| mismatch::<A::Error, NULLS>())
        })?;
        if let FieldValue::Value(value) = &value {
            meter::take(bounded::value_bytes(value))?;
        }
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldValue, A::Error> {
        let body = SparseBody::read(map, |_| mismatch::<A::Error, NULLS>())?;
        Ok(body.into_vector().map_or(FieldValue::UnsoundSparse, |vector| FieldValue::Value(MetaValue::Sparse(vector))))
    }
}

/// Whether a key may be used: not empty, not one of Chroma's own.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty() && !key.starts_with(['#', '$'])
}

/// Whether all keys are allowed and all sparse vectors are sound.
pub(super) fn is_valid(fields: &[(String, FieldValue)]) -> bool {
    fields.iter().all(|(key, value)| is_key(key) && *value != FieldValue::UnsoundSparse)
}

/// Removes fields under reserved keys. Returns the document, if an old client put it there; other such fields are
/// dropped.
pub(super) fn take_document(fields: &mut Vec<(String, FieldValue)>) -> Option<String> {
    let mut document = None;
    fields.retain(|(key, value)| {
        if let (DOCUMENT_KEY, FieldValue::Value(MetaValue::Str(text))) = (key.as_str(), value) {
            document = Some(text.clone());
        }
        !key.starts_with(RESERVED)
    });
    document
}

/// The metadata that a new record stores; `None` if it has none.
pub(super) fn stored(fields: Vec<(String, FieldValue)>) -> Option<Metadata> {
    let mut map = BTreeMap::new();
    for (key, value) in fields {
        match value {
            FieldValue::Value(value) => map.insert(key, value),
            FieldValue::Null | FieldValue::Empty | FieldValue::UnsoundSparse => map.remove(&key),
        };
    }
    (!map.is_empty()).then_some(Metadata(map))
}

/// The changes of an update: an empty list removes its key, as null does.
pub(super) fn patch(fields: Vec<(String, FieldValue)>) -> MetadataPatch {
    let change = |value| match value {
        FieldValue::Value(value) => Some(value),
        FieldValue::Null | FieldValue::Empty | FieldValue::UnsoundSparse => None,
    };
    MetadataPatch(fields.into_iter().map(|(key, value)| (key, change(value))).collect())
}

/// The metadata of a collection: not empty, and without lists. Each fault is a sentence.
pub(super) fn of_collection(fields: Vec<(String, FieldValue)>) -> Result<Option<Metadata>, String> {
    if fields.is_empty() {
        return Err("Metadata cannot be empty".to_owned());
    }
    for (key, value) in &fields {
        if key.is_empty() {
            return Err("Metadata key cannot be empty".to_owned());
        }
        if !is_key(key) {
            return Err(format!("Metadata key cannot start with '#' or '$': {key}"));
        }
        let scalar = match value {
            FieldValue::Value(value) => {
                matches!(value, MetaValue::Str(_) | MetaValue::Int(_) | MetaValue::Float(_) | MetaValue::Bool(_))
            }
            FieldValue::Null => true,
            FieldValue::Empty | FieldValue::UnsoundSparse => false,
        };
        if !scalar {
            return Err(format!("Expected a string, number or boolean in a collection's metadata: {key}"));
        }
    }
    Ok(stored(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SparseVector;

    fn add(json: &str) -> Result<Vec<(String, FieldValue)>, serde_json::Error> {
        serde_json::from_str::<Fields<false>>(json).map(|fields| fields.0)
    }

    fn update(json: &str) -> Vec<(String, FieldValue)> {
        serde_json::from_str::<Fields<true>>(json).unwrap().0
    }

    fn text(metadata: Option<Metadata>) -> Option<String> {
        metadata.map(|metadata| metadata.to_json_text())
    }

    #[test]
    fn integers_and_floats_stay_apart_and_lists_take_their_widest_kind() {
        let fields =
            add(r#"{"i":1,"f":1.0,"big":18446744073709551615,"mix":[1,2.5],"l":["p"],"e":[],"b":true}"#).unwrap();
        let expected = r#"{"b":true,"big":1.8446744073709552e+19,"f":1.0,"i":1,"l":["p"],"mix":[1.0,2.5]}"#;
        assert_eq!(text(stored(fields)), Some(expected.to_owned()));
    }

    #[test]
    fn what_is_no_value_is_a_matter_of_shape_and_null_is_one_only_in_an_update() {
        for bad in ["1", "[]", r#"{"a":null}"#, r#"{"a":{}}"#, r#"{"a":[1,"b"]}"#, r#"{"a":[[]]}"#, r#"{"a":[null]}"#] {
            assert!(add(bad).unwrap_err().is_data(), "{bad}");
        }
        let patched = patch(update(r#"{"gone":null,"empty":[],"set":2}"#));
        let expected = [("empty", None), ("gone", None), ("set", Some(MetaValue::Int(2)))];
        assert_eq!(patched.0.iter().map(|(k, v)| (k.as_str(), v.clone())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_sparse_vector_is_recognised_and_its_soundness_judged() {
        let sound = |json: &str| is_valid(&add(json).unwrap());
        assert!(sound(r##"{"s":{"#type":"sparse_vector","indices":[1,2],"values":[1,2.5]}}"##));
        assert!(!sound(r##"{"s":{"#type":"sparse_vector","indices":[2,1],"values":[1,2]}}"##));
        assert!(!sound(r##"{"s":{"#type":"sparse_vector","indices":[1],"values":[]}}"##));
        assert!(add(r##"{"s":{"#type":"other","indices":[1],"values":[1]}}"##).unwrap_err().is_data());
        assert!(!sound(r##"{"s":{"indices":[1],"values":[1],"tokens":[]}}"##));
        for bad in [r#"{"s":{"indices":[1],"values":["x"]}}"#, r#"{"s":{"indices":[-1],"values":[1]}}"#, r#"{"s":{}}"#]
        {
            assert!(add(bad).unwrap_err().is_data(), "{bad}");
        }
        let fields = add(r##"{"a":1,"s":{"indices":[],"values":[],"tokens":null,"more":1}}"##).unwrap();
        assert_eq!(stored(fields).unwrap().0["s"], MetaValue::Sparse(SparseVector::default()));
    }

    #[test]
    fn a_new_record_stores_no_empty_metadata_and_the_last_of_equal_keys_counts() {
        assert_eq!(stored(update(r#"{"a":null,"e":[]}"#)), None);
        assert_eq!(text(stored(update(r#"{"a":1,"a":2,"b":1,"b":null}"#))), Some(r#"{"a":2}"#.to_owned()));
    }

    #[test]
    fn a_document_among_the_metadata_is_taken_out() {
        let mut fields = update(r#"{"chroma:document":"text","k":1,"chroma:x":2}"#);
        assert_eq!(take_document(&mut fields), Some("text".to_owned()));
        assert_eq!(fields, [("k".to_owned(), FieldValue::Value(MetaValue::Int(1)))]);
    }

    #[test]
    fn a_collections_metadata_is_not_empty_and_has_no_lists() {
        for bad in ["{}", r#"{"":1}"#, r##"{"#a":1}"##, r#"{"$a":1}"#, r#"{"a":[1]}"#, r#"{"a":[]}"#] {
            assert!(of_collection(update(bad)).is_err(), "{bad}");
        }
        assert_eq!(of_collection(update(r#"{"a":null}"#)), Ok(None));
        assert_eq!(of_collection(update(r#"{"a":null,"q":1}"#)).map(text), Ok(Some(r#"{"q":1}"#.to_owned())));
    }
}
