//! What a model's JSON says about its shape: the sizes of the encoder (`config.json`) and what sentence-transformers
//! adds (pooling, normalisation, the longest text). Invariant: every size is within a limit, so that no product of
//! them overflows, and what we would compute wrongly is refused by name.

use serde::Deserialize;
use serde_json::Value;

use super::files::ModelFiles;
use super::prompts::Prompts;
use crate::error::{Error, Result};

/// Tokens of one text that are looked at, whatever the model allows: attention needs memory for their square.
pub(crate) const MAX_TOKENS: usize = 1024;

/// How an encoder's rows become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens, the special ones among them.
    Mean,
    /// The row of the first token, `[CLS]`.
    Cls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Gelu,
    GeluTanh,
    Relu,
}

/// The sizes of an encoder of the BERT family, in the paper's terms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EncoderConfig {
    /// H
    pub hidden: usize,
    /// L
    pub layers: usize,
    /// A
    pub heads: usize,
    /// The width of the feed-forward layer; 4 H as a rule.
    pub intermediate: usize,
    pub vocabulary: usize,
    pub positions: usize,
    pub token_types: usize,
    /// The position of a text's first token: RoBERTa counts from behind the padding token's id.
    pub first_position: usize,
    pub activation: Activation,
    pub epsilon: f32,
}

/// What is done with the encoder's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SentenceConfig {
    pub pooling: Pooling,
    pub normalise: bool,
    /// Tokens of a text that are looked at, the special ones among them.
    pub max_tokens: usize,
    pub lowercase: bool,
    /// Whether the rows of a prompt are pooled with those of the text.
    pub pools_prompt: bool,
}

#[derive(Deserialize)]
struct RawEncoder {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    #[serde(default)]
    pad_token_id: Option<usize>,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

impl EncoderConfig {
    pub(crate) fn read(files: &ModelFiles) -> Result<EncoderConfig> {
        let raw: RawEncoder = parse("config.json", files.config()?)?;
        let roberta = match raw.model_type.as_str() {
            "bert" => false,
            "roberta" | "xlm-roberta" => true,
            other => {
                return Err(Error::invalid(format!(
                    "config.json says model_type {other:?}; expected \"bert\", \"roberta\" or \"xlm-roberta\" \
                     (MiniLM, BGE, E5 and GTE are of these)"
                )));
            }
        };
        if let Some(other) = raw.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return Err(Error::invalid(format!(
                "config.json says position_embedding_type {other:?}; expected \"absolute\""
            )));
        }
        let config = EncoderConfig {
            hidden: within("hidden_size", raw.hidden_size, 8192)?,
            layers: within("num_hidden_layers", raw.num_hidden_layers, 96)?,
            heads: within("num_attention_heads", raw.num_attention_heads, 128)?,
            intermediate: within("intermediate_size", raw.intermediate_size, 65_536)?,
            vocabulary: within("vocab_size", raw.vocab_size, 2_000_000)?,
            positions: within("max_position_embeddings", raw.max_position_embeddings, 65_536)?,
            token_types: within("type_vocab_size", raw.type_vocab_size, 16)?,
            first_position: if roberta { raw.pad_token_id.unwrap_or(1).saturating_add(1) } else { 0 },
            activation: activation(&raw.hidden_act)?,
            epsilon: raw.layer_norm_eps,
        };
        config.checked()
    }

    fn checked(self) -> Result<EncoderConfig> {
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(Error::invalid(format!(
                "config.json says hidden_size {} and num_attention_heads {}; expected a multiple",
                self.hidden, self.heads
            )));
        }
        if self.positions < self.first_position.saturating_add(8) {
            return Err(Error::invalid(format!(
                "config.json says max_position_embeddings {}; expected at least 8 behind pad_token_id",
                self.positions
            )));
        }
        if !(self.epsilon > 0.0 && self.epsilon < 1.0) {
            return Err(Error::invalid(format!(
                "config.json says layer_norm_eps {}; expected a number between 0 and 1",
                self.epsilon
            )));
        }
        Ok(self)
    }

    /// Weights of the encoder, in f32: the most that it can hold.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.embedding_bytes() + self.layers as u64 * self.layer_bytes()
    }

    /// Of the words' vectors alone.
    pub(crate) fn word_bytes(&self) -> u64 {
        4 * self.vocabulary as u64 * self.hidden as u64
    }

    pub(crate) fn embedding_bytes(&self) -> u64 {
        4 * (self.vocabulary + self.positions + self.token_types + 2) as u64 * self.hidden as u64
    }

    /// Four square matrices and two wide ones, with their biases, and two normalisations.
    pub(crate) fn layer_bytes(&self) -> u64 {
        let (hidden, intermediate) = (self.hidden as u64, self.intermediate as u64);
        4 * (4 * hidden * (hidden + 1) + 2 * hidden * intermediate + intermediate + hidden + 4 * hidden)
    }

    /// What a batch of `tokens` in texts of at most `longest` needs beside the weights, as an upper bound.
    pub(crate) fn workspace_bytes(&self, tokens: usize, longest: usize) -> u64 {
        let row = 8 * self.hidden + 2 * self.intermediate + 2 * self.heads * longest;
        4 * tokens as u64 * row as u64
    }
}

impl SentenceConfig {
    pub(crate) fn read(files: &ModelFiles, encoder: &EncoderConfig) -> Result<SentenceConfig> {
        let modules = Modules::read(files)?;
        let (mut max_tokens, mut lowercase) = (None, false);
        if let Some(bytes) = files.json("sentence_bert_config.json")? {
            let settings: Value = parse("sentence_bert_config.json", bytes)?;
            max_tokens = settings.get("max_seq_length").and_then(Value::as_u64).map(|length| length as usize);
            lowercase = settings.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false);
        }
        let room = (encoder.positions - encoder.first_position).min(MAX_TOKENS);
        let max_tokens = max_tokens.unwrap_or(room).min(room);
        if max_tokens < 8 {
            return Err(Error::invalid(format!(
                "sentence_bert_config.json says max_seq_length {max_tokens}; expected at least 8"
            )));
        }
        let (pooling, pools_prompt) = pooling(files, &modules.pooling)?;
        Ok(SentenceConfig { pooling, normalise: modules.normalise, max_tokens, lowercase, pools_prompt })
    }

    /// Whether vectors with these prompts are computed as the model's makers do.
    pub(crate) fn check_prompts(&self, prompts: &Prompts) -> Result<()> {
        if self.pools_prompt || prompts.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(
            "the pooling's config.json says include_prompt false, and the model has prompts; expected one that pools \
             the tokens of its prompt too",
        ))
    }
}

/// The steps of a sentence-transformers pipeline. Without the file the steps are the usual ones: mean, unit length.
struct Modules {
    pooling: String,
    normalise: bool,
}

impl Modules {
    fn read(files: &ModelFiles) -> Result<Modules> {
        let mut modules = Modules { pooling: "1_Pooling".to_owned(), normalise: true };
        let Some(bytes) = files.json("modules.json")? else { return Ok(modules) };
        #[derive(Deserialize)]
        struct ModuleStep {
            path: String,
            r#type: String,
        }
        modules.normalise = false;
        for step in parse::<Vec<ModuleStep>>("modules.json", bytes)? {
            match step.r#type.rsplit('.').next().unwrap_or_default() {
                "Transformer" if step.path.is_empty() => {}
                "Pooling" => modules.pooling = step.path,
                "Normalize" => modules.normalise = true,
                _ => {
                    return Err(Error::invalid(format!(
                        "modules.json has the step {:?} in {:?}; expected Transformer, Pooling and Normalize only",
                        step.r#type, step.path
                    )));
                }
            }
        }
        Ok(modules)
    }
}

/// How rows become a vector, and whether those of a prompt are among them.
fn pooling(files: &ModelFiles, folder: &str) -> Result<(Pooling, bool)> {
    let path = format!("{folder}/config.json");
    let Some(bytes) = files.json(&path)? else { return Ok((Pooling::Mean, true)) };
    let settings: Value = parse(&path, bytes)?;
    let pools_prompt = settings.get("include_prompt").and_then(Value::as_bool).unwrap_or(true);
    let mut modes: Vec<&str> = settings.get("pooling_mode").and_then(Value::as_str).into_iter().collect();
    for (name, value) in settings.as_object().into_iter().flatten() {
        if let (Some(mode), Some(true)) = (name.strip_prefix("pooling_mode_"), value.as_bool()) {
            modes.push(mode);
        }
    }
    match modes.as_slice() {
        ["mean_tokens" | "mean"] => Ok((Pooling::Mean, pools_prompt)),
        ["cls_token" | "cls"] => Ok((Pooling::Cls, pools_prompt)),
        other => Err(Error::invalid(format!(
            "{path} says pooling {other:?}; expected pooling_mode_mean_tokens or pooling_mode_cls_token alone"
        ))),
    }
}

fn activation(name: &str) -> Result<Activation> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => Err(Error::invalid(format!(
            "config.json says hidden_act {other:?}; expected \"gelu\", \"gelu_new\" or \"relu\""
        ))),
    }
}

fn within(name: &str, value: usize, max: usize) -> Result<usize> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid(format!("config.json says {name} {value}; expected between 1 and {max}")))
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(path: &str, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|cause| Error::invalid(format!("{path} is not what a model's is: {cause}")).with_source(cause))
}
