//! Walking through a listing, page by page. Invariants: each page is requested once, from the last key of the page
//! before. A page that claims more but shows nothing ends the listing. Keys outside the prefix are no answer. No
//! listing runs for ever: a page that ends at the last key of an earlier one is no answer either.

use std::collections::HashSet;

use super::{Bucket, BucketError, Page};

/// Lists everything under `prefix`, page by page.
///
/// # Errors
/// The bucket's own; `Unknown` if it shows keys that are not under the prefix, or the same ones again.
pub async fn each_page(bucket: &dyn Bucket, prefix: &str, mut see: impl FnMut(Page)) -> Result<(), BucketError> {
    let mut after = None::<String>;
    let mut ends = HashSet::new();
    loop {
        let page = bucket.list(prefix, after.as_deref()).await?;
        if let Some(foreign) = page.objects.iter().find(|object| !object.key.starts_with(prefix)) {
            return Err(wrong(format!("a listing of {prefix:?} shows {:?}", foreign.key)));
        }
        let more = page.more;
        after = page.objects.last().map(|object| object.key.clone());
        see(page);
        let Some(end) = after.clone().filter(|_| more) else { return Ok(()) };
        if !ends.insert(end) {
            return Err(wrong(format!("a listing of {prefix:?} shows {after:?} again and again")));
        }
    }
}

fn wrong(message: String) -> BucketError {
    BucketError::unknown(message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::bucket::PutCondition;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::memory::MemoryBucket;

    #[tokio::test]
    async fn a_listing_shows_every_key_under_its_prefix_once() {
        let bucket = Arc::new(MemoryBucket::new(StoreClock::machine()));
        for n in 0..2_100 {
            bucket.put(&format!("a/{n:05}"), Bytes::new(), PutCondition::Always).await.unwrap();
        }
        bucket.put("b/1", Bytes::new(), PutCondition::Always).await.unwrap();
        let mut keys = Vec::new();
        let all = each_page(bucket.as_ref(), "a/", |page| keys.extend(page.objects.into_iter().map(|o| o.key))).await;
        assert_eq!((all, keys.len()), (Ok(()), 2_100));
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
