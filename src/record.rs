//! The shared words: versions, addresses, metrics, records and their metadata. No I/O, and no logic beyond the meaning
//! of the words themselves.

mod sparse_vector;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::sparse_vector::SparseVector;
use crate::error::{Error, Result};

/// The number of a commit, and of the state after it. The first commit is 1; 0 is the empty stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version after this one.
    pub fn next(self) -> Version {
        Version(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a row was written: version and row number of its commit, packed as `version << 24 | row`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(pub u64);

impl Address {
    /// Rows of one commit that an address can number.
    pub const MAX_ROWS: usize = 1 << 24;

    /// The address of row `row` of commit `version`. `None` if the row number needs more than 24 bits or the version
    /// more than 40.
    pub fn new(version: Version, row: usize) -> Option<Address> {
        (row < Self::MAX_ROWS && version.0 < 1 << 40)
            .then_some(Address((version.0 & 0xff_ffff_ffff) << 24 | row as u64))
    }

    /// The commit this row is in.
    pub fn version(self) -> Version {
        Version(self.0 >> 24)
    }

    /// The row's number in its commit.
    pub fn row(self) -> usize {
        (self.0 & 0xff_ffff) as usize
    }
}

/// A collection's identity: UUIDv4, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CollectionId(pub Uuid);

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for CollectionId {
    type Err = Error;

    fn from_str(id: &str) -> Result<CollectionId> {
        let parsed = Uuid::try_parse(id);
        parsed.map(CollectionId).map_err(|_| Error::invalid(format!("collection id: expected a UUID, got {id:?}")))
    }
}

/// How distance is measured; smaller is nearer in all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// 1 − cos(a, b); 1 where one of the vectors is zero.
    #[default]
    Cosine,
    /// Squared Euclidean distance Σ(aᵢ − bᵢ)².
    L2,
    /// 1 − a·b.
    Ip,
}

impl Metric {
    /// The metric's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::Cosine => "cosine",
            Metric::L2 => "l2",
            Metric::Ip => "ip",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Metric> {
        match name {
            "cosine" => Ok(Metric::Cosine),
            "l2" => Ok(Metric::L2),
            "ip" => Ok(Metric::Ip),
            other => Err(Error::invalid(format!("metric: expected one of cosine, l2, ip, got {other:?}"))),
        }
    }
}

/// One value of a record's metadata. Integers and floats are kept apart: 1 and 1.0 differ in storage,
/// though filters compare them as numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MetaValue {
    /// `true` or `false`.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A finite 64-bit float.
    Float(f64),
    /// A string.
    Str(String),
    /// A list of booleans.
    Bools(Vec<bool>),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of floats.
    Floats(Vec<f64>),
    /// A list of strings.
    Strs(Vec<String>),
    /// A sparse vector.
    Sparse(SparseVector),
}

impl MetaValue {
    /// Reads a JSON value: string, boolean, number, a list of one of those kinds, or a sparse vector as an object. A
    /// list that mixes integers and floats becomes a list of floats; integers beyond `i64` become floats; an empty list
    /// becomes an empty list of strings.
    ///
    /// # Errors
    /// `Invalid` says what was expected of any other value, and what is wrong with a sparse vector.
    pub fn from_json(value: &serde_json::Value) -> Result<MetaValue> {
        use serde_json::Value;
        let read = match value {
            Value::Object(object) if SparseVector::is_meant(object) => {
                return SparseVector::from_json(object).map(MetaValue::Sparse);
            }
            Value::Bool(b) => Some(MetaValue::Bool(*b)),
            Value::String(s) => Some(MetaValue::Str(s.clone())),
            Value::Number(n) => match n.as_i64() {
                Some(i) => Some(MetaValue::Int(i)),
                None => n.as_f64().filter(|f| f.is_finite()).map(MetaValue::Float),
            },
            Value::Array(items) => Self::list_from_json(items),
            Value::Null | Value::Object(_) => None,
        };
        read.ok_or_else(|| {
            let got = match value {
                Value::Null => "null",
                Value::Object(_) => "an object",
                Value::Array(_) => "a list of mixed or nested values",
                Value::Bool(_) | Value::Number(_) | Value::String(_) => "a number out of range",
            };
            Error::invalid(format!(
                "expected a string, number, boolean, a list of one of these, or a sparse vector, got {got}"
            ))
        })
    }

    fn list_from_json(items: &[serde_json::Value]) -> Option<MetaValue> {
        let first = match items.first() {
            None => return Some(MetaValue::Strs(Vec::new())),
            Some(first) => first,
        };
        if first.is_boolean() {
            return items.iter().map(|v| v.as_bool()).collect::<Option<_>>().map(MetaValue::Bools);
        }
        if first.is_string() {
            return items.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>().map(MetaValue::Strs);
        }
        if items.iter().all(|v| v.as_i64().is_some()) {
            return items.iter().map(|v| v.as_i64()).collect::<Option<_>>().map(MetaValue::Ints);
        }
        let finite = |v: &serde_json::Value| v.as_f64().filter(|f| f.is_finite());
        items.iter().map(finite).collect::<Option<_>>().map(MetaValue::Floats)
    }
}

impl From<&str> for MetaValue {
    fn from(value: &str) -> Self {
        MetaValue::Str(value.to_owned())
    }
}

impl From<String> for MetaValue {
    fn from(value: String) -> Self {
        MetaValue::Str(value)
    }
}

impl From<i64> for MetaValue {
    fn from(value: i64) -> Self {
        MetaValue::Int(value)
    }
}

impl From<i32> for MetaValue {
    fn from(value: i32) -> Self {
        MetaValue::Int(value.into())
    }
}

impl From<f64> for MetaValue {
    fn from(value: f64) -> Self {
        MetaValue::Float(value)
    }
}

impl From<SparseVector> for MetaValue {
    fn from(value: SparseVector) -> Self {
        MetaValue::Sparse(value)
    }
}

impl From<bool> for MetaValue {
    fn from(value: bool) -> Self {
        MetaValue::Bool(value)
    }
}

/// A record's metadata: keys to values.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Metadata(pub BTreeMap<String, MetaValue>);

impl Metadata {
    /// Reads the JSON text that a `metadata` column holds. The error names the offending key.
    pub fn from_json_text(text: &str) -> Result<Metadata> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|e| Error::invalid(format!("metadata: not JSON: {e}")))?;
        Self::from_json(&value)
    }

    /// Reads a JSON object of metadata values. The error names the offending key.
    pub fn from_json(value: &serde_json::Value) -> Result<Metadata> {
        let object =
            value.as_object().ok_or_else(|| Error::invalid(format!("metadata: expected an object, got {value}")))?;
        let mut map = BTreeMap::new();
        for (key, value) in object {
            let read = MetaValue::from_json(value);
            let read = read.map_err(|e| Error::invalid(format!("metadata.{key}: {}", e.message())))?;
            map.insert(key.clone(), read);
        }
        Ok(Metadata(map))
    }

    /// The JSON text stored in the bucket: keys sorted, 1 and 1.0 kept apart.
    pub fn to_json_text(&self) -> String {
        // Metadata holds only finite numbers, strings, and lists and sparse vectors of them: serialising cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl<K: Into<String>, V: Into<MetaValue>, const N: usize> From<[(K, V); N]> for Metadata {
    fn from(pairs: [(K, V); N]) -> Self {
        Metadata(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

/// What an update does to metadata: `Some` sets a key, `None` removes it; other keys stay.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetadataPatch(pub BTreeMap<String, Option<MetaValue>>);

/// A record as a caller writes and reads it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Unique in its collection, not empty.
    pub id: String,
    /// `dim` × f32, all finite; empty in a collection whose dimension is 0.
    pub embedding: Vec<f32>,
    /// The text that the embedding was made of.
    pub document: Option<String>,
    /// Where the original lies.
    pub uri: Option<String>,
    /// Values to filter by. `None` and an empty map differ.
    pub metadata: Option<Metadata>,
}

impl Record {
    /// A record with an id and an embedding.
    pub fn new(id: impl Into<String>, embedding: Vec<f32>) -> Record {
        Record { id: id.into(), embedding, ..Record::default() }
    }

    /// This record with a document.
    pub fn with_document(mut self, document: impl Into<String>) -> Record {
        self.document = Some(document.into());
        self
    }

    /// This record with metadata.
    pub fn with_metadata(mut self, metadata: impl Into<Metadata>) -> Record {
        self.metadata = Some(metadata.into());
        self
    }
}

/// A change of an existing record. A field that is `None` stays as it is; metadata is merged key by key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordUpdate {
    /// Which record.
    pub id: String,
    /// A new embedding of the collection's dimension.
    pub embedding: Option<Vec<f32>>,
    /// A new document.
    pub document: Option<String>,
    /// A new uri.
    pub uri: Option<String>,
    /// Keys to set and to remove.
    pub metadata: Option<MetadataPatch>,
}
