//! A search by one or more embeddings, as a caller asks for it.
//! Invariant: what a query does not say has a default that searches all records for the ten nearest.

use super::{Consistency, Include};
use crate::filter::Filter;

/// Finds the nearest records to one or more embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The query embeddings.
    pub embeddings: Vec<Vec<f32>>,
    /// How many neighbours each.
    pub k: usize,
    /// Only these ids.
    pub ids: Option<Vec<String>>,
    /// Only records that match: the result holds the k nearest *of these*.
    pub filter: Option<Filter>,
    /// Width of the graph search; `None` chooses by k.
    pub ef_search: Option<usize>,
    /// Scans every vector instead of searching graphs.
    pub exact: bool,
    /// Leaves out records that are farther than this from the embedding.
    pub max_distance: Option<f32>,
    /// Which fields.
    pub include: Include,
    /// How fresh the answer must be.
    pub consistency: Consistency,
}

impl Query {
    /// The ten nearest to one embedding.
    pub fn new(embedding: impl Into<Vec<f32>>) -> Query {
        Query::batch([embedding])
    }

    /// The ten nearest to each of several embeddings.
    pub fn batch(embeddings: impl IntoIterator<Item = impl Into<Vec<f32>>>) -> Query {
        Query {
            embeddings: embeddings.into_iter().map(Into::into).collect(),
            k: 10,
            ids: None,
            filter: None,
            ef_search: None,
            exact: false,
            max_distance: None,
            include: Include::default(),
            consistency: Consistency::Local,
        }
    }

    /// How many neighbours to return for each embedding.
    pub fn k(mut self, k: usize) -> Query {
        self.k = k;
        self
    }

    /// Only records that match.
    pub fn filter(mut self, filter: Filter) -> Query {
        self.filter = Some(filter);
        self
    }

    /// Only these ids.
    pub fn ids(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Query {
        self.ids = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Width of the graph search: a wider one finds more of the true neighbours, and takes longer.
    pub fn ef_search(mut self, ef_search: usize) -> Query {
        self.ef_search = Some(ef_search);
        self
    }

    /// Scan every vector: slower, and exact.
    pub fn exact(mut self, exact: bool) -> Query {
        self.exact = exact;
        self
    }

    /// Leave out records that are farther than this from the embedding: fewer than k may be found.
    pub fn max_distance(mut self, max_distance: f32) -> Query {
        self.max_distance = Some(max_distance);
        self
    }

    /// Which fields of the records to return.
    pub fn include(mut self, include: Include) -> Query {
        self.include = include;
        self
    }

    /// How fresh the answer must be.
    pub fn consistency(mut self, consistency: Consistency) -> Query {
        self.consistency = consistency;
        self
    }
}
