//! What a store is doing at this moment: queues, pools, caches, and how far behind other instances it may be. All
//! values come from memory; nothing here asks the bucket.

use super::Admin;
use super::report::Activity;

impl Admin<'_> {
    /// What is going on now.
    pub fn activity(self) -> Activity {
        let inner = &self.store.inner;
        let (load, catalog) = (inner.compute.load(), inner.catalog.shared());
        let mut activity = Activity {
            writes_waiting: inner.instance.counters.writes_waiting.get(),
            searches: load.searches as u64,
            search_threads_busy: load.search_threads_busy as u64,
            builds: load.builds as u64,
            build_seconds: load.build_seconds,
            commits_unflushed: catalog.current().tail.lock().len() as u64,
            catalog_lag_seconds: catalog.lag().as_secs_f64(),
            ..Activity::default()
        };
        for collection in inner.pinned_collections() {
            let shared = collection.stream().shared();
            activity.commits_unflushed += shared.current().tail.lock().len() as u64;
            activity.lag_seconds = activity.lag_seconds.max(shared.lag().as_secs_f64());
            let cache = collection.present().filter_cache();
            activity.chunks += cache.chunks;
            activity.chunks_arranged += cache.built;
            activity.filter_bytes += cache.bytes;
        }
        activity
    }
}
