//! Recommendation: "like these, unlike those". By one averaged query vector, or by the score against the best of the
//! examples. The two strategies and their names are Qdrant's (its documentation, "Recommendation API").
//! Invariant: vectors are of one length, and the averaged one is finite where the examples are.

/// The averaged strategy: avg(positive) + (avg(positive) − avg(negative)), and avg(positive) without negatives. `None`
/// without positives, or where the lengths differ. The result is searched for like any other query.
pub fn averaged(positive: &[&[f32]], negative: &[&[f32]]) -> Option<Vec<f32>> {
    let like = average(positive)?;
    if negative.is_empty() {
        return Some(like.into_iter().map(|x| x as f32).collect());
    }
    let unlike = average(negative).filter(|unlike| unlike.len() == like.len())?;
    // Sums of finite f32 may be beyond f32.
    let shifted = like.into_iter().zip(unlike).map(|(p, n)| 2.0 * p - n);
    Some(shifted.map(|x| x.clamp(f32::MIN.into(), f32::MAX.into()) as f32).collect())
}

fn average(vectors: &[&[f32]]) -> Option<Vec<f64>> {
    let mut sum: Vec<f64> = vectors.first()?.iter().map(|_| 0.0).collect();
    for vector in vectors {
        if vector.len() != sum.len() {
            return None;
        }
        sum.iter_mut().zip(*vector).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sum.iter_mut().for_each(|sum| *sum /= vectors.len() as f64);
    Some(sum)
}

/// The best-score strategy, for one candidate: `positive` and `negative` are its similarities to the examples, larger
/// is more alike. A candidate that is nearer to a positive example scores by it, above 0; any other scores by the
/// nearest negative one, below 0. Larger is better.
///
/// Qdrant documents −s² for the second case, which rises again where similarities are negative. As its code does, this
/// uses σ(s) = ½(1 + s / (1 + |s|)): the same order where similarities are not negative, and a sound one elsewhere.
pub fn best_score(positive: impl IntoIterator<Item = f32>, negative: impl IntoIterator<Item = f32>) -> f32 {
    let best = |scores: &mut dyn Iterator<Item = f32>| scores.fold(f32::NEG_INFINITY, f32::max);
    let (like, unlike) = (best(&mut positive.into_iter()), best(&mut negative.into_iter()));
    let scaled = |s: f32| match s.is_infinite() {
        true => f32::from(s > 0.0),
        false => 0.5 * (1.0 + s / (1.0 + s.abs())),
    };
    if like > unlike { scaled(like) } else { -scaled(unlike) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_averaged_query_lies_beyond_the_positives_as_seen_from_the_negatives() {
        let (a, b, c) = ([1.0, 0.0], [3.0, 2.0], [0.0, 5.0]);
        assert_eq!(averaged(&[&a, &b], &[]), Some(vec![2.0, 1.0]));
        assert_eq!(averaged(&[&a, &b], &[&c]), Some(vec![4.0, -3.0]));
        assert_eq!(averaged(&[], &[&c]), None);
        assert_eq!(averaged(&[&a, &[1.0]], &[]), None);
        assert_eq!(averaged(&[&a], &[&[1.0]]), None);
        let far = [f32::MAX];
        assert_eq!(averaged(&[&far], &[&[f32::MIN]]), Some(vec![f32::MAX]));
    }

    #[test]
    fn what_is_nearer_to_a_positive_example_is_above_all_that_is_not() {
        let score = |positive: &[f32], negative: &[f32]| best_score(positive.to_vec(), negative.to_vec());
        let order = [
            score(&[0.9, 0.1], &[0.2]),
            score(&[0.5], &[]),
            score(&[-0.2], &[-0.9]),
            score(&[-0.5], &[-0.4]),
            score(&[], &[0.1]),
            score(&[0.3], &[0.8, 0.1]),
        ];
        assert!(order.windows(2).all(|pair| pair[0] > pair[1]), "{order:?}");
        assert!(order[2] > 0.0 && order[3] < 0.0, "{order:?}");
        assert_eq!(score(&[], &[]), 0.0);
    }

    #[test]
    fn similarities_that_are_not_negative_order_as_documented() {
        let documented = |p: f32, n: f32| if p > n { p } else { -(n * n) };
        let grid = || (0..=10).flat_map(|p| (0..=10).map(move |n| (p as f32 / 10.0, n as f32 / 10.0)));
        for (p, n) in grid() {
            for (q, m) in grid() {
                let ours = best_score([p], [n]).partial_cmp(&best_score([q], [m]));
                // σ(0) is ½, and −0² is 0: only whether a score is 0 differs.
                let theirs = documented(p, n).partial_cmp(&documented(q, m));
                assert_eq!(ours, theirs, "{p} {n} against {q} {m}");
            }
        }
    }
}
