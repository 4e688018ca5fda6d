//! What makes embeddings of a collection's texts, as it is stored with the collection.
//! Invariant: a kind that this version does not know is kept as it was stored, and never used.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
#[cfg(feature = "provider")]
use crate::provider::ProviderSpec;

/// The most bytes of a prefix.
const PREFIX_BYTES: usize = 1024;
/// The most bytes of a model's name.
const NAME_BYTES: usize = 128;

/// What makes embeddings of a collection's texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>", into = "Map<String, Value>")]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Embedder {
    /// Which model makes them, and where.
    pub source: EmbedderSource,
    /// What is put before a query; `None` for what the model itself states.
    pub query_prefix: Option<String>,
    /// What is put before a document; `None` for what the model itself states.
    pub passage_prefix: Option<String>,
    /// Whether the collection is at home without it: its model need not be there when the collection is created, and
    /// texts are searched for by their words unless a search says otherwise.
    pub optional: bool,
}

/// Which model makes embeddings, and where it computes.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub enum EmbedderSource {
    /// A model in the bucket, by its name; this process computes.
    Model(String),
    /// A service over HTTP.
    #[cfg(feature = "provider")]
    Provider(ProviderSpec),
    /// A kind of a newer version, as it was stored.
    Other(Map<String, Value>),
}

/// What a text is to be compared with. Some models want a prefix that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextRole {
    /// It is searched for.
    Query,
    /// It is found: a document, or a part of one.
    #[default]
    Passage,
}

/// Texts that are to become embeddings.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "embedding"), allow(dead_code))]
pub struct EmbedRequest {
    /// What makes them.
    pub embedder: Embedder,
    /// What they are compared with.
    pub role: TextRole,
    /// One embedding for each.
    pub texts: Vec<String>,
    /// Floats of an embedding, if that is fixed.
    pub dimension: Option<usize>,
}

/// Texts that a model is to compare with a query.
#[derive(Debug, Clone)]
#[cfg_attr(not(all(feature = "embedding", feature = "server")), allow(dead_code))]
pub struct ScoreRequest {
    /// The model's name in the bucket.
    pub model: String,
    /// What was searched for.
    pub query: String,
    /// One score for each.
    pub passages: Vec<String>,
}

impl Embedder {
    /// A service over HTTP, without prefixes.
    #[cfg(feature = "provider")]
    pub fn provider(spec: ProviderSpec) -> Embedder {
        let source = EmbedderSource::Provider(spec);
        Embedder { source, query_prefix: None, passage_prefix: None, optional: false }
    }

    /// The model of that name in the bucket, with the prefixes that it states.
    pub fn model(name: impl Into<String>) -> Embedder {
        Embedder {
            source: EmbedderSource::Model(name.into()),
            query_prefix: None,
            passage_prefix: None,
            optional: false,
        }
    }

    /// Sets what is put before queries and before documents, such as `"query: "` and `"passage: "`.
    pub fn prefixes(mut self, query: impl Into<String>, passage: impl Into<String>) -> Embedder {
        (self.query_prefix, self.passage_prefix) = (Some(query.into()), Some(passage.into()));
        self
    }

    /// Makes it optional.
    pub fn optional(mut self) -> Embedder {
        self.optional = true;
        self
    }

    /// The name of its model in the bucket, if it is one.
    pub fn model_name(&self) -> Option<&str> {
        match &self.source {
            EmbedderSource::Model(name) => Some(name),
            _ => None,
        }
    }

    /// The prefix of texts of that role; `None` for what the model itself states.
    pub fn prefix(&self, role: TextRole) -> Option<&str> {
        match role {
            TextRole::Query => self.query_prefix.as_deref(),
            TextRole::Passage => self.passage_prefix.as_deref(),
        }
    }

    /// # Errors
    /// `Invalid` names the field that a new collection cannot have.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.source {
            EmbedderSource::Model(name) => check_model_name("embedder.model", name)?,
            // Its fields are checked against the settings by the store.
            #[cfg(feature = "provider")]
            EmbedderSource::Provider(_) => {}
            EmbedderSource::Other(fields) => {
                if let Err(fault) = read(fields) {
                    return Err(Error::invalid(fault));
                }
                let shown: Vec<&str> = fields.keys().map(String::as_str).take(4).collect();
                return Err(Error::invalid(format!(
                    "embedder: expected an object with model or provider, got one with {}",
                    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
                )));
            }
        }
        for (field, prefix) in [("query_prefix", &self.query_prefix), ("passage_prefix", &self.passage_prefix)] {
            let bytes = prefix.as_ref().map_or(0, String::len);
            if bytes > PREFIX_BYTES {
                return Err(Error::invalid(format!(
                    "embedder.{field}: expected at most {PREFIX_BYTES} bytes, got {bytes}"
                )));
            }
        }
        Ok(())
    }
}

/// Refuses what cannot be the name of a model: 1 to 128 letters, digits, `.`, `_` and `-`, without a dot in front.
///
/// # Errors
/// `Invalid` with the rule; `field` names the place.
pub fn check_model_name(field: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=NAME_BYTES).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.') {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    Err(Error::invalid(format!(
        "{field}: expected 1 to {NAME_BYTES} letters, digits, \".\", \"_\" and \"-\", and no dot in front, got {shown:?}"
    )))
}

const MODEL: &str = "model";
#[cfg(feature = "provider")]
const PROVIDER: &str = "provider";
const QUERY_PREFIX: &str = "query_prefix";
const PASSAGE_PREFIX: &str = "passage_prefix";
const OPTIONAL: &str = "optional";

/// What this version cannot use, as it was stored.
fn unknown(fields: Map<String, Value>) -> Embedder {
    let source = EmbedderSource::Other(fields);
    Embedder { source, query_prefix: None, passage_prefix: None, optional: false }
}

/// The field that says which kind of source these fields describe.
fn source_key(fields: &Map<String, Value>) -> &'static str {
    #[cfg(feature = "provider")]
    if fields.contains_key(PROVIDER) && !fields.contains_key(MODEL) {
        return PROVIDER;
    }
    let _ = fields;
    MODEL
}

impl From<Map<String, Value>> for Embedder {
    fn from(fields: Map<String, Value>) -> Embedder {
        match read(&fields) {
            Ok(Some(embedder)) => embedder,
            // What a newer version stored, or what `check` refuses.
            Ok(None) | Err(_) => unknown(fields),
        }
    }
}

/// The embedder that the fields describe; `None` if this version does not know it whole, as what it asks for may change
/// the embeddings. The error is for whoever describes a new one.
fn read(fields: &Map<String, Value>) -> Result<Option<Embedder>, String> {
    let source_key = source_key(fields);
    let known = |key: &String| [source_key, QUERY_PREFIX, PASSAGE_PREFIX, OPTIONAL].contains(&key.as_str());
    if !fields.keys().all(known) || !fields.contains_key(source_key) {
        return Ok(None);
    }
    let optional = match fields.get(OPTIONAL) {
        None => false,
        Some(Value::Bool(optional)) => *optional,
        Some(other) => return Err(format!("embedder.{OPTIONAL}: expected true or false, got {other}")),
    };
    let text = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("embedder.{key}: expected a string, got {other}")),
    };
    let (query_prefix, passage_prefix) = (text(QUERY_PREFIX)?, text(PASSAGE_PREFIX)?);
    #[cfg(feature = "provider")]
    if let Some(provider) = fields.get(PROVIDER) {
        let provider = ProviderSpec::deserialize(provider).map_err(|fault| format!("embedder.provider: {fault}"))?;
        let source = EmbedderSource::Provider(provider);
        return Ok(Some(Embedder { source, query_prefix, passage_prefix, optional }));
    }
    let model = text(MODEL)?.ok_or("embedder.model: expected a name, got null")?;
    Ok(Some(Embedder { source: EmbedderSource::Model(model), query_prefix, passage_prefix, optional }))
}

impl From<Embedder> for Map<String, Value> {
    fn from(Embedder { source, query_prefix, passage_prefix, optional }: Embedder) -> Map<String, Value> {
        let mut fields = match source {
            EmbedderSource::Model(name) => Map::from_iter([(MODEL.to_owned(), Value::from(name))]),
            #[cfg(feature = "provider")]
            EmbedderSource::Provider(provider) => {
                let fields = serde_json::to_value(provider).unwrap_or_default();
                Map::from_iter([(PROVIDER.to_owned(), fields)])
            }
            EmbedderSource::Other(fields) => fields,
        };
        for (key, prefix) in [(QUERY_PREFIX, query_prefix), (PASSAGE_PREFIX, passage_prefix)] {
            if let Some(prefix) = prefix {
                fields.insert(key.to_owned(), Value::from(prefix));
            }
        }
        if optional {
            fields.insert(OPTIONAL.to_owned(), Value::from(true));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_embedder_is_stored_as_it_was_read_whatever_newer_versions_put_into_it() {
        for stored in [
            json!({"model": "all-MiniLM-L6-v2"}),
            json!({"model": "e5", "passage_prefix": "passage: ", "query_prefix": ""}),
            json!({"model": "e5", "optional": true}),
            json!({"model": "e5", "int4": true}),
            json!({"service": {"kind": "x"}}),
            json!({"model": ["a", "b"]}),
            json!({"model": "e5", "optional": "often"}),
        ] {
            let read: Embedder = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), stored);
            let known = stored["model"].is_string() && stored.get("int4").is_none() && stored["optional"] != "often";
            assert_eq!(read.check().is_ok(), known, "{stored}");
        }
    }

    #[test]
    fn what_no_collection_can_have_is_refused_by_its_field() {
        let refused = |json: Value| match serde_json::from_value::<Embedder>(json) {
            Ok(embedder) => embedder.check().unwrap_err().message().to_owned(),
            Err(error) => error.to_string(),
        };
        for (json, words) in [
            (json!({}), "embedder: expected an object with model or provider, got one with nothing"),
            (json!({"modle": "x"}), "embedder: expected an object with model or provider, got one with modle"),
            (json!({"model": null}), "embedder.model: expected a name, got null"),
            (json!({"model": 1}), "embedder.model: expected a string, got 1"),
            (json!({"model": "a", "optional": 1}), "embedder.optional: expected true or false, got 1"),
            (json!({"model": ""}), "embedder.model: expected 1 to 128 letters"),
            (json!({"model": "../x"}), "embedder.model: expected 1 to 128 letters"),
            (json!({"model": "a/b"}), "got \"a/b\""),
            (json!({"model": "a", "query_prefix": "x".repeat(1025)}), "embedder.query_prefix: expected at most 1024"),
            (json!({"model": "a", "passage_prefix": []}), "embedder.passage_prefix: expected a string"),
        ] {
            let message = refused(json.clone());
            assert!(message.contains(words), "{json}: {message}");
        }
    }
}
