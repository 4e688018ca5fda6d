//! Priorities of threads: how much of a core each gets, and how soon. On Linux each thread has its own; elsewhere a
//! call would change that of the whole process, so there all threads have the same.
//!
//! How soon: Linux lets a thread that it has just put on a core finish a slice of some milliseconds before one that
//! wakes gets that core, however low the first one's priority. Threads of batches sleep and wake all the time, so
//! searches met such slices again and again. A thread with a shorter slice than the present one's is not kept waiting
//! (EEVDF with slices of one's own: Linux 6.12 and later; older ones ignore a slice).
//! Invariant: this is the only unsafe code of this room.

/// How much of a core a thread gets beside others that want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "embedding", feature = "server")), allow(dead_code))]
pub(super) enum Priority {
    /// A tenth.
    Low,
    /// A hundredth. Linux's policy for idle cores would be less, but wakes threads on such a core before it looks for
    /// one with nothing to do: beside a busy loop of that policy searches waited longest.
    Lowest,
}

impl Priority {
    /// Gives the calling thread this priority, and the threads that it starts. A process without rights cannot take
    /// that back.
    #[cfg(target_os = "linux")]
    pub(super) fn take(self) {
        // The default of `nice`, and its end.
        let nice = match self {
            Priority::Low => 10,
            Priority::Lowest => 19,
        };
        if let Err(error) = rustix::process::setpriority_process(None, nice) {
            tracing::debug!(%error, "background threads run at the priority of the others");
        }
        take_short_slices();
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn take(self) {}
}

/// Gives the calling thread, and those it starts, the shortest time slices there are: it gets a core soon after it wakes,
/// and gives it up as soon. How much of a core it gets stays the same.
#[cfg(target_os = "linux")]
pub(super) fn take_short_slices() {
    /// Linux takes nothing shorter.
    const SLICE_NS: u64 = 100_000;
    let Some(mut attributes) = slices::of_this_thread() else { return };
    if !matches!(attributes.sched_policy.cast_signed(), libc::SCHED_OTHER | libc::SCHED_BATCH) {
        return;
    }
    attributes.sched_runtime = SLICE_NS;
    if let Err(error) = slices::set(&attributes) {
        tracing::debug!(%error, "threads have slices of the usual length");
    }
}

/// Elsewhere the system decides.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
#[cfg(not(target_os = "linux"))]
pub(super) fn take_short_slices() {}

#[cfg(target_os = "linux")]
mod slices {
    use std::io;
    use std::mem::size_of;

    use libc::{SYS_sched_getattr, SYS_sched_setattr, c_int, c_long, c_uint, sched_attr};

    const BYTES: c_uint = size_of::<sched_attr>() as c_uint;
    const THIS_THREAD: c_int = 0;
    const NO_FLAGS: c_uint = 0;

    /// How the calling thread is scheduled, if the system tells it.
    pub fn of_this_thread() -> Option<sched_attr> {
        let mut told = sched_attr {
            size: BYTES,
            sched_policy: 0,
            sched_flags: 0,
            sched_nice: 0,
            sched_priority: 0,
            sched_runtime: 0,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: the call writes at most the bytes it is told of, to a struct that large.
        let done: c_long = unsafe { libc::syscall(SYS_sched_getattr, THIS_THREAD, &raw mut told, BYTES, NO_FLAGS) };
        (done == 0).then_some(told)
    }

    /// Has the calling thread scheduled so.
    pub fn set(attributes: &sched_attr) -> io::Result<()> {
        // SAFETY: the call reads as many bytes as the struct says it has.
        let done: c_long = unsafe { libc::syscall(SYS_sched_setattr, THIS_THREAD, &raw const *attributes, NO_FLAGS) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn threads_take_their_priority_and_hand_it_down() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let usual = nice();
        let of = |priority: Priority| {
            std::thread::spawn(move || {
                priority.take();
                [nice(), std::thread::spawn(nice).join().unwrap()]
            })
        };
        assert_eq!(of(Priority::Low).join().unwrap(), [10; 2]);
        assert_eq!(of(Priority::Lowest).join().unwrap(), [19; 2]);
        assert_eq!(nice(), usual);
    }

    #[test]
    fn short_slices_change_nothing_else_and_are_handed_down() {
        let told = || slices::of_this_thread().map(|told| (told.sched_policy, told.sched_nice, told.sched_runtime));
        let Some((policy, nice, usual)) = told() else {
            eprintln!("this system does not tell how threads are scheduled");
            return;
        };
        let short = std::thread::spawn(move || {
            take_short_slices();
            [told(), std::thread::spawn(told).join().unwrap()]
        });
        // A system without slices of one's own tells none.
        let slice = if usual == 0 { 0 } else { 100_000 };
        assert_eq!(short.join().unwrap(), [Some((policy, nice, slice)); 2]);
        let lowest = std::thread::spawn(move || {
            Priority::Lowest.take();
            told()
        });
        assert_eq!(lowest.join().unwrap(), Some((policy, 19, slice)));
        assert_eq!(told(), Some((policy, nice, usual)), "the thread that started them keeps its own");
    }
}
