//! Searches that rank by an expression: filter, then every search of the rank, the expression, groups, and the page.
//! Invariant: what comes back is a page of the ranked list, smallest score first, equal scores in insertion order.

use roaring::RoaringBitmap;

use super::compared::Compared;
use super::insertion_order;
use super::leaf::{LeafContext, RankKey};
use super::select::Selected;
use crate::collection::request::{Combination, FacetAnswer, Include, NearestOptions, RankedSearch, Ranking};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::config::Limits;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::ranking::{FusedPart, GroupBy, GroupValue, group};
use crate::record::Metadata;

/// A page of a ranked list.
#[derive(Debug)]
pub(in crate::collection) struct RankedPage {
    pub rows: Vec<RankedRow>,
    /// Of the whole list.
    pub facets: Vec<FacetAnswer>,
    /// How many records were compared or scored, in all searches of the rank together.
    pub compared: u64,
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
            let rows = rows.skip(search.offset).take(limit).collect();
            return Ok(RankedPage { rows, facets: Vec::new(), compared: 0 });
        };
        let nearest = search.nearest;
        let nearest = NearestOptions { ef_search: nearest.ef_search.or(ef_search), ..nearest };
        let compared = Compared::default();
        let context = LeafContext { selected: &selected, nearest, limit: None, limits, interrupt, compared: &compared };
        let rows = self.ranked_among(rank, search.group_by.as_ref(), context)?;
        let facets = match search.facets.is_empty() {
            true => Vec::new(),
            false => self.facets_among(&search.facets, &self.selected_by(&rows), interrupt)?,
        };
        let rows = match search.diversity {
            Some(diversity) => self.diversified(rank, diversity, rows, search.offset.saturating_add(limit))?,
            None => rows,
        };
        let mut rows: Vec<RankedRow> = rows.into_iter().skip(search.offset).take(limit).collect();
        // The page may lie in the block of the whole list.
        rows.shrink_to_fit();
        Ok(RankedPage { rows, facets, compared: compared.get() })
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
        let ready = |leaf| {
            context.interrupt.check()?;
            self.ready(leaf, context)
        };
        let mut leaves = rank.leaves.iter().map(ready).collect::<Result<Vec<_>>>()?;
        let mut results = Vec::with_capacity(leaves.len());
        for (leaf, asked) in leaves.iter_mut().zip(&rank.leaves) {
            context.interrupt.check()?;
            results.push(self.leaf(leaf, context.limit.unwrap_or(asked.limit), context)?);
        }
        match &rank.combination {
            Combination::Expression(expression) => {
                let rows = expression.evaluate(&results, context.interrupt)?;
                let rows = match group_by {
                    Some(by) => {
                        // What a grouping asks of one row comes together: its metadata is decoded once for all of it.
                        let mut last = None;
                        let value = |key: RankKey, field: &str| self.group_value(&mut last, key.at, field);
                        group(&rows, by, context.interrupt, value)?
                    }
                    None => rows,
                };
                Ok(rows.into_iter().map(|(key, score)| RankedRow::of(key, score)).collect())
            }
            Combination::Single => {
                let rows = results.iter().flatten();
                Ok(rows.map(|(key, score)| RankedRow::of(*key, *score)).collect())
            }
            Combination::Fusion(fusion, weights) => {
                self.fused(rank, (*fusion, weights), (&mut leaves, &results), context)
            }
        }
    }

    /// A field of a row. `last` is the row that was read last, with its metadata.
    fn group_value(
        &self,
        last: &mut Option<(RowRef, Option<Metadata>)>,
        at: RowRef,
        field: &str,
    ) -> Result<Option<GroupValue>> {
        let metadata = match last.take() {
            Some((row, metadata)) if row == at => metadata,
            _ => self.found(at, Include { metadata: true, ..Include::NONE })?.metadata,
        };
        let (_, metadata) = last.insert((at, metadata));
        Ok(metadata.as_ref().and_then(|metadata| metadata.0.get(field)).cloned().map(GroupValue::from))
    }
}
