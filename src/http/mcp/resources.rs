//! Collections as resources: a client lists them, and reads what is told of one.

use rmcp::model::{ListResourcesResult, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::Value;

use super::agent::Agent;
use super::collections::{description, details};
use crate::collection::request::{CollectionInfo, Consistency};
use crate::error::{Error, Result};

/// What stands before the name in the address of a collection.
const PREFIX: &str = "drumlin://collections/";
/// Resources of an answer at most.
const MOST: usize = 100;
const JSON: &str = "application/json";

/// The collections behind the cursor, by name.
pub(super) async fn list(agent: &Agent, cursor: Option<String>) -> Result<ListResourcesResult> {
    let mut all = agent.store.collections(Consistency::Strong).await?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    // The cursor is the last name of the answer before: collections may come and go in between.
    let mut behind = all.into_iter().filter(|info| cursor.as_ref().is_none_or(|cursor| info.name > *cursor)).peekable();
    let shown: Vec<CollectionInfo> = behind.by_ref().take(MOST).collect();
    let last = shown.last().map(|info| info.name.clone()).filter(|_| behind.peek().is_some());
    let resources = shown.iter().map(resource).collect();
    Ok(ListResourcesResult { next_cursor: last, ..ListResourcesResult::with_all_items(resources) })
}

/// How the address of a collection is made of its name.
pub(super) fn template() -> ResourceTemplate {
    ResourceTemplate::new(format!("{PREFIX}{{name}}"), "collection")
        .with_title("A collection of texts")
        .with_description("What the collection is for, how many texts it has, and its metadata keys.")
        .with_mime_type(JSON)
}

/// What is told of the collection at an address.
pub(super) async fn read(agent: &Agent, uri: &str) -> Result<ReadResourceResult> {
    let name = uri.strip_prefix(PREFIX).and_then(decoded).ok_or_else(|| {
        let uri: String = uri.chars().take(200).collect();
        Error::not_found(format!("expected a resource such as {PREFIX}memory, got {uri:?}"))
    })?;
    let told = Value::Object(details(&agent.collection_to_read(&name).await?).await?);
    let contents = ResourceContents::text(told.to_string(), uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![contents]))
}

fn resource(info: &CollectionInfo) -> Resource {
    let described = description(info.metadata.as_ref());
    let described = described.unwrap_or_else(|| format!("The texts of the collection {}.", info.name));
    Resource::new(format!("{PREFIX}{}", encoded(&info.name)), info.name.clone())
        .with_description(described)
        .with_mime_type(JSON)
}

/// A name as it stands in an address: bytes that have a meaning there, or none, as `%` and two digits.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The name in an address; `None` if it is none.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high << 4 | low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_from_its_address_whatever_it_holds() {
        for name in ["memory", "a.b-c_d~e", "zwei Wörter", "a/b?c#d%", "記憶"] {
            let encoded = encoded(name);
            assert!(encoded.is_ascii() && !encoded.contains([' ', '/', '?', '#']), "{encoded}");
            assert_eq!(decoded(&encoded).as_deref(), Some(name));
        }
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }
}
