//! Records in insertion order. Rows that inserted their record lie in that order already, as their position is their
//! address. Only rows that updated older records must be sorted in between.
//! Invariant: positions ascend strictly, since no two live records have one.

use super::select::Selected;
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::record::Address;

/// The selected rows by position.
pub fn in_order<'a>(snapshot: &'a Snapshot, selected: &'a Selected) -> impl Iterator<Item = (Address, RowRef)> + 'a {
    let mut settled = settled(snapshot, selected).peekable();
    let mut moved = moved(snapshot, selected).into_iter().peekable();
    std::iter::from_fn(move || match (settled.peek(), moved.peek()) {
        (Some(first), Some(second)) if second.0 < first.0 => moved.next(),
        (None, _) => moved.next(),
        _ => settled.next(),
    })
}

/// Selected rows whose position is their address, in ascending order.
fn settled<'a>(snapshot: &'a Snapshot, selected: &'a Selected) -> impl Iterator<Item = (Address, RowRef)> + 'a {
    snapshot.chunks.iter().enumerate().flat_map(move |(chunk, view)| {
        let moved = view.chunk.moved();
        let here = selected.of(snapshot, chunk).iter().filter(|row| moved.is_empty() || !moved.contains(*row));
        here.map(move |row| (view.chunk.address(row), RowRef { chunk, row }))
    })
}

/// Selected rows of updated records, sorted by position.
fn moved(snapshot: &Snapshot, selected: &Selected) -> Vec<(Address, RowRef)> {
    let mut rows: Vec<(Address, RowRef)> = Vec::new();
    for (chunk, view) in snapshot.chunks.iter().enumerate().filter(|(_, view)| !view.chunk.moved().is_empty()) {
        let here = view.chunk.moved() & selected.of(snapshot, chunk);
        rows.extend(here.iter().map(|row| (view.chunk.position(row), RowRef { chunk, row })));
    }
    rows.sort_unstable();
    rows
}
