//! Weights by name, from safetensors or ONNX, and the arena that they are copied into for the graph that runs: f32,
//! aligned, matrices as input × output. Invariant: a tensor in an arena has exactly the shape that the configuration
//! demands, and nothing is allocated for one whose bytes are not in the file.

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::files::WeightBytes;
use super::onnx_weights::OnnxWeights;
use crate::error::{Error, Result};

/// Every model of the family has this tensor; what stands before its name stands before all.
const LANDMARK: &str = "embeddings.word_embeddings.weight";

/// What a tensor is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F16,
    Bf16,
    I8,
    U8,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::I8 | Element::U8 => 1,
        }
    }
}

/// What integers stand for: (integer − zero point) · scale. One pair for the whole tensor, or one for each column or row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantisation {
    pub scales: Vec<f32>,
    pub zero_points: Vec<i32>,
    pub by_rows: bool,
}

/// A tensor as a file has it: row-major, little-endian.
#[derive(Debug, Clone)]
pub(crate) struct Tensor<'a> {
    pub element: Element,
    pub shape: Vec<usize>,
    pub bytes: &'a [u8],
    /// Of integers.
    pub quantisation: Option<Quantisation>,
}

impl Tensor<'_> {
    /// That it has this shape, and the bytes for it.
    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        if self.shape != shape {
            return Err(Error::invalid(format!(
                "the weights {name:?} have the shape {:?}, but config.json makes it {shape:?}; take both from one model",
                self.shape
            )));
        }
        let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        let expected = elements.and_then(|elements| elements.checked_mul(self.element.bytes()));
        if expected != Some(self.bytes.len()) {
            return Err(Error::invalid(format!(
                "the weights {name:?} of shape {shape:?} have {} bytes; the file is damaged",
                self.bytes.len()
            )));
        }
        Ok(())
    }

    /// Its elements, after their number was checked against the shape.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.check(name, shape)?;
        Ok(match self.element {
            Element::F32 => self.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Element::F16 => self.bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
            Element::Bf16 => {
                self.bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()
            }
            Element::I8 => self.dequantised(name, |byte| i32::from(byte as i8))?,
            Element::U8 => self.dequantised(name, i32::from)?,
        })
    }

    /// The scale and the zero point, if they are the same for all of its integers.
    pub(crate) fn step(&self) -> Option<(f32, u8)> {
        let quantisation = self.quantisation.as_ref()?;
        let ([scale], [zero_point]) = (quantisation.scales.as_slice(), quantisation.zero_points.as_slice()) else {
            return None;
        };
        let zero_point = match self.element {
            Element::I8 => i8::try_from(*zero_point).ok()? as u8,
            _ => u8::try_from(*zero_point).ok()?,
        };
        Some((*scale, zero_point))
    }

    fn dequantised(&self, name: &str, integer: fn(u8) -> i32) -> Result<Vec<f32>> {
        let columns = self.shape.last().copied().unwrap_or(1).max(1);
        let by_rows = self.quantisation.as_ref().is_some_and(|quantisation| quantisation.by_rows);
        let count = if by_rows { self.bytes.len() / columns } else { columns };
        let steps = self.quantisation.as_ref().and_then(|quantisation| {
            Some((one_each(&quantisation.scales, count)?, one_each(&quantisation.zero_points, count)?))
        });
        let (scales, zero_points) = steps.ok_or_else(|| {
            Error::invalid(format!(
                "the integers of the weights {name:?} have no scale and zero point, or not one for each of {count}; give \
                 the file that is not quantised"
            ))
        })?;
        let number = |byte: &u8, (scale, zero): (&f32, &i32)| (integer(*byte) - zero) as f32 * scale;
        let (rows, steps) = (self.bytes.chunks_exact(columns), || scales.iter().zip(&zero_points));
        Ok(if by_rows {
            rows.zip(steps()).flat_map(|(row, step)| row.iter().map(move |byte| number(byte, step))).collect()
        } else {
            rows.flat_map(|row| row.iter().zip(steps()).map(|(byte, step)| number(byte, step))).collect()
        })
    }
}

/// As many values as there are columns or rows: as they are, or the only one for all.
fn one_each<T: Copy>(values: &[T], count: usize) -> Option<Vec<T>> {
    match values {
        [one] => Some(vec![*one; count]),
        several => (several.len() == count).then(|| several.to_vec()),
    }
}

enum Source<'a> {
    Safetensors(SafeTensors<'a>),
    Onnx(OnnxWeights<'a>),
}

/// The weights of a model, by the names that PyTorch gives them.
pub(crate) struct Weights<'a> {
    source: Source<'a>,
    prefix: String,
}

impl<'a> Weights<'a> {
    pub(crate) fn read(bytes: &WeightBytes<'a>) -> Result<Weights<'a>> {
        let source = match bytes {
            WeightBytes::Safetensors(bytes) => {
                let tensors = SafeTensors::deserialize(bytes).map_err(|cause| {
                    Error::invalid(format!("model.safetensors cannot be read: {cause}; was it copied whole?"))
                        .with_source(cause)
                })?;
                Source::Safetensors(tensors)
            }
            WeightBytes::Onnx(bytes) => Source::Onnx(OnnxWeights::read(bytes)?),
        };
        let names: Vec<&str> = match &source {
            Source::Safetensors(tensors) => tensors.names(),
            Source::Onnx(weights) => weights.names().collect(),
        };
        let prefix = names.iter().filter_map(|name| name.strip_suffix(LANDMARK)).min_by_key(|prefix| prefix.len());
        let prefix = prefix.map(str::to_owned).ok_or_else(|| {
            Error::invalid(format!(
                "none of the {} weights is {LANDMARK:?}; expected an encoder of the BERT family in f32, f16, bf16 or \
                 int8",
                names.len()
            ))
        })?;
        Ok(Weights { source, prefix })
    }

    /// The tensor `name`, which must have `shape`. The names of heads do not stand below the encoder's prefix.
    pub(crate) fn vector(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.tensor(&format!("{}{name}", self.prefix))
            .or_else(|| self.tensor(name))
            .ok_or_else(|| absent(name))?
            .values(name, shape)
    }

    /// The tensor `name`, if the file has it in integers; it must have `shape`.
    pub(crate) fn integers(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor<'a>>> {
        let found = self.tensor(&format!("{}{name}", self.prefix)).filter(|tensor| tensor.quantisation.is_some());
        found.iter().try_for_each(|tensor| tensor.check(name, shape))?;
        Ok(found)
    }

    /// The matrix of the linear layer `name`, inputs × outputs.
    pub(crate) fn matrix(&self, name: &str, inputs: usize, outputs: usize) -> Result<Vec<f32>> {
        let weight = format!("{name}.weight");
        let by_graph = match &self.source {
            Source::Safetensors(_) => None,
            Source::Onnx(weights) => weights.linear(&format!("{}{name}", self.prefix)).or_else(|| weights.linear(name)),
        };
        match by_graph {
            Some((tensor, false)) => tensor.values(&weight, &[inputs, outputs]),
            Some((tensor, true)) => Ok(transposed(&tensor.values(&weight, &[outputs, inputs])?, outputs, inputs)),
            None => Ok(transposed(&self.vector(&weight, &[outputs, inputs])?, outputs, inputs)),
        }
    }

    /// Whether there is a linear layer `name`.
    pub(crate) fn has_linear(&self, name: &str) -> bool {
        let bias = format!("{name}.bias");
        self.tensor(&format!("{}{bias}", self.prefix)).or_else(|| self.tensor(&bias)).is_some()
    }

    /// The rows of the bias of the linear layer `name`.
    pub(crate) fn outputs(&self, name: &str) -> Option<usize> {
        self.tensor(&format!("{name}.bias"))?.shape.first().copied()
    }

    fn tensor(&self, name: &str) -> Option<Tensor<'a>> {
        match &self.source {
            Source::Safetensors(tensors) => {
                let view = tensors.tensor(name).ok()?;
                let element = match view.dtype() {
                    Dtype::F32 => Element::F32,
                    Dtype::F16 => Element::F16,
                    Dtype::BF16 => Element::Bf16,
                    _ => return None,
                };
                Some(Tensor { element, shape: view.shape().to_vec(), bytes: view.data(), quantisation: None })
            }
            Source::Onnx(weights) => weights.tensor(name),
        }
    }
}

fn absent(name: &str) -> Error {
    Error::invalid(format!(
        "the weights have no {name:?} in f32, f16, bf16 or int8, which config.json asks for; give safetensors, or an \
         ONNX file whose layers are not fused"
    ))
}

/// A matrix with rows and columns exchanged.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    // In blocks, so that what is written stays in the cache until its line is full.
    const BLOCK: usize = 16;
    for from in (0..rows).step_by(BLOCK) {
        let to = rows.min(from + BLOCK);
        for column in 0..columns {
            let line = out.get_mut(column * rows + from..column * rows + to).unwrap_or_default();
            for (row, value) in (from..to).zip(line) {
                *value = values.get(row * columns + column).copied().unwrap_or_default();
            }
        }
    }
    out
}

/// Tensors for one graph, one behind the other.
#[derive(Debug)]
pub(crate) struct Arena {
    pub bytes: Vec<u8>,
    pub tensors: Vec<ArenaTensor>,
}

/// Where a tensor is in its arena.
#[derive(Debug)]
pub(crate) struct ArenaTensor {
    pub name: &'static str,
    pub element: Element,
    pub shape: Vec<usize>,
    pub offset: usize,
    pub length: usize,
}

impl Arena {
    /// For tensors of `bytes` in all.
    pub(crate) fn with_capacity(bytes: u64) -> Arena {
        Arena { bytes: Vec::with_capacity(bytes as usize), tensors: Vec::new() }
    }

    pub(crate) fn push(&mut self, name: &'static str, shape: &[usize], values: &[f32]) {
        self.push_bytes(name, Element::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// Integers as they are. Those that come after stand at any byte: the runtime copies them if they are f32.
    pub(crate) fn push_bytes(
        &mut self,
        name: &'static str,
        element: Element,
        shape: &[usize],
        bytes: impl Iterator<Item = u8>,
    ) {
        let offset = self.bytes.len();
        self.bytes.extend(bytes);
        let length = self.bytes.len() - offset;
        self.tensors.push(ArenaTensor { name, element, shape: shape.to_vec(), offset, length });
    }
}
