//! The kinds of calls to a bucket, for counting, and how long one may take. Invariant: every call is of one kind.

use std::time::Duration;

use super::PutCondition;

/// An attempt gets `SLOW_LINK_TIME` more for each `SLOW_LINK_BYTES` of its body.
const SLOW_LINK_BYTES: u64 = 64 << 20;
const SLOW_LINK_TIME: Duration = Duration::from_secs(60);

/// The kinds of calls to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// A read of an object or of a range of it.
    Get,
    /// An unconditional write, large ones included.
    Put,
    /// A write under the condition that the key is absent (P1).
    Create,
    /// A write under the condition of a tag (P2).
    Swap,
    /// A copy inside the store.
    Copy,
    /// One page of a listing.
    List,
    /// A delete of one or more keys.
    Delete,
}

impl Op {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Op; 7] = [Op::Get, Op::Put, Op::Create, Op::Swap, Op::Copy, Op::List, Op::Delete];

    /// The kind's name, for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Get => "get",
            Op::Put => "put",
            Op::Create => "create",
            Op::Swap => "swap",
            Op::Copy => "copy",
            Op::List => "list",
            Op::Delete => "delete",
        }
    }

    /// Which way the kind goes.
    pub const fn direction(self) -> Direction {
        match self {
            Op::Get | Op::List => Direction::Reads,
            Op::Put | Op::Create | Op::Swap | Op::Copy => Direction::Writes,
            Op::Delete => Direction::Deletes,
        }
    }

    /// The kind of a put under `condition`.
    pub fn of_put(condition: &PutCondition) -> Op {
        match condition {
            PutCondition::Always => Op::Put,
            PutCondition::IfAbsent => Op::Create,
            PutCondition::IfMatch(_) => Op::Swap,
        }
    }
}

/// Which way a call goes. A bucket may allow one way and not another: a full disk, a missing right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Gets and listings.
    Reads,
    /// Puts and copies.
    Writes,
    /// Deletes.
    Deletes,
}

impl Direction {
    /// All directions, in the order of their numbers.
    pub const ALL: [Direction; 3] = [Direction::Reads, Direction::Writes, Direction::Deletes];

    /// The direction's name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Reads => "reads",
            Direction::Writes => "writes",
            Direction::Deletes => "deletes",
        }
    }
}

/// `timeout`, plus time for a body that may come over a slow link.
pub fn attempt_limit(timeout: Duration, body_bytes: u64) -> Duration {
    timeout.saturating_add(SLOW_LINK_TIME.mul_f64(body_bytes as f64 / SLOW_LINK_BYTES as f64))
}
