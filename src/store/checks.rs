//! Looking at the bucket that the settings name without opening a store. Invariant: no object is written,
//! not even the probe's mark.

use std::sync::Arc;

use super::bootstrap;
use crate::bucket::retry::{RetrySettings, Retrying};
use crate::bucket::{Bucket, Place};
use crate::check::garbage::Doomed;
use crate::check::inspect::BucketView;
use crate::check::report::BucketCheck;
use crate::check::stored::Stored;
use crate::check::{self, Choice};
use crate::config::{Settings, Storage};
use crate::error::{Error, Result};
use crate::stream::context::StreamError;

/// Checks every object of the store that `settings` name: checksums, the chains of commits, HEADs, graphs,
/// and that all fits together. Writes nothing.
///
/// # Errors
/// `NotFound` if there is no store or no such collection, `Unavailable` if the bucket does not answer.
pub async fn verify(settings: &Settings, choice: &Choice) -> Result<BucketCheck> {
    check::verify(connect(settings).await?, choice, &settings.timing).await
}

/// Tells what the store that `settings` name holds: versions, segments, graphs, garbage, and how far back
/// restoring reaches. Of the objects only HEADs, lists and the catalog are read.
///
/// # Errors
/// As [`verify`].
pub async fn inspect(settings: &Settings, choice: &Choice) -> Result<BucketView> {
    check::inspect::inspect(connect(settings).await?, choice).await
}

/// Tells what the collection of garbage would delete now; orphans only where their weekly sweep is due, or
/// `sweep` asks for them.
///
/// # Errors
/// As [`verify`].
pub async fn garbage(settings: &Settings, sweep: bool) -> Result<Vec<Doomed>> {
    check::garbage::garbage(connect(settings).await?, &settings.timing, sweep).await
}

/// Tells where the store is that `settings` name, and how much is stored there.
///
/// # Errors
/// `NotFound` if the folder is missing, `Unavailable` if the bucket does not answer.
pub async fn stored(settings: &Settings) -> Result<(Place, Stored)> {
    let bucket = connect(settings).await?;
    let stored = check::stored::stored(bucket.as_ref()).await.map_err(StreamError::from)?;
    Ok((bucket.place(), stored))
}

/// The bucket, to look at.
async fn connect(settings: &Settings) -> Result<Arc<dyn Bucket>> {
    if let Storage::Folder(path) = &settings.storage
        && !path.is_dir()
    {
        // Opening a folder would make it.
        return Err(Error::not_found(format!("there is no store at {}: there is no such folder", path.display())));
    }
    let bucket = bootstrap::connect(settings).await?;
    Ok(Arc::new(Retrying::new(bucket, RetrySettings::default())))
}
