//! The kinds of calls to a bucket, for counting. Invariant: every call is of one kind.

use super::PutCondition;

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

    /// The kind of a put under `condition`.
    pub fn of_put(condition: &PutCondition) -> Op {
        match condition {
            PutCondition::Always => Op::Put,
            PutCondition::IfAbsent => Op::Create,
            PutCondition::IfMatch(_) => Op::Swap,
        }
    }
}
