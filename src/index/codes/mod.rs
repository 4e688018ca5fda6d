//! Codes of 4 bits and of 1 bit a dimension beside those of 8, with estimates of distances whose error is known.
//! Gao and Long (2024, "RaBitQ") and Gao et al. (2025, "Practical and asymptotically optimal quantization of
//! high-dimensional vectors", extended RaBitQ). With μ the mean, R a random rotation, o = R(b − μ) and z the code, a
//! vector of odd integers that points nearly as o does: for q = R(a − μ)
//!
//! q·o ≈ Δ (z·q) with Δ = |o|² / (z·o).
//!
//! What z has across o, z⊥, is the error: q·o = Δ (z·q) − Δ (z⊥·q⊥). R makes its direction random among the D − 1
//! across o, so the error has mean 0 and the standard deviation Δ |z⊥| |q⊥| / √(D − 1). Near neighbours are told apart
//! best, since q⊥ is small for them.
//! Invariant: codes and factors depend on the vector, the mean and the seed alone, on every instruction set.

mod codec;
mod estimate;
mod factors;
mod grid;
mod kernel;

#[cfg(test)]
mod bound_tests;

pub use codec::{CodeWidth, VectorCodec};
pub use estimate::{CodeTable, EstimatingQuery};
pub use factors::Factors;
pub use kernel::{CodeKernels, PackedRows, Packing};
