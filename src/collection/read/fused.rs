//! Fusion of the results of several searches into one list.
//! Invariant: by theoretical min-max, a record counts by its score in every search that scores it, wherever the list
//! of that search was cut.

use roaring::RoaringBitmap;

use super::leaf::{LeafContext, RankKey, ReadyLeaf};
use super::ranked::RankedRow;
use super::select::Selected;
use crate::collection::request::{Fusion, NearestOptions, Ranking};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::Result;
use crate::ranking::{Fused, RankedPart, reciprocal_rank, weighted_sum};

/// The records that a search found, or was asked about, with their scores.
type ScoredRows = Vec<(RankKey, f32)>;

impl Snapshot {
    /// The fused list. `results` has what each of the searches found.
    pub(super) fn fused(
        &self,
        rank: &Ranking,
        (fusion, weights): (Fusion, &[f32]),
        (leaves, results): (&mut [ReadyLeaf<'_>], &[ScoredRows]),
        context: LeafContext<'_>,
    ) -> Result<Vec<RankedRow>> {
        let unlisted = match fusion {
            Fusion::WeightedSum(normalisation) if normalisation.scores_unlisted() => {
                self.unlisted(leaves, results, context)?
            }
            Fusion::WeightedSum(_) | Fusion::ReciprocalRank { .. } => vec![Vec::new(); results.len()],
        };
        let lists = results.iter().zip(&unlisted).zip(weights);
        let parts: Vec<RankedPart<'_, RankKey>> = (rank.leaves.iter().zip(leaves).zip(lists))
            .map(|((asked, leaf), ((ranked, unlisted), weight))| {
                let (better, range) = (asked.query.better(), leaf.range());
                RankedPart { ranked, unlisted, weight: *weight, better, range }
            })
            .collect();
        let fused = match fusion {
            Fusion::ReciprocalRank { k } => reciprocal_rank(&parts, k),
            Fusion::WeightedSum(normalisation) => weighted_sum(&parts, normalisation),
        };
        let row = |fused: Fused<RankKey>| RankedRow { parts: fused.parts, ..RankedRow::of(fused.key, fused.score) };
        Ok(fused.into_iter().map(row).collect())
    }

    /// For each search, the records that only others found, with their scores in this one; not those that have none.
    fn unlisted(
        &self,
        leaves: &mut [ReadyLeaf<'_>],
        results: &[ScoredRows],
        context: LeafContext<'_>,
    ) -> Result<Vec<ScoredRows>> {
        let mut found = vec![RoaringBitmap::new(); self.chunks.len()];
        for RowRef { chunk, row } in results.iter().flatten().map(|(key, _)| key.at) {
            found[chunk].insert(row);
        }
        let scored = |(leaf, listed): (&mut ReadyLeaf<'_>, &ScoredRows)| {
            let mut missing = found.clone();
            for RowRef { chunk, row } in listed.iter().map(|(key, _)| key.at) {
                missing[chunk].remove(row);
            }
            let count: u64 = missing.iter().map(RoaringBitmap::len).sum();
            let selected = Selected::some(missing);
            // They are few: all are compared.
            let nearest = NearestOptions { exact: true, ..context.nearest };
            let among = LeafContext { selected: &selected, nearest, ..context };
            self.leaf(leaf, usize::try_from(count).unwrap_or(usize::MAX), among)
        };
        leaves.iter_mut().zip(results).map(scored).collect()
    }
}

#[cfg(test)]
#[path = "fused_tests.rs"]
mod fused_tests;
