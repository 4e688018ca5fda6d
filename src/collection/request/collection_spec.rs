//! What a new collection is to be.

use serde_json::{Map, Value};

use super::{Embedder, IndexSettings};
use crate::record::{Metadata, Metric};
use crate::text::{Splitting, TextSettings};

/// The properties of a new collection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CollectionSpec {
    /// Unique in its database.
    pub name: String,
    /// How distance is measured.
    pub metric: Metric,
    /// Fixed here, or by the first record. With 0 no record has an embedding: the collection is searched by words and by
    /// sparse vectors.
    pub dimension: Option<usize>,
    /// Values to remember with the collection.
    pub metadata: Option<Metadata>,
    /// How graphs are built.
    pub index: IndexSettings,
    /// How documents are searched by their words.
    pub text: TextSettings,
    /// What makes embeddings of documents that come without one.
    pub embedder: Option<Embedder>,
    /// How documents are split into parts, each a record with an embedding of its own; `None` if they are not.
    pub splitting: Option<Splitting>,
    /// Stored with the collection as it is, never interpreted.
    pub extension: Map<String, Value>,
}

impl From<&str> for CollectionSpec {
    fn from(name: &str) -> CollectionSpec {
        CollectionSpec::new(name)
    }
}

impl From<String> for CollectionSpec {
    fn from(name: String) -> CollectionSpec {
        CollectionSpec::new(name)
    }
}

impl CollectionSpec {
    /// A collection called `name` with the default metric (cosine).
    pub fn new(name: impl Into<String>) -> CollectionSpec {
        CollectionSpec { name: name.into(), ..CollectionSpec::default() }
    }

    /// Sets the metric.
    pub fn metric(mut self, metric: Metric) -> CollectionSpec {
        self.metric = metric;
        self
    }

    /// Fixes the dimension, in floats of an embedding; 0 if records are to have none.
    pub fn dimension(mut self, dimension: usize) -> CollectionSpec {
        self.dimension = Some(dimension);
        self
    }

    /// Sets values to remember with the collection.
    pub fn metadata(mut self, metadata: impl Into<Metadata>) -> CollectionSpec {
        self.metadata = Some(metadata.into());
        self
    }

    /// Sets how graphs are built.
    pub fn index(mut self, index: IndexSettings) -> CollectionSpec {
        self.index = index;
        self
    }

    /// Sets what makes embeddings of documents that come without one.
    pub fn embedder(mut self, embedder: Embedder) -> CollectionSpec {
        self.embedder = Some(embedder);
        self
    }

    /// Sets how documents are split into parts.
    pub fn splitting(mut self, splitting: Splitting) -> CollectionSpec {
        self.splitting = Some(splitting);
        self
    }

    /// Sets how documents are searched by their words.
    pub fn text(mut self, text: TextSettings) -> CollectionSpec {
        self.text = text;
        self
    }
}
