//! The place of a store in one string: `s3://bucket/prefix`, `./folder`, `memory://` and the like. What a string
//! leaves open comes from where each cloud's own tools look for it.
//! Invariant: a string that does not certainly name a bucket is refused; no guess may open an empty store elsewhere.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(feature = "azure")]
use crate::bucket::cloud::AzureSettings;
#[cfg(feature = "gcs")]
use crate::bucket::cloud::GcsSettings;
#[cfg(feature = "dropbox")]
use crate::bucket::dropbox::{Credentials, DropboxSettings};
#[cfg(feature = "s3")]
use crate::bucket::s3::S3Settings;
use crate::config::{Settings, Storage};
use crate::error::{Error, Result};

/// The accepted forms, for messages.
const FORMS: &str =
    "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, dropbox://folder, memory:// or a path";

/// A variable of the environment, if it is set and not empty.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "dropbox"))]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn invalid(url: &str, why: &str) -> Error {
    Error::invalid(format!("{url:?} does not say where the store is: {why}; expected {FORMS}"))
}

impl FromStr for Storage {
    type Err = Error;

    /// Reads `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `dropbox://folder`, `memory://`,
    /// `file:///path` or a path of a local folder. Without a prefix, the server's default prefix `vector_db/`
    /// applies.
    ///
    /// Credentials come from the environment, where the cloud's own tools find them: the AWS SDK's chain (and
    /// `AWS_ENDPOINT_URL` for other servers); `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own file or the machine's
    /// account; `AZURE_STORAGE_ACCOUNT` with `AZURE_STORAGE_KEY`, `AZURE_STORAGE_SAS_TOKEN` or the machine's
    /// identity, or `AZURE_STORAGE_CONNECTION_STRING`; `DROPBOX_REFRESH_TOKEN` with `DROPBOX_APP_KEY` and
    /// `DROPBOX_APP_SECRET`, or `DROPBOX_ACCESS_TOKEN`.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a missing bucket, parameters after a `?`, and missing credentials.
    fn from_str(url: &str) -> Result<Storage> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return match url.is_empty() {
                true => Err(invalid(url, "it is empty")),
                false => Ok(Storage::Folder(url.into())),
            };
        };
        if scheme != "file" && rest.contains(['?', '#']) {
            return Err(invalid(url, "parameters are not read; use Settings for what a URL cannot say"));
        }
        #[allow(unused_variables, reason = "only the schemes of clouds have a bucket")]
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        #[allow(unused_variables, reason = "only the schemes of clouds have a bucket")]
        let named = || match bucket {
            "" => Err(invalid(url, "the bucket's name is missing")),
            _ if bucket.contains('@') => Err(invalid(url, "credentials do not belong in a URL")),
            name => Ok(name.to_owned()),
        };
        match scheme {
            #[cfg(feature = "s3")]
            "s3" => {
                let mut s3 = S3Settings::new(named()?);
                s3.prefix = or_default(prefix, s3.prefix);
                s3.endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
                Ok(Storage::S3(s3))
            }
            #[cfg(feature = "gcs")]
            "gs" => {
                let mut gcs = GcsSettings::new(named()?);
                gcs.prefix = or_default(prefix, gcs.prefix);
                gcs.credentials_file = variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
                Ok(Storage::Gcs(gcs))
            }
            #[cfg(feature = "azure")]
            "az" => azure(url, named()?, prefix).map(Storage::Azure),
            #[cfg(feature = "dropbox")]
            "dropbox" => {
                let mut dropbox = DropboxSettings::new(dropbox_credentials(url)?);
                dropbox.root = or_default(rest, dropbox.root);
                Ok(Storage::Dropbox(dropbox))
            }
            "memory" if rest.is_empty() => Ok(Storage::Memory),
            "memory" => Err(invalid(url, "a store in memory has no name")),
            "file" if rest.starts_with('/') => Ok(Storage::Folder(rest.into())),
            "file" => Err(invalid(url, "the path of a file URL begins with a slash: file:///path")),
            #[allow(unreachable_patterns, reason = "where a feature is on, its scheme has an arm above")]
            "s3" | "gs" | "az" | "dropbox" => {
                Err(invalid(url, &format!("drumlin was built without its feature for {scheme}://")))
            }
            _ => Err(invalid(url, &format!("{scheme}:// is not known"))),
        }
    }
}

/// The given prefix, or else the default one.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "dropbox"))]
fn or_default(said: &str, default: String) -> String {
    if said.is_empty() { default } else { said.to_owned() }
}

#[cfg(feature = "azure")]
fn azure(url: &str, container: String, prefix: &str) -> Result<AzureSettings> {
    let account = variable("AZURE_STORAGE_ACCOUNT");
    let mut azure = AzureSettings::new(account.clone().unwrap_or_default(), container);
    match (variable("AZURE_STORAGE_CONNECTION_STRING"), account) {
        (Some(connection), _) => azure = azure.with_connection_string(&connection)?,
        (None, Some(_)) => {}
        (None, None) => {
            let what = "its storage account is not known; set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING";
            return Err(invalid(url, what));
        }
    }
    azure.access_key = variable("AZURE_STORAGE_KEY").or(azure.access_key);
    azure.sas_token = variable("AZURE_STORAGE_SAS_TOKEN").or(azure.sas_token);
    azure.prefix = or_default(prefix, azure.prefix);
    Ok(azure)
}

#[cfg(feature = "dropbox")]
fn dropbox_credentials(url: &str) -> Result<Credentials> {
    match (variable("DROPBOX_REFRESH_TOKEN"), variable("DROPBOX_APP_KEY"), variable("DROPBOX_ACCESS_TOKEN")) {
        (Some(refresh_token), Some(app_key), _) => {
            Ok(Credentials::Refresh { refresh_token, app_key, app_secret: variable("DROPBOX_APP_SECRET") })
        }
        (_, _, Some(token)) => Ok(Credentials::AccessToken(token)),
        _ => Err(invalid(url, "set DROPBOX_REFRESH_TOKEN and DROPBOX_APP_KEY, or DROPBOX_ACCESS_TOKEN")),
    }
}

impl FromStr for Settings {
    type Err = Error;

    /// The defaults, with the bucket that the string names; see [`Storage::from_str`].
    fn from_str(url: &str) -> Result<Settings> {
        Ok(Settings::new(url.parse()?))
    }
}

impl TryFrom<&str> for Settings {
    type Error = Error;

    fn try_from(url: &str) -> Result<Settings> {
        url.parse()
    }
}

impl TryFrom<String> for Settings {
    type Error = Error;

    fn try_from(url: String) -> Result<Settings> {
        url.parse()
    }
}

impl From<Storage> for Settings {
    fn from(storage: Storage) -> Settings {
        Settings::new(storage)
    }
}

impl From<&Path> for Settings {
    fn from(folder: &Path) -> Settings {
        Settings::folder(folder)
    }
}

impl From<PathBuf> for Settings {
    fn from(folder: PathBuf) -> Settings {
        Settings::folder(folder)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(url: &str) -> String {
        match url.parse::<Storage>() {
            #[cfg(feature = "s3")]
            Ok(Storage::S3(s3)) => format!("s3 {} {}", s3.bucket, s3.prefix),
            #[cfg(feature = "gcs")]
            Ok(Storage::Gcs(gcs)) => format!("gcs {} {}", gcs.bucket, gcs.prefix),
            Ok(Storage::Folder(path)) => format!("folder {}", path.display()),
            Ok(Storage::Memory) => "memory".to_owned(),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn a_string_says_where_a_store_is() {
        assert_eq!(storage("s3://books"), "s3 books vector_db/");
        assert_eq!(storage("s3://books/"), "s3 books vector_db/");
        assert_eq!(storage("s3://books/team/one"), "s3 books team/one");
        assert_eq!(storage("gs://books/team/"), "gcs books team/");
        assert_eq!(storage("memory://"), "memory");
        assert_eq!(storage("./drumlin-data"), "folder ./drumlin-data");
        assert_eq!(storage("file:///var/lib/drumlin"), "folder /var/lib/drumlin");
        assert_eq!(storage("C:\\drumlin"), "folder C:\\drumlin");
    }

    #[test]
    fn a_string_that_names_no_bucket_is_refused_with_the_forms_that_are_known() {
        let refused = [
            ("", "it is empty"),
            ("s3://", "the bucket's name is missing"),
            ("s3:///prefix", "the bucket's name is missing"),
            ("s3://key:secret@books", "credentials do not belong in a URL"),
            ("s3://books?region=eu-west-1", "parameters are not read"),
            ("memory://notes", "a store in memory has no name"),
            ("file://drumlin-data", "begins with a slash"),
            ("http://localhost:8000", "http:// is not known"),
            ("S3://books", "S3:// is not known"),
        ];
        for (url, why) in refused {
            let message = storage(url);
            assert!(message.contains(why) && message.contains("expected s3://bucket/prefix"), "{url}: {message}");
        }
    }
}
