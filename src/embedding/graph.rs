//! The two graphs that an encoder of the BERT family is made of, written as ONNX for the runtime: the embeddings, and
//! one layer (Devlin et al. 2018; Vaswani et al. 2017 for the attention). Weights are not inside: a graph names where
//! they are in its arena. Invariant: the graphs come from here alone, never from a model's file.
//!
//! Shapes: b texts of s tokens, H hidden, A heads of d = H / A.

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, ValueInfoProto,
};

use super::config::{Activation, EncoderConfig};
use super::weights::{ArenaTensor, Element};
use crate::error::{Error, Result};

/// The name under which a graph's arena is known to the runtime, which asks for a suffix like this.
pub(crate) const ARENA: &str = "arena.data";

/// What makes numbers of the tensor `word`, if that one is in integers.
pub(crate) const WORD_SCALE: &str = "word.scale";
pub(crate) const WORD_ZERO_POINT: &str = "word.zero_point";

/// The version of ONNX's operators that the graphs are written in: the first with `Gelu`.
const OPSET: i64 = 20;

/// The graph of the embeddings: `ids` and `types` (b × s) and `positions` (s) become `out` (b × s × H).
pub(crate) fn embeddings(config: &EncoderConfig, tensors: &[ArenaTensor]) -> Result<Vec<u8>> {
    let mut graph = GraphWriter::new(tensors, &["ids", "types", "positions"]);
    let mut words = graph.node("Gather", &["word", "ids"], vec![]);
    if tensors.iter().any(|tensor| tensor.name == WORD_SCALE) {
        words = graph.node("DequantizeLinear", &[&words, WORD_SCALE, WORD_ZERO_POINT], vec![]);
    }
    let types = graph.node("Gather", &["type", "types"], vec![]);
    let positions = graph.node("Gather", &["position", "positions"], vec![]);
    let sum = graph.node("Add", &[&words, &types], vec![]);
    let sum = graph.node("Add", &[&sum, &positions], vec![]);
    let out = graph.normalised(config, &sum, ["norm.weight", "norm.bias"]);
    graph.finish(&out)
}

/// The graph of a layer: `rows` (b × s × H) and `mask` (b × 1 × 1 × s), which is added to the scores of the keys, become
/// `out` (b × s × H).
pub(crate) fn layer(config: &EncoderConfig, tensors: &[ArenaTensor]) -> Result<Vec<u8>> {
    let mut graph = GraphWriter::new(tensors, &["rows", "mask"]);
    let width = (config.hidden / config.heads) as i64;
    let split = graph.shape("split", [0, 0, config.heads as i64, width]);
    let join = graph.shape("join", [0, 0, config.hidden as i64]);
    let heads = |graph: &mut GraphWriter, of: [&'static str; 2], order: [i64; 4]| {
        let rows = graph.linear("rows", of);
        let split = graph.node("Reshape", &[&rows, &split], vec![]);
        graph.node("Transpose", &[&split], vec![ints("perm", &order)])
    };
    let query = heads(&mut graph, ["query.weight", "query.bias"], [0, 2, 1, 3]);
    let key = heads(&mut graph, ["key.weight", "key.bias"], [0, 2, 3, 1]);
    let value = heads(&mut graph, ["value.weight", "value.bias"], [0, 2, 1, 3]);
    // softmax(Q Kᵀ / √d + mask) V
    let scale = graph.number("scale", (width as f32).sqrt());
    let scores = graph.node("MatMul", &[&query, &key], vec![]);
    let scores = graph.node("Div", &[&scores, &scale], vec![]);
    let scores = graph.node("Add", &[&scores, "mask"], vec![]);
    let shares = graph.node("Softmax", &[&scores], vec![int("axis", -1)]);
    let mixed = graph.node("MatMul", &[&shares, &value], vec![]);
    let mixed = graph.node("Transpose", &[&mixed], vec![ints("perm", &[0, 2, 1, 3])]);
    let mixed = graph.node("Reshape", &[&mixed, &join], vec![]);
    let attended = graph.linear(&mixed, ["attention.weight", "attention.bias"]);
    let attended = graph.node("Add", &[&attended, "rows"], vec![]);
    let attended = graph.normalised(config, &attended, ["attention.norm.weight", "attention.norm.bias"]);
    let wide = graph.linear(&attended, ["intermediate.weight", "intermediate.bias"]);
    let wide = match config.activation {
        Activation::Gelu => graph.node("Gelu", &[&wide], vec![]),
        Activation::GeluTanh => graph.node("Gelu", &[&wide], vec![string("approximate", "tanh")]),
        Activation::Relu => graph.node("Relu", &[&wide], vec![]),
    };
    let out = graph.linear(&wide, ["output.weight", "output.bias"]);
    let out = graph.node("Add", &[&out, &attended], vec![]);
    let out = graph.normalised(config, &out, ["output.norm.weight", "output.norm.bias"]);
    graph.finish(&out)
}

/// A graph being written. Each node has one output, named by its number.
struct GraphWriter {
    graph: GraphProto,
}

impl GraphWriter {
    fn new(tensors: &[ArenaTensor], inputs: &[&str]) -> GraphWriter {
        let input = inputs.iter().map(|name| named(name)).collect();
        let initializer = tensors.iter().map(in_arena).collect();
        GraphWriter { graph: GraphProto { input, initializer, ..Default::default() } }
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = format!("{op}:{}", self.graph.node.len());
        self.graph.node.push(NodeProto {
            op_type: Some(op.to_owned()),
            name: Some(output.clone()),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.clone()],
            attribute,
            ..Default::default()
        });
        output
    }

    /// x W + b
    fn linear(&mut self, rows: &str, [weight, bias]: [&str; 2]) -> String {
        let product = self.node("MatMul", &[rows, weight], vec![]);
        self.node("Add", &[&product, bias], vec![])
    }

    fn normalised(&mut self, config: &EncoderConfig, rows: &str, [weight, bias]: [&str; 2]) -> String {
        let settings = vec![int("axis", -1), float("epsilon", config.epsilon)];
        self.node("LayerNormalization", &[rows, weight, bias], settings)
    }

    /// A constant for `Reshape`, where 0 keeps a size.
    fn shape<const N: usize>(&mut self, name: &str, sizes: [i64; N]) -> String {
        self.graph.initializer.push(TensorProto {
            name: Some(name.to_owned()),
            dims: vec![N as i64],
            data_type: Some(DataType::INT64),
            int64_data: sizes.to_vec(),
            ..Default::default()
        });
        name.to_owned()
    }

    fn number(&mut self, name: &str, value: f32) -> String {
        self.graph.initializer.push(TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(DataType::FLOAT),
            float_data: vec![value],
            ..Default::default()
        });
        name.to_owned()
    }

    /// The bytes of the model whose output is `out`.
    fn finish(mut self, out: &str) -> Result<Vec<u8>> {
        self.graph.output = vec![named(out)];
        let opset = OperatorSetIdProto { version: Some(OPSET), ..Default::default() };
        let model = ModelProto {
            ir_version: Some(9),
            opset_import: vec![opset],
            graph: Some(self.graph),
            ..Default::default()
        };
        model.write_buf().map_err(|cause| Error::internal(format!("a graph of the encoder cannot be written: {cause}")))
    }
}

fn in_arena(placed: &ArenaTensor) -> TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
    TensorProto {
        name: Some(placed.name.to_owned()),
        dims: placed.shape.iter().map(|size| *size as i64).collect(),
        data_type: Some(match placed.element {
            Element::I8 => DataType::INT8,
            Element::U8 => DataType::UINT8,
            // Two bytes become four when they are read.
            Element::F32 | Element::F16 | Element::Bf16 => DataType::FLOAT,
        }),
        data_location: Some(DataLocation::EXTERNAL),
        external_data: vec![
            entry("location", ARENA.to_owned()),
            entry("offset", placed.offset.to_string()),
            entry("length", placed.length.to_string()),
        ],
        ..Default::default()
    }
}

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.to_owned()), ..Default::default() }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind), ..Default::default() }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::INT) }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::INTS) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::FLOAT) }
}

fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.to_owned()), ..attribute(name, AttributeType::STRING) }
}
