//! Answers of get and query, one list per field: written straight to bytes, in the order of Chroma's server. Every
//! field's key is present; a field that was not asked for is null. Floats print as the shortest decimal that reads
//! back the same, with a point or an exponent, so that 1 and 1.0 stay apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::stream::{JsonPieces, append};
use crate::collection::answers::{Matches, Reading};
use crate::collection::request::{Found, Include};
use crate::error::Result;
use crate::record::Metadata;

/// A name in an `include` list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Field {
    Distances,
    Documents,
    Embeddings,
    Metadatas,
    Uris,
}

/// The fields that the core must return for these fields.
pub(super) fn include(fields: &[Field]) -> Include {
    Include {
        embedding: fields.contains(&Field::Embeddings),
        document: fields.contains(&Field::Documents),
        // The uri also decides how a record without metadata is shown.
        uri: fields.contains(&Field::Uris) || fields.contains(&Field::Metadatas),
        metadata: fields.contains(&Field::Metadatas),
    }
}

/// No metadata.
static EMPTY: Metadata = Metadata(BTreeMap::new());

/// A record's metadata as Chroma's server shows it. Metadata without any keys is null, unless the record has a uri:
/// that server keeps the uri among the metadata, so there it is empty.
pub(super) fn shown_metadata(found: &Found) -> Option<&Metadata> {
    let some = found.metadata.as_ref().filter(|metadata| !metadata.0.is_empty());
    some.or_else(|| found.uri.is_some().then_some(&EMPTY))
}

/// The version of the API that an answer is for. Both have the same lists, and end with different fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiVersion {
    V1,
    V2,
}

/// Answer to a get: one list per field, each read from the records when its turn comes.
pub(super) struct ChromaGetAnswer {
    reading: Reading,
    fields: Vec<Field>,
    version: ApiVersion,
    /// Place in [`GET_LISTS`].
    list: usize,
    /// Next record of it.
    next: usize,
    /// The token of a conditional read.
    read_token: Option<u64>,
}

/// The lists of an answer, with the field that asks for each; ids are there always.
static LISTS: [(&str, Option<Field>); 6] = [
    ("ids", None),
    ("embeddings", Some(Field::Embeddings)),
    ("documents", Some(Field::Documents)),
    ("uris", Some(Field::Uris)),
    ("metadatas", Some(Field::Metadatas)),
    ("distances", Some(Field::Distances)),
];

/// The lists of an answer to a get, which has no distances.
static GET_LISTS: &[(&str, Option<Field>)] = LISTS.split_at(5).0;

impl ChromaGetAnswer {
    pub(super) fn new(reading: Reading, fields: Vec<Field>, version: ApiVersion) -> ChromaGetAnswer {
        ChromaGetAnswer { reading, fields, version, list: 0, next: 0, read_token: None }
    }

    /// This answer with the token of a conditional read behind its fields.
    pub(super) fn with_read_token(self, token: u64) -> ChromaGetAnswer {
        ChromaGetAnswer { read_token: Some(token), ..self }
    }

    /// Appends the next record's entry in a list. Returns false if no record is left.
    fn element(&self, field: Option<Field>, into: &mut Vec<u8>) -> Result<bool> {
        let asked = field.map_or(Include::NONE, |field| include(&[field]));
        let Some(found) = self.reading.part(self.next, asked)? else { return Ok(false) };
        if self.next > 0 {
            into.push(b',');
        }
        write_field(&found, field, into)?;
        Ok(true)
    }

    fn end_list(&mut self) {
        (self.list, self.next) = (self.list + 1, 0);
    }
}

/// Begins the list at this place. Returns false if its field was not asked for: then the list is null.
fn begin_list(place: usize, (name, field): (&str, Option<Field>), asked: &[Field], into: &mut Vec<u8>) -> Result<bool> {
    into.push(if place == 0 { b'{' } else { b',' });
    append(into, &name)?;
    let there = field.is_none_or(|field| asked.contains(&field));
    into.extend_from_slice(if there { b":[" } else { b":null" });
    Ok(there)
}

/// Writes the end of the answer, after all lists. Returns false if nothing is left to write.
fn end_answer(asked: &[Field], version: ApiVersion, read_token: Option<u64>, into: &mut Vec<u8>) -> Result<bool> {
    into.extend_from_slice(match version {
        // What a URI leads to; only clients load it.
        ApiVersion::V1 => br#","data":null,"included":"#,
        ApiVersion::V2 => br#","include":"#,
    });
    append(into, &asked)?;
    if let Some(token) = read_token {
        into.extend_from_slice(br#","read_token":"#);
        append(into, &token)?;
    }
    into.push(b'}');
    Ok(false)
}

/// Estimated bytes of JSON around a value.
const AROUND_BYTES: usize = 128;

impl JsonPieces for ChromaGetAnswer {
    fn records(&self) -> usize {
        self.reading.len()
    }

    fn weight(&self) -> usize {
        let field = GET_LISTS.get(self.list).and_then(|(_, field)| *field);
        AROUND_BYTES + self.reading.weight(self.next, field.map_or(Include::NONE, |field| include(&[field])))
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        let Some((name, field)) = GET_LISTS.get(self.list) else {
            return end_answer(&self.fields, self.version, self.read_token, into);
        };
        if self.next == 0 && !begin_list(self.list, (name, *field), &self.fields, into)? {
            self.end_list();
            return Ok(true);
        }
        if self.element(*field, into)? {
            self.next += 1;
        } else {
            into.push(b']');
            self.end_list();
        }
        Ok(true)
    }
}

/// Writes a record's entry in the list of a field; without a field, its id.
pub(super) fn write_field(found: &Found, field: Option<Field>, into: &mut Vec<u8>) -> Result<()> {
    match field {
        Some(Field::Embeddings) => append(into, &found.embedding.as_deref().unwrap_or(&[])),
        Some(Field::Documents) => append(into, &found.document),
        Some(Field::Uris) => append(into, &found.uri),
        Some(Field::Metadatas) => append(into, &shown_metadata(found)),
        None | Some(Field::Distances) => append(into, &found.id),
    }
}

/// Answer to a query: for each query embedding one list per field, nearest first. Each record is read when its turn
/// comes.
pub(super) struct QueryBody {
    /// `None`: no query can find anything here.
    matches: Option<Matches>,
    queries: usize,
    fields: Vec<Field>,
    version: ApiVersion,
    /// Place in [`LISTS`], the query in that list, and the query's next record.
    list: usize,
    query: usize,
    next: usize,
}

impl QueryBody {
    pub(super) fn new(matches: Option<Matches>, queries: usize, fields: Vec<Field>, version: ApiVersion) -> QueryBody {
        QueryBody { matches, queries, fields, version, list: 0, query: 0, next: 0 }
    }

    /// Appends the next record's entry in a list. Returns false if no record is left.
    fn element(&self, field: Option<Field>, into: &mut Vec<u8>) -> Result<bool> {
        let Some(matches) = &self.matches else { return Ok(false) };
        let Some(distance) = matches.distance(self.query, self.next) else { return Ok(false) };
        if self.next > 0 {
            into.push(b',');
        }
        if field == Some(Field::Distances) {
            append(into, &distance)?;
            return Ok(true);
        }
        let asked = field.map_or(Include::NONE, |field| include(&[field]));
        if let Some(found) = matches.part(self.query, self.next, asked)? {
            write_field(&found, field, into)?;
        }
        Ok(true)
    }

    fn end_list(&mut self) {
        (self.list, self.query, self.next) = (self.list + 1, 0, 0);
    }
}

impl JsonPieces for QueryBody {
    fn records(&self) -> usize {
        self.matches.as_ref().map_or(0, |matches| matches.counts().sum())
    }

    fn weight(&self) -> usize {
        let field = LISTS.get(self.list).and_then(|(_, field)| *field);
        let asked = field.map_or(Include::NONE, |field| include(&[field]));
        AROUND_BYTES + self.matches.as_ref().map_or(0, |matches| matches.weight_of(self.query, self.next, asked))
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        let Some((name, field)) = LISTS.get(self.list) else {
            return end_answer(&self.fields, self.version, None, into);
        };
        if (self.query, self.next) == (0, 0) && !begin_list(self.list, (name, *field), &self.fields, into)? {
            self.end_list();
            return Ok(true);
        }
        if self.query >= self.queries {
            into.push(b']');
            self.end_list();
            return Ok(true);
        }
        if self.next == 0 {
            into.extend_from_slice(if self.query == 0 { b"[" } else { b",[" });
        }
        if self.element(*field, into)? {
            self.next += 1;
        } else {
            into.push(b']');
            (self.query, self.next) = (self.query + 1, 0);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::collection::request::Get;
    use crate::collection::state::snapshot::Snapshot;
    use crate::interrupt::Interrupt;
    use crate::record::Metric;

    /// The answer to a get of an empty collection.
    fn nothing(fields: &[Field]) -> String {
        let reading = Arc::new(Snapshot::empty(Metric::L2)).read(&Get::default(), &Interrupt::never()).unwrap();
        let (mut body, mut text) = (ChromaGetAnswer::new(reading, fields.to_vec(), ApiVersion::V2), Vec::new());
        while body.write(&mut text).unwrap() {}
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_field_not_asked_for_is_null_and_one_without_rows_is_empty() {
        let fields = [Field::Distances, Field::Documents, Field::Documents];
        let expected = r#"{"ids":[],"embeddings":null,"documents":[],"uris":null,"metadatas":null,"#;
        assert_eq!(nothing(&fields), format!(r#"{expected}"include":["distances","documents","documents"]}}"#));
        let (mut body, mut text) = (QueryBody::new(None, 2, fields.to_vec(), ApiVersion::V2), Vec::new());
        while body.write(&mut text).unwrap() {}
        let text = String::from_utf8(text).unwrap();
        let expected = r#"{"ids":[[],[]],"embeddings":null,"documents":[[],[]],"uris":null,"metadatas":null,"#;
        let rest = r#""distances":[[],[]],"include":["distances","documents","documents"]}"#;
        assert_eq!(text, format!("{expected}{rest}"));
        let (mut body, mut text) = (QueryBody::new(None, 0, Vec::new(), ApiVersion::V1), Vec::new());
        while body.write(&mut text).unwrap() {}
        assert!(text.starts_with(br#"{"ids":[],"embeddings":null,"#));
        assert!(text.ends_with(br#","distances":null,"data":null,"included":[]}"#));
    }

    #[test]
    fn floats_print_short_and_keep_a_point() {
        let metadata = Metadata::from([("f", 1.0), ("g", 1e20)]);
        let record = Found {
            id: "a".to_owned(),
            embedding: Some(vec![0.1, 1.0, 1e20]),
            metadata: Some(metadata),
            ..Found::default()
        };
        let text = |field| {
            let mut text = Vec::new();
            write_field(&record, field, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(text(Some(Field::Embeddings)), "[0.1,1.0,1e+20]");
        assert_eq!(text(Some(Field::Metadatas)), r#"{"f":1.0,"g":1e+20}"#);
        assert_eq!((text(None).as_str(), text(Some(Field::Documents)).as_str()), ("\"a\"", "null"));
    }
}
