//! A check of the own bucket beside the work of the server, as `drumlin verify` makes one from outside: in the
//! background, one at a time, watched while it runs.
//! Invariants: a check holds no store open, and ends when the store closes; whatever ends it, its state says so.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::background::Sign;
use super::{Admin, Inner, report};
use crate::bucket::Bucket;
pub(crate) use crate::check::CollectionSelector;
use crate::check::beside::{CheckProgress, CheckedObjects, FoundSoFar, ServerShare};
use crate::check::report::BucketCheck;
use crate::check::{CheckHost, verify_in};
use crate::compute::off_thread;
use crate::config::Timing;
use crate::error::{Error, ErrorKind, Result};

/// Where a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckPhase {
    /// There was none since the start.
    None,
    /// It runs.
    Running,
    /// It looked at everything.
    Done,
    /// It ended before its end.
    Failed,
}

/// The state of the check that was begun last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckState {
    /// Where it stands.
    pub state: CheckPhase,
    /// The only collection that it looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// When it was begun, in the form of RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Seconds that it took, or has taken so far.
    pub seconds: f64,
    /// Objects looked at, and those that there are.
    pub objects: CheckedObjects,
    /// Bytes that were read and checked; told at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether no object is damaged; told at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<bool>,
    /// What it has found.
    #[serde(flatten)]
    pub found: FoundSoFar,
    /// Why it ended before its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The check of this instance that was begun last.
#[derive(Debug, Default)]
pub(super) struct LastCheck(Mutex<Option<Arc<Verification>>>);

/// A check.
#[derive(Debug)]
struct Verification {
    collection: Option<String>,
    since: SystemTime,
    began: Instant,
    progress: Arc<CheckProgress>,
    end: Mutex<Option<VerificationEnd>>,
}

/// How a check ended.
#[derive(Debug)]
struct VerificationEnd {
    seconds: f64,
    /// Whether no object is damaged, and the bytes that were checked.
    verdict: Result<(bool, u64)>,
}

impl Verification {
    fn new(selector: &CollectionSelector, since: SystemTime) -> Verification {
        let (collection, progress) = (selector.collection.clone(), Arc::default());
        Verification { collection, since, began: Instant::now(), progress, end: Mutex::default() }
    }

    fn is_running(&self) -> bool {
        self.end.lock().is_none()
    }

    fn end(&self, verdict: Result<(bool, u64)>) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.end.lock().get_or_insert(VerificationEnd { seconds, verdict });
    }

    fn state(&self) -> CheckState {
        let end = self.end.lock();
        let ms = self.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut state = CheckState {
            state: CheckPhase::Running,
            collection: self.collection.clone(),
            since: Some(report::time(i64::try_from(ms).unwrap_or(i64::MAX))),
            seconds: self.began.elapsed().as_secs_f64(),
            objects: self.progress.objects(),
            found: self.progress.found(),
            ..CheckState::none()
        };
        if let Some(VerificationEnd { seconds, verdict }) = &*end {
            state.seconds = *seconds;
            match verdict {
                Ok((sound, bytes)) => {
                    (state.state, state.sound, state.bytes) = (CheckPhase::Done, Some(*sound), Some(*bytes));
                }
                Err(error) => {
                    (state.state, state.error) = (CheckPhase::Failed, Some(error.message().to_owned()));
                }
            }
        }
        state
    }
}

impl CheckState {
    fn none() -> CheckState {
        CheckState {
            state: CheckPhase::None,
            collection: None,
            since: None,
            seconds: 0.0,
            objects: CheckedObjects::default(),
            bytes: None,
            sound: None,
            found: FoundSoFar::default(),
            error: None,
        }
    }
}

/// A check that runs. Dropped before its end, it has failed.
struct CheckRun(Arc<Verification>);

impl Drop for CheckRun {
    fn drop(&mut self) {
        self.0.end(Err(Error::internal("the check was not finished: its work ended early")));
    }
}

impl Admin<'_> {
    /// Begins to check the bucket, or the chosen ones of its collections, in the background; `now` is when.
    ///
    /// # Errors
    /// `Conflict` if a check runs, `NotFound` if there is no such collection.
    pub(crate) async fn begin_check(self, selector: CollectionSelector, now: SystemTime) -> Result<CheckState> {
        let inner = &self.store.inner;
        self.find_chosen(&selector).await?;
        let verification = Arc::new(Verification::new(&selector, now));
        {
            let mut last = inner.last_check.0.lock();
            if last.as_ref().is_some_and(|last| last.is_running()) {
                let what = "a check of this bucket runs already, and one does at a time; wait until it has ended";
                return Err(Error::new(ErrorKind::Conflict, what));
            }
            *last = Some(verification.clone());
        }
        start(inner, selector, CheckRun(verification.clone()));
        Ok(verification.state())
    }

    /// The state of the check that was begun last.
    pub(crate) fn check_state(self) -> CheckState {
        self.store.inner.last_check.0.lock().as_ref().map_or_else(CheckState::none, |last| last.state())
    }

    /// Refuses a selector that fits nothing before the work begins.
    async fn find_chosen(self, selector: &CollectionSelector) -> Result<()> {
        if *selector == CollectionSelector::default() {
            return Ok(());
        }
        let fits = |asked: &Option<String>, value: &str| asked.as_ref().is_none_or(|asked| asked == value);
        let found = self.all_collections().await?.into_iter().any(|info| {
            let named = fits(&selector.collection, &info.name) || fits(&selector.collection, &info.id.to_string());
            named && fits(&selector.tenant, &info.scope.tenant) && fits(&selector.database, &info.scope.database)
        });
        match found {
            true => Ok(()),
            false => Err(Error::not_found(format!("there is no live collection {selector}"))),
        }
    }
}

/// Runs a check on a thread of its own: it does not move between threads.
fn start(inner: &Inner, selector: CollectionSelector, run: CheckRun) {
    let progress = run.0.progress.clone();
    let share = ServerShare { compute: inner.compute.clone(), budget: inner.instance.budget.clone(), progress };
    let host = CheckHost::Server(Arc::new(share));
    let (bucket, timing) = (inner.bucket.clone(), inner.settings.timing.clone());
    let (sign, runtime) = (inner.closing.watch(), Handle::current());
    let work = move || {
        let checked = runtime.block_on(checked(host, bucket, (&selector, &timing), sign));
        run.0.end(checked.map(|check| (check.sound, check.checked.bytes)));
    };
    // It begins without being waited for, and tells by itself how it ended.
    drop(off_thread(work));
}

async fn checked(
    host: CheckHost,
    bucket: Arc<dyn Bucket>,
    (selector, timing): (&CollectionSelector, &Timing),
    mut sign: Sign,
) -> Result<BucketCheck> {
    tokio::select! {
        () = sign.given() => Err(Error::unavailable("the store is closing")),
        checked = verify_in(host, bucket, selector, timing) => checked,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bucket::call::Op;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{FaultBucket, Hold};
    use crate::bucket::memory::MemoryBucket;
    use crate::config::{Settings, Storage};
    use crate::record::Record;
    use crate::store::Store;

    async fn with_notes() -> (Store, Arc<FaultBucket>) {
        let bucket = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let mut settings = Settings::new(Storage::Memory);
        settings.maintenance = false;
        let store = Store::open_on(settings, bucket.clone()).await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        notes.add((0..300).map(|n| Record::new(format!("n{n}"), vec![n as f32, 1.0]))).await.unwrap();
        store.sync().await.unwrap();
        (store, bucket)
    }

    fn everything() -> CollectionSelector {
        CollectionSelector::default()
    }

    async fn ended(store: &Store) -> CheckState {
        loop {
            let state = store.admin().check_state();
            if state.state != CheckPhase::Running {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_check_says_what_was_looked_at_and_that_the_bucket_is_sound() {
        let (store, _) = with_notes().await;
        assert_eq!(store.admin().check_state(), CheckState::none());
        let begun = store.admin().begin_check(everything(), UNIX_EPOCH).await.unwrap();
        assert_eq!((begun.state, begun.since.as_deref()), (CheckPhase::Running, Some("1970-01-01T00:00:00.000Z")));
        let state = ended(&store).await;
        assert_eq!((state.state, state.sound, state.error.as_deref()), (CheckPhase::Done, Some(true), None));
        assert!(state.objects.known > 4 && state.objects.checked == state.objects.known, "{state:?}");
        assert!(state.bytes.unwrap() > 1_000, "{state:?}");
        assert_eq!(state.found.damaged, 0, "{state:?}");
        let one = CollectionSelector { collection: Some("notes".to_owned()), ..everything() };
        store.admin().begin_check(one, UNIX_EPOCH).await.unwrap();
        assert_eq!(ended(&store).await.collection.as_deref(), Some("notes"));
        let none = CollectionSelector { collection: Some("others".to_owned()), ..everything() };
        assert_eq!(store.admin().begin_check(none, UNIX_EPOCH).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_check_runs_at_a_time_and_it_ends_with_the_store() {
        let (store, bucket) = with_notes().await;
        let gate = bucket.hold(Hold::Before, |call| call.op == Op::List);
        store.admin().begin_check(everything(), UNIX_EPOCH).await.unwrap();
        let second = store.admin().begin_check(everything(), UNIX_EPOCH).await.unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Conflict);
        assert_eq!(store.admin().check_state().state, CheckPhase::Running);
        store.close(Duration::from_secs(5)).await.unwrap();
        let state = ended(&store).await;
        assert_eq!((state.state, state.error.as_deref()), (CheckPhase::Failed, Some("the store is closing")));
        gate.release();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn damage_is_told_with_what_to_do_about_it() {
        let (store, bucket) = with_notes().await;
        let is_segment = |key: &String| key.contains("/seg/");
        let keys = bucket.list("c/", None).await.unwrap().objects.into_iter().map(|object| object.key);
        let key = keys.into_iter().find(is_segment).unwrap();
        let body = bytes::Bytes::from_static(b"no segment");
        bucket.put(&key, body, crate::bucket::PutCondition::Always).await.unwrap();
        store.admin().begin_check(everything(), UNIX_EPOCH).await.unwrap();
        let state = ended(&store).await;
        assert_eq!((state.state, state.sound), (CheckPhase::Done, Some(false)));
        let worst = &state.found.findings[0];
        assert_eq!((&worst.key, state.found.damaged), (&key, 1), "{state:?}");
        assert!(worst.remedy.contains("backup"), "{worst:?}");
    }
}
