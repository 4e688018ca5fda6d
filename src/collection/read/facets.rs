//! Facets: how often values occur among selected rows, and where numbers lie.
//! Invariant: one key is counted at a time, so that memory is bounded by the values of one key.

use super::select::Selected;
use super::value_key::ValueKey;
use crate::collection::request::{
    Facet, FacetAnswer, FacetNumbers, FacetSearch, FacetValues, FacetsAnswer, MOST_VALUES,
};
use crate::collection::state::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::ranking::{NumberFacet, ValueFacet};
use crate::record::MetaValue;

impl Snapshot {
    /// The facets of all records that match.
    pub(in crate::collection) fn facets(&self, search: &FacetSearch, interrupt: &Interrupt) -> Result<FacetsAnswer> {
        self.check_alive()?;
        let selected = self.select(search.ids.as_deref(), search.filter.as_ref(), interrupt)?;
        let records = (0..self.chunks.len()).map(|chunk| selected.of(self, chunk).len()).sum();
        let facets = self.facets_among(&search.facets, &selected, interrupt)?;
        Ok(FacetsAnswer { facets, records, version: self.version })
    }

    /// The facets of selected rows.
    pub(super) fn facets_among(
        &self,
        facets: &[Facet],
        selected: &Selected,
        interrupt: &Interrupt,
    ) -> Result<Vec<FacetAnswer>> {
        Facet::check_all(facets)?;
        facets.iter().map(|facet| self.facet(facet, selected, interrupt)).collect()
    }

    fn facet(&self, facet: &Facet, selected: &Selected, interrupt: &Interrupt) -> Result<FacetAnswer> {
        let key = &facet.key;
        let mut values = facet.values.map(|_| ValueFacet::new(MOST_VALUES));
        let wants_numbers = facet.range || !facet.quantiles.is_empty();
        let most_numbers = if facet.quantiles.is_empty() { 0 } else { MOST_VALUES };
        let mut numbers = wants_numbers.then(|| NumberFacet::new(most_numbers));
        for (chunk, view) in self.chunks.iter().enumerate() {
            interrupt.check()?;
            let rows = selected.of(self, chunk);
            if rows.is_empty() {
                continue;
            }
            view.chunk.by_key().each_value(key, rows, &mut |value, times| {
                let number = match &value {
                    MetaValue::Int(i) => Some(*i as f64),
                    MetaValue::Float(f) => Some(*f),
                    _ => None,
                };
                if let (Some(numbers), Some(number)) = (&mut numbers, number) {
                    numbers.add(number, times);
                }
                match (&mut values, ValueKey::of(value)) {
                    (Some(values), Some(value)) => values
                        .add(value, times)
                        .map_err(|e| Error::new(e.kind(), format!("facets.{key}.values: {}", e.message()))),
                    _ => Ok(()),
                }
            })?;
        }
        let values = values.zip(facet.values).map(|(counted, most)| FacetValues {
            distinct: counted.values(),
            commonest: counted.commonest(most).into_iter().map(|(value, count)| (value.value(), count)).collect(),
        });
        let numbers = numbers.map(|numbers| facet_numbers(facet, &numbers)).transpose()?;
        Ok(FacetAnswer { key: key.clone(), values, numbers })
    }
}

fn facet_numbers(facet: &Facet, numbers: &NumberFacet) -> Result<FacetNumbers> {
    let quantiles = match numbers.quantiles(&facet.quantiles) {
        Some(quantiles) => quantiles,
        None if numbers.count() == 0 || facet.quantiles.is_empty() => Vec::new(),
        None => {
            let key = &facet.key;
            return Err(Error::limit(format!(
                "facets.{key}.quantiles: expected at most {MOST_VALUES} different numbers, got more; select fewer \
                 records"
            )));
        }
    };
    Ok(FacetNumbers { count: numbers.count(), range: numbers.range(), mean: numbers.mean(), quantiles })
}
