//! The body of a search request, and the searches that it comes to.
//! Invariant: whatever has another shape is refused while it is decoded (422, or 400 where the JSON is at fault); what
//! a [`Search`] holds was checked against its collection.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

use super::super::super::body::bodies;
use super::super::super::bounded::{List, Searches, Tree};
use super::super::error::ChromaError;
use super::super::reads::ReadLevel;
use super::group_by::GroupByBody;
use super::knn::Searchable;
use super::rank::{Rank, RankBody};
use super::select::{SelectBody, SelectedKeys};
use crate::filter::{Clause, Filter};
use crate::ranking::GroupBy;

/// `POST …/search`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "struct SearchRequestPayload")]
pub(in crate::http::chroma) struct SearchRequest {
    pub(super) searches: List<ChromaSearchBody, Searches>,
    #[serde(default, rename = "read_level")]
    _read_level: ReadLevel,
}

bodies! { Query: SearchRequest; }

/// One search of a request.
#[derive(Debug, Deserialize)]
#[serde(expecting = "struct SearchPayload")]
pub(super) struct ChromaSearchBody {
    #[serde(default)]
    filter: Option<FilterBody>,
    #[serde(default)]
    rank: Option<RankBody>,
    #[serde(default)]
    group_by: GroupByBody,
    #[serde(default)]
    limit: LimitBody,
    #[serde(default)]
    select: SelectBody,
}

#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object with offset and limit")]
struct LimitBody {
    #[serde(default)]
    offset: u32,
    #[serde(default)]
    limit: Option<u32>,
}

/// A filter, with the clause that it was read from. `{}` is none.
#[derive(Debug)]
struct FilterBody(Option<(Filter, Value)>);

impl<'de> Deserialize<'de> for FilterBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FilterBody, D::Error> {
        let clause = Tree::deserialize(deserializer)?.0;
        if clause.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(FilterBody(None));
        }
        match Filter::parse_where_with_ids(&clause) {
            Ok(filter) => Ok(FilterBody(Some((filter, clause)))),
            Err(error) if error.clause == Clause::Regex => {
                Err(D::Error::custom(format_args!("Regex syntax errror: {}", error.message)))
            }
            Err(error) => Err(D::Error::custom(format_args!("Invalid where clause: {}", error.message))),
        }
    }
}

/// A search that can be answered.
#[derive(Debug)]
pub(super) struct Search {
    /// Ids of which every match has one, where the filter says so.
    pub(super) ids: Option<Vec<String>>,
    pub(super) filter: Option<Filter>,
    pub(super) rank: Option<Rank>,
    pub(super) group_by: Option<GroupBy>,
    pub(super) offset: usize,
    /// `None`: all records.
    pub(super) limit: Option<usize>,
    pub(super) select: SelectedKeys,
}

impl ChromaSearchBody {
    /// Checks the contents of the search at this place in the request. `check_filter` refuses clauses on what the
    /// collection's schema does not index.
    pub(super) fn read(
        self,
        number: usize,
        searchable: &impl Searchable,
        check_filter: impl FnOnce(&Value) -> Result<(), ChromaError>,
    ) -> Result<Search, ChromaError> {
        let place = format!("searches[{number}]");
        let group_by = self.group_by.read(&place, self.rank.is_some())?;
        let rank = self.rank.map(|rank| rank.read(&format!("{place}.rank"), searchable)).transpose()?;
        let (ids, filter) = match self.filter.and_then(|filter| filter.0) {
            Some((filter, clause)) => {
                check_filter(&clause)?;
                filter.split_ids()
            }
            None => (None, None),
        };
        let (offset, limit) = (self.limit.offset as usize, self.limit.limit.map(|limit| limit as usize));
        Ok(Search { ids, filter, rank, group_by, offset, limit, select: self.select.into() })
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod body_tests;
