//! The first two principal components of a collection, by orthogonal iteration on a sample of its vectors (Halko,
//! Martinsson and Tropp 2011, "Finding structure with randomness", §4.4). They are where the map begins, so that
//! its large features mean something, and where records without neighbours are.
//! Invariant: memory is bounded, whatever the collection; sums have a fixed order.

use rayon::prelude::*;

use super::Point;
use super::draws::Draws;

/// The sample: so many vectors at most, and so many bytes.
const SAMPLE_ROWS: usize = 8192;
const SAMPLE_BYTES: usize = 32 << 20;
/// Directions that are followed, of which the best two are used.
const DIRECTIONS: usize = 6;
const ITERATIONS: usize = 12;
/// VectorRows whose sum one thread makes.
const CHUNK: usize = 512;
/// The standard deviation along the first component, and the largest coordinate: outliers do not crowd the others.
const DEVIATION: f64 = 4.0;
const LARGEST: f32 = 12.0;

/// The vectors of a collection.
#[derive(Clone, Copy)]
pub struct VectorRows<'a> {
    /// How many.
    pub count: u32,
    /// Components of each.
    pub dim: usize,
    /// Copies one into a slice of `dim` components. Under the cosine metric, vectors should be copied at unit length.
    pub read: &'a (dyn Fn(u32, &mut [f32]) + Sync),
}

impl std::fmt::Debug for VectorRows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorRows").field("count", &self.count).field("dim", &self.dim).finish_non_exhaustive()
    }
}

/// A projection of vectors onto the plane of the largest variance.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// What components are divided by first, so that sums of squares are finite.
    pub unit: f32,
    /// The mean of what was divided.
    pub mean: Vec<f32>,
    /// What is multiplied with the rest, for x and for y.
    pub axes: [Vec<f32>; 2],
}

impl Projection {
    /// The projection that fits the rows best.
    pub fn fit(rows: VectorRows<'_>, seed: u64) -> Projection {
        let mut sample = sample_of(rows, seed);
        let largest = sample.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let unit = if largest > 0.0 { largest } else { 1.0 };
        sample.iter_mut().for_each(|x| *x /= unit);
        let mean = centre(&mut sample, rows.dim);
        let mut axes = directions_of(&sample, rows.dim, seed).into_iter();
        let axes = [axes.next().unwrap_or_default(), axes.next().unwrap_or_default()];
        let mut projection = Projection { unit, mean, axes };
        let square = |row: &[f32]| f64::from(dot(row, &projection.axes[0])).powi(2);
        let variance =
            chunks(&sample, rows.dim).map(square).sum::<f64>() / (sample.len() / rows.dim.max(1)).max(1) as f64;
        let scale = if variance > 0.0 { DEVIATION / variance.sqrt() } else { 0.0 };
        projection.axes.iter_mut().flatten().for_each(|x| *x = (f64::from(*x) * scale) as f32);
        projection
    }

    /// The place of a vector.
    pub fn of(&self, vector: &[f32]) -> Point {
        let mut place = [0f64; 2];
        for (component, x) in vector.iter().enumerate() {
            let x = f64::from(finite(*x) / self.unit);
            for (sum, axis) in place.iter_mut().zip(&self.axes) {
                if let (Some(weight), Some(mean)) = (axis.get(component), self.mean.get(component)) {
                    *sum += (x - f64::from(*mean)) * f64::from(*weight);
                }
            }
        }
        place.map(|x| (x as f32).clamp(-LARGEST, LARGEST))
    }
}

/// A component that is not finite counts as 0.
fn finite(x: f32) -> f32 {
    if x.is_finite() { x } else { 0.0 }
}

/// Vectors drawn one from each of equally long ranges of rows.
fn sample_of(rows: VectorRows<'_>, seed: u64) -> Vec<f32> {
    let (count, dim) = (rows.count as usize, rows.dim);
    let size = count.min(SAMPLE_ROWS).min(SAMPLE_BYTES / 4 / dim.max(1));
    let mut sample = vec![0.0; size * dim];
    if dim > 0 {
        sample.par_chunks_mut(dim).enumerate().for_each(|(at, row)| {
            let (start, end) = (at * count / size, (at + 1) * count / size);
            let drawn = Draws::new(seed, 1, at as u64).below((end - start) as u32);
            (rows.read)(start as u32 + drawn, row);
            row.iter_mut().for_each(|x| *x = finite(*x));
        });
    }
    sample
}

/// Subtracts the mean from all rows, and returns it.
fn centre(sample: &mut [f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0f64; dim];
    for row in chunks(sample, dim) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let count = (sample.len() / dim.max(1)).max(1) as f64;
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
    for row in sample.chunks_exact_mut(dim.max(1)) {
        row.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean);
    }
    mean
}

/// Orthonormal directions of the largest variance, the largest first; 0 where there is none left.
fn directions_of(sample: &[f32], dim: usize, seed: u64) -> Vec<Vec<f32>> {
    let start = |direction: usize| {
        let mut draws = Draws::new(seed, 2, direction as u64);
        (0..dim).map(|_| draws.signed_unit()).collect()
    };
    let mut directions: Vec<Vec<f32>> = (0..DIRECTIONS.min(dim)).map(start).collect();
    orthonormalise(&mut directions);
    for _ in 0..ITERATIONS {
        directions = covariance_times(sample, dim, &directions);
        orthonormalise(&mut directions);
    }
    directions
}

/// The covariance of the rows, times their number, applied to each direction.
fn covariance_times(sample: &[f32], dim: usize, directions: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let of_chunk = |rows: &[f32]| {
        let mut sums = vec![vec![0f32; dim]; directions.len()];
        for row in chunks(rows, dim) {
            for (sum, direction) in sums.iter_mut().zip(directions) {
                let along = dot(row, direction);
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += along * x);
            }
        }
        sums
    };
    let parts: Vec<Vec<Vec<f32>>> = sample.par_chunks((CHUNK * dim).max(1)).map(of_chunk).collect();
    let mut totals = vec![vec![0f32; dim]; directions.len()];
    for part in parts {
        for (total, sum) in totals.iter_mut().flatten().zip(part.iter().flatten()) {
            *total += sum;
        }
    }
    totals
}

/// Gram and Schmidt's process, twice for the sake of rounding.
fn orthonormalise(directions: &mut [Vec<f32>]) {
    for at in 0..directions.len() {
        let (before, rest) = directions.split_at_mut(at);
        let Some(direction) = rest.first_mut() else { return };
        let length = dot(direction, direction).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let along = dot(direction, other);
                direction.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
            }
        }
        let left = dot(direction, direction).sqrt();
        // What rounding has left of nothing is no direction.
        let scale = if left > 1e-5 * length { 1.0 / left } else { 0.0 };
        direction.iter_mut().for_each(|x| *x *= scale);
    }
}

/// An upper bound of the memory that a fit takes.
pub(super) fn memory_bytes(dim: usize) -> usize {
    let sums = SAMPLE_ROWS.div_ceil(CHUNK) * DIRECTIONS * dim * 4;
    SAMPLE_BYTES.min(SAMPLE_ROWS * dim * 4) + sums + 4 * DIRECTIONS * dim * 4
}

fn chunks(rows: &[f32], dim: usize) -> impl Iterator<Item = &[f32]> {
    rows.chunks_exact(dim.max(1))
}

/// The inner product, in the same order on every machine.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::test_data::rows_of;

    /// Points of a flat ellipse in 20 dimensions: deviations 9, 3 and 0.1.
    fn ellipse(count: u64) -> Vec<Vec<f32>> {
        let point = |i| {
            let mut draws = Draws::new(5, 0, i);
            (0..20).map(|axis| draws.signed_unit() * [9.0, 3.0].get(axis).unwrap_or(&0.1) + 50.0).collect()
        };
        (0..count).map(point).collect()
    }

    #[test]
    fn the_plane_of_the_largest_variance_is_found() {
        let data = ellipse(2000);
        let projection = Projection::fit(rows_of(&data), 1);
        for (axis, scale) in [(0, 1.0), (1, 1.0 / 3.0)] {
            let (mut product, mut own, mut of_axis) = (0.0, 0.0, 0.0);
            for row in &data {
                let (place, is) = (projection.of(row)[axis], row[axis] - 50.0);
                product += place * is;
                own += place * place;
                of_axis += is * is;
            }
            assert!((product / (own * of_axis).sqrt()).abs() > 0.999, "axis {axis}");
            let deviation = (own / data.len() as f32).sqrt();
            assert!((deviation / (4.0 * scale) - 1.0).abs() < 0.05, "axis {axis}: {deviation}");
        }
    }

    #[test]
    fn any_unit_gives_the_same_places() {
        let data = ellipse(500);
        let places = |scale: f32| -> Vec<Point> {
            let scaled: Vec<Vec<f32>> = data.iter().map(|row| row.iter().map(|x| x * scale).collect()).collect();
            let projection = Projection::fit(rows_of(&scaled), 1);
            scaled.iter().map(|row| projection.of(row)).collect()
        };
        let expected = places(1.0);
        // From where squares would vanish to where they would overflow.
        for scale in [2f32.powi(-100), 2f32.powi(120)] {
            for (a, b) in places(scale).iter().zip(&expected) {
                assert!((a[0] - b[0]).abs() < 1e-2 && (a[1] - b[1]).abs() < 1e-2, "{a:?} for {b:?}");
            }
        }
    }

    #[test]
    fn what_has_no_variance_is_projected_onto_the_middle() {
        let alike = vec![vec![3.0f32; 7]; 40];
        let hostile = vec![vec![f32::NAN; 3], vec![f32::INFINITY; 3]];
        for data in [vec![], vec![vec![1.0, 2.0]], vec![vec![]; 3], alike, hostile] {
            let projection = Projection::fit(rows_of(&data), 1);
            assert!(data.iter().all(|row| projection.of(row) == [0.0; 2]), "{data:?}");
        }
        let line: Vec<Vec<f32>> = (0..100).map(|i| vec![i as f32]).collect();
        let projection = Projection::fit(rows_of(&line), 1);
        assert!(line.iter().all(|row| projection.of(row)[1] == 0.0));
        assert!((projection.of(&line[99])[0] - projection.of(&line[0])[0]).abs() > 8.0);
    }
}
