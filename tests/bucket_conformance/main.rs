//! Runs the bucket contract over every backend: one module per backend, one test per promise. What
//! passes here is what the log, HEAD and everything above may take for granted. With `--nocapture` the
//! results are printed as a table when the last test has ended.

mod contract;
mod table;

use std::sync::Arc;
use std::time::Duration;

use contract::Subject;
use drumlin::settings::{AzureSettings, DropboxCredentials, DropboxSettings, GcsSettings, HttpOptions};
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::dropbox::DropboxBucket;
use drumlin::testing::bucket::folder::FolderBucket;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::s3::{S3Bucket, S3Settings};
use drumlin::testing::bucket::throttle::Throttled;
use drumlin_test_servers::azure_server::{self, Azure};
use drumlin_test_servers::dropbox_server::{self, Dropbox};
use drumlin_test_servers::gcs_server::{self, Gcs};
use drumlin_test_servers::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use table::Cell;

/// The backends that need nothing from outside.
const BACKENDS: [&str; 7] =
    ["memory_bucket", "folder_bucket", "s3_bucket", "r2_bucket", "gcs_bucket", "azure_bucket", "dropbox_bucket"];

/// Every check of the contract, handed to a macro that makes tests of them.
macro_rules! every_check {
    ($make:ident $(, $argument:tt)*) => {
        $make! {
            $($argument,)*
            of_concurrent_creators_exactly_one_wins_and_its_body_stays,
            a_create_on_an_existing_key_is_refused_and_keeps_the_body,
            a_swap_needs_the_present_tag,
            of_concurrent_swaps_with_one_tag_exactly_one_wins,
            what_was_written_is_read_at_once_and_what_was_deleted_is_not,
            a_range_is_cut_at_the_end_of_the_object,
            an_empty_object_is_an_object,
            a_listing_pages_through_more_than_a_thousand_keys_in_order,
            deleting_what_is_absent_is_no_error,
            a_large_object_arrives_whole,
            a_copy_has_the_bytes_and_stands_alone,
            unusual_keys_are_kept_to_the_letter_and_impossible_ones_refused,
            every_answer_carries_the_stores_time,
            a_reader_never_sees_half_an_overwrite,
            the_probe_lets_it_pass,
        }
    };
}

/// Makes the tests of one backend: a module with each check as a test, under an attribute.
macro_rules! conforms {
    ($backend:ident, $subject:ident, $attribute:tt, $($check:ident),* $(,)?) => {
        mod $backend {
            use super::*;

            const CHECKS: usize = [$(stringify!($check)),*].len();

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                #$attribute
                async fn $check() {
                    let cell = Cell::new(stringify!($backend), stringify!($check), &BACKENDS, CHECKS);
                    contract::$check($subject().await).await;
                    cell.passed();
                }
            )*
        }
    };
}

async fn memory() -> Subject {
    let bucket = Arc::new(MemoryBucket::new(StoreClock::machine()));
    Subject { bucket, racers: 16, large_bytes: 8 << 20, lists_by_bytes: true, _keeps: Box::new(()) }
}

async fn folder() -> Subject {
    let directory = tempfile::tempdir().unwrap();
    let bucket = Arc::new(FolderBucket::open(directory.path().join("absent/yet")).unwrap());
    Subject { bucket, racers: 16, large_bytes: 8 << 20, lists_by_bytes: true, _keeps: Box::new(directory) }
}

every_check!(conforms, memory_bucket, memory, [cfg(all())]);
every_check!(conforms, folder_bucket, folder, [cfg(all())]);

async fn s3() -> Subject {
    let server = S3Server::start().await;
    let settings = S3Settings {
        endpoint: Some(server.endpoint().into()),
        access_key_id: Some(ACCESS_KEY.into()),
        secret_access_key: Some(SECRET_KEY.into()),
        multipart_bytes: 6 << 20,
        part_bytes: 5 << 20,
        ..S3Settings::new(BUCKET)
    };
    let bucket = Arc::new(S3Bucket::connect(settings).await.unwrap());
    Subject { bucket, racers: 16, large_bytes: 12 << 20, lists_by_bytes: true, _keeps: Box::new(server) }
}

every_check!(conforms, s3_bucket, s3, [cfg(all())]);

/// An S3 server that takes one write a second and key, as R2 does, and the throttle that keeps to it.
async fn r2() -> Subject {
    let server = S3Server::start().await;
    server.limit_rewrites(Duration::from_secs(1));
    let settings = S3Settings {
        endpoint: Some(server.endpoint().into()),
        access_key_id: Some(ACCESS_KEY.into()),
        secret_access_key: Some(SECRET_KEY.into()),
        multipart_bytes: 6 << 20,
        part_bytes: 5 << 20,
        ..S3Settings::r2("account", BUCKET)
    };
    let pause = settings.pause();
    let bucket = Arc::new(Throttled::new(S3Bucket::connect(settings).await.unwrap(), pause));
    Subject { bucket, racers: 16, large_bytes: 12 << 20, lists_by_bytes: true, _keeps: Box::new(server) }
}

every_check!(conforms, r2_bucket, r2, [cfg(all())]);

/// Large objects in parts from a size that a test can afford.
fn small_parts() -> HttpOptions {
    HttpOptions { multipart_bytes: 6 << 20, part_bytes: 5 << 20, ..HttpOptions::default() }
}

async fn gcs() -> Subject {
    let server = Gcs::start().await;
    let endpoint = Some(server.endpoint().to_owned());
    let bucket = GcsSettings { endpoint, http: small_parts(), ..GcsSettings::new(gcs_server::BUCKET) };
    let bucket = Arc::new(bucket.connect().unwrap());
    Subject { bucket, racers: 16, large_bytes: 12 << 20, lists_by_bytes: true, _keeps: Box::new(server) }
}

every_check!(conforms, gcs_bucket, gcs, [cfg(all())]);

async fn azure() -> Subject {
    let server = Azure::start().await;
    let settings = AzureSettings {
        endpoint: Some(server.endpoint().to_owned()),
        access_key: Some(azure_server::KEY.to_owned()),
        http: small_parts(),
        ..AzureSettings::new(azure_server::ACCOUNT, azure_server::CONTAINER)
    };
    let bucket = Arc::new(settings.connect().unwrap());
    Subject { bucket, racers: 16, large_bytes: 12 << 20, lists_by_bytes: true, _keeps: Box::new(server) }
}

every_check!(conforms, azure_bucket, azure, [cfg(all())]);

async fn dropbox() -> Subject {
    let server = Dropbox::start().await;
    let credentials = DropboxCredentials::Refresh {
        refresh_token: dropbox_server::REFRESH_TOKEN.into(),
        app_key: dropbox_server::APP_KEY.into(),
        app_secret: Some(dropbox_server::APP_SECRET.into()),
    };
    let settings = DropboxSettings {
        api_url: server.endpoint().into(),
        content_url: server.endpoint().into(),
        root: "/Apps/Vector DB".into(),
        http: small_parts(),
        ..DropboxSettings::new(credentials)
    };
    let bucket = Arc::new(DropboxBucket::connect(settings).unwrap());
    Subject { bucket, racers: 16, large_bytes: 12 << 20, lists_by_bytes: true, _keeps: Box::new(server) }
}

every_check!(conforms, dropbox_bucket, dropbox, [cfg(all())]);

/// A container on Azurite, which no one here wrote and which checks signatures; named by the environment as
/// `tests/e2e/azurite.py` does.
async fn azurite() -> Subject {
    let variable = |name: &str| std::env::var(format!("DRUMLIN_TEST_AZURE_{name}"));
    let connection = variable("CONNECTION_STRING").expect("DRUMLIN_TEST_AZURE_CONNECTION_STRING names the server");
    let container = variable("CONTAINER").expect("DRUMLIN_TEST_AZURE_CONTAINER names a container that exists");
    let settings = AzureSettings { http: small_parts(), ..AzureSettings::new("", container) };
    let bucket = Arc::new(settings.with_connection_string(&connection).unwrap().connect().unwrap());
    Subject { bucket, racers: 16, large_bytes: 12 << 20, lists_by_bytes: true, _keeps: Box::new(()) }
}

every_check!(conforms, azurite_bucket, azurite, [ignore = "needs Azurite, named by DRUMLIN_TEST_AZURE_*"]);

/// An S3 server that no one here wrote, named by the environment as it is in CI. Four racers:
/// SeaweedFS makes those who wait for a key's lock poll once a second.
async fn external() -> Subject {
    let variable = |name: &str| std::env::var(format!("DRUMLIN_TEST_S3_{name}"));
    let settings = S3Settings {
        endpoint: Some(variable("ENDPOINT").expect("DRUMLIN_TEST_S3_ENDPOINT names the server")),
        access_key_id: variable("ACCESS_KEY").ok(),
        secret_access_key: variable("SECRET_KEY").ok(),
        multipart_bytes: 6 << 20,
        part_bytes: 5 << 20,
        ..S3Settings::new(variable("BUCKET").expect("DRUMLIN_TEST_S3_BUCKET names a bucket that exists"))
    };
    let bucket = Arc::new(S3Bucket::connect(settings).await.unwrap());
    Subject { bucket, racers: 4, large_bytes: 12 << 20, lists_by_bytes: false, _keeps: Box::new(()) }
}

every_check!(conforms, external_s3_bucket, external, [ignore = "needs an S3 server, named by DRUMLIN_TEST_S3_*"]);

#[tokio::test(start_paused = true)]
async fn a_memory_buckets_time_is_tokios_time_plus_its_skew() {
    use drumlin::testing::bucket::{Bucket, PutCondition, StoreTime};
    let bucket = MemoryBucket::new(StoreClock::starting_at(StoreTime(1_000_000)));
    let put = |key: &'static str| bucket.put(key, bytes::Bytes::from_static(b"x"), PutCondition::Always);
    assert_eq!(put("a").await.unwrap().date, Some(StoreTime(1_000_000)));
    tokio::time::advance(std::time::Duration::from_millis(2_500)).await;
    assert_eq!(put("b").await.unwrap().date, Some(StoreTime(1_002_500)));
    bucket.clock().set_skew_ms(-500);
    let read = bucket.get("b", None).await.unwrap().stamp;
    assert_eq!((read.date, read.last_modified), (Some(StoreTime(1_002_000)), Some(StoreTime(1_002_500))));
    let page = bucket.list("", None).await.unwrap();
    let times: Vec<_> = page.objects.iter().map(|object| object.last_modified.unwrap().0).collect();
    assert_eq!(times, [1_000_000, 1_002_500]);
}
