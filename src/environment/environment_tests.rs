//! Tests of the reading of variables: the same for a URL and for the variables alone, and every setting has its own.

use std::collections::BTreeSet;

use super::table::ROWS;
use super::*;
use crate::error::ErrorKind;
use crate::memory::MemoryLimit;

type Variables<'a> = &'a [(&'a str, &'a str)];

fn with<T>(variables: Variables<'_>, read: impl FnOnce(&Environment<'_>) -> T) -> T {
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    read(&Environment::new(&lookup))
}

fn by_variables(variables: Variables<'_>) -> String {
    with(variables, |environment| environment.storage(&mut Vec::new()))
        .map_or_else(|error| error.message().to_owned(), |storage| format!("{storage:?}"))
}

fn by_url(url: &str, variables: Variables<'_>) -> String {
    with(variables, |environment| environment.storage_at(url))
        .map_or_else(|error| error.message().to_owned(), |storage| format!("{storage:?}"))
}

#[test]
fn a_size_is_a_number_and_a_unit() {
    for (text, value) in [
        ("419430400", Some(400 << 20)),
        ("400MiB", Some(400 << 20)),
        ("400 mib", Some(400 << 20)),
        ("2GB", Some(2_000_000_000)),
        ("1.5Gi", Some(3 << 29)),
        ("10kb", Some(10_000)),
        ("-1", None),
        ("much", None),
        ("1e3", None),
        ("1.2.3MB", None),
        ("", None),
        ("99999999999GB", None),
    ] {
        assert_eq!(bytes(text), value, "{text}");
    }
}

/// A URL, the variables that name the same place, and variables that say how to reach it.
#[cfg(all(feature = "s3", feature = "gcs", feature = "azure", feature = "dropbox"))]
const SAME: &[(&str, Variables<'_>, Variables<'_>)] = &[
    ("s3://b/p", &[("S3_BUCKET_NAME", "b"), ("S3_PREFIX", "p")], &[]),
    (
        "s3://b/p",
        &[("S3_BUCKET_NAME", "b"), ("S3_PREFIX", "p")],
        &[
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_SESSION_TOKEN", "t"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_CA_BUNDLE", "/ca.pem"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
            ("DRUMLIN_S3_PATH_STYLE", "false"),
            ("DRUMLIN_S3_SSE", "AES256"),
            ("DRUMLIN_S3_ATTEMPT_TIMEOUT_S", "3"),
        ],
    ),
    ("s3://b", &[("S3_BUCKET_NAME", "b")], &[("AWS_DEFAULT_REGION", "eu-west-2")]),
    ("s3://b", &[("S3_BUCKET_NAME", "b")], &[("AWS_ACCESS_KEY_ID", "k")]),
    ("s3://b", &[("S3_BUCKET_NAME", "b")], &[("AWS_ENDPOINT_URL", "localhost")]),
    (
        "gs://b/p",
        &[("GCS_BUCKET_NAME", "b"), ("GCS_PREFIX", "p")],
        &[("GOOGLE_APPLICATION_CREDENTIALS", "/k.json"), ("STORAGE_EMULATOR_HOST", "localhost:4443")],
    ),
    (
        "az://c/p",
        &[("AZURE_STORAGE_CONTAINER", "c"), ("AZURE_STORAGE_PREFIX", "p")],
        &[("AZURE_STORAGE_ACCOUNT", "a"), ("AZURE_STORAGE_KEY", "k"), ("AZURE_STORAGE_ENDPOINT", "http://h/a")],
    ),
    ("az://c", &[("AZURE_STORAGE_CONTAINER", "c")], &[]),
    ("az://c", &[("AZURE_STORAGE_CONTAINER", "c")], &[("AZURE_STORAGE_CONNECTION_STRING", "nonsense")]),
    (
        "dropbox://p",
        &[("DROPBOX_ENABLED", "true"), ("DROPBOX_ROOT", "p")],
        &[("DROPBOX_REFRESH_TOKEN", "r"), ("DROPBOX_APP_KEY", "k"), ("DRUMLIN_S3_CONNECT_TIMEOUT_S", "2")],
    ),
    ("dropbox://", &[("DROPBOX_ENABLED", "true")], &[("DROPBOX_REFRESH_TOKEN", "r"), ("DROPBOX_ACCESS_TOKEN", "a")]),
    ("dropbox://", &[("DROPBOX_ENABLED", "true")], &[("DROPBOX_ACCESS_TOKEN", "a")]),
    ("dropbox://", &[("DROPBOX_ENABLED", "true")], &[]),
];

#[cfg(all(feature = "s3", feature = "gcs", feature = "azure", feature = "dropbox"))]
#[test]
fn a_url_and_the_variables_alone_read_the_same_settings_and_refuse_the_same() {
    let mut refused = 0;
    for (url, place, how) in SAME {
        let (read, url_read) = (by_variables(&[*place, *how].concat()), by_url(url, how));
        refused += usize::from(!read.contains("Settings {"));
        let url_read = url_read.strip_prefix(&format!("{url:?}: ")).unwrap_or(&url_read);
        assert_eq!(read, url_read, "{url} beside {place:?}, with {how:?}");
    }
    assert_eq!(refused, 6);
}

#[cfg(feature = "s3")]
#[test]
fn the_place_of_a_url_is_not_changed_by_variables_that_name_a_bucket() {
    let read = by_url("s3://b", &[("S3_BUCKET_NAME", "other"), ("S3_PREFIX", "p"), ("S3_ENABLED", "false")]);
    assert_eq!(read, by_url("s3://b", &[]));
}

#[test]
fn without_a_variable_the_store_is_the_default_folder_of_the_server() {
    assert_eq!(by_variables(&[]), r#"Folder("drumlin-data")"#);
    assert_eq!(by_variables(&[("STORAGE_PATH", "/data")]), r#"Folder("/data")"#);
    assert_eq!(by_variables(&[("DRUMLIN_STORAGE", "memory")]), "Memory");
}

#[cfg(not(feature = "s3"))]
#[test]
fn a_bucket_whose_feature_is_left_out_is_refused_by_its_variable_too() {
    assert!(by_variables(&[("S3_BUCKET_NAME", "b")]).contains("without its feature s3"));
}

#[test]
fn every_setting_is_changed_by_its_variable_and_no_other() {
    for row in ROWS {
        let value = match row.variable {
            "DRUMLIN_MAINTENANCE" => "false",
            "DRUMLIN_SERVE_DAMAGED" => "read-only",
            "DRUMLIN_MEMORY_LIMIT" => "3MiB",
            "DRUMLIN_PROVIDER_ALLOW_PRIVATE" => "true",
            "DRUMLIN_PROVIDER_KEYS" => "TEST_KEY=https://provider.example/v1",
            "DRUMLIN_PROVIDER_PROXY" => "http://proxy.example:3128",
            _ => "321",
        };
        let read = |variables: Variables<'_>| with(variables, |environment| environment.settings(&mut Vec::new()));
        let (plain, changed) = (read(&[]).unwrap(), read(&[(row.variable, value), ("TEST_KEY", "k")]).unwrap());
        assert_ne!(format!("{plain:?}"), format!("{changed:?}"), "{} changes nothing", row.variable);
        let refused = read(&[(row.variable, "-")]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.message().starts_with(&format!("{}: expected", row.variable)), "{refused}");
    }
    let names: BTreeSet<&str> = ROWS.iter().flat_map(|row| [row.setting, row.variable]).collect();
    assert_eq!(names.len(), 2 * ROWS.len(), "a setting or a variable stands in two rows");
}

#[test]
fn every_field_of_the_limits_has_a_variable() {
    let shown = format!("{:?}", crate::config::Limits::default());
    let fields = shown.split([' ', '{', ',', '}']).filter_map(|word| word.strip_suffix(':'));
    let without: Vec<&str> = fields.filter(|field| variable_of(&format!("limits.{field}")).is_none()).collect();
    assert!(without.is_empty() && shown.contains("waiting_searches:"), "{without:?} in {shown}");
}

#[test]
fn the_memory_limit_of_an_embedded_store_counts_what_the_store_holds() {
    let limit = |value: &str| {
        let read = with(&[("DRUMLIN_MEMORY_LIMIT", value)], |environment| environment.settings(&mut Vec::new()));
        read.unwrap().memory_limit
    };
    assert_eq!(limit("4MiB"), Some(MemoryLimit { bytes: 4 << 20, whole_process: false }));
    assert_eq!((limit("none"), limit("")), (None, None));
}

#[cfg(feature = "server")]
#[test]
fn the_words_of_a_report_name_the_variable_of_each_setting_in_them() {
    let words = "k: at most 5 (limits.k); raise the limit (memory_limit) (again)";
    let named = "k: at most 5 (DRUMLIN_MAX_K); raise the limit (DRUMLIN_MEMORY_LIMIT) (again)";
    assert_eq!(words_with_variables(words), named);
}
