//! The connections to S3: through the proxies that the environment names, and with a bundle of certificate
//! authorities instead of the system's where one is given. Its invariant: a call made by
//! [`over_new_connections`](super::over_new_connections) goes over a connection that no earlier answer came
//! over, and none is kept of it.

use std::path::Path;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::shared::IntoShared;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::bucket::transfer::wants_new_connection;
use crate::error::{Error, Result};

/// A client that keeps its connections, and the same without.
#[derive(Debug)]
struct Connections {
    keeping: SharedHttpClient,
    fresh: SharedHttpClient,
}

/// The client for all calls, which trusts the authorities of `bundle` alone if there is one.
///
/// # Errors
/// `Invalid` if the bundle cannot be read or holds no certificates.
pub(super) fn connections(bundle: Option<&Path>) -> Result<SharedHttpClient> {
    if bundle.is_none() {
        check_the_systems()?;
    }
    let context = match bundle {
        Some(bundle) => TlsContext::builder().with_trust_store(authorities(bundle)?).build(),
        None => TlsContext::builder().build(),
    };
    let context = context.map_err(|error| Error::internal(format!("TLS was not set up: {error}")))?;
    let client = |idle: Option<usize>| {
        let context = context.clone();
        Builder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.set_pool_max_idle_per_host(idle);
            connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context.clone()).build()
        })
    };
    Ok(Connections { keeping: client(None), fresh: client(Some(0)) }.into_shared())
}

/// Refuses a `SSL_CERT_FILE` that is not there: it would leave no authority to trust, and the client a reason
/// to panic.
fn check_the_systems() -> Result<()> {
    let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) else { return Ok(()) };
    match std::fs::File::open(&file) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::invalid(format!(
            "SSL_CERT_FILE is {}, which cannot be read: {error}; expected a PEM file of certificate authorities, or \
             nothing for the system's",
            Path::new(&file).display()
        ))),
    }
}

/// The certificates of a PEM file.
fn authorities(bundle: &Path) -> Result<TrustStore> {
    let wrong = |why: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "the certificates in {} cannot be used: {why}; expected a PEM file of certificate authorities \
             (AWS_CA_BUNDLE, or ca_bundle of the profile)",
            bundle.display()
        ))
    };
    let pem = std::fs::read(bundle).map_err(|error| wrong(&error))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<std::result::Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| wrong(&error))?;
    if certificates.is_empty() {
        return Err(wrong(&"no certificate was found"));
    }
    // The client takes for granted that they can be read.
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    Ok(TrustStore::empty().with_pem_certificate(pem))
}

impl HttpClient for Connections {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let client = if wants_new_connection() { &self.fresh } else { &self.keeping };
        client.http_connector(settings, components)
    }
}
