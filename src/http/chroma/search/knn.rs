//! `$knn`, the leaf of a rank: one search of the embeddings, or of a key's sparse vectors.
//! Invariant: a [`Knn`] can be searched for as it is: its numbers are finite, its key has an index, its dimension is
//! the collection's.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::super::bounded;
use super::super::error::ChromaError;
use super::super::schema::EMBEDDING;
use super::super::sparse::SparseBody;

/// Number of records where a `$knn` has none.
const DEFAULT_CANDIDATES: u32 = 16;

/// `$knn` of a request.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with a query")]
pub(super) struct KnnBody {
    query: QueryVector,
    #[serde(default = "embedding_key")]
    key: String,
    #[serde(default = "default_candidates")]
    limit: u32,
    #[serde(default)]
    pub(super) default: Option<f32>,
    #[serde(default)]
    pub(super) return_rank: bool,
}

fn embedding_key() -> String {
    EMBEDDING.to_owned()
}

fn default_candidates() -> u32 {
    DEFAULT_CANDIDATES
}

/// The vector that is searched for.
#[derive(Debug)]
enum QueryVector {
    Dense(Vec<f32>),
    Sparse(SparseBody),
}

impl<'de> Deserialize<'de> for QueryVector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<QueryVector, D::Error> {
        struct QueryVisitor;

        impl<'de> Visitor<'de> for QueryVisitor {
            type Value = QueryVector;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of numbers or a sparse vector {\"indices\": […], \"values\": […]}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<QueryVector, A::Error> {
                bounded::numbers(&mut items).map(QueryVector::Dense)
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<QueryVector, A::Error> {
                SparseBody::read(members, A::Error::missing_field).map(QueryVector::Sparse)
            }
        }

        deserializer.deserialize_any(QueryVisitor)
    }
}

/// What a search needs to know of its collection.
pub(super) trait Searchable {
    /// The length of embeddings, where there are any yet.
    fn dimension(&self) -> Option<usize>;
    /// Whether the sparse vectors of a key have an index.
    fn has_sparse_index(&self, key: &str) -> bool;
}

/// One search of a rank.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Knn {
    pub(super) query: KnnQuery,
    /// How many records it returns at most. Never the size of an allocation.
    pub(super) limit: u32,
}

/// What a `$knn` looks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum KnnQuery {
    /// The nearest embeddings.
    Dense(Vec<f32>),
    /// The nearest sparse vectors of a key; indices ascend, as many as values.
    Sparse { key: String, indices: Vec<u32>, values: Vec<f32> },
}

impl KnnBody {
    /// Checks the contents. `rank` and `place` are the places of the whole rank and of this `$knn` in the body.
    pub(super) fn read(self, (rank, place): (&str, &str), searchable: &impl Searchable) -> Result<Knn, ChromaError> {
        let query = match self.query {
            QueryVector::Dense(embedding) => {
                check_dense(&embedding, &self.key, place, searchable)?;
                KnnQuery::Dense(embedding)
            }
            QueryVector::Sparse(sparse) => {
                if let Some(fault) = sparse.fault() {
                    let words = format!("{rank}: Invalid sparse vector in KNN query: {fault}, at {place}.query");
                    return Err(ChromaError::validation(&[words]));
                }
                if !searchable.has_sparse_index(&self.key) {
                    let key: String = self.key.chars().take(64).collect();
                    return Err(ChromaError::invalid(format!(
                        "Cannot filter using metadata key '{key}' with type 'SparseVector' because indexing is disabled"
                    )));
                }
                KnnQuery::Sparse { key: self.key, indices: sparse.indices, values: sparse.values }
            }
        };
        Ok(Knn { query, limit: self.limit })
    }
}

fn check_dense(embedding: &[f32], key: &str, place: &str, searchable: &impl Searchable) -> Result<(), ChromaError> {
    if key != EMBEDDING {
        let key: String = key.chars().take(64).collect();
        return Err(ChromaError::validation(&[format!(
            "{place}.key: a dense query searches {EMBEDDING} only, got the key {key:?}; Python's client makes a dense \
             query of a text where the key is K(\"{key}\") instead of \"{key}\""
        )]));
    }
    match searchable.dimension().filter(|dimension| *dimension != embedding.len()) {
        Some(dimension) => Err(ChromaError::invalid(format!(
            "Collection expecting embedding with dimension of {dimension}, got {}",
            embedding.len()
        ))),
        None => Ok(()),
    }
}
