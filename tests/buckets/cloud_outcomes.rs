//! What the buckets of Google, Azure and Dropbox report when the store or the network misbehaves, over real
//! sockets: each outcome is sorted by what is known of the write; and whole stores on each of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use drumlin::settings::{AzureSettings, DropboxCredentials, DropboxSettings, GcsSettings, HttpOptions, S3Settings};
use drumlin::testing::bucket::dropbox::DropboxBucket;
use drumlin::testing::bucket::probe::ensure_probed;
use drumlin::testing::bucket::{Bucket, BucketError, PutCondition, Stamp};
use drumlin::{CollectionSpec, Get, Record, Settings, Storage, Store};
use drumlin_test_servers::azure_server::{self, Azure};
use drumlin_test_servers::dropbox_server::{self, Dropbox};
use drumlin_test_servers::gcs_server::{self, Gcs};
use drumlin_test_servers::web::{Answers, WebServer};
use drumlin_test_servers::{ACCESS_KEY, BUCKET, Mischief, S3Server, SECRET_KEY};

fn gcs_settings(server: &WebServer<Gcs>) -> GcsSettings {
    GcsSettings { endpoint: Some(server.endpoint().to_owned()), ..GcsSettings::new(gcs_server::BUCKET) }
}

fn azure_settings(server: &WebServer<Azure>) -> AzureSettings {
    AzureSettings {
        endpoint: Some(server.endpoint().to_owned()),
        access_key: Some(azure_server::KEY.to_owned()),
        ..AzureSettings::new(azure_server::ACCOUNT, azure_server::CONTAINER)
    }
}

fn refresh_token() -> DropboxCredentials {
    DropboxCredentials::Refresh {
        refresh_token: dropbox_server::REFRESH_TOKEN.into(),
        app_key: dropbox_server::APP_KEY.into(),
        app_secret: Some(dropbox_server::APP_SECRET.into()),
    }
}

fn dropbox_settings(server: &WebServer<Dropbox>, credentials: DropboxCredentials) -> DropboxSettings {
    let url = server.endpoint().to_owned();
    DropboxSettings { api_url: url.clone(), content_url: url, ..DropboxSettings::new(credentials) }
}

async fn create(bucket: &dyn Bucket, key: &str) -> Result<Stamp, BucketError> {
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

/// A write whose answer is lost is unknown, sent once, and there or not as it happened.
async fn lose_answers<A: Answers>(server: &WebServer<A>, bucket: &dyn Bucket) {
    // A token that is still to be got would be a request of its own.
    create(bucket, "first").await.unwrap();
    for (key, mischief, applied) in
        [("a", Mischief::Unavailable, false), ("b", Mischief::CutBefore, false), ("c", Mischief::CutAfter, true)]
    {
        let before = server.requests();
        server.set_plan(move |_| mischief);
        let answer = create(bucket, key).await;
        assert!(is_unknown(&answer), "{mischief:?} gave {answer:?}");
        assert_eq!(server.requests() - before, 1, "the call was repeated on {mischief:?}");
        server.set_plan(|_| Mischief::None);
        // 503 from Dropbox asks for a second of patience, which the next call waits for.
        let found = bucket.get(key, None).await.map(|object| object.bytes);
        match found {
            Ok(_) => assert!(applied, "{mischief:?} left an object"),
            Err(BucketError::NotFound { .. }) => assert!(!applied, "{mischief:?} left no object"),
            other => panic!("{mischief:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_sent_once() {
    let server = Gcs::start().await;
    lose_answers(&server, &gcs_settings(&server).connect().unwrap()).await;
    let server = Azure::start().await;
    lose_answers(&server, &azure_settings(&server).connect().unwrap()).await;
    let server = Dropbox::start().await;
    let bucket = DropboxBucket::connect(dropbox_settings(&server, refresh_token())).unwrap();
    lose_answers(&server, &bucket).await;
}

#[tokio::test]
async fn an_attempt_ends_at_its_time_out() {
    let http = HttpOptions { attempt_timeout: Duration::from_millis(200), ..HttpOptions::default() };
    let (google, microsoft, dropbox) = (Gcs::start().await, Azure::start().await, Dropbox::start().await);
    google.set_plan(|_| Mischief::SlowMs(1_500));
    microsoft.set_plan(|_| Mischief::SlowMs(1_500));
    dropbox.set_plan(|_| Mischief::SlowMs(1_500));
    let gcs = GcsSettings { http: http.clone(), ..gcs_settings(&google) }.connect().unwrap();
    let azure = AzureSettings { http: http.clone(), ..azure_settings(&microsoft) }.connect().unwrap();
    let settings = DropboxSettings { http, ..dropbox_settings(&dropbox, refresh_token()) };
    let dropbox = DropboxBucket::connect(settings).unwrap();
    for bucket in [&gcs as &dyn Bucket, &azure, &dropbox] {
        let started = Instant::now();
        let answers = tokio::join!(create(bucket, "k"), bucket.get("other", None), bucket.list("", None));
        let gave_up_after = started.elapsed();
        assert!(is_unknown(&answers.0) && is_unknown(&answers.1) && is_unknown(&answers.2), "{answers:?}");
        assert!(gave_up_after < Duration::from_millis(1_000), "given up after {gave_up_after:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_a_refusal_not_a_missing_object() {
    let (google, microsoft) = (Gcs::start().await, Azure::start().await);
    let gcs = GcsSettings { bucket: "another".into(), ..gcs_settings(&google) }.connect().unwrap();
    let azure = AzureSettings { container: "another".into(), ..azure_settings(&microsoft) }.connect().unwrap();
    for (bucket, code) in [(&gcs as &dyn Bucket, "NoSuchBucket"), (&azure, "ContainerNotFound")] {
        let message = refusal(bucket.get("k", None).await.map(|object| object.bytes));
        assert!(message.contains(code), "{message}");
        assert!(refusal(create(bucket, "k").await).contains(code));
        assert!(refusal(bucket.list("", None).await).contains(code));
        let failed = ensure_probed(bucket).await.unwrap_err();
        assert!(failed.message().contains(code), "{failed}");
    }
}

#[tokio::test]
async fn a_write_too_soon_after_another_is_unknown_on_google() {
    let server = Gcs::start().await;
    server.with(|google| google.limit_rewrites(Duration::from_secs(5)));
    let bucket = gcs_settings(&server).connect().unwrap();
    let stamp = create(&bucket, "k").await.unwrap();
    let again = bucket.put("k", Bytes::from_static(b"y"), PutCondition::IfMatch(stamp.etag.unwrap())).await;
    let Err(BucketError::Unknown { message, .. }) = again else { panic!("{again:?}") };
    assert!(message.contains("429"), "{message}");
}

#[tokio::test]
async fn an_upload_in_parts_that_fails_leaves_no_object() {
    let http = HttpOptions { multipart_bytes: 1 << 20, part_bytes: 5 << 20, ..HttpOptions::default() };
    let (google, microsoft, dropbox) = (Gcs::start().await, Azure::start().await, Dropbox::start().await);
    google.set_plan(|asked| if asked.path.contains("partNumber=2") { Mischief::Unavailable } else { Mischief::None });
    microsoft.set_plan(|asked| if asked.path.contains("blocklist") { Mischief::Unavailable } else { Mischief::None });
    dropbox.set_plan(|asked| if asked.path.contains("finish") { Mischief::CutBefore } else { Mischief::None });
    let gcs = GcsSettings { http: http.clone(), ..gcs_settings(&google) }.connect().unwrap();
    let azure = AzureSettings { http: http.clone(), ..azure_settings(&microsoft) }.connect().unwrap();
    let settings = DropboxSettings { http, ..dropbox_settings(&dropbox, refresh_token()) };
    let boxed = DropboxBucket::connect(settings).unwrap();
    for bucket in [&gcs as &dyn Bucket, &azure, &boxed] {
        let pieces = vec![Bytes::from(vec![7; 6 << 20]), Bytes::from(vec![8; 1 << 20])];
        let answer = bucket.put_large("large", pieces).await;
        assert!(is_unknown(&answer), "{answer:?}");
    }
    assert_eq!(google.with(|google| (google.keys().len(), google.open_uploads())), (0, 0));
    assert_eq!(microsoft.with(|azure| azure.keys().len()), 0);
    assert_eq!(dropbox.with(|dropbox| dropbox.paths().len()), 0);
}

#[tokio::test]
async fn a_copy_that_azure_makes_in_the_background_is_waited_for() {
    let server = Azure::start().await;
    let bucket = azure_settings(&server).connect().unwrap();
    create(&bucket, "from").await.unwrap();
    server.with(|azure| azure.slow_copies(3));
    let before = server.requests();
    bucket.copy("from", "to").await.unwrap();
    assert_eq!(server.requests() - before, 5, "one copy, three looks while it is under way and one after");
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_and_the_call_repeated() {
    let server = Dropbox::start().await;
    let bucket = Arc::new(DropboxBucket::connect(dropbox_settings(&server, refresh_token())).unwrap());
    create(&*bucket, "k").await.unwrap();
    assert_eq!(server.with(|dropbox| dropbox.tokens_granted()), 1);
    server.with(Dropbox::revoke_tokens);
    let reads = (0..8).map(|_| {
        let bucket = bucket.clone();
        tokio::spawn(async move { bucket.get("k", None).await.map(|object| object.bytes) })
    });
    for read in reads.collect::<Vec<_>>() {
        assert_eq!(read.await.unwrap().unwrap(), "x");
    }
    assert_eq!(server.with(|dropbox| dropbox.tokens_granted()), 2, "eight callers renewed it more than once");
}

#[tokio::test]
async fn a_token_that_nothing_renews_and_wrong_secrets_are_refusals_that_say_what_to_do() {
    let server = Dropbox::start().await;
    let token = server.with(Dropbox::grant_token);
    let settings = dropbox_settings(&server, DropboxCredentials::AccessToken(token));
    let bucket = DropboxBucket::connect(settings).unwrap();
    create(&bucket, "k").await.unwrap();
    server.with(Dropbox::revoke_tokens);
    let message = refusal(create(&bucket, "l").await);
    assert!(message.contains("DROPBOX_REFRESH_TOKEN"), "{message}");
    let wrong = DropboxCredentials::Refresh {
        refresh_token: "hush".into(),
        app_key: dropbox_server::APP_KEY.into(),
        app_secret: Some("hush".into()),
    };
    let bucket = DropboxBucket::connect(dropbox_settings(&server, wrong)).unwrap();
    let message = refusal(create(&bucket, "m").await);
    assert!(message.contains("refresh token") && !message.contains("hush"), "{message}");
}

#[tokio::test]
async fn a_busy_dropbox_is_left_alone_for_as_long_as_it_asks() {
    let server = Dropbox::start().await;
    let bucket = DropboxBucket::connect(dropbox_settings(&server, refresh_token())).unwrap();
    create(&bucket, "first").await.unwrap();
    server.with(|dropbox| dropbox.be_busy(Duration::from_secs(2)));
    let started = Instant::now();
    let answer = create(&bucket, "k").await;
    assert!(is_unknown(&answer), "{answer:?}");
    create(&bucket, "k").await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(1_900), "{:?}", started.elapsed());
    assert_eq!(server.with(|dropbox| dropbox.calls_while_busy()), 1);
}

#[tokio::test]
async fn in_dropbox_keys_that_differ_in_case_differ_and_foreign_files_are_not_seen() {
    let server = Dropbox::start().await;
    let bucket = DropboxBucket::connect(dropbox_settings(&server, refresh_token())).unwrap();
    server.with(|dropbox| dropbox.add_file("/vector_db/Notes of mine.txt"));
    for key in ["a/HEAD", "a/head", "a/Head"] {
        bucket.put(key, Bytes::from(key), PutCondition::IfAbsent).await.unwrap();
    }
    for key in ["a/HEAD", "a/head", "a/Head"] {
        assert_eq!(bucket.get(key, None).await.unwrap().bytes, key);
    }
    let listed: Vec<_> = bucket.list("", None).await.unwrap().objects.into_iter().map(|o| o.key).collect();
    assert_eq!(listed, ["a/HEAD", "a/Head", "a/head"]);
    assert!(server.with(|dropbox| dropbox.paths()).contains(&"/vector_db/a/^head".to_owned()));
}

/// Opens a store, writes, closes, opens it anew and reads.
async fn store_comes_back(storage: Storage) {
    let settings = || {
        let mut settings = Settings::new(storage.clone());
        settings.timing.flush_commits = 4;
        settings
    };
    let store = Store::open(settings()).await.unwrap();
    let notes = store.create_collection(CollectionSpec::new("notes")).await.unwrap();
    for n in 0..10 {
        notes.add([Record::new(format!("r{n}"), vec![n as f32, 1.0])]).await.unwrap();
    }
    store.admin().maintain().await.unwrap();
    store.close(Duration::from_secs(10)).await.unwrap();
    let store = Store::open(settings()).await.unwrap();
    store.wait_until_loaded().await;
    let found = store.collection("notes").await.unwrap().get(Get::default()).await.unwrap();
    assert_eq!(found.records.len(), 10);
    store.close(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_google_comes_back_and_keeps_its_pace() {
    let server = Gcs::start().await;
    server.with(|google| google.limit_rewrites(Duration::from_secs(1)));
    store_comes_back(Storage::Gcs(gcs_settings(&server))).await;
    assert!(server.with(|google| google.keys()).contains(&"vector_db/drumlin.json".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_azure_comes_back() {
    let server = Azure::start().await;
    store_comes_back(Storage::Azure(azure_settings(&server))).await;
    assert!(server.with(|azure| azure.keys()).contains(&"vector_db/drumlin.json".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_dropbox_comes_back() {
    let server = Dropbox::start().await;
    store_comes_back(Storage::Dropbox(dropbox_settings(&server, refresh_token()))).await;
    assert!(server.with(|dropbox| dropbox.paths()).contains(&"/vector_db/drumlin.json".to_owned()));
}

fn r2_settings(server: &S3Server) -> S3Settings {
    S3Settings {
        endpoint: Some(server.endpoint().to_owned()),
        access_key_id: Some(ACCESS_KEY.to_owned()),
        secret_access_key: Some(SECRET_KEY.to_owned()),
        ..S3Settings::r2("account", BUCKET)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_collection_goes_on_where_one_write_a_second_and_key_is_taken() {
    let server = S3Server::start().await;
    server.limit_rewrites(Duration::from_secs(1));
    let mut settings = Settings::new(Storage::S3(r2_settings(&server)));
    // A flush, and with it a swap of HEAD, is due more than once a second.
    (settings.timing.flush_commits, settings.timing.fan_out) = (4, 2);
    settings.timing.maintenance_interval = Duration::from_millis(100);
    let store = Store::open(settings.clone()).await.unwrap();
    // The losers of the probe's races are refused, as they should be.
    let raced = server.refused_rewrites();
    let notes = store.create_collection(CollectionSpec::new("notes")).await.unwrap();
    let started = Instant::now();
    let mut written = 0;
    while started.elapsed() < Duration::from_secs(6) {
        notes.add([Record::new(format!("r{written}"), vec![written as f32, 1.0])]).await.unwrap();
        written += 1;
    }
    store.close(Duration::from_secs(20)).await.unwrap();
    assert_eq!(server.refused_rewrites(), raced, "a key was written twice in a second");
    let swapped = server.keys().iter().filter(|key| key.contains("/seg/")).count();
    assert!(written >= 20 && swapped >= 3, "{written} adds and {swapped} segments are no test of it");
    let store = Store::open(settings).await.unwrap();
    store.wait_until_loaded().await;
    let found = store.collection("notes").await.unwrap().get(Get::default()).await.unwrap();
    assert_eq!(found.records.len(), written);
}

#[tokio::test]
async fn without_that_pace_such_a_store_answers_429_and_the_probe_says_so() {
    let server = S3Server::start().await;
    server.limit_rewrites(Duration::from_secs(1));
    let hasty = S3Settings { rewrite_pause: Duration::ZERO, ..r2_settings(&server) };
    let settings = Settings { start_timeout: Duration::from_secs(5), ..Settings::new(Storage::S3(hasty)) };
    let error = Store::open(settings).await.unwrap_err();
    assert!(error.message().contains("429"), "{error}");
    assert!(server.refused_rewrites() > 0);
}
