//! A collection, and how it is to be indexed, as clients of the first version write and read them: settings lie in
//! `hnsw_configuration`, under older names. Invariant: an answer passes the checks of Chroma's Python client, which
//! refuses keys and combinations that it does not know.

use serde::{Deserialize, Serialize};

use super::super::configuration::{ConfigurationBody, Hnsw, RequestedConfiguration, Space};
use super::super::describe::ChromaCollection;
use crate::record::{CollectionId, Metadata};

/// Width of a graph search that clients of the first version name where their user named none.
const EF_SEARCH: usize = 10;
/// `_type` of a configuration, and of the settings of its graph.
const CONFIGURATION_TYPE: &str = "CollectionConfigurationInternal";
const HNSW_TYPE: &str = "HNSWConfigurationInternal";

/// `configuration` of a create.
#[derive(Debug, Default, Deserialize)]
pub(super) struct V1Configuration {
    hnsw_configuration: Option<V1Hnsw>,
}

/// Settings of a graph; `num_threads` is that of the client's machine, and not read.
#[derive(Debug, Default, Deserialize)]
struct V1Hnsw {
    space: Option<Space>,
    ef_construction: Option<usize>,
    ef_search: Option<usize>,
    #[serde(rename = "M")]
    max_neighbors: Option<usize>,
    resize_factor: Option<f64>,
    batch_size: Option<usize>,
    sync_threshold: Option<usize>,
}

impl V1Configuration {
    /// As the second version has it. Clients write out all their defaults, and those must not hide the `hnsw:…` keys
    /// of the metadata.
    pub(super) fn into_v2(self) -> Option<ConfigurationBody> {
        let hnsw = self.hnsw_configuration?;
        let settings = Hnsw {
            ef_construction: hnsw.ef_construction,
            max_neighbors: hnsw.max_neighbors,
            ef_search: hnsw.ef_search.filter(|ef| *ef != EF_SEARCH),
            num_threads: None,
            batch_size: hnsw.batch_size,
            sync_threshold: hnsw.sync_threshold,
            resize_factor: hnsw.resize_factor,
        };
        Some(ConfigurationBody::of(hnsw.space, settings))
    }
}

/// A collection in an answer.
#[derive(Serialize)]
pub(super) struct V1Collection {
    id: CollectionId,
    name: String,
    configuration_json: V1ConfigurationJson,
    metadata: Option<Metadata>,
    dimension: Option<usize>,
    tenant: String,
    database: String,
    version: u64,
    log_position: u64,
}

#[derive(Serialize)]
struct V1ConfigurationJson {
    hnsw_configuration: V1HnswJson,
    #[serde(rename = "_type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct V1HnswJson {
    space: Space,
    ef_construction: usize,
    ef_search: usize,
    num_threads: usize,
    #[serde(rename = "M")]
    max_neighbors: usize,
    resize_factor: f64,
    batch_size: usize,
    sync_threshold: usize,
    #[serde(rename = "_type")]
    kind: &'static str,
}

impl V1HnswJson {
    fn of(space: Space, hnsw: &Hnsw) -> V1HnswJson {
        // Clients refuse numbers below these, and a batch beyond the threshold.
        let sync_threshold = hnsw.sync_threshold.unwrap_or(1000).max(2);
        V1HnswJson {
            space,
            ef_construction: hnsw.ef_construction.unwrap_or(100).max(1),
            ef_search: hnsw.ef_search.unwrap_or(EF_SEARCH).max(1),
            num_threads: hnsw.num_threads.unwrap_or(1).max(1),
            max_neighbors: hnsw.max_neighbors.unwrap_or(16).max(1),
            resize_factor: hnsw.resize_factor.unwrap_or(1.2).max(1.0),
            batch_size: hnsw.batch_size.unwrap_or(100).clamp(1, sync_threshold),
            sync_threshold,
            kind: HNSW_TYPE,
        }
    }
}

impl From<ChromaCollection> for V1Collection {
    fn from(collection: ChromaCollection) -> V1Collection {
        let RequestedConfiguration { space, hnsw, .. } = collection.schema.configuration();
        V1Collection {
            id: collection.id,
            name: collection.name,
            configuration_json: V1ConfigurationJson {
                hnsw_configuration: V1HnswJson::of(space, &hnsw),
                kind: CONFIGURATION_TYPE,
            },
            metadata: collection.metadata,
            dimension: collection.dimension,
            tenant: collection.tenant,
            database: collection.database,
            version: collection.version,
            log_position: collection.log_position,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_that_clients_write_out_do_not_hide_the_space_in_the_metadata() {
        let written: V1Configuration = serde_json::from_value(json!({
            "_type": CONFIGURATION_TYPE,
            "hnsw_configuration": {
                "space": "l2", "ef_construction": 100, "ef_search": 10, "num_threads": 7, "M": 16,
                "resize_factor": 1.2, "batch_size": 100, "sync_threshold": 1000, "_type": HNSW_TYPE,
            },
        }))
        .unwrap();
        let metadata = Metadata::from([("hnsw:space", "cosine")]);
        let requested = RequestedConfiguration::of(written.into_v2(), Some(&metadata)).unwrap();
        assert_eq!(requested.space, Space::Cosine);
        let asked: V1Configuration =
            serde_json::from_value(json!({"hnsw_configuration": {"space": "ip", "M": 8}})).unwrap();
        let requested = RequestedConfiguration::of(asked.into_v2(), None).unwrap();
        assert_eq!((requested.space, requested.hnsw.max_neighbors), (Space::Ip, Some(8)));
    }

    #[test]
    fn settings_that_old_clients_refuse_are_shown_as_the_nearest_that_they_take() {
        let odd = Hnsw { ef_search: Some(0), batch_size: Some(500), sync_threshold: Some(50), ..Hnsw::default() };
        let shown = serde_json::to_value(V1HnswJson::of(Space::L2, &odd)).unwrap();
        let expected = json!({
            "space": "l2", "ef_construction": 100, "ef_search": 1, "num_threads": 1, "M": 16,
            "resize_factor": 1.2, "batch_size": 50, "sync_threshold": 50, "_type": HNSW_TYPE,
        });
        assert_eq!(shown, expected);
    }
}
