//! Proves that a bucket keeps the conditions the protocol stands on, before anything is entrusted to it
//! (docs/protocol.md#probe). Some stores ignore these conditions; others keep them one at a time and lose races.
//! Invariants: a bucket passes only on definite answers. One wrong or missing answer is no verdict: the step is made
//! again on other keys. No scratch object stays behind.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use ulid::Ulid;

use super::listing::each_page;
use super::{Bucket, BucketError, Page, Place, PutCondition, REFUSED, Stamp, StoreTime, backoff, keys};
use crate::error::{Error, Result};
use crate::self_checksum::{self, Checksummed};

/// Keys that are raced for at once.
const RACES: usize = 4;
/// How often a step is made, each time on other keys, while answers are lost or refused.
const ATTEMPTS: u32 = 6;
/// How often a step must fail in the same way before the bucket is judged to lack something.
const BELIEVED: u32 = 3;
/// Pauses between attempts: the longest first one, and the longest at all.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Racers per key when a bucket is first used.
const FIRST_USE_RACERS: usize = 4;
/// Time to sweep up after a probe that has failed.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);

/// Words of refusals that waiting does not cure: there is no such bucket, or the credentials are wrong.
const CERTAIN: &[&str] = &[
    "NoSuchBucket",
    "InvalidBucketName",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ContainerNotFound",
    "InvalidResourceName",
    "AuthenticationFailed",
    "AccountIsDisabled",
    "invalid_access_token",
];
/// How refusals begin that no store has answered: those of the folder, and of Dropbox's tokens.
const CERTAIN_BEGINNINGS: &[&str] = &["cannot ", "Dropbox refuses "];
/// How refusals of credentials begin, and words of those that have another status.
const CREDENTIALS_BEGINNINGS: &[&str] = &["status 401,", "status 403,", "Dropbox refuses ", "no credentials for "];
const CREDENTIALS: &[&str] = &["ExpiredToken", "InvalidToken", "TokenRefreshRequired"];

/// Whether a refusal is certain to come again: the bucket or the credentials are wrong. Any other may pass. New rights
/// take time to be known everywhere, and stores refuse what they cannot check just now.
pub fn is_certain(error: &BucketError) -> bool {
    let BucketError::Refused { message, .. } = error else { return false };
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    CERTAIN_BEGINNINGS.iter().any(|words| message.starts_with(words)) || words.any(|word| CERTAIN.contains(&word))
}

/// Whether `why`, the text of a [`BucketError`], is a refusal of the credentials: they are missing, wrong, have run out
/// or do not allow the call.
pub fn refuses_credentials(why: &str) -> bool {
    let Some(message) = why.strip_prefix(REFUSED) else { return false };
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    CREDENTIALS_BEGINNINGS.iter().any(|words| message.starts_with(words))
        || words.any(|word| CREDENTIALS.contains(&word))
}

/// Format number of the mark.
const MARK_FORMAT: u64 = 1;

/// `probe/….json`: this bucket kept its conditions when it was probed at this place. The key binds the mark to the
/// place. The mark also holds the place, so that a mark copied to another key does not count.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Mark {
    format: u64,
    endpoint: String,
    bucket: String,
    passed_by: String,
}

impl Mark {
    fn counts_at(&self, place: &Place) -> bool {
        self.format == MARK_FORMAT && self.endpoint == place.endpoint && self.bucket == place.bucket
    }

    fn encode(&self) -> Result<Bytes> {
        let broken = |cause: String| Error::internal(format!("the probe's mark: {cause}"));
        let json = serde_json::to_vec(&Checksummed::once(self)).map_err(|e| broken(e.to_string()))?;
        Ok(self_checksum::close(json).map_err(broken)?.into())
    }

    fn decode(bytes: &[u8]) -> Result<Mark, String> {
        self_checksum::check_once(bytes)?;
        serde_json::from_slice(bytes).map_err(|error| format!("it is not the JSON expected: {error}"))
    }
}

/// Probes the bucket unless its mark says that it has passed before, at this very place. After a probe, writes the
/// mark.
///
/// # Errors
/// As [`probe`].
pub async fn ensure_probed(bucket: &dyn Bucket) -> Result<()> {
    let place = bucket.place();
    let mark = keys::probe_mark(&place.endpoint, &place.bucket);
    match patiently(|| bucket.get(&mark, None)).await {
        Ok(object) => {
            // A mark that cannot be read, or that is of another place, counts for nothing.
            if Mark::decode(&object.bytes).is_ok_and(|found| found.counts_at(&place)) {
                return Ok(());
            }
        }
        Err(BucketError::NotFound { .. }) => {}
        Err(error) => return Err(Failure::from(error).at(bucket)),
    }
    probe(bucket, FIRST_USE_RACERS).await?;
    let passed_by = format!("drumlin {}", env!("CARGO_PKG_VERSION"));
    let found = Mark { format: MARK_FORMAT, endpoint: place.endpoint, bucket: place.bucket, passed_by };
    let body = found.encode()?;
    let put = patiently(|| bucket.put(&mark, body.clone(), PutCondition::Always)).await;
    put.map(drop).map_err(|error| Failure::from(error).at(bucket))
}

/// What a bucket has shown that passed the probe, step by step.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub const SHOWN: &[&str] = &[
    "its answers carry the date, from which the age of objects is learned",
    "put if absent (If-None-Match: *) creates an object, and never overwrites one",
    "compare and swap (If-Match) replaces an object only with the tag of its newest version, and nothing where there \
     is none",
    "what was written, overwritten or deleted is read as such at once",
    "of several writers at a time that create one key, or replace one version, exactly one succeeds, and what it wrote \
     is there",
];

/// A mark that counts: what the bucket passed last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub struct FoundMark {
    /// Which program probed it.
    pub by: String,
    /// When, by the store's clock, if it tells when objects were written.
    pub at: Option<StoreTime>,
}

/// What the bucket's mark says; `None` if there is none that counts here.
///
/// # Errors
/// The bucket's error on reading the mark or listing it.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub async fn passed(bucket: &dyn Bucket) -> Result<Option<FoundMark>, BucketError> {
    let place = bucket.place();
    let key = keys::probe_mark(&place.endpoint, &place.bucket);
    let object = match bucket.get(&key, None).await {
        Ok(object) => object,
        Err(BucketError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(mark) = Mark::decode(&object.bytes).ok().filter(|mark| mark.counts_at(&place)) else { return Ok(None) };
    let mut at = None;
    let take = |page: Page| at = at.or(page.objects.into_iter().find(|o| o.key == key).and_then(|o| o.last_modified));
    each_page(bucket, &key, take).await?;
    Ok(Some(FoundMark { by: mark.passed_by, at }))
}

/// Repeats a harmless call while it is refused for a reason that may pass.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, BucketError>
where
    F: Future<Output = Result<T, BucketError>>,
{
    let mut attempt = 0;
    loop {
        match call().await {
            Err(error @ BucketError::Refused { .. }) if !is_certain(&error) && attempt + 1 < ATTEMPTS => {
                backoff::pause(PAUSES.0, PAUSES.1, attempt).await;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

/// Judges the bytes of a mark in the bucket under `key`.
///
/// # Errors
/// A sentence that says what is wrong with the mark. A start ignores such a mark, and probes again.
pub fn check_mark(key: &str, bytes: &[u8]) -> Result<(), String> {
    let mark = Mark::decode(bytes)?;
    let place = keys::probe_mark(&mark.endpoint, &mark.bucket);
    // A newer version may write marks of a newer format.
    match place == key && mark.format >= MARK_FORMAT {
        true => Ok(()),
        false => Err(format!("it is of format {} and belongs under {place}", mark.format)),
    }
}

/// Races `racers` writers at each of several scratch keys, and checks every condition the protocol needs. Costs about
/// 60 requests with 4 racers.
///
/// # Errors
/// `Invalid` with a sentence that names what the bucket lacks; `Unavailable` when it could not be
/// reached or did not answer definitely.
pub async fn probe(bucket: &dyn Bucket, racers: usize) -> Result<()> {
    let run = Probe { bucket, run: Ulid::generate(), racers: racers.max(2), scratch: Mutex::default() };
    let found = run.all().await;
    let scratch = std::mem::take(&mut *run.scratch.lock());
    let sweep = patiently(|| bucket.delete(&scratch));
    match found {
        // A silent store must not keep back what is known of it.
        Err(failure) => {
            let _ = tokio::time::timeout(SWEEP_LIMIT, sweep).await;
            Err(failure.at(bucket))
        }
        Ok(()) => sweep.await.map_err(|error| Failure::from(error).at(bucket)),
    }
}

/// Why a bucket did not pass.
#[derive(Debug)]
enum Failure {
    /// It does not do what the protocol needs; the text says what. Believed once the failure repeats.
    Lacks(String),
    /// Several racers were answered that they have won. No fault on the way makes that of a single success.
    LosesRaces(String),
    /// The probe could not find out.
    Unreachable(BucketError),
}

impl From<BucketError> for Failure {
    fn from(error: BucketError) -> Self {
        Failure::Unreachable(error)
    }
}

impl Failure {
    fn at(self, bucket: &dyn Bucket) -> Error {
        let place = bucket.place();
        let at = if place.endpoint.is_empty() { String::new() } else { format!(" at {}", place.endpoint) };
        match self {
            Failure::Lacks(what) | Failure::LosesRaces(what) => Error::invalid(format!(
                "the bucket {}{at} cannot be used: {what}; writes could be lost there without a trace, so choose a \
                 store that keeps conditional writes",
                place.location
            )),
            Failure::Unreachable(error) => {
                Error::unavailable(format!("the bucket {}{at} could not be probed: {error}", place.location))
                    .with_source(error)
            }
        }
    }
}

fn lacks(what: impl Into<String>) -> Failure {
    Failure::Lacks(what.into())
}

fn dated(date: Option<StoreTime>) -> Result<(), Failure> {
    date.map(drop).ok_or_else(|| lacks("its answers carry no date, from which Drumlin learns their age"))
}

fn tag(stamp: Stamp) -> Result<String, Failure> {
    stamp.etag.ok_or_else(|| lacks("a write is answered without a version tag (ETag)"))
}

/// The condition that racers contend under.
#[derive(Clone)]
enum Prize {
    Create,
    Swap(String),
}

impl fmt::Display for Prize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prize::Create => f.write_str("create one key (put if absent, If-None-Match: *)"),
            Prize::Swap(_) => f.write_str("replace one version of an object (compare and swap, If-Match)"),
        }
    }
}

struct Probe<'a> {
    bucket: &'a dyn Bucket,
    run: Ulid,
    racers: usize,
    /// Every key that this run may have written.
    scratch: Mutex<Vec<String>>,
}

impl Probe<'_> {
    /// A key for one attempt of a step.
    fn key(&self, name: &str, attempt: u32) -> String {
        let key = keys::probe_scratch(self.run, &format!("{name}-{attempt}"));
        self.scratch.lock().push(key.clone());
        key
    }

    async fn all(&self) -> Result<(), Failure> {
        believed(|attempt| self.one_at_a_time(attempt)).await?;
        believed(|attempt| self.swaps_one_at_a_time(attempt)).await?;
        let races = (0..RACES).map(|race| believed(move |attempt| self.create_race(race, attempt)));
        for raced in join_all(races).await {
            raced?;
        }
        believed(|attempt| self.swap_race(attempt)).await
    }

    async fn put(&self, key: &str, text: &str, condition: PutCondition) -> Result<Stamp, BucketError> {
        self.bucket.put(key, Bytes::from(text.to_owned()), condition).await
    }

    async fn body(&self, key: &str) -> Result<Bytes, Failure> {
        match self.bucket.get(key, None).await {
            Ok(object) => Ok(object.bytes),
            Err(BucketError::NotFound { .. }) => Err(lacks("an object just written is not found (read after write)")),
            Err(error) => Err(error.into()),
        }
    }

    async fn absent(&self, key: &str, after: &str) -> Result<(), Failure> {
        match self.bucket.get(key, None).await {
            Ok(_) => Err(lacks(format!("an object is found after {after}"))),
            Err(BucketError::NotFound { date }) => dated(date),
            Err(error) => Err(error.into()),
        }
    }

    /// Create, create again, read, delete, read.
    async fn one_at_a_time(&self, attempt: u32) -> Result<(), Failure> {
        let key = self.key("plain", attempt);
        self.absent(&key, "nothing was written").await?;
        dated(self.put(&key, "first", PutCondition::IfAbsent).await?.date)?;
        match self.put(&key, "second", PutCondition::IfAbsent).await {
            Err(BucketError::Exists { date }) => dated(date)?,
            Ok(_) => {
                return Err(lacks("it overwrites an object under the condition that there is none (If-None-Match: *)"));
            }
            Err(BucketError::NotFound { .. }) => return Err(lacks("it denies that an existing object exists")),
            Err(error) => return Err(error.into()),
        }
        if self.body(&key).await? != "first" {
            return Err(lacks("a refused put if absent (If-None-Match: *) changed the object all the same"));
        }
        self.bucket.delete(std::slice::from_ref(&key)).await?;
        self.absent(&key, "it was deleted").await
    }

    /// Swap on an absent key, with the right tag, with a stale one and with the right one again. No write is
    /// unconditional: after a lost answer it would be sent again, and could land a second time over a later write. A
    /// sound bucket would be accused.
    async fn swaps_one_at_a_time(&self, attempt: u32) -> Result<(), Failure> {
        let (key, absent) = (self.key("swap", attempt), self.key("absent", attempt));
        let stale = tag(self.put(&key, "first", PutCondition::IfAbsent).await?)?;
        if self.put(&absent, "swapped", PutCondition::IfMatch(stale.clone())).await.is_ok() {
            return Err(lacks("a compare and swap (If-Match) succeeds where there is no object"));
        }
        self.absent(&absent, "a compare and swap (If-Match) on nothing was refused").await?;
        let present = self.swap(&key, "second", stale.clone()).await?;
        match self.put(&key, "third", PutCondition::IfMatch(stale)).await {
            Ok(_) => return Err(lacks("a compare and swap succeeds with a stale tag (If-Match is ignored)")),
            Err(error @ BucketError::Unknown { .. }) => return Err(error.into()),
            Err(_) if self.body(&key).await? != "second" => {
                return Err(lacks("a refused compare and swap (If-Match) changed the object all the same"));
            }
            Err(_) => {}
        }
        self.swap(&key, "fourth", present).await.map(drop)
    }

    /// A swap with the right tag, which must succeed; returns the new tag.
    async fn swap(&self, key: &str, text: &str, present: String) -> Result<String, Failure> {
        match self.put(key, text, PutCondition::IfMatch(present)).await {
            Ok(stamp) if self.body(key).await? == text.as_bytes() => tag(stamp),
            Ok(_) => Err(lacks("an object is not what was just written (read after overwrite)")),
            Err(BucketError::Refused { message, .. }) => {
                Err(lacks(format!("it refuses a compare and swap (If-Match) with the right tag: {message}")))
            }
            Err(BucketError::Exists { .. } | BucketError::NotFound { .. }) => {
                Err(lacks("it refuses a compare and swap (If-Match) with the right tag"))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn create_race(&self, race: usize, attempt: u32) -> Result<(), Failure> {
        self.race(&self.key(&format!("race-{race}"), attempt), Prize::Create).await
    }

    async fn swap_race(&self, attempt: u32) -> Result<(), Failure> {
        let key = self.key("swap-race", attempt);
        let start = tag(self.put(&key, "start", PutCondition::IfAbsent).await?)?;
        self.race(&key, Prize::Swap(start)).await
    }

    /// Sends the racers: exactly one must win. If none is known to have won, lost answers and passing refusals leave
    /// the race open.
    async fn race(&self, key: &str, prize: Prize) -> Result<(), Failure> {
        let condition = match &prize {
            Prize::Create => PutCondition::IfAbsent,
            Prize::Swap(tag) => PutCondition::IfMatch(tag.clone()),
        };
        let texts: Vec<String> = (0..self.racers).map(|racer| format!("racer {racer}")).collect();
        let answers = join_all(texts.iter().map(|text| self.put(key, text, condition.clone()))).await;
        let mut winners = Vec::new();
        let mut lost = None;
        for (text, answer) in texts.iter().zip(answers) {
            match answer {
                Ok(_) => winners.push(text),
                Err(BucketError::Exists { .. }) => {}
                Err(error) if is_certain(&error) => return Err(error.into()),
                Err(error) => lost = Some(error),
            }
        }
        match winners.as_slice() {
            [winner] if self.body(key).await? == winner.as_bytes() => Ok(()),
            [_] => Err(lacks(format!("of concurrent writers that {prize}, one got success, but another's was stored"))),
            [] => Err(lost.map_or_else(
                || lacks(format!("of {} concurrent writers that {prize}, none succeeds", self.racers)),
                Failure::from,
            )),
            many => {
                let (won, all) = (many.len(), self.racers);
                let what = format!("{won} of {all} concurrent writers that {prize} succeed, where one may");
                Err(Failure::LosesRaces(what))
            }
        }
    }
}

/// Repeats a step, passing the attempt's number, until it succeeds or its failure can be believed.
async fn believed<F>(mut step: impl FnMut(u32) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let (mut attempt, mut lacked) = (0, 0);
    loop {
        let Err(failure) = step(attempt).await else { return Ok(()) };
        attempt += 1;
        let over = match &failure {
            Failure::LosesRaces(_) => true,
            Failure::Lacks(_) => {
                lacked += 1;
                lacked >= BELIEVED
            }
            Failure::Unreachable(error) => is_certain(error) || attempt >= ATTEMPTS,
        };
        if over {
            return Err(failure);
        }
        tracing::debug!(?failure, attempt, "a step of the probe is repeated");
        let asked = if let Failure::Unreachable(error) = &failure { error.retry_after() } else { None };
        backoff::pause_at_least(asked, PAUSES.0, PAUSES.1, attempt).await;
    }
}
