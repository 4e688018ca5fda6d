//! A bucket that fails on purpose, between one store and the real bucket. It refuses requests, loses them, applies
//! them without an answer, holds them back or applies them late; the process behind it can die. Each store of a
//! simulation has its own. Invariants: every call is logged before anything happens to it; all delays run on tokio's
//! clock, so that paused time decides their order.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::sleep;

use super::call::Op;
use super::fault_call::{Answer, Request};
use super::{Bucket, BucketError, Object, Page, Place, PutCondition, Stamp, StoreTime};

/// One call of a store, as the log records it and as plans and gates judge it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The number of the call at this fault bucket, from 0.
    pub index: u64,
    /// Its kind.
    pub op: Op,
    /// The key; the target of a copy, the prefix of a listing, the first key of a delete.
    pub key: String,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call goes through.
    None,
    /// Refused, definitely not applied.
    RefuseBefore,
    /// Lost on the way there: not applied, reported unknown.
    UnknownBefore,
    /// Lost on the way back: applied, reported unknown.
    UnknownAfter,
    /// No answer until the attempt's time-out, then unknown.
    Hang {
        /// Whether the call is applied at once.
        applied: bool,
    },
    /// Goes through after this many milliseconds.
    SlowMs(u64),
    /// Reported unknown at once. Applied after this many milliseconds, unless its condition fails then.
    AppliedLateMs(u64),
    /// Goes through; the store's time in the answer is shifted by this many milliseconds.
    DateSkewMs(i64),
    /// A read that goes through; its answer lacks the store's time.
    Undated,
    /// A listing that lags by this many milliseconds: later writes do not show yet.
    ListLagMs(i64),
    /// A listing that shows its first page instead of any other, and claims that more follow.
    ListRepeats,
    /// A read that is answered with success and with wrong bytes. A write is answered by something that is no store,
    /// which proves nothing: not applied, reported unknown.
    Wrong(Wrong),
    /// A read that is answered as if there were no such object.
    Missing,
    /// A write or a copy that is reported done, though nothing was stored.
    Phantom,
    /// The process dies on this call: no answer to it nor to any later call, ever.
    Die {
        /// Whether the call is applied.
        applied: bool,
    },
}

/// How the bytes of an answer are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    /// A page of text from something between us and the store, whether or not the object exists.
    Page,
    /// Nothing at all; of a listing, no keys.
    Empty,
    /// The first half.
    Cut,
    /// All, with one bit changed.
    Flipped,
}

impl Wrong {
    /// Every way.
    pub const ALL: [Wrong; 4] = [Wrong::Page, Wrong::Empty, Wrong::Cut, Wrong::Flipped];

    /// What the fault makes of `bytes`.
    pub fn spoil(self, bytes: &Bytes) -> Bytes {
        match self {
            Wrong::Page => Bytes::from_static(b"<html><body>Please sign in.</body></html>"),
            Wrong::Empty => Bytes::new(),
            Wrong::Cut => bytes.slice(..bytes.len() / 2),
            Wrong::Flipped => {
                let mut spoilt = bytes.to_vec();
                let middle = spoilt.len() / 2;
                spoilt.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
                spoilt.into()
            }
        }
    }
}

/// How likely each fault is at a call of a random plan, from 0 to 1. The rest goes through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// Of [`Fault::RefuseBefore`].
    pub refused: f64,
    /// Of [`Fault::UnknownBefore`].
    pub unknown_before: f64,
    /// Of [`Fault::UnknownAfter`].
    pub unknown_after: f64,
    /// Of [`Fault::Hang`], applied or not with even odds.
    pub hang: f64,
    /// Of [`Fault::SlowMs`].
    pub slow: f64,
    /// Of [`Fault::AppliedLateMs`].
    pub late: f64,
    /// The longest delay of a slow or late call in milliseconds.
    pub longest_ms: u64,
}

/// A plan under which only call number `index` meets `fault`.
pub fn only(index: u64, fault: Fault) -> impl FnMut(&Call) -> Fault + Send + 'static {
    move |call| if call.index == index { fault } else { Fault::None }
}

/// A plan that draws each call's fault by `odds`. The same seed and calls give the same faults.
pub fn random(seed: u64, odds: Odds) -> impl FnMut(&Call) -> Fault + Send + 'static {
    let mut random = StdRng::seed_from_u64(seed);
    move |_| {
        let delay_ms = random.random_range(0..=odds.longest_ms);
        let applied = random.random_bool(0.5);
        let mut drawn: f64 = random.random();
        let faults = [
            (odds.refused, Fault::RefuseBefore),
            (odds.unknown_before, Fault::UnknownBefore),
            (odds.unknown_after, Fault::UnknownAfter),
            (odds.hang, Fault::Hang { applied }),
            (odds.slow, Fault::SlowMs(delay_ms)),
            (odds.late, Fault::AppliedLateMs(delay_ms)),
        ];
        for (likelihood, fault) in faults {
            if drawn < likelihood {
                return fault;
            }
            drawn -= likelihood;
        }
        Fault::None
    }
}

/// Where a gate holds a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Before the bucket sees it.
    Before,
    /// After the bucket has answered it, before the caller learns the answer.
    After,
}

/// Holds back the matching calls until it is released or dropped: a stalled process.
#[derive(Debug)]
pub struct Gate {
    held: watch::Receiver<u64>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Waits until at least one call is held at the gate.
    pub async fn reached(&mut self) {
        // The sender lives in the fault bucket. Once that is gone, no call can come any more.
        let _ = self.held.wait_for(|held| *held > 0).await;
    }

    /// How many calls have come to the gate.
    pub fn held(&self) -> u64 {
        *self.held.borrow()
    }

    /// Lets the held calls and all later ones pass.
    pub fn release(&self) {
        self.open.send_replace(true);
    }
}

struct Barrier {
    hold: Hold,
    matches: Box<dyn Fn(&Call) -> bool + Send>,
    held: watch::Sender<u64>,
    open: watch::Receiver<bool>,
}

type FaultPlan = Box<dyn FnMut(&Call) -> Fault + Send>;

struct FaultState {
    log: Vec<Call>,
    plan: FaultPlan,
    barriers: Vec<Barrier>,
}

/// A bucket with faults; see the module's text. Without a plan every call goes through.
pub struct FaultBucket {
    inner: Arc<dyn Bucket>,
    state: Mutex<FaultState>,
    dead: AtomicBool,
    attempt_timeout: Duration,
}

impl fmt::Debug for FaultBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, dead) = (self.state.lock().log.len(), self.is_dead());
        f.debug_struct("FaultBucket").field("inner", &self.inner).field("calls", &calls).field("dead", &dead).finish()
    }
}

impl FaultBucket {
    /// A layer over `inner`. Every call goes through until a plan is set.
    pub fn new(inner: Arc<dyn Bucket>) -> Self {
        let state = FaultState { log: Vec::new(), plan: Box::new(|_| Fault::None), barriers: Vec::new() };
        FaultBucket {
            inner,
            state: Mutex::new(state),
            dead: AtomicBool::new(false),
            attempt_timeout: Duration::from_secs(30),
        }
    }

    /// Sets the time after which a hanging call is given up; the default is 30 s.
    pub fn with_attempt_timeout(mut self, attempt_timeout: Duration) -> Self {
        self.attempt_timeout = attempt_timeout;
        self
    }

    /// Sets the plan that decides each later call.
    pub fn set_plan(&self, plan: impl FnMut(&Call) -> Fault + Send + 'static) {
        self.state.lock().plan = Box::new(plan);
    }

    /// All calls so far.
    pub fn log(&self) -> Vec<Call> {
        self.state.lock().log.clone()
    }

    /// Holds every later call that `matches` at a gate. Dropping the gate releases it.
    pub fn hold(&self, hold: Hold, matches: impl Fn(&Call) -> bool + Send + 'static) -> Gate {
        let (held_sender, held) = watch::channel(0);
        let (open, open_receiver) = watch::channel(false);
        let barrier = Barrier { hold, matches: Box::new(matches), held: held_sender, open: open_receiver };
        self.state.lock().barriers.push(barrier);
        Gate { held, open }
    }

    /// Kills the process: no later call reaches the bucket or is ever answered. Calls reported unknown and still under
    /// way land all the same. Calls that are slow or held at a gate do not.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Whether the process is dead.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    async fn alive(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Logs the call and asks the plan.
    fn admit(&self, request: &Request) -> (Call, Fault) {
        let state = &mut *self.state.lock();
        let call = Call { index: state.log.len() as u64, op: request.op(), key: request.key().to_owned() };
        state.log.push(call.clone());
        let fault = (state.plan)(&call);
        (call, fault)
    }

    async fn pass(&self, call: &Call, hold: Hold) {
        let gates: Vec<watch::Receiver<bool>> = {
            let state = &mut *self.state.lock();
            state.barriers.retain(|barrier| !*barrier.open.borrow() && barrier.open.has_changed().is_ok());
            let here = state.barriers.iter().filter(|barrier| barrier.hold == hold && (barrier.matches)(call));
            here.map(|barrier| {
                barrier.held.send_modify(|held| *held += 1);
                barrier.open.clone()
            })
            .collect()
        };
        for mut gate in gates {
            // A gate that was dropped is an open one.
            let _ = gate.wait_for(|open| *open).await;
        }
        self.alive().await;
    }

    async fn run(&self, request: Request) -> Result<Answer, BucketError> {
        self.alive().await;
        let (call, fault) = self.admit(&request);
        self.pass(&call, Hold::Before).await;
        let answer = self.meet(fault, request).await;
        self.pass(&call, Hold::After).await;
        answer
    }

    /// The store's time, read off an answer about `key`.
    async fn date(&self, key: &str) -> Option<StoreTime> {
        match self.inner.get(key, Some(0..0)).await {
            Ok(object) => object.stamp.date,
            Err(BucketError::NotFound { date } | BucketError::Exists { date }) => date,
            Err(BucketError::Refused { .. } | BucketError::Unknown { .. }) => None,
        }
    }

    async fn meet(&self, fault: Fault, request: Request) -> Result<Answer, BucketError> {
        let unknown = |message: &str| Err(BucketError::unknown(format!("injected fault: {message}")));
        match fault {
            Fault::None => request.send(&*self.inner).await,
            Fault::RefuseBefore => Err(BucketError::Refused { message: "injected fault: refused".into() }),
            Fault::UnknownBefore => unknown("lost before it was applied"),
            Fault::UnknownAfter => {
                let _lost = request.send(&*self.inner).await;
                unknown("the answer was lost")
            }
            Fault::Hang { applied } => {
                if applied {
                    let _lost = request.send(&*self.inner).await;
                }
                sleep(self.attempt_timeout).await;
                unknown("no answer within the time-out")
            }
            Fault::SlowMs(delay_ms) => {
                sleep(Duration::from_millis(delay_ms)).await;
                self.alive().await;
                request.send(&*self.inner).await
            }
            Fault::AppliedLateMs(delay_ms) => {
                let inner = self.inner.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_millis(delay_ms)).await;
                    let _lost = request.send(&*inner).await;
                });
                unknown("still under way")
            }
            Fault::DateSkewMs(skew_ms) => skewed(request.send(&*self.inner).await, skew_ms),
            Fault::Undated => undated(request.send(&*self.inner).await),
            Fault::ListLagMs(lag_ms) => request.send(&*self.inner).await.map(|answer| lagging(answer, lag_ms)),
            Fault::ListRepeats => request.on_the_first_page().send(&*self.inner).await.map(Answer::claiming_more),
            Fault::Wrong(wrong) if !matches!(request.op(), Op::Get | Op::List) => {
                unknown(&format!("answered by something that is no store ({wrong:?})"))
            }
            Fault::Wrong(wrong) => spoilt(request.send(&*self.inner).await, wrong),
            Fault::Missing if request.op() == Op::Get => {
                let date = self.date(request.key()).await;
                Err(BucketError::NotFound { date })
            }
            Fault::Phantom if matches!(request.op(), Op::Put | Op::Copy) => {
                let date = self.date(request.key()).await;
                Ok(Answer::Stamp(Stamp { etag: Some("\"phantom\"".to_owned()), date, last_modified: date }))
            }
            Fault::Missing | Fault::Phantom => request.send(&*self.inner).await,
            Fault::Die { applied } => {
                self.kill();
                if applied {
                    let _lost = request.send(&*self.inner).await;
                }
                std::future::pending().await
            }
        }
    }
}

/// An answer of a read with wrong bytes.
fn spoilt(answer: Result<Answer, BucketError>, wrong: Wrong) -> Result<Answer, BucketError> {
    let page = |date: Option<StoreTime>| {
        let bytes = wrong.spoil(&Bytes::new());
        let stamp = Stamp { etag: Some("\"page\"".to_owned()), date, last_modified: date };
        Ok(Answer::Object(Object { size_bytes: bytes.len() as u64, bytes, stamp }))
    };
    match answer {
        Ok(Answer::Object(object)) if wrong == Wrong::Page => page(object.stamp.date),
        Err(BucketError::NotFound { date }) if wrong == Wrong::Page => page(date),
        Ok(Answer::Object(mut object)) => {
            let whole = object.bytes.len() as u64 == object.size_bytes;
            object.bytes = wrong.spoil(&object.bytes);
            if whole {
                object.size_bytes = object.bytes.len() as u64;
            }
            Ok(Answer::Object(object))
        }
        Ok(Answer::Page(page)) => match wrong {
            Wrong::Empty => Ok(Answer::Page(Page { date: page.date, ..Page::default() })),
            _ => Err(BucketError::unknown("injected fault: the listing cannot be read")),
        },
        other => other,
    }
}

fn skewed(mut answer: Result<Answer, BucketError>, skew_ms: i64) -> Result<Answer, BucketError> {
    let date = match &mut answer {
        Ok(answer) => answer.date_mut(),
        Err(BucketError::Exists { date } | BucketError::NotFound { date }) => date.as_mut(),
        Err(BucketError::Refused { .. } | BucketError::Unknown { .. }) => None,
    };
    if let Some(date) = date {
        date.0 = date.0.saturating_add(skew_ms);
    }
    answer
}

fn undated(answer: Result<Answer, BucketError>) -> Result<Answer, BucketError> {
    match answer {
        Ok(Answer::Object(mut object)) => {
            object.stamp.date = None;
            Ok(Answer::Object(object))
        }
        Err(BucketError::NotFound { .. }) => Err(BucketError::NotFound { date: None }),
        other => other,
    }
}

fn lagging(mut answer: Answer, lag_ms: i64) -> Answer {
    if let Answer::Page(Page { objects, date: Some(date), .. }) = &mut answer {
        objects.retain(|object| object.last_modified.is_none_or(|written| date.since_ms(written) >= lag_ms));
    }
    answer
}

#[async_trait]
impl Bucket for FaultBucket {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.run(Request::Get { key: key.to_owned(), range, fresh: false }).await?.object()
    }

    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.run(Request::Get { key: key.to_owned(), range, fresh: true }).await?.object()
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        self.run(Request::Put { key: key.to_owned(), body, condition }).await?.stamp()
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        self.run(Request::PutLarge { key: key.to_owned(), pieces }).await?.stamp()
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        self.run(Request::Copy { from: from.to_owned(), to: to.to_owned() }).await?.stamp()
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        self.run(Request::List { prefix: prefix.to_owned(), after: after.map(str::to_owned) }).await?.page()
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        self.run(Request::Delete { keys: keys.to_vec() }).await.map(|_| ())
    }

    fn place(&self) -> Place {
        self.inner.place()
    }
}
