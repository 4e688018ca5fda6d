//! Changes of a collection's entry in the catalog: name, metadata, settings. Each change is one catalog commit,
//! checked against the state right before it; handles follow it.

use serde_json::{Map, Value};

use super::Store;
use super::catalog::{self, CatalogWrite, CollectionRecord};
use super::files;
use super::lifecycle::{self, ATTEMPTS, check_collection_name, metadata_json};
use crate::collection::request::IndexSettings;
use crate::error::{ErrorKind, Result};
use crate::record::{CollectionId, Metadata, MetadataPatch};

/// What to change about a collection; a `None` field stays as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CollectionChange {
    /// Another name.
    pub name: Option<String>,
    /// Other metadata, as a whole; `Some(None)` for none.
    pub metadata: Option<Option<Metadata>>,
    /// Values of single metadata keys, `None` to remove one; the other keys stay as the newest change has left them.
    pub metadata_patch: Option<MetadataPatch>,
    /// Another width of the graph search.
    pub ef_search: Option<usize>,
    /// Another extension, as a whole.
    pub extension: Option<Map<String, Value>>,
}

impl CollectionChange {
    /// The record after the change.
    pub(super) fn applied_to(&self, record: &CollectionRecord) -> CollectionRecord {
        let mut after = record.clone();
        if let Some(name) = &self.name {
            after.name.clone_from(name);
        }
        if let Some(metadata) = &self.metadata {
            after.metadata = metadata_json(metadata.as_ref());
        }
        if let Some(MetadataPatch(patch)) = &self.metadata_patch {
            let values = after.metadata.get_or_insert_default();
            for (key, value) in patch {
                match value.as_ref().and_then(|value| serde_json::to_value(value).ok()) {
                    Some(value) => drop(values.insert(key.clone(), value)),
                    None => drop(values.remove(key)),
                }
            }
        }
        if let Some(ef_search) = self.ef_search {
            after.configuration.index.ef_search = Some(ef_search);
        }
        if let Some(extension) = &self.extension {
            after.configuration.extension.clone_from(extension);
        }
        after
    }
}

impl Store {
    /// Changes a collection's name, metadata or settings, in one commit of the catalog. Handles of this store show it
    /// when this returns; those of other instances show it once they have followed the catalog.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection, `AlreadyExists` if the new name is taken, `Invalid` for a bad name
    /// or setting.
    pub async fn modify_collection(&self, id: CollectionId, change: CollectionChange) -> Result<()> {
        if let Some(name) = &change.name {
            check_collection_name(name)?;
        }
        IndexSettings { ef_search: change.ef_search, ..IndexSettings::default() }.check()?;
        let inner = &self.inner;
        let mut refused = catalog::no_collection(id);
        for _ in 0..ATTEMPTS {
            let entry = self.entry(id).await?;
            files::check_no_files(&entry.record().name, "changed")?;
            if lifecycle::ended(inner, &entry).await? {
                return Err(catalog::no_collection(id));
            }
            match inner.catalog.write(CatalogWrite::Modify { id, change: Box::new(change.clone()) }).await {
                Ok(_) => {
                    inner.reconcile();
                    return Ok(());
                }
                // The holder of the name may have been dropped elsewhere: look again.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => refused = error,
                Err(error) => return Err(error),
            }
            inner.reconcile();
            let holder = change.name.as_ref().and_then(|name| inner.find(&entry.record().scope(), name));
            if let Some(holder) = holder
                && !lifecycle::ended(inner, &holder).await?
            {
                return Err(refused);
            }
        }
        Err(refused)
    }
}
