//! The HTTP server: wire types and routes of the native API and of Chroma's (`chroma`), nothing else. It uses
//! [`Store`] as other programs do, and beside it `store/named.rs` and `store/room.rs`. Every route is in one table
//! (`routes`). Every failure, a wrong path or a panic included, answers JSON `{"error": {"kind", "message"}}`.
//! Invariant: no client can stop the server or make it hold more than its settings allow.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod access_log;
mod answer;
mod arrow;
mod auth;
mod beside;
mod body;
mod bounded;
mod bucket;
mod chroma;
mod client;
mod coding;
mod collections;
mod connections;
mod documentation;
mod embeddings;
mod error;
mod facets;
mod files;
mod headers;
mod history;
mod in_process;
mod incoming;
mod listen;
mod map;
#[cfg(feature = "mcp")]
mod mcp;
mod meter;
mod metrics;
mod middleware;
#[cfg(feature = "embedding")]
mod models;
mod operations;
mod origin_guard;
mod page;
mod past;
mod rank_request;
mod ranked;
mod ranked_answer;
mod recent_views;
mod records;
mod reembed;
mod reranking;
mod sent;
mod socket;
mod starting;
mod stream;
mod verify;
mod wire;

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
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
use recent_views::RecentViews;

pub use crate::compute::prepare_server_thread;
pub use auth::{Key, KeyEntry, KeyScope, Keyring, Rate};
pub use body::check_name;
pub use chroma::chroma_collection;
pub use files::FileKinds;
pub use headers::CorsOrigins;
pub use in_process::{InProcess, Reply};
pub use listen::{serve, serve_opening};
#[cfg(feature = "mcp")]
pub use mcp::McpServer;
pub use rank_request::{RankReply, RankRequest};
pub use ranked_answer::{HitPart, PartPlace, RankedHit};

/// Limits and options of the server.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct HttpSettings {
    /// Most bytes of a request body.
    pub max_body_bytes: usize,
    /// Most bytes of the body of a search, a get or a delete, where that is less.
    pub max_query_bytes: usize,
    /// Most neighbours of one search in all; one more is refused. A get is written while it is sent, and has no
    /// limit.
    pub max_answer_records: usize,
    /// Most requests to `/api` under way at once; more are answered 503.
    pub max_concurrent_requests: usize,
    /// Most open connections. Where all places are taken, a connection without a request under way makes room; else
    /// more wait.
    pub max_connections: usize,
    /// How long a connection may be open without a whole request.
    pub connection_idle: Duration,
    /// How long a request's body may stall, and an answer whose client takes nothing.
    pub body_idle: Duration,
    /// Most time for one request, from its headers to its answer.
    pub request_timeout: Duration,
    /// Time for requests under way once the server stops.
    pub drain_timeout: Duration,
    /// Which kinds of files may be uploaded.
    pub file_kinds: FileKinds,
    /// Whether `GET /download/{job_id}` deletes a file that it has sent whole. The upload or the download may forbid
    /// it.
    pub auto_delete: bool,
    /// Whether `POST /api/v2/reset` may drop everything.
    pub allow_reset: bool,
    /// Whether the first version of Chroma's API, `/api/v1`, is served beside the second.
    pub chroma_v1: bool,
    /// The keys that requests must bring; by default none is required.
    pub keys: Keyring,
    /// Requests that one key, or one address without a key, may make; `None` means no limit.
    pub rate: Option<Rate>,
    /// Origins whose pages may use this server from a browser.
    pub cors_origins: CorsOrigins,
    /// Whether a server that listens on this machine only, and requires no keys, answers to any host name. This is
    /// for a server behind something that passes requests on to it and protects it.
    pub any_host: bool,
    /// Whether `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` come from a trusted proxy.
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
            chroma_v1: true,
            keys: Keyring::default(),
            rate: None,
            cors_origins: CorsOrigins::default(),
            any_host: false,
            trust_proxy: false,
        }
    }
}

/// The state that every handler can reach.
#[derive(Clone)]
struct App {
    store: Store,
    recent_views: RecentViews,
    listed_contents: bucket::ListedContents,
    front: Front,
}

impl Deref for App {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

/// The state of the layers before the handlers, which exists before the store is open.
#[derive(Clone)]
struct Front {
    settings: Arc<HttpSettings>,
    metrics: Arc<Metrics>,
    running: Arc<Semaphore>,
    permissions: Arc<Permissions>,
    rate: Option<Arc<RateLimiter>>,
    /// Whether only this machine should be asking, so that requests must name it as their host.
    this_machine_only: bool,
    /// Becomes true when requests that still wait must be answered, because the server stops.
    giving_up: watch::Sender<bool>,
    /// The store, once it is open.
    store: Arc<OnceLock<Store>>,
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
        let store = Arc::default();
        Front { settings, metrics, running, permissions, rate, this_machine_only, giving_up, store }
    }

    /// Puts the layers that precede all handlers around the handlers of `router`.
    fn before<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        let router = router
            .layer(from_fn_with_state(self.clone(), middleware::admit))
            .layer(from_fn_with_state(self.clone(), auth::authorise))
            .layer(from_fn_with_state(self.clone(), origin_guard::keep_out));
        // CORS stands outside of the keys: a browser asks what it may do before it presents one.
        let router = match self.settings.cors_origins.layer() {
            Some(cors) => router.layer(cors),
            None => router,
        };
        router.layer(from_fn_with_state(self.clone(), middleware::observe))
    }
}

/// A method, a path, and its handler.
type HttpRoute = (Method, &'static str, MethodRouter<App>);

/// Every route, once. The router is made of this table. The API's description and the needs of each route
/// (`auth::permissions`) are checked against it.
fn routes() -> Vec<HttpRoute> {
    let mut routes = native_routes();
    routes.extend(files::routes());
    routes.extend(chroma::routes());
    #[cfg(feature = "mcp")]
    routes.push((Method::POST, MCP, post(mcp::answer)));
    routes
}

/// The route of the Model Context Protocol.
const MCP: &str = "/mcp";

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
        (Method::POST, "/api/collections/{name}/facets", post(facets::facets)),
        (Method::POST, "/api/collections/{name}/embed", post(embeddings::embed)),
        (Method::POST, "/api/collections/{name}/map", post(map::begin)),
        (Method::GET, "/api/collections/{name}/map", get(map::fetch)),
        (Method::POST, "/api/collections/{name}/neighbors", post(map::neighbors)),
        (Method::POST, "/api/collections/{name}/reembed", post(reembed::begin)),
        (Method::GET, "/api/collections/{name}/reembed", get(reembed::status)),
        (Method::DELETE, "/api/collections/{name}/reembed", delete(reembed::stop)),
        (Method::GET, "/api/collections/{name}/versions", get(history::versions)),
        (Method::POST, "/api/collections/{name}/compare", post(history::compare)),
        (Method::POST, "/api/collections/{name}/restore", post(history::restore)),
        (Method::POST, "/api/collections/{name}/fork", post(history::fork)),
        (Method::POST, "/api/collections/{name}/rename", post(history::rename)),
        #[cfg(feature = "embedding")]
        (Method::GET, "/api/models", get(models::list)),
        #[cfg(feature = "embedding")]
        (Method::POST, "/v1/embeddings", post(models::embed)),
        (Method::GET, "/api/bucket", get(bucket::contents)),
        (Method::POST, "/api/verify", post(verify::begin)),
        (Method::GET, "/api/verify", get(verify::state)),
        (Method::POST, "/api/s3/sync", post(operations::sync)),
        (Method::GET, "/api/s3/status", get(operations::status)),
        (Method::GET, "/health", get(operations::health)),
        (Method::GET, "/ready", get(operations::ready)),
        (Method::GET, "/metrics", get(operations::metrics)),
        (Method::GET, "/openapi.json", get(documentation::openapi)),
        (Method::GET, "/api/key", get(page::key)),
        (Method::GET, "/docs", get(page::documentation)),
        (Method::GET, "/", get(documentation::greeting)),
    ]
}

fn router(store: Store, front: &Front) -> Router {
    // Set once: a server serves one store.
    let _ = front.store.set(store.clone());
    let v1 = front.settings.chroma_v1;
    let served = routes().into_iter().filter(|(_, path, _)| v1 || !chroma::is_first_version(path));
    let router = served.fold(Router::new(), |router, (_, path, handler)| router.route(path, handler));
    let router = match v1 {
        true => router,
        // Not in the table: it only answers that it no longer exists.
        false => router.route("/api/v1/{*rest}", any(chroma::root::first_version)),
    };
    let router = router
        // These are not in the table either: browsers and people request them unprompted.
        .route("/docs/", get(page::documentation))
        .route(page::FILES, get(page::file))
        .route("/favicon.ico", get(documentation::icon))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method);
    front.before(router).with_state(App {
        store,
        recent_views: Default::default(),
        listed_contents: Default::default(),
        front: front.clone(),
    })
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

#[cfg(test)]
mod limit_names_tests;
