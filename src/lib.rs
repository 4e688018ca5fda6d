//! Drumlin: a vector database whose only disk is a bucket.

mod bucket;
mod error;
mod filter;
mod format;
mod record;

pub use error::{Error, Kind, Result};
pub use filter::{Clause, Columns, Filter, FilterError, Number, Scalar};
pub use record::{CollectionId, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
