//! The body of an answer as a connection takes it: in small pieces, each of which holds its request's ticket until it
//! is sent or dropped. So a request lasts until its last byte, and a client that takes nothing is noticed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use super::connections::{OnItsWay, Ticket};

/// Bytes handed to the connection at once. HTTP/2 holds this much of an answer whose client takes nothing.
const PIECE_BYTES: usize = 64 << 10;

/// A body with its ticket.
pub(super) struct Sent {
    body: Body,
    /// Bytes of the body that were not handed on yet.
    rest: Bytes,
    ticket: Arc<Ticket>,
}

impl Sent {
    pub(super) fn body(body: Body, ticket: Arc<Ticket>) -> Body {
        ticket.is_theirs();
        if body.is_end_stream() {
            return body;
        }
        Body::new(Sent { body, rest: Bytes::new(), ticket })
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(PIECE_BYTES.min(self.rest.len()));
        self.ticket.is_theirs();
        Frame::data(OnItsWay::bytes(piece, self.ticket.clone()))
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Poll::Ready(frame) = polled else {
            self.ticket.is_ours();
            return Poll::Pending;
        };
        self.ticket.is_theirs();
        Poll::Ready(frame.map(|frame| match frame?.into_data() {
            Ok(data) => {
                self.rest = data;
                Ok(self.piece())
            }
            Err(other) => Ok(other),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
