//! Rank expressions: the algebra by which a search combines the scores of several. A value of it is a pair, the
//! support (which records have a score) and the default (the score of all other records, or none). Every step is
//! computed in f32.
//! Invariants: an expression is a postfix program, so its depth costs no stack; supports ascend by key, so a join
//! is one merge, and all supports together are never larger than the leaves' results.

use super::order::by_score;
use crate::error::Result;
use crate::interrupt::Interrupt;

/// One step of an expression, in postfix order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RankStep {
    /// Puts the result of a search on the stack.
    Leaf(Leaf),
    /// Puts a constant on the stack: no record has it, all default to it.
    Value(f32),
    /// Replaces the uppermost value.
    Unary(UnaryOperator),
    /// Replaces the two uppermost values, of which the left operand was put first.
    Binary(BinaryOperator),
}

/// A search whose result the expression reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leaf {
    /// The search's place among the results.
    pub slot: usize,
    /// The score of a record that the search did not return.
    pub default: Option<f32>,
    /// Whether a record's score is its place 0, 1, 2, … in the result.
    pub return_rank: bool,
}

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOperator {
    /// |x|.
    Abs,
    /// eˣ.
    Exp,
    /// The natural logarithm.
    Log,
}

/// A function of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOperator {
    /// a + b.
    Add,
    /// a − b.
    Subtract,
    /// a · b.
    Multiply,
    /// As IEEE 754 has it: x / 0 is infinite, 0 / 0 is NaN.
    Divide,
    /// The larger one; a NaN gives way to the other operand, and −0.0 to +0.0.
    Max,
    /// The smaller one; a NaN gives way to the other operand, and +0.0 to −0.0.
    Min,
}

/// A function of any number of values, from the left to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldOperator {
    /// The sum; 0 of nothing.
    Sum,
    /// The product; 1 of nothing.
    Mul,
    /// The largest; the smallest f32 of nothing.
    Max,
    /// The smallest; the largest f32 of nothing.
    Min,
}

impl FoldOperator {
    /// The constant that the fold begins with.
    pub const fn start(self) -> f32 {
        match self {
            FoldOperator::Sum => 0.0,
            FoldOperator::Mul => 1.0,
            FoldOperator::Max => f32::MIN,
            FoldOperator::Min => f32::MAX,
        }
    }

    /// The function that takes in the next operand.
    pub const fn binary(self) -> BinaryOperator {
        match self {
            FoldOperator::Sum => BinaryOperator::Add,
            FoldOperator::Mul => BinaryOperator::Multiply,
            FoldOperator::Max => BinaryOperator::Max,
            FoldOperator::Min => BinaryOperator::Min,
        }
    }
}

impl UnaryOperator {
    fn of(self, x: f32) -> f32 {
        match self {
            UnaryOperator::Abs => x.abs(),
            UnaryOperator::Exp => x.exp(),
            UnaryOperator::Log => x.ln(),
        }
    }
}

impl BinaryOperator {
    fn of(self, a: f32, b: f32) -> f32 {
        match self {
            BinaryOperator::Add => a + b,
            BinaryOperator::Subtract => a - b,
            BinaryOperator::Multiply => a * b,
            BinaryOperator::Divide => a / b,
            // `f32::max` may return either zero: adding decides for +0.0, and keeps two equal signs.
            BinaryOperator::Max if a == 0.0 && b == 0.0 => a + b,
            BinaryOperator::Min if a == 0.0 && b == 0.0 => -(-a + -b),
            BinaryOperator::Max => a.max(b),
            BinaryOperator::Min => a.min(b),
        }
    }
}

/// A rank expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression(Vec<RankStep>);

impl Expression {
    /// `None` where the steps do not come to exactly one value.
    pub fn new(steps: Vec<RankStep>) -> Option<Expression> {
        let mut height = 0_usize;
        for step in &steps {
            let taken = match step {
                RankStep::Leaf(_) | RankStep::Value(_) => 0,
                RankStep::Unary(_) => 1,
                RankStep::Binary(_) => 2,
            };
            height = height.checked_sub(taken)? + 1;
        }
        (height == 1).then_some(Expression(steps))
    }

    /// The searches that it reads, in the order of their steps.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf> + '_ {
        self.0.iter().filter_map(|step| match step {
            RankStep::Leaf(leaf) => Some(*leaf),
            _ => None,
        })
    }

    /// The records that the expression gives a score, smallest first, equal ones by key. `results` has the result
    /// of each search at its slot, best first, each key once; a slot without one counts as empty. A default alone
    /// never brings in a record.
    ///
    /// # Errors
    /// The interrupt's.
    pub fn evaluate<K: Copy + Ord>(&self, results: &[Vec<(K, f32)>], interrupt: &Interrupt) -> Result<Vec<(K, f32)>> {
        let mut stack: Vec<Domain<K>> = Vec::new();
        for step in &self.0 {
            interrupt.check()?;
            let value = match step {
                RankStep::Leaf(leaf) => Domain::of(leaf, results.get(leaf.slot).map_or(&[], Vec::as_slice)),
                RankStep::Value(value) => Domain { support: Vec::new(), default: Some(*value) },
                RankStep::Unary(function) => stack.pop().unwrap_or_default().map(|x| function.of(x)),
                RankStep::Binary(function) => {
                    let (right, left) = (stack.pop().unwrap_or_default(), stack.pop().unwrap_or_default());
                    left.join(right, *function)
                }
            };
            stack.push(value);
        }
        let mut ranked = stack.pop().unwrap_or_default().support;
        ranked.sort_unstable_by(by_score);
        Ok(ranked)
    }
}

/// A value of the algebra.
struct Domain<K> {
    /// Ascending by key, each key once.
    support: Vec<(K, f32)>,
    default: Option<f32>,
}

impl<K> Default for Domain<K> {
    fn default() -> Domain<K> {
        Domain { support: Vec::new(), default: None }
    }
}

impl<K: Copy + Ord> Domain<K> {
    fn of(leaf: &Leaf, result: &[(K, f32)]) -> Domain<K> {
        let score =
            |(rank, (key, score)): (usize, &(K, f32))| (*key, if leaf.return_rank { rank as f32 } else { *score });
        let mut support: Vec<(K, f32)> = result.iter().enumerate().map(score).collect();
        support.sort_unstable_by_key(|row| row.0);
        Domain { support, default: leaf.default }
    }

    fn map(mut self, function: impl Fn(f32) -> f32) -> Domain<K> {
        self.support.iter_mut().for_each(|(_, score)| *score = function(*score));
        Domain { default: self.default.map(function), ..self }
    }

    /// Where one side lacks a record it stands with its default; without one the record is left out.
    fn join(self, other: Domain<K>, function: BinaryOperator) -> Domain<K> {
        let default = self.default.zip(other.default).map(|(a, b)| function.of(a, b));
        // Most joins have a constant on one side: the support stays where it is.
        let support = match (self.default, other.default) {
            (_, Some(b)) if other.support.is_empty() => self.map(|a| function.of(a, b)).support,
            (Some(a), _) if self.support.is_empty() => other.map(|b| function.of(a, b)).support,
            _ => merge(&self, &other, function),
        };
        Domain { support, default }
    }
}

fn merge<K: Copy + Ord>(left: &Domain<K>, right: &Domain<K>, function: BinaryOperator) -> Vec<(K, f32)> {
    let (mut ours, mut theirs) = (left.support.iter().peekable(), right.support.iter().peekable());
    let mut merged = Vec::new();
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => return merged,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let ours = if order.is_le() { ours.next() } else { None };
        let theirs = if order.is_ge() { theirs.next() } else { None };
        let key = ours.or(theirs).map(|(key, _)| *key);
        let score = |side: Option<&(K, f32)>, default| side.map(|(_, score)| *score).or(default);
        if let (Some(key), Some(a), Some(b)) = (key, score(ours, left.default), score(theirs, right.default)) {
            merged.push((key, function.of(a, b)));
        }
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod expression_tests;
