//! The catalog's records as far as a check needs them: which collections there are, their names, whether they live.
//! They are read from the records' JSON as it stands, not with the store's own state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use super::report::Findings;
use super::stream_check::Expected;
use crate::bucket::keys::StreamId;
use crate::error::{Error, Result};
use crate::record::{CollectionId, Metric, Version};

/// Which collections to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectionSelector {
    /// Only collections of this name, or the one of this id; all if `None`.
    pub collection: Option<String>,
    /// Only of this tenant.
    pub tenant: Option<String>,
    /// Only of this database.
    pub database: Option<String>,
}

impl fmt::Display for CollectionSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.collection.as_deref().unwrap_or("at all"))?;
        for (what, asked) in [("tenant", &self.tenant), ("database", &self.database)] {
            if let Some(asked) = asked {
                write!(f, ", {what} {asked}")?;
            }
        }
        Ok(())
    }
}

/// The fields of a collection's record.
#[derive(Debug, Clone, Deserialize)]
struct CollectionFields {
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    database: String,
    #[serde(default)]
    name: String,
    state: String,
    #[serde(default)]
    configuration: Option<ConfigurationFields>,
    #[serde(default)]
    replaces: Option<ReplacedFields>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct ReplacedFields {
    version: Version,
}

#[derive(Debug, Clone, Deserialize)]
struct ConfigurationFields {
    metric: Metric,
}

/// The collections of the catalog.
#[derive(Debug, Clone, Default)]
pub struct Names(BTreeMap<StreamId, CollectionFields>);

impl Names {
    /// Reads the records of collections among `texts`; one that cannot be read is reported.
    pub fn of_records(texts: &BTreeMap<String, String>, findings: &mut Findings) -> Names {
        let mut names = Names::default();
        for (id, text) in texts {
            let Some(uuid) = id.strip_prefix("c:") else { continue };
            match (uuid.parse(), serde_json::from_str(text)) {
                (Ok(uuid), Ok(record)) => drop(names.0.insert(StreamId::Collection(CollectionId(uuid)), record)),
                (_, parsed) => {
                    let why = parsed
                        .err()
                        .map_or_else(|| "its id is no UUID".to_owned(), |e: serde_json::Error| e.to_string());
                    let key = format!("catalog, record {id}");
                    findings.damaged(key, why, "put the catalog back from a backup");
                }
            }
        }
        names
    }

    /// The streams of live collections.
    pub fn live(&self) -> impl Iterator<Item = StreamId> {
        self.0.iter().filter(|(_, record)| record.state == "live").map(|(id, _)| id.clone())
    }

    /// The catalog's knowledge of a stream.
    pub fn expected(&self, id: &StreamId) -> Expected {
        let Some(record) = self.0.get(id) else { return Expected::default() };
        let CollectionFields { tenant, database, name, state, configuration, replaces } = record;
        Expected {
            name: (!name.is_empty()).then(|| format!("{tenant}/{database}/{name}")),
            metric: configuration.as_ref().map(|configuration| configuration.metric),
            live: state == "live",
            recorded: true,
            complete_at: replaces.map_or(Version(0), |replaced| replaced.version),
            ..Expected::default()
        }
    }

    /// The chosen streams; `None` if all are chosen.
    ///
    /// # Errors
    /// `NotFound` if the selector fits no live collection.
    pub fn chosen(&self, selector: &CollectionSelector) -> Result<Option<BTreeSet<StreamId>>> {
        if *selector == CollectionSelector::default() {
            return Ok(None);
        }
        let fits = |asked: &Option<String>, value: &str| asked.as_ref().is_none_or(|asked| asked == value);
        let named = |id: &StreamId, record: &CollectionFields| match (&selector.collection, id) {
            (Some(asked), StreamId::Collection(own)) => *asked == record.name || *asked == own.to_string(),
            (asked, _) => asked.is_none(),
        };
        let found: BTreeSet<StreamId> = self
            .0
            .iter()
            .filter(|(_, r)| {
                r.state == "live" && fits(&selector.tenant, &r.tenant) && fits(&selector.database, &r.database)
            })
            .filter(|(id, record)| named(id, record))
            .map(|(id, _)| id.clone())
            .collect();
        match found.is_empty() {
            true => Err(Error::not_found(format!("the catalog has no live collection {selector}"))),
            false => Ok(Some(found)),
        }
    }
}
