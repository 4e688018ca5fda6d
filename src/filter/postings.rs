//! Postings: the rows that have each value of one key. Each kind of value has a sorted dictionary and, for each
//! value, its rows. The arrays are flat, so that a million records cost bytes per value and no allocations.
//! Invariant: values are strictly ascending; rows of one value are ascending and distinct.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use super::ast::Side;
use super::bitset::Bitset;
use super::date_time::DateTime;
use super::evaluate::{is_date_of, is_listed, split_dates};
use super::literal::{Literal, LiteralSearcher};
use super::scalar::{Limit, Number, Scalar, ScalarRef};

/// Row lists of the values 0, 1, …: value `i` has `rows[ends[i − 1]..ends[i]]`.
#[derive(Debug, Default)]
struct ValueRows {
    ends: Vec<u32>,
    rows: Vec<u16>,
}

impl ValueRows {
    /// Adds the next row to the newest value.
    fn push(&mut self, row: u16) {
        self.rows.push(row);
        if let Some(end) = self.ends.last_mut() {
            *end += 1;
        }
    }

    fn begin_value(&mut self) {
        self.ends.push(self.rows.len() as u32);
    }

    /// Adds the rows of all values in `values` to `into`.
    fn collect(&self, values: Range<usize>, into: &mut Bitset) {
        self.among(values).iter().for_each(|row| into.insert(usize::from(*row)));
    }

    /// The rows of one value.
    fn of(&self, value: usize) -> &[u16] {
        self.among(value..value + 1)
    }

    /// The rows of all values in `values`, value by value.
    fn among(&self, values: Range<usize>) -> &[u16] {
        let end_of = |count: usize| count.checked_sub(1).and_then(|i| self.ends.get(i)).map_or(0, |e| *e as usize);
        self.rows.get(end_of(values.start)..end_of(values.end)).unwrap_or_default()
    }

    fn shrink(&mut self) {
        self.ends.shrink_to_fit();
        self.rows.shrink_to_fit();
    }

    fn size_bytes(&self) -> usize {
        self.ends.capacity() * size_of::<u32>() + self.rows.capacity() * size_of::<u16>()
    }
}

/// Postings of values of a fixed size.
#[derive(Debug)]
struct NumberPostings<T> {
    values: Vec<T>,
    lists: ValueRows,
}

impl<T: Copy> NumberPostings<T> {
    /// `entries` in any order; `order` is total over them.
    fn build(mut entries: Vec<(T, u16)>, order: impl Fn(&T, &T) -> Ordering) -> NumberPostings<T> {
        entries.sort_unstable_by(|a, b| order(&a.0, &b.0).then(a.1.cmp(&b.1)));
        entries.dedup_by(|a, b| a.1 == b.1 && order(&a.0, &b.0).is_eq());
        let mut built = NumberPostings { values: Vec::new(), lists: ValueRows::default() };
        for (value, row) in entries {
            if built.values.last().is_none_or(|last| order(last, &value).is_ne()) {
                built.values.push(value);
                built.lists.begin_value();
            }
            built.lists.push(row);
        }
        built.values.shrink_to_fit();
        built.lists.shrink();
        built
    }

    /// The values on this side of `limit`. They are contiguous, since values ascend.
    fn beyond(&self, side: Side, limit: Number, number: impl Fn(T) -> Number) -> Range<usize> {
        match side {
            Side::Below | Side::BelowOrEqual => 0..self.values.partition_point(|v| side.has(number(*v), limit)),
            Side::Above | Side::AboveOrEqual => {
                self.values.partition_point(|v| !side.has(number(*v), limit))..self.values.len()
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<T>() + self.lists.size_bytes()
    }
}

/// Postings of strings: the dictionary is one text, value `i` is `text[ends[i − 1]..ends[i]]`.
#[derive(Debug, Default)]
struct Strings {
    text: Box<str>,
    ends: Vec<u32>,
    lists: ValueRows,
}

impl Strings {
    fn build(dictionary: HashMap<String, u32>, entries: Vec<(u32, u16)>) -> Strings {
        let mut sorted: Vec<(String, u32)> = dictionary.into_iter().collect();
        sorted.sort_unstable();
        let mut ranks = vec![0u32; sorted.len()];
        let mut text = String::with_capacity(sorted.iter().map(|(s, _)| s.len()).sum());
        let mut ends = Vec::with_capacity(sorted.len());
        for (rank, (value, code)) in sorted.iter().enumerate() {
            text.push_str(value);
            ends.push(text.len() as u32);
            if let Some(slot) = ranks.get_mut(*code as usize) {
                *slot = rank as u32;
            }
        }
        let ranked = entries.into_iter().map(|(code, row)| (ranks.get(code as usize).copied().unwrap_or(0), row));
        // Ranks are dense: every string of the dictionary has a row, so value i is rank i.
        let lists = NumberPostings::build(ranked.collect(), u32::cmp).lists;
        Strings { text: text.into(), ends, lists }
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn value(&self, i: usize) -> &str {
        let start = i.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |e| *e as usize);
        let end = self.ends.get(i).map_or(start, |e| *e as usize);
        self.text.get(start..end).unwrap_or_default()
    }

    fn find(&self, wanted: &str) -> Option<usize> {
        let at = self.partition_point(0, |value| value < wanted);
        (at < self.len() && self.value(at) == wanted).then_some(at)
    }

    /// The first value from `start` on that fails `test`, which no later one may pass.
    fn partition_point(&self, start: usize, test: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (start, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match test(self.value(middle)) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// Adds the rows of every string that begins with `start`. They are contiguous, since strings ascend.
    fn starting_with(&self, start: &str, into: &mut Bitset) {
        let first = self.partition_point(0, |value| value < start);
        self.lists.collect(first..self.partition_point(first, |value| value.starts_with(start)), into);
    }

    /// Adds the rows of every string that passes `test`. Each distinct string is tested once.
    fn walk(&self, test: impl Fn(&str) -> bool, into: &mut Bitset) {
        (0..self.len()).filter(|i| test(self.value(*i))).for_each(|i| self.lists.collect(i..i + 1, into));
    }

    fn size_bytes(&self) -> usize {
        self.text.len() + self.ends.capacity() * size_of::<u32>() + self.lists.size_bytes()
    }
}

/// Values of one key, in the order in which rows are read.
#[derive(Debug, Default)]
pub(super) struct Entries {
    bools: Vec<(bool, u16)>,
    ints: Vec<(i64, u16)>,
    floats: Vec<(f64, u16)>,
    strings: Vec<(u32, u16)>,
    dictionary: HashMap<String, u32>,
}

impl Entries {
    pub(super) fn push(&mut self, value: ScalarRef<'_>, row: u16) {
        match value {
            ScalarRef::Bool(b) => self.bools.push((b, row)),
            ScalarRef::Number(Number::Int(i)) => self.ints.push((i, row)),
            // −0.0 + 0.0 is 0.0: equal floats have equal bits from here on.
            ScalarRef::Number(Number::Float(f)) => self.floats.push((f + 0.0, row)),
            // Metadata has no dates, only strings.
            ScalarRef::Date(_) => {}
            ScalarRef::Str(s) => {
                let code = match self.dictionary.get(s) {
                    Some(code) => *code,
                    None => {
                        let code = self.dictionary.len() as u32;
                        self.dictionary.insert(s.to_owned(), code);
                        code
                    }
                };
                self.strings.push((code, row));
            }
        }
    }

    pub(super) fn build(self) -> Postings {
        Postings {
            bools: NumberPostings::build(self.bools, bool::cmp),
            ints: NumberPostings::build(self.ints, i64::cmp),
            floats: NumberPostings::build(self.floats, f64::total_cmp),
            strings: Strings::build(self.dictionary, self.strings),
        }
    }
}

/// The values of one key in one place (scalars, or elements of lists), with their rows.
#[derive(Debug)]
pub(super) struct Postings {
    bools: NumberPostings<bool>,
    ints: NumberPostings<i64>,
    floats: NumberPostings<f64>,
    strings: Strings,
}

impl Postings {
    /// Rows that have exactly this element, of this kind.
    pub(super) fn with_element(&self, element: ScalarRef<'_>, into: &mut Bitset) {
        match element {
            ScalarRef::Number(Number::Int(i)) => {
                if let Ok(at) = self.ints.values.binary_search(&i) {
                    self.ints.lists.collect(at..at + 1, into);
                }
            }
            ScalarRef::Number(Number::Float(f)) => {
                if let Ok(at) = self.floats.values.binary_search_by(|v| v.total_cmp(&(f + 0.0))) {
                    self.floats.lists.collect(at..at + 1, into);
                }
            }
            ScalarRef::Bool(_) | ScalarRef::Str(_) | ScalarRef::Date(_) => self.equal_to(element, into),
        }
    }

    /// Rows whose value equals one of `values`, which are sorted. The shorter of the two lists is walked, the longer
    /// is searched.
    pub(super) fn one_of(&self, values: &[Scalar], into: &mut Bitset) {
        let (values, dates) = split_dates(values);
        if !dates.is_empty() {
            self.strings.walk(|s| is_date_of(s, dates), into);
        }
        let here = self.bools.values.len() + self.ints.values.len() + self.floats.values.len() + self.strings.len();
        if values.len() <= here {
            values.iter().for_each(|v| self.equal_to(v.as_ref(), into));
            return;
        }
        walk(&self.bools, |b| is_listed(ScalarRef::Bool(b), values), into);
        walk(&self.ints, |i| is_listed(ScalarRef::Number(Number::Int(i)), values), into);
        walk(&self.floats, |f| is_listed(ScalarRef::Number(Number::Float(f)), values), into);
        self.strings.walk(|s| is_listed(ScalarRef::Str(s), values), into);
    }

    fn equal_to(&self, value: ScalarRef<'_>, into: &mut Bitset) {
        match value {
            ScalarRef::Bool(b) => walk(&self.bools, |v| v == b, into),
            ScalarRef::Number(n) => {
                let order = |number: Number| number.compare(n).unwrap_or(Ordering::Less);
                if let Ok(at) = self.ints.values.binary_search_by(|v| order(Number::Int(*v))) {
                    self.ints.lists.collect(at..at + 1, into);
                }
                if let Ok(at) = self.floats.values.binary_search_by(|v| order(Number::Float(*v))) {
                    self.floats.lists.collect(at..at + 1, into);
                }
            }
            ScalarRef::Str(s) => {
                if let Some(at) = self.strings.find(s) {
                    self.strings.lists.collect(at..at + 1, into);
                }
            }
            ScalarRef::Date(date) => self.strings.walk(|s| DateTime::read(s) == Some(date), into),
        }
    }

    /// Rows whose number, or whose string as a date, lies on this side of `limit`.
    pub(super) fn beyond(&self, side: Side, limit: Limit, into: &mut Bitset) {
        match limit {
            Limit::Number(limit) => {
                self.ints.lists.collect(self.ints.beyond(side, limit, Number::Int), into);
                self.floats.lists.collect(self.floats.beyond(side, limit, Number::Float), into);
            }
            Limit::Date(limit) => self.strings.walk(|s| side.has_date(s, limit), into),
        }
    }

    /// Rows with a string that passes the test.
    pub(super) fn with_text(&self, literal: &Literal, into: &mut Bitset) {
        if let Some(start) = literal.exact_start() {
            return self.strings.starting_with(start, into);
        }
        let searcher = LiteralSearcher::new(literal);
        self.strings.walk(|s| searcher.matches(s), into);
    }

    /// Rows with any value.
    pub(super) fn all(&self, into: &mut Bitset) {
        self.bools.lists.collect(0..self.bools.values.len(), into);
        self.ints.lists.collect(0..self.ints.values.len(), into);
        self.floats.lists.collect(0..self.floats.values.len(), into);
        self.strings.lists.collect(0..self.strings.len(), into);
    }

    /// The rows of all values.
    pub(super) fn rows(&self) -> impl Iterator<Item = u16> + '_ {
        let lists = [&self.bools.lists, &self.ints.lists, &self.floats.lists, &self.strings.lists];
        lists.into_iter().flat_map(|lists| lists.rows.iter().copied())
    }

    /// Visits each value with its rows, until a visit fails.
    pub(super) fn each<E>(&self, mut visit: impl FnMut(ScalarRef<'_>, &[u16]) -> Result<(), E>) -> Result<(), E> {
        let mut bools = self.bools.values.iter().enumerate();
        bools.try_for_each(|(i, b)| visit(ScalarRef::Bool(*b), self.bools.lists.of(i)))?;
        let mut ints = self.ints.values.iter().enumerate();
        ints.try_for_each(|(i, n)| visit(ScalarRef::Number(Number::Int(*n)), self.ints.lists.of(i)))?;
        let mut floats = self.floats.values.iter().enumerate();
        floats.try_for_each(|(i, f)| visit(ScalarRef::Number(Number::Float(*f)), self.floats.lists.of(i)))?;
        (0..self.strings.len()).try_for_each(|i| visit(ScalarRef::Str(self.strings.value(i)), self.strings.lists.of(i)))
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.bools.size_bytes() + self.ints.size_bytes() + self.floats.size_bytes() + self.strings.size_bytes()
    }
}

/// Adds the rows of every value that passes `test`.
fn walk<T: Copy>(numbers: &NumberPostings<T>, test: impl Fn(T) -> bool, into: &mut Bitset) {
    for (i, _) in numbers.values.iter().enumerate().filter(|(_, v)| test(**v)) {
        numbers.lists.collect(i..i + 1, into);
    }
}
