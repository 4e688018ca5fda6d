//! A key as it is kept: its SHA-256, never the key itself. Invariant: no key can be read out of a value of
//! these types, by `Debug` included, and two digests are compared only in constant time.
//!
//! A fast hash is right here. Slow ones (bcrypt, argon2) make up for the weakness of passwords that people invent. A
//! key made here is 256 random bits, which nobody guesses from its hash at any speed. Every request would pay for a
//! slow hash.

use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::error::{Error, Result};

/// Least length of a key in bytes.
const LEAST_BYTES: usize = 16;
/// Least number of different bytes in a key.
const LEAST_VARIETY: usize = 6;
/// Random bytes of a key made here.
const RANDOM_BYTES: usize = 32;
/// The prefix of every key made here, so that a leaked key is recognised.
const PREFIX: &str = "drumlin_";
/// Placeholders from documents and examples. They are compared in lower case, by letters and digits only.
const PLACEHOLDERS: [&str; 14] = [
    "defaultapikey",
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "placeholder",
    "yourapikey",
    "yourkey",
    "yoursecret",
    "yourstorageapikey",
    "insertkey",
    "mysecretkey",
    "mysecretapikey",
    "examplekey",
];

/// The SHA-256 of a key.
#[derive(Clone)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(secret: &[u8]) -> Digest {
        Digest(Sha256::digest(secret).into())
    }

    /// From 64 hexadecimal digits.
    pub(super) fn from_hex(text: &str) -> Option<Digest> {
        let nibble = |c: &u8| char::from(*c).to_digit(16).and_then(|n| u8::try_from(n).ok());
        let nibbles: Vec<u8> = text.as_bytes().iter().map(nibble).collect::<Option<_>>()?;
        let bytes: Vec<u8> = nibbles.chunks(2).map(|pair| pair.iter().fold(0, |byte, n| (byte << 4) | n)).collect();
        match nibbles.len() {
            64 => bytes.try_into().ok().map(Digest),
            _ => None,
        }
    }

    pub(super) fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether both are digests of one key, in a time that does not depend on where they differ.
    pub(super) fn equals(&self, other: &Digest) -> Choice {
        self.0[..].ct_eq(&other.0[..])
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(hidden)")
    }
}

/// A fresh key from the operating system's entropy: it is printed once and stored nowhere.
pub(super) fn fresh() -> Result<String> {
    let mut random = [0; RANDOM_BYTES];
    OsRng
        .try_fill_bytes(&mut random)
        .map_err(|e| Error::unavailable(format!("the operating system gave no random bytes: {e}")))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// Refuses a weak secret. The error says why, and never what the secret was.
pub(super) fn check_strength(secret: &str) -> Result<(), &'static str> {
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("expected visible ASCII characters without spaces, as a header can carry them");
    }
    let plain: String = secret.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if PLACEHOLDERS.iter().any(|known| plain.contains(known)) {
        return Err(
            "this is an example's placeholder, which anybody would try first; `drumlin key new` prints a good key",
        );
    }
    if secret.len() < LEAST_BYTES {
        return Err("expected at least 16 bytes, got fewer; `drumlin key new` prints a good key");
    }
    if secret.bytes().collect::<HashSet<u8>>().len() < LEAST_VARIETY {
        return Err("the same few characters repeated are easy to guess; `drumlin key new` prints a good key");
    }
    Ok(())
}

/// Whether it is the digest of a placeholder in one of the usual spellings. Nothing more can be learnt from a hash.
pub(super) fn is_placeholder(digest: &Digest) -> bool {
    const SPELLINGS: [&str; 12] = [
        "",
        "default-api-key",
        "default_api_key",
        "changeme",
        "change-me",
        "your-api-key",
        "your_api_key",
        "your-secret-key",
        "your-secret-api-key",
        "your-storage-api-key",
        "secret",
        "password",
    ];
    SPELLINGS.iter().any(|known| bool::from(Digest::of(known.as_bytes()).equals(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha_256_and_goes_through_hex_unchanged() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_hex(), hex);
        let read = Digest::from_hex(&hex.to_uppercase()).unwrap();
        assert!(bool::from(read.equals(&Digest::of(b"abc"))));
        assert!(!bool::from(read.equals(&Digest::of(b"abd"))));
        for bad in ["", "ba78", &hex[1..], &format!("{hex}0"), &hex.replace('b', "g"), &"é".repeat(32)] {
            assert!(Digest::from_hex(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn placeholders_and_short_keys_are_refused_without_being_repeated() {
        let cases = [
            ("default-api-key", "placeholder"),
            ("Default_API_Key-2024", "placeholder"),
            ("changeme", "placeholder"),
            ("change-me-change-me", "placeholder"),
            ("your-api-key-goes-here", "placeholder"),
            ("tiny", "at least 16 bytes"),
            ("fifteen-bytes-x", "at least 16 bytes"),
            ("aaaaaaaaaaaaaaaaaaaa", "same few"),
            ("1212121212121212", "same few"),
            ("with a space inside it", "visible ASCII"),
            ("schlüssel-mit-umlaut", "visible ASCII"),
        ];
        for (bad, why) in cases {
            let refused = check_strength(bad).unwrap_err();
            assert!(refused.contains(why) && !refused.contains(bad), "{bad}: {refused}");
        }
        for good in ["k7Qw-93hf_0aZx81", "5f1d7b0c9e2a4836", &fresh().unwrap()] {
            assert_eq!(check_strength(good), Ok(()), "{good}");
        }
        assert!(is_placeholder(&Digest::of(b"default-api-key")) && !is_placeholder(&Digest::of(b"k7Qw-93hf_0aZx81")));
    }

    #[test]
    fn fresh_keys_have_256_random_bits_and_all_differ() {
        let keys: std::collections::BTreeSet<String> = (0..100).map(|_| fresh().unwrap()).collect();
        assert_eq!(keys.len(), 100);
        for key in keys {
            assert_eq!(URL_SAFE_NO_PAD.decode(key.strip_prefix(PREFIX).unwrap()).unwrap().len(), RANDOM_BYTES);
        }
    }
}
