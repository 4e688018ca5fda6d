//! Keys over real HTTP: who is let in, who is refused, and that neither an answer nor the log tells more than
//! it may. Routes come from the API's own description, which a unit test holds against the router.

mod access;
mod agents;
mod bounds;
mod browsers;
mod command;
mod limits;
mod matrix;
mod pages;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drumlin::http::{HttpSettings, KeyEntry, KeyScope, Keyring};
use drumlin::{CollectionSpec, Scope, Settings, Storage};
use drumlin_test_support::server::{Answer, Server};
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

/// The collection that nobody without a key may hear of.
const HOARD: &str = "treasure-hoard";
/// What an answer to a refused request must never hold.
const SECRET_WORD: &str = "treasure";
/// Chroma's path of the default database.
const DB: &str = "/api/v2/tenants/default_tenant/databases/default_database";

/// The whole log of this process, as JSON lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().clone()).unwrap()
    }

    /// The access line of the request with this id.
    fn line(&self, id: &str) -> Value {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut found: Vec<Value> = lines.filter(|line| line["fields"]["request_id"] == id).collect();
        assert_eq!(found.len(), 1, "one line for {id}: {found:?}");
        let line = found.remove(0);
        assert_eq!((&line["target"], &line["level"]), (&"drumlin::access".into(), &"INFO".into()));
        line["fields"].clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    tracing_subscriber::fmt().json().with_env_filter("drumlin=trace").with_writer(log.clone()).init();
    log
});

/// A key file and the keys in it.
struct Keys {
    folder: tempfile::TempDir,
    entries: Vec<KeyEntry>,
}

impl Keys {
    fn new() -> Keys {
        Keys { folder: tempfile::tempdir().unwrap(), entries: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    fn write(&self) {
        std::fs::write(self.path(), serde_json::to_string(&self.entries).unwrap()).unwrap();
    }

    /// Adds a key, `place` being its tenant and database, and answers it.
    fn add(&mut self, name: &str, scope: KeyScope, place: &[&str]) -> String {
        let mut place = place.iter().map(|part| (*part).to_owned());
        let (tenant, database) = (place.next(), place.next());
        let (name, sha256) = (name.to_owned(), String::new());
        let (key, entry) = KeyEntry::fresh(KeyEntry { name, sha256, scope, tenant, database, expires: None }).unwrap();
        self.entries.push(entry);
        self.write();
        key
    }

    /// A server that asks for these keys and holds the hoard.
    async fn serve(&self, http: HttpSettings) -> Server {
        let keys = Keyring::open(None, Some(self.path())).unwrap();
        serve(HttpSettings { keys, ..http }).await
    }
}

/// A server with the hoard.
async fn serve(http: HttpSettings) -> Server {
    LazyLock::force(&LOG);
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    server.store.wait_until_loaded().await;
    server.store.create_collection(CollectionSpec::new(HOARD)).await.unwrap();
    server
}

/// The four ways to show a key.
const FORMS: [&str; 4] = ["x-api-key", "x-chroma-token", "bearer", "basic"];

fn shown(form: &str, key: &str) -> (&'static str, String) {
    match form {
        "x-api-key" => ("x-api-key", key.to_owned()),
        "x-chroma-token" => ("x-chroma-token", key.to_owned()),
        "bearer" => ("authorization", format!("Bearer {key}")),
        "basic" => ("authorization", format!("Basic {}", STANDARD.encode(format!("anybody:{key}")))),
        other => panic!("{other}"),
    }
}

/// A request with a key, its body an empty object.
async fn ask(server: &Server, method: &str, path: &str, key: &str) -> Answer {
    ask_as(server, method, path, Some(&("x-api-key", key.to_owned()))).await
}

async fn ask_as(server: &Server, method: &str, path: &str, key: Option<&(&str, String)>) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|(name, value)| (*name, value.as_str())));
    let body: &[u8] = if matches!(method, "GET" | "HEAD" | "OPTIONS") { b"" } else { b"{}" };
    server.send(method, path, &headers, body).await
}

/// The value of a header, `None` if it is not there.
fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

/// Asserts that it is refused with that status, in the form of its API, and tells nothing.
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, path: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert!(!answer.text().contains(SECRET_WORD), "{what}: {}", answer.text());
    let body = answer.json();
    let chroma = path.starts_with("/api/v1") || path.starts_with("/api/v2");
    let kind = if chroma { &body["error"] } else { &body["error"]["kind"] };
    let expected = match (chroma, status) {
        (true, 401) => "AuthError",
        (true, 403) => "AuthorizationError",
        (true, _) => "RateLimitError",
        (false, 429) => "limit",
        (false, _) => "unauthorized",
    };
    assert_eq!(kind, expected, "{what}: {body}");
    assert_eq!(header(answer, "www-authenticate").is_some(), status == 401, "{what}: {}", answer.headers);
}
