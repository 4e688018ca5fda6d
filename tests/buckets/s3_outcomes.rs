//! What the S3 bucket reports when the store or the network misbehaves: through the real SDK, the
//! real signer and real sockets, each outcome is sorted by what is known of the write.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use drumlin::testing::bucket::probe::{ensure_probed, probe};
use drumlin::testing::bucket::retry::{RetrySettings, Retrying};
use drumlin::testing::bucket::s3::{S3Bucket, S3CustomerKey, S3Encryption, S3Settings};
use drumlin::testing::bucket::{Bucket, BucketError, PutCondition, Stamp};
use drumlin::{CollectionSpec, Consistency, Record, Settings, Storage, Store};
use drumlin_test_servers::{ACCESS_KEY, Asked, BUCKET, Mischief, S3Server, SECRET_KEY};

fn settings(server: &S3Server) -> S3Settings {
    S3Settings {
        endpoint: Some(server.endpoint().into()),
        access_key_id: Some(ACCESS_KEY.into()),
        secret_access_key: Some(SECRET_KEY.into()),
        ..S3Settings::new(BUCKET)
    }
}

async fn started() -> (S3Server, S3Bucket) {
    let server = S3Server::start().await;
    let bucket = S3Bucket::connect(settings(&server)).await.unwrap();
    (server, bucket)
}

async fn create(bucket: &impl Bucket, key: &str) -> Result<Stamp, BucketError> {
    bucket.put(key, Bytes::from_static(b"x"), PutCondition::IfAbsent).await
}

fn is_unknown<T>(answer: &Result<T, BucketError>) -> bool {
    matches!(answer, Err(BucketError::Unknown { .. }))
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, BucketError>) -> String {
    match answer {
        Err(BucketError::Refused { message }) => message,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_sent_once() {
    for (mischief, applied) in
        [(Mischief::Unavailable, false), (Mischief::CutBefore, false), (Mischief::CutAfter, true)]
    {
        let (server, bucket) = started().await;
        server.set_plan(move |_| mischief);
        let answer = create(&bucket, "k").await;
        assert!(is_unknown(&answer), "{mischief:?} gave {answer:?}");
        assert_eq!(server.requests(), 1, "the SDK repeated the call on {mischief:?}");
        assert_eq!(server.keys().len(), usize::from(applied), "{mischief:?}");
    }
}

#[tokio::test]
async fn an_attempt_ends_at_its_time_out_and_may_land_later() {
    let server = S3Server::start().await;
    let settings = S3Settings { attempt_timeout: Duration::from_millis(200), ..settings(&server) };
    let bucket = S3Bucket::connect(settings).await.unwrap();
    server.set_plan(|_| Mischief::SlowMs(1_500));
    let started = Instant::now();
    let answers = tokio::join!(create(&bucket, "k"), bucket.get("other", None), bucket.list("", None));
    let gave_up_after = started.elapsed();
    assert!(is_unknown(&answers.0) && is_unknown(&answers.1) && is_unknown(&answers.2), "{answers:?}");
    assert!(gave_up_after < Duration::from_millis(1_000), "given up after {gave_up_after:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unknown() {
    let (server, bucket) = started().await;
    drop(server);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = bucket.get("k", None).await.map(|object| object.bytes);
    assert!(is_unknown(&answer), "{answer:?}");
}

#[tokio::test]
async fn wrong_credentials_and_a_wrong_bucket_are_refusals_not_missing_objects() {
    let server = S3Server::start().await;
    let wrong = S3Settings { secret_access_key: Some("another".into()), ..settings(&server) };
    let bucket = S3Bucket::connect(wrong).await.unwrap();
    let message = refusal(bucket.get("k", None).await.map(|object| object.bytes));
    assert!(message.contains("403"), "{message}");
    let message = refusal(create(&bucket, "k").await);
    assert!(message.contains("SignatureDoesNotMatch"), "{message}");

    let elsewhere = S3Settings { bucket: "no-such-bucket".into(), ..settings(&server) };
    let bucket = S3Bucket::connect(elsewhere).await.unwrap();
    let message = refusal(bucket.get("k", None).await.map(|object| object.bytes));
    assert!(message.contains("NoSuchBucket"), "{message}");
    let message = refusal(create(&bucket, "k").await);
    assert!(message.contains("NoSuchBucket"), "{message}");
    let failed = ensure_probed(&bucket).await.unwrap_err();
    assert!(failed.message().contains("NoSuchBucket"), "{failed}");
}

#[tokio::test]
async fn an_upload_in_parts_that_fails_leaves_neither_object_nor_parts() {
    let server = S3Server::start().await;
    let settings = S3Settings { multipart_bytes: 1 << 20, part_bytes: 1 << 20, ..settings(&server) };
    let bucket = S3Bucket::connect(settings).await.unwrap();
    let pieces = || vec![Bytes::from(vec![7; 3 << 20]), Bytes::from(vec![8; 1 << 20])];
    server.set_plan(|asked| if asked.path.contains("partNumber=3") { Mischief::Unavailable } else { Mischief::None });
    let answer = bucket.put_large("large", pieces()).await;
    assert!(is_unknown(&answer), "{answer:?}");
    assert_eq!((server.keys().len(), server.open_uploads()), (0, 0));

    let mut failures = 1;
    server.set_plan(move |asked| {
        let hit = asked.path.contains("partNumber=3") && failures > 0;
        failures -= u32::from(hit);
        if hit { Mischief::CutAfter } else { Mischief::None }
    });
    let retrying = Retrying::new(bucket.clone(), RetrySettings::default());
    retrying.put_large("large", pieces()).await.unwrap();
    assert_eq!(server.open_uploads(), 0);
    assert_eq!(bucket.get("large", None).await.unwrap().bytes, pieces().concat());
}

#[tokio::test]
async fn a_store_without_batched_deletes_is_served_one_by_one() {
    let (server, bucket) = started().await;
    let keys: Vec<String> = (0..5).map(|n| format!("k{n}")).collect();
    for key in &keys {
        create(&bucket, key).await.unwrap();
    }
    server.set_plan(|asked| if asked.path.contains("?delete") { Mischief::NotImplemented } else { Mischief::None });
    bucket.delete(&keys).await.unwrap();
    assert_eq!(server.keys(), Vec::<String>::new());
    let before = server.requests();
    bucket.delete(&keys).await.unwrap();
    assert_eq!(server.requests() - before, 5, "the refused batch was tried again");
}

#[tokio::test]
async fn keys_lie_under_the_prefix_and_other_keys_are_not_seen() {
    let server = S3Server::start().await;
    let bucket = |prefix: &str| S3Bucket::connect(S3Settings { prefix: prefix.into(), ..settings(&server) });
    let (inner, root) = (bucket("/a/b").await.unwrap(), bucket("").await.unwrap());
    create(&inner, "k").await.unwrap();
    create(&root, "a/bk").await.unwrap();
    assert_eq!(server.keys(), ["a/b/k", "a/bk"]);
    let listed = |page: drumlin::testing::bucket::Page| page.objects.into_iter().map(|o| o.key).collect::<Vec<_>>();
    assert_eq!(listed(inner.list("", None).await.unwrap()), ["k"]);
    assert_eq!(listed(root.list("a/b/", None).await.unwrap()), ["a/b/k"]);
    assert_eq!(inner.place().location, format!("s3://{}/a/b/", BUCKET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_passes_on_a_sound_server_and_outlives_lost_answers() {
    let (server, bucket) = started().await;
    probe(&bucket, 16).await.unwrap();
    assert_eq!(server.keys(), Vec::<String>::new(), "scratch objects were left");
    server.set_plan(|asked| {
        if asked.path.contains("-0?") && asked.method == "PUT" { Mischief::CutAfter } else { Mischief::None }
    });
    ensure_probed(&bucket).await.unwrap();
    assert_eq!(server.keys().len(), 1);
}

#[tokio::test]
async fn requests_can_be_delayed_for_benches() {
    let (server, bucket) = started().await;
    server.set_latency_ms(120);
    let started = Instant::now();
    create(&bucket, "k").await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn every_request_that_makes_an_object_asks_for_the_encryption_that_is_set() {
    type Asked = Vec<(String, Option<String>, Option<String>)>;
    let kms = |key_id: Option<&str>| S3Encryption::Kms { key_id: key_id.map(str::to_owned) };
    for (encryption, algorithm, key_id) in [
        (Some(S3Encryption::Aes256), Some("AES256"), None),
        (Some(kms(None)), Some("aws:kms"), None),
        (Some(kms(Some("arn:aws:kms:key/1"))), Some("aws:kms"), Some("arn:aws:kms:key/1")),
        (None, None, None),
    ] {
        let server = S3Server::start().await;
        let settings = S3Settings { encryption, multipart_bytes: 1_000, part_bytes: 1_000, ..settings(&server) };
        let bucket = S3Bucket::connect(settings).await.unwrap();
        let asked = Arc::new(Mutex::new(Asked::new()));
        let record = asked.clone();
        server.set_plan(move |asked| {
            let header = |name: &str| asked.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let copy = header("x-amz-copy-source").is_some();
            let what = match (asked.method, copy, asked.path.contains("uploads"), asked.path.contains("partNumber")) {
                ("PUT", true, ..) => "copy",
                ("POST", _, true, _) => "multipart",
                ("PUT", false, _, false) => "put",
                _ => return Mischief::None,
            };
            let algorithm = header("x-amz-server-side-encryption");
            let key_id = header("x-amz-server-side-encryption-aws-kms-key-id");
            record.lock().unwrap().push((what.to_owned(), algorithm, key_id));
            Mischief::None
        });
        let stamp = bucket.put("a", Bytes::from_static(b"x"), PutCondition::IfAbsent).await.unwrap();
        bucket.put("a", Bytes::from_static(b"y"), PutCondition::IfMatch(stamp.etag.unwrap())).await.unwrap();
        bucket.put_large("small", vec![Bytes::from_static(b"x")]).await.unwrap();
        bucket.put_large("large", vec![Bytes::from(vec![7; 2_500])]).await.unwrap();
        bucket.copy("a", "b").await.unwrap();
        let text = |text: Option<&str>| text.map(str::to_owned);
        let expected: Asked = ["put", "put", "put", "multipart", "copy"]
            .map(|what| (what.to_owned(), text(algorithm), text(key_id)))
            .to_vec();
        assert_eq!(*asked.lock().unwrap(), expected);
    }
}

/// 32 times the letter k in base64, and its MD5 (`openssl md5 -binary | base64`).
const CUSTOMER_KEY: (&str, &str) = ("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=", "mT2HRsMGJ5IX5C+0rreZ8Q==");

fn customer(key: &str) -> Option<S3Encryption> {
    Some(S3Encryption::Customer(S3CustomerKey::parse(key).unwrap()))
}

#[tokio::test]
async fn every_request_that_makes_or_reads_an_object_carries_the_customers_key() {
    let server = S3Server::start().await;
    let small = S3Settings { multipart_bytes: 1_000, part_bytes: 1_000, ..settings(&server) };
    let own = S3Settings { encryption: customer(CUSTOMER_KEY.0), ..small.clone() };
    let bucket = S3Bucket::connect(own).await.unwrap();
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let record = asked.clone();
    server.set_plan(move |asked| {
        let header = |name: &str| asked.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let keys = |before: &str| {
            ["algorithm", "key", "key-md5"].map(|part| header(&format!("{before}-encryption-customer-{part}")))
        };
        let expected = ["AES256", CUSTOMER_KEY.0, CUSTOMER_KEY.1].map(|part| Some(part.to_owned()));
        let (own, source) = (keys("x-amz-server-side"), keys("x-amz-copy-source-server-side"));
        let about_objects = !asked.path.contains("list-type") && asked.method != "DELETE";
        assert_eq!(own, if about_objects { expected.clone() } else { [const { None }; 3] }, "{}", asked.path);
        assert_eq!(header("x-amz-server-side-encryption"), None);
        let copy = header("x-amz-copy-source").is_some();
        assert_eq!(source, if copy { expected } else { [const { None }; 3] }, "{}", asked.path);
        let query = ["uploads", "partNumber", "uploadId"].into_iter().find(|word| asked.path.contains(word));
        let what = format!("{} {}", asked.method, if copy { "copy" } else { query.unwrap_or("object") });
        record.lock().unwrap().push(what);
        Mischief::None
    });
    let stamp = bucket.put("a", Bytes::from_static(b"x"), PutCondition::IfAbsent).await.unwrap();
    bucket.put("a", Bytes::from_static(b"yz"), PutCondition::IfMatch(stamp.etag.unwrap())).await.unwrap();
    bucket.put_large("large", vec![Bytes::from(vec![7; 1_500])]).await.unwrap();
    bucket.copy("a", "b").await.unwrap();
    assert_eq!(bucket.get("b", None).await.unwrap().bytes, "yz");
    assert_eq!(bucket.get("large", Some(1_000..1_200)).await.unwrap().bytes.len(), 200);
    assert_eq!(bucket.get("large", Some(0..0)).await.unwrap().size_bytes, 1_500);
    assert_eq!(bucket.list("", None).await.unwrap().objects.len(), 3);
    bucket.delete(&["b".to_owned()]).await.unwrap();
    let parts = ["POST uploads", "PUT partNumber", "PUT partNumber", "POST uploadId"];
    let expected = [&["PUT object", "PUT object"][..], &parts, &["PUT copy", "GET object", "GET object"]].concat();
    let expected = [&expected[..], &["HEAD object", "GET object", "DELETE object"]].concat();
    assert_eq!(*asked.lock().unwrap(), expected);

    // Without the key, or with another, nobody reads; nor is such an object taken for missing.
    server.set_plan(|_| Mischief::None);
    let other = customer("b29vb29vb29vb29vb29vb29vb29vb29vb29vb29vb28=");
    for (encryption, word) in [(None, "customer's key"), (other, "the customer's key is another")] {
        let bucket = S3Bucket::connect(S3Settings { encryption, ..small.clone() }).await.unwrap();
        let message = refusal(bucket.get("a", None).await.map(|object| object.bytes));
        assert!(message.contains(word), "{message}");
        refusal(bucket.get("large", Some(0..0)).await.map(|object| object.bytes));
        refusal(bucket.copy("a", "c").await);
    }
}

#[tokio::test]
async fn a_store_under_a_customers_key_is_read_with_it_only() {
    let server = S3Server::start().await;
    let store = |encryption| {
        let mut store = Settings::new(Storage::S3(S3Settings { encryption, ..settings(&server) }));
        store.maintenance = false;
        // A refusal of this kind may pass, and is waited out.
        store.start_timeout = Duration::from_secs(3);
        Store::open(store)
    };
    let ours = store(customer(CUSTOMER_KEY.0)).await.unwrap();
    let notes = ours.create_collection(CollectionSpec::new("notes")).await.unwrap();
    notes.add([Record::new("a", vec![1.0, 2.0])]).await.unwrap();
    ours.admin().maintain().await.unwrap();
    ours.fork_collection(notes.identity().id, "copy").await.unwrap();
    drop(ours);
    let again = store(customer(CUSTOMER_KEY.0)).await.unwrap();
    for name in ["notes", "copy"] {
        assert_eq!(again.collection(name).await.unwrap().count(Consistency::Strong).await.unwrap(), 1, "{name}");
    }
    for encryption in [None, customer("b29vb29vb29vb29vb29vb29vb29vb29vb29vb29vb28=")] {
        let refused = store(encryption).await.map(drop).unwrap_err();
        assert!(refused.message().contains("customer's key"), "{refused}");
        assert!(!refused.message().contains("a2tra2") && !refused.message().contains("b29vb2"), "{refused}");
    }
}

#[tokio::test]
async fn uploads_in_parts_of_a_process_that_died_are_given_up_after_a_week() {
    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    let server = S3Server::start().await;
    let small = |prefix: &str| S3Settings {
        prefix: prefix.into(),
        multipart_bytes: 1_000,
        part_bytes: 1_000,
        ..settings(&server)
    };
    let bucket = S3Bucket::connect(small("vector_db/")).await.unwrap();
    // The process dies: the upload is neither completed nor aborted.
    let dying = |asked: &Asked<'_>| match (asked.path.contains("uploadId"), asked.method) {
        (true, "POST" | "DELETE") => Mischief::CutBefore,
        _ => Mischief::None,
    };
    server.set_plan(dying);
    let large = || vec![Bytes::from(vec![7; 2_000])];
    let stream = "c/00000000-0000-4000-8000-00000000000a";
    for key in [format!("{stream}/seg/a.parquet"), "catalog/seg/b.parquet".to_owned(), "notes/c.txt".to_owned()] {
        assert!(is_unknown(&bucket.put_large(&key, large()).await), "{key}");
    }
    // Another program's, outside of the store's prefix.
    let other = S3Bucket::connect(small("elsewhere/")).await.unwrap();
    assert!(is_unknown(&other.put_large("catalog/seg/d.parquet", large()).await));
    server.set_plan(|_| Mischief::None);
    assert_eq!(server.open_uploads(), 4);
    server.age_uploads(WEEK - Duration::from_secs(60));
    assert_eq!(bucket.abort_stale_uploads(WEEK).await.unwrap(), 0, "a minute too early");
    server.age_uploads(Duration::from_secs(120));
    let store = Store::open(Settings { maintenance: false, ..Settings::new(Storage::S3(small("vector_db/"))) });
    store.await.unwrap().admin().sweep().await.unwrap();
    assert_eq!(server.open_uploads(), 2, "those of others stay");
    assert_eq!(bucket.abort_stale_uploads(WEEK).await.unwrap(), 0);
}

#[tokio::test]
async fn requests_are_sent_as_they_were_signed_whatever_their_keys_are_made_of() {
    let server = S3Server::start().await;
    let prefix = "a/./b/../c//it's (100 %)+é~[]^|";
    let endpoint = server.endpoint().replace("127.0.0.1", "LocalHost");
    let settings = S3Settings { prefix: prefix.into(), endpoint: Some(endpoint), ..settings(&server) };
    let bucket = S3Bucket::connect(settings).await.unwrap();
    create(&bucket, "k").await.unwrap();
    assert_eq!(server.keys(), [format!("{prefix}/k")]);
    assert_eq!(bucket.get("k", None).await.unwrap().bytes, "x");
}
