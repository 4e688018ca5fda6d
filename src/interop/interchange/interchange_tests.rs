//! Records come out of both kinds of file as they went in. No file can make its reading take more than the limits
//! allow.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type};
use arrow::ipc::reader::StreamReader;
use parquet::arrow::ArrowWriter;

use super::*;
use crate::collection::request::Hit;
use crate::interop::record_columns::OtherColumns;
use crate::record::{MetaValue, Metadata, Version};

/// `rows` records `r0`, `r1`, … of two dimensions with a document each.
fn batch(rows: usize) -> RecordBatch {
    let ids: StringArray = (0..rows).map(|i| Some(format!("r{i}"))).collect();
    let floats: Float32Array = (0..rows * 2).map(|i| i as f32).collect::<Vec<_>>().into();
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let embeddings = FixedSizeListArray::try_new(item, 2, Arc::new(floats), None).unwrap();
    let documents: StringArray = (0..rows).map(|i| Some(format!("document {i}"))).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("id", Arc::new(ids)), ("embedding", Arc::new(embeddings)), ("document", Arc::new(documents))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn expected(rows: usize) -> Vec<Record> {
    let record = |i: usize| Record::new(format!("r{i}"), vec![i as f32 * 2.0, i as f32 * 2.0 + 1.0]);
    (0..rows).map(|i| record(i).with_document(format!("document {i}"))).collect()
}

fn ipc(batches: &[RecordBatch]) -> Bytes {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes.into()
}

fn parquet(batch: &RecordBatch) -> Bytes {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes.into()
}

#[test]
fn records_of_several_batches_come_out_in_order() {
    let whole = batch(5);
    let parts = [whole.slice(0, 2), whole.slice(2, 0), whole.slice(2, 3)];
    assert_eq!(records_from_ipc(ipc(&parts), &Limits::default()).unwrap(), expected(5));
}

#[test]
fn records_come_out_of_a_parquet_file() {
    assert_eq!(records_from_parquet(parquet(&batch(5)), &Limits::default()).unwrap(), expected(5));
}

#[test]
fn too_many_rows_are_refused_and_the_limit_is_named() {
    let limits = Limits { batch_records: 4, ..Limits::default() };
    let by_ipc = records_from_ipc(ipc(&[batch(3), batch(2)]), &limits).unwrap_err();
    let by_parquet = records_from_parquet(parquet(&batch(5)), &limits).unwrap_err();
    for error in [by_ipc, by_parquet] {
        assert_eq!(error.kind(), crate::ErrorKind::Limit);
        assert!(error.message().contains("batch_records"), "{error}");
    }
}

#[test]
fn a_file_whose_records_come_to_more_than_the_limit_is_refused() {
    let limits = Limits { batch_bytes: 10, ..Limits::default() };
    let error = records_from_parquet(parquet(&batch(100)), &limits).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Limit);
    assert!(error.message().contains("once expanded"), "{error}");
}

#[test]
fn files_cut_anywhere_or_with_a_flipped_byte_never_panic() {
    let (stream, file) = (ipc(&[batch(3)]), parquet(&batch(3)));
    for cut in 0..stream.len() {
        // A stream may end after its schema or a whole batch, without a mark.
        match records_from_ipc(stream.slice(..cut), &Limits::default()) {
            Ok(read) => assert!(read.is_empty() || read == expected(3), "cut at {cut}: {read:?}"),
            Err(error) => assert_eq!(error.kind(), crate::ErrorKind::Invalid, "cut at {cut}"),
        }
    }
    for cut in 0..file.len() {
        let cut_short = records_from_parquet(file.slice(..cut), &Limits::default());
        assert_eq!(cut_short.map_err(|e| e.kind()), Err(crate::ErrorKind::Invalid), "cut at {cut}");
    }
    for at in 0..file.len().max(stream.len()) {
        let flip = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.get_mut(at).into_iter().for_each(|b| *b ^= 0x41);
            bytes
        };
        // Whether a flip is noticed depends on its place; the test is that nothing panics.
        let _ = records_from_ipc(flip(&stream).into(), &Limits::default());
        let _ = records_from_parquet(flip(&file).into(), &Limits::default());
    }
}

#[test]
fn an_answer_reads_back_with_its_version() {
    let hit = Hit { id: "a".to_owned(), distance: 0.5, ..Hit::default() };
    let answer = QueryAnswer { results: vec![vec![], vec![hit]], version: Version(7) };
    let bytes = ipc_from_answer(&answer).unwrap();
    let mut reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
    assert_eq!(reader.schema().metadata().get("version").map(String::as_str), Some("7"));
    let batch = reader.next().unwrap().unwrap();
    assert_eq!(batch["distance"].as_primitive::<Float32Type>().values().as_ref(), [0.5]);
}

#[cfg(feature = "server")]
#[test]
fn records_without_embeddings_are_answered_with_empty_ones() {
    use crate::collection::request::{Found, Include};
    let include = Include { embedding: true, ..Include::NONE };
    let found = |id: &str| Found { id: id.to_owned(), embedding: Some(Vec::new()), ..Found::default() };
    let (mut stream, mut bytes) = (RecordStream::begin(include, 0, Version(7)).unwrap(), Vec::new());
    stream.push(&[found("a"), found("b")], &mut bytes).unwrap();
    stream.finish(&mut bytes).unwrap();
    let batch = StreamReader::try_new(bytes.as_slice(), None).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch["embedding"].as_fixed_size_list().value_length()), (2, 0));
}

/// A file of `data-fixtures/foreign`.
fn foreign(name: &str) -> Bytes {
    let path = format!("{}/data-fixtures/foreign/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}")).into()
}

fn guessing(others: OtherColumns) -> Intake {
    let columns = ColumnChoice::guessing(others);
    Intake { columns, ..Intake::of(&Limits::default()) }
}

fn two(first: &str, second: &str) -> [Record; 2] {
    [Record::new(first, vec![0.5, 0.25]), Record::new(second, vec![3.0, 4.0])]
}

fn with_documents() -> [Record; 2] {
    let [first, second] = two("a", "b");
    [first.with_document("one"), second.with_document("two")]
}

#[test]
fn every_codec_and_encoding_that_others_write_is_read() {
    for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"] {
        for version in ["", "-v2"] {
            let name = format!("codec-{codec}{version}.parquet");
            let read = records_from_parquet(foreign(&name), &Limits::default());
            assert_eq!(read.unwrap_or_else(|e| panic!("{name}: {e}")), with_documents(), "{name}");
        }
    }
    for codec in ["lz4", "zstd"] {
        let read = records_from_ipc(foreign(&format!("codec-{codec}.arrows")), &Limits::default());
        assert_eq!(read.unwrap_or_else(|e| panic!("{codec}: {e}")), with_documents(), "{codec}");
    }
    let split = records_from_parquet(foreign("byte-stream-split.parquet"), &Limits::default()).unwrap();
    assert_eq!(split, with_documents());
    let delta = records_from_parquet(foreign("delta-encodings.parquet"), &Limits::default()).unwrap();
    let expected = (0..2000u16).map(|i| Record::new(format!("key-{i:04}"), vec![i.into()]));
    assert_eq!(delta, expected.collect::<Vec<_>>());
}

#[test]
fn vectors_of_every_type_become_floats() {
    for kind in ["double", "large-list-double", "fixed-size-double", "float16", "json-text"] {
        let read = records_from_parquet(foreign(&format!("vectors-{kind}.parquet")), &Limits::default());
        assert_eq!(read.unwrap_or_else(|e| panic!("{kind}: {e}")), with_documents(), "{kind}");
    }
    let whole = records_from_parquet(foreign("vectors-int64.parquet"), &Limits::default()).unwrap();
    assert_eq!(whole, [Record::new("a", vec![1.0, 2.0]), Record::new("b", vec![3.0, 4.0])]);
}

#[test]
fn ids_may_be_dictionaries_integers_or_uuids() {
    let read = |name: &str| records_from_parquet(foreign(name), &Limits::default()).unwrap();
    assert_eq!(read("ids-dictionary.parquet"), two("a", "b"));
    assert_eq!(read("ids-int64.parquet"), two("1", "2"));
    let uuid = |last: u8| format!("00000000-0000-0000-0000-00000000000{last}");
    assert_eq!(read("ids-uuid.parquet"), two(&uuid(1), &uuid(2)));
}

#[test]
fn metadata_may_be_text_a_struct_or_a_map_and_nulls_in_it_are_left_out() {
    let read = |name: &str| records_from_parquet(foreign(name), &Limits::default()).unwrap();
    let [first, second] = two("a", "b");
    let text = MetaValue::Strs(vec!["x".to_owned()]);
    let some = first.clone().with_metadata([("k", MetaValue::Int(1)), ("t", text)]);
    assert_eq!(read("metadata-struct.parquet"), [some, second.clone().with_metadata(Metadata::default())]);
    let some = first.clone().with_metadata([("k", "v")]);
    assert_eq!(read("metadata-map.parquet"), [some, second.clone().with_metadata(Metadata::default())]);
    assert_eq!(read("metadata-text.parquet"), [first.with_metadata([("k", 1)]), second]);
}

#[test]
fn other_columns_go_into_metadata_are_left_out_or_refused_as_one_likes() {
    let read = |others| guessing(others).records_from_parquet(foreign("other-columns.parquet"));
    let [first, second] = with_documents();
    assert_eq!(read(OtherColumns::Ignore).unwrap(), [first.clone(), second.clone()]);
    let day = |day: &str| ("day", MetaValue::Str(day.to_owned()));
    let first = first.with_metadata([("year", MetaValue::Int(2024)), day("1970-01-01")]);
    assert_eq!(read(OtherColumns::Metadata).unwrap(), [first, second.with_metadata([day("1970-01-02")])]);
    let error = read(OtherColumns::Refuse).unwrap_err();
    assert!(error.message().contains("column \"year\""), "{error}");
}

#[test]
fn a_few_bytes_that_stand_for_gigabytes_are_stopped_at_the_limit() {
    let limits = Limits { batch_bytes: 4 << 20, ..Limits::default() };
    for name in ["hostile-dictionary.parquet", "hostile-zeros.parquet", "hostile-gzip.parquet"] {
        let error = records_from_parquet(foreign(name), &limits).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit, "{name}: {error}");
    }
    for name in ["hostile-lz4.arrows", "hostile-zstd.arrows"] {
        let error = records_from_ipc(foreign(name), &Limits { batch_bytes: 1 << 20, ..Limits::default() }).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit, "{name}: {error}");
    }
}

#[test]
fn a_footer_that_would_exhaust_the_stack_or_memory_is_refused() {
    for name in ["hostile-deep.parquet", "hostile-wide.parquet"] {
        let error = records_from_parquet(foreign(name), &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{name}: {error}");
        assert!(error.message().contains("schema deeper or wider"), "{name}: {error}");
    }
}

#[test]
fn reading_stops_where_the_budget_ends_and_gives_all_back() {
    let limit = crate::memory::MemoryLimit { bytes: 8 << 20, whole_process: false };
    let budget = Budget::new(Some(limit));
    let intake = Intake { budget: Some(budget.clone()), ..Intake::of(&Limits::default()) };
    let error = intake.records_from_parquet(foreign("hostile-dictionary.parquet")).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NoRoom, "{error}");
    assert_eq!(budget.reserved_bytes(), 0);
    assert_eq!(intake.records_from_parquet(foreign("codec-gzip.parquet")).unwrap(), with_documents());
}

#[test]
fn a_buffer_that_lies_outside_of_its_stream_is_refused_before_it_is_decoded() {
    let stream = ipc(&[batch(3)]);
    let mut seen = 0;
    for at in 0..stream.len() {
        let mut hurt = stream.to_vec();
        hurt[at] ^= 0x80;
        let read = records_from_ipc(hurt.into(), &Limits::default());
        seen += usize::from(read.is_err_and(|error| error.message().contains("a buffer lies outside of it")));
    }
    assert!(seen > 5, "{seen} of {}", stream.len());
}
