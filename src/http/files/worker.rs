//! Worker storage: results of jobs by their ids. `POST /upload` as a form or as a raw body, `GET /download/{job_id}`,
//! `DELETE /delete/{job_id}`, `GET /list`. A job's result is a file whose name is the job's id.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::Response;
use futures::StreamExt;
use multer::{Field, Multipart};
use serde::Serialize;
use serde_json::json;

use super::body::{check_kind, content_encoding, content_type, expected_sum, length, pieces, refused, text};
use super::describe::FileBody;
use super::form::{Fed, Unparsed};
use super::read::{self, ListParameters, NamePath, ReadFile, named};
use super::write::UploadParameters;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{FileInfo, PutFile, Received, check_file_name};
use crate::http::App;
use crate::http::answer::json;
use crate::http::body::Parameters;
use crate::http::client::{Client, prefix};
use crate::http::error::ApiError;
use crate::http::middleware::WriteBegun;
use crate::http::wire::{ScopeParameters, scope};
use crate::store::files::Files;

const X_JOB_ID: HeaderName = HeaderName::from_static("x-job-id");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Bytes of a form's field that is no file.
const FIELD_BYTES: usize = 4096;
/// Most fields of a form.
const FIELDS: usize = 32;

/// The answer to an upload.
#[derive(Serialize)]
struct UploadBody {
    success: bool,
    job_id: String,
    download_url: String,
    size: u64,
    sha256: String,
}

/// An upload that was read, and the id of its job.
struct WorkerUpload {
    job_id: String,
    received: Received,
    file: PutFile,
}

fn check_job_id(id: &str) -> Result<()> {
    match id.contains('/') {
        true => Err(Error::invalid(format!("job_id: expected no slash, got {id:?}"))),
        false => check_file_name(id).map_err(|e| Error::invalid(format!("job_id: {}", e.message()))),
    }
}

pub(super) async fn upload(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    Parameters(parameters): Parameters<UploadParameters>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let UploadParameters { tenant, database, auto_delete } = parameters;
    let files = app.store.with_scope(&scope(tenant, database)).files();
    let id = text(&headers, &X_JOB_ID)?.map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned);
    id.as_deref().map_or(Ok(()), check_job_id)?;
    let length = length(&app, &headers)?;
    let kind = text(&headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let content_encoding = content_encoding(&headers)?;
    let upload = match multer::parse_boundary(kind) {
        Ok(_) if content_encoding.is_some() => {
            let message = "content-encoding: expected a form without a coding; send a coded file as a raw body";
            return Err(ApiError::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorKind::Invalid, message));
        }
        Ok(boundary) => form(&app, &files, id, (boundary, body)).await?,
        Err(_) => {
            let id =
                id.ok_or_else(|| Error::invalid("expected the job's id in X-Job-Id, or a form with job_id and file"))?;
            let content_type = content_type(Some(kind))?;
            check_kind(&app, &id, content_type.as_deref())?;
            let file = PutFile { content_type, content_encoding, length, ..PutFile::default() };
            let body = pieces(body, app.store.file_settings().idle_timeout);
            WorkerUpload { job_id: id, received: files.receive(&file, body).await.map_err(refused)?, file }
        }
    };
    if upload.received.size() == 0 {
        return Err(Error::invalid("expected a file, got no bytes").into());
    }
    let file = PutFile { sha256: expected_sum(&headers)?, auto_delete, ..upload.file };
    let stored = files.settle(&upload.job_id, &file, upload.received).await.map_err(refused)?.file;
    let download_url = download_url(&app, client, &uri, &headers, &upload.job_id);
    let FileInfo { name: job_id, size, sha256, .. } = stored;
    json(StatusCode::CREATED, &UploadBody { success: true, job_id, download_url, size, sha256 })
}

fn bad_form(cause: multer::Error) -> Error {
    if let multer::Error::StreamReadFailed(inner) = &cause
        && let Some(error) = inner.downcast_ref::<Error>()
    {
        return error.clone();
    }
    Error::invalid(format!("form: {cause}")).with_source(cause)
}

/// Reads a form; its fields may come in any order.
async fn form(
    app: &App,
    files: &Files,
    id: Option<String>,
    (boundary, body): (String, Body),
) -> Result<WorkerUpload, ApiError> {
    let idle = app.store.file_settings().idle_timeout;
    let unparsed = Unparsed::default();
    let mut form = Multipart::new(Fed::new(pieces(body, idle), unparsed.clone()), boundary);
    let (mut id, mut received) = (id, None);
    for _ in 0..FIELDS {
        let Some(field) = form.next_field().await.map_err(bad_form)? else { break };
        unparsed.clear();
        match field.name() {
            Some("job_id") => {
                let said = text_of(field, &unparsed).await?.trim().to_owned();
                check_job_id(&said)?;
                if id.as_ref().is_some_and(|id| *id != said) {
                    return Err(Error::invalid("job_id: the form and X-Job-Id name different jobs").into());
                }
                id = Some(said);
            }
            Some("file") if received.is_none() => received = Some(file_of(app, files, field, &unparsed).await?),
            Some("file") => return Err(Error::invalid("file: expected one file, got two").into()),
            _ => drop(text_of(field, &unparsed).await?),
        }
    }
    let job_id = id.ok_or_else(|| Error::invalid("job_id: expected the job's id, got none"))?;
    let (received, file) = received.ok_or_else(|| Error::invalid("file: expected a file, got none"))?;
    Ok(WorkerUpload { job_id, received, file })
}

async fn file_of(
    app: &App,
    files: &Files,
    field: Field<'_>,
    unparsed: &Unparsed,
) -> Result<(Received, PutFile), ApiError> {
    let name = field.file_name().unwrap_or_default().to_owned();
    let content_type = content_type(field.content_type().map(AsRef::as_ref))?;
    check_kind(app, &name, content_type.as_deref())?;
    let file = PutFile { content_type, ..PutFile::default() };
    let body = field.map(|piece| {
        unparsed.clear();
        piece.map_err(bad_form)
    });
    let received = files.receive(&file, body).await.map_err(refused)?;
    Ok((received, file))
}

/// The text of a small field.
async fn text_of(mut field: Field<'_>, unparsed: &Unparsed) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(bad_form)? {
        unparsed.clear();
        if bytes.len() + piece.len() > FIELD_BYTES {
            return Err(Error::invalid(format!(
                "form: expected at most {FIELD_BYTES} bytes in a field that is not a file"
            )));
        }
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid("form: expected UTF-8 in a field that is not a file"))
}

/// The URL of the result, as the client sees this server.
fn download_url(app: &App, client: Client, uri: &Uri, headers: &HeaderMap, job_id: &str) -> String {
    let last = |name: &HeaderName| {
        let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        value.rsplit(',').next().map(str::trim).map(str::to_owned)
    };
    let forwarded = last(&X_FORWARDED_HOST).filter(|_| app.settings.trust_proxy);
    let host = forwarded.or_else(|| uri.authority().map(ToString::to_string)).or_else(|| last(&header::HOST));
    let kept = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
    let path: String =
        job_id.bytes().map(|b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    let host = host.filter(|host| host.parse::<axum::http::uri::Authority>().is_ok());
    let prefix = prefix(headers, app.settings.trust_proxy);
    match host {
        Some(host) => format!("{}://{host}{prefix}/download/{path}", client.scheme),
        None => format!("{prefix}/download/{path}"),
    }
}

/// The job id in a path.
fn job(path: NamePath) -> Result<String, ApiError> {
    let id = named(path)?;
    check_job_id(&id)?;
    Ok(id)
}

pub(super) async fn download(
    State(app): State<App>,
    path: NamePath,
    Parameters(parameters): Parameters<ReadFile>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = job(path)?;
    // The setting counts as it is now, not as it was at the upload. An upload that said to stay stays.
    let leaves = |file: &FileInfo| app.settings.auto_delete && file.auto_delete != Some(false);
    read::download(&app, &id, parameters, &headers, leaves).await
}

pub(super) async fn head(
    State(app): State<App>,
    path: NamePath,
    Parameters(parameters): Parameters<ReadFile>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = job(path)?;
    read::describe(&app, &id, parameters, &headers).await
}

pub(super) async fn remove(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    path: NamePath,
    Parameters(parameters): Parameters<ScopeParameters>,
) -> Result<Response, ApiError> {
    let (id, files) = (job(path)?, app.store.with_scope(&parameters.scope()).files());
    let job_id = id.clone();
    begun.run(async move { files.delete(&id).await }).await?;
    json(StatusCode::OK, &json!({"success": true, "job_id": job_id}))
}

/// The jobs that have a result, that is, files whose names have no slash.
pub(super) async fn list(
    State(app): State<App>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Response, ApiError> {
    let (scope, consistency, list) = parameters.split()?;
    let page = app.store.with_scope(&scope).files().list(&list, consistency).await?;
    let jobs = page.files.into_iter().filter(|file| !file.name.contains('/'));
    let jobs: Vec<JobBody> = jobs.map(|file| JobBody { job_id: file.name.clone(), file: file.into() }).collect();
    json(StatusCode::OK, &json!({"success": true, "count": jobs.len(), "files": jobs, "next": page.next}))
}

/// A job's result in a list.
#[derive(Serialize)]
struct JobBody {
    job_id: String,
    #[serde(flatten)]
    file: FileBody,
}
