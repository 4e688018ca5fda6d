//! Limits for what glibc's allocator keeps of freed memory. By default it makes up to eight arenas for each core and
//! keeps large buffers once some were freed: several times the memory in use. Invariant: the environment's settings
//! (`MALLOC_…`) win.

/// Sets the limits of the allocator: few arenas, and large freed buffers go back to the system. Must be called before
/// any thread starts, since an existing arena stays.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn return_what_is_freed() {
    // Limits of the files of `deploy/`, for programs that are started in another way.
    const LIMITS: [(&str, libc::c_int, libc::c_int); 3] = [
        ("MALLOC_ARENA_MAX", libc::M_ARENA_MAX, 2),
        ("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD, 128 << 10),
        ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, 128 << 10),
    ];
    for (variable, limit, value) in LIMITS {
        if std::env::var_os(variable).is_none() {
            // SAFETY: mallopt takes the allocator's own lock and sets a number. If it refuses, its own value stays.
            unsafe { libc::mallopt(limit, value) };
        }
    }
}

/// Other allocators return freed memory by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_what_is_freed() {}
