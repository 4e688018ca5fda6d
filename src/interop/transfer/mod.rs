//! Whole collections in files: Parquet and JSON Lines, out and in, a page of records at a time. An import restores
//! exactly what was exported: bits of floats, 1 and 1.0, null and `{}`, order. Invariant: neither direction holds
//! more of a file than one page (Parquet: one row group).

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod json_lines;
mod parquet_file;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value, json};

pub use self::json_lines::{JsonLinesReader, JsonLinesWriter};
pub use self::parquet_file::{ParquetReader, ParquetWriter};

use crate::collection::handle::Identity;
use crate::collection::request::{CollectionSpec, Embedder, IndexSettings};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::interop::record_columns::{ColumnChoice, ColumnPlan};
use crate::record::{MetaValue, Metadata, Metric, Record};
use crate::text::{Splitting, TextSettings};

/// How to read a file that another program may have written.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The use of its columns, or keys.
    pub columns: ColumnChoice,
    /// Limits of one record.
    pub limits: Limits,
}

/// A file's name, for messages about it.
#[derive(Debug, Clone)]
struct FileName(String);

impl FileName {
    fn of(path: &Path) -> FileName {
        FileName(path.display().to_string())
    }

    /// Adds the file's name to an error.
    fn says(&self, error: Error) -> Error {
        error.with_place(&self.0)
    }

    fn failed(&self, what: &str, cause: std::io::Error) -> Error {
        let error = Error::unavailable(format!("{}: cannot be {what}: {cause}", self.0));
        match cause.kind() {
            ErrorKind::NotFound | ErrorKind::IsADirectory => {
                Error::invalid(format!("{}: expected a file, got none that can be {what}: {cause}", self.0))
            }
            _ => error,
        }
        .with_source(cause)
    }
}

/// Records into a file.
#[derive(Debug)]
pub enum RecordWriter {
    /// A Parquet file.
    Parquet(Box<ParquetWriter>),
    /// A line of JSON per record.
    JsonLines(JsonLinesWriter),
}

impl RecordWriter {
    /// Appends records.
    pub fn push(&mut self, records: &[Record]) -> Result<()> {
        match self {
            RecordWriter::Parquet(writer) => writer.push(records),
            RecordWriter::JsonLines(writer) => writer.push(records),
        }
    }

    /// Ends the file; it is on disk when this returns.
    pub fn finish(self) -> Result<()> {
        match self {
            RecordWriter::Parquet(writer) => writer.finish(),
            RecordWriter::JsonLines(writer) => writer.finish(),
        }
    }
}

/// Records out of a file.
#[derive(Debug)]
pub enum RecordReader {
    /// A Parquet file.
    Parquet(Box<ParquetReader>),
    /// A line of JSON per record.
    JsonLines(Box<JsonLinesReader>),
}

impl RecordReader {
    /// The use of each column, as far as it is known: for lines once the first was read.
    pub fn plan(&self) -> Option<&ColumnPlan> {
        match self {
            RecordReader::Parquet(reader) => Some(reader.plan()),
            RecordReader::JsonLines(reader) => reader.plan(),
        }
    }

    /// The next records, about a thousand of them; empty at the end.
    pub fn next_page(&mut self) -> Result<Vec<Record>> {
        match self {
            RecordReader::Parquet(reader) => reader.next_page(),
            RecordReader::JsonLines(reader) => reader.next_page(),
        }
    }
}

/// The description of a collection that a file carries.
pub fn described(identity: &Identity, dimension: Option<usize>) -> Value {
    json!({
        "name": identity.name,
        "metric": identity.metric.name(),
        "dimension": dimension,
        "metadata": identity.metadata,
        "index": identity.index,
        "text": identity.text,
        "embedder": identity.embedder,
        "chunk": identity.splitting,
        "extension": identity.extension,
    })
}

/// The collection that a file's description stands for.
pub fn spec_of(description: &Value) -> Result<CollectionSpec> {
    #[derive(serde::Deserialize)]
    struct Description {
        #[serde(default)]
        name: String,
        #[serde(default)]
        metric: Metric,
        dimension: Option<usize>,
        metadata: Option<BTreeMap<String, Value>>,
        #[serde(default)]
        index: IndexSettings,
        #[serde(default)]
        text: TextSettings,
        #[serde(default)]
        embedder: Option<Embedder>,
        #[serde(default)]
        chunk: Option<Splitting>,
        #[serde(default)]
        extension: Map<String, Value>,
    }
    let bad = |e: serde_json::Error| Error::invalid(format!("the file's description of its collection: {e}"));
    let described: Description = serde_json::from_value(description.clone()).map_err(bad)?;
    let value = |(key, value): (String, Value)| match MetaValue::from_json(&value) {
        Ok(value) => Ok((key, value)),
        Err(e) => Err(Error::invalid(format!("the file's description: metadata.{key}: {}", e.message()))),
    };
    let metadata = described.metadata.map(|map| map.into_iter().map(value).collect::<Result<_>>()).transpose()?;
    Ok(CollectionSpec {
        name: described.name,
        metric: described.metric,
        dimension: described.dimension,
        metadata: metadata.map(Metadata),
        index: described.index,
        text: described.text,
        embedder: described.embedder,
        splitting: described.chunk,
        extension: described.extension,
    })
}

fn failed(what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unavailable(format!("the file could not be {what}: {cause}")).with_source(cause)
}

#[cfg(test)]
mod transfer_tests;
