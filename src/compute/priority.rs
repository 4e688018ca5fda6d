//! Priorities of threads. On Linux each thread has its own; elsewhere a call would change that of the whole process, so
//! there all threads have the same.

/// When a thread runs beside others that want its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "embedding", feature = "server")), allow(dead_code))]
pub(super) enum Priority {
    /// It has about a tenth of the core, and others wait for the end of its turn, some milliseconds.
    Low,
    /// It stops at once when another thread wakes, and has next to nothing of a core that others keep busy.
    Idle,
}

impl Priority {
    /// Gives the calling thread this priority, and the threads that it starts. A process without rights cannot take
    /// that back.
    #[cfg(target_os = "linux")]
    pub(super) fn take(self) {
        let idle = self == Priority::Idle;
        // The default of `nice`, and its end: kept threads are told apart by it.
        let nice = if idle { 19 } else { 10 };
        if let Err(error) = rustix::process::setpriority_process(None, nice) {
            tracing::debug!(%error, "background threads run at the priority of the others");
        }
        if idle && let Err(error) = only_when_idle() {
            tracing::debug!(%error, "background threads run beside others, at the lowest priority");
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn take(self) {}
}

/// By the system call, as musl's function of that name always fails.
#[cfg(target_os = "linux")]
fn only_when_idle() -> std::io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads `parameters`, which outlives it, and changes how the calling thread (0) is scheduled.
    let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, &raw const parameters) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn scheduled() -> (libc::c_long, i32) {
        // SAFETY: the call only asks for the policy of the calling thread.
        let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
        (policy, rustix::process::getpriority_process(None).unwrap())
    }

    #[test]
    fn threads_take_their_priority_and_hand_it_down() {
        let usual = scheduled();
        let of = |priority: Priority| {
            std::thread::spawn(move || {
                priority.take();
                [scheduled(), std::thread::spawn(scheduled).join().unwrap()]
            })
        };
        assert_eq!(of(Priority::Low).join().unwrap(), [(libc::SCHED_OTHER.into(), 10); 2]);
        assert_eq!(of(Priority::Idle).join().unwrap(), [(libc::SCHED_IDLE.into(), 19); 2]);
        assert_eq!(scheduled(), usual);
    }
}
