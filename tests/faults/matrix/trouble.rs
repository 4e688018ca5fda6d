//! The ways in which a call to the bucket fails, and which of them differ from each other at which call.

use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::fault::{Call, Fault, Wrong};

use super::script::KEEP;

/// A way in which a call fails, alone or as the first of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    Refused,
    LostBefore,
    LostAfter,
    HangsUnapplied,
    HangsApplied,
    SlowPastTheLease,
    SlowPastKeep,
    LandsAtOnceLate,
    LandsAfterTheDeadline,
    LandsAfterKeep,
    DiesUnapplied,
    DiesApplied,
    OutageRefusing,
    OutageBefore,
    OutageAfter,
    /// A read brings wrong bytes once.
    Wrong(Wrong),
    /// A read finds nothing once, though the object is there.
    Missing,
    /// An upload or a copy is reported done once, though nothing was stored.
    Phantom,
    /// For a while every read brings wrong bytes, and no write is answered by the store.
    OutageWrong(Wrong),
}

impl Trouble {
    /// The ways that differ from each other at this call. A read that is lost is the same whether it
    /// reached the bucket or not.
    pub fn at(call: &Call) -> Vec<Trouble> {
        let mut ways = if reads(call) { READ.to_vec() } else { WRITE.to_vec() };
        match call.op {
            Op::Get => {
                ways.extend(Wrong::ALL.map(Trouble::Wrong));
                ways.extend([Wrong::Page, Wrong::Cut].map(Trouble::OutageWrong));
                // That the next slot of a log is free can only be told by the store: nothing contradicts it.
                if !call.key.contains("/log/") {
                    ways.push(Trouble::Missing);
                }
            }
            Op::List => ways.extend([Trouble::Wrong(Wrong::Empty), Trouble::OutageWrong(Wrong::Page)]),
            // A commit that is reported done with all that proves it cannot be doubted.
            Op::Put | Op::Copy => ways.extend([Trouble::Phantom, Trouble::OutageWrong(Wrong::Page)]),
            Op::Create | Op::Swap | Op::Delete => ways.push(Trouble::OutageWrong(Wrong::Page)),
        }
        ways
    }

    pub fn fault(self) -> Fault {
        let keep_ms = KEEP.as_millis() as u64;
        match self {
            Trouble::Refused | Trouble::OutageRefusing => Fault::RefuseBefore,
            Trouble::LostBefore | Trouble::OutageBefore => Fault::UnknownBefore,
            Trouble::LostAfter | Trouble::OutageAfter => Fault::UnknownAfter,
            Trouble::HangsUnapplied => Fault::Hang { applied: false },
            Trouble::HangsApplied => Fault::Hang { applied: true },
            Trouble::SlowPastTheLease => Fault::SlowMs(3_000),
            Trouble::SlowPastKeep => Fault::SlowMs(keep_ms + 5_000),
            Trouble::LandsAtOnceLate => Fault::AppliedLateMs(20),
            Trouble::LandsAfterTheDeadline => Fault::AppliedLateMs(7_000),
            Trouble::LandsAfterKeep => Fault::AppliedLateMs(2 * keep_ms + 30_000),
            Trouble::DiesUnapplied => Fault::Die { applied: false },
            Trouble::DiesApplied => Fault::Die { applied: true },
            Trouble::Wrong(wrong) | Trouble::OutageWrong(wrong) => Fault::Wrong(wrong),
            Trouble::Missing => Fault::Missing,
            Trouble::Phantom => Fault::Phantom,
        }
    }

    /// Whether all later calls fail too, until the outage is over.
    pub fn lasts(self) -> bool {
        use Trouble::{OutageAfter, OutageBefore, OutageRefusing, OutageWrong};
        matches!(self, OutageRefusing | OutageBefore | OutageAfter | OutageWrong(_))
    }

    /// Whether the process dies of it.
    pub fn kills(self) -> bool {
        matches!(self, Trouble::DiesUnapplied | Trouble::DiesApplied)
    }

    /// Its number, by which cases are sampled.
    pub fn number(self) -> usize {
        match self {
            Trouble::Wrong(wrong) => 20 + wrong as usize,
            Trouble::Missing => 24,
            Trouble::Phantom => 25,
            Trouble::OutageWrong(wrong) => 26 + wrong as usize,
            other => WRITE.iter().position(|way| *way == other).unwrap_or_default(),
        }
    }
}

const READ: &[Trouble] = &[
    Trouble::Refused,
    Trouble::LostBefore,
    Trouble::HangsUnapplied,
    Trouble::SlowPastKeep,
    Trouble::DiesUnapplied,
    Trouble::OutageRefusing,
    Trouble::OutageBefore,
];

const WRITE: &[Trouble] = &[
    Trouble::Refused,
    Trouble::LostBefore,
    Trouble::LostAfter,
    Trouble::HangsUnapplied,
    Trouble::HangsApplied,
    Trouble::SlowPastTheLease,
    Trouble::SlowPastKeep,
    Trouble::LandsAtOnceLate,
    Trouble::LandsAfterTheDeadline,
    Trouble::LandsAfterKeep,
    Trouble::DiesUnapplied,
    Trouble::DiesApplied,
    Trouble::OutageRefusing,
    Trouble::OutageBefore,
    Trouble::OutageAfter,
];

/// Whether a call changes nothing.
pub fn reads(call: &Call) -> bool {
    matches!(call.op, Op::Get | Op::List)
}
