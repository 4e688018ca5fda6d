//! The reference evaluator: does one record match? It is written to be compared with the language's rules, not to be
//! fast. The evaluator over columns is tested against it.

use std::cmp::Ordering;

use super::ast::{DocumentTest, Filter, Node, Side};
use super::date_time::DateTime;
use super::literal::Literal;
use super::pattern::Searcher;
use super::scalar::{Limit, Number, Scalar, ScalarRef};
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
            DocumentTest::Literal(_) => Ok(test.matches(document)),
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
            Node::Exists { key } => value_of(key).is_some(),
            Node::Range { key, side, limit } => value_of(key).is_some_and(|value| side.has_value(value, *limit)),
            Node::Text { key, literal } => matches!(value_of(key), Some(MetaValue::Str(s)) if literal.matches(s)),
            Node::Contains { key, element } => value_of(key).is_some_and(|list| holds(list, element)),
            Node::ContainsText { key, literal } => value_of(key).is_some_and(|list| holds_text(list, literal)),
            Node::Ids(ids) => record.id.is_some_and(|id| is_one_of(id, ids)),
            Node::Document(test) => record.document.map(|document| read(test, document)).transpose()?.unwrap_or(false),
        })
    }
}

/// Whether `value` equals one of the sorted `values`, the dates among them included.
fn is_among(value: ScalarRef<'_>, values: &[Scalar]) -> bool {
    let (others, dates) = split_dates(values);
    is_listed(value, others) || matches!(value, ScalarRef::Str(s) if is_date_of(s, dates))
}

/// The sorted values, and behind them the dates.
pub(super) fn split_dates(values: &[Scalar]) -> (&[Scalar], &[Scalar]) {
    values.split_at(values.partition_point(|value| !matches!(value, Scalar::Date(_))))
}

/// Whether `value` is one of the sorted `values`.
pub(super) fn is_listed(value: ScalarRef<'_>, values: &[Scalar]) -> bool {
    values.binary_search_by(|v| v.as_ref().order(value)).is_ok()
}

/// Whether `text` is a date, and one of the sorted `dates`.
pub(super) fn is_date_of(text: &str, dates: &[Scalar]) -> bool {
    !dates.is_empty() && DateTime::read(text).is_some_and(|date| is_listed(ScalarRef::Date(date), dates))
}

/// Whether `id` is one of the sorted `ids`.
pub(super) fn is_one_of(id: &str, ids: &[String]) -> bool {
    ids.binary_search_by(|other| other.as_str().cmp(id)).is_ok()
}

impl Side {
    /// Whether `number` lies on this side of `limit`.
    pub(super) fn has(self, number: Number, limit: Number) -> bool {
        number.compare(limit).is_some_and(|order| self.is(order))
    }

    /// Whether `text` is a date that lies on this side of `limit`.
    pub(super) fn has_date(self, text: &str, limit: DateTime) -> bool {
        DateTime::read(text).is_some_and(|date| self.is(date.cmp(&limit)))
    }

    /// Whether a value that compares so with the limit lies on this side of it.
    fn is(self, order: Ordering) -> bool {
        match order {
            Ordering::Less => matches!(self, Side::Below | Side::BelowOrEqual),
            Ordering::Equal => matches!(self, Side::BelowOrEqual | Side::AboveOrEqual),
            Ordering::Greater => matches!(self, Side::Above | Side::AboveOrEqual),
        }
    }

    fn has_value(self, value: &MetaValue, limit: Limit) -> bool {
        match (value, limit) {
            (MetaValue::Int(i), Limit::Number(limit)) => self.has(Number::Int(*i), limit),
            (MetaValue::Float(f), Limit::Number(limit)) => self.has(Number::Float(*f), limit),
            (MetaValue::Str(s), Limit::Date(limit)) => self.has_date(s, limit),
            _ => false,
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
        (MetaValue::Strs(list), Scalar::Date(date)) => list.iter().any(|s| DateTime::read(s) == Some(*date)),
        _ => false,
    }
}

/// Whether `list` is a list of strings of which one passes the test.
fn holds_text(list: &MetaValue, literal: &Literal) -> bool {
    matches!(list, MetaValue::Strs(list) if list.iter().any(|s| literal.matches(s)))
}

impl DocumentTest {
    fn matches(&self, document: &str) -> bool {
        match self {
            DocumentTest::Literal(literal) => literal.matches(document),
            DocumentTest::Matches(pattern) => pattern.is_match(document),
        }
    }
}
