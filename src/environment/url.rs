//! The place of a store in one string: `s3://bucket/prefix`, `./folder`, `memory://` and the like. Credentials and what
//! else a string leaves open come from the variables that `drumlin serve` reads.
//! Invariant: a string that does not certainly name a bucket is refused; no guess may open an empty store elsewhere.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "dropbox"))]
use super::clouds;
use super::{Environment, of_process};
use crate::config::{Settings, Storage};
use crate::error::{Error, Result};

/// The accepted forms, for messages.
const FORMS: &str =
    "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, dropbox://folder, memory:// or a path";

fn invalid(url: &str, why: &str) -> Error {
    Error::invalid(format!("{url:?} does not say where the store is: {why}; expected {FORMS}"))
}

impl FromStr for Storage {
    type Err = Error;

    /// Reads `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `dropbox://folder`, `memory://`,
    /// `file:///path` or a path of a local folder. Without a prefix, the server's default prefix `vector_db/`
    /// applies.
    ///
    /// Credentials, endpoint, encryption and timeouts come from the environment, by the variables that `drumlin serve`
    /// reads; those that name a bucket or a prefix do not count. What these leave open, each cloud's own tools decide:
    /// the AWS SDK's chain, gcloud's file or the machine's account, Azure's managed identity.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a missing bucket, parameters after a `?`, and missing credentials.
    fn from_str(url: &str) -> Result<Storage> {
        of_process(|environment| storage_at(environment, url))
    }
}

/// Reads a URL or a path. What it leaves open comes from `environment`.
#[allow(unused_variables, reason = "only the clouds have variables")]
pub(super) fn storage_at(environment: &Environment<'_>, url: &str) -> Result<Storage> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return match url.is_empty() {
            true => Err(invalid(url, "it is empty")),
            false => Ok(Storage::Folder(url.into())),
        };
    };
    if scheme != "file" && rest.contains(['?', '#']) {
        let what = "parameters are not read; what a URL cannot say goes into the environment or into Settings";
        return Err(invalid(url, what));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let named = || match bucket {
        "" => Err(invalid(url, "the bucket's name is missing")),
        _ if bucket.contains('@') => Err(invalid(url, "credentials do not belong in a URL")),
        name => Ok(name.to_owned()),
    };
    let at = |error: Error| error.with_place(&format!("{url:?}"));
    match scheme {
        #[cfg(feature = "s3")]
        "s3" => {
            let bucket = named()?;
            clouds::s3(environment, bucket, said(prefix)).map(Storage::S3).map_err(at)
        }
        #[cfg(feature = "gcs")]
        "gs" => {
            let bucket = named()?;
            clouds::gcs(environment, Some(bucket), said(prefix)).map(Storage::Gcs).map_err(at)
        }
        #[cfg(feature = "azure")]
        "az" => {
            let container = named()?;
            clouds::azure(environment, Some(container), said(prefix)).map(Storage::Azure).map_err(at)
        }
        #[cfg(feature = "dropbox")]
        "dropbox" => clouds::dropbox(environment, said(rest)).map(Storage::Dropbox).map_err(at),
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

/// A prefix, if the URL has one.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "dropbox"))]
fn said(prefix: &str) -> Option<String> {
    (!prefix.is_empty()).then(|| prefix.to_owned())
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
