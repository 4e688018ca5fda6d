//! The table of a store's settings and the variable of each. It serves the reading of variables, and messages that
//! say which variable raises a limit.
//! Invariant: a setting's name is the path of its field, so the compiler checks it.

use std::time::Duration;

use super::Environment;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::memory::MemoryLimit;
#[cfg(feature = "provider")]
use crate::provider::{ProviderKeys, ProviderProxy};

/// Reads a variable into its setting.
type ReadVariable = for<'e, 'v> fn(&'e Environment<'v>, &str, &mut Settings) -> Result<()>;

/// A setting and its variable.
pub(crate) struct SettingVariable {
    /// The field in [`Settings`], such as `limits.k`.
    pub(crate) setting: &'static str,
    /// The variable.
    pub(crate) variable: &'static str,
    read: ReadVariable,
}

/// Rows of a variable, how its value is read, and the field that takes it.
macro_rules! rows {
    ($($(#[$gate:meta])? $variable:literal $how:ident $(($least:literal))? $first:ident $(. $rest:ident)*;)*) => {
        &[$($(#[$gate])? SettingVariable {
            setting: concat!(stringify!($first) $(, ".", stringify!($rest))*),
            variable: $variable,
            read: |environment, name, settings| {
                environment.$how(name $(, $least)?, &mut settings.$first $(.$rest)*)
            },
        }),*]
    };
}

/// All rows, in the order in which they are read.
pub(crate) const ROWS: &[SettingVariable] = rows! {
    "S3_SYNC_INTERVAL" seconds sync_interval;
    "DRUMLIN_START_TIMEOUT_S" seconds start_timeout;
    "DRUMLIN_RECOVERY_PARALLEL" count recovery_parallel;
    "DRUMLIN_SEARCH_THREADS" count search_threads;
    "DRUMLIN_INDEX_THREADS" count index_threads;
    "DRUMLIN_MAINTENANCE" flag maintenance;
    "DRUMLIN_SERVE_DAMAGED" read_only serve_damaged;
    "DRUMLIN_MEMORY_LIMIT" memory memory_limit;
    "DRUMLIN_IDLE_REST" optional_seconds evict_idle_after;
    "DRUMLIN_MAX_DIMENSION" count limits.dimension;
    "DRUMLIN_MAX_ID_BYTES" count limits.id_bytes;
    "DRUMLIN_MAX_METADATA_BYTES" count limits.metadata_bytes;
    "DRUMLIN_MAX_DOCUMENT_BYTES" count limits.document_bytes;
    "DRUMLIN_MAX_BATCH_RECORDS" count limits.batch_records;
    "DRUMLIN_MAX_BATCH_BYTES" count limits.batch_bytes;
    "DRUMLIN_MAX_K" count limits.k;
    "DRUMLIN_MAX_QUERIES" count limits.queries;
    "DRUMLIN_MAX_SPARSE_ENTRIES" count limits.sparse_entries;
    "DRUMLIN_MAX_WAITING_WRITES" count limits.waiting_writes;
    "DRUMLIN_MAX_WAITING_SEARCHES" count limits.waiting_searches;
    "DRUMLIN_FILE_MAX_BYTES" number(1) files.max_bytes;
    "DRUMLIN_FILE_MEMORY_BYTES" count files.memory_bytes;
    "DRUMLIN_FILE_IDLE_S" seconds files.idle_timeout;
    "DRUMLIN_FILE_KEEP_DELETED_S" seconds files.keep_deleted;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_KEYS" provider_keys provider.keys;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_ALLOW_PRIVATE" flag provider.allow_private_addresses;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_PROXY" provider_proxy provider.proxy;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_TIMEOUT_S" seconds provider.timeout;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_CONNECT_TIMEOUT_S" seconds provider.connect_timeout;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_READ_TIMEOUT_S" seconds provider.read_timeout;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_ATTEMPTS" number(1) provider.attempts;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_REQUESTS" count provider.requests_at_once;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_BATCH_TEXTS" count provider.batch_texts;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_BATCH_BYTES" count provider.batch_bytes;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_ANSWER_BYTES" count provider.answer_bytes;
    #[cfg(feature = "provider")] "DRUMLIN_PROVIDER_WAITING" count provider.waiting;
    "DRUMLIN_T_LEASE_S" seconds timing.lease;
    "DRUMLIN_T_KEEP_S" seconds timing.keep;
    "DRUMLIN_T_GARBAGE_S" seconds timing.garbage;
    "DRUMLIN_COLLECT_INTERVAL_S" seconds timing.collect_interval;
    "DRUMLIN_MAINTENANCE_INTERVAL_S" seconds timing.maintenance_interval;
    "DRUMLIN_SWAP_INTERVAL_S" seconds timing.swap_interval;
    "DRUMLIN_FLUSH_AGE_S" seconds timing.flush_age;
    "DRUMLIN_WRITE_DEADLINE_S" seconds timing.deadline;
    "DRUMLIN_REREAD_S" seconds timing.reread_limit;
    "DRUMLIN_FLUSH_COMMITS" number(1) timing.flush_commits;
    "DRUMLIN_FLUSH_COMMITS_OTHER" number(1) timing.flush_commits_other;
    "DRUMLIN_FLUSH_BYTES" number(1) timing.flush_bytes;
    "DRUMLIN_FAN_OUT" number(2) timing.fan_out;
    "DRUMLIN_PREFETCH" count timing.prefetch;
    "DRUMLIN_GRAPH_ROWS" count timing.graph_rows;
    "DRUMLIN_INVERTED_ROWS" count timing.inverted_rows;
};

/// Reads every row into `settings`.
pub(super) fn read(environment: &Environment<'_>, settings: &mut Settings) -> Result<()> {
    for row in ROWS {
        (row.read)(environment, row.variable, settings)?;
    }
    let timing = &mut settings.timing;
    // Other instances wait a quarter longer than the writer unless a setting says otherwise.
    if environment.text("DRUMLIN_FLUSH_COMMITS_OTHER").is_none() {
        timing.flush_commits_other = timing.flush_commits_other.max(timing.flush_commits.saturating_mul(5) / 4);
    }
    // How long a collection's past is kept. Raises T_KEEP, and T_GARBAGE further still, so that the segments on which
    // the oldest commits build still exist.
    let mut keep = timing.keep;
    environment.seconds("DRUMLIN_RETENTION_S", &mut keep)?;
    if environment.text("DRUMLIN_RETENTION_S").is_some() {
        timing.keep = timing.keep.max(keep);
        timing.garbage = timing.garbage.max(timing.keep.saturating_mul(5) / 4 + 2 * timing.collect_interval);
    }
    Ok(())
}

/// What a setting's own reader refuses, by the variable.
#[cfg(feature = "provider")]
fn of_variable(name: &str, refused: &Error) -> Error {
    let setting = refused.setting().map(|setting| format!(" ({setting})")).unwrap_or_default();
    Error::invalid(format!("{name}: {}", refused.message().replace(&setting, "")))
}

#[cfg(feature = "provider")]
impl Environment<'_> {
    fn provider_keys(&self, name: &str, into: &mut ProviderKeys) -> Result<()> {
        if let Some(pairs) = self.text(name) {
            *into = ProviderKeys::read(&pairs, &|variable| self.text(variable)).map_err(|e| of_variable(name, &e))?;
        }
        Ok(())
    }

    fn provider_proxy(&self, name: &str, into: &mut Option<ProviderProxy>) -> Result<()> {
        if let Some(url) = self.text(name) {
            *into = Some(url.parse().map_err(|e| of_variable(name, &e))?);
        }
        Ok(())
    }
}

impl Environment<'_> {
    fn read_only(&self, name: &str, into: &mut bool) -> Result<()> {
        if let Some(word) = self.choice(name, &["no", "read-only"])? {
            *into = word == "read-only";
        }
        Ok(())
    }

    fn memory(&self, name: &str, into: &mut Option<MemoryLimit>) -> Result<()> {
        if let Some(bytes) = self.size(name)? {
            *into = (bytes > 0).then_some(MemoryLimit { bytes, whole_process: false });
        }
        Ok(())
    }

    fn optional_seconds(&self, name: &str, into: &mut Option<Duration>) -> Result<()> {
        let mut seconds = Duration::ZERO;
        self.seconds(name, &mut seconds)?;
        if !seconds.is_zero() {
            *into = Some(seconds);
        }
        Ok(())
    }
}

/// The variable of a setting, such as `DRUMLIN_MAX_K` of `limits.k`; `None` if it has none.
pub fn variable_of(setting: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.setting == setting).map(|row| row.variable)
}

/// The error, with the variable in its message instead of the setting that refused. For programs whose users know the
/// variables, as those of `drumlin serve` do.
pub fn with_variables(error: Error) -> Error {
    match error.setting().and_then(variable_of) {
        Some(variable) => error.naming_setting(variable),
        None => error,
    }
}

/// The words of an error as reports hold them, with variables instead of settings.
#[cfg(feature = "server")]
pub(crate) fn words_with_variables(words: &str) -> String {
    let named = |words: String, row: &SettingVariable| {
        words.replace(&format!("({})", row.setting), &format!("({})", row.variable))
    };
    ROWS.iter().fold(words.to_owned(), named)
}
