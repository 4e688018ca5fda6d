//! A model's folder as it is published, read from a disk so that it can be put into the bucket.

use std::path::Path;

use bytes::Bytes;

use super::models::is_model_file;
use crate::error::{Error, ErrorKind, Result};

/// The most bytes of a model's files.
const MOST_BYTES: u64 = 8 << 30;

/// The name of a model's folder, for a model that is given no other.
///
/// # Errors
/// `Invalid` if the folder cannot be read, or has no name.
pub fn folder_name(folder: &Path) -> Result<String> {
    let whole = folder.canonicalize().map_err(|e| unreadable(folder, &e))?;
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    name.ok_or_else(|| Error::new(ErrorKind::Invalid, "expected a name for the model, as its folder has none"))
}

/// The files of a folder and its subfolders that a model may have, by their paths below it.
///
/// # Errors
/// `Invalid` if a file cannot be read; `Limit` if they are too large for a model.
pub fn folder_files(folder: &Path) -> Result<Vec<(String, Bytes)>> {
    let (mut files, mut folders, mut bytes) = (Vec::new(), vec![folder.to_owned()], 0);
    while let Some(inside) = folders.pop() {
        for entry in std::fs::read_dir(&inside).map_err(|e| unreadable(&inside, &e))? {
            let path = entry.map_err(|e| unreadable(&inside, &e))?.path();
            let relative = path.strip_prefix(folder).unwrap_or(&path);
            let name: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            let name = name.join("/");
            if path.is_dir() {
                folders.push(path);
            } else if is_model_file(&name) {
                bytes += path.metadata().map_err(|e| unreadable(&path, &e))?.len();
                if bytes > MOST_BYTES {
                    return Err(Error::new(
                        ErrorKind::Limit,
                        format!("{}: expected at most {MOST_BYTES} bytes of a model, got more", folder.display()),
                    ));
                }
                files.push((name, std::fs::read(&path).map_err(|e| unreadable(&path, &e))?.into()));
            }
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, cause: &std::io::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("{} cannot be read: {cause}", path.display()))
}
