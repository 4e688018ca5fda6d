//! Settings of access to the server: keys, rate limits, pages of other sites, the proxy in front.

use std::path::PathBuf;

use super::refusal::{expected, invalid};
use crate::Result;
use crate::http::{CorsOrigins, HttpSettings, Key, Keyring, Rate};
use crate::settings::Environment;

/// Sources of the keys. The file is read only when the server starts.
#[derive(Debug, Clone, Default)]
pub struct KeySettings {
    /// The one full key, stored only as its hash.
    full: Option<Key>,
    /// The file with any number of keys.
    pub file: Option<PathBuf>,
}

impl KeySettings {
    pub(super) fn read(source: &Environment) -> Result<KeySettings> {
        const FULL: &str = "STORAGE_API_KEY";
        let full = source.text(FULL).map(|secret| Key::full(FULL, &secret)).transpose()?;
        Ok(KeySettings { full, file: source.text("DRUMLIN_KEY_FILE").map(PathBuf::from) })
    }

    /// Whether requests will need a key.
    pub fn ask_for_keys(&self) -> bool {
        self.full.is_some() || self.file.is_some()
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// `Invalid` if the file cannot be read or used.
    pub fn open(&self) -> Result<Keyring> {
        Keyring::open(self.full.clone(), self.file.clone())
    }
}

/// The other settings of access.
pub(super) fn access(source: &Environment, http: &mut HttpSettings) -> Result<()> {
    http.rate = rate(source)?;
    source.flag("DRUMLIN_TRUST_PROXY", &mut http.trust_proxy)?;
    if let Some(origins) = source.text("DRUMLIN_CORS_ORIGINS") {
        let parsed = CorsOrigins::parse(&origins);
        http.cors_origins = parsed.map_err(|e| invalid(format!("DRUMLIN_CORS_ORIGINS: {}", e.message())))?;
    }
    Ok(())
}

fn rate(source: &Environment) -> Result<Option<Rate>> {
    // A limit beyond a million a second limits nothing; one below a request a day is a mistake.
    const LEAST: f64 = 1.0 / 86_400.0;
    const MOST: f64 = 1e6;
    let number = |name: &str, least: f64| -> Result<Option<f64>> {
        let Some(text) = source.text(name) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if (least..=MOST).contains(&number) => Ok(Some(number)),
            _ => Err(expected(name, &format!("a number of requests from {least} to {MOST}"), &text)),
        }
    };
    match (number("DRUMLIN_RATE_PER_SECOND", LEAST)?, number("DRUMLIN_RATE_BURST", 1.0)?) {
        (Some(per_second), burst) => Ok(Some(Rate { per_second, burst: burst.unwrap_or(per_second.max(1.0)) })),
        (None, Some(_)) => Err(invalid("DRUMLIN_RATE_BURST: expected with DRUMLIN_RATE_PER_SECOND, which is not set")),
        (None, None) => Ok(None),
    }
}
