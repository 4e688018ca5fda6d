//! One agent: whoever sent a message over HTTP, or sits at the other end of standard input. It answers what the
//! protocol asks: who this is, which tools and resources there are, and what they say.
//! Invariant: a tool that fails is an answer that tells a model what to do differently; only what names no tool or
//! resource is an error of the protocol.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{NotificationContext, RequestContext, RoleServer};
use serde_json::Value;

use super::super::auth::KeyScope;
use super::super::error::ApiError;
use super::super::middleware::WriteBegun;
use super::resources;
use super::tools::{self, AgentTool};
use crate::collection::handle::Collection;
use crate::collection::request::Consistency;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// What a model is told about this server.
const INSTRUCTIONS: &str = concat!(
    "A lasting memory that several agents share. Search it before you answer from memory or ask the user for what ",
    "they may have said before; remember what will be of use later. Everything is in collections; without a name, ",
    "\"memory\" is meant.",
);
/// Names of collections that an answer lists at most.
const NAMES: usize = 20;

/// An agent and what it may do.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    /// Names collections in the agent's database.
    pub(super) store: Store,
    permission: KeyScope,
    begun: WriteBegun,
}

impl Agent {
    pub(super) fn new(store: Store, permission: KeyScope, begun: WriteBegun) -> Agent {
        Agent { store, permission, begun }
    }

    /// Runs a write to its end, whether or not anybody still waits for it.
    pub(super) async fn write<T, W>(&self, write: W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        self.begun.run(write).await
    }

    /// The collection of that name, with everything that any agent wrote before.
    pub(super) async fn collection_to_read(&self, name: &str) -> Result<Collection> {
        self.check_name(name).await?;
        match self.store.collection_to_read(name, Consistency::Strong).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.missing(name).await.unwrap_or(error)),
            found => found,
        }
    }

    /// The collection of that name, to change what is in it.
    pub(super) async fn collection_to_write(&self, name: &str) -> Result<Collection> {
        self.check_name(name).await?;
        match self.store.collection(name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.missing(name).await.unwrap_or(error)),
            found => found,
        }
    }

    /// Refuses the names of Drumlin's own collections, which hold records of files and models: to an agent they do not
    /// exist.
    pub(super) async fn check_name(&self, name: &str) -> Result<()> {
        match name.starts_with('.') {
            true => Err(self.missing(name).await?),
            false => Ok(()),
        }
    }

    /// The refusal of a name that no collection has; says which there are.
    async fn missing(&self, name: &str) -> Result<Error> {
        let all = self.store.collections(Consistency::Local).await?;
        let names: Vec<String> = all.iter().take(NAMES).map(|info| format!("{:?}", info.name)).collect();
        let more = if all.len() > NAMES { " and more (list_collections)" } else { "" };
        let there_are = match names.is_empty() {
            true => "there is none yet".to_owned(),
            false => format!("there are {}{more}", names.join(", ")),
        };
        Ok(Error::not_found(format!("there is no collection {name:?}: {there_are}; remember makes one")))
    }

    async fn call(&self, tool: &AgentTool, arguments: Value) -> CallToolResult {
        if self.permission < tool.needs {
            return refused(&format!("{} is not allowed: this agent may only read", tool.name));
        }
        match AssertUnwindSafe((tool.run)(self.clone(), arguments)).catch_unwind().await {
            Ok(Ok(answer)) => CallToolResult::structured(answer),
            Ok(Err(error)) => refused(&advice(&error.into_error())),
            Err(_) => {
                tracing::error!(tool = tool.name, "a tool panicked");
                refused("a bug in drumlin stopped this tool; the server's log has the cause")
            }
        }
    }
}

/// The answer of a tool that failed.
fn refused(why: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(why)])
}

/// An error in words that help a model to go on.
fn advice(error: &Error) -> String {
    let message = error.message();
    match error.kind() {
        ErrorKind::OutcomeUnknown => {
            format!("{message}. Call the tool again with the same arguments: that does no harm")
        }
        ErrorKind::Unavailable | ErrorKind::NoRoom | ErrorKind::Conflict => {
            format!("{message}. Call the tool again in a moment")
        }
        _ => message.to_owned(),
    }
}

/// An error of the protocol.
pub(super) fn protocol_error(error: impl Into<ApiError>) -> ErrorData {
    let error = error.into().into_error();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Gone => ErrorData::resource_not_found(error.message().to_owned(), None),
        ErrorKind::Invalid | ErrorKind::Limit => ErrorData::invalid_params(error.message().to_owned(), None),
        _ => ErrorData::internal_error(error.message().to_owned(), None),
    }
}

impl ServerHandler for Agent {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        let this = Implementation::new("drumlin", env!("CARGO_PKG_VERSION")).with_title("Drumlin");
        ServerConfig::new(capabilities).with_server_info(this).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::allowed(self.permission)))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::described(name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::named(&request.name) else {
            let name: String = request.name.chars().take(100).collect();
            return Err(ErrorData::invalid_params(format!("there is no tool {name:?}"), None));
        };
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        tokio::select! {
            answer = self.call(tool, arguments) => Ok(answer.into()),
            // Nobody waits for the answer any more. A write that was begun goes on.
            () = context.ct.cancelled() => Ok(refused("the call was cancelled").into()),
        }
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list(self, page.and_then(|page| page.cursor)).await.map_err(protocol_error)
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(vec![resources::template()]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(self, &request.uri).await.map(Into::into).map_err(protocol_error)
    }

    async fn on_initialized(&self, _: NotificationContext<RoleServer>) {}
}
