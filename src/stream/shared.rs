//! What the writer of a stream shares with the rest of the instance: state and tail (replaced when the stream is
//! opened anew), damage, and the bell that calls for maintenance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::context::{Context, StreamError};
use super::replica::Replica;
use super::state::State;
use super::tail::Tail;
use crate::format::Successor;

/// How late a regular look for others' commits may be before readers look themselves.
const LATE: Duration = Duration::from_secs(1);
/// How long handles of a collection read it after another has taken its place.
const GRACE: Duration = Duration::from_secs(10);
/// How long readers do not look after a look that failed.
const MISSED_PAUSE: Duration = Duration::from_secs(5);

/// The shared part of an open stream.
#[derive(Debug)]
pub struct Shared<S> {
    context: Arc<Context>,
    current: ArcSwap<Current<S>>,
    ended: AtomicBool,
    written: AtomicU64,
    segments_written: AtomicU64,
    /// The latest time up to which every commit of others is known to be applied.
    current_at: Mutex<Instant>,
    /// When the catalog showed that a successor has the name.
    handed_over_at: Mutex<Option<Instant>>,
    /// When a look for others' commits last failed.
    missed_look: Mutex<Option<Instant>>,
    bell: Notify,
}

/// State and tail of one replica; they move together under the state's lock.
#[derive(Debug)]
pub struct Current<S> {
    /// The fold of all commits so far.
    pub state: Arc<Mutex<S>>,
    /// The commits that are in no segment.
    pub tail: Arc<Mutex<Tail>>,
}

impl<S: State> Shared<S> {
    /// Shares a replica that has just been opened, and publishes its state.
    pub fn new(replica: &Replica<S>) -> Shared<S> {
        replica.state.lock().publish();
        let shared = Shared {
            context: replica.context.clone(),
            current: ArcSwap::from_pointee(Current { state: replica.state.clone(), tail: replica.tail.clone() }),
            ended: AtomicBool::new(false),
            written: AtomicU64::new(0),
            segments_written: AtomicU64::new(0),
            current_at: Mutex::new(Instant::now()),
            handed_over_at: Mutex::new(None),
            missed_look: Mutex::new(None),
            bell: Notify::new(),
        };
        // An earlier opening may have left known damage.
        shared.heal();
        shared.note_damage_of(replica);
        shared
    }

    /// Shares a replica that was opened anew, and publishes its state.
    pub fn adopt(&self, replica: &Replica<S>) {
        replica.state.lock().publish();
        self.current.store(Arc::new(Current { state: replica.state.clone(), tail: replica.tail.clone() }));
        self.note_damage_of(replica);
    }

    fn note_damage_of(&self, replica: &Replica<S>) {
        if let Some((key, cause)) = &replica.damage {
            self.note_damage(key, cause);
        }
    }

    /// The present state and tail.
    pub fn current(&self) -> Arc<Current<S>> {
        self.current.load_full()
    }

    /// The present state.
    pub fn state(&self) -> Arc<Mutex<S>> {
        self.current.load().state.clone()
    }

    /// Remembers that an object is damaged: the stream is read-only until the object checks out.
    pub fn note_damage(&self, key: &str, cause: &str) {
        if self.context.damage.note(key, cause) {
            tracing::error!(%key, %cause, "a damaged object: the stream is read-only, and looked at again from time to time");
        }
    }

    /// Forgets the damage: HEAD, segments and log were read and check out.
    pub fn heal(&self) {
        if self.context.damage.clear() {
            tracing::info!(stream = %self.context.stream, "an object that was found damaged is sound again");
        }
    }

    /// The damaged object and the cause, if any.
    pub fn damage(&self) -> Option<(String, String)> {
        self.context.damage.get()
    }

    /// Fails if the stream is damaged.
    pub fn check_damage(&self) -> Result<(), StreamError> {
        match self.damage() {
            Some((key, cause)) => Err(StreamError::Corrupted { key, cause }),
            None => Ok(()),
        }
    }

    /// Remembers that HEAD was seen dropped.
    pub fn note_end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.bell.notify_one();
    }

    /// Whether the stream has ended, by a `drop` commit or by HEAD.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.state().lock().dropped()
    }

    /// What goes on in place of the stream, if its last commit names it.
    pub fn successor(&self) -> Option<Successor> {
        self.state().lock().successor()
    }

    /// Whether reads are over: the stream has ended, and no successor is about to take its name.
    pub fn is_gone(&self) -> bool {
        if self.ended.load(Ordering::SeqCst) {
            return true;
        }
        match self.successor() {
            None => self.ended(),
            Some(_) => self.handed_over_at.lock().is_some_and(|at| at.elapsed() >= GRACE),
        }
    }

    /// Whether the stream has ended, and the catalog does not show yet that a successor has the name.
    pub fn is_handing_over(&self) -> bool {
        self.ended() && !self.is_gone() && self.handed_over_at.lock().is_none()
    }

    /// Remembers that the successor has the name. Requests that began before may still end here.
    pub fn note_handed_over(&self) {
        self.handed_over_at.lock().get_or_insert_with(Instant::now);
    }

    /// Counts a commit of our own and wakes maintenance.
    pub fn wrote(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.bell.notify_one();
    }

    /// Commits of our own so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Counts a segment of our own that HEAD names.
    pub fn wrote_segment(&self) {
        self.segments_written.fetch_add(1, Ordering::Relaxed);
    }

    /// Segments of our own that HEAD has named so far.
    pub fn segments_written(&self) -> u64 {
        self.segments_written.load(Ordering::Relaxed)
    }

    /// Remembers that every commit acknowledged by `at` is applied.
    pub fn note_current(&self, at: Instant) {
        let mut current_at = self.current_at.lock();
        *current_at = at.max(*current_at);
    }

    /// How long commits of others may have gone unseen.
    pub fn lag(&self) -> Duration {
        self.current_at.lock().elapsed()
    }

    /// Whether a reader should look for commits of others, because the last look is longer ago than `interval`. Not
    /// while looks fail, and not while the next regular look is only a little late.
    pub fn may_look(&self, interval: Duration) -> bool {
        let stale = self.lag() >= interval + LATE.min(interval / 4);
        stale && self.missed_look.lock().is_none_or(|at| at.elapsed() >= interval.min(MISSED_PAUSE))
    }

    /// Remembers that such a look failed.
    pub fn note_missed_look(&self) {
        *self.missed_look.lock() = Some(Instant::now());
    }

    /// Waits until the bell rings: there may be something to maintain.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }
}
