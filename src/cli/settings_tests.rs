//! Tests of settings: variables and flags in, settings or one sentence out.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::cli::variables::VARIABLES;
use crate::settings::{MemoryLimit, S3Encryption, S3Settings};
use crate::{ErrorKind, Storage};

fn read(variables: &[(&str, &str)]) -> Result<ServeSettings> {
    read_with(variables, &Flags::default())
}

fn read_with(variables: &[(&str, &str)], flags: &Flags) -> Result<ServeSettings> {
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    settings_from(lookup, flags)
}

fn refusal(variables: &[(&str, &str)]) -> String {
    let error = read(variables).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.message().to_owned()
}

fn s3_of(settings: ServeSettings) -> S3Settings {
    match settings.store.storage {
        Storage::S3(s3) => s3,
        other => panic!("expected s3, got {other:?}"),
    }
}

fn folder_of(settings: &ServeSettings) -> Option<&str> {
    match &settings.store.storage {
        Storage::Folder(path) => path.to_str(),
        _ => None,
    }
}

const OWN: &str = "DRUMLIN_S3_SSE_CUSTOMER_KEY";
/// 32 times the letter k.
const OWN_KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

#[test]
fn nothing_set_means_a_folder_here_and_a_loopback_address() {
    let settings = read(&[]).unwrap();
    assert_eq!(folder_of(&settings), Some("drumlin-data"));
    assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", 8000));
    assert_eq!(settings.store.sync_interval, Duration::from_secs(60));
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(25));
}

#[test]
fn a_bucket_name_alone_selects_s3_with_the_users_names() {
    let s3 = s3_of(read(&[("S3_BUCKET_NAME", "b"), ("S3_SYNC_INTERVAL", "5")]).unwrap());
    assert_eq!((s3.bucket.as_str(), s3.prefix.as_str()), ("b", "vector_db/"));
    assert_eq!((s3.endpoint, s3.region, s3.force_path_style), (None, None, Some(false)));
    let all = [
        ("S3_ENABLED", "true"),
        ("S3_BUCKET_NAME", "b"),
        ("S3_PREFIX", "p/"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", "http://general"),
        ("AWS_ENDPOINT_URL_S3", "http://special"),
        ("DRUMLIN_S3_ATTEMPT_TIMEOUT_S", "0.5"),
    ];
    let s3 = s3_of(read(&all).unwrap());
    assert_eq!((s3.prefix.as_str(), s3.region.as_deref()), ("p/", Some("eu-central-1")));
    assert_eq!((s3.access_key_id.as_deref(), s3.secret_access_key.as_deref()), (Some("key"), Some("secret")));
    assert_eq!(s3.session_token.as_deref(), Some("token"));
    assert_eq!((s3.endpoint.as_deref(), s3.force_path_style), (Some("http://special"), Some(true)));
    assert_eq!(s3.attempt_timeout, Duration::from_millis(500));
}

#[test]
fn s3_switched_off_means_the_folder_and_is_said() {
    let settings = read(&[("S3_BUCKET_NAME", "b"), ("S3_ENABLED", "false"), ("DRUMLIN_DATA", "/data")]).unwrap();
    assert_eq!(folder_of(&settings), Some("/data"));
    assert!(settings.notes.iter().any(|note| note.contains("S3_ENABLED")), "{:?}", settings.notes);
}

#[test]
fn a_flag_wins_over_its_variable() {
    let variables = [("PORT", "1"), ("HOST", "127.0.0.2"), ("DRUMLIN_DATA", "a"), ("S3_BUCKET_NAME", "b")];
    let flags = Flags {
        port: Some("2".to_owned()),
        host: Some("localhost".to_owned()),
        data: Some("c".to_owned()),
        ..Flags::default()
    };
    let settings = read_with(&variables, &flags).unwrap();
    assert_eq!((settings.host.as_str(), settings.port, folder_of(&settings)), ("localhost", 2, Some("c")));
    let memory = read_with(&variables, &Flags { memory: true, ..Flags::default() }).unwrap();
    assert_eq!(folder_of(&memory), None);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let settings = read(&[("S3_BUCKET_NAME", " "), ("PORT", ""), ("S3_ENABLED", "")]).unwrap();
    assert_eq!((settings.port, folder_of(&settings)), (8000, Some("drumlin-data")));
}

#[test]
fn what_cannot_be_used_stops_the_start_and_is_named_with_what_was_expected_and_came() {
    let bucket = ("S3_BUCKET_NAME", "b");
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[("S3_ENABLED", "true")], &["S3_BUCKET_NAME", "S3_ENABLED"]),
        (&[("S3_ENABLED", "perhaps")], &["S3_ENABLED", "true or false", "perhaps"]),
        (&[("S3_SYNC_INTERVAL", "soon")], &["S3_SYNC_INTERVAL", "seconds", "soon"]),
        (&[("S3_SYNC_INTERVAL", "-1")], &["S3_SYNC_INTERVAL", "-1"]),
        (&[("S3_SYNC_INTERVAL", "0")], &["S3_SYNC_INTERVAL", "above 0"]),
        (&[("S3_SYNC_INTERVAL", "NaN")], &["S3_SYNC_INTERVAL", "NaN"]),
        (&[("S3_SYNC_INTERVAL", "1e300")], &["S3_SYNC_INTERVAL"]),
        (&[("PORT", "eighty")], &["PORT", "eighty"]),
        (&[("PORT", "65536")], &["PORT", "0 to 65535", "65536"]),
        (&[("DRUMLIN_MAX_K", "0")], &["DRUMLIN_MAX_K", "at least 1"]),
        (&[("DRUMLIN_MAX_BODY_BYTES", "64MB")], &["DRUMLIN_MAX_BODY_BYTES", "64MB"]),
        (&[("DRUMLIN_FAN_OUT", "1")], &["DRUMLIN_FAN_OUT", "at least 2"]),
        (&[("DRUMLIN_STORAGE", "tape")], &["DRUMLIN_STORAGE", "s3, r2, gcs", "folder, memory", "tape"]),
        (&[("DRUMLIN_STORAGE", "s3")], &["DRUMLIN_STORAGE", "S3_BUCKET_NAME"]),
        (&[("DRUMLIN_STORAGE", "s3"), bucket, ("S3_ENABLED", "no")], &["S3_ENABLED"]),
        (&[bucket, ("AWS_ENDPOINT_URL", "not a url")], &["AWS_ENDPOINT_URL", "http", "not a url"]),
        (&[bucket, ("AWS_ACCESS_KEY_ID", "key")], &["AWS_SECRET_ACCESS_KEY"]),
        (&[bucket, ("AWS_SECRET_ACCESS_KEY", "hush")], &["AWS_ACCESS_KEY_ID"]),
        (&[("HOST", "0.0.0.0")], &["HOST", "0.0.0.0", "DRUMLIN_ALLOW_PUBLIC"]),
        (&[("DRUMLIN_HOST", "example.org")], &["DRUMLIN_HOST", "DRUMLIN_ALLOW_PUBLIC"]),
        (&[("DRUMLIN_HOST", "[::1]:9000")], &["DRUMLIN_HOST", "without a port", "[::1]:9000"]),
        (&[("DRUMLIN_HOST", "http://a")], &["DRUMLIN_HOST", "an address", "http://a"]),
        (&[("HOST", "[::]")], &["HOST", "::", "DRUMLIN_ALLOW_PUBLIC"]),
        (&[("DRUMLIN_PORT", "eighty")], &["DRUMLIN_PORT", "eighty"]),
        (&[("DRUMLIN_LOG", "verbose")], &["DRUMLIN_LOG", "error, warn, info, debug, trace, off", "verbose"]),
        (&[("DRUMLIN_LOG", "info,chatty")], &["DRUMLIN_LOG", "\"chatty\" is no level"]),
        (&[("DRUMLIN_LOG", "drumlin=loud")], &["DRUMLIN_LOG", "drumlin=loud"]),
        (&[("DRUMLIN_LOG_FORMAT", "xml")], &["DRUMLIN_LOG_FORMAT", "xml"]),
        (&[("STORAGE_API_KEY", "default-api-key")], &["STORAGE_API_KEY", "placeholder", "drumlin key new"]),
        (&[("STORAGE_API_KEY", "hush-hush")], &["STORAGE_API_KEY", "16 bytes"]),
        (&[("DRUMLIN_RATE_PER_SECOND", "0")], &["DRUMLIN_RATE_PER_SECOND", "requests"]),
        (&[("DRUMLIN_RATE_PER_SECOND", "5"), ("DRUMLIN_RATE_BURST", "0.5")], &["DRUMLIN_RATE_BURST", "from 1"]),
        (&[("DRUMLIN_RATE_BURST", "5")], &["DRUMLIN_RATE_BURST", "DRUMLIN_RATE_PER_SECOND"]),
        (&[("DRUMLIN_CORS_ORIGINS", "example.org")], &["DRUMLIN_CORS_ORIGINS", "https://", "example.org"]),
        (&[("DRUMLIN_TRUST_PROXY", "nginx")], &["DRUMLIN_TRUST_PROXY", "true or false"]),
        (&[bucket, ("DRUMLIN_S3_SSE", "rot13")], &["DRUMLIN_S3_SSE", "aes256, aws:kms", "rot13"]),
        (&[bucket, ("DRUMLIN_S3_SSE_KMS_KEY_ID", "k")], &["DRUMLIN_S3_SSE_KMS_KEY_ID", "aws:kms"]),
        (&[bucket, ("DRUMLIN_S3_SSE", "AES256"), ("DRUMLIN_S3_SSE_KMS_KEY_ID", "k")], &["DRUMLIN_S3_SSE_KMS_KEY_ID"]),
        (&[bucket, (OWN, "hush")], &[OWN, "openssl rand -base64 32"]),
        (&[bucket, (OWN, OWN_KEY), ("DRUMLIN_S3_SSE", "AES256")], &[OWN, "DRUMLIN_S3_SSE", "one key only"]),
        (&[bucket, (OWN, OWN_KEY), ("DRUMLIN_S3_SSE_KMS_KEY_ID", "k")], &[OWN, "DRUMLIN_S3_SSE_KMS_KEY_ID"]),
    ];
    for (variables, expected) in cases {
        let message = refusal(variables);
        for part in *expected {
            assert!(message.contains(part), "{variables:?} should say {part}, says {message}");
        }
        assert!(!message.contains("hush") && !message.contains(OWN_KEY), "a secret is told: {message}");
    }
}

#[test]
fn what_other_programs_mean_by_host_and_debug_is_told_and_stops_nothing() {
    for (name, value) in [
        ("HOST", "x86_64-conda-linux-gnu"),
        ("HOST", "arm64-apple-darwin20.0.0"),
        ("HOST", "build.example.org"),
        ("HOST", "0.0.0.0:80"),
        ("DEBUG", "app:*"),
        ("DEBUG", "release"),
        ("DRUMLIN_PORT", "tcp://10.0.0.1:8000"),
    ] {
        let settings = read(&[(name, value)]).unwrap();
        assert_eq!((settings.host.as_str(), settings.port, settings.log.as_str()), ("127.0.0.1", 8000, "info"));
        let told = settings.notes.iter().any(|note| note.contains(name) && note.contains(value));
        assert!(told, "{name}={value}: {:?}", settings.notes);
    }
}

#[test]
fn our_own_names_win_over_the_general_ones() {
    let general = [("HOST", "127.0.0.2"), ("PORT", "1"), ("DEBUG", "true")];
    let own = [("DRUMLIN_HOST", "localhost"), ("DRUMLIN_PORT", "2"), ("DRUMLIN_DEBUG", "false")];
    let seen = |variables: &[(&str, &str)]| {
        let settings = read(variables).unwrap();
        (settings.host, settings.port, settings.log)
    };
    assert_eq!(seen(&general), ("127.0.0.2".to_owned(), 1, "debug".to_owned()));
    assert_eq!(seen(&[&general[..], &own].concat()), ("localhost".to_owned(), 2, "info".to_owned()));
    // Only our own variable takes the name of a machine.
    let named = [("DRUMLIN_HOST", "db.example.org"), ("DRUMLIN_ALLOW_PUBLIC", "true")];
    assert_eq!(read(&named).unwrap().host, "db.example.org");
}

#[test]
fn an_address_in_brackets_is_the_address() {
    for name in ["HOST", "DRUMLIN_HOST"] {
        assert_eq!(read(&[(name, "[::1]")]).unwrap().host, "::1");
    }
    let flags = Flags { host: Some("[::1]".to_owned()), ..Flags::default() };
    assert_eq!(read_with(&[], &flags).unwrap().host, "::1");
}

#[test]
fn a_public_address_is_served_only_when_told_so() {
    let settings = read(&[("HOST", "0.0.0.0"), ("DRUMLIN_ALLOW_PUBLIC", "true")]).unwrap();
    assert_eq!(settings.host, "0.0.0.0");
    for loopback in ["127.0.0.1", "127.1.2.3", "::1", "localhost"] {
        assert_eq!(read(&[("HOST", loopback)]).unwrap().host, loopback);
    }
}

#[test]
fn a_public_address_is_served_if_keys_protect_it() {
    for keys in [("STORAGE_API_KEY", "k7Qw-93hf_0aZx81"), ("DRUMLIN_KEY_FILE", "/etc/drumlin/keys.json")] {
        let settings = read(&[("HOST", "0.0.0.0"), keys]).unwrap();
        assert!(settings.keys.ask_for_keys());
        assert!(!format!("{settings:?}").contains("k7Qw"), "the key is shown: {settings:?}");
    }
    assert!(!read(&[]).unwrap().keys.ask_for_keys());
}

#[test]
fn a_rate_is_its_own_burst_unless_told_otherwise() {
    let rate = |variables: &[(&str, &str)]| read(variables).unwrap().http.rate.map(|r| (r.per_second, r.burst));
    let (per_second, burst) = (("DRUMLIN_RATE_PER_SECOND", "20"), ("DRUMLIN_RATE_BURST", "50"));
    assert_eq!(rate(&[]), None);
    assert_eq!(rate(&[per_second]), Some((20.0, 20.0)));
    assert_eq!(rate(&[per_second, burst]), Some((20.0, 50.0)));
    assert_eq!(rate(&[("DRUMLIN_RATE_PER_SECOND", "0.5")]), Some((0.5, 1.0)));
}

#[test]
fn encryption_is_asked_for_as_the_variables_say() {
    let asked =
        |variables: &[(&str, &str)]| s3_of(read(&[&[("S3_BUCKET_NAME", "b")], variables].concat()).unwrap()).encryption;
    let kms = ("DRUMLIN_S3_SSE", "aws:kms");
    assert_eq!(asked(&[]), None);
    assert_eq!(asked(&[("DRUMLIN_S3_SSE", "AES256")]), Some(S3Encryption::Aes256));
    assert_eq!(asked(&[kms]), Some(S3Encryption::Kms { key_id: None }));
    let named = Some(S3Encryption::Kms { key_id: Some("arn:k".to_owned()) });
    assert_eq!(asked(&[kms, ("DRUMLIN_S3_SSE_KMS_KEY_ID", "arn:k")]), named);
    let own = crate::settings::S3CustomerKey::parse(OWN_KEY).unwrap();
    assert_eq!(asked(&[(OWN, OWN_KEY)]), Some(S3Encryption::Customer(own)));
}

#[test]
fn limits_and_times_reach_their_places() {
    let settings = read(&[
        ("DRUMLIN_MAX_K", "7"),
        ("DRUMLIN_MAX_BODY_BYTES", "8"),
        ("DRUMLIN_T_KEEP_S", "2"),
        ("DRUMLIN_FLUSH_COMMITS", "200"),
        ("DRUMLIN_MAINTENANCE", "off"),
    ])
    .unwrap();
    assert_eq!((settings.store.limits.k, settings.http.max_body_bytes), (7, 8));
    assert_eq!(settings.store.timing.keep, Duration::from_secs(2));
    assert_eq!((settings.store.timing.flush_commits, settings.store.timing.flush_commits_other), (200, 250));
    assert!(!settings.store.maintenance);
}

#[test]
fn the_limit_of_memory_is_a_size_or_the_containers() {
    let limit = |value: &str| read(&[("DRUMLIN_MEMORY_LIMIT", value)]).unwrap().memory;
    assert_eq!(limit("400MiB"), MemorySetting::Bytes(400 << 20));
    assert_eq!((limit("none"), limit("0")), (MemorySetting::Unlimited, MemorySetting::Unlimited));
    assert_eq!(limit(""), MemorySetting::Found);
    let server = MemoryLimit { bytes: 400 << 20, whole_process: true };
    assert_eq!((limit("400MiB").limit(), limit("none").limit()), (Some(server), None));
    assert!(refusal(&[("DRUMLIN_MEMORY_LIMIT", "a lot")]).contains("DRUMLIN_MEMORY_LIMIT: expected a size"));
    let rest = read(&[("DRUMLIN_IDLE_REST", "600")]).unwrap().store.evict_idle_after;
    assert_eq!(rest, Some(Duration::from_secs(600)));
}

#[test]
fn the_table_shown_by_help_holds_exactly_the_variables_that_are_read() {
    let asked = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        (name == "S3_BUCKET_NAME").then(|| "b".to_owned())
    };
    settings_from(lookup, &Flags::default()).unwrap();
    let shown: BTreeSet<String> = VARIABLES.iter().map(|v| v.name.to_owned()).collect();
    assert_eq!(*asked.borrow(), shown);
}

#[test]
fn the_example_file_names_every_setting_with_the_default_and_the_meaning_that_help_shows() {
    let lines: Vec<&str> = include_str!("../../.env.example").lines().collect();
    let named =
        |line: &&str| line.strip_prefix('#').and_then(|line| line.split_once('=')).is_some_and(|(n, _)| is_name(n));
    let shown: Vec<&str> = lines.iter().copied().filter(named).collect();
    assert_eq!(shown.len(), VARIABLES.len(), "a setting is missing, or named twice");
    for v in VARIABLES {
        // A default that is not a value is described in brackets after the meaning.
        let value = if v.default.contains(' ') || is_name(v.default) { "" } else { v.default };
        let words = if value.is_empty() && !v.default.is_empty() { format!(" ({})", v.default) } else { String::new() };
        let line = format!("#{}={value}", v.name);
        let at = lines.iter().position(|l| *l == line).unwrap_or_else(|| panic!(".env.example has no line {line}"));
        let about = at.checked_sub(1).map(|above| lines[above]).unwrap_or_default();
        assert_eq!(about, format!("# {}{words}", v.meaning), "above {line}");
    }
}

/// Whether a text is the name of a variable.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    text.bytes().all(allowed) && text.bytes().any(|b| b.is_ascii_uppercase())
}

#[test]
fn what_readme_says_of_a_setting_is_what_help_says() {
    let mut compared = 0;
    let settings = include_str!("../../docs/configuration.md").lines().skip_while(|line| *line != "## Settings");
    for line in settings {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", name, default, _, ""] = cells.as_slice() else { continue };
        let Some(v) = VARIABLES.iter().find(|v| format!("`{}`", v.name) == *name) else { continue };
        compared += 1;
        assert_eq!(default.replace('`', ""), v.default, "docs/configuration.md's default of {}", v.name);
    }
    assert!(compared >= 10, "only {compared} rows were compared");
}

#[test]
fn the_defaults_shown_by_help_are_the_defaults() {
    let plain = read(&[]).unwrap();
    let numbers = VARIABLES.iter().filter(|v| v.default.parse::<f64>().is_ok());
    let shown: Vec<(&str, &str)> = numbers.map(|v| (v.name, v.default)).collect();
    let told = read(&shown).unwrap();
    let comparable = |s: &ServeSettings| format!("{:?}", (&s.store, &s.http, s.port, s.shutdown_timeout));
    assert_eq!(comparable(&told), comparable(&plain));
}

#[test]
fn retention_raises_both_times_and_never_shortens_one() {
    let hours = |settings: &ServeSettings| {
        let timing = &settings.store.timing;
        (timing.keep.as_secs() / 3600, timing.garbage.as_secs() / 3600)
    };
    assert_eq!(hours(&read(&[]).unwrap()), (24, 1));
    assert_eq!(hours(&read(&[("DRUMLIN_RETENTION_S", "3600")]).unwrap()), (24, 32));
    assert_eq!(hours(&read(&[("DRUMLIN_RETENTION_S", "604800")]).unwrap()), (168, 212));
    let longer = [("DRUMLIN_RETENTION_S", "604800"), ("DRUMLIN_T_GARBAGE_S", "3600000")];
    assert_eq!(hours(&read(&longer).unwrap()), (168, 1000));
}

#[test]
fn damaged_collections_are_served_only_if_asked_for() {
    assert!(!read(&[]).unwrap().store.serve_damaged);
    assert!(read(&[("DRUMLIN_SERVE_DAMAGED", "read-only")]).unwrap().store.serve_damaged);
    assert!(refusal(&[("DRUMLIN_SERVE_DAMAGED", "true")]).contains("DRUMLIN_SERVE_DAMAGED"));
}
