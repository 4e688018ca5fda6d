//! Fusion of the results of several searches into one list.
//! Invariant: by theoretical min-max, a record counts by its score in every search that scores it, wherever the list
//! of that search was cut.

use roaring::RoaringBitmap;

use super::leaf::{LeafContext, RankKey, ReadyLeaf};
use super::ranked::RankedRow;
use super::select::Selected;
use crate::collection::request::{Fusion, NearestOptions, Query, Ranking};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::Result;
use crate::index::{PreparedQuery, TopK, scan};
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
        let keys = |rows: &ScoredRows| rows.iter().map(|(key, _)| *key).collect::<Vec<RankKey>>();
        let mut found: Vec<RankKey> = results.iter().flat_map(keys).collect();
        found.sort_unstable();
        found.dedup();
        let scored = |(leaf, listed): (&mut ReadyLeaf<'_>, &ScoredRows)| {
            context.interrupt.check()?;
            let mut listed = keys(listed);
            listed.sort_unstable();
            let missing = found.iter().copied().filter(|key| listed.binary_search(key).is_err());
            let missing: Vec<RankKey> = missing.collect();
            match leaf {
                _ if missing.is_empty() => Ok(Vec::new()),
                ReadyLeaf::Nearest(query) => {
                    context.compared.add(missing.len() as u64);
                    Ok(self.distances(query, &missing))
                }
                _ => self.scored_among(leaf, &missing, context),
            }
        };
        leaves.iter_mut().zip(results).map(scored).collect()
    }

    /// The distances of a few records from a query's first embedding; not of those beyond its limit. They are computed
    /// as those of a scan are: to plan one, chunk by chunk, takes longer than they do.
    fn distances(&self, query: &Query, rows: &[RankKey]) -> ScoredRows {
        let Some(embedding) = query.embeddings.first() else { return Vec::new() };
        let (prepared, mut nearest) = (PreparedQuery::new(self.metric, embedding), TopK::new(rows.len()));
        for (place, key) in rows.iter().enumerate() {
            scan(&prepared, self.chunk(key.at).vectors(), [key.at.row], |_| place as u64, &mut nearest);
        }
        let most = query.max_distance.unwrap_or(f32::INFINITY);
        let found = nearest.into_sorted().into_iter().filter(|found| found.distance <= most);
        found.filter_map(|found| Some((*rows.get(found.key as usize)?, found.distance))).collect()
    }

    /// The scores of a few records in a search.
    fn scored_among(&self, leaf: &mut ReadyLeaf<'_>, rows: &[RankKey], context: LeafContext<'_>) -> Result<ScoredRows> {
        let mut selected = vec![RoaringBitmap::new(); self.chunks.len()];
        for RowRef { chunk, row } in rows.iter().map(|key| key.at) {
            selected[chunk].insert(row);
        }
        let selected = Selected::some(selected);
        // They are few: all are compared.
        let nearest = NearestOptions { exact: true, ..context.nearest };
        self.leaf(leaf, rows.len(), LeafContext { selected: &selected, nearest, ..context })
    }
}

#[cfg(test)]
#[path = "fused_tests.rs"]
mod fused_tests;
