//! A bucket that now and then answers what is not so: reads bring other bytes, writes and copies are answered with
//! success and do nothing, listings show what is not there. What is in the bucket beneath stays sound.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, BucketError, Listed, Object, Page, Place, PutCondition, Stamp};
use parking_lot::Mutex;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A page of a gateway.
    Page,
    /// One bit is another.
    Flipped,
    /// The first half.
    Half,
    Empty,
    /// There is no such object.
    Missing,
    /// Of a write or copy: success, and nothing was done.
    Nothing,
    /// Of a write: done, and no answer.
    Lost,
}

/// Which call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Get,
    Put,
    Copy,
}

type Plan = Box<dyn FnMut(Call, &str) -> Option<Lie> + Send>;

pub struct LyingBucket {
    pub inner: MemoryBucket,
    plan: Mutex<Plan>,
    /// Keys that every listing shows, too.
    pub invented: Mutex<Vec<String>>,
}

impl std::fmt::Debug for LyingBucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LyingBucket").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl LyingBucket {
    pub fn new(inner: MemoryBucket) -> Arc<LyingBucket> {
        Arc::new(LyingBucket { inner, plan: Mutex::new(Box::new(|_, _| None)), invented: Mutex::default() })
    }

    pub fn set_plan(&self, plan: impl FnMut(Call, &str) -> Option<Lie> + Send + 'static) {
        *self.plan.lock() = Box::new(plan);
    }

    /// Only the first call of this kind to a key with this part is answered wrongly.
    pub fn lie_once(&self, call: Call, part: &'static str, lie: Lie) {
        let mut left = 1;
        self.set_plan(move |made, key| {
            let met = made == call && key.contains(part) && left > 0;
            left -= usize::from(met);
            met.then_some(lie)
        });
    }

    pub fn be_honest(&self) {
        self.set_plan(|_, _| None);
    }

    fn lie(&self, call: Call, key: &str) -> Option<Lie> {
        (self.plan.lock())(call, key)
    }
}

fn wrong(mut object: Object, lie: Lie) -> Result<Object, BucketError> {
    let bytes = &object.bytes;
    object.bytes = match lie {
        Lie::Page => Bytes::from_static(b"<html><body>Please sign in</body></html>"),
        Lie::Flipped => {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
            bytes.into()
        }
        Lie::Half => bytes.slice(..bytes.len() / 2),
        Lie::Empty => Bytes::new(),
        Lie::Missing | Lie::Nothing | Lie::Lost => return Err(BucketError::NotFound { date: object.stamp.date }),
    };
    object.size_bytes = object.bytes.len() as u64;
    Ok(object)
}

#[async_trait]
impl Bucket for LyingBucket {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        let lie = self.lie(Call::Get, key);
        let found = self.inner.get(key, range).await;
        match (found, lie) {
            (Ok(object), Some(lie)) => wrong(object, lie),
            // There is nothing, but something is answered.
            (Err(BucketError::NotFound { date }), Some(lie)) if lie != Lie::Missing => {
                let stamp = Stamp { etag: Some("\"page\"".to_owned()), date, last_modified: date };
                let bytes = Bytes::from_static(b"<html><body>Please sign in</body></html>");
                Ok(Object { size_bytes: bytes.len() as u64, bytes, stamp })
            }
            (found, _) => found,
        }
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        match self.lie(Call::Put, key) {
            Some(Lie::Nothing) => {
                let date = self.inner.list("", None).await?.date;
                Ok(Stamp { etag: Some("\"made up\"".to_owned()), date, last_modified: None })
            }
            Some(Lie::Lost) => {
                self.inner.put(key, body, condition).await?;
                Err(BucketError::unknown("the answer was lost"))
            }
            _ => self.inner.put(key, body, condition).await,
        }
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        self.put(key, pieces.concat().into(), PutCondition::Always).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        match self.lie(Call::Copy, to) {
            Some(_) => Ok(Stamp::default()),
            None => self.inner.copy(from, to).await,
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        let mut page = self.inner.list(prefix, after).await?;
        let invented = self.invented.lock().clone();
        let listed =
            |key: String| Listed { key, size_bytes: 1, last_modified: Some(drumlin::testing::bucket::StoreTime(0)) };
        page.objects.extend(invented.into_iter().map(listed));
        Ok(page)
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        self.inner.delete(keys).await
    }

    fn place(&self) -> Place {
        self.inner.place()
    }
}
