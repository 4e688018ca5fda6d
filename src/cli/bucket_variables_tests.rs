//! Tables of variables: the bucket that each asks for, and the sentences that stop a start.

use super::Flags;
use super::settings::settings_from;
use super::variables::VARIABLES;
use crate::{ErrorKind, Result, Storage};

type Variables<'a> = &'a [(&'a str, &'a str)];

fn read(variables: Variables<'_>) -> Result<(Storage, Vec<String>)> {
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let settings = settings_from(lookup, &Flags::default())?;
    Ok((settings.store.storage, settings.notes))
}

/// The storage in short.
fn short(storage: &Storage) -> String {
    match storage {
        Storage::S3(s3) => format!("s3 {} {:?} {}", s3.bucket, s3.endpoint, s3.prefix),
        Storage::Gcs(gcs) => format!("gcs {} {:?} {:?} {}", gcs.bucket, gcs.credentials_file, gcs.endpoint, gcs.prefix),
        Storage::Azure(azure) => {
            format!("azure {} {} {:?} {}", azure.account, azure.container, azure.endpoint, azure.prefix)
        }
        Storage::Dropbox(dropbox) => format!("dropbox {:?} {}", dropbox.credentials, dropbox.root),
        Storage::Folder(path) => format!("folder {}", path.display()),
        Storage::Memory => "memory".to_owned(),
    }
}

const R2: [(&str, &str); 4] =
    [("R2_ACCOUNT_ID", "0a1b"), ("R2_ACCESS_KEY_ID", "id"), ("R2_SECRET_ACCESS_KEY", "hush"), ("R2_BUCKET_NAME", "r")];
const GCS: [(&str, &str); 2] = [("GCS_BUCKET_NAME", "g"), ("GOOGLE_CLOUD_PROJECT", "p")];
const AZURE: [(&str, &str); 3] =
    [("AZURE_STORAGE_CONTAINER", "c"), ("AZURE_STORAGE_ACCOUNT", "a"), ("AZURE_STORAGE_KEY", "aHVzaA==")];
const DROPBOX: [(&str, &str); 3] =
    [("DROPBOX_REFRESH_TOKEN", "hush"), ("DROPBOX_APP_KEY", "k"), ("DROPBOX_APP_SECRET", "hush")];

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    more.iter().chain(base).copied().collect()
}

#[test]
fn the_variables_present_tell_the_bucket() {
    let default_endpoint = "Some(\"https://0a1b.r2.cloudflarestorage.com\")";
    let eu = "https://0a1b.eu.r2.cloudflarestorage.com";
    let connection = "AccountName=a;AccountKey=aHVzaA==;BlobEndpoint=http://127.0.0.1:10000/a";
    let cases: Vec<(Vec<(&str, &str)>, String)> = vec![
        (vec![], "folder drumlin-data".into()),
        (vec![("S3_BUCKET_NAME", "b")], "s3 b None vector_db/".into()),
        (R2.to_vec(), format!("s3 r {default_endpoint} vector_db/")),
        (with(&R2, &[("R2_PREFIX", "x"), ("R2_ENDPOINT_URL", eu)]), format!("s3 r Some({eu:?}) x")),
        (
            with(&R2, &[("R2_ENDPOINT_URL", "https://h.example/r/")]),
            "s3 r Some(\"https://h.example\") vector_db/".into(),
        ),
        (with(&R2, &[("R2_ACCOUNT_ID", ""), ("R2_ENDPOINT_URL", eu)]), format!("s3 r Some({eu:?}) vector_db/")),
        (GCS.to_vec(), "gcs g None None vector_db/".into()),
        (
            with(&GCS, &[("GOOGLE_APPLICATION_CREDENTIALS", "/k.json"), ("GCS_PREFIX", "x/")]),
            "gcs g Some(\"/k.json\") None x/".into(),
        ),
        (
            with(&GCS, &[("STORAGE_EMULATOR_HOST", "localhost:4443")]),
            "gcs g None Some(\"http://localhost:4443\") vector_db/".into(),
        ),
        (AZURE.to_vec(), "azure a c None vector_db/".into()),
        (
            vec![("AZURE_STORAGE_CONTAINER", "c"), ("AZURE_STORAGE_CONNECTION_STRING", connection)],
            "azure a c Some(\"http://127.0.0.1:10000/a\") vector_db/".into(),
        ),
        (DROPBOX.to_vec(), "dropbox Refresh(hidden) vector_db".into()),
        (
            with(&DROPBOX, &[("STORAGE_MODE", "dropbox"), ("DROPBOX_ENABLED", "true")]),
            "dropbox Refresh(hidden) vector_db".into(),
        ),
        (vec![("DROPBOX_ACCESS_TOKEN", "hush"), ("DROPBOX_ROOT", "/x")], "dropbox AccessToken(hidden) /x".into()),
        (with(&DROPBOX, &[("DROPBOX_ENABLED", "false")]), "folder drumlin-data".into()),
        (vec![("STORAGE_PATH", "/data")], "folder /data".into()),
        (vec![("STORAGE_PATH", "/data"), ("DRUMLIN_DATA", "/data")], "folder /data".into()),
        (vec![("DRUMLIN_DATA", "/data"), ("S3_BUCKET_NAME", "b")], "s3 b None vector_db/".into()),
        (vec![("DRUMLIN_STORAGE", "memory"), ("S3_BUCKET_NAME", "b")], "memory".into()),
        (
            vec![("STORAGE_MODE", "s3"), ("DRUMLIN_STORAGE", "S3"), ("S3_BUCKET_NAME", "b")],
            "s3 b None vector_db/".into(),
        ),
        // Variables of other programs on the machine ask for nothing.
        (
            vec![("GOOGLE_APPLICATION_CREDENTIALS", "/k"), ("AZURE_STORAGE_ACCOUNT", "a"), ("AWS_REGION", "r")],
            "folder drumlin-data".into(),
        ),
    ];
    for (variables, expected) in cases {
        assert_eq!(short(&read(&variables).unwrap().0), expected, "{variables:?}");
    }
}

#[test]
fn two_that_are_asked_for_stop_the_start_and_are_named_and_one_may_be_chosen() {
    let s3 = [("S3_BUCKET_NAME", "b")];
    let folder = [("STORAGE_PATH", "/data")];
    let all: [(Variables<'_>, &str, &str); 6] = [
        (&s3, "S3_BUCKET_NAME", "s3"),
        (&R2, "R2_BUCKET_NAME", "r2"),
        (&GCS, "GCS_BUCKET_NAME", "gcs"),
        (&AZURE, "AZURE_STORAGE_CONTAINER", "azure"),
        (&DROPBOX, "DROPBOX_REFRESH_TOKEN", "dropbox"),
        (&folder, "STORAGE_PATH", "folder"),
    ];
    for (at, (one, one_name, one_kind)) in all.iter().enumerate() {
        for (other, other_name, _) in all.iter().skip(at + 1) {
            let error = read(&with(one, other)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let message = error.message();
            assert!([*one_name, *other_name, "DRUMLIN_STORAGE"].iter().all(|w| message.contains(w)), "{message}");
            let alone = short(&read(one).unwrap().0);
            let chosen = with(&with(one, other), &[("DRUMLIN_STORAGE", *one_kind)]);
            assert_eq!(short(&read(&chosen).unwrap().0), alone);
        }
    }
}

#[test]
fn what_is_missing_or_contradicts_itself_is_named() {
    let cases: &[(Variables<'_>, &[&str])] = &[
        (&[("R2_BUCKET_NAME", "r")], &["R2_ACCESS_KEY_ID"]),
        (&[R2[1], R2[2], R2[3]], &["R2_ACCOUNT_ID", "R2_ENDPOINT_URL"]),
        (&[R2[0], R2[1], R2[3]], &["R2_SECRET_ACCESS_KEY"]),
        (&[R2[0], R2[1], R2[2], R2[3], ("R2_ENDPOINT_URL", "r2")], &["R2_ENDPOINT_URL", "http", "r2"]),
        (&[("DRUMLIN_STORAGE", "r2")], &["R2_BUCKET_NAME"]),
        (&[("DRUMLIN_STORAGE", "gcs")], &["GCS_BUCKET_NAME"]),
        (&[("DRUMLIN_STORAGE", "azure")], &["AZURE_STORAGE_CONTAINER"]),
        (&[("AZURE_STORAGE_CONTAINER", "c")], &["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_CONNECTION_STRING"]),
        (
            &[("AZURE_STORAGE_CONTAINER", "c"), ("AZURE_STORAGE_CONNECTION_STRING", "hush")],
            &["AZURE_STORAGE_CONNECTION_STRING", "Name=value"],
        ),
        (&[("STORAGE_MODE", "dropbox")], &["DROPBOX_REFRESH_TOKEN", "DROPBOX_ACCESS_TOKEN"]),
        (&[("DROPBOX_ENABLED", "true")], &["DROPBOX_REFRESH_TOKEN"]),
        (&[("DROPBOX_ENABLED", "perhaps")], &["DROPBOX_ENABLED", "perhaps"]),
        (&[("DROPBOX_REFRESH_TOKEN", "hush")], &["DROPBOX_APP_KEY"]),
        (&[("STORAGE_MODE", "dropbox"), ("DROPBOX_ENABLED", "false")], &["STORAGE_MODE", "DROPBOX_ENABLED"]),
        (&[("STORAGE_MODE", "dropbox"), ("DRUMLIN_STORAGE", "s3")], &["STORAGE_MODE", "DRUMLIN_STORAGE"]),
        (&[("STORAGE_MODE", "floppy")], &["STORAGE_MODE", "floppy", "dropbox"]),
        (&[("STORAGE_PATH", "/a"), ("DRUMLIN_DATA", "/b")], &["STORAGE_PATH", "DRUMLIN_DATA"]),
        (&[("DRUMLIN_DEBUG", "very")], &["DRUMLIN_DEBUG", "very"]),
    ];
    for (variables, expected) in cases {
        let message = read(variables).map(|(storage, _)| short(&storage)).unwrap_err();
        let message = message.message();
        for part in *expected {
            assert!(message.contains(part), "{variables:?} should say {part}, says {message}");
        }
        assert!(!message.contains("hush"), "a secret is told: {message}");
    }
}

#[test]
fn a_folder_that_is_named_beside_a_bucket_is_said_to_be_unused() {
    let (storage, notes) = read(&[("DRUMLIN_DATA", "/data"), ("S3_BUCKET_NAME", "b")]).unwrap();
    assert_eq!(short(&storage), "s3 b None vector_db/");
    assert_eq!(notes, ["DRUMLIN_DATA is not used: S3_BUCKET_NAME asks for s3, and everything is stored there"]);
    // STORAGE_PATH asks for the folder: with the bucket, two are asked for, and the start stops.
    let refused = read(&[("STORAGE_PATH", "/data"), ("S3_BUCKET_NAME", "b")]).unwrap_err();
    assert!(refused.message().contains("STORAGE_PATH for folder"), "{refused}");
    let told = |name: &str| VARIABLES.iter().find(|v| v.name == name).unwrap().meaning;
    assert!(told("DRUMLIN_DATA").contains("not used where a bucket is named"), "{}", told("DRUMLIN_DATA"));
    let readme = include_str!("../../docs/configuration.md");
    let row = |name: &str| readme.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
    assert!(row("DRUMLIN_DATA").contains(told("DRUMLIN_DATA")), "{}", row("DRUMLIN_DATA"));
    assert!(row("STORAGE_PATH").contains("if a bucket is named too, the start stops"), "{}", row("STORAGE_PATH"));
}

#[test]
fn what_is_not_used_is_said_and_debug_is_the_log_level() {
    let (_, notes) = read(&[("DATABASE_PATH", "/db.sqlite")]).unwrap();
    assert!(notes.iter().any(|note| note.contains("DATABASE_PATH")), "{notes:?}");
    for (variables, log) in [
        (&[("DEBUG", "true")][..], "debug"),
        (&[("DEBUG", "False")], "info"),
        (&[("DEBUG", "1"), ("DRUMLIN_LOG", "warn")], "warn"),
        (&[("DEBUG", "1"), ("DRUMLIN_DEBUG", "false")], "info"),
        (&[("DEBUG", "app:*"), ("DRUMLIN_DEBUG", "yes")], "debug"),
        (&[("DEBUG", "release")], "info"),
        (&[("DRUMLIN_LOG", "info,drumlin::access=off")], "info,drumlin::access=off"),
        (&[("DRUMLIN_LOG", "DEBUG")], "DEBUG"),
        (&[("DRUMLIN_LOG", "drumlin")], "drumlin"),
    ] {
        let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        assert_eq!(settings_from(lookup, &Flags::default()).unwrap().log, log);
    }
}
