//! Large objects in parts, several under way at once. Its invariant: the object appears at once and
//! whole when the upload is completed; an upload that failed is aborted, so that its parts do not
//! lie in the bucket unseen (and paid for).

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::S3Bucket;
use super::answer::{Asked, Date};
use super::encryption::with_customer_key;
use crate::bucket::parts::parts;
use crate::bucket::{BucketError, Stamp};

/// Parts under way at once.
const IN_FLIGHT: usize = 4;
/// S3 takes no more parts than this.
const MAX_PARTS: usize = 10_000;

impl S3Bucket {
    /// Uploads the pieces as one object of `total` bytes, in parts.
    pub(super) async fn put_in_parts(&self, key: &str, pieces: Vec<Bytes>, total: usize) -> Result<Stamp, BucketError> {
        let part_bytes = self.part_bytes.max(total.div_ceil(MAX_PARTS));
        let date = Date::new();
        let (algorithm, kms_key_id) = self.encryption();
        let create = self.client.create_multipart_upload().bucket(&self.name).key(self.full(key));
        let create = create.set_server_side_encryption(algorithm).set_ssekms_key_id(kms_key_id);
        let create = with_customer_key!(create, self);
        let created = self.bounded(0, &date, Asked::Other, create.customize().interceptor(date.clone()).send()).await?;
        let Some(upload) = created.upload_id else {
            return Err(BucketError::Unknown { message: "the store began an upload without an id".into() });
        };
        let uploaded = self.upload_and_complete(key, &upload, parts(pieces, part_bytes)).await;
        if uploaded.is_err() {
            let abort = self.client.abort_multipart_upload().bucket(&self.name).key(self.full(key)).upload_id(upload);
            // The failure to report is the first one; a store's own rule for old uploads does the rest.
            let _ = self.bounded(0, &Date::new(), Asked::Other, abort.send()).await;
        }
        uploaded
    }

    async fn upload_and_complete(&self, key: &str, upload: &str, parts: Vec<Bytes>) -> Result<Stamp, BucketError> {
        let uploads = parts.into_iter().zip(1..).map(|(part, number)| self.upload_part(key, upload, number, part));
        let done: Vec<CompletedPart> = futures::stream::iter(uploads).buffered(IN_FLIGHT).try_collect().await?;
        let date = Date::new();
        let complete = self
            .client
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(self.full(key))
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(done)).build());
        let complete = with_customer_key!(complete, self);
        let completed =
            self.bounded(0, &date, Asked::Other, complete.customize().interceptor(date.clone()).send()).await?;
        Ok(Stamp { etag: completed.e_tag, date: date.time(), last_modified: date.time() })
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
        let sent = self.bounded(length, &Date::new(), Asked::Other, request.send()).await?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
    }
}
