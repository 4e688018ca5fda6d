//! How a collection is to be indexed, in the terms of Chroma's clients: `configuration` in a create or a
//! modification, or `hnsw:…` keys in the metadata of older ones. The request's settings are stored and shown as they
//! came. Those that the core can follow go into its own settings.
//! Invariant: of `configuration` and the old metadata keys, the first that differs from the defaults counts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::ChromaError;
use crate::collection::request::{Embedder, IndexSettings};
use crate::record::{MetaValue, Metadata, Metric};

/// How distance is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Space {
    #[default]
    L2,
    Cosine,
    Ip,
}

impl From<Space> for Metric {
    fn from(space: Space) -> Metric {
        match space {
            Space::L2 => Metric::L2,
            Space::Cosine => Metric::Cosine,
            Space::Ip => Metric::Ip,
        }
    }
}

impl From<Metric> for Space {
    fn from(metric: Metric) -> Space {
        match metric {
            Metric::L2 => Space::L2,
            Metric::Cosine => Space::Cosine,
            Metric::Ip => Space::Ip,
        }
    }
}

/// Settings of a graph; `None` for one that was not given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hnsw {
    pub(super) ef_construction: Option<usize>,
    pub(super) max_neighbors: Option<usize>,
    pub(super) ef_search: Option<usize>,
    pub(super) num_threads: Option<usize>,
    pub(super) batch_size: Option<usize>,
    pub(super) sync_threshold: Option<usize>,
    pub(super) resize_factor: Option<f64>,
}

/// Width of Chroma's graph search where none is given.
const EF_SEARCH: usize = 100;

impl Hnsw {
    /// Chroma's settings where none is given.
    pub(super) fn standard() -> Hnsw {
        Hnsw {
            ef_construction: Some(100),
            max_neighbors: Some(16),
            ef_search: Some(EF_SEARCH),
            num_threads: Some(std::thread::available_parallelism().map_or(1, usize::from)),
            batch_size: Some(100),
            sync_threshold: Some(1000),
            resize_factor: Some(1.2),
        }
    }

    /// These settings, completed by `other`'s where a setting is missing.
    pub(super) fn or(&self, other: &Hnsw) -> Hnsw {
        Hnsw {
            ef_construction: self.ef_construction.or(other.ef_construction),
            max_neighbors: self.max_neighbors.or(other.max_neighbors),
            ef_search: self.ef_search.or(other.ef_search),
            num_threads: self.num_threads.or(other.num_threads),
            batch_size: self.batch_size.or(other.batch_size),
            sync_threshold: self.sync_threshold.or(other.sync_threshold),
            resize_factor: self.resize_factor.or(other.resize_factor),
        }
    }

    /// The core's settings, as near as it can follow. A width of search that is merely Chroma's default is left to
    /// the core, which chooses one by the number of neighbours.
    pub(super) fn index(&self) -> IndexSettings {
        let default = IndexSettings::default();
        IndexSettings {
            m: self.max_neighbors.map_or(default.m, |m| m.clamp(2, 128)),
            ef_construction: self.ef_construction.map_or(default.ef_construction, |ef| ef.clamp(1, 4096)),
            ef_search: self.ef_search.filter(|ef| *ef != EF_SEARCH).map(core_ef_search),
            ..default
        }
    }

    /// The core's settings in Chroma's terms.
    pub(super) fn of_index(index: &IndexSettings) -> Hnsw {
        Hnsw {
            ef_construction: Some(index.ef_construction),
            max_neighbors: Some(index.m),
            ef_search: index.ef_search,
            ..Hnsw::default()
        }
    }
}

/// The width of search, limited to what the core accepts.
pub(super) fn core_ef_search(ef: usize) -> usize {
    ef.clamp(1, 100_000)
}

/// Which function makes embeddings; only clients run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum EmbeddingFunction {
    Legacy,
    Known { name: String, config: Value },
    Unknown,
}

/// The model of the function that clients use where their user named none, as it is called in a bucket.
pub(in crate::http) const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

impl EmbeddingFunction {
    /// The function that makes the embeddings of a collection, as clients know it: they make the same ones.
    pub(super) fn of_embedder(embedder: &Embedder) -> Option<EmbeddingFunction> {
        let plain = embedder.query_prefix.is_none() && embedder.passage_prefix.is_none();
        let default = plain && embedder.model_name() == Some(DEFAULT_MODEL);
        default.then(|| EmbeddingFunction::Known { name: "default".to_owned(), config: Value::Object(Map::new()) })
    }

    /// What makes the same embeddings here, once the bucket has that model.
    pub(super) fn embedder(&self) -> Option<Embedder> {
        match self {
            EmbeddingFunction::Known { name, .. } if name == "default" || name == "onnx_mini_lm_l6_v2" => {
                Some(Embedder::model(DEFAULT_MODEL).optional())
            }
            _ => None,
        }
    }

    /// Whether clients name it where their user named none.
    pub(super) fn is_default(&self) -> bool {
        match self {
            EmbeddingFunction::Legacy => false,
            EmbeddingFunction::Known { name, .. } => name == "default",
            EmbeddingFunction::Unknown => true,
        }
    }
}

/// `hnsw` of a create.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HnswBody {
    space: Option<Space>,
    ef_construction: Option<usize>,
    ef_search: Option<usize>,
    max_neighbors: Option<usize>,
    num_threads: Option<usize>,
    resize_factor: Option<f64>,
    sync_threshold: Option<usize>,
    batch_size: Option<usize>,
}

/// Settings of the index that only Chroma's cloud has. Of a create, its space counts; the rest is checked for its
/// form only.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpannBody {
    search_nprobe: Option<u32>,
    write_nprobe: Option<u32>,
    space: Option<Space>,
    ef_construction: Option<usize>,
    ef_search: Option<usize>,
    max_neighbors: Option<usize>,
    reassign_neighbor_count: Option<u32>,
    split_threshold: Option<u32>,
    merge_threshold: Option<u32>,
}

/// `configuration` of a create.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "struct CollectionConfiguration")]
pub(super) struct ConfigurationBody {
    hnsw: Option<HnswBody>,
    spann: Option<SpannBody>,
    embedding_function: Option<EmbeddingFunction>,
}

impl ConfigurationBody {
    /// A request for these settings.
    pub(super) fn of(space: Option<Space>, hnsw: Hnsw) -> ConfigurationBody {
        let Hnsw { ef_construction, max_neighbors, ef_search, num_threads, batch_size, sync_threshold, resize_factor } =
            hnsw;
        let hnsw = HnswBody {
            space,
            ef_construction,
            ef_search,
            max_neighbors,
            num_threads,
            resize_factor,
            sync_threshold,
            batch_size,
        };
        ConfigurationBody { hnsw: Some(hnsw), spann: None, embedding_function: None }
    }
}

/// `hnsw` of a modification.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HnswChange {
    ef_search: Option<usize>,
    max_neighbors: Option<usize>,
    num_threads: Option<usize>,
    resize_factor: Option<f64>,
    sync_threshold: Option<usize>,
    batch_size: Option<usize>,
}

/// `new_configuration` of a modification.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "struct UpdateCollectionConfiguration")]
pub(super) struct ConfigurationChange {
    hnsw: Option<HnswChange>,
    spann: Option<SpannChange>,
    embedding_function: Option<EmbeddingFunction>,
}

/// `spann` of a modification: checked for its form, has no effect here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpannChange {
    search_nprobe: Option<u32>,
    ef_search: Option<usize>,
}

/// A request's settings of the index; missing ones are left to the defaults.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct RequestedConfiguration {
    pub(super) space: Space,
    pub(super) hnsw: Hnsw,
    pub(super) embedding_function: Option<EmbeddingFunction>,
}

fn multiple() -> ChromaError {
    ChromaError::invalid("Multiple vector index configurations provided")
}

impl RequestedConfiguration {
    /// The settings of a create, from `configuration` and the old metadata keys.
    pub(super) fn of(
        body: Option<ConfigurationBody>,
        metadata: Option<&Metadata>,
    ) -> Result<RequestedConfiguration, ChromaError> {
        let ConfigurationBody { hnsw, spann, embedding_function } = body.unwrap_or_default();
        if hnsw.is_some() && spann.is_some() {
            return Err(multiple());
        }
        let legacy = from_metadata(metadata)?;
        if let Some(spann) = spann {
            let space = spann.space.unwrap_or_default();
            return Ok(RequestedConfiguration { space, hnsw: Hnsw::default(), embedding_function });
        }
        let (space, hnsw) = hnsw.map(HnswBody::split).unwrap_or_default();
        if (space, hnsw.or(&Hnsw::standard())) != (Space::L2, Hnsw::standard()) {
            return Ok(RequestedConfiguration { space, hnsw, embedding_function });
        }
        let (space, hnsw) = legacy;
        Ok(RequestedConfiguration { space, hnsw, embedding_function })
    }

    /// Whether it has nothing but defaults.
    pub(super) fn is_default(&self) -> bool {
        let standard = Hnsw::standard();
        let function = self.embedding_function.as_ref();
        self.space == Space::L2
            && self.hnsw.or(&standard) == standard
            && function.is_none_or(EmbeddingFunction::is_default)
    }
}

impl HnswBody {
    fn split(self) -> (Space, Hnsw) {
        let hnsw = Hnsw {
            ef_construction: self.ef_construction,
            max_neighbors: self.max_neighbors,
            ef_search: self.ef_search,
            num_threads: self.num_threads,
            batch_size: self.batch_size,
            sync_threshold: self.sync_threshold,
            resize_factor: self.resize_factor,
        };
        (self.space.unwrap_or_default(), hnsw)
    }
}

impl ConfigurationChange {
    /// The changed settings, and the new embedding function.
    pub(super) fn split(self) -> Result<(Hnsw, Option<EmbeddingFunction>), ChromaError> {
        let ConfigurationChange { hnsw, spann, embedding_function } = self;
        if hnsw.is_some() && spann.is_some() {
            return Err(multiple());
        }
        let change = hnsw.unwrap_or_default();
        let hnsw = Hnsw {
            ef_construction: None,
            max_neighbors: change.max_neighbors,
            ef_search: change.ef_search,
            num_threads: change.num_threads,
            batch_size: change.batch_size,
            sync_threshold: change.sync_threshold,
            resize_factor: change.resize_factor,
        };
        Ok((hnsw, embedding_function))
    }
}

/// Settings that old clients put into `hnsw:…` keys of the metadata.
fn from_metadata(metadata: Option<&Metadata>) -> Result<(Space, Hnsw), ChromaError> {
    let refused = || ChromaError::invalid("Failed to parse hnsw parameters from segment metadata");
    let (mut space, mut hnsw) = (Space::L2, Hnsw::default());
    let entries = metadata.into_iter().flat_map(|Metadata(map)| map);
    for (key, value) in entries.filter(|(key, _)| key.starts_with("hnsw:")) {
        let number = match value {
            MetaValue::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        // Fewer than two at a time make no sense to Chroma's own index.
        let several = number.filter(|number| *number >= 2);
        match (key.as_str(), value) {
            ("hnsw:space", MetaValue::Str(name)) => space = name.parse::<Metric>().map_err(|_| refused())?.into(),
            ("hnsw:construction_ef", _) => hnsw.ef_construction = Some(number.ok_or_else(refused)?),
            ("hnsw:search_ef", _) => hnsw.ef_search = Some(number.ok_or_else(refused)?),
            ("hnsw:M", _) => hnsw.max_neighbors = Some(number.ok_or_else(refused)?),
            ("hnsw:num_threads", _) => hnsw.num_threads = Some(number.ok_or_else(refused)?),
            ("hnsw:batch_size", _) => hnsw.batch_size = Some(several.ok_or_else(refused)?),
            ("hnsw:sync_threshold", _) => hnsw.sync_threshold = Some(several.ok_or_else(refused)?),
            ("hnsw:resize_factor", MetaValue::Int(factor)) => hnsw.resize_factor = Some(*factor as f64),
            ("hnsw:resize_factor", MetaValue::Float(factor)) => hnsw.resize_factor = Some(*factor),
            _ => return Err(refused()),
        }
    }
    Ok((space, hnsw))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(configuration: Value, metadata: Value) -> Result<RequestedConfiguration, String> {
        let body = serde_json::from_value(configuration).map_err(|e| e.to_string())?;
        let metadata = (!metadata.is_null()).then(|| Metadata::from_json(&metadata).unwrap());
        RequestedConfiguration::of(body, metadata.as_ref()).map_err(|e| format!("{e:?}"))
    }

    #[test]
    fn the_configuration_wins_over_old_metadata_keys_unless_it_is_all_defaults() {
        let space = |configuration, metadata| of(configuration, metadata).map(|c| c.space);
        let old = || json!({"hnsw:space": "ip", "hnsw:M": 8});
        assert_eq!(space(json!({"hnsw": {"space": "cosine"}}), old()), Ok(Space::Cosine));
        assert_eq!(space(json!({"hnsw": {"ef_search": 7}}), old()), Ok(Space::L2));
        assert_eq!(space(json!({"hnsw": {"space": "l2"}}), old()), Ok(Space::Ip));
        assert_eq!(space(json!({"hnsw": {}}), old()), Ok(Space::Ip));
        assert_eq!(space(json!({"spann": {}}), old()), Ok(Space::L2));
        assert_eq!(space(json!(null), old()), Ok(Space::Ip));
        assert_eq!(of(json!({"hnsw": {}}), old()).unwrap().hnsw.max_neighbors, Some(8));
    }

    #[test]
    fn spann_gives_its_space_only_and_not_beside_hnsw() {
        let spann = of(json!({"spann": {"space": "cosine", "ef_search": 33}}), Value::Null).unwrap();
        assert_eq!((spann.space, spann.hnsw), (Space::Cosine, Hnsw::default()));
        let both = of(json!({"hnsw": {}, "spann": {}}), Value::Null).unwrap_err();
        assert!(both.contains("Multiple vector index configurations provided"), "{both}");
    }

    #[test]
    fn unknown_fields_and_values_of_the_wrong_type_are_refused() {
        for bad in [
            json!({"hnsw": {"bogus": 1}}),
            json!({"hnsw": {"space": "bogus"}}),
            json!({"hnsw": {"ef_search": -1}}),
            json!({"spann": {"bogus": 1}}),
            json!({"embedding_function": {"type": "bogus"}}),
            json!({"embedding_function": {"type": "known", "name": "x"}}),
        ] {
            assert!(of(bad.clone(), Value::Null).is_err(), "{bad}");
        }
        assert!(of(json!({"bogus": 1}), Value::Null).is_ok());
        let words = "unknown field `bogus`, expected one of `space`, `ef_construction`, `ef_search`, `max_neighbors`, \
                     `num_threads`, `resize_factor`, `sync_threshold`, `batch_size`";
        assert_eq!(of(json!({"hnsw": {"bogus": 1}}), Value::Null).unwrap_err(), words);
    }

    #[test]
    fn old_metadata_keys_are_read_strictly() {
        for bad in [
            json!({"hnsw:space": "bogus"}),
            json!({"hnsw:space": 1}),
            json!({"hnsw:M": "x"}),
            json!({"hnsw:M": -1}),
            json!({"hnsw:M": 8.5}),
            json!({"hnsw:batch_size": 1}),
            json!({"hnsw:sync_threshold": 1}),
            json!({"hnsw:bogus": 3}),
        ] {
            assert!(of(Value::Null, bad.clone()).unwrap_err().contains("Failed to parse hnsw parameters"), "{bad}");
        }
        let read = of(Value::Null, json!({"hnsw:resize_factor": 2, "hnsw:search_ef": 20, "other": []})).unwrap();
        assert_eq!((read.hnsw.resize_factor, read.hnsw.ef_search), (Some(2.0), Some(20)));
    }

    #[test]
    fn an_embedding_function_is_kept_as_it_was() {
        let given = json!({"type": "known", "name": "x", "config": {"z": 1, "a": 2.0}});
        let read = of(json!({"embedding_function": given}), Value::Null).unwrap();
        assert_eq!(serde_json::to_value(read.embedding_function).unwrap(), given);
        let legacy = of(json!({"embedding_function": {"type": "legacy"}}), Value::Null).unwrap();
        assert_eq!(serde_json::to_value(legacy.embedding_function).unwrap(), json!({"type": "legacy"}));
    }

    #[test]
    fn the_core_gets_what_it_can_follow() {
        let far = Hnsw { max_neighbors: Some(0), ef_construction: Some(9999), ef_search: Some(0), ..Hnsw::default() };
        let index = far.index();
        assert_eq!((index.m, index.ef_construction, index.ef_search), (2, 4096, Some(1)));
        assert_eq!(Hnsw::standard().index(), IndexSettings::default(), "the search's width is left to the core");
    }
}
