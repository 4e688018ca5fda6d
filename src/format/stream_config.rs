//! The configuration of a stream, as HEAD and the commits that change it hold it: one JSON object.
//! Invariant: what this version does not know is kept, and written again as it was.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::FormatError;
use super::key_types::KeyTypes;

/// The entry of the dimension.
const DIMENSION: &str = "dimension";
/// The largest dimension that can be stored.
const MAX_DIMENSION: usize = 1 << 20;

/// The configuration of a stream, or a change of it. A change leaves what it does not name as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct StreamConfig {
    /// Floats of an embedding; `None` until fixed, 0 where records have none.
    pub dimension: Option<usize>,
    /// The kinds of values that metadata keys have held.
    pub key_types: KeyTypes,
    /// Entries of newer versions.
    pub other: Map<String, Value>,
}

impl StreamConfig {
    /// A configuration that says only the dimension, or nothing.
    pub fn of_dimension(dimension: impl Into<Option<usize>>) -> StreamConfig {
        StreamConfig { dimension: dimension.into(), ..StreamConfig::default() }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.dimension.is_none() && self.key_types.is_empty() && self.other.is_empty()
    }

    /// Takes in a later change.
    pub fn extend(&mut self, change: StreamConfig) {
        self.dimension = change.dimension.or(self.dimension);
        self.key_types.extend(&change.key_types);
        self.other.extend(change.other);
    }
}

impl TryFrom<Map<String, Value>> for StreamConfig {
    type Error = FormatError;

    fn try_from(mut entries: Map<String, Value>) -> Result<StreamConfig, FormatError> {
        let dimension = entries.remove(DIMENSION).map(|value| read_dimension(&value)).transpose()?;
        let key_types = KeyTypes::take_from(&mut entries)?;
        Ok(StreamConfig { dimension, key_types, other: entries })
    }
}

impl From<StreamConfig> for Map<String, Value> {
    fn from(StreamConfig { dimension, key_types, other }: StreamConfig) -> Map<String, Value> {
        let dimension = dimension.map(|dimension| (DIMENSION.to_owned(), Value::from(dimension)));
        other.into_iter().chain(dimension).chain(key_types.entries()).collect()
    }
}

fn read_dimension(value: &Value) -> Result<usize, FormatError> {
    let dimension = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MAX_DIMENSION);
    dimension
        .ok_or_else(|| FormatError::Damaged(format!("config.dimension: expected 0 to {MAX_DIMENSION}, got {value}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::key_types::KeyType;

    #[test]
    fn a_configuration_is_written_as_it_was_read_whatever_newer_versions_put_into_it() {
        for text in [
            r#"{}"#,
            r#"{"dimension":0}"#,
            r#"{"dimension":1048576}"#,
            r#"{"dimension":3,"key:":["float"],"key:a:b":["bool"],"key:k":["string","int"]}"#,
            r#"{"dimension":3,"key:k":["int","date"],"key:l":["uuid"],"key:m":[]}"#,
            r#"{"Key:k":1,"dimension":3,"dimensions":[1,2],"key":["int"],"schema":{"a":0.1,"z":null}}"#,
        ] {
            let config: StreamConfig = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&config).unwrap(), text);
        }
    }

    #[test]
    fn a_change_replaces_what_it_names_and_leaves_the_rest() {
        let read = |json: Value| serde_json::from_value::<StreamConfig>(json).unwrap();
        let mut config = read(json!({"dimension": 2, "key:k": ["int", "date"], "schema": 1, "kept": 2}));
        config.extend(read(json!({"key:k": ["int", "bool"], "key:l": ["string"], "schema": 3})));
        let expected = json!({
            "dimension": 2, "key:k": ["int", "bool", "date"], "key:l": ["string"], "schema": 3, "kept": 2
        });
        assert_eq!(serde_json::to_value(&config).unwrap(), expected);
        config.extend(StreamConfig::default());
        assert_eq!(serde_json::to_value(&config).unwrap(), expected);
        config.extend(StreamConfig::of_dimension(5));
        assert!(config.dimension == Some(5) && config.key_types.has("l", KeyType::String));
        assert!(StreamConfig::default().is_empty() && !config.is_empty() && !read(json!({"x": null})).is_empty());
    }

    #[test]
    fn an_entry_that_no_version_wrote_is_damage_with_its_name() {
        for (json, message) in [
            (json!({"dimension": "two"}), "config.dimension: expected 0 to 1048576, got \"two\""),
            (json!({"dimension": -1}), "config.dimension: expected 0 to 1048576, got -1"),
            (json!({"dimension": 1_048_577}), "config.dimension: expected 0 to 1048576, got 1048577"),
            (json!({"dimension": null}), "config.dimension: expected 0 to 1048576, got null"),
            (json!({"key:k": "int"}), "config.key:k: expected a list of names, got \"int\""),
            (json!({"key:k": [1]}), "config.key:k: expected a list of names, got [1]"),
        ] {
            let error = serde_json::from_value::<StreamConfig>(json).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
