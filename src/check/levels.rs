//! The segments of a stream by level, as HEAD names them: what compaction chooses from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::format::head::SegmentEntry;

/// The segments of one level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LevelAmount {
    /// How often their rows were merged.
    pub level: u32,
    /// How many segments.
    pub segments: u64,
    /// Their rows, tombstones included.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The levels that have segments, the lowest first.
pub fn levels(segments: &[SegmentEntry]) -> Vec<LevelAmount> {
    let mut levels: BTreeMap<u32, LevelAmount> = BTreeMap::new();
    for entry in segments {
        let empty = LevelAmount { level: entry.level, segments: 0, rows: 0, bytes: 0 };
        let sum = levels.entry(entry.level).or_insert(empty);
        sum.segments += 1;
        sum.rows += entry.rows;
        sum.bytes += entry.bytes;
    }
    levels.into_values().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::format::Checksum;
    use crate::record::Version;

    #[test]
    fn segments_add_up_by_level() {
        let entry = |(level, rows, bytes): (u32, u64, u64)| SegmentEntry {
            key: String::new(),
            lo: Version(1),
            hi: Version(1),
            rows,
            bytes,
            xxh3: Checksum(0),
            level,
            inverted: Vec::new(),
            other: Map::new(),
        };
        let segments: Vec<SegmentEntry> = [(2, 900, 9_000), (0, 10, 110), (0, 20, 210)].map(entry).into();
        let sum = |level, segments, rows, bytes| LevelAmount { level, segments, rows, bytes };
        assert_eq!(levels(&segments), [sum(0, 2, 30, 320), sum(2, 1, 900, 9_000)]);
        assert_eq!(levels(&[]), []);
    }
}
