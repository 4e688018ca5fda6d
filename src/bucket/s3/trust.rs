//! Which certificates of a server are trusted: those that a trusted one has signed, and those that are themselves,
//! byte for byte, among the trusted. Invariant: in both cases the certificate's name fits the host, its dates hold,
//! and its key signs the handshake.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::error::{Error, Result};

/// The certificates that the system trusts, or the file that `SSL_CERT_FILE` names instead.
static OF_THE_SYSTEM: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::warn!("certificates of the system cannot be read: {error}");
    }
    if loaded.certs.is_empty() {
        tracing::warn!("the system names no certificate authorities to trust");
    }
    loaded.certs
});

/// TLS for HTTP/1. If there is a `bundle`, it trusts the bundle's certificates alone, else the system's.
///
/// # Errors
/// `Invalid` if the certificates cannot be read or there are none in the bundle.
pub(super) fn tls(bundle: Option<&Path>) -> Result<ClientConfig> {
    let verifier = match bundle {
        Some(bundle) => Verifier::of_bundle(bundle)?,
        None => Verifier::of_system()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::internal(format!("TLS was not set up: {error}")))?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Verifies a server's certificate; see the module's text.
#[derive(Debug)]
struct Verifier {
    trusted: Cow<'static, [CertificateDer<'static>]>,
    /// The trusted certificates, as authorities that may sign.
    authorities: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(trusted: impl Into<Cow<'static, [CertificateDer<'static>]>>, authorities: RootCertStore) -> Self {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        Verifier { trusted: trusted.into(), authorities, algorithms }
    }

    fn of_system() -> Result<Self> {
        check_the_systems()?;
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(OF_THE_SYSTEM.iter().cloned());
        Ok(Verifier::new(OF_THE_SYSTEM.as_slice(), authorities))
    }

    fn of_bundle(bundle: &Path) -> Result<Self> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::invalid(format!(
                "the certificates in {} cannot be used: {why}; expected a PEM file of certificate authorities, or of \
                 the server's own certificate (AWS_CA_BUNDLE, or ca_bundle of the profile)",
                bundle.display()
            ))
        };
        let pem = std::fs::read(bundle).map_err(|error| wrong(&error))?;
        let trusted = CertificateDer::pem_slice_iter(&pem).collect::<std::result::Result<Vec<_>, _>>();
        let trusted = trusted.map_err(|error| wrong(&error))?;
        if trusted.is_empty() {
            return Err(wrong(&"no certificate was found"));
        }
        let mut authorities = RootCertStore::empty();
        for certificate in &trusted {
            authorities.add(certificate.clone()).map_err(|error| wrong(&error))?;
        }
        Ok(Verifier::new(trusted, authorities))
    }
}

/// Refuses an `SSL_CERT_FILE` that cannot be opened: it would leave no authority to trust.
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

/// Whether a certificate lacks nothing but an authority: its dates hold, and it is for servers.
fn is_good_by_itself(
    certificate: &ParsedCertificate<'_>,
    now: UnixTime,
    algorithms: WebPkiSupportedAlgorithms,
) -> bool {
    // The certificate's own faults are reported before the missing authority.
    let nobody = RootCertStore::empty();
    match verify_server_cert_signed_by_trust_anchor(certificate, &nobody, &[], now, algorithms.all) {
        Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => true,
        // A certificate made by `openssl req -x509` may also sign others. That fault is reported after the dates.
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) => {
            why.to_string() == "CaUsedAsEndEntity"
        }
        _ => false,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let Verifier { trusted, authorities, algorithms } = self;
        if !(trusted.contains(certificate) && is_good_by_itself(&parsed, now, *algorithms)) {
            verify_server_cert_signed_by_trust_anchor(&parsed, authorities, between, now, algorithms.all)?;
        }
        verify_server_name(&parsed, host)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use drumlin_test_servers::tls::Certificate;

    use super::*;

    fn believes(trusted: &[&Certificate], shown: &Certificate, host: &str, now: UnixTime) -> bool {
        let trusted: Vec<_> = trusted.iter().map(|one| one.der.clone()).collect();
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(trusted.iter().cloned());
        let host = ServerName::try_from(host.to_owned()).unwrap();
        Verifier::new(trusted, authorities).verify_server_cert(&shown.der, &[], &host, &[], now).is_ok()
    }

    #[test]
    fn what_is_among_the_trusted_is_believed_for_its_names_and_while_its_dates_hold() {
        let (own, other) = (Certificate::self_signed("one.example"), Certificate::self_signed("one.example"));
        let (signed, ended) = (Certificate::by_authority("one.example"), Certificate::ended("one.example"));
        let now = UnixTime::now();
        let then = UnixTime::since_unix_epoch(Duration::from_secs(1_590_000_000));
        for (trusted, shown, host, at, expected) in [
            (vec![&other, &own], &own, "one.example", now, true),
            (vec![&own], &own, "two.example", now, false),
            (vec![&other], &own, "one.example", now, false),
            (vec![], &own, "one.example", now, false),
            (vec![&signed], &signed, "one.example", now, true),
            (vec![&signed], &signed, "two.example", now, false),
            (vec![&own], &signed, "one.example", now, false),
            (vec![&ended], &ended, "one.example", then, true),
            (vec![&ended], &ended, "one.example", now, false),
        ] {
            assert_eq!(believes(&trusted, shown, host, at), expected, "{host}, {} trusted", trusted.len());
        }
    }
}
