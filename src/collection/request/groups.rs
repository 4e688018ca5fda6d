//! A search for the best groups of records, as a caller asks for it, and what it says of each group.
//! Invariant: a group is what a filter calls equal, so that each group can be searched by its value.

use super::RankedSearch;
use crate::record::MetaValue;

/// Finds the groups with the best records, and the best records of each. The groups are those of all records that
/// match, not those among the best few records. Records of one group have the same value of a metadata key: a string,
/// a number or a boolean. Records without one belong to no group, and are left out.
///
/// A fusion ranks candidates only. Its groups are those of its candidates; there are twice as many candidates as long
/// as they belong to too few groups.
#[derive(Debug)]
pub struct GroupedSearch {
    /// What the records are ranked by, and which of them. Its offset, its limit and its own grouping are not used.
    pub search: RankedSearch,
    /// The metadata key.
    pub key: String,
    /// How many groups to return.
    pub groups: usize,
    /// How many records of each.
    pub records: usize,
}

/// A group of an answer: its records follow those of the group before.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSize {
    /// The value that its records have.
    pub value: MetaValue,
    /// How many of its records are in the answer.
    pub records: usize,
}
