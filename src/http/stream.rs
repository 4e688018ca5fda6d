//! Answers that are written while they are sent: a get may return a whole collection, and such an answer is never
//! held in memory whole. Invariant: beside the snapshot it reads, an answer under way takes a few pieces of memory.
//!
//! A fault in the first piece still gets a status of its own. A fault in a later piece cuts the connection off, so
//! that no client takes half an answer for a whole one.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::{Stream, StreamExt, stream};

use super::answer::{INLINE_RECORDS, response};
use crate::compute::off_thread;
use crate::error::{Error, Result};
use crate::store::room::Room;

/// Bytes of a piece, or a little more: hyper hands this much to the socket at once.
pub(super) const PIECE_BYTES: usize = 128 << 10;
/// Least size that is expected of a small answer.
const LEAST_BYTES: usize = 4 << 10;

/// A JSON answer that can be written a bit at a time.
pub(super) trait JsonPieces: Send + 'static {
    /// The media type of the answer.
    fn media_type(&self) -> &'static str {
        "application/json"
    }

    /// The number of records in all.
    fn records(&self) -> usize;

    /// An estimate of the bytes that the next bit takes while it is written.
    fn weight(&self) -> usize;

    /// Appends the next bit, some KiB at most unless the record is larger. Returns false after the last one.
    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool>;
}

/// The answer: whole if it is small, else in pieces as the client takes them. Each piece takes memory of its own from
/// `room`'s share before it is written, and returns it once it is sent or dropped. `room` itself lasts until
/// everything is written.
pub(super) async fn respond(answer: impl JsonPieces, room: Room) -> Result<Response> {
    let media_type = HeaderValue::from_static(answer.media_type());
    let (first, rest) = next_piece(answer, &room).await?;
    let body = match rest {
        None => Body::from(first),
        Some(rest) => Body::from_stream(stream::once(async { Ok(first) }).chain(pieces(rest, room))),
    };
    let mut answer = response(StatusCode::OK, body);
    answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(answer)
}

/// The pieces that follow; each is made once the one before has been taken.
fn pieces(answer: impl JsonPieces, room: Room) -> impl Stream<Item = Result<Bytes>> {
    stream::try_unfold((Some(answer), room), |(answer, room)| async {
        let Some(answer) = answer else { return Ok(None) };
        let (bytes, rest) = next_piece(answer, &room).await.inspect_err(|error| {
            tracing::error!(%error, "an answer was cut short");
        })?;
        Ok(Some((bytes, (rest, room))))
    })
}

/// A piece, and the answer if there is more of it. A long piece is written on a blocking thread.
async fn next_piece<P: JsonPieces>(mut answer: P, room: &Room) -> Result<(Bytes, Option<P>)> {
    let expected = answer.weight().saturating_mul(answer.records().max(1)).clamp(LEAST_BYTES, PIECE_BYTES);
    let allowed = expected.max(answer.weight());
    let mut taken = room.another();
    // A record that is larger than the share of all answers is answered too, but no two such records at once.
    taken.grow((allowed as u64).min(room.share())).await?;
    let (piece, answer) = if answer.records() <= INLINE_RECORDS && allowed <= PIECE_BYTES {
        (piece(&mut answer, allowed)?, answer)
    } else {
        off_thread(move || piece(&mut answer, allowed).map(|piece| (piece, answer))).await??
    };
    taken.shrink((allowed as u64).saturating_sub(piece.bytes.capacity() as u64));
    let more = piece.more;
    Ok((kept(piece.bytes, taken), more.then_some(answer)))
}

/// Bytes that keep their room until they are sent or dropped.
pub(super) fn kept(bytes: Vec<u8>, room: Room) -> Bytes {
    struct Kept {
        bytes: Vec<u8>,
        _room: Room,
    }

    impl AsRef<[u8]> for Kept {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    Bytes::from_owner(Kept { bytes, _room: room })
}

struct Piece {
    bytes: Vec<u8>,
    more: bool,
}

/// Writes until a piece is full, or until the next bit would take more than is allowed.
fn piece(answer: &mut impl JsonPieces, allowed: usize) -> Result<Piece> {
    let mut bytes = Vec::with_capacity(allowed.min(PIECE_BYTES));
    loop {
        let more = answer.write(&mut bytes)?;
        if !more || bytes.len() >= PIECE_BYTES || bytes.len().saturating_add(answer.weight()) > allowed {
            return Ok(Piece { bytes, more });
        }
    }
}

/// Appends a value as JSON.
pub(super) fn append(into: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(into, value).map_err(|e| Error::internal("writing the answer failed").with_source(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, Storage};
    use crate::memory::{MemoryLimit, Purpose};
    use crate::store::Store;

    /// Numbers up to a limit, with a fault where a test wants one.
    struct Numbers {
        next: usize,
        end: usize,
        fault: Option<usize>,
    }

    impl JsonPieces for Numbers {
        fn records(&self) -> usize {
            self.end
        }

        fn weight(&self) -> usize {
            10
        }

        fn write(&mut self, into: &mut Vec<u8>) -> Result<bool> {
            if self.fault == Some(self.next) {
                return Err(Error::corrupted("number is damaged"));
            }
            append(into, &self.next)?;
            into.push(b'\n');
            self.next += 1;
            Ok(self.next < self.end)
        }
    }

    async fn store() -> Store {
        let mut settings = Settings::new(Storage::Memory);
        settings.memory_limit = Some(MemoryLimit { bytes: 8 << 20, whole_process: false });
        settings.timing.room_patience = std::time::Duration::ZERO;
        Store::open(settings).await.unwrap()
    }

    async fn respond(numbers: Numbers) -> Result<Response> {
        super::respond(numbers, store().await.room(Purpose::Answer)).await
    }

    async fn text_of(response: Response) -> std::result::Result<String, axum::Error> {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn expected(end: usize) -> String {
        (0..end).map(|n| format!("{n}\n")).collect()
    }

    #[tokio::test]
    async fn small_and_large_answers_arrive_whole() {
        for end in [1, INLINE_RECORDS, INLINE_RECORDS + 1, 100_000] {
            let response = respond(Numbers { next: 0, end, fault: None }).await.unwrap();
            assert_eq!(text_of(response).await.unwrap(), expected(end), "{end}");
        }
    }

    #[tokio::test]
    async fn no_piece_is_much_larger_than_it_should_be() {
        let response = respond(Numbers { next: 0, end: 200_000, fault: None }).await.unwrap();
        let sizes: Vec<usize> =
            response.into_body().into_data_stream().map(|piece| piece.unwrap().len()).collect().await;
        assert!(sizes.len() > 5 && sizes.iter().all(|size| *size < PIECE_BYTES + 100), "{sizes:?}");
    }

    #[tokio::test]
    async fn a_fault_at_the_start_is_an_error_and_a_later_one_cuts_the_answer_off() {
        let early = respond(Numbers { next: 0, end: 100_000, fault: Some(10) }).await;
        assert!(early.unwrap_err().to_string().contains("damaged"));
        let late = respond(Numbers { next: 0, end: 100_000, fault: Some(90_000) }).await.unwrap();
        assert!(text_of(late).await.is_err());
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_are_counted_until_they_are_dropped_and_leave_others_no_room() {
        let store = store().await;
        let answer = || async {
            super::respond(Numbers { next: 0, end: 200_000, fault: None }, store.room(Purpose::Answer)).await
        };
        let mut waiting = Vec::new();
        let refused = loop {
            match answer().await {
                Ok(response) => waiting.push(response),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), crate::error::ErrorKind::NoRoom);
        // An eighth of 8 MiB, in pieces of 128 KiB.
        assert_eq!(waiting.len(), 8);
        waiting.pop();
        let mut pieces = answer().await.unwrap().into_body().into_data_stream();
        let mut text = Vec::new();
        // Each piece is dropped before the next is requested, as by a connection that has sent it.
        while let Some(piece) = pieces.next().await {
            text.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(String::from_utf8(text).unwrap(), expected(200_000));
    }
}
