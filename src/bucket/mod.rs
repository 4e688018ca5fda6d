//! The storage seam: everything Drumlin asks of an object store, and nothing that a store cannot give. Only this
//! module knows a cloud. Others hold a [`Bucket`] as `Arc<dyn Bucket>`; only [`keys`] makes keys. Failures are sorted
//! as the protocol needs them (docs/protocol.md#outcomes): *known not applied* is never mixed up with *outcome
//! unknown*.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

// A build for Dropbox alone needs less of `attempt` and `proof` than the others.
#[cfg(feature = "_http")]
#[cfg_attr(not(any(feature = "s3", feature = "gcs", feature = "azure")), allow(dead_code))]
mod attempt;
pub mod backoff;
mod body;
pub mod call;
pub mod clock;
#[cfg(any(feature = "gcs", feature = "azure"))]
pub mod cloud;
pub mod count;
#[cfg(feature = "dropbox")]
pub mod dropbox;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
#[cfg(any(test, feature = "testing"))]
mod fault_call;
#[cfg(test)]
mod fault_tests;
pub mod fetch;
pub mod folder;
#[cfg(test)]
mod folder_tests;
#[cfg(feature = "_reqwest")]
pub mod http_client;
pub mod keys;
pub mod listing;
pub mod memory;
#[cfg(feature = "_http")]
mod parts;
pub mod probe;
#[cfg(test)]
mod probe_tests;
#[cfg(feature = "_http")]
#[cfg_attr(not(any(feature = "s3", feature = "gcs", feature = "azure")), allow(dead_code))]
mod proof;
pub mod reread;
pub mod retry;
#[cfg(feature = "s3")]
pub mod s3;
mod shared;
#[cfg(any(feature = "s3", feature = "gcs"))]
pub mod throttle;

/// Most keys in one page of a listing, and in one batched delete.
pub const PAGE_KEYS: usize = 1000;

/// Milliseconds since the Unix epoch *by the store's clock* (its `Date` header), never by ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct StoreTime(pub i64);

impl StoreTime {
    /// Milliseconds from `earlier` to `self`; negative if the clock stepped back.
    pub fn since_ms(self, earlier: StoreTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What the store says about the object, and when it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The version tag to use in a compare-and-swap; opaque.
    pub etag: Option<String>,
    /// When the store answered, by its own clock; `None` where a backend does not know.
    pub date: Option<StoreTime>,
    /// When the object was last written, by the store's clock.
    pub last_modified: Option<StoreTime>,
}

/// An object, or the asked range of it.
#[derive(Debug, Clone)]
pub struct Object {
    /// The bytes of the range that was asked for.
    pub bytes: Bytes,
    /// The size of the whole object in bytes.
    pub size_bytes: u64,
    /// The store's description of the object.
    pub stamp: Stamp,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object's key.
    pub key: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was last written, by the store's clock.
    pub last_modified: Option<StoreTime>,
}

/// A page of a listing, keys ascending.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The objects of this page.
    pub objects: Vec<Listed>,
    /// Whether more keys follow the last one of this page (ask again with `after` = that key).
    pub more: bool,
    /// When the store answered.
    pub date: Option<StoreTime>,
}

/// The condition of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutCondition {
    /// None: replaces whatever is there. Only for keys that are written once by their nature (ULIDs).
    Always,
    /// Only if the key is absent (P1 of docs/protocol.md#store-promises).
    IfAbsent,
    /// Only if the object's tag is still this one (P2 of docs/protocol.md#store-promises).
    IfMatch(String),
}

/// Why a call to the bucket did not do what was asked, sorted by what is *known*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketError {
    /// The condition failed: the object exists (P1) or its tag is another (P2). Definitely not applied. P2 on an
    /// absent key is answered with this or `NotFound`, depending on the store; both are definite.
    Exists { date: Option<StoreTime> },
    /// There is no such object. Definite at `date`.
    NotFound { date: Option<StoreTime> },
    /// The store refused for a reason that a repetition does not cure (400, 401, 403, 404 of the bucket, 405, 413).
    /// Definitely not applied.
    Refused { message: String },
    /// No reliable answer: time-out, connection lost, 409, 429, 5xx. A put may have been applied, or may yet be.
    Unknown {
        message: String,
        /// How long the store asks to be left alone (its `Retry-After`), where it says so.
        retry_after: Option<Duration>,
    },
}

/// How the text of a refusal begins.
const REFUSED: &str = "the bucket refused: ";

impl BucketError {
    /// An unknown outcome, for the reason in `message`.
    pub fn unknown(message: impl Into<String>) -> Self {
        BucketError::Unknown { message: message.into(), retry_after: None }
    }

    /// An unknown outcome of a store that asks to be left alone for `retry_after`.
    pub fn unknown_until(message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        BucketError::Unknown { message: message.into(), retry_after }
    }

    /// How long the store asks to be left alone before the next attempt; `None` where it does not say.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            BucketError::Unknown { retry_after, .. } => *retry_after,
            BucketError::Exists { .. } | BucketError::NotFound { .. } | BucketError::Refused { .. } => None,
        }
    }
}

impl fmt::Display for BucketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BucketError::Exists { .. } => f.write_str("the object exists or has changed"),
            BucketError::NotFound { .. } => f.write_str("there is no such object"),
            BucketError::Refused { message } => write!(f, "{REFUSED}{message}"),
            BucketError::Unknown { message, .. } => write!(f, "the bucket gave no definite answer: {message}"),
        }
    }
}

impl std::error::Error for BucketError {}

/// Where a bucket is, for people (status, health, logs) and for the probe's key. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// `s3`, `gcs`, `azure`, `dropbox`, `folder` or `memory`.
    pub kind: &'static str,
    /// For example `s3://bucket/prefix` or the folder's path.
    pub location: String,
    /// The endpoint as configured, empty for the provider's default.
    pub endpoint: String,
    /// The bucket's name, or the folder's absolute path.
    pub bucket: String,
}

/// An object store as the protocol needs it. Keys are relative to the store's prefix.
///
/// Every method makes *one* attempt, bounded by a time-out, unless the implementation says that it retries. The
/// decorator in `retry` repeats what is safe to repeat. Dropping a future may leave a request under way: its outcome
/// is then unknown.
#[async_trait]
pub trait Bucket: fmt::Debug + Send + Sync {
    /// Reads an object, or `range` of its bytes. A range that reaches past the end is cut there. A range that starts
    /// past the end gives no bytes. The tag is there whenever the whole object was read.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError>;

    /// Reads as `get` does, over a connection that no earlier answer came over. This is for bytes that did not check
    /// out: something between us and the store may have answered with somebody else's bytes.
    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.get(key, range).await
    }

    /// Writes a whole object atomically: readers see all of it or nothing.
    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError>;

    /// Writes a large object from consecutive pieces (multipart where the store has it), atomically.
    /// Unconditional: only for keys that are unique by their nature.
    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError>;

    /// Copies an object inside the store, server-side where the store can.
    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError>;

    /// Lists one page of the keys that start with `prefix` and are greater than `after`, ascending. The order is by
    /// bytes, except that SeaweedFS lists the keys in `a/` before `a-`; no two of [`keys`] show the difference.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError>;

    /// Deletes objects; an absent one counts as deleted. Batched where the store can.
    async fn delete(&self, keys: &[String]) -> Result<(), BucketError>;

    /// Ends uploads in parts that began more than `age` ago and were never finished, because their process died. Their
    /// parts lie unseen, and cost money. Returns how many it ended; 0 where a store keeps no such parts.
    async fn abort_stale_uploads(&self, _age: Duration) -> Result<usize, BucketError> {
        Ok(0)
    }

    /// Where this bucket is.
    fn place(&self) -> Place;
}
