//! How much memory a server may use: the given limit, else the container's, else a share of the machine's memory.

use crate::Result;
use crate::settings::{Environment, MemoryLimit};

/// The value of `DRUMLIN_MEMORY_LIMIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemorySetting {
    /// Not set: the container's own limit counts, or a share of the machine's memory.
    Found,
    /// There is no limit.
    Unlimited,
    /// A number of bytes.
    Bytes(u64),
}

impl MemorySetting {
    pub(super) fn read(source: &Environment) -> Result<MemorySetting> {
        Ok(match source.size("DRUMLIN_MEMORY_LIMIT")? {
            None => MemorySetting::Found,
            Some(0) => MemorySetting::Unlimited,
            Some(bytes) => MemorySetting::Bytes(bytes),
        })
    }

    /// The limit of a server's process.
    pub fn limit(self) -> Option<MemoryLimit> {
        match self {
            MemorySetting::Found => MemoryLimit::of_container().or_else(MemoryLimit::of_machine),
            MemorySetting::Unlimited => None,
            MemorySetting::Bytes(bytes) => Some(MemoryLimit { bytes, whole_process: true }),
        }
    }

    /// The source of the limit, in a word.
    pub fn origin(self) -> &'static str {
        match self {
            MemorySetting::Found if MemoryLimit::of_container().is_some() => "container",
            MemorySetting::Found => "machine",
            MemorySetting::Unlimited | MemorySetting::Bytes(_) => "setting",
        }
    }
}
