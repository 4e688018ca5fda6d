//! The size of a bucket. Invariant: it makes one listing and counts every object, even one without a meaning to the
//! store, since all are paid for.

use serde::Serialize;

use crate::bucket::listing::each_page;
use crate::bucket::{Bucket, BucketError, Page};

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Everything under the store's prefix.
///
/// # Errors
/// The bucket's error on a listing.
pub async fn stored(bucket: &dyn Bucket) -> Result<Stored, BucketError> {
    let mut sum = Stored::default();
    let count = |page: Page| {
        sum.objects += page.objects.len() as u64;
        sum.bytes += page.objects.iter().map(|object| object.size_bytes).sum::<u64>();
    };
    each_page(bucket, "", count).await?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::memory::MemoryBucket;
    use crate::bucket::{PutCondition, StoreTime};

    #[tokio::test]
    async fn every_object_of_every_page_counts() {
        let bucket = MemoryBucket::new(StoreClock::starting_at(StoreTime(0)));
        assert_eq!(stored(&bucket).await.unwrap(), Stored::default());
        for number in 0..2_345u64 {
            let body = Bytes::from(vec![0; (number % 7) as usize]);
            bucket.put(&format!("c/x/{number}"), body, PutCondition::Always).await.unwrap();
        }
        let bytes = (0..2_345u64).map(|number| number % 7).sum();
        assert_eq!(stored(&bucket).await.unwrap(), Stored { objects: 2_345, bytes });
    }
}
