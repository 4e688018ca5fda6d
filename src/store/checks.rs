//! Looking at the bucket that the settings name, without opening a store.
//! Invariant: nothing is written, not even the probe's mark.

use std::sync::Arc;

use super::bootstrap;
use crate::bucket::retry::{RetrySettings, Retrying};
use crate::bucket::{Bucket, Place};
use crate::check::garbage::PendingDeletion;
use crate::check::inspect::BucketView;
use crate::check::report::BucketCheck;
use crate::check::stored::Stored;
use crate::check::{self, CollectionSelector};
use crate::config::{Settings, Storage};
use crate::error::Result;
use crate::stream::context::StreamError;

/// Checks every object of the store that `settings` name: checksums, the chains of commits, HEADs, graphs, and that
/// all of them fit together. Writes nothing.
///
/// # Errors
/// `NotFound` if there is no store or no such collection, `Unavailable` if the bucket does not answer.
pub async fn verify(settings: &Settings, selector: &CollectionSelector) -> Result<BucketCheck> {
    check::verify(connect(settings).await?, selector, &settings.timing).await
}

/// Describes what the store that `settings` name holds: versions, segments, graphs, garbage, and how far back
/// restoring reaches. It reads HEADs, lists and the catalog, and no other objects.
///
/// # Errors
/// As [`verify`].
pub async fn inspect(settings: &Settings, selector: &CollectionSelector) -> Result<BucketView> {
    check::inspect::inspect(connect(settings).await?, selector).await
}

/// Lists what the collection of garbage would delete now. Orphans are included only if their weekly sweep is due, or
/// if `sweep` is set.
///
/// # Errors
/// As [`verify`].
pub async fn garbage(settings: &Settings, sweep: bool) -> Result<Vec<PendingDeletion>> {
    check::garbage::garbage(connect(settings).await?, &settings.timing, sweep).await
}

/// Describes where the store is that `settings` name, and how much is stored there.
///
/// # Errors
/// `NotFound` if the folder is missing, `Unavailable` if the bucket does not answer.
pub async fn stored(settings: &Settings) -> Result<(Place, Stored)> {
    let bucket = connect(settings).await?;
    let stored = check::stored::stored(bucket.as_ref()).await.map_err(StreamError::from)?;
    Ok((bucket.place(), stored))
}

/// The bucket, for reading only.
async fn connect(settings: &Settings) -> Result<Arc<dyn Bucket>> {
    if let Storage::Folder(path) = &settings.storage
        && !path.is_dir()
    {
        // The check comes first, because opening a folder would create it.
        return Err(bootstrap::no_such_folder(path));
    }
    let bucket = bootstrap::connect(settings).await?;
    Ok(Arc::new(Retrying::new(bucket, RetrySettings::default())))
}
