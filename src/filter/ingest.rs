//! Metadata as JSON text → entries per key, without a value tree per row. Each row that has a key is among the key's
//! entries, or among those with nothing to enter.
//! Invariant: the result is what `Metadata::from_json_text` reads. Of a key given twice the last counts, and a text
//! that is refused leaves nothing behind.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::postings::Entries;
use super::scalar::{Number, ScalarRef};
use crate::record::{MetaValue, SparseVector};

/// The values of one key: scalars, and the elements of lists.
#[derive(Debug, Default)]
pub(super) struct KeyEntries {
    pub(super) scalars: Entries,
    pub(super) elements: Option<Entries>,
    /// The rows that have the key and no entry: their value is an empty list or a sparse vector. Ascending.
    pub(super) without_entries: Vec<u16>,
}

/// The entries of the rows read so far.
#[derive(Debug, Default)]
pub(super) struct Ingest {
    pub(super) keys: HashMap<String, KeyEntries>,
}

impl Ingest {
    /// Reads one row's metadata. A text that is not metadata counts as none.
    pub(super) fn read(&mut self, row: u16, json_text: &str) {
        let Ok(mut fields) = read_fields(json_text) else { return };
        if !fields.is_sorted_by(|(a, _), (b, _)| a < b) {
            // Another writer's text: sort by key, keep the last of equal ones (the sort is stable).
            fields.reverse();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            fields.dedup_by(|later, kept| later.0 == kept.0);
        }
        fields.into_iter().for_each(|(key, field)| self.add(row, &key, field));
    }

    fn add(&mut self, row: u16, key: &str, field: ParsedField<'_>) {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.to_owned(), KeyEntries::default());
        }
        let Some(entries) = self.keys.get_mut(key) else { return };
        match field {
            ParsedField::Bool(b) => entries.scalars.push(ScalarRef::Bool(b), row),
            ParsedField::Number(n) => entries.scalars.push(ScalarRef::Number(n), row),
            ParsedField::Str(s) => entries.scalars.push(ScalarRef::Str(&s), row),
            ParsedField::Sparse => entries.without_entries.push(row),
            ParsedField::List(list) if list_len(&list) == 0 => entries.without_entries.push(row),
            ParsedField::List(list) => push_elements(entries.elements.get_or_insert_default(), &list, row),
        }
    }
}

fn list_len(list: &MetaValue) -> usize {
    match list {
        MetaValue::Bools(items) => items.len(),
        MetaValue::Ints(items) => items.len(),
        MetaValue::Floats(items) => items.len(),
        MetaValue::Strs(items) => items.len(),
        MetaValue::Bool(_) | MetaValue::Int(_) | MetaValue::Float(_) | MetaValue::Str(_) | MetaValue::Sparse(_) => 0,
    }
}

fn push_elements(entries: &mut Entries, list: &MetaValue, row: u16) {
    match list {
        MetaValue::Bools(items) => items.iter().for_each(|b| entries.push(ScalarRef::Bool(*b), row)),
        MetaValue::Ints(items) => items.iter().for_each(|i| entries.push(ScalarRef::Number(Number::Int(*i)), row)),
        MetaValue::Floats(items) => items.iter().for_each(|f| entries.push(ScalarRef::Number(Number::Float(*f)), row)),
        MetaValue::Strs(items) => items.iter().for_each(|s| entries.push(ScalarRef::Str(s), row)),
        MetaValue::Bool(_) | MetaValue::Int(_) | MetaValue::Float(_) | MetaValue::Str(_) | MetaValue::Sparse(_) => {}
    }
}

type ParsedFields<'t> = Vec<(Cow<'t, str>, ParsedField<'t>)>;

enum ParsedField<'t> {
    Bool(bool),
    Number(Number),
    Str(Cow<'t, str>),
    List(MetaValue),
    /// A sparse vector, which passes no test of values.
    Sparse,
}

fn read_fields(json_text: &str) -> serde_json::Result<ParsedFields<'_>> {
    let mut deserializer = serde_json::Deserializer::from_str(json_text);
    let fields = deserializer.deserialize_map(ParsedFieldsVisitor)?;
    deserializer.end()?;
    Ok(fields)
}

struct ParsedFieldsVisitor;

impl<'t> Visitor<'t> for ParsedFieldsVisitor {
    type Value = ParsedFields<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of metadata values")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut object: A) -> Result<ParsedFields<'t>, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = object.next_key_seed(KeySeed)? {
            fields.push((key, object.next_value_seed(FieldSeed)?));
        }
        Ok(fields)
    }
}

/// Reads a key, borrowed from the text where it has no escapes.
struct KeySeed;

impl<'t> DeserializeSeed<'t> for KeySeed {
    type Value = Cow<'t, str>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Cow<'t, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for KeySeed {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a metadata key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'t str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// Reads a metadata value.
struct FieldSeed;

impl<'t> DeserializeSeed<'t> for FieldSeed {
    type Value = ParsedField<'t>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<ParsedField<'t>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for FieldSeed {
    type Value = ParsedField<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number, boolean, a list of one of these, or a sparse vector")
    }

    fn visit_map<A: MapAccess<'t>>(self, object: A) -> Result<ParsedField<'t>, A::Error> {
        SparseVector::deserialize(MapAccessDeserializer::new(object)).map(|_| ParsedField::Sparse)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ParsedField<'t>, E> {
        Ok(ParsedField::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ParsedField<'t>, E> {
        Ok(ParsedField::Number(Number::Int(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ParsedField<'t>, E> {
        Ok(ParsedField::Number(i64::try_from(value).map_or(Number::Float(value as f64), Number::Int)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ParsedField<'t>, E> {
        Ok(ParsedField::Number(Number::Float(value)))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'t str) -> Result<ParsedField<'t>, E> {
        Ok(ParsedField::Str(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ParsedField<'t>, E> {
        Ok(ParsedField::Str(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut items: A) -> Result<ParsedField<'t>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Value>()? {
            list.push(item);
        }
        let read = MetaValue::from_json(&Value::Array(list));
        read.map(ParsedField::List).map_err(|e| A::Error::custom(e.message()))
    }
}
