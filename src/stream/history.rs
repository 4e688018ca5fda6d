//! The part of a stream's past that can still be read: commits from HEAD's `gone` on, on top of segments that HEAD or
//! its retired lists name (docs/protocol.md#restore). Invariant: a version counts as reachable in two cases only. A
//! chain of segments ends at it. Or a chain ends at an x − 1 with x ≥ `gone`, and the log holds every commit from x to
//! the version.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{StreamError, look_at_retired};
use super::sweep::list_under;
use crate::bucket::keys::StreamId;
use crate::bucket::reread::{self, Absence, Reread, Unsound};
use crate::bucket::{Bucket, BucketError, Object, StoreTime};
use crate::format::head::{Head, Life, SegmentEntry};
use crate::format::{CommitKind, decode_commit};
use crate::head;
use crate::record::Version;

/// The past of one stream, as one look at the bucket showed it.
#[derive(Debug, Clone)]
pub struct History {
    /// HEAD.
    pub head: Head,
    /// Segments that exist, named by HEAD or by a retired list.
    pub segments: Vec<SegmentEntry>,
    /// Keys of graphs, inverted indexes and maps that retired lists name.
    pub retired_caches: Vec<String>,
    /// Slots from `gone` on without a gap.
    pub commits: BTreeMap<Version, ListedCommit>,
    /// The version with which what may be read begins: an earlier one shows a collection that was still being filled.
    pub first: Version,
}

/// What a listing says about a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListedCommit {
    /// When it was written, by the store's clock.
    pub written: Option<StoreTime>,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// The objects that a version is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Segments that cover every version below `from`, ascending.
    pub segments: Vec<SegmentEntry>,
    /// The first commit to take from the log.
    pub from: Version,
    /// The version.
    pub version: Version,
}

/// How far back the readable past reaches.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reach {
    /// The oldest version from which on every version is within reach.
    pub oldest: Version,
    /// Older versions that are within reach too: segments end there.
    pub also: Vec<Version>,
    /// The newest version.
    pub newest: Version,
    /// When the commit after the oldest version was written: a time from then on can be restored.
    pub since: Option<StoreTime>,
}

impl History {
    /// Looks at the bucket.
    pub async fn read(bucket: &dyn Bucket, stream: &StreamId, reread: Reread) -> Result<History, StreamError> {
        let read = head::read(bucket, stream, reread).await;
        let head = read.map_err(|error| StreamError::of_head(error, stream))?.head;
        let listed = list_under(bucket, &format!("{stream}/seg/")).await?;
        let there: BTreeSet<String> = listed.into_iter().map(|object| object.key).collect();
        let (mut segments, mut retired_caches) = (head.segs.clone(), Vec::new());
        for entry in &head.retired {
            match look_at_retired(bucket, stream, entry.ulid, reread).await {
                Ok(Some(list)) => {
                    let inverted = list.segs.iter().flat_map(|seg| &seg.inverted).map(|entry| &entry.key);
                    let map = list.map.iter().map(|map| &map.key);
                    let caches = list.graphs.iter().map(|graph| &graph.key).chain(inverted).chain(map);
                    retired_caches.extend(caches.cloned());
                    segments.extend(list.segs);
                }
                // The list has just been worked off.
                Ok(None) => {}
                Err(StreamError::Corrupted { key, cause }) => {
                    // The list's objects cannot be used, and need not be.
                    tracing::warn!(%key, %cause, "a list of replaced segments cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        // A listing may lag: segments that HEAD names count as there until they are read.
        segments.retain(|entry| there.contains(&entry.key) || head.segs.iter().any(|seg| seg.key == entry.key));
        let mut commits = slots(bucket, stream, &head).await?;
        if head.state == Life::Dropped
            && let Some((last, _)) = commits.last_key_value()
            && is_drop(bucket, stream, *last, reread).await?
        {
            // After a `drop` nothing is left: what can be restored ends before it.
            commits.pop_last();
        }
        Ok(History { head, segments, retired_caches, commits, first: Version(0) })
    }

    /// This history, of which nothing before that version may be read.
    pub fn beginning_at(self, first: Version) -> History {
        History { first, ..self }
    }

    /// How far back the past reaches; `None` if none of it can be read.
    pub fn reach(&self) -> Option<Reach> {
        let newest = self.newest();
        let ends = self.chains(newest, &BTreeSet::new());
        let (mut oldest, mut within) = (None, false);
        for version in (self.head.gone.0.saturating_sub(1)..=newest.0).map(Version) {
            within = ends.contains_key(&version.0) || (within && self.commits.contains_key(&version));
            oldest = match within {
                true => oldest.or(Some(version)),
                false => None,
            };
        }
        let oldest = oldest?.max(self.first);
        let also = self.chains(oldest, &BTreeSet::new()).into_keys().map(Version);
        let also = also.filter(|end| *end < oldest && *end >= self.first.max(Version(1))).collect();
        Some(Reach { oldest, also, newest, since: self.commits.get(&oldest.next()).and_then(|commit| commit.written) })
    }

    /// The last version, at most `most`, that can be put together without the segments of these keys.
    pub fn last_without(&self, most: Version, without: &BTreeSet<String>) -> Version {
        let ends = self.chains(most, without).into_keys().map(|end| {
            let mut end = Version(end);
            while end < most && end.next() >= self.head.gone && self.commits.contains_key(&end.next()) {
                end = end.next();
            }
            end
        });
        ends.max().unwrap_or_default()
    }

    /// The last version that the objects show.
    pub fn newest(&self) -> Version {
        let floor = Version(self.head.floor.0.saturating_sub(1));
        self.commits.keys().next_back().copied().map_or(floor, |last| last.max(floor))
    }

    /// The last version whose commit was written at `time` or before. `None` if every commit that is still there came
    /// later.
    pub fn version_at(&self, time: StoreTime) -> Option<Version> {
        let before = |commit: &ListedCommit| commit.written.is_some_and(|written| written <= time);
        self.commits.range(self.first..).rev().find(|(_, commit)| before(commit)).map(|(version, _)| *version)
    }

    /// The recipe for `version`, without the segments of these keys.
    pub fn recipe(&self, version: Version, without: &BTreeSet<String>) -> Option<Recipe> {
        if version < self.first {
            return None;
        }
        let ends = self.chains(version, without);
        let in_log = |from: Version| (from.0..=version.0).all(|slot| self.commits.contains_key(&Version(slot)));
        let fits = |end: &u64| *end == version.0 || (Version(end + 1) >= self.head.gone && in_log(Version(end + 1)));
        let end = ends.keys().rev().copied().find(fits)?;
        let mut segments = Vec::new();
        let mut at = end;
        while let Some(Some(entry)) = ends.get(&at) {
            segments.push((*entry).clone());
            at = entry.lo.0.saturating_sub(1);
        }
        segments.reverse();
        Some(Recipe { segments, from: Version(end + 1), version })
    }

    /// Bytes of the commits that a recipe takes from the log.
    pub fn tail_bytes(&self, recipe: &Recipe) -> u64 {
        let tail = self.commits.range(recipe.from..).take_while(|(version, _)| **version <= recipe.version);
        tail.map(|(_, commit)| commit.size_bytes).fold(0, u64::saturating_add)
    }

    /// The versions up to `most` at which chains of segments from version 1 end, each with the last segment of one
    /// such chain. Version 0 has none.
    fn chains(&self, most: Version, without: &BTreeSet<String>) -> BTreeMap<u64, Option<&SegmentEntry>> {
        let usable = |entry: &&SegmentEntry| entry.hi <= most && !without.contains(&entry.key);
        let mut entries: Vec<&SegmentEntry> = self.segments.iter().filter(usable).collect();
        // Of segments that begin at the same version the longest comes first: fewer objects.
        entries.sort_by_key(|entry| (entry.lo, std::cmp::Reverse(entry.hi)));
        let mut ends: BTreeMap<u64, Option<&SegmentEntry>> = BTreeMap::from([(0, None)]);
        for entry in entries {
            if ends.contains_key(&(entry.lo.0.saturating_sub(1))) {
                ends.entry(entry.hi.0).or_insert(Some(entry));
            }
        }
        ends
    }
}

async fn is_drop(
    bucket: &dyn Bucket,
    stream: &StreamId,
    version: Version,
    reread: Reread,
) -> Result<bool, StreamError> {
    let check = |object: Object| decode_commit(&object.bytes);
    match reread::read(bucket, &stream.log(version), (reread, Absence::Believed), check).await {
        Ok(commit) => Ok(commit.header.kind == CommitKind::Drop),
        Err(Unsound::Bucket(BucketError::NotFound { .. }) | Unsound::Wrong(_)) => Ok(false),
        Err(Unsound::Bucket(error)) => Err(error.into()),
    }
}

/// The slots from `gone` on, up to the first gap above the floor.
async fn slots(
    bucket: &dyn Bucket,
    stream: &StreamId,
    head: &Head,
) -> Result<BTreeMap<Version, ListedCommit>, StreamError> {
    let listed = list_under(bucket, &stream.log_prefix()).await?;
    let slots = listed.into_iter().filter_map(|object| {
        let version = stream.log_version(&object.key)?;
        let commit = ListedCommit { written: object.last_modified, size_bytes: object.size_bytes };
        (version >= head.gone).then_some((version, commit))
    });
    let mut slots: BTreeMap<Version, ListedCommit> = slots.collect();
    let mut end = head.floor;
    while slots.contains_key(&end) {
        end = end.next();
    }
    drop(slots.split_off(&end));
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Chain, Checksum, Nonce, StreamConfig};

    fn entry(lo: u64, hi: u64) -> SegmentEntry {
        let (key, other) = (format!("c/x/seg/{lo}-{hi}"), serde_json::Map::new());
        SegmentEntry {
            key,
            lo: Version(lo),
            hi: Version(hi),
            rows: 1,
            bytes: 1,
            xxh3: Checksum(0),
            level: 0,
            inverted: Vec::new(),
            other,
        }
    }

    fn history(gone: u64, segments: &[(u64, u64)], named: &[(u64, u64)], newest: u64) -> History {
        let mut head = Head::new("c/x".to_owned(), StreamConfig::default());
        head.segs = named.iter().map(|(lo, hi)| entry(*lo, *hi)).collect();
        head.floor = Version(named.last().map_or(1, |(_, hi)| hi + 1));
        head.gone = Version(gone);
        head.prev = Some(Chain { nonce: Nonce(1), xxh3: Checksum(1) });
        let segments = segments.iter().chain(named).map(|(lo, hi)| entry(*lo, *hi)).collect();
        let commit =
            |version: u64| ListedCommit { written: Some(StoreTime(version as i64 * 1000)), size_bytes: version };
        let commits = (gone..=newest).map(|version| (Version(version), commit(version))).collect();
        History { head, segments, retired_caches: Vec::new(), commits, first: Version(0) }
    }

    fn parts(history: &History, version: u64, without: &[&str]) -> Option<(Vec<String>, u64)> {
        let without = without.iter().map(|key| format!("c/x/seg/{key}")).collect();
        let recipe = history.recipe(Version(version), &without)?;
        let keys = recipe.segments.iter().map(|s| s.key.replace("c/x/seg/", "")).collect();
        Some((keys, recipe.from.0))
    }

    #[test]
    fn a_version_is_made_of_the_longest_segments_before_it_and_the_log() {
        let history = history(9, &[(1, 4), (5, 8), (9, 12)], &[(1, 12), (13, 16)], 20);
        let keys = |keys: &[&str]| keys.iter().map(|key| key.to_string()).collect::<Vec<_>>();
        assert_eq!(parts(&history, 18, &[]), Some((keys(&["1-12", "13-16"]), 17)));
        assert_eq!(parts(&history, 14, &[]), Some((keys(&["1-12"]), 13)));
        assert_eq!(parts(&history, 10, &[]), Some((keys(&["1-4", "5-8"]), 9)));
        assert_eq!(parts(&history, 14, &["1-12"]), Some((keys(&["1-4", "5-8", "9-12"]), 13)));
        assert_eq!(parts(&history, 14, &["1-12", "9-12"]), Some((keys(&["1-4", "5-8"]), 9)));
        assert_eq!(parts(&history, 14, &["1-12", "5-8"]), None);
        assert_eq!(parts(&history, 7, &[]), None, "below gone the log cannot be relied on");
        assert_eq!(parts(&history, 4, &[]), Some((keys(&["1-4"]), 5)));
        let tail_bytes = |version: u64| {
            let recipe = history.recipe(Version(version), &BTreeSet::new()).unwrap();
            history.tail_bytes(&recipe)
        };
        assert_eq!((tail_bytes(4), tail_bytes(16), tail_bytes(18)), (0, 0, 17 + 18));
        let reach = history.reach().unwrap();
        assert_eq!((reach.oldest, reach.newest, reach.since), (Version(8), Version(20), Some(StoreTime(9000))));
        assert_eq!(reach.also, [Version(4)]);
        let last = |without: &[&str]| {
            history.last_without(Version(20), &without.iter().map(|key| format!("c/x/seg/{key}")).collect()).0
        };
        assert_eq!((last(&[]), last(&["13-16"]), last(&["1-12", "5-8"])), (20, 20, 4));
    }

    #[test]
    fn without_retired_segments_only_what_the_log_has_beyond_head_is_within_reach() {
        let history = history(9, &[], &[(1, 16)], 18);
        assert_eq!(history.reach().map(|r| (r.oldest, r.newest)), Some((Version(16), Version(18))));
        assert_eq!(history.version_at(StoreTime(17_999)), Some(Version(17)));
        assert_eq!(history.version_at(StoreTime(8_999)), None);
    }
}
