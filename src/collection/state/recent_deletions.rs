//! The ids that recent commits deleted, each with the last such commit. A live record's address tells when it was
//! written last; of a deleted one the snapshot keeps nothing, and a transaction must know that it was deleted.
//! Invariants: every deletion by a commit after [`RecentDeletions::complete_after`] is here; at most [`MOST`] are kept.

use std::collections::{HashMap, VecDeque};

use super::id_table::IdHasher;
use crate::format::{RowOp, Rows};
use crate::record::Version;

/// The most deletions that are kept.
const MOST: usize = 16_384;
/// Bytes of one, in the queue and in the map.
const ENTRY_BYTES: usize = 40;

/// Deletions since a version.
#[derive(Debug)]
pub struct RecentDeletions {
    hasher: IdHasher,
    /// By the id's hash. Two ids with one hash count as one, which costs a transaction another try.
    last: HashMap<u64, Version>,
    /// Oldest first.
    order: VecDeque<(u64, Version)>,
    complete_after: Version,
}

impl RecentDeletions {
    /// Nothing is known of the commits up to this one.
    pub fn after(version: Version) -> RecentDeletions {
        RecentDeletions {
            hasher: IdHasher::new(rand::random()),
            last: HashMap::new(),
            order: VecDeque::new(),
            complete_after: version,
        }
    }

    /// Takes in the rows of a commit.
    pub fn note(&mut self, version: Version, rows: &Rows) {
        for row in (0..rows.len()).filter(|row| rows.ops[*row] == RowOp::Delete) {
            let hash = self.hasher.hash(rows.id(row));
            if self.order.len() == MOST
                && let Some((oldest, at)) = self.order.pop_front()
            {
                self.complete_after = at;
                if self.last.get(&oldest) == Some(&at) {
                    self.last.remove(&oldest);
                }
            }
            self.last.insert(hash, version);
            self.order.push_back((hash, version));
        }
    }

    /// The last deletion of this id that is known.
    pub fn of(&self, id: &str) -> Option<Version> {
        self.last.get(&self.hasher.hash(id)).copied()
    }

    /// The version after which every deletion is known.
    pub fn complete_after(&self) -> Version {
        self.complete_after
    }

    /// Bytes that they take.
    pub fn size_bytes(&self) -> u64 {
        (self.order.capacity() * ENTRY_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::replay::Replay;
    use crate::record::{Metric, Record};

    /// A commit that deletes these ids, as the format reads it back.
    fn deletes(ids: &[String]) -> Rows {
        let mut replay = Replay::new(Metric::L2);
        replay.add(ids.iter().map(|id| Record::new(id.clone(), vec![1.0])));
        replay.delete(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        replay.commits.pop().unwrap().rows
    }

    #[test]
    fn the_last_deletion_of_an_id_counts_and_puts_do_not() {
        let mut recent = RecentDeletions::after(Version(4));
        recent.note(Version(5), &deletes(&["a".to_owned(), "b".to_owned()]));
        recent.note(Version(7), &deletes(&["b".to_owned()]));
        let mut puts = Replay::new(Metric::L2);
        puts.add([Record::new("c", vec![1.0])]);
        recent.note(Version(8), &puts.commits[0].rows);
        assert_eq!(["a", "b", "c"].map(|id| recent.of(id)), [Some(Version(5)), Some(Version(7)), None]);
        assert_eq!(recent.complete_after(), Version(4));
    }

    #[test]
    fn the_oldest_are_forgotten_and_what_is_complete_moves_with_them() {
        let ids: Vec<String> = (0..MOST / 4).map(|n| format!("r{n}")).collect();
        let rows = deletes(&ids);
        let mut recent = RecentDeletions::after(Version(0));
        (1..=4).for_each(|version| recent.note(Version(version), &rows));
        assert_eq!((recent.complete_after(), recent.of("r0")), (Version(0), Some(Version(4))));
        recent.note(Version(5), &deletes(&["x".to_owned()]));
        assert_eq!(
            (recent.complete_after(), recent.of("r0"), recent.of("x")),
            (Version(1), Some(Version(4)), Some(Version(5)))
        );
        (6..=9).for_each(|version| recent.note(Version(version), &rows));
        assert_eq!((recent.complete_after(), recent.of("x"), recent.order.len()), (Version(5), None, MOST));
    }
}
