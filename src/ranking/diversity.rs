//! Diversity: of many candidates, some that are relevant and unlike each other. For candidate sets of some thousands.
//! Invariant: with λ = 1 the choice is by relevance alone.

use super::order::Total;
use crate::record::Metric;

/// Maximal marginal relevance (Carbonell & Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering
/// Documents and Producing Summaries", SIGIR 1998): places of `k` candidates, each the one that maximises
/// λ·Sim₁(d, query) − (1 − λ)·max Sim₂(d, chosen). `relevance` has Sim₁ of each candidate, `between` is Sim₂; both
/// on one scale, larger is more alike. Equal candidates are taken in their given order. Calls `between` for each
/// chosen with each candidate that is left: k·n times at most.
pub fn maximal_marginal_relevance(
    relevance: &[f32],
    lambda: f32,
    k: usize,
    mut between: impl FnMut(usize, usize) -> f32,
) -> Vec<usize> {
    // Of each candidate that is left, its place and its likeness to the nearest of the chosen.
    let mut left: Vec<(usize, Option<f32>)> = (0..relevance.len()).map(|place| (place, None)).collect();
    let mut chosen = Vec::new();
    while chosen.len() < k {
        let gain = |(place, nearest): &(usize, Option<f32>)| {
            let relevant = relevance.get(*place).copied().unwrap_or_default();
            // Without any chosen the second term is absent: relevance alone decides.
            nearest.map_or(relevant, |nearest| lambda * relevant - (1.0 - lambda) * nearest)
        };
        // The first of equal ones: `min_by_key` keeps it. A gain that is no number comes last.
        let best = left.iter().enumerate().min_by_key(|(_, one)| Total(-f64::from(gain(one))));
        let Some((at, _)) = best else { break };
        let (next, _) = left.remove(at);
        chosen.push(next);
        for (place, nearest) in &mut left {
            let alike = between(*place, next);
            *nearest = Some(nearest.map_or(alike, |nearest| nearest.max(alike)));
        }
    }
    chosen
}

/// A distance as a similarity, larger is more alike: cosine and inner product themselves, 1 / (1 + d) under l2.
pub fn similarity(metric: Metric, distance: f32) -> f32 {
    match metric {
        Metric::Cosine | Metric::Ip => 1.0 - distance,
        Metric::L2 => 1.0 / (1.0 + distance),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn l2(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
    }

    #[test]
    fn each_choice_maximises_the_marginal_relevance() {
        let seed = 98;
        let mut random = StdRng::seed_from_u64(seed);
        for case in 0..200 {
            let n = random.random_range(0..20);
            let vectors: Vec<[f32; 2]> = (0..n).map(|_| [random.random(), random.random()]).collect();
            let alike = |a: usize, b: usize| similarity(Metric::L2, l2(&vectors[a], &vectors[b]));
            let relevance: Vec<f32> = vectors.iter().map(|v| similarity(Metric::L2, l2(v, &[0.0, 0.0]))).collect();
            let lambda = random.random_range(0..=4) as f32 / 4.0;
            let chosen = maximal_marginal_relevance(&relevance, lambda, 8, alike);
            assert_eq!(chosen.len(), n.min(8), "seed {seed}, case {case}");
            for (number, place) in chosen.iter().enumerate() {
                let before = &chosen[..number];
                let gain = |d: usize| {
                    let nearest = before.iter().map(|c| alike(d, *c)).fold(f32::NEG_INFINITY, f32::max);
                    if before.is_empty() { relevance[d] } else { lambda * relevance[d] - (1.0 - lambda) * nearest }
                };
                let best = (0..n).filter(|d| !before.contains(d)).map(gain).fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(gain(*place), best, "seed {seed}, case {case}, choice {number} of {chosen:?}");
            }
        }
    }

    #[test]
    fn a_second_copy_waits_for_something_else_and_relevance_alone_ignores_copies() {
        let relevance = [0.9, 0.9, 0.5];
        let alike = |a: usize, b: usize| if a.max(b) < 2 { 1.0 } else { 0.1 };
        assert_eq!(maximal_marginal_relevance(&relevance, 0.5, 3, alike), [0, 2, 1]);
        assert_eq!(maximal_marginal_relevance(&relevance, 1.0, 2, alike), [0, 1]);
        assert_eq!(maximal_marginal_relevance(&[], 0.5, 3, alike), [0; 0]);
    }

    #[test]
    fn nearer_is_more_alike_under_every_metric() {
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            assert!(similarity(metric, 0.2) > similarity(metric, 0.3), "{metric}");
        }
    }
}
