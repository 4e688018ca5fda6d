//! Walking through a listing, page by page. Invariants: each page is requested once, from the last key of the page
//! before. Keys outside the prefix are no answer. No listing runs for ever, and none ends before its end: a page that
//! ends at the last key of an earlier one is no answer, nor is one that claims more and shows nothing.

use std::collections::HashSet;

use super::{Bucket, BucketError, Page};

/// A listing of everything under a prefix, and how far it was read.
pub struct Listing<'a> {
    bucket: &'a dyn Bucket,
    prefix: &'a str,
    after: Option<String>,
    /// Every key from which a page was begun.
    begun: HashSet<String>,
    ended: bool,
}

impl<'a> Listing<'a> {
    /// A listing that begins with the first key under `prefix`.
    pub fn new(bucket: &'a dyn Bucket, prefix: &'a str) -> Listing<'a> {
        Listing { bucket, prefix, after: None, begun: HashSet::new(), ended: false }
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// The bucket's own; `Unknown` if it shows keys that are not under the prefix, the same ones again, or claims more
    /// and shows none.
    pub async fn next_page(&mut self) -> Result<Option<Page>, BucketError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.bucket.list(self.prefix, self.after.as_deref()).await?;
        if let Some(foreign) = page.objects.iter().find(|object| !object.key.starts_with(self.prefix)) {
            return Err(wrong(format!(
                "a listing of {:?} shows {:?}, which is not below it",
                self.prefix, foreign.key
            )));
        }
        self.ended = !page.more;
        if page.more {
            let last = page.objects.last().map(|object| object.key.clone());
            let none = || wrong(format!("a listing of {:?} claims more keys, but shows none", self.prefix));
            let last = last.ok_or_else(none)?;
            self.go_on_after(last)?;
        }
        Ok(Some(page))
    }

    /// Continues after `key` instead of the last page's last key.
    ///
    /// # Errors
    /// `Unknown` if an earlier page has begun there: the listing goes round in circles.
    pub fn go_on_after(&mut self, key: String) -> Result<(), BucketError> {
        if !self.begun.insert(key.clone()) {
            return Err(wrong(format!("a listing of {:?} shows {key:?} again and again", self.prefix)));
        }
        self.after = Some(key);
        Ok(())
    }
}

/// Lists everything under `prefix`, page by page.
///
/// # Errors
/// As [`Listing::next_page`].
pub async fn each_page(bucket: &dyn Bucket, prefix: &str, mut see: impl FnMut(Page)) -> Result<(), BucketError> {
    let mut listing = Listing::new(bucket, prefix);
    while let Some(page) = listing.next_page().await? {
        see(page);
    }
    Ok(())
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
    use crate::bucket::fault::{Fault, FaultBucket};
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

    #[tokio::test]
    async fn a_listing_that_repeats_a_page_or_claims_more_and_shows_none_is_an_error() {
        let memory = Arc::new(MemoryBucket::new(StoreClock::machine()));
        let bucket = FaultBucket::new(memory.clone());
        bucket.set_plan(|_| Fault::ListRepeats);
        let all = async || each_page(&bucket, "a/", |_| ()).await.map_err(|error| error.to_string());
        let none = all().await.unwrap_err();
        assert!(none.contains("claims more keys, but shows none"), "{none}");
        memory.put("a/1", Bytes::new(), PutCondition::Always).await.unwrap();
        let repeated = all().await.unwrap_err();
        assert!(repeated.contains("shows \"a/1\" again and again"), "{repeated}");
        bucket.set_plan(|_| Fault::None);
        assert_eq!(all().await, Ok(()));
    }
}
