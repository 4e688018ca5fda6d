//! A search that ranks records by one or several searches of them: by an expression, or by fusion.

use std::fmt;
use std::sync::Arc;

use super::Facet;
use crate::filter::Filter;
use crate::ranking::{Better, Expression, GroupBy, Normalisation};
use crate::record::SparseVector;
use crate::text::{Analyser, TextQuery};

/// A search whose records are ranked, or are listed where there is no rank.
#[derive(Debug, Default)]
pub struct RankedSearch {
    /// Only records with one of these ids.
    pub ids: Option<Vec<String>>,
    /// Only records that match.
    pub filter: Option<Filter>,
    /// What to rank by; without it, records come in insertion order.
    pub rank: Option<Ranking>,
    /// Which of the ranked records to keep.
    pub group_by: Option<GroupBy>,
    /// How many of the first records to pass over.
    pub offset: usize,
    /// How many records to return; `None`: all.
    pub limit: Option<usize>,
    /// What searches by embedding leave out, and how they are done.
    pub nearest: NearestOptions,
    /// Which of the ranked records to return where these should be unlike each other.
    pub diversity: Option<Diversity>,
    /// What to count among all ranked records, those beyond the limit included.
    pub facets: Vec<Facet>,
}

impl RankedSearch {
    /// The `limit` best records of one search.
    pub fn single(query: LeafQuery, limit: usize) -> RankedSearch {
        let rank = Ranking { combination: Combination::Single, leaves: vec![LeafSearch { query, limit }] };
        RankedSearch { rank: Some(rank), limit: Some(limit), ..RankedSearch::default() }
    }
}

/// Chooses of the ranked records by maximal marginal relevance: each the one that is most like the query and least
/// like those chosen before. For searches by one embedding, or by examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diversity {
    /// How much the query counts: from 0, only the difference, to 1, only the query.
    pub lambda: f32,
}

/// Records to search for others that are like them. They are left out of the answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Examples {
    /// Ids of records that the found ones are like.
    pub like: Vec<String>,
    /// Ids of records that the found ones are unlike.
    pub unlike: Vec<String>,
    /// How records are compared with the examples.
    pub strategy: ExampleStrategy,
}

/// How records are compared with examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExampleStrategy {
    /// By the distance to one embedding: the average of those that are liked, moved away from the average of the
    /// others by the difference of the two.
    #[default]
    Average,
    /// By the nearest example: records nearer to one that is liked come first, nearest first, then the others, those
    /// first that are farthest from what is not liked. Every record is compared. Larger scores are better.
    BestScore,
}

/// Options of the searches by embedding.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NearestOptions {
    /// Leaves out records that are farther than this.
    pub max_distance: Option<f32>,
    /// Width of graph walks; `None`: the collection's.
    pub ef_search: Option<usize>,
    /// Scans every vector instead of searching graphs.
    pub exact: bool,
}

/// Searches, and how their results become one ranked list.
#[derive(Debug)]
pub struct Ranking {
    /// How the results are combined.
    pub combination: Combination,
    /// The searches, by slot.
    pub leaves: Vec<LeafSearch>,
}

/// How results of several searches become one list.
#[derive(Debug, Clone, PartialEq)]
pub enum Combination {
    /// There is one search, whose result is the list.
    Single,
    /// By an expression of their scores, of which smaller ones are better.
    Expression(Expression),
    /// By fusion, with a weight for each search; larger scores are better.
    Fusion(Fusion, Vec<f32>),
}

/// The kinds of fusion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fusion {
    /// By ranks: Σ wᵢ / (k + rankᵢ).
    ReciprocalRank {
        /// How little the first ranks stand out.
        k: f32,
    },
    /// By the weighted sum of normalised scores.
    WeightedSum(Normalisation),
}

impl Default for Fusion {
    /// The weighted sum with the theoretical ranges of scores.
    fn default() -> Fusion {
        Fusion::WeightedSum(Normalisation::default())
    }
}

/// One search of a rank.
#[derive(Debug)]
pub struct LeafSearch {
    /// What is searched for.
    pub query: LeafQuery,
    /// How many records it finds, at most.
    pub limit: usize,
}

/// What a search of a rank looks for.
pub enum LeafQuery {
    /// The nearest embeddings; the score is the distance.
    Embedding(Vec<f32>),
    /// The records that are like some and unlike others. The score is the distance to the averaged embedding, or the
    /// best score.
    Examples(Examples),
    /// The nearest sparse vectors of a metadata key: those that share an index with the query. The score is
    /// 1 − Σ qᵢ·dᵢ.
    Sparse {
        /// The metadata key.
        key: String,
        /// The query.
        vector: SparseVector,
        /// Whether each value of the query is multiplied by the idf of its index,
        /// ln(1 + (n − nᵢ + ½) / (nᵢ + ½)): n are all records, nᵢ those with the index.
        idf: bool,
    },
    /// The documents with the words of a query. The score is BM25, of which larger ones are better.
    Text {
        /// The words.
        query: TextQuery,
        /// What the documents are analysed with.
        analyser: Arc<Analyser>,
    },
}

impl LeafQuery {
    /// Which scores of this search are better.
    pub fn better(&self) -> Better {
        match self {
            LeafQuery::Embedding(_) | LeafQuery::Sparse { .. } => Better::Smaller,
            LeafQuery::Text { .. } => Better::Larger,
            LeafQuery::Examples(examples) => match examples.strategy {
                ExampleStrategy::Average => Better::Smaller,
                ExampleStrategy::BestScore => Better::Larger,
            },
        }
    }
}

impl fmt::Debug for LeafQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeafQuery::Embedding(embedding) => write!(f, "an embedding of {}", embedding.len()),
            LeafQuery::Examples(examples) => {
                write!(f, "{} examples", examples.like.len() + examples.unlike.len())
            }
            LeafQuery::Sparse { key, vector, .. } => write!(f, "{} entries under {key:?}", vector.len()),
            LeafQuery::Text { query, .. } => write!(f, "{} clauses", query.clauses().len()),
        }
    }
}
