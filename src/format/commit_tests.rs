//! Commits: what goes in comes out, one record stays small, and no broken rule gets through.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::format::{Row, RowOp, StreamConfig};
use crate::record::{MetaValue, Metadata, SparseVector};

pub(crate) fn put(id: &str, embedding: Vec<f32>) -> Row {
    Row { op: RowOp::Put, embedding: Some(embedding), ..Row::delete(id) }
}

fn header(version: u64) -> CommitHeader {
    let prev = Chain { nonce: Nonce(7), xxh3: Checksum(8) };
    CommitHeader {
        stream: "c/6f2c7a52-3c6b-4a0e-9f5e-0c3d4f1a2b3c".into(),
        version: Version(version),
        kind: CommitKind::Data,
        writer: "host-1:4242".into(),
        nonce: Nonce(0x1234_5678_9abc_def0 << 64),
        prev: (version > 1).then_some(prev),
        config: None,
        handover: None,
    }
}

fn round_trip(header: &CommitHeader, rows: &Rows) -> Commit {
    decode_commit(&encode_commit(header, rows).unwrap()).unwrap()
}

#[test]
fn a_commit_comes_back_as_it_was_with_every_kind_of_row() {
    let rows: Rows = [
        Row {
            document: Some("a sentence".into()),
            uri: Some("".into()),
            metadata: Some(r#"{"a":1.0,"b":1}"#.into()),
            ..put("one", vec![1.0, -2.5, f32::MIN_POSITIVE])
        },
        Row::delete("two"),
        Row {
            position: Some(Address::new(Version(3), 2).unwrap()),
            embedded: Some(Address::new(Version(4), 0).unwrap()),
            metadata: Some("{}".into()),
            ..put("drei ✓", vec![0.0, f32::MAX, -0.0])
        },
    ]
    .into_iter()
    .collect();
    let config = json!({"dimension": 3, "schema": {"a": "float"}});
    let header = CommitHeader { config: serde_json::from_value(config).unwrap(), ..header(9) };
    let commit = round_trip(&header, &rows);
    assert_eq!(commit.header, header);
    assert_eq!(commit.rows, rows);
    assert_eq!(Rows::text(&commit.rows.uris, 0), Some(""));
    assert_eq!(Rows::text(&commit.rows.uris, 1), None);
}

#[test]
fn a_commit_moved_to_a_later_slot_is_the_one_that_is_encoded_for_it() {
    let rows: Rows = [
        Row { document: Some("version\u{18}\u{1}3".into()), ..put("a", vec![0.5; 7]) },
        Row { position: Some(Address::new(Version(2), 5).unwrap()), ..put("b", vec![1.0; 7]) },
        Row::delete("c"),
    ]
    .into_iter()
    .collect();
    let config = Some(StreamConfig::of_dimension(7));
    let at = |version: u64, word: u64| CommitHeader {
        prev: Some(Chain { nonce: Nonce(word.into()), xxh3: Checksum(u128::MAX / u128::from(word)) }),
        config: config.clone(),
        ..header(version)
    };
    for (from, to) in [(3, 4), (3, 9), (10, 11), (54_321, 99_999)] {
        let moved = move_commit(&encode_commit(&at(from, 5), &rows).unwrap(), &at(from, 5), &at(to, 9));
        assert_eq!(moved, Some(encode_commit(&at(to, 9), &rows).unwrap()), "{from} to {to}");
    }
    let bytes = encode_commit(&at(9, 5), &rows).unwrap();
    assert_eq!(move_commit(&bytes, &at(9, 5), &at(10, 9)), None, "the number has another length");
    assert_eq!(move_commit(&bytes, &at(9, 5), &at(8, 9)), None, "rows may name addresses right before their own");
    let renamed = CommitHeader { writer: "host-2:4242".into(), ..at(99, 9) };
    let bytes = encode_commit(&at(98, 5), &rows).unwrap();
    assert_eq!(move_commit(&bytes, &at(98, 5), &renamed), None, "something else differs");
}

#[test]
fn commits_without_rows_without_embeddings_and_of_deletes_only_come_back() {
    for rows in [vec![], vec![Row::delete("a")], vec![Row { embedding: None, ..put("t:x", vec![]) }]] {
        let rows: Rows = rows.into_iter().collect();
        assert_eq!(round_trip(&header(1), &rows), Commit { header: header(1), rows });
    }
    let drop = CommitHeader { kind: CommitKind::Drop, ..header(5) };
    assert_eq!(round_trip(&drop, &Rows::from_iter([])).header, drop);
}

#[test]
fn a_handover_comes_back_and_only_one_with_a_successor_has_the_newest_format() {
    let held = CommitHeader { handover: Some(Handover::Hold), ..header(5) };
    let successor = Successor { collection: CollectionId(uuid::Uuid::from_u128(7)), version: Version(41) };
    let to = Some(Handover::To(successor));
    let ended = CommitHeader { kind: CommitKind::Drop, handover: to, ..header(5) };
    let none = Rows::from_iter([]);
    for (header, format) in [(header(5), "1"), (held, "1"), (ended, "3")] {
        let bytes = encode_commit(&header, &none).unwrap();
        assert_eq!(decode_commit(&bytes).unwrap(), Commit { header, rows: none.clone() });
        let file = RecordFile::open(&Pieces::whole(&bytes), Layout::Commit).unwrap();
        assert_eq!(file.require("format").unwrap(), format);
    }
    let refused = encode_commit(&CommitHeader { handover: to, ..header(5) }, &none).unwrap_err();
    assert_eq!(refused, FormatError::Invalid("only a drop names a successor".into()));
}

#[test]
fn a_commit_of_one_record_adds_at_most_1120_bytes_to_it_at_any_version() {
    let record = Row {
        document: Some("Rain moves east over the northern hills by early evening, clearing later.".into()),
        metadata: Some(r#"{"page":12,"source":"weather.txt","lang":"en","score":0.25,"draft":false}"#.into()),
        ..put("sentence-000017", (0..384).map(|i| (i as f32).sin() / 20.0).collect())
    };
    let raw = record.size_bytes();
    let rows: Rows = [record].into_iter().collect();
    let size = |version| encode_commit(&header(version), &rows).unwrap().len();
    let (early, late) = (size(2), size(9_000_000_000));
    println!("{raw} raw bytes: {early} as a commit");
    assert!(early <= raw + 1_120, "{early} bytes for {raw} raw ones");
    assert_eq!(late - early, "9000000000".len() - "2".len());
}

#[test]
fn the_same_commit_is_the_same_bytes() {
    let rows: Rows = [put("a", vec![1.0; 8]), Row::delete("b")].into_iter().collect();
    assert_eq!(encode_commit(&header(4), &rows).unwrap(), encode_commit(&header(4), &rows).unwrap());
}

#[test]
fn rows_that_break_a_rule_are_not_encoded() {
    let good = put("a", vec![1.0, 2.0]);
    let own = Some(Address::new(Version(2), 0).unwrap());
    let cases: Vec<(Vec<Row>, &str)> = vec![
        (vec![put("", vec![1.0])], "column id: expected an id in every row, got an empty one"),
        (vec![put("a", vec![f32::NAN])], "embeddings: expected finite floats, got NaN or infinity"),
        (vec![put("a", vec![f32::INFINITY])], "embeddings: expected finite floats, got NaN or infinity"),
        (vec![good.clone(), put("b", vec![1.0])], "row 1: a put without embedding among embeddings"),
        (
            vec![good.clone(), Row { embedding: Some(vec![1.0, 1.0]), ..Row::delete("b") }],
            "row 1: a delete with an embedding",
        ),
        (
            vec![Row { position: own, ..good.clone() }],
            "column position, row 0: expected an earlier address, got Some(33554432)",
        ),
        (
            vec![Row { embedded: own, ..good }],
            "column embedded, row 0: expected an earlier address, got Some(33554432)",
        ),
    ];
    for (rows, message) in cases {
        let error = encode_commit(&header(2), &rows.into_iter().collect()).unwrap_err();
        assert_eq!(error, FormatError::Invalid(message.into()));
    }
}

#[test]
fn headers_that_break_a_rule_are_not_encoded() {
    let none = Rows::from_iter([]);
    let some: Rows = [Row::delete("a")].into_iter().collect();
    let cases = [
        (header(0), &none, "version: expected 1 to 2^40 - 1, got 0"),
        (header(1 << 40), &none, "version: expected 1 to 2^40 - 1, got 1099511627776"),
        (CommitHeader { prev: None, ..header(2) }, &none, "commit 2 does not name the commit before it"),
        (CommitHeader { prev: header(2).prev, ..header(1) }, &none, "commit 1 names a commit before it"),
        (CommitHeader { kind: CommitKind::Drop, ..header(2) }, &some, "a drop has no rows, this one 1"),
    ];
    for (header, rows, message) in cases {
        assert_eq!(encode_commit(&header, rows).unwrap_err(), FormatError::Invalid(message.into()));
    }
}

#[test]
fn a_newer_format_and_metadata_that_is_no_object_are_refused() {
    let rows: Rows = [put("a", vec![1.0])].into_iter().collect();
    let bytes = encode_commit(&header(2), &rows).unwrap();
    let at = bytes.windows(10).position(|w| w == b"format\x18\x011\x00").unwrap() + 8;
    let mut newer = bytes.to_vec();
    newer[at] = b'4';
    assert_eq!(decode_commit(&newer.into()), Err(FormatError::Newer { found: 4, known: 3 }));
    for text in ["[1]", "{", "null", "{\"a\":}", "", "{} {}"] {
        let rows: Rows = [Row { metadata: Some(text.into()), ..put("a", vec![1.0]) }].into_iter().collect();
        let expected = format!("column metadata, row 0: expected a JSON object, got {text:?}");
        assert_eq!(encode_commit(&header(2), &rows), Err(FormatError::Invalid(expected.clone())));
        assert_eq!(decode_commit(&write_commit(&header(2), &rows).unwrap()), Err(FormatError::Damaged(expected)));
    }
}

#[test]
fn no_byte_can_change_and_no_end_be_missing_unnoticed() {
    let rows: Rows = [
        Row { document: Some("text".into()), metadata: Some("{}".into()), ..put("a", vec![0.5; 5]) },
        Row::delete("b"),
    ]
    .into_iter()
    .collect();
    let header = CommitHeader { config: Some(StreamConfig::of_dimension(5)), ..header(3) };
    let bytes = encode_commit(&header, &rows).unwrap();
    assert_eq!(decode_commit(&bytes), Ok(Commit { header, rows }));
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= flip;
            match decode_commit(&damaged.into()) {
                Err(FormatError::Damaged(_) | FormatError::Newer { .. }) => {}
                other => panic!("byte {at} ^ {flip:#x}: {other:?}"),
            }
        }
        assert!(decode_commit(&bytes.slice(..at)).is_err(), "the first {at} bytes pass as a commit");
    }
    assert!(decode_commit(&Bytes::new()).is_err());
}

#[test]
fn only_a_commit_with_a_sparse_vector_has_the_number_of_the_format_that_brought_them() {
    let number = |metadata: &str| {
        let rows: Rows = [Row { metadata: Some(metadata.into()), ..put("a", vec![1.0]) }].into_iter().collect();
        let bytes = encode_commit(&header(2), &rows).unwrap();
        assert_eq!(decode_commit(&bytes).unwrap().rows, rows);
        let at = bytes.windows(9).position(|w| w == b"format\x18\x01\x31" || w == b"format\x18\x01\x32").unwrap();
        bytes[at + 8]
    };
    let vector = SparseVector::new(vec![1], vec![2.0]).unwrap();
    let sparse = Metadata::from([("a", MetaValue::from(1)), ("v", MetaValue::from(vector))]).to_json_text();
    assert_eq!(number(&sparse), b'2');
    for plain in [r##"{"a":"{\"#type\":\"sparse_vector\",\"indices\":[]}"}"##, r#"{"sparse_vector":[1]}"#, "{}"] {
        assert_eq!(number(plain), b'1', "{plain}");
    }
}
