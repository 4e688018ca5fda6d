//! The objects of a bucket, by stream and by their role in it. Invariant: it makes one listing and no other request;
//! a key that no object of Drumlin can have is kept apart as strange.

use std::collections::BTreeMap;

use ulid::Ulid;

use crate::bucket::keys::{self, Role, StreamId};
use crate::bucket::listing::each_page;
use crate::bucket::{Bucket, BucketError, Listed, StoreTime};
use crate::record::Version;

/// The objects of one stream.
#[derive(Debug, Clone, Default)]
pub struct StreamObjects {
    /// HEAD, if there is one.
    pub head: Option<Listed>,
    /// The log.
    pub log: BTreeMap<Version, Listed>,
    /// Segments, by key.
    pub segments: BTreeMap<String, Listed>,
    /// Graphs, by key.
    pub graphs: BTreeMap<String, Listed>,
    /// Inverted indexes, by key.
    pub inverted: BTreeMap<String, Listed>,
    /// Maps, by key.
    pub maps: BTreeMap<String, Listed>,
    /// Lists of the objects that HEAD has let go.
    pub retired: BTreeMap<Ulid, Listed>,
    /// Parts of files' contents, by key.
    pub file_parts: BTreeMap<String, Listed>,
    /// Keys without a meaning in this stream.
    pub strange: Vec<String>,
}

impl StreamObjects {
    fn add(&mut self, stream: &StreamId, object: Listed) {
        match stream.role(&object.key) {
            Some(Role::Head) => self.head = Some(object),
            Some(Role::Commit(version)) => drop(self.log.insert(version, object)),
            Some(Role::Segment) => drop(self.segments.insert(object.key.clone(), object)),
            Some(Role::Graph) => drop(self.graphs.insert(object.key.clone(), object)),
            Some(Role::Inverted) => drop(self.inverted.insert(object.key.clone(), object)),
            Some(Role::Map) => drop(self.maps.insert(object.key.clone(), object)),
            Some(Role::Retired(ulid)) => drop(self.retired.insert(ulid, object)),
            Some(Role::FilePart { .. }) => drop(self.file_parts.insert(object.key.clone(), object)),
            None => self.strange.push(object.key),
        }
    }

    /// How many objects.
    pub fn count(&self) -> u64 {
        self.without_head().count() as u64 + u64::from(self.head.is_some())
    }

    /// The objects that HEAD and lists name: segments and caches.
    pub fn named(&self) -> impl Iterator<Item = &Listed> {
        self.segments.values().chain(self.caches())
    }

    /// The objects that can be built anew: graphs, inverted indexes and maps.
    pub fn caches(&self) -> impl Iterator<Item = &Listed> {
        self.graphs.values().chain(self.inverted.values()).chain(self.maps.values())
    }

    /// All objects but HEAD.
    pub fn without_head(&self) -> impl Iterator<Item = &Listed> {
        self.log.values().chain(self.named()).chain(self.retired.values()).chain(self.file_parts.values())
    }

    /// An object that HEAD or a list names, if it was listed.
    pub fn find(&self, key: &str) -> Option<&Listed> {
        let caches = [&self.graphs, &self.inverted, &self.maps];
        self.segments.get(key).or_else(|| caches.iter().find_map(|kind| kind.get(key)))
    }

    /// The size of such an object.
    pub fn size_of(&self, key: &str) -> Option<u64> {
        self.find(key).map(|object| object.size_bytes)
    }
}

/// The result of a listing.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Store time of the first page.
    pub date: Option<StoreTime>,
    /// Whether `drumlin.json` exists.
    pub store_file: bool,
    /// Marks of the probe.
    pub marks: Vec<String>,
    /// The streams that have objects.
    pub streams: BTreeMap<StreamId, StreamObjects>,
    /// Keys that no object of Drumlin can have.
    pub strange: Vec<String>,
}

impl Inventory {
    /// Lists everything under the store's prefix.
    pub async fn of_bucket(bucket: &dyn Bucket) -> Result<Inventory, BucketError> {
        let mut inventory = Inventory::default();
        inventory.list(bucket, "").await?;
        Ok(inventory)
    }

    /// Lists one stream.
    pub async fn of_stream(bucket: &dyn Bucket, stream: &StreamId) -> Result<StreamObjects, BucketError> {
        let mut inventory = Inventory::default();
        inventory.list(bucket, &stream.prefix()).await?;
        Ok(inventory.streams.remove(stream).unwrap_or_default())
    }

    async fn list(&mut self, bucket: &dyn Bucket, prefix: &str) -> Result<(), BucketError> {
        each_page(bucket, prefix, |page| {
            self.date = self.date.or(page.date);
            page.objects.into_iter().for_each(|object| self.add(object));
        })
        .await
    }

    fn add(&mut self, object: Listed) {
        let stream = match keys::collection_of(&object.key) {
            Some(id) => Some(StreamId::Collection(id)),
            None => object.key.starts_with(&StreamId::Catalog.prefix()).then_some(StreamId::Catalog),
        };
        match stream {
            Some(stream) => self.streams.entry(stream.clone()).or_default().add(&stream, object),
            None if object.key == keys::STORE => self.store_file = true,
            None if object.key.starts_with(keys::PROBES) => self.marks.push(object.key),
            None => self.strange.push(object.key),
        }
    }
}
