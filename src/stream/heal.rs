//! Another look at an object that was found damaged: there may have been several wrong answers in a row, or the object
//! was put back (docs/protocol.md#damage). Invariant: a look changes nothing. A look without a fault only means that
//! reading may be tried again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::context::{Context, StreamError};
use super::open::still_named;
use super::rewind::checksum;
use crate::bucket::fetch::Fetcher;
use crate::bucket::keys::Role;

/// The pause before a look is this multiple of the last look's duration: a look may read whole segments.
const REST_FACTOR: u32 = 10;

/// The damage found last that has not checked out since.
#[derive(Debug, Default)]
pub struct KnownDamage {
    found: Mutex<Option<(String, String)>>,
    /// The time before which no look is made.
    rests_until: Mutex<Option<Instant>>,
}

impl KnownDamage {
    /// The object's key and what is wrong with it.
    pub fn get(&self) -> Option<(String, String)> {
        self.found.lock().clone()
    }

    /// Remembers the damage; returns whether it is new.
    pub fn note(&self, key: &str, cause: &str) -> bool {
        let mut found = self.found.lock();
        let news = found.as_ref().is_none_or(|(known, _)| known != key);
        *found = Some((key.to_owned(), cause.to_owned()));
        news
    }

    /// Forgets the damage, as all checks out; returns whether there was any.
    pub fn clear(&self) -> bool {
        self.found.lock().take().is_some()
    }

    /// Whether enough time has passed since the last look.
    pub fn is_due(&self) -> bool {
        self.rests_until.lock().is_none_or(|until| Instant::now() >= until)
    }

    /// Remembers that a look of this duration has just ended.
    pub fn looked(&self, took: Duration) {
        *self.rests_until.lock() = Some(Instant::now() + took.saturating_mul(REST_FACTOR));
    }
}

/// Looks at the object `key` again. `Ok` if the object by itself shows no fault.
pub async fn look(context: &Arc<Context>, key: &str) -> Result<(), StreamError> {
    match context.stream.role(key) {
        Some(Role::Head) => context.read_head().await.map(drop),
        Some(Role::Segment) => {
            let head = context.read_head().await?.head;
            let Some(entry) = head.segs.iter().find(|entry| entry.key == key) else { return Ok(()) };
            match checksum(&Fetcher::new(context.bucket.clone()), entry, context.reread()).await? {
                (_, None) => Ok(()),
                (key, Some(cause)) if still_named(context, &key).await? => Err(StreamError::Corrupted { key, cause }),
                (_, Some(_)) => Ok(()),
            }
        }
        // The reader of the log judges whether a commit fits.
        _ => Ok(()),
    }
}
