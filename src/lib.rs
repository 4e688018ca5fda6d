//! Drumlin: a vector database whose only disk is a bucket.

#[doc(hidden)]
pub mod bucket;
mod collection;
mod compute;
mod config;
mod error;
mod filter;
#[doc(hidden)]
pub mod format;
#[doc(hidden)]
pub mod head;
pub mod http;
mod index;
mod interchange;
mod log;
mod record;
mod store;
mod stream;
#[doc(hidden)]
pub mod testing;

pub use bucket::s3::S3Settings;
pub use collection::columnar::{batch_from_hits, records_from_batch};
pub use collection::handle::Collection;
pub use collection::request::{
    CollectionInfo, CollectionSpec, Condition, Consistency, Found, Get, GetAnswer, Hit, Include, IndexSettings, Query,
    QueryAnswer, Scope, Selection, Write, WriteOutcome,
};
pub use config::{Limits, Settings, Storage, Timing};
pub use error::{Error, Kind, Result};
pub use filter::{Clause, Filter, FilterError, Number, Scalar};
pub use interchange::{ipc_from_answer, records_from_ipc, records_from_parquet};
pub use record::{CollectionId, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
pub use store::Store;
pub use store::report;
