//! Version views: opens a collection at one version for reads. The present version is read from memory. An earlier
//! one is loaded from the bucket into memory; nothing is written.
//! Invariants: an earlier version for which there is no room is refused before it is loaded, and its room is reserved
//! while it is. A version out of reach is refused too, and the error names those that are within.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::restore::{not_there_yet, refusal};
use super::{Store, eviction};
use crate::bucket::keys::StreamId;
use crate::collection::estimate::LoadSize;
use crate::collection::handle::Collection;
use crate::collection::state::snapshot::Snapshot;
use crate::collection::stream_state::CollectionState;
use crate::collection::version_view::VersionView;
use crate::error::{Error, Result};
use crate::format::head::Head;
use crate::record::Version;
use crate::stream::history::{History, Recipe};
use crate::stream::past::load_at;
use crate::stream::rewind::RewindError;

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
        check_complete(&collection, version)?;
        let (inner, id) = (&self.inner, collection.id());
        let context = Arc::new(inner.context(StreamId::Collection(id)));
        let history = History::read(context.bucket.as_ref(), &context.stream, context.timing.reread()).await?;
        let history = history.beginning_at(collection.identity().complete_at);
        let out_of_reach = || refusal(&history, version, RewindError::OutOfReach);
        let recipe = history.recipe(version, &BTreeSet::new()).ok_or_else(out_of_reach)?;
        let size = size_at(&history, &recipe, collection.dimension());
        if size.need > most_bytes {
            let (need, name) = (size.need, collection.name());
            return Err(Error::limit(format!(
                "collection {name:?} at version {version} takes about {need} bytes, at most {most_bytes} are allowed"
            )));
        }
        // Reserved until the account of the loaded state counts what it takes.
        let room = eviction::room_for_size(inner, id, size, &collection.name()).await?;
        let metric = collection.identity().metric;
        let published = Arc::new(arc_swap::ArcSwap::from_pointee(Snapshot::empty(metric)));
        let account = inner.instance.budget.account();
        let empty = CollectionState::new(metric, inner.limits.as_ref().clone(), published, account);
        let loaded = load_at(&context, &history, version, empty).await;
        let state = loaded.map_err(|error| refusal(&history, version, error))?;
        // Counts the memory that it takes from now on.
        crate::stream::state::State::publish(&state);
        drop(room);
        Ok(VersionView::of_past(collection, state))
    }
}

/// Refuses a version at which a collection was not yet filled.
fn check_complete(collection: &Collection, version: Version) -> Result<()> {
    let (first, name) = (collection.identity().complete_at, collection.name());
    match version < first {
        false => Ok(()),
        true => Err(Error::not_found(format!(
            "collection {name:?} was embedded anew, and begins with version {first}: version {version} is one of before"
        ))),
    }
}

/// The memory that a version takes. IMPORTANT: by the objects it is made of. HEAD names those of the present one, which
/// may be of any other size.
fn size_at(history: &History, recipe: &Recipe, dimension: Option<usize>) -> LoadSize {
    let mut head = Head { segs: recipe.segments.clone(), ..history.head.clone() };
    // Their inverted indexes are not loaded.
    head.segs.iter_mut().for_each(|segment| segment.inverted.clear());
    head.graphs.retain(|graph| graph.hi <= recipe.version);
    let (size, tail) = (eviction::load_size(&head, dimension), history.tail_bytes(recipe));
    LoadSize { need: size.need.saturating_add(tail), ..size }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::collection::request::{Get, Query, Selection};
    use crate::config::{Settings, Storage};
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
    async fn an_earlier_version_is_measured_by_its_own_objects() {
        let mut settings = Settings::new(Storage::Memory);
        (settings.maintenance, settings.timing.fan_out, settings.timing.swap_interval) = (false, 2, Duration::ZERO);
        let store = Store::open(settings).await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        let record = |n: usize| Record::new(format!("r{n}"), vec![n as f32; 256]);
        notes.add((0..2_000).map(record)).await.unwrap();
        let refused = |view: Result<VersionView>| {
            let error = view.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        };
        // 2 MB in the log, then in a segment, then in a segment that has been replaced.
        let past = async |version: u64, most| store.past_view(notes.clone(), Version(version), most).await;
        refused(past(1, 1 << 20).await);
        store.admin().maintain().await.unwrap();
        refused(past(1, 1 << 20).await);
        notes.delete(Selection::by_ids((1..2_000).map(|n| format!("r{n}")))).await.unwrap();
        store.admin().maintain().await.unwrap();
        refused(past(1, 1 << 20).await);
        assert_eq!(past(1, 8 << 20).await.unwrap().count(), 2_000);
        assert_eq!(past(2, 1 << 20).await.unwrap().count(), 1);
        notes.add((3_000..5_000).map(record)).await.unwrap();
        store.admin().maintain().await.unwrap();
        assert_eq!(past(2, 1 << 20).await.unwrap().count(), 1, "however large the collection is now");
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
