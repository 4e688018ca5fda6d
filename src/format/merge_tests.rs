//! The fold against a map: after any puts and deletes, in any commits, flushed and compacted in any steps, the segment
//! holds what the map holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::format::segment::{EncodedSegment, SegmentHeader};
use crate::format::{Row, decode_segment};
use crate::record::Address;

const DIM: usize = 3;

/// What the model knows of an id: the address of its latest row, and that row where it is a put.
type MergeModel = BTreeMap<String, (u64, Option<Row>)>;

fn row_strategy() -> impl Strategy<Value = Row> {
    let text = prop::option::of("[a-zé]{0,4}");
    ("[a-h]", any::<bool>(), text, prop::array::uniform3(-4.0f32..4.0)).prop_map(
        |(id, put, document, values)| match put {
            true => Row { op: RowOp::Put, embedding: Some(values.to_vec()), document, ..Row::delete(id) },
            false => Row::delete(id),
        },
    )
}

fn apply(model: &mut MergeModel, version: Version, rows: &[Row]) {
    for (number, row) in rows.iter().enumerate() {
        let address = Address::new(version, number).unwrap();
        let filled = Row {
            position: Some(row.position.unwrap_or(address)),
            embedded: Some(row.embedded.unwrap_or(address)),
            ..row.clone()
        };
        model.insert(row.id.clone(), (address.0, (row.op == RowOp::Put).then_some(filled)));
    }
}

fn header(lo: usize, hi: usize) -> SegmentHeader {
    SegmentHeader { stream: "c/x".into(), lo: Version(lo as u64), hi: Version(hi as u64), dim: DIM }
}

fn merge(header: SegmentHeader, inputs: Vec<Rows>, keep_tombstones: bool) -> EncodedSegment {
    let mut sink = SegmentWriter::new(header).unwrap();
    merge_rows(inputs, keep_tombstones, &mut sink).unwrap();
    sink.finish().unwrap()
}

/// Address, id and the record (none: a tombstone), per row.
type Said = Vec<(u64, String, Option<Row>)>;

/// The decoded groups, in the model's form.
fn read(segment: &EncodedSegment) -> (Vec<Rows>, Said) {
    let bytes: Bytes = segment.pieces.concat().into();
    let groups = decode_segment(&bytes).unwrap().groups;
    let mut said = Vec::new();
    for rows in &groups {
        let mut floats = rows.embeddings.values.chunks(DIM);
        for row in 0..rows.len() {
            let number = |column: &arrow::array::UInt64Array| Some(Address(column.value(row)));
            let put = (rows.ops[row] == RowOp::Put).then(|| Row {
                op: RowOp::Put,
                embedding: floats.next().map(<[f32]>::to_vec),
                document: Rows::text(&rows.documents, row).map(str::to_owned),
                position: number(&rows.positions),
                embedded: number(&rows.embedded),
                ..Row::delete(rows.id(row))
            });
            said.push((rows.addresses.as_ref().unwrap().value(row), rows.id(row).to_owned(), put));
        }
    }
    assert_eq!(said.len() as u64, segment.rows);
    (groups, said)
}

fn expected(model: &MergeModel, keep_tombstones: bool) -> Said {
    let mut rows: Vec<_> = model.iter().map(|(id, (address, row))| (*address, id.clone(), row.clone())).collect();
    rows.retain(|(_, _, row)| keep_tombstones || row.is_some());
    rows.sort_by_key(|(address, ..)| *address);
    rows
}

proptest! {
    #[test]
    fn flush_and_compaction_hold_what_a_map_holds(
        commits in prop::collection::vec(prop::collection::vec(row_strategy(), 0..5), 2..12),
        cut in 1usize..11,
    ) {
        let cut = cut.min(commits.len() - 1);
        let mut model = MergeModel::new();
        let mut resolved = Vec::new();
        for (i, rows) in commits.iter().enumerate() {
            let version = Version(i as u64 + 1);
            // Half of the repeated puts take position and embedding from an earlier row.
            let rows: Vec<Row> = rows.iter().enumerate().map(|(j, row)| match model.get(&row.id) {
                Some((_, Some(old))) if (i + j) % 2 == 0 && row.op == RowOp::Put =>
                    Row { position: old.position, embedded: old.embedded, ..row.clone() },
                _ => row.clone(),
            }).collect();
            apply(&mut model, version, &rows);
            resolved.push(Rows::from_iter(rows).resolve_addresses(version).unwrap());
        }
        let all = commits.len();
        let whole = merge(header(1, all), resolved.clone(), true);
        prop_assert_eq!(read(&whole).1, expected(&model, true));
        let right = resolved.split_off(cut);
        let (left, right) = (merge(header(1, cut), resolved, false), merge(header(cut + 1, all), right, true));
        let inputs = read(&left).0.into_iter().chain(read(&right).0).collect();
        let compacted = merge(header(1, all), inputs, false);
        prop_assert_eq!(read(&compacted).1, expected(&model, false));
    }
}

#[test]
fn tombstones_cannot_be_dropped_from_a_segment_that_others_precede() {
    let mut sink = SegmentWriter::new(header(2, 3)).unwrap();
    let error = merge_rows([], false, &mut sink).unwrap_err();
    assert_eq!(error, FormatError::Invalid("a segment from commit 2 on must keep its tombstones".into()));
}

#[test]
fn inputs_out_of_order_are_refused() {
    let rows = |version| Rows::from_iter([Row::delete(format!("{version}"))]).resolve_addresses(Version(version));
    let mut sink = SegmentWriter::new(header(1, 3)).unwrap();
    let error = merge_rows([rows(2).unwrap(), rows(1).unwrap()], true, &mut sink).unwrap_err();
    assert_eq!(error, FormatError::Invalid("row 0: address 16777216 does not follow 33554432".into()));
}
