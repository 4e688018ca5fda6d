//! Appending one commit: put-if-absent at the next slot, repeated until its fate is known (protocol
//! section 5, steps 2 and 3). Invariants: one put per stream in flight; after an unclear answer the same
//! bytes go to the same slot or nowhere; a success counts only by rule A.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::anchor::Moment;
use super::context::StreamError;
use super::replica::{Replica, Verdict};
use super::state::State;
use crate::bucket::{BucketError, StoreTime, backoff};
use crate::format::{Nonce, decode_commit};
use crate::head;
use crate::log::{self, Put, Slot};

/// What became of a commit at its slot.
#[derive(Debug)]
pub enum Appended {
    /// It stands there and is durable; store time of the answer.
    Ours(Option<StoreTime>),
    /// Another's commit stands there.
    Taken(Bytes),
    /// It was not written and never will be.
    Refused(String),
    /// It may or may not stand there.
    Unknown(String),
}

/// What a read of the slot said about our commit.
enum ReadBack {
    Decided(Appended),
    Absent,
}

impl<S: State> Replica<S> {
    /// Puts `bytes`, a commit with `nonce`, into the next slot. An error means that the log has moved
    /// on or is damaged; the commit's fate is then unknown too.
    pub(super) async fn append(
        &mut self,
        bytes: &Bytes,
        nonce: Nonce,
        deadline: Instant,
    ) -> Result<Appended, StreamError> {
        let mut unknown = None::<String>;
        let mut attempt = 0;
        loop {
            let (put, answered) = self.put_once(bytes).await;
            match put {
                Put::Created { date } => return self.ours(answered, date).await,
                Put::Refused(why) if unknown.is_none() => return Ok(Appended::Refused(why)),
                Put::Refused(why) | Put::Unknown(why) => unknown = Some(why),
                // The holder of the slot is read below. If the read does not find it, nothing is known.
                Put::Exists => {
                    if let ReadBack::Decided(appended) = self.read_back(nonce, deadline).await? {
                        return Ok(appended);
                    }
                    unknown.get_or_insert_with(|| "the slot was taken, then it was missing".to_owned());
                }
            }
            self.back_off(attempt).await;
            attempt += 1;
            if let ReadBack::Decided(appended) = self.read_back(nonce, deadline).await? {
                return Ok(appended);
            }
            if Instant::now() >= deadline {
                return Ok(Appended::Unknown(unknown.unwrap_or_default()));
            }
        }
    }

    /// One put, with a HEAD read beside it when the anchor grows old.
    async fn put_once(&mut self, bytes: &Bytes) -> (Put, Moment) {
        let context = self.context.clone();
        let (slot, lease) = (self.position.next, context.timing.lease);
        let put = async {
            let put = log::put_slot(context.bucket.as_ref(), &context.stream, slot, bytes.clone()).await;
            (put, context.moments.next())
        };
        if !self.position.anchor.wants_refresh(self.position.last_answer, lease) {
            return put.await;
        }
        let issued = context.moments.next();
        let (put, read) = tokio::join!(put, head::read(context.bucket.as_ref(), &context.stream));
        if let Ok(read) = read {
            self.position.anchor.observe(&read, issued, slot);
        }
        put
    }

    async fn ours(&mut self, answered: Moment, date: Option<StoreTime>) -> Result<Appended, StreamError> {
        let slot = self.position.next;
        match self.judge_until_answered(answered, date).await? {
            Verdict::Counts => Ok(Appended::Ours(date)),
            Verdict::Recycled(why) => Err(StreamError::Recycled(why)),
            Verdict::Dropped => Err(StreamError::Recycled(format!("the stream ended before slot {slot} was judged"))),
        }
    }

    /// Rule A needs an answer: while HEAD cannot be read, a success can be neither told nor denied.
    async fn judge_until_answered(
        &mut self,
        answered: Moment,
        date: Option<StoreTime>,
    ) -> Result<Verdict, StreamError> {
        let give_up = Instant::now() + self.context.timing.deadline;
        let mut attempt = 0;
        loop {
            match self.judge(self.position.next, answered, date).await {
                Err(StreamError::Unavailable(_)) if Instant::now() < give_up => self.back_off(attempt).await,
                Err(StreamError::Unavailable(why)) => return Err(StreamError::Recycled(why)),
                verdict => return verdict,
            }
            attempt += 1;
        }
    }

    /// Reads the next slot until it answers, and tells whose commit stands there.
    async fn read_back(&mut self, nonce: Nonce, deadline: Instant) -> Result<ReadBack, StreamError> {
        let slot = self.position.next;
        let mut attempt = 0;
        loop {
            let context = self.context.clone();
            let found = log::read_slot(context.bucket.as_ref(), &context.stream, slot).await;
            let answered = context.moments.next();
            match found {
                Ok(Slot::Missing { .. }) => return Ok(ReadBack::Absent),
                Ok(Slot::Found { bytes, date }) => {
                    // Damage is told by the chain check of whoever applies it.
                    let whose = decode_commit(&bytes).map(|commit| commit.header.nonce);
                    if whose == Ok(nonce) {
                        return self.ours(answered, date).await.map(ReadBack::Decided);
                    }
                    return match self.judge_until_answered(answered, date).await? {
                        Verdict::Counts => Ok(ReadBack::Decided(Appended::Taken(bytes))),
                        Verdict::Recycled(why) => Err(StreamError::Recycled(why)),
                        Verdict::Dropped => Err(StreamError::Dropped),
                    };
                }
                Err(BucketError::Refused { message }) | Err(BucketError::Unknown { message, .. }) => {
                    if Instant::now() >= deadline {
                        return Ok(ReadBack::Decided(Appended::Unknown(message)));
                    }
                }
                Err(BucketError::Exists { .. } | BucketError::NotFound { .. }) => return Ok(ReadBack::Absent),
            }
            self.back_off(attempt).await;
            attempt += 1;
        }
    }

    pub(super) async fn back_off(&self, attempt: u32) {
        let (first, longest): (Duration, Duration) = (self.context.timing.backoff, self.context.timing.backoff_max);
        backoff::pause(first, longest, attempt).await;
    }
}
