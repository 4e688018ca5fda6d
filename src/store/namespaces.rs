//! Tenants and databases: the namespaces of collections. They are records of the catalog (docs/protocol.md#catalog),
//! so each change is one durable commit.
//! Invariant: `NotFound` and `AlreadyExists` are answered only from a catalog that was just read to its end.

use uuid::Uuid;

use super::Store;
use super::catalog::{self, CatalogView, CatalogWrite};
use super::lifecycle::check_name;
use crate::collection::request::Scope;
use crate::error::Result;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Another name of the tenant.
    pub resource_name: Option<String>,
}

/// A database of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its identity: random, nil for the default database.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The tenant's name.
    pub tenant: String,
}

/// The tenants of a store and their databases. Made by [`Store::namespaces`].
#[derive(Debug, Clone, Copy)]
pub struct Namespaces<'a> {
    pub(super) store: &'a Store,
}

impl Namespaces<'_> {
    /// Creates a tenant.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one of that name, `Invalid` for a bad name.
    pub async fn create_tenant(self, name: &str) -> Result<()> {
        check_name("tenant", name)?;
        self.store.inner.catalog.write(CatalogWrite::CreateTenant { name: name.to_owned() }).await?;
        Ok(())
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// `NotFound` only after the bucket was asked whether it exists now.
    pub async fn tenant(self, name: &str) -> Result<Tenant> {
        self.find_strongly(|view| view.tenant(name)).await?.ok_or_else(|| catalog::no_tenant(name))
    }

    /// Sets another name of a tenant.
    ///
    /// # Errors
    /// `NotFound` if there is no such tenant.
    pub async fn update_tenant(self, name: &str, resource_name: Option<String>) -> Result<()> {
        if let Some(resource_name) = &resource_name {
            check_name("resource_name", resource_name)?;
        }
        self.store.inner.catalog.write(CatalogWrite::UpdateTenant { name: name.to_owned(), resource_name }).await?;
        Ok(())
    }

    /// Creates a database of a tenant.
    ///
    /// # Errors
    /// `NotFound` if there is no such tenant, `AlreadyExists` if it has a database of that name, `Invalid`
    /// for a bad name.
    pub async fn create_database(self, tenant: &str, name: &str) -> Result<Database> {
        check_name("database", name)?;
        let id = Uuid::new_v4();
        self.store.inner.catalog.write(CatalogWrite::CreateDatabase { scope: scope(tenant, name), id }).await?;
        Ok(Database { id, name: name.to_owned(), tenant: tenant.to_owned() })
    }

    /// The database of that tenant and name.
    ///
    /// # Errors
    /// `NotFound` only after the bucket was asked whether it exists now.
    pub async fn database(self, tenant: &str, name: &str) -> Result<Database> {
        let scope = scope(tenant, name);
        self.find_strongly(|view| view.database(&scope)).await?.ok_or_else(|| catalog::no_database(&scope))
    }

    /// The databases of a tenant by name; empty for an unknown tenant.
    pub async fn databases(self, tenant: &str) -> Result<Vec<Database>> {
        Ok(self.store.inner.view.load().databases(tenant))
    }

    /// Looks in the catalog as this instance knows it. If that finds nothing, looks in the bucket's newest state.
    async fn find_strongly<T>(self, look: impl Fn(&CatalogView) -> Option<T>) -> Result<Option<T>> {
        let known = look(&self.store.inner.view.load());
        if known.is_some() {
            return Ok(known);
        }
        self.store.inner.follow_catalog().await?;
        Ok(look(&self.store.inner.view.load()))
    }
}

pub(super) fn scope(tenant: &str, database: &str) -> Scope {
    Scope { tenant: tenant.to_owned(), database: database.to_owned() }
}
