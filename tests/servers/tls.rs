//! Certificates of one's own, and TLS in front of a server that speaks none.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A server's certificate with its key.
pub struct Certificate {
    /// As the server shows it.
    pub der: CertificateDer<'static>,
    /// As a bundle holds it.
    pub pem: String,
    /// The PEM of whoever signed it: its own where it is self-signed.
    pub signer_pem: String,
    key: KeyPair,
}

impl Certificate {
    /// One that signs itself and may sign others, as `openssl req -x509` makes it.
    pub fn self_signed(host: &str) -> Self {
        Certificate::signing_itself(authority(host))
    }

    /// A self-signed one of a year that is over.
    pub fn ended(host: &str) -> Self {
        let mut params = authority(host);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 12, 31));
        Certificate::signing_itself(params)
    }

    /// One that an authority of its own has signed.
    pub fn by_authority(host: &str) -> Self {
        let (signer, signer_key) = (authority("authority.example"), KeyPair::generate().unwrap());
        let signer_pem = signer.self_signed(&signer_key).unwrap().pem();
        let (params, key) = (CertificateParams::new([host.to_owned()]).unwrap(), KeyPair::generate().unwrap());
        let signed = params.signed_by(&key, &Issuer::new(signer, signer_key)).unwrap();
        Certificate { der: signed.der().clone(), pem: signed.pem(), signer_pem, key }
    }

    fn signing_itself(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let signed = params.self_signed(&key).unwrap();
        Certificate { der: signed.der().clone(), pem: signed.pem(), signer_pem: signed.pem(), key }
    }
}

fn authority(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, host);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// TLS in front of a server, on a free port of this machine until it is dropped.
pub struct TlsFront {
    endpoint: String,
    task: JoinHandle<()>,
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TlsFront {
    /// Passes on to the server of `endpoint` (`http://…`) what comes over TLS with the certificate.
    pub async fn before(endpoint: &str, certificate: &Certificate) -> Self {
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = PrivateKeyDer::try_from(certificate.key.serialize_der()).unwrap();
        let config = config.with_single_cert(vec![certificate.der.clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            // Dropping the set ends the connections together with the front.
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (acceptor, server) = (acceptor.clone(), server.clone());
                connections.spawn(async move {
                    // A connection that breaks is the client's to notice.
                    let (Ok(mut near), Ok(mut far)) = (acceptor.accept(near).await, TcpStream::connect(server).await)
                    else {
                        return;
                    };
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        TlsFront { endpoint, task }
    }

    /// The URL of the front.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
