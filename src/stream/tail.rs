//! The tail of a stream: the commits from the floor on, kept as their bytes in the log until a flush has put them into
//! a segment. Invariant: versions are consecutive.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use crate::format::Chain;
use crate::memory::Account;
use crate::record::Version;

/// One commit of the tail.
#[derive(Debug, Clone)]
pub struct TailCommit {
    /// Its number.
    pub version: Version,
    /// The whole object.
    pub bytes: Bytes,
    /// Its chain link.
    pub link: Chain,
    /// When it was applied here.
    pub applied: Instant,
}

/// The commits that no segment holds yet, as far as this instance knows.
#[derive(Debug)]
pub struct Tail {
    commits: VecDeque<TailCommit>,
    size_bytes: u64,
    account: Account,
}

impl Tail {
    /// An empty tail, whose bytes are counted in `account`.
    pub fn new(account: Account) -> Tail {
        Tail { commits: VecDeque::new(), size_bytes: 0, account }
    }

    /// Adds the newest commit.
    pub fn push(&mut self, version: Version, bytes: Bytes, link: Chain) {
        debug_assert!(self.commits.back().is_none_or(|c| c.version.next() == version), "the tail has no gaps");
        self.size_bytes += bytes.len() as u64;
        self.commits.push_back(TailCommit { version, bytes, link, applied: Instant::now() });
        self.account.set(self.size_bytes, 0);
    }

    /// Forgets commits below `floor`.
    pub fn trim(&mut self, floor: Version) {
        while self.commits.front().is_some_and(|c| c.version < floor) {
            if let Some(gone) = self.commits.pop_front() {
                self.size_bytes -= gone.bytes.len() as u64;
            }
        }
        self.account.set(self.size_bytes, 0);
    }

    /// Forgets all commits: the stream is closed, and the next opening reads them from the log.
    pub fn clear(&mut self) {
        self.commits = VecDeque::new();
        self.size_bytes = 0;
        self.account.set(0, 0);
    }

    /// Commits in the tail.
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// Their bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The oldest of them.
    pub fn first(&self) -> Option<Version> {
        self.commits.front().map(|c| c.version)
    }

    /// Bytes of the oldest of them.
    pub fn first_bytes(&self) -> u64 {
        self.commits.front().map_or(0, |c| c.bytes.len() as u64)
    }

    /// When the oldest of them was applied here.
    pub fn oldest(&self) -> Option<Instant> {
        self.commits.front().map(|c| c.applied)
    }

    /// The commits from `floor` to `last`, if the tail holds exactly these.
    pub fn range(&self, floor: Version, last: Version) -> Option<Vec<TailCommit>> {
        let taken: Vec<TailCommit> =
            self.commits.iter().filter(|c| c.version >= floor && c.version <= last).cloned().collect();
        let whole =
            taken.first().is_some_and(|c| c.version == floor) && taken.last().is_some_and(|c| c.version == last);
        whole.then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Checksum, Nonce};
    use crate::memory::Budget;

    #[test]
    fn a_tail_hands_out_only_whole_ranges_and_counts_what_it_holds() {
        let budget = Budget::new(None);
        let mut tail = Tail::new(budget.account());
        let link = Chain { nonce: Nonce(1), xxh3: Checksum(2) };
        for version in 5..=9 {
            tail.push(Version(version), Bytes::from(vec![0; version as usize]), link);
        }
        assert_eq!((tail.len(), tail.size_bytes(), budget.held_bytes()), (5, 35, 35));
        let versions = |lo, hi| tail.range(Version(lo), Version(hi)).map(|r| r.iter().map(|c| c.version.0).collect());
        assert_eq!(versions(6, 8), Some(vec![6, 7, 8]));
        assert_eq!(versions(4, 8), None);
        assert_eq!(versions(6, 10), None);
        tail.trim(Version(8));
        assert_eq!((tail.len(), tail.size_bytes(), budget.held_bytes()), (2, 17, 17));
        tail.clear();
        assert_eq!((tail.len(), tail.size_bytes(), budget.held_bytes()), (0, 0, 0));
    }
}
