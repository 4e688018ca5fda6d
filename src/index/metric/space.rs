//! Vectors as builders see them: points whose squared Euclidean distance orders as the metric does.
//! Invariant: the points are of ordinary size, so that f32 holds their squares; vectors that are equal in the metric
//! are equal points.

use std::borrow::Cow;

use super::super::kernel::kernels;
use super::distance::normalised;
use crate::record::Metric;

/// One row per node.
#[derive(Debug, Clone)]
pub struct PointSpace<'a> {
    /// Floats per row.
    pub dim: usize,
    /// The points.
    pub rows: Vec<&'a [f32]>,
}

impl PointSpace<'_> {
    /// The squared Euclidean distance of two nodes, by which nodes are linked under every metric.
    pub fn distance(&self, a: u32, b: u32) -> f32 {
        kernels().l2_f32(self.rows[a as usize], self.rows[b as usize])
    }
}

/// Values outside this range have squares and sums of squares that f32 does not hold well.
const WORKABLE: std::ops::RangeInclusive<f32> = 1e-12..=1e15;
/// A vector whose squared length is this close to 1 counts as normalised.
const UNIT: f32 = 1e-5;
/// Share of vectors inside the ball of the `ip` reduction; longer ones lie on it.
const BALL_COVERS: f64 = 0.999;

/// The vectors that searches compare, from which codes are made. Under cosine they are normalised copies; otherwise,
/// and if they are normalised already, they are the borrowed `vectors` themselves.
pub fn compared<'a>(metric: Metric, vectors: &[&'a [f32]]) -> Vec<Cow<'a, [f32]>> {
    let is_unit = |v: &&[f32]| (kernels().dot_f32(v, v) - 1.0).abs() <= UNIT;
    if !metric.normalises() || vectors.iter().all(is_unit) {
        return vectors.iter().map(|v| Cow::Borrowed(*v)).collect();
    }
    vectors.iter().map(|v| Cow::Owned(normalised(v))).collect()
}

/// `compared` vectors as points, flat, with their dimension; `None` if the vectors can serve as they are.
pub fn mips_transform(metric: Metric, compared: &[&[f32]]) -> Option<(usize, Vec<f32>)> {
    match metric {
        Metric::Cosine => lift_zero(compared),
        Metric::L2 => scaled(compared).map(|values| (compared.first().map_or(0, |row| row.len()), values)),
        Metric::Ip => {
            let dim = compared.first().map_or(0, |row| row.len());
            let values = scaled(compared);
            let rows = values.as_ref().map(|values| values.chunks_exact(dim).collect::<Vec<_>>());
            Some(lift_to_ball(rows.as_deref().unwrap_or(compared)))
        }
    }
}

/// Extreme values, scaled so that the largest is 1: the order of distances stays as it is.
fn scaled(rows: &[&[f32]]) -> Option<Vec<f32>> {
    let largest = rows.iter().flat_map(|v| v.iter()).fold(0f32, |most, x| most.max(x.abs()));
    if largest == 0.0 || WORKABLE.contains(&largest) {
        return None;
    }
    let factor = 1.0 / f64::from(largest);
    Some(rows.iter().flat_map(|v| v.iter().map(move |x| (f64::from(*x) * factor) as f32)).collect())
}

/// Adds a component if there is a zero vector. Between normalised vectors |a − b|² = 2 (1 − cos). A zero vector, at
/// cosine distance 1 from all, would be nearer than that. The component is 1 for it and 0 for the others, which
/// corrects that. `None` if there is no zero vector.
fn lift_zero(rows: &[&[f32]]) -> Option<(usize, Vec<f32>)> {
    let is_zero = |row: &[f32]| row.iter().all(|x| *x == 0.0);
    rows.iter().any(|row| is_zero(row)).then(|| {
        let transformed = |row: &&[f32]| row.iter().copied().chain([f32::from(is_zero(row))]).collect::<Vec<f32>>();
        (rows.first().map_or(0, |row| row.len()) + 1, rows.iter().flat_map(transformed).collect())
    })
}

/// Inner product as Euclidean distance. With R the ball's radius and √(R² − |x|²) as one more component, all points
/// lie on the ball. Then |(q, 0) − x|² = |q|² + R² − 2 q·x orders them as −q·x does (Bachrach et al. 2014). Unlike 1
/// − a·b this is a metric, so no node is its own far neighbour.
fn lift_to_ball(rows: &[&[f32]]) -> (usize, Vec<f32>) {
    let square = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    let squares: Vec<f64> = rows.iter().map(|row| square(row)).collect();
    let mut sorted = squares.clone();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * BALL_COVERS) as usize;
    let radius = sorted.get(rank).or(sorted.last()).copied().unwrap_or(0.0);
    let dim = rows.first().map_or(0, |row| row.len()) + 1;
    let mut transformed = Vec::with_capacity(rows.len() * dim);
    for (row, square) in rows.iter().zip(squares) {
        transformed.extend_from_slice(row);
        transformed.push((radius - square).max(0.0).sqrt() as f32);
    }
    (dim, transformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifting_orders_by_inner_product() {
        let rows: Vec<&[f32]> = vec![&[1.0, 0.0], &[0.0, 3.0], &[2.0, 2.0], &[-1.0, 0.5]];
        let (dim, transformed) = lift_to_ball(&rows);
        let query = [0.5f32, 1.0, 0.0];
        let order = |key: &dyn Fn(usize) -> f32| {
            let mut nodes: Vec<usize> = (0..4).collect();
            nodes.sort_by(|a, b| key(*a).total_cmp(&key(*b)));
            nodes
        };
        let by_product = order(&|i| -kernels().dot_f32(&query, rows[i]));
        let by_distance = order(&|i| kernels().l2_f32(&query, &transformed[i * dim..][..dim]));
        assert_eq!(by_product, by_distance);
    }

    #[test]
    fn a_zero_vector_is_farther_from_unit_vectors_than_the_orthogonal_are() {
        let rows: Vec<&[f32]> = vec![&[0.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]];
        let (dim, values) = mips_transform(Metric::Cosine, &rows).expect("there is a zero vector");
        let space = PointSpace { dim, rows: values.chunks_exact(dim).collect() };
        assert_eq!((space.distance(0, 1), space.distance(1, 2)), (2.0, 2.0));
        assert!(mips_transform(Metric::Cosine, &rows[1..]).is_none());
    }

    #[test]
    fn normalised_vectors_are_borrowed_and_others_normalised() {
        let unit: [&[f32]; 2] = [&[0.6, 0.8], &[1.0, 0.0]];
        assert!(compared(Metric::Cosine, &unit).iter().all(|row| matches!(row, Cow::Borrowed(_))));
        let longer: [&[f32]; 2] = [&[3.0, 4.0], &[1.0, 0.0]];
        assert_eq!(compared(Metric::Cosine, &longer)[0].as_ref(), &[0.6, 0.8]);
        assert_eq!(compared(Metric::Ip, &longer)[0].as_ref(), &[3.0, 4.0]);
    }

    #[test]
    fn extreme_values_are_scaled_to_one() {
        let rows: [&[f32]; 2] = [&[1e30, 0.0], &[0.0, -5e29]];
        let (_, values) = mips_transform(Metric::L2, &rows).expect("too large to square");
        assert_eq!(values, vec![1.0, 0.0, 0.0, -0.5]);
        assert!(mips_transform(Metric::L2, &[&[1.0, 2.0]]).is_none());
    }
}
