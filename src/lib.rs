//! Drumlin: a vector database whose only disk is a bucket.
//!
//! A [`Store`] is all collections of one bucket prefix; a [`Collection`] takes records and answers
//! nearest-neighbour searches from memory. When a write returns, its change is a durable object in the
//! bucket. The process may end at any moment: open the store anywhere else, and continue. Any number of
//! stores may use one bucket at once.
//!
//! ```
//! use drumlin::{Filter, Metadata, Query, Record, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> drumlin::Result<()> {
//! let store = Store::open("memory://").await?; // or "./drumlin-data", "s3://bucket/prefix", Settings
//! let notes = store.create_collection("notes").await?;
//!
//! let fog = Record::new("fog", vec![0.9, 0.1]).with_metadata(Metadata::from([("year", 2024)]));
//! let river = Record::new("river", vec![0.7, 0.7]).with_metadata(Metadata::from([("year", 2025)]));
//! notes.add([fog, river]).await?; // durable when this returns
//!
//! // Matrices go in and out as they are; so do Arrow record batches (`add_batch`).
//! let more = ndarray::array![[0.0f32, 1.0], [0.1, 0.9]];
//! notes.add_array(["a", "b"], more.view()).await?;
//!
//! let recent = Query::new([1.0, 0.0]).k(1).filter(Filter::gte("year", 2025));
//! assert_eq!(notes.search(recent).await?[0].id, "river");
//! store.close(std::time::Duration::from_secs(10)).await
//! # }
//! ```

#![cfg_attr(not(feature = "testing"), warn(missing_docs))]
#![cfg_attr(not(test), warn(clippy::expect_used, clippy::panic, clippy::unreachable, clippy::unwrap_used))]

pub mod blocking;
mod bucket;
mod check;
#[cfg(feature = "cli")]
pub mod cli;
mod collection;
mod compute;
mod config;
mod cost;
#[cfg(feature = "embedding")]
mod embedding;
mod environment;
mod error;
mod file;
mod filter;
mod format;
mod head;
#[cfg(feature = "server")]
pub mod http;
mod index;
mod interop;
mod interrupt;
#[cfg(feature = "server")]
mod layout;
mod log;
mod memory;
#[cfg(feature = "provider")]
mod provider;
mod ranking;
mod record;
mod self_checksum;
mod store;
mod stream;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
pub mod text;

pub use collection::handle::Collection;
pub use collection::request::{
    CollectionInfo, CollectionSpec, Consistency, Get, GetAnswer, Hit, Include, IndexSettings, Query, Scope, Selection,
    ServingState, Transaction, Write, WriteOutcome,
};
pub use config::{Settings, Storage};
pub use error::{Error, ErrorKind, Result};
pub use filter::Filter;
pub use record::{
    CollectionId, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, SparseVector, Version,
};
pub use store::Store;
pub use store::modify::CollectionChange;

/// The settings for opening a [`Store`], beyond a URL: credentials, limits, timing, memory.
pub mod settings {
    #[cfg(feature = "azure")]
    pub use crate::bucket::cloud::AzureSettings;
    #[cfg(feature = "gcs")]
    pub use crate::bucket::cloud::GcsSettings;
    #[cfg(feature = "dropbox")]
    pub use crate::bucket::dropbox::{Credentials as DropboxCredentials, DropboxSettings};
    #[cfg(feature = "_reqwest")]
    pub use crate::bucket::http_client::HttpOptions;
    pub use crate::bucket::reread::Reread;
    #[cfg(feature = "s3")]
    pub use crate::bucket::s3::{S3CustomerKey, S3Encryption, S3Settings};
    pub use crate::config::{FileSettings, Limits, Settings, Storage, Timing};
    pub use crate::environment::{Environment, variable_of, with_variables};
    pub use crate::memory::MemoryLimit;
    #[cfg(feature = "provider")]
    pub use crate::provider::{ProviderKeys, ProviderProxy, ProviderSettings};
}

/// The answers of reads, for callers that take records one by one or need more than the records.
pub mod answers {
    pub use crate::collection::answers::{Matches, Reading};
    pub use crate::collection::differences::{CountedIds, Differences};
    pub use crate::collection::graph_maintenance::GraphProgress;
    pub use crate::collection::handle::Identity;
    pub use crate::collection::request::{Found, QueryAnswer};
    pub use crate::collection::scan::Scan;
    pub use crate::collection::state::{KeyType, KeyTypes};
    pub use crate::collection::version_view::VersionView;
}

/// Searches that combine several searches, and what is asked next to a search: see [`Collection::rank`],
/// [`Collection::rank_groups`] and [`Collection::facets`].
pub mod searches {
    pub use crate::collection::answers::{RankedGroups, RankedRows};
    pub use crate::collection::request::{
        Combination, Diversity, ExampleStrategy, Examples, Facet, FacetAnswer, FacetNumbers, FacetSearch, FacetValues,
        FacetsAnswer, Fusion, GroupSize, GroupedSearch, LeafQuery, LeafSearch, NearestOptions, RankedSearch, Ranking,
    };
    pub use crate::ranking::{
        Aggregate, Better, BinaryOperator, Expression, FoldOperator, FusedPart, GroupBy, GroupKey, Leaf, Normalisation,
        RankStep, UnaryOperator,
    };
}

/// What makes embeddings of texts, and the sentence models in the bucket: see [`Store::models`] and
/// [`Collection::embed`].
pub mod models {
    pub use crate::collection::request::{Embedder, EmbedderSource, TextRole, check_model_name};
    #[cfg(feature = "provider")]
    pub use crate::provider::{EncodingFormat, ProviderKind, ProviderSpec};
    #[cfg(feature = "embedding")]
    pub use crate::store::model_folder::{folder_files, folder_name};
    #[cfg(feature = "embedding")]
    pub use crate::store::models::{ModelInfo, Models, is_model_file};
    pub use crate::store::reembed::{Reembed, ReembedState, ReembedStatus, Reembedding, is_filler};
    pub use crate::text::{SplitUnit, Splitting};
}

/// The parts of a [`Filter`].
pub mod filters {
    pub use crate::filter::{Clause, DateTime, FilterError, Limit, Number, Scalar};
}

/// Files in the bucket beside the collections: see [`Store::files`].
pub mod files {
    pub use crate::file::{
        Download, FILES, FileCondition, FileCounts, FileInfo, FilePage, ListFiles, MODELS, PutFile, PutOutcome,
        check_file_name,
    };
    pub use crate::store::files::Files;
}

/// Records in and out of Arrow record batches, Arrow IPC, and files in Parquet or JSON Lines.
pub mod arrow {
    pub use crate::interop::interchange::{ipc_from_answer, records_from_ipc, records_from_parquet};
    pub use crate::interop::record_columns::{ColumnChoice, ColumnPlan, OtherColumns, Part};
    pub use crate::interop::transfer::*;
    pub use crate::interop::{batch_from_hits, records_from_batch, records_from_batch_with};
}

/// A store from its operator's side: tenants, health, restoring, and looking at a bucket without opening a store.
pub mod admin {
    pub use crate::bucket::Place;
    pub use crate::bucket::count::{Counts, OpCounts};
    pub use crate::check::CollectionSelector;
    pub use crate::check::garbage::{PendingDeletion, Reason};
    pub use crate::check::inspect::{BucketView, StreamLine};
    pub use crate::check::kinds::{CollectionAmount, KindAmount};
    pub use crate::check::levels::LevelAmount;
    pub use crate::check::report as check_report;
    pub use crate::check::stored::Stored;
    /// What a bucket costs a month, at list prices.
    pub mod cost {
        pub use crate::cost::{AS_OF, Bill, HOURS, Month, Prices, TABLE, Usage};
    }
    pub use crate::format::checksum::{Checksum, Hasher};
    pub use crate::store::Admin;
    pub use crate::store::checks::{garbage, inspect, stored, verify};
    pub use crate::store::garbage::Collected;
    pub use crate::store::namespaces::{Database, Namespaces, Tenant};
    pub use crate::store::opening::Opening;
    pub use crate::store::report;
    pub use crate::store::restore::Moment;
}

/// README's Rust program is a test of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The Rust programs of the book are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct Book;
