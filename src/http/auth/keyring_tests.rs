//! Tests of the keyring: which keys are valid before and after the file changes; which files are refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::http::auth::KeyScope;

const FULL: &str = "k7Qw-93hf_0aZx81";

fn entry(name: &str, secret: &str) -> Value {
    json!({"name": name, "sha256": Digest::of(secret.as_bytes()).to_hex(), "scope": "read"})
}

fn name_of(keys: &Keyring, secret: &str) -> Option<String> {
    keys.find(&Digest::of(secret.as_bytes()), SystemTime::now()).map(|key| key.name.clone())
}

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn of(content: &str) -> File {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, content).unwrap();
        File { _folder: folder, path }
    }

    fn open(&self) -> Result<Keyring> {
        Keyring::open(None, Some(self.path.clone()))
    }
}

#[test]
fn each_key_is_found_by_itself_and_nothing_else_is() {
    let secrets: BTreeMap<String, String> =
        (0..50).map(|n| (format!("key-{n}"), format!("secret-number-{n}"))).collect();
    let entries: Vec<Value> = secrets.iter().map(|(name, secret)| entry(name, secret)).collect();
    let file = File::of(&json!(entries).to_string());
    let keys = Keyring::open(Some(Key::full("STORAGE_API_KEY", FULL).unwrap()), Some(file.path.clone())).unwrap();
    assert_eq!((keys.len(), keys.asks_for_keys()), (51, true));
    for (name, secret) in &secrets {
        assert_eq!(name_of(&keys, secret).as_ref(), Some(name));
    }
    assert_eq!(name_of(&keys, FULL).as_deref(), Some("STORAGE_API_KEY"));
    for wrong in
        ["", "secret-number-50", "secret-number-4 ", "SECRET-NUMBER-4", &Digest::of(b"secret-number-4").to_hex()]
    {
        assert_eq!(name_of(&keys, wrong), None, "{wrong}");
    }
    assert_eq!(name_of(&Keyring::default(), FULL), None);
    assert!(!Keyring::default().asks_for_keys());
}

#[test]
fn a_key_is_gone_from_its_end_on() {
    let mut ends = entry("guest", FULL);
    ends["expires"] = json!("2027-01-31");
    let keys = File::of(&json!([ends]).to_string()).open().unwrap();
    let end = std::time::UNIX_EPOCH + Duration::from_secs(1_801_353_600);
    let found = |now| keys.find(&Digest::of(FULL.as_bytes()), now).map(|key| key.scope);
    assert_eq!(found(end - Duration::from_secs(1)), Some(KeyScope::Read));
    assert_eq!(found(end), None);
}

#[test]
fn a_file_that_cannot_be_used_is_refused_by_name_without_its_secrets() {
    let (one, two) = (entry("one", FULL), entry("two", "another-secret-of-ours"));
    let mut unknown = one.clone();
    unknown["secret"] = json!("the-key-itself");
    let mut scope = one.clone();
    scope["scope"] = json!("the-key-itself");
    let mut same_name = two.clone();
    same_name["name"] = json!("one");
    let mut same_key = one.clone();
    same_key["name"] = json!("two");
    let cases = [
        (String::new(), "line 1 column 0"),
        ("{}".to_owned(), "JSON list"),
        (json!(["the-key-itself"]).to_string(), "JSON list"),
        (json!([unknown]).to_string(), "JSON list"),
        (json!([scope]).to_string(), "JSON list"),
        (json!([{"name": "one", "scope": "read"}]).to_string(), "JSON list"),
        (json!([{"name": "one", "sha256": "the-key-itself", "scope": "read"}]).to_string(), "one: sha256"),
        (json!([one, same_name]).to_string(), "two keys are called one"),
        (json!([one, same_key]).to_string(), "one and two are the same key"),
        (" ".repeat((FILE_BYTES + 1) as usize), "at most"),
    ];
    for (content, words) in cases {
        let refused = File::of(&content).open().unwrap_err().message().to_owned();
        assert!(refused.contains("DRUMLIN_KEY_FILE") && refused.contains("keys.json"), "{refused}");
        assert!(refused.contains(words) && !refused.contains("the-key-itself"), "{refused}");
    }
    let missing = Keyring::open(None, Some("/nowhere/keys.json".into())).unwrap_err();
    assert!(missing.message().contains("/nowhere/keys.json: cannot be opened"), "{missing}");
}

#[test]
fn a_changed_file_is_read_anew_and_a_bad_or_missing_one_changes_nothing() {
    let file = File::of(&json!([entry("old", FULL)]).to_string());
    let keys = file.open().unwrap();
    let look = |content: &str| {
        fs::write(&file.path, content).unwrap();
        keys.0.as_ref().unwrap().look(false);
        (name_of(&keys, FULL), name_of(&keys, "another-secret-of-ours"))
    };
    let (old, new) = (Some("old".to_owned()), Some("new-one".to_owned()));
    assert_eq!(look("["), (old.clone(), None));
    assert_eq!(look(&json!([entry("new-one", "another-secret-of-ours")]).to_string()), (None, new.clone()));
    fs::remove_file(&file.path).unwrap();
    keys.reload();
    assert_eq!(name_of(&keys, "another-secret-of-ours"), new);
    assert_eq!(look("[]"), (None, None), "the last key was taken away");
    assert!(keys.asks_for_keys() && keys.is_empty());
}
