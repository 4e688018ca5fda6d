//! Rank expressions of a search: decoded with the shape that Chroma's server accepts, then checked and turned into
//! the program of [`crate::ranking`] and the searches that it reads.
//! Invariants: what is decoded was metered before; every number is finite, since one beyond f32 is refused as JSON;
//! depth, operators and leaves are bounded before anything is computed.

use serde::Deserialize;
use serde::de::Deserializer;

use super::super::super::bounded::{List, ListOf};
use super::super::super::meter;
use super::super::error::ChromaError;
use super::knn::{Knn, KnnBody, Searchable};
use crate::config::Limits;
use crate::ranking::{BinaryOperator, Expression, FoldOperator, Leaf, RankStep, UnaryOperator};

/// Operators within operators, at most.
const MAX_DEPTH: usize = 64;
/// Operators and constants of one rank, at most. Each costs a pass over the records that are ranked.
const MAX_OPERATORS: usize = 1_000;
/// `$knn` of one rank, at most.
const MAX_LEAVES: usize = 64;

/// A rank expression of a request.
#[derive(Debug, Deserialize)]
pub(super) enum RankBody {
    #[serde(rename = "$abs")]
    Abs(Metered<RankBody>),
    #[serde(rename = "$div")]
    Div(Metered<SidesBody>),
    #[serde(rename = "$exp")]
    Exp(Metered<RankBody>),
    #[serde(rename = "$knn")]
    Knn(Metered<KnnBody>),
    #[serde(rename = "$log")]
    Log(Metered<RankBody>),
    #[serde(rename = "$max")]
    Max(List<RankBody, Operands>),
    #[serde(rename = "$min")]
    Min(List<RankBody, Operands>),
    #[serde(rename = "$mul")]
    Mul(List<RankBody, Operands>),
    #[serde(rename = "$sub")]
    Sub(Metered<SidesBody>),
    #[serde(rename = "$sum")]
    Sum(List<RankBody, Operands>),
    #[serde(rename = "$val")]
    Val(f32),
}

/// The operands of `$sub` and `$div`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with left and right")]
pub(super) struct SidesBody {
    left: RankBody,
    right: RankBody,
}

/// Operands of a list.
#[derive(Debug)]
pub(super) enum Operands {}

impl ListOf for Operands {
    fn most(_: &Limits) -> (usize, String) {
        (MAX_OPERATORS, format!("expected at most {MAX_OPERATORS} operands in a rank, got more"))
    }
}

/// A part of a tree in memory of its own, for which the meter was charged before.
#[derive(Debug)]
pub(super) struct Metered<T>(Box<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Metered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metered<T>, D::Error> {
        /// Overhead of the allocator for each block of memory.
        const BLOCK_BYTES: usize = 16;
        meter::take(size_of::<T>() + BLOCK_BYTES)?;
        T::deserialize(deserializer).map(|value| Metered(Box::new(value)))
    }
}

/// A rank that can be computed.
#[derive(Debug, PartialEq)]
pub(super) struct Rank {
    pub(super) expression: Expression,
    /// The search of each slot of the expression.
    pub(super) searches: Vec<Knn>,
}

impl RankBody {
    /// Checks the contents of a rank, which stands at `place` of the body.
    pub(super) fn read(self, place: &str, searchable: &impl Searchable) -> Result<Rank, ChromaError> {
        let mut reader = RankReader {
            rank: place,
            place: place.to_owned(),
            searchable,
            steps: Vec::new(),
            searches: Vec::new(),
            operators: 0,
        };
        reader.read(self, 1)?;
        let expression = Expression::new(reader.steps)
            .ok_or_else(|| ChromaError::invalid(format!("{place}: expected a rank expression of one value")))?;
        Ok(Rank { expression, searches: reader.searches })
    }
}

/// Reads a tree into postfix order.
struct RankReader<'a, S> {
    /// The place of the whole rank.
    rank: &'a str,
    /// Where the reader stands, as errors show it.
    place: String,
    searchable: &'a S,
    steps: Vec<RankStep>,
    searches: Vec<Knn>,
    operators: usize,
}

impl<S: Searchable> RankReader<'_, S> {
    fn read(&mut self, body: RankBody, depth: usize) -> Result<(), ChromaError> {
        if depth > MAX_DEPTH {
            let most = format!("expected at most {MAX_DEPTH} operators within each other, got more");
            return Err(ChromaError::validation(&[format!("{}: {most}", self.rank)]));
        }
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            let most = format!("expected at most {MAX_OPERATORS} operators, got more");
            return Err(ChromaError::validation(&[format!("{}: {most}", self.rank)]));
        }
        match body {
            RankBody::Val(value) => {
                self.steps.push(RankStep::Value(value));
                Ok(())
            }
            RankBody::Knn(knn) => self.within("$knn", |reader| reader.knn(*knn.0)),
            RankBody::Abs(operand) => self.unary(("$abs", UnaryOperator::Abs), operand, depth),
            RankBody::Exp(operand) => self.unary(("$exp", UnaryOperator::Exp), operand, depth),
            RankBody::Log(operand) => self.unary(("$log", UnaryOperator::Log), operand, depth),
            RankBody::Sub(sides) => self.sides(("$sub", BinaryOperator::Subtract), sides, depth),
            RankBody::Div(sides) => self.sides(("$div", BinaryOperator::Divide), sides, depth),
            RankBody::Sum(operands) => self.fold(("$sum", FoldOperator::Sum), operands, depth),
            RankBody::Mul(operands) => self.fold(("$mul", FoldOperator::Mul), operands, depth),
            RankBody::Max(operands) => self.fold(("$max", FoldOperator::Max), operands, depth),
            RankBody::Min(operands) => self.fold(("$min", FoldOperator::Min), operands, depth),
        }
    }

    /// Runs `inner` one step deeper; the step is part of the place meanwhile.
    fn within(
        &mut self,
        step: &str,
        inner: impl FnOnce(&mut Self) -> Result<(), ChromaError>,
    ) -> Result<(), ChromaError> {
        let outside = self.place.len();
        self.place.push('.');
        self.place.push_str(step);
        inner(self)?;
        self.place.truncate(outside);
        Ok(())
    }

    fn knn(&mut self, body: KnnBody) -> Result<(), ChromaError> {
        if self.searches.len() >= MAX_LEAVES {
            let most = format!("expected at most {MAX_LEAVES} $knn in a rank, got more");
            return Err(ChromaError::validation(&[format!("{}: {most}", self.rank)]));
        }
        let (default, return_rank) = (body.default, body.return_rank);
        let search = body.read((self.rank, &self.place), self.searchable)?;
        self.steps.push(RankStep::Leaf(Leaf { slot: self.searches.len(), default, return_rank }));
        self.searches.push(search);
        Ok(())
    }

    fn unary(
        &mut self,
        (name, operator): (&str, UnaryOperator),
        operand: Metered<RankBody>,
        depth: usize,
    ) -> Result<(), ChromaError> {
        self.within(name, |reader| reader.read(*operand.0, depth + 1))?;
        self.steps.push(RankStep::Unary(operator));
        Ok(())
    }

    fn sides(
        &mut self,
        (name, operator): (&str, BinaryOperator),
        sides: Metered<SidesBody>,
        depth: usize,
    ) -> Result<(), ChromaError> {
        let SidesBody { left, right } = *sides.0;
        self.within(name, |reader| {
            reader.within("left", |reader| reader.read(left, depth + 1))?;
            reader.within("right", |reader| reader.read(right, depth + 1))
        })?;
        self.steps.push(RankStep::Binary(operator));
        Ok(())
    }

    fn fold(
        &mut self,
        (name, operator): (&str, FoldOperator),
        operands: List<RankBody, Operands>,
        depth: usize,
    ) -> Result<(), ChromaError> {
        self.steps.push(RankStep::Value(operator.start()));
        for (number, operand) in operands.0.into_iter().enumerate() {
            self.within(&format!("{name}[{number}]"), |reader| reader.read(operand, depth + 1))?;
            self.steps.push(RankStep::Binary(operator.binary()));
        }
        Ok(())
    }
}
