//! The keys for S3 if the settings hold none. The SDK's own chain finds them in the environment, a profile,
//! `credential_process`, a container or an instance's role. Invariant: after the store calls keys expired, the whole
//! chain runs again, files included; another program may have renewed them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::{Region, SharedHttpClient};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::bucket::attempt::chain;

/// Keys are renewed this long before they expire.
const MARGIN: Duration = Duration::from_secs(300);
/// Least time between two renewals of keys that the store refuses.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// S3's codes for keys that were good before and are not any more.
const EXPIRED: [&str; 4] = ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"];
/// The beginning of the message that no keys were found.
pub(super) const NO_CREDENTIALS: &str = "no credentials for S3";

/// Loads the environment's and the profile's configuration.
pub(super) async fn load(http: SharedHttpClient, region: Option<Region>) -> SdkConfig {
    let mut chain = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region {
        chain = chain.region(region);
    }
    chain.load().await
}

/// Starts the chain anew.
type Begin = Box<dyn Fn() -> BoxFuture<'static, Option<SharedCredentialsProvider>> + Send + Sync>;

/// The keys; see the module's text. Clones are the same.
#[derive(Clone)]
pub(super) struct Keys(Arc<SharedKeys>);

struct SharedKeys {
    begin: Begin,
    loaded: Mutex<LoadedKeys>,
    /// The store has accepted requests signed with keys of this origin before.
    accepted: AtomicBool,
    /// The store has called the keys expired since they were loaded.
    expired: AtomicBool,
}

struct LoadedKeys {
    provider: Option<SharedCredentialsProvider>,
    at: Instant,
    keys: Option<Credentials>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

impl Keys {
    /// Keys found by the SDK's chain.
    pub(super) fn of_chain(config: &SdkConfig, http: SharedHttpClient, region: Option<Region>) -> Self {
        let begin: Begin = Box::new(move || {
            let (http, region) = (http.clone(), region.clone());
            async move { load(http, region).await.credentials_provider() }.boxed()
        });
        Keys::new(config.credentials_provider(), begin)
    }

    fn new(provider: Option<SharedCredentialsProvider>, begin: Begin) -> Self {
        let loaded = Mutex::new(LoadedKeys { provider, at: Instant::now(), keys: None });
        let (accepted, expired) = (AtomicBool::new(false), AtomicBool::new(false));
        Keys(Arc::new(SharedKeys { begin, loaded, accepted, expired }))
    }

    /// Notes that the store has accepted a request.
    pub(super) fn accepted(&self) {
        self.0.accepted.store(true, Ordering::Relaxed);
    }

    /// Whether the store has accepted requests signed with keys of this origin.
    pub(super) fn were_accepted(&self) -> bool {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Notes that the store has refused a request with `code`. Returns whether other keys may help; these are then
    /// loaded before the next request.
    pub(super) fn refused(&self, code: &str) -> bool {
        let expired = EXPIRED.contains(&code);
        self.0.expired.fetch_or(expired, Ordering::SeqCst);
        expired && self.were_accepted()
    }

    async fn get(&self) -> Result<Credentials, CredentialsError> {
        let SharedKeys { begin, loaded, expired, .. } = &*self.0;
        let mut loaded = loaded.lock().await;
        if expired.load(Ordering::SeqCst) && loaded.at.elapsed() >= LEAST_PAUSE {
            expired.store(false, Ordering::SeqCst);
            (loaded.provider, loaded.keys) = (None, None);
        }
        let soon = SystemTime::now() + MARGIN;
        if let Some(keys) = loaded.keys.as_ref().filter(|keys| keys.expiry().is_none_or(|expiry| expiry > soon)) {
            return Ok(keys.clone());
        }
        if loaded.provider.is_none() {
            loaded.provider = begin().await;
        }
        loaded.at = Instant::now();
        let Some(provider) = loaded.provider.clone() else { return Err(none_found("the chain is empty")) };
        let keys = provider.provide_credentials().await.map_err(|error| none_found(&chain(&error)))?;
        loaded.keys = Some(keys.clone());
        Ok(keys)
    }
}

/// Advice for the case that no keys are found.
fn none_found(why: &str) -> CredentialsError {
    CredentialsError::provider_error(format!(
        "{NO_CREDENTIALS}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile of ~/.aws \
         (one of `aws sso login` needs `credential_process`, see docs/aws.md), or run on a machine that has a \
         role ({why})"
    ))
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn named(number: u32) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Credentials::new(format!("key-{number}"), "s", None, None, "test"))
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_the_store_calls_expired_are_asked_for_anew_and_others_are_kept() {
        let begun = Arc::new(AtomicU32::new(1));
        let count = begun.clone();
        let begin: Begin = Box::new(move || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            async move { Some(named(number)) }.boxed()
        });
        let keys = Keys::new(Some(named(0)), begin);
        let id = async || keys.get().await.unwrap().access_key_id().to_owned();
        assert!(!keys.refused("ExpiredToken"), "keys that never were good are not worth waiting for");
        keys.accepted();
        assert_eq!(id().await, "key-0");
        assert!(!keys.refused("AccessDenied"));
        tokio::time::sleep(LEAST_PAUSE).await;
        assert_eq!(id().await, "key-1");
        for code in EXPIRED {
            tokio::time::sleep(LEAST_PAUSE).await;
            let before = id().await;
            assert!(keys.refused(code), "{code}");
            assert_ne!(id().await, before, "{code}");
        }
        let before = id().await;
        assert!(keys.refused("ExpiredToken"));
        assert_eq!(id().await, before, "the chain is asked too often");
    }
}
