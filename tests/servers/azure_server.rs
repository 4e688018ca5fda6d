//! Azure Blob Storage's REST API after its published description: ETags that every write changes, a failed
//! `If-None-Match: *` as 409, blocks, batches of deletes, and copies that may take a while. Signatures are
//! not checked here; Azurite does that.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use bytes::Bytes;

use crate::web::{Answers, Call, Reply, WebServer, content, decoded, elements, now, reply, xml};

/// The one container of the server.
pub const CONTAINER: &str = "drumlin-test";
/// The one account of the server.
pub const ACCOUNT: &str = "drumlintest";
/// Its key, in base 64.
pub const KEY: &str = "dGVzdC1zZWNyZXQta2V5";

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    tag: String,
    modified: SystemTime,
    /// How often the copying is still told to be under way.
    pending: u32,
}

/// What the server holds.
#[derive(Default)]
pub struct Azure {
    blobs: BTreeMap<String, Stored>,
    blocks: HashMap<String, HashMap<String, Bytes>>,
    writes: u64,
    slow_copies: u32,
}

impl Azure {
    /// Starts an empty server.
    pub async fn start() -> WebServer<Azure> {
        WebServer::start(Azure::default()).await
    }

    /// Tells of later copies that they are under way, so many times.
    pub fn slow_copies(&mut self, times: u32) {
        self.slow_copies = times;
    }

    /// All keys, with the store's prefix.
    pub fn keys(&self) -> Vec<String> {
        self.blobs.keys().cloned().collect()
    }

    fn write(&mut self, key: &str, bytes: Bytes, pending: u32) -> Reply {
        self.writes += 1;
        let stored = Stored { bytes, tag: format!("\"0x8DE{:012X}\"", self.writes), modified: now(), pending };
        let modified = httpdate::fmt_http_date(stored.modified);
        let answer = reply(201, &[("etag", &stored.tag), ("last-modified", &modified)], "");
        self.blobs.insert(key.to_owned(), stored);
        answer
    }

    fn put(&mut self, key: &str, call: &Call) -> Reply {
        match call.query("comp") {
            Some("block") => {
                let id = call.query("blockid").unwrap_or_default().to_owned();
                self.blocks.entry(key.to_owned()).or_default().insert(id, call.body.clone());
                return reply(201, &[], "");
            }
            Some("blocklist") => {
                let blocks = self.blocks.remove(key).unwrap_or_default();
                let body = String::from_utf8_lossy(&call.body).into_owned();
                let found: Option<Vec<Bytes>> =
                    elements(&body, "Uncommitted").into_iter().map(|id| blocks.get(id).cloned()).collect();
                return found
                    .map_or_else(|| failed(400, "InvalidBlockList"), |all| self.write(key, all.concat().into(), 0));
            }
            _ => {}
        }
        if let Some(source) = call.header("x-ms-copy-source") {
            let path =
                source.split('?').next().and_then(|url| url.splitn(4, '/').nth(3)).map(decoded).unwrap_or_default();
            let found = path.strip_prefix(&format!("{CONTAINER}/")).and_then(|source| self.blobs.get(source)).cloned();
            let Some(found) = found else { return failed(404, "CannotVerifyCopySource") };
            self.write(key, found.bytes, self.slow_copies);
            let status = if self.slow_copies == 0 { "success" } else { "pending" };
            return reply(202, &[("x-ms-copy-status", status)], "");
        }
        let present = self.blobs.get(key).map(|stored| stored.tag.as_str());
        if call.header("x-ms-blob-type") != Some("BlockBlob") {
            return failed(400, "InvalidHeaderValue");
        }
        if call.header("if-none-match") == Some("*") && present.is_some() {
            return failed(409, "BlobAlreadyExists");
        }
        if call.header("if-match").is_some_and(|expected| present != Some(expected)) {
            return failed(412, "ConditionNotMet");
        }
        self.write(key, call.body.clone(), 0)
    }

    fn get(&mut self, key: &str, call: &Call) -> Reply {
        let Some(found) = self.blobs.get_mut(key) else { return failed(404, "BlobNotFound") };
        let copying = if found.pending == 0 { "success" } else { "pending" };
        found.pending = found.pending.saturating_sub(1);
        let modified = httpdate::fmt_http_date(found.modified);
        let headers = [("etag", found.tag.as_str()), ("last-modified", &modified), ("x-ms-copy-status", copying)];
        content(call, &found.bytes, &headers).unwrap_or_else(|| failed(416, "InvalidRange"))
    }

    fn list(&self, call: &Call) -> Reply {
        let prefix = call.query("prefix").unwrap_or_default();
        // Both are where to begin, inclusive.
        let from = call.query("marker").or(call.query("startFrom")).unwrap_or_default();
        let most = call.query("maxresults").map_or(5_000, |text| text.parse().unwrap()).min(5_000);
        let found = self.blobs.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let found: Vec<_> = found.filter(|(key, _)| key.as_str() >= from).take(most + 1).collect();
        let mut body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>".to_owned();
        for (key, stored) in found.iter().take(most) {
            let (key, tag, size) = (xml(key), xml(&stored.tag), stored.bytes.len());
            let modified = httpdate::fmt_http_date(stored.modified);
            body.push_str(&format!(
                "<Blob><Name>{key}</Name><Properties><Last-Modified>{modified}</Last-Modified><Etag>{tag}</Etag>\
                 <Content-Length>{size}</Content-Length><Content-Type>application/octet-stream</Content-Type>\
                 </Properties></Blob>"
            ));
        }
        let next = found.get(most).map(|(key, _)| xml(key)).unwrap_or_default();
        body.push_str(&format!("</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"));
        reply(200, &[], body)
    }

    /// Deletes what the parts of the body name, and answers each.
    fn batch(&mut self, call: &Call) -> Reply {
        let body = String::from_utf8_lossy(&call.body).into_owned();
        let named: Vec<String> = body
            .lines()
            .filter_map(|line| line.strip_prefix("DELETE ")?.split(' ').next())
            .map(|path| decoded(path.trim_start_matches('/')))
            .collect();
        if named.len() > 256 {
            return failed(400, "ExceedsMaxBatchRequestCount");
        }
        let mut answers = String::new();
        for (id, path) in named.iter().enumerate() {
            let key = path.strip_prefix(&format!("{CONTAINER}/")).unwrap_or_default();
            let status = match self.blobs.remove(key) {
                Some(_) => "202 Accepted",
                None => "404 The specified blob does not exist.\r\nx-ms-error-code: BlobNotFound",
            };
            answers.push_str(&format!(
                "--batchresponse\r\nContent-Type: application/http\r\nContent-ID: {id}\r\n\r\nHTTP/1.1 {status}\r\n\
                 x-ms-version: 2018-11-09\r\n\r\n"
            ));
        }
        answers.push_str("--batchresponse--\r\n");
        reply(202, &[("content-type", "multipart/mixed; boundary=batchresponse")], answers)
    }
}

fn failed(status: u16, code: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code></Error>");
    reply(status, &[("x-ms-error-code", code)], body)
}

impl Answers for Azure {
    fn answer(&mut self, call: &Call) -> Reply {
        let signed =
            call.header("authorization").is_some_and(|text| text.starts_with(&format!("SharedKey {ACCOUNT}:")));
        if !signed && call.query("sig").is_none() {
            return failed(403, "AuthenticationFailed");
        }
        let path = decoded(call.path.trim_start_matches('/'));
        let (container, key) = path.split_once('/').unwrap_or((path.as_str(), ""));
        if container != CONTAINER {
            return failed(404, "ContainerNotFound");
        }
        match (call.method.as_str(), key) {
            ("GET", "") if call.query("comp") == Some("list") => self.list(call),
            ("POST", "") if call.query("comp") == Some("batch") => self.batch(call),
            ("PUT", key) => self.put(key, call),
            ("GET" | "HEAD", key) => self.get(key, call),
            _ => failed(405, "UnsupportedHttpVerb"),
        }
    }
}
