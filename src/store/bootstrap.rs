//! The first steps of a store on a bucket: connect, prove the bucket, and make or check the objects that describe it.
//! Invariant: `drumlin.json` is written only after the catalog's HEAD.

use std::path::Path;
use std::sync::Arc;
#[cfg(any(feature = "s3", feature = "gcs"))]
use std::time::Duration;

use crate::bucket::clock::StoreClock;
#[cfg(feature = "dropbox")]
use crate::bucket::dropbox::DropboxBucket;
use crate::bucket::folder::FolderBucket;
use crate::bucket::keys::{self, StreamId};
use crate::bucket::memory::MemoryBucket;
use crate::bucket::reread::{self, Absence, Reread, Unsound};
#[cfg(feature = "s3")]
use crate::bucket::s3::S3Bucket;
#[cfg(any(feature = "s3", feature = "gcs"))]
use crate::bucket::throttle::Throttled;
use crate::bucket::{Bucket, BucketError, Object, PutCondition, probe};
use crate::config::{Settings, Storage};
use crate::error::{Error, Result};
use crate::format::StreamConfig;
use crate::format::head::Head;
use crate::format::store_file::StoreFile;
use crate::head::{self, HeadError};
use crate::stream::context::StreamError;

/// The bucket that the settings name.
pub async fn connect(settings: &Settings) -> Result<Arc<dyn Bucket>> {
    if let (Storage::Folder(path), false) = (&settings.storage, settings.create)
        && !path.is_dir()
    {
        // The check comes first, because opening a folder would create it.
        return Err(no_such_folder(path));
    }
    Ok(match &settings.storage {
        Storage::Memory => Arc::new(MemoryBucket::new(StoreClock::machine())),
        Storage::Folder(path) => Arc::new(FolderBucket::open(path)?),
        #[cfg(feature = "s3")]
        Storage::S3(s3) => throttled(S3Bucket::connect(s3.clone()).await?, s3.pause()),
        #[cfg(feature = "gcs")]
        Storage::Gcs(gcs) => throttled(gcs.connect()?, gcs.rewrite_pause),
        #[cfg(feature = "azure")]
        Storage::Azure(azure) => Arc::new(azure.connect()?),
        #[cfg(feature = "dropbox")]
        Storage::Dropbox(dropbox) => Arc::new(DropboxBucket::connect(dropbox.clone())?),
    })
}

/// The error for a folder that has to be there and is not.
pub fn no_such_folder(path: &Path) -> Error {
    Error::not_found(format!("there is no store at {}: there is no such folder", path.display()))
}

#[cfg(any(feature = "s3", feature = "gcs"))]
fn throttled(bucket: impl Bucket + 'static, pause: Duration) -> Arc<dyn Bucket> {
    if pause.is_zero() { Arc::new(bucket) } else { Arc::new(Throttled::new(bucket, pause)) }
}

/// Proves the bucket and makes sure that it holds a store of a known format.
pub async fn prepare(bucket: &Arc<dyn Bucket>, settings: &Settings) -> Result<()> {
    let reread = settings.timing.reread();
    if !settings.create && store_file(bucket, reread).await?.is_none() {
        // The refusal must come before anything is written there.
        let location = bucket.place().location;
        return Err(Error::not_found(format!("there is no store at {location}: {} is missing", keys::STORE)));
    }
    probe::ensure_probed(bucket.as_ref()).await?;
    let file = store_file(bucket, reread).await?;
    let head = match file {
        Some(_) => head::read(bucket.as_ref(), &StreamId::Catalog, reread).await,
        None => head::look(bucket.as_ref(), &StreamId::Catalog, reread).await,
    };
    match (head, file) {
        (Ok(_), Some(_)) => Ok(()),
        (Ok(_), None) => write_store_file(bucket).await,
        (Err(HeadError::Missing), Some(_)) => Err(Error::corrupted(format!(
            "the bucket holds {} but not {}: the catalog's HEAD was deleted; restore it from a backup",
            keys::STORE,
            StreamId::Catalog.head()
        ))),
        (Err(HeadError::Missing), None) => {
            let head = Head::new(StreamId::Catalog.to_string(), StreamConfig::default());
            let created = head::create(bucket.as_ref(), &StreamId::Catalog, &head, &settings.timing).await;
            created.map_err(|error| StreamError::of_head(error, &StreamId::Catalog))?;
            write_store_file(bucket).await
        }
        (Err(error), _) => Err(StreamError::of_head(error, &StreamId::Catalog).into()),
    }
}

async fn store_file(bucket: &Arc<dyn Bucket>, reread: Reread) -> Result<Option<StoreFile>> {
    let decode = |object: Object| StoreFile::decode(&object.bytes);
    match reread::read(bucket.as_ref(), keys::STORE, (reread, Absence::Believed), decode).await {
        Ok(file) => Ok(Some(file)),
        Err(Unsound::Wrong(cause)) => Err(cause.at(keys::STORE)),
        Err(Unsound::Bucket(BucketError::NotFound { .. })) => Ok(None),
        Err(Unsound::Bucket(error)) => Err(away(error)),
    }
}

async fn write_store_file(bucket: &Arc<dyn Bucket>) -> Result<()> {
    let body = StoreFile::new().encode().map_err(|cause| cause.at(keys::STORE))?;
    match bucket.put(keys::STORE, body, PutCondition::IfAbsent).await {
        // Another instance created it first, or an unclear answer was ours: the next start repeats the step.
        Ok(_) | Err(BucketError::Exists { .. } | BucketError::Unknown { .. }) => Ok(()),
        Err(error) => Err(away(error)),
    }
}

fn away(error: BucketError) -> Error {
    Error::unavailable(error.to_string()).with_source(error)
}
