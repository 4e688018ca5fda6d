//! A query against codes: estimates of distances, and how far they may be off.

use super::codec::CodeWidth;
use super::factors::Factors;
use super::kernel::{PackedRows, Packing, code_kernels, signed};
use crate::index::centring::Rotated;
use crate::index::kernel::kernels;
use crate::index::metric::wide_sum;
use crate::index::quantiser::{bounded, reach_of, whole_steps};

/// The error of f32 sums, as a share of their largest part.
const ROUNDING: f32 = 1e-6;

/// Codes and factors, a row of each per vector.
#[derive(Debug, Clone, Copy)]
pub struct CodeTable<'a> {
    /// The codes.
    pub codes: PackedRows<'a>,
    /// Their factors.
    pub factors: &'a [Factors],
}

impl CodeTable<'_> {
    /// The factors of `row`; all zero past the end.
    #[inline]
    pub fn factors_of(&self, row: u32) -> Factors {
        self.factors.get(row as usize).copied().unwrap_or_default()
    }
}

/// A query in 8 bits a dimension: q = t·d + f, with d the code.
#[derive(Debug, Clone, PartialEq)]
pub struct EstimatingQuery {
    width: CodeWidth,
    /// d, and zeros up to what whole bytes of a code hold.
    code: Vec<i8>,
    /// What a product with u has more than one with z, in the unit of u.
    offset: f32,
    /// m t, in the unit of u.
    factor: f32,
    constant: f32,
    /// m, how many times q·o is in a distance.
    products: f32,
    /// |q|.
    length: f32,
    /// |f|.
    lost: f32,
    /// 1 / √(D − 1).
    spread: f32,
}

impl EstimatingQuery {
    /// The rotated query, with `products` times q·o in a distance, to which it adds `constant` of |q|².
    pub(super) fn new(
        width: CodeWidth,
        rotated: &Rotated,
        products: f64,
        constant: impl FnOnce(f64) -> f64,
    ) -> EstimatingQuery {
        let Rotated { values, unit } = rotated;
        let reach = reach_of(values);
        let mut code: Vec<i8> = whole_steps(values, f32::from(i8::MAX) / reach).collect();
        let step = f64::from(reach) / f64::from(i8::MAX);
        let left = |(x, d): (&f32, &i8)| (f64::from(*x) - f64::from(*d) * step).powi(2);
        let lost: f64 = values.iter().zip(&code).map(left).sum();
        let square = wide_sum(values, values, |x, other| x * other);
        let sum: i32 = code.iter().map(|d| i32::from(*d)).sum();
        // z = 2u − 1, 2u − 15, u.
        let (steps, offset) = match width {
            CodeWidth::One => (2.0, 0.5),
            CodeWidth::Four => (2.0, 7.5),
            CodeWidth::Eight => (1.0, 0.0),
        };
        // The second half of a 4-bit code may be one dimension shorter, so zeros at the end are right for every width.
        code.resize(width.code_bytes(code.len()) * width.packing().map_or(1, Packing::per_byte), 0);
        EstimatingQuery {
            width,
            code,
            offset: offset * sum as f32,
            factor: bounded(products * step * unit * steps),
            constant: bounded(constant(square * unit * unit)),
            products: products as f32,
            length: bounded(square.sqrt() * unit),
            lost: bounded(lost.sqrt() * unit),
            spread: 1.0 / (values.len().saturating_sub(1).max(1) as f32).sqrt(),
        }
    }

    /// The estimated distance to the vector with this code and these factors.
    #[inline]
    pub fn estimate(&self, code: &[u8], factors: Factors) -> f32 {
        let product = match self.width.packing() {
            Some(packing) => code_kernels().dot(packing, &self.code, code),
            None => kernels().dot_i8(&self.code, signed(code)),
        };
        self.estimate_of(product, factors)
    }

    /// Writes [`EstimatingQuery::estimate`] for each of `rows` to `distances`, in their order; `products` is reusable
    /// memory.
    #[inline]
    pub fn estimates(&self, table: CodeTable<'_>, rows: &[u32], products: &mut Vec<i32>, distances: &mut Vec<f32>) {
        match self.width.packing() {
            Some(packing) => code_kernels().dot_rows(packing, &self.code, table.codes, rows, products),
            None => kernels().dot_i8_rows(&self.code, table.codes.bytes(), rows, products),
        }
        distances.clear();
        distances.resize(rows.len(), 0.0);
        for ((distance, row), product) in distances.iter_mut().zip(rows).zip(&*products) {
            *distance = self.estimate_of(*product, table.factors_of(*row));
        }
    }

    #[inline]
    fn estimate_of(&self, product: i32, factors: Factors) -> f32 {
        self.constant + factors.bias - self.factor * factors.scale * (product as f32 - self.offset)
    }

    /// How far an estimated distance may be from the true one: `deviations` standard deviations (the paper's ε₀) of
    /// the error, which is nearly normally distributed. As small as the estimate allows: a vector that lies as the
    /// query does has little across it.
    pub fn error_bound(&self, factors: Factors, estimate: f32, deviations: f32) -> f32 {
        let (length, lost) = (factors.length.get(), factors.lost.get());
        let of_code = deviations * self.spread * self.length * lost;
        // |Δ z| |f|: |Δ z|² is |o|² and what lies across.
        let of_query = deviations * self.spread * self.lost * length.hypot(lost);
        let told = (self.constant + factors.bias - estimate) / self.products;
        let least = (told.abs() - of_code.hypot(of_query)).max(0.0);
        let lengths = self.length * length;
        let cosine = if least > 0.0 { (least / lengths).min(1.0) } else { 0.0 };
        let sine = (1.0 - cosine * cosine).sqrt();
        let rounding = ROUNDING * (self.constant.abs() + factors.bias.abs() + lengths);
        self.products * (of_code * sine).hypot(of_query) + rounding
    }
}
