//! Flags that the commands beside `serve` share: where the store is, and which of its collections is meant.

use std::time::Duration;

use clap::Args;

use super::settings::{ServeSettings, settings_from, settings_of_process};
use super::{Flags, bulk_load};
use crate::admin::CollectionSelector;
use crate::{Result, Scope};

/// The place of the store, found as `serve` finds it.
#[derive(Debug, Clone, Default, Args)]
pub struct StorePlace {
    /// Folder to use as the bucket (DRUMLIN_DATA; default ./drumlin-data).
    #[arg(long)]
    pub data: Option<String>,
}

impl StorePlace {
    /// The settings of a store there.
    pub fn settings(&self) -> Result<ServeSettings> {
        Ok(quiet(settings_of_process(&self.flags(), false)?, |name| std::env::var(name).ok()))
    }

    /// The settings from these flags and from the variables that `lookup` gives.
    pub fn settings_by(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<ServeSettings> {
        Ok(quiet(settings_from(&lookup, &self.flags())?, lookup))
    }

    fn flags(&self) -> Flags {
        // No server is started, so an address that is taken must not stop this.
        let listen = Flags { host: Some("127.0.0.1".to_owned()), port: Some("0".to_owned()), ..Flags::default() };
        Flags { data: self.data.clone(), ..listen }
    }
}

/// Settings that log only warnings and errors: the output of a tool is its answer.
fn quiet(mut settings: ServeSettings, lookup: impl Fn(&str) -> Option<String>) -> ServeSettings {
    if lookup("DRUMLIN_START_TIMEOUT_S").is_none_or(|seconds| seconds.trim().is_empty()) {
        // A person waits for the answer.
        settings.store.start_timeout = Duration::from_secs(10);
    }
    // A page that other writers outrun is soon written in halves.
    settings.store.timing.lost_slots = Some(bulk_load::LOST_SLOTS);
    if lookup("DRUMLIN_LOG").is_none_or(|filter| filter.trim().is_empty()) {
        settings.log = "warn".to_owned();
    }
    settings
}

/// The collections that a command works on.
#[derive(Debug, Clone, Default, Args)]
pub struct Chosen {
    /// Only this collection, by name or id; by default all.
    #[arg(long)]
    collection: Option<String>,
    /// Only of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only of this database.
    #[arg(long)]
    database: Option<String>,
}

impl Chosen {
    /// The selector.
    pub fn selector(&self) -> CollectionSelector {
        let Chosen { collection, tenant, database } = self.clone();
        CollectionSelector { collection, tenant, database }
    }
}

/// One collection, and where it is.
#[derive(Debug, Clone, Args)]
pub struct OneCollection {
    /// The store.
    #[command(flatten)]
    pub place: StorePlace,
    /// The collection's name.
    #[arg(long)]
    pub collection: String,
    /// The collection's tenant.
    #[arg(long, default_value = "default_tenant")]
    tenant: String,
    /// The collection's database.
    #[arg(long, default_value = "default_database")]
    database: String,
}

impl OneCollection {
    /// The database that it is in.
    pub fn scope(&self) -> Scope {
        Scope { tenant: self.tenant.clone(), database: self.database.clone() }
    }
}
