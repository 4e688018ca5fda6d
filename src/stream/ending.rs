//! A stream opened only to end it, or to see whether it has ended: its log from HEAD's floor on, and no records.
//! Invariant: its only commit is the `drop` commit, so no write has to fit the records.

use std::sync::Arc;

use bytes::Bytes;

use super::Stream;
use super::context::{Context, StreamError};
use super::state::{Resolution, State, Weight};
use crate::error::Error;
use crate::format::head::GraphEntry;
use crate::format::inverted::Inverted;
use crate::format::{Commit, CommitKind, FormatError, Rows, StreamConfig, Successor};
use crate::record::Version;

/// How far the log reaches, and whether it has ended.
#[derive(Debug, Default)]
pub struct Ending {
    version: Version,
    dropped: bool,
    successor: Option<Successor>,
}

impl Ending {
    /// Opens a stream with this state.
    pub async fn open(context: Context) -> Result<Stream<Ending>, StreamError> {
        Stream::open(context, Arc::new(Ending::default)).await
    }
}

impl State for Ending {
    /// The request to end the stream.
    type Request = ();
    type Answer = ();

    const READS_OBJECTS: bool = false;

    fn weight((): &()) -> Weight {
        Weight::default()
    }

    fn resolve(&self, requests: &[&()]) -> Resolution<()> {
        let ended = |before: bool| match before {
            true => Err(Error::not_found("the collection was deleted")),
            false => Ok(()),
        };
        let answers = (0..requests.len()).map(|nth| ended(self.dropped || nth > 0)).collect();
        Resolution { drop: !self.dropped, answers, ..Resolution::default() }
    }

    fn load(&mut self, _: Vec<Rows>, version: Version, _: Vec<Inverted>) -> Result<(), FormatError> {
        self.version = version;
        Ok(())
    }

    fn configure(&mut self, _: &StreamConfig) -> Result<(), FormatError> {
        Ok(())
    }

    fn load_graph(&mut self, _: &GraphEntry, _: Bytes) -> Result<(), FormatError> {
        Ok(())
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), FormatError> {
        let (version, next) = (commit.header.version, self.version.next());
        if version != next || self.dropped {
            return Err(FormatError::Damaged(format!("expected commit {next} of a live stream, got {version}")));
        }
        (self.version, self.dropped) = (version, commit.header.kind == CommitKind::Drop);
        self.successor = commit.header.successor();
        Ok(())
    }

    fn publish(&self) {}

    fn version(&self) -> Version {
        self.version
    }

    fn dropped(&self) -> bool {
        self.dropped
    }

    fn successor(&self) -> Option<Successor> {
        self.successor
    }
}
