//! One stream of commits in a bucket, as one instance runs it. The stream is opened from HEAD; a writer task follows
//! and appends to it. Flush, compaction, collection of garbage and sweeps are methods here. The store's background
//! work (`store/background.rs`) and [`Admin::maintain`](crate::admin::Admin::maintain) call them. The catalog and
//! every collection are streams; what their records mean is a [`state::State`].

pub mod anchor;
pub mod append;
pub mod context;
pub mod ending;
pub mod flush;
pub mod fork;
pub mod gc;
pub mod heal;
pub mod history;
pub mod load;
pub mod objects;
pub mod open;
pub mod past;
pub mod replica;
pub mod rewind;
pub mod salvage;
pub mod segment_compaction;
pub mod shared;
pub mod state;
pub mod sweep;
pub mod tail;
pub mod upload;
pub mod writer;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use self::context::{Context, StreamError};
use self::replica::Pulled;
use self::shared::Shared;
use self::state::State;
use self::writer::{Answered, Writer, WriterCommand, Written};
use crate::error::{Error, Result};
use crate::head::Swapper;

/// Makes an empty state of a stream. All states of one stream publish to the same readers.
pub type Fresh<S> = Arc<dyn Fn() -> S + Send + Sync>;

/// An open stream. Cheap to clone; the writer task ends when it is closed or the last handle is gone.
#[derive(Debug)]
pub struct Stream<S: State> {
    context: Arc<Context>,
    shared: Arc<Shared<S>>,
    swapper: Arc<Swapper>,
    commands: mpsc::Sender<WriterCommand<S>>,
}

impl<S: State> Clone for Stream<S> {
    fn clone(&self) -> Self {
        Stream {
            context: self.context.clone(),
            shared: self.shared.clone(),
            swapper: self.swapper.clone(),
            commands: self.commands.clone(),
        }
    }
}

impl<S: State> Stream<S> {
    /// Opens the stream and starts its writer.
    pub async fn open(context: Context, fresh: Fresh<S>) -> Result<Stream<S>, StreamError> {
        let context = Arc::new(context);
        let replica = open::open(&context, fresh.as_ref()).await?;
        let shared = Arc::new(Shared::new(&replica));
        let swapper = Arc::new(Swapper::over(context.bucket.clone(), context.head.clone(), context.timing.clone()));
        let (commands, receiver) = mpsc::channel(context.waiting_writes.max(1));
        let writer = Writer::new(context.clone(), shared.clone(), fresh, replica, receiver);
        tokio::spawn(writer.run());
        Ok(Stream { context, shared, swapper, commands })
    }

    /// Applies a request, and returns once it is durable.
    pub async fn write(&self, request: S::Request) -> Result<Written<S::Answer>> {
        self.offer(request).await.map_err(|refusal| refusal.error)
    }

    /// Applies a request, and returns once it is durable. A refused request comes back to the caller.
    pub async fn offer(&self, request: S::Request) -> Answered<S> {
        let _waiting = self.context.counters.writes_waiting.enter();
        let (reply, answer) = oneshot::channel();
        match self.commands.try_send(WriterCommand::Write { request, reply }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                let what = format!(
                    "{} writes wait for this collection already (limits.waiting_writes); nothing was written, try again later",
                    self.context.waiting_writes
                );
                return Err(Error::unavailable(what).of_setting("limits.waiting_writes").into());
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(closed().into()),
        }
        answer.await.map_err(|_| unknown_at_close())?
    }

    /// Reads the log to its end: afterwards readers see every commit acknowledged before this call.
    pub async fn sync(&self) -> Result<Pulled> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(WriterCommand::Sync { reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Fails if a part of the stream is damaged, after another look at that part.
    pub async fn check_damage(&self) -> Result<(), StreamError> {
        if self.shared.damage().is_some() {
            // A fault is noted by the writer; a writer that has stopped finds nothing new.
            let _ = self.sync().await;
        }
        self.shared.check_damage()
    }

    /// Finishes the waiting requests and stops the writer.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(WriterCommand::Close { reply }).await.is_ok() {
            // Either the writer answers, or it has stopped already.
            let _ = answer.await;
        }
    }

    /// The writer's shared data: state, tail, damage.
    pub fn shared(&self) -> &Arc<Shared<S>> {
        &self.shared
    }

    /// The bucket, constants and counters of the stream.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The swapper of the stream's HEAD.
    pub fn swapper(&self) -> &Arc<Swapper> {
        &self.swapper
    }
}

fn closed() -> Error {
    Error::unavailable("the collection is closed; nothing was written")
}

fn unknown_at_close() -> Error {
    Error::new(
        crate::error::ErrorKind::OutcomeUnknown,
        "the writer stopped before it answered; the write may or may not have been applied",
    )
}
