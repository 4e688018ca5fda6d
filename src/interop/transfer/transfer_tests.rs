//! Records come out of a file as they went in, and rows that are not records are refused.

use std::path::Path;

use super::*;
use crate::error::ErrorKind;
use crate::interop::record_columns::OtherColumns;
use crate::record::CollectionId;

fn records() -> Vec<Record> {
    let floats = [0.1f32, -0.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX, 16_777_217.0, 1.0 / 3.0, 8.5e-12];
    let many = (0..2_500u32).map(|i| {
        let bits = |k: u32| f32::from_bits(i.wrapping_mul(2_654_435_761).wrapping_add(k * 40_503) & 0x7f7f_ffff);
        Record::new(format!("r{i}"), (0..8).map(bits).collect())
    });
    let first = [
        Record::new("plain", floats.to_vec()),
        Record::new("empty texts", floats.to_vec()).with_document("").with_metadata(Metadata::default()),
        Record {
            uri: Some("s3://x/ü y".to_owned()),
            ..Record::new("uri", floats.to_vec()).with_document("\u{0}\"\n\u{2028}")
        },
        Record::new("one", floats.to_vec()).with_metadata([("n", 1)]),
        Record::new("one point oh", floats.to_vec()).with_metadata([("n", 1.0)]),
        Record::new("kinds", floats.to_vec()).with_metadata([
            ("bool", MetaValue::Bool(true)),
            ("int", MetaValue::Int(i64::MIN)),
            ("float", MetaValue::Float(0.1 + 0.2)),
            ("text", MetaValue::Str("x".to_owned())),
            ("ints", MetaValue::Ints(vec![1, 2])),
            ("floats", MetaValue::Floats(vec![1.0, 2.5])),
            ("texts", MetaValue::Strs(vec![])),
            ("bools", MetaValue::Bools(vec![false])),
        ]),
    ];
    first.into_iter().chain(many).collect()
}

fn bits(records: &[Record]) -> Vec<(Vec<u32>, Record)> {
    let bits = |record: &Record| record.embedding.iter().map(|x| x.to_bits()).collect();
    records.iter().map(|record| (bits(record), record.clone())).collect()
}

fn identity() -> Identity {
    Identity {
        id: CollectionId(uuid::Uuid::nil()),
        name: "notes".to_owned(),
        scope: Default::default(),
        metric: Metric::Ip,
        metadata: Some(Metadata::from([("season", "summer")])),
        text: TextSettings { b: 0.5, ..TextSettings::default() },
        embedder: Some(Embedder::model("tiny").prefixes("q: ", "")),
        splitting: Some(crate::text::Splitting::sentences(3, 1)),
        index: IndexSettings { m: 24, ..IndexSettings::default() },
        complete_at: crate::record::Version(0),
        extension: Map::from_iter([("schema".to_owned(), json!({"a": 1.0}))]),
    }
}

fn read(mut reader: RecordReader) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    loop {
        let page = reader.next_page()?;
        if page.is_empty() {
            return Ok(records);
        }
        assert!(page.len() <= 1_000);
        records.extend(page);
    }
}

fn write(mut writer: RecordWriter, records: &[Record]) {
    records.chunks(700).for_each(|page| writer.push(page).unwrap());
    writer.finish().unwrap();
}

#[test]
fn records_come_out_of_both_kinds_of_file_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let (parquet, lines) = (folder.path().join("x.parquet"), folder.path().join("x.jsonl"));
    let description = described(&identity(), Some(8));
    write(RecordWriter::Parquet(Box::new(ParquetWriter::create(&parquet, &description).unwrap())), &records());
    write(RecordWriter::JsonLines(JsonLinesWriter::create(&lines).unwrap()), &records());
    let opened = ParquetReader::open(&parquet).unwrap();
    assert_eq!(opened.rows(), records().len() as u64);
    let spec = spec_of(opened.description().unwrap()).unwrap();
    assert_eq!(described(&identity(), Some(8)), *opened.description().unwrap());
    assert_eq!((spec.name.as_str(), spec.metric, spec.dimension), ("notes", Metric::Ip, Some(8)));
    assert_eq!(
        (spec.metadata, spec.index, spec.extension),
        (identity().metadata, identity().index, identity().extension)
    );
    assert_eq!(bits(&read(RecordReader::Parquet(Box::new(opened))).unwrap()), bits(&records()));
    let opened = JsonLinesReader::open(&lines).unwrap();
    assert_eq!(bits(&read(RecordReader::JsonLines(Box::new(opened))).unwrap()), bits(&records()));
}

#[test]
fn an_empty_collection_is_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    write(RecordWriter::Parquet(Box::new(ParquetWriter::create(&path, &json!({})).unwrap())), &[]);
    let opened = ParquetReader::open(&path).unwrap();
    assert_eq!(read(RecordReader::Parquet(Box::new(opened))).unwrap(), []);
}

fn lines(path: &Path, text: &str) -> Result<Vec<Record>> {
    std::fs::write(path, text).unwrap();
    read(RecordReader::JsonLines(Box::new(JsonLinesReader::open(path)?)))
}

#[test]
fn a_line_that_is_no_record_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let good = r#"{"id": "a", "embedding": [1, 2.5], "metadata": null}"#;
    assert_eq!(lines(&path, &format!("\n{good}")).unwrap(), [Record::new("a", vec![1.0, 2.5])]);
    for bad in [
        "{",
        "[]",
        "{}",
        r#"{"id": "a"}"#,
        r#"{"id": "a", "embedding": [1], "documnt": ""}"#,
        r#"{"id": "a", "embedding": [1], "metadata": {"k": {}}}"#,
    ] {
        let error = lines(&path, &format!("{good}\n{bad}\n")).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.message().contains("x.jsonl: line 2: "), "{bad}: {error}");
    }
    let error = ParquetReader::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

fn foreign(path: &Path, others: OtherColumns) -> Result<Vec<Record>> {
    let columns = ColumnChoice::guessing(others);
    let options = ReadOptions { columns, ..ReadOptions::default() };
    read(RecordReader::JsonLines(Box::new(JsonLinesReader::open_with(path, &options)?)))
}

#[test]
fn lines_that_others_wrote_are_read_whatever_stands_before_them_or_compresses_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let line =
        r#"{"id": 5, "vector": [0.5, 1], "text": "x", "metadata": {"k": null, "n": 1}, "year": 2024, "no": null}"#;
    let expected = Record::new("5", vec![0.5, 1.0]).with_document("x").with_metadata([("n", 1), ("year", 2024)]);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, line.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::bulk::compress(line.as_bytes(), 1).unwrap();
    for bytes in [line.as_bytes().to_vec(), [b"\xef\xbb\xbf", line.as_bytes()].concat(), gzip, zstd] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(foreign(&path, OtherColumns::Metadata).unwrap(), std::slice::from_ref(&expected));
    }
    let ignored = foreign(&path, OtherColumns::Ignore).unwrap();
    assert_eq!(ignored, [Record { metadata: Some(Metadata::from([("n", 1)])), ..expected }]);
}

#[test]
fn json_of_another_form_is_told_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    for (text, expected) in [
        ("\n [{\"id\": \"a\", \"embedding\": [1]}]", "got a JSON array"),
        ("{\n  \"id\": \"a\",\n  \"embedding\": [1]\n}", "a record must be on one line"),
        ("PAR1", "use import parquet"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = foreign(&path, OtherColumns::Refuse).unwrap_err();
        assert!(error.message().contains(expected) && error.message().contains("x.jsonl"), "{error}");
    }
    let error = JsonLinesReader::open(&folder.path().join("nope")).unwrap_err();
    assert!(error.message().contains("nope: expected a file"), "{error}");
}

#[test]
fn a_parquet_file_is_read_in_steps_however_much_its_rows_repeat() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures/foreign/hostile-dictionary.parquet");
    let mut reader = ParquetReader::open(&path).unwrap();
    assert_eq!(reader.rows(), 2_000);
    for _ in 0..3 {
        let page = reader.next_page().unwrap();
        let bytes: usize = page.iter().map(|record| record.document.as_ref().map_or(0, String::len)).sum();
        assert!(page.iter().all(|record| record.document.as_ref().is_some_and(|text| text.len() == 1 << 20)));
        assert!((1..=32 << 20).contains(&bytes), "{bytes}");
    }
}
