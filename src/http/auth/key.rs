//! What a key allows: how much (its scope), where (its tenant and database), until when.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::expiry::Expiry;
use super::secret::{Digest, check_strength, fresh, is_placeholder};
use crate::collection::request::Scope;
use crate::error::{Error, Result};

/// Bytes of a key's name at most.
const NAME_BYTES: usize = 64;

/// How much a key allows; each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// Get, search, count, list.
    Read,
    /// Add, upsert, update and delete records, create collections.
    Write,
    /// Everything: drop, reset, sync, tenants and databases.
    Admin,
}

impl KeyScope {
    /// As it is written in the key file.
    pub const fn name(self) -> &'static str {
        match self {
            KeyScope::Read => "read",
            KeyScope::Write => "write",
            KeyScope::Admin => "admin",
        }
    }
}

impl FromStr for KeyScope {
    type Err = Error;

    fn from_str(text: &str) -> Result<KeyScope> {
        [KeyScope::Read, KeyScope::Write, KeyScope::Admin]
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| Error::invalid(format!("scope: expected read, write or admin, got {text:?}")))
    }
}

/// One entry of the key file, as it is written there.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// What the log calls the key: 1 to 64 of `[A-Za-z0-9._-]`, no two alike.
    pub name: String,
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub sha256: String,
    /// How much it allows.
    pub scope: KeyScope,
    /// The only tenant it sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The only database of that tenant it sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// `2027-01-31` or `2027-01-31T18:00:00Z`: from then on it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEntry")
            .field("name", &self.name)
            .field("sha256", &"(hidden)")
            .field("scope", &self.scope)
            .field("tenant", &self.tenant)
            .field("database", &self.database)
            .field("expires", &self.expires)
            .finish()
    }
}

impl KeyEntry {
    /// Makes a fresh key: returns the key itself, which appears nowhere else, and its entry. `wanted` has everything
    /// but the hash; an empty name is replaced by one made of the scope and the hash.
    ///
    /// # Errors
    /// `Invalid` if the entry cannot be used or has already expired; `Unavailable` if the operating system gives no
    /// random bytes.
    pub fn fresh(wanted: KeyEntry) -> Result<(String, KeyEntry)> {
        let secret = fresh()?;
        let mut entry = KeyEntry { sha256: Digest::of(secret.as_bytes()).to_hex(), ..wanted };
        if entry.name.is_empty() {
            entry.name = format!("{}-{}", entry.scope.name(), entry.sha256.get(..8).unwrap_or_default());
        }
        let key = Key::from_entry(entry.clone())?;
        if key.expired(SystemTime::now()) {
            return Err(Error::invalid("expires: expected a time in the future, got one that has passed"));
        }
        Ok((secret, entry))
    }
}

/// A key that requests may present.
#[derive(Debug, Clone)]
pub struct Key {
    pub(super) name: String,
    pub(super) digest: Digest,
    pub(super) scope: KeyScope,
    /// The tenant to which it is bound, and optionally a database of that tenant.
    pub(super) bound: Option<Bound>,
    expiry: Option<Expiry>,
}

/// The part of the store that a key sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Bound {
    pub(in crate::http) tenant: String,
    pub(in crate::http) database: Option<String>,
}

impl Bound {
    /// The tenant with all its databases.
    pub(super) fn whole_tenant(&self) -> Bound {
        Bound { tenant: self.tenant.clone(), database: None }
    }

    /// Whether the part holds this database.
    pub(in crate::http) fn holds(&self, scope: &Scope) -> bool {
        scope.tenant == self.tenant && self.database.as_ref().is_none_or(|database| scope.database == *database)
    }
}

impl Key {
    /// A key for everything that never expires.
    ///
    /// # Errors
    /// `Invalid` if it is shorter than 16 bytes, a placeholder, or has characters that no header can carry.
    pub fn full(name: &str, secret: &str) -> Result<Key> {
        check_strength(secret).map_err(|why| Error::invalid(format!("{name}: {why}")))?;
        let digest = Digest::of(secret.as_bytes());
        Ok(Key { name: name.to_owned(), digest, scope: KeyScope::Admin, bound: None, expiry: None })
    }

    pub(super) fn from_entry(entry: KeyEntry) -> Result<Key> {
        let KeyEntry { name, sha256, scope, tenant, database, expires } = entry;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(allowed) {
            return Err(Error::invalid("name: expected 1 to 64 of the characters a-z A-Z 0-9 . _ -"));
        }
        let named = |what: &str| Error::invalid(format!("{name}: {what}"));
        // The message does not repeat the value: somebody may have written the key itself here.
        let digest = Digest::from_hex(&sha256);
        let digest = digest.ok_or_else(|| named("sha256: expected 64 hexadecimal digits, the SHA-256 of the key"))?;
        if is_placeholder(&digest) {
            return Err(named(
                "sha256: this is the hash of an example's placeholder; `drumlin key new` prints a good key",
            ));
        }
        let bound = match (tenant, database) {
            (None, None) => None,
            (Some(tenant), database) if !tenant.is_empty() && database.as_deref() != Some("") => {
                Some(Bound { tenant, database })
            }
            (None, Some(_)) => return Err(named("database: expected with its tenant, which is missing")),
            (Some(_), _) => return Err(named("tenant, database: expected names, got an empty one")),
        };
        let parse = |text: &str| {
            Expiry::parse(text).ok_or_else(|| {
                named(&format!("expires: expected 2027-01-31 or 2027-01-31T18:00:00Z, in UTC, got {text:?}"))
            })
        };
        let expiry = expires.as_deref().map(parse).transpose()?;
        Ok(Key { name, digest, scope, bound, expiry })
    }

    pub(super) fn expired(&self, now: SystemTime) -> bool {
        self.expiry.is_some_and(|expiry| expiry.passed(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> KeyEntry {
        KeyEntry {
            name: name.to_owned(),
            sha256: Digest::of(b"k7Qw-93hf_0aZx81").to_hex(),
            scope: KeyScope::Read,
            tenant: None,
            database: None,
            expires: None,
        }
    }

    fn refusal(entry: KeyEntry) -> String {
        Key::from_entry(entry).map(|_| ()).unwrap_err().message().to_owned()
    }

    #[test]
    fn an_entry_that_cannot_be_used_is_refused_by_the_name_of_its_field() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            (KeyEntry { name: String::new(), ..entry("k") }, "name:"),
            (KeyEntry { name: "two words".to_owned(), ..entry("k") }, "name:"),
            (KeyEntry { sha256: "the-key-itself".to_owned(), ..entry("k") }, "k: sha256: expected 64"),
            (KeyEntry { sha256: Digest::of(b"changeme").to_hex(), ..entry("k") }, "placeholder"),
            (KeyEntry { database: some("d"), ..entry("k") }, "k: database: expected with its tenant"),
            (KeyEntry { tenant: some(""), ..entry("k") }, "empty"),
            (KeyEntry { tenant: some("t"), database: some(""), ..entry("k") }, "empty"),
            (KeyEntry { expires: some("soon"), ..entry("k") }, "k: expires: expected 2027-01-31"),
        ];
        for (bad, words) in cases {
            let refused = refusal(bad);
            assert!(refused.contains(words) && !refused.contains("the-key-itself"), "{refused}");
        }
        let bound = KeyEntry { tenant: some("t"), database: some("d"), ..entry("k") };
        let expected = Bound { tenant: "t".to_owned(), database: some("d") };
        assert_eq!(Key::from_entry(bound).unwrap().bound, Some(expected));
    }

    #[test]
    fn a_fresh_key_matches_its_entry_and_shows_in_no_debug() {
        let (secret, made) = KeyEntry::fresh(entry("ci")).unwrap();
        let key = Key::from_entry(made.clone()).unwrap();
        assert!(bool::from(key.digest.equals(&Digest::of(secret.as_bytes()))));
        for shown in [format!("{made:?}"), format!("{key:?}")] {
            assert!(!shown.contains(&made.sha256) && !shown.contains(&secret) && shown.contains("hidden"), "{shown}");
        }
        let past = KeyEntry { expires: Some("2001-01-01".to_owned()), ..entry("ci") };
        assert!(KeyEntry::fresh(past).unwrap_err().message().contains("has passed"));
    }

    #[test]
    fn scopes_include_those_below() {
        assert!(KeyScope::Read < KeyScope::Write && KeyScope::Write < KeyScope::Admin);
        for scope in [KeyScope::Read, KeyScope::Write, KeyScope::Admin] {
            assert_eq!(scope.name().parse::<KeyScope>().map_err(|e| e.to_string()), Ok(scope));
        }
        assert!("root".parse::<KeyScope>().unwrap_err().message().contains("read, write or admin"));
    }
}
