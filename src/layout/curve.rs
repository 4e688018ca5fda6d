//! How near two points look on the map: 1 / (1 + a·d²ᵇ), and the forces that follow from it (§3.2 and §4.2 of the
//! paper). Only additions, multiplications, divisions and shifts, so every machine computes the same bits, and
//! compilers turn loops over points into SIMD.

use super::Point;

/// The curve that comes nearest, by least squares, to 1 up to a distance of 0.1 and exp(0.1 − d) beyond: "min-dist" 0.1
/// and "spread" 1, the values of the reference implementation.
const A: f32 = 1.576_943_5;
const B: f32 = 0.895_060_9;

/// Keeps the repulsion of coincident points finite; from the paper.
const EPSILON: f32 = 1e-3;
/// No single force moves a coordinate farther than this; from the reference implementation.
const FARTHEST: f32 = 4.0;

/// How `from` moves towards `to`, to which it has an edge: the negative gradient of −log of the nearness.
#[inline]
pub(super) fn attraction(from: Point, to: Point) -> Point {
    let delta = [from[0] - to[0], from[1] - to[1]];
    // Where points coincide, any finite factor will do: the difference is 0.
    let square = (delta[0] * delta[0] + delta[1] * delta[1]).max(1e-12);
    let [power] = powers_b([square]);
    let factor = -2.0 * A * B * power / (square * (1.0 + A * power));
    delta.map(|d| limited(d * factor))
}

/// How `place` moves away from others, given by their coordinates: the sum of the negative gradients of
/// −log(1 − nearness).
#[inline]
pub(super) fn repulsion<const LANES: usize>(place: Point, mut x: [f32; LANES], mut y: [f32; LANES]) -> Point {
    let mut square = [0.0; LANES];
    for lane in 0..LANES {
        x[lane] = place[0] - x[lane];
        y[lane] = place[1] - y[lane];
        square[lane] = x[lane] * x[lane] + y[lane] * y[lane];
    }
    let power = powers_b(square);
    let mut sum = [0.0; 2];
    for lane in 0..LANES {
        let factor = 2.0 * B / ((EPSILON + square[lane]) * (1.0 + A * power[lane]));
        x[lane] = limited(x[lane] * factor);
        y[lane] = limited(y[lane] * factor);
    }
    for lane in 0..LANES {
        sum[0] += x[lane];
        sum[1] += y[lane];
    }
    sum
}

#[inline]
fn limited(force: f32) -> f32 {
    force.clamp(-FARTHEST, FARTHEST)
}

/// Numbers to the power of b, by 2^(b · log₂ x), for x ≥ 0 that are not huge; within 3·10⁻⁵ of it. Each step is done
/// for all of them before the next: of such plain loops, compilers make SIMD.
#[inline]
fn powers_b<const LANES: usize>(x: [f32; LANES]) -> [f32; LANES] {
    let (mut product, mut log, mut power) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    // log₂ of the mantissa is a polynomial of t in [0, 1), of degree 6 without a constant: the interpolation at
    // Chebyshev's nodes.
    for lane in 0..LANES {
        let t = f32::from_bits(x[lane].to_bits() & 0x007f_ffff | 0x3f80_0000) - 1.0;
        let high = ((-0.033_822_05 * t + 0.144_471_1) * t - 0.301_638) * t + 0.468_658_9;
        log[lane] = ((high * t - 0.720_358_8) * t + 1.442_681_4) * t;
    }
    for lane in 0..LANES {
        product[lane] = B * (log[lane] + ((x[lane].to_bits() >> 23) as i32 - 127) as f32);
    }
    // 2 to a whole part, which is a shift of the exponent, and to a rest in [-½, ½], a polynomial of degree 4. Adding
    // 1.5 · 2²³ rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    for lane in 0..LANES {
        let whole = product[lane] + ROUND;
        let rest = product[lane] - (whole - ROUND);
        let high = (0.009_666_37 * rest + 0.055_921_98) * rest + 0.240_223_5;
        let exp = (high * rest + 0.693_121_1) * rest + 1.0;
        let shift = whole.to_bits().wrapping_sub(ROUND.to_bits()) << 23;
        power[lane] = f32::from_bits(exp.to_bits().wrapping_add(shift));
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nearness(from: Point, to: Point) -> f64 {
        let square: f64 = (0..2).map(|i| (f64::from(from[i]) - f64::from(to[i])).powi(2)).sum();
        1.0 / (1.0 + f64::from(A) * square.powf(f64::from(B)))
    }

    /// The negative gradient of `loss` at `from`, by central differences.
    fn descent(from: Point, loss: impl Fn(Point) -> f64) -> [f64; 2] {
        [0, 1].map(|axis| {
            let at = |step: f32| {
                let mut moved = from;
                moved[axis] += step;
                (loss(moved), f64::from(moved[axis]))
            };
            let ((low, a), (high, b)) = (at(-1e-3), at(1e-3));
            -(high - low) / (b - a)
        })
    }

    fn agree(force: Point, expected: [f64; 2]) -> bool {
        (0..2).all(|i| (f64::from(force[i]) - expected[i]).abs() <= 2e-3 * (1.0 + expected[i].abs()))
    }

    proptest! {
        #[test]
        fn forces_are_the_gradients_of_the_cross_entropy(
            x in -5f32..5.0, y in -5f32..5.0, u in -5f32..5.0, v in -5f32..5.0,
        ) {
            let (from, to) = ([x, y], [u, v]);
            // Nearer than this, ε and the limit of a move are felt.
            prop_assume!((x - u).hypot(y - v) > 0.5);
            let pull = descent(from, |p| -nearness(p, to).ln());
            prop_assert!(agree(attraction(from, to), pull), "{:?} for {pull:?}", attraction(from, to));
            let push = descent(from, |p| -(1.0 - nearness(p, to)).ln());
            // ε takes up to 0.4 % away at this distance.
            prop_assert!(agree(repulsion(from, [to[0]], [to[1]]), push.map(|p| p * 0.998)), "{:?} for {push:?}", repulsion(from, [to[0]], [to[1]]));
        }

        #[test]
        fn powers_are_near_enough(exponent in -30f32..30.0) {
            let x = 2f32.powf(exponent);
            let expected = f64::from(x).powf(f64::from(B));
            prop_assert!((f64::from(powers_b([x])[0]) / expected - 1.0).abs() < 3e-5, "{} for {expected}", powers_b([x])[0]);
        }

        #[test]
        fn forces_of_any_points_are_finite_and_bounded(
            x in -1e6f32..1e6, y in -1e6f32..1e6, scale in -30i32..1,
        ) {
            let from = [x, y].map(|v| v * 2f32.powi(scale));
            for force in [attraction(from, [0.0; 2]), repulsion(from, [0.0], [0.0])] {
                prop_assert!(force.iter().all(|f| f.abs() <= FARTHEST), "{force:?}");
            }
        }
    }

    #[test]
    fn coincident_points_do_not_move_each_other() {
        assert_eq!(attraction([1.0, 2.0], [1.0, 2.0]), [0.0; 2]);
        assert_eq!(repulsion([1.0, 2.0], [1.0], [2.0]), [0.0; 2]);
    }

    /// The sum of squares that the fit of a and b minimises, over 300 distances up to 3 as the reference has it.
    fn misfit(a: f64, b: f64) -> f64 {
        let target = |d: f64| if d < 0.1 { 1.0 } else { (0.1 - d).exp() };
        let one = |i: i32| 3.0 * f64::from(i) / 299.0;
        (0..300).map(one).map(|d| (1.0 / (1.0 + a * d.powf(2.0 * b)) - target(d)).powi(2)).sum()
    }

    #[test]
    fn a_and_b_are_the_best_fit() {
        let (a, b) = (f64::from(A), f64::from(B));
        for (da, db) in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (0.0, -1e-3), (1e-3, 1e-3), (-1e-3, -1e-3)] {
            assert!(misfit(a + da, b + db) > misfit(a, b), "{da} {db}");
        }
    }
}
