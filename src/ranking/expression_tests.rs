//! Rank expressions against a map-based evaluation of the same tree, and the cases that the rules name.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// An expression as a tree, evaluated by recursion over maps.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(Leaf),
    Value(f32),
    Fold(FoldOperator, Vec<Tree>),
    Pair(BinaryOperator, Box<(Tree, Tree)>),
    Unary(UnaryOperator, Box<Tree>),
}

type Pair = (BTreeMap<u32, f32>, Option<f32>);

impl Tree {
    fn steps(&self, into: &mut Vec<RankStep>) {
        match self {
            Tree::Leaf(leaf) => into.push(RankStep::Leaf(*leaf)),
            Tree::Value(value) => into.push(RankStep::Value(*value)),
            Tree::Fold(fold, operands) => {
                into.push(RankStep::Value(fold.start()));
                for operand in operands {
                    operand.steps(into);
                    into.push(RankStep::Binary(fold.binary()));
                }
            }
            Tree::Pair(function, sides) => {
                sides.0.steps(into);
                sides.1.steps(into);
                into.push(RankStep::Binary(*function));
            }
            Tree::Unary(function, operand) => {
                operand.steps(into);
                into.push(RankStep::Unary(*function));
            }
        }
    }

    fn pair(&self, results: &[Vec<(u32, f32)>]) -> Pair {
        match self {
            Tree::Leaf(leaf) => {
                let rows = results[leaf.slot].iter().enumerate();
                let score = |rank: usize, score: f32| if leaf.return_rank { rank as f32 } else { score };
                (rows.map(|(rank, (key, own))| (*key, score(rank, *own))).collect(), leaf.default)
            }
            Tree::Value(value) => (BTreeMap::new(), Some(*value)),
            Tree::Fold(fold, operands) => operands.iter().fold((BTreeMap::new(), Some(fold.start())), |sum, next| {
                joined(sum, next.pair(results), fold.binary())
            }),
            Tree::Pair(function, sides) => joined(sides.0.pair(results), sides.1.pair(results), *function),
            Tree::Unary(function, operand) => {
                let (support, default) = operand.pair(results);
                (support.into_iter().map(|(key, x)| (key, function.of(x))).collect(), default.map(|x| function.of(x)))
            }
        }
    }
}

fn joined((a, da): Pair, (b, db): Pair, function: BinaryOperator) -> Pair {
    let keys: Vec<u32> = match (da.is_some(), db.is_some()) {
        (false, false) => a.keys().filter(|key| b.contains_key(key)).copied().collect(),
        (false, true) => a.keys().copied().collect(),
        (true, false) => b.keys().copied().collect(),
        (true, true) => a.keys().chain(b.keys()).copied().collect(),
    };
    let side = |map: &BTreeMap<u32, f32>, default: Option<f32>, key| map.get(&key).copied().or(default).unwrap();
    let rows = keys.into_iter().map(|key| (key, function.of(side(&a, da, key), side(&b, db, key)))).collect();
    (rows, da.zip(db).map(|(a, b)| function.of(a, b)))
}

const VALUES: [f32; 10] = [0.0, -0.0, 1.0, -1.0, 0.5, 3.25, 60.0, 1e30, -1e30, 100.0];

fn tree(random: &mut StdRng, leaves: usize, depth: usize) -> Tree {
    let some = |random: &mut StdRng| VALUES[random.random_range(0..VALUES.len())];
    match random.random_range(0..if depth == 0 { 4 } else { 11 }) {
        0..=2 => Tree::Leaf(Leaf {
            slot: random.random_range(0..leaves),
            default: random.random_bool(0.4).then(|| some(random)),
            return_rank: random.random_bool(0.3),
        }),
        3 => Tree::Value(some(random)),
        4..=6 => {
            let fold =
                [FoldOperator::Sum, FoldOperator::Mul, FoldOperator::Max, FoldOperator::Min][random.random_range(0..4)];
            let count = random.random_range(0..4);
            Tree::Fold(fold, (0..count).map(|_| tree(random, leaves, depth - 1)).collect())
        }
        7..=8 => {
            let function = [BinaryOperator::Subtract, BinaryOperator::Divide][random.random_range(0..2)];
            let sides = (tree(random, leaves, depth - 1), tree(random, leaves, depth - 1));
            Tree::Pair(function, Box::new(sides))
        }
        _ => {
            let function = [UnaryOperator::Abs, UnaryOperator::Exp, UnaryOperator::Log][random.random_range(0..3)];
            Tree::Unary(function, Box::new(tree(random, leaves, depth - 1)))
        }
    }
}

fn result(random: &mut StdRng) -> Vec<(u32, f32)> {
    let mut rows: Vec<(u32, f32)> = (0..12).filter(|_| random.random_bool(0.5)).map(|key| (key, 0.0)).collect();
    rows.iter_mut().for_each(|row| row.1 = VALUES[random.random_range(0..VALUES.len())]);
    rows.sort_by(by_score);
    rows
}

fn ranked(tree: &Tree, results: &[Vec<(u32, f32)>]) -> Vec<(u32, f32)> {
    let mut steps = Vec::new();
    tree.steps(&mut steps);
    Expression::new(steps).unwrap().evaluate(results, &Interrupt::never()).unwrap()
}

#[test]
fn random_expressions_score_as_maps_do() {
    let seed = 15;
    let mut random = StdRng::seed_from_u64(seed);
    let mut scored = 0;
    for case in 0..20_000 {
        let results: Vec<_> = (0..3).map(|_| result(&mut random)).collect();
        let tree = tree(&mut random, results.len(), 4);
        let mut expected: Vec<(u32, f32)> = tree.pair(&results).0.into_iter().collect();
        expected.sort_by(by_score);
        let bits = |rows: &[(u32, f32)]| {
            let canonical = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
            rows.iter().map(|(key, score)| (*key, canonical(*score))).collect::<Vec<_>>()
        };
        let found = ranked(&tree, &results);
        scored += found.len();
        assert_eq!(bits(&found), bits(&expected), "seed {seed}, case {case}: {tree:?} of {results:?}");
    }
    assert!(scored > 20_000, "only {scored} scores were compared");
}

fn leaf(slot: usize, default: Option<f32>) -> Tree {
    Tree::Leaf(Leaf { slot, default, return_rank: false })
}

#[test]
fn a_missing_score_is_the_default_and_without_one_leaves_the_record_out() {
    let results = [vec![(0, 0.0), (1, 1.0)], vec![(1, -1.0), (2, 2.0)]];
    let sum = |a, b| ranked(&Tree::Fold(FoldOperator::Sum, vec![leaf(0, a), leaf(1, b)]), &results);
    assert_eq!(sum(None, None), [(1, 0.0)]);
    assert_eq!(sum(None, Some(10.0)), [(1, 0.0), (0, 10.0)]);
    assert_eq!(sum(Some(5.0), None), [(1, 0.0), (2, 7.0)]);
    assert_eq!(sum(Some(5.0), Some(10.0)), [(1, 0.0), (2, 7.0), (0, 10.0)]);
}

#[test]
fn constants_and_defaults_alone_score_nothing() {
    assert_eq!(ranked(&Tree::Value(0.5), &[]), []);
    assert_eq!(ranked(&Tree::Fold(FoldOperator::Sum, vec![]), &[]), []);
    assert_eq!(ranked(&leaf(0, Some(0.0)), &[vec![]]), []);
    assert_eq!(ranked(&leaf(7, Some(0.0)), &[vec![]]), [], "a slot that no search filled");
}

#[test]
fn max_and_min_pass_over_a_nan_and_decide_between_the_zeros() {
    for (a, b) in [(f32::NAN, -3.0), (-3.0, f32::NAN)] {
        assert_eq!((BinaryOperator::Max.of(a, b), BinaryOperator::Min.of(a, b)), (-3.0, -3.0));
    }
    for (a, b) in [(0.0, -0.0), (-0.0, 0.0)] {
        let signs = (BinaryOperator::Max.of(a, b).to_bits(), BinaryOperator::Min.of(a, b).to_bits());
        assert_eq!(signs, (0.0_f32.to_bits(), (-0.0_f32).to_bits()));
    }
    assert!(
        BinaryOperator::Max.of(-0.0, -0.0).is_sign_negative() && BinaryOperator::Min.of(0.0, 0.0).is_sign_positive()
    );
}

#[test]
fn a_program_that_does_not_come_to_one_value_is_none() {
    let (value, add, abs) =
        (RankStep::Value(1.0), RankStep::Binary(BinaryOperator::Add), RankStep::Unary(UnaryOperator::Abs));
    for steps in [vec![], vec![add], vec![abs], vec![value, add], vec![value, value]] {
        assert_eq!(Expression::new(steps.clone()), None, "{steps:?}");
    }
    assert!(Expression::new(vec![value, value, add, abs]).is_some());
}

#[test]
fn depth_costs_no_stack() {
    let levels = 1_000_000;
    let nested = std::iter::once(RankStep::Leaf(Leaf { slot: 0, default: None, return_rank: false }));
    let steps = nested.chain((0..levels).map(|_| RankStep::Unary(UnaryOperator::Abs))).collect();
    let expression = Expression::new(steps).unwrap();
    assert_eq!(expression.evaluate(&[vec![(1, -2.0)]], &Interrupt::never()).unwrap(), [(1, 2.0)]);
}

#[test]
fn work_that_nobody_waits_for_ends() {
    let expression = Expression::new(vec![RankStep::Value(1.0)]).unwrap();
    let over = Interrupt::at(std::time::Instant::now());
    let error = expression.evaluate::<u32>(&[], &over).unwrap_err();
    assert!(error.to_string().contains("given up"), "{error}");
}
