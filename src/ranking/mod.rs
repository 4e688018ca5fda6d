//! Ranking: what is done with the results of searches before they are answered. Rank expressions over several
//! searches, groups, fusion, diversity, recommendation and facets. Pure computation over keys and scores: this room
//! knows neither JSON nor records, and nothing in it waits.
//! Invariant: keys order as records were inserted, and equal scores are ordered by key, so that every instance gives
//! one answer.

mod diversity;
mod expression;
mod facets;
mod fusion;
mod grouping;
mod groups;
mod order;
mod recommendation;

pub use diversity::{maximal_marginal_relevance, similarity};
pub use expression::{BinaryOperator, Expression, FoldOperator, Leaf, RankStep, UnaryOperator};
pub use facets::{NumberFacet, ValueFacet};
pub use fusion::{Better, Fused, FusedPart, Normalisation, RankedPart, ScoreRange, reciprocal_rank, weighted_sum};
pub use grouping::{Aggregate, GroupBy, GroupKey, GroupValue, group};
pub use groups::{BestGroups, GroupRequest};
pub use order::{Total, by_score};
pub use recommendation::{averaged, best_score};
