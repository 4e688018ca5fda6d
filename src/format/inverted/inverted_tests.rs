//! Inverted-index objects: what is written reads back, by us and by Arrow's own reader; what is damaged is refused.

use std::collections::{BTreeMap, HashSet};
use std::io::Cursor;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{UInt8Type, UInt16Type, UInt32Type};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use arrow::ipc::{Block, Footer, root_as_footer, root_as_message};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::check_tests::{is_sound_text, is_sound_vectors};
use super::*;
use crate::collection::estimate_tests::peak;
use crate::error::ErrorKind;

fn text_header() -> InvertedHeader {
    InvertedHeader {
        stream: "c/0d9f".into(),
        segment: Checksum::of(b"segment"),
        kind: InvertedKind::Text { fingerprint: 0x00ab_cdef_0123_4567 },
    }
}

fn sparse_header() -> InvertedHeader {
    InvertedHeader { kind: InvertedKind::Sparse { metadata_key: "splade".into() }, ..text_header() }
}

/// Five rows: "b a a", nothing, an empty text, 300 times "日本" with a "b", "a".
pub(super) fn texts() -> TextLists {
    TextLists {
        terms: vec!["a", "b", "日本"].into(),
        blocks: Blocks {
            term_blocks: vec![0, 2, 3, 4].into(),
            block_postings: vec![0, 1, 2, 4, 5].into(),
            block_rows: vec![0, 4, 0, 3].into(),
            rows: vec![0, 0, 0, 3, 0].into(),
        },
        frequencies: vec![2, 1, 1, 1, 255].into(),
        large_postings: vec![4].into(),
        large_frequencies: vec![300].into(),
        lengths: vec![3, 0, 0, 301, 1].into(),
        documents: [0, 2, 3, 4].into_iter().collect(),
    }
}

/// Six rows, two dimensions.
pub(super) fn vectors() -> SparseLists {
    SparseLists {
        rows: 6,
        dimensions: vec![7, u32::MAX].into(),
        blocks: Blocks {
            term_blocks: vec![0, 2, 3].into(),
            block_postings: vec![0, 2, 3, 5].into(),
            block_rows: vec![0, 4, 1].into(),
            rows: vec![0, 2, 0, 0, 4].into(),
        },
        weights: vec![0.5, -0.0, 0.0, -1e-30, f32::MAX].into(),
    }
}

fn empty_texts(rows: usize) -> TextLists {
    let none = Blocks {
        term_blocks: vec![0].into(),
        block_postings: vec![0].into(),
        block_rows: Vec::new().into(),
        rows: Vec::new().into(),
    };
    TextLists {
        terms: Vec::<&str>::new().into(),
        blocks: none,
        frequencies: Vec::new().into(),
        large_postings: Vec::new().into(),
        large_frequencies: Vec::new().into(),
        lengths: vec![0; rows].into(),
        documents: RoaringBitmap::new(),
    }
}

pub(super) fn empty_vectors(rows: u32) -> SparseLists {
    SparseLists { rows, dimensions: Vec::new().into(), blocks: empty_texts(0).blocks, weights: Vec::new().into() }
}

fn text_parts() -> InvertedParts {
    let parts = [texts(), empty_texts(0), empty_texts(3), texts()];
    InvertedParts::Text(parts.into_iter().map(|lists| TextColumns::checked(lists).expect("is whole")).collect())
}

fn sparse_parts() -> InvertedParts {
    let parts = [vectors(), empty_vectors(0), vectors(), empty_vectors(1)];
    InvertedParts::Sparse(parts.into_iter().map(|lists| SparseColumns::checked(lists).expect("is whole")).collect())
}

fn objects() -> [(InvertedHeader, InvertedParts); 2] {
    [(text_header(), text_parts()), (sparse_header(), sparse_parts())]
}

pub(super) fn message<T: std::fmt::Debug>(result: Result<T, FormatError>) -> String {
    result.expect_err("this must be refused").to_string()
}

#[test]
fn what_is_encoded_decodes_to_the_same_wherever_it_lies() {
    let none = [(text_header(), InvertedParts::Text(vec![])), (sparse_header(), InvertedParts::Sparse(vec![]))];
    for (header, parts) in objects().into_iter().chain(none) {
        let bytes = encode_inverted(&header, &parts).expect("encodes");
        for skip in [0, 1, 2, 4, 63] {
            let mut placed = vec![0; skip];
            placed.extend_from_slice(&bytes);
            let decoded = decode_inverted(&placed[skip..]).expect("decodes");
            assert_eq!(decoded, (header.clone(), parts.clone()), "skip {skip}");
        }
    }
}

#[test]
fn weights_keep_their_bits() {
    let bytes = encode_inverted(&sparse_header(), &sparse_parts()).expect("encodes");
    let (_, InvertedParts::Sparse(parts)) = decode_inverted(&bytes).expect("decodes") else { panic!("not sparse") };
    let bits = |lists: &SparseLists| lists.weights.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(parts[0].lists()), bits(&vectors()));
}

fn footer(bytes: &[u8]) -> Footer<'_> {
    // The footer's length and the magic end a file.
    let tail = bytes.len() - 10;
    let length = u32::from_le_bytes(bytes[tail..tail + 4].try_into().expect("four bytes")) as usize;
    root_as_footer(&bytes[tail - length..tail]).expect("parses")
}

/// The batch of a block, and where its body begins.
fn batch_of<'a>(bytes: &'a [u8], block: &Block) -> (arrow::ipc::RecordBatch<'a>, usize) {
    let (start, message) = (block.offset() as usize, block.metaDataLength() as usize);
    let batch = root_as_message(&bytes[start + 8..start + message]).expect("parses").header_as_record_batch();
    (batch.expect("is a batch"), start + message)
}

#[test]
fn one_index_always_becomes_the_same_bytes_with_buffers_at_multiples_of_64() {
    for (header, parts) in objects() {
        let bytes = encode_inverted(&header, &parts).expect("encodes");
        for _ in 0..8 {
            assert!(encode_inverted(&header, &parts).expect("encodes") == bytes, "{:?}", header.kind);
        }
        for block in footer(&bytes).recordBatches().expect("has batches") {
            let (batch, body) = batch_of(&bytes, block);
            let buffers = batch.buffers().expect("has buffers");
            let places: Vec<usize> = buffers.iter().map(|buffer| body + buffer.offset() as usize).collect();
            assert!(places.len() > 10 && places.iter().all(|place| place.is_multiple_of(64)), "{places:?}");
        }
    }
}

/// Changes entry `i` of a vector in the object's flatbuffers: fields of 8 bytes from byte `at` of the entry on.
fn patch(bytes: &[u8], (entries, size): (&[u8], usize), (i, at): (usize, usize), value: &[u8]) -> Vec<u8> {
    let start = entries.as_ptr().addr() - bytes.as_ptr().addr() + i * size + at;
    let mut patched = bytes.to_vec();
    patched[start..start + value.len()].copy_from_slice(value);
    patched
}

#[test]
fn positions_and_lengths_that_lie_about_the_object_are_refused() {
    let bytes = encode_inverted(&text_header(), &text_parts()).expect("encodes");
    let blocks = footer(&bytes).recordBatches().expect("has batches");
    let entries = (blocks.bytes(), 24);
    let block = |i: usize| &blocks.bytes()[i * 24..(i + 1) * 24];
    let (batch, _) = batch_of(&bytes, blocks.get(0));
    let (nodes, buffers) = (batch.nodes().expect("has nodes"), batch.buffers().expect("has buffers"));
    let places: Vec<usize> = (0..buffers.len()).filter(|i| buffers.get(*i).length() > 0).collect();
    let [.., before, last] = places[..] else { panic!("{places:?}") };
    let of_last = &buffers.bytes()[last * 16..(last + 1) * 16];
    let (nodes, buffers) = ((nodes.bytes(), 16), (buffers.bytes(), 16));
    for (expected, patched) in [
        // One batch twice: a small object would become many parts.
        ("record batches overlap", patch(&bytes, entries, (3, 0), block(0))),
        ("record batches overlap", patch(&bytes, entries, (1, 0), block(0))),
        ("record batch lies outside", patch(&bytes, entries, (0, 16), &i64::MAX.to_le_bytes())),
        ("record batch lies outside", patch(&bytes, entries, (0, 16), &(-1i64).to_le_bytes())),
        ("record batch lies outside", patch(&bytes, entries, (0, 0), &i64::MAX.to_le_bytes())),
        ("buffers of a record batch overlap", patch(&bytes, buffers, (before, 0), of_last)),
        ("array lies outside", patch(&bytes, buffers, (last, 0), &i64::MAX.to_le_bytes())),
        ("array lies outside", patch(&bytes, buffers, (last, 8), &i64::MAX.to_le_bytes())),
        ("array lies outside", patch(&bytes, buffers, (last, 8), &1i64.to_le_bytes())),
        // The lengths of the list of lengths, of the lengths themselves, and how many of them are null.
        ("array lies outside", patch(&bytes, nodes, (0, 0), &i64::MAX.to_le_bytes())),
        ("array lies outside", patch(&bytes, nodes, (0, 0), &(1i64 << 40).to_le_bytes())),
        ("not one row", patch(&bytes, nodes, (0, 0), &0i64.to_le_bytes())),
        ("expected 5 lengths", patch(&bytes, nodes, (1, 0), &6i64.to_le_bytes())),
        ("array is missing", patch(&bytes, nodes, (1, 0), &i64::MIN.to_le_bytes())),
        ("has nulls", patch(&bytes, nodes, (2, 8), &1i64.to_le_bytes())),
    ] {
        let said = message(decode_inverted(&patched));
        assert!(said.contains(expected), "expected {expected:?}, got {said:?}");
    }
}

#[test]
fn parts_of_another_kind_and_parts_that_are_too_long_are_not_written() {
    let long = SparseColumns::checked(empty_vectors(MAX_PART_ROWS as u32 + 1)).expect("is whole");
    for (header, parts) in [
        (text_header(), sparse_parts()),
        (sparse_header(), text_parts()),
        (sparse_header(), InvertedParts::Sparse(vec![long])),
    ] {
        assert_eq!(encode_inverted(&header, &parts).expect_err("this is refused").kind(), ErrorKind::Internal);
    }
}

fn read_by_arrow(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let reader = FileReader::try_new(Cursor::new(bytes), None).expect("arrow opens it");
    reader.map(|batch| batch.expect("arrow reads it")).collect()
}

#[test]
fn arrows_own_reader_sees_rows_terms_and_postings() {
    let batches = read_by_arrow(encode_inverted(&text_header(), &text_parts()).expect("encodes"));
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1; 4]);
    let schema = batches[0].schema();
    let said: BTreeMap<&str, &str> = schema.metadata().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let segment = Checksum::of(b"segment").to_string();
    let pairs = [("inverted_format", "2"), ("stream", "c/0d9f"), ("segment", segment.as_str()), ("kind", "text")];
    assert_eq!(said, pairs.into_iter().chain([("fingerprint", "00abcdef01234567")]).collect());
    let lengths = batches[0]["lengths"].as_list::<i32>().value(0);
    let lengths: Vec<Option<u32>> = lengths.as_primitive::<UInt32Type>().iter().collect();
    assert_eq!(lengths, [Some(3), None, Some(0), Some(301), Some(1)]);
    let terms = batches[0]["terms"].as_list::<i32>().value(0);
    let mut seen = Vec::new();
    for term in 0..terms.len() {
        let name = terms.as_struct()["term"].as_string::<i32>().value(term).to_owned();
        let blocks = terms.as_struct()["blocks"].as_list::<i32>().value(term);
        for block in 0..blocks.len() {
            let first = blocks.as_struct()["first_row"].as_primitive::<UInt32Type>().value(block);
            let postings = blocks.as_struct()["postings"].as_list::<i32>().value(block);
            let distances = postings.as_struct()["distance"].as_primitive::<UInt16Type>().clone();
            let frequencies = postings.as_struct()["frequency"].as_primitive::<UInt8Type>().clone();
            let rows = distances.values().iter().zip(frequencies.values());
            seen.extend(rows.map(|(distance, frequency)| (name.clone(), first + u32::from(*distance), *frequency)));
        }
    }
    let expected = [("a", 0, 2), ("a", 4, 1), ("b", 0, 1), ("b", 3, 1), ("日本", 3, 255)];
    assert_eq!(seen, expected.map(|(term, row, frequency)| (term.to_owned(), row, frequency)));
    let batches = read_by_arrow(encode_inverted(&sparse_header(), &sparse_parts()).expect("encodes"));
    assert_eq!(batches[0].schema().metadata()["metadata_key"], "splade");
    assert_eq!(batches[0]["rows"].as_primitive::<UInt32Type>().values().to_vec(), [6]);
}

/// The object with one metadata value replaced, written by Arrow.
fn with_metadata(header: &InvertedHeader, parts: &InvertedParts, (key, value): (&str, &str)) -> Vec<u8> {
    let batches = read_by_arrow(encode_inverted(header, parts).expect("encodes"));
    let mut schema = batches[0].schema().as_ref().clone();
    schema.metadata.insert(key.to_owned(), value.to_owned());
    let mut writer = FileWriter::try_new(Vec::new(), &schema).expect("arrow writes");
    for batch in batches {
        let batch =
            RecordBatch::try_new(schema.clone().into(), batch.columns().to_vec()).expect("only metadata differs");
        writer.write(&batch).expect("arrow writes");
    }
    writer.finish().expect("arrow writes");
    writer.into_inner().expect("arrow writes")
}

#[test]
fn another_format_number_is_told_apart_from_damage() {
    for (header, parts) in objects() {
        for found in [0, 3] {
            let bytes = with_metadata(&header, &parts, ("inverted_format", &found.to_string()));
            assert_eq!(decode_inverted(&bytes), Err(FormatError::Newer { found, known: 2 }));
        }
        let bytes = with_metadata(&header, &parts, ("inverted_format", "1"));
        assert_eq!(decode_inverted(&bytes), Ok((header, parts)));
    }
}

#[test]
fn metadata_that_cannot_be_is_refused_by_name() {
    for (key, value, expected) in [
        ("inverted_format", "one", "inverted_format"),
        ("kind", "graph", "kind \"graph\""),
        ("kind", "sparse", "metadata_key"),
        ("fingerprint", "ABCDEF0123456789", "fingerprint"),
        ("fingerprint", "+bcdef0123456789", "fingerprint"),
        ("fingerprint", "1", "fingerprint"),
        ("segment", "1", "segment"),
        ("segment", &"\u{1}".repeat(1000), "segment: expected at most 128 bytes, got 1000"),
    ] {
        let said = message(decode_inverted(&with_metadata(&text_header(), &text_parts(), (key, value))));
        assert!(said.starts_with("inverted index: ") && said.contains(expected), "{key} = {value}: {said}");
    }
    let said = message(decode_inverted(&with_metadata(&sparse_header(), &sparse_parts(), ("kind", "text"))));
    assert!(said.contains("no fingerprint"), "{said}");
}

/// Whether all that was read keeps every rule.
fn is_sound(parts: &InvertedParts) -> bool {
    match parts {
        InvertedParts::Text(parts) => parts.iter().all(|part| is_sound_text(part.lists())),
        InvertedParts::Sparse(parts) => parts.iter().all(|part| is_sound_vectors(part.lists())),
    }
}

#[test]
fn every_truncation_is_refused() {
    for (header, parts) in objects() {
        let bytes = encode_inverted(&header, &parts).expect("encodes");
        for length in 0..bytes.len() {
            assert!(message(decode_inverted(&bytes[..length])).starts_with("inverted index: "), "length {length}");
        }
    }
}

#[test]
fn no_flipped_bit_gets_past_the_checks_or_panics() {
    for (header, parts) in objects() {
        let bytes = encode_inverted(&header, &parts).expect("encodes");
        let (mut refused, mut survived) = (HashSet::new(), 0);
        // One bit of each byte, another one in each of eight.
        for bit in (0..bytes.len()).map(|byte| byte * 8 + byte * 3 % 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match decode_inverted(&flipped) {
                // Changed padding, weights or names make another index, but a whole one.
                Ok((_, parts)) => {
                    survived += 1;
                    assert!(is_sound(&parts), "bit {bit}");
                }
                Err(e) => _ = refused.insert(e.to_string()),
            }
        }
        assert!(refused.len() > 50 && survived > 500, "{} refusals, {survived} survived", refused.len());
    }
}

#[test]
fn noise_in_place_of_whole_stretches_never_panics() {
    for (header, parts) in objects() {
        let bytes = encode_inverted(&header, &parts).expect("encodes");
        let seed = 17;
        let rng = &mut StdRng::seed_from_u64(seed);
        for _ in 0..5000 {
            let mut noisy = bytes.clone();
            let start = rng.random_range(0..bytes.len());
            let end = (start + rng.random_range(1..16)).min(bytes.len());
            rng.fill(&mut noisy[start..end]);
            if let Ok((_, parts)) = decode_inverted(&noisy) {
                assert!(is_sound(&parts), "seed {seed}");
            }
        }
    }
}

#[test]
fn reading_takes_no_more_memory_than_a_few_times_the_object() {
    /// Times the object's size.
    const MOST: u64 = 4;
    let many = vec![TextColumns::checked(empty_texts(0)).expect("is whole"); 500];
    let wide = vec![TextColumns::checked(empty_texts(1 << 14)).expect("is whole"); 2];
    let more = [many, wide].map(|parts| (text_header(), InvertedParts::Text(parts)));
    for (header, parts) in objects().into_iter().chain(more) {
        let bytes = encode_inverted(&header, &parts).expect("encodes");
        let bound = bytes.len() as u64 * MOST;
        let (decoded, whole) = peak(|| decode_inverted(&bytes).expect("decodes"));
        assert!(whole > 500 && whole < bound, "{} bytes took {whole}", bytes.len());
        drop(decoded);
        let seed = 18;
        let rng = &mut StdRng::seed_from_u64(seed);
        for _ in 0..if bytes.len() < 100_000 { 2000 } else { 100 } {
            let mut noisy = bytes.clone();
            // Half of the noise hits the end: the footer, whose positions say how much there is to read.
            let least = if rng.random_bool(0.5) { bytes.len() - bytes.len().min(1500) } else { 0 };
            for _ in 0..rng.random_range(1..5) {
                let at = rng.random_range(least..bytes.len());
                noisy[at] = *[0, 1, 127, 128, 255, rng.random()].choose(rng).expect("has values");
            }
            let (_, taken) = peak(|| decode_inverted(&noisy));
            assert!(taken < bound, "seed {seed}: {} bytes took {taken}", bytes.len());
        }
    }
}
