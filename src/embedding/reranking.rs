//! The head of a cross-encoder: the first row of a pair of texts becomes one number. BERT has it as pooler and
//! classifier, RoBERTa as a classifier of two layers; both compute `out · tanh(dense · row + b) + c`.

use super::config::EncoderConfig;
use super::weights::Weights;
use crate::error::Result;

/// The head's weights, matrices as input × output.
#[derive(Debug)]
pub(crate) struct ScoringHead {
    dense: Vec<f32>,
    dense_bias: Vec<f32>,
    out: Vec<f32>,
    out_bias: f32,
}

impl ScoringHead {
    /// The head among `weights`; `None` if there is none, or one with several labels.
    pub(crate) fn load(config: &EncoderConfig, weights: &Weights<'_>) -> Result<Option<ScoringHead>> {
        let known = [["pooler.dense", "classifier"], ["classifier.dense", "classifier.out_proj"]];
        let Some([dense, out]) =
            known.into_iter().find(|[dense, out]| weights.has_linear(dense) && weights.outputs(out) == Some(1))
        else {
            return Ok(None);
        };
        let hidden = config.hidden;
        Ok(Some(ScoringHead {
            dense: weights.matrix(dense, hidden, hidden)?,
            dense_bias: weights.vector(&format!("{dense}.bias"), &[hidden])?,
            out: weights.matrix(out, hidden, 1)?,
            out_bias: weights.vector(&format!("{out}.bias"), &[1])?.first().copied().unwrap_or_default(),
        }))
    }

    pub(crate) fn logit(&self, row: &[f32]) -> f32 {
        let mut pooled = self.dense_bias.clone();
        for (value, weights) in row.iter().zip(self.dense.chunks_exact(pooled.len())) {
            pooled.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
        }
        self.out_bias + pooled.iter().zip(&self.out).map(|(value, weight)| value.tanh() * weight).sum::<f32>()
    }
}
