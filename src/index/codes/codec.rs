//! Vectors as codes of any width, each with factors of its own. Under every metric a distance is `constant(q) + bias(b)
//! − m Δ (z·q)`: under l2 it is |q|² + |o|² − 2 q·o; under ip and cosine a·b = a·μ + μ·(b − μ) + q·o.

use super::estimate::EstimatingQuery;
use super::factors::{Factors, UpperHalf};
use super::grid;
use super::kernel::Packing;
use crate::index::centring::{Centring, Rotated};
use crate::index::metric::{PreparedQuery, wide_sum};
use crate::index::quantiser::bounded;
use crate::record::Metric;

/// Bits a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeWidth {
    /// The signs alone.
    One,
    /// 16 values.
    Four,
    /// 255 values.
    Eight,
}

impl CodeWidth {
    /// Bytes of a code.
    pub fn code_bytes(self, dim: usize) -> usize {
        match self {
            CodeWidth::One => dim.div_ceil(8),
            CodeWidth::Four => dim.div_ceil(2),
            CodeWidth::Eight => dim,
        }
    }

    /// Bytes of a vector, its factors included.
    pub fn size_bytes(self, dim: usize) -> usize {
        self.code_bytes(dim) + size_of::<Factors>()
    }

    /// How codes are packed; `None` if each dimension has a byte.
    pub(super) fn packing(self) -> Option<Packing> {
        match self {
            CodeWidth::One => Some(Packing::Bits),
            CodeWidth::Four => Some(Packing::Nibbles),
            CodeWidth::Eight => None,
        }
    }
}

/// The mean and rotation that turn vectors into codes of one width. Under cosine the vectors are normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorCodec {
    metric: Metric,
    width: CodeWidth,
    centring: Centring,
}

impl VectorCodec {
    /// The codec of a known mean and seed.
    pub fn new(metric: Metric, width: CodeWidth, mean: Vec<f32>, seed: u64) -> VectorCodec {
        VectorCodec { metric, width, centring: Centring::new(mean, Some(seed)) }
    }

    /// Fits the mean to `rows`, each `dim` floats (normalised under cosine), rotated by `seed`.
    pub fn fit(metric: Metric, width: CodeWidth, dim: usize, rows: &[&[f32]], seed: u64) -> VectorCodec {
        VectorCodec { metric, width, centring: Centring::fit(dim, rows, seed) }
    }

    /// Bits a dimension.
    pub fn width(&self) -> CodeWidth {
        self.width
    }

    /// Appends the code of `v` to `codes` and returns its factors.
    pub fn encode(&self, v: &[f32], codes: &mut Vec<u8>) -> Factors {
        let Rotated { values, unit } = self.centring.apply(v);
        let square = wide_sum(&values, &values, |x, other| x * other);
        let fit = grid::encode(self.width, &values, codes);
        let bias = match self.metric {
            Metric::L2 => square * unit * unit,
            Metric::Ip | Metric::Cosine => -wide_sum(v, self.centring.mean(), |x, m| (x - m) * m),
        };
        // A vector that is the mean has nothing to tell.
        let scale = if fit.product > 0.0 { square / fit.product } else { 0.0 };
        let across = (fit.square * scale * scale - square).max(0.0).sqrt();
        Factors {
            scale: bounded(scale * unit),
            bias: bounded(bias),
            length: UpperHalf::of(bounded(square.sqrt() * unit)),
            lost: UpperHalf::of(bounded(across * unit)),
        }
    }

    /// Turns a query of this dimension into 8 bits a dimension.
    pub fn encode_query(&self, query: &PreparedQuery) -> EstimatingQuery {
        let rotated = self.centring.apply(query.vector());
        let on_mean = || wide_sum(query.vector(), self.centring.mean(), |x, m| x * m);
        match self.metric {
            Metric::L2 => EstimatingQuery::new(self.width, &rotated, 2.0, |square| square),
            Metric::Ip | Metric::Cosine => EstimatingQuery::new(self.width, &rotated, 1.0, |_| 1.0 - on_mean()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a.
    fn checksum(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes
            .into_iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }

    #[test]
    fn codes_and_factors_are_the_same_on_every_machine() {
        let values: Vec<f32> = (0..384).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0).collect();
        let mean: Vec<f32> = (0..384).map(|i| ((i * 31) % 101) as f32 / 500.0).collect();
        let made = [CodeWidth::One, CodeWidth::Four, CodeWidth::Eight].map(|width| {
            let mut bytes = Vec::new();
            let factors = VectorCodec::new(Metric::Ip, width, mean.clone(), 5).encode(&values, &mut bytes);
            let floats = [factors.scale, factors.bias, factors.length.get(), factors.lost.get()];
            checksum(bytes.into_iter().chain(floats.into_iter().flat_map(f32::to_le_bytes)))
        });
        assert_eq!(made, [0xb96a_eb28_2ad5_c79b, 0xdecf_630d_e2eb_325a, 0x0292_308e_2b36_365d]);
    }
}
