//! The bodies of conditional reads and commits. An operation of a commit has the body of its own route as its payload.
//! Invariant: no payload is held before it is decoded as what it is, unless it comes before the operation's name; then
//! it is a tree, which is metered and bounded.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::super::super::body::bodies;
use super::super::super::bounded::{Ids, List, Operations, Tree};
use super::super::answer::Field;
use super::super::columns::{AddBody, ChromaUpdateBody, RecordColumns, UpsertBody};
use super::super::reads::get_fields;
use super::super::records::ChromaDeleteBody;
use crate::collection::request::Write;

/// `POST …/conditional/get`.
#[derive(Deserialize)]
#[serde(expecting = "struct ConditionalGetRequestPayload")]
pub(in crate::http::chroma) struct ConditionalGetBody {
    pub(super) ids: Option<List<String, Ids>>,
    pub(super) r#where: Option<Tree>,
    pub(super) where_document: Option<Tree>,
    pub(super) limit: Option<u32>,
    pub(super) offset: Option<u32>,
    #[serde(default = "get_fields")]
    pub(super) include: Vec<Field>,
    pub(super) read_token: Option<u64>,
}

/// `POST …/conditional/commit`.
#[derive(Deserialize)]
#[serde(expecting = "struct ConditionalCommitPayload")]
pub(in crate::http::chroma) struct CommitBody {
    pub(super) read_token: Option<u64>,
    pub(super) read_ids: Option<List<String, Ids>>,
    pub(super) operations: List<CommitOperation, Operations>,
}

bodies! { Query: ConditionalGetBody; Records: CommitBody; }

/// One operation of a commit.
pub(in crate::http::chroma) enum CommitOperation {
    /// Columns of records, and what is written of them.
    Columns(RecordColumns, fn(RecordColumns) -> Write),
    Delete(ChromaDeleteBody),
}

/// The names of operations.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OperationName {
    Add,
    Update,
    Upsert,
    Delete,
}

impl OperationName {
    /// Decodes the payload of an operation of this name.
    fn payload<'de, D: Deserializer<'de>>(self, payload: D) -> Result<CommitOperation, D::Error> {
        Ok(match self {
            OperationName::Add => CommitOperation::Columns(AddBody::deserialize(payload)?.into(), |columns| {
                Write::Add(columns.into_records())
            }),
            OperationName::Update => {
                CommitOperation::Columns(ChromaUpdateBody::deserialize(payload)?.into(), |columns| {
                    Write::Update(columns.into_updates())
                })
            }
            OperationName::Upsert => CommitOperation::Columns(UpsertBody::deserialize(payload)?.into(), |columns| {
                Write::Merge(columns.into_updates())
            }),
            OperationName::Delete => CommitOperation::Delete(ChromaDeleteBody::deserialize(payload)?),
        })
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for OperationName {
    type Value = CommitOperation;

    fn deserialize<D: Deserializer<'de>>(self, payload: D) -> Result<CommitOperation, D::Error> {
        self.payload(payload)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum OperationKey {
    Operation,
    Payload,
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for CommitOperation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CommitOperation, D::Error> {
        deserializer.deserialize_map(OperationVisitor)
    }
}

struct OperationVisitor;

impl<'de> Visitor<'de> for OperationVisitor {
    type Value = CommitOperation;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an operation with its payload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<CommitOperation, A::Error> {
        let (mut name, mut early, mut decoded) = (None::<OperationName>, None::<Tree>, None);
        while let Some(key) = entries.next_key::<OperationKey>()? {
            match (key, name) {
                (OperationKey::Operation, Some(_)) => return Err(A::Error::duplicate_field("operation")),
                (OperationKey::Operation, None) => name = Some(entries.next_value()?),
                (OperationKey::Payload, _) if early.is_some() || decoded.is_some() => {
                    return Err(A::Error::duplicate_field("payload"));
                }
                (OperationKey::Payload, Some(name)) => decoded = Some(entries.next_value_seed(name)?),
                (OperationKey::Payload, None) => early = Some(entries.next_value()?),
                (OperationKey::Unknown, _) => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        match (name, early, decoded) {
            (None, ..) => Err(A::Error::missing_field("operation")),
            (Some(_), _, Some(decoded)) => Ok(decoded),
            (Some(name), Some(Tree(early)), None) => name.payload(early).map_err(A::Error::custom),
            (Some(_), None, None) => Err(A::Error::missing_field("payload")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(json: &str) -> Result<(usize, &'static str), String> {
        let operation: CommitOperation = serde_json::from_str(json).map_err(|e| e.to_string())?;
        Ok(match operation {
            CommitOperation::Delete(body) => (body.ids.map_or(0, |ids| ids.0.len()), "delete"),
            CommitOperation::Columns(columns, make) => match make(columns) {
                Write::Add(records) => (records.len(), "add"),
                Write::Update(updates) => (updates.len(), "update"),
                Write::Merge(updates) => (updates.len(), "upsert"),
                _ => (0, "other"),
            },
        })
    }

    #[test]
    fn an_operation_is_the_same_whichever_of_its_fields_comes_first() {
        for (name, payload, count) in [
            ("add", r#"{"ids":["a","b"],"embeddings":[[1,2],[0.5,3]],"documents":["d",null]}"#, 2),
            ("update", r#"{"ids":["a"],"metadatas":[{"k":null,"l":[1,2]}]}"#, 1),
            ("upsert", r#"{"ids":["a"],"embeddings":["AACAPwAAAAA="]}"#, 1),
            ("delete", r#"{"ids":["a","b","c"],"where":null}"#, 3),
        ] {
            let first = format!(r#"{{"operation":"{name}","more":[],"payload":{payload}}}"#);
            let last = format!(r#"{{"payload":{payload},"operation":"{name}"}}"#);
            assert_eq!((decoded(&first), decoded(&last)), (Ok((count, name)), Ok((count, name))));
        }
    }

    #[test]
    fn an_operation_of_another_shape_is_refused() {
        for (json, words) in [
            (r#"{"payload":{"ids":["a"]}}"#, "missing field `operation`"),
            (r#"{"operation":"add"}"#, "missing field `payload`"),
            (r#"{"operation":"merge","payload":{}}"#, "unknown variant `merge`, expected one of `add`, `update`,"),
            (r#"{"operation":"add","payload":{}}"#, "missing field `ids`"),
            (r#"{"payload":{},"operation":"add"}"#, "missing field `ids`"),
            (r#"{"operation":"add","operation":"add","payload":{}}"#, "duplicate field `operation`"),
            (r#"{"payload":{},"payload":{},"operation":"add"}"#, "duplicate field `payload`"),
            (r#"{"operation":"delete","payload":[]}"#, "invalid length 0"),
            (r#"["add",{}]"#, "invalid type: sequence, expected an operation with its payload"),
        ] {
            let refused = decoded(json).unwrap_err();
            assert!(refused.contains(words), "{json}: {refused}");
        }
    }
}
