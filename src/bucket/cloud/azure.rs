//! How to reach a container of Azure Blob Storage. Invariants: conditions are ETags, which Azure changes with every
//! write; secrets never show in `Debug`.

use std::fmt;
use std::sync::Arc;

use object_store::RetryConfig;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::response::Listening;
use super::{CloudBucket, Tag};
use crate::bucket::Place;
use crate::bucket::attempt::{DEFAULT_PREFIX, root_of};
use crate::bucket::http_client::HttpOptions;
use crate::error::{Error, Result};

/// Azure takes at most this many deletes in one request.
const DELETE_BATCH: usize = 256;

/// Where a container of Azure Blob Storage is and how to use it.
#[derive(Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AzureSettings {
    /// The storage account's name.
    pub account: String,
    /// The container's name.
    pub container: String,
    /// Put before every key. A missing trailing slash is added; empty means the container's root.
    pub prefix: String,
    /// The account's key. Without key and signature, the machine's managed identity is used.
    pub access_key: Option<String>,
    /// A shared access signature, as a query string, instead of the key.
    pub sas_token: Option<String>,
    /// The URL of the blob service; for an emulator the account's name is its path. `None` is the account's URL in
    /// Azure's public cloud.
    pub endpoint: Option<String>,
    /// How calls are made and large objects cut.
    pub http: HttpOptions,
}

impl AzureSettings {
    /// Settings with production's defaults for a container.
    pub fn new(account: impl Into<String>, container: impl Into<String>) -> Self {
        AzureSettings {
            account: account.into(),
            container: container.into(),
            prefix: DEFAULT_PREFIX.into(),
            access_key: None,
            sas_token: None,
            endpoint: None,
            http: HttpOptions::default(),
        }
    }

    /// Takes over the settings in a connection string, as the portal shows it.
    ///
    /// # Errors
    /// `Invalid` when the string cannot be read or names no account; the message never holds the string.
    pub fn with_connection_string(mut self, text: &str) -> Result<Self> {
        let mut suffix = "core.windows.net".to_owned();
        let mut protocol = "https".to_owned();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                Error::invalid("expected a connection string of Name=value parts with semicolons between")
            })?;
            match name.to_ascii_lowercase().as_str() {
                "accountname" => self.account = value.to_owned(),
                "accountkey" => self.access_key = Some(value.to_owned()),
                "sharedaccesssignature" => self.sas_token = Some(value.to_owned()),
                "blobendpoint" => self.endpoint = Some(value.trim_end_matches('/').to_owned()),
                "endpointsuffix" => suffix = value.to_owned(),
                "defaultendpointsprotocol" => protocol = value.to_owned(),
                _ => {}
            }
        }
        if self.account.is_empty() {
            return Err(Error::invalid("expected a connection string with an AccountName, got one without"));
        }
        if self.endpoint.is_none() {
            self.endpoint = Some(format!("{protocol}://{}.blob.{suffix}", self.account));
        }
        Ok(self)
    }

    /// Makes a bucket of the settings; sends nothing yet.
    ///
    /// # Errors
    /// `Invalid` when the settings make no sense.
    pub fn connect(&self) -> Result<CloudBucket> {
        if self.account.is_empty() || self.container.is_empty() || self.container.contains('/') {
            return Err(Error::invalid(format!(
                "the storage account is {:?} and the container {:?}; expected the names of both, without slashes",
                self.account, self.container
            )));
        }
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_retry(retry)
            .with_http_connector(Listening(self.http.clients()?));
        if let Some(key) = &self.access_key {
            builder = builder.with_access_key(key);
        }
        if let Some(sas) = &self.sas_token {
            builder = builder.with_config(AzureConfigKey::SasKey, sas.trim_start_matches('?'));
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone()).with_allow_http(endpoint.starts_with("http://"));
        }
        let store = builder.build().map_err(|error| {
            Error::invalid(format!("Azure Blob Storage cannot be used with these settings: {error}"))
        })?;
        let root = root_of(&self.prefix);
        let place = Place {
            kind: "azure",
            location: format!("azure://{}/{}/{root}", self.account, self.container),
            endpoint: self.endpoint.clone().unwrap_or_default(),
            bucket: format!("{}/{}", self.account, self.container),
        };
        let http = self.http.clone();
        Ok(CloudBucket { store: Arc::new(store), tag: Tag::ETag, delete_batch: DELETE_BATCH, root, http, place })
    }
}

impl fmt::Debug for AzureSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "(hidden)");
        f.debug_struct("AzureSettings")
            .field("account", &self.account)
            .field("container", &self.container)
            .field("prefix", &self.prefix)
            .field("access_key", &hidden(&self.access_key))
            .field("sas_token", &hidden(&self.sas_token))
            .field("endpoint", &self.endpoint)
            .field("http", &self.http)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<AzureSettings> {
        AzureSettings::new("", "c").with_connection_string(text)
    }

    #[test]
    fn a_connection_string_is_taken_over_part_by_part() {
        let portal = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5PT0=;EndpointSuffix=core.windows.net";
        let settings = of(portal).unwrap();
        assert_eq!((settings.account.as_str(), settings.access_key.as_deref()), ("a", Some("a2V5PT0=")));
        assert_eq!(settings.endpoint.as_deref(), Some("https://a.blob.core.windows.net"));
        let signed = of("BlobEndpoint=https://x.example/;AccountName=a;SharedAccessSignature=sv=1&sig=s%3D").unwrap();
        assert_eq!(signed.endpoint.as_deref(), Some("https://x.example"));
        assert_eq!(signed.sas_token.as_deref(), Some("sv=1&sig=s%3D"));
    }

    #[test]
    fn what_cannot_work_is_refused_and_no_secret_is_told() {
        for (settings, word) in [
            (of("AccountKey=hush"), "AccountName"),
            (of("AccountName=a;hush"), "Name=value"),
            (Ok(AzureSettings::new("", "c")), "account"),
            (Ok(AzureSettings::new("a", "c/folder")), "container"),
            (Ok(AzureSettings { access_key: Some("hush!".into()), ..AzureSettings::new("a", "c") }), "Azure"),
        ] {
            let refused = settings.and_then(|settings| settings.connect()).unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Invalid);
            assert!(refused.message().contains(word) && !refused.message().contains("hush"), "{refused}");
        }
        let settings = of("AccountName=a;AccountKey=hush;SharedAccessSignature=hush").unwrap();
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
