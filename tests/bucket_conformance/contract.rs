//! The one suite that every bucket has to pass, whatever stands behind it: what the protocol takes
//! for granted (docs/protocol.md#store-promises). Each check works below a prefix of its own, so that checks may run at
//! once on one bucket, and cleans up after itself.

use std::sync::Arc;

use bytes::Bytes;
use drumlin::testing::bucket::probe::probe;
use drumlin::testing::bucket::{Bucket, BucketError, Object, PAGE_KEYS, PutCondition};
use futures::future::join_all;
use ulid::Ulid;

/// A bucket under test.
pub struct Subject {
    /// The bucket.
    pub bucket: Arc<dyn Bucket>,
    /// How many racers to send at one key.
    pub racers: usize,
    /// A size from which `put_large` takes the store's way for large objects, in bytes.
    pub large_bytes: usize,
    /// Whether "a-b" is listed before "a/b", as S3 does; SeaweedFS sorts by the names in a directory. No
    /// two of Drumlin's own keys tell the difference: no name is the beginning of another beside it.
    pub lists_by_bytes: bool,
    /// Keeps a server or a folder alive as long as the bucket is used.
    pub _keeps: Box<dyn std::any::Any + Send + Sync>,
}

fn fresh(name: &str) -> String {
    format!("conformance/{}/{name}", Ulid::generate())
}

async fn body(bucket: &dyn Bucket, key: &str) -> Bytes {
    bucket.get(key, None).await.unwrap().bytes
}

async fn put(bucket: &dyn Bucket, key: &str, text: &str) -> String {
    let stamp = bucket.put(key, Bytes::from(text.to_owned()), PutCondition::Always).await.unwrap();
    stamp.etag.expect("a put hands out a tag")
}

async fn remove(bucket: &dyn Bucket, keys: &[&str]) {
    let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
    bucket.delete(&keys).await.unwrap();
}

fn is_definite_no(answer: &Result<impl std::fmt::Debug, BucketError>) -> bool {
    matches!(answer, Err(BucketError::Exists { .. } | BucketError::NotFound { .. }))
}

/// Sends `racers` conditional puts with different bodies at one key; answers with the winners' numbers.
/// A loser must say Exists, or 409 as Unknown, which AWS answers to some of the conditional puts that cross.
async fn race(subject: &Subject, key: &str, condition: PutCondition) -> Vec<usize> {
    let puts = (0..subject.racers).map(|racer| {
        let (bucket, key, condition) = (subject.bucket.clone(), key.to_owned(), condition.clone());
        tokio::spawn(async move { bucket.put(&key, Bytes::from(format!("racer {racer}")), condition).await })
    });
    let answers: Vec<_> = join_all(puts).await.into_iter().map(|joined| joined.unwrap()).collect();
    for answer in &answers {
        let lost = matches!(answer, Err(BucketError::Exists { .. } | BucketError::Unknown { .. }));
        assert!(answer.is_ok() || lost, "a loser got {answer:?}");
    }
    (0..answers.len()).filter(|racer| answers[*racer].is_ok()).collect()
}

pub async fn of_concurrent_creators_exactly_one_wins_and_its_body_stays(subject: Subject) {
    for round in 0..4 {
        let key = fresh(&format!("create-{round}"));
        let winners = race(&subject, &key, PutCondition::IfAbsent).await;
        assert_eq!(winners.len(), 1, "racers {winners:?} all created {key}");
        assert_eq!(body(&*subject.bucket, &key).await, format!("racer {}", winners[0]));
        remove(&*subject.bucket, &[&key]).await;
    }
}

pub async fn a_create_on_an_existing_key_is_refused_and_keeps_the_body(subject: Subject) {
    let (bucket, key) = (&*subject.bucket, fresh("existing"));
    bucket.put(&key, Bytes::from_static(b"first"), PutCondition::IfAbsent).await.unwrap();
    let second = bucket.put(&key, Bytes::from_static(b"second"), PutCondition::IfAbsent).await;
    assert!(matches!(second, Err(BucketError::Exists { .. })), "{second:?}");
    assert_eq!(body(bucket, &key).await, "first");
    remove(bucket, &[&key]).await;
    bucket.put(&key, Bytes::from_static(b"third"), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(body(bucket, &key).await, "third");
    remove(bucket, &[&key]).await;
}

pub async fn a_swap_needs_the_present_tag(subject: Subject) {
    let (bucket, key) = (&*subject.bucket, fresh("swap"));
    let on_absent = bucket.put(&key, Bytes::from_static(b"x"), PutCondition::IfMatch("\"absent\"".into())).await;
    assert!(is_definite_no(&on_absent), "{on_absent:?}");
    let gone = bucket.get(&key, None).await.map(|object| object.bytes);
    assert!(matches!(gone, Err(BucketError::NotFound { .. })), "{gone:?}");

    let first = put(bucket, &key, "one").await;
    let read = bucket.get(&key, None).await.unwrap().stamp.etag.unwrap();
    assert_eq!(first, read, "put and get must name the same tag");
    let second = bucket.put(&key, Bytes::from_static(b"two"), PutCondition::IfMatch(first.clone())).await.unwrap();
    let second = second.etag.expect("a swap hands out a tag");
    assert_ne!(first, second);
    let stale = bucket.put(&key, Bytes::from_static(b"three"), PutCondition::IfMatch(first)).await;
    assert!(matches!(stale, Err(BucketError::Exists { .. })), "{stale:?}");
    assert_eq!(body(bucket, &key).await, "two");
    remove(bucket, &[&key]).await;
    let after_delete = bucket.put(&key, Bytes::from_static(b"four"), PutCondition::IfMatch(second)).await;
    assert!(is_definite_no(&after_delete), "{after_delete:?}");
}

pub async fn of_concurrent_swaps_with_one_tag_exactly_one_wins(subject: Subject) {
    let key = fresh("swap-race");
    let mut tag = put(&*subject.bucket, &key, "start").await;
    for round in 0..4 {
        let winners = race(&subject, &key, PutCondition::IfMatch(tag)).await;
        assert_eq!(winners.len(), 1, "racers {winners:?} all swapped in round {round}");
        let now = subject.bucket.get(&key, None).await.unwrap();
        assert_eq!(now.bytes, format!("racer {}", winners[0]));
        // A body that no racer writes, so that the tag is new even where it is a hash of the body.
        let next = Bytes::from(format!("round {round}"));
        let swapped = subject.bucket.put(&key, next, PutCondition::IfMatch(now.stamp.etag.unwrap())).await.unwrap();
        tag = swapped.etag.unwrap();
    }
    remove(&*subject.bucket, &[&key]).await;
}

pub async fn what_was_written_is_read_at_once_and_what_was_deleted_is_not(subject: Subject) {
    let (bucket, key) = (&*subject.bucket, fresh("fresh"));
    for round in 0..8 {
        let missing = bucket.get(&key, None).await.map(|object| object.bytes);
        assert!(matches!(missing, Err(BucketError::NotFound { date: Some(_) })), "{missing:?}");
        put(bucket, &key, &format!("written {round}")).await;
        assert_eq!(body(bucket, &key).await, format!("written {round}"));
        put(bucket, &key, &format!("overwritten {round}")).await;
        assert_eq!(body(bucket, &key).await, format!("overwritten {round}"));
        remove(bucket, &[&key]).await;
    }
}

pub async fn a_range_is_cut_at_the_end_of_the_object(subject: Subject) {
    let (bucket, key) = (&*subject.bucket, fresh("range"));
    put(bucket, &key, "0123456789").await;
    for (range, expected) in
        [(0..10, "0123456789"), (2..5, "234"), (9..10, "9"), (7..100, "789"), (10..20, ""), (50..60, ""), (4..4, "")]
    {
        let Object { bytes, size_bytes, .. } = bucket.get(&key, Some(range.clone())).await.unwrap();
        assert_eq!((bytes, size_bytes), (Bytes::from_static(expected.as_bytes()), 10), "{range:?}");
    }
    remove(bucket, &[&key]).await;
    for range in [0..1, 3..3] {
        let missing = bucket.get(&key, Some(range)).await.map(|object| object.bytes);
        assert!(matches!(missing, Err(BucketError::NotFound { .. })), "{missing:?}");
    }
}

pub async fn an_empty_object_is_an_object(subject: Subject) {
    let (bucket, key) = (&*subject.bucket, fresh("empty"));
    bucket.put(&key, Bytes::new(), PutCondition::IfAbsent).await.unwrap();
    let again = bucket.put(&key, Bytes::new(), PutCondition::IfAbsent).await;
    assert!(matches!(again, Err(BucketError::Exists { .. })), "{again:?}");
    let found = bucket.get(&key, None).await.unwrap();
    assert_eq!((found.bytes.len(), found.size_bytes), (0, 0));
    let page = bucket.list(&key, None).await.unwrap();
    assert_eq!(page.objects.iter().map(|listed| listed.size_bytes).collect::<Vec<_>>(), [0]);
    remove(bucket, &[&key]).await;
    bucket.put_large(&key, Vec::new()).await.unwrap();
    assert_eq!(body(bucket, &key).await, "");
    remove(bucket, &[&key]).await;
}

pub async fn a_listing_pages_through_more_than_a_thousand_keys_in_order(subject: Subject) {
    let (bucket, root) = (&*subject.bucket, fresh("list"));
    let mut expected: Vec<String> = (0..PAGE_KEYS + 5).map(|n| format!("{root}/in/{n:05}")).collect();
    for chunk in expected.chunks(32) {
        join_all(chunk.iter().map(|key| put(bucket, key, key))).await;
    }
    let around = [format!("{root}/in-"), format!("{root}/in.x"), format!("{root}/io/1"), format!("{root}/im")];
    for key in &around {
        put(bucket, key, "beside").await;
    }

    let mut listed = Vec::new();
    let mut pages = 0;
    loop {
        let page = bucket.list(&format!("{root}/in/"), listed.last().map(String::as_str)).await.unwrap();
        assert!(page.date.is_some());
        for object in page.objects {
            assert_eq!(object.size_bytes, object.key.len() as u64);
            assert!(object.last_modified.is_some());
            listed.push(object.key);
        }
        pages += 1;
        if !page.more {
            break;
        }
        assert!(pages < 50, "the listing does not end");
    }
    assert!(pages >= 2, "more than {PAGE_KEYS} keys in one page");
    assert_eq!(listed, expected);

    let half = bucket.list(&format!("{root}/in/010"), Some(&format!("{root}/in/01002"))).await.unwrap();
    let half: Vec<_> = half.objects.into_iter().map(|object| object.key).collect();
    assert_eq!(half, [format!("{root}/in/01003"), format!("{root}/in/01004")]);
    let by_text: Vec<_> = bucket.list(&format!("{root}/i"), None).await.unwrap().objects;
    let first: Vec<_> = by_text.iter().take(4).map(|object| object.key.clone()).collect();
    if subject.lists_by_bytes {
        assert_eq!(first, [format!("{root}/im"), format!("{root}/in-"), format!("{root}/in.x"), expected[0].clone()]);
    } else {
        assert_eq!(first[0], format!("{root}/im"));
    }
    let nothing = bucket.list(&format!("{root}/none/"), None).await.unwrap();
    assert!(nothing.objects.is_empty() && !nothing.more, "{nothing:?}");

    // One batch of more than a store takes at once, with one absent key in it.
    expected.extend(around);
    expected.push(format!("{root}/in/never-written"));
    bucket.delete(&expected).await.unwrap();
    let left = bucket.list(&root, None).await.unwrap().objects;
    assert_eq!(left, [], "a batched delete left objects");
}

pub async fn deleting_what_is_absent_is_no_error(subject: Subject) {
    let key = fresh("absent");
    remove(&*subject.bucket, &[&key]).await;
    remove(&*subject.bucket, &[&key, &format!("{key}/below")]).await;
    remove(&*subject.bucket, &[]).await;
}

pub async fn a_large_object_arrives_whole(subject: Subject) {
    let (bucket, key) = (&*subject.bucket, fresh("large"));
    // Pieces of odd sizes, so that parts and pieces do not end together; never twice the same bytes.
    let mut next = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pieces = Vec::new();
    let mut total = 0;
    while total <= subject.large_bytes {
        let length = 1_000_003 + (next % 777_777) as usize;
        let piece: Vec<u8> = (0..length.div_ceil(8))
            .flat_map(|_| {
                next ^= next << 13;
                next ^= next >> 7;
                next ^= next << 17;
                next.to_le_bytes()
            })
            .collect();
        total += piece.len();
        pieces.push(Bytes::from(piece));
    }
    put(bucket, &key, "something smaller").await;
    let whole = pieces.concat();
    bucket.put_large(&key, pieces).await.unwrap();
    let found = bucket.get(&key, None).await.unwrap();
    assert_eq!(found.size_bytes, whole.len() as u64);
    assert!(found.bytes == whole, "the object's bytes are not those put");
    let middle = bucket.get(&key, Some(1_000_000..1_100_000)).await.unwrap().bytes;
    assert!(middle == whole[1_000_000..1_100_000], "a range of the object's bytes are not those put");
    remove(bucket, &[&key]).await;
}

pub async fn a_copy_has_the_bytes_and_stands_alone(subject: Subject) {
    let (bucket, from, to) = (&*subject.bucket, fresh("copy from+ü"), fresh("copy to"));
    put(bucket, &from, "content").await;
    bucket.copy(&from, &to).await.unwrap();
    remove(bucket, &[&from]).await;
    assert_eq!(body(bucket, &to).await, "content");
    let missing = bucket.copy(&from, &to).await;
    assert!(matches!(missing, Err(BucketError::NotFound { .. })), "{missing:?}");
    assert_eq!(body(bucket, &to).await, "content");
    remove(bucket, &[&to]).await;
}

pub async fn unusual_keys_are_kept_to_the_letter_and_impossible_ones_refused(subject: Subject) {
    let (bucket, root) = (&*subject.bucket, fresh("k"));
    let names = ["a b", "a+b", "a%20b", "A", "é/ü", "~!@$&*()'=;:,?[]{}^|<>\"", "..x/.y", "100%", "日本"];
    for name in names {
        put(bucket, &format!("{root}/{name}"), name).await;
    }
    for name in names {
        assert_eq!(body(bucket, &format!("{root}/{name}")).await, name);
    }
    let mut expected: Vec<String> = names.iter().map(|name| format!("{root}/{name}")).collect();
    expected.sort();
    let listed: Vec<_> = bucket.list(&root, None).await.unwrap().objects.into_iter().map(|o| o.key).collect();
    assert_eq!(listed, expected);
    bucket.delete(&expected).await.unwrap();
    let left = bucket.list(&root, None).await.unwrap().objects;
    assert_eq!(left, []);

    for key in ["", "/x", "x/", "x//y", "../x", "x/../../y", "x/./y", "x\ny"] {
        let get = bucket.get(key, None).await.map(|object| object.bytes);
        let put = bucket.put(key, Bytes::new(), PutCondition::Always).await;
        for refused in [get.map(drop), put.map(drop), bucket.delete(&[key.to_owned()]).await] {
            assert!(matches!(refused, Err(BucketError::Refused { .. })), "{key:?} gave {refused:?}");
        }
    }
}

pub async fn every_answer_carries_the_stores_time(subject: Subject) {
    let (bucket, key) = (&*subject.bucket, fresh("dates"));
    let put = bucket.put(&key, Bytes::from_static(b"x"), PutCondition::IfAbsent).await.unwrap().date.unwrap();
    let exists = bucket.put(&key, Bytes::from_static(b"y"), PutCondition::IfAbsent).await;
    let Err(BucketError::Exists { date: Some(exists) }) = exists else { panic!("{exists:?}") };
    let got = bucket.get(&key, None).await.unwrap().stamp;
    let (read, modified) = (got.date.unwrap(), got.last_modified.unwrap());
    let ranged = bucket.get(&key, Some(0..1)).await.unwrap().stamp.date.unwrap();
    let listed = bucket.list(&key, None).await.unwrap();
    assert_eq!(listed.objects[0].last_modified, Some(modified));
    remove(bucket, &[&key]).await;
    let missing = bucket.get(&key, None).await.map(|object| object.bytes);
    let Err(BucketError::NotFound { date: Some(missing) }) = missing else { panic!("{missing:?}") };

    let dates = [put, exists, read, ranged, listed.date.unwrap(), missing];
    assert!(dates.is_sorted(), "store time went back: {dates:?}");
    // A store tells time in whole seconds, and may round it up or down.
    assert!(modified.since_ms(put).abs() <= 2_000, "written at {put:?}, modified at {modified:?}");
}

pub async fn a_reader_never_sees_half_an_overwrite(subject: Subject) {
    let key = fresh("torn");
    let filled = |round: u8| Bytes::from(vec![round; 300_000 + usize::from(round) * 1_000]);
    subject.bucket.put(&key, filled(0), PutCondition::Always).await.unwrap();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (bucket, key) = (subject.bucket.clone(), key.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    let found = bucket.get(&key, None).await.unwrap();
                    let round = found.bytes[0];
                    assert_eq!(found.bytes.len(), 300_000 + usize::from(round) * 1_000);
                    assert!(found.bytes.iter().all(|byte| *byte == round), "bytes of two writes in one read");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for round in 1..=20 {
        subject.bucket.put(&key, filled(round), PutCondition::Always).await.unwrap();
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(subject.bucket.get(&key, None).await.unwrap().bytes, filled(20));
    remove(&*subject.bucket, &[&key]).await;
}

pub async fn the_probe_lets_it_pass(subject: Subject) {
    probe(&*subject.bucket, subject.racers).await.unwrap();
    let left = subject.bucket.list("probe/scratch/", None).await.unwrap().objects;
    assert_eq!(left, [], "scratch objects were left");
}
