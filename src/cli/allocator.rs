//! What glibc's allocator keeps of what is freed. Left to itself it makes up to eight arenas for each core and holds on
//! to large buffers once some were freed: several times of what is in use. Invariant: what the environment says
//! (`MALLOC_…`) counts.

/// Sets the limits of the allocator: few arenas, and large buffers go back to the system when they are freed. To be
/// called before any thread is started, since an arena that is there stays.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn return_what_is_freed() {
    // As the files of `deploy/` say, for programs that are started otherwise.
    const LIMITS: [(&str, libc::c_int, libc::c_int); 3] = [
        ("MALLOC_ARENA_MAX", libc::M_ARENA_MAX, 2),
        ("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD, 128 << 10),
        ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, 128 << 10),
    ];
    for (variable, limit, value) in LIMITS {
        if std::env::var_os(variable).is_none() {
            // SAFETY: mallopt takes the allocator's own lock and sets a number. Where it refuses, its own stays.
            unsafe { libc::mallopt(limit, value) };
        }
    }
}

/// Other allocators give it back themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_what_is_freed() {}
