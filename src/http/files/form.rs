//! A form's body, fed to its parser so that the parser's buffer stays small. `multer` buffers all its input until it
//! finds the end of a header or of the preamble, and searches the buffer anew for each piece.
//! Invariant: the parser gets one small piece at a time, and not much more than a header before it yields something.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use futures::Stream;

use crate::error::{Error, Result};

/// Bytes of a piece.
const PIECE_BYTES: usize = 16 << 10;
/// Most bytes that the parser may take without a result: a header of a part, or the preamble.
const HEADER_BYTES: usize = 64 << 10;

/// Bytes that the parser was given since its last result.
#[derive(Debug, Clone, Default)]
pub(super) struct Unparsed(Arc<AtomicUsize>);

impl Unparsed {
    /// The parser had a result.
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The pieces of a body as the parser gets them, each a small one.
pub(super) struct Fed<S> {
    pieces: Pin<Box<S>>,
    rest: Bytes,
    /// Whether the parser got a piece since it last yielded: it takes all that it can get before it parses any of it.
    given: bool,
    unparsed: Unparsed,
}

impl<S> Fed<S> {
    pub(super) fn new(pieces: S, unparsed: Unparsed) -> Fed<S> {
        Fed { pieces: Box::pin(pieces), rest: Bytes::new(), given: false, unparsed }
    }
}

impl<S: Stream<Item = Result<Bytes>>> Stream for Fed<S> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if std::mem::take(&mut self.given) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match self.pieces.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(piece))) => self.rest = piece,
                other => return other,
            }
        }
        let len = PIECE_BYTES.min(self.rest.len());
        if self.unparsed.0.fetch_add(len, Ordering::Relaxed) > HEADER_BYTES {
            return Poll::Ready(Some(Err(Error::invalid(format!(
                "form: expected at most {HEADER_BYTES} bytes before a part and in its header"
            )))));
        }
        self.given = true;
        Poll::Ready(Some(Ok(self.rest.split_to(len))))
    }
}
