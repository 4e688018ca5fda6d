//! The way to a server: direct or through a proxy that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`,
//! `ALL_PROXY`, `NO_PROXY`), with TLS at its end where the address needs it. Invariant: making a connection is bounded
//! in time, the proxy's answer and the handshake included.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower::Service;

/// The step that took too long and was given up.
#[derive(Debug, thiserror::Error)]
#[error("{what} timeout occurred after {limit:?}")]
pub(super) struct TimedOut {
    what: &'static str,
    limit: Duration,
}

/// Awaits `call`, within `limit` if there is one.
pub(super) async fn within<T, E: Into<BoxError>>(
    limit: Option<Duration>,
    what: &'static str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, BoxError> {
    let Some(limit) = limit else { return call.await.map_err(Into::into) };
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(TimedOut { what, limit }.into()),
    }
}

/// Makes connections; see the module's text.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    way: HttpsConnector<Way>,
    limit: Option<Duration>,
}

impl Connector {
    /// A connector that makes each connection within `limit`.
    pub(super) fn new(tls: Arc<ClientConfig>, proxies: Arc<Matcher>, limit: Option<Duration>) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        // It makes the plain connection under TLS, too, so it must accept https addresses.
        http.enforce_http(false);
        let to_proxy = HttpsConnector::from((http.clone(), tls.clone()));
        Connector { way: HttpsConnector::from((Way { http, to_proxy, proxies }, tls)), limit }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Reached>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.way.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        within(self.limit, "HTTP connect", self.way.call(address)).boxed()
    }
}

/// Makes the connection that carries requests, or TLS with requests in it.
#[derive(Debug, Clone)]
struct Way {
    http: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: Arc<Matcher>,
}

impl Service<Uri> for Way {
    type Response = Reached;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Reached, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.to_proxy.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let Some(proxy) = self.proxies.intercept(&address) else {
            let connecting = self.http.call(address);
            return async { Ok(Reached { stream: MaybeHttpsStream::Http(connecting.await?), forwards: false }) }
                .boxed();
        };
        if address.scheme() == Some(&Scheme::HTTP) {
            let connecting = self.to_proxy.call(proxy.uri().clone());
            return async { Ok(Reached { stream: connecting.await?, forwards: true }) }.boxed();
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
        if let Some(keys) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(keys.clone());
        }
        let connecting = tunnel.call(address);
        async { Ok(Reached { stream: connecting.await?, forwards: false }) }.boxed()
    }
}

/// A connection to a server or a proxy.
#[derive(Debug)]
pub(super) struct Reached {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// The other end is a proxy that reads the requests and passes them on.
    forwards: bool,
}

impl Reached {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut MaybeHttpsStream<TokioIo<TcpStream>>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connection for Reached {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.forwards)
    }
}

impl Read for Reached {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, into)
    }
}

impl Write for Reached {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
