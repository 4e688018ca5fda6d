//! Map objects: what is written reads back, by us and by Arrow's own reader; what is damaged is refused.

use std::io::Cursor;

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, UInt64Type};
use arrow::ipc::reader::FileReader;

use super::*;

const RECORDS: usize = 40;

/// As `data-fixtures/map-format-1` has it: its README has the formula.
fn map() -> StoredMap {
    let header = MapHeader {
        stream: "c/0d9f".into(),
        version: Version(7),
        metric: Metric::Cosine,
        dim: 3,
        neighbours: 15,
        seed: 42,
        changes: 2,
        faithfulness: Some([0.875, 1.0 / 3.0]),
        unit: 0.7,
        mean: vec![0.25, -1e-7, 1.0 / 3.0],
        axes: [vec![1.0, 0.0, -2.5], vec![0.0, 0.125, 3e20]],
    };
    let numbers = 0..RECORDS;
    let columns = MapColumns {
        ids: StringArray::from_iter_values(numbers.clone().map(|i| format!("zürich-{}", i * 7 % RECORDS))),
        x: numbers.clone().map(|i| i as f32 / 3.0 - 5.0).collect(),
        y: numbers.clone().map(|i| 10.0 - i as f32 / 7.0).collect(),
        embeddings: numbers.map(|i| u64::MAX / (i as u64 + 1)).collect(),
    };
    StoredMap::checked(header, columns).expect("is whole")
}

fn message(result: Result<StoredMap, FormatError>) -> String {
    result.expect_err("this must be refused").to_string()
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    assert_eq!(decode_map(&encode_map(&map()).unwrap()).unwrap(), map());
    let (header, columns) = map().into_parts();
    let header = MapHeader { faithfulness: None, ..header };
    let empty = MapColumns {
        ids: StringArray::from_iter_values(Vec::<String>::new()),
        x: Vec::new().into(),
        y: Vec::new().into(),
        embeddings: Vec::new().into(),
    };
    for columns in [columns, empty] {
        let plain = StoredMap::checked(header.clone(), columns).unwrap();
        assert_eq!(decode_map(&encode_map(&plain).unwrap()).unwrap(), plain);
    }
}

#[test]
fn a_map_of_format_1_reads_back() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data-fixtures/map-format-1/map.arrow");
    assert_eq!(decode_map(&std::fs::read(path).unwrap()).unwrap(), map());
}

fn read_by_arrow(bytes: Vec<u8>) -> RecordBatch {
    let mut reader = FileReader::try_new(Cursor::new(bytes), None).expect("arrow opens it");
    reader.next().expect("one batch").expect("arrow reads it")
}

#[test]
fn arrows_own_reader_sees_the_same_columns() {
    let batch = read_by_arrow(encode_map(&map()).unwrap());
    let (header, columns) = map().into_parts();
    assert_eq!(batch["id"].as_string::<i32>(), &columns.ids);
    assert_eq!(batch["x"].as_primitive::<Float32Type>().values(), &columns.x);
    assert_eq!(batch["y"].as_primitive::<Float32Type>().values(), &columns.y);
    assert_eq!(batch["embedding"].as_primitive::<UInt64Type>().values(), &columns.embeddings);
    let schema = batch.schema();
    assert_eq!((&schema.metadata()["stream"], &schema.metadata()["version"]), (&header.stream, &"7".to_owned()));
    assert_eq!(schema.metadata()["map_format"], "1");
}

/// The object with one metadata value replaced, written by Arrow.
fn with_metadata(key: &str, value: &str) -> Vec<u8> {
    let batch = read_by_arrow(encode_map(&map()).unwrap());
    let mut schema = batch.schema().as_ref().clone();
    schema.metadata.insert(key.to_owned(), value.to_owned());
    let batch = RecordBatch::try_new(schema.into(), batch.columns().to_vec()).expect("only metadata differs");
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("arrow writes");
    writer.write(&batch).and_then(|()| writer.finish()).expect("arrow writes");
    writer.into_inner().expect("arrow writes")
}

#[test]
fn another_format_number_is_told_apart_from_damage() {
    for found in [0, 2] {
        let refused = decode_map(&with_metadata("map_format", &found.to_string()));
        assert_eq!(refused, Err(FormatError::Newer { found, known: 1 }));
    }
}

#[test]
fn metadata_that_cannot_be_is_refused_by_name() {
    for (key, value, expected) in [
        ("map_format", "one", "map_format"),
        ("version", "-1", "version"),
        ("metric", "manhattan", "metric"),
        ("dim", "4", "dimension 4 with a mean of 3"),
        ("dim", "0", "dimension 0"),
        ("mean", "0.5,x,1", "mean"),
        ("mean", "0.5", "mean of 1"),
        ("mean", "0,NaN,0", "projection"),
        ("axis_x", "", "axis_x"),
        ("axis_y", "1,2,inf", "projection"),
        ("unit", "0", "projection"),
        ("changes", "few", "changes"),
        ("trustworthiness", "1.5", "between 0 and 1"),
        ("continuity", "NaN", "between 0 and 1"),
    ] {
        let said = message(decode_map(&with_metadata(key, value)));
        assert!(said.contains(expected), "{key} = {value}: {said}");
    }
}

#[test]
fn columns_that_do_not_hold_together_are_refused() {
    type Change = fn(&mut MapColumns);
    let changes: [(&str, Change); 5] = [
        ("40 ids with columns of [39, 40, 40]", |c| c.x = vec![0.0; 39].into()),
        ("40 ids with columns of [40, 40, 41]", |c| c.embeddings = vec![0; 41].into()),
        ("not finite", |c| c.y = vec![f32::NAN; 40].into()),
        ("not finite", |c| c.x = vec![f32::INFINITY; 40].into()),
        ("stands there twice", |c| c.ids = StringArray::from_iter_values((0..40).map(|i| format!("{}", i % 39)))),
    ];
    for (expected, change) in changes {
        let (header, mut columns) = map().into_parts();
        change(&mut columns);
        let said = message(StoredMap::checked(header, columns));
        assert!(said.contains(expected), "expected {expected:?}, got {said:?}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = encode_map(&map()).unwrap();
    for length in 0..bytes.len() {
        assert!(message(decode_map(&bytes[..length])).starts_with("map: "), "length {length}");
    }
}

#[test]
fn no_flipped_bit_gets_past_the_checks_or_panics() {
    let bytes = encode_map(&map()).unwrap();
    let (mut refused, mut survived) = (0, 0);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match decode_map(&flipped) {
            // Changed padding, places, ids or checksums make another map, but a whole one.
            Ok(map) => {
                survived += 1;
                let (header, columns) = map.into_parts();
                assert!(StoredMap::checked(header, columns).is_ok());
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1000 && survived > 1000, "{refused} refused, {survived} survived");
}

#[test]
fn noise_in_place_of_whole_stretches_never_panics() {
    use rand::{Rng, SeedableRng};
    let bytes = encode_map(&map()).unwrap();
    let mut rng = rand::rngs::StdRng::seed_from_u64(11);
    for _ in 0..20_000 {
        let mut noisy = bytes.clone();
        let start = rng.random_range(0..bytes.len());
        let end = (start + rng.random_range(1..16)).min(bytes.len());
        rng.fill(&mut noisy[start..end]);
        if let Ok(map) = decode_map(&noisy) {
            // Of a column there are never more entries than the object has room for.
            assert!(map.records() * 12 <= bytes.len() as u64, "{} records", map.records());
        }
    }
}

#[test]
#[ignore = "writes data-fixtures/map-format-1"]
fn write_the_fixture() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data-fixtures/map-format-1");
    std::fs::create_dir_all(path).unwrap();
    std::fs::write(format!("{path}/map.arrow"), encode_map(&map()).unwrap()).unwrap();
}
