//! The log of a stream: numbered slots, one immutable commit each. This module has the single steps: put a slot, read
//! a slot, check that a commit follows the one before. `stream` joins them by the protocol (docs/protocol.md#append).
//! Invariant: a slot is only ever written by put-if-absent.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use bytes::Bytes;

use crate::bucket::keys::StreamId;
use crate::bucket::{Bucket, BucketError, Object, PutCondition, StoreTime};
use crate::format::{Chain, Checksum, Commit, FormatError, decode_commit};
use crate::record::Version;

/// The result of a read of a slot.
#[derive(Debug, Clone)]
pub enum Slot {
    /// A commit's bytes.
    Found { bytes: Bytes, date: Option<StoreTime> },
    /// No commit.
    Missing { date: Option<StoreTime> },
}

/// Reads slot `version` of `stream`.
pub async fn read_slot(bucket: &dyn Bucket, stream: &StreamId, version: Version) -> Result<Slot, BucketError> {
    slot(bucket.get(&stream.log(version), None).await)
}

/// Reads slot `version` over a new connection, if the first answer did not check out.
pub async fn reread_slot(bucket: &dyn Bucket, stream: &StreamId, version: Version) -> Result<Slot, BucketError> {
    slot(bucket.get_fresh(&stream.log(version), None).await)
}

fn slot(answer: Result<Object, BucketError>) -> Result<Slot, BucketError> {
    match answer {
        Ok(object) => Ok(Slot::Found { bytes: object.bytes, date: object.stamp.date }),
        Err(BucketError::NotFound { date }) => Ok(Slot::Missing { date }),
        Err(error) => Err(error),
    }
}

/// The result of an attempt to write a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// This attempt wrote the slot.
    Created { date: Option<StoreTime> },
    /// The slot is taken, perhaps by an earlier attempt of this writer.
    Exists,
    /// Definitely not written.
    Refused(String),
    /// Written, not written, or about to be.
    Unknown(String),
}

/// Writes slot `version` if it is absent, in one attempt.
pub async fn put_slot(bucket: &dyn Bucket, stream: &StreamId, version: Version, bytes: Bytes) -> Put {
    match bucket.put(&stream.log(version), bytes, PutCondition::IfAbsent).await {
        Ok(stamp) => Put::Created { date: stamp.date },
        Err(BucketError::Exists { .. }) => Put::Exists,
        // A put needs no object to exist, so a 404 here means that the bucket is missing.
        Err(BucketError::NotFound { .. }) => Put::Refused("the bucket was not found".to_owned()),
        Err(BucketError::Refused { message }) => Put::Refused(message),
        Err(BucketError::Unknown { message, .. }) => Put::Unknown(message),
    }
}

/// A commit that was read and is in its place.
#[derive(Debug, Clone)]
pub struct Chained {
    /// The commit.
    pub commit: Commit,
    /// Its own link, which the next commit must contain.
    pub link: Chain,
}

/// Decodes the commit in slot `version` and checks that it belongs there: stream, version, and the link
/// to the commit before (docs/protocol.md#open).
pub fn chain(bytes: &Bytes, stream: &StreamId, version: Version, prev: Option<&Chain>) -> Result<Chained, FormatError> {
    let commit = place(bytes, stream, version)?;
    let damaged = |what: String| Err(FormatError::Damaged(what));
    if commit.header.prev.as_ref() != prev {
        return damaged(format!(
            "commit follows {}, expected {}: a commit before it was changed or replaced",
            describe(commit.header.prev.as_ref()),
            describe(prev)
        ));
    }
    let link = Chain { nonce: commit.header.nonce, xxh3: Checksum::of(bytes) };
    Ok(Chained { commit, link })
}

/// Decodes the commit in slot `version` and checks that it was written for this slot; the commit before it is not
/// checked.
pub fn place(bytes: &Bytes, stream: &StreamId, version: Version) -> Result<Commit, FormatError> {
    let commit = decode_commit(bytes)?;
    let damaged = |what: String| Err(FormatError::Damaged(what));
    if commit.header.stream != stream.to_string() {
        return damaged(format!("commit is of stream {:?}, expected {stream}", commit.header.stream));
    }
    if commit.header.version != version {
        return damaged(format!("commit says it is version {}, expected {version}", commit.header.version));
    }
    Ok(commit)
}

fn describe(link: Option<&Chain>) -> String {
    link.map_or_else(|| "no commit".to_owned(), |l| format!("commit {} (xxh3 {})", l.nonce, l.xxh3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{CommitHeader, CommitKind, Nonce, Row, Rows, encode_commit};

    fn commit(stream: &str, version: u64, prev: Option<Chain>) -> Bytes {
        let header = CommitHeader {
            stream: stream.to_owned(),
            version: Version(version),
            kind: CommitKind::Data,
            writer: "test".to_owned(),
            nonce: Nonce(7),
            prev,
            config: None,
            handover: None,
        };
        encode_commit(&header, &Rows::from_iter([Row::delete("a")])).unwrap()
    }

    fn cause(bytes: &Bytes, version: u64, prev: Option<&Chain>) -> String {
        chain(bytes, &StreamId::Catalog, Version(version), prev).unwrap_err().to_string()
    }

    #[test]
    fn a_commit_must_stand_in_its_own_slot_and_follow_its_own_predecessor() {
        let first = commit("catalog", 1, None);
        let link = chain(&first, &StreamId::Catalog, Version(1), None).unwrap().link;
        assert_eq!(link, Chain { nonce: Nonce(7), xxh3: Checksum::of(&first) });
        let second = commit("catalog", 2, Some(link));
        assert!(chain(&second, &StreamId::Catalog, Version(2), Some(&link)).is_ok());

        assert!(cause(&first, 2, Some(&link)).contains("says it is version 1, expected 2"));
        assert!(cause(&commit("c/other", 1, None), 1, None).contains("stream \"c/other\""));
        let altered = Chain { xxh3: Checksum(1), ..link };
        assert!(cause(&second, 2, Some(&altered)).contains("was changed or replaced"));
        assert!(cause(&second, 2, None).contains("expected no commit"));
    }
}
