//! From variables and flags to [`ServeSettings`], as a pure function that a table of inputs tests. The library reads the
//! store's own variables ([`Environment`]); here are those of the server, and the flags, which win over variables. A
//! value that cannot be used stops the start; the message has the variable's name, what was expected and what came.
//! Secrets never appear in a message.

use std::path::PathBuf;
use std::time::Duration;

use super::Flags;
use super::key_settings::{KeySettings, access};
use super::memory_settings::MemorySetting;
use super::names::WHERE;
use super::refusal::invalid;
use super::{listen_settings, names};
use crate::http::{FileKinds, HttpSettings};
use crate::settings::Environment;
use crate::{Result, Settings, Storage};

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
    let open = serves && !settings.keys.ask_for_keys();
    settings.notes.extend(names::check(set(), settings.by_default, open)?);
    Ok(settings)
}

/// Where a server with these variables listens.
///
/// # Errors
/// `Invalid` for a value that is not a port.
pub fn address_from(lookup: impl Fn(&str) -> Option<String>) -> Result<(String, u16)> {
    listen_settings::address(&Environment::new(&lookup), &Flags::default(), true, &mut Vec::new())
}

/// Reads all settings. `lookup` gives a variable's value; a flag wins over its variable.
///
/// # Errors
/// `Invalid` names the variable, what was expected and what came.
pub fn settings_from(lookup: impl Fn(&str) -> Option<String>, flags: &Flags) -> Result<ServeSettings> {
    let source = Environment::new(&lookup);
    let mut notes = Vec::new();
    let keys = KeySettings::read(&source)?;
    let (host, port) = listen_settings::address(&source, flags, keys.ask_for_keys(), &mut notes)?;
    let log = listen_settings::log(&source, &mut notes)?;
    let mut store = Settings::new(storage(&source, flags, &mut notes)?);
    source.read_into(&mut store)?;
    // The limit of a server counts its whole process; `serve` sets it.
    store.memory_limit = None;
    let memory = MemorySetting::read(&source)?;
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

fn http(source: &Environment, shutdown_timeout: Duration) -> Result<HttpSettings> {
    let mut http = HttpSettings::default();
    source.count("DRUMLIN_MAX_BODY_BYTES", &mut http.max_body_bytes)?;
    source.count("DRUMLIN_MAX_QUERY_BYTES", &mut http.max_query_bytes)?;
    source.count("DRUMLIN_MAX_ANSWER_RECORDS", &mut http.max_answer_records)?;
    source.count("DRUMLIN_MAX_CONCURRENT_REQUESTS", &mut http.max_concurrent_requests)?;
    source.count("DRUMLIN_MAX_CONNECTIONS", &mut http.max_connections)?;
    source.seconds("DRUMLIN_CONNECTION_IDLE_S", &mut http.connection_idle)?;
    source.seconds("DRUMLIN_BODY_IDLE_S", &mut http.body_idle)?;
    source.seconds("DRUMLIN_REQUEST_TIMEOUT_S", &mut http.request_timeout)?;
    source.flag("ALLOW_RESET", &mut http.allow_reset)?;
    source.flag("DRUMLIN_CHROMA_V1", &mut http.chroma_v1)?;
    source.flag("AUTO_DELETE", &mut http.auto_delete)?;
    if let Some(list) = source.text("DRUMLIN_FILE_TYPES").filter(|list| list != "all") {
        http.file_kinds =
            FileKinds::parse(&list).map_err(|e| invalid(format!("DRUMLIN_FILE_TYPES: {}", e.message())))?;
    }
    source.flag("DRUMLIN_ALLOW_PUBLIC", &mut http.any_host)?;
    access(source, &mut http)?;
    // Requests get at most the first half of the time to stop; the flush needs the rest.
    http.drain_timeout = shutdown_timeout / 2;
    Ok(http)
}

/// Where the data is: a flag, else what the variables say.
fn storage(source: &Environment, flags: &Flags, notes: &mut Vec<String>) -> Result<Storage> {
    match &flags.data {
        _ if flags.memory => Ok(Storage::Memory),
        Some(data) => Ok(Storage::Folder(data.into())),
        None => source.storage(notes),
    }
}

/// Whether no setting says where the data is.
fn nothing_named(source: &Environment, flags: &Flags) -> bool {
    !flags.memory && flags.data.is_none() && WHERE.iter().all(|name| source.text(name).is_none())
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod settings_tests;
