//! The records of the catalog as they are stored: tenants, databases, collections (docs/protocol.md#catalog).
//! Invariants: the id of a record follows from its content; fields of newer versions are kept.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::collection::request::{Embedder, IndexSettings, Scope};
use crate::format::FormatError;
use crate::record::{CollectionId, Metric, Version};
use crate::text::{Splitting, TextSettings};

/// Whether a record stands for something live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// The name is taken.
    Live,
    /// The name is free. A collection's record stays until its objects are deleted; that of the default database
    /// stays until the database is created again.
    Dropped,
}

/// Settings of a collection: some are fixed at its creation, others can be modified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// How distance is measured.
    pub metric: Metric,
    /// Fixed at creation, or by the first record.
    pub dimension: Option<usize>,
    /// How graphs are built.
    #[serde(default)]
    pub index: IndexSettings,
    /// How documents are searched by their words.
    #[serde(default, skip_serializing_if = "TextSettings::is_default")]
    pub text: TextSettings,
    /// What makes embeddings of documents that come without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedder: Option<Embedder>,
    /// How documents are split into parts.
    #[serde(default, rename = "chunk", skip_serializing_if = "Option::is_none")]
    pub splitting: Option<Splitting>,
    /// Stored for the creator of the collection, never interpreted here.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extension: Map<String, Value>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A collection in the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    /// The tenant's name.
    pub tenant: String,
    /// The database's name.
    pub database: String,
    /// Unique among the live collections of the database.
    pub name: String,
    /// Values remembered with the collection, or null.
    pub metadata: Option<Map<String, Value>>,
    /// Metric, dimension, index.
    pub configuration: Configuration,
    /// Live or dropped.
    pub state: RecordState,
    /// The collection that this one was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<CollectionId>,
    /// The collection whose place this one is to take, once it is filled. Until then it is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fills_in_for: Option<CollectionId>,
    /// The collection whose place this one has taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaced>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a collection has taken the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Which collection.
    pub collection: CollectionId,
    /// The version of the successor at which it had all records.
    pub version: Version,
}

impl CollectionRecord {
    /// Where the collection belongs.
    pub fn scope(&self) -> Scope {
        Scope { tenant: self.tenant.clone(), database: self.database.clone() }
    }

    /// Whether it is in `scope`.
    pub fn is_in(&self, scope: &Scope) -> bool {
        self.tenant == scope.tenant && self.database == scope.database
    }

    /// Tenant, database and name.
    pub fn key(&self) -> NameKey {
        (self.tenant.clone(), self.database.clone(), self.name.clone())
    }

    /// The version with which it begins to be whole: that at which it took the place of another, or 0.
    pub fn complete_at(&self) -> Version {
        self.replaces.map_or(Version(0), |replaced| replaced.version)
    }

    /// Whether it stands for a live collection.
    pub fn is_live(&self) -> bool {
        self.state == RecordState::Live
    }
}

/// Tenant, database and name of a collection.
pub type NameKey = (String, String, String);

/// A tenant in the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// Unique.
    pub name: String,
    /// Another name of the tenant.
    #[serde(default)]
    pub resource_name: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A database in the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseRecord {
    /// Its identity.
    pub id: Uuid,
    /// The tenant's name.
    pub tenant: String,
    /// Unique among the live databases of the tenant.
    pub name: String,
    /// Live or dropped.
    pub state: RecordState,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl DatabaseRecord {
    /// Tenant and name.
    pub fn scope(&self) -> Scope {
        Scope { tenant: self.tenant.clone(), database: self.name.clone() }
    }

    /// Whether it stands for a live database.
    pub fn is_live(&self) -> bool {
        self.state == RecordState::Live
    }
}

/// The id of a collection's record.
pub fn collection_id(id: CollectionId) -> String {
    format!("c:{id}")
}

/// The id of a tenant's record.
pub fn tenant_id(name: &str) -> String {
    format!("t:{}", encoded(name))
}

/// The id of a database's record.
pub fn database_id(scope: &Scope) -> String {
    format!("d:{}/{}", encoded(&scope.tenant), encoded(&scope.database))
}

/// Percent-encodes everything that is not unreserved in a URI, so that `/` only separates.
fn encoded(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// A record of a kind that this version knows.
#[derive(Debug, Clone)]
pub enum CatalogRecord {
    /// A tenant.
    Tenant(Arc<TenantRecord>),
    /// A database.
    Database(Arc<DatabaseRecord>),
    /// A collection.
    Collection(CollectionId, Arc<CollectionRecord>),
}

impl CatalogRecord {
    /// The record with this id and value; `None` for kinds of newer versions.
    pub fn parse(id: &str, text: Option<&str>) -> Result<Option<CatalogRecord>, FormatError> {
        let damaged = |what: &str| FormatError::Damaged(format!("catalog record {id:?}: {what}"));
        let kind = id.split_once(':').map_or(id, |(kind, _)| kind);
        let (record, expected) = match kind {
            "t" => {
                let record: TenantRecord = value(id, text)?;
                let expected = tenant_id(&record.name);
                (CatalogRecord::Tenant(Arc::new(record)), expected)
            }
            "d" => {
                let record: DatabaseRecord = value(id, text)?;
                let expected = database_id(&record.scope());
                (CatalogRecord::Database(Arc::new(record)), expected)
            }
            "c" => {
                let uuid = id.strip_prefix("c:").and_then(|uuid| uuid.parse().ok());
                let cid = CollectionId(uuid.ok_or_else(|| damaged("the id is not a UUID"))?);
                (CatalogRecord::Collection(cid, Arc::new(value(id, text)?)), collection_id(cid))
            }
            _ => return Ok(None),
        };
        match expected == id {
            true => Ok(Some(record)),
            false => Err(damaged(&format!("its content belongs to the id {expected:?}"))),
        }
    }
}

fn value<T: DeserializeOwned>(id: &str, text: Option<&str>) -> Result<T, FormatError> {
    let damaged = |what: String| FormatError::Damaged(format!("catalog record {id:?}: {what}"));
    let text = text.ok_or_else(|| damaged("it has no value".to_owned()))?;
    serde_json::from_str(text).map_err(|e| damaged(e.to_string()))
}
