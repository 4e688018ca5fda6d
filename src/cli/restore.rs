//! The commands `restore` and `fork`: an earlier or the present state of a collection under a new name.

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use clap::{ArgGroup, Args};

use super::place::{OneCollection, StorePlace};
use super::serve;
use crate::admin::Moment;
use crate::http::check_name;
use crate::{Error, ErrorKind, Result, Store, Version};

/// Flags of `restore`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("moment").args(["at", "sound"]).required(true))]
pub struct RestoreFlags {
    #[command(flatten)]
    of: OneCollection,
    /// A version, or a time such as 2026-11-21T20:15:00Z: the last commit written by then counts.
    #[arg(long)]
    at: Option<String>,
    /// The last version before which nothing is damaged.
    #[arg(long)]
    sound: bool,
    /// Name of the new collection.
    #[arg(long = "as")]
    name: String,
}

/// Flags of `fork`.
#[derive(Debug, Args)]
pub struct ForkFlags {
    #[command(flatten)]
    of: OneCollection,
    /// Name of the new collection.
    #[arg(long = "as")]
    name: String,
}

/// Runs `restore`.
pub fn restore(flags: &RestoreFlags) -> Result<()> {
    let moment = match &flags.at {
        Some(at) => moment(at)?,
        None => Moment::Sound,
    };
    let (scope, of, name) = (flags.of.scope(), &flags.of.collection, &flags.name);
    check_name(name)?;
    on_store(&flags.of.place, async |store| {
        let (collection, version) = store.with_scope(&scope).admin().restore_collection(of, moment, name).await?;
        println!("{name}: {} records, {of} as of version {version}", collection.info().count);
        Ok(())
    })
}

/// Runs `fork`.
pub fn fork(flags: &ForkFlags) -> Result<()> {
    let (scope, of, name) = (flags.of.scope(), &flags.of.collection, &flags.name);
    check_name(name)?;
    on_store(&flags.of.place, async |store| {
        let id = store.with_scope(&scope).collection(of).await?.identity().id;
        let fork = store.fork_collection(id, name).await?.info();
        println!("{name}: {} records, {of} as of version {}", fork.count, fork.version);
        Ok(())
    })
}

/// Runs work on an existing store and leaves the rest of it alone: only collections that are used are loaded, there
/// is no maintenance, and nothing is flushed at the end.
pub fn on_store(place: &StorePlace, work: impl AsyncFnOnce(&Store) -> Result<()>) -> Result<()> {
    on(place, false, work)
}

/// Runs work on a store, which is created if it does not exist.
pub fn on_any_store(place: &StorePlace, work: impl AsyncFnOnce(&Store) -> Result<()>) -> Result<()> {
    on(place, true, work)
}

fn on(place: &StorePlace, create: bool, work: impl AsyncFnOnce(&Store) -> Result<()>) -> Result<()> {
    let mut settings = place.settings()?;
    settings.store.maintenance = false;
    settings.store.load_at_start = false;
    settings.store.create = create;
    serve::start_log(&settings)?;
    serve::on_runtime(async {
        let store = Store::open(settings.store).await?;
        work(&store).await
    })
}

/// A version or a time, as a person writes it.
fn moment(text: &str) -> Result<Moment> {
    if let Ok(version) = text.parse() {
        return Ok(Moment::Version(Version(version)));
    }
    let expected = "a version such as 17, or a time such as 2026-11-21T20:15:00Z or 2026-11-21";
    // The parser's own message is about its internals.
    let nanos = string_to_timestamp_nanos(text);
    let nanos =
        nanos.map_err(|_| Error::new(ErrorKind::Invalid, format!("--at: expected {expected}, got {text:?}")))?;
    Ok(Moment::Time(nanos.div_euclid(1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_version_or_a_time_with_or_without_a_zone() {
        assert_eq!(moment("17").unwrap(), Moment::Version(Version(17)));
        for (text, ms) in [
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T01:00:01.5+01:00", 1_500),
            ("1970-01-01 00:00:02", 2_000),
            ("1970-01-02", 86_400_000),
        ] {
            assert_eq!(moment(text).unwrap(), Moment::Time(ms), "{text}");
        }
        for text in ["yesterday", "", "-1", "2026-13-01", "20:15"] {
            let refused = moment(text).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            assert!(refused.message().ends_with(&format!("2026-11-21, got {text:?}")), "{refused}");
        }
    }
}
