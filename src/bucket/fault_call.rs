//! A call to a bucket as a value, so that the fault layer can look at it, hold it back and spoil its answer.
//! Invariant: `send` pairs each request with its kind of answer.

use std::ops::Range;

use bytes::Bytes;

use super::call::Op;
use super::{Bucket, BucketError, Object, Page, PutCondition, Stamp, StoreTime};

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

/// The answer to a call.
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

    /// The key of the call: the target of a copy, the prefix of a listing, the first key of a batch to delete.
    pub(super) fn key(&self) -> &str {
        match self {
            Request::Get { key, .. } | Request::Put { key, .. } | Request::PutLarge { key, .. } => key,
            Request::Copy { to, .. } => to,
            Request::List { prefix, .. } => prefix,
            Request::Delete { keys } => keys.first().map_or("", String::as_str),
        }
    }

    /// The request; a listing begins with the first page.
    pub(super) fn on_the_first_page(self) -> Request {
        match self {
            Request::List { prefix, .. } => Request::List { prefix, after: None },
            other => other,
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
    /// The answer; a page of a listing claims that more follow.
    pub(super) fn claiming_more(self) -> Answer {
        match self {
            Answer::Page(page) => Answer::Page(Page { more: true, ..page }),
            other => other,
        }
    }

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

/// A mismatch cannot happen, as `send` pairs each request with its answer; it is an error rather than a panic.
fn mixed_up(expected: &str) -> BucketError {
    BucketError::unknown(format!("expected {expected}, another kind of answer came"))
}
