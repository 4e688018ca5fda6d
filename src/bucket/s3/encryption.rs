//! Encryption at rest in S3: the headers of each request. Invariant: a customer's own key goes with every request that
//! makes or reads an object, never over an open network, and never shows in `Debug`.

use std::fmt;

use aws_sdk_s3::types::ServerSideEncryption;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use crate::error::{Error, Result};

/// Bytes of a customer's key.
const KEY_BYTES: usize = 32;

/// The encryption at rest of every object that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum S3Encryption {
    /// By keys of the store (SSE-S3).
    Aes256,
    /// By a key of AWS's key service (SSE-KMS).
    Kms {
        /// The key's id or ARN; `None` is AWS's own key for S3.
        key_id: Option<String>,
    },
    /// By a key that comes with each request and that the store forgets (SSE-C). Nobody reads an object without the
    /// key.
    Customer(S3CustomerKey),
}

impl S3Encryption {
    /// The value of the header `x-amz-server-side-encryption`.
    pub(super) fn algorithm(&self) -> Option<ServerSideEncryption> {
        match self {
            S3Encryption::Aes256 => Some(ServerSideEncryption::Aes256),
            S3Encryption::Kms { .. } => Some(ServerSideEncryption::AwsKms),
            S3Encryption::Customer(_) => None,
        }
    }

    /// The value of the header `x-amz-server-side-encryption-aws-kms-key-id`.
    pub(super) fn kms_key_id(&self) -> Option<String> {
        match self {
            S3Encryption::Kms { key_id } => key_id.clone(),
            S3Encryption::Aes256 | S3Encryption::Customer(_) => None,
        }
    }

    /// The key that goes with each request.
    pub(super) fn customer_key(&self) -> Option<&S3CustomerKey> {
        match self {
            S3Encryption::Customer(key) => Some(key),
            S3Encryption::Aes256 | S3Encryption::Kms { .. } => None,
        }
    }
}

/// A customer's own key of 256 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct S3CustomerKey {
    key: String,
    md5: String,
}

impl S3CustomerKey {
    /// Reads the key from base64, as `openssl rand -base64 32` writes it.
    ///
    /// # Errors
    /// `Invalid` if the text is not base64 of 32 bytes; the message does not quote the text.
    pub fn parse(base64: &str) -> Result<S3CustomerKey> {
        let bytes = STANDARD.decode(base64.trim()).ok().filter(|bytes| bytes.len() == KEY_BYTES);
        let bytes = bytes.ok_or_else(|| {
            Error::invalid(format!(
                "expected the base64 of {KEY_BYTES} random bytes, as `openssl rand -base64 {KEY_BYTES}` makes it, \
                 got {} characters of something else",
                base64.len()
            ))
        })?;
        Ok(S3CustomerKey { key: STANDARD.encode(&bytes), md5: STANDARD.encode(Md5::digest(&bytes)) })
    }

    /// The values of the three headers: algorithm, key, and its MD5.
    pub(super) fn headers(&self) -> (String, String, String) {
        ("AES256".to_owned(), self.key.clone(), self.md5.clone())
    }
}

impl fmt::Debug for S3CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Puts the customer's key, if there is one, into a request that makes or reads an object.
macro_rules! with_customer_key {
    ($request:expr, $bucket:expr) => {
        match $bucket.customer_key() {
            None => $request,
            Some((algorithm, key, md5)) => {
                $request.sse_customer_algorithm(algorithm).sse_customer_key(key).sse_customer_key_md5(md5)
            }
        }
    };
}
pub(super) use with_customer_key;

/// Refuses to send a customer's key where others could read it.
///
/// # Errors
/// `Invalid` if the endpoint is neither https nor on this machine.
pub(super) fn check_endpoint(encryption: Option<&S3Encryption>, endpoint: Option<&str>) -> Result<()> {
    let (Some(S3Encryption::Customer(_)), Some(url)) = (encryption, endpoint) else { return Ok(()) };
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match here || parsed.as_ref().is_some_and(|url| url.scheme() == "https") {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "the customer's key (SSE-C) goes with every request, and the endpoint is {url:?}: expected a URL that \
             starts with https://, or one of this machine"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customers_key_is_32_bytes_in_base64_and_does_not_show() {
        // From `head -c 32 /dev/zero | tr '\0' k | base64`, and through `openssl md5 -binary`.
        let text = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
        let key = S3CustomerKey::parse(&format!(" {text}\n")).unwrap();
        assert_eq!(key.headers(), ("AES256".to_owned(), text.to_owned(), "mT2HRsMGJ5IX5C+0rreZ8Q==".to_owned()));
        let shown = format!("{:?}", S3Encryption::Customer(key));
        assert_eq!(shown, "Customer((hidden))");
        for bad in ["", "hush", "aHVzaA==", &"kkkk".repeat(12)] {
            let error = S3CustomerKey::parse(bad).unwrap_err();
            assert!(error.message().contains("openssl rand -base64 32"), "{error}");
            assert!(bad.is_empty() || !error.message().contains(bad), "a secret is told: {error}");
        }
    }

    #[test]
    fn a_customers_key_is_sent_only_over_tls_or_on_this_machine() {
        let key = S3CustomerKey::parse("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=").unwrap();
        let customer = S3Encryption::Customer(key);
        let check = |url: Option<&str>| check_endpoint(Some(&customer), url);
        for good in ["https://s3.example.org", "http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost:8333"] {
            assert!(check(Some(good)).is_ok(), "{good}");
        }
        assert!(check(None).is_ok(), "AWS itself");
        for bad in ["http://minio:9000", "http://10.0.0.1", "http://localhost.example.org", "http://127.0.0.1.nip.io"] {
            let error = check(Some(bad)).unwrap_err();
            assert!(error.message().contains("https://") && error.message().contains(bad), "{error}");
        }
        assert!(check_endpoint(Some(&S3Encryption::Aes256), Some("http://minio:9000")).is_ok());
    }
}
