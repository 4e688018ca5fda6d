//! The k best groups with n records each, of a whole collection: not the groups among its k best records. A search
//! with a limit sees only part of a collection, so this plans several and says what to search for next.
//! Invariant: the answer is exact if each search is. A group ranks by its best record. The best record outside of the
//! groups known so far belongs to the next best group; so a search that leaves these groups out finds at least one
//! more, in order, or there is none. What a group still lacks is found by a search within it.

use std::collections::HashMap;
use std::hash::Hash;

/// A group with its best records.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedGroup<K, G> {
    pub group: G,
    /// Best first, with their scores.
    pub records: Vec<(K, f32)>,
}

/// A search that has to be done next. A record that is in no group belongs to no answer: the filter of the searches
/// leaves it out.
#[derive(Debug, PartialEq)]
pub enum GroupRequest<'a, G> {
    /// The `limit` best records outside of these groups: hand them to [`BestGroups::found`].
    Outside { groups: Vec<&'a G>, limit: usize },
    /// The `limit` best records of this group: hand them to [`BestGroups::filled`].
    Within { group: &'a G, limit: usize },
}

/// A search for groups under way. Ask for the next request, do it, hand in what was found, until there is none. At
/// most `groups` + 1 searches outside, fewer if records of several groups come with each, and one within each group
/// that is not full by then.
#[derive(Debug)]
pub struct BestGroups<K, G> {
    groups: usize,
    records: usize,
    /// Groups of which all best records are known: fewer than wanted, and there are no more.
    found: Vec<RankedGroup<K, G>>,
    complete: Vec<bool>,
    places: HashMap<G, usize>,
    exhausted: bool,
    limit: usize,
}

impl<K: Copy, G: Clone + Eq + Hash> BestGroups<K, G> {
    /// A search for the `groups` best groups with `records` records each. The first search looks at `candidates`
    /// records (at least as many as groups are wanted), each following one at twice as many.
    pub fn new(groups: usize, records: usize, candidates: usize) -> BestGroups<K, G> {
        BestGroups {
            groups,
            records,
            found: Vec::new(),
            complete: Vec::new(),
            places: HashMap::new(),
            exhausted: groups == 0 || records == 0,
            limit: candidates.max(groups).max(1),
        }
    }

    /// What to search for next; `None` once the groups are complete.
    pub fn request(&self) -> Option<GroupRequest<'_, G>> {
        if !self.exhausted && self.found.len() < self.groups {
            let groups = self.found.iter().map(|found| &found.group).collect();
            return Some(GroupRequest::Outside { groups, limit: self.limit });
        }
        let unfilled = self.found.iter().zip(&self.complete).find(|(_, complete)| !**complete);
        unfilled.map(|(found, _)| GroupRequest::Within { group: &found.group, limit: self.records })
    }

    /// Takes the records of a search outside of the known groups, best first.
    pub fn found(&mut self, ranked: impl IntoIterator<Item = (K, f32, G)>) {
        let (known, mut seen) = (self.found.len(), 0);
        for (key, score, group) in ranked {
            seen += 1;
            let place = match self.places.get(&group) {
                Some(place) => *place,
                // Later records of the groups that are wanted still count.
                None if self.found.len() == self.groups => continue,
                None => {
                    self.places.insert(group.clone(), self.found.len());
                    self.found.push(RankedGroup { group, records: Vec::new() });
                    self.complete.push(false);
                    self.found.len() - 1
                }
            };
            if let Some(found) = self.found.get_mut(place)
                && found.records.len() < self.records
            {
                found.records.push((key, score));
            }
        }
        // A search that finds less than it may has found all records outside of the groups known before.
        let all = seen < self.limit;
        for (found, complete) in self.found.iter().zip(&mut self.complete).skip(known) {
            *complete = all || found.records.len() == self.records;
        }
        self.exhausted |= all;
        self.limit = self.limit.saturating_mul(2);
    }

    /// Takes the records of a search within the group that the last request named, best first.
    pub fn filled(&mut self, ranked: impl IntoIterator<Item = (K, f32)>) {
        let unfilled = self.found.iter_mut().zip(&mut self.complete).find(|(_, complete)| !**complete);
        if let Some((found, complete)) = unfilled {
            found.records = ranked.into_iter().take(self.records).collect();
            *complete = true;
        }
    }

    /// The groups, best first.
    pub fn into_groups(self) -> Vec<RankedGroup<K, G>> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Answers the requests from a whole ranked list; returns the groups and the number of searches.
    fn search(ranked: &[(u32, f32, u32)], mut best: BestGroups<u32, u32>) -> (Vec<RankedGroup<u32, u32>>, usize) {
        let mut searches = 0;
        while let Some(request) = best.request() {
            searches += 1;
            match request {
                GroupRequest::Outside { groups, limit } => {
                    let rows: Vec<_> = ranked.iter().filter(|row| !groups.contains(&&row.2)).copied().collect();
                    best.found(rows.into_iter().take(limit));
                }
                GroupRequest::Within { group, limit } => {
                    let rows: Vec<_> = ranked.iter().filter(|row| row.2 == *group).map(|r| (r.0, r.1)).collect();
                    best.filled(rows.into_iter().take(limit));
                }
            }
        }
        (best.into_groups(), searches)
    }

    #[test]
    fn the_groups_are_the_best_of_all_records_whatever_the_searches_saw() {
        let seed = 11;
        let mut random = StdRng::seed_from_u64(seed);
        for case in 0..3_000 {
            let (rows, different) = (random.random_range(0..60), random.random_range(1..12));
            // The first group has most records and the best ones.
            let group = |random: &mut StdRng| random.random_range(0..different) * u32::from(random.random_bool(0.4));
            let ranked: Vec<(u32, f32, u32)> = (0..rows).map(|i| (i, i as f32, group(&mut random))).collect();
            let (groups, records) = (random.random_range(0..6), random.random_range(0..4));
            let mut expected: Vec<RankedGroup<u32, u32>> = Vec::new();
            for (key, score, group) in ranked.iter().copied().filter(|_| records > 0) {
                match expected.iter_mut().find(|found| found.group == group) {
                    Some(found) => found.records.push((key, score)),
                    None => expected.push(RankedGroup { group, records: vec![(key, score)] }),
                }
            }
            expected.truncate(groups);
            expected.iter_mut().for_each(|found| found.records.truncate(records));
            let (found, searches) = search(&ranked, BestGroups::new(groups, records, random.random_range(0..8)));
            assert_eq!(found, expected, "seed {seed}, case {case}: {ranked:?}");
            assert!(searches <= 2 * groups + 1, "seed {seed}, case {case}: {searches} searches");
        }
    }

    #[test]
    fn a_group_that_crowds_out_all_others_costs_one_search_more() {
        let mut ranked: Vec<(u32, f32, u32)> = (0..10_000).map(|i| (i, i as f32, 0)).collect();
        ranked.extend((0..4).map(|i| (10_000 + i, 10_000.0 + i as f32, 1 + i)));
        let (found, searches) = search(&ranked, BestGroups::new(3, 2, 20));
        assert_eq!(found.iter().map(|found| found.group).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((found[0].records.len(), found[1].records.len(), searches), (2, 1, 2));
    }
}
