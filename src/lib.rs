//! Drumlin: a vector database whose only disk is a bucket.

#[doc(hidden)]
pub mod bucket;
mod error;
mod filter;
mod format;
mod head;
mod log;
mod record;
mod config;

pub use error::{Error, Kind, Result};
pub use record::{CollectionId, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
