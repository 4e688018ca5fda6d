//! Settings from environment variables and URLs, read in this one place: for the program `drumlin`, and for programs
//! that embed a store. Invariants: a value that cannot be used is refused, with the variable's name, what was expected
//! and what came; no message has a secret. In this module only `of_process` reads the environment of the process.

mod buckets;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "dropbox"))]
mod clouds;
#[cfg(feature = "s3")]
mod encryption;
mod table;
mod url;

use std::cell::RefCell;
use std::env::VarError;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[cfg(test)]
pub(crate) use self::table::ROWS;
#[cfg(feature = "server")]
pub(crate) use self::table::words_with_variables;
pub use self::table::{variable_of, with_variables};
use crate::config::{Settings, Storage};
use crate::error::{Error, Result};

/// Variables, by a function that looks one up. An empty value counts as not set.
///
/// [`Settings::from_env`] reads those of this process. A program whose variables come from elsewhere gives its own
/// function, and reads variables of its own by the same rules:
///
/// ```
/// use drumlin::settings::Environment;
///
/// # fn main() -> drumlin::Result<()> {
/// let lookup = |name: &str| (name == "STORAGE_PATH").then(|| "/var/lib/notes".to_owned());
/// let environment = Environment::new(&lookup);
/// let mut notes = Vec::new();
/// let settings = environment.settings(&mut notes)?;
/// assert!(notes.is_empty());
/// # let _ = settings;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl<'a> Environment<'a> {
    /// The variables that `lookup` gives.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Environment<'a> {
        Environment(lookup)
    }

    /// The bucket that `drumlin serve` would use with these variables; the folder `drumlin-data` if none is named.
    /// `notes` gets remarks for the user that are no errors.
    ///
    /// # Errors
    /// `Invalid` for a value that cannot be used, for a value that is missing, and if two buckets are named.
    pub fn storage(&self, notes: &mut Vec<String>) -> Result<Storage> {
        buckets::storage(self, notes)
    }

    /// The bucket that a URL or a path names, as `Storage::from_str`, with these variables for what it leaves open.
    ///
    /// # Errors
    /// `Invalid` for a URL that names no bucket, and as [`storage`](Self::storage).
    pub fn storage_at(&self, url: &str) -> Result<Storage> {
        url::storage_at(self, url)
    }

    /// The settings of a store with these variables, and the bucket of [`storage`](Self::storage).
    ///
    /// # Errors
    /// As [`storage`](Self::storage) and [`read_into`](Self::read_into).
    pub fn settings(&self, notes: &mut Vec<String>) -> Result<Settings> {
        let mut settings = Settings::new(self.storage(notes)?);
        self.read_into(&mut settings)?;
        Ok(settings)
    }

    /// Changes those settings of a store that a variable names; where the bucket is stays.
    ///
    /// # Errors
    /// `Invalid` for a value that cannot be used.
    pub fn read_into(&self, settings: &mut Settings) -> Result<()> {
        table::read(self, settings)
    }

    /// The value of a variable, without the space around it.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Reads a number of at least `least`, if the variable is set.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn number<T>(&self, name: &str, least: T, into: &mut T) -> Result<()>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let Some(text) = self.text(name) else { return Ok(()) };
        match text.parse() {
            Ok(value) if value >= least => *into = value,
            _ => return Err(expected(name, &format!("a whole number of at least {least}"), &text)),
        }
        Ok(())
    }

    /// Reads a number of at least 1, if the variable is set.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn count(&self, name: &str, into: &mut usize) -> Result<()> {
        self.number(name, 1, into)
    }

    /// Reads a number of seconds above 0, with or without a fraction, if the variable is set.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn seconds(&self, name: &str, into: &mut Duration) -> Result<()> {
        let Some(text) = self.text(name) else { return Ok(()) };
        // Ten years: longer than any intended value, shorter than one that overflows a clock.
        const MOST: f64 = 10.0 * 365.0 * 86_400.0;
        match text.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds <= MOST => *into = Duration::from_secs_f64(seconds),
            _ => return Err(expected(name, "a number of seconds above 0", &text)),
        }
        Ok(())
    }

    /// Reads true or false, also as yes or no, on or off, 1 or 0, if the variable is set.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn flag(&self, name: &str, into: &mut bool) -> Result<()> {
        let Some(text) = self.text(name) else { return Ok(()) };
        *into = match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(expected(name, "true or false", &text)),
        };
        Ok(())
    }

    /// One of the words in `among`, in lower case, if the variable is set.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn choice(&self, name: &str, among: &[&str]) -> Result<Option<String>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let text = text.to_ascii_lowercase();
        if among.contains(&text.as_str()) {
            return Ok(Some(text));
        }
        Err(expected(name, &format!("one of {}", among.join(", ")), &text))
    }

    /// A number of bytes, also with a unit as in `400MiB` or `2GB`, if the variable is set; 0 for `none`.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn size(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        if text == "0" || text.eq_ignore_ascii_case("none") {
            return Ok(Some(0));
        }
        bytes(&text).map(Some).ok_or_else(|| expected(name, "a size such as 400MiB or 2GB, or none", &text))
    }
}

impl Storage {
    /// The bucket that `drumlin serve` would use in the environment of this process, by the same variables:
    /// `S3_BUCKET_NAME` and so on, else the folder `drumlin-data`. The file `.env` is the program's; it is not read.
    ///
    /// # Errors
    /// `Invalid` for a value that cannot be used or is missing, and if two buckets are named. The message names the
    /// variable.
    pub fn from_env() -> Result<Storage> {
        noted(|environment, notes| environment.storage(notes))
    }
}

impl Settings {
    /// The settings that `drumlin serve` would use in the environment of this process: the bucket as
    /// [`Storage::from_env`], and limits, intervals and timeouts by their variables.
    ///
    /// Memory has a limit only if `DRUMLIN_MEMORY_LIMIT` sets one, and it counts what the store holds. A server's limit
    /// counts its whole process.
    ///
    /// # Errors
    /// As [`Storage::from_env`].
    pub fn from_env() -> Result<Settings> {
        noted(|environment, notes| environment.settings(notes))
    }
}

/// Reads from the environment of this process, and logs the notes.
fn noted<T>(read: impl FnOnce(&Environment, &mut Vec<String>) -> Result<T>) -> Result<T> {
    let mut notes = Vec::new();
    let done = of_process(|environment| read(environment, &mut notes));
    for note in notes {
        tracing::warn!("{note}");
    }
    done
}

/// Reads from the environment of this process. A value that is not text is refused, not passed over.
fn of_process<T>(read: impl FnOnce(&Environment) -> Result<T>) -> Result<T> {
    let unreadable = RefCell::new(None);
    let lookup = |name: &str| match std::env::var(name) {
        Ok(value) => Some(value),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(_)) => {
            unreadable.borrow_mut().get_or_insert_with(|| name.to_owned());
            None
        }
    };
    let done = read(&Environment::new(&lookup));
    match unreadable.take() {
        Some(name) => Err(Error::invalid(format!("{name}: expected UTF-8, got other bytes"))),
        None => done,
    }
}

fn expected(name: &str, expected: &str, got: &str) -> Error {
    Error::invalid(format!("{name}: expected {expected}, got {got:?}"))
}

fn missing(name: &str, what: &str, because: &str) -> Error {
    Error::invalid(format!("{name}: expected {what} because {because}, got nothing"))
}

/// A number with a unit: none for bytes, `KB`, `MB`, `GB` of 1000, `KiB`, `MiB`, `GiB` of 1024.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    // No machine has more, and no server runs with less.
    (bytes >= 1.0 && bytes < (1u64 << 60) as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod environment_tests;
