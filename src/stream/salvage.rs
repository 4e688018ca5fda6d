//! The past of a stream whose HEAD is lost. Every segment names the commits it holds. A whole segment is the fold of
//! exactly these, by any writer, even if no HEAD ever named it. Chains of segments and the log can therefore be put
//! together without HEAD. Invariant: nothing is guessed. A segment that cannot be decoded to its last row is left out.
//! Of the log, only the unbroken run of slots up to the newest is believed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Map;

use super::context::StreamError;
use super::history::{History, ListedCommit};
use super::sweep::list_under;
use crate::bucket::keys::{Role, StreamId};
use crate::bucket::reread::Reread;
use crate::bucket::{Bucket, BucketError};
use crate::compute::off_thread;
use crate::format::head::{Head, SegmentEntry};
use crate::format::{Checksum, StreamConfig, decode_segment};
use crate::record::Version;

/// Reads the past. `dimension` comes from the catalog, in case neither segments nor log show one.
pub async fn salvage(
    bucket: &dyn Bucket,
    stream: &StreamId,
    dimension: Option<usize>,
    reread: Reread,
) -> Result<History, StreamError> {
    let mut segments = Vec::new();
    let mut config = StreamConfig::of_dimension(dimension);
    for object in list_under(bucket, &format!("{stream}/seg/")).await? {
        if stream.role(&object.key) != Some(Role::Segment) {
            continue;
        }
        match segment(bucket, stream, &object.key, reread).await? {
            Ok((entry, dim)) => {
                config.extend(StreamConfig::of_dimension(Some(dim).filter(|dim| *dim > 0)));
                segments.push(entry);
            }
            Err(cause) => tracing::warn!(key = object.key, cause, "a segment cannot be read and is left out"),
        }
    }
    let commits = newest_run(bucket, stream).await?;
    let end = segments.iter().map(|entry| entry.hi.next()).max().unwrap_or(Version(1));
    let mut head = Head::new(stream.to_string(), config);
    // Like a HEAD that names nothing: the start of the log is known, what came before it is not.
    (head.floor, head.gone) = (end, commits.keys().next().copied().unwrap_or(end));
    Ok(History { head, segments, retired_caches: Vec::new(), commits, first: Version(0) })
}

/// A segment's dimension and its entry as a HEAD would have it; or the fault that every read shows.
async fn segment(
    bucket: &dyn Bucket,
    stream: &StreamId,
    key: &str,
    reread: Reread,
) -> Result<Result<(SegmentEntry, usize), String>, StreamError> {
    let mut reads = reread.begin();
    loop {
        let wrong = match reads.get(bucket, key).await {
            Ok(object) => match decoded(stream, key, object.bytes).await? {
                Ok(found) => return Ok(Ok(found)),
                Err(wrong) => wrong,
            },
            Err(BucketError::NotFound { .. }) => "it is gone".to_owned(),
            Err(error) => return Err(error.into()),
        };
        if !reads.again().await {
            return Ok(Err(wrong));
        }
    }
}

async fn decoded(
    stream: &StreamId,
    key: &str,
    bytes: Bytes,
) -> Result<Result<(SegmentEntry, usize), String>, StreamError> {
    let decoded = off_thread(move || {
        let segment = decode_segment(&bytes).map_err(|cause| cause.to_string())?;
        let rows = segment.groups.iter().map(|group| group.len() as u64).sum();
        Ok((segment.header, rows, bytes.len() as u64, Checksum::of(&bytes)))
    });
    let decoded: Result<_, String> = decoded.await?;
    Ok(decoded.map(|(header, rows, bytes, xxh3)| {
        let (key, lo, hi, other) = (key.to_owned(), header.lo, header.hi, Map::new());
        let entry = SegmentEntry { key, lo, hi, rows, bytes, xxh3, level: 0, inverted: Vec::new(), other };
        let entry = match header.stream == stream.to_string() {
            true => entry,
            // A fork's segment carries the name of the stream that it was copied from.
            false => entry.copied(&header.stream, entry.key.clone()),
        };
        (entry, header.dim)
    }))
}

/// The unbroken run of slots up to the newest.
async fn newest_run(bucket: &dyn Bucket, stream: &StreamId) -> Result<BTreeMap<Version, ListedCommit>, StreamError> {
    let listed = list_under(bucket, &stream.log_prefix()).await?;
    let slots = listed.into_iter().filter_map(|object| {
        let commit = ListedCommit { written: object.last_modified, size_bytes: object.size_bytes };
        Some((stream.log_version(&object.key)?, commit))
    });
    let mut run: BTreeMap<Version, ListedCommit> = BTreeMap::new();
    for (version, commit) in slots {
        if run.keys().next_back().is_some_and(|last| last.next() != version) {
            run.clear();
        }
        run.insert(version, commit);
    }
    Ok(run)
}
