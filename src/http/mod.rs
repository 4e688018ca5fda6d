//! The HTTP server: wire types and routes, nothing else, of the native API and of Chroma's (`chroma`). It is one user of [`Store`] among others and
//! has no private door to it. Every route is in one table (`routes`); every failure, a wrong path or
//! a panic included, answers JSON `{"error": {"kind", "message"}}`; nothing a client sends stops the
//! server or makes it hold more than its settings allow.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod access_log;
mod answer;
mod arrow;
mod auth;
mod body;
mod bounded;
mod chroma;
mod client;
mod coding;
mod collections;
mod connections;
mod documentation;
mod error;
mod files;
mod headers;
mod incoming;
mod listen;
mod meter;
mod metrics;
mod middleware;
mod operations;
mod origin_guard;
mod records;
mod sent;
mod socket;
mod starting;
mod stream;
mod wire;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, post};
use tokio::sync::{Semaphore, watch};

use crate::error::{Error, ErrorKind};
use crate::store::Store;
use auth::{Permissions, RateLimiter};
use error::ApiError;
use metrics::Metrics;

pub use auth::{Key, KeyEntry, KeyScope, Keyring, Rate};
pub use body::check_name;
pub use chroma::chroma_collection;
pub use files::FileKinds;
pub use headers::CorsOrigins;
pub use listen::{serve, serve_opening};

/// What the server allows.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// Bytes of the body of a search, a get or a delete, where that is less.
    pub max_query_bytes: usize,
    /// Neighbours of one search in all; one for more is refused. A get is written while it is sent, and has no limit.
    pub max_answer_records: usize,
    /// Requests to `/api` under way at once; more are answered 503.
    pub max_concurrent_requests: usize,
    /// Open connections. Where all are taken, one without a request under way makes room; else more wait.
    pub max_connections: usize,
    /// How long a connection may be open without a whole request.
    pub connection_idle: Duration,
    /// How long a request's body may stand still, and an answer whose client takes nothing.
    pub body_idle: Duration,
    /// Time for one request, from its headers to its answer.
    pub request_timeout: Duration,
    /// Time for requests under way once the server is told to stop.
    pub drain_timeout: Duration,
    /// Which kinds of files may be uploaded.
    pub file_kinds: FileKinds,
    /// Whether `GET /download/{job_id}` deletes what it has sent whole, unless the upload or the download says no.
    pub auto_delete: bool,
    /// Whether `POST /api/v2/reset` may drop everything.
    pub allow_reset: bool,
    /// The keys that requests must bring; by default none is asked for.
    pub keys: Keyring,
    /// How often one key, or one address without a key, may ask; `None` is no limit.
    pub rate: Option<Rate>,
    /// Whose pages may use this server from a browser.
    pub cors_origins: CorsOrigins,
    /// Whether a server that listens on this machine only and asks for no keys answers to any name: something in
    /// front passes requests on to it and protects it.
    pub any_host: bool,
    /// Whether `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` come from a proxy that can be believed.
    pub trust_proxy: bool,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            max_body_bytes: 64 << 20,
            max_query_bytes: 32 << 20,
            max_answer_records: 100_000,
            max_concurrent_requests: 1024,
            max_connections: 8192,
            connection_idle: Duration::from_secs(75),
            body_idle: Duration::from_secs(20),
            request_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            file_kinds: FileKinds::default(),
            auto_delete: true,
            allow_reset: false,
            keys: Keyring::default(),
            rate: None,
            cors_origins: CorsOrigins::default(),
            any_host: false,
            trust_proxy: false,
        }
    }
}

/// What every handler can reach.
#[derive(Clone)]
struct App {
    store: Store,
    front: Front,
}

impl Deref for App {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

/// What stands before the handlers, and is there before the store is open.
#[derive(Clone)]
struct Front {
    settings: Arc<HttpSettings>,
    metrics: Arc<Metrics>,
    running: Arc<Semaphore>,
    permissions: Arc<Permissions>,
    rate: Option<Arc<RateLimiter>>,
    /// Whether nobody but this machine should be asking, so that requests must name it.
    this_machine_only: bool,
    /// Becomes true when requests that still wait must be answered, because the server stops.
    giving_up: watch::Sender<bool>,
}

impl Front {
    /// `on_loopback`: only this machine can connect.
    fn new(settings: HttpSettings, on_loopback: bool) -> Front {
        let this_machine_only = on_loopback && !settings.any_host && !settings.trust_proxy;
        let running = Arc::new(Semaphore::new(settings.max_concurrent_requests));
        let rate = settings.rate.map(|rate| Arc::new(RateLimiter::new(rate)));
        let permissions = Arc::new(Permissions::new());
        let (settings, metrics) = (Arc::new(settings), Arc::new(Metrics::new()));
        let giving_up = watch::Sender::new(false);
        Front { settings, metrics, running, permissions, rate, this_machine_only, giving_up }
    }

    /// Puts what stands before all handlers around those of `router`.
    fn before<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        let router = router
            .layer(from_fn_with_state(self.clone(), middleware::admit))
            .layer(from_fn_with_state(self.clone(), auth::authorise))
            .layer(from_fn_with_state(self.clone(), origin_guard::keep_out));
        // Outside of the keys: a browser asks what it may do before it shows one.
        let router = match self.settings.cors_origins.layer() {
            Some(cors) => router.layer(cors),
            None => router,
        };
        router.layer(from_fn_with_state(self.clone(), middleware::observe))
    }
}

/// A method, a path, and who answers.
type HttpRoute = (Method, &'static str, MethodRouter<App>);

/// Every route, once: the router is made of this table, and the API's description and what each route needs
/// (`auth::permissions`) are checked against it.
fn routes() -> Vec<HttpRoute> {
    let mut routes = native_routes();
    routes.extend(files::routes());
    routes.extend(chroma::routes());
    routes
}

fn native_routes() -> Vec<HttpRoute> {
    vec![
        (Method::POST, "/api/collections", post(collections::create)),
        (Method::GET, "/api/collections", get(collections::list)),
        (Method::GET, "/api/collections/{name}", get(collections::describe)),
        (Method::DELETE, "/api/collections/{name}", delete(collections::remove)),
        (Method::POST, "/api/collections/{name}/add", post(records::add)),
        (Method::POST, "/api/collections/{name}/upsert", post(records::upsert)),
        (Method::POST, "/api/collections/{name}/update", post(records::update)),
        (Method::POST, "/api/collections/{name}/delete", post(records::remove)),
        (Method::POST, "/api/collections/{name}/get", post(records::fetch)),
        (Method::POST, "/api/collections/{name}/search", post(records::search)),
        (Method::GET, "/api/collections/{name}/count", get(records::count)),
        (Method::POST, "/api/collections/{name}/count", post(records::count_matching)),
        (Method::POST, "/api/s3/sync", post(operations::sync)),
        (Method::GET, "/api/s3/status", get(operations::status)),
        (Method::GET, "/health", get(operations::health)),
        (Method::GET, "/ready", get(operations::ready)),
        (Method::GET, "/metrics", get(operations::metrics)),
        (Method::GET, "/openapi.json", get(documentation::openapi)),
        (Method::GET, "/docs", get(documentation::page)),
        (Method::GET, "/", get(documentation::greeting)),
    ]
}

fn router(store: Store, front: &Front) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, (_, path, handler)| router.route(path, handler));
    let router = router
        // Not in the table: what is left of Chroma's first version is that it is no more.
        .route("/api/v1/{*rest}", any(chroma::root::first_version))
        // Nor these: what browsers and people ask for by themselves.
        .route("/docs/", get(documentation::without_slash))
        .route("/favicon.ico", get(documentation::icon))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method);
    front.before(router).with_state(App { store, front: front.clone() })
}

async fn unknown_route(method: Method, uri: Uri) -> Response {
    if chroma::owns(uri.path()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let path: String = uri.path().chars().take(200).collect();
    let error = Error::not_found(format!("there is no route {method} {path}; GET /docs lists all"));
    ApiError::from(error).into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    if chroma::owns(uri.path()) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("{path} exists, but not for {method}; GET /docs lists all routes");
    ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::Invalid, message).into_response()
}
