//! What the store's own bucket holds, by kind and by collection, and how much of it the next collection of garbage deletes.
//! Invariant: the memory for the keys is reserved before they are listed.

use super::Admin;
use super::report::BucketContents;
use crate::check::garbage::garbage;
use crate::check::kinds::{BucketAmounts, listed};
use crate::error::Result;
use crate::memory::Purpose;
use crate::stream::context::StreamError;

/// Memory for an object while garbage is looked for: its key, its size, its time.
const OBJECT_BYTES: u64 = 256;

impl Admin<'_> {
    /// The contents of the bucket. Two listings, and each collection's HEAD.
    ///
    /// # Errors
    /// `Unavailable` if the bucket does not answer, `NoRoom` if there is no memory for the listing.
    pub(crate) async fn bucket_contents(self) -> Result<BucketContents> {
        let inner = &self.store.inner;
        let BucketAmounts { kinds, collections } = listed(inner.bucket.as_ref()).await.map_err(StreamError::from)?;
        let objects: u64 = kinds.iter().map(|kind| kind.amount.objects).sum();
        let mut room = self.store.room(Purpose::Work);
        room.grow(objects.saturating_mul(OBJECT_BYTES)).await?;
        let pending = garbage(inner.bucket.clone(), &inner.settings.timing, false).await?;
        let garbage = pending.iter().map(|object| object.bytes).collect();
        Ok(BucketContents { kinds, collections, garbage })
    }
}
