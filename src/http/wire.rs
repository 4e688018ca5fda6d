//! The JSON of requests: the native API accepts it strictly. Unknown fields are refused, so that no typo passes
//! silently. Embeddings are decoded straight into `Vec<f32>`. Every value that the core could not store (NaN,
//! infinities, nested metadata) is refused here, where its place is known.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::bounded::{self, ExampleIds, Ids, List, Queries, Records, Tree};
use super::meter;
use crate::collection::request::{Consistency, Embedder, ExampleStrategy, Include, IndexSettings, Scope, TextRole};
use crate::error::Result;
use crate::filter::Filter;
use crate::record::{MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate};
use crate::text::{Splitting, TextSettings};

use super::beside::{DiversityBody, GroupingBody};
use super::facets::{FacetsBody, FacetsRequestBody};
use super::ranked::{FusionBody, HighlightBody, SparseQueryBody, TextBody, TextMode};
use super::reranking::RerankBody;

/// A JSON object, and nothing else: serde's derived code would also accept a list of the fields in order.
#[derive(Debug, Default)]
pub(crate) struct JsonObject<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonObject<T>, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(JsonObject)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// `?tenant=&database=`, on every route of a collection.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScopeParameters {
    tenant: Option<String>,
    database: Option<String>,
}

impl ScopeParameters {
    pub(crate) fn scope(self) -> Scope {
        scope(self.tenant, self.database)
    }
}

/// `?tenant=&database=&consistency=`, on every read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReadParameters {
    tenant: Option<String>,
    database: Option<String>,
    consistency: Freshness,
}

impl ReadParameters {
    pub(crate) fn split(self) -> (Scope, Consistency) {
        (scope(self.tenant, self.database), self.consistency.into())
    }
}

/// No query parameters at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

/// `consistency` of a read.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Freshness {
    #[default]
    Local,
    Strong,
}

impl From<Freshness> for Consistency {
    fn from(freshness: Freshness) -> Consistency {
        match freshness {
            Freshness::Local => Consistency::Local,
            Freshness::Strong => Consistency::Strong,
        }
    }
}

pub(crate) fn scope(tenant: Option<String>, database: Option<String>) -> Scope {
    let default = Scope::default();
    Scope { tenant: tenant.unwrap_or(default.tenant), database: database.unwrap_or(default.database) }
}

/// `POST /api/collections`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) metric: Metric,
    #[serde(default)]
    pub(crate) dimension: Option<usize>,
    #[serde(default)]
    pub(crate) metadata: Option<MetadataBody>,
    #[serde(default)]
    pub(crate) index: JsonObject<IndexBody>,
    #[serde(default)]
    pub(crate) text: JsonObject<TextSettings>,
    #[serde(default)]
    pub(crate) embedder: Option<Embedder>,
    #[serde(default)]
    pub(crate) chunk: Option<Splitting>,
}

/// `index` of a create: [`IndexSettings`], strictly.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IndexBody {
    builder: Option<String>,
    m: Option<usize>,
    ef_construction: Option<usize>,
    ef_search: Option<usize>,
}

impl From<IndexBody> for IndexSettings {
    fn from(body: IndexBody) -> IndexSettings {
        let default = IndexSettings::default();
        IndexSettings {
            builder: body.builder.unwrap_or(default.builder),
            m: body.m.unwrap_or(default.m),
            ef_construction: body.ef_construction.unwrap_or(default.ef_construction),
            ef_search: body.ef_search.or(default.ef_search),
        }
    }
}

/// `POST …/add` and `…/upsert`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordsBody {
    pub(crate) records: List<JsonObject<RecordBody>, Records>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordBody {
    id: String,
    /// None where the collection's embedder makes it of the document.
    embedding: Option<Embedding>,
    document: Option<String>,
    uri: Option<String>,
    metadata: Option<MetadataBody>,
}

impl From<RecordBody> for Record {
    fn from(body: RecordBody) -> Record {
        Record {
            id: body.id,
            embedding: body.embedding.map(|embedding| embedding.0).unwrap_or_default(),
            document: body.document,
            uri: body.uri,
            metadata: body.metadata.map(|m| m.0),
        }
    }
}

/// `POST …/update`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdatesBody {
    pub(crate) records: List<JsonObject<UpdateBody>, Records>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateBody {
    id: String,
    embedding: Option<Embedding>,
    document: Option<String>,
    uri: Option<String>,
    metadata: Option<PatchBody>,
}

impl From<UpdateBody> for RecordUpdate {
    fn from(body: UpdateBody) -> RecordUpdate {
        RecordUpdate {
            id: body.id,
            embedding: body.embedding.map(|e| e.0),
            document: body.document,
            uri: body.uri,
            metadata: body.metadata.map(|m| m.0),
        }
    }
}

/// `POST …/delete`. At least one condition is required: an empty body would delete everything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteBody {
    pub(crate) ids: Option<List<String, Ids>>,
    pub(crate) r#where: Option<Tree>,
    pub(crate) where_document: Option<Tree>,
    pub(crate) limit: Option<usize>,
}

/// `POST …/get`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetBody {
    pub(crate) ids: Option<List<String, Ids>>,
    pub(crate) r#where: Option<Tree>,
    pub(crate) where_document: Option<Tree>,
    pub(crate) limit: Option<usize>,
    #[serde(default)]
    pub(crate) offset: usize,
    pub(crate) include: Option<Vec<Field>>,
    /// Keys of metadata to answer; all if not given.
    pub(crate) metadata_keys: Option<Vec<String>>,
}

/// `POST …/count`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountBody {
    pub(crate) ids: Option<List<String, Ids>>,
    pub(crate) r#where: Option<Tree>,
    pub(crate) where_document: Option<Tree>,
}

/// `POST …/search`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// A record whose embedding is the query.
    pub(crate) id: Option<String>,
    pub(crate) embedding: Option<Embedding>,
    pub(crate) embeddings: Option<List<Embedding, Queries>>,
    #[serde(default = "default_k")]
    pub(crate) k: usize,
    pub(crate) ids: Option<List<String, Ids>>,
    pub(crate) r#where: Option<Tree>,
    pub(crate) where_document: Option<Tree>,
    pub(crate) include: Option<Vec<Field>>,
    pub(crate) ef_search: Option<usize>,
    #[serde(default)]
    pub(crate) exact: bool,
    /// Records whose embedding is farther are left out.
    pub(crate) max_distance: Option<Component>,
    /// Words to search for in documents, or a text whose meaning is searched for.
    pub(crate) text: Option<TextBody>,
    /// How the text is searched for.
    pub(crate) mode: Option<TextMode>,
    /// A model that puts what was found into another order.
    pub(crate) rerank: Option<JsonObject<RerankBody>>,
    /// A sparse vector to search for under a metadata key.
    pub(crate) sparse: Option<SparseQueryBody>,
    /// How several searches become one.
    pub(crate) fusion: Option<FusionBody>,
    /// Records of each search that are fused.
    pub(crate) candidates: Option<usize>,
    /// Whether answers show where documents have the words.
    pub(crate) highlight: Option<HighlightBody>,
    /// Ids of records that the found ones are like, and unlike.
    pub(crate) like: Option<List<String, ExampleIds>>,
    pub(crate) unlike: Option<List<String, ExampleIds>>,
    /// How records are compared with these.
    pub(crate) strategy: Option<ExampleStrategy>,
    /// The best groups, instead of the best records.
    pub(crate) group_by: Option<JsonObject<GroupingBody>>,
    /// How many parts of each document, where the collection splits documents.
    pub(crate) parts: Option<usize>,
    /// Records that are unlike each other.
    pub(crate) diversity: Option<JsonObject<DiversityBody>>,
    /// What to count among the candidates.
    pub(crate) facets: Option<FacetsBody>,
}

pub(crate) fn default_k() -> usize {
    10
}

/// `POST …/embed`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbedBody {
    pub(crate) texts: List<String, Queries>,
    #[serde(default)]
    pub(crate) role: TextRole,
}

/// `POST …/reembed`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReembedBody {
    pub(crate) embedder: Embedder,
    #[serde(default)]
    pub(crate) metric: Option<Metric>,
}

/// An empty body: none at all, or `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyBody {}

super::body::bodies! {
    Records: RecordsBody, UpdatesBody;
    Query: super::map::NeighborsBody, CountBody, DeleteBody, EmbedBody, FacetsRequestBody, GetBody;
    Settings: CreateBody, EmptyBody, ReembedBody;
}

/// A name in an `include` list.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Field {
    Embedding,
    Document,
    Uri,
    Metadata,
}

/// The requested fields; without a list, everything but the embedding.
pub(crate) fn include(fields: Option<Vec<Field>>) -> Include {
    let Some(fields) = fields else { return Include::default() };
    let mut include = Include::NONE;
    for field in fields {
        match field {
            Field::Embedding => include.embedding = true,
            Field::Document => include.document = true,
            Field::Uri => include.uri = true,
            Field::Metadata => include.metadata = true,
        }
    }
    include
}

/// One filter from the two clauses; records must satisfy both.
pub(crate) fn filter(metadata: Option<&Tree>, document: Option<&Tree>) -> Result<Option<Filter>> {
    Ok(Filter::parse(metadata.map(|tree| &tree.0), document.map(|tree| &tree.0))?)
}

/// An embedding: a JSON list of numbers that are finite as f32.
#[derive(Debug)]
pub(crate) struct Embedding(pub(crate) Vec<f32>);

impl<'de> Deserialize<'de> for Embedding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Embedding, D::Error> {
        deserializer.deserialize_seq(EmbeddingVisitor).map(Embedding)
    }
}

struct EmbeddingVisitor;

impl<'de> Visitor<'de> for EmbeddingVisitor {
    type Value = Vec<f32>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<f32>, A::Error> {
        let numbers: Vec<Component> = bounded::numbers(&mut items)?;
        Ok(numbers.into_iter().map(|Component(x)| x).collect())
    }
}

/// One number of an embedding, or a distance.
#[derive(Debug)]
pub(crate) struct Component(pub(crate) f32);

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Component, D::Error> {
        let wide = f64::deserialize(deserializer)?;
        let narrow = wide as f32;
        if !narrow.is_finite() {
            return Err(D::Error::custom(format_args!("expected a number that fits a 32-bit float, got {wide:e}")));
        }
        Ok(Component(narrow))
    }
}

/// Metadata of a record or collection: keys to strings, numbers, booleans or lists of one of these.
#[derive(Debug)]
pub(crate) struct MetadataBody(pub(crate) Metadata);

impl<'de> Deserialize<'de> for MetadataBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MetadataBody, D::Error> {
        let pairs = deserializer.deserialize_map(PairsVisitor(false))?;
        Ok(MetadataBody(Metadata(pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())))
    }
}

/// Metadata of an update: null removes a key.
#[derive(Debug)]
pub(crate) struct PatchBody(pub(crate) MetadataPatch);

impl<'de> Deserialize<'de> for PatchBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PatchBody, D::Error> {
        deserializer.deserialize_map(PairsVisitor(true)).map(|pairs| PatchBody(MetadataPatch(pairs)))
    }
}

/// Reads keys and values; null is a value only if the flag is set.
struct PairsVisitor(bool);

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = BTreeMap<String, Option<MetaValue>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of metadata keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            bounded::grow_map(pairs.len())?;
            let value = if self.0 {
                map.next_value::<Option<ValueBody>>()?.map(|v| v.0)
            } else {
                Some(map.next_value::<ValueBody>()?.0)
            };
            if pairs.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format_args!("key {key:?} is given twice")));
            }
        }
        Ok(pairs)
    }
}

struct ValueBody(MetaValue);

impl<'de> Deserialize<'de> for ValueBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ValueBody, D::Error> {
        let value = meter::scratch(|| {
            let Tree(value) = Tree::deserialize(deserializer)?;
            MetaValue::from_json(&value).map_err(|e| D::Error::custom(e.message()))
        })?;
        meter::take(bounded::value_bytes(&value))?;
        Ok(ValueBody(value))
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod wire_tests;
