//! The end of collections that were to take the place of others and never will: stopped, left over, or abandoned.
//! Invariant: none is dropped that may still take a name. That it cannot is shown either by the catalog or by the two
//! logs: first a commit in the old collection's, then the end in the new one's, if nobody wrote to it meanwhile
//! (docs/protocol.md#handover).

use std::sync::Arc;

use crate::bucket::Listed;
use crate::bucket::keys::{Role, StreamId};
use crate::error::{Error, ErrorKind, Result};
use crate::record::CollectionId;
use crate::store::{Inner, Store, lifecycle};
use crate::stream::context::StreamError;
use crate::stream::sweep::{list_all, older};

/// How often a stop is tried while another instance works on what is to go.
const ATTEMPTS: usize = 20;

/// Drops a collection that is being filled, so that it never takes the place of `source`.
pub(super) async fn give_up(store: &Store, source: CollectionId, filler: CollectionId) -> Result<()> {
    for _ in 0..ATTEMPTS {
        match try_give_up(store, source, filler).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => return done,
        }
    }
    let what = "another server keeps working on it; stop it there, or try again";
    Err(Error::new(ErrorKind::Conflict, what))
}

async fn try_give_up(store: &Store, source: CollectionId, filler: CollectionId) -> Result<()> {
    let half = store.entry(filler).await?.opened().await?;
    let seen = half.newest().await?.version();
    let whole = store.entry(source).await?.opened().await?;
    // IMPORTANT: in this order. A job that ends the old collection after this commit has written to the new one after
    // it, too, so that the new one is no longer at the version that was seen.
    match whole.write_after(None, Vec::new()).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound && whole.stream().shared().successor().is_some() => {
            lifecycle::finish_drop(&store.inner, source).await?;
            return Err(Error::new(ErrorKind::NotFound, "it is over: the new collection has the name"));
        }
        Err(error) => return Err(error),
    }
    half.end_after(seen, None).await?;
    drop(half);
    lifecycle::finish_drop(&store.inner, filler).await
}

/// Drops what was to take the place of collections that are gone. They cannot come back, so nothing ever will.
pub(in crate::store) async fn drop_left_over(inner: &Arc<Inner>) {
    let Some(store) = inner.handle() else { return };
    let view = inner.view.load_full();
    let gone = |source: Option<CollectionId>| source.is_some_and(|source| !view.is_live(source));
    for (id, record) in view.live().filter(|(_, record)| gone(record.fills_in_for)) {
        let ended = async {
            store.end(id).await?;
            lifecycle::finish_drop(inner, id).await
        };
        if let Err(error) = ended.await {
            tracing::warn!(collection = %record.name, %error, "what was left over of it could not be dropped yet");
        }
    }
}

/// Drops what nobody has worked on for a sweep interval.
pub(in crate::store) async fn sweep_abandoned(inner: &Arc<Inner>) {
    let Some(store) = inner.handle() else { return };
    let view = inner.view.load_full();
    let fillers = view.live().filter_map(|(id, record)| Some((id, record.fills_in_for?)));
    for (filler, source) in fillers.filter(|(_, source)| view.is_live(*source)) {
        match is_old(inner, filler).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                tracing::warn!(%filler, %error, "how old it is could not be found out");
                continue;
            }
        }
        match try_give_up(&store, source, filler).await {
            Ok(()) => tracing::info!(%source, "its new embeddings were abandoned, and are dropped"),
            Err(error) => tracing::warn!(%source, %error, "its abandoned embeddings could not be dropped yet"),
        }
    }
}

/// Whether nothing was written to a stream for a sweep interval. Of its objects, HEAD is written by maintenance, too.
async fn is_old(inner: &Inner, id: CollectionId) -> Result<bool, StreamError> {
    let stream = StreamId::Collection(id);
    let context = inner.context(stream.clone());
    let read = context.read_head().await?;
    let Some(now) = read.date else { return Ok(false) };
    let objects = list_all(&context, &stream.prefix()).await?;
    let (heads, mut written): (Vec<Listed>, Vec<Listed>) = objects.into_iter().partition(|o| o.key == stream.head());
    written.retain(|object| matches!(stream.role(&object.key), Some(Role::Commit(_) | Role::Segment)));
    let written = if written.is_empty() { heads } else { written };
    Ok(written.iter().all(|object| older(object, now, context.timing.sweep_interval)))
}
