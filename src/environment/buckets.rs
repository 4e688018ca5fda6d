//! The bucket that the variables ask for. Every backend reads its own variables and makes an offer; the one that was
//! asked for is taken.
//! Invariant: if two are asked for at once, they are refused with a sentence that names the variable of each; nothing
//! is chosen silently.

use std::path::PathBuf;

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "dropbox"))]
use super::clouds;
use super::{Environment, missing};
use crate::config::Storage;
use crate::error::{Error, Result};

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

/// The storage where this build has its feature; elsewhere a refusal, and the variables beyond its name are left alone.
macro_rules! built {
    ($feature:tt, $storage:expr) => {{
        #[cfg(feature = $feature)]
        {
            $storage
        }
        #[cfg(not(feature = $feature))]
        {
            let without = concat!("drumlin was built without its feature ", $feature, ": it cannot use this bucket");
            Err(Error::invalid(without))
        }
    }};
}

/// Reads where the data is. `notes` gets notes for the user that are no reason to refuse.
pub fn storage(source: &Environment<'_>, notes: &mut Vec<String>) -> Result<Storage> {
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
        [(one, one_kind), (other, other_kind), ..] => Err(Error::invalid(format!(
            "{one} asks for {one_kind} as the bucket and {other} for {other_kind}: expected one bucket; unset one of \
             them, or set DRUMLIN_STORAGE={one_kind} or {other_kind}"
        ))),
    }
}

/// The value of `DRUMLIN_STORAGE` or `STORAGE_MODE`, with the variable's name.
fn chosen(source: &Environment<'_>) -> Result<Option<(&'static str, &'static str)>> {
    let read = |name: &'static str| -> Result<Option<(&'static str, &'static str)>> {
        let text = source.choice(name, &KINDS)?;
        Ok(text.and_then(|text| KINDS.into_iter().find(|kind| *kind == text)).map(|kind| (name, kind)))
    };
    match (read("DRUMLIN_STORAGE")?, read("STORAGE_MODE")?) {
        (Some((_, one)), Some((_, other))) if one != other => Err(Error::invalid(format!(
            "DRUMLIN_STORAGE is {one} and STORAGE_MODE is {other}: expected the same in both; unset one of them"
        ))),
        (one, other) => Ok(one.or(other)),
    }
}

/// The folder, and the variable that asks for it, if one is set.
fn folder(source: &Environment<'_>) -> Result<(PathBuf, Option<&'static str>)> {
    match (source.text("DRUMLIN_DATA"), source.text("STORAGE_PATH")) {
        (Some(data), Some(path)) if data != path => Err(Error::invalid(format!(
            "DRUMLIN_DATA is {data} and STORAGE_PATH is {path}: expected one folder; unset one of them"
        ))),
        (_, Some(path)) => Ok((path.into(), Some("STORAGE_PATH"))),
        // DRUMLIN_DATA, the older variable, names the folder where nothing else is asked for; otherwise it is ignored
        // silently.
        (data, None) => Ok((data.unwrap_or_else(|| "drumlin-data".to_owned()).into(), None)),
    }
}

/// The name of a bucket that is set while `S3_ENABLED` is false.
fn s3_switched_off(source: &Environment<'_>) -> Option<String> {
    let mut enabled = true;
    source.flag("S3_ENABLED", &mut enabled).ok()?;
    source.text("S3_BUCKET_NAME").filter(|_| !enabled)
}

fn s3_offer(source: &Environment<'_>) -> Offer {
    let bucket = source.text("S3_BUCKET_NAME");
    let mut enabled = bucket.is_some();
    let switch = source.flag("S3_ENABLED", &mut enabled);
    let settings = built!("s3", {
        clouds::s3(source, bucket.clone().unwrap_or_default(), source.text("S3_PREFIX")).map(Storage::S3)
    });
    let (asked_by, storage) = match (switch, bucket, enabled) {
        (Err(error), ..) => (Some("S3_ENABLED"), Err(error)),
        (Ok(()), Some(_), true) => (Some("S3_BUCKET_NAME"), settings),
        (Ok(()), None, true) => {
            (Some("S3_ENABLED"), Err(missing("S3_BUCKET_NAME", "the bucket's name", "S3_ENABLED is true")))
        }
        (Ok(()), _, false) => {
            (None, Err(Error::invalid("DRUMLIN_STORAGE: s3 needs S3_BUCKET_NAME, and S3_ENABLED not false")))
        }
    };
    Offer { kind: "s3", asked_by, storage }
}

fn r2_offer(source: &Environment<'_>) -> Offer {
    let bucket = source.text("R2_BUCKET_NAME");
    let asked_by = bucket.is_some().then_some("R2_BUCKET_NAME");
    let storage = built!("s3", clouds::r2(source, bucket, source.text("R2_PREFIX")).map(Storage::S3));
    Offer { kind: "r2", asked_by, storage }
}

fn gcs_offer(source: &Environment<'_>) -> Offer {
    let bucket = source.text("GCS_BUCKET_NAME");
    let asked_by = bucket.is_some().then_some("GCS_BUCKET_NAME");
    // Google's bucket names are unique worldwide: the project is accepted and ignored.
    let _project = source.text("GOOGLE_CLOUD_PROJECT");
    let storage = built!("gcs", clouds::gcs(source, bucket, source.text("GCS_PREFIX")).map(Storage::Gcs));
    Offer { kind: "gcs", asked_by, storage }
}

fn azure_offer(source: &Environment<'_>) -> Offer {
    let container = source.text("AZURE_STORAGE_CONTAINER");
    let asked_by = container.is_some().then_some("AZURE_STORAGE_CONTAINER");
    let storage =
        built!("azure", clouds::azure(source, container, source.text("AZURE_STORAGE_PREFIX")).map(Storage::Azure));
    Offer { kind: "azure", asked_by, storage }
}

fn dropbox_offer(source: &Environment<'_>, chosen: Option<(&'static str, &'static str)>) -> Offer {
    let mut enabled = false;
    let switch = source.flag("DROPBOX_ENABLED", &mut enabled);
    let off = switch.is_ok() && source.text("DROPBOX_ENABLED").is_some() && !enabled;
    let token = source.text("DROPBOX_ACCESS_TOKEN").is_some().then_some("DROPBOX_ACCESS_TOKEN");
    let refresh = source.text("DROPBOX_REFRESH_TOKEN").is_some().then_some("DROPBOX_REFRESH_TOKEN");
    let switched_on = (enabled || switch.is_err()).then_some("DROPBOX_ENABLED");
    let storage = built!("dropbox", clouds::dropbox(source, source.text("DROPBOX_ROOT")).map(Storage::Dropbox));
    let storage = switch.and(storage);
    match (off, chosen) {
        (true, Some((name, "dropbox"))) => {
            let storage =
                Err(Error::invalid(format!("{name} is dropbox, but DROPBOX_ENABLED is false: expected true")));
            Offer { kind: "dropbox", asked_by: None, storage }
        }
        (true, _) => Offer { kind: "dropbox", asked_by: None, storage },
        (false, _) => Offer { kind: "dropbox", asked_by: switched_on.or(refresh).or(token), storage },
    }
}
