//! Priorities of threads. On Linux each thread has its own; elsewhere a call would change that of the whole process, so
//! there all threads have the same.

/// How much of a core a thread gets beside others that want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "embedding", feature = "server")), allow(dead_code))]
pub(super) enum Priority {
    /// A tenth. Others may wait for the end of its turn, some milliseconds.
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
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn take(self) {}
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
}
