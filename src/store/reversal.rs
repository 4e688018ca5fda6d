//! A collection made again what it was, in place, as one commit more (`…/restore` of the native API).
//! Invariant: it is all or nothing, and nothing that was written meanwhile is lost unseen.

use super::{Store, files};
use crate::collection::differences::Reversal;
use crate::collection::handle::Collection;
use crate::collection::request::{Selection, Transaction, Write};
use crate::collection::version_view::VersionView;
use crate::error::{Error, Result};

impl Store {
    /// The transaction after which the collection holds what it held in `past`. It holds only if no other commit
    /// comes between.
    ///
    /// # Errors
    /// `Invalid` if the collection splits documents or holds files. `Limit` if more differs than one commit can hold.
    pub(crate) async fn reversal_to(&self, collection: &Collection, past: &VersionView) -> Result<Transaction> {
        let identity = collection.identity();
        files::check_no_files(&identity.name, "restored")?;
        if identity.splitting.is_some() {
            return Err(Error::invalid(format!(
                "collection {:?} splits documents, and cannot be restored in place; fork that version",
                identity.name
            )));
        }
        let present = VersionView::of_newest(collection.clone()).await?;
        let Reversal { from, deletes, puts } = past.reversal(&present, self.limits()).await?;
        let mut writes = Vec::new();
        if !deletes.is_empty() {
            writes.push(Write::Delete(Selection::by_ids(deletes)));
        }
        if !puts.is_empty() {
            writes.push(Write::Upsert(puts));
        }
        Ok(Transaction { read: Some(from), read_ids: Vec::new(), writes })
    }
}
