//! Conditional reads and commits: Chroma's transactions. A client reads, keeps its writes back and commits them once;
//! nothing is locked meanwhile. `read_token` is the first position of the log that the read did not see: its version
//! plus 1. Its errors have names of their own, on which clients run their transaction again.
//! Invariant: a commit is compared with the log where it takes its slot (`collection/write/transaction.rs`).

mod body;

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use self::body::{CommitBody, CommitOperation, ConditionalGetBody};
use super::super::App;
use super::super::answer::json;
use super::super::middleware::WriteBegun;
use super::super::stream;
use super::answer::{ApiVersion, ChromaGetAnswer};
use super::body::{At, ChromaJson, InCollection};
use super::collections::{find, no_id};
use super::error::ChromaError;
use super::filters::filter;
use super::records::ChromaWriteTo;
use crate::collection::handle::Collection;
use crate::collection::request::{Get, Selection, Transaction, Write};
use crate::collection::version_view::VersionView;
use crate::error::{Error, ErrorKind};
use crate::memory::Purpose;
use crate::record::Version;

/// A view is loaded from the bucket only if it takes no more memory than this: reading again costs a client less.
const VIEW_BYTES: u64 = 64 << 20;

pub(super) async fn get(
    State(app): State<App>,
    At(place): At<InCollection>,
    ChromaJson(body): ChromaJson<ConditionalGetBody>,
) -> Result<Response, ChromaError> {
    let collection = find(&app.store, &place).await?;
    let filter = filter(&collection, body.r#where.as_deref(), body.where_document.as_deref())?;
    let view = match body.read_token {
        None => newest(&app, &collection).await?,
        Some(token) => view_of(&app, &collection, version_before(token)?).await?,
    };
    let get = Get {
        filter,
        ids: body.ids.map(|ids| ids.0),
        limit: body.limit.map(|limit| limit as usize),
        offset: body.offset.unwrap_or(0) as usize,
        ..Get::default()
    };
    let reading = view.read(get).await.map_err(|e| no_id(e, collection.id()))?;
    let token = reading.version().next().0;
    let answer = ChromaGetAnswer::new(reading, body.include, ApiVersion::V2).with_read_token(token);
    Ok(stream::respond(answer, app.store.room(Purpose::Answer)).await?)
}

/// How long a load waits for another one. A client that reads again without a token is served sooner.
const TURN_LIMIT: Duration = Duration::from_secs(2);

/// The version that a token stands for.
fn version_before(token: u64) -> Result<Version, ChromaError> {
    match token.checked_sub(1) {
        Some(version) => Ok(Version(version)),
        None => Err(ChromaError::stale_read("read_token: expected at least 1, got 0; read again without one")),
    }
}

/// The newest version, kept for the reads that follow with its token.
async fn newest(app: &App, collection: &Collection) -> Result<VersionView, ChromaError> {
    let view = VersionView::of_newest(collection.clone()).await.map_err(|e| no_id(e, collection.id()))?;
    app.recent_views.keep(&view);
    Ok(view)
}

/// The collection at a version: as it is now, as it was read lately, or loaded from the bucket.
async fn view_of(app: &App, collection: &Collection, version: Version) -> Result<VersionView, ChromaError> {
    let id = collection.id();
    if let Some(view) = app.recent_views.find(id, version) {
        return Ok(view);
    }
    let newest = newest(app, collection).await?;
    if version == newest.version() {
        return Ok(newest);
    }
    if version > newest.version() {
        return Err(beyond(version, newest.version()));
    }
    // One at a time: a load takes memory, and the next read may be of the same version.
    let Ok(_turn) = tokio::time::timeout(TURN_LIMIT, app.recent_views.turn()).await else {
        return Err(ChromaError::stale_read(
            "read_token: another earlier state is being loaded; read again without a read_token",
        ));
    };
    if let Some(view) = app.recent_views.find(id, version) {
        return Ok(view);
    }
    let past = app.store.past_view(collection.clone(), version, VIEW_BYTES).await.map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::Limit | ErrorKind::NoRoom => {
            ChromaError::stale_read(format!("{}; read again without a read_token", e.message()))
        }
        _ => e.into(),
    })?;
    app.recent_views.keep(&past);
    Ok(past)
}

/// The refusal of a token that no read can have answered.
fn beyond(version: Version, newest: Version) -> ChromaError {
    let (most, got) = (newest.next(), version.next());
    ChromaError::invalid(format!("read_token: expected at most {most}, the next position of the log, got {got}"))
}

pub(super) async fn commit(
    to: ChromaWriteTo,
    ChromaJson(body): ChromaJson<CommitBody>,
) -> Result<Response, ChromaError> {
    let (State(app), Extension(begun), At(place)) = to;
    let collection = find(&app.store, &place).await?;
    let CommitBody { read_token, read_ids, operations } = body;
    let read_ids = read_ids.map(|ids| ids.0).unwrap_or_default();
    check_read(read_token, &read_ids)?;
    let read = read_token.map(version_before).transpose()?;
    if operations.0.is_empty() {
        return Ok(json(StatusCode::OK, &json!({"first_inserted_record_offset": null, "record_count": 0}))?);
    }
    let mut writes = Writes { dimension: collection.dimension(), records: 0, writes: Vec::new() };
    operations.0.into_iter().try_for_each(|operation| writes.push(operation))?;
    let Writes { dimension, records, writes } = writes;
    let transaction = Transaction { read, read_ids, writes };
    let position = commit_in(&begun, &collection, transaction).await.map_err(|error| {
        // Another write may have fixed the dimension after this one looked at it.
        match (error.kind(), collection.dimension(), dimension) {
            (ErrorKind::Invalid, Some(expected), Some(got)) if expected != got => ChromaError::dimension(expected, got),
            _ => refused(error, &collection, read),
        }
    })?;
    Ok(json(StatusCode::OK, &json!({"first_inserted_record_offset": position, "record_count": records}))?)
}

fn check_read(read_token: Option<u64>, read_ids: &[String]) -> Result<(), ChromaError> {
    if read_token.is_none() && !read_ids.is_empty() {
        return Err(ChromaError::invalid("read_token: expected the token of the read, as there are read_ids"));
    }
    match read_ids.iter().position(String::is_empty) {
        Some(i) => Err(ChromaError::invalid(format!("read_ids[{i}]: expected at least one character, got none"))),
        None => Ok(()),
    }
}

/// The writes of a commit, checked one after another as their own routes check them.
struct Writes {
    /// As the writes so far fix it.
    dimension: Option<usize>,
    /// Ids in all, as they were named.
    records: usize,
    writes: Vec<Write>,
}

impl Writes {
    fn push(&mut self, operation: CommitOperation) -> Result<(), ChromaError> {
        let write = match operation {
            CommitOperation::Delete(body) => {
                if body.r#where.is_some() || body.where_document.is_some() || body.limit.is_some() {
                    let fault = "where, where_document, limit: a delete in a transaction takes ids alone";
                    return Err(ChromaError::validation(&[fault.to_owned()]));
                }
                let ids = body.ids.map(|ids| ids.0).unwrap_or_default();
                if ids.is_empty() {
                    let fault = "ids: a delete in a transaction needs ids";
                    return Err(ChromaError::validation(&[fault.to_owned()]));
                }
                self.records += ids.len();
                let ids = ids.into_iter().filter(|id| !id.is_empty()).collect();
                Write::Delete(Selection { ids: Some(ids), ..Selection::default() })
            }
            CommitOperation::Columns(columns, make) => {
                columns.check(self.dimension)?;
                self.dimension = self.dimension.or(columns.dimension());
                self.records += columns.len();
                make(columns)
            }
        };
        self.writes.push(write);
        Ok(())
    }
}

/// Commits, and answers the position of the commit; `None` if nothing had to be written.
async fn commit_in(
    begun: &WriteBegun,
    collection: &Collection,
    transaction: Transaction,
) -> Result<Option<Version>, Error> {
    let (committing, before) = (collection.clone(), transaction.read.unwrap_or(collection.info().version));
    let outcome = begun.run(async move { committing.commit(transaction).await }).await?;
    let is_new = outcome.applied > 0 && outcome.version > before;
    Ok(is_new.then_some(outcome.version))
}

/// The refusal of a commit.
fn refused(error: Error, collection: &Collection, read: Option<Version>) -> ChromaError {
    match (error.kind(), read) {
        (ErrorKind::Conflict, _) if error.is_stale_read() => ChromaError::stale_read(error.message()),
        (ErrorKind::Conflict, _) => ChromaError::write_conflict(),
        (ErrorKind::Unavailable, _) if error.is_outrun() => ChromaError::back_off(error.message()),
        (ErrorKind::Invalid, Some(read)) => {
            let newest = collection.info().version;
            if read > newest { beyond(read, newest) } else { error.into() }
        }
        _ => no_id(error, collection.id()),
    }
}
