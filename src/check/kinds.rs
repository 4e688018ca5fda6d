//! The objects of a bucket by kind and by collection. Invariant: it makes one listing, keeps no key, and counts every
//! object, even one without a meaning to the store.

use std::collections::BTreeMap;

use serde::Serialize;

use super::levels::LevelAmount;
use super::report::Amount;
use crate::bucket::keys::{self, Role, StreamId};
use crate::bucket::listing::each_page;
use crate::bucket::{Bucket, BucketError};
use crate::record::CollectionId;

/// All objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindAmount {
    /// `commits`, `segments`, `graphs`, `inverted`, `maps`, `files`, or `other`: HEADs, lists and what else there is.
    pub kind: &'static str,
    /// How many, and their bytes.
    #[serde(flatten)]
    pub amount: Amount,
}

/// All objects of one collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CollectionAmount {
    /// Its id, also of one that was dropped and whose objects are kept.
    pub id: CollectionId,
    /// How many, and their bytes.
    #[serde(flatten)]
    pub amount: Amount,
    /// Its segments by level, the lowest first. A listing does not tell them.
    pub levels: Vec<LevelAmount>,
}

/// What a listing of a bucket says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketAmounts {
    /// The kinds of which there are objects, by name.
    pub kinds: Vec<KindAmount>,
    /// The collections that have objects, those with the most bytes first.
    pub collections: Vec<CollectionAmount>,
}

/// Lists the bucket.
///
/// # Errors
/// The bucket's error on a listing.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub async fn listed(bucket: &dyn Bucket) -> Result<BucketAmounts, BucketError> {
    let mut kinds: BTreeMap<&'static str, Amount> = BTreeMap::new();
    let mut collections: BTreeMap<CollectionId, Amount> = BTreeMap::new();
    each_page(bucket, "", |page| {
        for object in page.objects {
            let collection = keys::collection_of(&object.key);
            kinds.entry(kind(&object.key, collection)).or_default().add(object.size_bytes);
            if let Some(id) = collection {
                collections.entry(id).or_default().add(object.size_bytes);
            }
        }
    })
    .await?;
    let kinds = kinds.into_iter().map(|(kind, amount)| KindAmount { kind, amount }).collect();
    let of_collection = |(id, amount)| CollectionAmount { id, amount, levels: Vec::new() };
    let mut collections: Vec<_> = collections.into_iter().map(of_collection).collect();
    collections.sort_by_key(|collection| std::cmp::Reverse(collection.amount.bytes));
    Ok(BucketAmounts { kinds, collections })
}

fn kind(key: &str, collection: Option<CollectionId>) -> &'static str {
    let stream = collection.map_or(StreamId::Catalog, StreamId::Collection);
    match stream.role(key) {
        Some(Role::Commit(_)) => "commits",
        Some(Role::Segment) => "segments",
        Some(Role::Graph) => "graphs",
        Some(Role::Inverted) => "inverted",
        Some(Role::Map) => "maps",
        Some(Role::FilePart { .. }) => "files",
        Some(Role::Head | Role::Retired(_)) | None => "other",
    }
}
