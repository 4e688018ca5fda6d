//! The key of a request, in any of four forms. If a request has several forms, they must all be the same key.
//! Invariant: the key leaves this file only as a digest.
//!
//! | header | the key is |
//! |---|---|
//! | `X-API-Key: k` | `k` |
//! | `X-Chroma-Token: k` | `k` |
//! | `Authorization: Bearer k` | `k` |
//! | `Authorization: Basic base64(user:k)` | the password; the user's name is free |

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::secret::Digest;

pub(in crate::http) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(in crate::http) const X_CHROMA_TOKEN: HeaderName = HeaderName::from_static("x-chroma-token");

/// Base64 as clients send it, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The digest of the key that the headers present. `None` if they present no key, one that cannot be read, or
/// different ones.
pub(super) fn presented(headers: &HeaderMap) -> Option<Digest> {
    let plain = [X_API_KEY, X_CHROMA_TOKEN].into_iter().flat_map(|name| headers.get_all(name));
    let plain = plain.map(|value| Some(Digest::of(value.as_bytes().trim_ascii())));
    let authorisation = headers.get_all(header::AUTHORIZATION).iter().map(of_authorisation);
    let shown: Option<Vec<Digest>> = plain.chain(authorisation).collect();
    let mut shown = shown?.into_iter();
    let first = shown.next()?;
    shown.all(|other| first.equals(&other).into()).then_some(first)
}

fn of_authorisation(value: &HeaderValue) -> Option<Digest> {
    let value = value.as_bytes();
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at(space);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Digest::of(rest));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = BASE64.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    pair.get(colon + 1..).map(Digest::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "k7Qw-93hf_0aZx81";

    fn shows_the_key(headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        presented(&map).is_some_and(|digest| digest.equals(&Digest::of(KEY.as_bytes())).into())
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    #[test]
    fn the_key_is_taken_from_each_of_the_four_forms() {
        let (bearer, lower) = (format!("Bearer {KEY}"), format!("bearer   {KEY}"));
        let (named, nameless) = (basic(&format!("anybody:{KEY}")), basic(&format!(":{KEY}")));
        for header in [
            ("x-api-key", KEY),
            ("x-chroma-token", KEY),
            ("authorization", &bearer),
            ("authorization", &lower),
            ("authorization", &named),
            ("authorization", &nameless),
            ("authorization", named.trim_end_matches('=')),
        ] {
            assert!(shows_the_key(&[header]), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_key_or_another_shows_nothing() {
        let (swapped, no_colon) = (basic(&format!("{KEY}:anybody")), basic(KEY));
        for header in [
            ("x-api-key", ""),
            ("x-api-key", "another"),
            ("authorization", KEY),
            ("authorization", "Bearer"),
            ("authorization", "Bearer another"),
            ("authorization", "Basic"),
            ("authorization", "Basic %%%%"),
            ("authorization", "Digest username=\"a\""),
            ("authorization", &swapped),
            ("authorization", &no_colon),
            ("cookie", KEY),
        ] {
            assert!(!shows_the_key(&[header]), "{header:?}");
        }
        assert!(!shows_the_key(&[]));
    }

    #[test]
    fn several_forms_at_once_must_agree() {
        let bearer = format!("Bearer {KEY}");
        assert!(shows_the_key(&[("x-api-key", KEY), ("x-chroma-token", KEY), ("authorization", &bearer)]));
        for other in [
            ("x-api-key", "another"),
            ("x-chroma-token", ""),
            ("authorization", "Bearer another"),
            ("authorization", "Digest x"),
        ] {
            assert!(!shows_the_key(&[("x-api-key", KEY), other]), "{other:?}");
            assert!(!shows_the_key(&[other, ("x-api-key", KEY)]), "{other:?}");
        }
    }
}
