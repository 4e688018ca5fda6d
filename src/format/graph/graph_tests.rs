//! Graph objects: what is written reads back, by us and by Arrow's own reader; what is damaged is refused.

use std::io::Cursor;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::MutableBuffer;
use arrow::datatypes::{Int8Type, UInt32Type, UInt64Type};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use bytes::Bytes;

use super::*;

/// Nine nodes in a ring, two of them on level 1, one on level 2.
fn ring() -> (GraphHeader, NodeColumns) {
    let header = GraphHeader {
        stream: "c/0d9f".into(),
        lo: Version(3),
        hi: Version(5),
        metric: Metric::Cosine,
        dim: 3,
        m: 16,
        ef_construction: 100,
        seed: 42,
        builder: "hand".into(),
        traversal: Traversal::Codes,
        entry: 0,
        rotation: Some(u64::MAX),
        scale: 0.1,
        mean: vec![0.25, -1e-7, 1.0 / 3.0],
    };
    let address = |i: u64| (3 + i % 3) << 24 | i;
    let addresses: Vec<u64> = (0..9).map(address).collect();
    let mut address_order: Vec<u32> = (0..9).collect();
    address_order.sort_by_key(|node| addresses[*node as usize]);
    let columns = NodeColumns {
        addresses: addresses.into(),
        address_order: address_order.into(),
        biases: (0..9).map(|i| i as f32 / 3.0).collect::<Vec<_>>().into(),
        codes: (0..27).map(|i| (i * 9 - 120) as i8).collect::<Vec<_>>().into(),
        neighbours: Lists {
            offsets: (0..10).map(|i| i * 2).collect::<Vec<i32>>().into(),
            values: (0..9).flat_map(|i| [(i + 1) % 9, (i + 8) % 9]).collect::<Vec<u32>>().into(),
        },
        levels: vec![0, 2, 3, 3, 3, 3, 3, 3, 3, 3].into(),
        upper: Lists { offsets: vec![0, 1, 1, 2].into(), values: vec![1, 0].into() },
    };
    (header, columns)
}

fn graph() -> GraphColumns {
    let (header, columns) = ring();
    GraphColumns::checked(header, columns).expect("the ring is whole")
}

/// A copy of the bytes that begins `skip` past a multiple of 64.
fn placed(bytes: &[u8], skip: usize) -> Bytes {
    let mut buffer = MutableBuffer::new(bytes.len() + skip);
    buffer.extend_from_slice(&vec![0u8; skip]);
    buffer.extend_from_slice(bytes);
    let buffer: arrow::buffer::Buffer = buffer.into();
    Bytes::from_owner(buffer).slice(skip..)
}

fn message(result: Result<GraphColumns, FormatError>) -> String {
    result.expect_err("this must be refused").to_string()
}

#[test]
fn what_is_encoded_decodes_to_the_same_wherever_it_lies() {
    let bytes = encode_graph(&graph()).expect("encodes");
    for skip in [0, 1, 2, 4, 8, 63] {
        assert_eq!(decode_graph(placed(&bytes, skip)).expect("decodes"), graph(), "skip {skip}");
    }
}

#[test]
fn an_aligned_object_is_used_where_it_lies() {
    let bytes = placed(&encode_graph(&graph()).expect("encodes"), 0);
    let range = bytes.as_ptr_range();
    let decoded = decode_graph(bytes).expect("decodes");
    let columns = decoded.columns();
    for (name, start) in [
        ("address", columns.addresses.inner().as_ptr()),
        ("code", columns.codes.inner().as_ptr()),
        ("neighbours", columns.neighbours.values.inner().as_ptr()),
        ("upper", columns.upper.values.inner().as_ptr()),
    ] {
        assert!(range.contains(&start), "{name} was copied");
        assert_eq!(start.align_offset(64), 0, "{name} is not at a multiple of 64 bytes");
    }
}

#[test]
fn a_graph_without_upper_levels_round_trips() {
    let (header, columns) = ring();
    let upper = Lists { offsets: vec![0].into(), values: Vec::new().into() };
    let flat =
        GraphColumns::checked(header, NodeColumns { levels: vec![0; 10].into(), upper, ..columns }).expect("is whole");
    let bytes = encode_graph(&flat).expect("encodes");
    assert_eq!(decode_graph(bytes.into()).expect("decodes"), flat);
}

fn read_by_arrow(bytes: Vec<u8>) -> RecordBatch {
    let mut reader = FileReader::try_new(Cursor::new(bytes), None).expect("arrow opens it");
    reader.next().expect("one batch").expect("arrow reads it")
}

#[test]
fn arrows_own_reader_sees_the_same_columns() {
    let batch = read_by_arrow(encode_graph(&graph()).expect("encodes"));
    let (header, columns) = ring();
    assert_eq!(batch.num_rows(), 9);
    assert_eq!(batch["address"].as_primitive::<UInt64Type>().values(), &columns.addresses);
    let codes = batch["code"].as_fixed_size_list();
    assert_eq!((codes.value_length(), codes.values().as_primitive::<Int8Type>().values()), (3, &columns.codes));
    let neighbours = batch["neighbours"].as_list::<i32>().value(8);
    assert_eq!(neighbours.as_primitive::<UInt32Type>().values().to_vec(), vec![0, 7]);
    let levels: Vec<usize> = batch["upper"].as_list::<i32>().iter().map(|list| list.map_or(0, |l| l.len())).collect();
    assert_eq!(levels, vec![2, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(batch.schema().metadata()["builder"], header.builder);
}

/// The object with one metadata value replaced, written by Arrow.
fn with_metadata(key: &str, value: &str) -> Bytes {
    let batch = read_by_arrow(encode_graph(&graph()).expect("encodes"));
    let mut schema = batch.schema().as_ref().clone();
    schema.metadata.insert(key.to_owned(), value.to_owned());
    let batch = RecordBatch::try_new(schema.into(), batch.columns().to_vec()).expect("only metadata differs");
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("arrow writes");
    writer.write(&batch).and_then(|()| writer.finish()).expect("arrow writes");
    writer.into_inner().expect("arrow writes").into()
}

#[test]
fn another_format_number_is_told_apart_from_damage() {
    let result = decode_graph(with_metadata("graph_format", "3"));
    assert_eq!(result, Err(FormatError::Newer { found: 3, known: 2 }));
}

#[test]
fn a_graph_that_is_not_rotated_is_of_format_1_and_reads_back() {
    let (header, columns) = ring();
    let plain = GraphColumns::checked(GraphHeader { rotation: None, ..header }, columns).expect("is whole");
    let bytes = encode_graph(&plain).expect("encodes");
    let batch = read_by_arrow(bytes.clone());
    assert_eq!(batch.schema().metadata()["graph_format"], "1");
    assert!(!batch.schema().metadata().contains_key("rotation_seed"));
    assert_eq!(decode_graph(bytes.into()).expect("decodes"), plain);
}

#[test]
fn metadata_that_cannot_be_is_refused_by_name() {
    for (key, value, expected) in [
        ("graph_format", "one", "graph_format"),
        ("metric", "manhattan", "metric"),
        ("dim", "4", "code"),
        ("dim", "-3", "dim"),
        ("mean", "0.5,x,1", "mean"),
        ("mean", "0.5", "mean of 1"),
        ("rotation_seed", "-1", "rotation_seed"),
        ("scale", "0", "quantiser"),
        ("scale", "NaN", "quantiser"),
        ("entry", "9", "entry point 9"),
        ("entry", "3", "above the entry"),
        ("lo", "4", "outside versions"),
        ("hi", "2", "range"),
        ("traversal", "sideways", "traversal"),
        ("quantiser", "int4", "quantiser"),
    ] {
        let said = message(decode_graph(with_metadata(key, value)));
        assert!(said.contains(expected), "{key} = {value}: {said}");
    }
}

#[test]
fn columns_that_do_not_hold_together_are_refused() {
    type Change = fn(&mut NodeColumns);
    let changes: [(&str, Change); 12] = [
        ("a bias is not finite", |c| c.biases = vec![f32::NAN; 9].into()),
        ("bias has 8", |c| c.biases = vec![0.0; 8].into()),
        ("code has 26", |c| c.codes = vec![0; 26].into()),
        ("neighbours do not rise", |c| c.neighbours.offsets = vec![0, 4, 2, 6, 8, 10, 12, 14, 16, 18].into()),
        ("neighbours do not rise", |c| c.neighbours.offsets = vec![0, 2, 4, 6, 8, 10, 12, 14, 16, 17].into()),
        ("neighbours do not rise", |c| c.neighbours.offsets = vec![-1, 2, 4, 6, 8, 10, 12, 14, 16, 18].into()),
        ("level 0", |c| c.neighbours.values = vec![9; 18].into()),
        ("upper do not rise", |c| c.levels = vec![0, 2, 1, 3, 3, 3, 3, 3, 3, 3].into()),
        ("links to 2 on level 1", |c| c.upper.values = vec![2, 0].into()),
        ("links to 1 on level 2", |c| c.upper.offsets = vec![0, 0, 1, 2].into()),
        ("does not rise at address", |c| c.address_order = vec![0; 9].into()),
        ("names node 9", |c| c.address_order = vec![9; 9].into()),
    ];
    for (expected, change) in changes {
        let (header, mut columns) = ring();
        change(&mut columns);
        let said = message(GraphColumns::checked(header, columns));
        assert!(said.contains(expected), "expected {expected:?}, got {said:?}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = Bytes::from(encode_graph(&graph()).expect("encodes"));
    for length in 0..bytes.len() {
        assert!(message(decode_graph(bytes.slice(..length))).starts_with("graph: "), "length {length}");
    }
}

#[test]
fn no_flipped_bit_gets_past_the_checks_or_panics() {
    let bytes = encode_graph(&graph()).expect("encodes");
    let (mut refused, mut survived) = (0, 0);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match decode_graph(flipped.into()) {
            // Changed padding, codes, biases or names make another graph, but a whole one.
            Ok(graph) => {
                survived += 1;
                assert!(GraphColumns::checked(graph.header().clone(), graph.columns().clone()).is_ok());
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1000 && survived > 1000, "{refused} refused, {survived} survived");
}

#[test]
fn noise_in_place_of_whole_stretches_never_panics() {
    use rand::{Rng, SeedableRng};
    let bytes = encode_graph(&graph()).expect("encodes");
    let mut rng = rand::rngs::StdRng::seed_from_u64(11);
    for _ in 0..20_000 {
        let mut noisy = bytes.clone();
        let start = rng.random_range(0..bytes.len());
        let end = (start + rng.random_range(1..16)).min(bytes.len());
        rng.fill(&mut noisy[start..end]);
        if let Ok(graph) = decode_graph(noisy.into()) {
            assert_eq!(graph.len(), 9);
        }
    }
}
