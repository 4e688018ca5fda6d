//! Tests of names: which are taken for typos, which get a note, and which are left alone.

use super::super::Flags;
use super::super::settings::settings_from;
use super::*;

fn notes(names: &[&str]) -> Vec<String> {
    strangers(names.iter().map(|name| (*name).to_owned())).iter().map(Stranger::sentence).collect()
}

/// Checks the names of `variables` together with the settings from their values.
fn checked(variables: &[(&str, &str)], flags: &Flags) -> Result<Vec<String>> {
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let settings = settings_from(lookup, flags)?;
    let names = variables.iter().map(|(name, _)| (*name).to_owned());
    check(names, settings.by_default, !settings.keys.ask_for_keys())
}

#[test]
fn names_that_look_like_settings_are_told_whatever_they_begin_with_and_with_what_is_meant() {
    for (name, meant) in [
        ("S3_BUCKT_NAME", "S3_BUCKET_NAME"),
        ("S3_BUCKET", "S3_BUCKET_NAME"),
        ("s3_bucket_name", "S3_BUCKET_NAME"),
        ("S3BUCKET_NAME", "S3_BUCKET_NAME"),
        ("AWS_ENDPOINT", "AWS_ENDPOINT_URL"),
        ("AWS_ACESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCES_KEY", "AWS_SECRET_ACCESS_KEY"),
        ("STORAGE_APIKEY", "STORAGE_API_KEY"),
        ("STORGE_API_KEY", "STORAGE_API_KEY"),
        ("R2_BUCKET", "R2_BUCKET_NAME"),
        ("R2_ACCES_KEY_ID", "R2_ACCESS_KEY_ID"),
        ("GCS_BUCKETNAME", "GCS_BUCKET_NAME"),
        ("GOOGLE_APPLICATION_CREDENTIAL", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("AZURE_STORAGE_CONTAINR", "AZURE_STORAGE_CONTAINER"),
        ("DROPBOX_REFRESHTOKEN", "DROPBOX_REFRESH_TOKEN"),
        ("AUTODELETE", "AUTO_DELETE"),
        ("DRUMLIN_MAX_KK", "DRUMLIN_MAX_K"),
        ("DRUMLIN_MEM_LIMIT", "DRUMLIN_MEMORY_LIMIT"),
        ("DRUMLN_DATA", "DRUMLIN_DATA"),
        ("DRUMLIN_AUTO_DELETE", "AUTO_DELETE"),
    ] {
        assert_eq!(notes(&[name]), [format!("{name} is set, but there is no such setting; did you mean {meant}?")]);
    }
    for name in ["R2_D2", "STORAGE_UNIT_ON_THE_MOON"] {
        assert!(notes(&[name])[0].contains("`drumlin serve --help` lists all"), "{:?}", notes(&[name]));
    }
}

#[test]
fn settings_and_what_others_set_are_left_alone() {
    let ours = VARIABLES.iter().map(|variable| variable.name);
    let others = [
        "PATH",
        "HOSTNAME",
        "PORTS",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL_STS",
        "AWS_CONFIG_FILE",
        "AWS_PAGER",
        "DRUMLIN_TEST_S3_ENDPOINT",
        "DRUMLIN_SERVICE_HOST",
        "DRUMLIN_SERVICE_PORT",
        "DRUMLIN_SERVICE_PORT_HTTP",
        "DRUMLIN_PORT_8000_TCP",
        "DRUMLIN_PORT_8000_TCP_ADDR",
        "S3_SERVICE_HOST",
        "GOOGLE_API_KEY",
        "DATABASE_URL",
        "DRUMLIN_PORT_53_UDP_ADDR",
    ];
    assert_eq!(notes(&ours.chain(others).collect::<Vec<_>>()), Vec::<String>::new());
}

#[test]
fn a_near_miss_stops_the_start_where_data_would_go_elsewhere_or_a_server_be_open() {
    let none = Flags::default();
    for (name, meant) in
        [("S3_BUCKT_NAME", "S3_BUCKET_NAME"), ("S3_BUCKET", "S3_BUCKET_NAME"), ("DRUMLIN_DTA", "DRUMLIN_DATA")]
    {
        let message = checked(&[(name, "hush")], &none).unwrap_err().message().to_owned();
        assert!(message.starts_with(&format!("{name} is set")) && message.contains(meant), "{message}");
        assert!(message.contains("drumlin-data") && !message.contains("hush"), "{message}");
        // A variable that says where the data is must be intended.
        let named: [&[(&str, &str)]; 3] = [
            &[(name, "x"), ("S3_BUCKET_NAME", "b")],
            &[(name, "x"), ("STORAGE_PATH", "/d")],
            &[(name, "x"), ("DRUMLIN_DATA", "/d")],
        ];
        for variables in named {
            assert_eq!(checked(variables, &none).map(|notes| notes.len()).map_err(|e| e.to_string()), Ok(1));
        }
        for flags in [Flags { memory: true, ..Flags::default() }, Flags { data: Some("d".into()), ..Flags::default() }]
        {
            assert_eq!(checked(&[(name, "x")], &flags).map(|notes| notes.len()).map_err(|e| e.to_string()), Ok(1));
        }
    }
    for (name, meant) in [("STORAGE_APIKEY", "STORAGE_API_KEY"), ("DRUMLIN_KEYFILE", "DRUMLIN_KEY_FILE")] {
        let message = checked(&[(name, "hush"), ("DRUMLIN_DATA", "/d")], &none).unwrap_err().message().to_owned();
        assert!(message.contains(meant) && message.contains("no request would need a key"), "{message}");
        assert!(!message.contains("hush"), "{message}");
        let with_key = [(name, "x"), ("STORAGE_API_KEY", "k7Qw-93hf_0aZx81"), ("DRUMLIN_DATA", "/d")];
        assert_eq!(checked(&with_key, &none).map(|notes| notes.len()).map_err(|e| e.to_string()), Ok(1));
    }
    // Names that other programs commonly use get a note only.
    for name in ["STORAGE_HOME", "STORAGE_NODE", "STORAGE_MODEL", "STORAGE_DATA", "STORAGE_PASS", "STORAGE_KEY"] {
        assert_eq!(checked(&[(name, "x")], &none).map(|notes| notes.len()).map_err(|e| e.to_string()), Ok(1));
    }
    // Another program's bucket gets a note only.
    let other = checked(&[("AWS_S3_BUCKET", "x")], &none).unwrap();
    assert!(other[0].contains("did you mean S3_BUCKET_NAME?"), "{other:?}");
}

#[test]
fn a_refusal_names_the_typo_that_may_be_its_cause() {
    let names = || ["R2_ACCES_KEY_ID".to_owned(), "PATH".to_owned()];
    let message = hint(names(), "R2_ACCESS_KEY_ID: expected the key of an R2 token, got nothing");
    assert!(
        message.ends_with("(R2_ACCES_KEY_ID is set, but there is no such setting; did you mean R2_ACCESS_KEY_ID?)")
    );
    assert_eq!(hint(names(), "PORT: expected a number"), "PORT: expected a number");
}
