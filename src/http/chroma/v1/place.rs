//! Where a request of the first version works: the tenant and the database in its query string, or the default ones;
//! and the collection of an id, in whichever database it is.
//! Invariant: an id leads only to a collection that the key is not bound away from; any other does not exist.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use uuid::Uuid;

use super::super::super::App;
use super::super::super::auth::Requester;
use super::super::body::{ChromaParameters, InCollection};
use super::super::collections::{is_reserved, no_id};
use super::super::error::ChromaError;
use super::error::{Subject, no_uuid, of_v1};
use super::extract::PartsInV1;
use crate::collection::request::Scope;
use crate::error::Error;
use crate::record::CollectionId;

/// `?tenant=&database=`
#[derive(Debug, Default, Deserialize)]
pub(super) struct ScopeParameters {
    tenant: Option<String>,
    database: Option<String>,
}

impl ScopeParameters {
    /// The tenant.
    pub(super) fn tenant(&self) -> String {
        self.tenant.clone().unwrap_or_else(|| Scope::default().tenant)
    }

    /// The database.
    pub(super) fn scope(&self) -> Scope {
        let database = self.database.clone().unwrap_or_else(|| Scope::default().database);
        Scope { tenant: self.tenant(), database }
    }

    /// Whether a database is the one that is named; where none is named, any is.
    fn allow(&self, scope: &Scope) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| scope.tenant == *tenant)
            && self.database.as_ref().is_none_or(|database| scope.database == *database)
    }
}

/// The query string of every request.
pub(super) type Named = PartsInV1<ChromaParameters<ScopeParameters>>;

/// Who asks, and what the query string names.
pub(super) struct V1Access {
    requester: Requester,
    parameters: ScopeParameters,
}

impl FromRequestParts<App> for V1Access {
    type Rejection = ChromaError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<V1Access, ChromaError> {
        let PartsInV1(ChromaParameters(parameters)) = Named::from_request_parts(parts, app).await?;
        // Every request carries it; one without may see nothing.
        let requester = parts.extensions.get::<Requester>().cloned().unwrap_or(Requester::Stranger);
        Ok(V1Access { requester, parameters })
    }
}

impl V1Access {
    fn may_see(&self, scope: &Scope) -> bool {
        let bound = self.requester.key().and_then(|(_, bound)| bound);
        let key_allows = bound.is_some_and(|bound| bound.holds(scope)) || self.requester.sees_everything();
        key_allows && self.parameters.allow(scope)
    }

    /// The place of the collection with this id.
    pub(super) async fn collection(&self, app: &App, id: &str) -> Result<InCollection, ChromaError> {
        let uuid = CollectionId(Uuid::try_parse(id).map_err(|_| no_uuid(id))?);
        let missing = |e: Error| of_v1(no_id(e, uuid), Subject::Collection(&uuid.to_string()));
        let may_see = |scope: &Scope, name: &str| self.may_see(scope) && !is_reserved(name);
        let collection = app.store.collection_by_id_if(uuid, may_see).await.map_err(missing)?;
        let Scope { tenant, database } = collection.identity().scope.clone();
        Ok(InCollection { tenant, database, collection: uuid.to_string() })
    }
}
