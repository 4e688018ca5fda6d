//! A folder in Dropbox as a bucket, through its HTTP API. Invariants:
//!
//! - A create is an upload in mode `add`, a swap one in mode `update` with the revision read. Both have
//!   `strict_conflict` and no `autorename`, so that a conflict is an answer and never a second file.
//! - Keys become paths by `names`, which Dropbox cannot confuse.
//! - No key is the folder of another: the call that deletes a file deletes a folder too.
//!
//! Dropbox lists a folder whole and unsorted, so each page lists the folder anew.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::attempt::{chain, collect, over_new_connections, timed_out};
use super::http_client::{HttpOptions, http_date};
use super::parts::parts;
use super::{Bucket, BucketError, Listed, Object, PAGE_KEYS, Page, Place, PutCondition, Stamp, StoreTime, keys};
use crate::error::{Error, Result};
use answer::FileMetadata;
use token::Token;
use wire::{Ask, CallFailure, Wire};

mod answer;
mod names;
mod token;
mod wire;

pub use token::Credentials;

/// The folder of the keys in Dropbox if the settings name none.
pub const DEFAULT_ROOT: &str = "vector_db";
/// One request uploads at most this much; larger contents go in a session.
const MAX_UPLOAD_BYTES: usize = 150 << 20;
/// Writes under way at once: Dropbox locks the whole namespace for each, and answers 429 to a crowd.
const WRITES_IN_FLIGHT: usize = 2;
/// The pause between two looks at a delete that Dropbox makes in the background.
const DELETE_POLL: Duration = Duration::from_millis(500);
/// Entries in one answer of a listing.
const LIST_ENTRIES: u32 = 2_000;

/// Where the folder is and how to use it.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct DropboxSettings {
    /// What proves who we are.
    pub credentials: Credentials,
    /// The folder that holds all keys; empty means the app's folder itself.
    pub root: String,
    /// The URL of the calls without content.
    pub api_url: String,
    /// The URL of the calls with content.
    pub content_url: String,
    /// How calls are made and large objects cut.
    pub http: HttpOptions,
}

impl DropboxSettings {
    /// Settings with production's defaults.
    pub fn new(credentials: Credentials) -> Self {
        DropboxSettings {
            credentials,
            root: DEFAULT_ROOT.into(),
            api_url: "https://api.dropboxapi.com".into(),
            content_url: "https://content.dropboxapi.com".into(),
            http: HttpOptions::default(),
        }
    }
}

/// A bucket in Dropbox; see the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DropboxBucket {
    wire: Wire,
    /// Before every path: empty, or with a slash in front and none at the end.
    root: String,
    writes: Arc<Semaphore>,
    place: Place,
}

#[derive(Deserialize)]
struct FolderPage {
    entries: Vec<FileMetadata>,
    cursor: String,
    has_more: bool,
}

#[derive(Deserialize)]
struct Job {
    #[serde(rename = ".tag")]
    tag: String,
    #[serde(default)]
    async_job_id: Option<String>,
    #[serde(default)]
    entries: Vec<Value>,
}

#[derive(Deserialize)]
struct Session {
    session_id: String,
}

impl DropboxBucket {
    /// Makes a bucket of the settings; sends nothing yet.
    ///
    /// # Errors
    /// `Internal` when the client cannot be made.
    pub fn connect(settings: DropboxSettings) -> Result<Self> {
        let DropboxSettings { credentials, root, api_url, content_url, http } = settings;
        let clients = http.clients()?;
        let root: String = root.split('/').filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect();
        if root.split('/').any(|part| part == "." || part == "..") {
            return Err(Error::invalid(format!("the folder {root:?} cannot be in Dropbox; expected no part . or ..")));
        }
        let ours = DropboxSettings::new(credentials.clone()).api_url == api_url;
        let place = Place {
            kind: "dropbox",
            location: format!("dropbox:{root}/"),
            endpoint: if ours { String::new() } else { api_url.clone() },
            bucket: root.clone(),
        };
        let token = Arc::<Token>::default();
        let wire = Wire { clients, credentials, token, api_url, content_url, http, hold: Arc::default() };
        Ok(DropboxBucket { wire, root, writes: Arc::new(Semaphore::new(WRITES_IN_FLIGHT)), place })
    }

    fn path(&self, key: &str) -> Result<String, BucketError> {
        keys::validate(key)?;
        Ok(format!("{}/{}", self.root, names::encode(key)))
    }

    /// The key of an entry of a listing; `None` for a file of somebody else. The folder's own name may come back in
    /// another case. The key therefore begins after that name's number of parts.
    fn key_of(&self, entry: &FileMetadata) -> Option<String> {
        let inner = entry.path_lower.as_deref()?.split('/').skip(self.root.split('/').count().max(1));
        names::decode(&inner.collect::<Vec<_>>().join("/"))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, BucketError> {
        let closed = |_| BucketError::unknown("the bucket is closed");
        self.writes.acquire().await.map_err(closed)
    }

    /// The size and stamp of an object, without its bytes.
    async fn head(&self, path: &str) -> Result<Object, BucketError> {
        let (found, date) =
            self.wire.json::<FileMetadata>(&Ask::rpc("files/get_metadata", json!({"path": path}))).await?;
        if !found.is_file() {
            return Err(BucketError::NotFound { date });
        }
        let found = found.proven(None)?;
        Ok(Object { bytes: Bytes::new(), size_bytes: size(&found)?, stamp: found.stamp(date) })
    }

    async fn upload(&self, path: String, body: Bytes, mode: Value) -> Result<Stamp, BucketError> {
        let (_turn, length) = (self.turn().await?, body.len() as u64);
        let ask = Ask::upload("files/upload", commit(path, mode), body);
        let (written, date) = self.wire.json::<FileMetadata>(&ask).await?;
        Ok(written.proven(Some(length))?.stamp(date))
    }

    /// Uploads in a session: the file appears when it is finished, whole.
    async fn upload_in_session(&self, path: String, pieces: Vec<Bytes>, mode: Value) -> Result<Stamp, BucketError> {
        let _turn = self.turn().await?;
        let mut rest = parts(pieces, self.wire.http.part_bytes.max(1)).into_iter();
        let first = rest.next().unwrap_or_default();
        let mut offset = first.len() as u64;
        let start = Ask::upload("files/upload_session/start", json!({"close": false}), first);
        let (session, _) = self.wire.json::<Session>(&start).await?;
        for part in rest {
            let length = part.len() as u64;
            let cursor = json!({"session_id": session.session_id, "offset": offset});
            let append = json!({"cursor": cursor, "close": false});
            self.wire.json::<Value>(&Ask::upload("files/upload_session/append_v2", append, part)).await?;
            offset += length;
        }
        let cursor = json!({"session_id": session.session_id, "offset": offset});
        let finish = json!({"cursor": cursor, "commit": commit(path, mode)});
        let ask = Ask::upload("files/upload_session/finish", finish, Bytes::new());
        let (written, date) = self.wire.json::<FileMetadata>(&ask).await?;
        Ok(written.proven(Some(offset))?.stamp(date))
    }

    /// Reads the body of a download into one buffer, within the time its length allows.
    async fn collect(&self, response: reqwest::Response) -> Result<Bytes, BucketError> {
        let message = "reading the body failed: the answer lacks its length".to_owned();
        let length = response.content_length().ok_or(BucketError::unknown(message))?;
        let chunks = stream::unfold(response, |mut response| async {
            let chunk = response.chunk().await.map_err(|error| chain(&error.without_url())).transpose()?;
            Some((chunk, response))
        });
        collect(chunks, length, self.wire.http.limit(length)).await
    }

    async fn delete_one(&self, path: String) -> Result<(), BucketError> {
        let deleted = self.wire.json::<Value>(&Ask::rpc("files/delete_v2", json!({"path": path}))).await;
        match deleted.map_err(BucketError::from).and_then(|(answer, _)| described(&answer)) {
            Err(BucketError::NotFound { .. }) => Ok(()),
            answer => answer,
        }
    }

    async fn delete_batch(&self, paths: &[String]) -> Result<(), BucketError> {
        let entries: Vec<Value> = paths.iter().map(|path| json!({"path": path})).collect();
        let ask = Ask::rpc("files/delete_batch", json!({"entries": entries}));
        let (mut job, _) = self.wire.json::<Job>(&ask).await?;
        let mut id = job.async_job_id.take();
        let limit = self.wire.http.limit(0);
        let deleting = async {
            while job.tag == "async_job_id" || job.tag == "in_progress" {
                let lost = || BucketError::unknown("Dropbox began to delete, but gave no id to ask for the outcome");
                let id = id.get_or_insert_default();
                if id.is_empty() {
                    return Err(lost());
                }
                tokio::time::sleep(DELETE_POLL).await;
                let check = Ask::rpc("files/delete_batch/check", json!({"async_job_id": id}));
                job = self.wire.json::<Job>(&check).await?.0;
            }
            Ok(job)
        };
        let job = tokio::time::timeout(limit, deleting).await.map_err(|_| timed_out(limit))??;
        let absent = |entry: &Value| entry.pointer("/failure/path_lookup/.tag") == Some(&json!("not_found"));
        let left = |entry: &&Value| entry.get(".tag") != Some(&json!("success")) && !absent(entry);
        match job.entries.iter().find(left) {
            None if job.tag == "complete" => Ok(()),
            None => Err(BucketError::unknown(format!("the deletion ended as {}", job.tag))),
            Some(entry) => Err(BucketError::unknown(format!("an object was not deleted: {entry}"))),
        }
    }

    /// All entries below a folder of keys; none if there is no such folder.
    async fn entries(&self, folder: &str) -> Result<(Vec<FileMetadata>, Option<StoreTime>), BucketError> {
        let path = match folder {
            "" => self.root.clone(),
            inner => format!("{}/{}", self.root, names::encode(inner)),
        };
        let begin = json!({"path": path, "recursive": true, "include_deleted": false, "limit": LIST_ENTRIES});
        let (mut found, mut date) = match self.wire.json::<FolderPage>(&Ask::rpc("files/list_folder", begin)).await {
            Ok(answer) => answer,
            Err(CallFailure::Answered(failed)) if is_no_folder(&failed.summary) => {
                return Ok((Vec::new(), failed.date));
            }
            Err(failure) => return Err(failure.into()),
        };
        let mut entries = std::mem::take(&mut found.entries);
        while found.has_more {
            let next = Ask::rpc("files/list_folder/continue", json!({"cursor": found.cursor}));
            let before = found.cursor;
            (found, date) = self.wire.json::<FolderPage>(&next).await?;
            if found.has_more && found.entries.is_empty() && found.cursor == before {
                return Err(BucketError::unknown("Dropbox claims more entries, but shows none"));
            }
            entries.append(&mut found.entries);
        }
        Ok((entries, date))
    }
}

/// Checks that an answer describes the file that it is about.
fn described(answer: &Value) -> Result<(), BucketError> {
    match answer.get("metadata").is_some_and(Value::is_object) {
        true => Ok(()),
        false => Err(BucketError::unknown(
            "an answer that does not come from Dropbox: expected the file's metadata, got none",
        )),
    }
}

fn is_no_folder(summary: &str) -> bool {
    ["path/not_found", "path/not_folder"].iter().any(|words| summary.starts_with(words))
}

fn commit(path: String, mode: Value) -> Value {
    json!({"path": path, "mode": mode, "autorename": false, "mute": true, "strict_conflict": true})
}

fn size(metadata: &FileMetadata) -> Result<u64, BucketError> {
    let message = "Dropbox's answer lacks the size of the object".to_owned();
    metadata.size.ok_or(BucketError::unknown(message))
}

/// Whether the text can be a revision: Dropbox calls a request with anything else malformed.
fn is_revision(text: &str) -> bool {
    text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[async_trait]
impl Bucket for DropboxBucket {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        let path = self.path(key)?;
        if range.as_ref().is_some_and(|range| range.start >= range.end) {
            return self.head(&path).await;
        }
        let ask = Ask::download("files/download", json!({"path": path}), range.clone());
        let response = match self.wire.call(&ask).await {
            Err(CallFailure::Answered(failed)) if failed.status == 416 => return self.head(&path).await,
            answer => answer?,
        };
        let date = http_date(response.headers(), "date");
        let told = response.headers().get("dropbox-api-result").map(|value| value.as_bytes().to_vec());
        let told = told.and_then(|text| serde_json::from_slice::<FileMetadata>(&text).ok());
        let found = told.ok_or(BucketError::unknown("Dropbox's answer lacks the metadata of the object"))?;
        let found = found.proven(None)?;
        let (size_bytes, partial) = (size(&found)?, response.status().as_u16() == 206);
        let mut bytes = self.collect(response).await?;
        if let Some(range) = range
            && !partial
        {
            let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            bytes = bytes.slice(cut(range.start)..cut(range.end));
        }
        Ok(Object { bytes, size_bytes, stamp: found.stamp(date) })
    }

    async fn get_fresh(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        over_new_connections(self.get(key, range)).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        let path = self.path(key)?;
        let mode = match condition {
            PutCondition::Always => json!("overwrite"),
            PutCondition::IfAbsent => json!("add"),
            PutCondition::IfMatch(rev) if is_revision(&rev) => json!({".tag": "update", "update": rev}),
            // No object ever has such a revision.
            PutCondition::IfMatch(_) => return Err(BucketError::Exists { date: None }),
        };
        match body.len() <= MAX_UPLOAD_BYTES {
            true => self.upload(path, body, mode).await,
            false => self.upload_in_session(path, vec![body], mode).await,
        }
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        let path = self.path(key)?;
        let total: usize = pieces.iter().map(Bytes::len).sum();
        match total < self.wire.http.multipart_bytes.min(MAX_UPLOAD_BYTES) {
            true => self.upload(path, pieces.concat().into(), json!("overwrite")).await,
            false => self.upload_in_session(path, pieces, json!("overwrite")).await,
        }
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        let ask = Ask::rpc("files/copy_v2", json!({"from_path": source, "to_path": target, "autorename": false}));
        let copied = {
            let _turn = self.turn().await?;
            self.wire.json::<Value>(&ask).await
        };
        match copied.map_err(BucketError::from) {
            Ok((answer, date)) => {
                described(&answer)?;
                Ok(Stamp { etag: None, date, last_modified: date })
            }
            // Dropbox does not copy over a file. An earlier attempt whose answer was lost may have made this one.
            Err(BucketError::Exists { .. }) => {
                let content = self.get(from, None).await?.bytes;
                self.put_large(to, vec![content]).await
            }
            Err(error) => Err(error),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let (entries, date) = self.entries(folder).await?;
        let mut objects: Vec<Listed> = entries
            .iter()
            .filter(|entry| entry.is_file())
            .filter_map(|entry| {
                let key = self.key_of(entry)?;
                let wanted = key.starts_with(prefix) && after.is_none_or(|after| *key > *after);
                let listed = Listed { key, size_bytes: entry.size?, last_modified: entry.last_modified() };
                wanted.then_some(listed)
            })
            .collect();
        objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let more = objects.len() > PAGE_KEYS;
        objects.truncate(PAGE_KEYS);
        Ok(Page { objects, more, date })
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<std::result::Result<Vec<_>, _>>()?;
        for batch in paths.chunks(PAGE_KEYS) {
            let _turn = self.turn().await?;
            match batch {
                [path] => self.delete_one(path.clone()).await?,
                many => self.delete_batch(many).await?,
            }
        }
        Ok(())
    }

    fn place(&self) -> Place {
        self.place.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_as_dropbox_wants_it_and_keys_are_found_in_it() {
        for (given, root, path_lower) in [
            ("", "", "/catalog/^head"),
            ("/", "", "/catalog/^head"),
            ("Vector DB", "/Vector DB", "/vector db/catalog/^head"),
            ("/A//B/", "/A/B", "/a/b/catalog/^head"),
        ] {
            let credentials = Credentials::AccessToken("t".into());
            let settings = DropboxSettings { root: given.into(), ..DropboxSettings::new(credentials) };
            let bucket = DropboxBucket::connect(settings).unwrap();
            assert_eq!(bucket.path("catalog/HEAD").unwrap(), format!("{root}/catalog/^head"));
            let entry: FileMetadata = serde_json::from_value(json!({"path_lower": path_lower})).unwrap();
            assert_eq!(bucket.key_of(&entry).as_deref(), Some("catalog/HEAD"), "{given:?}");
            assert_eq!(bucket.place().endpoint, "");
        }
    }

    #[test]
    fn only_what_can_be_a_revision_is_sent_as_one() {
        assert!(is_revision("015f9b2c0e3a1b2"));
        for other in ["", "\"absent\"", "0123", "015F9B2C0E3A1B2", "015f9b2c0e3g"] {
            assert!(!is_revision(other), "{other}");
        }
    }
}
