//! Uploading and deleting files.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::body::{check_kind, content_encoding, content_type, expected_sum, length, pieces, refused, text};
use super::condition::{etag, of_upload};
use super::describe::FileBody;
use super::read::{NamePath, named};
use crate::file::{PutFile, check_file_name};
use crate::http::App;
use crate::http::answer::json;
use crate::http::body::Parameters;
use crate::http::error::ApiError;
use crate::http::middleware::WriteBegun;
use crate::http::wire::{ScopeParameters, scope};

/// `?tenant=&database=&auto_delete=`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UploadParameters {
    pub(super) tenant: Option<String>,
    pub(super) database: Option<String>,
    pub(super) auto_delete: Option<bool>,
}

pub(super) async fn put(
    State(app): State<App>,
    path: NamePath,
    Parameters(parameters): Parameters<UploadParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let name = named(path)?;
    check_file_name(&name)?;
    let content_type = content_type(text(&headers, &header::CONTENT_TYPE)?)?;
    check_kind(&app, &name, content_type.as_deref())?;
    let file = PutFile {
        content_type,
        content_encoding: content_encoding(&headers)?,
        length: length(&app, &headers)?,
        sha256: expected_sum(&headers)?,
        condition: of_upload(&headers)?,
        auto_delete: parameters.auto_delete,
        uploaded_at_ms: None,
    };
    let files = app.store.with_scope(&scope(parameters.tenant, parameters.database)).files();
    let body = pieces(body, app.store.file_settings().idle_timeout);
    let stored = files.put(&name, file, body).await.map_err(refused)?;
    let status = if stored.replaced { StatusCode::OK } else { StatusCode::CREATED };
    let tag = etag(&stored.file);
    let answer = json(status, &FileBody::from(stored.file))?;
    Ok(([(header::ETAG, tag)], answer).into_response())
}

pub(super) async fn remove(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    path: NamePath,
    Parameters(parameters): Parameters<ScopeParameters>,
) -> Result<Response, ApiError> {
    let (name, files) = (named(path)?, app.store.with_scope(&parameters.scope()).files());
    let deleted = name.clone();
    let version = begun.run(async move { files.delete(&name).await }).await?;
    json(StatusCode::OK, &json!({"deleted": deleted, "version": version}))
}
