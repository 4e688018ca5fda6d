//! Answers of get and query, one list per field: written straight to bytes, in the order Chroma's server
//! has. Every field's key is there; a field that was not asked for is null. Floats print as the shortest
//! decimal that reads back the same, with a point or an exponent, so that 1 and 1.0 stay apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::stream::{Pieces, append};
use crate::collection::get::Reading;
use crate::collection::request::{Found, Hit, Include};
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

/// What the core is to return for these fields.
pub(super) fn include(fields: &[Field]) -> Include {
    Include {
        embedding: fields.contains(&Field::Embeddings),
        document: fields.contains(&Field::Documents),
        // Also to tell how to show that there is no metadata.
        uri: fields.contains(&Field::Uris) || fields.contains(&Field::Metadatas),
        metadata: fields.contains(&Field::Metadatas),
    }
}

/// No metadata.
static EMPTY: Metadata = Metadata(BTreeMap::new());

/// A record's metadata as Chroma's server shows it: one without any keys is null, unless it has a uri,
/// which that server keeps among the metadata: then it is empty.
pub(super) fn shown_metadata(found: &Found) -> Option<&Metadata> {
    let some = found.metadata.as_ref().filter(|metadata| !metadata.0.is_empty());
    some.or_else(|| found.uri.is_some().then_some(&EMPTY))
}

/// Answer to a get: one list per field, each read from the records when its turn comes.
pub(super) struct GetBody {
    reading: Reading,
    fields: Vec<Field>,
    /// Place in [`LISTS`].
    list: usize,
    /// Next record of it.
    next: usize,
}

/// The lists of an answer to a get, with the field that asks for each; ids are there always.
const LISTS: [(&str, Option<Field>); 5] = [
    ("ids", None),
    ("embeddings", Some(Field::Embeddings)),
    ("documents", Some(Field::Documents)),
    ("uris", Some(Field::Uris)),
    ("metadatas", Some(Field::Metadatas)),
];

impl GetBody {
    pub(super) fn new(reading: Reading, fields: Vec<Field>) -> GetBody {
        GetBody { reading, fields, list: 0, next: 0 }
    }

    /// Appends what a list holds of the next record. False: no record is left.
    fn element(&self, field: Option<Field>, into: &mut Vec<u8>) -> Result<bool> {
        let asked = field.map_or(Include::NONE, |field| include(&[field]));
        let Some(found) = self.reading.part(self.next, asked)? else { return Ok(false) };
        if self.next > 0 {
            into.push(b',');
        }
        match field {
            Some(Field::Embeddings) => append(into, &found.embedding.as_deref().unwrap_or(&[]))?,
            Some(Field::Documents) => append(into, &found.document)?,
            Some(Field::Uris) => append(into, &found.uri)?,
            Some(Field::Metadatas) => append(into, &shown_metadata(&found))?,
            None | Some(Field::Distances) => append(into, &found.id)?,
        }
        Ok(true)
    }

    fn end_list(&mut self) {
        (self.list, self.next) = (self.list + 1, 0);
    }
}

impl Pieces for GetBody {
    fn records(&self) -> usize {
        self.reading.len()
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        let Some((name, field)) = LISTS.get(self.list) else {
            into.extend_from_slice(br#","include":"#);
            append(into, &self.fields)?;
            into.push(b'}');
            return Ok(false);
        };
        if self.next == 0 {
            into.push(if self.list == 0 { b'{' } else { b',' });
            append(into, name)?;
            if field.is_some_and(|field| !self.fields.contains(&field)) {
                into.extend_from_slice(b":null");
                self.end_list();
                return Ok(true);
            }
            into.extend_from_slice(b":[");
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

/// For each query embedding one list per field, nearest first.
#[derive(Debug, Serialize)]
pub(super) struct QueryBody<'a> {
    ids: Vec<Vec<&'a str>>,
    embeddings: Option<Vec<Vec<&'a [f32]>>>,
    documents: Option<Vec<Vec<Option<&'a str>>>>,
    uris: Option<Vec<Vec<Option<&'a str>>>>,
    metadatas: Option<Vec<Vec<Option<&'a Metadata>>>>,
    distances: Option<Vec<Vec<f32>>>,
    include: &'a [Field],
}

impl<'a> QueryBody<'a> {
    pub(super) fn new(results: &'a [Vec<Hit>], fields: &'a [Field]) -> QueryBody<'a> {
        let asked = include(fields);
        let distances = fields.contains(&Field::Distances);
        QueryBody {
            ids: results.iter().map(|hits| ids(found(hits))).collect(),
            embeddings: asked.embedding.then(|| nested(results, |hit| hit.record.embedding.as_deref().unwrap_or(&[]))),
            documents: asked.document.then(|| nested(results, |hit| hit.record.document.as_deref())),
            uris: fields.contains(&Field::Uris).then(|| nested(results, |hit| hit.record.uri.as_deref())),
            metadatas: asked.metadata.then(|| nested(results, |hit| shown_metadata(&hit.record))),
            distances: distances.then(|| nested(results, |hit| hit.distance)),
            include: fields,
        }
    }
}

fn found(hits: &[Hit]) -> impl Iterator<Item = &Found> {
    hits.iter().map(|hit| &hit.record)
}

fn ids<'a>(records: impl Iterator<Item = &'a Found>) -> Vec<&'a str> {
    records.map(|found| found.id.as_str()).collect()
}

fn nested<'a, T>(results: &'a [Vec<Hit>], field: impl Fn(&'a Hit) -> T) -> Vec<Vec<T>> {
    results.iter().map(|hits| hits.iter().map(&field).collect()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::collection::request::Get;
    use crate::collection::snapshot::Snapshot;
    use crate::interrupt::Interrupt;
    use crate::record::Metric;

    /// What a get of an empty collection answers.
    fn nothing(fields: &[Field]) -> String {
        let reading = Arc::new(Snapshot::empty(Metric::L2)).read(&Get::default(), &Interrupt::never()).unwrap();
        let (mut body, mut text) = (GetBody::new(reading, fields.to_vec()), Vec::new());
        while body.write(&mut text).unwrap() {}
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_field_not_asked_for_is_null_and_one_without_rows_is_empty() {
        let fields = [Field::Distances, Field::Documents, Field::Documents];
        let expected = r#"{"ids":[],"embeddings":null,"documents":[],"uris":null,"metadatas":null,"#;
        assert_eq!(nothing(&fields), format!(r#"{expected}"include":["distances","documents","documents"]}}"#));
        let results = [Vec::new(), Vec::new()];
        let text = serde_json::to_string(&QueryBody::new(&results, &fields)).unwrap();
        assert!(text.starts_with(r#"{"ids":[[],[]],"embeddings":null,"documents":[[],[]],"#), "{text}");
        assert!(text.contains(r#""distances":[[],[]],"#), "{text}");
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
        let results = [vec![Hit { record, distance: 0.5 }]];
        let text = serde_json::to_string(&QueryBody::new(&results, &[Field::Embeddings, Field::Metadatas])).unwrap();
        assert!(text.contains(r#""embeddings":[[[0.1,1.0,1e+20]]]"#), "{text}");
        assert!(text.contains(r#""metadatas":[[{"f":1.0,"g":1e+20}]]"#), "{text}");
    }
}
