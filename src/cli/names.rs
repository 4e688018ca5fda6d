//! Names of variables that look like settings but are not: most likely typos, or other programs' names for a setting.
//! Invariant: a name that is set but not read stops the start where data would otherwise go elsewhere, or a server
//! would be open to all. Every other such name gets a note.

use super::refusal::invalid;
use super::variables::VARIABLES;
use crate::Result;

/// Prefixes of the names of our settings, and of the stores' settings as used here.
const FAMILIES: [&str; 7] = ["DRUMLIN_", "S3_", "R2_", "GCS_", "AZURE_STORAGE_", "DROPBOX_", "STORAGE_"];
/// Names that other programs, and people, use for our settings.
const OTHER_NAMES: [(&str, &str); 37] = [
    ("S3_BUCKET", "S3_BUCKET_NAME"),
    ("AWS_BUCKET", "S3_BUCKET_NAME"),
    ("AWS_BUCKET_NAME", "S3_BUCKET_NAME"),
    ("AWS_S3_BUCKET", "S3_BUCKET_NAME"),
    ("AWS_S3_BUCKET_NAME", "S3_BUCKET_NAME"),
    ("AWS_STORAGE_BUCKET_NAME", "S3_BUCKET_NAME"),
    ("DRUMLIN_BUCKET", "S3_BUCKET_NAME"),
    ("DRUMLIN_S3_BUCKET", "S3_BUCKET_NAME"),
    ("DRUMLIN_BUCKET_NAME", "S3_BUCKET_NAME"),
    ("DRUMLIN_PREFIX", "S3_PREFIX"),
    ("DRUMLIN_SYNC_INTERVAL", "S3_SYNC_INTERVAL"),
    ("S3_ENDPOINT", "AWS_ENDPOINT_URL"),
    ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL"),
    ("S3_URL", "AWS_ENDPOINT_URL"),
    ("AWS_ENDPOINT", "AWS_ENDPOINT_URL"),
    ("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL"),
    ("AWS_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL"),
    ("S3_REGION", "AWS_REGION"),
    ("S3_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    ("S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
    ("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    ("S3_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
    ("S3_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    ("AWS_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
    ("R2_BUCKET", "R2_BUCKET_NAME"),
    ("R2_ENDPOINT", "R2_ENDPOINT_URL"),
    ("R2_SECRET_KEY", "R2_SECRET_ACCESS_KEY"),
    ("GCS_BUCKET", "GCS_BUCKET_NAME"),
    ("GCS_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"),
    ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
    ("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"),
    ("DROPBOX_TOKEN", "DROPBOX_ACCESS_TOKEN"),
    ("STORAGE_KEY", "STORAGE_API_KEY"),
    ("DRUMLIN_API_KEY", "STORAGE_API_KEY"),
    ("DRUMLIN_KEY", "STORAGE_API_KEY"),
    ("DRUMLIN_LOG_LEVEL", "DRUMLIN_LOG"),
    ("DRUMLIN_RUST_LOG", "DRUMLIN_LOG"),
];
/// Names that decide where data is. With any of them set, data does not go to the default folder.
pub const WHERE: [&str; 10] = [
    "S3_BUCKET_NAME",
    "R2_BUCKET_NAME",
    "GCS_BUCKET_NAME",
    "AZURE_STORAGE_CONTAINER",
    "DROPBOX_REFRESH_TOKEN",
    "DROPBOX_ACCESS_TOKEN",
    "DRUMLIN_STORAGE",
    "STORAGE_MODE",
    "STORAGE_PATH",
    "DRUMLIN_DATA",
];
/// Names that decide who may access the server.
const KEYS: [&str; 2] = ["STORAGE_API_KEY", "DRUMLIN_KEY_FILE"];
/// Most edits that a typo takes.
const TYPO_EDITS: usize = 2;
/// Names shorter than this are too similar to too many others.
const TYPO_LETTERS: usize = 8;
/// A prefix that other programs' names have as well: the rest of the name decides.
const COMMON: &str = "STORAGE_";
/// How similar a name with one of our prefixes must be to be suggested, from 0 to 1.
const ALIKE: f64 = 0.87;

/// A name that is set and looks like a setting, but is not read.
#[derive(Debug, PartialEq, Eq)]
pub struct Stranger {
    name: String,
    /// The setting that it most likely stands for.
    meant: Option<&'static str>,
    /// Whether it is a typo of that setting, or another program's name for one under our prefixes; otherwise it may
    /// belong to another program.
    near: bool,
}

impl Stranger {
    fn sentence(&self) -> String {
        let name = &self.name;
        match self.meant {
            Some(meant) => format!("{name} is set, but there is no such setting; did you mean {meant}?"),
            None => format!("{name} is set, but there is no such setting; `drumlin serve --help` lists all"),
        }
    }
}

/// Names that look like settings but are not.
pub fn strangers(names: impl IntoIterator<Item = String>) -> Vec<Stranger> {
    let mut found: Vec<Stranger> = names.into_iter().filter_map(stranger).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Whether a name is a setting or looks like one.
pub fn may_be_ours(name: &str) -> bool {
    is_read(name) || stranger(name.to_owned()).is_some()
}

fn is_read(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name == name)
}

fn stranger(name: String) -> Option<Stranger> {
    // DRUMLIN_TEST_* steer the test suite.
    if is_read(&name) || is_of_the_sdk(&name) || is_service_link(&name) || name.starts_with("DRUMLIN_TEST_") {
        return None;
    }
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let of_family = FAMILIES.iter().any(|family| upper.starts_with(family));
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == upper).map(|(_, meant)| *meant);
    let typo = VARIABLES.iter().map(|v| (strsim::osa_distance(v.name, &upper), v.name)).min();
    let typo = typo.filter(|(edits, meant)| *edits <= edits_of(meant)).map(|(_, meant)| meant);
    let near = typo.is_some() || (of_family && other.is_some() && !upper.starts_with(COMMON));
    let meant = other.or(typo).or_else(|| of_family.then(|| most_alike(&upper)).flatten());
    (of_family || meant.is_some()).then_some(Stranger { name, meant, near })
}

/// Most edits that a typo of this name takes.
fn edits_of(name: &str) -> usize {
    match name.strip_prefix(COMMON) {
        Some(rest) => rest.len() / 5,
        None if name.len() < TYPO_LETTERS => 0,
        None => TYPO_EDITS,
    }
}

fn most_alike(name: &str) -> Option<&'static str> {
    // Our names have several prefixes: the rest of a name may be another setting's whole name.
    let bare = FAMILIES.iter().find_map(|family| name.strip_prefix(family)).unwrap_or(name);
    if let Some(same) = VARIABLES.iter().find(|v| v.name == bare && bare.len() >= TYPO_LETTERS) {
        return Some(same.name);
    }
    let alike = VARIABLES.iter().map(|v| (strsim::jaro_winkler(v.name, name), v.name));
    let best = alike.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}

/// Whether Amazon's SDK reads it, or may read it some day, so that no similar name counts as a typo.
fn is_of_the_sdk(name: &str) -> bool {
    const READ: [&str; 3] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_STS_REGIONAL_ENDPOINTS"];
    READ.contains(&name) || name.starts_with("AWS_ENDPOINT_URL_")
}

/// Whether Kubernetes sets it for a service, as it sets `DRUMLIN_SERVICE_HOST` and `DRUMLIN_PORT_8000_TCP` for one
/// named drumlin.
fn is_service_link(name: &str) -> bool {
    let behind = |word: &str| name.split_once(word).map(|(_, rest)| rest);
    let of_port = |rest: &str| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && ["_TCP", "_UDP", "_SCTP"].iter().any(|kind| rest.contains(kind))
    };
    name.ends_with("_SERVICE_HOST")
        || behind("_SERVICE_PORT").is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        || behind("_PORT_").is_some_and(of_port)
}

/// Notes on names that look like settings. Stops the start if one of them must be intended: nothing else says where the
/// data is (`by_default`), or nothing else requires a key of a server (`open`).
///
/// # Errors
/// `Invalid` with the name and the setting that it most likely stands for.
pub fn check(names: impl IntoIterator<Item = String>, by_default: bool, open: bool) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for stranger in strangers(names) {
        let decides = |group: &[&str]| stranger.near && stranger.meant.is_some_and(|meant| group.contains(&meant));
        if decides(&WHERE) && by_default {
            let more = "without it everything would be stored in the folder drumlin-data; correct the name, or set \
                        DRUMLIN_DATA if you mean a folder";
            return Err(invalid(format!("{} ({more})", stranger.sentence())));
        }
        if decides(&KEYS) && open {
            let more = "without it no request would need a key; correct the name, or unset it";
            return Err(invalid(format!("{} ({more})", stranger.sentence())));
        }
        notes.push(stranger.sentence());
    }
    Ok(notes)
}

/// The sentence that a refusal of settings adds where unread names may be the cause.
pub fn hint(names: impl IntoIterator<Item = String>, message: &str) -> String {
    let meant = |stranger: &Stranger| stranger.meant.is_some_and(|meant| message.contains(meant));
    let sentences: Vec<String> = strangers(names).iter().filter(|s| meant(s)).map(Stranger::sentence).collect();
    if sentences.is_empty() { message.to_owned() } else { format!("{message} ({})", sentences.join("; ")) }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod names_tests;
