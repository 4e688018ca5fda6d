//! `?version=` of a read: the collection as it was.
//! Invariant: a version is read whole or refused.

use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::wire::{Freshness, scope};
use crate::collection::answers::{Matches, RankedGroups, RankedRows, Reading};
use crate::collection::handle::Collection;
use crate::collection::request::{Consistency, Get, GroupedSearch, Query, RankedSearch, Scope};
use crate::collection::version_view::VersionView;
use crate::error::Result;
use crate::record::Version;

/// `?tenant=&database=&consistency=&version=`, on reads of records.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PastParameters {
    tenant: Option<String>,
    database: Option<String>,
    consistency: Option<Freshness>,
    version: Option<u64>,
}

impl PastParameters {
    pub(super) fn split(self) -> Result<(Scope, AsOf), ApiError> {
        Ok((scope(self.tenant, self.database), AsOf::new(self.consistency, self.version)?))
    }
}

/// Which state of a collection a read asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsOf {
    Now(Consistency),
    Version(Version),
}

impl AsOf {
    pub(super) fn new(consistency: Option<Freshness>, version: Option<u64>) -> Result<AsOf, ApiError> {
        match (consistency, version) {
            (Some(_), Some(_)) => Err(ApiError::invalid(
                "query: expected consistency or version, got both: a version is the same whenever it is read",
            )),
            (_, Some(version)) => Ok(AsOf::Version(Version(version))),
            (consistency, None) => Ok(AsOf::Now(consistency.unwrap_or_default().into())),
        }
    }
}

/// A collection as a read asked for it.
pub(super) struct Readable {
    pub(super) collection: Collection,
    past: Option<VersionView>,
}

impl Readable {
    /// The collection as this instance knows it.
    pub(super) fn now(collection: Collection) -> Readable {
        Readable { collection, past: None }
    }

    pub(super) async fn open(app: &App, scope: &Scope, name: &str, as_of: AsOf) -> Result<Readable> {
        match as_of {
            AsOf::Now(consistency) => {
                let collection = app.store.with_scope(scope).collection_to_read(name, consistency).await?;
                Ok(Readable::now(collection))
            }
            AsOf::Version(version) => {
                let collection = app.store.with_scope(scope).collection(name).await?;
                let past = Some(view(app, &collection, version).await?);
                Ok(Readable { collection, past })
            }
        }
    }

    pub(super) async fn read(&self, get: Get) -> Result<Reading> {
        match &self.past {
            None => self.collection.read(get).await,
            Some(view) => view.read(get).await,
        }
    }

    pub(super) async fn find(&self, query: Query) -> Result<Matches> {
        match &self.past {
            None => self.collection.find(query).await,
            Some(view) => view.find(query).await,
        }
    }

    pub(super) async fn rank(&self, searches: Vec<RankedSearch>, most: usize) -> Result<Vec<RankedRows>> {
        match &self.past {
            None => self.collection.rank(searches, most).await,
            Some(view) => view.rank(searches, most).await,
        }
    }

    pub(super) async fn rank_groups(&self, grouped: GroupedSearch) -> Result<RankedGroups> {
        match &self.past {
            None => self.collection.rank_groups(grouped).await,
            Some(view) => view.rank_groups(grouped).await,
        }
    }

    pub(super) async fn count(&self) -> Result<u64> {
        match &self.past {
            None => self.collection.count(Consistency::Local).await,
            Some(view) => Ok(view.count()),
        }
    }

    pub(super) fn dimension(&self) -> Option<usize> {
        match &self.past {
            None => self.collection.dimension(),
            Some(view) => view.dimension(),
        }
    }
}

/// The collection at a version: as it was read lately, as it is now, or loaded from the bucket.
pub(super) async fn view(app: &App, collection: &Collection, version: Version) -> Result<VersionView> {
    let id = collection.id();
    if let Some(view) = app.recent_views.find(id, version) {
        return Ok(view);
    }
    let newest = VersionView::of_newest(collection.clone()).await?;
    if version == newest.version() {
        return Ok(newest);
    }
    // One at a time: a load takes memory, and the next read may be of the same version.
    let _turn = app.recent_views.turn().await;
    if let Some(view) = app.recent_views.find(id, version) {
        return Ok(view);
    }
    let past = app.store.past_view(collection.clone(), version, u64::MAX).await?;
    app.recent_views.keep(&past);
    Ok(past)
}
