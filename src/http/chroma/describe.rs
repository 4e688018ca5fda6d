//! A collection in answers to Chroma's clients: all keys present, `configuration_json` derived from the schema, and
//! the schema with the kinds of values discovered since.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::configuration::{EmbeddingFunction, Hnsw, RequestedConfiguration, Space};
use super::error::ChromaError;
use super::schema::Schema;
use crate::collection::handle::Collection;
use crate::collection::request::{CollectionInfo, IndexSettings};
use crate::collection::state::KeyTypes;
use crate::error::Error;
use crate::record::{CollectionId, Metadata, Metric};

/// Key of the schema in a collection's extension.
pub(super) const SCHEMA: &str = "chroma_schema";

/// The stored schema. A collection that was not made by Chroma's API gets one that describes it.
pub(super) fn schema_of(
    extension: &Map<String, Value>,
    metric: Metric,
    index: &IndexSettings,
) -> Result<Schema, ChromaError> {
    if let Some(schema) = extension.get(SCHEMA) {
        let read = Schema::deserialize(schema);
        return read.map_err(|e| Error::corrupted("the collection's schema cannot be read").with_source(e).into());
    }
    let hnsw = Hnsw::of_index(index);
    Schema::of(None, &RequestedConfiguration { space: metric.into(), hnsw, embedding_function: None })
}

/// A collection in an answer.
#[derive(Serialize)]
pub(super) struct ChromaCollection {
    pub(super) id: CollectionId,
    pub(super) name: String,
    configuration_json: ConfigurationJson,
    pub(super) schema: Schema,
    pub(super) metadata: Option<Metadata>,
    pub(super) dimension: Option<usize>,
    pub(super) tenant: String,
    pub(super) database: String,
    pub(super) log_position: u64,
    pub(super) version: u64,
}

#[derive(Serialize)]
struct ConfigurationJson {
    hnsw: HnswJson,
    /// Always null: there is no such index here.
    spann: Option<()>,
    embedding_function: Option<EmbeddingFunction>,
}

#[derive(Serialize)]
struct HnswJson {
    space: Space,
    ef_construction: Option<usize>,
    ef_search: Option<usize>,
    max_neighbors: Option<usize>,
    resize_factor: Option<f64>,
    sync_threshold: Option<usize>,
}

impl ChromaCollection {
    /// An open collection.
    pub(super) fn of(collection: &Collection) -> Result<ChromaCollection, ChromaError> {
        ChromaCollection::new(collection.info(), &collection.key_types())
    }

    /// A collection that is not open: the kinds of values it has learnt are unknown.
    pub(super) fn of_info(info: CollectionInfo) -> Result<ChromaCollection, ChromaError> {
        ChromaCollection::new(info, &KeyTypes::default())
    }

    fn new(info: CollectionInfo, types: &KeyTypes) -> Result<ChromaCollection, ChromaError> {
        let schema = schema_of(&info.extension, info.metric, &info.index)?;
        let RequestedConfiguration { hnsw, embedding_function, .. } = schema.configuration();
        let space = info.metric.into();
        let embedder = info.embedder.as_ref();
        // One that was embedded anew has the schema of the time before.
        let made_by = |function: &EmbeddingFunction| function.embedder().is_some_and(|made| Some(&made) == embedder);
        let embedding_function = embedding_function
            .filter(|function| embedder.is_none() || made_by(function))
            .or_else(|| embedder.and_then(EmbeddingFunction::of_embedder));
        let hnsw = HnswJson {
            space,
            ef_construction: hnsw.ef_construction,
            ef_search: hnsw.ef_search,
            max_neighbors: hnsw.max_neighbors,
            resize_factor: hnsw.resize_factor,
            sync_threshold: hnsw.sync_threshold,
        };
        Ok(ChromaCollection {
            id: info.id,
            name: info.name,
            configuration_json: ConfigurationJson { hnsw, spann: None, embedding_function },
            schema: schema.with_discovered(types),
            metadata: info.metadata,
            dimension: info.dimension,
            tenant: info.scope.tenant,
            database: info.scope.database,
            log_position: 0,
            version: 0,
        })
    }
}
