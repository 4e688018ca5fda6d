//! Searches that rank by an expression: filter, then every search of the rank, the expression, groups, and the page.
//! Invariant: what comes back is a page of the ranked list, smallest score first, equal scores in insertion order.

use roaring::RoaringBitmap;

use super::insertion_order;
use super::leaf::{LeafContext, RankKey};
use super::select::Selected;
use crate::collection::request::validate::check_query;
use crate::collection::request::{
    Combination, FacetAnswer, Fusion, Include, LeafQuery, NearestOptions, Query, RankedSearch, Ranking,
};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::config::Limits;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::ranking::{Fused, FusedPart, GroupBy, GroupValue, RankedPart, group, reciprocal_rank, weighted_sum};

/// A page of a ranked list.
#[derive(Debug)]
pub(in crate::collection) struct RankedPage {
    pub rows: Vec<RankedRow>,
    /// Of the whole list.
    pub facets: Vec<FacetAnswer>,
}

/// A record of a ranked list.
#[derive(Debug)]
pub(in crate::collection) struct RankedRow {
    pub(in crate::collection) at: RowRef,
    /// `None` where there is no rank.
    pub(in crate::collection) score: Option<f32>,
    pub(in crate::collection) parts: Vec<Option<FusedPart>>,
}

impl RankedRow {
    pub(super) fn of(key: RankKey, score: f32) -> RankedRow {
        RankedRow { at: key.at, score: Some(score), parts: Vec::new() }
    }
}

impl Snapshot {
    /// A page of the records that a search finds, each with its score if they are ranked. A page of at most `most`
    /// records is made; the caller refuses one that is not whole.
    pub(in crate::collection) fn ranked(
        &self,
        search: &RankedSearch,
        (ef_search, most): (Option<usize>, usize),
        limits: &Limits,
        interrupt: &Interrupt,
    ) -> Result<RankedPage> {
        self.check_alive()?;
        let selected = self.to_rank(search, interrupt)?;
        let limit = search.limit.unwrap_or(usize::MAX).min(most);
        let Some(rank) = &search.rank else {
            let listed = |(_, at)| RankedRow { at, score: None, parts: Vec::new() };
            let rows = insertion_order::in_order(self, &selected).map(listed);
            return Ok(RankedPage { rows: rows.skip(search.offset).take(limit).collect(), facets: Vec::new() });
        };
        let nearest = search.nearest;
        let nearest = NearestOptions { ef_search: nearest.ef_search.or(ef_search), ..nearest };
        let context = LeafContext { selected: &selected, nearest, limit: None, limits, interrupt };
        let rows = self.ranked_among(rank, search.group_by.as_ref(), context)?;
        let facets = match search.facets.is_empty() {
            true => Vec::new(),
            false => self.facets_among(&search.facets, &self.selected_by(&rows), interrupt)?,
        };
        let rows = match search.diversity {
            Some(diversity) => self.diversified(rank, diversity, rows, search.offset.saturating_add(limit))?,
            None => rows,
        };
        Ok(RankedPage { rows: rows.into_iter().skip(search.offset).take(limit).collect(), facets })
    }

    /// A selection of the rows of a ranked list.
    fn selected_by(&self, rows: &[RankedRow]) -> Selected {
        let mut selected = vec![RoaringBitmap::new(); self.chunks.len()];
        for RowRef { chunk, row } in rows.iter().map(|row| row.at) {
            selected[chunk].insert(row);
        }
        Selected::some(selected)
    }

    /// All records that a rank finds, best first.
    pub(super) fn ranked_among(
        &self,
        rank: &Ranking,
        group_by: Option<&GroupBy>,
        context: LeafContext<'_>,
    ) -> Result<Vec<RankedRow>> {
        let results = rank.leaves.iter().map(|leaf| {
            context.interrupt.check()?;
            if let LeafQuery::Embedding(embedding) = &leaf.query {
                if self.dimension.is_none() || self.live == 0 {
                    return Ok(Vec::new());
                }
                let NearestOptions { max_distance, ef_search, exact } = context.nearest;
                let query = Query { max_distance, ef_search, exact, ..Query::new(embedding.clone()) };
                check_query(&query, self.dimension, context.limits)?;
            }
            self.leaf(leaf, context)
        });
        let results = results.collect::<Result<Vec<_>>>()?;
        self.combined(rank, &results, group_by, context.interrupt)
    }

    /// The results of all searches as one list, of which the groups leave some.
    fn combined(
        &self,
        rank: &Ranking,
        results: &[Vec<(RankKey, f32)>],
        group_by: Option<&GroupBy>,
        interrupt: &Interrupt,
    ) -> Result<Vec<RankedRow>> {
        match &rank.combination {
            Combination::Expression(expression) => {
                let rows = expression.evaluate(results, interrupt)?;
                let rows = match group_by {
                    Some(by) => group(&rows, by, |key: RankKey, field: &str| self.group_value(key.at, field))?,
                    None => rows,
                };
                Ok(rows.into_iter().map(|(key, score)| RankedRow::of(key, score)).collect())
            }
            Combination::Single => {
                let rows = results.iter().flatten();
                Ok(rows.map(|(key, score)| RankedRow::of(*key, *score)).collect())
            }
            Combination::Fusion(fusion, weights) => {
                let parts: Vec<RankedPart<'_, RankKey>> = (rank.leaves.iter().zip(results))
                    .zip(weights)
                    .map(|((leaf, ranked), weight)| RankedPart { ranked, weight: *weight, better: leaf.query.better() })
                    .collect();
                let fused = match fusion {
                    Fusion::ReciprocalRank { k } => reciprocal_rank(&parts, *k),
                    Fusion::WeightedSum(normalisation) => weighted_sum(&parts, *normalisation),
                };
                let row =
                    |fused: Fused<RankKey>| RankedRow { parts: fused.parts, ..RankedRow::of(fused.key, fused.score) };
                Ok(fused.into_iter().map(row).collect())
            }
        }
    }

    fn group_value(&self, at: RowRef, field: &str) -> Result<Option<GroupValue>> {
        let include = Include { embedding: false, document: false, uri: false, metadata: true };
        let metadata = self.found(at, include)?.metadata;
        Ok(metadata.and_then(|mut metadata| metadata.0.remove(field)).map(GroupValue::from))
    }
}
