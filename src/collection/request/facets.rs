//! Facets, as a caller asks for them and as they are answered.
//! Invariant: a count is of records, and exact: where there are too many different values, there is an error.

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::record::{MetaValue, Version};

/// Facets of one request, and values of one facet, at most.
const MOST_FACETS: usize = 20;
const MOST_QUANTILES: usize = 100;
/// Different values of a key that are counted, at most; as many may be answered.
pub const MOST_VALUES: usize = 100_000;

/// Counts what the records that match have under some metadata keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FacetSearch {
    /// Only records with one of these ids.
    pub ids: Option<Vec<String>>,
    /// Only records that match.
    pub filter: Option<Filter>,
    /// The facets.
    pub facets: Vec<Facet>,
}

/// What to say about the values of one key. Of a list each element is a value of its record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facet {
    /// The metadata key.
    pub key: String,
    /// How many of the commonest values to name, each with the number of records that have it.
    pub values: Option<usize>,
    /// Whether to say how many numbers there are, the smallest and the largest, and the mean.
    pub range: bool,
    /// Which quantiles of the numbers to name: ascending numbers from 0 to 1.
    pub quantiles: Vec<f64>,
}

/// What a facet is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FacetAnswer {
    /// The metadata key.
    pub key: String,
    /// Only if asked for.
    pub values: Option<FacetValues>,
    /// Only if a range or quantiles were asked for.
    pub numbers: Option<FacetNumbers>,
}

/// The values of a key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FacetValues {
    /// How many different values there are.
    pub distinct: usize,
    /// The commonest values with the number of records that have each, commonest first; equally common ones ascend.
    pub commonest: Vec<(MetaValue, u64)>,
}

/// The numbers of a key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FacetNumbers {
    /// How many there are.
    pub count: u64,
    /// The smallest and the largest; `None` without numbers.
    pub range: Option<(f64, f64)>,
    /// `None` without numbers.
    pub mean: Option<f64>,
    /// For each quantile that was asked for, the smallest number that at least this part of all is not above. Empty
    /// without numbers.
    pub quantiles: Vec<f64>,
}

/// Answer to a [`FacetSearch`].
#[derive(Debug, Clone, PartialEq)]
pub struct FacetsAnswer {
    /// One for each that was asked for.
    pub facets: Vec<FacetAnswer>,
    /// How many records match.
    pub records: u64,
    /// The version that was read.
    pub version: Version,
}

impl Facet {
    /// # Errors
    /// `Invalid` and `Limit` name the facet and what is wrong with it.
    pub(crate) fn check_all(facets: &[Facet]) -> Result<()> {
        if facets.len() > MOST_FACETS {
            let got = facets.len();
            return Err(Error::limit(format!("facets: expected at most {MOST_FACETS} keys, got {got}")));
        }
        facets.iter().try_for_each(Facet::check)
    }

    fn check(&self) -> Result<()> {
        let at = format!("facets.{}", self.key);
        if self.key.starts_with('#') {
            return Err(Error::invalid(format!("{at}: expected a metadata key, got one that is reserved")));
        }
        match self.values {
            Some(0) => return Err(Error::invalid(format!("{at}.values: expected at least 1, got 0"))),
            Some(values) if values > MOST_VALUES => {
                return Err(Error::limit(format!("{at}.values: expected at most {MOST_VALUES}, got {values}")));
            }
            _ => {}
        }
        if self.quantiles.len() > MOST_QUANTILES {
            let got = self.quantiles.len();
            return Err(Error::limit(format!("{at}.quantiles: expected at most {MOST_QUANTILES}, got {got}")));
        }
        if let Some(odd) = self.quantiles.iter().find(|q| !(0.0..=1.0).contains(*q)) {
            return Err(Error::invalid(format!("{at}.quantiles: expected numbers from 0 to 1, got {odd}")));
        }
        match self.quantiles.is_sorted() {
            true => Ok(()),
            false => {
                Err(Error::invalid(format!("{at}.quantiles: expected ascending numbers, got {:?}", self.quantiles)))
            }
        }
    }
}
