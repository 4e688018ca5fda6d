//! Versions that were read lately. A client whose first conditional read got a token sends it with those that
//! follow, and must see the same state, whatever was written meanwhile.
//! Invariant: at most [`MOST`] views are kept, each for [`KEPT`], none of a collection that was evicted, and of those that
//! were loaded from the bucket at most [`ALL_LOADED_BYTES`]. They are a cache: without one, the version is loaded from
//! the bucket, or the client reads again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::collection::version_view::{KeptView, VersionView};
use crate::record::{CollectionId, Version};

/// The most views that are kept. A view shares its records with the present version, except for those that were
/// written since.
const MOST: usize = 64;
/// Bytes of those views together that were loaded from the bucket. They share nothing with the present version.
const ALL_LOADED_BYTES: u64 = 256 << 20;
/// How long a view is kept.
const KEPT: Duration = Duration::from_secs(30);

/// The views, oldest first.
type ViewQueue = VecDeque<(Instant, KeptView)>;

/// Views of versions, of any collection. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct RecentViews {
    kept: Arc<Mutex<ViewQueue>>,
    loading: Arc<tokio::sync::Mutex<()>>,
}

impl RecentViews {
    /// Keeps a view, unless its version is kept already.
    pub(super) fn keep(&self, view: &VersionView) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        forget(&mut kept, now);
        if kept.iter().any(|(_, other)| other.is_of(view.collection_id(), view.version())) {
            return;
        }
        let Some(view) = view.kept() else { return };
        if kept.len() == MOST {
            kept.pop_front();
        }
        kept.push_back((now, view));
        forget_loaded(&mut kept, ALL_LOADED_BYTES);
        drop(kept);
        let kept = Arc::downgrade(&self.kept);
        // No view outlives its time because no further request comes.
        tokio::spawn(async move {
            tokio::time::sleep_until(now + KEPT).await;
            if let Some(kept) = kept.upgrade() {
                forget(&mut kept.lock(), Instant::now());
            }
        });
    }

    /// The view of this version.
    pub(super) fn find(&self, id: CollectionId, version: Version) -> Option<VersionView> {
        let mut kept = self.kept.lock();
        forget(&mut kept, Instant::now());
        kept.iter().find(|(_, view)| view.is_of(id, version)).and_then(|(_, view)| view.view())
    }

    /// The right to load a version from the bucket.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.loading.lock().await
    }
}

/// Drops the views whose time is over, and what is left of those whose collection was evicted.
fn forget(kept: &mut ViewQueue, now: Instant) {
    kept.retain(|(since, view)| now < *since + KEPT && !view.has_ended());
}

/// Drops the oldest of the views that were loaded from the bucket, until those that are left take at most `most` bytes.
fn forget_loaded(kept: &mut ViewQueue, most: u64) {
    let mut left = most;
    for place in (0..kept.len()).rev() {
        let Some(bytes) = kept.get(place).map(|(_, view)| view.own_bytes()) else { continue };
        match left.checked_sub(bytes) {
            Some(less) => left = less,
            None => drop(kept.remove(place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::store::Store;

    #[tokio::test]
    async fn the_last_views_are_kept_one_of_each_version_and_only_for_a_time() {
        let store = Store::open("memory://").await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        let views = RecentViews::default();
        for version in 0..=MOST as u64 {
            let view = VersionView::of_newest(notes.clone()).await.unwrap();
            views.keep(&view);
            views.keep(&view);
            assert_eq!(view.version(), Version(version));
            notes.add([Record::new(format!("r{version}"), vec![1.0])]).await.unwrap();
        }
        let found = |version: usize| views.find(notes.id(), Version(version as u64)).map(|view| view.count());
        assert_eq!((found(0), found(1), found(MOST)), (None, Some(1), Some(MOST as u64)));
        assert_eq!(views.kept.lock().len(), MOST);
        tokio::time::pause();
        tokio::time::advance(KEPT + Duration::from_secs(1)).await;
        // The timers run.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(views.kept.lock().len(), 0);
    }

    #[tokio::test]
    async fn a_view_ends_with_the_eviction_of_its_collection() {
        let store = Store::open("memory://").await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        notes.add([Record::new("a", vec![1.0])]).await.unwrap();
        let views = RecentViews::default();
        let view = VersionView::of_newest(notes.clone()).await.unwrap();
        views.keep(&view);
        notes.add([Record::new("b", vec![1.0])]).await.unwrap();
        assert_eq!(views.find(notes.id(), Version(1)).map(|view| view.count()), Some(1));
        assert!(notes.close_to_pins(), "nobody pins it");
        notes.stream().close().await;
        notes.free_records();
        assert_eq!(views.kept.lock().iter().filter(|(_, view)| !view.has_ended()).count(), 0);
        views.keep(&view);
        assert!(views.find(notes.id(), Version(1)).is_none(), "an evicted collection keeps nothing");
    }

    #[tokio::test]
    async fn of_views_that_were_loaded_the_last_ones_are_kept_as_far_as_memory_is_for_them() {
        let store = Store::open("memory://").await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        let views = RecentViews::default();
        for version in 1..=4_u64 {
            notes.add([Record::new(format!("r{version}"), vec![1.0; 256])]).await.unwrap();
        }
        views.keep(&VersionView::of_newest(notes.clone()).await.unwrap());
        for version in (1..4).map(Version) {
            views.keep(&store.past_view(notes.clone(), version, u64::MAX).await.unwrap());
        }
        let mut kept = views.kept.lock();
        let bytes: Vec<u64> = kept.iter().map(|(_, view)| view.own_bytes()).collect();
        assert!(bytes[0] == 0 && bytes[1..].iter().all(|bytes| *bytes > 1_000), "{bytes:?}");
        forget_loaded(&mut kept, bytes[2] + bytes[3]);
        let left: Vec<u64> = kept.iter().map(|(_, view)| view.own_bytes()).collect();
        assert_eq!(left, [bytes[0], bytes[2], bytes[3]]);
    }
}
