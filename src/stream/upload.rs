//! Putting objects that HEAD, or a record, is going to name. Each object is confirmed by another request before
//! anything may name it (docs/protocol.md#upload). Something other than the store (a gateway, a maintenance page) may
//! have answered "success"; that must not become a name without an object. Invariant: an object put here stood in the
//! bucket, whole, after its put.

use bytes::Bytes;

use crate::bucket::reread::Reread;
use crate::bucket::{Bucket, BucketError, Stamp};

/// Puts an object under a key that is unique by its nature; repeats the put if the object is not there as it was put.
///
/// # Errors
/// The bucket's own; `Unknown` if after some time the object is still not there, or not whole.
pub async fn put(bucket: &dyn Bucket, key: &str, pieces: Vec<Bytes>, reread: Reread) -> Result<Stamp, BucketError> {
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    let mut tries = reread.begin();
    loop {
        let stamp = bucket.put_large(key, pieces.clone()).await?;
        let Some(wrong) = missing(bucket, key, size, stamp.etag.as_deref(), Some(&pieces)).await? else {
            return Ok(stamp);
        };
        tracing::warn!(%key, wrong, "an upload was answered with success, but the object is not as it was sent");
        if !tries.again().await {
            return Err(not_there(key, &wrong));
        }
    }
}

/// Copies an object of `size` bytes inside the store; repeats the copy if it is not there.
///
/// # Errors
/// As [`put`]; `NotFound` if there is nothing to copy.
pub async fn copy(bucket: &dyn Bucket, from: &str, to: &str, size: u64, reread: Reread) -> Result<(), BucketError> {
    let mut tries = reread.begin();
    loop {
        bucket.copy(from, to).await?;
        let Some(wrong) = missing(bucket, to, size, None, None).await? else { return Ok(()) };
        tracing::warn!(key = to, wrong, "a copy was answered with success, but is not there");
        if !tries.again().await {
            return Err(not_there(to, &wrong));
        }
    }
}

/// Looks for an object of `size` bytes until it is there; else returns what is wrong.
pub async fn find(bucket: &dyn Bucket, key: &str, size: u64, reread: Reread) -> Result<Option<String>, BucketError> {
    let mut tries = reread.begin();
    loop {
        let Some(wrong) = missing(bucket, key, size, None, None).await? else { return Ok(None) };
        if !tries.again().await {
            return Ok(Some(wrong));
        }
    }
}

fn not_there(key: &str, wrong: &str) -> BucketError {
    BucketError::unknown(format!("{key} was put again and again, but {wrong}"))
}

/// What is wrong with an object that should have this size and tag, found by one request. Stores may spell a tag in
/// two ways: if only the tag differs, the bytes decide.
async fn missing(
    bucket: &dyn Bucket,
    key: &str,
    size: u64,
    tag: Option<&str>,
    pieces: Option<&[Bytes]>,
) -> Result<Option<String>, BucketError> {
    let found = match bucket.get(key, Some(0..0)).await {
        Ok(found) if found.size_bytes != size => {
            return Ok(Some(format!("it has {} bytes instead of {size}", found.size_bytes)));
        }
        Ok(found) => found.stamp.etag,
        Err(BucketError::NotFound { .. }) => return Ok(Some("it is missing".to_owned())),
        Err(error) => return Err(error),
    };
    let (Some(put), Some(found), Some(pieces)) = (tag, found, pieces) else { return Ok(None) };
    if put == found {
        return Ok(None);
    }
    match bucket.get_fresh(key, None).await {
        Ok(object) if is(&object.bytes, pieces) => Ok(None),
        Ok(_) => Ok(Some("it has other bytes".to_owned())),
        Err(BucketError::NotFound { .. }) => Ok(Some("it is missing".to_owned())),
        Err(error) => Err(error),
    }
}

/// Whether `whole` is the concatenation of the pieces.
fn is(whole: &[u8], pieces: &[Bytes]) -> bool {
    let mut rest = whole;
    let all = pieces.iter().all(|piece| match rest.strip_prefix(piece.as_ref()) {
        Some(after) => {
            rest = after;
            true
        }
        None => false,
    });
    all && rest.is_empty()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Call, Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;

    #[tokio::test(start_paused = true)]
    async fn what_was_put_is_asked_for_once_and_what_is_not_there_is_told() {
        let memory = Arc::new(MemoryBucket::new(StoreClock::machine()));
        let bucket = FaultBucket::new(memory.clone());
        let pieces = vec![Bytes::from_static(b"one, "), Bytes::from_static(b"two")];
        put(&bucket, "k", pieces.clone(), Reread::default()).await.unwrap();
        assert_eq!(bucket.log().len(), 2, "a put and one request for its size");
        assert_eq!(memory.get("k", None).await.unwrap().bytes, "one, two");
        copy(&bucket, "k", "l", 8, Reread::default()).await.unwrap();
        let short = copy(&bucket, "k", "m", 9, Reread::default().once()).await.unwrap_err();
        assert!(short.to_string().contains("it has 8 bytes instead of 9"), "{short}");
        assert_eq!(find(&bucket, "l", 8, Reread::default()).await, Ok(None));
        let gone = find(&bucket, "x", 8, Reread::default()).await;
        assert_eq!(gone, Ok(Some("it is missing".to_owned())));
        bucket.set_plan(|call: &Call| if call.key == "l" { Fault::SlowMs(1_000) } else { Fault::None });
        let late = Arc::new(bucket);
        let (asked, putter) = (late.clone(), memory.clone());
        memory.delete(&["l".to_owned()]).await.unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            putter.copy("k", "l").await.unwrap();
        });
        assert_eq!(find(asked.as_ref(), "l", 8, Reread::default()).await, Ok(None), "it comes a little later");
    }

    #[test]
    fn bytes_are_compared_piece_by_piece() {
        let pieces = [Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"c")];
        assert!(is(b"abc", &pieces) && is(b"", &[]));
        assert!(!is(b"ab", &pieces) && !is(b"abcd", &pieces) && !is(b"abd", &pieces));
    }
}
