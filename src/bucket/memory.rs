//! The bucket in this process' memory, for tests and trials. All clones are one bucket. Invariant: store time comes
//! from the [`StoreClock`] alone. Each object therefore carries its last-modified time as an attribute, written in the
//! same step as its bytes.

use std::borrow::Cow;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};

use super::clock::StoreClock;
use super::{Bucket, BucketError, Listed, Object, PAGE_KEYS, Page, Place, PutCondition, Stamp, StoreTime, keys};

/// The attribute that holds an object's last-modified store time, as decimal milliseconds.
const WRITTEN: Attribute = Attribute::Metadata(Cow::Borrowed("written-ms"));

/// A bucket in memory; see the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryBucket {
    objects: InMemory,
    clock: StoreClock,
}

impl MemoryBucket {
    /// An empty bucket whose store time is `clock`'s.
    pub fn new(clock: StoreClock) -> Self {
        MemoryBucket { objects: InMemory::new(), clock }
    }

    /// The clock of this store.
    #[cfg(any(test, feature = "testing"))]
    pub fn clock(&self) -> &StoreClock {
        &self.clock
    }

    /// A new bucket with the present content of this one. Later writes to either do not show in the other. The clock
    /// is shared.
    #[cfg(any(test, feature = "testing"))]
    pub fn fork(&self) -> Self {
        MemoryBucket { objects: self.objects.fork(), clock: self.clock.clone() }
    }

    async fn find(&self, path: &Path) -> Result<GetResult, BucketError> {
        self.objects.get_opts(path, GetOptions::default()).await.map_err(|error| self.sort(&error))
    }

    fn sort(&self, error: &object_store::Error) -> BucketError {
        let date = Some(self.clock.now());
        match error {
            object_store::Error::NotFound { .. } => BucketError::NotFound { date },
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                BucketError::Exists { date }
            }
            other => BucketError::Refused { message: other.to_string() },
        }
    }
}

fn written(attributes: &Attributes) -> Option<StoreTime> {
    attributes.get(&WRITTEN)?.parse().ok().map(StoreTime)
}

/// A checked key as the path of `object_store`, which would otherwise escape some characters.
fn path(key: &str) -> Result<Path, BucketError> {
    keys::validate(key)?;
    Path::parse(key).map_err(|error| BucketError::Refused { message: error.to_string() })
}

#[async_trait]
impl Bucket for MemoryBucket {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        let found = self.find(&path(key)?).await?;
        let stamp = Stamp {
            etag: found.meta.e_tag.clone(),
            date: Some(self.clock.now()),
            last_modified: written(&found.attributes),
        };
        let size_bytes = found.meta.size;
        let whole = found.bytes().await.map_err(|error| self.sort(&error))?;
        let bytes = match range {
            None => whole,
            Some(range) => {
                let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
                whole.slice(cut(range.start)..cut(range.end).max(cut(range.start)))
            }
        };
        Ok(Object { bytes, size_bytes, stamp })
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        let path = path(key)?;
        let now = self.clock.now();
        let mode = match condition {
            PutCondition::Always => PutMode::Overwrite,
            PutCondition::IfAbsent => PutMode::Create,
            PutCondition::IfMatch(etag) => PutMode::Update(UpdateVersion { e_tag: Some(etag), version: None }),
        };
        let mut attributes = Attributes::new();
        attributes.insert(WRITTEN, now.0.to_string().into());
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let put = self.objects.put_opts(&path, body.into(), options).await.map_err(|error| self.sort(&error))?;
        Ok(Stamp { etag: put.e_tag, date: Some(now), last_modified: Some(now) })
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        self.put(key, Bytes::from(pieces.concat()), PutCondition::Always).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        let body = self.get(from, None).await?.bytes;
        self.put(to, body, PutCondition::Always).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        // object_store lists by whole parts of a path; the rest of the prefix is a filter.
        let folder = prefix.rsplit_once('/').map(|(folder, _)| path(folder)).transpose()?;
        let mut found: Vec<_> = self
            .objects
            .list(folder.as_ref())
            .try_filter(|meta| {
                let key = meta.location.as_ref();
                std::future::ready(key.starts_with(prefix) && after.is_none_or(|after| key > after))
            })
            .take(PAGE_KEYS + 1)
            .try_collect()
            .await
            .map_err(|error| self.sort(&error))?;
        let more = found.len() > PAGE_KEYS;
        found.truncate(PAGE_KEYS);
        let mut objects = Vec::with_capacity(found.len());
        for meta in found {
            // An object deleted since the listing was taken stays in it, as a store's own listing may lag.
            let last_modified = self.find(&meta.location).await.ok().and_then(|found| written(&found.attributes));
            objects.push(Listed { key: meta.location.into(), size_bytes: meta.size, last_modified });
        }
        Ok(Page { objects, more, date: Some(self.clock.now()) })
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        for key in keys {
            match self.objects.delete(&path(key)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.sort(&error)),
            }
        }
        Ok(())
    }

    fn place(&self) -> Place {
        Place { kind: "memory", location: "memory".into(), endpoint: String::new(), bucket: "memory".into() }
    }
}
