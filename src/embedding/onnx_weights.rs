//! The weights in an ONNX file. The graph in it is not run: it comes from outside, and nothing would bound what it
//! allocates. Weights are found by the names that exporters keep, and those of a linear layer, whose name they
//! lose, by the graph: the matrix that is multiplied before the layer's bias is added. Integers are read with their
//! scales: `X_quantized` with `X_scale` and `X_zero_point`, as onnxruntime's quantiser names them, or as the graph
//! multiplies them.

use std::collections::HashMap;

use super::protobuf::{ProtoFields, ProtoValue, push_integers};
use super::weights::{Element, Quantisation, Tensor};
use crate::error::{Error, Result};

/// Numbers of fields in onnx.proto.
mod number {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const GRAPH_INITIALIZER: u64 = 5;
    pub(super) const NODE_INPUT: u64 = 1;
    pub(super) const NODE_OUTPUT: u64 = 2;
    pub(super) const NODE_OP_TYPE: u64 = 4;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
    pub(super) const ATTRIBUTE_NAME: u64 = 1;
    pub(super) const ATTRIBUTE_I: u64 = 3;
    pub(super) const TENSOR_DIMS: u64 = 1;
    pub(super) const TENSOR_DATA_TYPE: u64 = 2;
    pub(super) const TENSOR_FLOAT_DATA: u64 = 4;
    pub(super) const TENSOR_INT32_DATA: u64 = 5;
    pub(super) const TENSOR_NAME: u64 = 8;
    pub(super) const TENSOR_RAW_DATA: u64 = 9;
    pub(super) const TENSOR_DATA_LOCATION: u64 = 14;
}

/// What stands behind the name of a tensor whose integers were made of its numbers.
const QUANTISED: &str = "_quantized";

/// The most scales of one tensor: one for each row of the largest vocabulary.
const MAX_SCALES: usize = 1 << 21;

/// What is known of the weights in an ONNX file.
#[derive(Debug, Default)]
pub(crate) struct OnnxWeights<'a> {
    tensors: HashMap<&'a str, Initializer<'a>>,
    /// By the name of their output.
    nodes: HashMap<&'a str, OnnxNode<'a>>,
    /// Of each tensor that a node takes: the output of that node (the last one, of several).
    takers: HashMap<&'a str, &'a str>,
}

#[derive(Debug, Default)]
struct OnnxNode<'a> {
    op: &'a str,
    inputs: Vec<&'a str>,
    /// Whether a `Gemm` says `transB`: its matrix is output × input then.
    transposed: bool,
    /// Whether a `DequantizeLinear` says `axis` 0: its scales are those of rows then.
    by_rows: bool,
}

/// A tensor as the file has it.
#[derive(Debug)]
struct Initializer<'a> {
    element: Element,
    shape: Vec<usize>,
    bytes: &'a [u8],
    /// Whether the bytes are varints: few integers may be written so.
    varints: bool,
}

impl<'a> OnnxWeights<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<OnnxWeights<'a>> {
        let mut weights = OnnxWeights::default();
        for field in ProtoFields::of(bytes) {
            if let (number::MODEL_GRAPH, ProtoValue::Bytes(graph)) = field? {
                weights.read_graph(graph)?;
            }
        }
        if weights.tensors.is_empty() {
            return Err(Error::invalid(
                "the ONNX file has no weights in it; give one that is not split into two files",
            ));
        }
        Ok(weights)
    }

    fn read_graph(&mut self, graph: &'a [u8]) -> Result<()> {
        for field in ProtoFields::of(graph) {
            match field? {
                (number::GRAPH_NODE, ProtoValue::Bytes(node)) => self.read_node(node)?,
                (number::GRAPH_INITIALIZER, ProtoValue::Bytes(tensor)) => {
                    if let Some((name, tensor)) = read_tensor(tensor)? {
                        self.tensors.insert(name, tensor);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_node(&mut self, message: &'a [u8]) -> Result<()> {
        let (mut node, mut output) = (OnnxNode::default(), "");
        for field in ProtoFields::of(message) {
            match field? {
                (number::NODE_INPUT, ProtoValue::Bytes(name)) => node.inputs.push(text(name)?),
                (number::NODE_OUTPUT, ProtoValue::Bytes(name)) if output.is_empty() => output = text(name)?,
                (number::NODE_OP_TYPE, ProtoValue::Bytes(name)) => node.op = text(name)?,
                (number::NODE_ATTRIBUTE, ProtoValue::Bytes(attribute)) => {
                    let (name, value) = integer_attribute(attribute)?;
                    node.transposed |= name == b"transB" && value != 0;
                    node.by_rows |= name == b"axis" && value == 0;
                }
                _ => {}
            }
        }
        self.takers.extend(node.inputs.iter().map(|input| (*input, output)));
        self.nodes.insert(output, node);
        Ok(())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let made = self.nodes.iter().filter(|(_, node)| node.op == "Mul").map(|(name, _)| *name);
        self.tensors.keys().map(|name| name.strip_suffix(QUANTISED).unwrap_or(name)).chain(made)
    }

    /// The tensor of that name, in numbers or in integers.
    pub(crate) fn tensor(&self, name: &str) -> Option<Tensor<'a>> {
        match self.tensors.get(name) {
            Some(found) if !found.is_integers() => Some(found.tensor(None)),
            _ => self.quantised(name).or_else(|| self.scaled(name)),
        }
    }

    fn quantised(&self, name: &str) -> Option<Tensor<'a>> {
        let of = |suffix: &str| self.tensors.get(format!("{name}{suffix}").as_str());
        let integers = of(QUANTISED).filter(|found| found.is_integers() && !found.varints)?;
        let scales = of("_scale")?;
        // Without one the integers are symmetric around 0.
        let zero_points = of("_zero_point").map_or(Some(vec![0]), Initializer::integers)?;
        let quantisation = Quantisation { scales: scales.numbers()?, zero_points, by_rows: scales.is_column() };
        Some(integers.tensor(Some(quantisation)))
    }

    /// What the graph makes of integers before it uses them: `Mul(Cast(integers), scales)`.
    fn scaled(&self, name: &str) -> Option<Tensor<'a>> {
        let scaling = self.nodes.get(name).filter(|node| node.op == "Mul")?;
        let cast = self.nodes.get(scaling.inputs.first()?).filter(|node| node.op == "Cast")?;
        let integers = self.tensors.get(cast.inputs.first()?).filter(|found| found.is_integers() && !found.varints)?;
        let scales = self.tensors.get(scaling.inputs.get(1)?)?;
        let quantisation =
            Quantisation { scales: scales.numbers()?, zero_points: vec![0], by_rows: scales.is_column() };
        Some(integers.tensor(Some(quantisation)))
    }

    /// The matrix of a linear layer, and whether it is output × input, as in PyTorch; exporters transpose most.
    pub(crate) fn linear(&self, layer: &str) -> Option<(Tensor<'a>, bool)> {
        let bias = format!("{layer}.bias");
        let adding = self.nodes.get(self.takers.get(bias.as_str())?)?;
        if adding.op == "Gemm" {
            return Some((self.matrix(adding.inputs.get(1)?)?, adding.transposed));
        }
        let product = adding.inputs.iter().find(|input| **input != bias).filter(|_| adding.op == "Add")?;
        let multiplying = self.nodes.get(product)?;
        let multiplying = if multiplying.op == "Mul" { self.product_of_integers(multiplying)? } else { multiplying };
        let usual = ["MatMul", "MatMulInteger"].contains(&multiplying.op);
        Some((self.matrix(multiplying.inputs.get(1).filter(|_| usual)?)?, false))
    }

    /// The product that `scaling` makes numbers of: `Mul(Cast(MatMulInteger(…)), …)`.
    fn product_of_integers(&self, scaling: &OnnxNode<'a>) -> Option<&OnnxNode<'a>> {
        let inputs = scaling.inputs.iter().filter_map(|input| self.nodes.get(input));
        let cast = inputs.into_iter().find(|node| node.op == "Cast")?;
        self.nodes.get(cast.inputs.first()?)
    }

    /// The matrix that a product takes by this name: an initializer, or what `DequantizeLinear` makes of one.
    fn matrix(&self, name: &str) -> Option<Tensor<'a>> {
        let dequantising = self.nodes.get(name).filter(|node| node.op == "DequantizeLinear");
        let name = dequantising.map_or(Some(name), |node| node.inputs.first().copied())?;
        let mut matrix = self.tensor(name.strip_suffix(QUANTISED).unwrap_or(name))?;
        if let Some(quantisation) = &mut matrix.quantisation {
            quantisation.by_rows |= dequantising.is_some_and(|node| node.by_rows);
        }
        Some(matrix)
    }
}

impl<'a> Initializer<'a> {
    fn is_integers(&self) -> bool {
        matches!(self.element, Element::I8 | Element::U8)
    }

    fn tensor(&self, quantisation: Option<Quantisation>) -> Tensor<'a> {
        Tensor { element: self.element, shape: self.shape.clone(), bytes: self.bytes, quantisation }
    }

    /// Whether it is a column of several numbers: they are multiplied with rows then.
    fn is_column(&self) -> bool {
        matches!(self.shape.as_slice(), [rows, 1] if *rows > 1)
    }

    /// Its numbers, if they are the scales of something: one, or a row or a column of them.
    fn numbers(&self) -> Option<Vec<f32>> {
        let line = self.is_column() || matches!(self.shape.as_slice(), [] | [_] | [1, _]);
        let usual = line && self.element == Element::F32 && self.bytes.len() <= 4 * MAX_SCALES;
        usual.then(|| self.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Its integers, if they are the zero points of something: one, or a row of them.
    fn integers(&self) -> Option<Vec<i32>> {
        let usual = self.is_integers() && self.shape.len() <= 1 && self.bytes.len() <= 10 * MAX_SCALES;
        let bytes = usual.then_some(self.bytes)?;
        if self.varints {
            let mut numbers = Vec::new();
            push_integers(&mut numbers, ProtoValue::Bytes(bytes)).ok()?;
            // Negative ones are written in 64 bits.
            return numbers.into_iter().map(|number| i16::try_from(number as i64).ok().map(i32::from)).collect();
        }
        let signed = self.element == Element::I8;
        Some(bytes.iter().map(|byte| if signed { i32::from(*byte as i8) } else { i32::from(*byte) }).collect())
    }
}

/// The name and the contents of an initializer; `None` if its elements are no weights.
fn read_tensor(message: &[u8]) -> Result<Option<(&str, Initializer<'_>)>> {
    let (mut name, mut dims, mut data_type, mut bytes) = ("", Vec::new(), 0, None);
    for field in ProtoFields::of(message) {
        match field? {
            (number::TENSOR_NAME, ProtoValue::Bytes(value)) => name = text(value)?,
            (number::TENSOR_DIMS, value) => push_integers(&mut dims, value)?,
            (number::TENSOR_DATA_TYPE, ProtoValue::Varint(value)) => data_type = value,
            (number::TENSOR_RAW_DATA | number::TENSOR_FLOAT_DATA, ProtoValue::Bytes(value)) => {
                bytes = Some((value, false));
            }
            (number::TENSOR_INT32_DATA, ProtoValue::Bytes(value)) => bytes = Some((value, true)),
            (number::TENSOR_DATA_LOCATION, ProtoValue::Varint(1)) => {
                return Err(Error::invalid(format!(
                    "the ONNX file keeps {name:?} in a second file; give one that has its weights inside"
                )));
            }
            _ => {}
        }
    }
    let element = match (data_type, bytes) {
        (1, Some((_, false))) => Element::F32,
        (10, Some((_, false))) => Element::F16,
        (16, Some((_, false))) => Element::Bf16,
        (2, _) => Element::U8,
        (3, _) => Element::I8,
        _ => return Ok(None),
    };
    let shape: Option<Vec<usize>> = dims.into_iter().map(|size| usize::try_from(size).ok()).collect();
    let contents = shape.zip(bytes);
    Ok(contents.map(|(shape, (bytes, varints))| (name, Initializer { element, shape, bytes, varints })))
}

/// The name of an attribute, and its value if it is an integer.
fn integer_attribute(attribute: &[u8]) -> Result<(&[u8], u64)> {
    let (mut name, mut integer) = (&[] as &[u8], 0);
    for field in ProtoFields::of(attribute) {
        match field? {
            (number::ATTRIBUTE_NAME, ProtoValue::Bytes(value)) => name = value,
            (number::ATTRIBUTE_I, ProtoValue::Varint(value)) => integer = value,
            _ => {}
        }
    }
    Ok((name, integer))
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|cause| {
        Error::invalid("the ONNX file is damaged: a name that is not UTF-8; was it copied whole?").with_source(cause)
    })
}
