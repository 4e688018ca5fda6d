//! The settings of calls to providers. Invariant: none can switch off that a call is bounded in time, bytes and number.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use super::keys::ProviderKeys;
use crate::error::Error;

/// How providers are called.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProviderSettings {
    /// The keys that may be sent, each with where to.
    pub keys: ProviderKeys,
    /// Whether a provider may be on this machine or in a private network. Addresses at which clouds answer for their
    /// machines (`169.254.169.254`) are refused all the same.
    pub allow_private_addresses: bool,
    /// The proxy of all calls. It resolves names, so it has to refuse private addresses itself.
    pub proxy: Option<ProviderProxy>,
    /// How long a whole call may take, with all batches, pauses and repetitions.
    pub timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a service may be silent, before its answer and within it.
    pub read_timeout: Duration,
    /// Attempts at a batch, the first one included; at least 1.
    pub attempts: u32,
    /// Requests to one service at once.
    pub requests_at_once: usize,
    /// Texts in a request at most. Some services take no more than 32.
    pub batch_texts: usize,
    /// Bytes of texts in a request at most; a longer text goes alone.
    pub batch_bytes: usize,
    /// Bytes of an answer at most.
    pub answer_bytes: usize,
    /// Calls for one service at once, the waiting ones included.
    pub waiting: usize,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        ProviderSettings {
            keys: ProviderKeys::default(),
            allow_private_addresses: false,
            proxy: None,
            timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(5),
            // Ollama loads a model of some GB before its first answer.
            read_timeout: Duration::from_secs(60),
            attempts: 5,
            requests_at_once: 4,
            batch_texts: 32,
            batch_bytes: 256 << 10,
            answer_bytes: 16 << 20,
            waiting: 64,
        }
    }
}

/// The URL of a proxy, in which a password may stand: `Debug` shows none of it.
#[derive(Clone)]
pub struct ProviderProxy(pub(super) Url);

impl fmt::Debug for ProviderProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderProxy(hidden)")
    }
}

impl FromStr for ProviderProxy {
    type Err = Error;

    /// Reads `http://host:port`, with `user:password@` in it where the proxy wants one.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    fn from_str(text: &str) -> Result<ProviderProxy, Error> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let expected = "expected the URL of a proxy, as in http://proxy.example:3128 (provider.proxy)";
        url.map(ProviderProxy).ok_or_else(|| Error::invalid(expected).of_setting("provider.proxy"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_shows_no_password() {
        let proxy: ProviderProxy = "http://user:secret@proxy.example:3128".parse().unwrap();
        let limits = ProviderSettings { proxy: Some(proxy), ..ProviderSettings::default() };
        assert!(!format!("{limits:?}").contains("secret"));
        for bad in ["proxy.example:3128", "socks5://secret@proxy", "", "http://"] {
            let error = bad.parse::<ProviderProxy>().unwrap_err();
            assert_eq!(error.setting(), Some("provider.proxy"));
            assert!(!error.message().contains("secret"));
        }
    }
}
