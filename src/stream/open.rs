//! Opening a stream: HEAD, then segments and graphs in parallel straight into memory, then the tail
//! (docs/protocol.md#open). Invariant: the opened replica holds every commit acknowledged before opening began.
//! Opening changes nothing but this instance's memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;

use super::anchor::Anchor;
use super::context::{Context, StreamError};
use super::load::Loader;
use super::replica::Replica;
use super::state::State;
use crate::bucket::BucketError;
use crate::compute::off_thread;
use crate::format::head::{GraphEntry, Head, InvertedEntry, Life, MapEntry, SegmentEntry};
use crate::format::inverted::{Inverted, decode_inverted};
use crate::format::map::{StoredMap, decode_map};
use crate::format::{Checksum, FormatError, Pieces, Rows, SegmentReader};
use crate::record::Version;

/// How often an opening starts anew because HEAD moved on under it.
const ATTEMPTS: usize = 8;
/// Objects of one stream fetched at once.
pub const PARALLEL_OBJECTS: usize = 8;
/// How many slots of the log are read at once at first; the number grows as commits are found. Two slots reveal a slot
/// deleted from under a commit; more would be wasted, as most logs are short.
const FIRST_SLOTS: usize = 2;

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
    let read = context.read_head().await?;
    if read.head.state == Life::Dropped {
        return Err(StreamError::Dropped);
    }
    state.configure(&read.head.config).map_err(corrupted(context.stream.head()))?;
    let loader = Loader::new(context.clone());
    let (state, graphs) = match S::READS_OBJECTS {
        true => {
            let segments = load_segments(&loader, &read.head, state);
            futures::future::try_join(segments, fetch_graphs(&loader, &read.head)).await?
        }
        false => {
            let below = Version(read.head.floor.0.saturating_sub(1));
            state.load(Vec::new(), below, Vec::new()).map_err(corrupted(context.stream.head()))?;
            (state, Vec::new())
        }
    };
    let mut anchor = Anchor::default();
    anchor.observe(&read, issued, read.head.floor);
    let mut replica = Replica::at_floor(context.clone(), state, &read.head, anchor);
    match replica.catch_up(FIRST_SLOTS).await {
        // The commits before the damage are sound; readers learn of the damage.
        Err(StreamError::Corrupted { key, cause }) if context.serve_damaged => replica.damage = Some((key, cause)),
        caught_up => drop(caught_up?),
    }
    // Graphs come after the tail: a graph may cover commits that are in no segment yet.
    take_in_graphs(context, graphs, &replica.state).await?;
    replica.live = true;
    Ok(replica)
}

async fn load_segments<S: State>(loader: &Loader, head: &Head, mut state: S) -> Result<S, StreamError> {
    let mut segments = stream::iter(head.segs.clone())
        .map(|entry| async move {
            let both = futures::future::try_join(loader.segment(&entry), fetch_inverted(loader, &entry)).await;
            (both, entry)
        })
        .buffered(PARALLEL_OBJECTS);
    while let Some((both, entry)) = segments.next().await {
        loader.context.counters.bytes_loaded.add(entry.bytes);
        let (taken, loaded) = {
            let (groups, inverted) = both?;
            off_thread(move || {
                let _span = tracing::debug_span!(target: "drumlin::load", "take in").entered();
                let loaded = state.load(groups, entry.hi, inverted);
                (state, loaded.map_err(|cause| StreamError::corrupted(entry.key, &cause)))
            })
            .await?
        };
        loaded?;
        state = taken;
    }
    Ok(state)
}

/// Decodes a segment and checks that it is the one HEAD names.
pub fn read_segment(bytes: &Bytes, stream: &str, entry: &SegmentEntry) -> Result<Vec<Rows>, FormatError> {
    let pieces = Pieces::whole(bytes);
    let reader = SegmentReader::open(&pieces)?;
    check_named(&reader, stream, entry)?;
    let groups = (0..reader.groups()).map(|group| reader.read_group(&pieces, group));
    let groups: Vec<Rows> = groups.collect::<Result<_, _>>()?;
    SegmentReader::check_order(&groups)?;
    Ok(groups)
}

/// Checks that an opened segment is the one HEAD names.
pub fn check_named(reader: &SegmentReader, stream: &str, entry: &SegmentEntry) -> Result<(), FormatError> {
    let (header, stream) = (reader.header(), entry.written_for(stream));
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
    Ok(())
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

/// Fetches the graphs that HEAD names. A graph is a cache: if one is damaged, its records are scanned until it is
/// rebuilt.
async fn fetch_graphs(loader: &Loader, head: &Head) -> Result<Vec<(GraphEntry, Bytes)>, StreamError> {
    let mut fetches = stream::iter(head.graphs.clone())
        .map(|entry| async move { (fetch_checked(loader, &entry).await, entry) })
        .buffered(PARALLEL_OBJECTS);
    let mut graphs = Vec::with_capacity(head.graphs.len());
    while let Some((bytes, entry)) = fetches.next().await {
        match bytes {
            Ok(bytes) => graphs.push((entry, bytes)),
            Err(StreamError::Corrupted { key, cause }) => {
                tracing::warn!(%key, %cause, "a graph cannot be used and will be rebuilt");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(graphs)
}

/// Fetches and decodes the inverted indexes of a segment. They are a cache: one that cannot be used is left out.
async fn fetch_inverted(loader: &Loader, segment: &SegmentEntry) -> Result<Vec<Inverted>, StreamError> {
    let stream = loader.context.stream.to_string();
    let mut usable = Vec::new();
    for entry in segment.inverted.iter().filter(|entry| entry.kind().is_some()) {
        let bytes = match fetch_sound(loader, &entry.key, (entry.bytes, entry.xxh3)).await {
            Ok(bytes) => bytes,
            Err(StreamError::Corrupted { key, cause }) => {
                note_unusable(&loader.context, key, &cause);
                continue;
            }
            Err(error) => return Err(error),
        };
        loader.context.counters.bytes_loaded.add(entry.bytes);
        let (named, segment, stream) = (entry.clone(), segment.clone(), stream.clone());
        let decoded = off_thread(move || {
            let _span = tracing::debug_span!(target: "drumlin::load", "inverted").entered();
            read_inverted(&bytes, &stream, &segment, &named)
        });
        match decoded.await? {
            Ok(inverted) => {
                loader.context.counters.inverted_loaded.count();
                usable.push(inverted);
            }
            Err(cause) => note_unusable(&loader.context, entry.key.clone(), &cause.to_string()),
        }
    }
    Ok(usable)
}

/// Notes that an inverted index is to be replaced.
fn note_unusable(context: &Context, key: String, cause: &str) {
    tracing::warn!(%key, %cause, "an inverted index cannot be used and will be rebuilt");
    context.unusable.lock().insert(key);
}

/// Decodes an inverted index and checks that it is the one HEAD names, of that segment.
pub fn read_inverted(
    bytes: &Bytes,
    stream: &str,
    segment: &SegmentEntry,
    entry: &InvertedEntry,
) -> Result<Inverted, FormatError> {
    let (header, parts) = decode_inverted(bytes)?;
    let expected = (segment.written_for(stream), segment.xxh3, entry.kind());
    let found = (header.stream.as_str(), header.segment, Some(header.kind.clone()));
    match found == expected {
        true => Ok(Inverted { kind: header.kind, parts }),
        false => Err(FormatError::Damaged(format!(
            "inverted index says {found:?} (stream, segment, kind), HEAD names {expected:?}"
        ))),
    }
}

async fn take_in_graphs<S: State>(
    context: &Arc<Context>,
    graphs: Vec<(GraphEntry, Bytes)>,
    state: &Arc<Mutex<S>>,
) -> Result<(), StreamError> {
    for (entry, bytes) in graphs {
        let state = state.clone();
        let loaded = off_thread(move || {
            let _span = tracing::debug_span!(target: "drumlin::load", "graph").entered();
            state.lock().load_graph(&entry, bytes).map_err(|cause| (entry.key, cause))
        });
        match loaded.await? {
            Ok(()) => context.counters.graphs_loaded.count(),
            Err((key, cause)) => tracing::warn!(%key, %cause, "a graph cannot be used and will be rebuilt"),
        }
    }
    Ok(())
}

/// Fetches and checks a graph that HEAD names.
pub async fn fetch_graph(context: &Arc<Context>, entry: &GraphEntry) -> Result<Bytes, StreamError> {
    fetch_checked(&Loader::new(context.clone()), entry).await
}

async fn fetch_checked(loader: &Loader, entry: &GraphEntry) -> Result<Bytes, StreamError> {
    let bytes = fetch_sound(loader, &entry.key, (entry.bytes, entry.xxh3)).await?;
    loader.context.counters.bytes_loaded.add(entry.bytes);
    Ok(bytes)
}

/// Fetches, checks and decodes the map that HEAD names.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub async fn fetch_map(context: &Arc<Context>, entry: &MapEntry) -> Result<StoredMap, StreamError> {
    let bytes = fetch_sound(&Loader::new(context.clone()), &entry.key, (entry.bytes, entry.xxh3)).await?;
    let (stream, named) = (context.stream.to_string(), entry.clone());
    let read = off_thread(move || read_map(&bytes, &stream, &named)).await?;
    read.map_err(|cause| StreamError::corrupted(entry.key.clone(), &cause))
}

/// Decodes a map and checks that it is the one HEAD names.
pub fn read_map(bytes: &Bytes, stream: &str, entry: &MapEntry) -> Result<StoredMap, FormatError> {
    let map = decode_map(bytes)?;
    let expected = (entry.written_for(stream), entry.version, entry.records);
    let found = (map.header().stream.as_str(), map.header().version, map.records());
    match found == expected {
        true => Ok(map),
        false => {
            Err(FormatError::Damaged(format!("map says {found:?} (stream, version, records), HEAD names {expected:?}")))
        }
    }
}

/// Fetches a segment that HEAD names, in one buffer.
pub async fn fetch_segment(context: &Arc<Context>, entry: &SegmentEntry) -> Result<Bytes, StreamError> {
    fetch_sound(&Loader::new(context.clone()), &entry.key, (entry.bytes, entry.xxh3)).await
}

/// Fetches an object until its bytes have the size and checksum in HEAD.
async fn fetch_sound(loader: &Loader, key: &str, (size, xxh3): (u64, Checksum)) -> Result<Bytes, StreamError> {
    let mut reads = loader.context.reread().begin();
    let mut fetcher = loader.fetcher.clone();
    loop {
        let damage = match fetcher.whole(key, size).await {
            Ok(bytes) => {
                let checked = off_thread(move || {
                    let _span = tracing::debug_span!(target: "drumlin::load", "hash").entered();
                    check_object(&bytes, size, xxh3).map(|()| bytes)
                });
                match checked.await? {
                    Ok(bytes) => return Ok(bytes),
                    Err(cause) => StreamError::corrupted(key.to_owned(), &cause),
                }
            }
            Err(error) => sort_missing(&loader.context, key, error).await,
        };
        if !matches!(damage, StreamError::Corrupted { .. }) || !reads.again().await {
            return Err(damage);
        }
        fetcher = loader.fetcher.fresh();
    }
}

/// Sorts the failure to fetch an object that HEAD named. If the object is missing, HEAD is read again. An object still
/// named is damage; one no longer named means that HEAD has moved on.
pub async fn sort_missing(context: &Arc<Context>, key: &str, error: BucketError) -> StreamError {
    if !matches!(error, BucketError::NotFound { .. }) {
        return error.into();
    }
    match still_named(context, key).await {
        Ok(true) => {
            StreamError::Corrupted { key: key.to_owned(), cause: "HEAD names it, but it is missing".to_owned() }
        }
        Ok(false) => StreamError::Recycled(format!("{key} is no longer named by HEAD")),
        Err(error) => error,
    }
}

/// Whether HEAD, read again, names an object.
pub async fn still_named(context: &Arc<Context>, key: &str) -> Result<bool, StreamError> {
    let head = context.read_head().await?.head;
    match head.state {
        Life::Dropped => Err(StreamError::Dropped),
        Life::Live => Ok(head.objects().any(|named| named == key)),
    }
}
