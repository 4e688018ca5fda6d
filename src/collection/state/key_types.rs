//! The kinds of values that each metadata key of a collection has held. The collection's own stream carries them: a
//! commit that brings a new pair of key and kind has it in its `config`, one entry `key:{name}` per metadata key. So
//! neither a deletion nor a merge of segments forgets one.
//! Invariants: pairs are only added; there are at most [`MAX_KEYS`] keys, none longer than [`MAX_KEY_BYTES`], so that
//! HEAD, which repeats them, stays small.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::format::FormatError;
use crate::record::MetaValue;

/// The most keys remembered of one collection; the kinds of further keys are not kept.
pub const MAX_KEYS: usize = 1_000;
/// The most bytes of a key that is remembered.
pub const MAX_KEY_BYTES: usize = 256;
/// The prefix of configuration entries about keys.
const PREFIX: &str = "key:";

/// A kind of metadata value. A list has the kind of its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// Text.
    String,
    /// A 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// `true` or `false`.
    Bool,
}

impl KeyType {
    /// All of them, in the order they are listed.
    pub const ALL: [KeyType; 4] = [KeyType::String, KeyType::Int, KeyType::Float, KeyType::Bool];

    /// The kind's name in the bucket.
    pub const fn name(self) -> &'static str {
        match self {
            KeyType::String => "string",
            KeyType::Int => "int",
            KeyType::Float => "float",
            KeyType::Bool => "bool",
        }
    }

    /// The kind of a value; an empty list has none.
    pub fn of(value: &MetaValue) -> Option<KeyType> {
        match value {
            MetaValue::Str(_) => Some(KeyType::String),
            MetaValue::Int(_) => Some(KeyType::Int),
            MetaValue::Float(_) => Some(KeyType::Float),
            MetaValue::Bool(_) => Some(KeyType::Bool),
            MetaValue::Strs(items) => (!items.is_empty()).then_some(KeyType::String),
            MetaValue::Ints(items) => (!items.is_empty()).then_some(KeyType::Int),
            MetaValue::Floats(items) => (!items.is_empty()).then_some(KeyType::Float),
            MetaValue::Bools(items) => (!items.is_empty()).then_some(KeyType::Bool),
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The kinds each key has held, by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyTypes(BTreeMap<String, u8>);

impl KeyTypes {
    /// The keys in order, each with its kinds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Vec<KeyType>)> {
        self.0.iter().map(|(key, bits)| (key.as_str(), kinds(*bits)))
    }

    /// Whether the key has held a value of this kind.
    pub fn has(&self, key: &str, kind: KeyType) -> bool {
        self.0.get(key).is_some_and(|bits| bits & kind.bit() != 0)
    }

    /// Adds a pair that is not in `known`, if there is room for it.
    pub fn learn(&mut self, known: &KeyTypes, key: &str, kind: KeyType) {
        if known.has(key, kind) || self.has(key, kind) {
            return;
        }
        let new = !known.0.contains_key(key) && !self.0.contains_key(key);
        if new && (key.len() > MAX_KEY_BYTES || known.0.len() + self.0.len() >= MAX_KEYS) {
            return;
        }
        let bits = self.0.entry(key.to_owned()).or_insert_with(|| known.0.get(key).copied().unwrap_or_default());
        *bits |= kind.bit();
    }

    /// The configuration entries that state these kinds.
    pub fn to_config(&self) -> impl Iterator<Item = (String, Value)> + '_ {
        self.0.iter().map(|(key, bits)| {
            let names = kinds(*bits).into_iter().map(|kind| Value::from(kind.name()));
            (format!("{PREFIX}{key}"), names.collect())
        })
    }

    /// Takes in the entries of a configuration that are about keys. Unknown names of kinds, from newer versions, are
    /// left out.
    pub fn take_in(&mut self, config: &Map<String, Value>) -> Result<(), FormatError> {
        for (name, value) in config {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let names = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
            let Some(names) = names else {
                return Err(FormatError::Damaged(format!("config.{name}: expected a list of names, got {value}")));
            };
            let known = KeyType::ALL.into_iter().filter(|kind| names.contains(&kind.name()));
            *self.0.entry(key.to_owned()).or_default() |= known.fold(0, |bits, kind| bits | kind.bit());
        }
        Ok(())
    }
}

fn kinds(bits: u8) -> Vec<KeyType> {
    KeyType::ALL.into_iter().filter(|kind| bits & kind.bit() != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(pairs: &[(&str, KeyType)]) -> KeyTypes {
        let mut types = KeyTypes::default();
        pairs.iter().for_each(|(key, kind)| types.learn(&KeyTypes::default(), key, *kind));
        types
    }

    #[test]
    fn what_a_configuration_says_is_what_was_learnt() {
        let types =
            learnt(&[("k", KeyType::Int), ("k", KeyType::String), ("a:b", KeyType::Bool), ("", KeyType::Float)]);
        let config: Map<String, Value> = types.to_config().collect();
        assert_eq!(config["key:k"], serde_json::json!(["string", "int"]));
        let mut read = KeyTypes::default();
        read.take_in(&config).unwrap();
        assert_eq!(read, types);
    }

    #[test]
    fn only_what_is_new_is_learnt_and_a_key_is_repeated_with_all_its_kinds() {
        let known = learnt(&[("k", KeyType::Int)]);
        let mut new = KeyTypes::default();
        new.learn(&known, "k", KeyType::Int);
        assert_eq!(new, KeyTypes::default());
        new.learn(&known, "k", KeyType::Float);
        assert_eq!(new.iter().collect::<Vec<_>>(), [("k", vec![KeyType::Int, KeyType::Float])]);
    }

    #[test]
    fn keys_beyond_the_limits_are_not_remembered_but_known_ones_still_learn() {
        let mut known = KeyTypes::default();
        (0..MAX_KEYS + 10).for_each(|n| known.learn(&KeyTypes::default(), &n.to_string(), KeyType::Int));
        assert_eq!(known.iter().count(), MAX_KEYS);
        let mut new = KeyTypes::default();
        new.learn(&known, "one more", KeyType::Int);
        new.learn(&known, "7", KeyType::Bool);
        assert_eq!(new.iter().collect::<Vec<_>>(), [("7", vec![KeyType::Int, KeyType::Bool])]);
        let mut long = KeyTypes::default();
        long.learn(&KeyTypes::default(), &"k".repeat(MAX_KEY_BYTES + 1), KeyType::Int);
        assert_eq!(long, KeyTypes::default());
    }

    #[test]
    fn an_entry_that_is_no_list_of_names_is_damage_and_an_unknown_name_is_left_out() {
        for bad in [serde_json::json!(1), serde_json::json!([1]), serde_json::json!("int")] {
            let config = Map::from_iter([("key:k".to_owned(), bad)]);
            assert!(matches!(KeyTypes::default().take_in(&config), Err(FormatError::Damaged(_))));
        }
        let mut types = KeyTypes::default();
        types.take_in(&Map::from_iter([("key:k".to_owned(), serde_json::json!(["date", "int"]))])).unwrap();
        assert_eq!(types.iter().collect::<Vec<_>>(), [("k", vec![KeyType::Int])]);
    }
}
