//! Segments: what goes in comes out group by group, and no broken rule or byte gets through.

use super::*;
use crate::format::Row;

fn header(lo: u64, hi: u64, dim: usize) -> SegmentHeader {
    SegmentHeader { stream: "c/x".into(), lo: Version(lo), hi: Version(hi), dim }
}

fn put(id: String, embedding: Vec<f32>) -> Row {
    Row { op: RowOp::Put, embedding: Some(embedding), document: Some(format!("about {id}")), ..Row::delete(id) }
}

/// One commit of `count` rows, every `deletes`-th a delete.
fn commit_rows(version: u64, count: usize, dim: usize, deletes: usize) -> Rows {
    let row = |i: usize| match i % deletes {
        0 => Row::delete(format!("{version}-{i}")),
        _ => put(format!("{version}-{i}"), (0..dim).map(|d| (i * dim + d) as f32).collect()),
    };
    Rows::from_iter((1..=count).map(row)).resolve_addresses(Version(version)).unwrap()
}

fn bytes_of(segment: &EncodedSegment) -> Bytes {
    let bytes: Bytes = segment.pieces.concat().into();
    assert_eq!((bytes.len() as u64, Checksum::of(&bytes)), (segment.bytes, segment.xxh3));
    bytes
}

#[test]
fn a_segment_of_many_groups_and_pieces_comes_back_as_it_was() {
    let inputs = [commit_rows(3, 20_000, 128, 7), commit_rows(4, 9, 128, 100), commit_rows(6, 15_000, 128, 16_000)];
    let segment = encode_segment(header(3, 6, 128), &inputs).unwrap();
    assert_eq!((segment.rows, segment.pieces.len()), (35_009, 3));
    assert!(segment.pieces.iter().rev().skip(1).all(|piece| piece.len() == PIECE_BYTES));
    let bytes = bytes_of(&segment);
    let reader = SegmentReader::open(&Pieces::whole(&bytes)).unwrap();
    assert_eq!((reader.header(), reader.groups(), reader.rows()), (&header(3, 6, 128), 3, 35_009));
    let groups = decode_segment(&bytes).unwrap().groups;
    assert_eq!(groups.iter().map(Rows::len).collect::<Vec<_>>(), [ROWS_PER_GROUP, ROWS_PER_GROUP, 2_241]);
    // Rows of the inputs and of the groups, cut the same way.
    let each = |all: &[Rows]| {
        let one = |rows: &Rows| (0..rows.len()).map(|i| rows.ids.value(i).to_owned()).collect::<Vec<_>>();
        let values: Vec<f32> = all.iter().flat_map(|rows| rows.embeddings.values.iter().copied()).collect();
        let ops: Vec<RowOp> = all.iter().flat_map(|rows| rows.ops.iter().copied()).collect();
        (all.iter().flat_map(one).collect::<Vec<_>>(), values, ops)
    };
    assert!(each(&groups) == each(&inputs));
    assert_eq!(groups[2].embeddings.present, None);
}

#[test]
fn segments_without_rows_without_embeddings_and_of_tombstones_come_back() {
    let none: Rows = [Row { embedding: None, ..put("t:x".into(), vec![]) }, Row::delete("y")].into_iter().collect();
    let none = none.resolve_addresses(Version(1)).unwrap();
    let tombstones = Rows::from_iter([Row::delete("y")]).resolve_addresses(Version(2)).unwrap();
    for (dim, rows) in [(0, vec![none.clone()]), (0, vec![]), (5, vec![]), (5, vec![tombstones])] {
        let read = decode_segment(&bytes_of(&encode_segment(header(1, 2, dim), &rows).unwrap())).unwrap();
        assert_eq!(read.header, header(1, 2, dim));
        let with_dim = |mut rows: Rows| {
            rows.embeddings.dim = dim;
            rows
        };
        assert_eq!(read.groups, rows.into_iter().map(with_dim).collect::<Vec<_>>());
    }
    let error = encode_segment(header(1, 2, 5), &[none]).unwrap_err();
    assert_eq!(error, FormatError::Invalid("expected embeddings of 5 floats, got 0".into()));
}

#[test]
fn rows_that_break_a_rule_of_segments_are_not_encoded() {
    let rows = |version| commit_rows(version, 2, 2, 10);
    let later = |column: fn(&mut Rows) -> &mut arrow::array::UInt64Array| {
        let mut rows = rows(2);
        *column(&mut rows) = vec![33554432, 33554434].into();
        rows
    };
    let cases = [
        (vec![rows(4)], "row 0 is of commit 4, outside 2 to 3"),
        (vec![rows(1)], "row 0 is of commit 1, outside 2 to 3"),
        (vec![rows(2), rows(2)], "row 0: address 33554432 does not follow 33554433"),
        (vec![Rows { addresses: None, ..rows(2) }], "rows of a segment need their addresses"),
        (
            vec![later(|rows| &mut rows.positions)],
            "column position, row 1: expected at most Some(33554433), got Some(33554434)",
        ),
        (
            vec![later(|rows| &mut rows.embedded)],
            "column embedded, row 1: expected at most Some(33554433), got Some(33554434)",
        ),
    ];
    for (groups, message) in cases {
        let error = encode_segment(header(2, 3, 2), &groups).unwrap_err();
        assert_eq!(error, FormatError::Invalid(message.into()));
    }
    for (lo, hi) in [(0, 1), (3, 2), (1, 1 << 40)] {
        let error = SegmentWriter::new(header(lo, hi, 1)).err().unwrap();
        let message = format!("versions of a segment: expected 1 <= lo <= hi < 2^40, got {lo} to {hi}");
        assert_eq!(error, FormatError::Invalid(message));
    }
}

#[test]
fn groups_in_the_wrong_order_are_noticed() {
    let (first, second) = (commit_rows(1, 2, 2, 10), commit_rows(2, 2, 2, 10));
    assert_eq!(SegmentReader::check_order(&[first.clone(), second.clone()]), Ok(()));
    let error = SegmentReader::check_order(&[second, first]).unwrap_err();
    assert_eq!(error, damaged("address 16777216 begins a row group but does not follow"));
}

#[test]
fn damaged_bytes_never_panic_and_never_pass_under_the_same_checksum() {
    let segment = encode_segment(header(1, 1, 5), &[commit_rows(1, 40, 5, 6)]).unwrap();
    let bytes = bytes_of(&segment);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= flip;
            let damaged: Bytes = damaged.into();
            assert_ne!(Checksum::of(&damaged), segment.xxh3);
            if let Err(FormatError::Invalid(message)) = decode_segment(&damaged) {
                panic!("byte {at}: {message}");
            }
        }
        let error = decode_segment(&bytes.slice(..at)).unwrap_err();
        assert!(matches!(error, FormatError::Damaged(_)), "the first {at} bytes: {error}");
    }
}

#[test]
fn a_commit_is_not_a_segment() {
    let error = SegmentReader::open(&Pieces::whole(&Bytes::from_static(b"PAR1PAR1"))).unwrap_err();
    assert!(error.to_string().starts_with("not a readable parquet file: "), "{error}");
}
