//! Large objects in parts, several under way at once. Invariants: the object appears at once and whole when the upload
//! is completed; a failed upload is aborted, so that its parts do not lie in the bucket unseen (and paid for).

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::answer::tag;
use super::encryption::with_customer_key;
use super::response::Operation;
use super::{S3Bucket, store_time};
use crate::bucket::keys::{self, StreamId};
use crate::bucket::parts::parts;
use crate::bucket::{BucketError, Stamp};

/// Parts under way at once.
const IN_FLIGHT: usize = 4;
/// S3 takes at most this many parts.
const MAX_PARTS: usize = 10_000;

impl S3Bucket {
    /// Uploads the pieces as one object of `total` bytes, in parts.
    pub(super) async fn put_in_parts(&self, key: &str, pieces: Vec<Bytes>, total: usize) -> Result<Stamp, BucketError> {
        let part_bytes = self.part_bytes.max(total.div_ceil(MAX_PARTS));
        let response = self.watch(Operation::BeginUpload);
        let (algorithm, kms_key_id) = self.encryption();
        let create = self.client.create_multipart_upload().bucket(&self.name).key(self.full(key));
        let create = create.set_server_side_encryption(algorithm).set_ssekms_key_id(kms_key_id);
        let create = with_customer_key!(create, self);
        let created = self.bounded(0, &response, create.customize().interceptor(response.clone()).send()).await?;
        let Some(upload) = created.upload_id.filter(|id| !id.is_empty()) else {
            return Err(BucketError::unknown("the store began an upload without an id"));
        };
        let uploaded = self.upload_and_complete(key, &upload, parts(pieces, part_bytes)).await;
        if uploaded.is_err() {
            let abort = self.client.abort_multipart_upload().bucket(&self.name).key(self.full(key)).upload_id(upload);
            // The first failure is the one to report. The store's own rule for old uploads removes what stays.
            let response = self.watch(Operation::AbortUpload);
            let _ = self.bounded(0, &response, abort.customize().interceptor(response.clone()).send()).await;
        }
        uploaded
    }

    /// Aborts the uploads of this store's objects that began more than `age` ago, by the store's clock.
    pub(super) async fn abort_uploads_older(&self, age: Duration) -> Result<usize, BucketError> {
        let (mut key_marker, mut id_marker, mut aborted) = (None, None, 0);
        let mut begun = HashSet::new();
        loop {
            let response = self.watch(Operation::ListUploads);
            let list = self.client.list_multipart_uploads().bucket(&self.name).prefix(&self.root);
            let list = list.set_key_marker(key_marker).set_upload_id_marker(id_marker);
            let page = self.bounded(0, &response, list.customize().interceptor(response.clone()).send()).await?;
            let Some(now) = response.date() else { return Ok(aborted) };
            for upload in page.uploads.unwrap_or_default() {
                let began = store_time(upload.initiated);
                let old = began.and_then(|began| u128::try_from(now.since_ms(began)).ok());
                let (Some(key), Some(id)) = (upload.key, upload.upload_id) else { continue };
                if old.is_some_and(|ms| ms > age.as_millis()) && self.is_of_a_stream(&key) {
                    let abort = self.client.abort_multipart_upload().bucket(&self.name).key(key).upload_id(id);
                    let response = self.watch(Operation::AbortUpload);
                    let done = self.bounded(0, &response, abort.customize().interceptor(response.clone()).send()).await;
                    // A failed abort is found again next time.
                    aborted += usize::from(done.is_ok());
                }
            }
            if !page.is_truncated.unwrap_or(false) {
                return Ok(aborted);
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            if key_marker.is_none() || !begun.insert((key_marker.clone(), id_marker.clone())) {
                return Err(BucketError::unknown("the store lists the same uploads again and again"));
            }
        }
    }

    /// Whether a full key can belong to an upload of this store. Others may use the bucket, too.
    fn is_of_a_stream(&self, full: &str) -> bool {
        let key = full.strip_prefix(&self.root).unwrap_or_default();
        keys::collection_of(key).is_some() || key.starts_with(&StreamId::Catalog.prefix())
    }

    async fn upload_and_complete(&self, key: &str, upload: &str, parts: Vec<Bytes>) -> Result<Stamp, BucketError> {
        let uploads = parts.into_iter().zip(1..).map(|(part, number)| self.upload_part(key, upload, number, part));
        let done: Vec<CompletedPart> = futures::stream::iter(uploads).buffered(IN_FLIGHT).try_collect().await?;
        let response = self.watch(Operation::CompleteUpload);
        let complete = self
            .client
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(self.full(key))
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(done)).build());
        let complete = with_customer_key!(complete, self);
        let completed = self.bounded(0, &response, complete.customize().interceptor(response.clone()).send()).await?;
        Ok(Stamp { etag: Some(tag(completed.e_tag)?), date: response.date(), last_modified: response.date() })
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        part: Bytes,
    ) -> Result<CompletedPart, BucketError> {
        let length = part.len();
        let request = self
            .client
            .upload_part()
            .bucket(&self.name)
            .key(self.full(key))
            .upload_id(upload)
            .part_number(number)
            .body(part.into());
        let request = with_customer_key!(request, self);
        let response = self.watch(Operation::Part);
        let sent = self.bounded(length, &response, request.customize().interceptor(response.clone()).send()).await?;
        Ok(CompletedPart::builder().part_number(number).e_tag(tag(sent.e_tag)?).build())
    }
}
