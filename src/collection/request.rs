//! Requests to a collection and their answers: writes, selections, gets, searches. The embedded library, the native
//! HTTP API and Chroma's share these types.

mod collection_spec;
pub mod documents;
mod embedder;
mod facets;
mod groups;
mod query;
mod ranked;
mod transaction;
pub(in crate::collection) mod validate;

use serde_json::{Map, Value};

pub use self::collection_spec::CollectionSpec;
pub use self::embedder::{EmbedRequest, Embedder, EmbedderSource, ScoreRequest, TextRole, check_model_name};
pub use self::facets::{Facet, FacetAnswer, FacetNumbers, FacetSearch, FacetValues, FacetsAnswer, MOST_VALUES};
pub use self::groups::{GroupSize, GroupedSearch};
pub use self::query::Query;
pub use self::ranked::{
    Combination, Diversity, ExampleStrategy, Examples, Fusion, LeafQuery, LeafSearch, NearestOptions, RankedSearch,
    Ranking,
};
pub use self::transaction::Transaction;

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::{BUILDERS, GraphParams, builder_named};
use crate::record::{Address, CollectionId, MetaValue, Metadata, Metric, Record, RecordUpdate, Version};
use crate::text::{Splitting, TextSettings};

/// One write request. It is applied whole, in one commit, or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Inserts records; one whose id exists already is skipped.
    Add(Vec<Record>),
    /// Inserts records, or replaces the ones whose ids exist.
    Upsert(Vec<Record>),
    /// Changes existing records; unknown ids are skipped.
    Update(Vec<RecordUpdate>),
    /// Changes the records whose ids exist, and inserts the others; each has an embedding.
    Merge(Vec<RecordUpdate>),
    /// Deletes the selected records.
    Delete(Selection),
}

#[cfg_attr(not(feature = "server"), allow(dead_code))]
impl Write {
    /// Whether it brings an embedding.
    pub(crate) fn has_embeddings(&self) -> bool {
        match self {
            Write::Add(records) | Write::Upsert(records) => records.iter().any(|record| !record.embedding.is_empty()),
            Write::Update(updates) | Write::Merge(updates) => updates.iter().any(|update| update.embedding.is_some()),
            Write::Delete(_) => false,
        }
    }
}

/// What must hold right before a write for it to be applied: the row at `address` made the record `id`. Without an
/// address, no record has that id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The record's id.
    pub id: String,
    /// Where the record's latest row was written.
    pub address: Option<Address>,
}

/// Which records: those that satisfy all the given conditions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// Only these ids; unknown ones are skipped.
    pub ids: Option<Vec<String>>,
    /// Only records that match.
    pub filter: Option<Filter>,
    /// At most this many, in insertion order.
    pub limit: Option<usize>,
}

impl Selection {
    /// The records of these ids.
    pub fn by_ids(ids: impl IntoIterator<Item = impl Into<String>>) -> Selection {
        Selection { ids: Some(ids.into_iter().map(Into::into).collect()), ..Selection::default() }
    }

    /// The records that match.
    pub fn matching(filter: Filter) -> Selection {
        Selection { filter: Some(filter), ..Selection::default() }
    }
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOutcome {
    /// Records inserted, changed or deleted.
    pub applied: usize,
    /// Records left alone: adds of existing ids, updates and deletes of unknown ones.
    pub skipped: usize,
    /// The version at which this holds.
    pub version: Version,
}

/// Whether a read may be answered from what this instance knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// This instance's own writes, and others' as of the last sync.
    #[default]
    Local,
    /// Every write acknowledged by any instance before the read began (one request to the bucket).
    Strong,
}

/// Which fields of a record to return beside its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Include {
    /// The embedding.
    pub embedding: bool,
    /// The document.
    pub document: bool,
    /// The uri.
    pub uri: bool,
    /// The metadata.
    pub metadata: bool,
}

impl Default for Include {
    /// Everything but the embedding.
    fn default() -> Include {
        Include { embedding: false, document: true, uri: true, metadata: true }
    }
}

impl Include {
    /// Every field.
    pub const ALL: Include = Include { embedding: true, document: true, uri: true, metadata: true };
    /// Only the id.
    pub const NONE: Include = Include { embedding: false, document: false, uri: false, metadata: false };
}

/// Reads records in insertion order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Get {
    /// Only these ids, whatever their order here; unknown ones are skipped.
    pub ids: Option<Vec<String>>,
    /// Only records that match.
    pub filter: Option<Filter>,
    /// At most this many.
    pub limit: Option<usize>,
    /// How many records to leave out first.
    pub offset: usize,
    /// Which fields.
    pub include: Include,
    /// How fresh the answer must be.
    pub consistency: Consistency,
}

impl Get {
    /// Every record.
    pub fn all() -> Get {
        Get::default()
    }

    /// The records of these ids, in insertion order; unknown ones are skipped.
    pub fn by_ids(ids: impl IntoIterator<Item = impl Into<String>>) -> Get {
        Get { ids: Some(ids.into_iter().map(Into::into).collect()), ..Get::default() }
    }

    /// Only records that match.
    pub fn filter(mut self, filter: Filter) -> Get {
        self.filter = Some(filter);
        self
    }

    /// At most this many.
    pub fn limit(mut self, limit: usize) -> Get {
        self.limit = Some(limit);
        self
    }

    /// Leaves out this many records first.
    pub fn offset(mut self, offset: usize) -> Get {
        self.offset = offset;
        self
    }

    /// Which fields of the records to return.
    pub fn include(mut self, include: Include) -> Get {
        self.include = include;
        self
    }

    /// How fresh the answer must be.
    pub fn consistency(mut self, consistency: Consistency) -> Get {
        self.consistency = consistency;
        self
    }
}

/// A record as read: the fields that were asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// The record's id.
    pub id: String,
    /// Only if included.
    pub embedding: Option<Vec<f32>>,
    /// Only if included, and the record has one.
    pub document: Option<String>,
    /// Only if included, and the record has one.
    pub uri: Option<String>,
    /// Only if included, and the record has some.
    pub metadata: Option<Metadata>,
}

/// A neighbour: the fields of the record that were asked for, and how far it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hit {
    /// The record's id.
    pub id: String,
    /// Distance to the query embedding; smaller is nearer.
    pub distance: f32,
    /// Only if included.
    pub embedding: Option<Vec<f32>>,
    /// Only if included, and the record has one.
    pub document: Option<String>,
    /// Only if included, and the record has one.
    pub uri: Option<String>,
    /// Only if included, and the record has some.
    pub metadata: Option<Metadata>,
}

impl Hit {
    pub(crate) fn new(found: Found, distance: f32) -> Hit {
        let Found { id, embedding, document, uri, metadata } = found;
        Hit { id, distance, embedding, document, uri, metadata }
    }
}

impl From<Hit> for Found {
    /// The record, without its distance.
    fn from(hit: Hit) -> Found {
        let Hit { id, embedding, document, uri, metadata, distance: _ } = hit;
        Found { id, embedding, document, uri, metadata }
    }
}

/// Answer to a [`Get`].
#[derive(Debug, Clone, PartialEq)]
pub struct GetAnswer {
    /// The records in insertion order.
    pub records: Vec<Found>,
    /// The version that was read.
    pub version: Version,
}

/// Answer to a [`Query`].
#[derive(Debug, Clone, PartialEq)]
pub struct QueryAnswer {
    /// One list per query embedding, nearest first.
    pub results: Vec<Vec<Hit>>,
    /// The version that was read.
    pub version: Version,
}

/// How a collection's graphs are built.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct IndexSettings {
    /// Which builder: `drumlin`, our own, or `hnsw_rs`, the crate of that name.
    pub builder: String,
    /// Neighbours per node above level 0 (twice as many on it).
    pub m: usize,
    /// Width of the search while building.
    pub ef_construction: usize,
    /// Width of the search at query time; `None` chooses by k.
    pub ef_search: Option<usize>,
}

impl Default for IndexSettings {
    fn default() -> IndexSettings {
        IndexSettings { builder: BUILDERS[0].name().to_owned(), m: 16, ef_construction: 100, ef_search: None }
    }
}

impl IndexSettings {
    /// # Errors
    /// `Invalid` names the setting that is out of bounds.
    pub(crate) fn check(&self) -> Result<()> {
        if builder_named(&self.builder).is_none() {
            let known: Vec<String> = BUILDERS.iter().map(|builder| format!("\"{}\"", builder.name())).collect();
            let known = known.join(" or ");
            return Err(Error::invalid(format!("index.builder: expected {known}, got {:?}", self.builder)));
        }
        if !GraphParams::M.contains(&self.m) || !GraphParams::EF_CONSTRUCTION.contains(&self.ef_construction) {
            return Err(Error::invalid(format!(
                "index: expected m in 2..=128 and ef_construction in 1..=4096, got {} and {}",
                self.m, self.ef_construction
            )));
        }
        match self.ef_search {
            Some(ef) if !(1..=100_000).contains(&ef) => {
                Err(Error::invalid(format!("index.ef_search: expected 1 to 100000, got {ef}")))
            }
            _ => Ok(()),
        }
    }
}

/// The tenant and the database in which names are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The tenant's name.
    pub tenant: String,
    /// The database's name.
    pub database: String,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { tenant: "default_tenant".to_owned(), database: "default_database".to_owned() }
    }
}

/// The state of a collection: ready, loading, evicted or damaged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ServingState {
    /// Reads and writes are served.
    Ready,
    /// It is being read from the bucket.
    Loading,
    /// It is not in memory; its next use loads it. The count is that of its last time in memory, and 0 if there was
    /// none.
    #[serde(rename = "resting")]
    Evicted,
    /// An object in the bucket is damaged; writes are refused, and reads end before the damage.
    Damaged {
        /// The object's key.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// A collection as listed.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionInfo {
    /// Its identity.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// Where it belongs.
    pub scope: Scope,
    /// How distance is measured.
    pub metric: Metric,
    /// `None` until fixed.
    pub dimension: Option<usize>,
    /// Live records.
    pub count: u64,
    /// The last commit applied here.
    pub version: Version,
    /// Values remembered with it.
    pub metadata: Option<Metadata>,
    /// How graphs are built.
    pub index: IndexSettings,
    /// How documents are searched by their words.
    pub text: TextSettings,
    /// What makes embeddings of documents that come without one.
    pub embedder: Option<Embedder>,
    /// How documents are split into parts; `None` if they are not.
    pub splitting: Option<Splitting>,
    /// Stored with the collection as it is, never interpreted.
    pub extension: Map<String, Value>,
    /// Bytes of memory that it takes now, without work under way.
    pub memory_bytes: u64,
    /// Whether it can be used.
    pub state: ServingState,
}

impl From<Vec<(String, Option<MetaValue>)>> for crate::record::MetadataPatch {
    fn from(pairs: Vec<(String, Option<MetaValue>)>) -> Self {
        crate::record::MetadataPatch(pairs.into_iter().collect())
    }
}
