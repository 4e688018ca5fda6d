//! The memory of searches while they run. What a `$knn` finds is held whole until its rank is computed, and a rank's list
//! whole until it is grouped and cut, whatever the limits of pages are.
//! Invariant: it is reserved before the first search runs.

use super::super::super::App;
use crate::collection::handle::Collection;
use crate::collection::request::{Consistency, RankedSearch};
use crate::error::Result;
use crate::memory::Purpose;
use crate::store::room::Room;

/// Bytes of a record that one `$knn` finds: in its result, and in a value of the algebra.
const FOUND_BYTES: u64 = 64;
/// Bytes of a record in a ranked list, or on its page.
const RANKED_BYTES: u64 = 64;
/// Bytes of a record while a list is grouped, and of each key of it.
const GROUPED_BYTES: u64 = 64;
const KEY_BYTES: u64 = 48;
/// Bytes up to this number are not counted: those of ordinary searches.
const FREE_BYTES: u64 = 2 << 20;

/// Reserves memory for as many of the searches as run at once, the largest ones, and for the pages of all. A search that
/// lists without a rank holds no more than its page, which is only known once it has run.
pub(super) async fn room_for(app: &App, collection: &Collection, searches: &[RankedSearch]) -> Result<Room> {
    let count = collection.count(Consistency::Local).await?;
    let most = (app.settings.max_answer_records as u64).saturating_add(1);
    let mut of_searches: Vec<u64> = searches.iter().map(|search| bytes_of(search, count)).collect();
    of_searches.sort_unstable_by_key(|bytes| std::cmp::Reverse(*bytes));
    let at_once = of_searches.into_iter().take(collection.compute().search_threads());
    let pages = searches.iter().map(|search| RANKED_BYTES.saturating_mul(page_of(search, count).min(most)));
    let bytes = at_once.chain(pages).fold(0, u64::saturating_add);
    let mut room = app.store.room(Purpose::Answer);
    if bytes > FREE_BYTES {
        room.grow(bytes).await?;
    }
    Ok(room)
}

/// Records that a search may find, of a collection of `count`.
fn candidates(search: &RankedSearch, count: u64) -> u64 {
    search.ids.as_ref().map_or(count, |ids| count.min(ids.len() as u64))
}

/// Records that all `$knn` of a search find at most, one that several find as often.
fn found(search: &RankedSearch, count: u64) -> u64 {
    let candidates = candidates(search, count);
    let leaves = search.rank.iter().flat_map(|rank| &rank.leaves);
    leaves.map(|leaf| candidates.min(leaf.limit as u64)).fold(0, u64::saturating_add)
}

/// Records that a rank scores at most.
fn ranked(search: &RankedSearch, count: u64) -> u64 {
    found(search, count).min(candidates(search, count))
}

/// Records of the page of a rank.
fn page_of(search: &RankedSearch, count: u64) -> u64 {
    search.limit.map_or(u64::MAX, |limit| limit as u64).min(ranked(search, count))
}

/// Bytes that a rank takes while it is computed.
fn bytes_of(search: &RankedSearch, count: u64) -> u64 {
    let keys = search.group_by.as_ref().map(|by| (by.fields.len() + by.order.len()) as u64);
    let grouped = keys.map_or(0, |keys| GROUPED_BYTES + KEY_BYTES * keys);
    let found = found(search, count).saturating_mul(FOUND_BYTES);
    found.saturating_add(ranked(search, count).saturating_mul(RANKED_BYTES + grouped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::request::{Combination, LeafQuery, LeafSearch, Ranking};
    use crate::ranking::{Aggregate, Expression, GroupBy, GroupKey, Leaf, RankStep};

    fn search(limits: &[usize]) -> RankedSearch {
        let leaf = |limit: &usize| LeafSearch { query: LeafQuery::Embedding(vec![1.0]), limit: *limit };
        let steps = vec![RankStep::Leaf(Leaf { slot: 0, default: None, return_rank: false })];
        let expression = Expression::new(steps).unwrap();
        let rank =
            Ranking { combination: Combination::Expression(expression), leaves: limits.iter().map(leaf).collect() };
        RankedSearch { rank: Some(rank), limit: Some(1), ..RankedSearch::default() }
    }

    #[test]
    fn a_search_takes_what_its_knns_find_whatever_its_page_is() {
        assert_eq!(bytes_of(&RankedSearch::default(), 1_000), 0);
        assert_eq!(bytes_of(&search(&[16]), 1_000), 16 * (FOUND_BYTES + RANKED_BYTES));
        let many = search(&[u32::MAX as usize; 64]);
        assert_eq!(bytes_of(&many, 1_000), 1_000 * (64 * FOUND_BYTES + RANKED_BYTES));
        let of_ids = RankedSearch { ids: Some(vec!["a".into(), "b".into()]), ..search(&[u32::MAX as usize; 64]) };
        assert_eq!(bytes_of(&of_ids, 1_000), 2 * (64 * FOUND_BYTES + RANKED_BYTES));
        let (fields, order) = (vec!["a".to_owned(), "b".to_owned()], vec![GroupKey::Score]);
        let group_by = Some(GroupBy { fields, aggregate: Aggregate::MinK, order, k: 1 });
        let grouped = RankedSearch { group_by, ..search(&[16]) };
        assert_eq!(bytes_of(&grouped, 1_000) - bytes_of(&search(&[16]), 1_000), 16 * (GROUPED_BYTES + 3 * KEY_BYTES));
        assert_eq!((page_of(&many, 1_000), page_of(&RankedSearch::default(), 1_000)), (1, 0));
        assert_eq!(bytes_of(&search(&[usize::MAX; 64]), u64::MAX), u64::MAX, "an absurd count overflows nothing");
    }
}
