//! Fusion: several ranked lists of the same records become one. By reciprocal ranks, which need no comparable scores,
//! or by a weighted sum of normalised scores. Each result keeps its rank and score in every part, so that a person
//! can see why it is where it is.
//! Invariant: fused scores are finite for finite weights, larger is better, equal ones are ordered by key.

use super::order::Total;

/// Which scores of a part are the better ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Distances.
    Smaller,
    /// Similarities, BM25.
    Larger,
}

/// Where the scores of a part lie in theory, whatever its list has. Normalisation widens it to the scores of the list
/// that lie outside.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ScoreRange {
    /// The score of a record that has nothing in common with the query; `None`: that of the worst in the list.
    pub worst: Option<f32>,
    /// The best score that could be; `None`: that of the best in the list.
    pub best: Option<f32>,
}

/// One ranked list, best first, each key once.
#[derive(Debug, Clone, Copy)]
pub struct RankedPart<'a, K> {
    pub ranked: &'a [(K, f32)],
    /// Records that only other parts list, with their scores in this one. They have no rank here.
    pub unlisted: &'a [(K, f32)],
    /// At least 0.
    pub weight: f32,
    pub better: Better,
    pub range: ScoreRange,
}

impl<K> RankedPart<'_, K> {
    fn scores(&self) -> impl Iterator<Item = f32> {
        self.ranked.iter().chain(self.unlisted).map(|(_, score)| *score)
    }
}

/// A record's place in one part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FusedPart {
    /// From 1; `None` where the part does not list the record, and its score was computed for the fusion.
    pub rank: Option<usize>,
    /// As the part had it.
    pub score: f32,
}

/// A record of the fused list.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<K> {
    pub key: K,
    /// Larger is better.
    pub score: f32,
    /// One for each part; `None` where the part does not have the record.
    pub parts: Vec<Option<FusedPart>>,
}

/// How the scores of a part are brought to 0..=1, the best at the upper end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalisation {
    /// (s − min) / (max − min); 1 where all are equal.
    MinMax,
    /// (s − μ + 3σ) / 6σ, cut at 0 and 1; 0.5 where all are equal. One outlier does not press the others together
    /// (distribution-based score fusion, Mazzeschi 2023).
    Distribution,
    /// (s − worst) / (best − worst) of the part's `ScoreRange`: 0 for a record that has nothing in common with the
    /// query, 1 for the best that could be, however good the best of the list is. Bruch, Gai & Ingber ("An Analysis of
    /// Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1), 2023) call the theoretical minimum with the list's
    /// maximum TMM; here the maximum is the theoretical one too, so that a match of few words counts little.
    #[default]
    TheoreticalMinMax,
}

impl Normalisation {
    /// Whether a record that a part does not list counts by its score there, and not as nothing.
    pub fn scores_unlisted(self) -> bool {
        match self {
            Normalisation::MinMax | Normalisation::Distribution => false,
            Normalisation::TheoreticalMinMax => true,
        }
    }
}

/// Reciprocal rank fusion (Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
/// Rank Learning Methods", SIGIR 2009): the score of d is Σ wᵢ / (k + rᵢ(d)) over the parts that have d, with ranks
/// rᵢ from 1. The paper uses k = 60 and no weights. `k` must be above −1.
pub fn reciprocal_rank<K: Copy + Ord>(parts: &[RankedPart<'_, K>], k: f32) -> Vec<Fused<K>> {
    fuse(parts, |part| {
        let weight = f64::from(part.weight);
        (1..=part.ranked.len()).map(|rank| weight / (f64::from(k) + rank as f64)).collect()
    })
}

/// The weighted sum of normalised scores; a part that does not have the record adds nothing.
pub fn weighted_sum<K: Copy + Ord>(parts: &[RankedPart<'_, K>], normalisation: Normalisation) -> Vec<Fused<K>> {
    fuse(parts, |part| {
        let sign = if part.better == Better::Smaller { -1.0 } else { 1.0 };
        // A product of sparse vectors may have left f32's range: an infinite end would make NaN of a whole part.
        let finite = |score: f32| f64::from(score.clamp(f32::MIN, f32::MAX));
        let scores: Vec<f64> = part.scores().map(|score| sign * finite(score)).collect();
        let (least, largest) = extremes(&scores);
        let (low, width, all_equal) = match normalisation {
            Normalisation::MinMax => (least, largest - least, 1.0),
            Normalisation::TheoreticalMinMax => {
                let widened = |end: Option<f32>, of_list: f64, wider: fn(f64, f64) -> f64| {
                    end.map_or(of_list, |end| wider(sign * finite(end), of_list))
                };
                let low = widened(part.range.worst, least, f64::min);
                (low, widened(part.range.best, largest, f64::max) - low, 1.0)
            }
            Normalisation::Distribution => {
                let count = scores.len().max(1) as f64;
                let mean = scores.iter().sum::<f64>() / count;
                let deviation = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count).sqrt();
                (mean - 3.0 * deviation, 6.0 * deviation, 0.5)
            }
        };
        let normal = |s: f64| if width > 0.0 { ((s - low) / width).clamp(0.0, 1.0) } else { all_equal };
        scores.into_iter().map(|s| f64::from(part.weight) * normal(s)).collect()
    })
}

/// The least and the largest of some numbers.
fn extremes(numbers: &[f64]) -> (f64, f64) {
    let fold = |start, choose: fn(f64, f64) -> f64| numbers.iter().copied().fold(start, choose);
    (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max))
}

/// Sums up the gains that `gains` names for the rows of each part: those that it lists, and then the others. A row
/// without a gain is left out.
fn fuse<K: Copy + Ord>(parts: &[RankedPart<'_, K>], gains: impl Fn(&RankedPart<'_, K>) -> Vec<f64>) -> Vec<Fused<K>> {
    let mut rows = Vec::with_capacity(parts.iter().map(|part| part.ranked.len() + part.unlisted.len()).sum());
    for (number, part) in parts.iter().enumerate() {
        for (place, ((key, score), gain)) in part.ranked.iter().chain(part.unlisted).zip(gains(part)).enumerate() {
            let rank = (place < part.ranked.len()).then_some(place + 1);
            rows.push((*key, number, FusedPart { rank, score: *score }, gain));
        }
    }
    // Stable: the rows of a record stay in the order of the parts, and so does the sum.
    rows.sort_by_key(|row| row.0);
    let mut fused = Vec::new();
    for of_record in rows.chunk_by(|a, b| a.0 == b.0) {
        let mut places = vec![None; parts.len()];
        let mut sum = 0.0;
        for (_, number, place, gain) in of_record {
            sum += gain;
            if let Some(slot) = places.get_mut(*number) {
                *slot = Some(*place);
            }
        }
        fused.extend(of_record.first().map(|row| Fused { key: row.0, score: sum as f32, parts: places }));
    }
    // Stable, and made in key order: equal scores stay ordered by key.
    fused.sort_by_key(|row| Total(-f64::from(row.score)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part<'a>(ranked: &'a [(char, f32)], weight: f32, better: Better) -> RankedPart<'a, char> {
        RankedPart { ranked, unlisted: &[], weight, better, range: ScoreRange::default() }
    }

    fn shown(fused: &[Fused<char>]) -> Vec<(char, f32)> {
        fused.iter().map(|row| (row.key, row.score)).collect()
    }

    #[test]
    fn reciprocal_ranks_add_up_and_show_each_part() {
        let dense = [('a', 0.1), ('b', 0.2), ('c', 0.9)];
        let text = [('b', 7.0), ('d', 3.0)];
        let parts = [part(&dense, 1.0, Better::Smaller), part(&text, 1.0, Better::Larger)];
        let fused = reciprocal_rank(&parts, 60.0);
        let expected = [('b', 1.0 / 62.0 + 1.0 / 61.0), ('a', 1.0 / 61.0), ('d', 1.0 / 62.0), ('c', 1.0 / 63.0)];
        for ((key, score), (expected_key, expected)) in shown(&fused).into_iter().zip(expected) {
            assert_eq!(key, expected_key);
            assert!((score - expected as f32).abs() < 1e-7, "{key}: {score}, not {expected}");
        }
        let place = |rank, score| Some(FusedPart { rank: Some(rank), score });
        assert_eq!(fused[0].parts, [place(2, 0.2), place(1, 7.0)]);
        assert_eq!(fused[2].parts, [None, place(2, 3.0)]);
        let weighted = [part(&dense, 0.0, Better::Smaller), part(&text, 2.0, Better::Larger)];
        assert_eq!(shown(&reciprocal_rank(&weighted, 0.0)), [('b', 2.0), ('d', 1.0), ('a', 0.0), ('c', 0.0)]);
    }

    #[test]
    fn infinite_scores_are_the_best_and_the_worst_and_no_sum_is_nan() {
        let list = [('a', f32::INFINITY), ('b', 1.0), ('c', f32::NEG_INFINITY)];
        for normalisation in [Normalisation::MinMax, Normalisation::Distribution, Normalisation::TheoreticalMinMax] {
            let range = ScoreRange { worst: Some(f32::NEG_INFINITY), best: None };
            let fused = weighted_sum(&[RankedPart { range, ..part(&list, 1.0, Better::Larger) }], normalisation);
            assert_eq!(fused.iter().map(|row| row.key).collect::<String>(), "abc", "{normalisation:?}");
            assert!(fused.iter().all(|row| row.score.is_finite()), "{normalisation:?}: {fused:?}");
        }
    }

    #[test]
    fn scores_are_normalised_with_the_best_at_one() {
        let dense = [('a', 0.0), ('b', 1.0), ('c', 4.0)];
        let text = [('c', 10.0), ('b', 5.0), ('d', 0.0)];
        let parts = [part(&dense, 1.0, Better::Smaller), part(&text, 0.5, Better::Larger)];
        let expected = [('a', 1.0), ('b', 1.0), ('c', 0.5), ('d', 0.0)];
        assert_eq!(shown(&weighted_sum(&parts, Normalisation::MinMax)), expected);
        let equal = [('a', 3.0), ('b', 3.0)];
        let of = |normalisation| shown(&weighted_sum(&[part(&equal, 1.0, Better::Larger)], normalisation));
        assert_eq!(of(Normalisation::MinMax), [('a', 1.0), ('b', 1.0)]);
        assert_eq!(of(Normalisation::Distribution), [('a', 0.5), ('b', 0.5)]);
    }

    #[test]
    fn by_theory_a_match_of_few_words_counts_little_even_as_the_best_of_its_list() {
        let dense = [('a', 0.2), ('b', 0.4), ('c', 0.6)];
        let text = [('c', 2.0), ('b', 1.0)];
        let range = ScoreRange { worst: Some(0.0), best: Some(8.0) };
        let parts = [
            part(&dense, 1.0, Better::Smaller),
            RankedPart { range, unlisted: &[('a', 0.5)], ..part(&text, 2.0, Better::Larger) },
        ];
        let fused = weighted_sum(&parts, Normalisation::TheoreticalMinMax);
        // (0.6 − d) / 0.4 + 2 · s / 8.
        let expected = [('a', 1.0 + 0.125), ('b', 0.5 + 0.25), ('c', 0.0 + 0.5)];
        for ((key, score), (expected_key, expected)) in shown(&fused).into_iter().zip(expected) {
            assert_eq!(key, expected_key);
            assert!((score - expected).abs() < 1e-6, "{key}: {score}, not {expected}");
        }
        assert_eq!(fused[0].parts[1], Some(FusedPart { rank: None, score: 0.5 }));
        assert!(Normalisation::TheoreticalMinMax.scores_unlisted() && !Normalisation::MinMax.scores_unlisted());
    }

    #[test]
    fn a_range_is_widened_to_scores_outside_of_it_and_an_end_may_be_the_lists() {
        let list = [('a', 12.0), ('b', 5.0), ('c', -2.0)];
        let of = |worst, best| {
            let parts = [RankedPart { range: ScoreRange { worst, best }, ..part(&list, 1.0, Better::Larger) }];
            shown(&weighted_sum(&parts, Normalisation::TheoreticalMinMax))
        };
        assert_eq!(of(Some(0.0), Some(10.0)), [('a', 1.0), ('b', 0.5), ('c', 0.0)]);
        assert_eq!(of(Some(-30.0), None), [('a', 1.0), ('b', 35.0 / 42.0), ('c', 28.0 / 42.0)]);
        assert_eq!(of(None, Some(26.0)), [('a', 0.5), ('b', 0.25), ('c', 0.0)]);
        // Of distances the worst is the largest.
        let near = [('a', 0.5), ('b', 0.75)];
        let range = ScoreRange { worst: Some(1.0), best: Some(0.0) };
        let parts = [RankedPart { range, ..part(&near, 1.0, Better::Smaller) }];
        assert_eq!(shown(&weighted_sum(&parts, Normalisation::TheoreticalMinMax)), [('a', 0.5), ('b', 0.25)]);
        let flat = [RankedPart { range: ScoreRange::default(), ..part(&near[..1], 1.0, Better::Smaller) }];
        assert_eq!(shown(&weighted_sum(&flat, Normalisation::TheoreticalMinMax)), [('a', 1.0)]);
        let nothing = [RankedPart { range, ..part(&[], 1.0, Better::Smaller) }];
        assert_eq!(weighted_sum(&nothing, Normalisation::TheoreticalMinMax), []);
    }

    #[test]
    fn an_outlier_does_not_press_the_others_together() {
        let mut ranked: Vec<(u32, f32)> = vec![(0, 1000.0)];
        ranked.extend((1..100).map(|key| (key, 10.0 - key as f32 / 10.0)));
        let range = ScoreRange::default();
        let parts = [RankedPart { ranked: &ranked, unlisted: &[], weight: 1.0, better: Better::Larger, range }];
        let spread = |normalisation| {
            let fused = weighted_sum(&parts, normalisation);
            assert!(fused.iter().all(|row| (0.0..=1.0).contains(&row.score)), "{fused:?}");
            fused[1].score - fused[99].score
        };
        let (plain, robust) = (spread(Normalisation::MinMax), spread(Normalisation::Distribution));
        assert!(robust > 1.5 * plain, "{robust} against {plain}");
    }

    #[test]
    fn equal_scores_are_ordered_by_key_and_nothing_gives_nothing() {
        let (one, two) = ([('z', 1.0)], [('a', 1.0)]);
        let parts = [part(&one, 1.0, Better::Larger), part(&two, 1.0, Better::Larger)];
        assert_eq!(reciprocal_rank(&parts, 60.0).iter().map(|row| row.key).collect::<String>(), "az");
        assert_eq!(weighted_sum::<char>(&[], Normalisation::Distribution), []);
        assert_eq!(weighted_sum(&[part(&[], 1.0, Better::Larger)], Normalisation::Distribution), []);
    }
}
