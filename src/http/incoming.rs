//! A request's body as the handlers see it. If a handler gives the body up before its end, a little more of it is
//! read and thrown away. A client that is sending reads the answer only once it has sent, and would otherwise see a
//! broken connection. Invariants: this is bounded in time and bytes, and it does not ask for a body that the client
//! only offered (`Expect: 100-continue`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use http_body::{Frame, SizeHint};

/// Most bytes of one body that are read and thrown away.
const MOST_BYTES: usize = 64 << 20;
const MOST_TIME: Duration = Duration::from_secs(30);
/// A client that sends nothing for this long is not waited for.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Incoming {
    body: Option<Body>,
    /// Whether the client sends the body without being asked.
    comes: bool,
    ended: bool,
}

impl Incoming {
    pub(super) fn body<B>(body: B, headers: &HeaderMap) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let body = Body::new(body);
        if body.is_end_stream() {
            return body;
        }
        Body::new(Incoming { body: Some(body), comes: !headers.contains_key(header::EXPECT), ended: false })
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.comes = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        self.ended |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let unread = self.comes && !self.ended && !self.is_end_stream();
        let Some(body) = self.body.take().filter(|_| unread) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // The result does not matter: nobody needs the body.
                let _ = tokio::time::timeout(MOST_TIME, read_away(body)).await;
            });
        }
    }
}

async fn read_away(body: Body) {
    let mut pieces = body.into_data_stream();
    let mut bytes = 0;
    while bytes < MOST_BYTES {
        match tokio::time::timeout(PAUSE, pieces.next()).await {
            Ok(Some(Ok(piece))) => bytes += piece.len(),
            _ => return,
        }
    }
}
