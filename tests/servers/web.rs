//! What the servers have in common: a listener, requests read whole and answered one after the other, so
//! that every condition is checked and every write made under one lock, and mischief on the way.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::{Asked, Mischief};

/// A request, read whole.
pub struct Call {
    /// GET, PUT, …
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// The query's pairs, decoded.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A value of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The bytes that a `Range` header asks for, within an object of `size`; `Err` if there are none.
    fn range(&self, size: usize) -> Result<Option<std::ops::Range<usize>>, ()> {
        let text = self.header("range").or(self.header("x-ms-range"));
        let Some((start, end)) = text.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) else {
            return Ok(None);
        };
        let (start, last): (usize, usize) = (start.parse().map_err(drop)?, end.parse().map_err(drop)?);
        if start >= size { Err(()) } else { Ok(Some(start..last.saturating_add(1).min(size))) }
    }
}

/// An answer.
pub type Reply = Response<Bytes>;

/// An answer of a status with headers and a body.
pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// The whole of `bytes`, or the range asked for, with `headers`; `None` if the range lies beyond the end.
pub fn content(call: &Call, bytes: &Bytes, headers: &[(&str, &str)]) -> Option<Reply> {
    let range = call.range(bytes.len()).ok()?;
    let told = range.as_ref().map(|r| format!("bytes {}-{}/{}", r.start, r.end - 1, bytes.len()));
    let (status, body) = match range {
        Some(range) => (206, bytes.slice(range)),
        None => (200, bytes.clone()),
    };
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    headers.push(("content-length", &length));
    headers.extend(told.as_deref().map(|told| ("content-range", told)));
    Some(reply(status, &headers, if call.method == "HEAD" { Bytes::new() } else { body }))
}

/// What a server does with a request.
pub trait Answers: Send + 'static {
    /// Answers it; one request at a time.
    fn answer(&mut self, call: &Call) -> Reply;
}

type Plan = Box<dyn FnMut(&Asked<'_>) -> Mischief + Send>;

struct Shared<A> {
    plan: Mutex<Plan>,
    requests: AtomicU64,
    answers: Mutex<A>,
}

/// A running server; stops when dropped.
pub struct WebServer<A> {
    endpoint: String,
    shared: Arc<Shared<A>>,
    task: JoinHandle<()>,
}

impl<A> Drop for WebServer<A> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<A: Answers> WebServer<A> {
    /// Starts on a free port of this machine, on the present tokio runtime.
    pub async fn start(answers: A) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let plan: Mutex<Plan> = Mutex::new(Box::new(|_| Mischief::None));
        let shared = Arc::new(Shared { plan, requests: AtomicU64::new(0), answers: Mutex::new(answers) });
        let front = Front(shared.clone(), 0);
        let task = tokio::spawn(async move {
            // Dropping the set ends the connections together with the server.
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let _ = socket.set_nodelay(true);
                let front = TowerToHyperService::new(Front(front.0.clone(), connection));
                connections.spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), front).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        WebServer { endpoint, shared, task }
    }

    /// The server's URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sets what decides about each later request.
    pub fn set_plan(&self, plan: impl FnMut(&Asked<'_>) -> Mischief + Send + 'static) {
        *self.shared.plan.lock() = Box::new(plan);
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Looks at, or changes, what the server holds.
    pub fn with<T>(&self, look: impl FnOnce(&mut A) -> T) -> T {
        look(&mut self.shared.answers.lock())
    }
}

struct Front<A>(Arc<Shared<A>>, u64);

impl<A> Clone for Front<A> {
    fn clone(&self) -> Self {
        Front(self.0.clone(), self.1)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Served = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

impl<A, B> tower::Service<http::Request<B>> for Front<A>
where
    A: Answers,
    B: BodyExt + Send + 'static,
    B::Data: Send,
    B::Error: Display,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Served {
        let (shared, connection) = (self.0.clone(), self.1);
        Box::pin(async move {
            let index = shared.requests.fetch_add(1, Ordering::SeqCst);
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
            let (method, headers) = (parts.method.as_str(), &parts.headers);
            let mischief = shared.plan.lock()(&Asked { index, method, path, headers, connection });
            match mischief {
                Mischief::None | Mischief::CutAfter | Mischief::Cut | Mischief::Flipped => {}
                Mischief::Page => return Ok(page().map(Full::new)),
                Mischief::Empty => return Ok(reply(200, &[], "").map(Full::new)),
                Mischief::Unavailable => return Ok(reply(503, &[], "as planned").map(Full::new)),
                Mischief::NotImplemented => return Ok(reply(501, &[], "as planned").map(Full::new)),
                Mischief::Instead(instead) => return Ok(instead.response(method).map(Full::new)),
                Mischief::CutBefore => return Err("cut before, as planned".into()),
                Mischief::SlowMs(delay_ms) => sleep(Duration::from_millis(delay_ms)).await,
            }
            let body = body.collect().await.map_err(|error| format!("the body broke off: {error}"))?.to_bytes();
            let call = Call {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: pairs(parts.uri.query().unwrap_or_default()),
                headers: parts.headers,
                body,
            };
            let answer = shared.answers.lock().answer(&call);
            match mischief {
                Mischief::CutAfter => Err("cut after, as planned".into()),
                Mischief::Cut | Mischief::Flipped => Ok(spoilt(answer, mischief).map(Full::new)),
                _ => Ok(answer.map(Full::new)),
            }
        })
    }
}

fn page() -> Reply {
    reply(200, &[("content-type", "text/html")], "<html><body>Please sign in.</body></html>")
}

/// The answer with less or other bytes.
fn spoilt(answer: Reply, mischief: Mischief) -> Reply {
    let (mut head, body) = answer.into_parts();
    let (mut bytes, middle) = (body.to_vec(), body.len() / 2);
    match mischief {
        Mischief::Cut => bytes.truncate(middle),
        _ => bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1),
    }
    if middle > 0 {
        head.headers.insert("content-length", bytes.len().into());
    }
    Reply::from_parts(head, bytes.into())
}

/// The pairs of a query or form.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

/// Text without its percent-encoding.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, tail.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text as XML wants it.
pub fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The texts of all elements of a name.
pub fn elements<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).collect()
}

/// Now, in whole seconds, as stores tell time.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// A time of day in UTC, `2006-01-02T15:04:05Z`.
pub fn iso(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (mut days, mut year, mut month) = (seconds / 86_400, 1970, 0);
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}
