//! Accepting connections, and ending them in order. Bounded: no more than the set number of
//! connections are open, and one that does not finish its headers in time is closed. Who waits for an answer when
//! the server stops gets one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::Service;

use super::client::Peer;
use super::{Front, HttpSettings, router, starting};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::opening::Opening;

/// How long a client may take to send the headers of a request, and keep an idle connection open.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a bucket may be away before requests that wait for it are answered, once the server is told to stop.
const AWAY_LIMIT: Duration = Duration::from_secs(5);
/// How often it is asked meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Time for answers to requests that were given up to reach their clients.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves `store` over HTTP/1 and HTTP/2 on `listener` until `shutdown` resolves; then accepts no more,
/// lets requests under way finish for at most `settings.drain_timeout` and returns. The store stays
/// open: closing it is the caller's.
///
/// # Errors
/// Only if the listener cannot be used at all; failures of single connections are logged.
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

/// The same from before the store is open: until `store` resolves, `/health` and `/ready` tell what `opening` waits
/// for, and all else is answered 503.
///
/// # Errors
/// That of `store`, which ends the serving.
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

/// What requests are routed by, now and from the next request on.
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
    connections: Arc<Semaphore>,
    protocol: Arc<Builder<TokioExecutor>>,
    graceful: GracefulShutdown,
}

impl Server {
    fn new(listener: TcpListener, settings: HttpSettings) -> Result<(Server, Routers)> {
        let address = listener.local_addr();
        let address = address.map_err(|e| Error::unavailable("the listener has no address").with_source(e))?;
        let connections = Arc::new(Semaphore::new(settings.max_connections));
        let front = Front::new(settings, address.ip().is_loopback());
        let (protocol, graceful) = (Arc::new(protocol()), GracefulShutdown::new());
        let server = Server { listener, connections, protocol, graceful };
        Ok((server, Routers { front, current: Arc::default(), store: None }))
    }

    async fn run(
        self,
        mut routers: Routers,
        store: impl Future<Output = Result<Store>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<()> {
        // Ends with this function, however that ends.
        let mut beside = JoinSet::new();
        beside.spawn(routers.front.settings.keys.clone().follow());
        tokio::pin!(shutdown);
        tokio::pin!(store);
        loop {
            tokio::select! {
                (accepted, permit) = self.accept() => match accepted {
                    Ok((stream, address)) => self.take(stream, Peer(address), permit, &routers),
                    Err(e) => {
                        // Out of file descriptors, or a client gone already: neither ends the server.
                        tracing::warn!("accepting a connection failed: {e}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                },
                opened = &mut store, if routers.store.is_none() => routers.open(opened?),
                () = &mut shutdown => break,
            }
        }
        self.drain(routers).await;
        Ok(())
    }

    async fn accept(&self) -> (io::Result<(TcpStream, SocketAddr)>, Option<OwnedSemaphorePermit>) {
        // Never closed, so acquiring cannot fail; if it did, the connection would go uncounted.
        let permit = self.connections.clone().acquire_owned().await.ok();
        (self.listener.accept().await, permit)
    }

    fn take(&self, stream: TcpStream, peer: Peer, permit: Option<OwnedSemaphorePermit>, routers: &Routers) {
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!("setting nodelay failed: {e}");
        }
        let service = TowerToHyperService::new(FromPeer { router: routers.current.clone(), peer });
        let (protocol, watcher) = (self.protocol.clone(), self.graceful.watcher());
        tokio::spawn(async move {
            let connection = protocol.serve_connection(TokioIo::new(stream), service);
            if let Err(e) = watcher.watch(connection).await {
                tracing::debug!("a connection ended: {e}");
            }
            drop(permit);
        });
    }

    /// Lets requests under way finish. Those that still wait when the time is nearly over, or for a bucket that is
    /// away, are answered so.
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
                tracing::warn!("requests were still under way when the server had to stop; they were told so");
            }
        }
    }
}

/// Resolves once the bucket has been away for some seconds; with no store, none is waited for.
async fn bucket_stays_away(store: Option<&Store>) {
    let Some(store) = store else { return };
    let mut away_since = None;
    loop {
        store.check_bucket().await;
        match store.is_connected() {
            true => away_since = None,
            false if away_since.get_or_insert_with(Instant::now).elapsed() >= AWAY_LIMIT => return,
            false => {}
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The router, for the requests of one connection: it tells each where it comes from.
#[derive(Clone)]
struct FromPeer {
    router: Arc<ArcSwap<Router>>,
    peer: Peer,
}

impl<B> Service<Request<B>> for FromPeer
where
    Router: Service<Request<B>>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        Router::clone(&self.router.load()).call(request)
    }
}

fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEADER_TIMEOUT).max_concurrent_streams(256);
    builder
}
