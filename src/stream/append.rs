//! Appending one commit: put-if-absent at the next slot, repeated until the commit's fate is known
//! (docs/protocol.md#append). Invariants: one put per stream is in flight. After an unclear answer the same bytes go
//! to the same slot or nowhere. A success counts only by rule A. A read-back decides only if it finds a commit that
//! belongs in the slot. No call is awaited beyond the deadline.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::anchor::RequestMoment;
use super::context::StreamError;
use super::replica::{Replica, Sound, Verdict};
use super::state::State;
use crate::bucket::call::attempt_limit;
use crate::bucket::{BucketError, StoreTime, backoff};
use crate::format::{FormatError, Nonce};
use crate::log::{self, Put, Slot};

/// Longest wait of an answer that counts for the HEAD read that was sent beside its put.
const BESIDE: Duration = Duration::from_secs(1);
/// The message for a call that was given up.
const LATE: &str = "no answer by the write's deadline";

/// What became of a commit at its slot.
#[derive(Debug)]
pub enum Appended {
    /// Our commit stands there and is durable; store time of the answer.
    Ours(Option<StoreTime>),
    /// Another's commit stands there.
    Taken(Box<Sound>),
    /// Our commit was not written and never will be.
    Refused(String),
    /// Our commit may or may not stand there.
    Unknown(String),
}

/// What a read of the slot showed about our commit.
enum ReadBack {
    Decided(Appended),
    Absent,
}

impl<S: State> Replica<S> {
    /// Puts `bytes`, a commit with `nonce`, into the next slot. An error means one of two things. The log has moved
    /// on, and the commit's fate is unknown. Or our commit does not stand in the slot: the stream has ended, or the
    /// slot is damaged.
    pub(super) async fn append(
        &mut self,
        bytes: &Bytes,
        nonce: Nonce,
        deadline: Instant,
    ) -> Result<Appended, StreamError> {
        // A large commit gets as much extra time as an attempt to put it may take.
        let deadline = deadline + attempt_limit(Duration::ZERO, bytes.len() as u64);
        let mut unknown = None;
        match self.put_until_decided(bytes, nonce, deadline, &mut unknown).await {
            // IMPORTANT: an interrupted call says nothing about the commit, which may stand.
            Err(StreamError::Unavailable(why) | StreamError::NoRoom(why)) => Ok(Appended::Unknown(why)),
            // A call that was given up at the deadline says less than the store's earlier answer.
            Ok(Appended::Unknown(why)) if why == LATE => Ok(Appended::Unknown(unknown.unwrap_or(why))),
            decided => decided,
        }
    }

    async fn put_until_decided(
        &mut self,
        bytes: &Bytes,
        nonce: Nonce,
        deadline: Instant,
        unknown: &mut Option<String>,
    ) -> Result<Appended, StreamError> {
        let mut attempt = 0;
        loop {
            let (put, answered) = self.put_once(bytes, deadline).await;
            match put {
                Put::Created { date } => return self.ours(answered, date).await,
                Put::Refused(why) if unknown.is_none() => return Ok(Appended::Refused(why)),
                Put::Unknown(why) if why == LATE && unknown.is_some() => {}
                Put::Refused(why) | Put::Unknown(why) => *unknown = Some(why),
                // The holder of the slot is read here. If the read finds none, nothing is known.
                Put::Exists => {
                    if let ReadBack::Decided(appended) = self.read_back(nonce, deadline, unknown.is_some()).await? {
                        return Ok(appended);
                    }
                    unknown.get_or_insert_with(|| "the slot was taken, then it was missing".to_owned());
                }
            }
            self.back_off(attempt, deadline).await;
            attempt += 1;
            if let ReadBack::Decided(appended) = self.read_back(nonce, deadline, unknown.is_some()).await? {
                return Ok(appended);
            }
            if Instant::now() >= deadline {
                return Ok(Appended::Unknown(unknown.take().unwrap_or_default()));
            }
        }
    }

    /// One put, with a HEAD read beside it when the anchor grows old. Gives up at the deadline.
    async fn put_once(&mut self, bytes: &Bytes, deadline: Instant) -> (Put, RequestMoment) {
        let context = self.context.clone();
        let (slot, lease) = (self.position.next, context.timing.lease);
        let put = async {
            let put = log::put_slot(context.bucket.as_ref(), &context.stream, slot, bytes.clone());
            let put = timeout_at(deadline, put).await.unwrap_or_else(|_| Put::Unknown(LATE.to_owned()));
            (put, context.moments.next())
        };
        if !self.position.anchor.wants_refresh(self.position.last_answer, lease) {
            return put.await;
        }
        let issued = context.moments.next();
        // A HEAD that does not check out is not awaited: rule A reads it again where needed.
        let read = timeout_at(deadline, context.head.read(context.timing.reread().once()));
        let (mut put, mut read) = (pin!(put), pin!(read));
        let (put, read) = tokio::select! {
            biased;
            read = &mut read => (put.await, read),
            put = &mut put => match &put.0 {
                // Where the old anchor proves nothing any more, the answer has to wait for HEAD.
                Put::Created { date } if !self.position.anchor.within_lease(*date, lease) => (put, read.await),
                // Otherwise a short wait: a HEAD that comes spares the next write a read of its own.
                _ => match timeout(BESIDE, read).await {
                    Ok(read) => (put, read),
                    Err(_) => return put,
                },
            },
        };
        if let Ok(Ok(read)) = read {
            self.position.anchor.observe(&read, issued, slot);
        }
        put
    }

    async fn ours(&mut self, answered: RequestMoment, date: Option<StoreTime>) -> Result<Appended, StreamError> {
        let slot = self.position.next;
        match self.judge_until_answered(answered, date).await? {
            Verdict::Counts => Ok(Appended::Ours(date)),
            Verdict::Recycled(why) => Err(StreamError::Recycled(why)),
            Verdict::Dropped => Err(StreamError::Recycled(format!("the stream ended before slot {slot} was judged"))),
        }
    }

    /// Rule A needs an answer: while HEAD cannot be read, a success can be neither confirmed nor denied.
    async fn judge_until_answered(
        &mut self,
        answered: RequestMoment,
        date: Option<StoreTime>,
    ) -> Result<Verdict, StreamError> {
        let give_up = Instant::now() + self.context.timing.deadline;
        let mut attempt = 0;
        loop {
            let judged = timeout_at(give_up, self.judge(self.position.next, answered, date)).await;
            match judged.unwrap_or_else(|_| Err(StreamError::Unavailable(LATE.to_owned()))) {
                Err(StreamError::Unavailable(_)) if Instant::now() < give_up => self.back_off(attempt, give_up).await,
                Err(StreamError::Unavailable(why)) => return Err(StreamError::Recycled(why)),
                // IMPORTANT: damage of HEAD says nothing about the commit, which may stand.
                Err(StreamError::Corrupted { key, cause }) => {
                    return Err(StreamError::Recycled(format!("{key}: {cause}")));
                }
                verdict => return verdict,
            }
            attempt += 1;
        }
    }

    /// Reads the next slot until it answers, and returns whose commit stands there. `unsure` says whether ours may.
    async fn read_back(&mut self, nonce: Nonce, deadline: Instant, unsure: bool) -> Result<ReadBack, StreamError> {
        let (slot, context) = (self.position.next, self.context.clone());
        let mut attempt = 0;
        let mut reads = context.reread().begin();
        loop {
            let read = async {
                match attempt {
                    0 => log::read_slot(context.bucket.as_ref(), &context.stream, slot).await,
                    _ => log::reread_slot(context.bucket.as_ref(), &context.stream, slot).await,
                }
            };
            let found = timeout_at(deadline, read).await.unwrap_or_else(|_| Err(BucketError::unknown(LATE)));
            let answered = context.moments.next();
            attempt += 1;
            match found {
                Ok(Slot::Missing { .. }) => return Ok(ReadBack::Absent),
                Ok(Slot::Found { bytes, date }) => match self.chain(&bytes).await? {
                    Ok(chained) if chained.commit.header.nonce == nonce => {
                        return self.ours(answered, date).await.map(ReadBack::Decided);
                    }
                    Ok(chained) => return self.taken(Sound { chained, bytes }, answered, date).await,
                    Err(cause) => {
                        self.check_recycled(answered, date).await?;
                        if Instant::now() >= deadline || !reads.again().await {
                            return self.unreadable(&cause, unsure);
                        }
                        continue;
                    }
                },
                Err(BucketError::Refused { message, .. } | BucketError::Unknown { message, .. }) => {
                    if Instant::now() >= deadline {
                        return Ok(ReadBack::Decided(Appended::Unknown(message)));
                    }
                }
                Err(BucketError::Exists { .. } | BucketError::NotFound { .. }) => return Ok(ReadBack::Absent),
            }
            self.back_off(attempt - 1, deadline).await;
        }
    }

    /// Another's commit stands in the slot.
    async fn taken(
        &mut self,
        theirs: Sound,
        answered: RequestMoment,
        date: Option<StoreTime>,
    ) -> Result<ReadBack, StreamError> {
        match self.judge_until_answered(answered, date).await? {
            Verdict::Counts => Ok(ReadBack::Decided(Appended::Taken(Box::new(theirs)))),
            Verdict::Recycled(why) => Err(StreamError::Recycled(why)),
            Verdict::Dropped => Err(StreamError::Dropped),
        }
    }

    /// Bytes that do not fit may come from a recycled slot: rule A decides.
    async fn check_recycled(&mut self, answered: RequestMoment, date: Option<StoreTime>) -> Result<(), StreamError> {
        match self.judge_until_answered(answered, date).await? {
            Verdict::Counts => Ok(()),
            Verdict::Recycled(why) => Err(StreamError::Recycled(why)),
            Verdict::Dropped => Err(StreamError::Recycled("the stream ended before the slot could be read".to_owned())),
        }
    }

    /// The slot holds neither our commit nor another's. If ours may stand there behind wrong answers, the outcome is
    /// unknown. If it cannot, the slot is damaged.
    fn unreadable(&self, cause: &FormatError, unsure: bool) -> Result<ReadBack, StreamError> {
        let key = self.context.stream.log(self.position.next);
        match unsure {
            true => Ok(ReadBack::Decided(Appended::Unknown(format!("{key} was read back wrong: {cause}")))),
            false => Err(StreamError::corrupted(key, cause)),
        }
    }

    async fn back_off(&self, attempt: u32, until: Instant) {
        let (first, longest): (Duration, Duration) = (self.context.timing.backoff, self.context.timing.backoff_max);
        // No pause goes beyond the deadline.
        let _ = timeout_at(until, backoff::pause(first, longest, attempt)).await;
    }
}

#[cfg(test)]
#[path = "append_tests.rs"]
mod tests;
