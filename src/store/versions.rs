//! The versions of a collection, as its log tells of them.
//! Invariant: only versions that can be read are named. What would cost too much to know is left out, never guessed.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::Admin;
use super::report::{CommitContents, VersionLine, VersionPage, time};
use crate::bucket::keys::StreamId;
use crate::bucket::reread::{self, Absence, Unsound};
use crate::bucket::{BucketError, Object};
use crate::compute::off_thread;
use crate::error::{Error, Result};
use crate::format::{Commit, FormatError, RowOp, decode_commit};
use crate::record::{CollectionId, Version};
use crate::stream::context::StreamError;
use crate::stream::history::History;

/// The largest commit that is read for its counts.
const COMMIT_BYTES: u64 = 4 << 20;
/// Most bytes of commits that are read for one page.
const PAGE_BYTES: u64 = 32 << 20;
/// Commits read at once.
const PARALLEL_READS: usize = 4;

impl Admin<'_> {
    /// The versions of a collection that can be read, below `before` if that is given, at most `limit`, newest first.
    /// The collection need not be sound. Of commits of more than 4 MiB, and of those after 32 MiB of others, only time
    /// and size are told.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection, `Corrupted` if its HEAD is damaged, `Unavailable` if the bucket does
    /// not answer.
    pub async fn versions(self, name: &str, before: Option<Version>, limit: usize) -> Result<VersionPage> {
        let id = self.live_id(name).await?;
        let (stream, record) = (StreamId::Collection(id), self.store.inner.view.load().collections.get(&id).cloned());
        let record = record.ok_or_else(|| no_collection(name))?;
        let history = self.history(id, &record).await?;
        let (readable, oldest) = readable(&history);
        let page = readable.into_iter().rev().filter(|version| before.is_none_or(|before| *version < before));
        let mut bytes_left = PAGE_BYTES;
        let chosen: Vec<(VersionLine, bool)> = page
            .take(limit)
            .map(|version| {
                let commit = history.commits.get(&version);
                let size = commit.map_or(0, |commit| commit.size_bytes);
                let is_read = commit.is_some() && size <= COMMIT_BYTES.min(bytes_left);
                bytes_left -= if is_read { size } else { 0 };
                let at = commit.and_then(|commit| commit.written).map(|written| time(written.0));
                (VersionLine { version, at, bytes: commit.map(|_| size), contents: None }, is_read)
            })
            .collect();
        let lines = stream::iter(chosen).map(|(line, is_read)| {
            let stream = &stream;
            async move {
                let contents = if is_read { self.contents(stream, line.version).await? } else { None };
                Ok::<_, Error>(VersionLine { contents, ..line })
            }
        });
        let versions = lines.buffered(PARALLEL_READS).try_collect().await?;
        Ok(VersionPage { versions, oldest })
    }

    /// What a commit holds; `None` if it is gone or damaged.
    async fn contents(self, stream: &StreamId, version: Version) -> Result<Option<CommitContents>> {
        let inner = &self.store.inner;
        let (key, reread) = (stream.log(version), inner.settings.timing.reread());
        let take = |object: Object| Ok::<_, FormatError>(object.bytes);
        match reread::read(inner.bucket.as_ref(), &key, (reread, Absence::Believed), take).await {
            Ok(bytes) => {
                let decoded = off_thread(move || decode_commit(&bytes).map(contents_of)).await?;
                Ok(decoded.ok())
            }
            Err(Unsound::Bucket(BucketError::NotFound { .. }) | Unsound::Wrong(_)) => Ok(None),
            Err(Unsound::Bucket(error)) => Err(StreamError::from(error).into()),
        }
    }

    /// The live collection of that name, whatever its state.
    pub(crate) async fn live_id(self, name: &str) -> Result<CollectionId> {
        let inner = &self.store.inner;
        let find = || inner.find(self.store.scope(), name).map(|entry| entry.id);
        if let Some(id) = find() {
            return Ok(id);
        }
        inner.follow_catalog().await?;
        find().ok_or_else(|| no_collection(name))
    }
}

fn no_collection(name: &str) -> Error {
    Error::not_found(format!("collection {name:?} does not exist"))
}

/// The versions that can be read, and the oldest of them. Version 0, before the first write, is not counted.
fn readable(history: &History) -> (BTreeSet<Version>, Version) {
    let Some(reach) = history.reach() else { return (BTreeSet::new(), Version(0)) };
    let mut versions: BTreeSet<Version> = reach.also.into_iter().collect();
    versions.extend((reach.oldest.0.max(1)..=reach.newest.0).map(Version));
    let oldest = versions.first().copied().unwrap_or_default();
    (versions, oldest)
}

fn contents_of(commit: Commit) -> CommitContents {
    let mut contents = CommitContents { writer: commit.header.writer, added: 0, changed: 0, deleted: 0 };
    for (op, position) in commit.rows.ops.iter().zip(&commit.rows.positions) {
        let count = match (op, position) {
            (RowOp::Delete, _) => &mut contents.deleted,
            // A row without a position inserts its record.
            (RowOp::Put, None) => &mut contents.added,
            (RowOp::Put, Some(_)) => &mut contents.changed,
        };
        *count += 1;
    }
    contents
}
