//! Proves, before anything is entrusted to a bucket, that it keeps the conditions the protocol stands
//! on (protocol section 10): some stores ignore them, others keep them one at a time and lose races. Its
//! invariant: a bucket passes only on definite answers, and no scratch object stays behind.

use std::fmt;

use bytes::Bytes;
use futures::future::join_all;
use ulid::Ulid;

use super::{Bucket, BucketError, Condition, Place, Stamp, StoreTime, keys};
use crate::error::{Error, Result};
use crate::seal::{self, Sealed};

/// Keys that are raced for at once.
const RACES: usize = 4;
/// How often a race is run again when answers were lost.
const ROUNDS: usize = 4;
/// Racers per key when a bucket is first used.
const FIRST_USE_RACERS: usize = 4;

/// Format number of the mark.
const MARK_FORMAT: u64 = 1;

/// `probe/….json`: this bucket honoured its conditions when asked at this place. Its key binds it to the
/// place; the place stands in it too, so that a mark copied to another key is no mark.
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
        let json = serde_json::to_vec(&Sealed::once(self)).map_err(|e| broken(e.to_string()))?;
        Ok(seal::close(json).map_err(broken)?.into())
    }

    fn decode(bytes: &[u8]) -> Result<Mark, String> {
        seal::check_once(bytes)?;
        serde_json::from_slice(bytes).map_err(|error| format!("it is not the JSON expected: {error}"))
    }
}

/// Probes the bucket unless its mark says that it has passed before, at this very place; writes the
/// mark then.
///
/// # Errors
/// As [`probe`].
pub async fn ensure_probed(bucket: &dyn Bucket) -> Result<()> {
    let place = bucket.place();
    let mark = keys::probe_mark(&place.endpoint, &place.bucket);
    match bucket.get(&mark, None).await {
        Ok(object) => {
            // A mark that cannot be read, or of another place, counts for nothing.
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
    let put = bucket.put(&mark, found.encode()?, Condition::Always).await;
    put.map(drop).map_err(|error| Failure::from(error).at(bucket))
}

/// Judges a mark as it stands in the bucket under `key`.
///
/// # Errors
/// A sentence that says what is wrong with it; starts ignore such a mark, and probe again.
pub fn check_mark(key: &str, bytes: &[u8]) -> Result<(), String> {
    let mark = Mark::decode(bytes)?;
    let place = keys::probe_mark(&mark.endpoint, &mark.bucket);
    // A newer version may write marks of a newer format.
    match place == key && mark.format >= MARK_FORMAT {
        true => Ok(()),
        false => Err(format!("it is of format {} and belongs under {place}", mark.format)),
    }
}

/// Races `racers` writers at each of several scratch keys and checks every condition the protocol
/// needs; about 60 requests with 4 racers.
///
/// # Errors
/// `Invalid` with a sentence that names what the bucket lacks; `Unavailable` when it could not be
/// reached or did not answer definitely.
pub async fn probe(bucket: &dyn Bucket, racers: usize) -> Result<()> {
    let run = Probe { bucket, run: Ulid::generate(), racers: racers.max(2) };
    let found = run.all().await;
    let swept = bucket.delete(&run.scratch_keys()).await;
    match (found, swept) {
        (Err(failure), _) => Err(failure.at(bucket)),
        (Ok(()), Err(error)) => Err(Failure::from(error).at(bucket)),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// Why a bucket did not pass.
#[derive(Debug)]
enum Failure {
    /// It does not do what the protocol needs; the text says what.
    Lacks(String),
    /// It could not be told.
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
            Failure::Lacks(what) => Error::invalid(format!(
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
    date.map(drop).ok_or_else(|| lacks("its answers carry no date, by which Drumlin tells how old they are"))
}

fn tag(stamp: Stamp) -> Result<String, Failure> {
    stamp.etag.ok_or_else(|| lacks("a write is answered without a version tag (ETag)"))
}

/// What racers contend for.
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
}

impl Probe<'_> {
    fn key(&self, name: &str) -> String {
        keys::probe_scratch(self.run, name)
    }

    fn race_key(&self, race: usize, round: usize) -> String {
        self.key(&format!("race-{race}-{round}"))
    }

    fn swap_race_key(&self, round: usize) -> String {
        self.key(&format!("swap-race-{round}"))
    }

    /// Every key that this run may have written.
    fn scratch_keys(&self) -> Vec<String> {
        let races = (0..RACES).flat_map(|race| (0..ROUNDS).map(move |round| (race, round)));
        let races = races.map(|(race, round)| self.race_key(race, round));
        let swap_races = (0..ROUNDS).map(|round| self.swap_race_key(round));
        races.chain(swap_races).chain(["plain", "absent", "swap"].map(|name| self.key(name))).collect()
    }

    async fn all(&self) -> Result<(), Failure> {
        self.one_at_a_time().await?;
        self.swaps_one_at_a_time().await?;
        for raced in join_all((0..RACES).map(|race| self.create_race(race))).await {
            raced?;
        }
        self.swap_race().await
    }

    async fn put(&self, key: &str, text: &str, condition: Condition) -> Result<Stamp, BucketError> {
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
    async fn one_at_a_time(&self) -> Result<(), Failure> {
        let key = self.key("plain");
        self.absent(&key, "nothing was written").await?;
        dated(self.put(&key, "first", Condition::IfAbsent).await?.date)?;
        match self.put(&key, "second", Condition::IfAbsent).await {
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

    /// Swap on nothing, with the right tag, with a stale one and with the right one again. No write is
    /// unconditional: one whose answer was lost and that is sent again could land twice, the second time
    /// over what came after it, and a sound bucket would be accused.
    async fn swaps_one_at_a_time(&self) -> Result<(), Failure> {
        let (key, absent) = (self.key("swap"), self.key("absent"));
        let stale = tag(self.put(&key, "first", Condition::IfAbsent).await?)?;
        if self.put(&absent, "swapped", Condition::IfMatch(stale.clone())).await.is_ok() {
            return Err(lacks("a compare and swap (If-Match) succeeds where there is no object"));
        }
        self.absent(&absent, "a compare and swap (If-Match) on nothing was refused").await?;
        let present = self.swap(&key, "second", stale.clone()).await?;
        match self.put(&key, "third", Condition::IfMatch(stale)).await {
            Ok(_) => return Err(lacks("a compare and swap succeeds with a stale tag (If-Match is ignored)")),
            Err(BucketError::Unknown { message, .. }) => return Err(BucketError::unknown(message).into()),
            Err(_) if self.body(&key).await? != "second" => {
                return Err(lacks("a refused compare and swap (If-Match) changed the object all the same"));
            }
            Err(_) => {}
        }
        self.swap(&key, "fourth", present).await.map(drop)
    }

    /// A swap with the right tag, which must succeed; answers with the new tag.
    async fn swap(&self, key: &str, text: &str, present: String) -> Result<String, Failure> {
        match self.put(key, text, Condition::IfMatch(present)).await {
            Ok(stamp) if self.body(key).await? == text.as_bytes() => tag(stamp),
            Ok(_) => Err(lacks("an object is not what was just written (read after overwrite)")),
            Err(BucketError::Refused { message }) => {
                Err(lacks(format!("it refuses a compare and swap (If-Match) with the right tag: {message}")))
            }
            Err(BucketError::Exists { .. } | BucketError::NotFound { .. }) => {
                Err(lacks("it refuses a compare and swap (If-Match) with the right tag"))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn create_race(&self, race: usize) -> Result<(), Failure> {
        for round in 0..ROUNDS {
            if self.race(&self.race_key(race, round), Prize::Create).await? {
                return Ok(());
            }
        }
        Err(inconclusive().into())
    }

    async fn swap_race(&self) -> Result<(), Failure> {
        for round in 0..ROUNDS {
            let key = self.swap_race_key(round);
            let start = match self.put(&key, "start", Condition::IfAbsent).await {
                Err(BucketError::Unknown { .. }) => continue,
                answer => tag(answer?)?,
            };
            if self.race(&key, Prize::Swap(start)).await? {
                return Ok(());
            }
        }
        Err(inconclusive().into())
    }

    /// Sends the racers; `true` if exactly one won, `false` if lost answers leave it open.
    async fn race(&self, key: &str, prize: Prize) -> Result<bool, Failure> {
        let condition = match &prize {
            Prize::Create => Condition::IfAbsent,
            Prize::Swap(tag) => Condition::IfMatch(tag.clone()),
        };
        let texts: Vec<String> = (0..self.racers).map(|racer| format!("racer {racer}")).collect();
        let answers = join_all(texts.iter().map(|text| self.put(key, text, condition.clone()))).await;
        let mut winners = Vec::new();
        let mut lost = false;
        for (text, answer) in texts.iter().zip(answers) {
            match answer {
                Ok(_) => winners.push(text),
                Err(BucketError::Exists { .. }) => {}
                Err(BucketError::Unknown { .. }) => lost = true,
                Err(error) => return Err(error.into()),
            }
        }
        match winners.as_slice() {
            [winner] if self.body(key).await? == winner.as_bytes() => Ok(true),
            [_] => Err(lacks(format!("of concurrent writers that {prize}, one is told that it won and another did"))),
            [] if lost => Ok(false),
            [] => Err(lacks(format!("of {} concurrent writers that {prize}, none succeeds", self.racers))),
            many => {
                let (won, all) = (many.len(), self.racers);
                Err(lacks(format!("{won} of {all} concurrent writers that {prize} succeed, where one may")))
            }
        }
    }
}

fn inconclusive() -> BucketError {
    BucketError::unknown("too many of its answers were lost")
}
