//! A form's body, fed to its parser so that what the parser holds stays small. `multer` keeps all that it was given
//! until it finds the end of a header or of the preamble, and searches it anew each time.
//! Invariant: the parser is given one small piece at a time, and not much more than a header until it has made
//! something of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use futures::Stream;

use crate::error::{Error, Result};

/// Bytes given at once.
const PIECE_BYTES: usize = 16 << 10;
/// Bytes that the parser may be given and make nothing of: a header of a part, or what stands before the first.
const HEADER_BYTES: usize = 64 << 10;

/// How much the parser was given since it last made something of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Unparsed(Arc<AtomicUsize>);

impl Unparsed {
    /// It made something.
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The pieces of a body as the parser gets them.
pub(super) struct Fed<S> {
    pieces: Pin<Box<S>>,
    rest: Bytes,
    /// Whether a piece was given since the parser was last let go on: it takes all it can get before it looks at any.
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
