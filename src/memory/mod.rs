//! How much memory there is and who has it: sums of what is held and what is promised to work under way,
//! against one limit. Invariant: nothing is reserved beyond the limit; what cannot be refused (commits of
//! other instances) is only counted, and whoever looks sees that the limit is passed.

mod cgroup;
mod system;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use self::system::resident_bytes;
use crate::error::{Error, ErrorKind};

/// The resident size is asked for at most this often: a look costs some 10 µs.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Freed memory is given back to the system at most this often: it walks all that was freed.
const TRIM_INTERVAL: Duration = Duration::from_millis(500);
/// Bodies of reads may take one part in so many of the limit, and answers one part in so many: the rest is for writes
/// and for what the server does by itself.
const PART_FOR_READS: u64 = 4;
const PART_FOR_ANSWERS: u64 = 8;
/// So much of it bodies of reads and deletes have however much else is in use: a full server must be read, and
/// deletes are what makes room.
const PART_ALWAYS_FOR_READS: u64 = 16;
/// Writes may fill all of the limit but one part in so many: the rest is for graphs, merges and loads.
const KEPT_FROM_WRITES: u64 = 8;

/// A limit of memory, and what counts against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes.
    pub bytes: u64,
    /// Whether all of the process counts, as the system sees it, or only what this store holds. A server's
    /// process is the store's own; a program that uses the library may hold much else.
    pub whole_process: bool,
}

/// Of a container's limit this part is left to what the system counts beside the resident size, and to what is copied
/// for a moment without a reservation; at least so many bytes of it.
const RESERVE_PART: u64 = 16;
const RESERVE_BYTES: u64 = 64 << 20;

/// What a server may use of a machine that sets it no limit: so many parts of so many.
const MACHINE_PARTS: (u64, u64) = (3, 4);

impl MemoryLimit {
    /// The limit that the container sets for this process, less a reserve; none if it sets none.
    pub fn of_container() -> Option<MemoryLimit> {
        cgroup::limit_bytes().map(MemoryLimit::within)
    }

    /// A share of the machine's memory, for a process that no container limits: the rest is for everything else on
    /// it. None where the system does not tell how much there is.
    pub fn of_machine() -> Option<MemoryLimit> {
        let share = system::machine_bytes()? / MACHINE_PARTS.1 * MACHINE_PARTS.0;
        Some(MemoryLimit { bytes: share, whole_process: true })
    }

    /// All of a container of so many bytes but a reserve.
    pub fn within(container: u64) -> MemoryLimit {
        // In a tiny one there is little to keep free.
        let reserve = (container / RESERVE_PART).max(RESERVE_BYTES).min(container / 4);
        MemoryLimit { bytes: container - reserve, whole_process: true }
    }
}

/// Who asks for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A write, which is there to stay.
    Write,
    /// Loads, builds and merges, and bodies of writes on their way.
    Work,
    /// Bodies of reads and deletes on their way. All together have a share that they cannot pass, and a smaller one
    /// that nothing else takes from them. Only the server has such bodies.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    Read,
    /// Answers on their way. They have a share of their own, however much else is in use: a full server must be read.
    Answer,
}

/// What is held, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    /// By collections, tails and their like.
    held: u64,
    /// By graphs that are still to be built of records that are held.
    owed: u64,
    /// Promised to work under way.
    reserved: u64,
    /// What of it bodies of reads have, answers, and all others.
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

    /// What those of one purpose have together.
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
    /// A budget of `limit`; none only counts.
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

    /// Bytes that collections hold, as they say.
    pub fn held_bytes(&self) -> u64 {
        self.sums.lock().held
    }

    /// Bytes promised to work under way.
    pub fn reserved_bytes(&self) -> u64 {
        self.sums.lock().reserved
    }

    /// How often something was refused for want of memory.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Bytes that count against the limit now.
    pub fn used_bytes(&self) -> u64 {
        let resident = self.resident();
        used(&self.sums.lock(), resident)
    }

    /// Whether more is used than may be.
    pub fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.used_bytes() > limit.bytes)
    }

    /// Bytes that may still be reserved for work.
    pub fn room_bytes(&self) -> u64 {
        let resident = self.resident();
        self.room_beside(&self.sums.lock(), resident)
    }

    /// Takes `bytes` for work under way, if they fit.
    pub fn reserve(self: &Arc<Self>, bytes: u64, purpose: Purpose) -> Option<Reservation> {
        // Answers have a share whatever else is in use.
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

    /// What all of one purpose may take together.
    pub fn share(&self, purpose: Purpose) -> Option<u64> {
        let bytes = self.limit?.bytes;
        match purpose {
            Purpose::Write | Purpose::Work => None,
            Purpose::Read => Some(bytes / PART_FOR_READS),
            Purpose::Answer => Some(bytes / PART_FOR_ANSWERS),
        }
    }

    /// What all of one purpose may take together however much else is in use.
    fn always(&self, purpose: Purpose) -> Option<u64> {
        let bytes = self.limit?.bytes;
        match purpose {
            Purpose::Write | Purpose::Work => None,
            Purpose::Read => Some(bytes / PART_ALWAYS_FOR_READS),
            Purpose::Answer => Some(bytes / PART_FOR_ANSWERS),
        }
    }

    /// Takes memory for work that cannot be put off: up to `wanted` bytes, as far as they fit, but `least` in any case
    /// if they are wanted.
    pub fn reserve_up_to(self: &Arc<Self>, wanted: u64, least: u64) -> Reservation {
        let resident = self.resident();
        let mut sums = self.sums.lock();
        let bytes = wanted.min(self.room_beside(&sums, resident).max(least));
        sums.reserve(bytes, Purpose::Work);
        drop(sums);
        Reservation { budget: self.clone(), bytes, purpose: Purpose::Work }
    }

    /// Whether so many bytes would fit if nothing else were held.
    pub fn could_ever_hold(&self, bytes: u64) -> bool {
        self.limit.is_none_or(|limit| bytes <= limit.bytes)
    }

    /// Whether so many bytes would fit if so many of those that are held were freed.
    pub fn would_hold(&self, bytes: u64, freed: u64, purpose: Purpose) -> bool {
        let sums = *self.sums.lock();
        let after = sums.held.saturating_add(sums.owed).saturating_sub(freed).saturating_add(bytes);
        self.ceiling(purpose).is_none_or(|most| after <= most)
    }

    /// Whether so many bytes would fit if it were not for work under way, and what the allocator has not given
    /// back yet.
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

    /// Counts a refusal and makes its error, which says whether waiting helps. `what` needs `need` bytes.
    pub fn refusal(&self, what: &str, need: u64, purpose: Purpose) -> Error {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        let error = Error::new(ErrorKind::NoRoom, self.shortage(what, need));
        if self.would_hold_soon(need, purpose) { error.passing() } else { error }
    }

    /// Says that there is no room for `what`, and what can be done.
    pub fn shortage(&self, what: &str, need: u64) -> String {
        let (limit, used) = (self.limit_bytes().unwrap_or(0), self.used_bytes());
        format!(
            "there is no memory for {what}: it needs {}, {} of {} are in use (for writes, an eighth is kept free); \
             delete records or collections, raise DRUMLIN_MEMORY_LIMIT, or take a larger machine",
            shown(need),
            shown(used),
            shown(limit)
        )
    }

    /// Gives memory that was freed back to the system, where the allocator keeps it. Takes milliseconds: not
    /// for threads that serve connections.
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

/// Bytes as a person reads them.
pub fn shown(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{bytes} bytes"),
        _ => format!("{:.1} MiB", bytes as f64 / MIB as f64),
    }
}

/// Bytes taken for work under way, given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
    purpose: Purpose,
}

impl Reservation {
    /// How much was taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives so many bytes back, at most all.
    #[cfg(any(test, feature = "server"))]
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.budget.sums.lock().release(bytes, self.purpose);
        self.bytes -= bytes;
    }

    /// Takes over what another of the same budget and purpose has taken.
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

/// Memory taken bit by bit, by work that does not know beforehand how much it will be; given back when it is dropped.
#[derive(Debug)]
pub struct Growth {
    budget: Arc<Budget>,
    taken: Mutex<(u64, Vec<Reservation>)>,
    /// What was asked for and was not there, or nothing.
    refused: AtomicU64,
}

/// Memory that grows is taken in pieces of so many bytes at least.
const PIECE_BYTES: u64 = 1 << 20;

impl Growth {
    /// Nothing so far.
    pub fn new(budget: Arc<Budget>) -> Growth {
        Growth { budget, taken: Mutex::default(), refused: AtomicU64::new(0) }
    }

    /// Makes sure that `bytes` are taken in all; false where there is no room for them.
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

    /// Whether there was no room at some time.
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) > 0
    }

    /// Counts and tells that there was no room for `what`.
    pub fn refusal(&self, what: &str) -> Error {
        self.budget.refusal(what, self.refused.load(Ordering::Relaxed), Purpose::Work)
    }
}

/// What one holder of memory holds, taken off the sum when it is dropped.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    held: u64,
    owed: u64,
}

impl Account {
    /// States anew what is held, and what graphs that are due will add.
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
