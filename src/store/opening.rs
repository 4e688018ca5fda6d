//! Opening a store on a bucket that may be away for a moment. Failures that can pass are tried again for the time
//! that the settings give; a certain failure ends the opening at once.
//! Invariants: [`Opening`] always shows what the start waits for; every attempt can be repeated.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::report::{Health, Loading, Memory, StorageHealth};
use crate::bucket::call::Direction;
use crate::bucket::count::CallCounters;
use crate::bucket::{BucketError, Place, backoff, probe};
use crate::config::{Settings, Storage};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::resident_bytes;

/// Bounds of the pauses between attempts: of the first one, and of all.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often the wait is checked, and how often it is logged (`LOG_INTERVAL`).
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// A bucket that answered this recently is not away, however long the opening takes.
const LATELY: Duration = Duration::from_secs(5);
/// Calls without an answer for this long are reported.
const SILENCE: Duration = Duration::from_secs(2);

/// A store that is being opened, and its progress. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Opening(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    since: Instant,
    patience: Duration,
    place: Mutex<Place>,
    traffic: OnceLock<Arc<CallCounters>>,
    /// Why the last attempt failed.
    failure: Mutex<Option<String>>,
    logged: Mutex<Instant>,
}

/// The verdict on a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttemptVerdict {
    /// The failure may pass.
    Passing,
    /// The failure is permanent.
    Certain,
}

impl Opening {
    /// An opening with these settings, which begins now.
    pub fn new(settings: &Settings) -> Opening {
        let now = Instant::now();
        Opening(Arc::new(Watched {
            since: now,
            patience: settings.start_timeout,
            place: Mutex::new(named(&settings.storage)),
            traffic: OnceLock::new(),
            failure: Mutex::default(),
            logged: Mutex::new(now),
        }))
    }

    /// Notes where the bucket is, and the counters of its calls.
    pub(super) fn connected(&self, place: Place, traffic: Arc<CallCounters>) {
        *self.0.place.lock() = place;
        // Set once: there is one bucket.
        let _ = self.0.traffic.set(traffic);
    }

    /// What the start waits for, in words.
    pub fn waiting_for(&self) -> String {
        let location = self.0.place.lock().location.clone();
        let silence = self.0.traffic.get().map_or(Duration::ZERO, |traffic| traffic.silence());
        let last_error = self.last_error();
        let failure = self.0.failure.lock().clone();
        match (last_error.or(failure), silence >= SILENCE) {
            (None, false) => format!("the store in {location} to be opened"),
            (None, true) => format!("the bucket {location} to answer, for {:.0} s by now", silence.as_secs_f64()),
            (Some(why), _) => format!("the bucket {location} to answer as it should; the last answer: {why}"),
        }
    }

    fn last_error(&self) -> Option<String> {
        let fortune = self.0.traffic.get()?.fortune();
        fortune.trouble().map(str::to_owned)
    }

    /// The answer of `/health` while there is no store yet.
    pub fn health(&self) -> Health {
        let fortune = self.0.traffic.get().map(|traffic| traffic.fortune()).unwrap_or_default();
        let silence = self.0.traffic.get().map_or(Duration::ZERO, |traffic| traffic.silence());
        Health {
            status: "starting",
            waiting_for: Some(self.waiting_for()),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.0.since.elapsed().as_secs(),
            storage: StorageHealth {
                place: self.0.place.lock().clone(),
                connected: fortune.connected() && silence < SILENCE,
                last_error: self.last_error(),
                failing: fortune.failing().into_iter().map(Direction::name).collect(),
                conditional_put: false,
            },
            collections: 0,
            records: 0,
            loading: Loading { done: 0, total: 0 },
            evicted: 0,
            resting: 0,
            memory: Memory { resident_bytes: resident_bytes(), ..Memory::default() },
            graphs: Vec::new(),
            damaged: Vec::new(),
        }
    }

    /// Repeats an attempt until it succeeds, fails permanently, or runs out of time.
    pub(super) async fn persist<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let deadline = self.0.since + self.0.patience;
        let mut tries = 0;
        loop {
            let error = match self.watch(attempt(), deadline).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            // Damage is certain: the object was read several times before it counted as damaged.
            if verdict(&error) == AttemptVerdict::Certain {
                return Err(of_credentials(error));
            }
            if Instant::now() >= deadline {
                return Err(self.gave_up(&of_credentials(error)));
            }
            *self.0.failure.lock() = Some(error.to_string());
            if tries == 0 {
                self.log_wait();
            }
            let pause = asked_pause(&error) + backoff::jittered(PAUSES.0, PAUSES.1, tries);
            tokio::time::sleep_until((Instant::now() + pause).min(deadline)).await;
            tries += 1;
        }
    }

    /// Awaits an attempt, and meanwhile logs what it waits for. Gives the attempt up once the time is over and no
    /// answers come.
    async fn watch<T>(&self, attempt: impl Future<Output = Result<T>>, deadline: Instant) -> Result<T> {
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                done = &mut attempt => return done,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if self.answered_lately() {
                continue;
            }
            if Instant::now() >= deadline {
                let why = self.last_error().unwrap_or_else(|| "it does not answer".to_owned());
                let kind = match probe::refuses_credentials(&why) {
                    true => ErrorKind::Unauthorized,
                    false => ErrorKind::Unavailable,
                };
                let location = self.0.place.lock().location.clone();
                return Err(Error::new(kind, format!("the bucket {location} could not be used: {why}")));
            }
            if self.0.logged.lock().elapsed() >= LOG_INTERVAL {
                self.log_wait();
            }
        }
    }

    fn answered_lately(&self) -> bool {
        let Some(traffic) = self.0.traffic.get() else { return false };
        let fortune = traffic.fortune();
        let ago = fortune.last_success.and_then(|at| SystemTime::now().duration_since(at).ok());
        fortune.connected() && traffic.silence() < SILENCE && ago.is_some_and(|ago| ago < LATELY)
    }

    fn log_wait(&self) {
        *self.0.logged.lock() = Instant::now();
        let (waited_s, limit_s) = (self.0.since.elapsed().as_secs(), self.0.patience.as_secs_f64());
        tracing::warn!(waited_s, limit_s, "waiting for {}", self.waiting_for());
    }

    fn gave_up(&self, error: &Error) -> Error {
        let seconds = self.0.patience.as_secs_f64();
        let kind = if error.kind() == ErrorKind::OutcomeUnknown { ErrorKind::Unavailable } else { error.kind() };
        Error::new(kind, format!("{error}; tried for {seconds} s (start_timeout)")).of_setting("start_timeout")
    }
}

fn verdict(error: &Error) -> AttemptVerdict {
    // A folder that cannot be made or read.
    if std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>()) {
        return AttemptVerdict::Certain;
    }
    match (error.kind(), bucket_error(error)) {
        (ErrorKind::Unavailable, Some(refused)) if probe::is_certain(refused) => AttemptVerdict::Certain,
        (ErrorKind::Unavailable | ErrorKind::OutcomeUnknown, _) => AttemptVerdict::Passing,
        _ => AttemptVerdict::Certain,
    }
}

/// The failure of an opening, as `Unauthorized` where the bucket refuses the credentials. Once a store is open, its
/// errors are also answers to clients over HTTP, whose own credentials such a kind would be about.
fn of_credentials(error: Error) -> Error {
    match bucket_error(&error) {
        Some(refused) if probe::refuses_credentials(&refused.to_string()) => {
            Error::new(ErrorKind::Unauthorized, error.message()).with_source(refused.clone())
        }
        _ => error,
    }
}

fn bucket_error(error: &Error) -> Option<&BucketError> {
    std::error::Error::source(error)?.downcast_ref()
}

/// The pause that the store asks for.
fn asked_pause(error: &Error) -> Duration {
    bucket_error(error).and_then(BucketError::retry_after).unwrap_or_default().min(backoff::LONGEST_ASKED)
}

/// Where the bucket is according to the settings, as far as that is known without a connection.
fn named(storage: &Storage) -> Place {
    let place = |kind, location: String| Place { kind, location, endpoint: String::new(), bucket: String::new() };
    match storage {
        #[cfg(feature = "s3")]
        Storage::S3(s3) => Place {
            endpoint: s3.endpoint.clone().unwrap_or_default(),
            bucket: s3.bucket.clone(),
            ..place("s3", format!("s3://{}/{}", s3.bucket, s3.prefix))
        },
        #[cfg(feature = "gcs")]
        Storage::Gcs(gcs) => place("gcs", format!("gs://{}/{}", gcs.bucket, gcs.prefix)),
        #[cfg(feature = "azure")]
        Storage::Azure(azure) => place("azure", format!("{}/{}", azure.container, azure.prefix)),
        #[cfg(feature = "dropbox")]
        Storage::Dropbox(dropbox) => place("dropbox", dropbox.root.clone()),
        Storage::Folder(path) => place("folder", path.display().to_string()),
        Storage::Memory => place("memory", "memory".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;
    use crate::store::Store;

    fn bucket() -> Arc<FaultBucket> {
        Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))))
    }

    /// Opens a store on `bucket`. Returns how long that took, by the clock of the test.
    async fn open(bucket: &Arc<FaultBucket>) -> (Result<Store>, Duration) {
        let began = Instant::now();
        let opened = Store::open_on(Settings::new(Storage::Memory), bucket.clone()).await;
        (opened, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_is_away_for_a_while_is_waited_for() {
        for fault in [Fault::UnknownBefore, Fault::RefuseBefore] {
            let bucket = bucket();
            let back = Instant::now() + Duration::from_secs(20);
            bucket.set_plan(move |_| if Instant::now() < back { fault } else { Fault::None });
            let (opened, took) = open(&bucket).await;
            opened.unwrap();
            assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(40), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_start_survives_each_single_fault() {
        let calls = {
            let bucket = bucket();
            open(&bucket).await.0.unwrap();
            bucket.log().len() as u64
        };
        for fault in [Fault::UnknownBefore, Fault::UnknownAfter, Fault::RefuseBefore] {
            for nth in 0..calls {
                let bucket = bucket();
                bucket.set_plan(move |call| if call.index == nth { fault } else { Fault::None });
                let (opened, _) = open(&bucket).await;
                assert!(opened.is_ok(), "{fault:?} at call {nth}: {:?}", opened.err());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_stays_away_ends_the_opening_when_the_time_is_over() {
        let bucket = bucket();
        bucket.set_plan(|_| Fault::UnknownBefore);
        let (opened, took) = open(&bucket).await;
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("60 s (start_timeout)"), "{error}");
        assert!(took >= Duration::from_secs(60) && took < Duration::from_secs(80), "{took:?}");
    }

    #[test]
    fn what_is_certainly_wrong_is_told_from_what_may_pass() {
        let verdict_of = |message: &str| {
            let refused = BucketError::Refused { message: message.to_owned() };
            verdict(&Error::unavailable(refused.to_string()).with_source(refused))
        };
        for message in [
            "status 404, NoSuchBucket: the specified bucket does not exist",
            "status 403, InvalidAccessKeyId: no message",
            "status 403, SignatureDoesNotMatch: no message",
            "status 301, PermanentRedirect: no message; check the region",
            "cannot write: permission denied",
        ] {
            assert_eq!(verdict_of(message), AttemptVerdict::Certain, "{message}");
        }
        for message in
            ["status 403, AccessDenied: no message", "status 403, no code: no message", "status 400, ExpiredToken: x"]
        {
            assert_eq!(verdict_of(message), AttemptVerdict::Passing, "{message}");
        }
        for error in [Error::corrupted("x"), Error::invalid("x"), Error::not_found("x")] {
            assert_eq!(verdict(&error), AttemptVerdict::Certain, "{error}");
        }
    }

    #[test]
    fn refused_credentials_are_told_from_other_refusals() {
        let kind_of = |message: &str| {
            let refused = BucketError::Refused { message: message.to_owned() };
            of_credentials(Error::unavailable(refused.to_string()).with_source(refused)).kind()
        };
        for message in [
            "status 403, InvalidAccessKeyId: no message",
            "status 403, AccessDenied: no message; the credentials need s3:GetObject",
            "status 401, no code",
            "status 400, ExpiredToken: no message",
            "Dropbox refuses the access token (401), which lasts a few hours only",
            "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ] {
            assert_eq!(kind_of(message), ErrorKind::Unauthorized, "{message}");
        }
        for message in ["status 404, NoSuchBucket: no message", "status 400, no code: 403", "cannot write: no space"] {
            assert_eq!(kind_of(message), ErrorKind::Unavailable, "{message}");
        }
        let unknown = BucketError::unknown("status 403, RequestTimeTooSkewed");
        let error = Error::unavailable(unknown.to_string()).with_source(unknown);
        assert_eq!(of_credentials(error).kind(), ErrorKind::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_not_there_is_not_found_wherever_it_is_looked_for() {
        let settings = |storage| Settings { create: false, ..Settings::new(storage) };
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nothing");
        for storage in [Storage::Folder(nowhere.clone()), Storage::Folder(folder.path().into()), Storage::Memory] {
            let error = Store::open(settings(storage)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(error.message().contains("there is no store at"), "{error}");
        }
        assert!(!nowhere.exists());
    }

    #[tokio::test]
    async fn an_opening_tells_where_it_is_and_what_it_waits_for() {
        let opening = Opening::new(&Settings::folder("/data"));
        let health = opening.health();
        assert_eq!((health.status, health.storage.place.kind), ("starting", "folder"));
        assert_eq!(health.waiting_for.as_deref(), Some("the store in /data to be opened"));
        let bucket = crate::bucket::count::Counting::new(bucket());
        opening.connected(crate::bucket::Bucket::place(&bucket), bucket.counters());
        bucket.counters().note_failure(Direction::Reads, "status 503, SlowDown".to_owned());
        let waits = opening.waiting_for();
        assert!(waits.contains("memory") && waits.contains("SlowDown"), "{waits}");
    }
}
