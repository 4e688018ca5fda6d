//! The answer to a search request: six columns with one entry for each search. Written one record at a time, so that
//! no answer is held whole.
//! Invariants: every column is there; the entry of a search that did not select it is null, and `[]` where it was
//! selected and there are no rows. A score that is not finite is null, and metadata without keys is.

use super::super::super::stream::{JsonPieces, append};
use super::select::SelectedKeys;
use crate::collection::request::{Found, Include};
use crate::error::Error;

/// The records that a search found, each made when its turn comes.
pub(super) trait SearchRows: Send + 'static {
    fn len(&self) -> usize;

    /// The record at a place, with these fields; `None` beyond the end.
    fn part(&self, place: usize, include: Include) -> Result<Option<Found>, Error>;

    /// About how many bytes the record takes in an answer with these fields.
    fn weight(&self, place: usize, include: Include) -> usize;

    /// The score of the record; of one that was not ranked, its place on this page.
    fn score(&self, place: usize) -> Option<f32>;
}

/// A column of records, in the order of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Ids,
    Documents,
    Embeddings,
    Metadatas,
    Scores,
}

const COLUMNS: [(&str, Column); 5] = [
    ("ids", Column::Ids),
    ("documents", Column::Documents),
    ("embeddings", Column::Embeddings),
    ("metadatas", Column::Metadatas),
    ("scores", Column::Scores),
];

impl Column {
    fn is_in(self, select: &SelectedKeys) -> bool {
        match self {
            Column::Ids => true,
            Column::Documents => select.document(),
            Column::Embeddings => select.embedding(),
            Column::Metadatas => select.metadata(),
            Column::Scores => select.score(),
        }
    }

    /// What has to be read of a record for this column alone.
    fn include(self, select: &SelectedKeys) -> Include {
        let all = select.include();
        let metadata = self == Column::Metadatas;
        Include {
            embedding: self == Column::Embeddings,
            document: self == Column::Documents,
            uri: metadata && all.uri,
            metadata: metadata && all.metadata,
        }
    }
}

/// An answer under way.
pub(super) struct SearchAnswer<R> {
    searches: Vec<(SelectedKeys, R)>,
    /// Place in [`COLUMNS`], the search in that column, and the search's next record.
    column: usize,
    search: usize,
    next: usize,
}

impl<R: SearchRows> SearchAnswer<R> {
    /// The answer to searches with these selections.
    pub(super) fn new(searches: Vec<(SelectedKeys, R)>) -> SearchAnswer<R> {
        SearchAnswer { searches, column: 0, search: 0, next: 0 }
    }

    /// Appends the next record's entry in a column.
    fn write_entry(&self, column: Column, into: &mut Vec<u8>) -> Result<(), Error> {
        let Some((select, rows)) = self.searches.get(self.search) else { return Ok(()) };
        if column == Column::Scores {
            return append(into, &rows.score(self.next));
        }
        let Some(found) = rows.part(self.next, column.include(select))? else { return append(into, &()) };
        match column {
            Column::Documents => append(into, &found.document),
            Column::Embeddings => append(into, &found.embedding),
            Column::Metadatas => append(into, &select.metadata_of(found.metadata, found.uri)),
            Column::Ids | Column::Scores => append(into, &found.id),
        }
    }

    fn write_select(&self, into: &mut Vec<u8>) -> Result<(), Error> {
        into.extend_from_slice(br#","select":"#);
        append(into, &self.searches.iter().map(|(select, _)| select.shown()).collect::<Vec<_>>())?;
        into.push(b'}');
        Ok(())
    }
}

impl<R: SearchRows> JsonPieces for SearchAnswer<R> {
    fn records(&self) -> usize {
        self.searches.iter().map(|(_, rows)| rows.len()).sum()
    }

    fn weight(&self) -> usize {
        const AROUND_BYTES: usize = 128;
        let (column, search) = (COLUMNS.get(self.column), self.searches.get(self.search));
        let of_record =
            column.zip(search).map(|((_, column), (select, rows))| rows.weight(self.next, column.include(select)));
        AROUND_BYTES + of_record.unwrap_or(0)
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool, Error> {
        let Some((name, column)) = COLUMNS.get(self.column) else {
            self.write_select(into)?;
            return Ok(false);
        };
        if (self.search, self.next) == (0, 0) {
            into.push(if self.column == 0 { b'{' } else { b',' });
            append(into, name)?;
            into.extend_from_slice(b":[");
        }
        let Some((select, rows)) = self.searches.get(self.search) else {
            into.push(b']');
            (self.column, self.search, self.next) = (self.column + 1, 0, 0);
            return Ok(true);
        };
        let selected = column.is_in(select);
        if self.next == 0 {
            into.extend_from_slice(if self.search == 0 { b"" } else { b"," });
            into.extend_from_slice(if selected { b"[" } else { b"null" });
        }
        if selected && self.next < rows.len() {
            if self.next > 0 {
                into.push(b',');
            }
            self.write_entry(*column, into)?;
            self.next += 1;
            return Ok(true);
        }
        if selected {
            into.push(b']');
        }
        (self.search, self.next) = (self.search + 1, 0);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::select::SelectBody;
    use super::*;
    use crate::record::Metadata;

    type FoundRow = (Found, Option<f32>);

    struct Rows(Vec<FoundRow>);

    impl SearchRows for Rows {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn part(&self, place: usize, include: Include) -> Result<Option<Found>, Error> {
            let all = self.0.get(place).map(|(found, _)| found.clone());
            Ok(all.map(|found| Found {
                id: found.id,
                embedding: found.embedding.filter(|_| include.embedding),
                document: found.document.filter(|_| include.document),
                uri: found.uri.filter(|_| include.uri),
                metadata: found.metadata.filter(|_| include.metadata),
            }))
        }

        fn weight(&self, _: usize, _: Include) -> usize {
            0
        }

        fn score(&self, place: usize) -> Option<f32> {
            self.0.get(place).and_then(|(_, score)| *score)
        }
    }

    fn row(id: &str, score: f32) -> (Found, Option<f32>) {
        let metadata = (id != "bare").then(|| Metadata::from([("n", 1)]));
        let found = Found {
            id: id.to_owned(),
            embedding: Some(vec![0.5, 1.0]),
            document: (id != "bare").then(|| "text".to_owned()),
            uri: Some("u".to_owned()),
            metadata,
        };
        (found, Some(score))
    }

    fn written(searches: Vec<(&[&str], Vec<FoundRow>)>) -> Value {
        let selection = |keys| serde_json::from_value::<SelectBody>(json!({ "keys": keys })).unwrap().into();
        let searches = searches.into_iter().map(|(keys, rows)| (selection(keys), Rows(rows))).collect();
        let (mut answer, mut text) = (SearchAnswer::new(searches), Vec::new());
        while answer.write(&mut text).unwrap() {}
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_column_that_was_not_selected_is_null_and_one_without_rows_is_empty() {
        let all: &[&str] = &["#document", "#embedding", "#metadata", "#score"];
        let rows = || vec![row("a", 0.1), row("bare", f32::NAN), row("c", f32::INFINITY)];
        let expected = json!({
            "ids": [["a", "bare", "c"], ["a", "bare", "c"], []],
            "documents": [["text", null, "text"], null, []],
            "embeddings": [[[0.5, 1.0], [0.5, 1.0], [0.5, 1.0]], null, []],
            "metadatas": [[{"n": 1}, null, {"n": 1}], [{"n": 1}, null, {"n": 1}], []],
            "scores": [[0.1, null, null], null, []],
            "select": [all, ["n"], all],
        });
        // Scores are the shortest decimals of an f32: 0.1, not 0.10000000149.
        assert_eq!(written(vec![(all, rows()), (&["n"], rows()), (all, vec![])]), expected);
    }

    #[test]
    fn the_uri_is_shown_under_its_field_only() {
        let shown = written(vec![(&["chroma:uri"], vec![row("a", 0.0)]), (&["#metadata"], vec![row("a", 0.0)])]);
        assert_eq!(shown["metadatas"], json!([[{"chroma:uri": "u"}], [{"n": 1}]]));
    }

    #[test]
    fn no_searches_have_six_empty_columns() {
        let expected =
            json!({"ids": [], "documents": [], "embeddings": [], "metadatas": [], "scores": [], "select": []});
        assert_eq!(written(vec![]), expected);
    }
}
