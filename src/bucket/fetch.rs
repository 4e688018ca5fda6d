//! Fetching whole objects of known size: small ones by one request, large ones by parallel ranges
//! written into one buffer. Invariant: the answer is the whole object or an error.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{Bucket, BucketError};

/// Bytes of one range.
const RANGE_BYTES: u64 = 16 << 20;
/// Ranges of one object in flight.
const PARALLEL_RANGES: usize = 4;

/// Fetches the object `key`, which has `size_bytes` bytes.
pub async fn whole(bucket: &Arc<dyn Bucket>, key: &str, size_bytes: u64) -> Result<Bytes, BucketError> {
    if size_bytes <= 2 * RANGE_BYTES {
        return bucket.get(key, None).await.map(|object| object.bytes);
    }
    let starts = (0..size_bytes).step_by(RANGE_BYTES as usize);
    let mut ranges = stream::iter(starts)
        .map(|start| {
            let (bucket, key) = (bucket.clone(), key.to_owned());
            let range = start..(start + RANGE_BYTES).min(size_bytes);
            async move { bucket.get(&key, Some(range)).await.map(|object| object.bytes) }
        })
        .buffered(PARALLEL_RANGES);
    let mut whole = BytesMut::with_capacity(usize::try_from(size_bytes).unwrap_or(0));
    while let Some(part) = ranges.try_next().await? {
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}
