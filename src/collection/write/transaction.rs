//! Transactions at their resolution: whether what they follow from is unchanged, and their writes one after another.
//! It is decided at the version before the slot that the commit takes, so the log decides between writers of all
//! instances.
//! Invariant: a transaction that is refused leaves no trace, whichever of its writes was at fault.

use super::resolve::Resolver;
use crate::collection::read::select::Matched;
use crate::collection::request::{Transaction, Write, WriteOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::record::Version;

impl<'a> Resolver<'a> {
    pub(super) fn transaction(&mut self, transaction: &'a Transaction) -> Result<WriteOutcome> {
        transaction.check(self.limits)?;
        if let Some(read) = transaction.read {
            self.check_unchanged(read, transaction)?;
        }
        self.all_or_none(&transaction.writes)
    }

    /// Applies writes one after another; if one is refused, none.
    pub(super) fn all_or_none(&mut self, writes: &'a [Write]) -> Result<WriteOutcome> {
        self.all_or_nothing(|resolver| {
            let mut sum = WriteOutcome::default();
            for write in writes {
                let outcome = resolver.write(write, &Matched::default())?;
                sum.applied += outcome.applied;
                sum.skipped += outcome.skipped;
            }
            Ok(sum)
        })
    }

    /// Refuses a transaction if a record that it read or writes was written after the version `read`.
    fn check_unchanged(&self, read: Version, transaction: &Transaction) -> Result<()> {
        let newest = self.base.version();
        if read > newest {
            let what = format!("read: expected a version up to {newest}, the newest, got {read}");
            return Err(Error::invalid(what));
        }
        let read_ids = transaction.read_ids.iter().map(String::as_str);
        for id in read_ids.chain(transaction.written_ids()) {
            match self.is_changed(id, read) {
                Some(false) => {}
                Some(true) => {
                    let what = format!(
                        "record {id:?} was written after version {read}, which was read; nothing was written, read again"
                    );
                    return Err(Error::new(ErrorKind::Conflict, what));
                }
                None => {
                    return Err(Error::stale_read(format!(
                        "whether record {id:?} was deleted after version {read} is no longer known; nothing was \
                         written, read again"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether this id was written after the version; `None` if that is no longer known.
    fn is_changed(&self, id: &str, since: Version) -> Option<bool> {
        if self.overlay.is_touched(id) {
            return Some(true);
        }
        if let Some(at) = self.base.find(id) {
            // The address of the row itself: an update carries position and embedding on, never that.
            return Some(self.base.address(at).version() > since);
        }
        match self.deletions.of(id) {
            Some(deleted) if deleted > since => Some(true),
            _ => (self.deletions.complete_after() <= since).then_some(false),
        }
    }
}
