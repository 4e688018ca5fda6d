//! From variables and flags to [`ServeSettings`], as a pure function that a table of inputs tests. A value that
//! cannot be used stops the start; the message has the variable's name, what was expected and what came. Secrets
//! never appear in a message.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use drumlin::http::{FileKinds, HttpSettings};
use drumlin::settings::{FileSettings, Limits, Timing};
use drumlin::{Error, ErrorKind, Result, Settings};

use super::Flags;
use super::key_settings::{KeySettings, access};
use super::memory_settings::MemorySetting;
use super::storage_settings::{nothing_named, storage};
use super::{listen_settings, names};

/// Everything `serve` needs.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// The settings of the store.
    pub store: Settings,
    /// The settings of the server.
    pub http: HttpSettings,
    /// How much memory may be used.
    pub memory: MemorySetting,
    /// Sources of the keys; they are read when the server starts.
    pub keys: KeySettings,
    /// Address or name to listen on.
    pub host: String,
    /// Port to listen on; 0 for any free one.
    pub port: u16,
    /// Time to finish requests and to flush, in all, once the server stops.
    pub shutdown_timeout: Duration,
    /// Whether the demo collection is loaded.
    pub demo: bool,
    /// The log filter.
    pub log: String,
    /// Whether the log is JSON.
    pub log_json: bool,
    /// The `.env` file that was read.
    pub env_file: Option<PathBuf>,
    /// Whether no setting says where the data is, so that it is in the default folder.
    pub by_default: bool,
    /// Notes for the user that do not stop the start.
    pub notes: Vec<String>,
}

/// Reads all settings from the environment of this process, and checks which other names there may be meant as
/// settings.
///
/// # Errors
/// As [`settings_from`]; also for a value that is not text. Also for a name without which data would go elsewhere or,
/// if a server is started (`serves`), the server would be open to all.
pub fn settings_of_process(flags: &Flags, serves: bool) -> Result<ServeSettings> {
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_str());
        if value.is_none() && names::may_be_ours(&name) {
            return Err(invalid(format!("{name}: expected UTF-8, got other bytes")));
        }
    }
    let set = || std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let read = settings_from(|name| std::env::var(name).ok(), flags);
    let mut settings = read.map_err(|error| invalid(names::hint(set(), error.message())))?;
    names::check(set(), &mut settings, serves)?;
    Ok(settings)
}

/// Where a server with these variables listens.
///
/// # Errors
/// `Invalid` for a value that is not a port.
pub fn address_from(lookup: impl Fn(&str) -> Option<String>) -> Result<(String, u16)> {
    listen_settings::address(&Source(&lookup), &Flags::default(), true, &mut Vec::new())
}

/// Reads all settings. `lookup` gives a variable's value; a flag wins over its variable.
///
/// # Errors
/// [`ErrorKind::Invalid`] names the variable, what was expected and what came.
pub fn settings_from(lookup: impl Fn(&str) -> Option<String>, flags: &Flags) -> Result<ServeSettings> {
    let source = Source(&lookup);
    let mut notes = Vec::new();
    let keys = KeySettings::read(&source)?;
    let (host, port) = listen_settings::address(&source, flags, keys.ask_for_keys(), &mut notes)?;
    let log = listen_settings::log(&source, &mut notes)?;
    let mut store = Settings::new(storage(&source, flags, &mut notes)?);
    source.seconds("S3_SYNC_INTERVAL", &mut store.sync_interval)?;
    source.seconds("DRUMLIN_START_TIMEOUT_S", &mut store.start_timeout)?;
    source.count("DRUMLIN_RECOVERY_PARALLEL", &mut store.recovery_parallel)?;
    source.count("DRUMLIN_SEARCH_THREADS", &mut store.search_threads)?;
    source.count("DRUMLIN_INDEX_THREADS", &mut store.index_threads)?;
    source.flag("DRUMLIN_MAINTENANCE", &mut store.maintenance)?;
    let damaged = source.choice("DRUMLIN_SERVE_DAMAGED", &["no", "read-only"])?;
    store.serve_damaged = damaged.as_deref() == Some("read-only");
    let memory = MemorySetting::read(&source)?;
    let mut evict_idle_after = Duration::ZERO;
    source.seconds("DRUMLIN_IDLE_REST", &mut evict_idle_after)?;
    store.evict_idle_after = Some(evict_idle_after).filter(|rest| !rest.is_zero());
    limits(&source, &mut store.limits)?;
    files(&source, &mut store.files)?;
    timing(&source, &mut store.timing)?;
    let mut shutdown_timeout = Duration::from_secs(25);
    source.seconds("DRUMLIN_SHUTDOWN_TIMEOUT_S", &mut shutdown_timeout)?;
    Ok(ServeSettings {
        store,
        http: http(&source, shutdown_timeout)?,
        memory,
        keys,
        host,
        port,
        shutdown_timeout,
        demo: flags.demo,
        log,
        log_json: source.choice("DRUMLIN_LOG_FORMAT", &["text", "json"])?.as_deref() == Some("json"),
        env_file: None,
        by_default: nothing_named(&source, flags),
        notes,
    })
}

fn http(source: &Source, shutdown_timeout: Duration) -> Result<HttpSettings> {
    // Requests get at most the first half of the time to stop; the flush needs the rest.
    let mut http = HttpSettings { drain_timeout: shutdown_timeout / 2, ..HttpSettings::default() };
    source.count("DRUMLIN_MAX_BODY_BYTES", &mut http.max_body_bytes)?;
    source.count("DRUMLIN_MAX_QUERY_BYTES", &mut http.max_query_bytes)?;
    source.count("DRUMLIN_MAX_ANSWER_RECORDS", &mut http.max_answer_records)?;
    source.count("DRUMLIN_MAX_CONCURRENT_REQUESTS", &mut http.max_concurrent_requests)?;
    source.count("DRUMLIN_MAX_CONNECTIONS", &mut http.max_connections)?;
    source.seconds("DRUMLIN_CONNECTION_IDLE_S", &mut http.connection_idle)?;
    source.seconds("DRUMLIN_BODY_IDLE_S", &mut http.body_idle)?;
    source.seconds("DRUMLIN_REQUEST_TIMEOUT_S", &mut http.request_timeout)?;
    source.flag("ALLOW_RESET", &mut http.allow_reset)?;
    source.flag("AUTO_DELETE", &mut http.auto_delete)?;
    if let Some(list) = source.text("DRUMLIN_FILE_TYPES").filter(|list| list != "all") {
        http.file_kinds =
            FileKinds::parse(&list).map_err(|e| invalid(format!("DRUMLIN_FILE_TYPES: {}", e.message())))?;
    }
    source.flag("DRUMLIN_ALLOW_PUBLIC", &mut http.any_host)?;
    access(source, &mut http)?;
    Ok(http)
}

fn limits(source: &Source, limits: &mut Limits) -> Result<()> {
    source.count("DRUMLIN_MAX_DIMENSION", &mut limits.dimension)?;
    source.count("DRUMLIN_MAX_ID_BYTES", &mut limits.id_bytes)?;
    source.count("DRUMLIN_MAX_METADATA_BYTES", &mut limits.metadata_bytes)?;
    source.count("DRUMLIN_MAX_DOCUMENT_BYTES", &mut limits.document_bytes)?;
    source.count("DRUMLIN_MAX_BATCH_RECORDS", &mut limits.batch_records)?;
    source.count("DRUMLIN_MAX_BATCH_BYTES", &mut limits.batch_bytes)?;
    source.count("DRUMLIN_MAX_K", &mut limits.k)?;
    source.count("DRUMLIN_MAX_QUERIES", &mut limits.queries)?;
    source.count("DRUMLIN_MAX_WAITING_WRITES", &mut limits.waiting_writes)?;
    source.count("DRUMLIN_MAX_WAITING_SEARCHES", &mut limits.waiting_searches)
}

fn files(source: &Source, files: &mut FileSettings) -> Result<()> {
    source.number("DRUMLIN_FILE_MAX_BYTES", 1, &mut files.max_bytes)?;
    source.count("DRUMLIN_FILE_MEMORY_BYTES", &mut files.memory_bytes)?;
    source.seconds("DRUMLIN_FILE_IDLE_S", &mut files.idle_timeout)?;
    source.seconds("DRUMLIN_FILE_KEEP_DELETED_S", &mut files.keep_deleted)
}

fn timing(source: &Source, timing: &mut Timing) -> Result<()> {
    source.seconds("DRUMLIN_T_LEASE_S", &mut timing.lease)?;
    source.seconds("DRUMLIN_T_KEEP_S", &mut timing.keep)?;
    source.seconds("DRUMLIN_T_GARBAGE_S", &mut timing.garbage)?;
    source.seconds("DRUMLIN_COLLECT_INTERVAL_S", &mut timing.collect_interval)?;
    retention(source, timing)?;
    source.seconds("DRUMLIN_MAINTENANCE_INTERVAL_S", &mut timing.maintenance_interval)?;
    source.seconds("DRUMLIN_SWAP_INTERVAL_S", &mut timing.swap_interval)?;
    source.seconds("DRUMLIN_FLUSH_AGE_S", &mut timing.flush_age)?;
    source.seconds("DRUMLIN_WRITE_DEADLINE_S", &mut timing.deadline)?;
    source.seconds("DRUMLIN_REREAD_S", &mut timing.reread_limit)?;
    source.number("DRUMLIN_FLUSH_COMMITS", 1, &mut timing.flush_commits)?;
    // Other instances wait a quarter longer than the writer unless a setting says otherwise.
    timing.flush_commits_other = timing.flush_commits_other.max(timing.flush_commits.saturating_mul(5) / 4);
    source.number("DRUMLIN_FLUSH_COMMITS_OTHER", 1, &mut timing.flush_commits_other)?;
    source.number("DRUMLIN_FLUSH_BYTES", 1, &mut timing.flush_bytes)?;
    source.number("DRUMLIN_FAN_OUT", 2, &mut timing.fan_out)?;
    source.count("DRUMLIN_PREFETCH", &mut timing.prefetch)?;
    source.count("DRUMLIN_GRAPH_ROWS", &mut timing.graph_rows)
}

/// How long a collection's past is kept. Raises T_KEEP, and T_GARBAGE further still, so that the segments on which
/// the oldest commits build still exist.
fn retention(source: &Source, timing: &mut Timing) -> Result<()> {
    let mut keep = timing.keep;
    source.seconds("DRUMLIN_RETENTION_S", &mut keep)?;
    if source.text("DRUMLIN_RETENTION_S").is_some() {
        timing.keep = timing.keep.max(keep);
        timing.garbage = timing.garbage.max(timing.keep.saturating_mul(5) / 4 + 2 * timing.collect_interval);
    }
    Ok(())
}

/// The source of variables. An empty value counts as not set.
pub(super) struct Source<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Source<'_> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(super) fn number<T>(&self, name: &str, least: T, into: &mut T) -> Result<()>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(name) else { return Ok(()) };
        match text.parse() {
            Ok(value) if value >= least => *into = value,
            _ => return Err(expected(name, &format!("a whole number of at least {least}"), &text)),
        }
        Ok(())
    }

    pub(super) fn count(&self, name: &str, into: &mut usize) -> Result<()> {
        self.number(name, 1, into)
    }

    pub(super) fn seconds(&self, name: &str, into: &mut Duration) -> Result<()> {
        let Some(text) = self.text(name) else { return Ok(()) };
        // Ten years: longer than any intended value, shorter than one that overflows a clock.
        const MOST: f64 = 10.0 * 365.0 * 86_400.0;
        match text.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds <= MOST => *into = Duration::from_secs_f64(seconds),
            _ => return Err(expected(name, "a number of seconds above 0", &text)),
        }
        Ok(())
    }

    pub(super) fn flag(&self, name: &str, into: &mut bool) -> Result<()> {
        let Some(text) = self.text(name) else { return Ok(()) };
        *into = match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(expected(name, "true or false", &text)),
        };
        Ok(())
    }

    pub(super) fn choice(&self, name: &str, among: &[&str]) -> Result<Option<String>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let text = text.to_ascii_lowercase();
        if among.contains(&text.as_str()) {
            return Ok(Some(text));
        }
        Err(expected(name, &format!("one of {}", among.join(", ")), &text))
    }
}

pub(super) fn expected(name: &str, expected: &str, got: &str) -> Error {
    invalid(format!("{name}: expected {expected}, got {got:?}"))
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod settings_tests;
