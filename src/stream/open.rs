//! Opening a stream: HEAD, then segments and graphs in parallel straight into memory, then the tail
//! (protocol section 6). Invariant: the replica that comes out holds every commit acknowledged before
//! opening began, and has touched nothing but its own memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;

use super::anchor::Anchor;
use super::context::{Context, StreamError};
use super::replica::Replica;
use super::state::State;
use crate::bucket::{BucketError, fetch};
use crate::format::head::{GraphEntry, Head, Life, SegmentEntry};
use crate::format::{Checksum, FormatError, Rows, SegmentReader};
use crate::head;

/// How often an opening starts anew because HEAD moved on under it.
const ATTEMPTS: usize = 8;
/// Objects of one stream fetched at once.
const PARALLEL_OBJECTS: usize = 8;

/// Opens a stream; `fresh` makes an empty state. The state is not published yet.
pub async fn open<S: State>(
    context: &Arc<Context>,
    fresh: &(dyn Fn() -> S + Send + Sync),
) -> Result<Replica<S>, StreamError> {
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        match open_once(context, fresh()).await {
            Err(StreamError::Recycled(moved)) => why = moved,
            other => return other,
        }
    }
    Err(StreamError::Unavailable(format!("the stream kept moving on while it was opened: {why}")))
}

async fn open_once<S: State>(context: &Arc<Context>, mut state: S) -> Result<Replica<S>, StreamError> {
    let corrupted = |key: String| move |cause: FormatError| StreamError::corrupted(key, &cause);
    let issued = context.moments.next();
    let read = head::read(context.bucket.as_ref(), &context.stream)
        .await
        .map_err(|error| StreamError::of_head(error, &context.stream))?;
    if read.head.state == Life::Dropped {
        return Err(StreamError::Dropped);
    }
    state.configure(&read.head.config).map_err(corrupted(context.stream.head()))?;
    let state = load_segments(context, &read.head, state).await?;
    let mut anchor = Anchor::default();
    anchor.observe(&read, issued, read.head.floor);
    let mut replica = Replica::at_floor(context.clone(), state, &read.head, anchor);
    replica.catch_up(context.timing.prefetch).await?;
    // After the tail: a graph may cover commits that are in no segment yet.
    load_graphs(context, &read.head, &replica.state).await?;
    replica.live = true;
    Ok(replica)
}

async fn load_segments<S: State>(context: &Arc<Context>, head: &Head, mut state: S) -> Result<S, StreamError> {
    let mut segments = stream::iter(head.segs.clone())
        .map(|entry| {
            let context = context.clone();
            async move { (load_segment(&context, &entry).await, entry) }
        })
        .buffered(PARALLEL_OBJECTS);
    while let Some((groups, entry)) = segments.next().await {
        context.counters.bytes_loaded.add(entry.bytes);
        let (taken, loaded) = {
            let groups = groups?;
            off_thread(move || {
                let loaded = state.load(groups, entry.hi);
                (state, loaded.map_err(|cause| StreamError::corrupted(entry.key, &cause)))
            })
            .await?
        };
        loaded?;
        state = taken;
    }
    Ok(state)
}

async fn load_segment(context: &Arc<Context>, entry: &SegmentEntry) -> Result<Vec<Rows>, StreamError> {
    let bytes = fetch_named(context, &entry.key, entry.bytes).await?;
    let (key, stream, entry) = (entry.key.clone(), context.stream.to_string(), entry.clone());
    let decoded = off_thread(move || {
        check_object(&bytes, entry.bytes, entry.xxh3)?;
        read_segment(&bytes, &stream, &entry)
    });
    decoded.await?.map_err(|cause| StreamError::corrupted(key, &cause))
}

/// Decodes a segment and checks that it is the one HEAD names.
pub fn read_segment(bytes: &Bytes, stream: &str, entry: &SegmentEntry) -> Result<Vec<Rows>, FormatError> {
    let reader = SegmentReader::open(bytes)?;
    let header = reader.header();
    if header.stream != stream || header.lo != entry.lo || header.hi != entry.hi || reader.rows() != entry.rows {
        return Err(FormatError::Damaged(format!(
            "segment holds {} rows of {} {}..={}, HEAD names {} rows of {stream} {}..={}",
            reader.rows(),
            header.stream,
            header.lo,
            header.hi,
            entry.rows,
            entry.lo,
            entry.hi
        )));
    }
    let groups: Vec<Rows> = (0..reader.groups()).map(|group| reader.read_group(group)).collect::<Result<_, _>>()?;
    SegmentReader::check_order(&groups)?;
    Ok(groups)
}

/// Checks an object against the size and checksum that HEAD names.
pub fn check_object(bytes: &Bytes, size_bytes: u64, xxh3: Checksum) -> Result<(), FormatError> {
    if bytes.len() as u64 != size_bytes {
        return Err(FormatError::Damaged(format!("object has {} bytes, HEAD names {size_bytes}", bytes.len())));
    }
    let found = Checksum::of(bytes);
    if found != xxh3 {
        return Err(FormatError::Damaged(format!("object has checksum {found}, HEAD names {xxh3}")));
    }
    Ok(())
}

async fn load_graphs<S: State>(context: &Arc<Context>, head: &Head, state: &Arc<Mutex<S>>) -> Result<(), StreamError> {
    let mut graphs = stream::iter(head.graphs.clone())
        .map(|entry| {
            let context = context.clone();
            async move { (fetch_graph(&context, &entry).await, entry) }
        })
        .buffered(PARALLEL_OBJECTS);
    while let Some((bytes, entry)) = graphs.next().await {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            // A graph is a cache: without it the records are scanned until it is rebuilt.
            Err(StreamError::Corrupted { key, cause }) => {
                tracing::warn!(%key, %cause, "a graph cannot be used and will be rebuilt");
                continue;
            }
            Err(error) => return Err(error),
        };
        let state = state.clone();
        let loaded = off_thread(move || state.lock().load_graph(&entry, bytes).map_err(|cause| (entry.key, cause)));
        match loaded.await? {
            Ok(()) => context.counters.graphs_loaded.count(),
            Err((key, cause)) => tracing::warn!(%key, %cause, "a graph cannot be used and will be rebuilt"),
        }
    }
    Ok(())
}

/// Fetches and checks a graph that HEAD names.
pub async fn fetch_graph(context: &Arc<Context>, entry: &GraphEntry) -> Result<Bytes, StreamError> {
    let bytes = fetch_named(context, &entry.key, entry.bytes).await?;
    context.counters.bytes_loaded.add(entry.bytes);
    let (bytes, checked) = {
        let (size, xxh3) = (entry.bytes, entry.xxh3);
        off_thread(move || {
            let checked = check_object(&bytes, size, xxh3);
            (bytes, checked)
        })
        .await?
    };
    checked.map_err(|cause| StreamError::corrupted(entry.key.clone(), &cause))?;
    Ok(bytes)
}

/// Fetches an object that HEAD names. If it is missing, HEAD is read again: still named is damage, no
/// longer named means that HEAD has moved on.
pub async fn fetch_named(context: &Arc<Context>, key: &str, size_bytes: u64) -> Result<Bytes, StreamError> {
    match fetch::whole(&context.bucket, key, size_bytes).await {
        Ok(bytes) => Ok(bytes),
        Err(BucketError::NotFound { .. }) => {
            let read = head::read(context.bucket.as_ref(), &context.stream)
                .await
                .map_err(|error| StreamError::of_head(error, &context.stream))?;
            let head = &read.head;
            let named = head.segs.iter().any(|s| s.key == key) || head.graphs.iter().any(|g| g.key == key);
            Err(match (named, head.state) {
                (_, Life::Dropped) => StreamError::Dropped,
                (true, _) => {
                    StreamError::Corrupted { key: key.to_owned(), cause: "HEAD names it, but it is missing".to_owned() }
                }
                (false, _) => StreamError::Recycled(format!("{key} is no longer named by HEAD")),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Runs CPU work off the async threads.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StreamError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| StreamError::Unavailable(format!("background work was cut short: {e}")))
}
