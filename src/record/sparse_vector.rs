//! A sparse vector as a value of metadata: few entries of a very long vector, such as the terms of a text with their
//! weights.
//! Invariants: indices ascend strictly, there is one finite value for each, and one token for each where there are any.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The JSON name of the kind, as Chroma's clients write it.
const TYPE: (&str, &str) = ("#type", "sparse_vector");
/// How every sparse vector begins that [`SparseVector::serialize`] writes.
const JSON_START: &[u8] = br##"{"#type":"sparse_vector","##;

/// A sparse vector: `indices[i]` has the weight `values[i]`, every other index has none. Zeros may be stored, and so
/// may a vector without entries.
///
/// ```
/// use drumlin::{Metadata, SparseVector};
///
/// let terms = SparseVector::new(vec![3, 17], vec![0.5, 1.25])?;
/// let metadata = Metadata::from([("terms", terms)]);
/// assert!(SparseVector::new(vec![17, 3], vec![0.5, 1.25]).is_err(), "indices ascend");
/// # Ok::<(), drumlin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseVector {
    indices: Vec<u32>,
    values: Vec<f32>,
    tokens: Option<Vec<String>>,
}

impl SparseVector {
    /// A vector of `n` indices, strictly ascending, and `n` finite values.
    ///
    /// # Errors
    /// `Invalid` names what breaks one of these rules.
    pub fn new(indices: Vec<u32>, values: Vec<f32>) -> Result<SparseVector> {
        if indices.len() != values.len() {
            return Err(Error::invalid(format!(
                "values: expected as many as indices ({}), got {}",
                indices.len(),
                values.len()
            )));
        }
        if let Some([before, after]) = indices.array_windows().find(|[before, after]| before >= after) {
            return Err(Error::invalid(format!(
                "indices: expected strictly ascending ones, got {after} after {before}; sort them, and add up the values \
                 of equal ones"
            )));
        }
        if let Some((at, value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::invalid(format!("values[{at}]: expected a finite number, got {value}")));
        }
        Ok(SparseVector { indices, values, tokens: None })
    }

    /// This vector with the token that each entry stands for.
    ///
    /// # Errors
    /// `Invalid` if there are more or fewer tokens than entries.
    pub fn with_tokens(mut self, tokens: Vec<String>) -> Result<SparseVector> {
        if tokens.len() != self.indices.len() {
            return Err(Error::invalid(format!(
                "tokens: expected as many as indices ({}), got {}",
                self.indices.len(),
                tokens.len()
            )));
        }
        self.tokens = Some(tokens);
        Ok(self)
    }

    /// The indices that have a value, ascending.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The values, one for each index.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The tokens, one for each index, where they are known.
    pub fn tokens(&self) -> Option<&[String]> {
        self.tokens.as_deref()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Bytes of its entries in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        let tokens = self.tokens.iter().flatten().map(|token| token.len() + size_of::<String>()).sum::<usize>();
        self.len() * (size_of::<u32>() + size_of::<f32>()) + tokens
    }

    /// Whether an object means to be a sparse vector: by its type, or by its members where it has no type.
    pub(crate) fn is_meant(object: &Map<String, Value>) -> bool {
        match object.get(TYPE.0) {
            Some(kind) => kind == TYPE.1,
            None => object.contains_key("indices") && object.contains_key("values"),
        }
    }

    /// Reads `{"#type": "sparse_vector", "indices": […], "values": […], "tokens": […]}`. The type and the tokens may be
    /// left out, and other members are ignored.
    ///
    /// # Errors
    /// `Invalid` names the member that is not as it should be.
    pub(crate) fn from_json(object: &Map<String, Value>) -> Result<SparseVector> {
        if !Self::is_meant(object) {
            return Err(Error::invalid(
                "expected an object with indices and values (a sparse vector), got another object".to_owned(),
            ));
        }
        let list = |name: &str| match object.get(name) {
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(Error::invalid(format!("{name}: expected a list, got {}", kind_of(other)))),
            None => Err(Error::invalid(format!("{name}: expected a list, got none"))),
        };
        let index = |(at, value): (usize, &Value)| {
            let index = value.as_u64().and_then(|index| u32::try_from(index).ok());
            index.ok_or_else(|| {
                Error::invalid(format!("indices[{at}]: expected an integer from 0 to 4294967295, got {}", shown(value)))
            })
        };
        let number = |(at, value): (usize, &Value)| {
            let number = value.as_f64();
            let number = number.map(|number| number as f32).filter(|number| number.is_finite());
            number.ok_or_else(|| {
                Error::invalid(format!("values[{at}]: expected a number that fits 32 bits, got {}", shown(value)))
            })
        };
        let indices = list("indices")?.iter().enumerate().map(index).collect::<Result<_>>()?;
        let values = list("values")?.iter().enumerate().map(number).collect::<Result<_>>()?;
        let vector = SparseVector::new(indices, values)?;
        if object.get("tokens").is_none_or(Value::is_null) {
            return Ok(vector);
        }
        let token = |(at, value): (usize, &Value)| {
            let token = value.as_str().map(str::to_owned);
            token.ok_or_else(|| Error::invalid(format!("tokens[{at}]: expected a string, got {}", shown(value))))
        };
        vector.with_tokens(list("tokens")?.iter().enumerate().map(token).collect::<Result<_>>()?)
    }

    /// The vector that a text of metadata has under a key; `None` where there is none, or the text is no metadata.
    pub(crate) fn of_key(json_text: &str, key: &str) -> Option<SparseVector> {
        if !Self::may_be_in(json_text) {
            return None;
        }
        let mut deserializer = serde_json::Deserializer::from_str(json_text);
        let vector = deserializer.deserialize_map(OfKey(key)).ok()?;
        deserializer.end().ok().and(vector)
    }

    /// Whether a text of metadata may hold a sparse vector: all that do are found, and a few others.
    pub(crate) fn may_be_in(json_text: &str) -> bool {
        memchr::memmem::find(json_text.as_bytes(), JSON_START).is_some()
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A number as it came; of anything else its kind.
fn shown(value: &Value) -> String {
    if value.is_number() { value.to_string() } else { kind_of(value).to_owned() }
}

/// A sparse vector as it is stored. Reading it needs no tree of JSON values.
#[derive(Deserialize)]
struct StoredSparseVector {
    #[serde(rename = "#type", default = "own_type")]
    kind: String,
    indices: Vec<u32>,
    values: Vec<f32>,
    tokens: Option<Vec<String>>,
}

fn own_type() -> String {
    TYPE.1.to_owned()
}

impl<'de> Deserialize<'de> for SparseVector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<SparseVector, D::Error> {
        let StoredSparseVector { kind, indices, values, tokens } = StoredSparseVector::deserialize(deserializer)?;
        if kind != TYPE.1 {
            return Err(D::Error::custom(format_args!("expected the type {}, got {kind:?}", TYPE.1)));
        }
        let vector = SparseVector::new(indices, values);
        let vector = vector.and_then(|vector| match tokens {
            Some(tokens) => vector.with_tokens(tokens),
            None => Ok(vector),
        });
        vector.map_err(|e| D::Error::custom(e.message()))
    }
}

/// Reads an object of metadata for the vector of one key.
struct OfKey<'k>(&'k str);

impl<'de> Visitor<'de> for OfKey<'_> {
    type Value = Option<SparseVector>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of metadata values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = object.next_key::<Cow<'de, str>>()? {
            if key != self.0 {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            found = match object.next_value::<SparseOrOther>()? {
                SparseOrOther::Sparse(vector) => Some(vector),
                SparseOrOther::Other(_) => None,
            };
        }
        Ok(found)
    }
}

/// A value under a key that may hold something else than a sparse vector.
#[derive(Deserialize)]
#[serde(untagged)]
enum SparseOrOther {
    Sparse(SparseVector),
    Other(IgnoredAny),
}

impl Serialize for SparseVector {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(TYPE.0, TYPE.1)?;
        map.serialize_entry("indices", &self.indices)?;
        map.serialize_entry("values", &self.values)?;
        map.serialize_entry("tokens", &self.tokens)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<SparseVector> {
        SparseVector::from_json(value.as_object().unwrap())
    }

    #[test]
    fn a_vector_is_read_as_it_was_written() {
        let plain = SparseVector::new(vec![0, 7, u32::MAX], vec![-1.5, 0.0, 1.683_203_8]).unwrap();
        let labelled = plain.clone().with_tokens(["a", "\"", "é"].map(str::to_owned).to_vec()).unwrap();
        for vector in [plain, labelled, SparseVector::default()] {
            let text = serde_json::to_string(&vector).unwrap();
            assert!(SparseVector::may_be_in(&text), "{text}");
            assert_eq!(serde_json::from_str::<SparseVector>(&text).unwrap(), vector);
            assert_eq!(read(serde_json::from_str(&text).unwrap()).unwrap(), vector);
        }
    }

    #[test]
    fn every_value_of_32_bits_survives_its_decimal_form() {
        let mut bits = 1u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(bits);
            if value.is_finite() {
                let vector = SparseVector::new(vec![1], vec![value]).unwrap();
                let read = read(serde_json::to_value(&vector).unwrap()).unwrap();
                assert_eq!(read.values()[0].to_bits(), value.to_bits());
                let text = serde_json::to_string(&vector).unwrap();
                let read = self::read(serde_json::from_str(&text).unwrap()).unwrap();
                assert_eq!(read.values()[0].to_bits(), value.to_bits(), "{text}");
            }
        }
    }

    #[test]
    fn type_and_tokens_may_be_left_out_and_other_members_are_ignored() {
        let vector = SparseVector::new(vec![1], vec![2.0]).unwrap();
        assert_eq!(read(json!({"indices": [1], "values": [2]})).unwrap(), vector);
        assert_eq!(read(json!({"indices": [1], "values": [2.0], "tokens": null, "more": {}})).unwrap(), vector);
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let cases = [
            (json!({}), "expected an object with indices and values"),
            (json!({"#type": "dense", "indices": [], "values": []}), "expected an object with indices and values"),
            (json!({"#type": "sparse_vector", "values": []}), "indices: expected a list, got none"),
            (json!({"#type": "sparse_vector", "indices": [1]}), "values: expected a list, got none"),
            (json!({"indices": "1", "values": [1]}), "indices: expected a list, got a string"),
            (json!({"indices": [-1], "values": [1]}), "indices[0]: expected an integer from 0 to 4294967295, got -1"),
            (json!({"indices": [4_294_967_296u64], "values": [1]}), "indices[0]: expected an integer"),
            (json!({"indices": [1.5], "values": [1]}), "indices[0]: expected an integer from 0 to 4294967295, got 1.5"),
            (json!({"indices": [1], "values": [null]}), "values[0]: expected a number that fits 32 bits, got null"),
            (json!({"indices": [1], "values": [1e40]}), "values[0]: expected a number that fits 32 bits, got 1e+40"),
            (json!({"indices": [1, 2], "values": [1]}), "values: expected as many as indices (2), got 1"),
            (json!({"indices": [2, 2], "values": [1, 1]}), "indices: expected strictly ascending ones, got 2 after 2"),
            (json!({"indices": [3, 2], "values": [1, 1]}), "indices: expected strictly ascending ones, got 2 after 3"),
            (json!({"indices": [1], "values": [1], "tokens": []}), "tokens: expected as many as indices (1), got 0"),
            (json!({"indices": [1], "values": [1], "tokens": [1]}), "tokens[0]: expected a string, got 1"),
        ];
        for (json, message) in cases {
            let error = read(json.clone()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{json}: {error}");
        }
        let error = SparseVector::new(vec![1], vec![f32::NAN]).unwrap_err().to_string();
        assert_eq!(error, "values[0]: expected a finite number, got NaN");
    }
}
