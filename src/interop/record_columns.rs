//! Which column of a user's table is which part of a record. The user names it, or its name is ours, or one that is
//! common elsewhere.
//! Invariant: [`ColumnPlan::summary`] can state what was guessed, and what becomes of every other column.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its id.
    Id,
    /// Its embedding.
    Embedding,
    /// Its document.
    Document,
    /// Its uri.
    Uri,
    /// Its metadata.
    Metadata,
}

impl Part {
    const ALL: [Part; 5] = [Part::Id, Part::Embedding, Part::Document, Part::Uri, Part::Metadata];

    /// The part's own name.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Id => "id",
            Part::Embedding => "embedding",
            Part::Document => "document",
            Part::Uri => "uri",
            Part::Metadata => "metadata",
        }
    }

    /// Names that are common elsewhere, the likeliest first.
    const fn other_names(self) -> &'static [&'static str] {
        match self {
            Part::Id => &["ids", "_id", "uuid", "doc_id", "document_id", "chunk_id", "record_id", "pk"],
            Part::Embedding => &["embeddings", "vector", "vectors", "emb", "dense_vector", "values"],
            Part::Document => {
                &["documents", "text", "texts", "content", "page_content", "chunk", "passage", "sentence"]
            }
            Part::Uri => &["uris", "url"],
            Part::Metadata => &["metadatas", "meta", "payload"],
        }
    }
}

/// What becomes of columns that are no part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtherColumns {
    /// Such columns are refused, so that a misspelt name does not pass silently.
    #[default]
    Refuse,
    /// Their values become values of metadata.
    Metadata,
    /// They are left out.
    Ignore,
}

impl FromStr for OtherColumns {
    type Err = Error;

    fn from_str(text: &str) -> Result<OtherColumns> {
        match text {
            "refuse" => Ok(OtherColumns::Refuse),
            "metadata" => Ok(OtherColumns::Metadata),
            "ignore" => Ok(OtherColumns::Ignore),
            other => Err(Error::invalid(format!("other columns: expected metadata, ignore or refuse, got {other:?}"))),
        }
    }
}

/// How the columns of a table are understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnChoice {
    named: BTreeMap<Part, String>,
    /// What becomes of the others.
    pub others: OtherColumns,
    /// Only this part is wanted; every other column is left out.
    only: Option<Part>,
    /// Whether records may come without an embedding.
    texts: bool,
    /// Whether a part without a column of its own name is looked for under common other names.
    pub guess: bool,
}

impl ColumnChoice {
    /// Looks for parts under common other names, too.
    pub fn guessing(others: OtherColumns) -> ColumnChoice {
        ColumnChoice { others, guess: true, ..ColumnChoice::default() }
    }

    /// Looks for embeddings alone: a table of queries.
    pub fn embeddings() -> ColumnChoice {
        ColumnChoice { only: Some(Part::Embedding), ..ColumnChoice::guessing(OtherColumns::Ignore) }
    }

    /// Takes records without an embedding: the column may be missing, and its values may be null. For collections that
    /// make embeddings of documents, or have none.
    pub fn with_texts(self) -> ColumnChoice {
        ColumnChoice { texts: true, ..self }
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    fn needs(&self, part: Part) -> bool {
        match part {
            Part::Id => self.wants(part),
            Part::Embedding => !self.texts,
            Part::Document | Part::Uri | Part::Metadata => false,
        }
    }

    /// Names the columns, as in `id=key,embedding=vector`.
    ///
    /// # Errors
    /// `Invalid` with what was expected.
    pub fn naming(mut self, text: &str) -> Result<ColumnChoice> {
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let found = pair.split_once('=').and_then(|(part, column)| {
                let part = Part::ALL.into_iter().find(|known| known.name() == part.trim())?;
                Some((part, column.trim())).filter(|(_, column)| !column.is_empty())
            });
            let Some((part, column)) = found else {
                return Err(Error::invalid(format!(
                    "columns: expected pairs such as id=key,embedding=vector, of id, embedding, document, uri and \
                     metadata, got {pair:?}"
                )));
            };
            if self.named.insert(part, column.to_owned()).is_some() {
                return Err(Error::invalid(format!("columns: {} is given twice", part.name())));
            }
        }
        Ok(self)
    }

    /// Finds each part among columns of these names.
    ///
    /// # Errors
    /// `Invalid`, naming the column that is missing, or is there and must not be.
    pub fn plan(&self, columns: &[&str]) -> Result<ColumnPlan> {
        if let Some((part, column)) = self.named.iter().find(|(_, column)| !columns.contains(&column.as_str())) {
            return Err(missing(*part, column, columns));
        }
        self.plan_of_keys(columns)
    }

    /// The plan for the keys of one object, which need not have the optional parts.
    ///
    /// # Errors
    /// As [`plan`](ColumnChoice::plan).
    pub fn plan_of_keys(&self, columns: &[&str]) -> Result<ColumnPlan> {
        let mut plan = ColumnPlan { texts: self.texts, ..ColumnPlan::default() };
        for (part, column) in &self.named {
            if columns.contains(&column.as_str()) {
                plan.parts.insert(*part, column.clone());
            } else if self.needs(*part) {
                return Err(missing(*part, column, columns));
            }
        }
        for part in Part::ALL {
            if self.named.contains_key(&part) || !self.wants(part) {
                continue;
            }
            if let Some(column) = self.find(part, columns, &plan) {
                if column != part.name() {
                    plan.guessed.push(part);
                }
                plan.parts.insert(part, column.to_owned());
            }
        }
        if let Some(part) = Part::ALL.into_iter().find(|part| self.needs(*part) && !plan.parts.contains_key(part)) {
            return Err(missing(part, part.name(), columns));
        }
        let others = columns.iter().filter(|column| !plan.parts.values().any(|used| used == *column));
        for column in others.map(|column| (*column).to_owned()).collect::<Vec<_>>() {
            match self.others {
                // Row numbers that pandas wrote belong to no record.
                _ if self.guess && column.starts_with("__index_level_") => plan.ignored.push(column),
                OtherColumns::Metadata => plan.into_metadata.push(column),
                OtherColumns::Ignore => plan.ignored.push(column),
                OtherColumns::Refuse => return Err(unknown(&column)),
            }
        }
        Ok(plan)
    }

    fn find<'a>(&self, part: Part, columns: &[&'a str], plan: &ColumnPlan) -> Option<&'a str> {
        let free = |name: &&str| !plan.parts.values().any(|used| used == *name);
        let called = |wanted: &str| columns.iter().copied().filter(free).find(|name| name.eq_ignore_ascii_case(wanted));
        let exact = columns.iter().copied().filter(free).find(|name| *name == part.name());
        exact.or_else(|| {
            let names = std::iter::once(part.name()).chain(part.other_names().iter().copied());
            self.guess.then(|| names.into_iter().find_map(called)).flatten()
        })
    }
}

fn missing(part: Part, column: &str, columns: &[&str]) -> Error {
    let part = part.name();
    Error::invalid(format!(
        "column {column:?} is missing, among {columns:?}: name it with --columns {part}=NAME (over HTTP: the parameter \
         columns={part}=NAME)"
    ))
}

fn unknown(column: &str) -> Error {
    let names = Part::ALL.map(Part::name);
    Error::invalid(format!(
        "column {column:?}: expected one of {names:?}; name what it is (columns document={column}), or say what \
         becomes of other columns (metadata or ignore)"
    ))
}

/// Which column of one table is which part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnPlan {
    parts: BTreeMap<Part, String>,
    /// Whether records may come without an embedding.
    texts: bool,
    guessed: Vec<Part>,
    into_metadata: Vec<String>,
    ignored: Vec<String>,
}

impl ColumnPlan {
    /// The column that holds a part.
    pub fn column(&self, part: Part) -> Option<&str> {
        self.parts.get(&part).map(String::as_str)
    }

    /// Whether records may come without an embedding.
    pub fn takes_texts(&self) -> bool {
        self.texts
    }

    /// The columns whose values become values of metadata.
    pub fn into_metadata(&self) -> &[String] {
        &self.into_metadata
    }

    /// The choices that the names alone do not show, in one sentence.
    pub fn summary(&self) -> Option<String> {
        (!(self.guessed.is_empty() && self.into_metadata.is_empty() && self.ignored.is_empty()))
            .then(|| self.to_string())
    }
}

impl fmt::Display for ColumnPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guessed =
            self.guessed.iter().filter_map(|part| Some(format!("{} from {:?}", part.name(), self.column(*part)?)));
        let guessed = guessed.collect::<Vec<_>>().join(", ");
        let said = [
            (!guessed.is_empty()).then(|| format!("recognised by name: {guessed}")),
            (!self.into_metadata.is_empty()).then(|| format!("into metadata: {:?}", self.into_metadata)),
            (!self.ignored.is_empty()).then(|| format!("left out: {:?}", self.ignored)),
        ];
        write!(f, "columns {}", said.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessing(others: OtherColumns) -> ColumnChoice {
        ColumnChoice::guessing(others)
    }

    #[test]
    fn names_that_others_use_are_found_and_said() {
        let plan = guessing(OtherColumns::Metadata).plan(&["_id", "Vector", "text", "year", "__index_level_0__"]);
        let plan = plan.unwrap();
        let found = [Part::Id, Part::Embedding, Part::Document, Part::Uri].map(|part| plan.column(part));
        assert_eq!(found, [Some("_id"), Some("Vector"), Some("text"), None]);
        assert_eq!(plan.into_metadata(), ["year"]);
        let summary = plan.summary().unwrap();
        assert!(
            summary.contains(r#"embedding from "Vector""#) && summary.contains(r#"left out: ["__index_level_0__"]"#),
            "{summary}"
        );
        assert_eq!(guessing(OtherColumns::Refuse).plan(&["id", "embedding"]).unwrap().summary(), None);
    }

    #[test]
    fn a_name_that_was_given_wins_and_one_that_is_not_there_is_refused() {
        let choice = guessing(OtherColumns::Ignore).naming("id=key, document=body").unwrap();
        let plan = choice.plan(&["id", "key", "embedding", "text", "body"]).unwrap();
        assert_eq!((plan.column(Part::Id), plan.column(Part::Document)), (Some("key"), Some("body")));
        let error = choice.plan(&["key", "embedding"]).unwrap_err();
        assert!(error.message().contains(r#"column "body" is missing"#), "{error}");
        for wrong in ["id", "id=", "key=id", "id=a,id=b"] {
            assert!(ColumnChoice::default().naming(wrong).unwrap_err().message().starts_with("columns: "), "{wrong}");
        }
    }

    #[test]
    fn without_a_choice_names_are_ours_and_no_others() {
        let error = ColumnChoice::default().plan(&["id", "vector"]).unwrap_err();
        assert!(error.message().contains(r#"column "embedding" is missing"#), "{error}");
        let error = ColumnChoice::default().plan(&["id", "embedding", "documnt"]).unwrap_err();
        assert!(error.message().contains(r#"column "documnt""#), "{error}");
    }
}
