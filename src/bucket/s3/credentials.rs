//! The keys for S3 where none are given in the settings: from the environment, a profile, `credential_process`,
//! a container or an instance's role, as the SDK's own chain finds them. Its invariant: keys that the store
//! says are expired are asked for anew from the beginning, files included; another program may have renewed them.

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

/// Keys are asked for anew so long before they end.
const MARGIN: Duration = Duration::from_secs(300);
/// Keys that the store refuses are asked for anew once in this time at most.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Codes of S3 by which keys that were good before are no more.
const EXPIRED: [&str; 4] = ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"];
/// How the message begins that tells that no keys were found.
pub(super) const NO_CREDENTIALS: &str = "no credentials for S3";

/// Loads the environment's and the profile's configuration.
pub(super) async fn load(http: SharedHttpClient, region: Option<Region>) -> SdkConfig {
    let mut chain = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region {
        chain = chain.region(region);
    }
    chain.load().await
}

/// Begins the chain from its start.
type Begin = Box<dyn Fn() -> BoxFuture<'static, Option<SharedCredentialsProvider>> + Send + Sync>;

/// The keys; see the module's text. Clones are the same.
#[derive(Clone)]
pub(super) struct Keys(Arc<SharedKeys>);

struct SharedKeys {
    begin: Begin,
    loaded: Mutex<LoadedKeys>,
    /// The store has taken requests signed with such keys before.
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
    /// Keys of the chain.
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

    /// The store has taken a request.
    pub(super) fn accepted(&self) {
        self.0.accepted.store(true, Ordering::Relaxed);
    }

    /// Whether requests signed with such keys have been taken.
    pub(super) fn were_accepted(&self) -> bool {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// The store has refused a request with `code`: whether other keys than these may help, which are then
    /// asked for before the next request.
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

/// What to do where no keys are found.
fn none_found(why: &str) -> CredentialsError {
    CredentialsError::provider_error(format!(
        "{NO_CREDENTIALS}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile of ~/.aws \
         (one of `aws sso login` works by way of `credential_process`, see docs/aws.md), or run where a role is \
         given ({why})"
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
