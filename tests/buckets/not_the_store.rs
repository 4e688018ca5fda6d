//! What the buckets make of answers that are none of the store's: a captive portal's page, a maintenance
//! page, half a body, an error inside a success. Over real sockets and the real clients: whatever does not
//! prove to be the store's answer is of unknown outcome, and nothing is believed of it.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use drumlin::settings::{AzureSettings, DropboxCredentials, DropboxSettings, GcsSettings, HttpOptions};
use drumlin::testing::bucket::dropbox::DropboxBucket;
use drumlin::testing::bucket::s3::{S3Bucket, S3Settings};
use drumlin::testing::bucket::{Bucket, BucketError, PutCondition};
use drumlin_test_servers::azure_server::{self, Azure};
use drumlin_test_servers::dropbox_server::Dropbox;
use drumlin_test_servers::gcs_server::{self, Gcs};
use drumlin_test_servers::web::{Answers, WebServer};
use drumlin_test_servers::{ACCESS_KEY, Asked, BUCKET, Instead, Mischief, S3Server, SECRET_KEY};

/// Answers that nobody may take for the store's, of whatever was asked.
const LIES: [Mischief; 11] = [
    Instead::page(200),
    Instead::page(206),
    Instead::page(301),
    Instead::page(400),
    Instead::page(403),
    Instead::page(404),
    Instead::page(412),
    Instead::nothing(404),
    Instead::nothing(403),
    Instead::document(200, "<html><body>Please sign in</body></html>"),
    Instead::document(200, "<ListBucketResult><Contents><Key>half"),
];

type Plan = Box<dyn FnMut(&Asked<'_>) -> Mischief + Send>;

/// A bucket, and what decides about the requests that its server gets.
struct Faked {
    name: &'static str,
    bucket: Arc<dyn Bucket>,
    plan: Box<dyn Fn(Plan)>,
}

impl Faked {
    fn lie(&self, lie: Mischief) {
        (self.plan)(Box::new(move |_| lie));
    }
}

fn s3_settings(server: &S3Server) -> S3Settings {
    S3Settings {
        endpoint: Some(server.endpoint().into()),
        access_key_id: Some(ACCESS_KEY.into()),
        secret_access_key: Some(SECRET_KEY.into()),
        multipart_bytes: 1_000,
        part_bytes: 1_000,
        ..S3Settings::new(BUCKET)
    }
}

fn faked<A: Answers>(name: &'static str, server: WebServer<A>, bucket: impl Bucket + 'static) -> Faked {
    Faked { name, bucket: Arc::new(bucket), plan: Box::new(move |plan| server.set_plan(plan)) }
}

async fn all() -> Vec<Faked> {
    let http = || HttpOptions { multipart_bytes: 1_000, ..HttpOptions::default() };
    let s3 = S3Server::start().await;
    let s3_bucket = S3Bucket::connect(s3_settings(&s3)).await.unwrap();
    let gcs = Gcs::start().await;
    let endpoint = Some(gcs.endpoint().to_owned());
    let rewrite_pause = Duration::ZERO;
    let settings = GcsSettings { endpoint, http: http(), rewrite_pause, ..GcsSettings::new(gcs_server::BUCKET) };
    let gcs_bucket = settings.connect().unwrap();
    let azure = Azure::start().await;
    let settings = AzureSettings {
        endpoint: Some(azure.endpoint().to_owned()),
        access_key: Some(azure_server::KEY.to_owned()),
        http: http(),
        ..AzureSettings::new(azure_server::ACCOUNT, azure_server::CONTAINER)
    };
    let azure_bucket = settings.connect().unwrap();
    let dropbox = Dropbox::start().await;
    let url = dropbox.endpoint().to_owned();
    let credentials = DropboxCredentials::AccessToken(dropbox.with(Dropbox::grant_token));
    let settings =
        DropboxSettings { api_url: url.clone(), content_url: url, http: http(), ..DropboxSettings::new(credentials) };
    let dropbox_bucket = DropboxBucket::connect(settings).unwrap();
    vec![
        Faked { name: "s3", bucket: Arc::new(s3_bucket), plan: Box::new(move |plan| s3.set_plan(plan)) },
        faked("gcs", gcs, gcs_bucket),
        faked("azure", azure, azure_bucket),
        faked("dropbox", dropbox, dropbox_bucket),
    ]
}

async fn is_unknown<T: std::fmt::Debug>(what: &str, call: impl Future<Output = Result<T, BucketError>>) {
    let answer = call.await;
    assert!(matches!(answer, Err(BucketError::Unknown { .. })), "{what} gave {answer:?}");
}

fn x() -> Bytes {
    Bytes::from_static(b"x")
}

#[tokio::test]
async fn no_call_to_any_store_believes_an_answer_that_is_none_of_the_stores() {
    for faked in all().await {
        let bucket = &*faked.bucket;
        let tag = bucket.put("k", x(), PutCondition::Always).await.unwrap().etag.unwrap();
        for lie in LIES {
            faked.lie(lie);
            let what = |call: &str| format!("{call} on {}, answered with {lie:?},", faked.name);
            is_unknown(&what("get"), bucket.get("k", None)).await;
            is_unknown(&what("a range"), bucket.get("k", Some(0..1))).await;
            is_unknown(&what("the size"), bucket.get("k", Some(0..0))).await;
            is_unknown(&what("put"), bucket.put("k", x(), PutCondition::Always)).await;
            is_unknown(&what("create"), bucket.put("l", x(), PutCondition::IfAbsent)).await;
            is_unknown(&what("swap"), bucket.put("k", x(), PutCondition::IfMatch(tag.clone()))).await;
            is_unknown(&what("an upload"), bucket.put_large("m", vec![Bytes::from(vec![7; 2_500])])).await;
            is_unknown(&what("copy"), bucket.copy("k", "n")).await;
            is_unknown(&what("list"), bucket.list("", None)).await;
            is_unknown(&what("delete"), bucket.delete(&["k".into()])).await;
            is_unknown(&what("deletes"), bucket.delete(&["k".into(), "l".into()])).await;
        }
        (faked.plan)(Box::new(|_| Mischief::None));
        let left: Vec<String> = bucket.list("", None).await.unwrap().objects.into_iter().map(|one| one.key).collect();
        assert_eq!(left, ["k"], "{}", faked.name);
        bucket.put("k", Bytes::from_static(b"yz"), PutCondition::IfMatch(tag)).await.unwrap();
        assert_eq!(bucket.get("k", None).await.unwrap().bytes, "yz");
        assert_eq!(bucket.get("k", Some(0..0)).await.unwrap().size_bytes, 2);
    }
}

#[tokio::test]
async fn every_step_of_an_upload_in_parts_is_proven() {
    let server = S3Server::start().await;
    let bucket = S3Bucket::connect(s3_settings(&server)).await.unwrap();
    let error = "<?xml version=\"1.0\"?><Error><Code>InternalError</Code></Error>";
    for step in ["?uploads", "partNumber=2", "uploadId"] {
        for lie in [Instead::page(200), Instead::nothing(200), Instead::document(200, error)] {
            server.set_plan(move |asked| {
                let completes = step != "uploadId" || asked.method == "POST";
                if asked.path.contains(step) && completes { lie } else { Mischief::None }
            });
            let upload = bucket.put_large("large", vec![Bytes::from(vec![7; 2_500])]);
            is_unknown(&format!("an upload whose {step} is answered with {lie:?}"), upload).await;
            assert_eq!((server.keys().len(), server.open_uploads()), (0, 0), "{step} {lie:?}");
        }
    }
}

#[tokio::test]
async fn an_error_inside_a_success_and_a_tag_that_is_missing_are_no_success() {
    let server = S3Server::start().await;
    let bucket = S3Bucket::connect(s3_settings(&server)).await.unwrap();
    bucket.put("k", x(), PutCondition::Always).await.unwrap();
    let error = "<?xml version=\"1.0\"?><Error><Code>InternalError</Code><Message>m</Message></Error>";
    for lie in [Instead::document(200, error), Instead::nothing(200)] {
        server.set_plan(move |_| lie);
        is_unknown("put", bucket.put("k", x(), PutCondition::Always)).await;
        is_unknown("copy", bucket.copy("k", "l")).await;
        is_unknown("deletes", bucket.delete(&["k".into(), "l".into()])).await;
        is_unknown("list", bucket.list("", None)).await;
        is_unknown("get", bucket.get("k", None)).await;
    }
    server.set_plan(|_| Instead::document(200, "<CopyObjectResult></CopyObjectResult>"));
    is_unknown("a copy without a tag", bucket.copy("k", "l")).await;
    let headers = &[("etag", "\"e\""), ("content-range", "bytes 4-6/9")];
    server.set_plan(|_| Mischief::Instead(Instead { status: 206, kind: "", headers, body: "abc" }));
    is_unknown("another range than was asked for", bucket.get("k", Some(0..3))).await;
    is_unknown("a part instead of the whole", bucket.get("k", None)).await;
    assert_eq!(bucket.get("k", Some(4..7)).await.unwrap().bytes, "abc");
    // A page may have a tag, too.
    let headers = &[("etag", "\"page\"")];
    let page = Instead { status: 200, kind: "text/html", headers, body: "<html>Please sign in</html>" };
    server.set_plan(move |_| Mischief::Instead(page));
    is_unknown("put", bucket.put("k", x(), PutCondition::Always)).await;
    is_unknown("get", bucket.get("k", None)).await;
    is_unknown("the size", bucket.get("k", Some(0..0))).await;
    // Some servers answer a delete with 200 and nothing, and call any empty body a page.
    server.set_plan(|_| Instead::nothing(200));
    bucket.delete(&["k".into()]).await.unwrap();
    server.set_plan(move |_| Mischief::Instead(Instead { body: "", ..page }));
    bucket.put("k", x(), PutCondition::Always).await.unwrap();
    bucket.delete(&["k".into()]).await.unwrap();
}

#[tokio::test]
async fn a_fresh_read_comes_over_a_connection_of_its_own_on_every_store() {
    for faked in all().await {
        let bucket = &*faked.bucket;
        bucket.put("k", x(), PutCondition::Always).await.unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let record = connections.clone();
        (faked.plan)(Box::new(move |asked| {
            record.lock().unwrap().push(asked.connection);
            Mischief::None
        }));
        for _ in 0..3 {
            assert_eq!(bucket.get_fresh("k", None).await.unwrap().bytes, "x");
        }
        let mut seen = std::mem::take(&mut *connections.lock().unwrap());
        assert_eq!(seen.len(), 3, "{}", faked.name);
        seen.dedup();
        assert_eq!(seen.len(), 3, "{}: connections {seen:?} were used again", faked.name);
        bucket.get("k", None).await.unwrap();
        bucket.get("k", None).await.unwrap();
        let kept = connections.lock().unwrap().clone();
        assert!(kept.iter().all(|one| !seen.contains(one)), "{}: a fresh connection was kept", faked.name);
        assert_eq!(kept.first(), kept.last(), "{}: connections are not kept at all", faked.name);
    }
}

#[tokio::test]
async fn how_long_a_store_asks_to_be_left_alone_is_told() {
    let headers = &[("retry-after", "7")];
    let busy =
        Mischief::Instead(Instead { status: 503, kind: "", headers, body: "<Error><Code>SlowDown</Code></Error>" });
    for faked in all().await {
        faked.lie(busy);
        let error = faked.bucket.put("k", x(), PutCondition::IfAbsent).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{}: {error:?}", faked.name);
    }
}

#[tokio::test]
async fn one_answer_with_a_wrong_date_does_not_change_the_clock_that_requests_are_signed_by() {
    let server = S3Server::start().await;
    let bucket = S3Bucket::connect(s3_settings(&server)).await.unwrap();
    let headers = &[("date", "Mon, 01 Jan 2001 00:00:00 GMT"), ("etag", "\"e\""), ("content-length", "1")];
    let old = Mischief::Instead(Instead { status: 200, kind: "", headers, body: "x" });
    let signed = Arc::new(Mutex::new(Vec::<bool>::new()));
    let record = signed.clone();
    let mut answers = [old, Mischief::None, Mischief::None, old, old, Mischief::None, Mischief::None].into_iter();
    server.set_plan(move |asked| {
        let date = asked.headers.get("x-amz-date").unwrap().to_str().unwrap();
        record.lock().unwrap().push(date.starts_with("2001"));
        answers.next().unwrap()
    });
    for _ in 0..7 {
        let _ = bucket.get("k", None).await;
    }
    // Only what repeats is believed, and one answer that agrees with this machine's clock ends it.
    assert_eq!(*signed.lock().unwrap(), [false, false, false, false, false, true, false]);
}

#[tokio::test]
async fn a_bucket_in_another_region_and_a_right_that_is_missing_are_named() {
    let server = S3Server::start().await;
    let bucket = S3Bucket::connect(s3_settings(&server)).await.unwrap();
    let moved = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>";
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>";
    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let headers = &[("x-amz-bucket-region", "eu-west-3")];
    for (answer, word) in [
        (Mischief::Instead(Instead { status: 301, kind: "", headers, body: moved }), "AWS_REGION=eu-west-3"),
        (Instead::document(400, malformed), "AWS_REGION=eu-west-3"),
        (Instead::document(403, denied), "s3:PutObject"),
    ] {
        server.set_plan(move |_| answer);
        let answer = bucket.put("k", x(), PutCondition::IfAbsent).await;
        let Err(BucketError::Refused { message }) = answer else { panic!("{answer:?}") };
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn an_endpoint_with_a_path_works_with_and_without_a_slash_at_its_end() {
    let server = S3Server::start().await;
    for path in ["/storage/v1/s3", "/storage/v1/s3/", "", "/"] {
        let endpoint = Some(format!("{}{path}", server.endpoint()));
        let bucket = S3Bucket::connect(S3Settings { endpoint, ..s3_settings(&server) }).await.unwrap();
        let asked_for = Arc::new(Mutex::new(String::new()));
        let record = asked_for.clone();
        server.set_plan(move |asked| {
            *record.lock().unwrap() = asked.path.to_owned();
            Mischief::Unavailable
        });
        is_unknown("get", bucket.get("k", None)).await;
        let expected = format!("{}/{BUCKET}/vector_db/k", path.trim_end_matches('/'));
        assert_eq!(asked_for.lock().unwrap().split('?').next(), Some(expected.as_str()), "{path:?}");
    }
}

#[tokio::test]
async fn a_listing_that_claims_more_keys_and_shows_none_goes_on_by_its_token_and_fails_where_that_repeats() {
    let server = S3Server::start().await;
    let bucket = S3Bucket::connect(s3_settings(&server)).await.unwrap();
    bucket.put("k", x(), PutCondition::IfAbsent).await.unwrap();
    let empty = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                 <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
    let without_token = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let tokens = Arc::new(Mutex::new(Vec::<bool>::new()));
    let record = tokens.clone();
    let mut answers = [Instead::document(200, empty), Mischief::None].into_iter();
    server.set_plan(move |asked| {
        record.lock().unwrap().push(asked.path.contains("continuation-token=t"));
        answers.next().unwrap()
    });
    let page = bucket.list("", None).await.unwrap();
    assert_eq!((page.objects.len(), page.more), (1, false));
    assert_eq!(*tokens.lock().unwrap(), [false, true]);
    for answer in [empty, without_token] {
        server.set_plan(move |_| Instead::document(200, answer));
        let listed = bucket.list("", None).await;
        let Err(BucketError::Unknown { message, .. }) = listed else { panic!("{listed:?}") };
        assert!(message.contains("claims that there are more keys"), "{message}");
    }
}
