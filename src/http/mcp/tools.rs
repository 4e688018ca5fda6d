//! The tools of an agent. What a model reads of them is in `tools.json`, as clients get it; here is what each needs and
//! does. Invariant: both have the same tools, in the same order.

use std::sync::LazyLock;

use futures::future::BoxFuture;
use rmcp::model::Tool;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::auth::KeyScope;
use super::super::body::{place_of, shortened};
use super::super::bounded::Tree;
use super::super::error::ApiError;
use super::super::meter::Meter;
use super::super::wire::{self, JsonObject};
use super::agent::Agent;
use super::{collections, forget, read, remember, search, update};
use crate::error::Error;
use crate::filter::Filter;

/// What a call answers.
pub(super) type ToolAnswer = Result<Value, ApiError>;

/// Does what a tool does, with the arguments of a call.
type ToolCall = fn(Agent, Value) -> BoxFuture<'static, ToolAnswer>;

/// A tool as it is called.
pub(super) struct AgentTool {
    /// Its name.
    pub(super) name: &'static str,
    /// What a key must allow.
    pub(super) needs: KeyScope,
    /// Does it.
    pub(super) run: ToolCall,
}

const TOOLS: [AgentTool; 6] = [
    AgentTool {
        name: "remember",
        needs: KeyScope::Write,
        run: |agent, arguments| Box::pin(remember::run(agent, arguments)),
    },
    AgentTool {
        name: "search",
        needs: KeyScope::Read,
        run: |agent, arguments| Box::pin(search::run(agent, arguments)),
    },
    AgentTool { name: "read", needs: KeyScope::Read, run: |agent, arguments| Box::pin(read::run(agent, arguments)) },
    AgentTool {
        name: "update",
        needs: KeyScope::Write,
        run: |agent, arguments| Box::pin(update::run(agent, arguments)),
    },
    AgentTool {
        name: "forget",
        needs: KeyScope::Write,
        run: |agent, arguments| Box::pin(forget::run(agent, arguments)),
    },
    AgentTool {
        name: "list_collections",
        needs: KeyScope::Read,
        run: |agent, arguments| Box::pin(collections::run(agent, arguments)),
    },
];

/// The tools as clients get them. A test reads the file, so that it is never found wrong here.
static DESCRIBED: LazyLock<Vec<Tool>> =
    LazyLock::new(|| serde_json::from_str(include_str!("tools.json")).unwrap_or_default());

/// The tool of that name.
pub(super) fn named(name: &str) -> Option<&'static AgentTool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The tool of that name, as clients get it.
pub(super) fn described(name: &str) -> Option<Tool> {
    DESCRIBED.iter().find(|tool| tool.name == name).cloned()
}

/// The tools that may be called by whom a key allows this much.
pub(super) fn allowed(permission: KeyScope) -> Vec<Tool> {
    TOOLS.iter().filter(|tool| tool.needs <= permission).filter_map(|tool| described(tool.name)).collect()
}

/// The arguments of a call, decoded within the limits of the store. One that is null counts as none: some models name
/// every argument.
///
/// # Errors
/// `Invalid` and `Limit` name the argument.
pub(super) fn decode<T: DeserializeOwned>(agent: &Agent, mut arguments: Value) -> Result<T, Error> {
    if let Some(named) = arguments.as_object_mut() {
        named.retain(|_, value| !value.is_null());
    }
    // The message was counted when it came, so only the limits count here.
    let mut meter = Meter::new(agent.store.limits().clone(), None);
    let decoded = meter.run(|| serde_path_to_error::deserialize::<_, JsonObject<T>>(&arguments));
    decoded.map(|JsonObject(decoded)| decoded).map_err(|error| {
        let place = match place_of(error.path()) {
            place if place == "body" => "arguments".to_owned(),
            place => place,
        };
        match meter.fault() {
            Some(fault) => fault.with_place(&place),
            None => Error::invalid(format!("{place}: {}", shortened(error.inner()))),
        }
    })
}

/// The filter of a call; one without conditions is none.
///
/// # Errors
/// `Invalid` names the condition.
pub(super) fn filter(conditions: Option<&Tree>) -> Result<Option<Filter>, Error> {
    let conditions =
        conditions.filter(|Tree(conditions)| conditions.as_object().is_none_or(|object| !object.is_empty()));
    // Over HTTP the field has another name.
    wire::filter(conditions, None).map_err(|error| match error.message().strip_prefix("where") {
        Some(rest) => Error::new(error.kind(), format!("filter{rest}")),
        None => error,
    })
}

/// Refuses a number that is not in `1..=most`.
pub(super) fn check_number(name: &str, got: usize, most: usize) -> Result<(), Error> {
    match (1..=most).contains(&got) {
        true => Ok(()),
        false => Err(Error::limit(format!("{name}: expected 1 to {most}, got {got}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_is_described_and_each_description_is_of_a_tool() {
        let described: Vec<&str> = DESCRIBED.iter().map(|tool| tool.name.as_ref()).collect();
        assert_eq!(described, TOOLS.map(|tool| tool.name));
        for (tool, shown) in TOOLS.iter().zip(DESCRIBED.iter()) {
            let reads = shown.annotations.as_ref().and_then(|hints| hints.read_only_hint);
            assert_eq!(reads, Some(tool.needs == KeyScope::Read), "{}", tool.name);
            assert!(shown.description.as_ref().is_some_and(|text| text.len() > 100), "{}", tool.name);
        }
    }

    #[test]
    fn a_key_that_reads_is_shown_the_tools_that_read() {
        let names = |permission| allowed(permission).into_iter().map(|tool| tool.name.into_owned()).collect::<Vec<_>>();
        assert_eq!(names(KeyScope::Read), ["search", "read", "list_collections"]);
        assert_eq!(names(KeyScope::Write).len(), TOOLS.len());
    }
}
