//! The filter tree, its constructors and its error. A negation is the node `Not` over a positive test, so "also
//! matches records that lack the key" holds by construction.
//! Invariants: keys that begin with `#` and NaN were replaced by "matches nothing"; the values of a `OneOf` and the
//! ids of an `Ids` are sorted and distinct; every regex is compiled.

use std::fmt;
use std::ops::Not;

use super::literal::{Case, Literal, Portion};
use super::pattern::Pattern;
use super::scalar::{Limit, Scalar, ScalarRef};
use crate::error::Error;

/// A condition on records: which of them to read, delete or search among. A filter is made by constructors or
/// parsed from JSON. Combine filters with [`Filter::and`], [`Filter::or`] and `!`.
///
/// Numbers compare by value, so `2` equals `2.0`; booleans, strings and lists equal only their own
/// kind. A [`DateTime`](crate::filters::DateTime) equals every string that is a text of this instant. A record that
/// lacks the key, or has another kind of value there, fails every test, so it passes every negated one.
///
/// ```
/// use drumlin::{Filter, Metadata};
///
/// let filter = Filter::and([Filter::gte("page", 10), !Filter::document_contains("draft")]);
/// let metadata = Metadata::from([("page", 12_i64)]);
/// assert!(filter.matches(Some(&metadata), Some("the final text")));
/// assert!(!filter.matches(Some(&metadata), Some("a draft")));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(pub(super) Node);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// All of the nodes match. Without nodes: every record.
    And(Vec<Node>),
    /// At least one of the nodes matches. Without nodes: no record.
    Or(Vec<Node>),
    /// The records that the inner node does not match.
    Not(Box<Node>),
    /// The record has the key, with a value of any kind.
    Exists { key: String },
    /// The key's scalar equals one of the values.
    OneOf { key: String, values: Vec<Scalar> },
    /// The key's number, or the date that its string is, lies on this side of `limit`.
    Range { key: String, side: Side, limit: Limit },
    /// The key's string passes the test.
    Text { key: String, literal: Literal },
    /// The key's list has a string that passes the test.
    ContainsText { key: String, literal: Literal },
    /// The key's list has this element, of the list's own kind.
    Contains { key: String, element: Scalar },
    /// The record's id is one of these, which are sorted and distinct.
    Ids(Vec<String>),
    /// The document passes a test; records without one fail it.
    Document(DocumentTest),
}

/// On which side of a limit a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Below,
    BelowOrEqual,
    Above,
    AboveOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum DocumentTest {
    Literal(Literal),
    /// Unanchored search.
    Matches(Pattern),
}

impl Node {
    /// The node that matches no record.
    pub(super) fn none() -> Node {
        Node::Or(Vec::new())
    }

    pub(super) fn negate(self) -> Node {
        Node::Not(Box::new(self))
    }

    pub(super) fn one_of(key: &str, mut values: Vec<Scalar>) -> Node {
        values.retain(|v| !matches!(v, Scalar::Number(n) if n.is_nan()));
        values.sort_by(|a, b| a.as_ref().order(b.as_ref()));
        values.dedup_by(|a, b| a.as_ref().order(b.as_ref()).is_eq());
        if is_reserved(key) || values.is_empty() {
            return Node::none();
        }
        Node::OneOf { key: key.to_owned(), values }
    }

    pub(super) fn exists(key: &str) -> Node {
        if is_reserved(key) { Node::none() } else { Node::Exists { key: key.to_owned() } }
    }

    pub(super) fn range(key: &str, side: Side, limit: Limit) -> Node {
        if is_reserved(key) || matches!(limit, Limit::Number(n) if n.is_nan()) {
            return Node::none();
        }
        Node::Range { key: key.to_owned(), side, limit }
    }

    pub(super) fn contains(key: &str, element: Scalar) -> Node {
        let nan = matches!(element.as_ref(), ScalarRef::Number(n) if n.is_nan());
        if is_reserved(key) || nan {
            return Node::none();
        }
        Node::Contains { key: key.to_owned(), element }
    }

    pub(super) fn text(key: &str, literal: Literal) -> Node {
        if is_reserved(key) { Node::none() } else { Node::Text { key: key.to_owned(), literal } }
    }

    pub(super) fn contains_text(key: &str, literal: Literal) -> Node {
        if is_reserved(key) { Node::none() } else { Node::ContainsText { key: key.to_owned(), literal } }
    }

    pub(super) fn document(literal: Literal) -> Node {
        Node::Document(DocumentTest::Literal(literal))
    }

    pub(super) fn ids(mut ids: Vec<String>) -> Node {
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() { Node::none() } else { Node::Ids(ids) }
    }

    /// Whether any leaf reads documents.
    pub(super) fn reads_documents(&self) -> bool {
        self.any_leaf(&|leaf| matches!(leaf, Node::Document(_)))
    }

    /// Bytes that the node takes on the heap, with what regexes were compiled to.
    fn size_bytes(&self) -> usize {
        let inner = match self {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().map(Node::size_bytes).sum(),
            Node::Not(node) => node.size_bytes(),
            Node::OneOf { key, values } => key.len() + values.iter().map(Scalar::size_bytes).sum::<usize>(),
            Node::Range { key, .. } | Node::Exists { key } => key.len(),
            Node::Text { key, literal } | Node::ContainsText { key, literal } => key.len() + literal.size_bytes(),
            Node::Ids(ids) => ids.iter().map(|id| id.len() + size_of::<String>()).sum(),
            Node::Contains { key, element } => key.len() + element.size_bytes(),
            Node::Document(DocumentTest::Literal(literal)) => literal.size_bytes(),
            Node::Document(DocumentTest::Matches(pattern)) => pattern.size_bytes(),
        };
        size_of::<Node>() + inner
    }

    fn any_leaf(&self, test: &impl Fn(&Node) -> bool) -> bool {
        match self {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(|n| n.any_leaf(test)),
            Node::Not(node) => node.any_leaf(test),
            leaf => test(leaf),
        }
    }
}

/// Whether a key is reserved. Keys that begin with `#` name parts of a record; no metadata value is found under them.
fn is_reserved(key: &str) -> bool {
    key.starts_with('#')
}

impl Filter {
    /// About how many bytes of memory the filter takes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }

    /// The key's value equals `value`.
    pub fn eq(key: &str, value: impl Into<Scalar>) -> Filter {
        Filter(Node::one_of(key, vec![value.into()]))
    }

    /// The complement of [`Filter::eq`].
    pub fn ne(key: &str, value: impl Into<Scalar>) -> Filter {
        !Filter::eq(key, value)
    }

    /// The key's number is above `limit`; with a date, the key's string is a date that is.
    pub fn gt(key: &str, limit: impl Into<Limit>) -> Filter {
        Filter(Node::range(key, Side::Above, limit.into()))
    }

    /// The key's number is `limit` or above; with a date, the key's string is a date that is.
    pub fn gte(key: &str, limit: impl Into<Limit>) -> Filter {
        Filter(Node::range(key, Side::AboveOrEqual, limit.into()))
    }

    /// The key's number is below `limit`; with a date, the key's string is a date that is.
    pub fn lt(key: &str, limit: impl Into<Limit>) -> Filter {
        Filter(Node::range(key, Side::Below, limit.into()))
    }

    /// The key's number is `limit` or below; with a date, the key's string is a date that is.
    pub fn lte(key: &str, limit: impl Into<Limit>) -> Filter {
        Filter(Node::range(key, Side::BelowOrEqual, limit.into()))
    }

    /// The key's value equals one of `values`. Without values: no record.
    pub fn is_in<V: Into<Scalar>>(key: &str, values: impl IntoIterator<Item = V>) -> Filter {
        Filter(Node::one_of(key, values.into_iter().map(Into::into).collect()))
    }

    /// The complement of [`Filter::is_in`].
    pub fn not_in<V: Into<Scalar>>(key: &str, values: impl IntoIterator<Item = V>) -> Filter {
        !Filter::is_in(key, values)
    }

    /// The key's list has `element`. Kinds are strict here: `1.0` is not in a list of integers.
    pub fn contains(key: &str, element: impl Into<Scalar>) -> Filter {
        Filter(Node::contains(key, element.into()))
    }

    /// The record has the key, with a value of any kind; an empty list is one.
    ///
    /// ```
    /// use drumlin::{Filter, Metadata};
    ///
    /// let metadata = Metadata::from([("page", 12_i64)]);
    /// assert!(Filter::exists("page").matches(Some(&metadata), None));
    /// assert!((!Filter::exists("author")).matches(Some(&metadata), None));
    /// ```
    pub fn exists(key: &str) -> Filter {
        Filter(Node::exists(key))
    }

    /// The key's string begins with `start`; case matters.
    ///
    /// ```
    /// use drumlin::{Filter, Metadata};
    ///
    /// let metadata = Metadata::from([("path", "src/main.rs")]);
    /// assert!(Filter::starts_with("path", "src/").matches(Some(&metadata), None));
    /// assert!(!Filter::starts_with("path", "SRC/").matches(Some(&metadata), None));
    /// assert!(Filter::starts_with_ignore_case("path", "SRC/").matches(Some(&metadata), None));
    /// ```
    pub fn starts_with(key: &str, start: impl Into<String>) -> Filter {
        Filter(Node::text(key, Literal::new(Portion::Start, Case::Sensitive, start)))
    }

    /// The key's string begins with `start` in upper or lower case.
    pub fn starts_with_ignore_case(key: &str, start: impl Into<String>) -> Filter {
        Filter(Node::text(key, Literal::new(Portion::Start, Case::Ignored, start)))
    }

    /// The key's string is `text` in upper or lower case. Both are brought to lower case by Unicode's full mapping
    /// (`str::to_lowercase`, with `ς` as `σ`): `ß` is not `ss`.
    ///
    /// ```
    /// use drumlin::{Filter, Metadata};
    ///
    /// let metadata = Metadata::from([("city", "KØBENHAVN")]);
    /// assert!(Filter::eq_ignore_case("city", "København").matches(Some(&metadata), None));
    /// ```
    pub fn eq_ignore_case(key: &str, text: impl Into<String>) -> Filter {
        Filter(Node::text(key, Literal::new(Portion::Whole, Case::Ignored, text)))
    }

    /// The key's list has the string `element` in upper or lower case.
    pub fn contains_ignore_case(key: &str, element: impl Into<String>) -> Filter {
        Filter(Node::contains_text(key, Literal::new(Portion::Whole, Case::Ignored, element)))
    }

    /// The document contains `text`; case matters. The empty text is in every document.
    pub fn document_contains(text: impl Into<String>) -> Filter {
        Filter(Node::document(Literal::new(Portion::Anywhere, Case::Sensitive, text)))
    }

    /// The document contains `text` in upper or lower case.
    ///
    /// ```
    /// use drumlin::Filter;
    ///
    /// assert!(Filter::document_contains_ignore_case("MOSKVA").matches(None, Some("From Moskva, with a stamp")));
    /// ```
    pub fn document_contains_ignore_case(text: impl Into<String>) -> Filter {
        Filter(Node::document(Literal::new(Portion::Anywhere, Case::Ignored, text)))
    }

    /// The document begins with `start`; case matters.
    pub fn document_starts_with(start: impl Into<String>) -> Filter {
        Filter(Node::document(Literal::new(Portion::Start, Case::Sensitive, start)))
    }

    /// The document begins with `start` in upper or lower case.
    pub fn document_starts_with_ignore_case(start: impl Into<String>) -> Filter {
        Filter(Node::document(Literal::new(Portion::Start, Case::Ignored, start)))
    }

    /// The document has a match of `regex` (the `regex` crate's syntax, unanchored). The error states what is wrong
    /// with the expression, or that its compiled form would be over 4 MiB.
    pub fn document_matches(regex: &str) -> Result<Filter, FilterError> {
        let pattern = Pattern::compile(regex)
            .map_err(|e| FilterError { clause: Clause::Regex, message: format!("document_matches: {e}") })?;
        Ok(Filter(Node::Document(DocumentTest::Matches(pattern))))
    }

    /// The record's id is one of `ids`. Without ids: no record.
    #[cfg(test)]
    pub(crate) fn ids(ids: impl IntoIterator<Item = String>) -> Filter {
        Filter(Node::ids(ids.into_iter().collect()))
    }

    /// Takes out the ids of which every match must have one, where the filter is a test of ids or joins such tests to
    /// others by "and". A few ids are quickly found by an index of them, the rest of the filter then reads only those
    /// records. Records that have one of the ids and match the rest are the ones that match the filter.
    #[cfg(any(test, feature = "server"))]
    pub(crate) fn split_ids(self) -> (Option<Vec<String>>, Option<Filter>) {
        let nodes = match self.0 {
            Node::Ids(ids) => return (Some(ids), None),
            Node::And(nodes) => nodes,
            other => return (None, Some(Filter(other))),
        };
        let (mut ids, mut rest): (Option<Vec<String>>, Vec<Node>) = (None, Vec::new());
        for node in nodes {
            match (node, &mut ids) {
                (Node::Ids(named), None) => ids = Some(named),
                (Node::Ids(named), Some(ids)) => ids.retain(|id| named.binary_search(id).is_ok()),
                (other, _) => rest.push(other),
            }
        }
        let rest = (ids.is_none() || !rest.is_empty()).then_some(Filter(Node::And(rest)));
        (ids, rest)
    }

    /// Every one of `filters` matches. Without filters: every record.
    pub fn and(filters: impl IntoIterator<Item = Filter>) -> Filter {
        Filter(Node::And(filters.into_iter().map(|f| f.0).collect()))
    }

    /// At least one of `filters` matches. Without filters: no record.
    pub fn or(filters: impl IntoIterator<Item = Filter>) -> Filter {
        Filter(Node::Or(filters.into_iter().map(|f| f.0).collect()))
    }

    /// Whether evaluating needs metadata at all. If not, no columns are built for it.
    pub fn reads_metadata(&self) -> bool {
        self.0.any_leaf(&|leaf| !matches!(leaf, Node::Document(_) | Node::Ids(_)))
    }

    /// Whether evaluating needs documents.
    pub fn reads_documents(&self) -> bool {
        self.0.reads_documents()
    }
}

impl Not for Filter {
    type Output = Filter;

    /// The records this filter does not match.
    fn not(self) -> Filter {
        Filter(self.0.negate())
    }
}

/// The part of a request that a [`FilterError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    /// The metadata filter `where`.
    Where,
    /// The document filter `where_document`.
    WhereDocument,
    /// A regular expression in either of them.
    Regex,
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The part of the request.
    pub clause: Clause,
    /// Begins with the place, as in `where.$and[1].age: …`.
    pub message: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FilterError {}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Error {
        Error::invalid(error.message)
    }
}
