//! The reference evaluator: does one record match? It is written to be compared with the language's rules, not to be
//! fast. The evaluator over columns is tested against it.

use std::cmp::Ordering;

use super::ast::{DocumentTest, Filter, Node, Side};
use super::pattern::Searcher;
use super::scalar::{Number, Scalar, ScalarRef};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::record::{MetaValue, Metadata};

impl Filter {
    /// Whether a record with this metadata and document matches.
    pub fn matches(&self, metadata: Option<&Metadata>, document: Option<&str>) -> bool {
        let record = Tested { id: None, metadata, document };
        self.0.matches(record, &|test, document| Ok(test.matches(document))).unwrap_or(false)
    }

    /// Whether a record matches, within bounds. The search for a regex stops with the interrupt, and is refused where
    /// it could take too long.
    pub(crate) fn matches_within(
        &self,
        id: &str,
        metadata: Option<&Metadata>,
        document: Option<&str>,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let record = Tested { id: Some(id), metadata, document };
        self.0.matches(record, &|test, document| match test {
            DocumentTest::Contains(_) => Ok(test.matches(document)),
            DocumentTest::Matches(pattern) => pattern.matches(document, &mut Searcher::default(), interrupt),
        })
    }
}

/// The parts of a record that filters read.
#[derive(Debug, Clone, Copy)]
struct Tested<'a> {
    /// `None`: it has none yet, and no test of ids finds it.
    id: Option<&'a str>,
    metadata: Option<&'a Metadata>,
    document: Option<&'a str>,
}

/// Tests a document.
type DocumentReader<'a> = &'a dyn Fn(&DocumentTest, &str) -> Result<bool>;

impl Node {
    fn matches(&self, record: Tested<'_>, read: DocumentReader<'_>) -> Result<bool> {
        let value_of = |key: &str| record.metadata.and_then(|m| m.0.get(key));
        Ok(match self {
            Node::And(nodes) => {
                for node in nodes {
                    if !node.matches(record, read)? {
                        return Ok(false);
                    }
                }
                true
            }
            Node::Or(nodes) => {
                for node in nodes {
                    if node.matches(record, read)? {
                        return Ok(true);
                    }
                }
                false
            }
            Node::Not(node) => !node.matches(record, read)?,
            Node::OneOf { key, values } => value_of(key).and_then(ScalarRef::of).is_some_and(|v| is_among(v, values)),
            Node::Range { key, side, limit } => match value_of(key) {
                Some(MetaValue::Int(i)) => side.has(Number::Int(*i), *limit),
                Some(MetaValue::Float(f)) => side.has(Number::Float(*f), *limit),
                _ => false,
            },
            Node::Contains { key, element } => value_of(key).is_some_and(|list| holds(list, element)),
            Node::Ids(ids) => record.id.is_some_and(|id| is_one_of(id, ids)),
            Node::Document(test) => record.document.map(|document| read(test, document)).transpose()?.unwrap_or(false),
        })
    }
}

/// Whether `value` equals one of the sorted `values`.
pub(super) fn is_among(value: ScalarRef<'_>, values: &[Scalar]) -> bool {
    values.binary_search_by(|v| v.as_ref().order(value)).is_ok()
}

/// Whether `id` is one of the sorted `ids`.
pub(super) fn is_one_of(id: &str, ids: &[String]) -> bool {
    ids.binary_search_by(|other| other.as_str().cmp(id)).is_ok()
}

impl Side {
    /// Whether `number` lies on this side of `limit`.
    pub(super) fn has(self, number: Number, limit: Number) -> bool {
        match number.compare(limit) {
            None => false,
            Some(Ordering::Less) => matches!(self, Side::Below | Side::BelowOrEqual),
            Some(Ordering::Equal) => matches!(self, Side::BelowOrEqual | Side::AboveOrEqual),
            Some(Ordering::Greater) => matches!(self, Side::Above | Side::AboveOrEqual),
        }
    }
}

/// Whether `list` is a list of the element's kind and contains the element.
fn holds(list: &MetaValue, element: &Scalar) -> bool {
    match (list, element) {
        (MetaValue::Bools(list), Scalar::Bool(b)) => list.contains(b),
        (MetaValue::Ints(list), Scalar::Number(Number::Int(i))) => list.contains(i),
        (MetaValue::Floats(list), Scalar::Number(Number::Float(f))) => list.contains(f),
        (MetaValue::Strs(list), Scalar::Str(s)) => list.contains(s),
        _ => false,
    }
}

impl DocumentTest {
    fn matches(&self, document: &str) -> bool {
        match self {
            DocumentTest::Contains(text) => document.contains(text.as_str()),
            DocumentTest::Matches(pattern) => pattern.is_match(document),
        }
    }
}
