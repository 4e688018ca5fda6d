//! A call to the bucket as a value: what kind it is, for counting, and the whole of it, for layers
//! that hold it back or make it twice, and how long it may take. Its invariant: `Request::send` is the same call as the method's.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::{Bucket, BucketError, Object, Page, PutCondition, Stamp, StoreTime};

/// Added to the time of an attempt for each this many bytes of body, and how much.
const SLOW_LINK_BYTES: u64 = 64 << 20;
const SLOW_LINK_TIME: Duration = Duration::from_secs(60);

/// The kinds of calls to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// A read of an object or of a range of it.
    Get,
    /// An unconditional write, large ones included.
    Put,
    /// A write under the condition that the key is absent (P1).
    Create,
    /// A write under the condition of a tag (P2).
    Swap,
    /// A copy inside the store.
    Copy,
    /// One page of a listing.
    List,
    /// A delete of one or more keys.
    Delete,
}

impl Op {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Op; 7] = [Op::Get, Op::Put, Op::Create, Op::Swap, Op::Copy, Op::List, Op::Delete];

    /// The kind's name, for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Get => "get",
            Op::Put => "put",
            Op::Create => "create",
            Op::Swap => "swap",
            Op::Copy => "copy",
            Op::List => "list",
            Op::Delete => "delete",
        }
    }

    /// The kind of a put under `condition`.
    pub fn of_put(condition: &PutCondition) -> Op {
        match condition {
            PutCondition::Always => Op::Put,
            PutCondition::IfAbsent => Op::Create,
            PutCondition::IfMatch(_) => Op::Swap,
        }
    }
}

/// `timeout`, and more for a body that may come over a slow link.
pub fn attempt_limit(timeout: Duration, body_bytes: u64) -> Duration {
    timeout.saturating_add(SLOW_LINK_TIME.mul_f64(body_bytes as f64 / SLOW_LINK_BYTES as f64))
}

/// A call with its arguments.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Get { key: String, range: Option<Range<u64>>, fresh: bool },
    Put { key: String, body: Bytes, condition: PutCondition },
    PutLarge { key: String, pieces: Vec<Bytes> },
    Copy { from: String, to: String },
    List { prefix: String, after: Option<String> },
    Delete { keys: Vec<String> },
}

/// What a call was answered.
#[derive(Debug)]
pub(super) enum Answer {
    Object(Object),
    Stamp(Stamp),
    Page(Page),
    Done,
}

impl Request {
    pub(super) fn op(&self) -> Op {
        match self {
            Request::Get { .. } => Op::Get,
            Request::Put { condition, .. } => Op::of_put(condition),
            Request::PutLarge { .. } => Op::Put,
            Request::Copy { .. } => Op::Copy,
            Request::List { .. } => Op::List,
            Request::Delete { .. } => Op::Delete,
        }
    }

    /// The key that the call is about: the target of a copy, the prefix of a listing, the first of a
    /// batch to delete.
    pub(super) fn key(&self) -> &str {
        match self {
            Request::Get { key, .. } | Request::Put { key, .. } | Request::PutLarge { key, .. } => key,
            Request::Copy { to, .. } => to,
            Request::List { prefix, .. } => prefix,
            Request::Delete { keys } => keys.first().map_or("", String::as_str),
        }
    }

    pub(super) async fn send(self, bucket: &dyn Bucket) -> Result<Answer, BucketError> {
        match self {
            Request::Get { key, range, fresh: false } => bucket.get(&key, range).await.map(Answer::Object),
            Request::Get { key, range, fresh: true } => bucket.get_fresh(&key, range).await.map(Answer::Object),
            Request::Put { key, body, condition } => bucket.put(&key, body, condition).await.map(Answer::Stamp),
            Request::PutLarge { key, pieces } => bucket.put_large(&key, pieces).await.map(Answer::Stamp),
            Request::Copy { from, to } => bucket.copy(&from, &to).await.map(Answer::Stamp),
            Request::List { prefix, after } => bucket.list(&prefix, after.as_deref()).await.map(Answer::Page),
            Request::Delete { keys } => bucket.delete(&keys).await.map(|()| Answer::Done),
        }
    }
}

impl Answer {
    /// The store's time in the answer.
    pub(super) fn date_mut(&mut self) -> Option<&mut StoreTime> {
        match self {
            Answer::Object(object) => object.stamp.date.as_mut(),
            Answer::Stamp(stamp) => stamp.date.as_mut(),
            Answer::Page(page) => page.date.as_mut(),
            Answer::Done => None,
        }
    }

    pub(super) fn object(self) -> Result<Object, BucketError> {
        if let Answer::Object(object) = self { Ok(object) } else { Err(mixed_up("an object")) }
    }

    pub(super) fn stamp(self) -> Result<Stamp, BucketError> {
        if let Answer::Stamp(stamp) = self { Ok(stamp) } else { Err(mixed_up("a stamp")) }
    }

    pub(super) fn page(self) -> Result<Page, BucketError> {
        if let Answer::Page(page) = self { Ok(page) } else { Err(mixed_up("a page")) }
    }
}

/// Cannot happen, as `send` pairs each request with its answer; kept an error rather than a panic.
fn mixed_up(expected: &str) -> BucketError {
    BucketError::unknown(format!("expected {expected}, another kind of answer came"))
}
