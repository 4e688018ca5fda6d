//! The system's figures about this process's memory, and the calls that give freed memory back.
//! Invariant: this is the only unsafe code of this room; where the system has no such calls, nothing happens.

/// Resident size of this process in bytes; 0 where the system does not state it.
pub fn resident_bytes() -> u64 {
    pages()[0].saturating_mul(page_bytes())
}

/// Bytes of memory of this machine, if the system states them.
pub fn machine_bytes() -> Option<u64> {
    total_of(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// The total in the text of `/proc/meminfo`.
fn total_of(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).filter(|bytes| *bytes > 0)
}

/// Resident bytes of the program's own, without pages of files, which the system takes back when it needs memory.
pub fn private_bytes() -> u64 {
    let [resident, shared] = pages();
    resident.saturating_sub(shared).saturating_mul(page_bytes())
}

/// Resident pages, and those of them that belong to files (or are shared; there are none here).
fn pages() -> [u64; 2] {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut numbers = statm.split_whitespace().skip(1).map(|pages| pages.parse().unwrap_or(0));
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)]
}

#[cfg(unix)]
fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

#[cfg(not(unix))]
fn page_bytes() -> u64 {
    4096
}

/// Makes the allocator take large buffers from the system one by one, so that each goes back when it is freed.
/// Otherwise glibc begins to keep them after a few were freed, and then holds more than twice the memory in use. The
/// server does this before it starts a thread (`cli/allocator.rs`, which limits arenas too); this call is for other
/// programs. A value in the environment (`MALLOC_MMAP_THRESHOLD_`) takes precedence.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn return_what_is_freed() {
    /// The size from which on buffers count as large.
    const LARGE_BYTES: libc::c_int = 128 << 10;
    if std::env::var_os("MALLOC_MMAP_THRESHOLD_").is_some() {
        return;
    }
    // SAFETY: mallopt takes the allocator's own lock and sets a number.
    let done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
    if done != 1 {
        tracing::debug!("the allocator keeps its own threshold");
    }
}

/// Other allocators give buffers back themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_what_is_freed() {}

/// Gives freed memory back to the system. Otherwise glibc keeps it, and it still counts as resident.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn trim() {
    // SAFETY: malloc_trim takes the allocator's own locks and touches only memory that is free.
    let released = unsafe { libc::malloc_trim(0) };
    tracing::debug!(released, "freed memory was given back to the system");
}

/// Other allocators give memory back themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read_where_the_system_tells_it() {
        assert_eq!(total_of("MemFree: 1 kB\nMemTotal:       16315412 kB\n"), Some(16_315_412 * 1024));
        for nothing in ["", "MemTotal: much", "MemTotal: 0 kB", "MemTotal: 99999999999999999999 kB"] {
            assert_eq!(total_of(nothing), None, "{nothing}");
        }
    }
}
