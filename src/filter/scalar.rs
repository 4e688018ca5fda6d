//! The values in a filter, and how they compare with a record's. Integers and floats compare by their exact
//! mathematical value: no cast loses a bit. Values of different kinds do not compare; a date compares with strings that
//! are dates.

use std::cmp::Ordering;

use super::date_time::DateTime;
use crate::record::MetaValue;

/// A number in a filter. Integers and floats compare with each other by value; they are kept apart
/// because membership in a list asks for the list's own kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float; NaN equals nothing and orders with nothing.
    Float(f64),
}

impl Number {
    /// Exact numeric order; `None` where one of the two is NaN.
    pub(super) fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
            (Number::Int(a), Number::Float(b)) => compare_int_float(a, b),
            (Number::Float(a), Number::Int(b)) => compare_int_float(b, a).map(Ordering::reverse),
        }
    }

    pub(super) fn is_nan(self) -> bool {
        matches!(self, Number::Float(f) if f.is_nan())
    }
}

/// Orders an integer against a float as real numbers.
fn compare_int_float(int: i64, float: f64) -> Option<Ordering> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= TWO_TO_63 {
        return Some(Ordering::Less);
    }
    if float < -TWO_TO_63 {
        return Some(Ordering::Greater);
    }
    // −2⁶³ ≤ float < 2⁶³: its integral part is exactly an i64; its fraction decides a tie.
    let whole = float.trunc();
    Some(int.cmp(&(whole as i64)).then_with(|| if float > whole { Ordering::Less } else { tie(float, whole) }))
}

fn tie(float: f64, whole: f64) -> Ordering {
    if float < whole { Ordering::Greater } else { Ordering::Equal }
}

/// One value in a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `true` or `false`; never equal to a number.
    Bool(bool),
    /// An integer or a float.
    Number(Number),
    /// A string, compared byte by byte.
    Str(String),
    /// An instant; equal to the strings that are texts of it.
    Date(DateTime),
}

/// The limit of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Ranges of numbers.
    Number(Number),
    /// Ranges of strings that are dates.
    Date(DateTime),
}

impl<N: Into<Number>> From<N> for Limit {
    fn from(value: N) -> Limit {
        Limit::Number(value.into())
    }
}

impl From<DateTime> for Limit {
    fn from(value: DateTime) -> Limit {
        Limit::Date(value)
    }
}

impl Scalar {
    /// Bytes of memory.
    pub(super) fn size_bytes(&self) -> usize {
        let text = if let Scalar::Str(s) = self { s.len() } else { 0 };
        size_of::<Scalar>() + text
    }

    pub(super) fn as_ref(&self) -> ScalarRef<'_> {
        match self {
            Scalar::Bool(b) => ScalarRef::Bool(*b),
            Scalar::Number(n) => ScalarRef::Number(*n),
            Scalar::Str(s) => ScalarRef::Str(s),
            Scalar::Date(d) => ScalarRef::Date(*d),
        }
    }
}

/// A borrowed [`Scalar`]: a record's scalar value as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ScalarRef<'a> {
    Bool(bool),
    Number(Number),
    Str(&'a str),
    /// Only in filters: a record has strings.
    Date(DateTime),
}

impl<'a> ScalarRef<'a> {
    /// The scalar in a record's metadata; `None` for lists.
    pub(super) fn of(value: &'a MetaValue) -> Option<ScalarRef<'a>> {
        match value {
            MetaValue::Bool(b) => Some(ScalarRef::Bool(*b)),
            MetaValue::Int(i) => Some(ScalarRef::Number(Number::Int(*i))),
            MetaValue::Float(f) => Some(ScalarRef::Number(Number::Float(*f))),
            MetaValue::Str(s) => Some(ScalarRef::Str(s)),
            MetaValue::Bools(_)
            | MetaValue::Ints(_)
            | MetaValue::Floats(_)
            | MetaValue::Strs(_)
            | MetaValue::Sparse(_) => None,
        }
    }

    /// A total order in which equal means equal to a filter: booleans, then numbers by value, then
    /// strings, then dates. NaN is not ordered and must have been removed before.
    pub(super) fn order(self, other: ScalarRef<'_>) -> Ordering {
        match (self, other) {
            (ScalarRef::Bool(a), ScalarRef::Bool(b)) => a.cmp(&b),
            (ScalarRef::Number(a), ScalarRef::Number(b)) => a.compare(b).unwrap_or(Ordering::Equal),
            (ScalarRef::Str(a), ScalarRef::Str(b)) => a.cmp(b),
            (ScalarRef::Date(a), ScalarRef::Date(b)) => a.cmp(&b),
            (a, b) => a.kind().cmp(&b.kind()),
        }
    }

    fn kind(self) -> u8 {
        match self {
            ScalarRef::Bool(_) => 0,
            ScalarRef::Number(_) => 1,
            ScalarRef::Str(_) => 2,
            ScalarRef::Date(_) => 3,
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        Number::Int(value)
    }
}

impl From<i32> for Number {
    fn from(value: i32) -> Number {
        Number::Int(value.into())
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Number {
        Number::Float(value)
    }
}

impl From<Number> for Scalar {
    fn from(value: Number) -> Scalar {
        Scalar::Number(value)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Scalar {
        Scalar::Number(value.into())
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Scalar {
        Scalar::Number(value.into())
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Scalar {
        Scalar::Number(value.into())
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Scalar {
        Scalar::Bool(value)
    }
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Scalar {
        Scalar::Str(value.to_owned())
    }
}

impl From<DateTime> for Scalar {
    fn from(value: DateTime) -> Scalar {
        Scalar::Date(value)
    }
}

impl From<String> for Scalar {
    fn from(value: String) -> Scalar {
        Scalar::Str(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(int: i64, float: f64) -> Option<Ordering> {
        let forward = Number::Int(int).compare(Number::Float(float));
        assert_eq!(Number::Float(float).compare(Number::Int(int)), forward.map(Ordering::reverse));
        forward
    }

    #[test]
    fn an_integer_and_a_float_compare_as_real_numbers() {
        use Ordering::{Equal, Greater, Less};
        let two_53 = 9_007_199_254_740_992_i64;
        let cases = [
            (2, 2.0, Equal),
            (2, 2.5, Less),
            (3, 2.5, Greater),
            (-2, -2.5, Greater),
            (-3, -2.5, Less),
            (0, -0.0, Equal),
            (0, 5e-324, Less),
            (0, -5e-324, Greater),
            (two_53, two_53 as f64, Equal),
            (two_53 + 1, two_53 as f64, Greater),
            (two_53 - 1, two_53 as f64, Less),
            (-two_53 - 1, -two_53 as f64, Less),
            (i64::MAX, 9_223_372_036_854_775_808.0, Less),
            (i64::MAX, 9_223_372_036_854_774_784.0, Greater),
            (i64::MIN, -9_223_372_036_854_775_808.0, Equal),
            (i64::MIN, -9_223_372_036_854_777_856.0, Greater),
            (i64::MAX, f64::MAX, Less),
            (i64::MIN, f64::MIN, Greater),
            (i64::MAX, f64::INFINITY, Less),
            (i64::MIN, f64::NEG_INFINITY, Greater),
        ];
        for (int, float, expected) in cases {
            assert_eq!(compare(int, float), Some(expected), "{int} against {float}");
        }
    }

    #[test]
    fn nothing_orders_with_nan() {
        assert_eq!(compare(0, f64::NAN), None);
        assert_eq!(Number::Float(f64::NAN).compare(Number::Float(f64::NAN)), None);
    }
}
