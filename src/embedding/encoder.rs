//! The encoder: token ids in, one row per token out. The runtime computes one graph after the other, so that between
//! layers the work can be given up. Invariants: ids are below the vocabulary's size before they get here; whatever the
//! runtime does, a panic in it becomes an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rten::{Model, ModelOptions, RunOptions, ThreadPool, Value, ValueOrView, op_registry};

use super::batch::TextBatch;
use super::config::EncoderConfig;
use super::graph::{self, ARENA, WORD_SCALE, WORD_ZERO_POINT};
use super::weights::{Arena, Weights};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// What is added to the score of a key that is padding: its share of the attention becomes 0.
const MASKED: f32 = -1e30;

/// An encoder in memory.
pub(crate) struct Encoder {
    pub config: EncoderConfig,
    embeddings: Model,
    layers: Vec<Model>,
    /// Bytes of the weights as they are held.
    pub held_bytes: u64,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("config", &self.config).field("held_bytes", &self.held_bytes).finish()
    }
}

impl Encoder {
    pub(crate) fn load(config: EncoderConfig, weights: &Weights<'_>) -> Result<Encoder> {
        let (mut held_bytes, mut layers) = (0, Vec::with_capacity(config.layers));
        let mut load = |arena: Arena, graph: &dyn Fn(&EncoderConfig, &Arena) -> Result<Vec<u8>>| {
            held_bytes += arena.bytes.len() as u64;
            runnable(graph(&config, &arena)?, arena)
        };
        let embeddings =
            load(embedding_arena(&config, weights)?, &|config, arena| graph::embeddings(config, &arena.tensors))?;
        for index in 0..config.layers {
            let arena = layer_arena(&config, weights, index)?;
            layers.push(load(arena, &|config, arena| graph::layer(config, &arena.tensors))?);
        }
        Ok(Encoder { config, embeddings, layers, held_bytes })
    }

    /// The rows of a batch: b × s × H.
    pub(crate) fn rows(&self, batch: &TextBatch, threads: &Arc<ThreadPool>, interrupt: &Interrupt) -> Result<Vec<f32>> {
        let (texts, tokens) = (batch.lengths.len(), batch.width);
        let first = self.config.first_position as i32;
        let mask = batch.mask(MASKED);
        let mask = Value::from_shape([texts, 1, 1, tokens], mask).map_err(internal)?;
        let ids = Value::from_shape([texts, tokens], batch.ids.clone()).map_err(internal)?;
        let types = Value::from_shape([texts, tokens], batch.types.clone()).map_err(internal)?;
        let positions = Value::from_shape([tokens], (first..first + tokens as i32).collect::<Vec<i32>>());
        let positions = positions.map_err(internal)?;
        interrupt.check()?;
        let inputs = vec![("ids", ids.into()), ("types", types.into()), ("positions", positions.into())];
        let mut rows = run(&self.embeddings, inputs, threads)?;
        for layer in &self.layers {
            interrupt.check()?;
            rows = run(layer, vec![("rows", rows.into()), ("mask", mask.as_view().into())], threads)?;
        }
        let (_, rows) = rows.into_shape_vec::<f32, 3>().map_err(internal)?;
        Ok(rows)
    }
}

/// The graph with its arena, as the runtime runs it. Matrices are not packed ahead: that would hold them twice.
fn runnable(graph: Vec<u8>, arena: Arena) -> Result<Model> {
    let operators = op_registry!(
        Add,
        DequantizeLinear,
        Div,
        Gather,
        Gelu,
        LayerNormalization,
        MatMul,
        Relu,
        Reshape,
        Softmax,
        Transpose
    );
    guarded(|| {
        let mut options = ModelOptions::with_ops(operators);
        options.external_data(ARENA, arena.bytes).prepack_weights(PREPACK);
        options.load(graph).map_err(internal)
    })
}

/// Whether matrices are packed when a model is loaded.
const PREPACK: bool = false;

fn run(model: &Model, inputs: Vec<(&str, ValueOrView<'_>)>, threads: &Arc<ThreadPool>) -> Result<Value> {
    let options = RunOptions::default().with_thread_pool(Some(threads.clone()));
    let inputs: Result<Vec<_>> =
        inputs.into_iter().map(|(name, value)| Ok((model.node_id(name).map_err(internal)?, value))).collect();
    let inputs = inputs?;
    let mut outputs = guarded(|| model.run(inputs, model.output_ids(), Some(options)).map_err(internal))?;
    outputs.pop().ok_or_else(|| Error::internal("the encoder's graph has no output"))
}

/// Runs `work` of a library that may panic on what its authors did not expect.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::internal(format!("the model's library gave up: {text}; nothing was computed")))
    })
}

fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal(format!("the model cannot be computed: {cause}")).with_source(cause)
}

fn embedding_arena(config: &EncoderConfig, weights: &Weights<'_>) -> Result<Arena> {
    const WORDS: &str = "embeddings.word_embeddings.weight";
    let shape = [config.vocabulary, config.hidden];
    let integers = weights.integers(WORDS, &shape)?;
    let integers = integers.as_ref().and_then(|tensor| Some((tensor, tensor.step()?)));
    let words = if integers.is_some() { config.word_bytes() / 4 } else { config.word_bytes() };
    let mut arena = Arena::with_capacity(config.embedding_bytes() - config.word_bytes() + words);
    let mut push = |name: &'static str, of: &str, shape: &[usize]| -> Result<()> {
        arena.push(name, shape, &weights.vector(&format!("embeddings.{of}"), shape)?);
        Ok(())
    };
    push("position", "position_embeddings.weight", &[config.positions, config.hidden])?;
    push("type", "token_type_embeddings.weight", &[config.token_types, config.hidden])?;
    push("norm.weight", "LayerNorm.weight", &[config.hidden])?;
    push("norm.bias", "LayerNorm.bias", &[config.hidden])?;
    // The largest tensor of all, of which a text needs some rows: integers stay what they are. They come last, so that
    // all others stay aligned.
    match integers {
        Some((tensor, (scale, zero_point))) => {
            arena.push(WORD_SCALE, &[], &[scale]);
            arena.push_bytes("word", tensor.element, &shape, tensor.bytes.iter().copied());
            arena.push_bytes(WORD_ZERO_POINT, tensor.element, &[], [zero_point].into_iter());
        }
        None => arena.push("word", &shape, &weights.vector(WORDS, &shape)?),
    }
    Ok(arena)
}

fn layer_arena(config: &EncoderConfig, weights: &Weights<'_>, index: usize) -> Result<Arena> {
    let (hidden, intermediate) = (config.hidden, config.intermediate);
    let mut arena = Arena::with_capacity(config.layer_bytes());
    let linears = [
        (["query.weight", "query.bias"], "attention.self.query", hidden, hidden),
        (["key.weight", "key.bias"], "attention.self.key", hidden, hidden),
        (["value.weight", "value.bias"], "attention.self.value", hidden, hidden),
        (["attention.weight", "attention.bias"], "attention.output.dense", hidden, hidden),
        (["intermediate.weight", "intermediate.bias"], "intermediate.dense", hidden, intermediate),
        (["output.weight", "output.bias"], "output.dense", intermediate, hidden),
    ];
    for ([weight, bias], of, inputs, outputs) in linears {
        let of = format!("encoder.layer.{index}.{of}");
        arena.push(weight, &[inputs, outputs], &weights.matrix(&of, inputs, outputs)?);
        arena.push(bias, &[outputs], &weights.vector(&format!("{of}.bias"), &[outputs])?);
    }
    let norms = [
        (["attention.norm.weight", "attention.norm.bias"], "attention.output.LayerNorm"),
        (["output.norm.weight", "output.norm.bias"], "output.LayerNorm"),
    ];
    for ([weight, bias], of) in norms {
        let of = format!("encoder.layer.{index}.{of}");
        arena.push(weight, &[hidden], &weights.vector(&format!("{of}.weight"), &[hidden])?);
        arena.push(bias, &[hidden], &weights.vector(&format!("{of}.bias"), &[hidden])?);
    }
    Ok(arena)
}
