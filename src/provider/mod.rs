//! Embeddings from a service over HTTP ([`ProviderSpec`]): texts go out, vectors come back. Invariants:
//!
//! - A key is sent only to the URL that the operator lent it to ([`ProviderKeys`]), and is in no message and no log.
//! - An address is checked, and then connected to. Private ones are refused unless allowed; redirects are not followed.
//! - Answers are not trusted: bounded in bytes and time, and checked before a vector leaves this room.
//! - Dropping a call ends it.

mod address;
mod answer;
mod call;
mod failure;
mod hosts;
mod keys;
#[cfg(test)]
mod provider_tests;
#[cfg(test)]
mod service_for_tests;
mod settings;
mod spec;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{Error, Result};
use address::{CheckedResolver, NameLookup, system_lookup};
use call::ProviderCall;
use hosts::Hosts;

pub use keys::ProviderKeys;
pub use settings::{ProviderProxy, ProviderSettings};
pub use spec::{EncodingFormat, ProviderKind, ProviderSpec};

/// The longest time that a call may have. Beyond it lie only settings that mean "no limit".
const LONGEST_CALL: Duration = Duration::from_secs(86_400);

/// Calls services for embeddings. One is enough for a process: it keeps the connections, and the bounds of each
/// service.
pub struct Provider {
    client: reqwest::Client,
    limits: ProviderSettings,
    hosts: Hosts,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("settings", &self.limits).finish_non_exhaustive()
    }
}

impl Provider {
    /// A provider with these settings; sends nothing yet.
    ///
    /// # Errors
    /// `Internal` when the client cannot be made.
    pub fn new(settings: ProviderSettings) -> Result<Provider> {
        Provider::with_lookup(settings, system_lookup())
    }

    fn with_lookup(limits: ProviderSettings, lookup: NameLookup) -> Result<Provider> {
        let client = client(&limits, lookup).map_err(|error| {
            Error::internal(format!("the client for providers did not start: {}", error.without_url()))
        })?;
        let hosts = Hosts::new(limits.requests_at_once, limits.waiting);
        Ok(Provider { client, limits, hosts })
    }

    /// Whether this description can be used here: its fields, its key, and an address in its URL. Sends nothing. A
    /// host's name is checked only when it is called, since its address may change.
    ///
    /// # Errors
    /// `Invalid`: the message names what is wrong.
    pub fn check(&self, spec: &ProviderSpec) -> Result<()> {
        spec.endpoint(&self.limits.keys, self.limits.allow_private_addresses).map(drop)
    }

    /// The vectors of the texts, `texts.len() × dimension`, in their order. All vectors have the dimension given; if
    /// none is, that of the description, else any that they have in common.
    ///
    /// Nothing of a call is kept when one of its batches fails. Dropping the future ends its requests.
    ///
    /// # Errors
    /// - `Invalid`: the description, the address, the model's dimension, or a request that the service refuses.
    /// - `Unavailable`: the service does not answer, refuses the key or answers with something else; too many calls
    ///   wait for it; the call took too long.
    pub async fn embed(
        &self,
        spec: &ProviderSpec,
        dimension: Option<usize>,
        texts: &[String],
    ) -> Result<Vec<Vec<f32>>> {
        let endpoint = spec.endpoint(&self.limits.keys, self.limits.allow_private_addresses)?;
        let dimension = match (spec.dimensions, dimension) {
            (Some(asked), Some(wanted)) if asked != wanted => {
                let what = format!("it is asked for {asked} dimensions, where {wanted} are wanted: make them the same");
                return Err(Error::invalid(format!("the embedding provider cannot be used: {what}")));
            }
            (asked, wanted) => wanted.or(asked),
        };
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let host = self.hosts.enter(&endpoint.authority)?;
        let call = ProviderCall {
            client: &self.client,
            limits: &self.limits,
            spec,
            endpoint: &endpoint,
            host: &host,
            dimension,
            texts,
            deadline: Instant::now() + self.limits.timeout.min(LONGEST_CALL),
            last_failure: Mutex::default(),
        };
        tokio::time::timeout_at(call.deadline, call.vectors()).await.unwrap_or_else(|_| Err(self.too_slow(&call)))
    }

    fn too_slow(&self, call: &ProviderCall<'_>) -> Error {
        let limit = self.limits.timeout.as_secs_f64();
        let why = call.last_failure.lock().take().map_or_else(String::new, |failure| format!("; before: {failure}"));
        let what = format!("expected all vectors within {limit} s (provider.timeout): send fewer texts at once{why}");
        call.endpoint.unavailable(&what).of_setting("provider.timeout")
    }
}

/// The client. TLS is rustls with ring unless the process has chosen another provider. A proxy of the environment is
/// not used: it would be connected to in the place of the address that was checked.
fn client(limits: &ProviderSettings, lookup: NameLookup) -> reqwest::Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits.connect_timeout)
        .read_timeout(limits.read_timeout)
        .pool_max_idle_per_host(limits.requests_at_once)
        .user_agent(concat!("drumlin/", env!("CARGO_PKG_VERSION")));
    match &limits.proxy {
        // The one name that is resolved is then the proxy's, which may well be private.
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.0.clone())?).build(),
        None => {
            let resolver = CheckedResolver::new(limits.allow_private_addresses, lookup);
            builder.dns_resolver(Arc::new(resolver)).build()
        }
    }
}
