//! Rule A (docs/protocol.md#rule-a): which answers about a log slot may be believed. A slot can be recycled only long
//! after its number fell below `gone`. An answer therefore counts in two cases. It came within a lease of a HEAD read
//! that showed the slot still ahead of the floor. Or a HEAD read *issued after the answer* shows that the slot was
//! never let go.
//! Invariant: the anchor moves only by HEAD reads that show a live stream and a floor ≤ the next slot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::bucket::StoreTime;
use crate::format::head::Life;
use crate::head::HeadRead;
use crate::record::Version;

/// A moment in the order in which this instance sends requests and receives answers. Not a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestMoment(u64);

/// Hands out moments.
#[derive(Debug, Default)]
pub struct Moments(AtomicU64);

impl Moments {
    /// A moment after all earlier ones.
    pub fn next(&self) -> RequestMoment {
        RequestMoment(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// What a HEAD read proved.
#[derive(Debug, Clone, Copy)]
struct Proof {
    issued: RequestMoment,
    live: bool,
    gone: Version,
}

/// The anchor A of one stream in one instance.
#[derive(Debug, Default)]
pub struct Anchor {
    time: Option<StoreTime>,
    proof: Option<Proof>,
}

impl Anchor {
    /// Takes in a HEAD read that was issued at `issued`, while `next` is the next slot.
    pub fn observe(&mut self, read: &HeadRead, issued: RequestMoment, next: Version) {
        let live = read.head.state == Life::Live;
        self.proof = Some(Proof { issued, live, gone: read.head.gone });
        if live && read.head.floor <= next {
            self.time = read.date;
        }
    }

    /// Whether an answer of store time `date` counts without a read of HEAD.
    pub fn within_lease(&self, date: Option<StoreTime>, lease: Duration) -> bool {
        match (date, self.time) {
            (Some(date), Some(anchor)) => date.since_ms(anchor).unsigned_abs() as u128 <= lease.as_millis(),
            _ => false,
        }
    }

    /// Whether a HEAD read issued after `answered` has already shown that `slot` was never let go.
    pub fn proven(&self, slot: Version, answered: RequestMoment) -> bool {
        self.proof.is_some_and(|p| p.issued > answered && p.live && p.gone <= slot)
    }

    /// Whether to read HEAD beside the next put, so that the put's answer falls into the lease.
    pub fn wants_refresh(&self, last_answer: Option<StoreTime>, lease: Duration) -> bool {
        !self.within_lease(last_answer, lease / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::StreamConfig;
    use crate::format::head::Head;

    const LEASE: Duration = Duration::from_secs(600);

    fn read(date_ms: i64, change: impl FnOnce(&mut Head)) -> HeadRead {
        let mut head = Head::new("catalog".to_owned(), StreamConfig::default());
        change(&mut head);
        HeadRead { head, etag: String::new(), date: Some(StoreTime(date_ms)), last_modified: None }
    }

    #[test]
    fn an_answer_counts_within_a_lease_of_the_anchor_and_not_beyond() {
        let moments = Moments::default();
        let mut anchor = Anchor::default();
        assert!(!anchor.within_lease(Some(StoreTime(0)), LEASE));
        anchor.observe(&read(1_000, |_| ()), moments.next(), Version(1));
        assert!(anchor.within_lease(Some(StoreTime(601_000)), LEASE));
        assert!(!anchor.within_lease(Some(StoreTime(601_001)), LEASE));
        assert!(!anchor.within_lease(Some(StoreTime(-599_001)), LEASE), "a clock that stepped back counts too");
        assert!(!anchor.within_lease(None, LEASE), "an answer without a date is never within the lease");
    }

    #[test]
    fn the_anchor_does_not_move_by_a_head_whose_floor_is_past_the_next_slot_or_that_is_dropped() {
        let moments = Moments::default();
        let mut anchor = Anchor::default();
        anchor.observe(&read(0, |h| h.floor = Version(9)), moments.next(), Version(8));
        assert!(!anchor.within_lease(Some(StoreTime(0)), LEASE));
        anchor.observe(&read(0, |h| h.state = Life::Dropped), moments.next(), Version(8));
        assert!(!anchor.within_lease(Some(StoreTime(0)), LEASE));
        anchor.observe(&read(0, |h| h.floor = Version(8)), moments.next(), Version(8));
        assert!(anchor.within_lease(Some(StoreTime(0)), LEASE));
    }

    #[test]
    fn only_a_head_read_issued_after_the_answer_proves_a_slot() {
        let moments = Moments::default();
        let mut anchor = Anchor::default();
        let before = moments.next();
        let answered = moments.next();
        let head = read(0, |h| (h.floor, h.gone) = (Version(5), Version(5)));
        anchor.observe(&head, before, Version(5));
        assert!(!anchor.proven(Version(5), answered));
        anchor.observe(&head, moments.next(), Version(5));
        assert!(anchor.proven(Version(5), answered));
        assert!(!anchor.proven(Version(4), answered), "slot 4 is below gone");
    }
}
