//! Of ranked records, some that are unlike each other.
//! Invariant: records keep the scores that they were ranked by.

use super::ranked::RankedRow;
use crate::collection::request::{Combination, Diversity, ExampleStrategy, LeafQuery, Ranking};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::{Error, Result};
use crate::index::PreparedQuery;
use crate::ranking::{maximal_marginal_relevance, similarity};

/// Candidates that are compared with each other, at most.
pub const MOST_CANDIDATES: usize = 1_000;

impl Snapshot {
    /// `k` of the rows of a rank, in the order in which they are chosen.
    pub(super) fn diversified(
        &self,
        rank: &Ranking,
        Diversity { lambda }: Diversity,
        mut rows: Vec<RankedRow>,
        k: usize,
    ) -> Result<Vec<RankedRow>> {
        let by_distance = |query: &LeafQuery| match query {
            LeafQuery::Embedding(_) => true,
            LeafQuery::Examples(examples) => examples.strategy == ExampleStrategy::Average,
            _ => false,
        };
        if rank.combination != Combination::Single || !rank.leaves.iter().all(|leaf| by_distance(&leaf.query)) {
            let words = "diversity: expected a search by one embedding, or by the average of examples, got another";
            return Err(Error::invalid(words));
        }
        if !(0.0..=1.0).contains(&lambda) {
            return Err(Error::invalid(format!("diversity.lambda: expected a number from 0 to 1, got {lambda}")));
        }
        if rows.len() > MOST_CANDIDATES {
            let got = rows.len();
            return Err(Error::limit(format!("diversity.candidates: expected at most {MOST_CANDIDATES}, got {got}")));
        }
        let relevance: Vec<f32> =
            rows.iter().map(|row| similarity(self.metric, row.score.unwrap_or(f32::MAX))).collect();
        let vectors: Vec<&[f32]> = rows.iter().map(|RankedRow { at, .. }| self.vector_of(*at)).collect();
        let mut last: Option<(usize, PreparedQuery)> = None;
        let chosen = maximal_marginal_relevance(&relevance, lambda, k, |place, chosen| {
            // One chosen record is compared with all that are left before the next one is.
            let prepared = match last.take() {
                Some((of, prepared)) if of == chosen => prepared,
                _ => PreparedQuery::new(self.metric, vectors[chosen]),
            };
            let alike = similarity(self.metric, prepared.distance_to(vectors[place]));
            last = Some((chosen, prepared));
            alike
        });
        let mut left: Vec<Option<RankedRow>> = rows.drain(..).map(Some).collect();
        Ok(chosen.into_iter().filter_map(|place| left.get_mut(place).and_then(Option::take)).collect())
    }

    fn vector_of(&self, at: RowRef) -> &[f32] {
        self.chunk(at).vector(at.row)
    }
}
