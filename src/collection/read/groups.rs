//! The best groups of a ranked search: of all records that match, not of those that one search finds.
//! Invariants: a group is all records whose value a filter calls equal; a record without such a value is never found.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::compared::Compared;
use super::leaf::{LeafContext, RankKey};
use super::ranked::RankedRow;
use super::select::Selected;
use super::value_key::ValueKey;
use crate::collection::request::{Combination, GroupSize, GroupedSearch, Include, NearestOptions, Ranking};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::interrupt::Interrupt;
use crate::ranking::{BestGroups, GroupRequest};

/// GroupedRows with the rows of each.
type GroupedRows = (Vec<GroupSize>, Vec<RankedRow>);

impl Snapshot {
    /// The best groups with their best records, both best first, and how many records were compared.
    pub(in crate::collection) fn best_groups(
        &self,
        grouped: &GroupedSearch,
        ef_search: Option<usize>,
        limits: &Limits,
        interrupt: &Interrupt,
    ) -> Result<(GroupedRows, u64)> {
        self.check_alive()?;
        let GroupedSearch { search, key, .. } = grouped;
        if key.starts_with('#') {
            return Err(Error::invalid(format!(
                "group_by.key: expected a metadata key, got {key:?}, which is reserved"
            )));
        }
        let Some(rank) = &search.rank else {
            return Err(Error::invalid("group_by: expected a search that ranks records, got none"));
        };
        let selected = self.to_rank(search, interrupt)?;
        let mut among = Vec::with_capacity(self.chunks.len());
        for (chunk, view) in self.chunks.iter().enumerate() {
            interrupt.check()?;
            among.push(view.chunk.by_key().with_scalar(key) & selected.of(self, chunk));
        }
        let nearest = NearestOptions { ef_search: search.nearest.ef_search.or(ef_search), ..search.nearest };
        let compared = Compared::default();
        let search = GroupSearch { snapshot: self, grouped, rank, nearest, limits, interrupt, compared: &compared };
        let found = match rank.combination {
            Combination::Single => search.planned(among),
            Combination::Expression(_) | Combination::Fusion(..) => search.among_candidates(among),
        };
        Ok((found?, compared.get()))
    }
}

/// A search for groups under way.
#[derive(Clone, Copy)]
struct GroupSearch<'a> {
    snapshot: &'a Snapshot,
    grouped: &'a GroupedSearch,
    rank: &'a Ranking,
    nearest: NearestOptions,
    limits: &'a Limits,
    interrupt: &'a Interrupt,
    compared: &'a Compared,
}

impl GroupSearch<'_> {
    /// The groups of one search, whose order does not depend on which records it looks at.
    fn planned(self, mut among: Vec<RoaringBitmap>) -> Result<GroupedRows> {
        let all = among.clone();
        let mut best = BestGroups::new(self.grouped.groups, self.grouped.records, self.candidates());
        let mut removed = 0;
        while let Some(request) = best.request() {
            self.interrupt.check()?;
            match request {
                GroupRequest::Outside { groups, limit } => {
                    for group in groups.iter().skip(removed) {
                        let rows = self.rows_of(group, &among)?;
                        among.iter_mut().zip(&rows).for_each(|(among, rows)| *among -= rows);
                    }
                    removed = groups.len();
                    let rows = self.ranked(&Selected::some(among.clone()), limit)?;
                    let found = rows.iter().map(|row| self.grouped_row(row)).collect::<Result<Vec<_>>>()?;
                    best.found(found.into_iter().flatten());
                }
                GroupRequest::Within { group, limit } => {
                    let rows = self.ranked(&Selected::some(self.rows_of(group, &all)?), limit)?;
                    best.filled(rows.into_iter().filter_map(|row| Some((self.key_of(&row), row.score?))));
                }
            }
        }
        let (mut sizes, mut rows) = (Vec::new(), Vec::new());
        // A walk of a graph may miss what another one found.
        for group in best.into_groups().into_iter().filter(|group| !group.records.is_empty()) {
            sizes.push(GroupSize { value: group.group.value(), records: group.records.len() });
            rows.extend(group.records.into_iter().map(|(key, score)| RankedRow::of(key, score)));
        }
        Ok((sizes, rows))
    }

    /// The groups of the candidates of a fusion.
    fn among_candidates(self, among: Vec<RoaringBitmap>) -> Result<GroupedRows> {
        let among = Selected::some(among);
        let mut limit = self.candidates();
        loop {
            let ranked = self.ranked(&among, limit)?;
            let whole = ranked.len() < limit;
            let (mut groups, mut places): (Vec<(ValueKey, Vec<RankedRow>)>, _) = (Vec::new(), HashMap::new());
            for row in ranked {
                let Some((_, _, value)) = self.grouped_row(&row)? else { continue };
                if !places.contains_key(&value) && groups.len() < self.grouped.groups {
                    places.insert(value.clone(), groups.len());
                    groups.push((value.clone(), Vec::new()));
                }
                if let Some((_, rows)) = places.get(&value).and_then(|place: &usize| groups.get_mut(*place))
                    && rows.len() < self.grouped.records
                {
                    rows.push(row);
                }
            }
            if whole || groups.len() >= self.grouped.groups {
                let size = |(value, rows): &(ValueKey, Vec<RankedRow>)| GroupSize {
                    value: value.value(),
                    records: rows.len(),
                };
                let sizes = groups.iter().map(size).collect();
                return Ok((sizes, groups.into_iter().flat_map(|(_, rows)| rows).collect()));
            }
            limit = limit.saturating_mul(2);
        }
    }

    /// How many records a first search looks at.
    fn candidates(self) -> usize {
        let asked = self.rank.leaves.iter().map(|leaf| leaf.limit).max().unwrap_or(1);
        asked.max(self.grouped.groups.saturating_mul(self.grouped.records)).max(1)
    }

    fn ranked(self, selected: &Selected, limit: usize) -> Result<Vec<RankedRow>> {
        let Self { nearest, limits, interrupt, compared, .. } = self;
        let context = LeafContext { selected, nearest, limit: Some(limit), limits, interrupt, compared };
        self.snapshot.ranked_among(self.rank, None, context)
    }

    /// The rows of a group, of those given.
    fn rows_of(self, group: &ValueKey, among: &[RoaringBitmap]) -> Result<Vec<RoaringBitmap>> {
        let filter = Filter::eq(&self.grouped.key, group.scalar());
        let chunks = self.snapshot.chunks.iter().zip(among);
        chunks.map(|(view, rows)| view.chunk.matching(&filter, rows, self.interrupt)).collect()
    }

    fn key_of(self, row: &RankedRow) -> RankKey {
        self.snapshot.key_of(row.at)
    }

    /// A row with its score and its group; `None` where it has no score or belongs to no group.
    fn grouped_row(self, row: &RankedRow) -> Result<Option<(RankKey, f32, ValueKey)>> {
        let value = self.snapshot.value_of(row.at, &self.grouped.key)?;
        Ok(row.score.zip(value).map(|(score, value)| (self.key_of(row), score, value)))
    }
}

impl Snapshot {
    /// The value of a record's metadata key, if it is one value.
    fn value_of(&self, at: RowRef, key: &str) -> Result<Option<ValueKey>> {
        let metadata = self.found(at, Include { metadata: true, ..Include::NONE })?.metadata;
        Ok(metadata.and_then(|mut metadata| metadata.0.remove(key)).and_then(ValueKey::of))
    }
}
