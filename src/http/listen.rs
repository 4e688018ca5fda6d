//! Accepting connections, and ending them in order. Bounded: no more than the set number of
//! connections are open, and one that does not finish its headers in time is closed.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::Service;

use super::client::Peer;
use super::{HttpSettings, router};
use crate::store::Store;

/// How long a client may take to send the headers of a request, and keep an idle connection open.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

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
) -> io::Result<()> {
    let on_loopback = listener.local_addr()?.ip().is_loopback();
    let drain_timeout = settings.drain_timeout;
    let connections = Arc::new(Semaphore::new(settings.max_connections));
    // Ends with this function, however that ends.
    let mut beside = JoinSet::new();
    beside.spawn(settings.keys.clone().follow());
    let router = router(store, settings, on_loopback);
    let protocol = Arc::new(protocol());
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let next = async {
            // Never closed, so acquiring cannot fail; if it did, the connection would go uncounted.
            let permit = connections.clone().acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, address)) => (stream, Peer(address)),
            Err(e) => {
                // Out of file descriptors, or a client gone already: neither ends the server.
                tracing::warn!("accepting a connection failed: {e}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!("setting nodelay failed: {e}");
        }
        let service = TowerToHyperService::new(FromPeer { router: router.clone(), peer });
        let (protocol, watcher) = (protocol.clone(), graceful.watcher());
        tokio::spawn(async move {
            let connection = protocol.serve_connection(TokioIo::new(stream), service);
            if let Err(e) = watcher.watch(connection).await {
                tracing::debug!("a connection ended: {e}");
            }
            drop(permit);
        });
    }
    drop(listener);
    tracing::info!(connections = graceful.count(), "no new requests are accepted; finishing those under way");
    if tokio::time::timeout(drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {} s and are cut off", drain_timeout.as_secs_f64());
    }
    Ok(())
}

/// The router, for the requests of one connection: it tells each where it comes from.
#[derive(Clone)]
struct FromPeer {
    router: Router,
    peer: Peer,
}

impl<B> Service<Request<B>> for FromPeer
where
    Router: Service<Request<B>>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Router as Service<Request<B>>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.router.call(request)
    }
}

fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEADER_TIMEOUT).max_concurrent_streams(256);
    builder
}
