//! Folds rows of adjacent version ranges into one segment: the latest row per id, in address order. Flushes fold
//! commits (with rows resolved by [`Rows::resolve_addresses`]); compactions fold segments.

use std::collections::HashSet;

use super::{FormatError, RowOp, Rows, SegmentWriter};
use crate::record::Version;

/// Writes the latest row per id of `inputs` to `sink`, in address order. The inputs have addresses, come in address
/// order themselves, and cover all versions of the sink's range.
///
/// Tombstones stay unless `keep_tombstones` is false. That is right only for a segment that begins at version 1: a
/// tombstone hides the rows of its id in all earlier segments.
pub fn merge_rows(
    inputs: impl IntoIterator<Item = Rows>,
    keep_tombstones: bool,
    sink: &mut SegmentWriter,
) -> Result<(), FormatError> {
    if !keep_tombstones && sink.header().lo != Version(1) {
        let message = format!("a segment from commit {} on must keep its tombstones", sink.header().lo);
        return Err(FormatError::Invalid(message));
    }
    let inputs: Vec<Rows> = inputs.into_iter().collect();
    let keep = latest_per_id(&inputs);
    for (rows, mut keep) in inputs.into_iter().zip(keep) {
        if !keep_tombstones {
            keep.iter_mut().zip(&rows.ops).for_each(|(keep, op)| *keep &= *op == RowOp::Put);
        }
        match keep.iter().all(|keep| *keep) {
            true => sink.push(rows)?,
            false => sink.push(rows.select(&keep))?,
        }
    }
    Ok(())
}

/// For each row of each input, whether no later row has its id.
fn latest_per_id(inputs: &[Rows]) -> Vec<Vec<bool>> {
    let mut later: HashSet<&str> = HashSet::with_capacity(inputs.iter().map(Rows::len).sum());
    let mut keep: Vec<Vec<bool>> = inputs
        .iter()
        .rev()
        .map(|rows| {
            let mut keep: Vec<bool> = (0..rows.len()).rev().map(|row| later.insert(rows.id(row))).collect();
            keep.reverse();
            keep
        })
        .collect();
    keep.reverse();
    keep
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
