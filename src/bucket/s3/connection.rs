//! The connections to S3. Its invariant: a call made by [`over_new_connections`](super::over_new_connections)
//! goes over a connection that no earlier answer came over, and none is kept of it.

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::shared::IntoShared;

use crate::bucket::transfer::wants_new_connection;

/// A client that keeps its connections, and the same without.
#[derive(Debug)]
struct Connections {
    keeping: SharedHttpClient,
    fresh: SharedHttpClient,
}

/// The client for all calls.
pub(super) fn connections() -> SharedHttpClient {
    let tls = || Provider::Rustls(CryptoMode::Ring);
    Connections {
        keeping: Builder::new().tls_provider(tls()).build_https(),
        fresh: Builder::new().pool_max_idle_per_host(0).tls_provider(tls()).build_https(),
    }
    .into_shared()
}

impl HttpClient for Connections {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let client = if wants_new_connection() { &self.fresh } else { &self.keeping };
        client.http_connector(settings, components)
    }
}
