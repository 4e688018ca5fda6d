//! What a caller asks about files and what it answers.

use crate::error::{Error, ErrorKind, Result};
use crate::format::file_record::{FileRecord, Sha256Sum};
use crate::record::Version;

/// What must hold of the file of that name for an upload to replace it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FileCondition {
    /// Nothing.
    #[default]
    Any,
    /// There is none.
    Absent,
    /// There is one whose SHA-256, in hex, is one of these; with none here, any one will do.
    Matches(Vec<String>),
}

impl FileCondition {
    /// # Errors
    /// `Conflict` if it does not hold of `file`.
    pub(super) fn check(&self, name: &str, file: Option<&FileRecord>) -> Result<()> {
        let sum = file.map(|file| file.sha256.to_string());
        let why = match (self, sum) {
            (FileCondition::Any, _) | (FileCondition::Absent, None) => return Ok(()),
            (FileCondition::Matches(sums), Some(sum)) if sums.is_empty() || sums.contains(&sum) => return Ok(()),
            (FileCondition::Absent, Some(_)) => "exists already".to_owned(),
            (FileCondition::Matches(_), None) => "does not exist".to_owned(),
            (FileCondition::Matches(_), Some(sum)) => format!("is another by now (sha256 {sum})"),
        };
        Err(Error::new(ErrorKind::Conflict, format!("file {name:?} {why}; nothing was changed")))
    }
}

/// How a file is uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutFile {
    /// Its media type.
    pub content_type: Option<String>,
    /// How its bytes are coded (`Content-Encoding`); they are stored as they come.
    pub content_encoding: Option<String>,
    /// How many bytes will come, if that is known: more memory than that is not reserved.
    pub length: Option<u64>,
    /// The SHA-256 that the bytes must have, in lower-case hex.
    pub sha256: Option<String>,
    /// What must hold for it to be put.
    pub condition: FileCondition,
    /// Whether it is to be deleted once it was downloaded whole, if the upload says so or denies it.
    pub auto_delete: Option<bool>,
    /// When it was uploaded, in milliseconds since 1970, where it is a copy of one that was uploaded elsewhere.
    pub uploaded_at_ms: Option<i64>,
}

/// A file as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, 64 lower-case hex digits.
    pub sha256: String,
    /// The media type that came with it.
    pub content_type: Option<String>,
    /// How its bytes are coded, as it came with them.
    pub content_encoding: Option<String>,
    /// When it was uploaded, in milliseconds since 1970 by the store's clock.
    pub uploaded_at_ms: i64,
    /// Whether it is deleted once it was downloaded whole, if its upload said so or denied it.
    pub auto_delete: Option<bool>,
    /// The commit that put it.
    pub version: Version,
}

impl FileInfo {
    pub(super) fn of(name: &str, file: &FileRecord, version: Version) -> FileInfo {
        FileInfo {
            name: name.to_owned(),
            size: file.size,
            sha256: file.sha256.to_string(),
            content_type: file.content_type.clone(),
            content_encoding: file.content_encoding.clone(),
            uploaded_at_ms: file.uploaded_at.0,
            auto_delete: file.auto_delete,
            version,
        }
    }
}

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOutcome {
    /// The file.
    pub file: FileInfo,
    /// Whether there was one of that name.
    pub replaced: bool,
}

/// Which files to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFiles {
    /// Only names that begin so.
    pub prefix: String,
    /// Only names behind this one.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
}

impl Default for ListFiles {
    /// The first thousand files.
    fn default() -> ListFiles {
        ListFiles { prefix: String::new(), after: None, limit: 1000 }
    }
}

/// Files by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePage {
    /// The files.
    pub files: Vec<FileInfo>,
    /// Where to go on: `after` of the next page.
    pub next: Option<String>,
}

/// A sum as a caller gives it.
pub(super) fn sum_of(text: &str) -> Result<Sha256Sum> {
    text.parse().map_err(|_| Error::invalid(format!("sha256: expected 64 lower-case hex digits, got {text:?}")))
}
