//! Reading files: list, describe, download whole or in part, under conditions.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::condition::{ReadVerdict, of_read, range_counts};
use super::describe::{FileBody, headers_of};
use super::range::{Asked, asked};
use super::send;
use crate::collection::request::{Consistency, Scope};
use crate::error::{Error, ErrorKind};
use crate::file::{FileInfo, ListFiles};
use crate::http::App;
use crate::http::answer::json;
use crate::http::body::Parameters;
use crate::http::error::ApiError;
use crate::http::wire::{Freshness, scope};

/// Most files of one page, and the number unless the request asks for fewer.
const PAGE: usize = 1_000;
const MOST: usize = 10_000;

/// `?tenant=&database=&consistency=&keep=`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReadFile {
    tenant: Option<String>,
    database: Option<String>,
    consistency: Freshness,
    keep: bool,
}

/// `?prefix=&after=&limit=`, and the scope and consistency.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListParameters {
    tenant: Option<String>,
    database: Option<String>,
    consistency: Freshness,
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
}

/// Files by name, and where the next page starts.
#[derive(Serialize)]
struct ListBody {
    files: Vec<FileBody>,
    next: Option<String>,
}

/// The name in a path.
pub(super) fn named(path: Result<Path<String>, axum::extract::rejection::PathRejection>) -> Result<String, ApiError> {
    path.map(|Path(name)| name).map_err(|e| ApiError::invalid(format!("file name: {}", e.body_text())))
}

pub(super) type NamePath = Result<Path<String>, axum::extract::rejection::PathRejection>;

impl ListParameters {
    /// The scope, the consistency and the list's own parameters.
    pub(super) fn split(self) -> Result<(Scope, Consistency, ListFiles), ApiError> {
        let limit = self.limit.unwrap_or(PAGE);
        if limit == 0 || limit > MOST {
            return Err(ApiError::invalid(format!("query: limit: expected 1 to {MOST}, got {limit}")));
        }
        let list = ListFiles { prefix: self.prefix, after: self.after, limit };
        Ok((scope(self.tenant, self.database), self.consistency.into(), list))
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Response, ApiError> {
    let (scope, consistency, list) = parameters.split()?;
    let page = app.store.with_scope(&scope).files().list(&list, consistency).await?;
    json(StatusCode::OK, &ListBody { files: page.files.into_iter().map(FileBody::from).collect(), next: page.next })
}

pub(super) async fn get(
    State(app): State<App>,
    path: NamePath,
    Parameters(parameters): Parameters<ReadFile>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    download(&app, &named(path)?, parameters, &headers, |file| file.auto_delete == Some(true)).await
}

pub(super) async fn head(
    State(app): State<App>,
    path: NamePath,
    Parameters(parameters): Parameters<ReadFile>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    describe(&app, &named(path)?, parameters, &headers).await
}

/// The answer to a request for a file's headers.
pub(super) async fn describe(app: &App, name: &str, read: ReadFile, headers: &HeaderMap) -> Result<Response, ApiError> {
    let files = app.store.with_scope(&scope(read.tenant, read.database)).files();
    let file = files.stat(name, read.consistency.into()).await?;
    if let Some(answer) = settled(headers, &file) {
        return answer;
    }
    let mut answer = headers_of(&file);
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(file.size));
    Ok((StatusCode::OK, answer).into_response())
}

/// The answer to a request for a file. A file that was sent whole is deleted if it `leaves` and the request does not
/// keep it.
pub(super) async fn download(
    app: &App,
    name: &str,
    read: ReadFile,
    headers: &HeaderMap,
    leaves: impl Fn(&FileInfo) -> bool,
) -> Result<Response, ApiError> {
    let files = app.store.with_scope(&scope(read.tenant, read.database)).files();
    let header = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let wanted = |file: &FileInfo| match range_counts(headers, file) {
        true => asked(header, file.size),
        false => Asked::Whole,
    };
    let mut file_store = files.existing(name).await?;
    let choose = |file: &FileInfo| match (of_read(headers, file), wanted(file)) {
        (ReadVerdict::Send, Asked::Whole) => None,
        (ReadVerdict::Send, Asked::Part(range)) => Some(range),
        // No byte of the file is sent, so none is fetched.
        _ => Some(0..0),
    };
    let download = match file_store.get(name, read.consistency.into(), choose).await {
        Err(error) => {
            file_store = files.remade(&file_store, error).await?;
            file_store.get(name, read.consistency.into(), choose).await?
        }
        begun => begun?,
    };
    let file = download.info().clone();
    if let Some(answer) = settled(headers, &file) {
        return answer;
    }
    let mut answer = headers_of(&file);
    let status = match wanted(&file) {
        Asked::Whole => StatusCode::OK,
        Asked::Part(range) => {
            let last = range.end.saturating_sub(1);
            insert(&mut answer, header::CONTENT_RANGE, &format!("bytes {}-{last}/{}", range.start, file.size));
            StatusCode::PARTIAL_CONTENT
        }
        Asked::Beyond => return Ok(beyond(&file)),
    };
    let range = download.range();
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end.saturating_sub(range.start)));
    let leaves = leaves(&file) && !read.keep && status == StatusCode::OK;
    let body = send::body(download, leaves.then_some(file_store), app.store.file_settings().idle_timeout);
    Ok((status, answer, body).into_response())
}

/// The answer, if the conditions of the request already decide it.
fn settled(headers: &HeaderMap, file: &FileInfo) -> Option<Result<Response, ApiError>> {
    match of_read(headers, file) {
        ReadVerdict::Send => None,
        ReadVerdict::Known => {
            let mut answer = headers_of(file);
            answer.remove(header::CONTENT_TYPE);
            Some(Ok((StatusCode::NOT_MODIFIED, answer).into_response()))
        }
        ReadVerdict::Failed => {
            let message = format!("if-match: file {:?} has the tag \"{}\"", file.name, file.sha256);
            Some(Err(ApiError::with_status(StatusCode::PRECONDITION_FAILED, ErrorKind::Conflict, message)))
        }
    }
}

/// The answer where no byte of the file is in the range.
fn beyond(file: &FileInfo) -> Response {
    let error = Error::invalid(format!("range: the file has {} bytes, and the range is outside of them", file.size));
    let mut answer =
        ApiError::with_status(StatusCode::RANGE_NOT_SATISFIABLE, ErrorKind::Invalid, error.message()).into_response();
    insert(answer.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{}", file.size));
    answer
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}
