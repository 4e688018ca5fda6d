//! Drumlin: a vector database whose only disk is a bucket.
//!
//! A [`Store`] is all collections of one bucket prefix; a [`Collection`] takes records and answers
//! nearest-neighbour searches from memory. When a write returns, its change is a durable object in the
//! bucket; drop the process at any moment, open the store anywhere, and go on. Any number of stores may
//! use one bucket at once.
//!
//! ```
//! use drumlin::{CollectionSpec, Filter, Metadata, Query, Record, Scope, Settings, Storage, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> drumlin::Result<()> {
//! // Settings::folder("./drumlin-data") keeps it in a folder, Storage::S3(…) in a bucket.
//! let store = Store::open(Settings::new(Storage::Memory)).await?;
//! let notes = store.create_collection(&Scope::default(), CollectionSpec::new("notes")).await?;
//!
//! let fog = Record::new("fog", vec![0.9, 0.1]).with_metadata(Metadata::from([("year", 2024)]));
//! let river = Record::new("river", vec![0.7, 0.7]).with_metadata(Metadata::from([("year", 2025)]));
//! notes.add(&[fog, river]).await?; // durable when this returns
//!
//! // Matrices go in and out as they are; so do Arrow record batches (`add_batch`).
//! let more = ndarray::array![[0.0f32, 1.0], [0.1, 0.9]];
//! notes.add_array(&["a".to_owned(), "b".to_owned()], more.view()).await?;
//!
//! let recent = Query::new([1.0, 0.0]).k(1).filter(Filter::gte("year", 2025));
//! assert_eq!(notes.search(recent).await?.results[0][0].record.id, "river");
//! store.close(std::time::Duration::from_secs(10)).await
//! # }
//! ```

#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[doc(hidden)]
pub mod bucket;
#[doc(hidden)]
pub mod check;
mod collection;
mod compute;
mod config;
mod error;
mod files;
mod filter;
#[doc(hidden)]
pub mod format;
#[doc(hidden)]
pub mod head;
#[cfg(feature = "server")]
pub mod http;
mod index;
mod interchange;
mod interrupt;
mod log;
mod memory;
mod record;
mod self_checksum;
mod store;
mod stream;
#[doc(hidden)]
pub mod testing;
pub mod transfer;

#[cfg(feature = "azure")]
pub use bucket::cloud::AzureSettings;
#[cfg(feature = "gcs")]
pub use bucket::cloud::GcsSettings;
#[cfg(feature = "dropbox")]
pub use bucket::dropbox::{Credentials as DropboxCredentials, DropboxSettings};
#[cfg(feature = "_reqwest")]
pub use bucket::http_client::HttpOptions;
#[cfg(feature = "s3")]
pub use bucket::s3::{S3CustomerKey, S3Encryption, S3Settings};
pub use check::garbage::{Doomed, Reason};
pub use check::inspect::{BucketView, StreamLine};
pub use check::stored::Stored;
pub use check::{Choice, report as check_report};
pub use collection::columnar::{batch_from_hits, records_from_batch};
pub use collection::get::{Matches, Reading};
pub use collection::graph_maintenance::GraphProgress;
pub use collection::handle::{Collection, Identity};
pub use collection::key_types::{KeyType, KeyTypes};
pub use collection::record_columns::{ColumnChoice, ColumnPlan, OtherColumns, Part};
pub use collection::request::{
    CollectionInfo, CollectionSpec, Condition, Consistency, Found, Get, GetAnswer, Hit, Include, IndexSettings, Query,
    QueryAnswer, Scope, Selection, Write, WriteOutcome,
};
pub use collection::scan::Scan;
pub use config::{FileSettings, Limits, Settings, Storage, Timing};
pub use error::{Error, ErrorKind, Result};
pub use files::{
    Download, FILES, FileCondition, FileCounts, FileInfo, FilePage, ListFiles, PutFile, PutOutcome, check_file_name,
};
pub use filter::{Clause, Filter, FilterError, Number, Scalar};
pub use interchange::{ipc_from_answer, records_from_ipc, records_from_parquet};
pub use memory::MemoryLimit;
pub use record::{CollectionId, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
pub use store::Store;
pub use store::checks::{garbage, inspect, stored, verify};
pub use store::files::Files;
pub use store::garbage::Collected;
pub use store::modify::CollectionChange;
pub use store::namespaces::{Database, Tenant};
pub use store::opening::Opening;
pub use store::report;
pub use store::restore::Moment;

/// README's Rust program is a test of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So are the Rust programs of the book.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct Book;
