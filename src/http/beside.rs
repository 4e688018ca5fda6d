//! What a search of the native API asks beside its query: groups, diversity and examples.
//! Invariant: an option that a search cannot keep is refused by name.

use serde::Deserialize;
use serde::Serialize;

use super::error::ApiError;
use super::wire::{Component, SearchBody};
use crate::collection::request::{Diversity, Examples, GroupSize, LeafQuery, NearestOptions, RankedSearch};
use crate::config::Limits;
use crate::error::Error;
use crate::ranking::Better;
use crate::record::MetaValue;

/// Candidates of a diverse search unless told otherwise.
const DIVERSITY_CANDIDATES: usize = 100;

/// `group_by` of a search.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GroupingBody {
    key: Option<String>,
    groups: Option<usize>,
    records: Option<usize>,
}

/// `diversity` of a search.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DiversityBody {
    lambda: Option<Component>,
    candidates: Option<usize>,
}

/// A grouping of a search.
#[derive(Debug, Clone)]
pub(super) struct Grouping {
    pub(super) key: String,
    pub(super) groups: usize,
    pub(super) records: usize,
}

/// What a search asks for beside its query.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) group_by: Option<Grouping>,
    pub(super) search: RankedSearch,
    pub(super) examples: Option<LeafQuery>,
    /// Records that the search must rank at least, to choose of them.
    pub(super) candidates: Option<usize>,
}

impl SearchBody {
    /// Takes what is asked for beside the query.
    pub(super) fn take_beside(&mut self, limits: &Limits) -> Result<Beside, ApiError> {
        let most = limits.k;
        let group_by = self.group_by.take().map(|body| body.0.grouping(self.k, most)).transpose()?;
        let examples = self.take_examples()?;
        let averaged = examples.as_ref().is_some_and(|examples| examples.better() == Better::Smaller);
        let by_embedding = self.embedding.is_some() || averaged;
        let nearest = NearestOptions {
            max_distance: self.max_distance.take().map(|Component(distance)| distance),
            ef_search: self.ef_search.take(),
            exact: std::mem::take(&mut self.exact),
        };
        if nearest != NearestOptions::default() && !by_embedding {
            return Err(ApiError::invalid(
                "max_distance, ef_search and exact: expected an embedding or an average of examples beside them, got none",
            ));
        }
        let facets = self.facets.take().map(|facets| facets.0).unwrap_or_default();
        let diversity = self.diversity.take().map(|body| body.0);
        if group_by.is_some() && (diversity.is_some() || !facets.is_empty()) {
            return Err(ApiError::invalid(
                "group_by: expected neither diversity nor facets beside it, got one of them",
            ));
        }
        let mut candidates = (!facets.is_empty()).then(|| self.k.max(DIVERSITY_CANDIDATES));
        if let Some(wanted) = diversity.as_ref().map(|body| body.candidates.unwrap_or(DIVERSITY_CANDIDATES)) {
            if self.candidates.is_some() {
                return Err(ApiError::invalid("candidates: expected diversity.candidates instead, got both"));
            }
            if !(self.k..=1_000).contains(&wanted) {
                return Err(Error::limit(format!(
                    "diversity.candidates: expected from k, which is {}, to 1000, got {wanted}",
                    self.k
                ))
                .into());
            }
            candidates = Some(wanted);
        }
        let diversity = diversity.map(|body| Diversity { lambda: body.lambda.map_or(0.5, |Component(lambda)| lambda) });
        let search = RankedSearch { nearest, diversity, facets, ..RankedSearch::default() };
        Ok(Beside { group_by, search, examples, candidates })
    }

    fn take_examples(&mut self) -> Result<Option<LeafQuery>, ApiError> {
        let (like, unlike) = (self.like.take().map(|ids| ids.0), self.unlike.take().map(|ids| ids.0));
        if like.is_none() && unlike.is_none() {
            return match self.strategy {
                Some(_) => Err(ApiError::invalid("strategy: expected like or unlike beside it, got neither")),
                None => Ok(None),
            };
        }
        if self.embedding.is_some() {
            return Err(ApiError::invalid("expected embedding or like and unlike, got both"));
        }
        let (like, unlike) = (like.unwrap_or_default(), unlike.unwrap_or_default());
        let strategy = self.strategy.unwrap_or_default();
        let examples = Examples { like, unlike, strategy };
        if examples.like.is_empty() && (examples.unlike.is_empty() || strategy == Default::default()) {
            return Err(ApiError::invalid(
                "like: expected at least one id, got none; only the strategy \"best_score\" does with unlike alone",
            ));
        }
        Ok(Some(LeafQuery::Examples(examples)))
    }
}

impl GroupingBody {
    fn grouping(self, k: usize, most: usize) -> Result<Grouping, ApiError> {
        let Some(key) = self.key else {
            return Err(ApiError::invalid("group_by.key: expected a metadata key, got none"));
        };
        let (groups, records) = (self.groups.unwrap_or(k), self.records.unwrap_or(1));
        for (name, number) in [("groups", groups), ("records", records)] {
            if number == 0 {
                return Err(ApiError::invalid(format!("group_by.{name}: expected at least 1, got 0")));
            }
        }
        let all = groups.saturating_mul(records);
        if all > most {
            return Err(Error::limit(format!(
                "group_by: expected groups times records to be at most {most} (DRUMLIN_MAX_K), got {all}"
            ))
            .into());
        }
        Ok(Grouping { key, groups, records })
    }
}

/// Where the records of an answer begin a group.
#[derive(Debug)]
pub(super) struct GroupHeads {
    groups: std::vec::IntoIter<GroupSize>,
    /// The place at which the next group begins.
    next: usize,
}

/// The beginning of a group.
#[derive(Serialize)]
struct GroupHead {
    value: MetaValue,
}

impl GroupHeads {
    pub(super) fn new(groups: Vec<GroupSize>) -> GroupHeads {
        GroupHeads { groups: groups.into_iter(), next: 0 }
    }

    /// What is written before the record at `place`.
    pub(super) fn write(&mut self, place: usize, into: &mut Vec<u8>) -> Result<(), Error> {
        if place != self.next {
            into.push(b',');
            return Ok(());
        }
        let Some(group) = self.groups.next() else { return Ok(()) };
        self.next += group.records;
        into.extend_from_slice(if place == 0 { b"" } else { b"]}," });
        super::stream::append(into, &GroupHead { value: group.value })?;
        // The object goes on with its records.
        into.pop();
        into.extend_from_slice(br#","results":["#);
        Ok(())
    }
}
