//! How many chunks there are: small ones at the end are merged by size, so that a collection written
//! record by record has few, and each row is copied a bounded number of times.
//! Invariant: after each commit there are at most about eight chunks per size (1, 8, 64, … rows) plus
//! one or two for every 8,192 rows, none more than half dead. Merging drops dead rows and keeps address order; what
//! a merge at the end copies comes to less than two full chunks.

use std::ops::Range;
use std::sync::Arc;

use super::chunk::{CHUNK_BYTES, CHUNK_ROWS, Chunk, ChunkKind};
use super::graphs::ChunkLinks;
use super::snapshot::{ChunkView, Snapshot};
use crate::format::FormatError;

/// Chunks of one size that are merged into one of the next.
const FAN_OUT: usize = 8;

/// Merges at the end of the chunks until the invariant holds.
pub fn merge_tail(snapshot: &mut Snapshot) {
    while let Some(run) = due(&snapshot.chunks) {
        if merge(snapshot, run).is_err() {
            // Only if a merged column cannot be: the chunks are right as they are.
            return;
        }
    }
}

/// Rewrites chunks that are more than half dead, adjacent ones into one as far as they fit. What it copies
/// is less than what has died since the chunks were made.
pub fn rewrite_sparse(snapshot: &mut Snapshot) {
    let sparse = |view: &Arc<ChunkView>| view.alive.len() * 2 < view.chunk.len() as u64;
    let mut start = 0;
    while let Some(next) = snapshot.chunks.iter().skip(start).position(sparse) {
        start += next;
        let len = snapshot.chunks[start..].iter().take_while(|view| sparse(view)).count();
        // Even where nothing can be merged, what follows the run is looked at next.
        let before = snapshot.chunks.len();
        let merged = merge(snapshot, start..start + len);
        start += snapshot.chunks.len() + len - before;
        if merged.is_err() {
            return;
        }
    }
}

/// The chunks at the end that are to be merged now.
fn due(chunks: &[Arc<ChunkView>]) -> Option<Range<usize>> {
    let (last, before) = chunks.split_last()?;
    if is_full(last) {
        // What lies before a full chunk is never at the end again: merge it once, now.
        let run = before.iter().rev().take_while(|view| !is_full(view)).count();
        return (run >= 2).then(|| before.len() - run..before.len());
    }
    let open = chunks.iter().rev().take_while(|view| !is_full(view));
    let (rows, bytes) = open.clone().map(|view| size(view)).fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    if rows >= CHUNK_ROWS || bytes >= CHUNK_BYTES {
        return Some(chunks.len() - open.count()..chunks.len());
    }
    let top = level(last);
    let run = open.take_while(|view| level(view) <= top).count();
    (run >= FAN_OUT).then(|| chunks.len() - run..chunks.len())
}

/// Large enough to stay as it is: merging two would not fit one.
fn is_full(view: &ChunkView) -> bool {
    let (rows, bytes) = size(view);
    rows * 2 >= CHUNK_ROWS || bytes * 2 >= CHUNK_BYTES
}

/// Its live rows and, about, their bytes.
fn size(view: &ChunkView) -> (usize, usize) {
    let rows = view.alive.len() as usize;
    (rows, rows * view.chunk.mean_row_bytes())
}

/// log₈ of the live rows.
fn level(view: &ChunkView) -> u32 {
    view.alive.len().max(1).ilog(FAN_OUT as u64)
}

/// Replaces these chunks by as few as hold their live rows.
fn merge(snapshot: &mut Snapshot, run: Range<usize>) -> Result<(), FormatError> {
    let merged = gather(&snapshot.chunks[run.clone()], snapshot.chunk_kind())?;
    snapshot.chunks.splice(run, merged.into_iter().map(Arc::new));
    Ok(())
}

fn gather(views: &[Arc<ChunkView>], kind: ChunkKind) -> Result<Vec<ChunkView>, FormatError> {
    let chunks: Vec<&Chunk> = views.iter().map(|view| view.chunk.as_ref()).collect();
    let mut pieces: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut bytes = usize::MAX;
    for (n, view) in views.iter().enumerate() {
        for row in &view.alive {
            let more = view.chunk.row_bytes(row);
            match pieces.last_mut() {
                Some(piece) if piece.len() < CHUNK_ROWS && bytes + more <= CHUNK_BYTES => {
                    piece.push((n, row as usize));
                    bytes += more;
                }
                _ => {
                    pieces.push(vec![(n, row as usize)]);
                    bytes = more;
                }
            }
        }
    }
    let merged = pieces.iter().map(|rows| {
        let links = rows.iter().map(|(n, row)| views[*n].link(*row as u32));
        let view = ChunkView::new(Chunk::gather(&chunks, rows, kind)?);
        Ok(ChunkView { links: ChunkLinks::among(links.collect(), &view.alive), ..view })
    });
    merged.collect()
}
