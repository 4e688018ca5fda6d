//! Loads the state of a stream at an earlier version into memory (docs/protocol.md#restore).
//! Invariants: the stream is only read. A damaged segment or commit ends the load; a graph that cannot be used is left
//! out.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Context, StreamError};
use super::history::History;
use super::load::Loader;
use super::open::fetch_graph;
use super::rewind::{RecipeTail, RewindError};
use super::state::State;
use crate::compute::off_thread;
use crate::format::{FormatError, decode_commit};
use crate::record::Version;

/// Takes the stream's commits up to `version` into an empty state.
pub async fn load_at<S: State>(
    context: &Arc<Context>,
    history: &History,
    version: Version,
    mut state: S,
) -> Result<S, RewindError> {
    let recipe = history.recipe(version, &BTreeSet::new()).ok_or(RewindError::OutOfReach)?;
    let damaged = |key: String| move |cause: FormatError| StreamError::corrupted(key, &cause);
    state.configure(&history.head.config).map_err(damaged(context.stream.head()))?;
    let loader = Loader::new(context.clone());
    for entry in &recipe.segments {
        let (groups, hi) = (loader.segment(entry).await?, entry.hi);
        let load = move || state.load(groups, hi, Vec::new()).map(|()| state);
        state = off_thread(load).await.map_err(StreamError::from)?.map_err(damaged(entry.key.clone()))?;
    }
    let mut tail = RecipeTail::new(context, history, &recipe);
    while tail.next() <= version {
        let key = context.stream.log(tail.next());
        let bytes = tail.take().await?;
        let apply = move || decode_commit(&bytes).and_then(|commit| state.apply(&commit)).map(|()| state);
        state = off_thread(apply).await.map_err(StreamError::from)?.map_err(damaged(key))?;
    }
    // Graphs are a cache: those that cover later commits, or cannot be used, are left out.
    for entry in history.head.graphs.iter().filter(|graph| graph.hi <= version) {
        let Ok(bytes) = fetch_graph(context, entry).await else { continue };
        let graph = entry.clone();
        let load = move || (state.load_graph(&graph, bytes), state);
        let (loaded, taken) = off_thread(load).await.map_err(StreamError::from)?;
        state = taken;
        if let Err(cause) = loaded {
            tracing::warn!(key = entry.key, %cause, "a graph cannot be used for an earlier version");
        }
    }
    Ok(state)
}
