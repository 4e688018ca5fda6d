//! Facets: how often each value occurs in many records, and where numbers lie. Exact, in memory that a limit on
//! distinct values bounds.
//! Invariant: a count is exact or refused, never estimated.

use std::collections::BTreeMap;

use super::order::Total;
use crate::error::{Error, ErrorKind, Result};

/// Counts of values.
#[derive(Debug, Clone)]
pub struct ValueFacet<V> {
    counts: BTreeMap<V, u64>,
    most_values: usize,
}

impl<V: Ord> ValueFacet<V> {
    /// Refuses more than `most_values` different values.
    pub fn new(most_values: usize) -> ValueFacet<V> {
        ValueFacet { counts: BTreeMap::new(), most_values }
    }

    /// Counts a value `times` times; of a list each different element once for its record.
    ///
    /// # Errors
    /// `Limit`: there are more different values than allowed.
    pub fn add(&mut self, value: V, times: u64) -> Result<()> {
        if let Some(count) = self.counts.get_mut(&value) {
            *count += times;
            return Ok(());
        }
        if self.counts.len() >= self.most_values {
            let most = self.most_values;
            let words = format!("expected at most {most} different values to count, got more; select fewer records");
            return Err(Error::new(ErrorKind::Limit, words));
        }
        self.counts.insert(value, times);
        Ok(())
    }

    /// How many different values there are.
    pub fn values(&self) -> usize {
        self.counts.len()
    }

    /// The `most` commonest values with their counts, commonest first, equally common ones ascending.
    pub fn commonest(&self, most: usize) -> Vec<(&V, u64)> {
        let mut counts: Vec<(&V, u64)> = self.counts.iter().map(|(value, count)| (value, *count)).collect();
        // Stable: the map ascends by value.
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(most);
        counts
    }
}

/// Where numbers lie. Integers are taken as f64, so those beyond 2⁵³ are rounded.
#[derive(Debug, Clone)]
pub struct NumberFacet {
    count: u64,
    sum: f64,
    range: Option<(f64, f64)>,
    /// Numbers with their counts, for quantiles; `None` once there were too many different ones.
    counts: Option<BTreeMap<Total, u64>>,
    most_values: usize,
}

impl NumberFacet {
    /// Quantiles are known for at most `most_values` different numbers; the rest is exact for any.
    pub fn new(most_values: usize) -> NumberFacet {
        NumberFacet { count: 0, sum: 0.0, range: None, counts: Some(BTreeMap::new()), most_values }
    }

    /// Counts a finite number `times` times.
    pub fn add(&mut self, number: f64, times: u64) {
        // −0.0 + 0.0 is 0.0: zeros are one value.
        let number = number + 0.0;
        self.count += times;
        self.sum += number * times as f64;
        self.range = Some(self.range.map_or((number, number), |(low, high)| (low.min(number), high.max(number))));
        if let Some(counts) = &mut self.counts {
            *counts.entry(Total(number)).or_insert(0) += times;
            if counts.len() > self.most_values {
                self.counts = None;
            }
        }
    }

    /// How many numbers there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest and the largest; `None` without numbers.
    pub fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    /// The mean; `None` without numbers.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// For each q of `quantiles` (0..=1, ascending) the smallest number that at least q of all are not above: always
    /// one of the numbers. `None` without numbers, or where too many were different.
    pub fn quantiles(&self, quantiles: &[f64]) -> Option<Vec<f64>> {
        let counts = self.counts.as_ref().filter(|counts| !counts.is_empty())?;
        let mut values = counts.iter();
        let (mut current, mut below) = (f64::NAN, 0_u64);
        let mut found = Vec::with_capacity(quantiles.len());
        for q in quantiles {
            let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count);
            while below < rank {
                let Some((Total(value), count)) = values.next() else { break };
                (current, below) = (*value, below + count);
            }
            found.push(current);
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn values_are_counted_and_one_too_many_is_refused() {
        let mut facet: ValueFacet<String> = ValueFacet::new(3);
        for value in ["b", "a", "b", "c", "a", "b"] {
            facet.add(value.to_owned(), 1).unwrap();
        }
        let shown: Vec<(&str, u64)> = facet.commonest(2).into_iter().map(|(v, n)| (v.as_str(), n)).collect();
        assert_eq!((shown, facet.values()), (vec![("b", 3), ("a", 2)], 3));
        facet.add("c".to_owned(), 1).unwrap();
        let ties: Vec<&str> = facet.commonest(9).into_iter().map(|(v, _)| v.as_str()).collect();
        assert_eq!(ties, ["b", "a", "c"]);
        let refused = facet.add("d".to_owned(), 1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        assert!(refused.message().contains("at most 3 different values"), "{refused}");
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_numbers() {
        let seed = 5;
        let mut random = StdRng::seed_from_u64(seed);
        for case in 0..500 {
            let count = random.random_range(1..60);
            let mut numbers: Vec<f64> = (0..count).map(|_| random.random_range(-9..9) as f64 / 2.0).collect();
            let mut facet = NumberFacet::new(100);
            numbers.iter().for_each(|number| facet.add(*number, 1));
            numbers.sort_by(f64::total_cmp);
            let expected = |q: f64| {
                let not_above = |v: f64| numbers.iter().filter(|other| **other <= v).count() as f64;
                *numbers.iter().find(|v| not_above(**v) >= q * count as f64).unwrap()
            };
            let quantiles = [0.0, 0.25, 0.5, 0.9, 1.0];
            let found = facet.quantiles(&quantiles).unwrap();
            assert_eq!(found, quantiles.map(expected), "seed {seed}, case {case}: {numbers:?}");
            assert_eq!(facet.range(), Some((numbers[0], numbers[count - 1])));
            assert_eq!(facet.count(), count as u64);
        }
    }

    #[test]
    fn too_many_different_numbers_cost_the_quantiles_only() {
        let mut facet = NumberFacet::new(10);
        assert_eq!((facet.range(), facet.mean(), facet.quantiles(&[0.5])), (None, None, None));
        (0..=100).for_each(|number| facet.add(f64::from(number), 1));
        assert_eq!((facet.range(), facet.mean(), facet.quantiles(&[0.5])), (Some((0.0, 100.0)), Some(50.0), None));
    }
}
