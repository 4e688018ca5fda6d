//! A value of metadata by which records are counted or grouped.
//! Invariant: two values have one key exactly where a filter calls them equal: 2 and 2.0 have one.

use crate::filter::{Number, Scalar};
use crate::ranking::Total;
use crate::record::MetaValue;

/// A string, a number or a boolean. The order is that of the kinds, then of the values; an integral float is an
/// integer here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKey {
    Bool(bool),
    Int(i64),
    Float(Total),
    Str(String),
}

impl ValueKey {
    /// `None` for lists and sparse vectors.
    pub fn of(value: MetaValue) -> Option<ValueKey> {
        const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
        match value {
            MetaValue::Bool(b) => Some(ValueKey::Bool(b)),
            MetaValue::Int(i) => Some(ValueKey::Int(i)),
            MetaValue::Float(f) if f.trunc() == f && (-TWO_TO_63..TWO_TO_63).contains(&f) => {
                Some(ValueKey::Int(f as i64))
            }
            MetaValue::Float(f) => Some(ValueKey::Float(Total(f))),
            MetaValue::Str(s) => Some(ValueKey::Str(s)),
            MetaValue::Bools(_)
            | MetaValue::Ints(_)
            | MetaValue::Floats(_)
            | MetaValue::Strs(_)
            | MetaValue::Sparse(_) => None,
        }
    }

    /// The value, as an answer shows it.
    pub fn value(&self) -> MetaValue {
        match self {
            ValueKey::Bool(b) => MetaValue::Bool(*b),
            ValueKey::Int(i) => MetaValue::Int(*i),
            ValueKey::Float(Total(f)) => MetaValue::Float(*f),
            ValueKey::Str(s) => MetaValue::Str(s.clone()),
        }
    }

    /// The value, as a filter has it.
    pub fn scalar(&self) -> Scalar {
        match self {
            ValueKey::Bool(b) => Scalar::Bool(*b),
            ValueKey::Int(i) => Scalar::Number(Number::Int(*i)),
            ValueKey::Float(Total(f)) => Scalar::Number(Number::Float(*f)),
            ValueKey::Str(s) => Scalar::Str(s.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::record::Metadata;

    #[test]
    fn values_have_one_key_exactly_where_a_filter_calls_them_equal() {
        let floats = [0.0, -0.0, 2.0, 2.5, 9_007_199_254_740_992.0, 9_223_372_036_854_775_808.0, -9e18, 1e300];
        let ints = [0, 2, 9_007_199_254_740_992, 9_007_199_254_740_993, i64::MAX, i64::MIN];
        let mut values: Vec<MetaValue> = floats.map(MetaValue::Float).to_vec();
        values.extend(ints.map(MetaValue::Int));
        values.extend([MetaValue::from(true), MetaValue::from(false), MetaValue::from("2"), MetaValue::from("")]);
        for a in &values {
            let key = ValueKey::of(a.clone()).unwrap();
            let filter = Filter::eq("k", key.scalar());
            for b in &values {
                let matches = filter.matches(Some(&Metadata::from([("k", b.clone())])), None);
                assert_eq!(Some(&key) == ValueKey::of(b.clone()).as_ref(), matches, "{a:?} and {b:?}");
            }
        }
        assert_eq!(ValueKey::of(MetaValue::Ints(vec![2])), None);
    }
}
