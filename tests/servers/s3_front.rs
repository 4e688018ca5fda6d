//! What stands before the S3 server and does the mischief that a plan asks for: requests are slowed down,
//! refused, cut off, or answered by something that is no store.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use s3s::service::S3Service;
use tokio::time::sleep;

/// A request as a plan sees it.
pub struct Asked<'a> {
    /// Its number, from 0.
    pub index: u64,
    /// GET, PUT, …
    pub method: &'a str,
    /// `/bucket/key?query`, as sent.
    pub path: &'a str,
    /// The headers, as sent.
    pub headers: &'a http::HeaderMap,
    /// The number of the connection that it came over, from 0.
    pub connection: u64,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// It is served.
    None,
    /// 503 SlowDown, not applied.
    Unavailable,
    /// 501 NotImplemented, not applied.
    NotImplemented,
    /// The connection is cut, nothing is applied.
    CutBefore,
    /// It is applied, then the connection is cut.
    CutAfter,
    /// It is served after so many milliseconds.
    SlowMs(u64),
    /// Something that is no store answers with 200 and a page of text; nothing is applied.
    Page,
    /// Something that is no store answers with 200 and nothing else; nothing is applied.
    Empty,
    /// It is served; half of the answer's body comes, and the headers say that this is all.
    Cut,
    /// It is served; one bit of the answer's body is changed.
    Flipped,
    /// Somebody else answers in the store's place; nothing is applied.
    Instead(Instead),
}

/// An answer of somebody else than the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instead {
    /// The status.
    pub status: u16,
    /// The content type; empty for none.
    pub kind: &'static str,
    /// Further headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body.
    pub body: &'static str,
}

impl Instead {
    /// A page for people.
    pub const fn page(status: u16) -> Mischief {
        let (kind, body) = ("text/html; charset=utf-8", "<html><body>Please sign in</body></html>");
        Mischief::Instead(Instead { status, kind, headers: &[], body })
    }

    /// Nothing at all.
    pub const fn nothing(status: u16) -> Mischief {
        Mischief::Instead(Instead { status, kind: "", headers: &[], body: "" })
    }

    /// A document.
    pub const fn document(status: u16, body: &'static str) -> Mischief {
        Mischief::Instead(Instead { status, kind: "application/xml", headers: &[], body })
    }

    /// It as a response; one to `HEAD` has no body.
    pub fn response(self, method: &str) -> http::Response<Bytes> {
        let mut response = http::Response::builder().status(self.status);
        for (name, value) in self.headers.iter().copied().chain([("content-type", self.kind)]) {
            if !value.is_empty() {
                response = response.header(name, value);
            }
        }
        response.body(Bytes::from_static(if method == "HEAD" { b"" } else { self.body.as_bytes() })).unwrap()
    }
}

pub(crate) type Plan = Box<dyn FnMut(&Asked<'_>) -> Mischief + Send>;

/// What is common to all connections of a server.
pub(crate) struct Control {
    pub(crate) plan: Mutex<Plan>,
    pub(crate) latency_ms: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) rewrites: Mutex<Rewrites>,
}

impl Default for Control {
    fn default() -> Self {
        let plan: Mutex<Plan> = Mutex::new(Box::new(|_| Mischief::None));
        Control { plan, latency_ms: AtomicU64::new(0), requests: AtomicU64::new(0), rewrites: Mutex::default() }
    }
}

/// The least time between two writes of one key, as R2 has it, and when each was last written.
#[derive(Default)]
pub(crate) struct Rewrites {
    pub(crate) pause: Option<Duration>,
    written: HashMap<String, Instant>,
    pub(crate) refused: u64,
}

impl Rewrites {
    /// Whether a request comes too early after the last write of its key; a write that does not counts.
    fn too_early(&mut self, method: &str, path: &str) -> bool {
        let (Some(pause), "PUT") = (self.pause, method) else { return false };
        if path.contains("uploadId=") {
            return false;
        }
        let key = path.split('?').next().unwrap_or_default();
        let early = self.written.get(key).is_some_and(|written| written.elapsed() < pause);
        if early {
            self.refused += 1;
        } else {
            self.written.insert(key.to_owned(), Instant::now());
        }
        early
    }
}

/// Stands before the service and does the mischief.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) control: Arc<Control>,
    pub(crate) service: S3Service,
    pub(crate) connection: u64,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Served = Pin<Box<dyn Future<Output = Result<http::Response<s3s::Body>, BoxError>> + Send>>;

impl<B> tower::Service<http::Request<B>> for Front
where
    B: Send + 'static,
    s3s::Body: From<B>,
{
    type Response = http::Response<s3s::Body>;
    type Error = BoxError;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Served {
        let Front { control, service, connection } = self.clone();
        Box::pin(async move {
            let index = control.requests.fetch_add(1, Ordering::SeqCst);
            let path = request.uri().path_and_query().map_or("", |path| path.as_str());
            let (method, headers) = (request.method().as_str(), request.headers());
            let mischief = control.plan.lock()(&Asked { index, method, path, headers, connection });
            let too_early = control.rewrites.lock().too_early(method, path);
            if too_early {
                return error_response(429, "TooManyRequests");
            }
            sleep(Duration::from_millis(control.latency_ms.load(Ordering::SeqCst))).await;
            match mischief {
                Mischief::None => {}
                Mischief::Unavailable => return error_response(503, "SlowDown"),
                Mischief::NotImplemented => return error_response(501, "NotImplemented"),
                Mischief::Instead(instead) => return Ok(in_the_stores_place(instead, method)),
                Mischief::CutBefore => return Err("cut before, as planned".into()),
                Mischief::SlowMs(delay_ms) => sleep(Duration::from_millis(delay_ms)).await,
                Mischief::Page => return page("text/html", "<html><body>Please sign in.</body></html>"),
                Mischief::Empty => return page("application/octet-stream", ""),
                Mischief::Cut | Mischief::Flipped => {
                    let served = service.call(request.map(s3s::Body::from)).await.map_err(|e| format!("{e:?}"))?;
                    return spoilt(served, mischief).await;
                }
                Mischief::CutAfter => {
                    let _lost = service.call(request.map(s3s::Body::from)).await;
                    return Err("cut after, as planned".into());
                }
            }
            service.call(request.map(s3s::Body::from)).await.map_err(|error| format!("{error:?}").into())
        })
    }
}

fn in_the_stores_place(instead: Instead, method: &str) -> http::Response<s3s::Body> {
    instead.response(method).map(s3s::Body::from)
}

fn error_response(status: u16, code: &str) -> Result<http::Response<s3s::Body>, BoxError> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as planned</Message></Error>");
    Ok(http::Response::builder().status(status).body(s3s::Body::from(body))?)
}

/// An answer that no store gave.
fn page(content_type: &str, body: &'static str) -> Result<http::Response<s3s::Body>, BoxError> {
    let page = http::Response::builder().header("content-type", content_type).header("content-length", body.len());
    Ok(page.body(s3s::Body::from(Bytes::from_static(body.as_bytes())))?)
}

/// The store's answer with less or other bytes.
async fn spoilt(served: http::Response<s3s::Body>, mischief: Mischief) -> Result<http::Response<s3s::Body>, BoxError> {
    let (mut head, body) = served.into_parts();
    let mut bytes = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes().to_vec();
    let middle = bytes.len() / 2;
    match mischief {
        Mischief::Cut => bytes.truncate(middle),
        _ => bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1),
    }
    // What has no body, as the answer to a HEAD request, keeps the length that it tells.
    if middle > 0 {
        head.headers.insert("content-length", bytes.len().into());
    }
    Ok(http::Response::from_parts(head, s3s::Body::from(Bytes::from(bytes))))
}
