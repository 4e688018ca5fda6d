//! Large objects in parts, several under way at once. Its invariant: the object appears at once and
//! whole when the upload is completed; an upload that failed is aborted, so that its parts do not
//! lie in the bucket unseen (and paid for).

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::S3Bucket;
use super::answer::{Asked, Date};
use crate::bucket::{BucketError, Stamp};

/// Parts under way at once.
const IN_FLIGHT: usize = 4;
/// S3 takes no more parts than this.
const MAX_PARTS: usize = 10_000;

/// Cuts consecutive pieces into parts of `part_bytes`, the last one shorter. Copies only where a part
/// spans pieces.
fn parts(pieces: Vec<Bytes>, part_bytes: usize) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut open = BytesMut::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            if open.is_empty() && piece.len() >= part_bytes {
                parts.push(piece.split_to(part_bytes));
                continue;
            }
            let taken = piece.split_to(piece.len().min(part_bytes - open.len()));
            open.extend_from_slice(&taken);
            if open.len() == part_bytes {
                parts.push(open.split().freeze());
            }
        }
    }
    if !open.is_empty() {
        parts.push(open.freeze());
    }
    parts
}

impl S3Bucket {
    /// Uploads the pieces as one object of `total` bytes, in parts.
    pub(super) async fn put_in_parts(&self, key: &str, pieces: Vec<Bytes>, total: usize) -> Result<Stamp, BucketError> {
        let part_bytes = self.part_bytes.max(total.div_ceil(MAX_PARTS));
        let date = Date::new();
        let (algorithm, kms_key_id) = self.encryption();
        let create = self.client.create_multipart_upload().bucket(&self.name).key(self.full(key));
        let create = create.set_server_side_encryption(algorithm).set_ssekms_key_id(kms_key_id);
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
        let sent = self.bounded(length, &Date::new(), Asked::Other, request.send()).await?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_the_pieces_in_order_and_all_but_the_last_are_full() {
        let content: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for sizes in [vec![1_000], vec![1; 1_000], vec![300, 0, 700], vec![99, 101, 100, 700], vec![]] {
            let mut rest = Bytes::from(content.clone());
            let pieces: Vec<Bytes> = sizes.iter().map(|size| rest.split_to(*size)).collect();
            let whole = pieces.concat();
            for part_bytes in [1, 7, 100, 999, 1_000, 5_000] {
                let cut = parts(pieces.clone(), part_bytes);
                assert_eq!(cut.concat(), whole, "{sizes:?} in parts of {part_bytes}");
                assert_eq!(cut.len(), whole.len().div_ceil(part_bytes));
                assert!(cut.iter().rev().skip(1).all(|part| part.len() == part_bytes));
            }
        }
    }
}
