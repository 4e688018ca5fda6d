//! The records of the collection that holds a database's files: what each file is and where its content lies. One more
//! is the record of the sweeps. Invariants: the sizes of a content's parts add up to the file's size; a deleted file
//! has no content; a record that cannot be read whole is not read at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::{Checksum, FORMAT, FormatError};
use crate::bucket::StoreTime;
use crate::record::{MetaValue, Metadata};

/// The name of the collection that holds the records of a database's files. No name that a user may give begins
/// with a dot.
pub const FILES: &str = ".files";
/// The id of the record of the sweeps. No file's name begins with a slash.
pub const SWEEP_ID: &str = "/sweep";

/// SHA-256 of a file's bytes; 64 lower-case hex digits wherever it is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Sum(pub [u8; 32]);

impl std::fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Sha256Sum {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Sha256Sum, FormatError> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
        let bytes = digits.map(|digits| digits.chunks(2).map(|pair| pair.iter().fold(0, |b, d| b << 4 | d)).collect());
        let sum = bytes.filter(|_| text.len() == 64).and_then(|bytes: Vec<u8>| bytes.try_into().ok());
        sum.map(Sha256Sum).ok_or_else(|| damaged(format!("sha256: expected 64 hex digits, got {text:?}")))
    }
}

/// One object of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentPart {
    /// Its size.
    pub bytes: u64,
    /// Checksum of its bytes.
    pub xxh3: Checksum,
}

/// Where a file's bytes lie: the parts, in order; part *n* is the object `file/{content}/{n:06}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Which content.
    pub content: Ulid,
    /// Its parts.
    pub parts: Vec<ContentPart>,
}

/// A file's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: Sha256Sum,
    /// The media type that the upload named.
    pub content_type: Option<String>,
    /// The content encoding that the upload named.
    pub content_encoding: Option<String>,
    /// When it was uploaded, by the store's clock.
    pub uploaded_at: StoreTime,
    /// When it was deleted; the record stays for a while to show that.
    pub deleted_at: Option<StoreTime>,
    /// Whether the file is deleted after it was downloaded whole; `None` if its upload did not say.
    pub auto_delete: Option<bool>,
    /// Its bytes; `None` if the file is empty or deleted.
    pub content: Option<Content>,
}

fn damaged(what: impl Into<String>) -> FormatError {
    FormatError::Damaged(what.into())
}

fn int(name: &str, metadata: &Metadata) -> Result<Option<i64>, FormatError> {
    match metadata.0.get(name) {
        None => Ok(None),
        Some(MetaValue::Int(number)) => Ok(Some(*number)),
        Some(other) => Err(damaged(format!("{name}: expected a whole number, got {other:?}"))),
    }
}

fn text<'m>(name: &str, metadata: &'m Metadata) -> Result<Option<&'m str>, FormatError> {
    match metadata.0.get(name) {
        None => Ok(None),
        Some(MetaValue::Str(text)) => Ok(Some(text)),
        Some(other) => Err(damaged(format!("{name}: expected text, got {other:?}"))),
    }
}

fn check_format(metadata: &Metadata) -> Result<(), FormatError> {
    let found = int("format", metadata)?.and_then(|found| u64::try_from(found).ok());
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(FormatError::Newer { found, known: FORMAT }),
        _ => Err(damaged("format: expected the number of the record's format")),
    }
}

fn stored(number: u64) -> MetaValue {
    MetaValue::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

impl FileRecord {
    /// The record's metadata and document.
    pub fn encode(&self) -> (Metadata, Option<String>) {
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), stored(FORMAT)),
            ("size".to_owned(), stored(self.size)),
            ("sha256".to_owned(), MetaValue::Str(self.sha256.to_string())),
            ("uploaded_at".to_owned(), MetaValue::Int(self.uploaded_at.0)),
        ]);
        if let Some(kind) = &self.content_type {
            metadata.insert("content_type".to_owned(), MetaValue::Str(kind.clone()));
        }
        if let Some(coding) = &self.content_encoding {
            metadata.insert("content_encoding".to_owned(), MetaValue::Str(coding.clone()));
        }
        if let Some(at) = self.deleted_at {
            metadata.insert("deleted_at".to_owned(), MetaValue::Int(at.0));
        }
        if let Some(said) = self.auto_delete {
            metadata.insert("auto_delete".to_owned(), MetaValue::Bool(said));
        }
        let document = self.content.as_ref().map(|content| serde_json::json!(content).to_string());
        (Metadata(metadata), document)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// `Damaged` names the field; `Newer` for a record of a later format.
    pub fn decode(metadata: Option<&Metadata>, document: Option<&str>) -> Result<FileRecord, FormatError> {
        let metadata = metadata.ok_or_else(|| damaged("it has no metadata"))?;
        check_format(metadata)?;
        let size = int("size", metadata)?.and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| damaged("size: expected a number of bytes"))?;
        let sha256 = text("sha256", metadata)?.ok_or_else(|| damaged("sha256: expected 64 hex digits, got none"))?;
        let uploaded_at = int("uploaded_at", metadata)?.ok_or_else(|| damaged("uploaded_at: expected a time"))?;
        let deleted_at = int("deleted_at", metadata)?.map(StoreTime);
        let content: Option<Content> = match document {
            None => None,
            Some(json) => Some(serde_json::from_str(json).map_err(|e| damaged(format!("document: {e}")))?),
        };
        let held = content.iter().flat_map(|content| &content.parts).try_fold(0u64, |sum, p| sum.checked_add(p.bytes));
        let expected = if deleted_at.is_some() { 0 } else { size };
        if held != Some(expected) {
            return Err(damaged(format!("the parts come to {} bytes, not to {expected}", held.unwrap_or(u64::MAX))));
        }
        Ok(FileRecord {
            size,
            sha256: sha256.parse()?,
            content_type: text("content_type", metadata)?.map(str::to_owned),
            content_encoding: text("content_encoding", metadata)?.map(str::to_owned),
            uploaded_at: StoreTime(uploaded_at),
            deleted_at,
            auto_delete: match metadata.0.get("auto_delete") {
                Some(MetaValue::Bool(said)) => Some(*said),
                _ => None,
            },
            content,
        })
    }
}

/// The sweeps' own record for a database's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepRecord {
    /// Sweeps so far.
    pub sweeps: u64,
    /// Store time at which the last sweep began.
    pub swept: Option<StoreTime>,
    /// Contents that no record names, and the store time at which this was first seen.
    pub unnamed: BTreeMap<Ulid, StoreTime>,
}

#[derive(Serialize, Deserialize)]
struct Unnamed {
    unnamed: BTreeMap<Ulid, StoreTime>,
}

impl SweepRecord {
    /// The record's metadata and document.
    pub fn encode(&self) -> (Metadata, Option<String>) {
        let mut metadata =
            BTreeMap::from([("format".to_owned(), stored(FORMAT)), ("sweeps".to_owned(), stored(self.sweeps))]);
        if let Some(at) = self.swept {
            metadata.insert("swept".to_owned(), MetaValue::Int(at.0));
        }
        let document = serde_json::json!(Unnamed { unnamed: self.unnamed.clone() }).to_string();
        (Metadata(metadata), Some(document))
    }

    /// Reads the record.
    ///
    /// # Errors
    /// `Damaged` names the field; `Newer` for a record of a later format.
    pub fn decode(metadata: Option<&Metadata>, document: Option<&str>) -> Result<SweepRecord, FormatError> {
        let metadata = metadata.ok_or_else(|| damaged("it has no metadata"))?;
        check_format(metadata)?;
        let sweeps = int("sweeps", metadata)?.and_then(|sweeps| u64::try_from(sweeps).ok());
        let Unnamed { unnamed } = match document {
            Some(json) => serde_json::from_str(json).map_err(|e| damaged(format!("document: {e}")))?,
            None => return Err(damaged("it has no document")),
        };
        let sweeps = sweeps.ok_or_else(|| damaged("sweeps: expected a number"))?;
        Ok(SweepRecord { sweeps, swept: int("swept", metadata)?.map(StoreTime), unnamed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> FileRecord {
        let part = |bytes: u64| ContentPart { bytes, xxh3: Checksum::of(&bytes.to_le_bytes()) };
        FileRecord {
            size: 11,
            sha256: Sha256Sum([0xab; 32]),
            content_type: Some("image/png".to_owned()),
            content_encoding: Some("gzip".to_owned()),
            uploaded_at: StoreTime(1_700_000_000_000),
            deleted_at: None,
            auto_delete: Some(true),
            content: Some(Content { content: Ulid::generate(), parts: vec![part(8), part(3)] }),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_went() {
        let deleted = FileRecord { deleted_at: Some(StoreTime(5)), content: None, ..file() };
        let empty = FileRecord {
            size: 0,
            content: None,
            content_type: None,
            content_encoding: None,
            auto_delete: None,
            ..file()
        };
        let stays = FileRecord { auto_delete: Some(false), ..file() };
        for record in [file(), deleted, empty, stays] {
            let (metadata, document) = record.encode();
            assert_eq!(FileRecord::decode(Some(&metadata), document.as_deref()), Ok(record));
        }
        let unnamed = BTreeMap::from([(Ulid::generate(), StoreTime(7))]);
        let sweep = SweepRecord { sweeps: 3, swept: Some(StoreTime(9)), unnamed };
        let (metadata, document) = sweep.encode();
        assert_eq!(SweepRecord::decode(Some(&metadata), document.as_deref()), Ok(sweep));
    }

    #[test]
    fn what_does_not_fit_together_is_damage_and_a_later_format_is_said_to_be_one() {
        let (good, document) = file().encode();
        let with = |key: &str, value: Option<MetaValue>| {
            let mut metadata = good.clone();
            match value {
                Some(value) => metadata.0.insert(key.to_owned(), value),
                None => metadata.0.remove(key),
            };
            FileRecord::decode(Some(&metadata), document.as_deref()).unwrap_err().to_string()
        };
        assert!(with("size", Some(MetaValue::Int(12))).contains("not to 12"));
        assert!(with("size", Some(MetaValue::Int(-1))).contains("size"));
        assert!(with("sha256", Some(MetaValue::Str("ab".to_owned()))).contains("64 hex digits"));
        assert!(with("sha256", Some(MetaValue::Str("é".repeat(32)))).contains("64 hex digits"));
        assert!(with("uploaded_at", None).contains("uploaded_at"));
        assert!(with("deleted_at", Some(MetaValue::Int(1))).contains("not to 0"));
        assert!(with("format", None).contains("format"));
        assert!(with("format", Some(MetaValue::Int(2))).contains("newer"));
        let cut = FileRecord::decode(Some(&good), document.as_deref().map(|json| &json[..json.len() - 2]));
        assert!(cut.unwrap_err().to_string().starts_with("document"));
        assert!(FileRecord::decode(Some(&good), None).unwrap_err().to_string().contains("come to 0 bytes"));
    }

    #[test]
    fn a_sum_is_its_hex_digits() {
        let text = format!("{:064x}", 0xdead_beefu64);
        assert_eq!(text.parse::<Sha256Sum>().map(|sum| sum.to_string()), Ok(text));
    }
}
