//! Settings of a store: where the bucket is, the protocol's constants, limits and sizes of pools. `environment` reads
//! them from variables, and the command line (`cli`) lays its flags on top; nothing here touches the environment.

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "azure")]
use crate::bucket::cloud::AzureSettings;
#[cfg(feature = "gcs")]
use crate::bucket::cloud::GcsSettings;
#[cfg(feature = "dropbox")]
use crate::bucket::dropbox::DropboxSettings;
use crate::bucket::reread::Reread;
#[cfg(feature = "s3")]
use crate::bucket::s3::S3Settings;
use crate::memory::MemoryLimit;
#[cfg(feature = "provider")]
use crate::provider::ProviderSettings;

/// Everything a [`Store`](crate::Store) needs to open. Made by [`new`](Settings::new), from a string, or by
/// [`from_env`](Settings::from_env); then any field may be set. Later versions may have more fields.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Settings {
    /// Where the bucket is.
    pub storage: Storage,
    /// How often the store looks for other instances' commits.
    pub sync_interval: Duration,
    /// Constants of the protocol; production values unless a test shortens them.
    pub timing: Timing,
    /// What requests may ask for.
    pub limits: Limits,
    /// How files are kept.
    pub files: FileSettings,
    /// How services that make embeddings are called.
    #[cfg(feature = "provider")]
    pub provider: ProviderSettings,
    /// How long a start waits for a bucket that is away, busy, or refuses what it may yet allow.
    pub start_timeout: Duration,
    /// Whether a store is created where there is none. Without it, opening a missing store is an error.
    pub create: bool,
    /// Whether every collection is loaded when the store opens. Otherwise each is loaded at its first use.
    pub load_at_start: bool,
    /// How many collections are loaded at once at start.
    pub recovery_parallel: usize,
    /// Searches computed at once; more wait their turn.
    pub search_threads: usize,
    /// Threads of the background pool that builds graphs.
    pub index_threads: usize,
    /// Whether a collection whose log is damaged is served up to the damage, read-only.
    pub serve_damaged: bool,
    /// Whether this store flushes, compacts, builds graphs and collects garbage in the background.
    pub maintenance: bool,
    /// How much memory may be used; `None` for no limit. Work that would exceed the limit is refused. Idle collections
    /// are evicted, and loaded again at their next use.
    pub memory_limit: Option<MemoryLimit>,
    /// A collection that was idle this long is evicted even where memory is plenty.
    pub evict_idle_after: Option<Duration>,
}

impl Settings {
    /// The defaults, with the bucket at `storage`.
    pub fn new(storage: Storage) -> Settings {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Settings {
            storage,
            sync_interval: Duration::from_secs(60),
            timing: Timing::default(),
            limits: Limits::default(),
            files: FileSettings::default(),
            #[cfg(feature = "provider")]
            provider: ProviderSettings::default(),
            start_timeout: Duration::from_secs(60),
            create: true,
            load_at_start: true,
            recovery_parallel: 8,
            search_threads: cores,
            index_threads: (cores / 2).max(1),
            serve_damaged: false,
            maintenance: true,
            memory_limit: None,
            evict_idle_after: None,
        }
    }

    /// The defaults, with a local folder as the bucket.
    pub fn folder(path: impl Into<PathBuf>) -> Settings {
        Settings::new(Storage::Folder(path.into()))
    }
}

/// Which kind of bucket, and where. The sizes of the variants depend on the features; there is one value per store.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Storage {
    /// S3 or a server that speaks it; Cloudflare R2 by [`S3Settings::r2`].
    #[cfg(feature = "s3")]
    S3(S3Settings),
    /// Google Cloud Storage, by its native API.
    #[cfg(feature = "gcs")]
    Gcs(GcsSettings),
    /// Azure Blob Storage.
    #[cfg(feature = "azure")]
    Azure(AzureSettings),
    /// A folder in Dropbox.
    #[cfg(feature = "dropbox")]
    Dropbox(DropboxSettings),
    /// A local folder that acts as the bucket.
    Folder(PathBuf),
    /// In this process only: the data ends with it.
    Memory,
}

/// The protocol's constants (docs/protocol.md#constants).
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Timing {
    /// T_LEASE: how far an answer's store time may be from the anchor before HEAD must be read.
    pub lease: Duration,
    /// T_KEEP: how long a floor must have been visible before log slots below it are deleted.
    pub keep: Duration,
    /// T_GARBAGE: how long retired segments and graphs are kept.
    pub garbage: Duration,
    /// How often the store looks for garbage.
    pub collect_interval: Duration,
    /// How often a stream is swept for orphaned objects.
    pub sweep_interval: Duration,
    /// How old an orphaned object must be to be swept.
    pub sweep_age: Duration,
    /// Commits in the tail at which the instance that wrote the last of them flushes.
    pub flush_commits: u64,
    /// Commits in the tail at which any instance flushes.
    pub flush_commits_other: u64,
    /// Bytes of commits in the tail at which it is flushed.
    pub flush_bytes: u64,
    /// Age of the tail's oldest commit at which it is flushed.
    pub flush_age: Duration,
    /// Adjacent segments of one level that are merged into one of the next.
    pub fan_out: usize,
    /// First back-off after an unknown outcome; doubled each time, with full jitter.
    pub backoff: Duration,
    /// Longest back-off.
    pub backoff_max: Duration,
    /// A write that is still open after this long is answered `outcome unknown`.
    pub deadline: Duration,
    /// How many slots a write of several records may lose to other writers before it is given up, so that it can be
    /// written in parts; `None` means until its deadline.
    pub lost_slots: Option<u32>,
    /// How long the store reads again what does not check out, or is missing where it is expected, before the object
    /// counts as damaged. Damaged objects are looked at again later all the same.
    pub reread_limit: Duration,
    /// Most bytes of requests that share one commit.
    pub group_bytes: usize,
    /// Most rows of requests that share one commit.
    pub group_rows: usize,
    /// Least time between two swaps of one HEAD by this instance.
    pub swap_interval: Duration,
    /// Log objects fetched ahead while a tail is read.
    pub prefetch: usize,
    /// How many records without a graph make it worth building one. The first graph needs four times as many.
    pub graph_rows: usize,
    /// Rows of the smallest segment whose inverted indexes are stored, and of the smallest chunk that is indexed before
    /// a search needs it. A search indexes a smaller one in passing, sooner than the bucket would answer.
    pub inverted_rows: usize,
    /// How often background work looks for something to do.
    pub maintenance_interval: Duration,
    /// How long a loaded collection stays at least. Without it, a few collections that take turns would spend all
    /// their time being loaded.
    pub min_loaded: Duration,
    /// How long a load or a write waits for others to make room.
    pub room_patience: Duration,
    /// Rules switched off to show in tests that they matter; none in production.
    #[doc(hidden)]
    pub ablate: Ablate,
}

/// Rules of the protocol that a test may switch off, to show what breaks without them.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Ablate {
    /// Rule A: believe every answer about a slot.
    pub rule_a: bool,
    /// Answer no-ops and refusals from the state at hand, without asking the bucket.
    pub fresh_answers: bool,
    /// Name contents of files without checking whether a sweep has passed them.
    pub sweep_guard: bool,
}

impl Timing {
    /// How objects whose bytes do not check out are read again.
    pub fn reread(&self) -> Reread {
        let longest_pause = self.backoff_max.min(Reread::default().longest_pause);
        Reread { limit: self.reread_limit, first_pause: self.backoff, longest_pause }
    }
}

impl Default for Timing {
    fn default() -> Timing {
        const MINUTE: Duration = Duration::from_secs(60);
        Timing {
            lease: 10 * MINUTE,
            keep: 24 * 60 * MINUTE,
            garbage: 60 * MINUTE,
            collect_interval: 60 * MINUTE,
            sweep_interval: 7 * 24 * 60 * MINUTE,
            sweep_age: 24 * 60 * MINUTE,
            flush_commits: 128,
            flush_commits_other: 160,
            flush_bytes: 16 << 20,
            flush_age: 10 * MINUTE,
            fan_out: 8,
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            deadline: MINUTE,
            lost_slots: None,
            reread_limit: Duration::from_secs(5),
            group_bytes: 8 << 20,
            group_rows: 4096,
            swap_interval: Duration::from_secs(1),
            prefetch: 16,
            graph_rows: 256,
            inverted_rows: 1_024,
            maintenance_interval: Duration::from_secs(5),
            min_loaded: Duration::from_millis(500),
            room_patience: Duration::from_secs(20),
            ablate: Ablate::default(),
        }
    }
}

/// How files are kept. Later versions may have more fields.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct FileSettings {
    /// Bytes of a file.
    pub max_bytes: u64,
    /// Bytes of one stored part of a file.
    pub part_bytes: usize,
    /// Bytes of files in memory at once, inbound and outbound; more wait.
    pub memory_bytes: usize,
    /// How long an upload or a download may stand still, or wait for memory.
    pub idle_timeout: Duration,
    /// How long a deleted file is remembered as deleted.
    pub keep_deleted: Duration,
}

impl Default for FileSettings {
    fn default() -> FileSettings {
        FileSettings {
            max_bytes: 5 << 30,
            part_bytes: 4 << 20,
            memory_bytes: 32 << 20,
            idle_timeout: Duration::from_secs(60),
            keep_deleted: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// What one request or record may hold. Later versions may have more fields.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Limits {
    /// Floats of an embedding.
    pub dimension: usize,
    /// Bytes of an id.
    pub id_bytes: usize,
    /// Bytes of a record's metadata as JSON text.
    pub metadata_bytes: usize,
    /// Bytes of a document, and of a uri.
    pub document_bytes: usize,
    /// Records of one write request.
    pub batch_records: usize,
    /// Bytes of one write request once encoded.
    pub batch_bytes: usize,
    /// Neighbours of one search.
    pub k: usize,
    /// Query embeddings of one search request.
    pub queries: usize,
    /// Entries of a sparse vector, stored or searched for.
    pub sparse_entries: usize,
    /// Write requests waiting for one collection's writer.
    pub waiting_writes: usize,
    /// Searches waiting for a thread.
    pub waiting_searches: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            dimension: 16_384,
            id_bytes: 4096,
            metadata_bytes: 256 << 10,
            document_bytes: 8 << 20,
            batch_records: 100_000,
            batch_bytes: 64 << 20,
            k: 10_000,
            queries: 1_000,
            sparse_entries: 65_536,
            waiting_writes: 10_000,
            waiting_searches: 10_000,
        }
    }
}
