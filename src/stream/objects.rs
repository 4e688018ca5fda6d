//! The objects that hold a version of a stream, for readers that take them as they lie in the bucket.
//! Invariants: the stream is only read. Commits count from HEAD's floor to the first missing slot, whatever a listing
//! shows.

use super::context::StreamError;
use super::history::{History, ListedCommit, Recipe};
use crate::bucket::Bucket;
use crate::bucket::keys::StreamId;
use crate::bucket::reread::Reread;
use crate::format::head::Life;
use crate::format::{Commit, CommitKind};
use crate::log::{self, Slot};
use crate::record::Version;

/// The past of a stream whose newest version is the last one that was acknowledged before the call.
///
/// # Errors
/// `Dropped` if the stream has ended.
pub async fn history_to_the_end(
    bucket: &dyn Bucket,
    stream: &StreamId,
    reread: Reread,
) -> Result<History, StreamError> {
    let mut history = History::read(bucket, stream, reread).await?;
    let newest = history.newest();
    let mut last = if newest >= history.head.floor { commit(bucket, stream, newest, reread).await? } else { None };
    // A listing may lag. The answers come well within T_LEASE of the read of HEAD (docs/protocol.md#rule-a).
    while let Some(next) = commit(bucket, stream, history.newest().next(), reread).await? {
        history.commits.insert(next.header.version, ListedCommit::default());
        last = Some(next);
    }
    let ended = last.is_some_and(|last| last.header.kind == CommitKind::Drop);
    match ended || history.head.state == Life::Dropped {
        true => Err(StreamError::Dropped),
        false => Ok(history),
    }
}

/// The floats of an embedding at the version of a recipe: 0 if records have none, `None` if that is not fixed yet.
pub async fn dimension_at(
    bucket: &dyn Bucket,
    stream: &StreamId,
    reread: Reread,
    history: &History,
    recipe: &Recipe,
) -> Result<Option<usize>, StreamError> {
    let mut dimension = history.head.config.dimension;
    // The first commit with embeddings fixes it, so that seldom more than one is read.
    let mut version = recipe.from;
    while dimension.is_none() && version <= recipe.version {
        let Some(commit) = commit(bucket, stream, version, reread).await? else { break };
        dimension = commit.header.config.and_then(|config| config.dimension);
        version = version.next();
    }
    Ok(dimension)
}

/// The commit in a slot, if there is one.
async fn commit(
    bucket: &dyn Bucket,
    stream: &StreamId,
    version: Version,
    reread: Reread,
) -> Result<Option<Commit>, StreamError> {
    let mut reads = reread.begin();
    let mut slot = log::read_slot(bucket, stream, version).await?;
    loop {
        let Slot::Found { bytes, .. } = slot else { return Ok(None) };
        match log::place(&bytes, stream, version) {
            Ok(commit) => return Ok(Some(commit)),
            Err(cause) if !reads.again().await => return Err(StreamError::corrupted(stream.log(version), &cause)),
            Err(_) => slot = log::reread_slot(bucket, stream, version).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bucket::call::Op;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Fault, FaultBucket, Wrong};
    use crate::bucket::memory::MemoryBucket;
    use crate::config::Timing;
    use crate::format::head::Head;
    use crate::format::{Chain, Checksum, CommitHeader, Nonce, Row, Rows, StreamConfig, encode_commit};
    use crate::head;

    const STREAM: StreamId = StreamId::Catalog;

    /// A bucket with a stream of three commits, of which the second fixes the dimension.
    async fn bucket(last: CommitKind) -> FaultBucket {
        let memory = MemoryBucket::new(StoreClock::machine());
        let begun = Head::new(STREAM.to_string(), StreamConfig::default());
        head::create(&memory, &STREAM, &begun, &Timing::default()).await.unwrap();
        let mut prev = None;
        for number in 1..=3 {
            let kind = if number == 3 { last } else { CommitKind::Data };
            let header = CommitHeader {
                stream: STREAM.to_string(),
                version: Version(number),
                kind,
                writer: "test".to_owned(),
                nonce: Nonce(number.into()),
                prev,
                config: (number == 2).then(|| StreamConfig::of_dimension(7)),
                handover: None,
            };
            let rows = if kind == CommitKind::Data { vec![Row::delete("a")] } else { Vec::new() };
            let bytes = encode_commit(&header, &Rows::from_iter(rows)).unwrap();
            prev = Some(Chain { nonce: header.nonce, xxh3: Checksum::of(&bytes) });
            log::put_slot(&memory, &STREAM, Version(number), bytes).await;
        }
        FaultBucket::new(Arc::new(memory))
    }

    async fn read(bucket: &FaultBucket) -> Result<History, StreamError> {
        history_to_the_end(bucket, &STREAM, Reread::default()).await
    }

    #[tokio::test]
    async fn commits_that_a_listing_lacks_are_found() {
        let bucket = bucket(CommitKind::Data).await;
        bucket.set_plan(|call| if call.op == Op::List { Fault::ListLagMs(60_000) } else { Fault::None });
        let listed = History::read(&bucket, &STREAM, Reread::default()).await.unwrap();
        let history = read(&bucket).await.unwrap();
        assert_eq!((listed.newest(), history.newest()), (Version(0), Version(3)));
        let recipe = |version| Recipe { segments: Vec::new(), from: Version(1), version: Version(version) };
        for (version, dimension) in [(1, None), (3, Some(7))] {
            let found = dimension_at(&bucket, &STREAM, Reread::default(), &history, &recipe(version)).await;
            assert_eq!(found.unwrap(), dimension, "version {version}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_ended_has_no_objects_and_one_wrong_answer_is_no_damage() {
        let ended = read(&bucket(CommitKind::Drop).await).await.unwrap_err();
        assert!(matches!(ended, StreamError::Dropped), "{ended}");
        let bucket = bucket(CommitKind::Data).await;
        let mut wrong = 1;
        bucket.set_plan(move |call| {
            let spoils = call.op == Op::Get && call.key.contains("/log/") && wrong > 0;
            wrong -= i32::from(spoils);
            if spoils { Fault::Wrong(Wrong::Flipped) } else { Fault::None }
        });
        assert_eq!(read(&bucket).await.unwrap().newest(), Version(3));
    }
}
