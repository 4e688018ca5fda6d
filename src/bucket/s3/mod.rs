//! S3, and every store that speaks it (R2, MinIO, SeaweedFS, Tigris, Ceph), through AWS's own SDK. Invariant: one call
//! is one attempt, bounded in time, and `answer` sorts its outcome. Only [`Retrying`](super::retry) repeats anything.

use std::collections::HashSet;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ServerSideEncryption};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::attempt::{chain, collect, over_new_connections, timed_out};
use super::call::attempt_limit;
use super::{Bucket, BucketError, Listed, Object, PAGE_KEYS, Page, Place, PutCondition, Stamp, StoreTime, keys};
use crate::error::Result;
use answer::{check, sort, tag};
use clock::SigningClock;
use credentials::Keys;
use response::{Operation, ResponseWatch};

mod answer;
mod clock;
mod connection;
mod credentials;
mod encryption;
mod multipart;
mod response;
mod route;
mod settings;
mod trust;

#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub use connection::connections;
use encryption::with_customer_key;
pub use encryption::{S3CustomerKey, S3Encryption};
pub use settings::S3Settings;

/// Single deletes under way at once, where the store knows no batches.
const DELETES_IN_FLIGHT: usize = 16;

/// A bucket in S3; see the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Bucket {
    client: Client,
    clock: SigningClock,
    /// Where renewable keys come from.
    keys: Option<Keys>,
    /// The bucket's name.
    name: String,
    /// Before every key; empty or with a slash at its end.
    root: String,
    endpoint: String,
    encryption: Option<S3Encryption>,
    attempt_timeout: Duration,
    multipart_bytes: usize,
    part_bytes: usize,
    /// The store has refused a batched delete; no more are sent to it.
    deletes_singly: Arc<AtomicBool>,
}

impl S3Bucket {
    /// Makes a bucket of the settings; sends nothing to it yet.
    ///
    /// # Errors
    /// `Invalid` when the settings contradict themselves.
    pub async fn connect(settings: S3Settings) -> Result<Self> {
        let clock = SigningClock::default();
        let (client, keys) = settings.client(clock.clone()).await?;
        Ok(S3Bucket {
            client,
            clock,
            keys,
            root: settings.root(),
            name: settings.bucket,
            endpoint: settings.endpoint.unwrap_or_default(),
            encryption: settings.encryption,
            attempt_timeout: settings.attempt_timeout,
            multipart_bytes: settings.multipart_bytes,
            part_bytes: settings.part_bytes,
            deletes_singly: Arc::default(),
        })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// The encryption headers of every request that makes an object: the algorithm, and the key's id.
    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        let encryption = self.encryption.as_ref();
        (encryption.and_then(S3Encryption::algorithm), encryption.and_then(S3Encryption::kms_key_id))
    }

    /// The headers for a customer's own key, in every request that makes or reads an object.
    fn customer_key(&self) -> Option<(String, String, String)> {
        self.encryption.as_ref().and_then(S3Encryption::customer_key).map(S3CustomerKey::headers)
    }

    fn limit(&self, body_bytes: u64) -> Duration {
        attempt_limit(self.attempt_timeout, body_bytes)
    }

    /// Watches the answer to a call that is about to be made.
    fn watch(&self, asked: Operation) -> ResponseWatch {
        ResponseWatch::of(asked, &self.clock, self.keys.as_ref())
    }

    /// Awaits one attempt of a call with `body_bytes` to send, sorts its failure, and takes a success only
    /// if it proves to be the store's. `response` is the call's interceptor.
    async fn bounded<T, E>(
        &self,
        body_bytes: usize,
        response: &ResponseWatch,
        attempt: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, BucketError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let limit = self.limit(body_bytes as u64);
        match tokio::time::timeout(limit, attempt).await {
            Ok(Ok(answer)) => check(response).map(|()| answer),
            Ok(Err(error)) => Err(sort(&error, response)),
            Err(_) => Err(timed_out(limit)),
        }
    }

    /// The size and stamp of an object, without its bytes.
    async fn head(&self, key: &str) -> Result<Object, BucketError> {
        let response = self.watch(Operation::Head);
        let request = self.client.head_object().bucket(&self.name).key(self.full(key));
        let request = with_customer_key!(request, self);
        let head = match self.bounded(0, &response, request.customize().interceptor(response.clone()).send()).await {
            // A HEAD answer has no body that says why; anybody may have sent it.
            Err(BucketError::NotFound { .. } | BucketError::Exists { .. } | BucketError::Refused { .. }) => {
                return Err(self.denied_in_words(key).await);
            }
            head => head?,
        };
        let stamp = Stamp { etag: head.e_tag, date: response.date(), last_modified: store_time(head.last_modified) };
        Ok(Object { bytes: Bytes::new(), size_bytes: size(head.content_length)?, stamp })
    }

    /// The reason why an object is withheld, in the words of an answer to GET.
    async fn denied_in_words(&self, key: &str) -> BucketError {
        let response = self.watch(Operation::Get);
        let request = self.client.get_object().bucket(&self.name).key(self.full(key)).range("bytes=0-0");
        let request = with_customer_key!(request, self);
        match self.bounded(0, &response, request.customize().interceptor(response.clone()).send()).await {
            Err(error) => error,
            Ok(_) => BucketError::unknown("the store answers a HEAD with \"not found\", and a GET with the object"),
        }
    }

    async fn put_whole(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        let (length, response) = (body.len(), self.watch(Operation::Put));
        let (algorithm, kms_key_id) = self.encryption();
        let request = self.client.put_object().bucket(&self.name).key(self.full(key)).body(body.into());
        let request = request.set_server_side_encryption(algorithm).set_ssekms_key_id(kms_key_id);
        let request = with_customer_key!(request, self);
        let request = match condition {
            PutCondition::Always => request,
            PutCondition::IfAbsent => request.if_none_match("*"),
            PutCondition::IfMatch(etag) => request.if_match(etag),
        };
        let put = self.bounded(length, &response, request.customize().interceptor(response.clone()).send()).await?;
        Ok(Stamp { etag: Some(tag(put.e_tag)?), date: response.date(), last_modified: response.date() })
    }

    /// Reads the body of a response into one buffer, within the time its length allows.
    async fn collect(&self, found: &mut GetObjectOutput) -> Result<Bytes, BucketError> {
        let length = size(found.content_length)?;
        let chunks = stream::unfold(std::mem::take(&mut found.body), |mut body| async {
            let chunk = body.next().await?;
            Some((chunk.map_err(|error| chain(&error)), body))
        });
        collect(chunks, length, self.limit(length)).await
    }

    async fn delete_batch(&self, keys: &[String]) -> Result<(), BucketError> {
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(self.full(key)).build());
        let objects = objects.collect::<std::result::Result<Vec<_>, _>>();
        let batch = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
        let batch = batch.map_err(|error| BucketError::Refused { message: error.to_string() })?;
        let request = self.client.delete_objects().bucket(&self.name).delete(batch);
        let response = self.watch(Operation::DeleteBatch);
        let done = self.bounded(0, &response, request.customize().interceptor(response.clone()).send()).await?;
        let mut failed = done.errors.unwrap_or_default().into_iter().filter(|one| one.code() != Some("NoSuchKey"));
        match failed.next() {
            None => Ok(()),
            Some(first) => {
                let (key, code, others) = (first.key(), first.code().unwrap_or_default(), failed.count());
                let key = key.unwrap_or_default();
                Err(BucketError::unknown(format!("{key} and {others} more were not deleted: {code}")))
            }
        }
    }

    async fn delete_one(&self, key: &str) -> Result<(), BucketError> {
        let request = self.client.delete_object().bucket(&self.name).key(self.full(key));
        let response = self.watch(Operation::Delete);
        match self.bounded(0, &response, request.customize().interceptor(response.clone()).send()).await {
            Ok(_) | Err(BucketError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn size(length: Option<i64>) -> Result<u64, BucketError> {
    let length = length.and_then(|length| u64::try_from(length).ok());
    length.ok_or_else(|| BucketError::unknown("the store's answer lacks its length"))
}

fn store_time(time: Option<DateTime>) -> Option<StoreTime> {
    time.and_then(|time| time.to_millis().ok()).map(StoreTime)
}

impl S3Bucket {
    /// One page of a listing, which may claim more keys though it has none, and the token of the page after it.
    async fn list_once(
        &self,
        prefix: &str,
        after: Option<&str>,
        token: Option<String>,
    ) -> Result<(Page, Option<String>), BucketError> {
        let response = self.watch(Operation::List);
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(self.full(prefix))
            .max_keys(PAGE_KEYS as i32)
            .set_start_after(after.map(|after| self.full(after)))
            .set_continuation_token(token);
        let found = self.bounded(0, &response, request.customize().interceptor(response.clone()).send()).await?;
        let mut page = Page { more: found.is_truncated.unwrap_or(false), date: response.date(), objects: Vec::new() };
        for object in found.contents.unwrap_or_default() {
            let (Some(key), size_bytes) = (object.key, size(object.size)?) else {
                return Err(BucketError::unknown("the store lists an object without its key"));
            };
            if let Some(key) = key.strip_prefix(&self.root) {
                let last_modified = store_time(object.last_modified);
                page.objects.push(Listed { key: key.to_owned(), size_bytes, last_modified });
            }
        }
        Ok((page, found.next_continuation_token))
    }
}

/// The whole size from `bytes 0-9/1234`, if the range is the `length` bytes that `asked` can mean.
fn whole_size(content_range: &str, asked: &Range<u64>, length: u64) -> Option<u64> {
    let (bytes, whole) = content_range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, whole): (u64, u64) = (bytes.split_once('-')?.0.trim().parse().ok()?, whole.trim().parse().ok()?);
    (start == asked.start && asked.end.min(whole).checked_sub(start) == Some(length)).then_some(whole)
}

/// A key as the header `x-amz-copy-source` wants it: all but unreserved characters and the slash as %XX.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => encoded.push(byte.into()),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[async_trait]
impl Bucket for S3Bucket {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        keys::validate(key)?;
        if range.as_ref().is_some_and(|range| range.start >= range.end) {
            return self.head(key).await;
        }
        let response = self.watch(Operation::Get);
        let request = self.client.get_object().bucket(&self.name).key(self.full(key));
        let mut request = with_customer_key!(request, self);
        if let Some(Range { start, end }) = &range {
            request = request.range(format!("bytes={start}-{}", end - 1));
        }
        let attempt = request.customize().interceptor(response.clone()).send();
        let mut found = match tokio::time::timeout(self.attempt_timeout, attempt).await {
            Err(_) => return Err(timed_out(self.attempt_timeout)),
            Ok(Ok(found)) => found,
            Ok(Err(error)) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 416) => {
                return self.head(key).await;
            }
            Ok(Err(error)) => return Err(sort(&error, &response)),
        };
        check(&response)?;
        let mut bytes = self.collect(&mut found).await?;
        let mut size_bytes = bytes.len() as u64;
        if let Some(range) = range {
            match found.content_range.as_deref().map(|told| whole_size(told, &range, size_bytes)) {
                Some(Some(whole)) => size_bytes = whole,
                Some(None) => {
                    return Err(BucketError::unknown("the store answered with another range than was asked for"));
                }
                // A server that ignores ranges has sent the whole object.
                None => {
                    let cut = |at: u64| usize::try_from(at.min(size_bytes)).unwrap_or(bytes.len());
                    bytes = bytes.slice(cut(range.start)..cut(range.end));
                }
            }
        } else if found.content_range.is_some() {
            return Err(BucketError::unknown("expected the whole object, the store answered with a part of it"));
        }
        let stamp = Stamp { etag: found.e_tag, date: response.date(), last_modified: store_time(found.last_modified) };
        Ok(Object { bytes, size_bytes, stamp })
    }

    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        over_new_connections(self.get(key, range)).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        keys::validate(key)?;
        self.put_whole(key, body, condition).await
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        keys::validate(key)?;
        let total = pieces.iter().map(Bytes::len).sum();
        match <[Bytes; 1]>::try_from(pieces) {
            Ok([whole]) if total < self.multipart_bytes => self.put_whole(key, whole, PutCondition::Always).await,
            Err(pieces) if total < self.multipart_bytes => {
                self.put_whole(key, pieces.concat().into(), PutCondition::Always).await
            }
            Ok(whole) => self.put_in_parts(key, whole.into(), total).await,
            Err(pieces) => self.put_in_parts(key, pieces, total).await,
        }
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        keys::validate(from)?;
        keys::validate(to)?;
        let (response, source) =
            (self.watch(Operation::Copy), percent_encoded(&format!("{}/{}", self.name, self.full(from))));
        // A copy is encrypted as these settings say, not as its source is.
        let (algorithm, kms_key_id) = self.encryption();
        let request = self.client.copy_object().bucket(&self.name).key(self.full(to)).copy_source(source);
        let request = request.set_server_side_encryption(algorithm).set_ssekms_key_id(kms_key_id);
        let mut request = with_customer_key!(request, self);
        if let Some((algorithm, key, md5)) = self.customer_key() {
            request = request.copy_source_sse_customer_algorithm(algorithm).copy_source_sse_customer_key(key);
            request = request.copy_source_sse_customer_key_md5(md5);
        }
        let done = self.bounded(0, &response, request.customize().interceptor(response.clone()).send()).await?;
        let etag = Some(tag(done.copy_object_result.and_then(|result| result.e_tag))?);
        Ok(Stamp { etag, date: response.date(), last_modified: response.date() })
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        let (mut token, mut begun) = (None, HashSet::new());
        loop {
            let (page, next) = self.list_once(prefix, after, token).await?;
            if !page.more || !page.objects.is_empty() {
                return Ok(page);
            }
            // Such a page has no key from which the next one could begin.
            token = next.filter(|next| begun.insert(next.clone()));
            if token.is_none() {
                return Err(BucketError::unknown("the store claims that there are more keys, but lists none"));
            }
        }
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        for key in keys {
            keys::validate(key)?;
        }
        for batch in keys.chunks(PAGE_KEYS) {
            let singly = batch.len() == 1 || self.deletes_singly.load(Ordering::Relaxed);
            let done = if singly { None } else { Some(self.delete_batch(batch).await) };
            match done {
                Some(Err(BucketError::Refused { .. })) | None => {
                    self.deletes_singly.fetch_or(done.is_some(), Ordering::Relaxed);
                    let deletes: Vec<_> = batch.iter().map(|key| self.delete_one(key)).collect();
                    futures::stream::iter(deletes).buffer_unordered(DELETES_IN_FLIGHT).try_collect::<()>().await?;
                }
                Some(answer) => answer?,
            }
        }
        Ok(())
    }

    async fn abort_stale_uploads(&self, age: Duration) -> Result<usize, BucketError> {
        self.abort_uploads_older(age).await
    }

    fn place(&self) -> Place {
        Place {
            kind: "s3",
            location: format!("s3://{}/{}", self.name, self.root),
            endpoint: self.endpoint.clone(),
            bucket: self.name.clone(),
        }
    }
}
