//! Answers that are written while they are sent: a get may return a whole collection, and no such answer is ever
//! held in memory at once. Invariant: beside the snapshot it reads, an answer under way takes a few pieces of memory.
//!
//! A fault in the first piece still gets a status of its own; one in a later piece cuts the connection off, so that
//! no client takes half an answer for a whole one.

use std::convert::identity;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::{Stream, StreamExt, stream};

use super::answer::{INLINE_RECORDS, response};
use crate::error::{Error, Result};

/// Bytes of a piece, and a little more: what hyper hands to the socket at once.
const PIECE_BYTES: usize = 128 << 10;

/// A JSON answer that can be written a bit at a time.
pub(super) trait Pieces: Send + 'static {
    /// What it is written as.
    fn media_type(&self) -> &'static str {
        "application/json"
    }

    /// How many records it has in all.
    fn records(&self) -> usize;

    /// Appends the next bit, some KiB at most. False: that was the last.
    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool>;
}

/// The answer: whole if it is small, else in pieces as the client takes them.
pub(super) async fn respond(mut answer: impl Pieces) -> Result<Response> {
    let media_type = HeaderValue::from_static(answer.media_type());
    let (first, rest) = if answer.records() <= INLINE_RECORDS {
        let first = piece(&mut answer)?;
        (first.bytes, first.more.then_some(answer))
    } else {
        next_piece(answer).await?
    };
    let body = match rest {
        None => Body::from(first),
        Some(rest) => Body::from_stream(stream::once(async { Ok(first) }).chain(pieces(rest))),
    };
    let mut answer = response(StatusCode::OK, body);
    answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(answer)
}

/// The pieces that follow, each made when the one before has been taken.
fn pieces(answer: impl Pieces) -> impl Stream<Item = Result<Bytes>> {
    stream::try_unfold(Some(answer), |answer| async {
        match answer {
            Some(answer) => next_piece(answer).await.map(Some),
            None => Ok(None),
        }
    })
}

/// A piece, written where it does not hold up others, and the answer if there is more of it.
async fn next_piece<P: Pieces>(mut answer: P) -> Result<(Bytes, Option<P>)> {
    let written = tokio::task::spawn_blocking(move || piece(&mut answer).map(|piece| (piece, answer))).await;
    let written = written.map_err(|e| Error::internal("writing the answer failed").with_source(e));
    let (piece, answer) = written.and_then(identity).inspect_err(|error| {
        tracing::error!(%error, "an answer could not be written");
    })?;
    Ok((piece.bytes, piece.more.then_some(answer)))
}

struct Piece {
    bytes: Bytes,
    more: bool,
}

fn piece(answer: &mut impl Pieces) -> Result<Piece> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES.min(256 * (answer.records() + 1)));
    loop {
        let more = answer.write(&mut bytes)?;
        if !more || bytes.len() >= PIECE_BYTES {
            return Ok(Piece { bytes: bytes.into(), more });
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

    /// Numbers up to a limit, and a fault where one is wanted.
    struct Numbers {
        next: usize,
        end: usize,
        fault: Option<usize>,
    }

    impl Pieces for Numbers {
        fn records(&self) -> usize {
            self.end
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
}
