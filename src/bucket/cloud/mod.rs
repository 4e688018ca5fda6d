//! Google Cloud Storage and Azure Blob Storage, by their native APIs through the `object_store` crate, whose own
//! retries are off. Invariant: the meaning of an answer follows from what the store said on the wire (`response`). The
//! crate's errors do not suffice: they drop the store's time, and confuse a conflict (409), which proves nothing, with
//! an existing object.

use std::collections::HashSet;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    PutResult, UpdateVersion,
};

use super::attempt::{chain, collect, over_new_connections, timed_out};
use super::http_client::HttpOptions;
use super::parts::parts;
use super::{Bucket, BucketError, Listed, Object, PAGE_KEYS, Page, Place, PutCondition, Stamp, StoreTime, keys};
use response::{FailedCall, StoreResponse, listen};

#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "gcs")]
mod gcs;
mod response;

#[cfg(feature = "azure")]
pub use azure::AzureSettings;
#[cfg(feature = "gcs")]
pub use gcs::GcsSettings;

/// Parts of an upload under way at once.
const PARTS_IN_FLIGHT: usize = 4;
/// Neither store takes more parts of one object.
const MAX_PARTS: usize = 10_000;
/// Delete requests under way at once.
const DELETES_IN_FLIGHT: usize = 16;
/// The pause between two looks at a copy that the store makes in the background.
const COPY_POLL: Duration = Duration::from_millis(200);

/// The traits that an implementation in `object_store` must have.
trait Cloud: ObjectStore + PaginatedListStore + MultipartStore {}

impl<T: ObjectStore + PaginatedListStore + MultipartStore> Cloud for T {}

/// The name of one version of an object. A build with one cloud alone never makes the other variant.
#[cfg_attr(not(all(feature = "gcs", feature = "azure")), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// A number that every write raises (Google).
    Generation,
    /// An opaque tag (Azure).
    ETag,
}

/// A bucket in such a cloud; see the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CloudBucket {
    store: Arc<dyn Cloud>,
    tag: Tag,
    /// How many keys one request deletes.
    delete_batch: usize,
    /// Before every key; empty or with a slash at its end.
    root: String,
    http: HttpOptions,
    place: Place,
}

impl CloudBucket {
    fn path(&self, key: &str) -> Result<Path, BucketError> {
        keys::validate(key)?;
        let path = Path::parse(format!("{}{key}", self.root));
        path.map_err(|error| BucketError::Refused { message: error.to_string() })
    }

    /// Awaits one attempt of a call with `body_bytes` to send, and sorts its failure.
    async fn attempt<T>(
        &self,
        body_bytes: usize,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<(T, StoreResponse), FailedCall> {
        let limit = self.http.limit(body_bytes as u64);
        match tokio::time::timeout(limit, listen(call)).await {
            Err(_) => Err(FailedCall { response: StoreResponse::default(), error: timed_out(limit) }),
            Ok((Ok(value), response)) => match response.unproven() {
                None => Ok((value, response)),
                Some(error) => Err(FailedCall { error, response }),
            },
            Ok((Err(error), response)) => Err(FailedCall { error: response.sort(&error), response }),
        }
    }

    fn tag_of(&self, etag: Option<String>, version: Option<String>) -> Option<String> {
        match self.tag {
            Tag::Generation => version,
            Tag::ETag => etag,
        }
    }

    fn stamp_of(&self, meta: &ObjectMeta, response: &StoreResponse) -> Stamp {
        Stamp {
            etag: self.tag_of(meta.e_tag.clone(), meta.version.clone()),
            date: response.date,
            last_modified: Some(StoreTime(meta.last_modified.timestamp_millis())),
        }
    }

    fn stamp_of_put(&self, put: PutResult, response: &StoreResponse) -> Stamp {
        let etag = self.tag_of(put.e_tag, put.version);
        Stamp { etag, date: response.date, last_modified: response.last_modified.or(response.date) }
    }

    /// The size and stamp of an object, without its bytes.
    async fn head(&self, path: &Path) -> Result<Object, BucketError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let (found, response) = match self.attempt(0, self.store.get_opts(path, options)).await {
            // A HEAD answer has no body that says why; anybody may have sent it.
            Err(FailedCall {
                response: StoreResponse { code: None, .. },
                error: BucketError::NotFound { .. } | BucketError::Refused { .. },
            }) => {
                return Err(self.denied_in_words(path).await);
            }
            answer => answer?,
        };
        let stamp = self.stamp_of(&found.meta, &response);
        Ok(Object { bytes: Bytes::new(), size_bytes: found.meta.size, stamp })
    }

    /// The reason why an object is withheld, in the words of an answer to GET.
    async fn denied_in_words(&self, path: &Path) -> BucketError {
        let options = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        match self.attempt(0, self.store.get_opts(path, options)).await {
            Err(failure) => failure.error,
            Ok(_) => BucketError::unknown("the store answers a HEAD with \"not found\", and a GET with the object"),
        }
    }

    /// Reads the body of an answer into one buffer, within the time its length allows.
    async fn collect(&self, found: GetResult) -> Result<Bytes, BucketError> {
        let length = found.range.end.saturating_sub(found.range.start);
        let chunks = found.into_stream().map(|chunk| chunk.map_err(|error| chain(&error)));
        collect(chunks, length, self.http.limit(length)).await
    }

    async fn put_whole(&self, path: &Path, body: PutPayload, mode: PutMode) -> Result<Stamp, BucketError> {
        let (length, options) = (body.content_length(), PutOptions { mode, ..PutOptions::default() });
        let (put, response) = self.attempt(length, self.store.put_opts(path, body, options)).await?;
        let stamp = self.stamp_of_put(put, &response);
        if stamp.etag.is_none() {
            return Err(BucketError::unknown("the answer to a put lacks the object's generation"));
        }
        Ok(stamp)
    }

    async fn put_in_parts(&self, path: &Path, pieces: Vec<Bytes>, total: usize) -> Result<Stamp, BucketError> {
        let part_bytes = self.http.part_bytes.max(total.div_ceil(MAX_PARTS)).max(1);
        let (upload, _) = self.attempt(0, self.store.create_multipart(path)).await?;
        let uploads = parts(pieces, part_bytes).into_iter().enumerate().map(|(number, part)| {
            let (length, upload) = (part.len(), upload.clone());
            async move { self.attempt(length, self.store.put_part(path, &upload, number, part.into())).await }
        });
        let completed = async {
            let uploaded: Vec<_> = futures::stream::iter(uploads).buffered(PARTS_IN_FLIGHT).try_collect().await?;
            let uploaded = uploaded.into_iter().map(|(part, _)| part).collect();
            self.attempt(0, self.store.complete_multipart(path, &upload, uploaded)).await
        };
        match completed.await {
            Ok((put, response)) => Ok(self.stamp_of_put(put, &response)),
            Err(failure) => {
                // The first failure is the one to report. The store's own rule for old uploads removes what stays.
                let _ = self.attempt(0, self.store.abort_multipart(path, &upload)).await;
                Err(failure.into())
            }
        }
    }

    /// Waits for a copy that the store has begun and not finished.
    async fn copied(&self, to: &Path) -> Result<(), BucketError> {
        let limit = self.http.limit(0);
        let looking = async {
            loop {
                tokio::time::sleep(COPY_POLL).await;
                let options = GetOptions { head: true, ..GetOptions::default() };
                let (_, response) = self.attempt(0, self.store.get_opts(to, options)).await?;
                match response.copy_status.as_deref() {
                    Some("pending") => {}
                    None | Some("success") => return Ok(()),
                    Some(other) => {
                        return Err(BucketError::unknown(format!("the copy within the store ended as {other}")));
                    }
                }
            }
        };
        tokio::time::timeout(limit, looking).await.map_err(|_| timed_out(limit))?
    }

    async fn delete_paths(&self, paths: Vec<Path>) -> Result<(), BucketError> {
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let deleting = async {
            let mut answers = self.store.delete_stream(paths);
            while let Some(answer) = answers.next().await {
                match answer {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        self.attempt(0, deleting).await?;
        Ok(())
    }
}

#[async_trait]
impl Bucket for CloudBucket {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        let path = self.path(key)?;
        if range.as_ref().is_some_and(|range| range.start >= range.end) {
            return self.head(&path).await;
        }
        let start = range.as_ref().map(|range| range.start);
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let (found, response) = match (self.attempt(0, self.store.get_opts(&path, options)).await, start) {
            // A range that starts past the end; Azurite answers 206 to one that starts right at it.
            (Err(FailedCall { response: StoreResponse { status: Some(206 | 416), .. }, error }), Some(start)) => {
                let found = self.head(&path).await?;
                return if found.size_bytes <= start { Ok(found) } else { Err(error) };
            }
            (answer, _) => answer?,
        };
        let (stamp, size_bytes) = (self.stamp_of(&found.meta, &response), found.meta.size);
        if stamp.etag.is_none() {
            return Err(BucketError::unknown("the answer to a get lacks the object's generation"));
        }
        let bytes = self.collect(found).await?;
        Ok(Object { bytes, size_bytes, stamp })
    }

    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        over_new_connections(self.get(key, range)).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        let path = self.path(key)?;
        let mode = match condition {
            PutCondition::Always => PutMode::Overwrite,
            PutCondition::IfAbsent => PutMode::Create,
            PutCondition::IfMatch(tag) => match self.tag {
                Tag::ETag => PutMode::Update(UpdateVersion { e_tag: Some(tag), version: None }),
                Tag::Generation if tag.parse::<u64>().is_ok() => {
                    PutMode::Update(UpdateVersion { e_tag: None, version: Some(tag) })
                }
                // No object ever has such a generation, and the store would call the request malformed.
                Tag::Generation => return Err(BucketError::Exists { date: None }),
            },
        };
        self.put_whole(&path, body.into(), mode).await
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        let path = self.path(key)?;
        let total = pieces.iter().map(Bytes::len).sum();
        match total < self.http.multipart_bytes {
            true => self.put_whole(&path, pieces.into_iter().collect(), PutMode::Overwrite).await,
            false => self.put_in_parts(&path, pieces, total).await,
        }
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        let ((), response) = self.attempt(0, self.store.copy(&from, &to)).await?;
        if response.copy_status.as_deref() == Some("pending") {
            self.copied(&to).await?;
        }
        Ok(Stamp { etag: None, date: response.date, last_modified: response.date })
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        let offset = after.map(|after| format!("{}{after}", self.root));
        let mut begin = format!("{}{prefix}", self.root);
        if self.tag == Tag::ETag && !begin.ends_with('/') {
            // For Azure the crate leaves out an object whose name is the prefix itself.
            begin.pop();
        }
        let mut page = Page::default();
        let (mut page_token, mut begun) = (None, HashSet::new());
        loop {
            let options = PaginatedListOptions {
                offset: offset.clone(),
                max_keys: Some(PAGE_KEYS),
                page_token: page_token.take(),
                ..PaginatedListOptions::default()
            };
            let (found, response) = self.attempt(0, self.store.list_paginated(Some(&begin), options)).await?;
            page.date = response.date;
            page.objects.extend(found.result.objects.into_iter().filter_map(|meta| {
                let key = meta.location.as_ref().strip_prefix(&self.root)?.to_owned();
                // Azurite ignores where to begin: skip the keys of its pages up to there.
                let wanted = key.starts_with(prefix) && after.is_none_or(|after| *key > *after);
                let last_modified = Some(StoreTime(meta.last_modified.timestamp_millis()));
                wanted.then_some(Listed { key, size_bytes: meta.size, last_modified })
            }));
            page_token = found.page_token;
            if page_token.as_ref().is_some_and(|token| !begun.insert(token.clone())) {
                return Err(BucketError::unknown("the store lists the same page again and again"));
            }
            if page.objects.len() >= PAGE_KEYS || page_token.is_none() {
                break;
            }
        }
        page.more = page_token.is_some() || page.objects.len() > PAGE_KEYS;
        page.objects.truncate(PAGE_KEYS);
        Ok(page)
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        let deletes: Vec<_> = paths.chunks(self.delete_batch).map(|batch| self.delete_paths(batch.to_vec())).collect();
        futures::stream::iter(deletes).buffer_unordered(DELETES_IN_FLIGHT).try_collect::<()>().await
    }

    fn place(&self) -> Place {
        self.place.clone()
    }
}
