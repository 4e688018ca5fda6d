//! How strongly a node belongs to the fuzzy neighbourhood of another: §3.1 of the paper, algorithm 3
//! ("SmoothKNNDist"). Distances are measured from the nearest neighbour (ρ) in units (σ) such that the strengths of a
//! node's neighbours add up to the logarithm of their number, so dense and sparse regions look alike.

use rayon::prelude::*;

use super::neighbours::NeighbourLists;

/// Steps of the bisection for σ at most, and how near the sum has to come.
const STEPS: usize = 64;
const TOLERANCE: f64 = 1e-5;
/// σ is at least this share of the mean distance, so that ties do not make all strengths but one vanish.
const LEAST_SCALE: f64 = 1e-3;

/// Replaces the distances of `lists` by strengths in [0, 1].
pub(super) fn strengths_of(lists: &mut NeighbourLists) {
    let used: Vec<u32> = (0..lists.len()).into_par_iter().map(|row| lists.row(row).0.len() as u32).collect();
    let mean = mean_distance(lists, &used);
    let rows = lists.distances.par_chunks_mut(lists.k).zip(&used);
    rows.for_each(|(distances, used)| to_strengths(&mut distances[..*used as usize], mean));
}

/// The mean of all distances, in the order of the rows: a sum that depends on no thread.
fn mean_distance(lists: &NeighbourLists, used: &[u32]) -> f64 {
    let count: u64 = used.iter().map(|used| u64::from(*used)).sum();
    // The unused end of a list has distance 0.
    let sum: f64 = lists.distances.iter().map(|distance| f64::from(*distance)).sum();
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// exp(−max(0, d − ρ) / σ) for each distance d of a node, ascending; `mean` is that of all nodes.
fn to_strengths(distances: &mut [f32], mean: f64) {
    let rho = distances.iter().copied().find(|distance| *distance > 0.0).unwrap_or(0.0);
    let sigma = sigma_of(distances, rho, mean);
    for distance in distances {
        let past = f64::from(*distance - rho);
        *distance = if past <= 0.0 || sigma <= 0.0 { 1.0 } else { (-past / sigma).exp() as f32 };
    }
}

/// σ: the scale at which strengths add up to log₂(k), where k counts the node itself too, as the reference
/// implementation has it.
fn sigma_of(distances: &[f32], rho: f32, mean: f64) -> f64 {
    let target = (distances.len() as f64 + 1.0).log2();
    let past = |distance: &f32| f64::from(*distance - rho).max(0.0);
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..STEPS {
        let sum: f64 = distances.iter().map(|distance| (-past(distance) / sigma).exp()).sum();
        if (sum - target).abs() < TOLERANCE {
            break;
        }
        if sum > target {
            high = sigma;
        } else {
            low = sigma;
        }
        sigma = if high.is_finite() { (low + high) / 2.0 } else { sigma * 2.0 };
    }
    let own = distances.iter().map(|distance| f64::from(*distance)).sum::<f64>() / distances.len().max(1) as f64;
    sigma.max(LEAST_SCALE * if rho > 0.0 { own } else { mean })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_distances_are_full_strength() {
        for distances in [vec![0.0; 15], vec![2.5; 15], vec![0.7], vec![]] {
            let mut strengths = distances.clone();
            to_strengths(&mut strengths, 1.0);
            assert_eq!(strengths, vec![1.0; distances.len()]);
        }
    }

    #[test]
    fn strengths_are_those_of_the_reference() {
        // umap.umap_.smooth_knn_dist of umap-learn 0.5.12 on the distances 0 (itself), 1, …, 5.
        let mut strengths = [1.0, 2.0, 3.0, 4.0, 5.0];
        to_strengths(&mut strengths, 3.0);
        let sum: f32 = strengths.iter().sum();
        assert!((sum - 6f32.log2()).abs() < 1e-4, "{strengths:?}");
        assert_eq!(strengths[0], 1.0);
        // A geometric row: 1 + q + … + q⁴ = log₂ 6.
        for pair in strengths.windows(2) {
            assert!((pair[1] / pair[0] - strengths[1]).abs() < 1e-4, "{strengths:?}");
        }
    }

    proptest! {
        #[test]
        fn strengths_descend_within_one_and_do_not_depend_on_the_unit(
            mut distances in prop::collection::vec(0f32..1e3, 1..40), unit in -20i32..20,
        ) {
            distances.sort_by(f32::total_cmp);
            let mean = 500.0;
            let scale = 2f32.powi(unit);
            let mut scaled: Vec<f32> = distances.iter().map(|distance| distance * scale).collect();
            to_strengths(&mut distances, mean);
            to_strengths(&mut scaled, mean * f64::from(scale));
            prop_assert!(distances.iter().all(|s| (0.0..=1.0).contains(s)));
            prop_assert!(distances.windows(2).all(|pair| pair[0] >= pair[1]));
            for (a, b) in distances.iter().zip(&scaled) {
                prop_assert!((a - b).abs() < 1e-3, "{} for {}", b, a);
            }
        }
    }
}
