//! Versions that conditional reads answered lately. A client whose first read got a token sends it with those that
//! follow, and must see the same state, whatever was written meanwhile.
//! Invariant: at most [`MOST`] views are kept, each for [`KEPT`]. They are a cache: without one, the version is loaded
//! from the bucket, or the client reads again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::collection::version_view::VersionView;
use crate::record::{CollectionId, Version};

/// The most views that are kept. A view shares its records with the present version, except for those that were
/// written since.
const MOST: usize = 64;
/// How long a view is kept.
const KEPT: Duration = Duration::from_secs(30);

/// The views, oldest first.
type ViewQueue = VecDeque<(Instant, VersionView)>;

/// Views of versions, of any collection. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::http) struct RecentViews {
    kept: Arc<Mutex<ViewQueue>>,
    loading: Arc<tokio::sync::Mutex<()>>,
}

impl RecentViews {
    /// Keeps a view, unless its version is kept already.
    pub(super) fn keep(&self, view: &VersionView) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        forget(&mut kept, now);
        if kept.iter().any(|(_, other)| is_of(other, view.collection_id(), view.version())) {
            return;
        }
        if kept.len() == MOST {
            kept.pop_front();
        }
        kept.push_back((now, view.clone()));
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
        kept.iter().find(|(_, view)| is_of(view, id, version)).map(|(_, view)| view.clone())
    }

    /// The right to load a version from the bucket.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.loading.lock().await
    }
}

fn is_of(view: &VersionView, id: CollectionId, version: Version) -> bool {
    view.version() == version && view.collection_id() == id
}

/// Drops the views whose time is over.
fn forget(kept: &mut ViewQueue, now: Instant) {
    while kept.front().is_some_and(|(since, _)| now >= *since + KEPT) {
        kept.pop_front();
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
}
