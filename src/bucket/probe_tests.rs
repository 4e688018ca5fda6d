//! The probe lets sound buckets pass and refuses flawed ones, each by the name of its flaw.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::call::Op;
use super::clock::StoreClock;
use super::fault::{Fault, FaultBucket};
use super::memory::MemoryBucket;
use super::probe::{FoundMark, ensure_probed, passed, probe};
use super::{Bucket, BucketError, Object, Page, Place, PutCondition, Stamp, keys};
use crate::ErrorKind;

fn memory() -> MemoryBucket {
    MemoryBucket::new(StoreClock::machine())
}

/// The flaw of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    IgnoresIfAbsent,
    IgnoresIfMatch,
    /// Looks first and writes later, so that others come in between.
    LosesCreateRaces,
    LosesSwapRaces,
    /// As MinIO did before September 2025.
    SwapsOnNothing,
    RefusesYetWrites,
    DeniesEverySwap,
    TellsNoDate,
    TellsNoTag,
    KeepsDeleted,
    /// No flaw: an unconditional put whose answer was lost is sent again, and the first one lands late.
    WritesLandLate,
}

#[derive(Debug)]
struct Flawed {
    inner: MemoryBucket,
    flaw: Flaw,
    /// A put on its way.
    late: Mutex<Option<(String, Bytes)>>,
}

impl Flawed {
    fn new(flaw: Flaw) -> Flawed {
        Flawed { inner: memory(), flaw, late: Mutex::new(None) }
    }

    async fn look_then_write(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        let present = self.inner.get(key, None).await.ok().map(|object| object.stamp.etag.unwrap());
        tokio::task::yield_now().await;
        let holds = match condition {
            PutCondition::IfMatch(tag) => present == Some(tag),
            _ => present.is_none(),
        };
        if !holds {
            return Err(BucketError::Exists { date: Some(self.inner.clock().now()) });
        }
        self.inner.put(key, body, PutCondition::Always).await
    }
}

#[async_trait]
impl Bucket for Flawed {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        let answer = self.inner.get(key, range).await;
        match answer {
            Err(BucketError::NotFound { .. }) if self.flaw == Flaw::TellsNoDate => {
                Err(BucketError::NotFound { date: None })
            }
            answer => answer,
        }
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        let answer = match (self.flaw, &condition) {
            (Flaw::IgnoresIfAbsent, PutCondition::IfAbsent) | (Flaw::IgnoresIfMatch, PutCondition::IfMatch(_)) => {
                self.inner.put(key, body, PutCondition::Always).await
            }
            (Flaw::LosesCreateRaces, PutCondition::IfAbsent) | (Flaw::LosesSwapRaces, PutCondition::IfMatch(_)) => {
                self.look_then_write(key, body, condition).await
            }
            (Flaw::SwapsOnNothing, PutCondition::IfMatch(_)) if self.inner.get(key, None).await.is_err() => {
                self.inner.put(key, body, PutCondition::Always).await
            }
            (Flaw::RefusesYetWrites, PutCondition::IfAbsent) => {
                let answer = self.inner.put(key, body.clone(), condition).await;
                self.inner.put(key, body, PutCondition::Always).await?;
                answer
            }
            (Flaw::WritesLandLate, _) => {
                let answer = self.inner.put(key, body.clone(), condition.clone()).await;
                let late = self.late.lock().take();
                if let Some((key, body)) = late {
                    self.inner.put(&key, body, PutCondition::Always).await?;
                }
                if condition == PutCondition::Always {
                    *self.late.lock() = Some((key.to_owned(), body));
                }
                answer
            }
            (Flaw::DeniesEverySwap, PutCondition::IfMatch(_)) => Err(BucketError::Exists { date: None }),
            _ => self.inner.put(key, body, condition).await,
        };
        answer.map(|stamp| if self.flaw == Flaw::TellsNoTag { Stamp { etag: None, ..stamp } } else { stamp })
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        self.inner.put_large(key, pieces).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        self.inner.copy(from, to).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        if self.flaw == Flaw::KeepsDeleted && keys.len() == 1 { Ok(()) } else { self.inner.delete(keys).await }
    }

    fn place(&self) -> Place {
        self.inner.place()
    }
}

#[tokio::test]
async fn a_flawed_bucket_is_refused_with_the_name_of_its_flaw() {
    for (flaw, words) in [
        (Flaw::IgnoresIfAbsent, "overwrites an object under the condition that there is none (If-None-Match: *)"),
        (Flaw::IgnoresIfMatch, "compare and swap (If-Match) succeeds where there is no object"),
        (Flaw::LosesCreateRaces, "4 of 4 concurrent writers that create one key"),
        (Flaw::LosesSwapRaces, "4 of 4 concurrent writers that replace one version"),
        (Flaw::SwapsOnNothing, "compare and swap (If-Match) succeeds where there is no object"),
        (Flaw::RefusesYetWrites, "refused put if absent (If-None-Match: *) changed the object"),
        (Flaw::DeniesEverySwap, "refuses a compare and swap (If-Match) with the right tag"),
        (Flaw::TellsNoDate, "carry no date"),
        (Flaw::TellsNoTag, "without a version tag"),
        (Flaw::KeepsDeleted, "found after it was deleted"),
    ] {
        let bucket = Flawed::new(flaw);
        let refused = probe(&bucket, 4).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{flaw:?}: {refused}");
        assert!(refused.message().contains(words), "{flaw:?}: {refused}");
        let left = bucket.inner.list("", None).await.unwrap().objects;
        assert_eq!(left, [], "{flaw:?} left scratch objects");
    }
}

#[tokio::test]
async fn a_sound_bucket_passes_once_and_is_marked() {
    let inner = Arc::new(memory());
    let bucket = FaultBucket::new(inner.clone());
    ensure_probed(&bucket).await.unwrap();
    let calls = bucket.log().len();
    assert!(calls > 40, "{calls} calls do not make a probe");
    let left: Vec<_> = inner.list("", None).await.unwrap().objects.into_iter().map(|object| object.key).collect();
    assert_eq!(left, [keys::probe_mark("", "memory")]);
    ensure_probed(&bucket).await.unwrap();
    assert_eq!(bucket.log().len(), calls + 1, "a marked bucket was probed again");
    let moved = br#"{"format":1,"endpoint":"http://elsewhere","bucket":"memory","passed_by":"drumlin"}"#;
    for worthless in [&moved[..], b"{}", b"not JSON"] {
        let before = bucket.log().len();
        let body = Bytes::copy_from_slice(worthless);
        inner.put(&keys::probe_mark("", "memory"), body, PutCondition::Always).await.unwrap();
        ensure_probed(&bucket).await.unwrap();
        assert!(bucket.log().len() > before + 40, "a mark that came with a copy was believed");
    }
}

#[tokio::test]
async fn a_refused_bucket_is_not_marked() {
    let bucket = Flawed::new(Flaw::LosesCreateRaces);
    for _ in 0..2 {
        assert_eq!(ensure_probed(&bucket).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_lost_answer_in_a_race_is_raced_again_and_too_many_make_it_unavailable() {
    let bucket = FaultBucket::new(Arc::new(memory()));
    let mut lost = 0;
    bucket.set_plan(move |call| {
        let hit = call.op == Op::Create && call.key.ends_with("race-0-0") && lost < 4;
        lost += u32::from(hit);
        if hit { Fault::UnknownAfter } else { Fault::None }
    });
    probe(&bucket, 4).await.unwrap();
    assert!(bucket.log().iter().any(|call| call.key.ends_with("race-0-1")), "the race was not run again");

    let race = |key: &str| key.contains("/race-");
    bucket.set_plan(move |call| if race(&call.key) { Fault::UnknownBefore } else { Fault::None });
    let failed = probe(&bucket, 4).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
}

#[tokio::test]
async fn a_sound_bucket_passes_though_unconditional_writes_land_late() {
    probe(&Flawed::new(Flaw::WritesLandLate), 4).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_bucket_is_unavailable_and_not_accused() {
    let bucket = FaultBucket::new(Arc::new(memory()));
    bucket.set_plan(|_| Fault::RefuseBefore);
    let failed = ensure_probed(&bucket).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    assert!(failed.message().contains("could not be probed"), "{failed}");
}

#[tokio::test]
async fn what_passed_last_is_told_from_the_mark_of_this_place() {
    let bucket = memory();
    assert_eq!(passed(&bucket).await.unwrap(), None);
    ensure_probed(&bucket).await.unwrap();
    let found = passed(&bucket).await.unwrap().unwrap();
    let by = format!("drumlin {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(found, FoundMark { by, at: found.at });
    assert!(found.at.is_some_and(|at| at.0 > 1_700_000_000_000), "{found:?}");
    let place = bucket.place();
    let key = keys::probe_mark(&place.endpoint, &place.bucket);
    bucket.put(&key, Bytes::from_static(b"{}"), PutCondition::Always).await.unwrap();
    assert_eq!(passed(&bucket).await.unwrap(), None, "a mark that cannot be read counts for nothing");
}
