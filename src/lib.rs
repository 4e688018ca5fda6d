//! Drumlin: a vector database whose only disk is a bucket.

#[doc(hidden)]
pub mod bucket;
mod collection;
mod error;
mod filter;
mod format;
mod head;
mod index;
mod log;
mod record;
mod stream;
mod config;

pub use error::{Error, Kind, Result};
pub use filter::{Clause, Columns, Filter, FilterError, Number, Scalar};
pub use record::{CollectionId, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
