//! Version views: opens a collection at one version for reads. The present version is read from memory. An earlier
//! one is loaded from the bucket into memory; nothing is written.
//! Invariants: an earlier version for which there is no room is refused before it is loaded. A version out of reach is
//! refused too, and the error names those that are within.

use std::sync::Arc;

use super::restore::{not_there_yet, refusal};
use super::{Store, eviction};
use crate::bucket::keys::StreamId;
use crate::collection::handle::Collection;
use crate::collection::state::snapshot::Snapshot;
use crate::collection::stream_state::CollectionState;
use crate::collection::version_view::VersionView;
use crate::error::{Error, Result};
use crate::record::Version;
use crate::stream::history::History;
use crate::stream::past::load_at;

impl Store {
    /// The collection of that name at a version, or as it is now. An earlier version is loaded from the bucket as
    /// long as it can be [restored](super::Admin::restore_collection), and is in memory as long as the view lives.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection, or the version is out of reach or not there yet. `NoRoom` if there
    /// is no memory for it.
    pub async fn collection_at(&self, name: &str, version: Option<Version>) -> Result<VersionView> {
        let collection = self.collection(name).await?;
        let view = VersionView::of_newest(collection.clone()).await?;
        let present = view.version();
        let Some(version) = version.filter(|version| *version != present) else { return Ok(view) };
        if version > present {
            return Err(not_there_yet(version, present));
        }
        self.past_view(collection, version, u64::MAX).await
    }

    /// The collection at an earlier version, unless loading it takes more than `most_bytes` of memory.
    pub(crate) async fn past_view(
        &self,
        collection: Collection,
        version: Version,
        most_bytes: u64,
    ) -> Result<VersionView> {
        let (inner, id) = (&self.inner, collection.id());
        let context = Arc::new(inner.context(StreamId::Collection(id)));
        let history = History::read(context.bucket.as_ref(), &context.stream, context.timing.reread()).await?;
        let size = eviction::load_size(&history.head, None);
        if size.need > most_bytes {
            let (need, name) = (size.need, collection.name());
            return Err(Error::limit(format!(
                "collection {name:?} at version {version} takes about {need} bytes, at most {most_bytes} are allowed"
            )));
        }
        eviction::check_room(inner, id, &history.head, &collection.name()).await?;
        let metric = collection.identity().metric;
        let published = Arc::new(arc_swap::ArcSwap::from_pointee(Snapshot::empty(metric)));
        let account = inner.instance.budget.account();
        let empty = CollectionState::new(metric, inner.limits.as_ref().clone(), published, account);
        let loaded = load_at(&context, &history, version, empty).await;
        let state = loaded.map_err(|error| refusal(&history, version, error))?;
        // Counts the memory that it takes from now on.
        crate::stream::state::State::publish(&state);
        Ok(VersionView::of_past(collection, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::request::{Get, Query};
    use crate::error::ErrorKind;
    use crate::record::Record;

    async fn ids(view: &VersionView) -> Vec<String> {
        let reading = view.read(Get::all()).await.unwrap();
        (0..reading.len()).map(|place| reading.record(place).unwrap().unwrap().id).collect()
    }

    #[tokio::test]
    async fn a_view_shows_its_version_alone_whatever_is_written_and_flushed_meanwhile() {
        let store = Store::open("memory://").await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
            notes.add([Record::new(id, vec![1.0, number as f32])]).await.unwrap();
        }
        store.sync().await.unwrap();
        notes.add([Record::new("d", vec![9.0, 0.0])]).await.unwrap();
        let present = store.collection_at("notes", None).await.unwrap();
        notes.upsert([Record::new("a", vec![-1.0, 0.0])]).await.unwrap();

        let second = store.collection_at("notes", Some(Version(2))).await.unwrap();
        assert_eq!((second.version(), second.count(), second.dimension()), (Version(2), 2, Some(2)));
        assert_eq!(ids(&second).await, ["a", "b"]);
        let nearest = second.find(Query::new([1.0, 0.0]).k(1)).await.unwrap().answer().unwrap();
        assert_eq!(nearest.results[0][0].id, "a");
        assert_eq!(second.scan().await.unwrap().next_page(9).await.unwrap().len(), 2);
        assert_eq!(ids(&present).await, ["a", "b", "c", "d"]);
        let fourth = store.collection_at("notes", Some(Version(4))).await.unwrap();
        assert_eq!(ids(&fourth).await, ["a", "b", "c", "d"]);
    }

    #[tokio::test]
    async fn a_version_that_is_not_there_is_refused_with_the_newest() {
        let store = Store::open("memory://").await.unwrap();
        store.create_collection("notes").await.unwrap();
        let error = store.collection_at("notes", Some(Version(7))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("the newest is 0"), "{error}");
        assert_eq!(store.collection_at("other", None).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}
