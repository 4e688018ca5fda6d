//! The rows that recent filters selected, since callers repeat their filters: of one tenant, of one kind, page by page.
//! Invariants: an entry is used only on the very chunks and graphs that it was made of, which never change, so no
//! write needs to tell the cache. It keeps none of them in memory, and its bytes are at most one for each record.

use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use roaring::RoaringBitmap;

use super::graphs::GraphView;
use super::snapshot::{ChunkView, Snapshot};
use crate::filter::Filter;
use crate::index::NodeBitmap;

/// Selections that are kept however few records there are.
const LEAST_BYTES: u64 = 64 << 10;
/// The most selections: each search compares its filter with theirs.
const MOST_ENTRIES: usize = 32;

/// Some rows of each chunk of a snapshot.
#[derive(Debug)]
pub struct SelectedRows {
    rows: Vec<RoaringBitmap>,
    nodes: OnceLock<Vec<NodeBitmap>>,
}

impl SelectedRows {
    /// A selection of rows, for each chunk.
    pub fn new(rows: Vec<RoaringBitmap>) -> SelectedRows {
        SelectedRows { rows, nodes: OnceLock::new() }
    }

    /// The rows of each chunk.
    pub fn rows(&self) -> &[RoaringBitmap] {
        &self.rows
    }

    /// The nodes of each graph that these rows are; `snapshot` must be the one that they were selected from.
    pub fn nodes(&self, snapshot: &Snapshot) -> &[NodeBitmap] {
        self.nodes.get_or_init(|| nodes_of(snapshot, &self.rows))
    }

    /// Bytes of memory, with those of the nodes that may come.
    fn size_bytes(&self, graphs: &[Arc<GraphView>]) -> u64 {
        let rows: usize = self.rows.iter().map(|rows| rows.serialized_size() + size_of::<RoaringBitmap>()).sum();
        let nodes: usize = graphs.iter().map(|view| view.part.graph.len() / 8 + size_of::<NodeBitmap>()).sum();
        (rows + nodes) as u64
    }
}

/// The nodes that these rows link to, for each graph.
fn nodes_of(snapshot: &Snapshot, rows: &[RoaringBitmap]) -> Vec<NodeBitmap> {
    let graphs = &snapshot.graphs;
    let mut nodes: Vec<NodeBitmap> = graphs.iter().map(|view| NodeBitmap::none(view.part.graph.len())).collect();
    for (view, rows) in snapshot.chunks.iter().zip(rows) {
        for link in rows.iter().filter_map(|row| view.link(row)) {
            if let Some(at) = graphs.iter().position(|graph| graph.number == link.graph) {
                nodes[at].insert(link.node);
            }
        }
    }
    nodes
}

/// The cache of a collection, shared by its snapshots.
#[derive(Debug, Default)]
pub struct SelectionCache {
    /// The most recently used last.
    entries: Mutex<Vec<CachedSelection>>,
}

#[derive(Debug)]
struct CachedSelection {
    filter: Filter,
    chunks: Vec<Weak<ChunkView>>,
    graphs: Vec<Weak<GraphView>>,
    selected: Arc<SelectedRows>,
    bytes: u64,
}

impl CachedSelection {
    /// Whether the entry was made of these chunks and graphs. An allocation lives as long as weak references to it, so
    /// that nothing else has its address.
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        same(&self.chunks, &snapshot.chunks) && same(&self.graphs, &snapshot.graphs)
    }
}

fn same<T>(weak: &[Weak<T>], strong: &[Arc<T>]) -> bool {
    weak.len() == strong.len() && weak.iter().zip(strong).all(|(weak, strong)| weak.as_ptr() == Arc::as_ptr(strong))
}

impl SelectionCache {
    /// What the filter selects of a snapshot, if that was asked before.
    pub fn get(&self, snapshot: &Snapshot, filter: &Filter) -> Option<Arc<SelectedRows>> {
        let mut entries = self.entries.lock();
        let at = entries.iter().rposition(|entry| entry.filter == *filter && entry.is_of(snapshot))?;
        let entry = entries.remove(at);
        let selected = entry.selected.clone();
        entries.push(entry);
        Some(selected)
    }

    /// Keeps a selection, and drops the least recently used ones for it.
    pub fn put(&self, snapshot: &Snapshot, filter: &Filter, selected: &Arc<SelectedRows>) {
        let bytes = selected.size_bytes(&snapshot.graphs) + filter.size_bytes() as u64;
        let most = snapshot.live.max(LEAST_BYTES);
        let mut entries = self.entries.lock();
        // Writes and new graphs make entries useless; of two requests with one filter the later one counts.
        entries.retain(|entry| entry.is_of(snapshot) && entry.filter != *filter);
        if bytes > most {
            return;
        }
        let mut sum = bytes + entries.iter().map(|entry| entry.bytes).sum::<u64>();
        while sum > most || entries.len() >= MOST_ENTRIES {
            sum -= entries.remove(0).bytes;
        }
        entries.push(CachedSelection {
            filter: filter.clone(),
            chunks: snapshot.chunks.iter().map(Arc::downgrade).collect(),
            graphs: snapshot.graphs.iter().map(Arc::downgrade).collect(),
            selected: selected.clone(),
            bytes,
        });
    }

    /// Bytes of memory.
    pub fn size_bytes(&self) -> u64 {
        let entries = self.entries.lock();
        entries.iter().map(|entry| entry.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::read::select::Selected;
    use crate::collection::replay::Replay;
    use crate::collection::request::{Selection, Write};
    use crate::interrupt::Interrupt;
    use crate::record::{Metadata, Metric, Record};

    fn record(n: i64) -> Record {
        Record::new(format!("r{n}"), vec![n as f32]).with_metadata(Metadata::from([("tenth", n % 10)]))
    }

    fn select(replay: &Replay, filter: &Filter) -> Arc<SelectedRows> {
        match replay.snapshot().select(None, Some(filter), &Interrupt::never()).unwrap() {
            Selected::Rows(selected) => selected,
            Selected::All => panic!("a filter selects rows"),
        }
    }

    fn count(selected: &SelectedRows) -> u64 {
        selected.rows().iter().map(RoaringBitmap::len).sum()
    }

    #[test]
    fn a_filter_is_evaluated_once_until_a_write_changes_the_records() {
        let mut replay = Replay::new(Metric::L2);
        replay.add((0..100).map(record));
        let (third, fourth) = (Filter::eq("tenth", 3), Filter::eq("tenth", 4));
        let first = select(&replay, &third);
        assert_eq!((count(&first), count(&select(&replay, &fourth))), (10, 10));
        assert!(Arc::ptr_eq(&first, &select(&replay, &third)), "the second search repeats the filter");
        for (write, expected) in [
            (Write::Upsert((100..150).map(record).collect()), 15),
            (Write::Delete(Selection { ids: Some(vec!["r3".to_owned()]), ..Selection::default() }), 14),
            (Write::Upsert(vec![Record { id: "r13".to_owned(), ..record(4) }]), 13),
        ] {
            replay.write(write).unwrap();
            assert_eq!(count(&select(&replay, &third)), expected);
        }
        assert_eq!(count(&first), 10, "an answer in the making keeps what it saw");
    }

    #[test]
    fn selections_take_a_byte_for_each_record_at_most_and_the_oldest_go_first() {
        let mut replay = Replay::new(Metric::L2);
        replay.add((0..1_000).map(record));
        let among = |n: i64| Filter::is_in("tenth", (0..2_000).map(|at| at * 100 + n));
        let first = select(&replay, &among(0));
        for n in 1..10 {
            select(&replay, &among(n));
            let bytes = replay.snapshot().selections.size_bytes();
            assert!((1..=LEAST_BYTES).contains(&bytes), "{bytes} bytes after {n}");
        }
        assert!(!Arc::ptr_eq(&first, &select(&replay, &among(0))), "it was dropped for later ones");
        let huge = Filter::is_in("tenth", 0..100_000i64);
        assert!(!Arc::ptr_eq(&select(&replay, &huge), &select(&replay, &huge)), "it would take all the room");
    }
}
