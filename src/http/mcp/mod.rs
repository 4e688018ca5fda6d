//! The Model Context Protocol: a store as tools and resources for agents, over HTTP (`POST /mcp`) and over standard
//! input and output ([`McpServer`]). The SDK speaks the protocol; this room says what there is to call.
//! Invariants: a message is answered from the bucket alone and no session is kept, so any server on the bucket may
//! answer the next one; an agent does no more than its key allows, and only in its database; no answer is larger than
//! `page.rs` allows.

mod agent;
mod collections;
mod forget;
mod page;
mod read;
mod remember;
mod resources;
mod search;
mod tools;
mod update;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use rmcp::ServiceExt;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::io::{AsyncRead, AsyncWrite};

use super::App;
use super::auth::{KeyScope, Requester};
use super::body::{BodyKind, Parameters, keep, read_body, rooms};
use super::error::ApiError;
use super::middleware::WriteBegun;
use super::wire::ScopeParameters;
use crate::error::{Error, Result};
use crate::store::Store;
use agent::Agent;

/// The collection that a call means if it names none.
const COLLECTION: &str = "memory";

/// The collection of a call that names none.
fn collection() -> String {
    COLLECTION.to_owned()
}

/// A store as a server of the Model Context Protocol, for one client at the other end of a pair of streams.
#[derive(Debug, Clone)]
pub struct McpServer {
    store: Store,
    read_only: bool,
}

impl McpServer {
    /// Serves the collections of the database that `store` names.
    pub fn new(store: Store) -> McpServer {
        McpServer { store, read_only: false }
    }

    /// Whether only the tools that change nothing are there.
    pub fn read_only(mut self, read_only: bool) -> McpServer {
        self.read_only = read_only;
        self
    }

    /// Answers the messages of `input`, one a line, on `output`, until `input` ends. Writes that were begun by then
    /// are finished and answered.
    ///
    /// # Errors
    /// `Invalid` if the other end does not speak the protocol.
    pub async fn serve<I, O>(self, input: I, output: O) -> Result<()>
    where
        I: AsyncRead + Send + Unpin + 'static,
        O: AsyncWrite + Send + Unpin + 'static,
    {
        let permission = if self.read_only { KeyScope::Read } else { KeyScope::Write };
        let agent = Agent::new(self.store, permission, WriteBegun::default());
        let running = agent.serve((input, output)).await.map_err(|e| {
            Error::invalid("standard input: expected messages of the Model Context Protocol, one a line").with_source(e)
        })?;
        let ended = running.waiting().await;
        ended.map(drop).map_err(|e| Error::internal("answering the client ended early").with_source(e))
    }
}

/// `POST /mcp`: one message, and its answer.
pub(super) async fn answer(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Extension(requester): Extension<Requester>,
    Parameters(parameters): Parameters<ScopeParameters>,
    request: Request,
) -> Result<Response, ApiError> {
    // The route needs a key that reads, so a requester without any does not come here.
    let permission = requester.scope().unwrap_or(KeyScope::Read);
    let agent = Agent::new(app.store.with_scope(&parameters.scope()), permission, begun);
    let (rooms, headers) = (rooms(&request), for_the_sdk(request.headers()));
    let (message, mut room) = read_body(request, &app, BodyKind::Message).await?;
    room.grow(decoded_bytes(&message)).await?;
    keep(&rooms, Some(room), 0);
    let mut passed_on = Request::post("/mcp").body(Body::from(message));
    if let Ok(request) = &mut passed_on {
        *request.headers_mut() = headers;
    }
    let passed_on = passed_on.map_err(|e| Error::internal("making a request failed").with_source(e))?;
    // Host, origin and length were judged before (`origin_guard`, `body`).
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(usize::MAX);
    let service = StreamableHttpService::new(move || Ok(agent.clone()), Arc::<NeverSessionManager>::default(), config);
    Ok(service.handle(passed_on).await.map(Body::new).into_response())
}

/// The headers of a request that the SDK reads. No key is among them.
fn for_the_sdk(headers: &HeaderMap) -> HeaderMap {
    let known = [header::ACCEPT, header::CONTENT_TYPE, header::HOST];
    let wanted = |name: &HeaderName| known.contains(name) || name.as_str().starts_with("mcp-");
    headers.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Bytes that a message may take while the SDK decodes it, beside its own: as a tree of values whose kind it looks for,
/// and as the tree that it gives to the tool.
fn decoded_bytes(message: &[u8]) -> u64 {
    const VALUE_BYTES: u64 = 128;
    const OBJECT_BYTES: u64 = 1 << 10;
    const FREE_BYTES: usize = 4 << 10;
    if message.len() <= FREE_BYTES {
        return 0;
    }
    let (mut values, mut objects) = (0, 0);
    for byte in message {
        match byte {
            b'{' => objects += 1,
            b'[' | b',' => values += 1,
            _ => {}
        }
    }
    3 * message.len() as u64 + values * VALUE_BYTES + objects * OBJECT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_reaches_the_sdk() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-api-key", "x-chroma-token", "cookie", "accept", "mcp-protocol-version"] {
            headers.insert(HeaderName::from_static(name), "secret".parse().unwrap());
        }
        let passed = for_the_sdk(&headers);
        let names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        assert!(names.len() == 2 && names.contains(&"accept") && names.contains(&"mcp-protocol-version"), "{names:?}");
    }

    #[test]
    fn memory_for_a_message_grows_with_what_it_is_made_of() {
        let text = format!("{{\"text\": \"{}\"}}", "a".repeat(100_000));
        let objects = format!("[{}0]", "{},".repeat(30_000));
        assert_eq!(decoded_bytes(b"{}"), 0);
        assert!(decoded_bytes(text.as_bytes()) < 4 * text.len() as u64);
        assert!(decoded_bytes(objects.as_bytes()) > 30_000_000);
    }
}
