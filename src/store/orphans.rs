//! The sweep for orphaned streams (docs/protocol.md#orphan-streams): the remains of a create or fork that never
//! became a collection.
//! Invariant: a catalog commit condemns a stream without a record first, and is ordered against the create's own
//! commit. Only when that commit stands is the stream's HEAD touched.

use std::sync::Arc;
use std::time::Duration;

use super::catalog::CatalogWrite;
use super::{Admin, Inner, reembed};
use crate::bucket::keys::{self, StreamId};
use crate::bucket::listing::Listing;
use crate::bucket::{Bucket, BucketError, Listed, StoreTime};
use crate::error::{Error, ErrorKind, Result};
use crate::format::StreamConfig;
use crate::format::head::{Head, Life};
use crate::head::{self, Created, HeadError};
use crate::record::CollectionId;
use crate::stream::context::StreamError;
use crate::stream::sweep::{Sweep, list_all, older};

/// How old an upload in parts must be before it is aborted: no live upload takes that long.
const STALE_UPLOAD: Duration = Duration::from_secs(7 * 86_400);

impl Admin<'_> {
    /// Sweeps every collection, the catalog and the orphaned streams now, for stores that run without maintenance.
    /// Returns how many objects were deleted and streams condemned.
    #[doc(hidden)]
    pub async fn sweep(self) -> Result<u64> {
        let mut swept = 0;
        for collection in self.store.inner.pinned_collections() {
            swept += collection.stream().sweep(Sweep::Now).await?.unwrap_or(0);
        }
        for entry in self.store.inner.live_entries() {
            swept += self.store.inner.sweep_files(&entry, Sweep::Now).await?;
        }
        swept += self.store.inner.catalog.sweep(Sweep::Now).await?.unwrap_or(0);
        reembed::sweep_abandoned(&self.store.inner).await;
        Ok(swept + sweep_streams(&self.store.inner).await?)
    }
}

/// Condemns the streams that have objects but no record, and returns their number. Aborts uploads that nobody will
/// complete.
pub async fn sweep_streams(inner: &Arc<Inner>) -> Result<u64> {
    match inner.bucket.abort_stale_uploads(STALE_UPLOAD).await {
        Ok(0) => {}
        Ok(uploads) => tracing::info!(uploads, "unfinished uploads in parts were removed"),
        Err(error) => tracing::warn!(%error, "unfinished uploads in parts could not be removed"),
    }
    let (began, ids) = list_streams(inner.bucket.as_ref()).await.map_err(StreamError::from)?;
    let Some(began) = began else { return Ok(0) };
    // IMPORTANT: read the catalog after the listing. A create that had put its HEAD by then may have its record by
    // now.
    inner.follow_catalog().await?;
    let view = inner.view.load_full();
    let mut condemned = 0;
    for id in ids.into_iter().filter(|id| !view.collections.contains_key(id)) {
        match sweep_stream(inner, id, began).await {
            Ok(done) => condemned += u64::from(done),
            Err(error) => tracing::warn!(collection = %id, %error, "an orphaned stream could not be swept yet"),
        }
    }
    Ok(condemned)
}

/// The collections that have objects, and the store time at which they were listed.
async fn list_streams(bucket: &dyn Bucket) -> Result<(Option<StoreTime>, Vec<CollectionId>), BucketError> {
    let mut began = None;
    let mut ids: Vec<CollectionId> = Vec::new();
    let mut listing = Listing::new(bucket, keys::COLLECTIONS);
    while let Some(page) = listing.next_page().await? {
        began = began.or(page.date);
        for id in page.objects.iter().filter_map(|object| keys::collection_of(&object.key)) {
            if ids.last() != Some(&id) {
                ids.push(id);
            }
        }
        // One key of a collection is enough: the next page begins with the next collection.
        let last = page.objects.last().filter(|_| page.more);
        if let Some(id) = last.and_then(|last| keys::collection_of(&last.key)) {
            listing.go_on_after(keys::after_collection(id))?;
        }
    }
    Ok((began, ids))
}

/// Condemns one stream without a record if it is old enough. Returns whether it did.
async fn sweep_stream(inner: &Arc<Inner>, id: CollectionId, began: StoreTime) -> Result<bool> {
    let stream = StreamId::Collection(id);
    let context = inner.context(stream.clone());
    let objects = list_all(&context, &stream.prefix()).await.map_err(StreamError::from)?;
    let old = |object: &Listed| older(object, began, context.timing.sweep_age);
    match objects.iter().find(|object| object.key == stream.head()) {
        Some(head) if !old(head) => return Ok(false),
        Some(_) => {
            // A dropped HEAD without other objects is the tombstone of a purged collection.
            let alone = objects.len() == 1;
            match head::read(inner.bucket.as_ref(), &stream, context.timing.reread()).await {
                Ok(read) if alone && read.head.state == Life::Dropped => return Ok(false),
                Ok(_) => {}
                Err(error) => return Err(StreamError::of_head(error, &stream).into()),
            }
        }
        None if objects.is_empty() || !objects.iter().all(old) => return Ok(false),
        None => {
            // A fork stalled before its HEAD: with this tombstone it can never create one.
            let mut tombstone = Head::new(stream.to_string(), StreamConfig::default());
            tombstone.state = Life::Dropped;
            let made = head::create(inner.bucket.as_ref(), &stream, &tombstone, &context.timing).await;
            if made.map_err(|e| StreamError::of_head(e, &stream))? == Created::Exists {
                return Ok(false);
            }
        }
    }
    condemn(inner, id).await
}

async fn condemn(inner: &Arc<Inner>, id: CollectionId) -> Result<bool> {
    let stream = StreamId::Collection(id);
    match inner.catalog.write(CatalogWrite::Condemn { id }).await {
        Ok(_) => {}
        // The stream has become a collection meanwhile.
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(false),
        Err(error) => return Err(error),
    }
    match head::mark_dropped(&inner.swapper(stream.clone())).await {
        Ok(()) => Ok(true),
        Err(HeadError::Missing) => Err(Error::corrupted(format!("{} is missing", stream.head()))),
        Err(error) => Err(StreamError::of_head(error, &stream).into()),
    }
}
