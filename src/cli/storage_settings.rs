//! The bucket that the variables ask for. Every backend reads its own variables and makes an offer; the one that was
//! asked for is taken. Invariant: if two are asked for at once, the start stops with a sentence that names the
//! variable of each; nothing is chosen silently.

use std::path::PathBuf;

use drumlin::settings::{AzureSettings, DropboxCredentials, DropboxSettings, GcsSettings, HttpOptions, S3Settings};
use drumlin::{Result, Storage};

use super::Flags;
use super::encryption::encryption;
use super::names::WHERE;
use super::settings::{Source, expected, invalid};

/// The kinds of buckets, as `DRUMLIN_STORAGE` and `STORAGE_MODE` name them.
const KINDS: [&str; 7] = ["s3", "r2", "gcs", "azure", "dropbox", "folder", "memory"];

/// The offer that one backend makes from its variables.
struct Offer {
    kind: &'static str,
    /// The variable that asks for it, if one is set.
    asked_by: Option<&'static str>,
    /// The storage, or the reason why its variables are invalid.
    storage: Result<Storage>,
}

/// Reads where the data is. `notes` gets notes for the user that do not stop the start.
pub fn storage(source: &Source, flags: &Flags, notes: &mut Vec<String>) -> Result<Storage> {
    let chosen = chosen(source)?;
    let (folder, folder_asked_by) = folder(source)?;
    if source.text("DATABASE_PATH").is_some() {
        notes.push("DATABASE_PATH is not used: there is no database file, everything is in the bucket".to_owned());
    }
    let unused = s3_switched_off(source);
    let offers = [
        s3_offer(source),
        r2_offer(source),
        gcs_offer(source),
        azure_offer(source),
        dropbox_offer(source, chosen),
        Offer { kind: "folder", asked_by: folder_asked_by, storage: Ok(Storage::Folder(folder.clone())) },
        Offer { kind: "memory", asked_by: None, storage: Ok(Storage::Memory) },
    ];
    if flags.memory {
        return Ok(Storage::Memory);
    }
    if let Some(data) = &flags.data {
        return Ok(Storage::Folder(data.into()));
    }
    if let Some((_, kind)) = chosen {
        let offer = offers.into_iter().find(|offer| offer.kind == kind);
        return offer.map_or(Ok(Storage::Folder(folder)), |offer| offer.storage);
    }
    let asked: Vec<(&str, &str)> = offers.iter().filter_map(|o| Some((o.asked_by?, o.kind))).collect();
    match asked.as_slice() {
        [] => {
            if let Some(bucket) = unused {
                let folder = folder.display();
                notes.push(format!("S3_ENABLED is false: the bucket {bucket} is not used, the folder {folder} is"));
            }
            Ok(Storage::Folder(folder))
        }
        [(by, kind)] => {
            if *kind != "folder" && source.text("DRUMLIN_DATA").is_some() {
                notes.push(format!("DRUMLIN_DATA is not used: {by} asks for {kind}, and everything is stored there"));
            }
            offers.into_iter().find(|o| o.asked_by.is_some()).map_or(Ok(Storage::Folder(folder)), |o| o.storage)
        }
        [(one, one_kind), (other, other_kind), ..] => Err(invalid(format!(
            "{one} asks for {one_kind} as the bucket and {other} for {other_kind}: expected one bucket; unset one of \
             them, or set DRUMLIN_STORAGE={one_kind} or {other_kind}"
        ))),
    }
}

/// Whether no setting says where the data is.
pub fn nothing_named(source: &Source, flags: &Flags) -> bool {
    !flags.memory && flags.data.is_none() && WHERE.iter().all(|name| source.text(name).is_none())
}

/// The value of `DRUMLIN_STORAGE` or `STORAGE_MODE`, with the variable's name.
fn chosen(source: &Source) -> Result<Option<(&'static str, &'static str)>> {
    let read = |name: &'static str| -> Result<Option<(&'static str, &'static str)>> {
        let text = source.choice(name, &KINDS)?;
        Ok(text.and_then(|text| KINDS.into_iter().find(|kind| *kind == text)).map(|kind| (name, kind)))
    };
    match (read("DRUMLIN_STORAGE")?, read("STORAGE_MODE")?) {
        (Some((_, one)), Some((_, other))) if one != other => {
            Err(invalid(format!("DRUMLIN_STORAGE is {one} and STORAGE_MODE is {other}: expected the same of both")))
        }
        (one, other) => Ok(one.or(other)),
    }
}

/// The folder, and the variable that asks for it, if one is set.
fn folder(source: &Source) -> Result<(PathBuf, Option<&'static str>)> {
    match (source.text("DRUMLIN_DATA"), source.text("STORAGE_PATH")) {
        (Some(data), Some(path)) if data != path => Err(invalid(format!(
            "DRUMLIN_DATA is {data} and STORAGE_PATH is {path}: expected one folder; unset one of them"
        ))),
        (_, Some(path)) => Ok((path.into(), Some("STORAGE_PATH"))),
        // DRUMLIN_DATA, the older variable, names the folder where nothing else is asked for; otherwise it is ignored
        // silently.
        (data, None) => Ok((data.unwrap_or_else(|| "drumlin-data".to_owned()).into(), None)),
    }
}

fn missing(name: &str, what: &str, because: &str) -> drumlin::Error {
    invalid(format!("{name}: expected {what} because {because}, got nothing"))
}

/// Two values that need each other.
fn both(source: &Source, one: &'static str, other: &'static str) -> Result<Option<(String, String)>> {
    match (source.text(one), source.text(other)) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(invalid(format!("{other}: expected with {one}, got nothing"))),
        (None, Some(_)) => Err(invalid(format!("{one}: expected with {other}, got nothing"))),
    }
}

/// A URL from the first of the variables that is set.
fn url(source: &Source, names: &[&'static str]) -> Result<Option<String>> {
    let mut found = names.iter().map(|name| source.text(name).map(|url| (name, url))).collect::<Vec<_>>();
    let Some((name, url)) = found.drain(..).flatten().next() else { return Ok(None) };
    match ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        true => Ok(Some(url)),
        false => Err(expected(name, "a URL that starts with http:// or https://", &url)),
    }
}

fn http_options(source: &Source) -> Result<HttpOptions> {
    let mut http = HttpOptions::default();
    source.seconds("DRUMLIN_S3_ATTEMPT_TIMEOUT_S", &mut http.attempt_timeout)?;
    source.seconds("DRUMLIN_S3_CONNECT_TIMEOUT_S", &mut http.connect_timeout)?;
    Ok(http)
}

/// The name of a bucket that is set while `S3_ENABLED` is false.
fn s3_switched_off(source: &Source) -> Option<String> {
    let mut enabled = true;
    source.flag("S3_ENABLED", &mut enabled).ok()?;
    source.text("S3_BUCKET_NAME").filter(|_| !enabled)
}

fn s3_offer(source: &Source) -> Offer {
    let bucket = source.text("S3_BUCKET_NAME");
    let mut enabled = bucket.is_some();
    let switch = source.flag("S3_ENABLED", &mut enabled);
    let settings = s3(source, bucket.clone().unwrap_or_default());
    let (asked_by, storage) = match (switch, bucket, enabled) {
        (Err(error), ..) => (Some("S3_ENABLED"), Err(error)),
        (Ok(()), Some(_), true) => (Some("S3_BUCKET_NAME"), settings.map(Storage::S3)),
        (Ok(()), None, true) => {
            (Some("S3_ENABLED"), Err(missing("S3_BUCKET_NAME", "the bucket's name", "S3_ENABLED is true")))
        }
        (Ok(()), _, false) => {
            (None, Err(invalid("DRUMLIN_STORAGE: s3 needs S3_BUCKET_NAME, and S3_ENABLED must not be false")))
        }
    };
    Offer { kind: "s3", asked_by, storage }
}

fn s3(source: &Source, bucket: String) -> Result<S3Settings> {
    let region = source.text("AWS_REGION");
    let session_token = source.text("AWS_SESSION_TOKEN");
    let ca_bundle = source.text("AWS_CA_BUNDLE").map(PathBuf::from);
    let prefix = source.text("S3_PREFIX");
    let endpoint = url(source, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
    let at_rest = encryption(source);
    let mut path_style = endpoint.as_ref().is_ok_and(Option::is_some);
    source.flag("DRUMLIN_S3_PATH_STYLE", &mut path_style)?;
    let keys = both(source, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")?;
    let http = http_options(source)?;
    let mut s3 = S3Settings {
        force_path_style: Some(path_style),
        endpoint: endpoint?,
        region,
        session_token,
        ca_bundle,
        attempt_timeout: http.attempt_timeout,
        connect_timeout: http.connect_timeout,
        encryption: at_rest?,
        ..S3Settings::new(bucket)
    };
    (s3.access_key_id, s3.secret_access_key) = keys.unzip();
    if let Some(prefix) = prefix {
        s3.prefix = prefix;
    }
    Ok(s3)
}

fn r2_offer(source: &Source) -> Offer {
    let bucket = source.text("R2_BUCKET_NAME");
    let asked_by = bucket.is_some().then_some("R2_BUCKET_NAME");
    let storage = r2(source, bucket).map(Storage::S3);
    Offer { kind: "r2", asked_by, storage }
}

fn r2(source: &Source, bucket: Option<String>) -> Result<S3Settings> {
    let account = source.text("R2_ACCOUNT_ID");
    let prefix = source.text("R2_PREFIX");
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
    let http = http_options(source)?;
    (r2.attempt_timeout, r2.connect_timeout) = (http.attempt_timeout, http.connect_timeout);
    (r2.access_key_id, r2.secret_access_key) = (Some(access_key_id), Some(secret));
    if let Some(prefix) = prefix {
        r2.prefix = prefix;
    }
    Ok(r2)
}

fn gcs_offer(source: &Source) -> Offer {
    let bucket = source.text("GCS_BUCKET_NAME");
    let asked_by = bucket.is_some().then_some("GCS_BUCKET_NAME");
    // Google's bucket names are unique worldwide: the project is accepted and ignored.
    let _project = source.text("GOOGLE_CLOUD_PROJECT");
    let credentials = source.text("GOOGLE_APPLICATION_CREDENTIALS");
    let prefix = source.text("GCS_PREFIX");
    let emulator = source.text("STORAGE_EMULATOR_HOST");
    let storage = bucket
        .ok_or_else(|| missing("GCS_BUCKET_NAME", "the bucket's name", "Google Cloud Storage is the bucket"))
        .and_then(|bucket| {
            let mut gcs = GcsSettings { http: http_options(source)?, ..GcsSettings::new(bucket) };
            gcs.credentials_file = credentials.map(PathBuf::from);
            // Google's own libraries accept the emulator's host with and without a scheme.
            gcs.endpoint = emulator.map(|host| if host.contains("://") { host } else { format!("http://{host}") });
            gcs.prefix = prefix.unwrap_or(gcs.prefix);
            Ok(Storage::Gcs(gcs))
        });
    Offer { kind: "gcs", asked_by, storage }
}

fn azure_offer(source: &Source) -> Offer {
    let container = source.text("AZURE_STORAGE_CONTAINER");
    let asked_by = container.is_some().then_some("AZURE_STORAGE_CONTAINER");
    Offer { kind: "azure", asked_by, storage: azure(source, container).map(Storage::Azure) }
}

fn azure(source: &Source, container: Option<String>) -> Result<AzureSettings> {
    let account = source.text("AZURE_STORAGE_ACCOUNT");
    let access_key = source.text("AZURE_STORAGE_KEY");
    let sas_token = source.text("AZURE_STORAGE_SAS_TOKEN");
    let connection = source.text("AZURE_STORAGE_CONNECTION_STRING");
    let prefix = source.text("AZURE_STORAGE_PREFIX");
    let endpoint = url(source, &["AZURE_STORAGE_ENDPOINT"]);
    let because = "Azure is the bucket";
    let container = container.ok_or_else(|| missing("AZURE_STORAGE_CONTAINER", "the container's name", because))?;
    let mut azure = AzureSettings::new(account.clone().unwrap_or_default(), container);
    match (connection, account) {
        (Some(text), _) => {
            let told = |error: drumlin::Error| invalid(format!("AZURE_STORAGE_CONNECTION_STRING: {}", error.message()));
            azure = azure.with_connection_string(&text).map_err(told)?;
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

fn dropbox_offer(source: &Source, chosen: Option<(&'static str, &'static str)>) -> Offer {
    let mut enabled = false;
    let switch = source.flag("DROPBOX_ENABLED", &mut enabled);
    let off = switch.is_ok() && source.text("DROPBOX_ENABLED").is_some() && !enabled;
    let token = source.text("DROPBOX_ACCESS_TOKEN").is_some().then_some("DROPBOX_ACCESS_TOKEN");
    let refresh = source.text("DROPBOX_REFRESH_TOKEN").is_some().then_some("DROPBOX_REFRESH_TOKEN");
    let switched_on = (enabled || switch.is_err()).then_some("DROPBOX_ENABLED");
    let storage = switch.and_then(|()| dropbox(source)).map(Storage::Dropbox);
    match (off, chosen) {
        (true, Some((name, "dropbox"))) => {
            let storage = Err(invalid(format!("{name} is dropbox, but DROPBOX_ENABLED is false: expected true")));
            Offer { kind: "dropbox", asked_by: None, storage }
        }
        (true, _) => Offer { kind: "dropbox", asked_by: None, storage },
        (false, _) => Offer { kind: "dropbox", asked_by: switched_on.or(refresh).or(token), storage },
    }
}

fn dropbox(source: &Source) -> Result<DropboxSettings> {
    let access_token = source.text("DROPBOX_ACCESS_TOKEN");
    let refresh_token = source.text("DROPBOX_REFRESH_TOKEN");
    let (app_key, app_secret) = (source.text("DROPBOX_APP_KEY"), source.text("DROPBOX_APP_SECRET"));
    let root = source.text("DROPBOX_ROOT");
    let credentials = match (refresh_token, app_key, access_token) {
        (Some(refresh_token), Some(app_key), _) => DropboxCredentials::Refresh { refresh_token, app_key, app_secret },
        (Some(_), None, _) => return Err(missing("DROPBOX_APP_KEY", "the app's key", "DROPBOX_REFRESH_TOKEN is set")),
        (None, _, Some(token)) => DropboxCredentials::AccessToken(token),
        (None, _, None) => {
            let what = "a refresh token with DROPBOX_APP_KEY and DROPBOX_APP_SECRET, or DROPBOX_ACCESS_TOKEN";
            return Err(missing("DROPBOX_REFRESH_TOKEN", what, "Dropbox is the bucket"));
        }
    };
    let mut dropbox = DropboxSettings { http: http_options(source)?, ..DropboxSettings::new(credentials) };
    dropbox.root = root.unwrap_or(dropbox.root);
    Ok(dropbox)
}

#[cfg(test)]
#[path = "storage_settings_tests.rs"]
mod storage_settings_tests;
