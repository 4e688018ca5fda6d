//! The checksum of the store's JSON objects inside themselves: a last field, `seal`. It holds the XXH3-128 of the
//! whole object, with the checksum's own 32 digits taken as zeros. Invariant: any changed byte of an object with a
//! checksum is noticed, be it white space or the checksum itself. An object without one comes from an older version,
//! and passes.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The field's name.
const FIELD: &str = "seal";
/// The digits while the checksum is made.
const ZEROS: &str = "00000000000000000000000000000000";

/// The field's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfChecksum {
    /// The version of the object, if the object is one that is replaced. An older version of Drumlin does not know
    /// this field, and copies it to a successor with another number and nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#gen: Option<u64>,
    /// The random word of that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The checksum: 32 lower-case hex digits.
    xxh3: String,
}

/// An object with its checksum as the last field.
#[derive(Serialize)]
pub struct Checksummed<'a, T> {
    #[serde(flatten)]
    object: &'a T,
    #[serde(rename = "seal")]
    checksum: SelfChecksum,
}

impl<'a, T> Checksummed<'a, T> {
    /// An object that is written once.
    pub fn once(object: &'a T) -> Checksummed<'a, T> {
        Checksummed { object, checksum: SelfChecksum { r#gen: None, nonce: None, xxh3: ZEROS.to_owned() } }
    }

    /// Version `generation` of an object that is replaced.
    pub fn version(object: &'a T, generation: u64, nonce: String) -> Checksummed<'a, T> {
        Checksummed {
            object,
            checksum: SelfChecksum { r#gen: Some(generation), nonce: Some(nonce), xxh3: ZEROS.to_owned() },
        }
    }
}

/// Fills in the checksum of a serialised [`Checksummed`], in any layout.
///
/// # Errors
/// A sentence if `json` has no place for a checksum: it is something else.
pub fn close(mut json: Vec<u8>) -> Result<Vec<u8>, String> {
    let at = memchr::memmem::rfind(&json, ZEROS.as_bytes()).ok_or("the seal has no place")?;
    let digits = format!("{:032x}", xxh3_128(&json));
    json.splice(at..at + ZEROS.len(), digits.into_bytes());
    Ok(json)
}

/// Takes the checksum out of the fields that the reader does not know otherwise. `None`: an older version wrote the
/// object.
///
/// # Errors
/// A sentence if a field must have been a checksum, but is none now.
pub fn take(fields: &mut Map<String, Value>) -> Result<Option<SelfChecksum>, String> {
    match fields.remove(FIELD) {
        Some(field) => serde_json::from_value(field).map(Some).map_err(|error| format!("its seal is broken: {error}")),
        // A damaged field name must not pass for an object of an older version.
        None => match fields.iter().find(|(_, value)| value.get("xxh3").is_some()) {
            Some((name, _)) => Err(format!("its seal has the name {name:?}, expected {FIELD:?}")),
            None => Ok(None),
        },
    }
}

/// Checks an object that is written once against the checksum in it, if it has one.
///
/// # Errors
/// A sentence that says what does not fit.
pub fn check_once(object: &[u8]) -> Result<(), String> {
    let fields = serde_json::from_slice(object).map_err(|error| format!("expected a JSON object: {error}"));
    match take(&mut fields?)? {
        Some(checksum) => checksum.check(object),
        None => Ok(()),
    }
}

impl SelfChecksum {
    /// Checks all bytes of the object that holds this checksum.
    ///
    /// # Errors
    /// A sentence with the expected checksum and the one found.
    pub fn check(&self, object: &[u8]) -> Result<(), String> {
        let expected = &self.xxh3;
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if expected.len() != ZEROS.len() || !expected.bytes().all(digits) {
            return Err(format!("its seal is broken: expected 32 lower-case hex digits, got {expected:?}"));
        }
        let at = memchr::memmem::rfind(object, expected.as_bytes()).ok_or("its seal is not where it is written")?;
        let (before, rest) = object.split_at(at);
        let mut hasher = Xxh3::new();
        hasher.update(before);
        hasher.update(ZEROS.as_bytes());
        hasher.update(rest.get(ZEROS.len()..).unwrap_or_default());
        match format!("{:032x}", hasher.digest128()) {
            found if found == *expected => Ok(()),
            found => Err(format!("its seal does not fit: it says {expected}, the bytes have {found}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checksummed() -> Vec<u8> {
        let object = json!({ "format": 1, "place": "here", "zeros": ZEROS });
        close(serde_json::to_vec_pretty(&Checksummed::once(&object)).unwrap()).unwrap()
    }

    #[test]
    fn the_seal_is_the_checksum_of_all_bytes_with_its_own_digits_as_zeros() {
        let bytes = checksummed();
        check_once(&bytes).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let digits = value["seal"]["xxh3"].as_str().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap().replace(digits, ZEROS);
        assert_eq!(format!("{:032x}", xxh3_128(text.as_bytes())), digits);
        assert_eq!(value["zeros"], ZEROS, "digits elsewhere are left alone");
    }

    #[test]
    fn whatever_byte_is_changed_the_object_is_refused() {
        let bytes = checksummed();
        for at in 0..bytes.len() {
            for mask in 1..=255u8 {
                let mut hurt = bytes.clone();
                hurt[at] ^= mask;
                let refused = check_once(&hurt);
                assert!(refused.is_err(), "byte {at} ^ {mask}: {}", String::from_utf8_lossy(&hurt));
            }
        }
        for length in 0..bytes.len() {
            assert!(check_once(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_object_without_a_seal_passes_and_one_whose_seal_is_renamed_does_not() {
        assert_eq!(check_once(br#"{"format":1,"bucket":"vectors"}"#), Ok(()));
        let renamed = String::from_utf8(checksummed()).unwrap().replace("\"seal\"", "\"sea1\"");
        assert_eq!(check_once(renamed.as_bytes()).unwrap_err(), "its seal has the name \"sea1\", expected \"seal\"");
        for bad in ["null", "{}", r#"{"xxh3":7}"#, r#"{"xxh3":"0"}"#] {
            let error = check_once(format!("{{\"seal\":{bad}}}").as_bytes()).unwrap_err();
            assert!(error.starts_with("its seal is broken: "), "{bad}: {error}");
        }
    }
}
