//! A replica: this instance's copy of a stream, brought forward commit by commit. It opens from HEAD (segments,
//! graphs, tail) and follows the log (docs/protocol.md#open, docs/protocol.md#follow). Invariants: commits are applied
//! strictly in order, each once, each only after rule A and the chain check. Bytes that do not check out are read
//! again. On damage the replica stops before the damaged object.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use parking_lot::Mutex;

use super::anchor::{Anchor, RequestMoment};
use super::context::{Context, StreamError};
use super::state::State;
use super::tail::Tail;
use crate::bucket::{BucketError, StoreTime};
use crate::compute::off_thread;
use crate::format::head::{Head, Life};
use crate::format::{Chain, Commit, FormatError};
use crate::log::{self, Chained, Slot};
use crate::record::Version;

/// Commits larger than this are decoded off the async threads.
const LARGE_COMMIT_BYTES: usize = 1 << 20;

/// Where the replica stands in the log.
#[derive(Debug)]
pub struct Position {
    /// The slot to read or write next.
    pub next: Version,
    /// The commit before `next`.
    pub prev: Option<Chain>,
    /// The anchor of rule A, which decides what answers count.
    pub anchor: Anchor,
    /// Store time of the last answer, if it had one.
    pub last_answer: Option<StoreTime>,
}

/// The yield of following the log.
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
    /// The damaged object before which this replica ends, and what is wrong with it.
    pub(super) damage: Option<(String, String)>,
    /// Whether applied commits are shown to readers at once (not while opening).
    pub(super) live: bool,
}

/// The bytes found in a slot.
struct FoundBytes {
    bytes: Bytes,
    date: Option<StoreTime>,
    answered: RequestMoment,
}

/// A commit that is in its place, and its bytes.
#[derive(Debug)]
pub struct Sound {
    /// The commit and its link.
    pub chained: Chained,
    /// The whole object.
    pub bytes: Bytes,
}

/// What rule A says about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be believed.
    Counts,
    /// The others gave the slot up; start anew from HEAD.
    Recycled(String),
    /// The stream has ended.
    Dropped,
}

impl<S: State> Replica<S> {
    /// Judges an answer about `slot`, taken in at `answered`, by rule A.
    pub async fn judge(
        &mut self,
        slot: Version,
        answered: RequestMoment,
        date: Option<StoreTime>,
    ) -> Result<Verdict, StreamError> {
        // IMPORTANT: never the date of an older answer, which may precede writes that this answer shows.
        self.position.last_answer = date;
        let ablated = self.context.timing.ablate.rule_a;
        let anchor = &self.position.anchor;
        if ablated || anchor.within_lease(date, self.context.timing.lease) || anchor.proven(slot, answered) {
            return Ok(Verdict::Counts);
        }
        let issued = self.context.moments.next();
        let read = match self.context.read_head().await {
            Ok(read) => read,
            Err(StreamError::Missing) => return Ok(Verdict::Recycled("HEAD is missing".to_owned())),
            Err(error) => return Err(error),
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

    /// Like [`judge`](Self::judge), for callers that can continue only if the answer counts.
    pub(super) async fn believe(
        &mut self,
        slot: Version,
        answered: RequestMoment,
        date: Option<StoreTime>,
    ) -> Result<(), StreamError> {
        match self.judge(slot, answered, date).await? {
            Verdict::Counts => Ok(()),
            Verdict::Recycled(why) => Err(StreamError::Recycled(why)),
            Verdict::Dropped => Err(StreamError::Dropped),
        }
    }

    /// Reads the log until the first free slot and applies the commits. Afterwards the state holds every commit that
    /// was acknowledged before this call began. Reads `width` slots at once, and doubles it each time the
    /// commits found reach it.
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
                    if !self.commit_is_among(next, &mut window).await {
                        return Ok(pulled);
                    }
                    self.check_gap(next).await?;
                    (window, ahead) = (FuturesOrdered::new(), next);
                }
                Slot::Found { bytes, date } => {
                    let Some(sound) = self.sound(FoundBytes { bytes, date, answered }).await? else {
                        // The bytes were made up: the slot is free, and the next read of it must agree.
                        (window, ahead) = (FuturesOrdered::new(), next);
                        continue;
                    };
                    pulled.commits += 1;
                    pulled.rows += sound.chained.commit.rows.len() as u64;
                    pulled.bytes += sound.bytes.len() as u64;
                    self.take_in(sound)?;
                    self.context.counters.commits_pulled.count();
                    if pulled.commits >= width as u64 {
                        width = (width * 2).min(self.context.timing.prefetch.max(1));
                    }
                    if self.state.lock().dropped() {
                        return Ok(pulled);
                    }
                }
            }
        }
    }

    /// Whether one of the slots read ahead after `slot` holds a commit of the stream. Other bytes prove nothing.
    async fn commit_is_among(
        &self,
        slot: Version,
        window: &mut FuturesOrdered<impl Future<Output = (Result<Slot, BucketError>, RequestMoment)>>,
    ) -> bool {
        let mut version = slot;
        while let Some((answer, _)) = window.next().await {
            version = version.next();
            if let Ok(Slot::Found { bytes, .. }) = answer
                && log::place(&bytes, &self.context.stream, version).is_ok()
            {
                return true;
            }
        }
        false
    }

    /// Explains why a later slot holds a commit while `slot` is missing: a commit is never written before its
    /// predecessor. Either both were written meanwhile, or the slot was recycled, or somebody deleted it.
    async fn check_gap(&mut self, slot: Version) -> Result<(), StreamError> {
        let context = self.context.clone();
        let mut reads = context.reread().begin();
        loop {
            if let Slot::Found { .. } = log::reread_slot(context.bucket.as_ref(), &context.stream, slot).await? {
                return Ok(());
            }
            let read = context.read_head().await?;
            if read.head.state == Life::Dropped {
                return Err(StreamError::Dropped);
            }
            if read.head.gone > slot {
                return Err(StreamError::Recycled(format!("slot {slot} is below gone = {}", read.head.gone)));
            }
            if !reads.again().await {
                let cause = "it is missing, though a commit after it is there".to_owned();
                return Err(StreamError::Corrupted { key: context.stream.log(slot), cause });
            }
        }
    }

    /// The commit in the next slot once it checks out; `None` if the slot turns out to be free. Bytes that do not
    /// check out are read again.
    async fn sound(&mut self, mut found: FoundBytes) -> Result<Option<Sound>, StreamError> {
        let (next, context) = (self.position.next, self.context.clone());
        let mut reads = context.reread().begin();
        loop {
            // IMPORTANT: rule A comes before the judgement. A commit in a recycled slot follows nothing that this
            // replica knows.
            self.believe(next, found.answered, found.date).await?;
            match self.chain(&found.bytes).await? {
                Ok(chained) => return Ok(Some(Sound { chained, bytes: found.bytes })),
                Err(cause) if !reads.again().await => {
                    return Err(StreamError::corrupted(context.stream.log(next), &cause));
                }
                Err(cause) => tracing::debug!(stream = %context.stream, %next, %cause, "a commit is read again"),
            }
            match log::reread_slot(context.bucket.as_ref(), &context.stream, next).await? {
                Slot::Found { bytes, date } => found = FoundBytes { bytes, date, answered: context.moments.next() },
                Slot::Missing { .. } => return Ok(None),
            }
        }
    }

    /// Decodes the bytes found in the next slot and checks that they belong there.
    pub(super) async fn chain(&self, bytes: &Bytes) -> Result<Result<Chained, FormatError>, StreamError> {
        let (next, prev) = (self.position.next, self.position.prev);
        let stream = self.context.stream.clone();
        if bytes.len() <= LARGE_COMMIT_BYTES {
            return Ok(log::chain(bytes, &stream, next, prev.as_ref()));
        }
        let bytes = bytes.clone();
        Ok(off_thread(move || log::chain(&bytes, &stream, next, prev.as_ref())).await?)
    }

    /// Applies the commit found in the next slot.
    pub(super) fn take_in(&mut self, sound: Sound) -> Result<(), StreamError> {
        let Sound { chained: Chained { commit, link }, bytes } = sound;
        self.apply(&commit, bytes, link)
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

async fn read_slot(context: Arc<Context>, version: Version) -> (Result<Slot, BucketError>, RequestMoment) {
    let slot = log::read_slot(context.bucket.as_ref(), &context.stream, version).await;
    (slot, context.moments.next())
}
