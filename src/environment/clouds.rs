//! The settings of each cloud, read from its variables: for a store that a URL names, and for one that only variables
//! name. The caller says which bucket and prefix; without a prefix the default one applies.
//! Invariant: a variable means the same in both cases.

#[cfg(any(feature = "s3", feature = "gcs"))]
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "s3")]
use super::encryption::encryption;
#[cfg(any(feature = "s3", feature = "azure"))]
use super::expected;
use super::{Environment, missing};
#[cfg(feature = "azure")]
use crate::bucket::cloud::AzureSettings;
#[cfg(feature = "gcs")]
use crate::bucket::cloud::GcsSettings;
#[cfg(feature = "dropbox")]
use crate::bucket::dropbox::{Credentials, DropboxSettings};
#[cfg(feature = "_reqwest")]
use crate::bucket::http_client::HttpOptions;
#[cfg(feature = "s3")]
use crate::bucket::s3::S3Settings;
#[cfg(any(feature = "s3", feature = "azure"))]
use crate::error::Error;
use crate::error::Result;

/// Two values that need each other.
#[cfg(feature = "s3")]
fn both(source: &Environment<'_>, one: &'static str, other: &'static str) -> Result<Option<(String, String)>> {
    match (source.text(one), source.text(other)) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::invalid(format!("{other}: expected with {one}, got nothing"))),
        (None, Some(_)) => Err(Error::invalid(format!("{one}: expected with {other}, got nothing"))),
    }
}

/// A URL from the first of the variables that is set.
#[cfg(any(feature = "s3", feature = "azure"))]
fn url(source: &Environment<'_>, names: &[&'static str]) -> Result<Option<String>> {
    let mut found = names.iter().map(|name| source.text(name).map(|url| (name, url))).collect::<Vec<_>>();
    let Some((name, url)) = found.drain(..).flatten().next() else { return Ok(None) };
    match ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        true => Ok(Some(url)),
        false => Err(expected(name, "a URL that starts with http:// or https://", &url)),
    }
}

/// The times that one attempt and one connection may take, at any bucket.
fn timeouts(source: &Environment<'_>, attempt: &mut Duration, connect: &mut Duration) -> Result<()> {
    source.seconds("DRUMLIN_S3_ATTEMPT_TIMEOUT_S", attempt)?;
    source.seconds("DRUMLIN_S3_CONNECT_TIMEOUT_S", connect)
}

#[cfg(feature = "_reqwest")]
fn http_options(source: &Environment<'_>) -> Result<HttpOptions> {
    let mut http = HttpOptions::default();
    timeouts(source, &mut http.attempt_timeout, &mut http.connect_timeout)?;
    Ok(http)
}

/// A bucket of S3, or of a server that speaks it.
#[cfg(feature = "s3")]
pub(super) fn s3(source: &Environment<'_>, bucket: String, prefix: Option<String>) -> Result<S3Settings> {
    let region = source.text("AWS_REGION").or_else(|| source.text("AWS_DEFAULT_REGION"));
    let session_token = source.text("AWS_SESSION_TOKEN");
    let ca_bundle = source.text("AWS_CA_BUNDLE").map(PathBuf::from);
    let endpoint = url(source, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
    let at_rest = encryption(source);
    let mut path_style = endpoint.as_ref().is_ok_and(Option::is_some);
    source.flag("DRUMLIN_S3_PATH_STYLE", &mut path_style)?;
    let keys = both(source, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")?;
    let mut s3 = S3Settings::new(bucket);
    timeouts(source, &mut s3.attempt_timeout, &mut s3.connect_timeout)?;
    s3.force_path_style = Some(path_style);
    s3.endpoint = endpoint?;
    s3.region = region;
    s3.session_token = session_token;
    s3.ca_bundle = ca_bundle;
    s3.encryption = at_rest?;
    s3.prefix = prefix.unwrap_or(s3.prefix);
    (s3.access_key_id, s3.secret_access_key) = keys.unzip();
    Ok(s3)
}

/// A bucket of Cloudflare R2.
#[cfg(feature = "s3")]
pub(super) fn r2(source: &Environment<'_>, bucket: Option<String>, prefix: Option<String>) -> Result<S3Settings> {
    let account = source.text("R2_ACCOUNT_ID");
    let endpoint = url(source, &["R2_ENDPOINT_URL"]);
    let keys = both(source, "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")?;
    let because = "R2 is the bucket";
    let bucket = bucket.ok_or_else(|| missing("R2_BUCKET_NAME", "the bucket's name", because))?;
    let (access_key_id, secret) = keys.ok_or_else(|| missing("R2_ACCESS_KEY_ID", "the key of an R2 token", because))?;
    let endpoint = endpoint?;
    let ca_bundle = source.text("AWS_CA_BUNDLE").map(PathBuf::from);
    let mut r2 = match (&account, &endpoint) {
        (None, None) => {
            return Err(missing("R2_ACCOUNT_ID", "the account's id, or the whole R2_ENDPOINT_URL", because));
        }
        (account, _) => S3Settings::r2(account.as_deref().unwrap_or_default(), bucket),
    };
    r2.ca_bundle = ca_bundle;
    if let Some(mut url) = endpoint {
        // The dashboard shows the endpoint with the bucket's name after it.
        url.truncate(url.trim_end_matches('/').len());
        let inner = url.strip_suffix(&format!("/{}", r2.bucket)).map(str::to_owned);
        r2.endpoint = Some(inner.unwrap_or(url));
    }
    timeouts(source, &mut r2.attempt_timeout, &mut r2.connect_timeout)?;
    (r2.access_key_id, r2.secret_access_key) = (Some(access_key_id), Some(secret));
    r2.prefix = prefix.unwrap_or(r2.prefix);
    Ok(r2)
}

/// A bucket of Google Cloud Storage.
#[cfg(feature = "gcs")]
pub(super) fn gcs(source: &Environment<'_>, bucket: Option<String>, prefix: Option<String>) -> Result<GcsSettings> {
    let credentials = source.text("GOOGLE_APPLICATION_CREDENTIALS");
    let emulator = source.text("STORAGE_EMULATOR_HOST");
    let because = "Google Cloud Storage is the bucket";
    let bucket = bucket.ok_or_else(|| missing("GCS_BUCKET_NAME", "the bucket's name", because))?;
    let mut gcs = GcsSettings::new(bucket);
    gcs.http = http_options(source)?;
    gcs.credentials_file = credentials.map(PathBuf::from);
    // Google's own libraries accept the emulator's host with and without a scheme.
    gcs.endpoint = emulator.map(|host| if host.contains("://") { host } else { format!("http://{host}") });
    gcs.prefix = prefix.unwrap_or(gcs.prefix);
    Ok(gcs)
}

/// A container of Azure Blob Storage.
#[cfg(feature = "azure")]
pub(super) fn azure(
    source: &Environment<'_>,
    container: Option<String>,
    prefix: Option<String>,
) -> Result<AzureSettings> {
    let account = source.text("AZURE_STORAGE_ACCOUNT");
    let access_key = source.text("AZURE_STORAGE_KEY");
    let sas_token = source.text("AZURE_STORAGE_SAS_TOKEN");
    let connection = source.text("AZURE_STORAGE_CONNECTION_STRING");
    let endpoint = url(source, &["AZURE_STORAGE_ENDPOINT"]);
    let because = "Azure is the bucket";
    let container = container.ok_or_else(|| missing("AZURE_STORAGE_CONTAINER", "the container's name", because))?;
    let mut azure = AzureSettings::new(account.clone().unwrap_or_default(), container);
    match (connection, account) {
        (Some(text), _) => {
            let named = |error: Error| error.with_place("AZURE_STORAGE_CONNECTION_STRING");
            azure = azure.with_connection_string(&text).map_err(named)?;
        }
        (None, Some(_)) => {}
        (None, None) => {
            let what = "the storage account's name, or AZURE_STORAGE_CONNECTION_STRING";
            return Err(missing("AZURE_STORAGE_ACCOUNT", what, because));
        }
    }
    azure.access_key = access_key.or(azure.access_key);
    azure.sas_token = sas_token.or(azure.sas_token);
    azure.endpoint = endpoint?.or(azure.endpoint);
    azure.prefix = prefix.unwrap_or(azure.prefix);
    azure.http = http_options(source)?;
    Ok(azure)
}

/// A folder in Dropbox.
#[cfg(feature = "dropbox")]
pub(super) fn dropbox(source: &Environment<'_>, root: Option<String>) -> Result<DropboxSettings> {
    let access_token = source.text("DROPBOX_ACCESS_TOKEN");
    let refresh_token = source.text("DROPBOX_REFRESH_TOKEN");
    let (app_key, app_secret) = (source.text("DROPBOX_APP_KEY"), source.text("DROPBOX_APP_SECRET"));
    let credentials = match (refresh_token, app_key, access_token) {
        (Some(refresh_token), Some(app_key), _) => Credentials::Refresh { refresh_token, app_key, app_secret },
        (Some(_), None, _) => return Err(missing("DROPBOX_APP_KEY", "the app's key", "DROPBOX_REFRESH_TOKEN is set")),
        (None, _, Some(token)) => Credentials::AccessToken(token),
        (None, _, None) => {
            let what = "a refresh token with DROPBOX_APP_KEY and DROPBOX_APP_SECRET, or DROPBOX_ACCESS_TOKEN";
            return Err(missing("DROPBOX_REFRESH_TOKEN", what, "Dropbox is the bucket"));
        }
    };
    let mut dropbox = DropboxSettings::new(credentials);
    dropbox.http = http_options(source)?;
    dropbox.root = root.unwrap_or(dropbox.root);
    Ok(dropbox)
}
