//! The seam between a stream (numbered commits in a bucket) and the meaning of its records. Three states exist: the
//! catalog (tenants, databases, collections), a collection's records, and `ending`, which keeps no records. Invariant:
//! a state is a pure fold of commits in order, so all instances agree.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::head::GraphEntry;
use crate::format::inverted::Inverted;
use crate::format::{Commit, FormatError, Handover, Row, Rows, StreamConfig, Successor};
use crate::record::Version;

/// How much of a group commit a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weight {
    /// Rows it will write, at least.
    pub rows: usize,
    /// Bytes it will write, roughly.
    pub bytes: usize,
}

/// The result of a batch of requests at one version: the rows of the commit, and an answer for each request. The
/// answers hold only if that commit comes next; without rows, only if no other commit does.
#[derive(Debug)]
pub struct Resolution<A> {
    /// Whether the requests come to more than one commit holds. Then they are resolved in halves, and nothing else here
    /// counts. Of a single request the commit's own limit decides.
    pub too_large: bool,
    /// Rows of the commit; empty if nothing changes.
    pub rows: Vec<Row>,
    /// A change of the stream's configuration that goes with the rows.
    pub config: Option<StreamConfig>,
    /// Whether the commit ends the stream.
    pub drop: bool,
    /// The commit's part in a handover.
    pub handover: Option<Handover>,
    /// Whether there is a commit even if it changes nothing: it fences what followed from the version before.
    pub fence: bool,
    /// One answer per request, in order.
    pub answers: Vec<Result<A, Error>>,
}

impl<A> Default for Resolution<A> {
    fn default() -> Resolution<A> {
        Resolution {
            too_large: false,
            rows: Vec::new(),
            config: None,
            drop: false,
            handover: None,
            fence: false,
            answers: Vec::new(),
        }
    }
}

impl<A> Resolution<A> {
    /// That of several requests which do not fit into one commit.
    pub fn too_large() -> Resolution<A> {
        Resolution { too_large: true, ..Resolution::default() }
    }

    /// Whether there is anything to commit.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.config.is_none() && !self.drop && !self.fence
    }
}

/// The meaning of a stream's records.
pub trait State: Send + 'static {
    /// A write request.
    type Request: Send + Sync + 'static;
    /// Its answer.
    type Answer: Send + 'static;

    /// Whether opening the stream reads segments and graphs. If not, one empty `load` passes the version that they
    /// reach.
    const READS_OBJECTS: bool = true;

    /// How much of a group commit `request` takes.
    fn weight(request: &Self::Request) -> Weight;

    /// Resolves a batch: each request against the state plus the requests before it. Changes nothing.
    fn resolve(&self, requests: &[&Self::Request]) -> Resolution<Self::Answer>;

    /// Takes in the rows of one segment. Segments come in ascending version order, before any commit. `version` is the
    /// segment's last version; `inverted` are its inverted indexes, which are a cache.
    fn load(&mut self, groups: Vec<Rows>, version: Version, inverted: Vec<Inverted>) -> Result<(), FormatError>;

    /// Sets the configuration as of the newest segment (HEAD's `config`); comes before the first `load`.
    fn configure(&mut self, config: &StreamConfig) -> Result<(), FormatError>;

    /// Takes in a graph that HEAD names. A graph is a cache: an unusable one is left out, and the error returned.
    fn load_graph(&mut self, entry: &GraphEntry, bytes: Bytes) -> Result<(), FormatError>;

    /// Applies the commit `version() + 1`. On an error the state is unchanged. Readers see the commit only after
    /// [`publish`](Self::publish).
    fn apply(&mut self, commit: &Commit) -> Result<(), FormatError>;

    /// Shows readers the state as it is now.
    fn publish(&self);

    /// The last version taken in.
    fn version(&self) -> Version;

    /// Whether the stream has ended by a `drop` commit.
    fn dropped(&self) -> bool;

    /// What goes on in its place, if its `drop` commit names it.
    fn successor(&self) -> Option<Successor> {
        None
    }
}
