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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::record::{Record, Version};

    #[tokio::test]
    async fn a_commit_between_reading_and_writing_makes_a_reversal_void() {
        let store = Store::open("memory://").await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        notes.add([Record::new("a", vec![1.0, 0.0])]).await.unwrap();
        notes.upsert([Record::new("a", vec![0.0, 1.0])]).await.unwrap();
        let past = store.collection_at("notes", Some(Version(1))).await.unwrap();
        let reversal = store.reversal_to(&notes, &past).await.unwrap();
        notes.add([Record::new("b", vec![1.0, 1.0])]).await.unwrap();
        let pinned = notes.pinned().await.unwrap();
        let refused = pinned.write_after(reversal.read, reversal.writes).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        assert_eq!((notes.info().version, notes.info().count), (Version(3), 2));
    }
}
