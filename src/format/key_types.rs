//! The kinds of values that each metadata key of a collection has held. The collection's own stream carries them: a
//! commit that brings a new pair of key and kind has it in its `config`, one entry `key:{name}` per metadata key. So
//! neither a deletion nor a merge of segments forgets one.
//! Invariants: pairs are only added, and names of kinds that newer versions wrote stay. There are at most [`MAX_KEYS`]
//! keys, none longer than [`MAX_KEY_BYTES`], so that HEAD, which repeats them, stays small.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::FormatError;
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
    /// A sparse vector.
    SparseVector,
}

impl KeyType {
    /// All of them, in the order they are listed.
    pub const ALL: [KeyType; 5] = [KeyType::String, KeyType::Int, KeyType::Float, KeyType::Bool, KeyType::SparseVector];

    /// The kind's name in the bucket.
    pub const fn name(self) -> &'static str {
        match self {
            KeyType::String => "string",
            KeyType::Int => "int",
            KeyType::Float => "float",
            KeyType::Bool => "bool",
            KeyType::SparseVector => "sparse_vector",
        }
    }

    /// The kind of a value; an empty list has none.
    pub fn of(value: &MetaValue) -> Option<KeyType> {
        match value {
            MetaValue::Str(_) => Some(KeyType::String),
            MetaValue::Int(_) => Some(KeyType::Int),
            MetaValue::Float(_) => Some(KeyType::Float),
            MetaValue::Bool(_) => Some(KeyType::Bool),
            MetaValue::Sparse(_) => Some(KeyType::SparseVector),
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

/// The kinds that one key has held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Kinds {
    bits: u8,
    /// Names that only newer versions know.
    newer: Vec<String>,
}

impl Kinds {
    fn of_names(names: Vec<&str>) -> Kinds {
        let mut kinds = Kinds::default();
        for name in names {
            match KeyType::ALL.into_iter().find(|kind| kind.name() == name) {
                Some(kind) => kinds.bits |= kind.bit(),
                None => kinds.newer.push(name.to_owned()),
            }
        }
        kinds
    }

    fn extend(&mut self, other: &Kinds) {
        self.bits |= other.bits;
        let unknown = other.newer.iter().filter(|name| !self.newer.contains(name)).cloned().collect::<Vec<_>>();
        self.newer.extend(unknown);
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let known = kinds(self.bits).into_iter().map(|kind| -> &str { kind.name() });
        known.chain(self.newer.iter().map(String::as_str))
    }
}

/// The kinds each key has held, by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyTypes(BTreeMap<String, Kinds>);

impl KeyTypes {
    /// The keys in order, each with its kinds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Vec<KeyType>)> {
        self.0.iter().map(|(key, held)| (key.as_str(), kinds(held.bits)))
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key has held a value of this kind.
    pub fn has(&self, key: &str, kind: KeyType) -> bool {
        self.0.get(key).is_some_and(|held| held.bits & kind.bit() != 0)
    }

    /// Adds a pair that is not in `known`, if there is room for it. Its key is repeated with all that `known` has of
    /// it: older versions replace one entry by the other.
    pub fn learn(&mut self, known: &KeyTypes, key: &str, kind: KeyType) {
        if known.has(key, kind) || self.has(key, kind) {
            return;
        }
        let new = !known.0.contains_key(key) && !self.0.contains_key(key);
        if new && (key.len() > MAX_KEY_BYTES || known.0.len() + self.0.len() >= MAX_KEYS) {
            return;
        }
        let held = self.0.entry(key.to_owned()).or_insert_with(|| known.0.get(key).cloned().unwrap_or_default());
        held.bits |= kind.bit();
    }

    /// Adds the pairs of `other`.
    pub fn extend(&mut self, other: &KeyTypes) {
        for (key, held) in &other.0 {
            self.0.entry(key.clone()).or_default().extend(held);
        }
    }

    /// The configuration entries that state these kinds.
    pub(super) fn entries(&self) -> impl Iterator<Item = (String, Value)> + '_ {
        self.0.iter().map(|(key, held)| (format!("{PREFIX}{key}"), held.names().map(Value::from).collect()))
    }

    /// Takes the entries about keys out of a configuration.
    pub(super) fn take_from(config: &mut Map<String, Value>) -> Result<KeyTypes, FormatError> {
        let mut types = KeyTypes::default();
        for (name, value) in config.iter() {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let names = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
            let Some(names) = names else {
                return Err(FormatError::Damaged(format!("config.{name}: expected a list of names, got {value}")));
            };
            types.0.insert(key.to_owned(), Kinds::of_names(names));
        }
        config.retain(|name, _| !name.starts_with(PREFIX));
        Ok(types)
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
        let mut config: Map<String, Value> = types.entries().collect();
        assert_eq!(config["key:k"], serde_json::json!(["string", "int"]));
        assert_eq!(KeyTypes::take_from(&mut config).unwrap(), types);
        assert!(config.is_empty(), "{config:?}");
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
    fn an_entry_that_is_no_list_of_names_is_damage_and_an_unknown_name_is_kept_but_not_shown() {
        for bad in [serde_json::json!(1), serde_json::json!([1]), serde_json::json!("int")] {
            let mut config = Map::from_iter([("key:k".to_owned(), bad)]);
            assert!(matches!(KeyTypes::take_from(&mut config), Err(FormatError::Damaged(_))));
        }
        let mut config = Map::from_iter([("key:k".to_owned(), serde_json::json!(["int", "date"]))]);
        let types = KeyTypes::take_from(&mut config).unwrap();
        assert_eq!(types.iter().collect::<Vec<_>>(), [("k", vec![KeyType::Int])]);
        let mut new = KeyTypes::default();
        new.learn(&types, "k", KeyType::Bool);
        assert_eq!(
            new.entries().collect::<Vec<_>>(),
            [("key:k".to_owned(), serde_json::json!(["int", "bool", "date"]))]
        );
    }
}
