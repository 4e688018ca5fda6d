//! The keys that an operator lends to providers: which variable of the environment goes to which URL. Invariants: a
//! key is sent only below the URL that it was lent to, so whoever may create a collection can send no variable to a
//! host of their own; no key is in `Debug`, in a message or in a log.

use std::fmt;

use reqwest::header::HeaderValue;
use url::Url;

use super::spec::base_url;
use crate::error::{Error, Result};

/// The setting, for messages.
pub(super) const SETTING: &str = "provider.keys";

/// Keys for providers, each with the URL that it may be sent to. None by default.
#[derive(Clone, Default)]
pub struct ProviderKeys(Vec<LentKey>);

#[derive(Clone)]
struct LentKey {
    variable: String,
    /// The key goes to this URL and to those below its path.
    url: Url,
    key: SecretKey,
}

/// A key's text. It has no `Debug` and no `Display`.
#[derive(Clone)]
pub(super) struct SecretKey(String);

impl fmt::Debug for ProviderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|lent| (&lent.variable, lent.url.as_str()))).finish()
    }
}

impl ProviderKeys {
    /// Reads pairs `VARIABLE=URL`, with space or commas between, and the key of each by `lookup`: with
    /// `OPENAI_API_KEY=https://api.openai.com/v1`, that variable goes to that URL and below. A variable may stand in
    /// several pairs.
    ///
    /// # Errors
    /// `Invalid` for anything but such pairs, and for a variable that is not set or cannot be sent in a header.
    pub fn read(pairs: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<ProviderKeys> {
        let pairs = pairs.split(|c: char| c == ',' || c.is_whitespace()).filter(|pair| !pair.is_empty());
        pairs.map(|pair| lent_key(pair, lookup)).collect::<Result<_>>().map(ProviderKeys)
    }

    /// The key in `variable`, if it was lent to `url`.
    ///
    /// # Errors
    /// `Invalid` for all other variables, set or not.
    pub(super) fn for_url(&self, variable: &str, url: &Url) -> Result<&SecretKey> {
        let lent = self.0.iter().find(|lent| lent.variable == variable && is_below(url, &lent.url));
        lent.map(|lent| &lent.key).ok_or_else(|| {
            Error::invalid(format!(
                "the variable {variable:?} may not be sent to {:?}: expected one that this server lends to that URL; \
                 whoever runs it lends a key as VARIABLE=URL ({SETTING})",
                url.as_str()
            ))
            .of_setting(SETTING)
        })
    }
}

fn lent_key(pair: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<LentKey> {
    let refused = |why: String| Error::invalid(format!("{why} ({SETTING})")).of_setting(SETTING);
    // A pair that is none may be a key that was pasted here: it is not repeated.
    let Some((variable, url)) = pair.split_once('=').filter(|(variable, _)| is_variable(variable)) else {
        let expected = "expected pairs like OPENAI_API_KEY=https://api.openai.com/v1, got something else";
        return Err(refused(expected.to_owned()));
    };
    let url = base_url(url).map_err(|why| refused(format!("the URL for {variable}: {why}")))?;
    let key = lookup(variable).map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
    let Some(key) = key else {
        return Err(refused(format!("{variable} is to be sent to {url}, but it is not set: set it or take it out")));
    };
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused(format!("{variable} cannot be sent: expected visible ASCII characters only")));
    }
    Ok(LentKey { variable: variable.to_owned(), url, key: SecretKey(key) })
}

/// Whether a text can be the name of a variable.
pub(super) fn is_variable(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether `url` has the scheme, host and port of `above`, and its path or one below. `Url` has resolved dots in both.
fn is_below(url: &Url, above: &Url) -> bool {
    let prefix = above.path().trim_end_matches('/');
    url.scheme() == above.scheme()
        && url.host() == above.host()
        && url.port_or_known_default() == above.port_or_known_default()
        && url.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl SecretKey {
    /// The header's value: the key behind `before`, marked so that no client writes it into its log.
    pub(super) fn header(&self, before: &str) -> Result<HeaderValue> {
        // `lent_key` has checked the characters; the error's own text could repeat them.
        let mut value = HeaderValue::from_str(&format!("{before}{}", self.0))
            .map_err(|_| Error::internal("a key for a provider cannot stand in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Whether a text has the key in it, or a part of it that would help to guess the rest.
    pub(super) fn shows_in(&self, text: &str) -> bool {
        /// Bytes of a key that may stand in a text by chance, or as the public prefix of keys of one maker.
        const PART: usize = 8;
        let part = self.0.len().clamp(1, PART);
        self.0.as_bytes().windows(part).any(|part| text.as_bytes().windows(part.len()).any(|window| window == part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const KEY: &str = "sk-proj-0123456789abcdef";

    fn read(pairs: &str) -> Result<ProviderKeys> {
        ProviderKeys::read(pairs, &|name| match name {
            "OPENAI_API_KEY" => Some(format!(" {KEY}\n")),
            "AWS_SECRET_ACCESS_KEY" => Some("wJalrXUtnFEMI".to_owned()),
            "BROKEN" => Some("two words".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn a_key_goes_only_to_the_url_that_it_was_lent_to_and_below() {
        let keys = read("OPENAI_API_KEY=https://api.openai.com/v1/, OPENAI_API_KEY=http://gateway.corp:8080").unwrap();
        for (variable, url, lent) in [
            ("OPENAI_API_KEY", "https://api.openai.com/v1", true),
            ("OPENAI_API_KEY", "https://API.openai.com:443/v1/", true),
            ("OPENAI_API_KEY", "https://api.openai.com/v1/projects/a", true),
            ("OPENAI_API_KEY", "http://gateway.corp:8080/anything", true),
            ("OPENAI_API_KEY", "http://api.openai.com/v1", false),
            ("OPENAI_API_KEY", "https://api.openai.com:8443/v1", false),
            ("OPENAI_API_KEY", "https://api.openai.com/v10", false),
            ("OPENAI_API_KEY", "https://api.openai.com/v1/../files", false),
            ("OPENAI_API_KEY", "https://api.openai.com/v1/%2e%2e/files", false),
            ("OPENAI_API_KEY", "https://api.openai.com.evil.example/v1", false),
            ("OPENAI_API_KEY", "https://evil.example/api.openai.com/v1", false),
            ("OPENAI_API_KEY", "https://api.openai.com./v1", false),
            ("AWS_SECRET_ACCESS_KEY", "https://api.openai.com/v1", false),
            ("UNSET", "https://api.openai.com/v1", false),
        ] {
            let found = keys.for_url(variable, &Url::parse(url).unwrap()).map(|key| key.0.as_str());
            match found {
                Ok(key) => assert!(lent && key == KEY, "{variable} {url}"),
                Err(error) => {
                    assert!(!lent && error.kind() == ErrorKind::Invalid, "{variable} {url}: {error}");
                    assert_eq!(error.setting(), Some(SETTING));
                }
            }
        }
    }

    #[test]
    fn no_key_is_lent_by_default() {
        let url = Url::parse("https://api.openai.com/v1").unwrap();
        let refused = ProviderKeys::default().for_url("OPENAI_API_KEY", &url).map(drop);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn pairs_that_cannot_be_used_are_refused_without_their_secrets() {
        for (pairs, said) in [
            (KEY, "expected pairs like"),
            ("=https://api.openai.com/v1", "expected pairs like"),
            ("OPENAI_API_KEY=api.openai.com", "the URL for OPENAI_API_KEY"),
            ("OPENAI_API_KEY=https://user:sk-proj-01234567@api.openai.com", "no user"),
            ("ABSENT=https://api.openai.com/v1", "not set"),
            ("BROKEN=https://api.openai.com/v1", "visible ASCII"),
        ] {
            let error = read(pairs).unwrap_err();
            assert!(error.message().contains(said), "{pairs}: {error}");
            assert!(!error.message().contains("sk-proj") && !error.message().contains("two words"), "{error}");
        }
        assert_eq!(format!("{:?}", read(" \n,").unwrap()), "[]");
        let shown = format!("{:?}", read("OPENAI_API_KEY=https://api.openai.com/v1").unwrap());
        assert_eq!(shown, r#"[("OPENAI_API_KEY", "https://api.openai.com/v1")]"#);
    }

    #[test]
    fn a_key_is_found_in_a_text_whole_and_in_parts() {
        let key = SecretKey(KEY.to_owned());
        for (text, shows) in [
            (format!("incorrect key {KEY}"), true),
            ("incorrect key sk-proj-01234567***".to_owned(), true),
            ("ends in 89abcdef".to_owned(), true),
            ("ends in cdef".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(key.shows_in(&text), shows, "{text}");
        }
        assert!(SecretKey("abc".to_owned()).shows_in("xabcx"));
    }
}
