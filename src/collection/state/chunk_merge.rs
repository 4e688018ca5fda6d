//! Chunk merge: small chunks at the end are merged by size. A collection written record by record thus has few
//! chunks, and each row is copied a bounded number of times.
//! Invariant: after each commit there are at most about eight chunks per size (1, 8, 64, … rows) plus one or two for
//! every 8,192 rows. None is more than half dead. Merging drops dead rows and keeps address order. One merge at the
//! end copies less than two full chunks.

use std::ops::Range;
use std::sync::Arc;

use super::chunk::{CHUNK_BYTES, CHUNK_ROWS, Chunk, ChunkKind};
use super::graphs::ChunkLinks;
use super::snapshot::{ChunkView, Snapshot};
use crate::format::FormatError;

/// How many chunks of one size are merged into one of the next.
const FAN_OUT: usize = 8;

/// Merges chunks at the end until the invariant holds.
pub fn merge_tail(snapshot: &mut Snapshot) {
    while let Some(run) = due(&snapshot.chunks) {
        if merge(snapshot, run).is_err() {
            // A merged column cannot be built. The chunks stay as they are, and are right.
            return;
        }
    }
}

/// Rewrites chunks that are more than half dead. Adjacent ones become one as far as they fit. The rows copied are
/// fewer than those that have died since the chunks were made.
pub fn rewrite_sparse(snapshot: &mut Snapshot) {
    let sparse = |view: &Arc<ChunkView>| view.alive.len() * 2 < view.chunk.len() as u64;
    let mut start = 0;
    while let Some(next) = snapshot.chunks.iter().skip(start).position(sparse) {
        start += next;
        let len = snapshot.chunks[start..].iter().take_while(|view| sparse(view)).count();
        // Even where nothing can be merged, the loop goes on behind the run.
        let before = snapshot.chunks.len();
        let merged = merge(snapshot, start..start + len);
        start += snapshot.chunks.len() + len - before;
        if merged.is_err() {
            return;
        }
    }
}

/// The chunks at the end that are due for a merge.
fn due(chunks: &[Arc<ChunkView>]) -> Option<Range<usize>> {
    let (last, before) = chunks.split_last()?;
    if is_full(last) {
        // Chunks before a full one are never at the end again: merge them once, now.
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

/// How many chunks, from the first on, chunk merges have done with: only [`rewrite_sparse`] still changes them.
pub fn settled(chunks: &[Arc<ChunkView>]) -> usize {
    chunks.iter().rposition(|view| is_full(view)).map_or(0, |last| last + 1)
}

/// Whether a chunk is large enough to stay as it is: two such chunks would not fit into one.
fn is_full(view: &ChunkView) -> bool {
    let (rows, bytes) = size(view);
    rows * 2 >= CHUNK_ROWS || bytes * 2 >= CHUNK_BYTES
}

/// The chunk's live rows, and roughly their bytes.
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
