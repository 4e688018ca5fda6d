//! `group_by` of a search: decoded, and checked with Chroma's sentences.
//! Invariant: a grouping that is checked has keys, an aggregate with keys, neither too many, and a rank to group.

use std::collections::HashSet;

use serde::Deserialize;

use super::super::super::bounded::{Keys, List};
use super::super::error::ChromaError;
use super::select::{PREDEFINED, SCORE};
use crate::ranking::{Aggregate, GroupBy, GroupKey};

/// Keys of a grouping, and keys of its aggregate, at most: each of them is kept for every ranked record.
const MOST_KEYS: usize = 16;

/// `group_by` of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object with keys and aggregate")]
pub(super) struct GroupByBody {
    #[serde(default)]
    keys: List<String, Keys>,
    #[serde(default)]
    aggregate: Option<AggregateBody>,
}

#[derive(Debug, Deserialize)]
enum AggregateBody {
    #[serde(rename = "$max_k")]
    MaxK(AggregateKeys),
    #[serde(rename = "$min_k")]
    MinK(AggregateKeys),
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with keys and k")]
struct AggregateKeys {
    keys: List<String, Keys>,
    k: u32,
}

impl GroupByBody {
    /// The grouping, if the search has one. `place` is the search's in the body; `ranked`: whether it has a rank.
    pub(super) fn read(self, place: &str, ranked: bool) -> Result<Option<GroupBy>, ChromaError> {
        let refused = |fault: &str| Err(ChromaError::validation(&[format!("{place}.group_by: {fault}")]));
        let mut fields = self.keys.0;
        let (aggregate, mut order) = match (self.aggregate, fields.is_empty()) {
            (None, true) => return Ok(None),
            (Some(AggregateBody::MinK(order)), false) => (Aggregate::MinK, order),
            (Some(AggregateBody::MaxK(order)), false) => (Aggregate::MaxK, order),
            _ => return refused("group_by keys and aggregate must both be specified or both be omitted"),
        };
        if let Some(key) = fields.iter().find(|key| PREDEFINED.contains(&key.as_str())) {
            return refused(&format!("group_by keys must be metadata fields, got {key}"));
        }
        if order.keys.0.is_empty() {
            return refused("aggregate keys must not be empty");
        }
        for (what, got) in [("group_by keys", fields.len()), ("aggregate keys", order.keys.0.len())] {
            if got > MOST_KEYS {
                return refused(&format!("{what}: expected at most {MOST_KEYS}, got {got}"));
            }
        }
        if order.k == 0 {
            return refused("aggregate k must be greater than 0");
        }
        let other = |key: &&String| *key != SCORE && PREDEFINED.contains(&key.as_str());
        if let Some(key) = order.keys.0.iter().find(other) {
            return refused(&format!("aggregate keys must be metadata fields or #score, got {key}"));
        }
        if !ranked {
            let fault = format!("{place}.__all__: group_by requires rank expression to be specified");
            return Err(ChromaError::validation(&[fault]));
        }
        keep_first(&mut fields);
        keep_first(&mut order.keys.0);
        let key = |key: String| if key == SCORE { GroupKey::Score } else { GroupKey::Field(key) };
        let k = order.k as usize;
        Ok(Some(GroupBy { fields, aggregate, order: order.keys.0.into_iter().map(key).collect(), k }))
    }
}

/// Leaves the first of equal keys: a repetition decides nothing, and would hold each record's value once more.
fn keep_first(keys: &mut Vec<String>) {
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
}
