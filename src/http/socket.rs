//! A connection's socket. If this server closes it while its client still sends, it lingers: incoming bytes are read
//! and thrown away for a little while. Without that, the system would report an error to the client before it has
//! read the answer. Invariant: this is bounded in time and bytes, and the connection keeps its place meanwhile.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connections::ConnectionSlot;

/// Most bytes that are read of a closed connection.
const LINGER_BYTES: u64 = 64 << 20;
const LINGER_TIME: Duration = Duration::from_secs(5);
/// A client that sends nothing for this long has read the answer.
const LINGER_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Socket {
    stream: Option<(TcpStream, ConnectionSlot)>,
    /// Whether the client has ended its side.
    at_end: bool,
    /// Whether this side was ended in order.
    shut: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, place: ConnectionSlot) -> Socket {
        Socket { stream: Some((stream, place)), at_end: false, shut: false }
    }

    fn inner(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.stream {
            Some((stream, _)) => Ok(Pin::new(stream)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = self.inner()?.poll_read(context, into);
        if matches!(polled, Poll::Ready(Ok(()))) && into.filled().len() == before && into.remaining() > 0 {
            self.at_end = true;
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.inner()?.poll_shutdown(context);
        self.shut |= matches!(polled, Poll::Ready(Ok(())));
        polled
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some((stream, place)) = self.stream.take().filter(|_| self.shut && !self.at_end) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Either result ends the connection.
                tokio::select! {
                    _ = tokio::time::timeout(LINGER_TIME, linger(stream)) => {}
                    () = place.ended() => {}
                }
            });
        }
    }
}

async fn linger(mut stream: TcpStream) {
    let mut bytes = vec![0; 16 << 10];
    let mut read = 0;
    while read < LINGER_BYTES {
        match tokio::time::timeout(LINGER_PAUSE, stream.read(&mut bytes)).await {
            Ok(Ok(count)) if count > 0 => read += count as u64,
            _ => return,
        }
    }
}
