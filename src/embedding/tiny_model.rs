//! For tests: a small random encoder with its files, and its vectors by plain loops in f64, which know nothing of the
//! code under test but the paper's formulas.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::files::ModelFiles;

pub(crate) const HIDDEN: usize = 16;
const HEADS: usize = 4;
const INTERMEDIATE: usize = 40;
const LAYERS: usize = 2;
pub(crate) const POSITIONS: usize = 40;
const WORDS: [&str; 14] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "river", "stone", "light", "##s", "##house", "green", "水", ".", "-", "a"];

/// A tensor: its shape and its elements.
pub(crate) type PlainTensor = (Vec<usize>, Vec<f32>);

/// A model of which every part can be changed before it is loaded.
pub(crate) struct TinyModel {
    pub config: Value,
    pub tokenizer: Value,
    pub weights: BTreeMap<String, PlainTensor>,
    pub more: BTreeMap<&'static str, Value>,
}

impl TinyModel {
    pub(crate) fn new(seed: u64) -> TinyModel {
        let mut random = StdRng::seed_from_u64(seed);
        let mut weights = BTreeMap::new();
        for (name, shape) in shapes() {
            let values = (0..shape.iter().product::<usize>()).map(|_| random.random_range(-0.5..0.5));
            let values =
                if name.ends_with("LayerNorm.weight") { values.map(|v| v + 1.0).collect() } else { values.collect() };
            weights.insert(name, (shape, values));
        }
        let config = json!({
            "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "intermediate_size": INTERMEDIATE, "vocab_size": WORDS.len(), "max_position_embeddings": POSITIONS,
            "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0
        });
        TinyModel { config, tokenizer: tokenizer(), weights, more: BTreeMap::new() }
    }

    pub(crate) fn files(&self) -> ModelFiles {
        self.files_with("model.safetensors", self.safetensors())
    }

    pub(crate) fn files_with(&self, name: &str, weights: Vec<u8>) -> ModelFiles {
        let json = [("config.json", &self.config), ("tokenizer.json", &self.tokenizer)];
        let json = json.into_iter().chain(self.more.iter().map(|(name, value)| (*name, value)));
        let files = json.map(|(name, value)| (name.to_owned(), Bytes::from(value.to_string())));
        ModelFiles::new(files.chain([(name.to_owned(), Bytes::from(weights))])).unwrap()
    }

    pub(crate) fn safetensors(&self) -> Vec<u8> {
        self.safetensors_of(safetensors::Dtype::F32, |value| value.to_le_bytes().to_vec())
    }

    /// The weights with elements of `dtype`, which `encode` makes.
    pub(crate) fn safetensors_of(&self, dtype: safetensors::Dtype, encode: fn(f32) -> Vec<u8>) -> Vec<u8> {
        let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = self
            .weights
            .iter()
            .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|v| encode(*v)).collect()))
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name.as_str(), safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn row(&self, name: &str, index: usize) -> Vec<f64> {
        let (shape, values) = &self.weights[name];
        let width = shape.last().copied().unwrap();
        values[index * width..(index + 1) * width].iter().map(|v| f64::from(*v)).collect()
    }

    /// x Wᵀ + b
    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let outputs = self.weights[&format!("{name}.weight")].0[0];
        let bias = self.row(&format!("{name}.bias"), 0);
        (0..outputs).map(|o| bias[o] + dot(&self.row(&format!("{name}.weight"), o), x)).collect()
    }

    fn normalised(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / x.len() as f64;
        let (weight, bias) = (self.row(&format!("{name}.weight"), 0), self.row(&format!("{name}.bias"), 0));
        (0..x.len()).map(|i| (x[i] - mean) / (variance + 1e-12).sqrt() * weight[i] + bias[i]).collect()
    }

    /// The rows of one text of these tokens.
    pub(crate) fn rows(
        &self,
        ids: &[usize],
        types: &[usize],
        first_position: usize,
        act: fn(f64) -> f64,
    ) -> Vec<Vec<f64>> {
        let embedded = ids.iter().zip(types).enumerate().map(|(place, (id, kind))| {
            let word = self.row("embeddings.word_embeddings.weight", *id);
            let position = self.row("embeddings.position_embeddings.weight", place + first_position);
            let kind = self.row("embeddings.token_type_embeddings.weight", *kind);
            let sum: Vec<f64> = (0..HIDDEN).map(|i| word[i] + position[i] + kind[i]).collect();
            self.normalised("embeddings.LayerNorm", &sum)
        });
        (0..LAYERS).fold(embedded.collect(), |rows, layer| self.layer(&format!("encoder.layer.{layer}"), &rows, act))
    }

    fn layer(&self, layer: &str, rows: &[Vec<f64>], act: fn(f64) -> f64) -> Vec<Vec<f64>> {
        let of = |name: &str| -> Vec<Vec<f64>> {
            rows.iter().map(|row| self.linear(&format!("{layer}.attention.self.{name}"), row)).collect()
        };
        let (queries, keys, values) = (of("query"), of("key"), of("value"));
        let width = HIDDEN / HEADS;
        let out = rows.iter().enumerate().map(|(at, row)| {
            let mixed: Vec<f64> = (0..HIDDEN)
                .map(|i| {
                    let head = i / width * width..i / width * width + width;
                    let scores = keys
                        .iter()
                        .map(|key| dot(&queries[at][head.clone()], &key[head.clone()]) / (width as f64).sqrt());
                    let shares: Vec<f64> = scores.map(f64::exp).collect();
                    let total: f64 = shares.iter().sum();
                    shares.iter().zip(&values).map(|(share, value)| share / total * value[i]).sum()
                })
                .collect();
            let attended = plus(&self.linear(&format!("{layer}.attention.output.dense"), &mixed), row);
            let attended = self.normalised(&format!("{layer}.attention.output.LayerNorm"), &attended);
            let wide = self.linear(&format!("{layer}.intermediate.dense"), &attended);
            let wide: Vec<f64> = wide.into_iter().map(act).collect();
            let out = plus(&self.linear(&format!("{layer}.output.dense"), &wide), &attended);
            self.normalised(&format!("{layer}.output.LayerNorm"), &out)
        });
        out.collect()
    }

    /// out · tanh(dense · row + b) + c
    pub(crate) fn logit(&self, row: &[f64]) -> f64 {
        let pooled: Vec<f64> = self.linear("pooler.dense", row).into_iter().map(f64::tanh).collect();
        self.linear("classifier", &pooled)[0]
    }

    pub(crate) fn add_head(&mut self) {
        let mut random = StdRng::seed_from_u64(77);
        for (name, shape) in [
            ("pooler.dense.weight", vec![HIDDEN, HIDDEN]),
            ("pooler.dense.bias", vec![HIDDEN]),
            ("classifier.weight", vec![1, HIDDEN]),
            ("classifier.bias", vec![1]),
        ] {
            let values = (0..shape.iter().product::<usize>()).map(|_| random.random_range(-0.5..0.5)).collect();
            self.weights.insert(name.to_owned(), (shape, values));
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// x Φ(x), with the series of erf.
pub(crate) fn gelu(x: f64) -> f64 {
    let z = x / std::f64::consts::SQRT_2;
    let (mut term, mut sum) = (z, z);
    for n in 1..80 {
        term *= -z * z / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    x * 0.5 * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * sum)
}

pub(crate) fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![WORDS.len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
        ("embeddings.LayerNorm.weight".to_owned(), vec![HIDDEN]),
        ("embeddings.LayerNorm.bias".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let linears = [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", HIDDEN, INTERMEDIATE),
            ("output.dense", INTERMEDIATE, HIDDEN),
        ];
        for (name, inputs, outputs) in linears {
            shapes.push((format!("encoder.layer.{layer}.{name}.weight"), vec![outputs, inputs]));
            shapes.push((format!("encoder.layer.{layer}.{name}.bias"), vec![outputs]));
        }
        for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
            shapes.push((format!("encoder.layer.{layer}.{name}.weight"), vec![HIDDEN]));
            shapes.push((format!("encoder.layer.{layer}.{name}.bias"), vec![HIDDEN]));
        }
    }
    shapes
}

fn tokenizer() -> Value {
    let vocab: serde_json::Map<String, Value> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let special = |id: usize| {
        json!({"id": id, "content": WORDS[id], "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false})
    };
    json!({
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 1_000_000_000}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": (0..4).map(special).collect::<Vec<Value>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}
    })
}
