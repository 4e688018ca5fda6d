//! The layers around every handler: admission (how many requests at once), the time-out, catching panics, measuring,
//! the log. Order, from outside: observe → CORS → pages of other sites (`origin_guard`) → authorise (`auth`) → admit
//! → handler.
//!
//! The answer to a time-out says what is known. As long as no write was begun, nothing can have been applied. Once
//! one was, its outcome is unknown: the write itself goes on to completion, apart from the request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::access_log::Line;
use super::auth::Requester;
use super::body::Rooms;
use super::chroma;
use super::chroma::error::ChromaError;
use super::connections::Ticket;
use super::error::ApiError;
use super::files;
use super::headers::secure;
use super::{Front, MCP};
use crate::error::{Error, ErrorKind, Result};

/// Whether this request has begun a write.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteBegun(Arc<AtomicBool>);

impl WriteBegun {
    /// Runs a write on a task of its own, so that neither a time-out nor a client that hangs up can cut it off
    /// half-way.
    pub(super) async fn run<T, W>(&self, write: W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        self.0.store(true, Ordering::Relaxed);
        let ended = tokio::spawn(write).await;
        ended.map_err(|e| {
            Error::new(
                ErrorKind::OutcomeUnknown,
                "the write's task ended early; read the collection to see whether it was applied",
            )
            .with_source(e)
        })?
    }
}

/// Admits a request to the API if fewer than the limit are under way, and bounds its time.
pub(super) async fn admit(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    // Health, metrics and the like must answer especially when the server is overloaded.
    let path = request.uri().path();
    if !path.starts_with("/api/") && !path.starts_with("/v1/") && path != MCP && !files::owns(path) {
        return next.run(request).await;
    }
    let Ok(admission) = front.running.clone().try_acquire_owned() else {
        let limit = front.settings.max_concurrent_requests;
        let message =
            format!("{limit} requests are under way, the most at once (DRUMLIN_MAX_CONCURRENT_REQUESTS); try again");
        return refused(request.uri().path(), Error::unavailable(message));
    };
    // The request counts as admitted until the last byte of its answer is sent.
    let ticket = request.extensions().get::<Arc<Ticket>>().cloned();
    let _admission = match ticket {
        Some(ticket) => {
            ticket.keep(admission);
            None
        }
        None => Some(admission),
    };
    let begun = WriteBegun::default();
    request.extensions_mut().insert(begun.clone());
    // The memory is freed with the request, once the handler has answered.
    request.extensions_mut().insert(Rooms::default());
    // A file may take any time as long as bytes keep coming; the code that reads its body checks that.
    let is_file = files::brings_a_file(request.method(), request.uri().path());
    let limit = front.settings.request_timeout;
    let path = request.uri().path().to_owned();
    let (since, requester) = (SystemTime::now(), request.extensions().get::<Requester>().cloned());
    let mut giving_up = front.giving_up.subscribe();
    let cut_short = tokio::select! {
        response = next.run(request) => return response,
        () = tokio::time::sleep(limit), if !is_file => {
            format!("no definite answer within {} s (DRUMLIN_REQUEST_TIMEOUT_S)", limit.as_secs_f64())
        }
        // An error means that no task is left that could stop this server.
        Ok(_) = giving_up.wait_for(|given_up| *given_up) => {
            "the server stops, and the bucket gave no answer in time (DRUMLIN_SHUTDOWN_TIMEOUT_S)".to_owned()
        }
    };
    let why = format!("{cut_short}{}", front.last_words_of_bucket(since, requester.as_ref()));
    refused(&path, unanswered(&why, begun.0.load(Ordering::Relaxed)))
}

impl Front {
    /// What the bucket has answered since a request began, if it failed; to be appended to a message.
    fn last_words_of_bucket(&self, since: SystemTime, requester: Option<&Requester>) -> String {
        let failure = self.store.get().and_then(|store| store.admin().bucket_failure(since));
        match failure {
            None => String::new(),
            // The words may name what this requester may not see.
            Some(_) if !requester.is_some_and(Requester::sees_everything) => "; the bucket failed meanwhile".to_owned(),
            Some(why) => format!("; the bucket's last failure: {why}"),
        }
    }
}

/// What is known about a request that was cut short.
fn unanswered(why: &str, write_begun: bool) -> Error {
    match write_begun {
        true => Error::new(
            ErrorKind::OutcomeUnknown,
            format!("{why}: the write may or may not be applied; read the collection, or send the same upsert again"),
        ),
        false => Error::unavailable(format!("{why}; nothing was changed")),
    }
}

/// A failure in the words of the API that the path belongs to.
fn refused(path: &str, error: Error) -> Response {
    if chroma::owns(path) { ChromaError::from(error).into_response() } else { ApiError::from(error).into_response() }
}

/// Measures and logs every request, turns a panic into a 500, and adds the common headers to every answer.
pub(super) async fn observe(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let mut line = Line::begin(&mut request, front.settings.trust_proxy);
    let _under_way = front.metrics.begin();
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let cause = panic.downcast_ref::<String>().map(String::as_str);
            let cause = cause.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown cause");
            tracing::error!(method = %line.method, path = line.path, cause, "a handler panicked");
            refused(&line.path, Error::internal("a bug in drumlin stopped this request; the log has the cause"))
        }
    };
    secure(&mut response);
    let took = line.end(&mut response);
    front.metrics.record(&line.method, &line.route, response.status(), took);
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Extension, Router, middleware};
    use tower::ServiceExt;

    use super::*;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::fault::{Fault, FaultBucket};
    use crate::bucket::memory::MemoryBucket;
    use crate::config::{Settings, Storage};
    use crate::http::HttpSettings;
    use crate::store::Store;

    fn front() -> Front {
        let settings = HttpSettings { request_timeout: Duration::from_millis(100), ..HttpSettings::default() };
        Front::new(settings, true)
    }

    /// The answer of a server with this one route to a GET of it.
    async fn answer(path: &str, route: axum::routing::MethodRouter) -> (StatusCode, String) {
        answer_to(Requester::Anybody, front(), path, route).await
    }

    async fn answer_to(
        requester: Requester,
        front: Front,
        path: &str,
        route: axum::routing::MethodRouter,
    ) -> (StatusCode, String) {
        let router = Router::new()
            .route(path, route)
            .layer(middleware::from_fn_with_state(front.clone(), admit))
            .layer(middleware::from_fn_with_state(front, observe));
        let request = Request::builder().uri(path).extension(requester).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_handler_that_panics_answers_500_and_tells_no_inner_words() {
        let (status, body) = answer("/boom", get(|| async { panic!("inner words") as &'static str })).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains("\"kind\":\"internal\"") && !body.contains("inner words"), "{body}");
    }

    #[tokio::test]
    async fn a_write_that_takes_too_long_is_of_unknown_outcome_and_goes_on_to_its_end() {
        let (told, end) = tokio::sync::oneshot::channel();
        let told = Arc::new(parking_lot::Mutex::new(Some(told)));
        let handler = get(move |Extension(begun): Extension<WriteBegun>| async move {
            let write = async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                told.lock().take().unwrap().send("written").unwrap();
                Ok("done")
            };
            begun.run(write).await.map_err(ApiError::from)
        });
        let (status, body) = answer("/api/slow", handler).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
        assert!(body.contains("outcome_unknown"), "{body}");
        assert_eq!(end.await, Ok("written"), "the time-out did not cut the write off");
    }

    #[tokio::test]
    async fn a_read_that_takes_too_long_is_unavailable() {
        let handler = get(|| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            "late"
        });
        let (status, body) = answer("/api/slow", handler).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("DRUMLIN_REQUEST_TIMEOUT_S"), "{body}");
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_told_how_the_bucket_failed_meanwhile() {
        let bucket = Arc::new(FaultBucket::new(Arc::new(MemoryBucket::new(StoreClock::machine()))));
        let settings = Settings { maintenance: false, ..Settings::new(Storage::Memory) };
        let store = Store::open_on(settings, bucket.clone()).await.unwrap();
        let slow = || {
            get(|Extension(begun): Extension<WriteBegun>| async move {
                let write = async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok("done")
                };
                begun.run(write).await.map_err(ApiError::from)
            })
        };
        let front = front();
        assert!(front.store.set(store.clone()).is_ok());
        let (_, body) = answer_to(Requester::Anybody, front.clone(), "/api/slow", slow()).await;
        assert!(!body.contains("bucket"), "nothing has failed: {body}");
        bucket.set_plan(|_| Fault::RefuseBefore);
        store.admin().all_collections().await.unwrap_err();
        for (requester, words) in [
            (Requester::Anybody, "the bucket's last failure: the bucket refused: "),
            (Requester::Stranger, "the bucket failed meanwhile"),
        ] {
            let (status, body) = answer_to(requester, front.clone(), "/api/slow", slow()).await;
            assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
            assert!(body.contains("DRUMLIN_REQUEST_TIMEOUT_S") && body.contains(words), "{body}");
        }
    }
}
