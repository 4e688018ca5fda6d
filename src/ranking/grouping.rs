//! `group_by`: of ranked rows, the k best of each group. Groups are found among the rows that were ranked; for the
//! best groups of a whole collection see [`super::BestGroups`].
//! Invariants: values of different kinds are different groups, and order by kind; ties keep the ranked order, in both
//! directions.

use std::collections::BTreeMap;

use super::order::{Total, by_score};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::record::MetaValue;

/// The interrupt is checked once in so many rows.
const ROWS_PER_CHECK: usize = 256;

/// A value by which rows are grouped or ordered. The order of the variants is the order of the kinds: any integer is
/// below any float. Of sparse vectors the indices count, then the values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupValue {
    Bool(bool),
    Int(i64),
    Float(Total),
    Str(String),
    Sparse(Vec<u32>, Vec<Total>),
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Floats(Vec<Total>),
    Strs(Vec<String>),
}

impl From<MetaValue> for GroupValue {
    fn from(value: MetaValue) -> GroupValue {
        match value {
            MetaValue::Bool(value) => GroupValue::Bool(value),
            MetaValue::Int(value) => GroupValue::Int(value),
            MetaValue::Float(value) => GroupValue::Float(Total(value)),
            MetaValue::Str(value) => GroupValue::Str(value),
            MetaValue::Bools(list) => GroupValue::Bools(list),
            MetaValue::Ints(list) => GroupValue::Ints(list),
            MetaValue::Floats(list) => GroupValue::Floats(list.into_iter().map(Total).collect()),
            MetaValue::Strs(list) => GroupValue::Strs(list),
            MetaValue::Sparse(vector) => GroupValue::Sparse(
                vector.indices().to_vec(),
                vector.values().iter().map(|value| Total(f64::from(*value))).collect(),
            ),
        }
    }
}

/// What rows of a group are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupKey {
    /// The score of the rank.
    Score,
    /// The value of a metadata key.
    Field(String),
}

/// Which rows of a group are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// The k smallest; a missing value is the smallest of all.
    MinK,
    /// The k largest.
    MaxK,
}

/// A grouping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBy {
    /// Fields whose values make a group; a missing value is a value of its own.
    pub fields: Vec<String>,
    /// Which rows of each group.
    pub aggregate: Aggregate,
    /// The first decides, the next ones where it does not.
    pub order: Vec<GroupKey>,
    /// Rows of each group.
    pub k: usize,
}

/// The kept rows, smallest score first, equal ones by key. `ranked` is in that order too. `value` reads a field of a
/// row; all that is asked of one row is asked without another one between.
///
/// # Errors
/// Those of `value`, and the interrupt's.
pub fn group<K: Copy + Ord>(
    ranked: &[(K, f32)],
    by: &GroupBy,
    interrupt: &Interrupt,
    mut value: impl FnMut(K, &str) -> Result<Option<GroupValue>>,
) -> Result<Vec<(K, f32)>> {
    let mut groups: BTreeMap<Vec<Option<GroupValue>>, Vec<(K, f32)>> = BTreeMap::new();
    for (place, row) in ranked.iter().enumerate() {
        check_at(place, interrupt)?;
        let group = by.fields.iter().map(|field| value(row.0, field)).collect::<Result<_>>()?;
        groups.entry(group).or_default().push(*row);
    }
    let (mut kept, mut place) = (Vec::new(), 0);
    for rows in groups.into_values() {
        let mut keyed = Vec::with_capacity(rows.len());
        for row in rows {
            check_at(place, interrupt)?;
            place += 1;
            let keys = by.order.iter().map(|key| match key {
                GroupKey::Score => Ok(Some(GroupValue::Float(Total(f64::from(row.1))))),
                GroupKey::Field(field) => value(row.0, field),
            });
            keyed.push((keys.collect::<Result<Vec<_>>>()?, row));
        }
        // Both sorts are stable: equal rows stay in ranked order.
        match by.aggregate {
            Aggregate::MinK => keyed.sort_by(|a, b| a.0.cmp(&b.0)),
            Aggregate::MaxK => keyed.sort_by(|a, b| b.0.cmp(&a.0)),
        }
        kept.extend(keyed.into_iter().take(by.k).map(|(_, row)| row));
    }
    kept.sort_unstable_by(by_score);
    Ok(kept)
}

fn check_at(place: usize, interrupt: &Interrupt) -> Result<()> {
    match place % ROWS_PER_CHECK {
        0 => interrupt.check(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// One value of each kind, ascending; the last of each pair is the larger one.
    fn ladder() -> Vec<Option<GroupValue>> {
        use GroupValue::*;
        let sparse = |indices: &[u32], value: f64| Sparse(indices.to_vec(), vec![Total(value); indices.len()]);
        let some = [
            Bool(false),
            Bool(true),
            Int(-5),
            Int(i64::MAX),
            Float(Total(f64::NEG_INFINITY)),
            Float(Total(-0.0)),
            Float(Total(0.0)),
            Float(Total(f64::INFINITY)),
            Float(Total(f64::NAN)),
            Str(String::new()),
            Str("é".into()),
            sparse(&[], 0.0),
            sparse(&[1], 9.0),
            sparse(&[1, 2], -1.0),
            sparse(&[1, 2], 1.0),
            Bools(vec![true]),
            Ints(vec![1]),
            Ints(vec![1, 0]),
            Floats(vec![Total(-1.0)]),
            Strs(vec![]),
            Strs(vec!["a".into()]),
        ];
        std::iter::once(None).chain(some.into_iter().map(Some)).collect()
    }

    #[test]
    fn values_order_by_kind_before_they_order_by_value() {
        let ladder = ladder();
        for (i, a) in ladder.iter().enumerate() {
            for (j, b) in ladder.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a:?} and {b:?}");
            }
        }
    }

    /// The rule as a definition: a row is kept if fewer than k rows of its group come before it.
    fn kept(ranked: &[(u32, f32)], by: &GroupBy, table: &[Vec<Option<GroupValue>>]) -> Vec<(u32, f32)> {
        let field = |key: u32, name: &str| table[key as usize][name.parse::<usize>().unwrap()].clone();
        let group = |key| by.fields.iter().map(|name| field(key, name)).collect::<Vec<_>>();
        let order = |row: (u32, f32)| {
            let keys = by.order.iter().map(|key| match key {
                GroupKey::Score => Some(GroupValue::Float(Total(row.1.into()))),
                GroupKey::Field(name) => field(row.0, name),
            });
            keys.collect::<Vec<_>>()
        };
        let before = |place: usize, other: usize| {
            let (a, b) = (order(ranked[other]), order(ranked[place]));
            let first = if by.aggregate == Aggregate::MinK { a < b } else { a > b };
            group(ranked[other].0) == group(ranked[place].0) && (first || a == b && other < place)
        };
        let places = (0..ranked.len()).filter(|p| (0..ranked.len()).filter(|o| before(*p, *o)).count() < by.k);
        places.map(|place| ranked[place]).collect()
    }

    #[test]
    fn a_row_is_kept_if_fewer_than_k_of_its_group_come_before_it() {
        let (seed, ladder) = (26, ladder());
        let mut random = StdRng::seed_from_u64(seed);
        for case in 0..2_000 {
            let rows = random.random_range(0..20);
            let few: Vec<_> = (0..4).map(|_| ladder[random.random_range(0..ladder.len())].clone()).collect();
            let table: Vec<Vec<Option<GroupValue>>> =
                (0..rows).map(|_| (0..3).map(|_| few[random.random_range(0..4)].clone()).collect()).collect();
            let mut ranked: Vec<(u32, f32)> = (0..rows).map(|key| (key, random.random_range(0..4) as f32)).collect();
            ranked.sort_by(by_score);
            let fields = (0..random.random_range(1..3)).map(|_| random.random_range(0..3).to_string()).collect();
            let order = (0..random.random_range(1..3)).map(|_| match random.random_range(0..4) {
                3 => GroupKey::Score,
                field => GroupKey::Field(field.to_string()),
            });
            let order = order.collect();
            let aggregate = if random.random() { Aggregate::MinK } else { Aggregate::MaxK };
            let by = GroupBy { fields, aggregate, order, k: random.random_range(1..4) };
            let value = |key: u32, name: &str| Ok(table[key as usize][name.parse::<usize>().unwrap()].clone());
            let found = group(&ranked, &by, &Interrupt::never(), value);
            assert_eq!(found.unwrap(), kept(&ranked, &by, &table), "seed {seed}, case {case}: {by:?}");
        }
    }

    #[test]
    fn a_grouping_ends_once_nobody_waits_for_it() {
        let asker = crate::interrupt::Asker::default();
        let interrupt = Interrupt::new(asker.gone(), || {});
        let by = GroupBy { fields: vec!["a".into()], aggregate: Aggregate::MinK, order: vec![GroupKey::Score], k: 1 };
        let ranked: Vec<(u32, f32)> = (0..10_000).map(|key| (key, 0.0)).collect();
        let mut asker = Some(asker);
        let mut read = 0;
        let value = |_, _: &str| {
            asker.take();
            read += 1;
            Ok(None)
        };
        let refused = group(&ranked, &by, &interrupt, value).unwrap_err();
        assert_eq!((refused.kind(), read), (crate::error::ErrorKind::Unavailable, ROWS_PER_CHECK));
    }

    #[test]
    fn metadata_of_every_kind_is_a_value() {
        let cases = [
            (MetaValue::Int(1), GroupValue::Int(1)),
            (MetaValue::Float(1.0), GroupValue::Float(Total(1.0))),
            (MetaValue::Strs(vec!["a".into()]), GroupValue::Strs(vec!["a".into()])),
            (MetaValue::Floats(vec![1.0]), GroupValue::Floats(vec![Total(1.0)])),
            (MetaValue::Ints(vec![1]), GroupValue::Ints(vec![1])),
        ];
        for (value, expected) in cases {
            assert_eq!(GroupValue::from(value), expected);
        }
        assert_ne!(GroupValue::from(MetaValue::Int(1)), GroupValue::from(MetaValue::Float(1.0)));
    }
}
