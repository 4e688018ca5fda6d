//! What a store reports about itself: sync and status reports, health. The types are plain values that serialise as
//! the native API sends them.

use serde::Serialize;

use crate::bucket::Place;
use crate::check::kinds::{CollectionAmount, KindAmount};
use crate::check::report::Amount;
use crate::collection::graph_maintenance::GraphProgress;
use crate::record::{CollectionId, Version};

/// What a sync did for one collection, or would find (status).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CollectionSync {
    /// The collection's identity.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// Version before the sync.
    pub version_before: Version,
    /// Version after it.
    pub version_after: Version,
    /// Records of other instances' commits that were applied.
    pub records_pulled: u64,
    /// Bytes of the commits that were pulled.
    pub bytes_pulled: u64,
    /// Commits that were moved from the log into a segment.
    pub commits_flushed: u64,
    /// Commits that are in no segment yet.
    pub commits_unflushed: u64,
    /// Milliseconds it took.
    pub duration_ms: u64,
    /// Whether it is not in memory: there is nothing to sync until its next use.
    #[serde(rename = "resting")]
    pub evicted: bool,
    /// What went wrong, if anything.
    pub error: Option<String>,
}

/// Answer to a sync or status request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SyncReport {
    /// One entry per live collection, by name.
    pub collections: Vec<CollectionSync>,
    /// The catalog's version.
    pub catalog_version: Version,
    /// Milliseconds it took in all.
    pub duration_ms: u64,
}

/// How the bucket is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StorageHealth {
    /// `s3`, `folder` or `memory`, and where.
    #[serde(flatten)]
    pub place: Place,
    /// Whether the last request got an answer.
    pub connected: bool,
    /// The last failure, if the last request failed or something is `failing`.
    pub last_error: Option<String>,
    /// What the bucket did not do when it was last asked to: `reads`, `writes`, `deletes`. Each stays here until one of
    /// its kind succeeds.
    pub failing: Vec<&'static str>,
    /// Whether the bucket was proven to honour conditional writes: always true, as the store refuses any other
    /// bucket.
    pub conditional_put: bool,
}

/// What the store is doing at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Activity {
    /// Callers that wait for their write to be durable.
    pub writes_waiting: u64,
    /// Searches, and batches of them, that run or wait for their turn.
    pub searches: u64,
    /// Threads that compute searches.
    pub search_threads_busy: u64,
    /// Graph builds under way or waiting.
    pub builds: u64,
    /// Seconds spent on graph builds since the store opened.
    pub build_seconds: f64,
    /// Commits that are in no segment yet, of all collections and the catalog.
    pub commits_unflushed: u64,
    /// How long other instances' changes to the catalog may have gone unseen, in seconds.
    pub catalog_lag_seconds: f64,
    /// How long other instances' records may have gone unseen, in seconds: the longest of all collections. An unused
    /// collection is synced only once in 64 sync intervals, and at its next use.
    pub lag_seconds: f64,
    /// Chunks of records in memory.
    pub chunks: u64,
    /// Chunks whose metadata is arranged for filters. A chunk's first filter arranges it.
    pub chunks_arranged: u64,
    /// Bytes of that arranged metadata.
    pub filter_bytes: u64,
}

/// The progress of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loading {
    /// Collections loaded.
    pub done: usize,
    /// Collections in all.
    pub total: usize,
}

/// Bytes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Memory {
    /// Resident size of the process.
    pub resident_bytes: u64,
    /// f32 embeddings.
    pub vectors_bytes: u64,
    /// Graphs, codes included.
    pub graph_bytes: u64,
    /// Ids, documents, metadata.
    pub records_bytes: u64,
    /// Bytes that count as held by collections: these three, commits that are in no segment yet, and the fixed cost
    /// of open collections.
    pub held_bytes: u64,
    /// Bytes reserved for work in progress: requests, loads, builds.
    pub reserved_bytes: u64,
    /// The limit, 0 if none is set.
    pub limit_bytes: u64,
}

/// `/health`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// `starting`, `loading`, `ok` or `degraded`.
    pub status: &'static str,
    /// What a start waits for, before the store is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Drumlin's version.
    pub version: &'static str,
    /// Seconds since the store opened.
    pub uptime_seconds: u64,
    /// The bucket.
    pub storage: StorageHealth,
    /// Live collections.
    pub collections: usize,
    /// Live records in all of them.
    pub records: u64,
    /// Progress of start-up.
    pub loading: Loading,
    /// Collections that are not in memory until their next use.
    pub evicted: usize,
    /// `evicted` under its former name, kept for one more version.
    pub resting: usize,
    /// Bytes in use.
    pub memory: Memory,
    /// Collections with many records that are in no graph yet: until they are, searches scan them.
    pub graphs: Vec<GraphsBehind>,
    /// Collections that cannot be used fully, with the object and the cause.
    pub damaged: Vec<Damage>,
}

/// A collection whose graphs lag behind its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphsBehind {
    /// The collection's name.
    pub collection: String,
    /// How far the graphs are.
    #[serde(flatten)]
    pub progress: GraphProgress,
}

/// A damaged collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The collection's name.
    pub collection: String,
    /// The damaged object's key.
    pub key: String,
    /// What is wrong with it.
    pub cause: String,
}

/// What one start recovered.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Recovery {
    /// Collections loaded.
    pub collections: usize,
    /// Collections that were not loaded for want of memory. Their next use loads them.
    #[serde(rename = "resting")]
    pub evicted: usize,
    /// Records in them.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Graphs loaded ready-made.
    pub graphs_loaded: usize,
    /// Seconds it took.
    pub seconds: f64,
}

/// Counters of what a store did since it opened, for `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Commits written by this instance.
    pub commits_written: u64,
    /// Write requests acknowledged.
    pub writes_acknowledged: u64,
    /// Commits of other instances applied.
    pub commits_pulled: u64,
    /// Slots lost to another writer.
    pub slots_lost: u64,
    /// Writes answered with `outcome unknown`.
    pub outcomes_unknown: u64,
    /// Streams opened again because the log had moved on under this instance.
    pub reopenings: u64,
    /// Segments written by flushes.
    pub flushes: u64,
    /// Segments written by compactions.
    pub compactions: u64,
    /// Graphs built.
    pub graphs_built: u64,
    /// Graphs loaded ready-made.
    pub graphs_loaded: u64,
    /// Segments whose inverted indexes were stored.
    pub inverted_stored: u64,
    /// Inverted indexes of segments loaded ready-made.
    pub inverted_loaded: u64,
    /// Maps of collections stored.
    pub maps_stored: u64,
    /// Maps of collections loaded ready-made.
    pub maps_loaded: u64,
    /// Log objects deleted.
    pub log_objects_deleted: u64,
    /// Log objects found below `gone`, which a stalled writer had left.
    pub zombies_deleted: u64,
    /// Searches answered, by query embedding.
    pub searches: u64,
    /// Collections that were evicted.
    #[serde(rename = "rests")]
    pub evictions: u64,
    /// Collections loaded again because somebody used them.
    #[serde(rename = "wakings")]
    pub reloads: u64,
    /// Requests and loads refused for want of memory.
    pub memory_refusals: u64,
    /// Graph builds and merges of segments put off for want of memory.
    pub put_off: u64,
}

/// How far back a collection can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Past {
    /// The oldest version from which on every version can be restored.
    pub oldest: Version,
    /// Older versions that can be restored, too.
    pub also: Vec<Version>,
    /// The newest version.
    pub newest: Version,
    /// When the commit after `oldest` was written, in milliseconds since 1970 by the store's clock.
    pub since_ms: Option<i64>,
}

/// Versions of a collection that can be read, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionPage {
    /// The versions.
    pub versions: Vec<VersionLine>,
    /// The oldest version that can be read, on this page or a later one.
    pub oldest: Version,
}

/// A version of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionLine {
    /// The version.
    pub version: Version,
    /// When it was written, by the store's clock, in the form of RFC 3339. `None` where only segments hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Bytes of its commit. `None` where only segments hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What its commit holds; `None` where it is too large to be read for this, or gone.
    #[serde(flatten)]
    pub contents: Option<CommitContents>,
}

/// What a commit holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitContents {
    /// Which instance wrote it.
    pub writer: String,
    /// New records.
    pub added: u64,
    /// Records that were there before.
    pub changed: u64,
    /// Records that were deleted.
    pub deleted: u64,
}

/// What the bucket holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BucketContents {
    /// All objects, by kind.
    pub kinds: Vec<KindAmount>,
    /// Those of collections, by collection, the largest first.
    pub collections: Vec<CollectionAmount>,
    /// Those of all that the next collection of garbage deletes.
    pub garbage: Amount,
    /// How many neighbouring segments of a level become one of the next.
    pub fan_out: usize,
    /// The probe that the bucket passed last; `None` if its mark is gone, and the next start probes it anew.
    pub probe: Option<PassedProbe>,
}

/// A probe that the bucket passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedProbe {
    /// When, by the store's clock, in the form of RFC 3339; `None` where the store does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Which program probed it.
    pub by: String,
    /// What the bucket has shown, in sentences.
    pub shown: &'static [&'static str],
}

/// A time in milliseconds since 1970, in the form of RFC 3339.
pub fn time(ms: i64) -> String {
    let (days, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // The proleptic Gregorian calendar in eras of 400 years that begin on 1 March.
    let day = days + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_is_shown_as_rfc_3339_has_it() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_763_755_199_999, "2025-11-21T19:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(super::time(ms), text);
        }
    }
}
