//! Granite 3 (IBM 2024), as `GraniteForCausalLM` saves it: Llama (see `llama.rs` for keys and tensors), and
//! `embedding_multiplier`, `residual_multiplier` (of what attention and MLP give), `attention_multiplier` (of scores, in
//! the place of 1/√head) and `logits_scaling`, by which logits are divided; each 1 if absent.

use super::choices::Choices;
use super::config::Config;
use super::error::PretrainedError;
use super::llama::read_with;
use super::weights::Weights;
use crate::Transformer;

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let biased = config.flag_or("attention_bias", false)?;
    let mlp_bias = config.flag_or("mlp_bias", false)?;
    let factor = |key| config.number_or(key, 1.0);
    let choices = Choices {
        qkv_bias: biased,
        mixing_bias: biased,
        mlp_bias,
        embedding_scale: factor("embedding_multiplier")? as f32,
        residual_scale: factor("residual_multiplier")? as f32,
        score_scale: Some(factor("attention_multiplier")?),
        logits_scaling: factor("logits_scaling")? as f32,
        ..Choices::read(config)?
    };
    read_with(config, weights, choices)
}
