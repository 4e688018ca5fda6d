//! How to reach an S3 bucket, and the client made from it. Invariants: the SDK makes one attempt per call and hides
//! nothing of it. It adds no retries, no checksums that look-alikes refuse, and no time limits but ours. Secrets never
//! show in `Debug`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::os_shim_internal::{Env, Fs};

use super::clock::SigningClock;
use super::connection::connections;
use super::credentials::{Keys, load};
use super::encryption::{S3Encryption, check_endpoint};
use crate::bucket::attempt::{DEFAULT_PREFIX, root_of};
use crate::bucket::throttle::ONE_A_SECOND;
use crate::error::{Error, Result};

/// The end of R2's endpoints; the account's id stands before it.
const R2_HOST: &str = ".r2.cloudflarestorage.com";

/// Where an S3 bucket is and how to use it.
#[derive(Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// Put before every key. A missing trailing slash is added; empty means the bucket's root.
    pub prefix: String,
    /// The region; `None` takes it from the profile in use, without given keys also from the environment, else
    /// `us-east-1`.
    pub region: Option<String>,
    /// The server's URL; `None` is AWS.
    pub endpoint: Option<String>,
    /// These credentials, together with the secret. `None` takes the SDK's chain: environment, profile, role.
    pub access_key_id: Option<String>,
    /// The secret of the access key.
    pub secret_access_key: Option<String>,
    /// For temporary credentials.
    pub session_token: Option<String>,
    /// A PEM file of certificate authorities instead of the system's; `None` takes the profile's `ca_bundle`.
    pub ca_bundle: Option<PathBuf>,
    /// Encryption requested with every write; `None` leaves it to the bucket's own rule.
    pub encryption: Option<S3Encryption>,
    /// Whether the bucket's name stands in the path rather than the host name. `None`: if an endpoint is given.
    pub force_path_style: Option<bool>,
    /// How long one attempt may take. A body adds one minute per 64 MiB.
    pub attempt_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// Objects from this many bytes on are uploaded in parts by `put_large`.
    pub multipart_bytes: usize,
    /// How large a part is, in bytes; S3 wants at least 5 MiB.
    pub part_bytes: usize,
    /// Least time between two writes of one key. Zero unless the store limits them, as R2 does.
    pub rewrite_pause: Duration,
}

impl S3Settings {
    /// Settings with production's defaults for a bucket: AWS, the SDK's own credentials.
    pub fn new(bucket: impl Into<String>) -> Self {
        S3Settings {
            bucket: bucket.into(),
            prefix: DEFAULT_PREFIX.into(),
            region: None,
            endpoint: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            ca_bundle: None,
            encryption: None,
            force_path_style: None,
            attempt_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            multipart_bytes: 64 << 20,
            part_bytes: 16 << 20,
            rewrite_pause: Duration::ZERO,
        }
    }

    /// Settings for a bucket of Cloudflare R2: the account's endpoint, and one write a second for each key.
    pub fn r2(account_id: &str, bucket: impl Into<String>) -> Self {
        S3Settings {
            region: Some("auto".into()),
            endpoint: Some(format!("https://{account_id}{R2_HOST}")),
            rewrite_pause: ONE_A_SECOND,
            ..S3Settings::new(bucket)
        }
    }

    /// The pause between two writes of one key: as set, and at least `ONE_A_SECOND` at R2's own endpoint.
    pub fn pause(&self) -> Duration {
        let r2 = self.endpoint.as_deref().is_some_and(|url| url.trim_end_matches('/').ends_with(R2_HOST));
        if r2 { self.rewrite_pause.max(ONE_A_SECOND) } else { self.rewrite_pause }
    }

    /// The prefix in the form that is put before keys: no slash in front, one at the end; or empty.
    pub(super) fn root(&self) -> String {
        root_of(&self.prefix)
    }

    /// Checks the settings and makes the client. Sends nothing to the bucket yet.
    pub(super) async fn client(&self, clock: SigningClock) -> Result<(Client, Option<Keys>)> {
        self.check()?;
        let bundle = match &self.ca_bundle {
            Some(bundle) => Some(bundle.clone()),
            None => of_profile("ca_bundle").await.map(PathBuf::from),
        };
        let http = connections(bundle.as_deref())?;
        let region = self.region.clone().map(Region::new);
        let (builder, keys) = match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => {
                let credentials = Credentials::new(id, secret, self.session_token.clone(), None, "settings");
                let provider = SharedCredentialsProvider::new(credentials);
                let region = match region {
                    Some(region) => region,
                    None => of_profile("region").await.map_or(Region::from_static("us-east-1"), Region::new),
                };
                (Builder::new().credentials_provider(provider).region(region), None)
            }
            _ => {
                let shared = load(http.clone(), region.clone()).await;
                check_endpoint(self.encryption.as_ref(), self.endpoint.as_deref().or(shared.endpoint_url()))?;
                let keys = Keys::of_chain(&shared, http.clone(), region);
                let region = shared.region().cloned().unwrap_or(Region::from_static("us-east-1"));
                let provider = SharedCredentialsProvider::new(keys.clone());
                // `Keys` caches itself, until the store calls its keys expired.
                let builder = Builder::from(&shared).identity_cache(IdentityCache::no_cache());
                (builder.credentials_provider(provider).region(region), Some(keys))
            }
        };
        let timeouts = TimeoutConfig::builder().connect_timeout(self.connect_timeout).build();
        let mut builder = builder
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .time_source(clock)
            .disable_clock_skew_correction(true)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .force_path_style(self.force_path_style.unwrap_or(self.endpoint.is_some()));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint_url(with_slash(endpoint));
        }
        Ok((Client::from_conf(builder.build()), keys))
    }

    fn check(&self) -> Result<()> {
        if self.bucket.starts_with("arn:") {
            return Err(Error::invalid(format!(
                "the bucket's name is the ARN {:?}, which is not supported; expected a name, for an access point its \
                 alias (…-s3alias)",
                self.bucket
            )));
        }
        if self.bucket.is_empty() || self.bucket.contains('/') {
            return Err(Error::invalid(format!(
                "the bucket's name is {:?}; expected a name without slashes (a folder in it goes into the prefix)",
                self.bucket
            )));
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return Err(Error::invalid(
                "one of access key id and secret access key is set without the other; set both, or none for the \
                 environment's own credentials",
            ));
        }
        check_endpoint(self.encryption.as_ref(), self.endpoint.as_deref())?;
        match self.endpoint.as_deref() {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => Err(Error::invalid(format!(
                "the endpoint is {url:?}; expected a URL that starts with http:// or https://"
            ))),
            _ if self.part_bytes == 0 => Err(Error::invalid("the size of a part is 0 bytes; expected at least 5 MiB")),
            _ => Ok(()),
        }
    }
}

/// What the profile in use says of `key`.
async fn of_profile(key: &str) -> Option<String> {
    // An unreadable file is reported where keys are looked up in it.
    let profiles = aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await.ok()?;
    profiles.get(key).map(str::to_owned)
}

/// The endpoint with a slash after its path, if it has a path: the SDK glues the bucket's name to it.
fn with_slash(endpoint: &str) -> String {
    let path = endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let lacking = !path.is_empty() && !path.ends_with('/');
    if lacking { format!("{endpoint}/") } else { endpoint.to_owned() }
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "(hidden)");
        f.debug_struct("S3Settings")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &hidden(&self.secret_access_key))
            .field("session_token", &hidden(&self.session_token))
            .field("ca_bundle", &self.ca_bundle)
            .field("encryption", &self.encryption)
            .field("force_path_style", &self.force_path_style)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("multipart_bytes", &self.multipart_bytes)
            .field("part_bytes", &self.part_bytes)
            .field("rewrite_pause", &self.rewrite_pause)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::s3::S3CustomerKey;

    #[test]
    fn secrets_do_not_show_in_debug() {
        let mut settings = S3Settings::new("b");
        settings.secret_access_key = Some("the-secret".into());
        settings.session_token = Some("the-token".into());
        let key = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
        settings.encryption = Some(S3Encryption::Customer(S3CustomerKey::parse(key).unwrap()));
        let text = format!("{settings:?}");
        assert!(!text.contains("the-secret") && !text.contains("the-token") && !text.contains("a2tra2"), "{text}");
    }

    #[test]
    fn a_prefix_has_one_slash_at_its_end_and_none_before() {
        for (given, root) in [("", ""), ("/", ""), ("a", "a/"), ("/a/b//", "a/b/"), ("vector_db/", "vector_db/")] {
            assert_eq!(S3Settings { prefix: given.into(), ..S3Settings::new("b") }.root(), root, "{given:?}");
        }
    }

    #[test]
    fn writes_of_one_key_are_spaced_on_r2_and_nowhere_else() {
        let r2 = S3Settings::r2("0123abc", "b");
        assert_eq!(r2.endpoint.as_deref(), Some("https://0123abc.r2.cloudflarestorage.com"));
        assert_eq!((r2.region.as_deref(), r2.pause()), (Some("auto"), ONE_A_SECOND));
        let at = |endpoint: &str| S3Settings { endpoint: Some(endpoint.into()), ..S3Settings::new("b") }.pause();
        assert_eq!(at("https://0123abc.eu.r2.cloudflarestorage.com/"), ONE_A_SECOND);
        assert_eq!(at("http://127.0.0.1:9000"), Duration::ZERO);
        assert_eq!(S3Settings::new("b").pause(), Duration::ZERO);
    }

    #[tokio::test]
    async fn settings_that_cannot_work_are_refused_with_what_is_wrong() {
        let base = || S3Settings::new("b");
        for (settings, word) in [
            (S3Settings::new(""), "bucket's name"),
            (S3Settings::new("b/folder"), "prefix"),
            (S3Settings::new("arn:aws:s3:eu-west-1:1:accesspoint/a"), "alias"),
            (S3Settings { ca_bundle: Some("/no/such.pem".into()), ..base() }, "AWS_CA_BUNDLE"),
            (S3Settings { access_key_id: Some("id".into()), ..base() }, "secret access key"),
            (S3Settings { endpoint: Some("localhost:9000".into()), ..base() }, "http://"),
            (S3Settings { part_bytes: 0, ..base() }, "part"),
        ] {
            let refused = settings.client(SigningClock::default()).await.map(drop).unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Invalid);
            assert!(refused.message().contains(word), "{refused}");
        }
    }
}
