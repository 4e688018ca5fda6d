//! Chroma's schema: which kinds of values of which keys have an index. The core indexes every key when a filter first
//! needs it. So a schema is only stored and shown, and filters on what it switches off are refused, as Chroma's
//! clients expect.
//! Invariant: a stored schema is whole: `defaults` has every kind, `keys` has `#document` and `#embedding`. Keys
//! discovered since are not in it: the collection's own stream records them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::configuration::{EmbeddingFunction, Hnsw, RequestedConfiguration, Space, SpannBody};
use super::error::ChromaError;
use crate::collection::state::{KeyType, KeyTypes};
use crate::filter::DOCUMENT_TESTS;

/// The key under which filters find the document.
pub(super) const DOCUMENT: &str = "#document";
/// The key of the embedding.
pub(super) const EMBEDDING: &str = "#embedding";
/// The key under which the filter of a search finds the record's id.
const ID: &str = "#id";

/// A schema; in a request, parts may be missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "struct Schema")]
pub(super) struct Schema {
    defaults: ValueTypes,
    keys: BTreeMap<String, ValueTypes>,
}

/// The indexes of a key by kind of value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(expecting = "struct ValueTypes")]
struct ValueTypes {
    #[serde(skip_serializing_if = "Option::is_none")]
    string: Option<StringIndexes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    float_list: Option<FloatListIndexes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sparse_vector: Option<SparseVectorIndexes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    int: Option<IntIndexes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    float: Option<FloatIndexes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bool: Option<BoolIndexes>,
}

/// Whether there is an index, and how it is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Index<C> {
    enabled: bool,
    config: C,
}

/// An index without settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Plain {}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct StringIndexes {
    #[serde(skip_serializing_if = "Option::is_none")]
    fts_index: Option<Index<Plain>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    string_inverted_index: Option<Index<Plain>>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct FloatListIndexes {
    #[serde(skip_serializing_if = "Option::is_none")]
    vector_index: Option<Index<VectorConfig>>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct SparseVectorIndexes {
    #[serde(skip_serializing_if = "Option::is_none")]
    sparse_vector_index: Option<Index<SparseConfig>>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct IntIndexes {
    #[serde(skip_serializing_if = "Option::is_none")]
    int_inverted_index: Option<Index<Plain>>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct FloatIndexes {
    #[serde(skip_serializing_if = "Option::is_none")]
    float_inverted_index: Option<Index<Plain>>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct BoolIndexes {
    #[serde(skip_serializing_if = "Option::is_none")]
    bool_inverted_index: Option<Index<Plain>>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorConfig {
    space: Option<Space>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_function: Option<EmbeddingFunction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_key: Option<String>,
    hnsw: Option<Hnsw>,
    /// Accepted, and not stored.
    #[serde(skip_serializing)]
    spann: Option<SpannBody>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SparseConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_function: Option<EmbeddingFunction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bm25: Option<bool>,
    #[serde(default, skip_serializing_if = "SparseAlgorithm::is_default")]
    algorithm: SparseAlgorithm,
}

/// How Chroma searches a sparse index. Both give the same exact answer here.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SparseAlgorithm {
    #[default]
    Wand,
    MaxScore,
}

impl SparseAlgorithm {
    fn is_default(&self) -> bool {
        *self == SparseAlgorithm::Wand
    }
}

fn plain(enabled: bool) -> Option<Index<Plain>> {
    Some(Index { enabled, config: Plain {} })
}

fn texts(fts: bool, inverted: bool) -> Option<StringIndexes> {
    Some(StringIndexes { fts_index: plain(fts), string_inverted_index: plain(inverted) })
}

fn vectors(enabled: bool, source_key: Option<String>) -> Option<FloatListIndexes> {
    let (space, hnsw) = (Some(Space::L2), Some(Hnsw::standard()));
    let config = VectorConfig { space, embedding_function: None, source_key, hnsw, spann: None };
    Some(FloatListIndexes { vector_index: Some(Index { enabled, config }) })
}

impl Default for Schema {
    /// Chroma's schema where none is given: every key is indexed for every kind of value but sparse vectors,
    /// documents by their text, embeddings by a graph.
    fn default() -> Schema {
        let sparse = SparseConfig {
            embedding_function: Some(EmbeddingFunction::Unknown),
            bm25: Some(false),
            ..SparseConfig::default()
        };
        let sparse_vector_index = Some(Index { enabled: false, config: sparse });
        let defaults = ValueTypes {
            string: texts(false, true),
            float_list: vectors(false, None),
            sparse_vector: Some(SparseVectorIndexes { sparse_vector_index }),
            int: Some(IntIndexes { int_inverted_index: plain(true) }),
            float: Some(FloatIndexes { float_inverted_index: plain(true) }),
            bool: Some(BoolIndexes { bool_inverted_index: plain(true) }),
        };
        let document = ValueTypes { string: texts(true, false), ..ValueTypes::default() };
        let embedding = ValueTypes { float_list: vectors(true, Some(DOCUMENT.to_owned())), ..ValueTypes::default() };
        let keys = BTreeMap::from([(DOCUMENT.to_owned(), document), (EMBEDDING.to_owned(), embedding)]);
        Schema { defaults, keys }
    }
}

impl VectorConfig {
    fn or(self, other: &VectorConfig) -> VectorConfig {
        let hnsw = match (self.hnsw, &other.hnsw) {
            (Some(own), Some(other)) => Some(own.or(other)),
            (own, other) => own.or_else(|| other.clone()),
        };
        VectorConfig {
            space: self.space.or(other.space),
            embedding_function: self.embedding_function.or_else(|| other.embedding_function.clone()),
            source_key: self.source_key.or_else(|| other.source_key.clone()),
            hnsw,
            spann: None,
        }
    }
}

impl SparseConfig {
    fn or(self, other: &SparseConfig) -> SparseConfig {
        SparseConfig {
            embedding_function: self.embedding_function.or_else(|| other.embedding_function.clone()),
            source_key: self.source_key.or_else(|| other.source_key.clone()),
            bm25: self.bm25.or(other.bm25),
            algorithm: self.algorithm,
        }
    }
}

impl ValueTypes {
    /// These indexes, completed by `other`'s where one is missing.
    fn or(self, other: &ValueTypes) -> ValueTypes {
        let mut whole = self;
        if let Some(default) = &other.string {
            let own = whole.string.get_or_insert_default();
            own.fts_index = own.fts_index.take().or_else(|| default.fts_index.clone());
            own.string_inverted_index =
                own.string_inverted_index.take().or_else(|| default.string_inverted_index.clone());
        }
        if let Some(Index { enabled, config }) = other.vector() {
            let own = whole.float_list.get_or_insert_default();
            own.vector_index = Some(match own.vector_index.take() {
                Some(own) => Index { config: own.config.or(config), ..own },
                None => Index { enabled: *enabled, config: config.clone() },
            });
        }
        if let Some(default) = &other.sparse_vector {
            let own = whole.sparse_vector.get_or_insert_default();
            own.sparse_vector_index = match (own.sparse_vector_index.take(), &default.sparse_vector_index) {
                (Some(own), Some(default)) => Some(Index { config: own.config.or(&default.config), ..own }),
                (own, default) => own.or_else(|| default.clone()),
            };
        }
        if let Some(default) = &other.int {
            let own = whole.int.get_or_insert_default();
            own.int_inverted_index = own.int_inverted_index.take().or_else(|| default.int_inverted_index.clone());
        }
        if let Some(default) = &other.float {
            let own = whole.float.get_or_insert_default();
            own.float_inverted_index = own.float_inverted_index.take().or_else(|| default.float_inverted_index.clone());
        }
        if let Some(default) = &other.bool {
            let own = whole.bool.get_or_insert_default();
            own.bool_inverted_index = own.bool_inverted_index.take().or_else(|| default.bool_inverted_index.clone());
        }
        whole
    }

    fn vector(&self) -> Option<&Index<VectorConfig>> {
        self.float_list.as_ref()?.vector_index.as_ref()
    }

    /// The index of sparse vectors, if it is enabled.
    fn sparse(&self) -> Option<&SparseConfig> {
        let index = self.sparse_vector.as_ref().and_then(|types| types.sparse_vector_index.as_ref());
        index.filter(|index| index.enabled).map(|index| &index.config)
    }

    fn fts(&self) -> Option<bool> {
        Some(self.string.as_ref()?.fts_index.as_ref()?.enabled)
    }

    /// Whether filters on this kind of value have an index; `None` if the schema does not say.
    fn filterable(&self, kind: KeyType) -> Option<bool> {
        let index = match kind {
            KeyType::String => self.string.as_ref()?.string_inverted_index.as_ref(),
            KeyType::Int => self.int.as_ref()?.int_inverted_index.as_ref(),
            KeyType::Float => self.float.as_ref()?.float_inverted_index.as_ref(),
            KeyType::Bool => self.bool.as_ref()?.bool_inverted_index.as_ref(),
            // No filter asks for a sparse vector.
            KeyType::SparseVector => None,
        };
        index.map(|index| index.enabled)
    }

    /// Copies the entry of `defaults` for a kind of value, if there is none here.
    fn discover(&mut self, kind: KeyType, defaults: &ValueTypes) {
        match kind {
            KeyType::String => self.string = self.string.take().or_else(|| defaults.string.clone()),
            KeyType::Int => self.int = self.int.take().or_else(|| defaults.int.clone()),
            KeyType::Float => self.float = self.float.take().or_else(|| defaults.float.clone()),
            KeyType::Bool => self.bool = self.bool.take().or_else(|| defaults.bool.clone()),
            KeyType::SparseVector => {
                self.sparse_vector = self.sparse_vector.take().or_else(|| defaults.sparse_vector.clone());
            }
        }
    }
}

impl Schema {
    /// The fault of a request's schema, in one sentence.
    pub(super) fn fault(&self) -> Option<String> {
        if self.defaults.vector().is_some_and(|index| index.enabled) {
            let words = "Vector index cannot be enabled by default. It can only be enabled on #embedding field.";
            return Some(words.to_owned());
        }
        if self.defaults.fts() == Some(true) {
            return Some(
                "Full text search / regular expression index cannot be enabled by default. It can only be enabled on \
                 #document field."
                    .to_owned(),
            );
        }
        if self.defaults.sparse().is_some() {
            let words = "Sparse vector index cannot be enabled by default. It can only be enabled on a key of its own.";
            return Some(words.to_owned());
        }
        self.keys.iter().find_map(|(key, types)| fault_of_key(key, types))
    }

    /// The schema of a new collection, from the two forms in which a create may give it.
    pub(super) fn of(given: Option<Schema>, configuration: &RequestedConfiguration) -> Result<Schema, ChromaError> {
        let refused = |why: &str| Err(ChromaError::invalid(format!("Failed to reconcile schema: {why}")));
        let default = Schema::default();
        let schema = given.map_or_else(|| default.clone(), |given| given.or(&default));
        match (schema.is_default(), configuration.is_default()) {
            (false, false) => return refused("Cannot set both collection config and schema simultaneously"),
            (false, true) => return Ok(schema),
            (true, _) => {}
        }
        let mut schema = default;
        let hnsw = configuration.hnsw.or(&Hnsw::standard());
        schema.each_vector(|config| {
            config.space = Some(configuration.space);
            config.hnsw = Some(hnsw.clone());
            config.embedding_function.clone_from(&configuration.embedding_function);
        });
        Ok(schema)
    }

    /// Whether it equals the default. The embedding function that clients name by themselves is ignored, since
    /// Python's client sends it with every schema. So is the number of threads, which depends on the machine.
    fn is_default(&self) -> bool {
        let mut own = self.clone();
        own.each_vector(|config| {
            config.embedding_function.take_if(|function| function.is_default());
            if let Some(hnsw) = &mut config.hnsw {
                hnsw.num_threads = Hnsw::standard().num_threads;
            }
        });
        own == Schema::default()
    }

    fn or(self, default: &Schema) -> Schema {
        let defaults = self.defaults.or(&default.defaults);
        let mut keys = self.keys;
        for (key, types) in &default.keys {
            let own = keys.remove(key).unwrap_or_default();
            keys.insert(key.clone(), own.or(types));
        }
        Schema { defaults, keys }
    }

    fn each_vector(&mut self, change: impl Fn(&mut VectorConfig)) {
        let types = self.keys.get_mut(EMBEDDING).into_iter().chain([&mut self.defaults]);
        let lists = types.filter_map(|types| types.float_list.as_mut());
        lists.filter_map(|list| list.vector_index.as_mut()).for_each(|index| change(&mut index.config));
    }

    /// Changes how embeddings are indexed; settings that are `None` stay.
    pub(super) fn change(&mut self, hnsw: &Hnsw, embedding_function: Option<&EmbeddingFunction>) {
        self.each_vector(|config| {
            config.hnsw = Some(config.hnsw.as_ref().map_or_else(|| hnsw.clone(), |old| hnsw.or(old)));
            if let Some(function) = embedding_function {
                config.embedding_function = Some(function.clone());
            }
        });
    }

    /// The schema with the kinds of values that have been written since.
    pub(super) fn with_discovered(mut self, types: &KeyTypes) -> Schema {
        for (key, kinds) in types.iter() {
            let known = self.keys.entry(key.to_owned()).or_default();
            kinds.into_iter().for_each(|kind| known.discover(kind, &self.defaults));
        }
        self
    }

    /// How embeddings are indexed.
    pub(super) fn configuration(&self) -> RequestedConfiguration {
        let config = self.keys.get(EMBEDDING).and_then(ValueTypes::vector).map(|index| &index.config);
        RequestedConfiguration {
            space: config.and_then(|config| config.space).unwrap_or_default(),
            hnsw: config.and_then(|config| config.hnsw.clone()).unwrap_or_default().or(&Hnsw::standard()),
            embedding_function: config.and_then(|config| config.embedding_function.clone()),
        }
    }

    /// How the sparse vectors of a key are searched: with the idf of their indices or without; `None` if the key has no
    /// index.
    pub(super) fn sparse_idf(&self, key: &str) -> Option<bool> {
        let config = self.keys.get(key)?.sparse()?;
        let defaults = self.defaults.sparse_vector.as_ref().and_then(|types| types.sparse_vector_index.as_ref());
        Some(config.bm25.or_else(|| defaults?.config.bm25).unwrap_or(false))
    }

    /// Refuses a filter on something that has no index. The clauses must have been parsed before.
    pub(super) fn check_filter(&self, metadata: Option<&Value>, document: Option<&Value>) -> Result<(), ChromaError> {
        if let Some(clause) = metadata {
            self.check_clause(clause)?;
        }
        match document {
            Some(_) => self.check_full_text(),
            None => Ok(()),
        }
    }

    fn check_clause(&self, clause: &Value) -> Result<(), ChromaError> {
        for (key, value) in clause.as_object().into_iter().flatten() {
            if let ("$and" | "$or", Value::Array(clauses)) = (key.as_str(), value) {
                clauses.iter().try_for_each(|clause| self.check_clause(clause))?;
                continue;
            }
            let test = value.as_object().and_then(|object| object.iter().next());
            let (operator, operand) = test.map_or(("$eq", value), |(operator, operand)| (operator.as_str(), operand));
            if key == DOCUMENT && DOCUMENT_TESTS.contains(&operator) {
                self.check_full_text()?;
            } else if key != ID && operator != "$exists" {
                self.check_key(key, operand)?;
            }
        }
        Ok(())
    }

    fn check_full_text(&self) -> Result<(), ChromaError> {
        match self.keys.get(DOCUMENT).and_then(ValueTypes::fts) {
            Some(false) => {
                Err(ChromaError::invalid("Cannot filter using full-text search because FTS indexing is disabled"))
            }
            _ => Ok(()),
        }
    }

    fn check_key(&self, key: &str, operand: &Value) -> Result<(), ChromaError> {
        let value = operand.as_array().map_or(Some(operand), |items| items.first());
        let (kind, name) = match value {
            // An object is a date, which strings are compared with.
            Some(Value::String(_) | Value::Object(_)) => (KeyType::String, "Str"),
            Some(Value::Bool(_)) => (KeyType::Bool, "Bool"),
            Some(Value::Number(number)) if number.is_i64() => (KeyType::Int, "Int"),
            Some(Value::Number(_)) => (KeyType::Float, "Float"),
            _ => return Ok(()),
        };
        let own = self.keys.get(key).and_then(|types| types.filterable(kind));
        match own.or_else(|| self.defaults.filterable(kind)) {
            Some(false) => Err(ChromaError::invalid(format!(
                "Cannot filter using metadata key '{key}' with type '{name}' because indexing is disabled"
            ))),
            _ => Ok(()),
        }
    }
}

fn fault_of_key(key: &str, types: &ValueTypes) -> Option<String> {
    if key.starts_with('#') && ![DOCUMENT, EMBEDDING].contains(&key) {
        return Some(format!("key cannot begin with '#'. Keys starting with '#' are reserved for system use: {key}"));
    }
    if key == EMBEDDING {
        let only_vectors = ValueTypes { float_list: types.float_list.clone(), ..ValueTypes::default() };
        if *types != only_vectors {
            return Some(format!("Embedding field cannot have any value types other than float_list: {key}"));
        }
        let source = types.vector().and_then(|index| index.config.source_key.as_deref());
        return source
            .filter(|source| *source != DOCUMENT)
            .map(|_| "Vector index can only source from #document".to_owned());
    }
    if let Some(fault) = fault_of_sparse(key, types) {
        return Some(fault);
    }
    if types.vector().is_some_and(|index| index.enabled) {
        return Some(format!("Vector index can only be enabled on #embedding field: {key}"));
    }
    if key == DOCUMENT {
        let only_text = ValueTypes { string: types.string.clone(), ..ValueTypes::default() };
        if *types != only_text {
            return Some(format!("Document field cannot have any value types other than string: {key}"));
        }
        let inverted = types.filterable(KeyType::String) == Some(true);
        return inverted.then(|| format!("String inverted index can not be enabled on #document key: {key}"));
    }
    (types.fts() == Some(true))
        .then(|| format!("Full text search / regular expression index can only be enabled on #document field: {key}"))
}

/// The fault of a key's index of sparse vectors. Its source counts even while the index is disabled.
fn fault_of_sparse(key: &str, types: &ValueTypes) -> Option<String> {
    let index = types.sparse_vector.as_ref()?.sparse_vector_index.as_ref()?;
    let source = index.config.source_key.as_deref()?;
    if source.starts_with('#') && source != DOCUMENT {
        return Some(format!("source_key: expected #document or a metadata key, got {source:?}: {key}"));
    }
    let unknown = matches!(index.config.embedding_function, None | Some(EmbeddingFunction::Unknown));
    (index.enabled && unknown)
        .then(|| format!("a source_key needs an embedding_function, which computes the sparse vectors: {key}"))
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod schema_tests;
