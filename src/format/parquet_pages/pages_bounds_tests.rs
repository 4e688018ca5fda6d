//! Untrusted headers and compressed pages: their claims are checked before use.

use parquet::basic::Compression;
use proptest::prelude::*;

use super::compression::expand;
use super::footer::check_footer;
use super::header::read_header;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_page_expands_to_what_it_says_and_to_nothing_else() {
    let bytes = vec![7; 100_000];
    let packed = [
        (Compression::GZIP(Default::default()), gzip(&bytes)),
        (Compression::ZSTD(Default::default()), zstd::bulk::compress(&bytes, 1).unwrap()),
        (Compression::SNAPPY, snap::raw::Encoder::new().compress_vec(&bytes).unwrap()),
        (Compression::LZ4_RAW, lz4_flex::block::compress(&bytes)),
    ];
    for (codec, stored) in packed {
        assert_eq!(expand(codec, &stored, bytes.len()).unwrap(), bytes, "{codec:?}");
        for wrong in [0, 1, bytes.len() - 1, bytes.len() + 1] {
            assert!(expand(codec, &stored, wrong).is_err(), "{codec:?} {wrong}");
        }
        assert!(expand(codec, &stored[..stored.len() / 2], bytes.len()).is_err(), "{codec:?} cut");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let length = bytes.len() as u64;
        if let Ok(Some(header)) = read_header(&bytes) {
            prop_assert!(header.header_bytes <= length);
        }
        let _ = check_footer(&bytes);
    }

    #[test]
    fn any_bytes_expand_to_the_length_asked_for_or_not_at_all(
        bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0usize..2_000,
    ) {
        let codecs = [Compression::GZIP(Default::default()), Compression::BROTLI(Default::default()), Compression::LZ4,
            Compression::LZ4_RAW, Compression::SNAPPY, Compression::ZSTD(Default::default())];
        for codec in codecs {
            if let Ok(expanded) = expand(codec, &bytes, length) {
                prop_assert_eq!(expanded.len(), length);
            }
        }
    }
}
