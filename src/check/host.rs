//! What a check runs in: a program of its own, or a server, whose searches must not feel it.
//! Invariant: beside a server, what a check holds is reserved before it is there, and what it computes on the bytes of
//! objects runs at the lowest priority.

#[cfg(feature = "server")]
use std::sync::Arc;

#[cfg(feature = "server")]
use super::beside::ServerShare;
use super::report::Findings;
use crate::compute::off_thread;
use crate::memory::Reservation;
use crate::stream::context::StreamError;

/// Bytes of an object's entry in a listing.
const LISTED_BYTES: u64 = 256;
/// Bytes of a row in the fold of a stream, with what is made of it.
const ROW_BYTES: u64 = 160;

/// Memory that a check has reserved; `None` where nothing counts it.
pub type Reserved = Option<Reservation>;

/// What a check runs in.
#[derive(Debug, Clone, Default)]
pub enum CheckHost {
    /// A program that does nothing else.
    #[default]
    Alone,
    /// A server.
    #[cfg(feature = "server")]
    Server(Arc<ServerShare>),
}

impl CheckHost {
    /// How many streams are checked at once.
    pub fn parallel_streams(&self) -> usize {
        match self {
            CheckHost::Alone => 4,
            #[cfg(feature = "server")]
            CheckHost::Server(_) => 1,
        }
    }

    /// Mebibytes of objects held at once. One that is larger is held alone.
    pub fn objects_mib(&self) -> usize {
        match self {
            CheckHost::Alone => 256,
            #[cfg(feature = "server")]
            CheckHost::Server(_) => 32,
        }
    }

    /// Runs what computes on bytes of objects.
    pub async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StreamError> {
        match self {
            CheckHost::Alone => Ok(off_thread(work).await?),
            #[cfg(feature = "server")]
            CheckHost::Server(share) => share.compute(work).await,
        }
    }

    /// Reserves memory for objects of `bytes` and what they are decoded to. Waits a little if there is none.
    pub async fn room_for_objects(&self, bytes: u64) -> Result<Reserved, StreamError> {
        self.room(bytes.saturating_mul(2)).await
    }

    /// As [`room_for_objects`](CheckHost::room_for_objects), for what need not be held whole: `None` if there is no
    /// memory now.
    #[cfg_attr(not(feature = "server"), allow(unused_variables))]
    pub fn room_for_whole(&self, bytes: u64) -> Option<Reserved> {
        match self {
            CheckHost::Alone => Some(None),
            #[cfg(feature = "server")]
            CheckHost::Server(share) => share.reserve(bytes.saturating_mul(2)).map(Some),
        }
    }

    /// Reserves memory for the fold of so many rows.
    pub async fn room_for_rows(&self, rows: u64) -> Result<Reserved, StreamError> {
        self.room(rows.saturating_mul(ROW_BYTES)).await
    }

    /// Reserves memory for a listing of so many objects.
    pub async fn room_for_listing(&self, objects: u64) -> Result<Reserved, StreamError> {
        self.room(objects.saturating_mul(LISTED_BYTES)).await
    }

    #[cfg_attr(not(feature = "server"), allow(unused_variables, clippy::unused_async))]
    async fn room(&self, bytes: u64) -> Result<Reserved, StreamError> {
        match self {
            CheckHost::Alone => Ok(None),
            #[cfg(feature = "server")]
            CheckHost::Server(share) => share.room(bytes).await.map(Some),
        }
    }

    /// Tells how many objects there are to check.
    #[cfg_attr(not(feature = "server"), allow(unused_variables))]
    pub fn tell_known(&self, objects: u64) {
        match self {
            CheckHost::Alone => {}
            #[cfg(feature = "server")]
            CheckHost::Server(share) => share.progress.know(objects),
        }
    }

    /// Tells that so many more objects were checked.
    #[cfg_attr(not(feature = "server"), allow(unused_variables))]
    pub fn tell_checked(&self, objects: u64) {
        match self {
            CheckHost::Alone => {}
            #[cfg(feature = "server")]
            CheckHost::Server(share) => share.progress.check(objects),
        }
    }

    /// Tells what was found.
    #[cfg_attr(not(feature = "server"), allow(unused_variables))]
    pub fn tell_findings(&self, findings: &Findings) {
        match self {
            CheckHost::Alone => {}
            #[cfg(feature = "server")]
            CheckHost::Server(share) => share.progress.find(findings),
        }
    }
}
