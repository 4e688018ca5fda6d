//! What is done to vectors before they are coded: their mean is subtracted, then they are rotated. Codes of any width
//! start from here.
//! Invariant: the result depends on the vectors, the mean and the seed alone, on every instruction set.

use super::metric::wide_sum;
use super::rotation::Rotation;

/// The most rows sampled to find the mean, and the share of them (one in `TRIMMED`) left out at either end.
const SAMPLED_ROWS: usize = 1024;
const TRIMMED: usize = 64;
/// The range of centred components whose sums f32 holds well. Others are scaled to 1 before they are rotated.
const WORKABLE: std::ops::RangeInclusive<f32> = 1e-25..=1e25;

/// A mean, and a rotation unless vectors are coded as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Centring {
    mean: Vec<f32>,
    rotation: Option<Rotation>,
}

/// A vector without the mean, rotated: `values` times `unit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotated {
    /// One per dimension, all finite.
    pub values: Vec<f32>,
    /// What 1 stands for.
    pub unit: f64,
}

impl Centring {
    /// The centring by a known mean. Without the seed of a rotation, vectors are not rotated.
    pub fn new(mean: Vec<f32>, rotation: Option<u64>) -> Centring {
        let rotation = rotation.map(|seed| Rotation::new(mean.len(), seed));
        Centring { mean, rotation }
    }

    /// The centring of `rows`, each `dim` floats, with the rotation that `seed` chooses.
    pub fn fit(dim: usize, rows: &[&[f32]], seed: u64) -> Centring {
        Centring::new(trimmed_mean(dim, rows), Some(seed))
    }

    /// The mean that is subtracted from each vector, one float per dimension.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The seed of the rotation, if there is one.
    pub fn seed(&self) -> Option<u64> {
        self.rotation.as_ref().map(Rotation::seed)
    }

    /// |v − mean|².
    pub fn square(&self, v: &[f32]) -> f64 {
        wide_sum(v, &self.mean, |x, m| (x - m) * (x - m))
    }

    /// `v` without the mean, rotated. All components are finite, as a sum of `WORKABLE` values is.
    pub fn apply(&self, v: &[f32]) -> Rotated {
        let mut values: Vec<f32> = v.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
        let (reach, mut unit) = (largest(&values), 1.0);
        if reach != 0.0 && !WORKABLE.contains(&reach) {
            let centred = || v.iter().zip(&self.mean).map(|(x, m)| f64::from(*x) - f64::from(*m));
            unit = centred().fold(0.0, |most, x| if x.abs() > most { x.abs() } else { most });
            values = centred().map(|x| (x / unit) as f32).collect();
        }
        if let Some(rotation) = &self.rotation {
            rotation.apply(&mut values);
        }
        Rotated { values, unit }
    }
}

/// The largest of all sizes, as eight maxima: with one, each comparison would wait for the one before.
pub fn largest(values: &[f32]) -> f32 {
    let larger = |most: f32, x: f32| if x.abs() > most { x.abs() } else { most };
    let (eights, rest) = values.as_chunks::<8>();
    let mut most = [0f32; 8];
    for eight in eights {
        most.iter_mut().zip(eight).for_each(|(most, x)| *most = larger(*most, *x));
    }
    most.into_iter().chain(rest.iter().copied()).fold(0.0, larger)
}

/// The mean of each dimension over a sample, without its smallest and largest values. Far outliers would move the
/// mean away from all other vectors, and leave them all with one code.
fn trimmed_mean(dim: usize, rows: &[&[f32]]) -> Vec<f32> {
    let stride = rows.len().div_ceil(SAMPLED_ROWS).max(1);
    let sample: Vec<&[f32]> = rows.iter().step_by(stride).copied().collect();
    let trim = sample.len().div_ceil(TRIMMED);
    let mean = |d: usize| {
        let mut values: Vec<f32> = sample.iter().filter_map(|row| row.get(d)).copied().collect();
        values.sort_unstable_by(f32::total_cmp);
        let kept =
            values.get(trim..values.len().saturating_sub(trim)).filter(|kept| !kept.is_empty()).unwrap_or(&values);
        (kept.iter().copied().map(f64::from).sum::<f64>() / kept.len().max(1) as f64) as f32
    };
    (0..dim).map(mean).collect()
}
