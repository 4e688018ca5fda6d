//! The objects of a bucket by kind. Invariant: it makes one listing, keeps no key, and counts every object, even one
//! without a meaning to the store.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::Amount;
use crate::bucket::keys::{self, Role, StreamId};
use crate::bucket::listing::each_page;
use crate::bucket::{Bucket, BucketError};

/// All objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindAmount {
    /// `commits`, `segments`, `graphs`, `inverted`, `files`, or `other`: HEADs, lists and what else there is.
    pub kind: &'static str,
    /// How many, and their bytes.
    #[serde(flatten)]
    pub amount: Amount,
}

/// The kinds of which there are objects, by name.
///
/// # Errors
/// The bucket's error on a listing.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub async fn kinds(bucket: &dyn Bucket) -> Result<Vec<KindAmount>, BucketError> {
    let mut sums: BTreeMap<&'static str, Amount> = BTreeMap::new();
    each_page(bucket, "", |page| {
        for object in page.objects {
            sums.entry(kind(&object.key)).or_default().add(object.size_bytes);
        }
    })
    .await?;
    Ok(sums.into_iter().map(|(kind, amount)| KindAmount { kind, amount }).collect())
}

fn kind(key: &str) -> &'static str {
    let stream = keys::collection_of(key).map_or(StreamId::Catalog, StreamId::Collection);
    match stream.role(key) {
        Some(Role::Commit(_)) => "commits",
        Some(Role::Segment) => "segments",
        Some(Role::Graph) => "graphs",
        Some(Role::Inverted) => "inverted",
        Some(Role::FilePart { .. }) => "files",
        Some(Role::Head | Role::Retired(_)) | None => "other",
    }
}
