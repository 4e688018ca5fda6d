//! For tests: the tiny model as exporters and quantisers of ONNX write it: matrices turned and without their name, so
//! that only the graph tells whose they are.

use rten_onnx::onnx::{AttributeProto, AttributeType, DataType, GraphProto, ModelProto, NodeProto, TensorProto};

use super::tiny_model::{PlainTensor, TinyModel};

/// How integers are written in place of the matrices, and in place of the words' vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantised {
    /// u8 around a zero point, multiplied as integers: onnxruntime's dynamic quantisation.
    Dynamic,
    /// i8 with a scale for each column, made numbers of before they are multiplied.
    PerColumn,
    /// As `PerColumn`, with a scale for each row.
    PerRow,
    /// i8 with a scale for each column, by a plain product.
    Scaled,
}

impl TinyModel {
    pub(crate) fn onnx(&self) -> Vec<u8> {
        self.onnx_with(None)
    }

    pub(crate) fn onnx_with(&self, quantised: Option<Quantised>) -> Vec<u8> {
        let mut graph = GraphProto::default();
        for (index, (name, plain)) in self.weights.iter().enumerate() {
            let layer =
                name.strip_suffix(".weight").filter(|layer| self.weights.contains_key(&format!("{layer}.bias")));
            let matrix = layer.filter(|_| plain.0.len() == 2);
            match (matrix, quantised) {
                (Some(layer), _) => push_linear(&mut graph, layer, index, &turned(plain), quantised),
                (None, Some(_)) if name.ends_with("word_embeddings.weight") => {
                    push_integers(&mut graph, name, plain, Quantised::Dynamic);
                }
                _ => graph.initializer.push(tensor(name, &plain.0, DataType::FLOAT, floats(&plain.1))),
            }
        }
        ModelProto { graph: Some(graph), ..Default::default() }.write_buf().unwrap()
    }
}

/// x W + b, with W as it is multiplied.
fn push_linear(graph: &mut GraphProto, layer: &str, index: usize, matrix: &PlainTensor, quantised: Option<Quantised>) {
    let (name, product) = (format!("onnx::MatMul_{index}"), format!("product{index}"));
    let of = |name: &str, suffix: &str| format!("{name}{suffix}");
    match quantised {
        None => {
            graph.initializer.push(tensor(&name, &matrix.0, DataType::FLOAT, floats(&matrix.1)));
            graph.node.push(node("MatMul", &["x", &name], &product));
        }
        Some(Quantised::Dynamic) => {
            push_integers(graph, &name, matrix, Quantised::Dynamic);
            let (sum, cast, scale) = (of(&product, ":int"), of(&product, ":cast"), of(&product, ":scale"));
            let inputs = ["x:int", &of(&name, "_quantized"), "x:zero", &of(&name, "_zero_point")];
            graph.node.push(node("MatMulInteger", &inputs, &sum));
            graph.node.push(node("Cast", &[&sum], &cast));
            graph.node.push(node("Mul", &["x:scale", &of(&name, "_scale")], &scale));
            graph.node.push(node("Mul", &[&cast, &scale], &product));
        }
        Some(Quantised::Scaled) => {
            push_integers(graph, &name, matrix, Quantised::Scaled);
            let (cast, numbers) = (of(&name, ":cast"), of(&name, ":numbers"));
            graph.node.push(node("Cast", &[&of(&name, ":q")], &cast));
            graph.node.push(node("Mul", &[&cast, &of(&name, ":s")], &numbers));
            graph.node.push(node("MatMul", &["x", &numbers], &product));
        }
        Some(kind) => {
            push_integers(graph, &name, matrix, kind);
            let inputs = [of(&name, "_quantized"), of(&name, "_scale"), of(&name, "_zero_point")];
            let mut made = node("DequantizeLinear", &inputs.each_ref().map(String::as_str), &of(&name, ":numbers"));
            made.attribute.push(AttributeProto {
                name: Some("axis".to_owned()),
                r#type: Some(AttributeType::INT),
                i: Some(if kind == Quantised::PerRow { 0 } else { 1 }),
                ..Default::default()
            });
            graph.node.push(made);
            graph.node.push(node("MatMul", &["x", &of(&name, ":numbers")], &product));
        }
    }
    graph.node.push(node("Add", &[&format!("{layer}.bias"), &product], &format!("sum{index}")));
}

/// The integers of a matrix, their scales and their zero points.
fn push_integers(graph: &mut GraphProto, name: &str, (shape, values): &PlainTensor, kind: Quantised) {
    let width = shape[1];
    let (count, of): (usize, &dyn Fn(usize) -> usize) = match kind {
        Quantised::Dynamic => (1, &|_| 0),
        Quantised::PerRow => (shape[0], &|at| at / width),
        Quantised::PerColumn | Quantised::Scaled => (width, &|at| at % width),
    };
    let step = |group: usize| {
        let members = || values.iter().enumerate().filter(|(at, _)| of(*at) == group).map(|(_, value)| *value);
        let (least, most) = (members().fold(0.0, f32::min), members().fold(0.0, f32::max));
        match kind {
            Quantised::Dynamic => ((most - least) / 255.0, (-least / (most - least) * 255.0).round() as i32),
            _ => (most.max(-least) / 127.0, 0),
        }
    };
    let (scales, zeros): (Vec<f32>, Vec<i32>) = (0..count).map(step).unzip();
    let integer = |(at, value): (usize, &f32)| {
        let integer = (value / scales[of(at)]).round() as i32 + zeros[of(at)];
        (if kind == Quantised::Dynamic { integer.clamp(0, 255) } else { integer.clamp(-128, 127) }) as u8
    };
    let integers = values.iter().enumerate().map(integer).collect();
    let element = if kind == Quantised::Dynamic { DataType::UINT8 } else { DataType::INT8 };
    if kind == Quantised::Scaled {
        graph.initializer.push(tensor(&format!("{name}:q"), shape, element, integers));
        graph.initializer.push(tensor(&format!("{name}:s"), &[1, count], DataType::FLOAT, floats(&scales)));
        return;
    }
    let shape_of_scales = if count == 1 { vec![] } else { vec![count] };
    let mut zero_points = tensor(&format!("{name}_zero_point"), &shape_of_scales, element, vec![]);
    (zero_points.raw_data, zero_points.int32_data) = (None, zeros);
    graph.initializer.extend([
        tensor(&format!("{name}_quantized"), shape, element, integers),
        tensor(&format!("{name}_scale"), &shape_of_scales, DataType::FLOAT, floats(&scales)),
        zero_points,
    ]);
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

fn tensor(name: &str, shape: &[usize], data_type: DataType, bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: shape.iter().map(|size| *size as i64).collect(),
        data_type: Some(data_type),
        raw_data: Some(bytes.into()),
        ..Default::default()
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Rows and columns exchanged.
fn turned((shape, values): &PlainTensor) -> PlainTensor {
    let (rows, columns) = (shape[0], shape[1]);
    let values = (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect();
    (vec![columns, rows], values)
}
