//! The memory budget: sums of what is held and of what is reserved for work in progress, against one limit.
//! Invariant: what can be refused is reserved only within the limit, or within the shares that answers and bodies of
//! reads always have, whatever else is in use. What cannot be refused (commits of other instances, work that cannot
//! wait) is counted even beyond the limit, and [`Budget::is_over`] shows that it is passed.

mod cgroup;
mod system;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use self::system::resident_bytes;
use crate::error::{Error, ErrorKind};

/// The resident size is read at most this often: reading it takes some 10 µs.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Freed memory is given back to the system at most this often: the allocator walks through all that was freed.
const TRIM_INTERVAL: Duration = Duration::from_millis(500);
/// Divisors of the limit: the share of bodies of reads, and the share of answers (`PART_FOR_ANSWERS`). The rest is
/// for writes and for the server's own work.
const PART_FOR_READS: u64 = 4;
const PART_FOR_ANSWERS: u64 = 8;
/// The divisor for the share that bodies of reads and deletes always have, whatever else is in use. A full server
/// must still serve reads, and deletes free memory.
const PART_ALWAYS_FOR_READS: u64 = 16;
/// Writes may fill the limit except for one part in this many, which is kept for graphs, merges and loads.
const KEPT_FROM_WRITES: u64 = 8;

/// A limit of memory, and what counts against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The limit in bytes.
    pub bytes: u64,
    /// Whether the whole process counts, as the system sees it, or only what this store holds. A server's process
    /// belongs to the store; a program that uses the library may hold much else.
    pub whole_process: bool,
}

/// The reserve within a container's limit: one part in `RESERVE_PART`, at least `RESERVE_BYTES`. It is for memory
/// that the system counts beside the resident size, and for short-lived copies without a reservation.
const RESERVE_PART: u64 = 16;
const RESERVE_BYTES: u64 = 64 << 20;

/// The part of a machine's memory that a server may use if nothing sets a limit: numerator and denominator.
const MACHINE_PARTS: (u64, u64) = (3, 4);

/// The setting of the limit, which every refusal names.
pub const MEMORY_LIMIT: &str = "memory_limit";

impl MemoryLimit {
    /// The limit that the container sets for this process, less a reserve; `None` if it sets none.
    pub fn of_container() -> Option<MemoryLimit> {
        cgroup::limit_bytes().map(MemoryLimit::within)
    }

    /// A share of the machine's memory, for a process that no container limits: the rest is for everything else on
    /// the machine. `None` if the system does not state its memory.
    pub fn of_machine() -> Option<MemoryLimit> {
        let share = system::machine_bytes()? / MACHINE_PARTS.1 * MACHINE_PARTS.0;
        Some(MemoryLimit { bytes: share, whole_process: true })
    }

    /// All of a container of `container` bytes except a reserve.
    pub fn within(container: u64) -> MemoryLimit {
        // In a tiny container the reserve is at most a quarter.
        let reserve = (container / RESERVE_PART).max(RESERVE_BYTES).min(container / 4);
        MemoryLimit { bytes: container - reserve, whole_process: true }
    }
}

/// The purpose of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A write, whose memory stays in use.
    Write,
    /// Loads, builds and merges, and bodies of writes in transit.
    Work,
    /// Bodies of reads and deletes in transit. Together they have a share that they cannot exceed, and a smaller one
    /// that nothing else takes from them. Only the server has such bodies.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    Read,
    /// Answers in transit. They have a share of their own, whatever else is in use: a full server must still serve
    /// reads.
    Answer,
}

/// The sums of memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    /// Held by collections, tails and the like.
    held: u64,
    /// Needed later by graphs that are still to be built for held records.
    owed: u64,
    /// Reserved for work in progress.
    reserved: u64,
    /// The parts of `reserved`: bodies of reads, answers, and everything else.
    reads: u64,
    answers: u64,
    others: u64,
}

impl Sums {
    fn reserve(&mut self, bytes: u64, purpose: Purpose) {
        let part = self.part(purpose);
        *part = part.saturating_add(bytes);
        self.reserved = self.reserved.saturating_add(bytes);
    }

    fn release(&mut self, bytes: u64, purpose: Purpose) {
        let part = self.part(purpose);
        *part = part.saturating_sub(bytes);
        self.reserved = self.reserved.saturating_sub(bytes);
    }

    /// The part of `reserved` for a purpose.
    fn part(&mut self, purpose: Purpose) -> &mut u64 {
        match purpose {
            Purpose::Read => &mut self.reads,
            Purpose::Answer => &mut self.answers,
            Purpose::Write | Purpose::Work => &mut self.others,
        }
    }
}

#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    bytes: u64,
}

/// The memory of one store.
#[derive(Debug)]
pub struct Budget {
    limit: Option<MemoryLimit>,
    sums: Mutex<Sums>,
    look: Mutex<Look>,
    trimmed: Mutex<Option<Instant>>,
    refusals: AtomicU64,
}

impl Budget {
    /// A budget of `limit`; with `None` it only counts.
    pub fn new(limit: Option<MemoryLimit>) -> Arc<Budget> {
        if limit.is_some_and(|limit| limit.whole_process) {
            system::return_what_is_freed();
        }
        Arc::new(Budget {
            limit,
            sums: Mutex::default(),
            look: Mutex::default(),
            trimmed: Mutex::default(),
            refusals: AtomicU64::new(0),
        })
    }

    /// The limit in bytes.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.limit.map(|limit| limit.bytes)
    }

    /// Bytes that collections hold, by their own accounts.
    pub fn held_bytes(&self) -> u64 {
        self.sums.lock().held
    }

    /// Bytes reserved for work in progress.
    pub fn reserved_bytes(&self) -> u64 {
        self.sums.lock().reserved
    }

    /// How many requests were refused for want of memory.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Bytes that count against the limit now.
    pub fn used_bytes(&self) -> u64 {
        let resident = self.resident();
        used(&self.sums.lock(), resident)
    }

    /// Whether more memory is in use than allowed.
    pub fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.used_bytes() > limit.bytes)
    }

    /// Bytes that may still be reserved for work.
    pub fn room_bytes(&self) -> u64 {
        let resident = self.resident();
        self.room_beside(&self.sums.lock(), resident)
    }

    /// Reserves `bytes` for work in progress, if they fit.
    pub fn reserve(self: &Arc<Self>, bytes: u64, purpose: Purpose) -> Option<Reservation> {
        // Answers have their share whatever else is in use.
        let resident = if purpose == Purpose::Answer { 0 } else { self.resident() };
        let mut sums = self.sums.lock();
        if !self.fits(&sums, resident, bytes, purpose) {
            return None;
        }
        sums.reserve(bytes, purpose);
        drop(sums);
        Some(Reservation { budget: self.clone(), bytes, purpose })
    }

    fn fits(&self, sums: &Sums, resident: u64, bytes: u64, purpose: Purpose) -> bool {
        let shared = match purpose {
            Purpose::Write | Purpose::Work => 0,
            Purpose::Read => sums.reads,
            Purpose::Answer => sums.answers,
        };
        let within_share = self.share(purpose).is_none_or(|most| shared.saturating_add(bytes) <= most);
        let beside_others = self.always(purpose).is_some_and(|most| shared.saturating_add(bytes) <= most)
            || self.ceiling(purpose).is_none_or(|most| used(sums, resident).saturating_add(bytes) <= most);
        within_share && beside_others
    }

    /// The most that all reservations of a purpose may take together.
    pub fn share(&self, purpose: Purpose) -> Option<u64> {
        let bytes = self.limit?.bytes;
        match purpose {
            Purpose::Write | Purpose::Work => None,
            Purpose::Read => Some(bytes / PART_FOR_READS),
            Purpose::Answer => Some(bytes / PART_FOR_ANSWERS),
        }
    }

    /// What all reservations of a purpose may take together, whatever else is in use.
    fn always(&self, purpose: Purpose) -> Option<u64> {
        let bytes = self.limit?.bytes;
        match purpose {
            Purpose::Write | Purpose::Work => None,
            Purpose::Read => Some(bytes / PART_ALWAYS_FOR_READS),
            Purpose::Answer => Some(bytes / PART_FOR_ANSWERS),
        }
    }

    /// Reserves memory for work that cannot wait: up to `wanted` bytes as far as they fit, and at least the smaller
    /// of `least` and `wanted`, even beyond the limit.
    pub fn reserve_up_to(self: &Arc<Self>, wanted: u64, least: u64) -> Reservation {
        let resident = self.resident();
        let mut sums = self.sums.lock();
        let bytes = wanted.min(self.room_beside(&sums, resident).max(least));
        sums.reserve(bytes, Purpose::Work);
        drop(sums);
        Reservation { budget: self.clone(), bytes, purpose: Purpose::Work }
    }

    /// Whether `bytes` would fit if nothing else were held.
    pub fn could_ever_hold(&self, bytes: u64) -> bool {
        self.limit.is_none_or(|limit| bytes <= limit.bytes)
    }

    /// Whether `bytes` would fit if `freed` of the held bytes were freed.
    pub fn would_hold(&self, bytes: u64, freed: u64, purpose: Purpose) -> bool {
        let sums = *self.sums.lock();
        let after = sums.held.saturating_add(sums.owed).saturating_sub(freed).saturating_add(bytes);
        self.ceiling(purpose).is_none_or(|most| after <= most)
    }

    /// Whether `bytes` would fit once work in progress has ended, and the allocator has given back what was freed.
    pub fn would_hold_soon(&self, bytes: u64, purpose: Purpose) -> bool {
        let sums = *self.sums.lock();
        if self.share(purpose).is_some_and(|most| bytes > most) {
            return false;
        }
        self.always(purpose).is_some_and(|most| bytes <= most)
            || self
                .ceiling(purpose)
                .is_none_or(|most| sums.held.saturating_add(sums.owed).saturating_add(bytes) <= most)
    }

    /// An account of something that holds memory.
    pub fn account(self: &Arc<Self>) -> Account {
        Account { budget: self.clone(), held: 0, owed: 0 }
    }

    /// Counts a refusal and makes its error, which shows whether waiting helps. `what` needs `need` bytes.
    pub fn refusal(&self, what: &str, need: u64, purpose: Purpose) -> Error {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        let error = Error::new(ErrorKind::NoRoom, self.shortage(what, need)).of_setting(MEMORY_LIMIT);
        if self.would_hold_soon(need, purpose) { error.passing() } else { error }
    }

    /// The message that there is no room for `what`, with what can be done about it.
    pub fn shortage(&self, what: &str, need: u64) -> String {
        let (limit, used) = (self.limit_bytes().unwrap_or(0), self.used_bytes());
        format!(
            "there is no memory for {what}: it needs {}, {} of {} are in use (for writes, an eighth is kept free); \
             delete records or collections, raise the limit (memory_limit), or take a larger machine",
            shown(need),
            shown(used),
            shown(limit)
        )
    }

    /// Gives freed memory back to the system, where the allocator keeps it. Takes milliseconds: not for threads that
    /// serve connections.
    pub fn give_back(&self) {
        if !self.limit.is_some_and(|limit| limit.whole_process) {
            return;
        }
        {
            let mut trimmed = self.trimmed.lock();
            if trimmed.is_some_and(|at| at.elapsed() < TRIM_INTERVAL) {
                return;
            }
            *trimmed = Some(Instant::now());
        }
        system::trim();
        *self.look.lock() = Look::default();
    }

    fn room_beside(&self, sums: &Sums, resident: u64) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit.bytes.saturating_sub(used(sums, resident)))
    }

    fn ceiling(&self, purpose: Purpose) -> Option<u64> {
        let bytes = self.limit?.bytes;
        Some(match purpose {
            Purpose::Write => bytes - bytes / KEPT_FROM_WRITES,
            Purpose::Work | Purpose::Read | Purpose::Answer => bytes,
        })
    }

    /// The resident size, if it counts.
    fn resident(&self) -> u64 {
        if !self.limit.is_some_and(|limit| limit.whole_process) {
            return 0;
        }
        let mut look = self.look.lock();
        if look.at.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL) {
            *look = Look { at: Some(Instant::now()), bytes: system::private_bytes() };
        }
        look.bytes
    }
}

fn used(sums: &Sums, resident: u64) -> u64 {
    sums.held.max(resident).saturating_add(sums.owed).saturating_add(sums.reserved)
}

/// Bytes in a form for people.
pub fn shown(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{bytes} bytes"),
        _ => format!("{:.1} MiB", bytes as f64 / MIB as f64),
    }
}

/// Bytes reserved for work in progress, given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
    purpose: Purpose,
}

impl Reservation {
    /// How many bytes are reserved.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives `bytes` back, at most all.
    #[cfg(any(test, feature = "server"))]
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.budget.sums.lock().release(bytes, self.purpose);
        self.bytes -= bytes;
    }

    /// Takes over the bytes of another reservation of this budget and purpose.
    #[cfg(any(test, feature = "server"))]
    pub fn absorb(&mut self, mut other: Reservation) {
        if Arc::ptr_eq(&self.budget, &other.budget) && self.purpose == other.purpose {
            self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.sums.lock().release(self.bytes, self.purpose);
    }
}

/// Memory reserved bit by bit, for work that does not know its need beforehand; given back when this is dropped.
#[derive(Debug)]
pub struct Growth {
    budget: Arc<Budget>,
    taken: Mutex<(u64, Vec<Reservation>)>,
    /// The bytes that were asked for and refused; 0 if none were.
    refused: AtomicU64,
}

/// Growing memory is reserved in pieces of at least this many bytes.
const PIECE_BYTES: u64 = 1 << 20;

impl Growth {
    /// A growth without any bytes yet.
    pub fn new(budget: Arc<Budget>) -> Growth {
        Growth { budget, taken: Mutex::default(), refused: AtomicU64::new(0) }
    }

    /// Makes sure that `bytes` are reserved in all; false if there is no room for them.
    pub fn reach(&self, bytes: u64) -> bool {
        if self.budget.limit_bytes().is_none() {
            return true;
        }
        let mut taken = self.taken.lock();
        if bytes <= taken.0 {
            return true;
        }
        let more = (bytes - taken.0).max(PIECE_BYTES);
        match self.budget.reserve(more, Purpose::Work) {
            Some(reservation) => {
                taken.0 += more;
                taken.1.push(reservation);
                true
            }
            None => {
                self.refused.store(bytes, Ordering::Relaxed);
                false
            }
        }
    }

    /// Whether a request for room was ever refused.
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) > 0
    }

    /// Counts the refusal of room for `what`, and makes its error.
    pub fn refusal(&self, what: &str) -> Error {
        self.budget.refusal(what, self.refused.load(Ordering::Relaxed), Purpose::Work)
    }
}

/// The memory that one holder holds, subtracted from the sum when this is dropped.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    held: u64,
    owed: u64,
}

impl Account {
    /// Replaces the bytes that are held, and the bytes that due graphs will need.
    pub fn set(&mut self, held: u64, owed: u64) {
        let mut sums = self.budget.sums.lock();
        sums.held = sums.held.saturating_sub(self.held).saturating_add(held);
        sums.owed = sums.owed.saturating_sub(self.owed).saturating_add(owed);
        (self.held, self.owed) = (held, owed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

#[cfg(test)]
mod memory_tests;
