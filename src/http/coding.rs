//! Coded request bodies (`Content-Encoding`): gzip and zstd are decoded up to the limit of a body, even where the
//! coded bytes would grow beyond it. Invariant: memory is taken before a piece is kept.

use std::io::{BufRead, Read};

use axum::http::{HeaderMap, StatusCode, header};
use flate2::bufread::MultiGzDecoder;

use super::body::BodyLimit;
use super::error::ApiError;
use crate::error::{Error, ErrorKind};
use crate::store::room::Room;

/// Bytes decoded at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Largest window of zstd, 8 MiB as RFC 8878 recommends (as a logarithm).
const WINDOW_LOG: u32 = 23;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// The coding that the headers name; `None` means that the body is not coded.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Coding>, ApiError> {
        let mut names = Vec::new();
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let text = value.to_str().map_err(|_| unsupported("bytes that are not text"))?;
            names.extend(text.split(',').map(|name| name.trim().to_ascii_lowercase()));
        }
        names.retain(|name| !name.is_empty() && name != "identity");
        match names.as_slice() {
            [] => Ok(None),
            [one] if one == "gzip" || one == "x-gzip" => Ok(Some(Coding::Gzip)),
            [one] if one == "zstd" => Ok(Some(Coding::Zstd)),
            [one] => Err(unsupported(&format!("{one:?}"))),
            several => Err(unsupported(&format!("{} nested codings", several.len()))),
        }
    }

    /// Decodes a body of at most so many bytes as `limit` says, with the way out of a refusal. For threads that may
    /// block.
    pub(super) fn decode(self, coded: &[u8], limit: BodyLimit, room: &mut Room) -> Result<Vec<u8>, ApiError> {
        match self {
            Coding::Gzip => read(MultiGzDecoder::new(coded), limit, room),
            Coding::Zstd => {
                room.grow_blocking(1 << WINDOW_LOG)?;
                let mut decoder = zstd::Decoder::with_buffer(coded).map_err(|e| damaged(&e))?;
                decoder.window_log_max(WINDOW_LOG).map_err(|e| damaged(&e))?;
                let decoded = read(decoder, limit, room);
                room.shrink(1 << WINDOW_LOG);
                decoded
            }
        }
    }
}

fn read(decoder: impl Read, (limit, way_out): BodyLimit, room: &mut Room) -> Result<Vec<u8>, ApiError> {
    let mut decoder = std::io::BufReader::with_capacity(PIECE_BYTES, decoder);
    let mut decoded = Vec::new();
    loop {
        let piece = decoder.fill_buf().map_err(|e| damaged(&e))?;
        let len = piece.len();
        if len == 0 {
            return Ok(decoded);
        }
        if decoded.len() + len > limit {
            return Err(ApiError::with_status(
                StatusCode::PAYLOAD_TOO_LARGE,
                ErrorKind::Limit,
                format!("body: at most {limit} bytes once it is decoded, got more; {way_out}"),
            ));
        }
        if decoded.len() + len > decoded.capacity() {
            // Twice the growth: for the list while it moves, and for the decoded contents.
            let more = decoded.capacity().max(PIECE_BYTES);
            room.grow_blocking(2 * more as u64)?;
            decoded.reserve_exact(more);
        }
        decoded.extend_from_slice(piece);
        decoder.consume(len);
    }
}

fn damaged(cause: &std::io::Error) -> ApiError {
    Error::invalid(format!("body: cannot be decoded as content-encoding says: {cause}")).into()
}

fn unsupported(got: &str) -> ApiError {
    ApiError::with_status(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::Invalid,
        format!("content-encoding: expected gzip, zstd or identity, got {got}"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::{Settings, Storage};
    use crate::memory::{MemoryLimit, Purpose};
    use crate::store::Store;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        coder.write_all(bytes).unwrap();
        coder.finish().unwrap()
    }

    #[test]
    fn codings_are_known_by_name_and_all_but_two_refused() {
        let of = |values: &[&str]| {
            let headers = values.iter().map(|value| (header::CONTENT_ENCODING, value.parse().unwrap()));
            Coding::of(&headers.collect()).map_err(|e| e.status().as_u16())
        };
        for none in [&[][..], &["identity"], &[""]] {
            assert_eq!(of(none), Ok(None), "{none:?}");
        }
        assert_eq!(of(&["GZIP"]), Ok(Some(Coding::Gzip)));
        assert_eq!(of(&["identity, zstd"]), Ok(Some(Coding::Zstd)));
        for other in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "zstd"]] {
            assert_eq!(of(other), Err(415), "{other:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_expands_is_refused_at_the_limit_and_at_the_end_of_memory() {
        let mut settings = Settings::new(Storage::Memory);
        settings.memory_limit = Some(MemoryLimit { bytes: 64 << 20, whole_process: false });
        settings.timing.room_patience = std::time::Duration::ZERO;
        let store = Store::open(settings).await.unwrap();
        let text = b"{\"some\": \"json\"}".repeat(1000);
        let zeros = vec![b' '; 40 << 20];
        for (coding, code) in [
            (Coding::Gzip, gzip as fn(&[u8]) -> Vec<u8>),
            (Coding::Zstd, (|bytes| zstd::encode_all(bytes, 3).unwrap()) as fn(&[u8]) -> Vec<u8>),
        ] {
            let decode = |coded: &[u8], most: usize, purpose| {
                let mut room = store.room(purpose);
                coding.decode(coded, (most, ""), &mut room).map_err(|e| e.status().as_u16())
            };
            assert_eq!(decode(&code(&text), text.len(), Purpose::Work), Ok(text.clone()), "{coding:?}");
            assert_eq!(decode(&code(&text), text.len() - 1, Purpose::Work), Err(413), "{coding:?}");
            assert_eq!(decode(&code(&zeros), usize::MAX, Purpose::Read), Err(507), "{coding:?}");
            let whole = code(&text);
            assert_eq!(decode(&whole[..whole.len() / 2], usize::MAX, Purpose::Work), Err(400), "{coding:?}");
            assert_eq!(decode(b"not coded at all", usize::MAX, Purpose::Work), Err(400), "{coding:?}");
        }
    }
}
