//! What each injected fault does to the bucket beneath and to the caller.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::call::Op;
use super::clock::StoreClock;
use super::fault::{Fault, FaultBucket, Hold, Odds, only, random};
use super::memory::MemoryBucket;
use super::{Bucket, BucketError, PutCondition, Stamp, StoreTime};

fn faulty(fault: Fault) -> (Arc<MemoryBucket>, Arc<FaultBucket>) {
    let memory = Arc::new(MemoryBucket::new(StoreClock::starting_at(StoreTime(1_000_000))));
    let bucket = FaultBucket::new(memory.clone());
    bucket.set_plan(only(0, fault));
    (memory, Arc::new(bucket))
}

async fn create(bucket: &dyn Bucket, key: &str) -> Result<Stamp, BucketError> {
    bucket.put(key, Bytes::from_static(b"x"), PutCondition::IfAbsent).await
}

async fn is_there(bucket: &dyn Bucket, key: &str) -> bool {
    bucket.get(key, None).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn each_fault_reports_and_applies_what_its_name_says() {
    let (hung, landed) = (Fault::Hang { applied: false }, Fault::Hang { applied: true });
    for (fault, definite, applied, takes_ms) in [
        (Fault::RefuseBefore, true, false, 0),
        (Fault::UnknownBefore, false, false, 0),
        (Fault::UnknownAfter, false, true, 0),
        (hung, false, false, 30_000),
        (landed, false, true, 30_000),
    ] {
        let (memory, bucket) = faulty(fault);
        let started = Instant::now();
        let answer = create(&*bucket, "k").await;
        match answer {
            Err(BucketError::Refused { .. }) => assert!(definite, "{fault:?}"),
            Err(BucketError::Unknown { .. }) => assert!(!definite, "{fault:?}"),
            other => panic!("{fault:?} answered {other:?}"),
        }
        assert_eq!(started.elapsed(), Duration::from_millis(takes_ms), "{fault:?}");
        assert_eq!(is_there(&*memory, "k").await, applied, "{fault:?}");
        assert!(create(&*bucket, "other").await.is_ok(), "only call 0 was to meet {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_arrives_late_and_a_late_one_after_its_answer() {
    let (memory, bucket) = faulty(Fault::SlowMs(700));
    let (slow, ()) = tokio::join!(create(&*bucket, "k"), async {
        sleep(Duration::from_millis(699)).await;
        assert!(!is_there(&*memory, "k").await);
    });
    assert_eq!(slow.unwrap().date, Some(StoreTime(1_000_700)));

    let (memory, bucket) = faulty(Fault::AppliedLateMs(700));
    let answer = create(&*bucket, "k").await;
    assert!(matches!(answer, Err(BucketError::Unknown { .. })), "{answer:?}");
    assert!(!is_there(&*memory, "k").await);
    sleep(Duration::from_millis(701)).await;
    assert!(is_there(&*memory, "k").await);
}

#[tokio::test(start_paused = true)]
async fn a_late_create_gives_way_to_one_that_came_first() {
    let (memory, bucket) = faulty(Fault::AppliedLateMs(700));
    let answer = bucket.put("k", Bytes::from_static(b"late"), PutCondition::IfAbsent).await;
    assert!(matches!(answer, Err(BucketError::Unknown { .. })), "{answer:?}");
    create(&*bucket, "k").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(memory.get("k", None).await.unwrap().bytes, "x");
}

#[tokio::test(start_paused = true)]
async fn dates_are_skewed_on_success_and_error_alike_and_listings_lag() {
    let (_, bucket) = faulty(Fault::None);
    bucket.set_plan(|call| if call.op == Op::List { Fault::ListLagMs(5_000) } else { Fault::DateSkewMs(-1_000) });
    assert_eq!(create(&*bucket, "k").await.unwrap().date, Some(StoreTime(999_000)));
    let expected = BucketError::Exists { date: Some(StoreTime(999_000)) };
    assert_eq!(create(&*bucket, "k").await, Err(expected));
    assert_eq!(bucket.list("", None).await.unwrap().objects.len(), 0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(bucket.list("", None).await.unwrap().objects.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_reaches_nothing_and_hears_nothing() {
    for applied in [false, true] {
        let (memory, bucket) = faulty(Fault::Die { applied });
        let hour = Duration::from_secs(3600);
        assert!(timeout(hour, create(&*bucket, "first")).await.is_err(), "the dead got an answer");
        assert!(timeout(hour, create(&*bucket, "second")).await.is_err(), "the dead got an answer");
        assert_eq!(is_there(&*memory, "first").await, applied);
        assert!(!is_there(&*memory, "second").await);
        assert!(bucket.is_dead());
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_holds_a_call_on_either_side_of_the_bucket() {
    for (hold, applied) in [(Hold::Before, false), (Hold::After, true)] {
        let (memory, bucket) = faulty(Fault::None);
        let mut gate = bucket.hold(hold, |call| call.op == Op::Create && call.key.ends_with("/log/7"));
        let stalled = tokio::spawn({
            let bucket = bucket.clone();
            async move { create(&*bucket, "c/log/7").await }
        });
        gate.reached().await;
        sleep(Duration::from_secs(86_400)).await;
        assert!(!stalled.is_finished(), "{hold:?}");
        assert_eq!(is_there(&*memory, "c/log/7").await, applied, "{hold:?}");
        create(&*bucket, "c/log/8").await.unwrap();
        assert_eq!(gate.held(), 1);
        gate.release();
        assert!(stalled.await.unwrap().is_ok());
        assert!(is_there(&*memory, "c/log/7").await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_gate_is_open() {
    let (_, bucket) = faulty(Fault::None);
    drop(bucket.hold(Hold::Before, |_| true));
    create(&*bucket, "k").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_numbers_calls_and_a_seed_repeats_its_faults() {
    let odds =
        Odds { refused: 0.2, unknown_before: 0.2, unknown_after: 0.2, slow: 0.2, longest_ms: 9, ..Odds::default() };
    let run = async |seed: u64| {
        let (_, bucket) = faulty(Fault::None);
        bucket.set_plan(random(seed, odds));
        let mut answers = Vec::new();
        for n in 0..64 {
            answers.push(create(&*bucket, &format!("k{n}")).await.is_ok());
        }
        let log = bucket.log();
        assert_eq!((log[63].index, log[63].op, log[63].key.as_str()), (63, Op::Create, "k63"));
        answers
    };
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first, run(2).await);
    let succeeded = first.iter().filter(|ok| **ok).count();
    assert!((13..=38).contains(&succeeded), "{succeeded} of 64 succeeded, 2 of 5 were to");
}
