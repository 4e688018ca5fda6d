//! A sentence model in memory: texts in, vectors out. Shared by any number of threads; each call computes on one.
//! Invariants: one vector per text, in the texts' order, of the model's dimension and finite; a call's memory is
//! bounded by the batch, not by the number or length of its texts.

use super::batch::{BATCH_TOKENS, TextBatch, Tokens, batches};
use super::config::{EncoderConfig, Pooling, SentenceConfig};
use super::encoder::Encoder;
use super::files::ModelFiles;
use super::prompts::Prompts;
use super::reranking::ScoringHead;
use super::threads::Threads;
use super::tokeniser::ModelTokeniser;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Memory of a tokeniser per byte of its file.
const TOKENISER_BYTES_PER_BYTE: u64 = 8;

/// A model of sentences, of the BERT family: an encoder, its tokeniser, and how rows become a vector.
#[derive(Debug)]
pub struct Model {
    encoder: Encoder,
    tokeniser: ModelTokeniser,
    sentence: SentenceConfig,
    prompts: Prompts,
    head: Option<ScoringHead>,
    tokeniser_bytes: u64,
    threads: Threads,
}

/// What loading and using a model needs, before any of it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// While it is loaded, beside the files themselves.
    pub loading_bytes: u64,
    /// Once it is loaded; the files are no longer needed then.
    pub loaded_bytes: u64,
    /// Of each call that computes, on top.
    pub call_bytes: u64,
}

impl Model {
    /// What `files` will need in memory, as an upper bound. Reads the configuration only.
    ///
    /// # Errors
    /// `Invalid` if the configuration is missing or not one of the BERT family.
    pub fn memory_need(files: &ModelFiles) -> Result<MemoryNeed> {
        let config = EncoderConfig::read(files)?;
        let sentence = SentenceConfig::read(files, &config)?;
        let tokeniser = TOKENISER_BYTES_PER_BYTE * files.tokenizer()?.len() as u64;
        // A matrix is read and turned beside those that are done; the tokeniser's JSON is read twice.
        let largest = 4 * (config.vocabulary.max(config.intermediate) * config.hidden) as u64;
        let loaded = config.weight_bytes() + tokeniser;
        let tokens = BATCH_TOKENS.max(sentence.max_tokens);
        Ok(MemoryNeed {
            loading_bytes: loaded + 2 * largest + 2 * tokeniser,
            loaded_bytes: loaded,
            call_bytes: config.workspace_bytes(tokens, sentence.max_tokens),
        })
    }

    /// The model that `files` are.
    ///
    /// # Errors
    /// `Invalid` with what was expected, what came and what to do: files that are missing, damaged, of another kind of
    /// model, or not of one model.
    pub fn load(files: &ModelFiles) -> Result<Model> {
        let config = EncoderConfig::read(files)?;
        let sentence = SentenceConfig::read(files, &config)?;
        let prompts = Prompts::read(files)?;
        sentence.check_prompts(&prompts)?;
        let bytes = files.weights()?;
        let least = config.weight_bytes() / 4;
        if (bytes.len() as u64) < least {
            return Err(Error::invalid(format!(
                "the weights have {} bytes, but config.json describes a model of at least {least}; was the file copied \
                 whole?",
                bytes.len()
            )));
        }
        let weights = Weights::read(&bytes)?;
        let tokeniser = ModelTokeniser::load(files.tokenizer()?, &config, sentence.lowercase)?;
        let head = ScoringHead::load(&config, &weights)?;
        let encoder = Encoder::load(config, &weights)?;
        let tokeniser_bytes = TOKENISER_BYTES_PER_BYTE * files.tokenizer()?.len() as u64;
        Ok(Model { encoder, tokeniser, sentence, prompts, head, tokeniser_bytes, threads: Threads::default() })
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.encoder.config.hidden
    }

    /// How rows become a vector.
    pub fn pooling(&self) -> Pooling {
        self.sentence.pooling
    }

    /// Whether vectors have length 1.
    pub fn is_normalised(&self) -> bool {
        self.sentence.normalise
    }

    /// What the model wants before a query and before a passage. [`embed`](Self::embed) is given one of them: it does
    /// not know which kind its texts are.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// Whether it scores pairs of texts ([`score`](Self::score)).
    pub fn scores_pairs(&self) -> bool {
        self.head.is_some()
    }

    /// Tokens of a text that are looked at, the special ones among them; what follows them is not.
    pub fn max_tokens(&self) -> usize {
        self.sentence.max_tokens
    }

    /// Memory that the loaded model takes. Its weights are exact; the tokeniser is an estimate.
    pub fn memory_bytes(&self) -> u64 {
        self.encoder.held_bytes + self.tokeniser_bytes
    }

    /// The vectors of `texts`, each with `prefix` before it (`"query: "` and the like; empty for most models).
    ///
    /// # Errors
    /// `Unavailable` once `interrupt` says so. `Invalid` if the files of the model do not belong together.
    pub fn embed(&self, texts: &[&str], prefix: &str, interrupt: &Interrupt) -> Result<Vec<Vec<f32>>> {
        let tokens = |text: &&str| {
            interrupt.check()?;
            let prefixed = (!prefix.is_empty()).then(|| format!("{prefix}{text}"));
            self.tokeniser.text(prefixed.as_deref().unwrap_or(text), self.sentence.max_tokens)
        };
        let tokens: Result<Vec<Tokens>> = texts.iter().map(tokens).collect();
        self.each(&tokens?, interrupt, |rows| self.vector(rows))
    }

    /// How well each passage answers its query: the model's logit, larger is better. For cross-encoders.
    ///
    /// # Errors
    /// `Invalid` if the model is not a cross-encoder with one label; else as [`embed`](Self::embed).
    pub fn score(&self, pairs: &[(&str, &str)], interrupt: &Interrupt) -> Result<Vec<f32>> {
        let head = self.head.as_ref().ok_or_else(|| {
            Error::invalid("this model makes vectors and scores no pairs; expected a cross-encoder with one label")
        })?;
        let tokens = |(query, passage): &(&str, &str)| {
            interrupt.check()?;
            self.tokeniser.pair(query, passage, self.sentence.max_tokens)
        };
        let tokens: Result<Vec<Tokens>> = pairs.iter().map(tokens).collect();
        self.each(&tokens?, interrupt, |rows| finite(head.logit(rows.get(..self.dimension()).unwrap_or_default())))
    }

    /// Of each token of the whole text: the byte behind it. Special tokens are none of them, and nothing is cut off:
    /// their number is the text's length in tokens, and a text may be split at any of them.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub fn token_ends(&self, text: &str, interrupt: &Interrupt) -> Result<Vec<usize>> {
        self.tokeniser.token_ends(text, interrupt)
    }

    /// What `make` makes of the rows of each text, in the order of the texts.
    fn each<T>(&self, texts: &[Tokens], interrupt: &Interrupt, make: impl Fn(&[f32]) -> Result<T>) -> Result<Vec<T>> {
        let threads = self.threads.lend();
        let mut made: Vec<(usize, T)> = Vec::with_capacity(texts.len());
        for batch in batches(texts) {
            let rows = self.encoder.rows(&batch, &threads, interrupt)?;
            for (index, rows) in rows_of_texts(&batch, &rows, self.dimension()) {
                made.push((index, make(rows)?));
            }
        }
        made.sort_unstable_by_key(|(index, _)| *index);
        Ok(made.into_iter().map(|(_, value)| value).collect())
    }

    fn vector(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let hidden = self.dimension();
        let mut vector = match self.sentence.pooling {
            Pooling::Cls => rows.get(..hidden).unwrap_or_default().to_vec(),
            Pooling::Mean => mean(rows, hidden),
        };
        if self.sentence.normalise {
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
            vector.iter_mut().for_each(|value| *value /= length);
        }
        vector.into_iter().map(finite).collect()
    }
}

/// Each text of a batch with its rows, without those of its padding.
fn rows_of_texts<'a>(batch: &'a TextBatch, rows: &'a [f32], hidden: usize) -> impl Iterator<Item = (usize, &'a [f32])> {
    let texts = batch.texts.iter().zip(&batch.lengths).zip(rows.chunks_exact(batch.width * hidden));
    texts.map(move |((index, length), rows)| (*index, rows.get(..length * hidden).unwrap_or_default()))
}

fn mean(rows: &[f32], hidden: usize) -> Vec<f32> {
    let mut sum = vec![0.0; hidden];
    for row in rows.chunks_exact(hidden) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let count = (rows.len() / hidden).max(1) as f32;
    sum.iter_mut().for_each(|sum| *sum /= count);
    sum
}

fn finite(value: f32) -> Result<f32> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::invalid(
        "the model made a number that is not finite: its weights are damaged, or too large for f32; take the model again",
    ))
}
