//! The HTTP client under the SDK, with two pools: one keeps its connections, one does not. Invariants: a call made by
//! [`over_new_connections`](super::over_new_connections) uses a connection that no earlier answer came over, and keeps
//! none afterwards. A request is sent as the SDK signed it: its address is not rewritten, no redirect is followed, and
//! an answer is not unpacked.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::shared::IntoShared;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use hyper::Request;
use hyper::header::PROXY_AUTHORIZATION;
use hyper::http::Extensions;
use hyper::http::uri::Scheme;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, HttpInfo, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use rustls::ClientConfig;

use super::route::{Connector, TimedOut, within};
use super::trust::tls;
use crate::bucket::attempt::wants_new_connection;
use crate::error::Result;

/// Whether connections are kept, and the time limits for making one and for waiting for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ConnectionKind {
    fresh: bool,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
}

/// The client; see the module's text.
#[derive(Debug)]
struct ConnectionClient {
    tls: Arc<ClientConfig>,
    proxies: Arc<Matcher>,
    pools: Mutex<HashMap<ConnectionKind, SharedHttpConnector>>,
}

/// The client for all calls. If there is a `bundle`, the client trusts its certificates alone.
///
/// # Errors
/// `Invalid` if the bundle cannot be read or holds no certificates.
pub fn connections(bundle: Option<&Path>) -> Result<SharedHttpClient> {
    let (tls, proxies) = (Arc::new(tls(bundle)?), Arc::new(Matcher::from_env()));
    Ok(ConnectionClient { tls, proxies, pools: Mutex::default() }.into_shared())
}

impl HttpClient for ConnectionClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _components: &RuntimeComponents) -> SharedHttpConnector {
        let kind = ConnectionKind {
            fresh: wants_new_connection(),
            connect_timeout: settings.connect_timeout(),
            read_timeout: settings.read_timeout(),
        };
        let mut pools = self.pools.lock();
        pools.entry(kind).or_insert_with(|| ConnectionPool::new(kind, self).into_shared()).clone()
    }
}

/// Connections of one kind.
#[derive(Debug)]
struct ConnectionPool {
    client: Client<Connector, SdkBody>,
    proxies: Arc<Matcher>,
    read_timeout: Option<Duration>,
}

impl ConnectionPool {
    fn new(kind: ConnectionKind, of: &ConnectionClient) -> Self {
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new());
        if kind.fresh {
            client.pool_max_idle_per_host(0);
        }
        let connector = Connector::new(of.tls.clone(), of.proxies.clone(), kind.connect_timeout);
        ConnectionPool { client: client.build(connector), proxies: of.proxies.clone(), read_timeout: kind.read_timeout }
    }

    /// Adds the proxy's credentials if the proxy passes requests on. A proxy with a tunnel has seen them already.
    fn with_keys_of_proxy(&self, mut request: Request<SdkBody>) -> Request<SdkBody> {
        if request.uri().scheme() == Some(&Scheme::HTTP)
            && let Some(proxy) = self.proxies.intercept(request.uri())
            && let Some(keys) = proxy.basic_auth()
        {
            request.headers_mut().entry(PROXY_AUTHORIZATION).or_insert_with(|| keys.clone());
        }
        request
    }
}

impl HttpConnector for ConnectionPool {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => self.with_keys_of_proxy(request),
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || told_of(&connection));
        }
        let answer = within(self.read_timeout, "HTTP read", self.client.request(request));
        HttpConnectorFuture::new(async {
            let response = answer.await.map_err(sorted)?.map(SdkBody::from_body_1_x);
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// A connection's metadata for the SDK's retrying clients: where it leads, and a way to end its use.
fn told_of(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    let mut told = ConnectionMetadata::builder();
    {
        let made = connection.connection_metadata();
        let made = made.as_ref()?;
        let mut extras = Extensions::new();
        made.get_extras(&mut extras);
        let addresses = extras.get::<HttpInfo>();
        told.set_local_addr(addresses.map(HttpInfo::local_addr)).set_remote_addr(addresses.map(HttpInfo::remote_addr));
        told = told.proxied(made.is_proxied());
    }
    let connection = connection.clone();
    let poison = move || connection.connection_metadata().iter().for_each(Connected::poison);
    Some(told.poison_fn(poison).build())
}

/// A failure in the SDK's own kinds.
fn sorted(error: BoxError) -> ConnectorError {
    let within = error.as_ref();
    if cause::<TimedOut>(within).is_some() {
        return ConnectorError::timeout(error);
    }
    if let Some(http) = cause::<hyper::Error>(within) {
        return match http {
            http if http.is_timeout() => ConnectorError::timeout(error),
            http if http.is_user() => ConnectorError::user(error),
            http if http.is_closed() || http.is_canceled() || cause::<std::io::Error>(http).is_some() => {
                ConnectorError::io(error)
            }
            // The answer broke off.
            http if http.is_incomplete_message() => ConnectorError::other(error, Some(ErrorKind::TransientError)),
            _ => ConnectorError::other(error, None),
        };
    }
    match cause::<ClientError>(within) {
        Some(client) if client.is_connect() || cause::<std::io::Error>(client).is_some() => ConnectorError::io(error),
        _ => ConnectorError::other(error, None),
    }
}

/// The outermost of the error and its causes that is an `E`.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(<dyn StdError>::downcast_ref)
}
