//! Sweeps of contents that no file has, on a bucket in memory whose time is tokio's paused one. An uploader is held at
//! each step until sweeps have passed it: it is told so, and nothing that is acknowledged is lost.

use std::sync::Arc;
use std::time::Duration;

use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{Call, FaultBucket, Hold};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, StoreTime};
use drumlin::{ErrorKind, Store};
use tokio::time::sleep;

use super::*;

const KEEP: Duration = Duration::from_secs(300);
const SWEEP_AGE: Duration = Duration::from_secs(200);
/// Longer than all of them.
const LONG: Duration = Duration::from_secs(1_000);

fn settings() -> Settings {
    let mut settings = small(Settings::new(Storage::Memory));
    settings.maintenance = false;
    settings.sync_interval = Duration::from_secs(1 << 24);
    let timing = &mut settings.timing;
    (timing.lease, timing.keep, timing.sweep_age) = (Duration::from_secs(20), KEEP, SWEEP_AGE);
    // Nobody gives up waiting: what is refused is refused by the guard.
    (timing.garbage, timing.deadline) = (Duration::from_secs(20), 100 * LONG);
    timing.sweep_interval = Duration::from_secs(10_000);
    settings
}

/// A store whose calls can be held, and one that sweeps.
struct Scene {
    memory: MemoryBucket,
    faulty: Arc<FaultBucket>,
    stalled: Store,
    sweeper: Store,
}

impl Scene {
    async fn with(settings_of_stalled: Settings) -> Scene {
        let memory = MemoryBucket::new(StoreClock::starting_at(StoreTime(1_700_000_000_000)));
        let faulty = Arc::new(FaultBucket::new(Arc::new(memory.clone())));
        let stalled = Store::open_on(settings_of_stalled, faulty.clone()).await.unwrap();
        let sweeper = Store::open_on(settings(), Arc::new(memory.clone())).await.unwrap();
        put(&stalled.files(), "first", &bytes(1, 2500)).await.unwrap();
        sweeper.files().stat("first", Consistency::Strong).await.unwrap();
        Scene { memory, faulty, stalled, sweeper }
    }

    async fn parts(&self) -> usize {
        let page = self.memory.list("c/", None).await.unwrap();
        page.objects.iter().filter(|object| object.key.contains("/file/")).count()
    }

    /// Sweeps often enough that what can go is gone.
    async fn sweep(&self) -> u64 {
        let mut swept = 0;
        for _ in 0..3 {
            sleep(LONG).await;
            swept += self.sweeper.admin().sweep().await.unwrap();
        }
        swept
    }

    /// Uploads while the call that `matches` is held until sweeps have passed.
    async fn put_held(&self, hold: Hold, matches: fn(&Call) -> bool) -> drumlin::Result<PutOutcome> {
        let mut gate = self.faulty.hold(hold, matches);
        let putting = tokio::spawn({
            let files = self.stalled.files();
            async move { put(&files, "held", &bytes(2, 2500)).await }
        });
        gate.reached().await;
        self.sweep().await;
        gate.release();
        putting.await.unwrap()
    }
}

fn is_commit_of_files(call: &Call) -> bool {
    call.op == Op::Create && call.key.starts_with("c/") && call.key.contains("/log/")
}

fn is_last_part(call: &Call) -> bool {
    call.op == Op::Put && call.key.ends_with("/000002")
}

fn is_look_at_the_log(call: &Call) -> bool {
    call.op == Op::Get && call.key.starts_with("c/") && call.key.contains("/log/")
}

#[tokio::test(start_paused = true)]
async fn what_no_file_has_goes_after_two_sweeps_and_everything_else_stays() {
    let scene = Scene::with(settings()).await;
    let files = scene.sweeper.files();
    put(&files, "replaced", &bytes(3, 1500)).await.unwrap();
    put(&files, "deleted", &bytes(4, 1500)).await.unwrap();
    put(&files, "stays", &bytes(5, 1500)).await.unwrap();
    assert_eq!(scene.parts().await, 9);
    let mut old = files.get("replaced", Consistency::Local).await.unwrap();
    put(&files, "replaced", &bytes(6, 500)).await.unwrap();
    files.delete("deleted").await.unwrap();
    assert_eq!(scene.sweeper.admin().sweep().await.unwrap(), 0, "too young");
    sleep(SWEEP_AGE + Duration::from_secs(1)).await;
    assert_eq!(scene.sweeper.admin().sweep().await.unwrap(), 0, "noted, not deleted");
    let mut bytes_of_old = Vec::new();
    while let Some(piece) = old.next().await.unwrap() {
        bytes_of_old.extend_from_slice(&piece);
    }
    assert_eq!(bytes_of_old, bytes(3, 1500), "who reads it still gets it");
    sleep(KEEP - Duration::from_secs(5)).await;
    assert_eq!(scene.sweeper.admin().sweep().await.unwrap(), 0, "not noted long enough");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.sweeper.admin().sweep().await.unwrap(), 4);
    assert_eq!((scene.parts().await, scene.sweep().await), (6, 0));
    for (name, body) in [("first", bytes(1, 2500)), ("replaced", bytes(6, 500)), ("stays", bytes(5, 1500))] {
        assert_eq!(read(&files, name).await.unwrap(), body, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stalled_past_a_sweep_is_refused_and_loses_nothing() {
    for (hold, matches) in [
        (Hold::Before, is_commit_of_files as fn(&Call) -> bool),
        (Hold::After, is_last_part),
        (Hold::Before, is_look_at_the_log),
        (Hold::After, is_look_at_the_log),
    ] {
        let scene = Scene::with(settings()).await;
        let told = scene.put_held(hold, matches).await.map(|_| ()).map_err(|e| e.kind());
        assert_eq!(told, Err(ErrorKind::Unavailable), "held {hold:?}");
        scene.sweep().await;
        let files = scene.sweeper.files();
        assert_eq!(read(&files, "held").await.map_err(|e| e.kind()), Err(ErrorKind::NotFound));
        assert_eq!((read(&files, "first").await.unwrap(), scene.parts().await), (bytes(1, 2500), 3), "nothing is left");
        // The next one is stored.
        put(&scene.stalled.files(), "held", b"again").await.unwrap();
        scene.sweep().await;
        assert_eq!(read(&files, "held").await.unwrap(), b"again");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_commit_landed_is_never_taken_for_an_orphan() {
    let scene = Scene::with(settings()).await;
    let told = scene.put_held(Hold::After, is_commit_of_files).await;
    // Its answer came a day late: the writer had to look what became of it.
    assert!(told.is_ok() || told.as_ref().is_err_and(|e| e.kind() == ErrorKind::OutcomeUnknown), "{told:?}");
    scene.sweep().await;
    assert_eq!(read(&scene.sweeper.files(), "held").await.unwrap(), bytes(2, 2500));
}

#[tokio::test(start_paused = true)]
async fn without_the_guard_an_acknowledged_file_is_lost() {
    let mut settings = settings();
    settings.timing.ablate.sweep_guard = true;
    let scene = Scene::with(settings).await;
    let told = scene.put_held(Hold::After, is_look_at_the_log).await.map(|_| ()).map_err(|e| e.kind());
    assert_eq!(told, Ok(()), "the rule is switched off");
    let lost = read(&scene.stalled.files(), "held").await.map_err(|e| e.kind());
    assert_eq!(lost, Err(ErrorKind::Corrupted));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_stalled_past_another_deletes_nothing_that_is_named() {
    let memory = MemoryBucket::new(StoreClock::starting_at(StoreTime(1_700_000_000_000)));
    let faulty = Arc::new(FaultBucket::new(Arc::new(memory.clone())));
    let slow = Store::open_on(settings(), faulty.clone()).await.unwrap();
    let quick = Store::open_on(settings(), Arc::new(memory.clone())).await.unwrap();
    let (here, there) = (slow.files(), quick.files());
    put(&here, "a", &bytes(1, 2500)).await.unwrap();
    put(&here, "a", &bytes(2, 2500)).await.unwrap();
    put(&there, "b", &bytes(3, 2500)).await.unwrap();
    for op in [Op::List, Op::Create, Op::Delete] {
        sleep(LONG).await;
        quick.admin().sweep().await.unwrap();
        let mut gate = faulty.hold(Hold::Before, move |call| call.op == op && call.key.starts_with("c/"));
        let sweeping = tokio::spawn({
            let slow = slow.clone();
            async move { slow.admin().sweep().await }
        });
        // Where there is nothing to delete the sweep passes.
        let reached = tokio::time::timeout(LONG, gate.reached()).await.is_ok();
        sleep(LONG).await;
        quick.admin().sweep().await.unwrap();
        put(&there, "b", &bytes(4, 2500)).await.unwrap();
        gate.release();
        sweeping.await.unwrap().unwrap();
        assert!(reached || op == Op::Delete, "{op:?}");
        assert_eq!(read(&there, "a").await.unwrap(), bytes(2, 2500));
        assert_eq!(read(&there, "b").await.unwrap(), bytes(4, 2500));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_file_is_forgotten_after_its_time() {
    let mut settings = settings();
    settings.files.keep_deleted = Duration::from_secs(5_000);
    let store =
        Store::open_on(settings, Arc::new(MemoryBucket::new(StoreClock::starting_at(StoreTime(1_700_000_000_000)))))
            .await
            .unwrap();
    let files = store.files();
    put(&files, "a", b"x").await.unwrap();
    files.delete("a").await.unwrap();
    for (pause, expected) in [(4_900, ErrorKind::Gone), (200, ErrorKind::NotFound)] {
        sleep(Duration::from_secs(pause)).await;
        store.admin().sweep().await.unwrap();
        assert_eq!(read(&files, "a").await.map_err(|e| e.kind()), Err(expected), "after {pause} s more");
    }
}
