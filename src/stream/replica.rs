//! A replica: this instance's copy of a stream, brought forward commit by commit. It opens from HEAD
//! (segments, graphs, tail) and follows the log (protocol section 6).
//! Invariants: commits are applied strictly in order, each once, each only after rule A and the chain
//! check; on damage the replica stops before the damaged object.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use parking_lot::Mutex;

use super::anchor::{Anchor, Moment};
use super::context::{Context, StreamError};
use super::state::State;
use super::tail::Tail;
use crate::bucket::{BucketError, StoreTime};
use crate::format::head::{Head, Life};
use crate::format::{Chain, Commit};
use crate::head::{self, HeadError};
use crate::log::{self, Chained, Slot};
use crate::record::Version;

/// Commits larger than this are decoded off the async threads.
const LARGE_COMMIT_BYTES: usize = 1 << 20;

/// Where the replica stands in the log.
#[derive(Debug)]
pub struct Position {
    /// The slot to read or write next.
    pub next: Version,
    /// The commit before it.
    pub prev: Option<Chain>,
    /// Which answers count.
    pub anchor: Anchor,
    /// Store time of the last answer.
    pub last_answer: Option<StoreTime>,
}

/// What following the log brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Commits applied.
    pub commits: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// This instance's copy of a stream.
#[derive(Debug)]
pub struct Replica<S> {
    pub(super) context: Arc<Context>,
    pub(super) state: Arc<Mutex<S>>,
    pub(super) tail: Arc<Mutex<Tail>>,
    pub(super) position: Position,
    /// The damaged object that it ends before, and what is wrong with it.
    pub(super) damage: Option<(String, String)>,
    /// Whether applied commits are shown to readers at once (not while opening).
    pub(super) live: bool,
}

/// What rule A says about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be believed.
    Counts,
    /// The slot was given up by the others; start anew from HEAD.
    Recycled(String),
    /// The stream has ended.
    Dropped,
}

impl<S: State> Replica<S> {
    /// Judges an answer about `slot`, taken in at `answered`, by rule A.
    pub async fn judge(
        &mut self,
        slot: Version,
        answered: Moment,
        date: Option<StoreTime>,
    ) -> Result<Verdict, StreamError> {
        self.position.last_answer = date.or(self.position.last_answer);
        let ablated = self.context.timing.ablate.rule_a;
        let anchor = &self.position.anchor;
        if ablated || anchor.within_lease(date, self.context.timing.lease) || anchor.proven(slot, answered) {
            return Ok(Verdict::Counts);
        }
        let issued = self.context.moments.next();
        let read = match head::read(self.context.bucket.as_ref(), &self.context.stream).await {
            Ok(read) => read,
            Err(HeadError::Missing) => return Ok(Verdict::Recycled("HEAD is missing".to_owned())),
            Err(error) => return Err(StreamError::of_head(error, &self.context.stream)),
        };
        self.position.anchor.observe(&read, issued, self.position.next);
        Ok(if read.head.state == Life::Dropped {
            Verdict::Dropped
        } else if read.head.gone > slot {
            Verdict::Recycled(format!("slot {slot} is below gone = {}", read.head.gone))
        } else {
            Verdict::Counts
        })
    }

    /// Like [`judge`](Self::judge), for callers that can only go on if the answer counts.
    pub(super) async fn believe(
        &mut self,
        slot: Version,
        answered: Moment,
        date: Option<StoreTime>,
    ) -> Result<(), StreamError> {
        match self.judge(slot, answered, date).await? {
            Verdict::Counts => Ok(()),
            Verdict::Recycled(why) => Err(StreamError::Recycled(why)),
            Verdict::Dropped => Err(StreamError::Dropped),
        }
    }

    /// Reads the log until the first free slot and applies what it finds. Afterwards the state holds
    /// every commit that was acknowledged before this call began. Reads `width` slots at once, and more
    /// the more it finds.
    pub async fn catch_up(&mut self, width: usize) -> Result<Pulled, StreamError> {
        let mut pulled = Pulled::default();
        let mut width = width.max(1);
        let mut ahead = self.position.next;
        let mut window = FuturesOrdered::new();
        loop {
            while window.len() < width {
                window.push_back(read_slot(self.context.clone(), ahead));
                ahead = ahead.next();
            }
            let Some((slot, answered)) = window.next().await else { continue };
            let next = self.position.next;
            match slot? {
                Slot::Missing { date } => {
                    self.believe(next, answered, date).await?;
                    let later = window.any(|(slot, _)| async move { matches!(slot, Ok(Slot::Found { .. })) }).await;
                    if !later {
                        return Ok(pulled);
                    }
                    self.check_gap(next).await?;
                    (window, ahead) = (FuturesOrdered::new(), next);
                }
                Slot::Found { bytes, date } => {
                    self.believe(next, answered, date).await?;
                    let rows = self.take_in(bytes.clone()).await?;
                    pulled.commits += 1;
                    pulled.rows += rows as u64;
                    pulled.bytes += bytes.len() as u64;
                    self.context.counters.commits_pulled.count();
                    width = (width * 2).min(self.context.timing.prefetch.max(1));
                    if self.state.lock().dropped() {
                        return Ok(pulled);
                    }
                }
            }
        }
    }

    /// A later slot holds a commit while `slot` was missing. Either both were written meanwhile, or the
    /// slot was recycled, or somebody deleted it: a commit is never written before the one it follows.
    async fn check_gap(&mut self, slot: Version) -> Result<(), StreamError> {
        let (bucket, stream) = (self.context.bucket.as_ref(), &self.context.stream);
        if let Slot::Found { .. } = log::read_slot(bucket, stream, slot).await? {
            return Ok(());
        }
        let read = head::read(bucket, stream).await.map_err(|error| StreamError::of_head(error, stream))?;
        if read.head.state == Life::Dropped {
            return Err(StreamError::Dropped);
        }
        if read.head.gone > slot {
            return Err(StreamError::Recycled(format!("slot {slot} is below gone = {}", read.head.gone)));
        }
        let cause = "it is missing, though a commit after it is there".to_owned();
        Err(StreamError::Corrupted { key: stream.log(slot), cause })
    }

    /// Checks and applies the commit that was found in the next slot; answers its number of rows.
    pub(super) async fn take_in(&mut self, bytes: Bytes) -> Result<usize, StreamError> {
        let (next, prev) = (self.position.next, self.position.prev);
        let stream = self.context.stream.clone();
        let checked = if bytes.len() > LARGE_COMMIT_BYTES {
            let bytes = bytes.clone();
            let task = tokio::task::spawn_blocking(move || log::chain(&bytes, &stream, next, prev.as_ref()));
            task.await.map_err(|e| StreamError::Unavailable(format!("decoding was cut short: {e}")))?
        } else {
            log::chain(&bytes, &stream, next, prev.as_ref())
        };
        let Chained { commit, link } =
            checked.map_err(|cause| StreamError::corrupted(self.context.stream.log(next), &cause))?;
        let rows = commit.rows.len();
        self.apply(&commit, bytes, link)?;
        Ok(rows)
    }

    /// Applies the commit of the next slot and moves on.
    pub(super) fn apply(&mut self, commit: &Commit, bytes: Bytes, link: Chain) -> Result<(), StreamError> {
        let next = self.position.next;
        {
            let mut state = self.state.lock();
            // IMPORTANT: state and tail move under one lock, so that a flush sees both at one version.
            state.apply(commit).map_err(|cause| StreamError::corrupted(self.context.stream.log(next), &cause))?;
            self.tail.lock().push(next, bytes, link);
            if self.live {
                state.publish();
            }
        }
        self.position.next = next.next();
        self.position.prev = Some(link);
        Ok(())
    }

    /// A replica that stands at HEAD's floor with nothing of the tail read yet.
    pub(super) fn at_floor(context: Arc<Context>, state: S, head: &Head, anchor: Anchor) -> Replica<S> {
        let position = Position { next: head.floor, prev: head.prev, anchor, last_answer: None };
        let tail = Tail::new(context.budget.account());
        Replica {
            context,
            state: Arc::new(Mutex::new(state)),
            tail: Arc::new(Mutex::new(tail)),
            position,
            damage: None,
            live: false,
        }
    }
}

async fn read_slot(context: Arc<Context>, version: Version) -> (Result<Slot, BucketError>, Moment) {
    let slot = log::read_slot(context.bucket.as_ref(), &context.stream, version).await;
    (slot, context.moments.next())
}
