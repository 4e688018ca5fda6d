//! The catalog through the public API, on a bucket in memory whose time is tokio's paused one: several
//! stores without maintenance of their own, so that each sees only what it must.

mod answers;
mod namespaces;
mod sweeps;

use std::time::Duration;

use drumlin::testing::bucket::StoreTime;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{Settings, Storage};

/// T_KEEP of these tests.
const KEEP: Duration = Duration::from_secs(300);
/// Age at which orphans are swept.
const SWEEP_AGE: Duration = Duration::from_secs(200);

fn memory() -> MemoryBucket {
    MemoryBucket::new(StoreClock::starting_at(StoreTime(1_700_000_000_000)))
}

/// The constants (docs/protocol.md#constants), shorter, in their proportions.
fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.sync_interval = Duration::from_secs(1 << 24);
    settings.index_threads = 1;
    let timing = &mut settings.timing;
    (timing.lease, timing.keep, timing.sweep_age) = (Duration::from_secs(20), KEEP, SWEEP_AGE);
    (timing.garbage, timing.deadline) = (Duration::from_secs(20), Duration::from_secs(15));
    timing.sweep_interval = Duration::from_secs(10_000);
    settings
}
