//! Every key name in the bucket, made here and nowhere else (docs/protocol.md#objects). Keys are relative to the
//! store's prefix R, which the backends add.

use std::fmt;

use ulid::Ulid;

use super::BucketError;
use crate::record::{CollectionId, Version};

/// The longest key in bytes; S3 allows 1,024 with the store's prefix.
pub const MAX_KEY_BYTES: usize = 900;

/// Refuses a key that some backend could not hold, or that would leave its folder. The rule is one for all backends,
/// so that a bucket can be copied from one to another.
pub fn validate(key: &str) -> Result<(), BucketError> {
    let refused = |why: &str| Err(BucketError::Refused { message: format!("the key {key:?} {why}") });
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return refused(&format!("has {} bytes; 1 to {MAX_KEY_BYTES} are allowed", key.len()));
    }
    if key.chars().any(|c| c.is_control() || matches!(c, '#' | '\\')) {
        return refused("contains a control character, '#' or a backslash");
    }
    if key.split('/').any(|part| part.is_empty() || part == "." || part == ".." || part.len() > 255) {
        return refused("has a part between slashes that is empty, '.', '..' or longer than 255 bytes");
    }
    Ok(())
}

/// `drumlin.json`: format and store id; written after the catalog's HEAD.
pub const STORE: &str = "drumlin.json";

/// The prefix of the probe's marks and of its scratch objects.
pub const PROBES: &str = "probe/";

/// The prefix under which collections' streams live.
pub const COLLECTIONS: &str = "c/";

/// A stream: the catalog or one collection. Displays as its prefix, which is also its name in HEAD
/// and in commits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamId {
    /// The stream whose records are the tenants, databases and collections.
    Catalog,
    /// The stream of one collection's records.
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

    /// The inverted index of a segment.
    pub fn inverted(&self, ulid: Ulid) -> String {
        format!("{self}/inverted/{ulid}.arrow")
    }

    /// The map of the collection.
    pub fn map(&self, ulid: Ulid) -> String {
        format!("{self}/map/{ulid}.arrow")
    }

    /// The list of what one swap took off HEAD.
    pub fn retired(&self, ulid: Ulid) -> String {
        format!("{self}/retired/{ulid}.json")
    }

    /// A part of a file's content; six digits, so that keys sort as numbers do.
    pub fn file_part(&self, content: Ulid, number: u32) -> String {
        format!("{self}/file/{content}/{number:06}")
    }

    /// Prefix of all contents of files.
    pub fn file_prefix(&self) -> String {
        format!("{self}/file/")
    }

    /// The content and the number of the part that has this key, if it is one of this stream.
    fn part_of(&self, key: &str) -> Option<(Ulid, u32)> {
        let (content, number) = key.strip_prefix(&self.file_prefix())?.split_once('/')?;
        let (content, number) = (content.parse().ok()?, number.parse().ok()?);
        (self.file_part(content, number) == key).then_some((content, number))
    }

    /// The role of the object with this key; `None` for a key that is no object of this stream.
    pub fn role(&self, key: &str) -> Option<Role> {
        if key == self.head() {
            return Some(Role::Head);
        }
        if let Some(version) = self.log_version(key) {
            return Some(Role::Commit(version));
        }
        if let Some((content, number)) = self.part_of(key) {
            return Some(Role::FilePart { content, number });
        }
        let name = key.rsplit_once('/')?.1;
        let ulid: Ulid = name.split_once('.')?.0.parse().ok()?;
        let roles = [
            (self.segment(ulid), Role::Segment),
            (self.graph(ulid), Role::Graph),
            (self.inverted(ulid), Role::Inverted),
            (self.map(ulid), Role::Map),
            (self.retired(ulid), Role::Retired(ulid)),
        ];
        roles.into_iter().find(|(own, _)| own == key).map(|(_, role)| role)
    }

    /// Everything of the stream, HEAD included.
    pub fn prefix(&self) -> String {
        format!("{self}/")
    }
}

/// What an object is to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The root.
    Head,
    /// The commit of this version.
    Commit(Version),
    /// A segment.
    Segment,
    /// A graph.
    Graph,
    /// The inverted index of a segment.
    Inverted,
    /// The map of the collection.
    Map,
    /// The list of what one swap took off HEAD.
    Retired(Ulid),
    /// A part of a file's content.
    FilePart { content: Ulid, number: u32 },
}

/// The collection that has an object with this key, if one has.
pub fn collection_of(key: &str) -> Option<CollectionId> {
    let (id, _) = key.strip_prefix(COLLECTIONS)?.split_once('/')?;
    let found = CollectionId(id.parse().ok()?);
    // Other spellings of a UUID are no ids.
    (found.to_string() == id).then_some(found)
}

/// A place in a listing after all keys of a collection and before those of every later one: `0` follows `/`.
pub fn after_collection(id: CollectionId) -> String {
    format!("{}0", StreamId::Collection(id))
}

/// The key of the mark that the probe passed at this place. It is bound to the place, because copied buckets lie.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_leave_the_folder_or_no_store_can_hold_are_refused() {
        let long_part = format!("a/{}", "x".repeat(256));
        let long = "ab/".repeat(300) + "c";
        for key in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "a#1", "a\\b", &long_part, &long] {
            let answer = validate(key);
            assert!(matches!(answer, Err(BucketError::Refused { .. })), "{key:?} gave {answer:?}");
        }
        for key in ["a", "a/b.c", "c/..x/HEAD", "a b/ü/~%20+&", &"x".repeat(255)] {
            assert_eq!(validate(key), Ok(()), "{key:?}");
        }
    }

    #[test]
    fn a_log_key_gives_its_version_back_and_other_keys_none() {
        let stream = StreamId::Catalog;
        assert_eq!(stream.log(Version(42)), "catalog/log/00000000000000000042.parquet");
        assert_eq!(stream.log_version(&stream.log(Version(42))), Some(Version(42)));
        assert_eq!(stream.log_version(&stream.log(Version(u64::MAX))), Some(Version(u64::MAX)));
        for key in ["catalog/log/42.parquet", "catalog/log/0000000000000000004x.parquet", "catalog/HEAD"] {
            assert_eq!(stream.log_version(key), None, "{key}");
        }
    }

    #[test]
    fn every_key_of_a_stream_tells_its_role_and_no_other_key_has_one() {
        let (stream, ulid) = (StreamId::Catalog, Ulid::generate());
        for (key, role) in [
            (stream.head(), Role::Head),
            (stream.log(Version(7)), Role::Commit(Version(7))),
            (stream.segment(ulid), Role::Segment),
            (stream.graph(ulid), Role::Graph),
            (stream.inverted(ulid), Role::Inverted),
            (stream.map(ulid), Role::Map),
            (stream.retired(ulid), Role::Retired(ulid)),
            (stream.file_part(ulid, 1234), Role::FilePart { content: ulid, number: 1234 }),
            (stream.file_part(ulid, 1_234_567), Role::FilePart { content: ulid, number: 1_234_567 }),
        ] {
            assert_eq!(stream.role(&key), Some(role), "{key}");
        }
        let lower = stream.segment(ulid).to_lowercase();
        let short = format!("catalog/file/{ulid}/1");
        for key in
            [&lower, &short, "catalog/seg/x.parquet", "catalog/HEAD2", "catalog/log/7.parquet", "c/x/HEAD", "catalog"]
        {
            assert_eq!(stream.role(key), None, "{key}");
        }
    }

    #[test]
    fn a_listing_can_go_on_after_a_collection() {
        let ids = ["00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"];
        let ids = ids.map(|id| CollectionId(id.parse().unwrap()));
        let [first, second] = ids.map(|id| StreamId::Collection(id).head());
        assert_eq!(collection_of(&first), Some(ids[0]));
        let after = after_collection(ids[0]);
        assert!(first < after && StreamId::Collection(ids[0]).log(Version(u64::MAX)) < after && after < second);
        for key in ["c/x/HEAD", "catalog/HEAD", "c/00000000-0000-4000-8000-00000000000A/HEAD", "c/", "drumlin.json"] {
            assert_eq!(collection_of(key), None, "{key}");
        }
    }

    #[test]
    fn the_probe_mark_differs_by_endpoint_and_by_bucket() {
        let marks = [probe_mark("a", "bc"), probe_mark("ab", "c"), probe_mark("", "abc")];
        assert_ne!(marks[0], marks[1]);
        assert_ne!(marks[1], marks[2]);
        assert_eq!(marks[0].len(), "probe/".len() + 64 + ".json".len());
    }
}
