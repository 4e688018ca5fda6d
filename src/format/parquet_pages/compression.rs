//! Expands pages within a limit: to exactly as many bytes as the page's header says, after that number was checked
//! against the bounds. The parquet crate's own codecs expand some kinds without a limit.

use std::io::Read;

use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};

use super::contradiction;

/// Bytes that a decoder reads ahead.
const READ_BYTES: usize = 8 << 10;

/// The `length` bytes that `stored` expands to.
pub(super) fn expand(codec: Compression, stored: &[u8], length: usize) -> Result<Vec<u8>> {
    let expanded = match codec {
        Compression::UNCOMPRESSED => stored.to_vec(),
        Compression::SNAPPY => {
            if snap::raw::decompress_len(stored).map_err(broken)? != length {
                return Err(contradiction("a page is not as long as it says"));
            }
            snap::raw::Decoder::new().decompress_vec(stored).map_err(broken)?
        }
        Compression::GZIP(_) => within(flate2::read::MultiGzDecoder::new(stored), length)?,
        Compression::BROTLI(_) => within(brotli_decompressor::Decompressor::new(stored, READ_BYTES), length)?,
        Compression::ZSTD(_) => zstd::bulk::decompress(stored, length).map_err(broken)?,
        Compression::LZ4_RAW => lz4_block(stored, length)?,
        Compression::LZ4 => lz4_of_some_kind(stored, length)?,
        Compression::LZO => {
            let what = "compressed with lzo, which is not supported: write it with zstd, gzip, brotli, lz4 or snappy";
            return Err(ParquetError::NYI(what.to_owned()));
        }
    };
    match expanded.len() == length {
        true => Ok(expanded),
        false => Err(contradiction("a page is not as long as it says")),
    }
}

fn broken(cause: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::General(format!("a page cannot be expanded: {cause}"))
}

/// Everything that `from` yields, but at most one byte too many.
fn within(from: impl Read, length: usize) -> Result<Vec<u8>> {
    let mut expanded = Vec::with_capacity(length);
    from.take(length as u64 + 1).read_to_end(&mut expanded).map_err(broken)?;
    Ok(expanded)
}

fn lz4_block(stored: &[u8], length: usize) -> Result<Vec<u8>> {
    let mut expanded = vec![0; length];
    let written = lz4_flex::block::decompress_into(stored, &mut expanded).map_err(broken)?;
    expanded.truncate(written);
    Ok(expanded)
}

/// Expands pages called plain LZ4. Most writers mean blocks as Hadoop frames them, some the frame format, others one
/// bare block.
fn lz4_of_some_kind(stored: &[u8], length: usize) -> Result<Vec<u8>> {
    let right = |expanded: &Vec<u8>| expanded.len() == length;
    if let Some(expanded) = lz4_of_hadoop(stored, length).filter(right) {
        return Ok(expanded);
    }
    match within(lz4_flex::frame::FrameDecoder::new(stored), length) {
        Ok(expanded) if right(&expanded) => Ok(expanded),
        _ => lz4_block(stored, length),
    }
}

/// Blocks, each after its expanded and its stored length (u32, big-endian).
fn lz4_of_hadoop(mut stored: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut expanded = vec![0; length];
    let mut at = 0;
    while let Some((expanded_bytes, rest)) = stored.split_first_chunk::<4>() {
        let (stored_bytes, rest) = rest.split_first_chunk::<4>()?;
        let (block, rest) = rest.split_at_checked(u32::from_be_bytes(*stored_bytes) as usize)?;
        let end = at + u32::from_be_bytes(*expanded_bytes) as usize;
        let written = lz4_flex::block::decompress_into(block, expanded.get_mut(at..end)?).ok()?;
        if at + written != end {
            return None;
        }
        (stored, at) = (rest, end);
    }
    expanded.truncate(at);
    stored.is_empty().then_some(expanded)
}
