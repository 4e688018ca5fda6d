//! The memory limit that a container sets for its processes: that of the process's own control group and of all above
//! it, in version 2 or 1 of the kernel's interface.
//! Invariant: only reads; if nothing can be read, there is no limit.

use std::fs;
use std::path::{Path, PathBuf};

/// A larger limit means none: version 1 expresses "none" by the largest multiple of a page.
const NONE: u64 = 1 << 60;

/// The smallest limit that applies to this process, in bytes.
pub fn limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    smallest(Path::new("/sys/fs/cgroup"), &groups)
}

/// The smallest limit of the groups in `groups`, the text of `/proc/self/cgroup`, mounted at `root`.
fn smallest(root: &Path, groups: &str) -> Option<u64> {
    let mut found = Vec::new();
    for line in groups.lines() {
        // `hierarchy:controllers:path`; version 2 names no controllers.
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        if controllers.is_empty() {
            found.extend(upward(root, path, "memory.max"));
        } else if controllers.split(',').any(|controller| controller == "memory") {
            found.extend(upward(&root.join("memory"), path, "memory.limit_in_bytes"));
        }
    }
    found.into_iter().filter(|bytes| *bytes < NONE).min()
}

/// The limits of the group at `path` and of those above it. Inside a container the path may be the host's, which does
/// not exist there: then the mount's own root is the group.
fn upward(mount: &Path, path: &str, file: &str) -> Vec<u64> {
    let inner = Path::new(path.trim_start_matches('/'));
    let groups = inner.ancestors().map(|group| mount.join(group));
    let files: Vec<PathBuf> = groups.map(|group| group.join(file)).collect();
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.filter_map(|text| text.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_holds() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a/b/memory.max", "max\n");
        write(root.path(), "a/memory.max", "536870912\n");
        write(root.path(), "memory.max", "9223372036854771712\n");
        assert_eq!(smallest(root.path(), "0::/a/b\n"), Some(512 << 20));
        assert_eq!(smallest(root.path(), "0::/\n"), None);
    }

    #[test]
    fn version_1_is_read_where_the_memory_controller_has_a_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "memory/docker/x/memory.limit_in_bytes", "1048576\n");
        write(root.path(), "memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(smallest(root.path(), "3:cpu:/\n4:memory:/docker/x\n"), Some(1 << 20));
    }

    #[test]
    fn a_container_that_sees_the_hosts_path_reads_the_root_of_its_mount() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "memory.max", "4096");
        assert_eq!(smallest(root.path(), "0::/system.slice/pod-1\n"), Some(4096));
        assert_eq!(smallest(root.path(), "nonsense\n:\n"), None);
    }
}
