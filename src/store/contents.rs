//! What the store's own bucket holds, by kind and by collection, and how much of it the next collection of garbage deletes.
//! Invariant: the memory for the keys is reserved before they are listed.

use std::collections::HashMap;

use super::Admin;
use super::report::{self, BucketContents, PassedProbe};
use crate::bucket::keys::StreamId;
use crate::bucket::probe;
use crate::check::garbage::garbage_and_heads;
use crate::check::kinds::{BucketAmounts, listed};
use crate::check::levels::{LevelAmount, levels};
use crate::error::Result;
use crate::memory::Purpose;
use crate::stream::context::StreamError;

/// Memory for an object while garbage is looked for: its key, its size, its time.
const OBJECT_BYTES: u64 = 256;

impl Admin<'_> {
    /// The contents of the bucket. Two listings, each collection's HEAD, and the probe's mark.
    ///
    /// # Errors
    /// `Unavailable` if the bucket does not answer, `NoRoom` if there is no memory for the listing.
    pub(crate) async fn bucket_contents(self) -> Result<BucketContents> {
        let inner = &self.store.inner;
        let BucketAmounts { kinds, mut collections } =
            listed(inner.bucket.as_ref()).await.map_err(StreamError::from)?;
        let objects: u64 = kinds.iter().map(|kind| kind.amount.objects).sum();
        let mut room = self.store.room(Purpose::Work);
        room.grow(objects.saturating_mul(OBJECT_BYTES)).await?;
        let mut of_collections: HashMap<StreamId, Vec<LevelAmount>> = HashMap::new();
        let timing = &inner.settings.timing;
        let pending = garbage_and_heads(inner.bucket.clone(), timing, false, |id, head| {
            of_collections.insert(id.clone(), levels(&head.segs));
        });
        let garbage = pending.await?.iter().map(|object| object.bytes).collect();
        for collection in &mut collections {
            collection.levels = of_collections.remove(&StreamId::Collection(collection.id)).unwrap_or_default();
        }
        let probe = probe::passed(inner.bucket.as_ref()).await.map_err(StreamError::from)?;
        let probe = probe.map(|passed| PassedProbe {
            at: passed.at.map(|at| report::time(at.0)),
            by: passed.by,
            shown: probe::SHOWN,
        });
        Ok(BucketContents { kinds, collections, garbage, fan_out: timing.fan_out, probe })
    }
}
