//! A shared bucket is a bucket: lets decorators stand over `Arc<dyn Bucket>` as over a backend itself.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Bucket, BucketError, Object, Page, Place, PutCondition, Stamp};

#[async_trait]
impl<B: Bucket + ?Sized> Bucket for Arc<B> {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        (**self).get(key, range).await
    }

    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        (**self).get_fresh(key, range).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        (**self).put(key, body, condition).await
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        (**self).put_large(key, pieces).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        (**self).copy(from, to).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        (**self).list(prefix, after).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        (**self).delete(keys).await
    }

    async fn abort_stale_uploads(&self, age: Duration) -> Result<usize, BucketError> {
        (**self).abort_stale_uploads(age).await
    }

    fn place(&self) -> Place {
        (**self).place()
    }
}
