//! What a caller asks about files and what it answers.

use crate::error::{Error, ErrorKind, Result};
use crate::format::file_record::{FileRecord, Sha256Sum};
use crate::record::Version;

/// What must hold of the file with that name for an upload to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FileCondition {
    /// Anything.
    #[default]
    Any,
    /// There is no such file.
    Absent,
    /// There is a file whose SHA-256, in hex, is one of these. An empty list accepts any file.
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
            (FileCondition::Matches(_), Some(sum)) => format!("has other content by now (sha256 {sum})"),
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
    /// How many bytes will come, if that is known: it bounds the memory that is reserved.
    pub length: Option<u64>,
    /// The SHA-256 that the bytes must have, in lower-case hex.
    pub sha256: Option<String>,
    /// What must hold for the upload to be accepted.
    pub condition: FileCondition,
    /// Whether to delete the file after its first complete download. `None` if the upload does not say.
    pub auto_delete: Option<bool>,
    /// The original upload time, in milliseconds since 1970, if the file is a copy of one that was uploaded
    /// elsewhere.
    pub uploaded_at_ms: Option<i64>,
}

/// The facts about a file.
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
    /// How its bytes are coded, as its upload stated.
    pub content_encoding: Option<String>,
    /// When it was uploaded, in milliseconds since 1970 by the store's clock.
    pub uploaded_at_ms: i64,
    /// Whether the file is deleted after its first complete download. `None` if its upload did not say.
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

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOutcome {
    /// The file.
    pub file: FileInfo,
    /// Whether it replaced a file of that name.
    pub replaced: bool,
}

/// Which files to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFiles {
    /// Only names with this prefix.
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
    /// The `after` of the next page; `None` at the end.
    pub next: Option<String>,
}

/// A sum as a caller writes it.
pub(super) fn sum_of(text: &str) -> Result<Sha256Sum> {
    text.parse().map_err(|_| Error::invalid(format!("sha256: expected 64 lower-case hex digits, got {text:?}")))
}
