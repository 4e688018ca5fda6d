//! The fast reader against the standard one, and against levels it must refuse.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Builder, ListBuilder, RecordBatch, StringBuilder};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;

use super::*;
use crate::format::columns::Layout;
use crate::format::parquet_pages::{BoundedGroup, PageBounds, Values, read_metadata};
use crate::format::pieces::Pieces;
use crate::format::record_file::RecordFile;

/// How a file of embeddings is written.
#[derive(Debug, Clone)]
struct Shape {
    dim: usize,
    present: Vec<bool>,
    group_rows: usize,
    page_rows: usize,
    page_bytes: usize,
    version: WriterVersion,
    dictionary: bool,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let version = prop_oneof![4 => Just(WriterVersion::PARQUET_1_0), 1 => Just(WriterVersion::PARQUET_2_0)];
    let present = prop_oneof![
        prop::collection::vec(any::<bool>(), 0..120),
        (0usize..300).prop_map(|rows| vec![true; rows]),
        (0usize..40).prop_map(|rows| vec![false; rows]),
    ];
    (1usize..40, present, 1usize..200, 1usize..100, 8usize..4000, version, prop::bool::weighted(0.1)).prop_map(
        |(dim, present, group_rows, page_rows, page_bytes, version, dictionary)| Shape {
            dim,
            present,
            group_rows,
            page_rows,
            page_bytes,
            version,
            dictionary,
        },
    )
}

fn element() -> arrow::datatypes::FieldRef {
    Arc::new(arrow::datatypes::Field::new("element", arrow::datatypes::DataType::Float32, false))
}

/// A segment's columns with the embeddings of `shape`, by the standard writer.
fn write(shape: &Shape) -> Bytes {
    let rows = shape.present.len();
    let mut lists = ListBuilder::new(Float32Builder::new()).with_field(element());
    for (row, present) in shape.present.iter().enumerate() {
        match present {
            true => lists.append_value((0..shape.dim).map(|i| Some((row * shape.dim + i) as f32))),
            false => lists.append_null(),
        }
    }
    let mut ops = StringBuilder::new();
    shape.present.iter().for_each(|present| ops.append_value(if *present { "put" } else { "delete" }));
    let ids: arrow::array::StringArray = (0..rows).map(|row| Some(row.to_string())).collect();
    let texts: ArrayRef = Arc::new((0..rows).map(|_| None::<&str>).collect::<arrow::array::StringArray>());
    let addresses: ArrayRef = Arc::new((0..rows as u64).map(Some).collect::<arrow::array::UInt64Array>());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ops.finish()),
        Arc::new(ids),
        texts.clone(),
        texts.clone(),
        texts,
        addresses.clone(),
        addresses.clone(),
        addresses,
        Arc::new(lists.finish()),
    ];
    let schema = Layout::Segment.columns().arrow.clone();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let properties = [("format", "1".to_owned()), ("dim", shape.dim.to_string())];
    let properties = properties.map(|(key, value)| KeyValue::new(key.to_owned(), value)).to_vec();
    let properties = WriterProperties::builder()
        .set_writer_version(shape.version)
        .set_dictionary_enabled(shape.dictionary)
        .set_max_row_group_row_count(Some(shape.group_rows))
        .set_data_page_row_count_limit(shape.page_rows)
        .set_data_page_size_limit(shape.page_bytes)
        .set_write_batch_size(16)
        .set_key_value_metadata(Some(properties))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

fn read_fast(bytes: &Bytes, group: usize, dim: usize) -> Result<Option<Embeddings>, FormatError> {
    let metadata = Arc::new(read_metadata(bytes, u64::MAX).unwrap());
    let (rows, columns) = (metadata.row_group(group).num_rows() as usize, metadata.row_group(group).num_columns());
    let bounds = Arc::new(PageBounds::new(u64::MAX, u64::MAX, usize::MAX, Values::Copied));
    let pages = BoundedGroup::new(Arc::new(bytes.clone()), metadata, group, bounds).unwrap().pages(columns - 1);
    read_embeddings(pages.unwrap(), bytes.len() as u64, rows, dim)
}

proptest! {
    #[test]
    fn the_fast_reader_reads_what_the_standard_one_reads(shape in shapes()) {
        let bytes = write(&shape);
        let pieces = Pieces::whole(&bytes);
        let file = RecordFile::open(&pieces, Layout::Segment).unwrap();
        let simple = shape.version == WriterVersion::PARQUET_1_0 && !shape.dictionary;
        for group in 0..file.groups() {
            let standard = file.read_embeddings_standard(&pieces, group).unwrap();
            let fast = read_fast(&bytes, group, shape.dim).unwrap();
            prop_assert_eq!(fast.is_some(), simple);
            prop_assert!(fast.is_none_or(|fast| fast == standard));
            prop_assert_eq!(file.read_embeddings(&pieces, group).unwrap(), standard);
        }
    }

    #[test]
    fn lists_of_another_length_are_refused(shape in shapes(), other in 1usize..80) {
        prop_assume!(other != shape.dim && shape.present.contains(&true));
        let bytes = write(&Shape { version: WriterVersion::PARQUET_1_0, dictionary: false, ..shape });
        let group = (0..).find(|group| read_fast(&bytes, *group, other) != Ok(None)).unwrap();
        let groups = RecordFile::open(&Pieces::whole(&bytes), Layout::Segment).unwrap().groups();
        prop_assert!((group..groups).any(|group| read_fast(&bytes, group, other).is_err()));
    }

    #[test]
    fn bytes_that_are_no_page_never_panic(page in prop::collection::vec(any::<u8>(), 0..200), levels in 0usize..200) {
        let mut lists = PageLists::new(4, 50, page.len());
        if lists.read_page(&page, levels).is_ok() {
            prop_assert!(lists.values.len() <= page.len());
        }
    }
}

#[test]
fn embeddings_lie_at_64_byte_boundaries() {
    let shape = Shape {
        dim: 3,
        present: vec![true; 5],
        group_rows: 100,
        page_rows: 100,
        page_bytes: 1000,
        version: WriterVersion::PARQUET_1_0,
        dictionary: false,
    };
    let embeddings = read_fast(&write(&shape), 0, 3).unwrap().unwrap();
    assert_eq!(embeddings.values.as_ptr() as usize % 64, 0);
    let counted: Vec<f32> = (0..15).map(|i| i as f32).collect();
    assert_eq!(embeddings, Embeddings::dense(3, counted));
}

/// A page: repetition levels, definition levels, floats.
fn page(repetitions: &[u8], definitions: &[u8], floats: usize) -> Vec<u8> {
    let mut page = Vec::new();
    for levels in [repetitions, definitions] {
        page.extend_from_slice(&(levels.len() as u32).to_le_bytes());
        page.extend_from_slice(levels);
    }
    page.resize(page.len() + floats * 4, 0);
    page
}

#[test]
fn levels_that_are_no_lists_of_the_dimension_are_refused() {
    // Runs: (count << 1, level). Bit-packed: (groups << 1 | 1, bits from the lowest).
    let whole = page(&[0x03, 0b1110_1110], &[8 << 1, 2], 8);
    let mut lists = PageLists::new(4, 2, 1000);
    assert_eq!(lists.read_page(&whole, 8), Ok(()));
    assert_eq!(lists.finish().unwrap(), Embeddings::dense(4, vec![0.0; 8]));
    let cases: [(Vec<u8>, usize, &str); 9] = [
        (page(&[3 << 1, 0], &[3 << 1, 0], 0), 3, "expected 2 rows, got more"),
        (page(&[0x03, 0b1110_1110], &[8 << 1, 2], 7), 8, "a page says 8 floats and holds 28 bytes"),
        (page(&[0x03, 0b1101_1110], &[8 << 1, 2], 8), 8, "row 0: expected 4 floats, got 5"),
        (page(&[0x03, 0b1111_1110], &[8 << 1, 2], 8), 8, "row 0: expected 4 floats, got 8"),
        (page(&[2 << 1, 0], &[2 << 1, 2], 2), 2, "expected lists of 4 floats, got one of 1"),
        (page(&[1 << 1, 0], &[1 << 1, 1], 0), 1, "levels (0, 1) are no part of a list of floats"),
        (page(&[0x03, 0b10], &[0x03, 0b1000, 0], 1), 2, "row 0: expected 4 floats, got 5"),
        (page(&[3 << 1, 0], &[2 << 1, 0], 0), 2, "a run of 3 levels where 2 are left"),
        (page(&[0x03], &[8 << 1, 2], 0), 8, "a page ends within bit-packed levels"),
    ];
    for (page, levels, message) in cases {
        assert_eq!(PageLists::new(4, 2, 1000).read_page(&page, levels), Err(message.into()));
    }
}
