//! Compaction: adjacent segments of low levels become one of the next level (docs/protocol.md#compaction), so
//! that a record is rewritten O(log n) times. Invariant: the new segment holds the fold of the ones it
//! replaces, which stay in the bucket until they have been retired for T_GARBAGE.

use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::Map;

use super::Stream;
use super::context::StreamError;
use super::flush::{Outcome, upload_retired, upload_segment};
use super::open::{fetch_segment, read_segment};
use super::state::State;
use crate::compute::off_thread;
use crate::format::head::{Life, RetiredEntry, SegmentEntry};
use crate::format::merge::merge_rows;
use crate::format::segment::{EncodedSegment, SegmentHeader, SegmentWriter};
use crate::format::{FormatError, Rows};
use crate::head::{HeadRead, Swapped};
use crate::memory::Purpose;
use crate::record::Version;

/// The segments to merge next. They are a run of the lowest level of which `fan_out` segments stand side by side, with
/// no higher level among them. A segment of a lower level in between is merged with them, but does not count. If such
/// segments counted, each would pull the largest one along, and every few flushes would rewrite all records.
pub fn choose(segs: &[SegmentEntry], fan_out: usize) -> Option<&[SegmentEntry]> {
    let top = segs.iter().map(|s| s.level).max()?;
    (0..=top).find_map(|level| {
        let mut runs = segs.split(move |s| s.level > level);
        runs.find_map(|run| {
            let of_level = |s: &SegmentEntry| s.level == level;
            let enough = run.iter().filter(|s| of_level(s)).count() >= fan_out.max(2);
            let (first, last) = (run.iter().position(of_level)?, run.iter().rposition(of_level)?);
            enough.then(|| run.get(first..=last)).flatten()
        })
    })
}

impl<S: State> Stream<S> {
    /// Merges one run of segments, if one is due.
    pub async fn compact(&self) -> Result<Outcome, StreamError> {
        self.check_damage().await?;
        let context = self.context();
        let read = context.read_head().await?;
        if read.head.state == Life::Dropped {
            return Ok(Outcome::Abandoned("the stream has ended".to_owned()));
        }
        let Some(inputs) = choose(&read.head.segs, context.timing.fan_out) else { return Ok(Outcome::Idle) };
        let inputs = inputs.to_vec();
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(Outcome::Idle) };
        let (lo, hi) = (first.lo, last.hi);
        let level = inputs.iter().map(|s| s.level).max().unwrap_or(0) + 1;
        // Memory holds the objects, their rows, and the new object at once.
        let need = inputs.iter().fold(0u64, |sum, s| sum.saturating_add(s.bytes)).saturating_mul(3);
        let Some(_room) = context.budget.reserve(need, Purpose::Work) else {
            context.counters.put_off.count();
            return Ok(Outcome::Idle);
        };
        let encoded = self.merge(&inputs, (lo, hi)).await?;
        let entry = upload_segment(context, &context.stream, encoded, (lo, hi), level).await?;
        let ulid = upload_retired(context, inputs.clone(), Vec::new(), None).await?;
        let count = inputs.len() as u64;
        let plan = move |read: &HeadRead| replace(read, &inputs, &entry, ulid);
        match self.swap(read, &plan).await? {
            Swapped::Done(_) => {
                context.counters.compactions.count();
                self.shared().wrote_segment();
                Ok(Outcome::Landed(count))
            }
            Swapped::Abandoned(why) => Ok(Outcome::Abandoned(why)),
        }
    }

    async fn merge(
        &self,
        inputs: &[SegmentEntry],
        (lo, hi): (Version, Version),
    ) -> Result<EncodedSegment, StreamError> {
        let context = self.context().clone();
        let fetches = try_join_all(inputs.iter().map(|entry| fetch_segment(&context, entry))).await;
        if let Err(StreamError::Corrupted { key, cause }) = &fetches {
            self.shared().note_damage(key, cause);
        }
        let objects: Vec<(SegmentEntry, Bytes)> = inputs.iter().cloned().zip(fetches?).collect();
        let stream = context.stream.to_string();
        let merged = off_thread(move || {
            let mut rows: Vec<Rows> = Vec::new();
            for (entry, bytes) in objects {
                let at = |cause: FormatError| StreamError::corrupted(entry.key.clone(), &cause);
                rows.extend(read_segment(&bytes, &stream, &entry).map_err(at)?);
            }
            let dim = rows.iter().map(|r| r.embeddings.dim).max().unwrap_or(0);
            let at = |cause: FormatError| StreamError::Unavailable(format!("merging segments failed: {cause}"));
            let mut writer = SegmentWriter::new(SegmentHeader { stream, lo, hi, dim }).map_err(at)?;
            merge_rows(rows, lo != Version(1), &mut writer).map_err(at)?;
            writer.finish().map_err(at)
        });
        let merged = merged.await?;
        if let Err(StreamError::Corrupted { key, cause }) = &merged {
            self.shared().note_damage(key, cause);
        }
        merged
    }
}

/// HEAD with `inputs` replaced by `entry`, if they are all still there.
fn replace(
    read: &HeadRead,
    inputs: &[SegmentEntry],
    entry: &SegmentEntry,
    ulid: ulid::Ulid,
) -> Result<crate::format::head::Head, String> {
    let gone = || "another instance replaced the segments".to_owned();
    if read.head.state == Life::Dropped {
        return Err("the stream has ended".to_owned());
    }
    let first = inputs.first().ok_or_else(gone)?;
    let start = read.head.segs.iter().position(|s| s.key == first.key).ok_or_else(gone)?;
    let end = start + inputs.len();
    let there = read.head.segs.get(start..end).ok_or_else(gone)?;
    if there.iter().zip(inputs).any(|(a, b)| a.key != b.key) {
        return Err(gone());
    }
    // Without a store time the entry would never age: leave the segments for another day.
    let seen = read.date.ok_or("the store sent no date with HEAD")?;
    let mut next = read.head.successor();
    next.segs.splice(start..end, [entry.clone()]);
    next.retired.push(RetiredEntry { ulid, seen, other: Map::new() });
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Checksum;

    fn segs(levels: &[u32]) -> Vec<SegmentEntry> {
        let entry = |(i, level): (usize, &u32)| SegmentEntry {
            key: format!("s{i}"),
            lo: Version(i as u64 + 1),
            hi: Version(i as u64 + 1),
            rows: 1,
            bytes: 1,
            xxh3: Checksum(0),
            level: *level,
            inverted: Vec::new(),
            other: Map::new(),
        };
        levels.iter().enumerate().map(entry).collect()
    }

    fn chosen(levels: &[u32], fan_out: usize) -> Option<Vec<String>> {
        let segs = segs(levels);
        choose(&segs, fan_out).map(|run| run.iter().map(|s| s.key.clone()).collect())
    }

    #[test]
    fn the_lowest_level_with_enough_neighbours_is_merged_first() {
        assert_eq!(chosen(&[0, 0], 3), None);
        assert_eq!(chosen(&[1, 1, 0, 0, 0], 3), Some(vec!["s2".into(), "s3".into(), "s4".into()]));
        assert_eq!(chosen(&[1, 1, 1, 0], 3), Some(vec!["s0".into(), "s1".into(), "s2".into()]));
        assert_eq!(chosen(&[1, 0, 0], 3), None, "lower levels do not pull a higher one along");
        assert_eq!(chosen(&[2, 1, 2, 1, 2], 3), Some((0..5).map(|i| format!("s{i}")).collect()));
        assert_eq!(chosen(&[2, 1, 1, 2], 3), None);
        assert_eq!(chosen(&[2, 1, 2, 0], 5), None);
    }

    #[test]
    fn merging_by_level_rewrites_a_row_as_often_as_the_logarithm_of_the_flushes() {
        let mut levels: Vec<(u32, u64)> = Vec::new();
        let mut rewritten = 0;
        for _ in 0..512 {
            levels.push((0, 1));
            loop {
                let entries = segs(&levels.iter().map(|(level, _)| *level).collect::<Vec<_>>());
                let Some(run) = choose(&entries, 8) else { break };
                let start = run[0].lo.0 as usize - 1;
                let weight: u64 = levels[start..start + run.len()].iter().map(|(_, w)| w).sum();
                let level = run.iter().map(|s| s.level).max().unwrap() + 1;
                rewritten += weight;
                levels.splice(start..start + run.len(), [(level, weight)]);
            }
        }
        assert_eq!(levels, vec![(3, 512)]);
        assert_eq!(rewritten, 3 * 512);
    }
}
