//! Walking through a listing. Invariant: every page is asked for once, each after the last key of the one before,
//! and a page that claims more but shows nothing ends it.

use super::{Bucket, BucketError, Page};

/// Lists everything under `prefix`, page by page.
pub async fn each_page(bucket: &dyn Bucket, prefix: &str, mut see: impl FnMut(Page)) -> Result<(), BucketError> {
    let mut after = None::<String>;
    loop {
        let page = bucket.list(prefix, after.as_deref()).await?;
        let more = page.more;
        after = page.objects.last().map(|object| object.key.clone());
        see(page);
        if !more || after.is_none() {
            return Ok(());
        }
    }
}
