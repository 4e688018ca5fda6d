//! Drumlin: a vector database whose only disk is a bucket.

#[doc(hidden)]
pub mod bucket;
mod collection;
mod config;
mod error;
mod filter;
mod format;
pub mod http;
mod record;
mod record_batch;
mod store;

pub use bucket::s3::S3Settings;
pub use collection::Collection;
pub use collection::request::*;
pub use config::{Limits, Settings, Storage, Timing};
pub use error::{Error, Kind, Result};
pub use filter::Filter;
pub use record::{CollectionId, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
pub use record_batch::{records_from_batch, records_from_ipc, records_from_parquet};
pub use store::Store;
pub use store::report;
