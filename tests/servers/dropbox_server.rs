//! Dropbox's HTTP API after its published description: revisions, write modes with strict conflicts, upload
//! sessions, listings with cursors in no order, batched deletes that run in the background, tokens that end,
//! and 429 with Retry-After. Paths do not tell upper from lower case.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::web::{Answers, Call, Reply, WebServer, content, iso, now, pairs, reply};

/// What gets access tokens here.
pub const REFRESH_TOKEN: &str = "test-refresh-token";
/// The app's key.
pub const APP_KEY: &str = "test-app-key";
/// The app's secret.
pub const APP_SECRET: &str = "test-app-secret";

/// One request uploads no more.
const MAX_UPLOAD_BYTES: usize = 150 << 20;
/// Entries in one answer of a listing: few, so that cursors are needed.
const LIST_ENTRIES: usize = 300;

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    rev: String,
    modified: SystemTime,
    display: String,
}

/// What the server holds.
#[derive(Default)]
pub struct Dropbox {
    /// By path in lower case.
    files: BTreeMap<String, Stored>,
    sessions: HashMap<String, Vec<u8>>,
    cursors: HashMap<String, (Vec<Value>, usize)>,
    jobs: HashMap<String, Value>,
    numbers: u64,
    tokens: Vec<String>,
    tokens_granted: u64,
    busy_until: Option<(Instant, u64)>,
    calls_while_busy: u64,
}

impl Dropbox {
    /// Starts an empty server.
    pub async fn start() -> WebServer<Dropbox> {
        WebServer::start(Dropbox::default()).await
    }

    /// All paths as they were written.
    pub fn paths(&self) -> Vec<String> {
        self.files.values().map(|stored| stored.display.clone()).collect()
    }

    /// Puts a file there as another program would.
    pub fn add_file(&mut self, path: &str) {
        self.write(path, Bytes::from_static(b"foreign"));
    }

    /// Makes all access tokens expire.
    pub fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    /// A valid access token.
    pub fn grant_token(&mut self) -> String {
        self.tokens_granted += 1;
        let token = format!("access-token-{}", self.tokens_granted);
        self.tokens.push(token.clone());
        token
    }

    /// How many access tokens have been granted.
    pub fn tokens_granted(&self) -> u64 {
        self.tokens_granted
    }

    /// Answers 429 to the next call and asks to be left alone for `wait`.
    pub fn be_busy(&mut self, wait: Duration) {
        self.busy_until = Some((Instant::now() + wait, wait.as_secs()));
        self.calls_while_busy = 0;
    }

    /// How many calls came before the time was up.
    pub fn calls_while_busy(&self) -> u64 {
        self.calls_while_busy
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn write(&mut self, path: &str, bytes: Bytes) -> Value {
        let rev = format!("015f{:09x}", self.number());
        let stored = Stored { bytes, rev, modified: now(), display: path.to_owned() };
        let value = metadata(&path.to_lowercase(), &stored);
        self.files.insert(path.to_lowercase(), stored);
        value
    }

    /// Writes a file under the conditions of a commit.
    fn commit(&mut self, commit: &Value, bytes: Bytes) -> Reply {
        let path = commit["path"].as_str().unwrap_or_default();
        if let Some(wrong) = malformed(path) {
            return own_error(wrong);
        }
        if commit["autorename"] != json!(false) || commit["strict_conflict"] != json!(true) {
            return reply(400, &[], "this server wants strict conflicts and no new names");
        }
        let lower = path.to_lowercase();
        if self.files.keys().any(|key| key.starts_with(&format!("{lower}/"))) {
            return own_error("path/conflict/folder/");
        }
        let present = self.files.get(&lower).map(|stored| stored.rev.as_str());
        let allowed = match &commit["mode"] {
            Value::String(mode) if mode == "overwrite" => true,
            Value::String(mode) if mode == "add" => present.is_none(),
            mode if mode[".tag"] == "update" => {
                let expected = mode["update"].as_str().unwrap_or_default();
                if expected.len() < 9 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return reply(400, &[], "Error in call to API function: rev did not match pattern");
                }
                present == Some(expected)
            }
            _ => return reply(400, &[], "Error in call to API function: unknown mode"),
        };
        match allowed {
            true => json_reply(&self.write(path, bytes)),
            false => own_error("path/conflict/file/.."),
        }
    }

    fn session(&mut self, endpoint: &str, argument: &Value, body: &Bytes) -> Reply {
        if endpoint == "start" {
            let id = format!("session-{}", self.number());
            self.sessions.insert(id.clone(), body.to_vec());
            return json_reply(&json!({"session_id": id}));
        }
        let id = argument["cursor"]["session_id"].as_str().unwrap_or_default();
        let Some(held) = self.sessions.get_mut(id) else { return own_error("lookup_failed/not_found/") };
        if argument["cursor"]["offset"] != json!(held.len()) {
            return own_error("lookup_failed/incorrect_offset/");
        }
        held.extend_from_slice(body);
        if endpoint == "append_v2" {
            return json_reply(&Value::Null);
        }
        let whole = self.sessions.remove(id).unwrap_or_default();
        self.commit(&argument["commit"], whole.into())
    }

    fn download(&self, argument: &Value, call: &Call) -> Reply {
        let lower = argument["path"].as_str().unwrap_or_default().to_lowercase();
        let Some(found) = self.files.get(&lower) else { return own_error("path/not_found/.") };
        let told = metadata(&lower, found).to_string();
        content(call, &found.bytes, &[("dropbox-api-result", &told)]).unwrap_or_else(|| reply(416, &[], ""))
    }

    fn copy(&mut self, argument: &Value) -> Reply {
        let text = |name: &str| argument[name].as_str().unwrap_or_default().to_owned();
        let (from, to) = (text("from_path").to_lowercase(), text("to_path"));
        let Some(found) = self.files.get(&from).cloned() else { return own_error("from_lookup/not_found/..") };
        if self.files.contains_key(&to.to_lowercase()) {
            return own_error("to/conflict/file/..");
        }
        let written = self.write(&to, found.bytes);
        json_reply(&json!({"metadata": written}))
    }

    fn list(&mut self, argument: &Value) -> Reply {
        let lower = argument["path"].as_str().unwrap_or_default().to_lowercase();
        let inside = format!("{lower}/");
        let mut entries: Vec<Value> = Vec::new();
        for (path, stored) in self.files.iter().filter(|(path, _)| path.starts_with(&inside)) {
            entries.push(metadata(path, stored));
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if folder.len() > lower.len() && !entries.iter().any(|entry| entry["path_lower"] == folder) {
                entries.push(json!({".tag": "folder", "path_lower": folder, "name": folder}));
            }
        }
        if entries.is_empty() && !lower.is_empty() {
            return own_error("path/not_found/..");
        }
        // In no order.
        entries.sort_by_key(|entry| xxhash_rust::xxh3::xxh3_64(entry.to_string().as_bytes()));
        let cursor = format!("cursor-{}", self.number());
        self.cursors.insert(cursor.clone(), (entries, 0));
        self.list_on(&cursor)
    }

    fn list_on(&mut self, cursor: &str) -> Reply {
        let Some((entries, at)) = self.cursors.get_mut(cursor) else { return own_error("reset/") };
        let page: Vec<Value> = entries.iter().skip(*at).take(LIST_ENTRIES).cloned().collect();
        *at += page.len();
        json_reply(&json!({"entries": page, "cursor": cursor, "has_more": *at < entries.len()}))
    }

    /// Deletes a file, or a folder with all that is in it.
    fn delete(&mut self, path: &Value) -> Option<Value> {
        let lower = path.as_str().unwrap_or_default().to_lowercase();
        let inside = format!("{lower}/");
        let before = self.files.len();
        self.files.retain(|path, _| *path != lower && !path.starts_with(&inside));
        (self.files.len() < before).then(|| json!({".tag": "file", "path_lower": lower}))
    }

    fn delete_batch(&mut self, argument: &Value) -> Reply {
        let entries = argument["entries"].as_array().cloned().unwrap_or_default();
        if entries.len() > 1_000 {
            return reply(400, &[], "Error in call to API function: too many entries");
        }
        let mut results = Vec::new();
        for entry in &entries {
            results.push(match self.delete(&entry["path"]) {
                Some(metadata) => json!({".tag": "success", "metadata": metadata}),
                None => {
                    let why = json!({".tag": "path_lookup", "path_lookup": {".tag": "not_found"}});
                    json!({".tag": "failure", "failure": why})
                }
            });
        }
        let done = json!({".tag": "complete", "entries": results});
        if entries.len() < 4 {
            return json_reply(&done);
        }
        let id = format!("job-{}", self.number());
        self.jobs.insert(id.clone(), done);
        json_reply(&json!({".tag": "async_job_id", "async_job_id": id}))
    }

    fn check_job(&mut self, argument: &Value) -> Reply {
        let id = argument["async_job_id"].as_str().unwrap_or_default();
        self.jobs.remove(id).map_or_else(|| own_error("invalid_async_job_id/"), |done| json_reply(&done))
    }

    fn token(&mut self, call: &Call) -> Reply {
        let form = pairs(&String::from_utf8_lossy(&call.body));
        let has = |name: &str, value: &str| form.iter().any(|(n, v)| n == name && v == value);
        let right = has("grant_type", "refresh_token")
            && has("refresh_token", REFRESH_TOKEN)
            && has("client_id", APP_KEY)
            && has("client_secret", APP_SECRET);
        if !right {
            return reply(400, &[], r#"{"error": "invalid_grant"}"#);
        }
        json_reply(&json!({"access_token": self.grant_token(), "expires_in": 14_400, "token_type": "bearer"}))
    }

    fn refusal(&mut self, call: &Call) -> Option<Reply> {
        let token = call.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.tokens.iter().any(|valid| valid == token)) {
            return Some(reply(401, &[], r#"{"error_summary": "expired_access_token/", "error": {}}"#));
        }
        let (until, wait) = self.busy_until?;
        if Instant::now() >= until {
            self.busy_until = None;
            return None;
        }
        self.calls_while_busy += 1;
        let body = r#"{"error_summary": "too_many_write_operations/", "error": {"retry_after": 1}}"#;
        Some(reply(429, &[("retry-after", &wait.to_string())], body))
    }
}

fn metadata(lower: &str, stored: &Stored) -> Value {
    json!({
        ".tag": "file",
        "name": stored.display.rsplit('/').next(),
        "id": "id:a4ayc_80_OEAAAAAAAAAXw",
        "path_lower": lower,
        "path_display": stored.display,
        "client_modified": iso(stored.modified),
        "server_modified": iso(stored.modified),
        "rev": stored.rev,
        "size": stored.bytes.len(),
    })
}

fn malformed(path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let sound = path.starts_with('/') && parts.iter().all(|part| !part.is_empty() && !part.ends_with(['.', ' ']));
    match sound && parts.iter().all(|part| part.len() <= 255 && !part.contains('\\')) {
        true => None,
        false => Some("path/malformed_path/"),
    }
}

fn json_reply(value: &Value) -> Reply {
    reply(200, &[("content-type", "application/json")], value.to_string())
}

fn own_error(summary: &str) -> Reply {
    reply(409, &[], json!({"error_summary": summary, "error": {".tag": "other"}}).to_string())
}

impl Answers for Dropbox {
    fn answer(&mut self, call: &Call) -> Reply {
        if call.path == "/oauth2/token" {
            return self.token(call);
        }
        if let Some(refusal) = self.refusal(call) {
            return refusal;
        }
        let endpoint = call.path.strip_prefix("/2/files/").unwrap_or_default();
        let argument = match call.header("dropbox-api-arg") {
            Some(text) => serde_json::from_str(text),
            None => serde_json::from_slice(&call.body),
        };
        let Ok(argument) = argument else { return reply(400, &[], "Error in call to API function: no JSON") };
        match endpoint {
            "upload" if call.body.len() > MAX_UPLOAD_BYTES => reply(413, &[], "payload too large"),
            "upload" => self.commit(&argument, call.body.clone()),
            "download" => self.download(&argument, call),
            "get_metadata" => {
                let lower = argument["path"].as_str().unwrap_or_default().to_lowercase();
                match self.files.get(&lower) {
                    Some(found) => json_reply(&metadata(&lower, found)),
                    None => own_error("path/not_found/.."),
                }
            }
            "copy_v2" => self.copy(&argument),
            "list_folder" => self.list(&argument),
            "list_folder/continue" => self.list_on(argument["cursor"].as_str().unwrap_or_default()),
            "delete_v2" => match self.delete(&argument["path"]) {
                Some(metadata) => json_reply(&json!({"metadata": metadata})),
                None => own_error("path_lookup/not_found/.."),
            },
            "delete_batch" => self.delete_batch(&argument),
            "delete_batch/check" => self.check_job(&argument),
            other => match other.strip_prefix("upload_session/") {
                Some(step) => self.session(step, &argument, &call.body),
                None => reply(404, &[], "no such endpoint"),
            },
        }
    }
}
