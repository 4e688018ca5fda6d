//! Accepting connections, and ending them in order. Bounded: no more than the set number of connections are open, and
//! those that only wait make room for those with a request (`connections`). A request that waits for its answer when
//! the server stops gets one.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Version};
use axum::response::Response;
use futures::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::Service;

use super::client::Peer;
use super::connections::{Connection, Connections, Patience};
use super::incoming::Incoming;
use super::sent::Sent;
use super::socket::Socket;
use super::{Front, HttpSettings, router, starting};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::opening::Opening;

/// Most bytes of a request's headers, which a connection may hold without a request.
const HEADER_BYTES: usize = 32 << 10;
/// Files that the process may have open beside its connections: requests to the bucket, the log.
const OTHER_FILES: u64 = 256;

/// Once the server stops, requests that wait for the bucket are answered after it has been away for this long.
const AWAY_LIMIT: Duration = Duration::from_secs(5);
/// How often the bucket is checked meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Time for answers to requests that were given up to reach their clients.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves `store` over HTTP/1 and HTTP/2 on `listener` until `shutdown` resolves. Then accepts no more, lets requests
/// under way finish for at most `settings.drain_timeout` and returns. The store stays open: the caller closes it.
/// Where the connections need more open files, the process's limit is raised as far as the system allows.
///
/// # Errors
/// Only if the listener cannot be used at all; the failure of a single connection is logged.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    settings: HttpSettings,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (server, mut routers) = Server::new(listener, settings)?;
    routers.open(store);
    server.run(routers, std::future::pending(), shutdown).await
}

/// Serves before the store is open. Until `store` resolves, `/health` and `/ready` say what `opening` waits for, and
/// every other route answers 503. From then on as [`serve`].
///
/// # Errors
/// The error of `store`, which ends the serving.
pub async fn serve_opening(
    listener: TcpListener,
    opening: Opening,
    store: impl Future<Output = Result<Store>>,
    settings: HttpSettings,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (server, mut routers) = Server::new(listener, settings)?;
    routers.wait(opening);
    server.run(routers, store, shutdown).await
}

/// The routers of requests, now and from the next request on.
struct Routers {
    front: Front,
    current: Arc<ArcSwap<Router>>,
    store: Option<Store>,
}

impl Routers {
    fn open(&mut self, store: Store) {
        self.current.store(Arc::new(router(store.clone(), &self.front)));
        self.store = Some(store);
    }

    fn wait(&mut self, opening: Opening) {
        self.current.store(Arc::new(starting::router(opening, &self.front)));
    }
}

/// A listener with what its connections share.
struct Server {
    listener: TcpListener,
    connections: Arc<Connections>,
    protocol: Arc<Builder<TokioExecutor>>,
    graceful: GracefulShutdown,
}

impl Server {
    fn new(listener: TcpListener, settings: HttpSettings) -> Result<(Server, Routers)> {
        let address = listener.local_addr();
        let address = address.map_err(|e| Error::unavailable("the listener has no address").with_source(e))?;
        let connections = Connections::new(affordable(settings.max_connections));
        let (protocol, graceful) = (Arc::new(protocol(settings.connection_idle)), GracefulShutdown::new());
        let front = Front::new(settings, address.ip().is_loopback());
        let server = Server { listener, connections, protocol, graceful };
        Ok((server, Routers { front, current: Arc::default(), store: None }))
    }

    async fn run(
        self,
        mut routers: Routers,
        store: impl Future<Output = Result<Store>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<()> {
        // The set ends its tasks when this function ends, however that happens.
        let mut beside = JoinSet::new();
        let settings = &routers.front.settings;
        let patience = Patience { idle: settings.connection_idle, stalled: settings.body_idle };
        beside.spawn(settings.keys.clone().follow());
        beside.spawn(self.connections.clone().watch(patience));
        tokio::pin!(shutdown);
        tokio::pin!(store);
        loop {
            tokio::select! {
                (socket, peer, connection) = accept(&self.listener, &self.connections) => {
                    self.take(socket, peer, connection, &routers);
                }
                opened = &mut store, if routers.store.is_none() => routers.open(opened?),
                () = &mut shutdown => break,
            }
        }
        self.drain(routers).await;
        Ok(())
    }

    fn take(&self, socket: Socket, peer: Peer, connection: Arc<Connection>, routers: &Routers) {
        let service = FromPeer { router: routers.current.clone(), peer, connection: connection.clone() };
        let (protocol, watcher) = (self.protocol.clone(), self.graceful.watcher());
        tokio::spawn(async move {
            let serving = protocol.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service));
            let served = tokio::select! {
                served = watcher.watch(serving) => served,
                () = connection.ended() => Ok(()),
            };
            if let Err(e) = served {
                tracing::debug!("a connection ended: {e}");
            }
        });
    }

    /// Lets requests under way finish. When the time is nearly over, or when the bucket stays away, those that still
    /// wait are answered with that reason.
    async fn drain(self, routers: Routers) {
        let Server { listener, graceful, .. } = self;
        let Routers { front, store, .. } = routers;
        drop(listener);
        let limit = front.settings.drain_timeout;
        tracing::info!(connections = graceful.count(), "no new requests are accepted; finishing those under way");
        let give_up = async {
            tokio::select! {
                () = tokio::time::sleep(limit.saturating_sub(LAST_WORDS).max(limit / 2)) => {}
                () = bucket_stays_away(store.as_ref()) => {}
            }
            front.giving_up.send_replace(true);
            tokio::time::sleep(LAST_WORDS.min(limit / 2)).await;
        };
        tokio::select! {
            () = graceful.shutdown() => {}
            () = give_up => {
                tracing::warn!("the server stopped before all requests were done; the rest got an error");
            }
        }
    }
}

/// Resolves once the bucket has been away for some seconds; returns at once if there is no store.
async fn bucket_stays_away(store: Option<&Store>) {
    let Some(store) = store else { return };
    let mut away_since = None;
    loop {
        store.admin().check_bucket().await;
        match store.admin().is_connected() {
            true => away_since = None,
            false if away_since.get_or_insert_with(Instant::now).elapsed() >= AWAY_LIMIT => return,
            false => {}
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The next connection for which there is a place.
async fn accept(listener: &TcpListener, connections: &Arc<Connections>) -> (Socket, Peer, Arc<Connection>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Err(e) = stream.set_nodelay(true) {
                    tracing::debug!("setting nodelay failed: {e}");
                }
                let (place, connection) = connections.enter().await;
                return (Socket::new(stream, place), Peer(address), connection);
            }
            Err(e) => {
                // Either no file descriptor was free, or the client was gone already: neither ends the server.
                tracing::warn!("accepting a connection failed: {e}");
                connections.make_room();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// The wanted connections, or fewer if the process may not have that many files open.
#[cfg(unix)]
fn affordable(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let need = (wanted as u64).saturating_add(OTHER_FILES);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < need) {
        let raised = Some(limit.maximum.map_or(need, |most| need.min(most)));
        let asked = rustix::process::Rlimit { current: raised, ..limit };
        if raised > limit.current && setrlimit(Resource::Nofile, asked).is_ok() {
            limit.current = raised;
        }
    }
    let Some(current) = limit.current.filter(|current| *current < need) else { return wanted };
    let fits = usize::try_from(current.saturating_sub(OTHER_FILES).max(current / 2).max(1)).unwrap_or(wanted);
    tracing::warn!(
        "this process may open {current} files: at most {fits} connections are held instead of {wanted} \
         (DRUMLIN_MAX_CONNECTIONS); raise the limit (ulimit -n)"
    );
    fits.min(wanted)
}

#[cfg(not(unix))]
fn affordable(wanted: usize) -> usize {
    wanted
}

/// The router, for the requests of one connection. It adds the peer's address to each request, and tracks its answer
/// until the last byte.
#[derive(Clone)]
struct FromPeer {
    router: Arc<ArcSwap<Router>>,
    peer: Peer,
    connection: Arc<Connection>,
}

impl<B> Service<Request<B>> for FromPeer
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        // The router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ticket = self.connection.ticket();
        let (parts, body) = request.into_parts();
        // HTTP/2 ends one stream without touching the others, so it needs no `Incoming`.
        let body = if parts.version < Version::HTTP_2 { Incoming::body(body, &parts.headers) } else { Body::new(body) };
        let mut request = Request::from_parts(parts, body);
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(ticket.clone());
        let answer = Router::clone(&self.router.load()).call(request);
        Box::pin(async move { answer.await.map(|response| response.map(|body| Sent::body(body, ticket))) })
    }
}

fn protocol(idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(HEADER_BYTES);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(idle).max_concurrent_streams(256);
    builder
}
