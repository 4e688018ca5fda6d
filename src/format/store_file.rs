//! The small JSON file that makes a bucket a Drumlin store: `drumlin.json`. Unknown fields are ignored. A newer format
//! is refused, and so is a file whose seal does not fit.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FORMAT, FormatError};
use crate::self_checksum::{self, Checksummed};

/// `drumlin.json`: written once, by the first opener, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFile {
    /// Format number of the store.
    pub format: u64,
    /// The store's identity, which it keeps wherever the bucket is copied.
    pub store_id: Uuid,
    /// The version of Drumlin that made it; for people.
    pub created_by: String,
}

impl StoreFile {
    /// The file of a new store.
    #[allow(clippy::new_without_default, reason = "two stores are never equal")]
    pub fn new() -> StoreFile {
        StoreFile { format: FORMAT, store_id: Uuid::new_v4(), created_by: created_by() }
    }

    /// The object's bytes.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let json =
            serde_json::to_vec_pretty(&Checksummed::once(self)).map_err(|e| FormatError::Invalid(e.to_string()))?;
        Ok(self_checksum::close([json, b"\n".to_vec()].concat()).map_err(FormatError::Invalid)?.into())
    }

    /// Reads the object.
    pub fn decode(bytes: &[u8]) -> Result<StoreFile, FormatError> {
        decode("drumlin.json", bytes)
    }
}

fn created_by() -> String {
    format!("drumlin {}", env!("CARGO_PKG_VERSION"))
}

/// Checks the format number first: a newer format may differ in everything else.
fn decode<T: for<'de> Deserialize<'de>>(what: &str, bytes: &[u8]) -> Result<T, FormatError> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let damaged = |e: serde_json::Error| FormatError::Damaged(format!("{what}: expected a JSON object: {e}"));
    let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    match format {
        0 => Err(FormatError::Damaged(format!("{what}: expected format 1 or more, got 0"))),
        1..=FORMAT => {
            self_checksum::check_once(bytes).map_err(|cause| FormatError::Damaged(format!("{what}: {cause}")))?;
            serde_json::from_slice(bytes).map_err(damaged)
        }
        found => Err(FormatError::Newer { found, known: FORMAT }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_back_and_fields_it_does_not_know_are_ignored() {
        let store = StoreFile::new();
        assert_eq!(StoreFile::decode(&store.encode().unwrap()), Ok(store.clone()));
        let mut json: serde_json::Value = serde_json::from_slice(&store.encode().unwrap()).unwrap();
        json["colour"] = "green".into();
        json.as_object_mut().unwrap().remove("seal");
        assert_eq!(StoreFile::decode(json.to_string().as_bytes()), Ok(store));
    }

    #[test]
    fn newer_formats_and_damage_are_told_apart() {
        let newer = StoreFile::decode(br#"{"format": 2, "stores": []}"#);
        assert_eq!(newer, Err(FormatError::Newer { found: 2, known: 1 }));
        for bad in ["", "{", "[]", "{\"format\": 0}", "{\"format\": 1}", "{\"format\": \"1\"}", "\u{0}"] {
            let message = StoreFile::decode(bad.as_bytes()).unwrap_err().to_string();
            assert!(message.starts_with("drumlin.json: expected "), "{bad:?}: {message}");
        }
    }

    #[test]
    fn whatever_byte_of_it_is_changed_it_is_refused() {
        let bytes = StoreFile::new().encode().unwrap();
        for at in 0..bytes.len() {
            for mask in 1..=255u8 {
                let mut hurt = bytes.to_vec();
                hurt[at] ^= mask;
                let refused = StoreFile::decode(&hurt);
                assert!(refused.is_err(), "byte {at} ^ {mask}: {refused:?}");
            }
        }
    }
}
