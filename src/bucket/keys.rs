//! Every key name in the bucket, and nowhere else (protocol section 2). Keys are relative to the
//! store's prefix R, which the backends add.

use std::fmt;

use ulid::Ulid;

use crate::record::{CollectionId, Version};

/// `drumlin.json`: format and store id; written after the catalog's HEAD.
pub const STORE: &str = "drumlin.json";

/// The prefix under which collections' streams live.
pub const COLLECTIONS: &str = "c/";

/// A stream: the catalog or one collection. Displays as its prefix, which is also its name in HEAD
/// and in commits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamId {
    /// The stream whose records are the tenants, databases and collections.
    Catalog,
    /// The records of one collection.
    Collection(CollectionId),
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamId::Catalog => f.write_str("catalog"),
            StreamId::Collection(id) => write!(f, "c/{id}"),
        }
    }
}

impl StreamId {
    /// The one mutable object of the stream.
    pub fn head(&self) -> String {
        format!("{self}/HEAD")
    }

    /// The commit numbered `version`; 20 digits, so that keys sort as numbers do.
    pub fn log(&self, version: Version) -> String {
        format!("{self}/log/{:020}.parquet", version.0)
    }

    /// The version whose commit has this key, if it is a log key of this stream.
    pub fn log_version(&self, key: &str) -> Option<Version> {
        let digits = key.strip_prefix(&self.log_prefix())?.strip_suffix(".parquet")?;
        (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok().map(Version))?
    }

    /// Prefix of all commits.
    pub fn log_prefix(&self) -> String {
        format!("{self}/log/")
    }

    /// A segment.
    pub fn segment(&self, ulid: Ulid) -> String {
        format!("{self}/seg/{ulid}.parquet")
    }

    /// A graph.
    pub fn graph(&self, ulid: Ulid) -> String {
        format!("{self}/graph/{ulid}.arrow")
    }

    /// The list of what one swap took off HEAD.
    pub fn retired(&self, ulid: Ulid) -> String {
        format!("{self}/retired/{ulid}.json")
    }

    /// Everything of the stream, HEAD included.
    pub fn prefix(&self) -> String {
        format!("{self}/")
    }
}

/// The mark that the probe passed at this place; bound to the place, because copied buckets lie.
pub fn probe_mark(endpoint: &str, bucket: &str) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(endpoint.as_bytes());
    hash.update([0]);
    hash.update(bucket.as_bytes());
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    format!("probe/{hex}.json")
}

/// A scratch key of one run of the probe.
pub fn probe_scratch(run: Ulid, name: &str) -> String {
    format!("probe/scratch/{run}/{name}")
}
