"""Writes an encoder of the BERT family (config.json, model.safetensors) as ONNX, as PyTorch's exporter would: opset 17,
matrices turned and named onnx::MatMul_N, masks by addition, GELU by Erf; with the logits of a cross-encoder if it is
one. For comparisons with onnxruntime on the same weights.

bert_to_onnx.py FOLDER OUT.onnx
"""

import json
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

folder, out = sys.argv[1:]
config = json.load(open(f"{folder}/config.json"))
weights = load_file(f"{folder}/model.safetensors")
hidden, heads = config["hidden_size"], config["num_attention_heads"]
width, epsilon = hidden // heads, config["layer_norm_eps"]
landmark = "embeddings.word_embeddings.weight"
# RoBERTa counts positions from behind the padding's id.
first = config["pad_token_id"] + 1 if "roberta" in config["model_type"] else 0
prefix = next(name for name in weights if name.endswith(landmark)).removesuffix(landmark)
nodes, initializers = [], []


def node(op, inputs, **attributes):
    output = f"{op}_{len(nodes)}"
    nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
    return output


def constant(value, name=None):
    name = name or f"constant_{len(initializers)}"
    initializers.append(numpy_helper.from_array(np.array(value, order="C"), name))
    return name


def weight(name):
    # The names of heads do not stand below the encoder's prefix.
    full = prefix + name if prefix + name in weights else name
    return constant(weights[full].astype(np.float32), full)


def linear(rows, name):
    full = f"{prefix}{name}.weight" if f"{prefix}{name}.weight" in weights else f"{name}.weight"
    matrix = constant(weights[full].T.astype(np.float32), f"onnx::MatMul_{len(initializers)}")
    return node("Add", [weight(f"{name}.bias"), node("MatMul", [rows, matrix])])


def norm(rows, name):
    return node("LayerNormalization", [rows, weight(f"{name}.weight"), weight(f"{name}.bias")], axis=-1, epsilon=epsilon)


def split(rows, order):
    return node("Transpose", [node("Reshape", [rows, constant(np.array([0, 0, heads, width]))])], perm=order)


def layer(rows, name, mask):
    query = split(linear(rows, f"{name}.attention.self.query"), [0, 2, 1, 3])
    key = split(linear(rows, f"{name}.attention.self.key"), [0, 2, 3, 1])
    value = split(linear(rows, f"{name}.attention.self.value"), [0, 2, 1, 3])
    scores = node("Div", [node("MatMul", [query, key]), constant(np.float32(np.sqrt(width)))])
    mixed = node("MatMul", [node("Softmax", [node("Add", [scores, mask])], axis=-1), value])
    mixed = node("Reshape", [node("Transpose", [mixed], perm=[0, 2, 1, 3]), constant(np.array([0, 0, hidden]))])
    rows = norm(node("Add", [linear(mixed, f"{name}.attention.output.dense"), rows]), f"{name}.attention.output.LayerNorm")
    wide = linear(rows, f"{name}.intermediate.dense")
    erf = node("Erf", [node("Div", [wide, constant(np.float32(np.sqrt(2)))])])
    wide = node("Mul", [node("Mul", [wide, node("Add", [erf, constant(np.float32(1))])]), constant(np.float32(0.5))])
    return norm(node("Add", [linear(wide, f"{name}.output.dense"), rows]), f"{name}.output.LayerNorm")


mask = node("Cast", [node("Unsqueeze", ["attention_mask", constant(np.array([1, 2]))])], to=TensorProto.FLOAT)
mask = node("Mul", [node("Sub", [constant(np.float32(1)), mask]), constant(np.finfo(np.float32).min)])
length = node("Gather", [node("Shape", ["input_ids"]), constant(np.array([1]))], axis=0)
positions = constant(np.arange(first, config["max_position_embeddings"])[None])
positions = node("Slice", [positions, constant(np.array([0])), length, constant(np.array([1])), constant(np.array([1]))])
rows = node("Add", [
    node("Gather", [weight("embeddings.word_embeddings.weight"), "input_ids"]),
    node("Gather", [weight("embeddings.token_type_embeddings.weight"), "token_type_ids"]),
])
rows = node("Add", [rows, node("Gather", [weight("embeddings.position_embeddings.weight"), positions])])
rows = norm(rows, "embeddings.LayerNorm")
for index in range(config["num_hidden_layers"]):
    rows = layer(rows, f"encoder.layer.{index}", mask)
nodes.append(helper.make_node("Identity", [rows], ["last_hidden_state"]))
heads_of = {"classifier.weight": ("pooler.dense", "classifier"),
            "classifier.out_proj.weight": ("classifier.dense", "classifier.out_proj")}
head = next((heads_of[name] for name in heads_of if name in weights), None)
if head:
    pooled = node("Tanh", [linear(node("Gather", [rows, constant(np.array(0))], axis=1), head[0])])
    nodes.append(helper.make_node("Identity", [linear(pooled, head[1])], ["logits"]))


def info(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, shape)


names = ["input_ids", "attention_mask", "token_type_ids"]
inputs = [info(name, TensorProto.INT64, "batch", "sequence") for name in names]
outputs = [info("last_hidden_state", TensorProto.FLOAT, "batch", "sequence", hidden)]
if head:
    outputs.append(info("logits", TensorProto.FLOAT, "batch", 1))
graph = helper.make_graph(nodes, "bert", inputs, outputs, initializers)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out)
