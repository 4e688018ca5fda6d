//! A file's bytes on their way to a client. Invariants: a download holds a few small pieces beside the parts that its
//! budget allows. One that ends early, for damage or a stalled client, ends with an error: that cuts the connection,
//! so nobody takes a part for the whole.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::file::{Download, FileStore, PendingDelete};

/// Bytes handed to the connection at once. They are copied, so that a slow client holds this much and not a whole
/// part.
const PIECE_BYTES: usize = 64 << 10;

/// The stream that the connection takes. If it is dropped before its end, the task that fills it notices.
struct Taking {
    pieces: mpsc::Receiver<Result<Bytes>>,
    taken: u64,
    expected: u64,
    /// Fires once all of it was taken.
    whole: Option<oneshot::Sender<()>>,
}

impl Taking {
    fn take(&mut self, piece: &Bytes) {
        self.taken = self.taken.saturating_add(piece.len() as u64);
        if let Some(whole) = self.whole.take_if(|_| self.taken == self.expected) {
            // The receiver is gone where nothing is to be deleted.
            let _ = whole.send(());
        }
    }
}

/// The body. If `leave` names the files, the file is deleted once all of it was taken.
pub(super) fn body(download: Download, leave: Option<FileStore>, idle: Duration) -> Body {
    let range = download.range();
    let (sender, pieces) = mpsc::channel(1);
    let (whole, taken) = oneshot::channel();
    let expected = range.end.saturating_sub(range.start);
    let sending = Sending { download, leave, sender, taken, idle, sent: 0, expected };
    tokio::spawn(sending.run());
    let taking = Taking { pieces, taken: 0, expected, whole: Some(whole) };
    Body::from_stream(stream::try_unfold(taking, |mut taking| async move {
        match taking.pieces.recv().await {
            Some(Ok(piece)) => {
                taking.take(&piece);
                Ok(Some((piece, taking)))
            }
            Some(Err(error)) => Err(error),
            None if taking.taken == taking.expected => Ok(None),
            None => Err(Error::unavailable("the download was given up")),
        }
    }))
}

/// The task of one download.
struct Sending {
    download: Download,
    leave: Option<FileStore>,
    sender: mpsc::Sender<Result<Bytes>>,
    taken: oneshot::Receiver<()>,
    idle: Duration,
    sent: u64,
    expected: u64,
}

impl Sending {
    async fn run(mut self) {
        let mut pending_delete = None;
        loop {
            let part = match self.download.next().await {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(file = self.download.info().name, %error, "a download was cut short");
                    // A receiver that is gone needs no error.
                    let _ = self.sender.send(Err(error)).await;
                    return;
                }
            };
            for piece in part.chunks(PIECE_BYTES) {
                self.sent = self.sent.saturating_add(piece.len() as u64);
                if self.sent == self.expected {
                    // IMPORTANT: the delete is noted before the last piece goes. A client that has the whole file
                    // finds that it is leaving.
                    pending_delete = self.pending_delete();
                }
                let sent = self.sender.send_timeout(Ok(Bytes::copy_from_slice(piece)), self.idle).await;
                if sent.is_err() {
                    return;
                }
            }
        }
        if self.expected == 0 {
            pending_delete = self.pending_delete();
        }
        if let Some(pending_delete) = pending_delete {
            self.taken_whole(pending_delete).await;
        }
    }

    fn pending_delete(&self) -> Option<PendingDelete> {
        self.leave.as_ref().map(|store| store.pending_delete(self.download.info()))
    }

    /// Deletes the file if the connection took the last piece, even if the connection ended with it.
    async fn taken_whole(self, pending_delete: PendingDelete) {
        // Of an empty file the connection takes no piece.
        if self.expected == 0 || matches!(tokio::time::timeout(self.idle, self.taken).await, Ok(Ok(()))) {
            pending_delete.confirm().await;
        }
    }
}
