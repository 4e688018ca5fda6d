//! How to reach a bucket of Google Cloud Storage by its native API. Invariant: conditions are generations
//! (`x-goog-if-generation-match`). They are never the ETags of Google's S3 look-alike, which does not honour them on
//! writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::RetryConfig;
use object_store::gcp::GoogleCloudStorageBuilder;

use super::response::Listening;
use super::{CloudBucket, Tag};
use crate::bucket::Place;
use crate::bucket::attempt::{DEFAULT_PREFIX, root_of};
use crate::bucket::http_client::HttpOptions;
use crate::bucket::throttle::ONE_A_SECOND;
use crate::error::{Error, Result};

/// Where a bucket of Google Cloud Storage is and how to use it.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct GcsSettings {
    /// The bucket's name.
    pub bucket: String,
    /// Put before every key. A missing trailing slash is added; empty means the bucket's root.
    pub prefix: String,
    /// The key file of a service account, or the file that `gcloud auth application-default login` has written. `None`
    /// takes gcloud's own file where there is one, else the machine's service account.
    pub credentials_file: Option<PathBuf>,
    /// The URL of an emulator, which is sent no credentials; `None` is Google.
    pub endpoint: Option<String>,
    /// How calls are made and large objects cut.
    pub http: HttpOptions,
    /// Least time between two writes of one key: Google takes one a second.
    pub rewrite_pause: Duration,
}

impl GcsSettings {
    /// Settings with production's defaults for a bucket.
    pub fn new(bucket: impl Into<String>) -> Self {
        GcsSettings {
            bucket: bucket.into(),
            prefix: DEFAULT_PREFIX.into(),
            credentials_file: None,
            endpoint: None,
            http: HttpOptions::default(),
            rewrite_pause: ONE_A_SECOND,
        }
    }

    /// Makes a bucket of the settings. Reads the credentials' file; sends nothing yet.
    ///
    /// # Errors
    /// `Invalid` when the credentials cannot be read or the settings make no sense.
    pub fn connect(&self) -> Result<CloudBucket> {
        if self.bucket.is_empty() || self.bucket.contains('/') {
            return Err(Error::invalid(format!(
                "the bucket's name is {:?}; expected a name without slashes (a folder in it goes into the prefix)",
                self.bucket
            )));
        }
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.bucket)
            .with_retry(retry)
            .with_http_connector(Listening(self.http.clients()?));
        if let Some(file) = &self.credentials_file {
            let file = file.to_str().ok_or_else(|| {
                Error::invalid("the path of the key file is not UTF-8; move the file to a path that is")
            })?;
            builder = builder.with_application_credentials(file);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/')).with_bearer_token("emulator");
        }
        let store = builder.build().map_err(|error| {
            Error::invalid(format!("Google Cloud Storage cannot be used with these settings: {error}"))
        })?;
        let root = root_of(&self.prefix);
        let place = Place {
            kind: "gcs",
            location: format!("gs://{}/{root}", self.bucket),
            endpoint: self.endpoint.clone().unwrap_or_default(),
            bucket: self.bucket.clone(),
        };
        let http = self.http.clone();
        Ok(CloudBucket { store: Arc::new(store), tag: Tag::Generation, delete_batch: 1, root, http, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_with_what_is_wrong() {
        let missing = Some(PathBuf::from("/no/such/key.json"));
        for (settings, word) in [
            (GcsSettings::new(""), "name"),
            (GcsSettings::new("b/folder"), "prefix"),
            (GcsSettings { credentials_file: missing, ..GcsSettings::new("b") }, "/no/such/key.json"),
        ] {
            let refused = settings.connect().unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Invalid);
            assert!(refused.message().contains(word), "{refused}");
        }
    }
}
