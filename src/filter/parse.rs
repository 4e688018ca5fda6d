//! JSON → filter tree, for `where` and `where_document`. Every object has exactly one key. Anything outside the
//! language is refused with its place (`where.$and[1].age: …`). A chain of one operator becomes one list, and is read
//! without recursion: clients that join conditions in pairs nest them deep.
//! Invariant: depth, nodes, listed values and regexes are bounded before anything is built from them.

use serde_json::{Map, Value};

use super::ast::{Clause, DocumentTest, Filter, FilterError, Node, Side};
use super::date_time::{DateTime, EXPECTED};
use super::literal::{Case, Literal, Portion};
use super::pattern::Pattern;
use super::scalar::{Limit, Number, Scalar};

/// The most alternating levels of `$and` and `$or`, including the innermost test: more than JSON of 128 levels can
/// hold.
const MAX_DEPTH: usize = 64;
/// The most tests, `$and`s and `$or`s in one clause.
const MAX_NODES: usize = 1_000;
/// The most values in all `$in` and `$nin` lists of one clause.
const MAX_VALUES: usize = 100_000;
/// The most regexes in one clause: each may take megabytes.
const MAX_REGEXES: usize = 16;
/// The most bytes of a regex: before it is compiled it becomes a tree of many times its size.
const MAX_REGEX_BYTES: usize = 16 << 10;
/// The operators that join conditions.
const JOINS: [&str; 2] = ["$and", "$or"];
/// The operators under a metadata key.
const OPERATORS: [&str; 19] = [
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$contains",
    "$not_contains",
    "$startsWith",
    "$not_startsWith",
    "$ieq",
    "$ine",
    "$icontains",
    "$not_icontains",
    "$istartsWith",
    "$not_istartsWith",
    "$exists",
];
/// The operators that test a document.
pub(crate) const DOCUMENT_TESTS: [&str; 10] = [
    "$contains",
    "$not_contains",
    "$startsWith",
    "$not_startsWith",
    "$icontains",
    "$not_icontains",
    "$istartsWith",
    "$not_istartsWith",
    "$regex",
    "$not_regex",
];
/// The key of an operand that is an instant.
const DATE: &str = "$date";
/// The key that names a record's document.
const DOCUMENT: &str = "#document";
/// The key that names a record's id, where filters may test it.
const ID: &str = "#id";
/// The most characters of a key or a value that an error repeats.
const MAX_SHOWN_CHARS: usize = 64;

impl Filter {
    /// Parses a metadata filter. The error's message begins with the place, as `where.age: …`.
    pub fn parse_where(json: &Value) -> Result<Filter, FilterError> {
        Parser::new(Clause::Where).node(json, 1).map(Filter)
    }

    /// Parses a metadata filter in which `#id` names the record's id: equal to a string, or one of several, or not. The
    /// error's message begins with the place, as `where.#id: …`.
    pub fn parse_where_with_ids(json: &Value) -> Result<Filter, FilterError> {
        Parser { names_ids: true, ..Parser::new(Clause::Where) }.node(json, 1).map(Filter)
    }

    /// Parses a document filter. The error's message begins with the place, as `where_document.$or: …`.
    pub fn parse_where_document(json: &Value) -> Result<Filter, FilterError> {
        Parser::new(Clause::WhereDocument).node(json, 1).map(Filter)
    }

    /// Parses both clauses of a request and joins them by "and". Null counts as absent; `None` if both are absent.
    pub fn parse(where_: Option<&Value>, where_document: Option<&Value>) -> Result<Option<Filter>, FilterError> {
        let metadata = where_.filter(|v| !v.is_null()).map(Filter::parse_where).transpose()?;
        let document = where_document.filter(|v| !v.is_null()).map(Filter::parse_where_document).transpose()?;
        Ok(match (metadata, document) {
            (Some(metadata), Some(document)) => Some(Filter::and([metadata, document])),
            (either, None) | (None, either) => either,
        })
    }
}

struct Parser {
    clause: Clause,
    /// Whether `#id` names the record's id. If not, no record has such a key.
    names_ids: bool,
    /// Where the parser stands, as errors show it.
    place: String,
    nodes: usize,
    values: usize,
    regexes: usize,
}

type Parsed<T> = Result<T, FilterError>;

impl Parser {
    fn new(clause: Clause) -> Parser {
        let place = if clause == Clause::WhereDocument { "where_document" } else { "where" };
        Parser { clause, names_ids: false, place: place.to_owned(), nodes: 0, values: 0, regexes: 0 }
    }

    fn error<T>(&self, message: impl AsRef<str>) -> Parsed<T> {
        Err(FilterError { clause: self.clause, message: format!("{}: {}", self.place, message.as_ref()) })
    }

    /// Runs `inner` one step deeper; the step is part of the place meanwhile.
    fn within<T>(&mut self, step: &str, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let outside = self.place.len();
        self.place.push_str(step);
        let parsed = inner(self)?;
        self.place.truncate(outside);
        Ok(parsed)
    }

    fn node(&mut self, json: &Value, depth: usize) -> Parsed<Node> {
        if depth > MAX_DEPTH {
            return self.error(format!(
                "at most {MAX_DEPTH} levels of $and and $or in turn are allowed, got more; flatten the filter"
            ));
        }
        self.count()?;
        let Value::Object(object) = json else {
            return self.error(format!("expected an object with one key, got {}", shown(json)));
        };
        let (key, value) = self.only_entry(object, "key; join several conditions with $and")?;
        self.within(&format!(".{}", shortened(key)), |parser| match key {
            "$and" => parser.children(key, value, depth).map(Node::And),
            "$or" => parser.children(key, value, depth).map(Node::Or),
            _ if parser.clause == Clause::WhereDocument => parser.document_test(key, value),
            _ if key.starts_with('$') => parser.error(format!(
                "expected $and, $or or a metadata key, got the operator {:?}{}; tests of a value are \
                 {{\"key\": {{\"$gt\": 1}}}}",
                shortened(key),
                nearest_of(key, &JOINS)
            )),
            _ => parser.metadata_test(key, value),
        })
    }

    fn only_entry<'v>(&self, object: &'v Map<String, Value>, what: &str) -> Parsed<(&'v str, &'v Value)> {
        let mut entries = object.iter();
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) => Ok((key, value)),
            _ => self.error(format!("expected an object with exactly one {what}, got {} entries", object.len())),
        }
    }

    fn count(&mut self) -> Parsed<()> {
        self.nodes += 1;
        match self.nodes > MAX_NODES {
            true => {
                self.error(format!("at most {MAX_NODES} conditions are allowed, got more; use $in for many values"))
            }
            false => Ok(()),
        }
    }

    /// The conditions that `$and` or `$or` joins. Nested conditions under the same operator join the list in their
    /// place, however deep they lie.
    fn children(&mut self, operator: &str, json: &Value, depth: usize) -> Parsed<Vec<Node>> {
        let begin = self.place.len();
        let mut nodes = Vec::new();
        let mut open = vec![(begin, self.conditions(json)?.iter().enumerate())];
        while let Some((outside, items)) = open.last_mut() {
            self.place.truncate(*outside);
            let Some((i, item)) = items.next() else {
                open.pop();
                continue;
            };
            self.place.push_str(&format!("[{i}]"));
            let Some(inner) = same_operator(item, operator) else {
                nodes.push(self.node(item, depth + 1)?);
                continue;
            };
            self.count()?;
            self.place.push_str(&format!(".{operator}"));
            open.push((self.place.len(), self.conditions(inner)?.iter().enumerate()));
        }
        self.place.truncate(begin);
        Ok(nodes)
    }

    fn conditions<'v>(&self, json: &'v Value) -> Parsed<&'v [Value]> {
        match json {
            Value::Array(items) => Ok(items),
            other => self.error(format!("expected a list of conditions, got {}", shown(other))),
        }
    }

    /// The operand of a metadata key: a value, or an object of one operator.
    fn metadata_test(&mut self, key: &str, json: &Value) -> Parsed<Node> {
        let Some(object) = json.as_object().filter(|_| date_text(json).is_none()) else {
            return Ok(self.one_of(key, vec![self.scalar(json)?]));
        };
        let (operator, operand) = self.only_entry(object, "operator; join several conditions with $and")?;
        self.within(&format!(".{}", shortened(operator)), |parser| parser.operator_test(key, operator, operand))
    }

    /// A test for equality with one of these values.
    fn one_of(&self, key: &str, values: Vec<Scalar>) -> Node {
        if !(self.names_ids && key == ID) {
            return Node::one_of(key, values);
        }
        // An id equals strings only.
        let id = |value| match value {
            Scalar::Str(id) => Some(id),
            Scalar::Bool(_) | Scalar::Number(_) | Scalar::Date(_) => None,
        };
        Node::ids(values.into_iter().filter_map(id).collect())
    }

    fn operator_test(&mut self, key: &str, operator: &str, operand: &Value) -> Parsed<Node> {
        let is_id = self.names_ids && key == ID;
        Ok(match operator {
            _ if key == DOCUMENT && DOCUMENT_TESTS.contains(&operator) => self.document_operator(operator, operand)?,
            "$eq" => self.one_of(key, vec![self.scalar(operand)?]),
            "$ne" => self.one_of(key, vec![self.scalar(operand)?]).negate(),
            "$gt" | "$gte" | "$lt" | "$lte" if is_id => {
                return self.error("ids have no order, expected one of $eq, $ne, $in, $nin");
            }
            "$gt" => Node::range(key, Side::Above, self.limit(operand)?),
            "$gte" => Node::range(key, Side::AboveOrEqual, self.limit(operand)?),
            "$lt" => Node::range(key, Side::Below, self.limit(operand)?),
            "$lte" => Node::range(key, Side::BelowOrEqual, self.limit(operand)?),
            "$in" => {
                let values = self.list(operand)?;
                self.one_of(key, values)
            }
            "$nin" => {
                let values = self.list(operand)?;
                self.one_of(key, values).negate()
            }
            "$contains" => Node::contains(key, self.scalar(operand)?),
            "$not_contains" => Node::contains(key, self.scalar(operand)?).negate(),
            "$regex" | "$not_regex" => return self.error("a regex is only allowed on #document, use where_document"),
            "$exists" => self.existence(key, operand)?,
            _ if !OPERATORS.contains(&operator) => return self.error(unknown_operator(operator, &OPERATORS)),
            _ if is_id => return self.error("ids are tested as a whole, expected one of $eq, $ne, $in, $nin"),
            _ => self.text_test(key, operator, operand)?,
        })
    }

    /// A test of a key's string, or of the strings in its list.
    fn text_test(&self, key: &str, operator: &str, operand: &Value) -> Parsed<Node> {
        let text = self.text(operand)?;
        let node = match operator {
            "$startsWith" | "$not_startsWith" => Node::text(key, Literal::new(Portion::Start, Case::Sensitive, text)),
            "$istartsWith" | "$not_istartsWith" => Node::text(key, Literal::new(Portion::Start, Case::Ignored, text)),
            "$icontains" | "$not_icontains" => {
                Node::contains_text(key, Literal::new(Portion::Whole, Case::Ignored, text))
            }
            _ => Node::text(key, Literal::new(Portion::Whole, Case::Ignored, text)),
        };
        Ok(if operator == "$ine" || operator.starts_with("$not_") { node.negate() } else { node })
    }

    fn existence(&self, key: &str, operand: &Value) -> Parsed<Node> {
        let Value::Bool(wanted) = operand else {
            return self.error(format!("expected true or false, got {}", shown(operand)));
        };
        let node = match key {
            // The empty text is in every document.
            DOCUMENT => Node::document(Literal::new(Portion::Anywhere, Case::Sensitive, "")),
            _ if key.starts_with('#') => return self.error("expected a metadata key or #document before $exists"),
            _ => Node::exists(key),
        };
        Ok(if *wanted { node } else { node.negate() })
    }

    /// An operator of `where_document`; the place is at the operator already.
    fn document_test(&mut self, operator: &str, operand: &Value) -> Parsed<Node> {
        match DOCUMENT_TESTS.contains(&operator) {
            true => self.document_operator(operator, operand),
            false => self.error(unknown_operator(operator, &[&JOINS[..], &DOCUMENT_TESTS].concat())),
        }
    }

    /// One of [`DOCUMENT_TESTS`].
    fn document_operator(&mut self, operator: &str, operand: &Value) -> Parsed<Node> {
        let text = self.text(operand)?;
        let node = match operator {
            "$regex" | "$not_regex" => Node::Document(DocumentTest::Matches(self.regex(text)?)),
            "$startsWith" | "$not_startsWith" => Node::document(Literal::new(Portion::Start, Case::Sensitive, text)),
            "$istartsWith" | "$not_istartsWith" => Node::document(Literal::new(Portion::Start, Case::Ignored, text)),
            "$icontains" | "$not_icontains" => Node::document(Literal::new(Portion::Anywhere, Case::Ignored, text)),
            _ => Node::document(Literal::new(Portion::Anywhere, Case::Sensitive, text)),
        };
        Ok(if operator.starts_with("$not_") { node.negate() } else { node })
    }

    fn text<'v>(&self, operand: &'v Value) -> Parsed<&'v str> {
        match operand {
            Value::String(text) => Ok(text),
            other => self.error(format!("expected a string, got {}", shown(other))),
        }
    }

    fn regex(&mut self, text: &str) -> Parsed<Pattern> {
        self.regexes += 1;
        if self.regexes > MAX_REGEXES {
            return self.error(format!("at most {MAX_REGEXES} regexes are allowed, join them with |"));
        }
        if text.len() > MAX_REGEX_BYTES {
            return self.error(format!("expected a regex of at most {MAX_REGEX_BYTES} bytes, got {}", text.len()));
        }
        Pattern::compile(text)
            .map_err(|e| FilterError { clause: Clause::Regex, message: format!("{}: {e}", self.place) })
    }

    fn scalar(&self, json: &Value) -> Parsed<Scalar> {
        match json {
            Value::Bool(b) => Ok(Scalar::Bool(*b)),
            Value::String(s) => Ok(Scalar::Str(s.clone())),
            Value::Number(_) => self.number(json).map(Scalar::Number),
            Value::Object(_) if date_text(json).is_some() => self.date(json).map(Scalar::Date),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.error(format!("expected a string, number or boolean, got {}", shown(json)))
            }
        }
    }

    /// The operand of a range.
    fn limit(&self, json: &Value) -> Parsed<Limit> {
        match json {
            _ if date_text(json).is_some() => self.date(json).map(Limit::Date),
            Value::String(text) if DateTime::read(text).is_some() => {
                self.error(format!("expected a number, got {}; a time is {{\"{DATE}\": {text:?}}}", shown(json)))
            }
            _ => self.number(json).map(Limit::Number),
        }
    }

    /// The instant of `{"$date": …}`.
    fn date(&self, json: &Value) -> Parsed<DateTime> {
        let operand = date_text(json).unwrap_or(json);
        let read = operand.as_str().and_then(DateTime::read);
        let message = || format!("{}.{DATE}: {EXPECTED}, got {}", self.place, shown(operand));
        read.ok_or_else(|| FilterError { clause: self.clause, message: message() })
    }

    /// Integers beyond `i64` become floats, as they do in metadata.
    fn number(&self, json: &Value) -> Parsed<Number> {
        match (json.as_i64(), json.as_f64()) {
            (Some(int), _) => Ok(Number::Int(int)),
            (None, Some(float)) => Ok(Number::Float(float)),
            (None, None) => self.error(format!("expected a number, got {}", shown(json))),
        }
    }

    /// The operand of `$in` or `$nin`: at least one value, all of one kind.
    fn list(&mut self, json: &Value) -> Parsed<Vec<Scalar>> {
        let Value::Array(items) = json else {
            return self.error(format!("expected a list of values, got {}", shown(json)));
        };
        if items.is_empty() {
            return self.error("expected a list of at least one value, got an empty list");
        }
        self.values += items.len();
        if self.values > MAX_VALUES {
            return self
                .error(format!("at most {MAX_VALUES} listed values are allowed in a filter, split the request"));
        }
        let mut values: Vec<Scalar> = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let value = self.within(&format!("[{i}]"), |parser| {
                let value = parser.scalar(item)?;
                match values.first() {
                    Some(first) if kind(first) != kind(&value) => parser.error(format!(
                        "expected {}, as the list's first value is, got {}",
                        kind(first),
                        shown(item)
                    )),
                    _ => Ok(value),
                }
            })?;
            values.push(value);
        }
        Ok(values)
    }
}

/// The operand of `operator` in an object that has no other key.
fn same_operator<'v>(item: &'v Value, operator: &str) -> Option<&'v Value> {
    item.as_object().filter(|object| object.len() == 1)?.get(operator)
}

/// The operand of `$date`, where it is the only key.
fn date_text(json: &Value) -> Option<&Value> {
    same_operator(json, DATE)
}

fn unknown_operator(operator: &str, known: &[&str]) -> String {
    let nearest = nearest_of(operator, known);
    format!("expected one of {}, got {:?}{nearest}", known.join(", "), shortened(operator))
}

/// A suggestion for an unknown operator, if a known one is similar enough.
fn nearest_of(operator: &str, known: &[&str]) -> String {
    let bare = operator.trim_start_matches('$').to_lowercase();
    let same = |name: &&&str| name.trim_start_matches('$').replace('_', "").to_lowercase() == bare.replace('_', "");
    let meant = known.iter().find(same).copied().or_else(|| {
        let meant = match bare.as_str() {
            "=" | "==" | "equals" | "equal" | "is" => "$eq",
            "!=" | "<>" | "neq" | "not" => "$ne",
            ">" => "$gt",
            ">=" | "ge" => "$gte",
            "<" => "$lt",
            "<=" | "le" => "$lte",
            "notin" | "not_in" => "$nin",
            "like" | "match" | "matches" => "$regex",
            "ilike" => "$icontains",
            "prefix" | "begins_with" | "beginswith" => "$startsWith",
            "exist" => "$exists",
            _ => return None,
        };
        known.contains(&meant).then_some(meant)
    });
    meant.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// The kind of a scalar; a list must not mix kinds.
fn kind(scalar: &Scalar) -> &'static str {
    match scalar {
        Scalar::Bool(_) => "a boolean",
        Scalar::Number(Number::Int(_)) => "an integer",
        Scalar::Number(Number::Float(_)) => "a float",
        Scalar::Str(_) => "a string",
        Scalar::Date(_) => "a date",
    }
}

/// A value as errors show it.
fn shown(json: &Value) -> String {
    match json {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => format!("the boolean {b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(s) => format!("the string {:?}", shortened(s)),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
