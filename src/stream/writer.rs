//! The writer: the one task of a stream that appends and follows. It takes all waiting requests up to a limit (group
//! commit), resolves them against the state, puts one commit, applies it, and acknowledges
//! (docs/protocol.md#group-commit). Invariants: a request is answered with success only after its commit is durable
//! and believed; no answer comes from a stale state; a caller that goes away cancels nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Fresh;
use super::append::Appended;
use super::context::{Context, StreamError};
use super::heal;
use super::open::open;
use super::replica::{Pulled, Replica};
use super::shared::Shared;
use super::state::{Resolution, State, Weight};
use crate::bucket::StoreTime;
use crate::error::{Error, ErrorKind};
use crate::format::{
    Chain, Checksum, Commit, CommitHeader, CommitKind, Handover, Nonce, Rows, StreamConfig, encode_commit, move_commit,
};

/// A request's answer and when the store gave it.
#[derive(Debug, Clone)]
pub struct Written<A> {
    /// The state's answer.
    pub answer: A,
    /// Store time of the answer that made it durable (or current).
    pub date: Option<StoreTime>,
}

/// A command to the writer.
pub enum WriterCommand<S: State> {
    /// Apply a request.
    Write { request: S::Request, reply: Reply<S> },
    /// Read the log to its end.
    Sync { reply: oneshot::Sender<Result<Pulled, Error>> },
    /// Finish what is waiting and stop.
    Close { reply: oneshot::Sender<()> },
}

/// Why a request failed, and the request, if it comes back.
#[derive(Debug)]
pub struct RefusedWrite<R> {
    /// Why.
    pub error: Error,
    /// The request.
    pub request: Option<Box<R>>,
}

impl<R> From<Error> for RefusedWrite<R> {
    fn from(error: Error) -> RefusedWrite<R> {
        RefusedWrite { error, request: None }
    }
}

/// The outcome of a write request.
pub type Answered<S> = Result<Written<<S as State>::Answer>, RefusedWrite<<S as State>::Request>>;
/// Where the outcome goes.
type Reply<S> = oneshot::Sender<Answered<S>>;
/// A write request and where its answer goes.
type WaitingWrite<S> = (<S as State>::Request, Reply<S>);

/// How the attempt to commit a batch at one slot ended.
enum Step {
    Done,
    /// Another commit was applied: resolve again.
    Again,
}

/// The task's own data.
pub struct Writer<S: State> {
    context: Arc<Context>,
    shared: Arc<Shared<S>>,
    fresh: Fresh<S>,
    replica: Option<Replica<S>>,
    commands: mpsc::Receiver<WriterCommand<S>>,
    writes: VecDeque<WaitingWrite<S>>,
    syncs: Vec<oneshot::Sender<Result<Pulled, Error>>>,
    closing: Option<oneshot::Sender<()>>,
    /// The commit of the present batch that lost its slot.
    lost: Option<(Commit, bytes::Bytes)>,
}

impl<S: State> Writer<S> {
    /// The writer of an opened stream.
    pub fn new(
        context: Arc<Context>,
        shared: Arc<Shared<S>>,
        fresh: Fresh<S>,
        replica: Replica<S>,
        commands: mpsc::Receiver<WriterCommand<S>>,
    ) -> Writer<S> {
        Writer {
            context,
            shared,
            fresh,
            replica: Some(replica),
            commands,
            writes: VecDeque::new(),
            syncs: Vec::new(),
            closing: None,
            lost: None,
        }
    }

    /// Works until closed, or until no handle is left.
    pub async fn run(mut self) {
        while self.gather().await {
            if !self.syncs.is_empty() {
                let waiting = std::mem::take(&mut self.syncs);
                let pulled = self.sync().await;
                for reply in waiting {
                    // A caller that went away needs no answer, here and below.
                    let _ = reply.send(pulled.clone().map_err(Error::from));
                }
            }
            let batch = self.take_batch();
            if !batch.is_empty() {
                self.commit(batch).await;
            }
        }
        if let Some(reply) = self.closing.take() {
            let _ = reply.send(());
        }
    }

    /// Waits for something to do and takes all waiting requests; false when the work is over.
    async fn gather(&mut self) -> bool {
        if self.writes.is_empty() && self.syncs.is_empty() && self.closing.is_none() {
            match self.commands.recv().await {
                Some(command) => self.take(command),
                None => return false,
            }
        }
        while self.writes.len() < self.context.waiting_writes.max(1) {
            match self.commands.try_recv() {
                Ok(command) => self.take(command),
                Err(_) => break,
            }
        }
        !(self.closing.is_some() && self.writes.is_empty() && self.syncs.is_empty())
    }

    fn take(&mut self, command: WriterCommand<S>) {
        match command {
            WriterCommand::Write { request, reply } => self.writes.push_back((request, reply)),
            WriterCommand::Sync { reply } => self.syncs.push(reply),
            WriterCommand::Close { reply } => self.closing = Some(reply),
        }
    }

    /// The next requests that share a commit: at least one, up to the group's limits.
    fn take_batch(&mut self) -> Vec<WaitingWrite<S>> {
        let timing = &self.context.timing;
        let mut total = Weight::default();
        let mut taken = 0;
        for (request, _) in &self.writes {
            let weight = S::weight(request);
            total.rows = total.rows.saturating_add(weight.rows);
            total.bytes = total.bytes.saturating_add(weight.bytes);
            if taken > 0 && (total.rows > timing.group_rows || total.bytes > timing.group_bytes) {
                break;
            }
            taken += 1;
        }
        self.writes.drain(..taken).collect()
    }

    async fn sync(&mut self) -> Result<Pulled, StreamError> {
        let asked = Instant::now();
        let damaged = self.shared.damage();
        if let Some((key, cause)) = &damaged {
            self.look_again(key, cause).await?;
        }
        let pulled = match self.replica().await {
            Ok(replica) => replica.catch_up(1).await,
            Err(error) => Err(error),
        };
        let pulled = match pulled {
            Err(StreamError::Recycled(_)) => {
                self.discard();
                // Opening reads the log to its end.
                self.replica().await.map(|_| Pulled::default())
            }
            other => self.noting_damage(other),
        };
        if damaged.is_some() {
            self.context.damage.looked(asked.elapsed());
        }
        if pulled.is_ok() {
            self.shared.note_current(asked);
            self.shared.heal();
        }
        pulled
    }

    /// Looks again at an object that was found damaged, unless that was just done. `Ok` if it may be sound.
    async fn look_again(&self, key: &str, cause: &str) -> Result<(), StreamError> {
        if !self.context.damage.is_due() {
            return Err(StreamError::Corrupted { key: key.to_owned(), cause: cause.to_owned() });
        }
        let began = Instant::now();
        let looked = heal::look(&self.context, key).await;
        if looked.is_err() {
            self.context.damage.looked(began.elapsed());
        }
        self.noting_damage(looked)
    }

    /// The replica, opened anew if it had to be discarded.
    async fn replica(&mut self) -> Result<&mut Replica<S>, StreamError> {
        if self.replica.is_none() {
            let opened = open(&self.context, self.fresh.as_ref()).await;
            let replica = self.noting_damage(opened)?;
            self.shared.adopt(&replica);
            if let Some((key, cause)) = replica.damage {
                // This replica ends before damage: reads may use it, writes may not.
                return Err(StreamError::Corrupted { key, cause });
            }
            self.replica = Some(replica);
        }
        self.replica.as_mut().ok_or_else(|| StreamError::Unavailable("the stream is not open".to_owned()))
    }

    fn discard(&mut self) {
        self.context.counters.reopenings.count();
        self.replica = None;
    }

    fn noting_damage<T>(&self, result: Result<T, StreamError>) -> Result<T, StreamError> {
        match &result {
            Err(StreamError::Corrupted { key, cause }) => self.shared.note_damage(key, cause),
            // Where a successor is named, the catalog tells when reads are over (docs/protocol.md#handover).
            Err(StreamError::Dropped) if self.shared.successor().is_none() => self.shared.note_end(),
            _ => {}
        }
        result
    }

    /// Commits a batch: every request gets its answer.
    async fn commit(&mut self, batch: Vec<WaitingWrite<S>>) {
        let nonce = Nonce::random();
        let deadline = Instant::now() + self.context.timing.deadline;
        let (mut batch, mut tries) = (Some(batch), 0);
        self.lost = None;
        while let Some(waiting) = batch.take() {
            tries += 1;
            match self.try_commit(waiting, nonce, deadline).await {
                (Step::Done, _) => {}
                (Step::Again, back) if Instant::now() >= deadline => {
                    answer_all::<S>(back, &Error::outrun());
                }
                (Step::Again, back) => batch = Some(self.give_up_large(back, tries)),
            }
            batch = batch.filter(|left| !left.is_empty());
        }
        self.lost = None;
    }

    /// Answers the requests that lost slots `tries` times and would fare better in parts; returns the others.
    fn give_up_large(&self, batch: Vec<WaitingWrite<S>>, tries: u32) -> Vec<WaitingWrite<S>> {
        if self.context.timing.lost_slots.is_none_or(|most| tries < most) {
            return batch;
        }
        let (large, small) = batch.into_iter().partition(|(request, _)| S::weight(request).rows > 1);
        answer_all::<S>(large, &Error::outrun());
        small
    }

    /// Resolves the batch at the present version and tries to commit it at the next slot. Hands the
    /// batch back where it must be resolved again.
    async fn try_commit(
        &mut self,
        batch: Vec<WaitingWrite<S>>,
        nonce: Nonce,
        deadline: Instant,
    ) -> (Step, Vec<WaitingWrite<S>>) {
        // Nothing is appended after damage; a look first shows whether the damage is still there.
        let ready = match self.shared.damage() {
            None => self.replica().await.map(|_| ()),
            Some(_) => self.sync().await.map(|_| ()),
        };
        if let Err(error) = ready {
            answer_all::<S>(batch, &error.into());
            return (Step::Done, Vec::new());
        }
        let resolution = {
            let state = self.shared.state();
            let state = state.lock();
            let requests: Vec<&S::Request> = batch.iter().map(|(request, _)| request).collect();
            state.resolve(&requests)
        };
        if resolution.too_large && batch.len() > 1 {
            return self.commit_halves(batch).await;
        }
        if resolution.is_empty() {
            return self.answer_unchanged(batch, resolution.answers).await;
        }
        self.commit_rows(batch, resolution, nonce, deadline).await
    }

    /// Nothing to write: the answers hold only if no other commit came meanwhile
    /// (docs/protocol.md#no-stale-answers).
    async fn answer_unchanged(
        &mut self,
        batch: Vec<WaitingWrite<S>>,
        answers: Vec<Result<S::Answer, Error>>,
    ) -> (Step, Vec<WaitingWrite<S>>) {
        let before = self.version();
        let checked = match self.context.timing.ablate.fresh_answers {
            true => Ok(Pulled::default()),
            false => self.sync().await,
        };
        match checked {
            Ok(_) if self.version() == before => {
                let date = self.replica.as_ref().and_then(|r| r.position.last_answer);
                self.acknowledge(batch, answers, date);
                (Step::Done, Vec::new())
            }
            Ok(_) => (Step::Again, batch),
            // The stream has ended, and the requests get that answer.
            Err(error) => {
                answer_all::<S>(batch, &error.into());
                (Step::Done, Vec::new())
            }
        }
    }

    fn version(&self) -> crate::record::Version {
        self.shared.state().lock().version()
    }

    async fn commit_rows(
        &mut self,
        batch: Vec<WaitingWrite<S>>,
        resolution: Resolution<S::Answer>,
        nonce: Nonce,
        deadline: Instant,
    ) -> (Step, Vec<WaitingWrite<S>>) {
        let Resolution { rows, config, drop, handover, answers, .. } = resolution;
        let kind = if drop { CommitKind::Drop } else { CommitKind::Data };
        let (commit, bytes) = match self.encode(rows, (kind, config, handover), nonce) {
            Ok(encoded) => encoded,
            Err(error) if batch.len() > 1 && error.kind() == ErrorKind::Limit => {
                return self.commit_halves(batch).await;
            }
            Err(error) => {
                answer_all::<S>(batch, &error);
                return (Step::Done, Vec::new());
            }
        };
        let Some(replica) = self.replica.as_mut() else { return (Step::Again, batch) };
        let asked = Instant::now();
        let appended = match replica.append(&bytes, nonce, deadline).await {
            Ok(Appended::Ours(date)) => Ok(Some(self.apply_own(&commit, bytes, date))),
            Ok(Appended::Taken(theirs)) => {
                self.context.counters.slots_lost.count();
                self.lost = Some((commit, bytes));
                replica.take_in(*theirs).map(|()| None)
            }
            other => other.map(Some),
        };
        match self.noting_damage(appended) {
            Ok(Some(Appended::Ours(date))) => {
                self.context.counters.commits_written.count();
                self.shared.wrote();
                // The slot was the first free one.
                self.shared.note_current(asked);
                self.acknowledge(batch, answers, date);
            }
            Ok(None | Some(Appended::Taken(_))) => return (Step::Again, batch),
            Ok(Some(Appended::Refused(why))) => {
                answer_all::<S>(batch, &Error::unavailable(format!("the write was not applied: {why}")));
            }
            Ok(Some(Appended::Unknown(why))) => self.answer_unknown(batch, &why),
            Err(StreamError::Recycled(why)) => {
                self.discard();
                self.answer_unknown(batch, &why);
            }
            Err(error) => answer_all::<S>(batch, &error.into()),
        }
        (Step::Done, Vec::new())
    }

    /// Applies the batch's own commit.
    fn apply_own(&mut self, commit: &Commit, bytes: bytes::Bytes, date: Option<StoreTime>) -> Appended {
        let Some(replica) = self.replica.as_mut() else {
            return Appended::Unknown("the stream is not open".to_owned());
        };
        let link = Chain { nonce: commit.header.nonce, xxh3: Checksum::of(&bytes) };
        let applied = replica.apply(commit, bytes, link);
        match self.noting_damage(applied) {
            Ok(()) => Appended::Ours(date),
            // IMPORTANT: the commit is durable, even if it cannot be applied. It must not be reported as failed.
            Err(error) => Appended::Unknown(format!("it is in the bucket, but cannot be applied: {error}")),
        }
    }

    /// Small requests that resolve to too many rows or bytes are committed in halves. None of them is split.
    async fn commit_halves(&mut self, mut batch: Vec<WaitingWrite<S>>) -> (Step, Vec<WaitingWrite<S>>) {
        let rest = batch.split_off(batch.len() / 2);
        for half in [batch, rest] {
            Box::pin(self.commit(half)).await;
        }
        (Step::Done, Vec::new())
    }

    /// The batch's commit for the next slot. If the rows are those of the slot lost before, their bytes are used again.
    fn encode(
        &mut self,
        rows: Vec<crate::format::Row>,
        (kind, config, handover): (CommitKind, Option<StreamConfig>, Option<Handover>),
        nonce: Nonce,
    ) -> Result<(Commit, bytes::Bytes), Error> {
        let position = self.replica.as_ref().map(|r| (r.position.next, r.position.prev));
        let (version, prev) = position.ok_or_else(|| Error::unavailable("the stream is not open"))?;
        let header = CommitHeader {
            stream: self.context.stream.to_string(),
            version,
            kind,
            writer: self.context.writer.clone(),
            nonce,
            prev,
            config,
            handover,
        };
        let rows = Rows::from_iter(rows);
        let lost = self.lost.take().filter(|(lost, _)| lost.rows == rows);
        let bytes = match lost.and_then(|(lost, bytes)| move_commit(&bytes, &lost.header, &header)) {
            Some(bytes) => bytes,
            None => encode_commit(&header, &rows).map_err(|e| e.at(&self.context.stream.log(version)))?,
        };
        if bytes.len() > self.context.commit_bytes {
            return Err(Error::limit(format!(
                "the request makes a commit of {} bytes, expected at most {} (limits.batch_bytes); split it",
                bytes.len(),
                self.context.commit_bytes
            ))
            .of_setting("limits.batch_bytes"));
        }
        Ok((Commit { header, rows }, bytes))
    }

    fn acknowledge(
        &self,
        batch: Vec<WaitingWrite<S>>,
        answers: Vec<Result<S::Answer, Error>>,
        date: Option<StoreTime>,
    ) {
        debug_assert_eq!(batch.len(), answers.len(), "a resolution answers every request");
        for ((request, reply), answer) in batch.into_iter().zip(answers) {
            self.context.counters.writes_acknowledged.count();
            let refused = |error| RefusedWrite { error, request: Some(Box::new(request)) };
            let _ = reply.send(answer.map(|answer| Written { answer, date }).map_err(refused));
        }
    }

    fn answer_unknown(&self, batch: Vec<WaitingWrite<S>>, why: &str) {
        self.context.counters.outcomes_unknown.add(batch.len() as u64);
        let message = format!("the write may or may not have been applied ({why}); read before repeating it");
        answer_all::<S>(batch, &Error::new(ErrorKind::OutcomeUnknown, message));
    }
}

fn answer_all<S: State>(batch: Vec<WaitingWrite<S>>, error: &Error) {
    for (request, reply) in batch {
        let _ = reply.send(Err(RefusedWrite { error: error.clone(), request: Some(Box::new(request)) }));
    }
}
