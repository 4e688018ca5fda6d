//! The two 128-bit words of the protocol: the [`Nonce`] by which a writer recognises its own commit, and the
//! [`Checksum`] (xxh3-128) that binds bytes. As text both are 32 lower-case hex digits, most significant first; no
//! other form is read.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::FormatError;

/// 128 random bits, made once per batch and kept over all its retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

impl Nonce {
    /// A nonce that nobody else has.
    pub fn random() -> Nonce {
        Nonce(rand::random())
    }
}

/// xxh3-128 (seed 0) of some bytes. It detects damage, not malice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum(pub u128);

impl Checksum {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Checksum {
        Checksum(xxh3_128(bytes))
    }

    /// The checksum of consecutive pieces, as if they were one.
    pub fn of_pieces(pieces: &[Bytes]) -> Checksum {
        let mut hasher = Hasher::default();
        pieces.iter().for_each(|piece| hasher.update(piece));
        hasher.finish()
    }
}

/// Computes the checksum of bytes that come piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(Xxh3);

impl Hasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes so far.
    pub fn finish(self) -> Checksum {
        Checksum(self.0.digest128())
    }
}

fn parse_hex(what: &str, text: &str) -> Result<u128, FormatError> {
    let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == 32 && text.bytes().all(digits))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
        .ok_or_else(|| FormatError::Damaged(format!("{what}: expected 32 lower-case hex digits, got {text:?}")))
}

macro_rules! hex_text {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = FormatError;

            fn from_str(text: &str) -> Result<Self, FormatError> {
                parse_hex($what, text).map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_text!(Nonce, "nonce");
hex_text!(Checksum, "checksum");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_the_published_xxh3_128_and_pieces_count_as_one() {
        // XXH3_128bits("", seed 0), from the reference implementation.
        assert_eq!(Checksum::of(b"").to_string(), "99aa06d3014798d86001c324468d497f");
        let pieces = [Bytes::from_static(b"dru"), Bytes::new(), Bytes::from_static(b"mlin")];
        assert_eq!(Checksum::of_pieces(&pieces), Checksum::of(b"drumlin"));
    }

    #[test]
    fn text_and_json_are_32_hex_digits_and_nothing_else_is_read() {
        let nonce = Nonce(0xab);
        assert_eq!(nonce.to_string(), format!("{}ab", "0".repeat(30)));
        assert_eq!(nonce.to_string().parse::<Nonce>(), Ok(nonce));
        let json = serde_json::to_string(&nonce).unwrap();
        assert_eq!(json, format!("\"{nonce}\""));
        assert_eq!(serde_json::from_str::<Nonce>(&json).unwrap(), nonce);
        for bad in ["", "ab", &"A".repeat(32), &"g".repeat(32), &"0".repeat(33), &format!("+{}", "0".repeat(31))] {
            let error = bad.parse::<Checksum>().unwrap_err();
            assert_eq!(
                error,
                FormatError::Damaged(format!("checksum: expected 32 lower-case hex digits, got {bad:?}"))
            );
        }
    }

    #[test]
    fn random_nonces_differ() {
        assert_ne!(Nonce::random(), Nonce::random());
    }
}
