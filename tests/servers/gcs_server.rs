//! Google Cloud Storage's XML API after its published description: generations that every write raises,
//! preconditions on them, uploads in parts, and one write a second and object where that is switched on.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::web::{Answers, Call, Reply, WebServer, content, decoded, elements, iso, now, reply, xml};

/// The one bucket of the server.
pub const BUCKET: &str = "drumlin-test";

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    generation: u64,
    modified: SystemTime,
}

impl Stored {
    fn tag(&self) -> String {
        format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(&self.bytes))
    }
}

/// What the server holds.
#[derive(Default)]
pub struct Gcs {
    objects: BTreeMap<String, Stored>,
    uploads: HashMap<String, BTreeMap<usize, Bytes>>,
    last_generation: u64,
    pause: Option<Duration>,
    written: HashMap<String, Instant>,
}

impl Gcs {
    /// Starts an empty server.
    pub async fn start() -> WebServer<Gcs> {
        WebServer::start(Gcs::default()).await
    }

    /// Answers 429 to a second write of an object within `pause`.
    pub fn limit_rewrites(&mut self, pause: Duration) {
        self.pause = Some(pause);
    }

    /// All keys, with the store's prefix.
    pub fn keys(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    /// How many uploads in parts are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    fn write(&mut self, key: &str, bytes: Bytes) -> Reply {
        self.last_generation += 1;
        let stored = Stored { bytes, generation: 1_700_000_000_000_000 + self.last_generation, modified: now() };
        let (generation, tag) = (stored.generation.to_string(), stored.tag());
        self.objects.insert(key.to_owned(), stored);
        reply(200, &[("x-goog-generation", &generation), ("etag", &tag)], "")
    }

    /// What stands against a write, if anything.
    fn refusal(&mut self, key: &str, call: &Call) -> Option<Reply> {
        let present = self.objects.get(key).map_or(0, |stored| stored.generation);
        match call.header("x-goog-if-generation-match").map(str::parse::<u64>) {
            Some(Err(_)) => return Some(failed(400, "InvalidArgument")),
            Some(Ok(expected)) if expected != present => return Some(failed(412, "PreconditionFailed")),
            _ => {}
        }
        let pause = self.pause?;
        let early = self.written.get(key).is_some_and(|written| written.elapsed() < pause);
        if early {
            return Some(failed(429, "SlowDown"));
        }
        self.written.insert(key.to_owned(), Instant::now());
        None
    }

    fn put(&mut self, key: &str, call: &Call) -> Reply {
        if let (Some(upload), Some(number)) = (call.query("uploadId"), call.query("partNumber")) {
            let Some(parts) = self.uploads.get_mut(upload) else { return failed(404, "NoSuchUpload") };
            parts.insert(number.parse().unwrap(), call.body.clone());
            return reply(200, &[("etag", &format!("\"part-{number}\""))], "");
        }
        if let Some(refusal) = self.refusal(key, call) {
            return refusal;
        }
        let Some(source) = call.header("x-goog-copy-source") else { return self.write(key, call.body.clone()) };
        let source = decoded(source);
        let found = source.strip_prefix(&format!("{BUCKET}/")).and_then(|source| self.objects.get(source));
        match found.map(|found| found.bytes.clone()) {
            Some(bytes) => {
                let (parts, _) = self.write(key, bytes).into_parts();
                reply(parts.status.as_u16(), &[], "<CopyObjectResult><ETag>\"copied\"</ETag></CopyObjectResult>")
            }
            None => failed(404, "NoSuchKey"),
        }
    }

    fn post(&mut self, key: &str, call: &Call) -> Reply {
        let Some(upload) = call.query("uploadId") else {
            self.last_generation += 1;
            let id = format!("upload-{}", self.last_generation);
            self.uploads.insert(id.clone(), BTreeMap::new());
            let body =
                format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
            return reply(200, &[], body);
        };
        let Some(parts) = self.uploads.remove(upload) else { return failed(404, "NoSuchUpload") };
        let body = String::from_utf8_lossy(&call.body).into_owned();
        let named = elements(&body, "PartNumber").into_iter().map(|number| number.parse::<usize>().unwrap());
        let found: Option<Vec<Bytes>> = named.map(|number| parts.get(&number).cloned()).collect();
        let Some(found) = found else { return failed(400, "InvalidPart") };
        // All but the last have 5 MiB at least.
        if found.iter().rev().skip(1).any(|part| part.len() < 5 << 20) {
            return failed(400, "EntityTooSmall");
        }
        let (parts, _) = self.write(key, found.concat().into()).into_parts();
        let tag = parts.headers.get("etag").and_then(|tag| tag.to_str().ok()).map(xml).unwrap_or_default();
        let body = format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>");
        Reply::from_parts(parts, body.into())
    }

    fn get(&self, key: &str, call: &Call) -> Reply {
        let Some(found) = self.objects.get(key) else { return failed(404, "NoSuchKey") };
        let (generation, tag) = (found.generation.to_string(), found.tag());
        let modified = httpdate::fmt_http_date(found.modified);
        let headers = [("x-goog-generation", generation.as_str()), ("etag", &tag), ("last-modified", &modified)];
        content(call, &found.bytes, &headers).unwrap_or_else(|| failed(416, "InvalidRange"))
    }

    fn list(&self, call: &Call) -> Reply {
        let prefix = call.query("prefix").unwrap_or_default();
        let after = call.query("continuation-token").or(call.query("start-after")).unwrap_or_default();
        let most = call.query("max-keys").map_or(1_000, |text| text.parse().unwrap()).min(1_000);
        let found = self.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let found: Vec<_> = found.filter(|(key, _)| key.as_str() > after).take(most + 1).collect();
        let mut body = "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>".to_owned();
        for (key, stored) in found.iter().take(most) {
            let (key, size, modified) = (xml(key), stored.bytes.len(), iso(stored.modified));
            let (tag, generation) = (xml(&stored.tag()), stored.generation);
            body.push_str(&format!(
                "<Contents><Key>{key}</Key><Generation>{generation}</Generation><MetaGeneration>1</MetaGeneration>\
                 <LastModified>{modified}</LastModified><ETag>{tag}</ETag><Size>{size}</Size></Contents>"
            ));
        }
        if found.len() > most {
            let token = xml(found[most - 1].0);
            body.push_str(&format!("<NextContinuationToken>{token}</NextContinuationToken>"));
        }
        body.push_str("</ListBucketResult>");
        reply(200, &[], body)
    }
}

fn failed(status: u16, code: &str) -> Reply {
    reply(status, &[], format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"))
}

impl Answers for Gcs {
    fn answer(&mut self, call: &Call) -> Reply {
        if call.header("authorization").is_none_or(|text| text.len() <= "Bearer ".len()) {
            return failed(401, "AuthenticationRequired");
        }
        let path = decoded(call.path.trim_start_matches('/'));
        let (bucket, key) = path.split_once('/').unwrap_or((path.as_str(), ""));
        if bucket != BUCKET {
            return failed(404, "NoSuchBucket");
        }
        match (call.method.as_str(), key) {
            ("GET", "") => self.list(call),
            ("PUT", key) => self.put(key, call),
            ("POST", key) => self.post(key, call),
            ("GET" | "HEAD", key) => self.get(key, call),
            ("DELETE", _) if call.query("uploadId").is_some() => {
                self.uploads.remove(call.query("uploadId").unwrap_or_default());
                reply(204, &[], "")
            }
            ("DELETE", key) => match self.objects.remove(key) {
                Some(_) => reply(204, &[], ""),
                None => failed(404, "NoSuchKey"),
            },
            _ => failed(405, "MethodNotAllowed"),
        }
    }
}
