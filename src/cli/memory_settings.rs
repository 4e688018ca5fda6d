//! How much memory may be used: the given limit, else the container's, else a share of the machine's memory. A size
//! is a number of bytes, or of MiB, GB and the like.

use drumlin::Result;
use drumlin::settings::MemoryLimit;

use super::settings::{Source, expected};

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
    pub(super) fn read(source: &Source) -> Result<MemorySetting> {
        const NAME: &str = "DRUMLIN_MEMORY_LIMIT";
        let Some(text) = source.text(NAME) else { return Ok(MemorySetting::Found) };
        if text == "0" || text.eq_ignore_ascii_case("none") {
            return Ok(MemorySetting::Unlimited);
        }
        let bytes = bytes(&text).ok_or_else(|| expected(NAME, "a size such as 400MiB or 2GB, or none", &text))?;
        Ok(MemorySetting::Bytes(bytes))
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

/// A number with a unit: none for bytes, `KB`, `MB`, `GB` of 1000, `KiB`, `MiB`, `GiB` of 1024.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    // No machine has more, and no server runs with less.
    (bytes >= 1.0 && bytes < (1u64 << 60) as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (text, value) in [
            ("419430400", Some(400 << 20)),
            ("400MiB", Some(400 << 20)),
            ("400 mib", Some(400 << 20)),
            ("2GB", Some(2_000_000_000)),
            ("1.5Gi", Some(3 << 29)),
            ("10kb", Some(10_000)),
            ("-1", None),
            ("much", None),
            ("1e3", None),
            ("1.2.3MB", None),
            ("", None),
            ("99999999999GB", None),
        ] {
            assert_eq!(bytes(text), value, "{text}");
        }
    }
}
